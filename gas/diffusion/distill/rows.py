"""Rows of network calls: which ones a step needs, each only once, and how they are run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gas.diffusion.denoiser import Denoiser
from gas.diffusion.distill.features import capture_self_attention

Key = tuple[int, str]
"""Number of the problem, prompt."""

NULL = ""


@dataclass
class GradientRow:
    """A row that is run with gradients: (z_t, target) of a problem, compared with the features of (z0_t, source).
    `terms` are the numbers of the terms whose contrastive losses look at it."""

    problem: int
    source: str
    target: str
    terms: list[int]


@dataclass
class Rows:
    """The distinct rows of a step: of the source latent, of the edited latent, and of the edited latent with gradients.

    `referenced` are the source rows whose features are needed.
    """

    source: list[Key] = field(default_factory=list)
    target: list[Key] = field(default_factory=list)
    gradient: list[GradientRow] = field(default_factory=list)
    referenced: list[Key] = field(default_factory=list)


class Network:
    """A denoiser with all prompts of a run embedded, each once. It splits long batches and counts rows and calls."""

    def __init__(self, denoiser: Denoiser, prompts: Sequence[str], rows_per_call: int | None = None) -> None:
        self._denoiser = denoiser
        self._numbers = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
        with torch.no_grad():
            self._embeddings = denoiser.embed(list(self._numbers))
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
            numbers = torch.tensor([self._numbers[prompt] for prompt in prompts[part]], device=self._embeddings.device)
            here = [row for row in featured if start <= row < start + size]
            with self._capture([row - start for row in here]) as seen:
                noises.append(self._denoiser.predict(z_t[part], t[part], self._embeddings[numbers]))
            for place, row in enumerate(here):
                features[row] = {name: output[place] for name, output in seen.items()}
            self.calls += 1
            self.rows += len(numbers)
        return torch.cat(noises), [features[row] for row in featured]

    def _capture(self, rows: list[int]) -> AbstractContextManager[dict[str, Tensor]]:
        if not rows:
            return nullcontext({})
        network = self._denoiser.network
        if network is None:
            raise ValueError("the contrastive loss needs a network with self-attention; this denoiser has none")
        return capture_self_attention(network, rows=rows)
