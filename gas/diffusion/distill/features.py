"""Self-attention features of a network, read by forward hooks that are gone when the `with` block ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gas.diffusion.attention.sites import AttentionSite


@contextmanager
def capture_features(sites: Sequence[AttentionSite], rows: Sequence[int] | None = None) -> Iterator[dict[str, Tensor]]:
    """A dict that holds, after each forward pass inside the block, what every site put out, by its name: `(n, cells,
    channels)`, after the output projection and before the residual is added. `rows` keeps these rows of the batch
    only (copies).

    The network is as before when the block ends, also by an exception; gradients flow through what is kept.
    ValueError without sites.
    """
    if not sites:
        raise ValueError("no attention site was chosen, so there are no features to compare")
    seen: dict[str, Tensor] = {}

    def keep(site: AttentionSite, module: nn.Module, args: object, output: Any) -> None:
        cells = site.cells(output)
        seen[site.name] = cells if rows is None else cells[torch.as_tensor(rows, device=cells.device)]

    handles = [site.module.register_forward_hook(partial(keep, site)) for site in sites]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def feature_grid(tokens: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a feature map with `tokens` places over a `(height, width)` latent, halved (rounding up, as
    strided convolutions do) until it fits. ValueError when no halving fits."""
    grid = (height, width)
    while grid[0] * grid[1] > tokens:
        grid = (-(-grid[0] // 2), -(-grid[1] // 2))
    if grid[0] * grid[1] != tokens:
        raise ValueError(f"{tokens} feature tokens do not belong to a latent of {height} x {width} cells")
    return grid
