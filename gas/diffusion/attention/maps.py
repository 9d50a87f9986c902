"""Where tokens are attended to: a control that only looks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from gas.diffusion.attention.control import control_attention
from gas.diffusion.attention.sites import AttentionSite, Size


class AttentionMaps:
    """A control that keeps the mean of the probabilities over forward passes, heads and sites, and nothing else.

    `size` is the latent's (h, w). `rows` are the rows of the batch to keep, each on its own (default: all; under
    classifier-free guidance those of the prompt); `tokens` the positions to keep, in that order (default: all).
    """

    def __init__(self, size: Size, rows: Sequence[int] | None = None, tokens: Sequence[int] | None = None) -> None:
        self.size = size
        self.rows = rows
        self.tokens = tokens
        self._sums: dict[Size, Tensor] = {}
        self._count = 0

    def __call__(self, site: AttentionSite, probabilities: Tensor) -> None:
        grid = site.grid(self.size)
        if probabilities.shape[2] != math.prod(grid):
            raise ValueError(
                f"{site.name} has {probabilities.shape[2]} cells: that is not a latent of "
                f"{self.size[0]} x {self.size[1]}"
            )
        kept = probabilities.detach()
        kept = kept if self.rows is None else kept[list(self.rows)]
        kept = kept if self.tokens is None else kept[..., list(self.tokens)]
        mean = kept.float().mean(1).transpose(1, 2).unflatten(-1, grid)
        self._sums[grid] = self._sums[grid] + mean if grid in self._sums else mean
        self._count += 1

    def mean(self) -> Tensor:
        """`(rows, tokens, h, w)` float32 in [0, 1], on the finest grid that was seen; coarser maps are enlarged
        bilinearly, and every site of every pass weighs the same.

        Of self-attention, whose tokens are the cells, sites of one level only. ValueError when nothing was seen.
        """
        if not self._sums:
            raise ValueError("no forward pass was made inside the block, so there is no attention")
        finest = max(self._sums, key=math.prod)
        total = torch.zeros_like(self._sums[finest])
        for grid, one in self._sums.items():
            total += one if grid == finest else F.interpolate(one, finest, mode="bilinear", align_corners=False)
        return total / self._count

    def state(self) -> dict[str, Tensor]:
        """What was collected so far, for `restore`: tensors on the CPU by name."""
        sums = {f"sum.{h}x{w}": one.cpu().clone() for (h, w), one in self._sums.items()}
        return {"count": torch.tensor(self._count), **sums}

    def restore(self, state: Mapping[str, Tensor], device: torch.device | str) -> None:
        """Continues from a `state`, on `device`. KeyError or ValueError when it is not one."""
        self._count = int(state["count"])
        self._sums = {}
        for name, one in state.items():
            if name != "count":
                rows, columns = name.removeprefix("sum.").split("x")
                self._sums[int(rows), int(columns)] = one.to(device)


@contextmanager
def collect_attention(
    sites: Sequence[AttentionSite],
    size: Size,
    *,
    rows: Sequence[int] | None = None,
    tokens: Sequence[int] | None = None,
) -> Iterator[AttentionMaps]:
    """The `AttentionMaps` of the forward passes inside the block, for a latent of `size` (h, w)."""
    maps = AttentionMaps(size, rows, tokens)
    with control_attention(sites, maps):
        yield maps
