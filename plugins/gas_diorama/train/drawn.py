"""Training scenes and pairs as pictures, loss weights and texts: what processes draw before networks see it. No torch,
so that a process starts at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from gas_diorama.world.asking import cell_labels
from gas_diorama.world.drawing import render, silhouette
from gas_diorama.world.language import caption, short_phrase
from gas_diorama.world.pairs import Pair, inverse, sample_pair, training_instruction
from gas_diorama.world.scene import CELL, GRID, Scene, sample_scene

Cells = NDArray[np.float32]


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
    each cell shows, bool (n, 256, labels), and for each scene its whole sentences and its short phrases."""

    pictures: NDArray[np.uint8]
    weights: Cells
    shown: NDArray[np.bool_]
    whole: list[list[str]]
    short: list[list[str]]


def draw(seed: int, numbers: NDArray[np.int64], texts: int) -> Drawn:
    """Training scenes by number; `texts` sentences and as many phrases for each."""
    scenes = [sample_scene(np.random.default_rng((seed, 1, int(n))), part="train") for n in numbers]
    words = [np.random.default_rng((seed, 4, int(n))) for n in numbers]
    return Drawn(
        np.stack([render(scene) for scene in scenes]),
        np.stack([cell_weights(scene) for scene in scenes]),
        np.stack([cell_labels(scene, [GRID]) for scene in scenes]),
        [[caption(scene, rng) for _ in range(texts)] for scene, rng in zip(scenes, words, strict=True)],
        [[short_phrase(scene, rng) for _ in range(texts)] for scene, rng in zip(scenes, words, strict=True)],
    )


def training_pair(seed: int, forms: Mapping[str, float], number: int) -> Pair:
    """Pair `number` of the training split."""
    return sample_pair(np.random.default_rng((seed, 11, number)), forms, "train")


@dataclass(frozen=True, eq=False)
class DrawnPairs:
    """Some pairs before the autoencoder sees them: pictures uint8 (n, 2, 128, 128, 3), loss weights (n, 1, 16, 16),
    instructions told forwards and backwards (of what is added or removed, forwards twice), whether it is a change."""

    pictures: NDArray[np.uint8]
    weights: Cells
    told: list[tuple[list[str], list[str]]]
    changes: list[bool]


def draw_pairs(seed: int, forms: Mapping[str, float], numbers: NDArray[np.int64], texts: int) -> DrawnPairs:
    """Training pairs by number, with `texts` instructions each way."""
    pictures, weights, told, changes = [], [], [], []
    for number in numbers:
        pair, rng = training_pair(seed, forms, int(number)), np.random.default_rng((seed, 13, int(number)))
        both, change = (render(pair.before), render(pair.after)), pair.edit.action == "change"
        ways = (pair, inverse(pair) if change else pair)
        forwards, backwards = ([training_instruction(way, rng) for _ in range(texts)] for way in ways)
        told.append((forwards, backwards))
        pictures.append(np.stack(both))
        weights.append(np.maximum(changed_cells(*both), cell_weights(pair.after)))
        changes.append(change)
    return DrawnPairs(np.stack(pictures), np.stack(weights), told, changes)


@contextmanager
def drawers(processes: int) -> Iterator[ProcessPoolExecutor | None]:
    """Processes that draw scenes, or None for one."""
    if processes < 2:
        yield None
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        yield pool
