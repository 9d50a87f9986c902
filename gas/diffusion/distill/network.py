"""A backbone as a run of distillation asks it: rows by prompt, long batches split, rows and calls counted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property

import torch
from torch import Tensor

from gas.diffusion.attention.sites import AttentionSite, Size
from gas.diffusion.backbone import Backbone
from gas.diffusion.distill.features import capture_features
from gas.errors import ModelUnavailable
from gas.remedies import Option, Remedy


class Network:
    """A backbone that is told all prompts of a run, each once, for latents of one `size` and a guidance of
    `guidance_scale`. It splits long batches and counts rows and calls."""

    def __init__(
        self,
        backbone: Backbone,
        prompts: Sequence[str],
        size: Size,
        guidance_scale: float,
        rows_per_call: int | None = None,
    ) -> None:
        self._backbone = backbone
        self._numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
        with torch.no_grad():
            self._told = backbone.guided(backbone.condition(list(self._numbers), size), guidance_scale)
        self._limit = rows_per_call
        self.calls = 0
        self.rows = 0
        self.largest = 0

    def predict(
        self, z_t: Tensor, t: Tensor, prompts: Sequence[str], featured: Sequence[int] = ()
    ) -> tuple[Tensor, list[dict[str, Tensor]]]:
        """The noise for rows `(n, C, h, w)` at t `(n,)`, and the self-attention features, name to `(tokens,
        channels)`, of the rows with the numbers `featured`, in their order."""
        size = self._limit or len(prompts)
        self.largest = min(size, len(prompts))
        noises: list[Tensor] = []
        features: dict[int, dict[str, Tensor]] = {}
        for start in range(0, len(prompts), size):
            part = slice(start, start + size)
            numbers = [self._numbers[prompt] for prompt in prompts[part]]
            told = self._told[torch.tensor(numbers, device=self._told.embeddings.device)]
            here = [row for row in featured if start <= row < start + size]
            with self._capture([row - start for row in here]) as seen:
                noises.append(self._backbone.epsilon(z_t[part], t[part], told))
            for place, row in enumerate(here):
                features[row] = {name: output[place] for name, output in seen.items()}
            self.calls += 1
            self.rows += len(numbers)
        return torch.cat(noises), [features[row] for row in featured]

    def _capture(self, rows: list[int]) -> AbstractContextManager[dict[str, Tensor]]:
        return capture_features(self.compared, rows) if rows else nullcontext({})

    @cached_property
    def compared(self) -> tuple[AttentionSite, ...]:
        """The sites whose features the contrastive loss compares. ModelUnavailable (exit 6) where there is none."""
        sites = tuple(site for site in self._backbone.attention_sites() if site.contrast)
        if not sites:
            raise ModelUnavailable(
                f"the contrastive loss compares features of self-attention, which {self._backbone.name} has none of",
                Remedy("no_contrast", "set {weight}, or take another model", weight=Option({"w_cut": 0})),
            )
        return sites
