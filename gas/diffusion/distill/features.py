"""Self-attention features of a network, read by forward hooks that are gone when the `with` block ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn


def in_up_blocks(name: str) -> bool:
    """Whether `name` is a self-attention module of the up blocks: nine of them in Stable Diffusion 1.x (CDS, sec.
    4)."""
    parts = name.split(".")
    return parts[0] == "up_blocks" and parts[-1] == "attn1"


@contextmanager
def capture_self_attention(
    network: nn.Module, wanted: Callable[[str], bool] = in_up_blocks, rows: Sequence[int] | None = None
) -> Iterator[dict[str, Tensor]]:
    """A dict that holds, after each forward pass inside the block, what every wanted module put out: `(n, tokens,
    channels)`, after the output projection and before the residual is added. `rows` keeps these rows of the batch
    only (copies).

    The network is as before when the block ends, also by an exception; gradients flow through what is kept.
    ValueError when no module has a wanted name.
    """
    modules = {name: module for name, module in network.named_modules() if wanted(name)}
    if not modules:
        raise ValueError("this network has no module of the wanted name, so there are no features to compare")
    seen: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, args: object, output: Tensor) -> None:
        seen[name] = output if rows is None else output[torch.as_tensor(rows, device=output.device)]

    handles = [module.register_forward_hook(partial(keep, name)) for name, module in modules.items()]
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
