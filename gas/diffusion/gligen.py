"""GLIGEN (Li et al. 2023, arXiv 2301.07093): a Stable Diffusion whose UNet is told by gated attention layers which
phrase belongs into which box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from gas.diffusion.denoiser import to_epsilon
from gas.diffusion.stable_diffusion import StableDiffusion

MOST_THINGS = 30
"""Phrases with boxes that GLIGEN was trained with at most; fewer are filled up with its learned "nothing here"."""

RelativeBox = tuple[float, float, float, float]
"""`(x0, y0, x1, y1)` as shares of the picture's width and height, in [0, 1]."""


@dataclass(frozen=True)
class Things:
    """What the UNet is told beside the prompt, a row for each of a batch: `boxes` `(n, 30, 4)`, the phrases' embeddings
    `(n, 30, dim)`, and a mask `(n, 30)`: 1 for a thing, 0 for nothing."""

    boxes: Tensor
    embeddings: Tensor
    mask: Tensor

    @classmethod
    def stacked(cls, rows: Sequence[Things]) -> Things:
        """The rows of several in one."""
        return cls(*(torch.cat([getattr(row, one.name) for row in rows]) for one in fields(cls)))


@dataclass(frozen=True)
class GLIGEN(StableDiffusion):
    """A frozen GLIGEN model as it stands for one kind of row.

    `things` is what each row of a batch is told (None: the gated layers are passed by), `beside` `(1, C + 1, h, w)`
    what an inpainting UNet is given beside the noisy latent.
    """

    things: Things | None = None
    beside: Tensor | None = None

    @classmethod
    def of(cls, model: StableDiffusion) -> GLIGEN:
        """`model`, which was loaded with `gated=True`, told nothing so far."""
        return cls(**{one.name: getattr(model, one.name) for one in fields(StableDiffusion)})

    @property
    def inpaints(self) -> bool:
        """Whether the UNet is given the picture and a mask beside the noisy latent."""
        return bool(self.unet.config.in_channels != self.vae.config.latent_channels)

    def told(self, things: Sequence[Things] | None, beside: Tensor | None = None) -> GLIGEN:
        """This model with `things` for the rows of its batches, and `beside`."""
        return replace(self, things=None if things is None else Things.stacked(things), beside=beside)

    def keeping(self, z_source: Tensor, keep: Tensor) -> Tensor | None:
        """What an inpainting UNet is told of a picture's latent `(1, C, h, w)`, for `beside`: what `keep` `(1, 1, h,
        w)` shows of it (1: stays), and `keep`. None for a UNet that is told nothing."""
        return torch.cat([z_source * keep, keep], dim=1) if self.inpaints else None

    @torch.no_grad()
    def describe(self, things: Sequence[tuple[str, RelativeBox]]) -> Things:
        """One row that says which phrase belongs into which box; of at most MOST_THINGS, ValueError for more.

        A phrase counts by the text encoder's pooled output. An empty list says that nothing is known.
        """
        if len(things) > MOST_THINGS:
            raise ValueError(f"{len(things)} things are more than the {MOST_THINGS} that GLIGEN knows")
        count, dim = len(things), self.text_encoder.config.hidden_size
        boxes = torch.zeros(1, MOST_THINGS, 4, device=self.device)
        embeddings = torch.zeros(1, MOST_THINGS, dim, device=self.device)
        mask = torch.zeros(1, MOST_THINGS, device=self.device)
        if count:
            tokens = self.tokens([phrase for phrase, _ in things])
            pooled = self.text_encoder(tokens.input_ids, tokens.attention_mask).pooler_output
            boxes[0, :count] = torch.tensor([box for _, box in things], device=self.device)
            embeddings[0, :count] = pooled.to(embeddings)
            mask[0, :count] = 1
        return Things(boxes, embeddings, mask)

    def predict(self, z_t: Tensor, t: Tensor, embedding: Tensor) -> Tensor:
        """As `StableDiffusion.predict`, with what the rows are told. ValueError when the rows do not fit."""
        rows = z_t
        if self.beside is not None:
            rows = torch.cat([z_t, self.beside.to(z_t).expand(len(z_t), -1, -1, -1)], dim=1)
        extra: dict[str, Any] = {}
        if self.things is not None:
            if len(self.things.mask) != len(z_t):
                raise ValueError(f"{len(z_t)} rows, but things for {len(self.things.mask)}")
            things = self.things
            gligen = {"boxes": things.boxes, "positive_embeddings": things.embeddings, "masks": things.mask}
            extra["cross_attention_kwargs"] = {"gligen": {name: one.to(self.dtype) for name, one in gligen.items()}}
        output = self.unet(rows.to(self.dtype), t, embedding.to(self.dtype), return_dict=False, **extra)[0]
        return to_epsilon(output.to(z_t.dtype), self.prediction, z_t, *self.schedule.coefficients(t, z_t.dtype))
