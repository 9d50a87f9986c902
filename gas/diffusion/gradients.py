"""Gradients through a network that may work in fp16."""

from __future__ import annotations

import torch
from torch import Tensor

# A power of two changes no other result than those that fp16 would lose.
_SCALE = 2.0**10


def gradient(loss: Tensor, at: Tensor) -> Tensor:
    """The gradient of a scalar `loss` at the leaf `at`, in its shape. The loss is scaled up for the backward pass and
    the gradient down again, because fp16 gradients underflow."""
    (scaled,) = torch.autograd.grad(loss * _SCALE, at)
    return scaled / _SCALE
