"""Where a diffusion transformer computes attention: picture and prompt look at each other in one module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from gas.diffusion.attention.sites import CONTRASTED, AttentionSite


def joint_sites(
    modules: Sequence[tuple[str, Any, Callable[[Any], Tensor]]], level: int = 1
) -> tuple[AttentionSite, ...]:
    """The sites of `modules`, in the order of computing: each with its name and what takes the picture's cells out of
    its output. `level` is how many times the latent was halved before: once in patches of 2 x 2 cells.

    The contrastive loss compares the later half, which together counts as much as the nine modules of Stable Diffusion
    1.x. No publication says which: the later half stands for the UNet's up blocks.
    """
    half = len(modules) // 2
    share = CONTRASTED / max(1, len(modules) - half)
    return tuple(
        AttentionSite(name, "joint", level, module, share if number >= half else 0.0, cells)
        for number, (name, module, cells) in enumerate(modules)
    )


def picture_first(output: Any) -> Tensor:
    """The picture's cells `(n, cells, channels)` of a module that puts out those and the prompt's tokens apart, or
    those alone."""
    return output[0] if isinstance(output, tuple) else output
