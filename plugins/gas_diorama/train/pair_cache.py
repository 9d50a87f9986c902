"""Training pairs as an instruction model takes them: latents, loss weights and instructions, on the device that
trains."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from gas_diorama.bench.follow import Parts
from gas_diorama.train.drawn import TOKENS, DrawnPairs, draw_pairs, in_chunks
from gas_diorama.train.scene_cache import chunk, padded, words_of
from gas_diorama.world.scene import GRID


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Rows of a `PairCache`: numbers and whether told backwards (n,), latents of the source and of what it becomes
    float32 (n, c, 16, 16), loss weights float32 (n, 1, 16, 16), token ids of the instructions int64 (n, 77)."""

    numbers: Tensor
    backwards: Tensor
    source: Tensor
    target: Tensor
    weights: Tensor
    ids: Tensor


class PairCache:
    """The first pairs of a numbered supply: 9 kB of latents and 0.5 kB of tokens a pair.

    Args:
        parts: with the autoencoder and the tokenizer, on the device that trains.
        count: how many pairs there can be.
        seed: another seed, other pairs.
        forms: shares of the pairs by form.
        texts: instructions of each pair, each way.
    """

    def __init__(self, parts: Parts, count: int, seed: int, forms: Mapping[str, float], texts: int = 4) -> None:
        self.parts, self.seed, self.forms, self.texts = parts, seed, forms, texts
        self.known, device, channels = 0, parts.vae.device, parts.vae.config.latent_channels
        self.latents = torch.zeros((count, 2, channels, GRID, GRID), dtype=torch.half, device=device)
        self.weights = torch.zeros((count, 1, GRID, GRID), dtype=torch.half, device=device)
        self.ids = torch.zeros((count, 2, texts, TOKENS), dtype=torch.int16, device=device)
        self.changes = torch.zeros(count, dtype=torch.bool, device=device)

    def grow(self, count: int, pool: ProcessPoolExecutor | None = None) -> None:
        """Makes the pairs up to number `count`, as far as there are so many."""
        numbers = np.arange(self.known, min(count, len(self.latents)))
        words = words_of(self.parts.tokenizer)
        draw = partial(draw_pairs, self.seed, dict(self.forms), texts=self.texts, words=words)
        for some, drawn in in_chunks(draw, numbers, chunk(self.latents.device) // 2, pool):
            self._take(some, drawn)

    def _take(self, numbers: np.ndarray, drawn: DrawnPairs) -> None:
        device, rows = self.latents.device, slice(int(numbers[0]), int(numbers[-1]) + 1)
        latents = self.parts.encode(drawn.pictures.reshape(-1, *drawn.pictures.shape[2:]))
        self.latents[rows] = latents.unflatten(0, (-1, 2)).half()
        self.weights[rows] = torch.from_numpy(drawn.weights).half().to(device)
        self.ids[rows] = torch.from_numpy(drawn.ids).to(device)
        self.changes[rows] = torch.from_numpy(drawn.changes).to(device)
        self.known = rows.stop

    def batch(self, size: int, generator: torch.Generator) -> PairBatch:
        """`size` of the known pairs, drawn by `generator` (of the CPU), half of the changes told backwards."""
        device = self.latents.device
        index = torch.randint(self.known, (size,), generator=generator).to(device)
        which = torch.randint(self.texts, (size,), generator=generator).to(device)
        backwards = (torch.rand(size, generator=generator) < 0.5).to(device) & self.changes[index]
        way = backwards.long()
        ids = padded(self.ids[index, way, which].long(), self.parts.tokenizer)
        source, target = self.latents[index, way].float(), self.latents[index, 1 - way].float()
        return PairBatch(index, backwards, source, target, self.weights[index].float(), ids)
