"""GLIGEN (Li et al. 2023, arXiv 2301.07093): a network that is told by gated attention layers which phrase belongs into
which box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gas.diffusion.backbone import Backbone, Conditioning

MOST_THINGS = 30
"""Phrases with boxes that GLIGEN was trained with at most; fewer are filled up with its learned "nothing here"."""

RelativeBox = tuple[float, float, float, float]
"""`(x0, y0, x1, y1)` as shares of the picture's width and height, in [0, 1]."""

NAMES = ("boxes", "phrases", "things")


@torch.no_grad()
def with_boxes(
    backbone: Backbone, conditioning: Conditioning, rows: Sequence[Sequence[tuple[str, RelativeBox]]]
) -> Conditioning:
    """`conditioning` with what each of its rows is told: which phrase belongs into which box, MOST_THINGS at most;
    nothing for an empty list. ValueError for more, or another number of rows.

    In `extra`: "boxes" `(n, 30, 4)`, "phrases" `(n, 30, dim)`, the pooled output of the text encoder, and "things" `(n,
    30)`: 1 for a thing, 0 for nothing. Rows without these three pass the gated layers by.
    """
    if len(rows) != len(conditioning):
        raise ValueError(f"{len(conditioning)} rows, but things for {len(rows)}")
    words = backbone.need_words("GLIGEN")
    dim, device = conditioning.embeddings.shape[2], conditioning.embeddings.device
    boxes = torch.zeros(len(rows), MOST_THINGS, 4, device=device)
    phrases = torch.zeros(len(rows), MOST_THINGS, dim, device=device)
    things = torch.zeros(len(rows), MOST_THINGS, device=device)
    for row, told in enumerate(rows):
        if len(told) > MOST_THINGS:
            raise ValueError(f"{len(told)} things are more than the {MOST_THINGS} that GLIGEN knows")
        if told:
            count = len(told)
            boxes[row, :count] = torch.tensor([box for _, box in told], device=device)
            phrases[row, :count] = words.pooled([phrase for phrase, _ in told]).to(phrases)
            things[row, :count] = 1
    return conditioning.with_extra(boxes=boxes, phrases=phrases, things=things)


def told_boxes(conditioning: Conditioning, dtype: torch.dtype) -> dict[str, Any]:
    """What diffusers' UNet2DConditionModel is called with for what `with_boxes` has told; nothing where nothing is."""
    if "boxes" not in conditioning.extra:
        return {}
    boxes, phrases, things = (conditioning.extra[name].to(dtype) for name in NAMES)
    gligen = {"boxes": boxes, "positive_embeddings": phrases, "masks": things}
    return {"cross_attention_kwargs": {"gligen": gligen}}


def keeping(backbone: Backbone, z_source: Tensor, keep: Tensor) -> Tensor | None:
    """What an inpainting network is told of a picture's latent `(1, C, h, w)`, as "beside" of a row: what `keep` `(1,
    1, h, w)` shows of it (1: stays), and `keep`. None for a network that is told nothing."""
    takes: Any = backbone.network
    return torch.cat([z_source * keep, keep], dim=1) if takes.config.in_channels != z_source.shape[1] else None
