"""Training scenes and pairs as pictures, loss weights and token ids: what processes draw before networks see it. No
torch and no transformers, so that a process starts at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_context
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from gas_diorama.world.asking import cell_labels
from gas_diorama.world.drawing import render, silhouette
from gas_diorama.world.language import caption, short_phrase
from gas_diorama.world.pairs import Pair, inverse, sample_pair, training_instruction
from gas_diorama.world.scene import CELL, GRID, Scene, sample_scene

T = TypeVar("T")
Cells = NDArray[np.float32]
Ids = NDArray[np.int16]

TOKENS = 32
"""A text is kept as so many tokens; the longest caption of the world has 23."""


@dataclass(frozen=True)
class Words:
    """A tokenizer that can be sent to another process: its JSON, and what it pads with."""

    text: str
    pad_token: str
    pad_id: int

    def ids(self, texts: list[str]) -> Ids:
        """Token ids (n, 32), padded or cut."""
        return np.array([said.ids for said in _tokenizer(self).encode_batch(texts)], np.int16)


@lru_cache(maxsize=4)
def _tokenizer(words: Words) -> Tokenizer:
    tokenizer = Tokenizer.from_str(words.text)
    tokenizer.enable_truncation(TOKENS)
    tokenizer.enable_padding(length=TOKENS, pad_id=words.pad_id, pad_token=words.pad_token)
    return tokenizer


def cell_weights(scene: Scene) -> Cells:
    """Weight of each latent cell in the loss, (1, 16, 16): 1, more where a thing is, and most where it is a small
    one."""
    weights = np.ones((1, GRID, GRID), np.float32)
    for thing in scene.objects:
        share = silhouette(thing).reshape(GRID, CELL, GRID, CELL).max((1, 3))
        weights = np.maximum(weights, 1 + (5 if thing.is_small else 2) * share)
    return weights


def changed_cells(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Cells:
    """Weight of each latent cell in the loss for two uint8 pictures: (1, 16, 16), 1 where they are alike, 3 to 9 where
    they differ, more where few cells do."""
    different = np.abs(before.astype(np.int16) - after).max(-1) > 8
    share = different.reshape(GRID, CELL, GRID, CELL).any((1, 3))[None].astype(np.float32)
    return 1 + share * np.clip(np.float32(160) / max(share.sum(), 1), 2, 8)


@dataclass(frozen=True, eq=False)
class Drawn:
    """Some scenes before the autoencoder sees them: pictures uint8 (n, 128, 128, 3), loss weights (n, 1, 16, 16), what
    each cell shows, bool (n, 256, labels), token ids of whole sentences and of short phrases (n, 2, texts, 32)."""

    pictures: NDArray[np.uint8]
    weights: Cells
    shown: NDArray[np.bool_]
    ids: Ids


def draw(seed: int, numbers: NDArray[np.int64], texts: int, words: Words) -> Drawn:
    """Training scenes by number; `texts` sentences and as many phrases for each."""
    scenes = [sample_scene(np.random.default_rng((seed, 1, int(n))), part="train") for n in numbers]
    said: list[str] = []
    for number, scene in zip(numbers, scenes, strict=True):
        rng = np.random.default_rng((seed, 4, int(number)))
        said += [caption(scene, rng) for _ in range(texts)] + [short_phrase(scene, rng) for _ in range(texts)]
    return Drawn(
        np.stack([render(scene) for scene in scenes]),
        np.stack([cell_weights(scene) for scene in scenes]),
        np.stack([cell_labels(scene, [GRID]) for scene in scenes]),
        words.ids(said).reshape(len(numbers), 2, texts, TOKENS),
    )


def training_pair(seed: int, forms: Mapping[str, float], number: int) -> Pair:
    """Pair `number` of the training split."""
    return sample_pair(np.random.default_rng((seed, 11, number)), forms, "train")


@dataclass(frozen=True, eq=False)
class DrawnPairs:
    """Some pairs before the autoencoder sees them: pictures uint8 (n, 2, 128, 128, 3), loss weights (n, 1, 16, 16),
    token ids of instructions (n, 2, texts, 32) told forwards and backwards (of what is added or removed, forwards
    twice), whether it is a change (n,)."""

    pictures: NDArray[np.uint8]
    weights: Cells
    ids: Ids
    changes: NDArray[np.bool_]


def draw_pairs(
    seed: int, forms: Mapping[str, float], numbers: NDArray[np.int64], texts: int, words: Words
) -> DrawnPairs:
    """Training pairs by number, with `texts` instructions each way."""
    pictures, weights, changes = [], [], []
    told: list[str] = []
    for number in numbers:
        pair, rng = training_pair(seed, forms, int(number)), np.random.default_rng((seed, 13, int(number)))
        both, change = (render(pair.before), render(pair.after)), pair.edit.action == "change"
        ways = (pair, inverse(pair) if change else pair)
        told += [training_instruction(way, rng) for way in ways for _ in range(texts)]
        pictures.append(np.stack(both))
        weights.append(np.maximum(changed_cells(*both), cell_weights(pair.after)))
        changes.append(change)
    ids = words.ids(told).reshape(len(numbers), 2, texts, TOKENS)
    return DrawnPairs(np.stack(pictures), np.stack(weights), ids, np.array(changes))


def in_chunks(
    draw: Callable[[NDArray[np.int64]], T], numbers: NDArray[np.int64], size: int, pool: ProcessPoolExecutor | None
) -> Iterator[tuple[NDArray[np.int64], T]]:
    """The numbers, `size` at a time, with what `draw` makes of them in `pool`, or here without one."""
    chunks = [numbers[i : i + size] for i in range(0, len(numbers), size)]
    yield from zip(chunks, (pool.map if pool else map)(draw, chunks), strict=True)


@contextmanager
def drawers(processes: int) -> Iterator[ProcessPoolExecutor | None]:
    """Processes that draw scenes, or None for one."""
    if processes < 2:
        yield None
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield pool
