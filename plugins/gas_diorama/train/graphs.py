"""The loss of a step in two parts, so that a GPU can replay the second one as a CUDA graph: the networks here are so
small that launching their kernels one by one takes several times as long as running them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

log = logging.getLogger("gas_diorama.train")

_WARM_UPS = 3
"""Runs before the recording, in which libraries choose their kernels and allocate their workspaces."""


class Loss:
    """The loss of a batch, `loss(number)`.

    Args:
        batch_at: the tensors of a batch by its number, always of the same shapes, on the device that trains.
        loss_of: their loss, from networks and these tensors alone; no value in it is looked at on the CPU.
    """

    def __init__(self, batch_at: Callable[[int], Sequence[Tensor]], loss_of: Callable[..., Tensor]) -> None:
        self.batch_at, self.loss_of = batch_at, loss_of

    def __call__(self, number: int) -> Tensor:
        return self.loss_of(*self.batch_at(number))


class Replayed:
    """Loss and gradients of a batch as one CUDA graph (PyTorch's "whole network capture").

    Args:
        loss: to be recorded.
        trained: the weights that get gradients; every replay writes them anew, so they are never set to zero.
        first: number of the batch with which the graph is recorded.
    """

    def __init__(self, loss: Loss, trained: Sequence[nn.Parameter], first: int) -> None:
        self._batch_at = loss.batch_at
        self._inputs = [tensor.clone() for tensor in loss.batch_at(first)]
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                loss.loss_of(*self._inputs).backward()
        torch.cuda.current_stream().wait_stream(side)
        for weight in trained:
            weight.grad = None
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = loss.loss_of(*self._inputs)
            self._loss.backward()

    def __call__(self, number: int) -> Tensor:
        """The loss of a batch, whose gradients the weights then have."""
        for kept, new in zip(self._inputs, self._batch_at(number), strict=True):
            kept.copy_(new)
        self._graph.replay()
        return self._loss


def replayed(loss: Callable[[int], Tensor], trained: Sequence[nn.Parameter], first: int) -> Replayed | None:
    """`loss` as a graph where it can be one: in two parts, on a GPU. None elsewhere, and where recording fails."""
    if not isinstance(loss, Loss) or trained[0].device.type != "cuda":
        return None
    try:
        return Replayed(loss, trained, first)
    except RuntimeError as error:
        log.info("no CUDA graph, so each kernel is launched by itself: %s", str(error).splitlines()[0])
        torch.cuda.synchronize()
        for weight in trained:
            weight.grad = None
        return None
