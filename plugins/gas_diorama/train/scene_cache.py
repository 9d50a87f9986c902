"""Training scenes as networks take them: latents, loss weights, texts and what each cell shows, on the device that
trains. All of it is made once; a step of training then only looks rows up."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from transformers import CLIPTokenizer

from gas_diorama.train.drawn import TOKENS, Drawn, Words, draw, in_chunks
from gas_diorama.world.asking import LABELS
from gas_diorama.world.networks import levels
from gas_diorama.world.scene import GRID, SIZE
from gas_diorama.world.tokenizer import MAX_LENGTH


def chunk(device: torch.device) -> int:
    """How many scenes are drawn and encoded at once."""
    return 64 if device.type == "cpu" else 256


def words_of(tokenizer: CLIPTokenizer) -> Words:
    """The tokenizer as processes without transformers take it."""
    assert isinstance(tokenizer.pad_token_id, int)
    return Words(tokenizer.backend_tokenizer.to_str(), str(tokenizer.pad_token), tokenizer.pad_token_id)


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows of a `SceneCache`: latents float32 (n, c, 16, 16), loss weights float32 (n, 1, 16, 16), token ids int64
    (n, 32) and what each cell shows, bool (n, 256, labels)."""

    latents: Tensor
    weights: Tensor
    ids: Tensor
    shown: Tensor


class SceneCache:
    """The first scenes of a numbered supply: 4.5 kB of latents, 1 kB of tokens and 5 kB of labels a scene.

    Args:
        vae: the trained autoencoder, on the device that trains.
        tokenizer: of the text encoder.
        count: how many scenes there can be.
        seed: another seed, other scenes.
        texts: whole sentences a scene, and as many short phrases.
        keep: whether the pictures stay on the device too, 49 kB a scene, for an autoencoder that is to be trained.
    """

    def __init__(
        self, vae: AutoencoderKL, tokenizer: CLIPTokenizer, count: int, seed: int, texts: int = 6, keep: bool = False
    ) -> None:
        self.vae, self.tokenizer, self.seed, self.texts = vae, tokenizer, seed, texts
        self.known, device = 0, vae.device
        self._chunk = chunk(device)
        self.latents = torch.zeros((count, vae.config.latent_channels, GRID, GRID), dtype=torch.half, device=device)
        self.weights = torch.zeros((count, 1, GRID, GRID), dtype=torch.half, device=device)
        self.ids = torch.zeros((count, 2, texts, TOKENS), dtype=torch.int16, device=device)
        self.shown = torch.zeros((count, GRID * GRID, len(LABELS)), dtype=torch.bool, device=device)
        self.pictures = torch.zeros((count if keep else 0, 3, SIZE, SIZE), dtype=torch.uint8, device=device)
        self._words = words_of(tokenizer)
        self.empty = torch.from_numpy(self._words.ids([""])).to(device)

    def grow(self, count: int, pool: ProcessPoolExecutor | None = None) -> None:
        """Makes the scenes up to number `count`, as far as there are so many."""
        numbers = np.arange(self.known, min(count, len(self.latents)))
        for some, drawn in in_chunks(
            partial(draw, self.seed, texts=self.texts, words=self._words), numbers, self._chunk, pool
        ):
            self._take(some, drawn)

    def _take(self, numbers: np.ndarray, drawn: Drawn) -> None:
        device, rows = self.vae.device, slice(int(numbers[0]), int(numbers[-1]) + 1)
        pictures = torch.from_numpy(drawn.pictures).to(device).permute(0, 3, 1, 2)
        if len(self.pictures):
            self.pictures[rows] = pictures
        self.latents[rows] = self._encoded(pictures)
        self.weights[rows] = torch.from_numpy(drawn.weights).half().to(device)
        self.shown[rows] = torch.from_numpy(drawn.shown).to(device)
        self.ids[rows] = torch.from_numpy(drawn.ids).to(device)
        self.known = rows.stop

    @torch.no_grad()
    def _encoded(self, pictures: Tensor) -> Tensor:
        with torch.autocast(self.vae.device.type, dtype=torch.bfloat16):
            return self.vae.encode(levels(pictures)).latent_dist.mean.half()

    def encode(self, vae: AutoencoderKL) -> None:
        """Makes the latents of all known scenes anew with another autoencoder; their pictures were kept."""
        self.vae = vae
        for first in range(0, self.known, self._chunk):
            rows = slice(first, min(first + self._chunk, self.known))
            self.latents[rows] = self._encoded(self.pictures[rows])

    def batch(self, size: int, generator: torch.Generator, empty: float, short: float) -> Batch:
        """`size` of the known scenes, drawn by `generator` (of the CPU), each with a text: none with chance `empty`, a
        short phrase with chance `short`, else a whole sentence."""
        device = self.latents.device
        index = torch.randint(self.known, (size,), generator=generator).to(device)
        which = torch.randint(self.texts, (size,), generator=generator).to(device)
        draws = torch.rand(size, generator=generator).to(device)
        ids = self.ids[index, ((draws >= empty) & (draws < empty + short)).long(), which]
        ids = torch.where((draws < empty)[:, None], self.empty, ids).long()
        return Batch(self.latents[index].float(), self.weights[index].float(), ids, self.shown[index])


def padded(ids: Tensor, tokenizer: CLIPTokenizer) -> Tensor:
    """Token ids as Stable Diffusion's pipelines pad them: (n, 77)."""
    return nn.functional.pad(ids, (0, MAX_LENGTH - ids.shape[1]), value=tokenizer.pad_token_id)
