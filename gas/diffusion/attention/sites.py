"""Where a network computes attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

Size = tuple[int, int]
"""(h, w) of a latent, in cells."""

SiteKind = Literal["cross", "self", "joint"]
"""What the picture's cells look at: the prompt, the picture itself, or both at once (in a transformer)."""


CONTRASTED = 9
"""How many modules the contrastive loss compares in Stable Diffusion 1.x, where its weight was chosen; all the sites of
a model together count as much (CDS's code sums over them)."""


def _all(output: Tensor) -> Tensor:
    return output


@dataclass(frozen=True)
class AttentionSite:
    """An attention module of a network.

    * level: how many times the latent was halved before it.
    * contrast: how much its features count in the contrastive loss; 0: they are not compared. It is a sum over sites,
      so a family with many of them gives each less.
    * cells: takes the picture's cells `(n, cells, channels)` out of what the module puts out.
    """

    name: str
    kind: SiteKind
    level: int
    module: Any = field(default=None, repr=False, compare=False)
    contrast: float = 0.0
    cells: Callable[[Any], Tensor] = field(default=_all, repr=False, compare=False)

    def grid(self, size: Size) -> Size:
        """Rows and columns of its cells over a latent of `size` (h, w): halved, rounding up, as strided convolutions
        do."""
        return -(-size[0] // 2**self.level), -(-size[1] // 2**self.level)


def unet_sites(unet: nn.Module, kind: SiteKind | None = None) -> tuple[AttentionSite, ...]:
    """The attention modules of a diffusers UNet2DConditionModel in the order in which they are computed; of one `kind`
    only, if given; GLIGEN's gated layers, which look at boxes, are not among them. The contrastive loss compares
    self-attention in the up blocks, nine modules in Stable Diffusion 1.x (CDS, sec. 4)."""
    from diffusers.models.attention_processor import Attention

    found = []
    level = 0
    for prefix, block in _blocks(unet):
        for name, module in block.named_modules():
            if isinstance(module, Attention) and ".fuser." not in name:
                own: SiteKind = "cross" if module.is_cross_attention else "self"
                contrast = float(own == "self" and prefix.startswith("up_blocks") and name.endswith("attn1"))
                found.append(AttentionSite(f"{prefix}.{name}", own, level, module, contrast))
        level += bool(getattr(block, "downsamplers", None)) - bool(getattr(block, "upsamplers", None))
    return tuple(site for site in found if kind in (None, site.kind))


def sites_near(sites: Sequence[AttentionSite], size: Size, side: float, least: int = 1) -> tuple[AttentionSite, ...]:
    """Those of one level: the one whose grid over a latent of `size` (h, w) is nearest to `side` x `side` cells, among
    those of at least `least` x `least` cells.

    Near is a matter of the ratio of areas; of two as near, the finer one. `side=16` are the 16x16 maps of Stable
    Diffusion 1.x at 512 pixels, 1/32 of the picture (ZONE, `msk_from_attn.py`). ValueError when no site has so many
    cells.
    """
    fine = [site for site in sites if min(site.grid(size)) >= least]
    if not fine:
        raise ValueError(f"no attention site has {least} x {least} cells over a latent of {size[0]} x {size[1]}")

    def distance(site: AttentionSite) -> tuple[float, int]:
        return abs(math.log(math.prod(site.grid(size)) / side**2)), site.level

    best = min(map(distance, fine))
    return tuple(site for site in fine if distance(site) == best)


def finest_side(sites: Sequence[AttentionSite], size: Size) -> int:
    """The smaller side, in cells, of the finest grid that any of `sites` has over a latent of `size` (h, w)."""
    return max(min(site.grid(size)) for site in sites)


def sites_within(sites: Sequence[AttentionSite], size: Size, cells: float) -> tuple[AttentionSite, ...]:
    """Those whose grid over a latent of `size` (h, w) has at most `cells` cells; there may be none."""
    return tuple(site for site in sites if math.prod(site.grid(size)) <= cells)


def _blocks(unet: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name in ("down_blocks", "mid_block", "up_blocks"):
        part = getattr(unet, name, None)
        if isinstance(part, nn.ModuleList):
            yield from ((f"{name}.{number}", block) for number, block in enumerate(part))
        elif part is not None:
            yield name, part
