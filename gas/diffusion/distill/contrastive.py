"""The patch-contrastive loss on self-attention features, which keeps a picture's structure (CDS, eq. 8; CUT, eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Query = Literal["source", "target"]


def patch_nce(
    source: Tensor,
    target: Tensor,
    *,
    patches: int = 256,
    sizes: Sequence[int] = (1, 2),
    temperature: float = 0.07,
    query: Query = "source",
    generator: torch.Generator | None = None,
) -> Tensor:
    """The contrastive loss between two feature maps `(rows, columns, channels)`, a scalar, summed over patch sizes.

    A patch of one map belongs to the patch at the same place in the other and to no other: cross entropy over cosine
    similarities / `temperature`. Patches of size p are averages over p x p cells (p is cut to the map where the map is
    thinner). At most `patches` places are used; where there are more, `generator` (on the CPU) draws them. No
    gradient flows into `source`.

    `query="source"` takes a source patch as anchor and target patches as candidates, as CDS's code does; "target" is
    the orientation of the CUT paper. Source: CDS and its reference code (docs/methods.md).
    """
    if source.shape != target.shape or source.dim() != 3 or source.numel() == 0:
        raise ValueError(
            f"two feature maps (rows, columns, channels) of one size are needed: {source.shape}, {target.shape}"
        )
    maps = torch.stack([source.detach(), target]).permute(0, 3, 1, 2)
    loss = target.new_zeros(())
    for size in sizes:
        window = (min(size, maps.shape[2]), min(size, maps.shape[3]))
        pooled = maps if window == (1, 1) else F.avg_pool2d(maps, window)
        flat = F.normalize(pooled, dim=1).flatten(2).transpose(1, 2)  # (2, places, channels)
        places = flat.shape[1]
        if places > patches:
            chosen = torch.randperm(places, generator=generator)[:patches]
            flat = flat[:, chosen.to(flat.device)]
        anchors, candidates = (flat[0], flat[1]) if query == "source" else (flat[1], flat[0])
        labels = torch.arange(flat.shape[1], device=flat.device)
        loss = loss + F.cross_entropy(anchors @ candidates.T / temperature, labels)
    return loss
