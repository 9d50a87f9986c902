"""The cost of finding things with networks of the published sizes and random weights: meaningless regions at real
costs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gas.errors import ResultRefused
from gas.interfaces import GroundJob
from gas.models.quiet import no_bars
from gas.types import Region
from gas_diorama.bench.memory import peak_memory, shown

if TYPE_CHECKING:
    from rich.table import Table

SIDE = 1024
"""Side of the picture in pixels."""
PHRASES = ("a red car", "the grass", "the clear sky")
BOXES = ((0.1, 0.5, 0.4, 0.9), (0.0, 0.6, 1.0, 1.0), (0.0, 0.0, 1.0, 0.5))
"""Where a segmenter is told that they are, in shares of the side."""
_BERT_WORDS = 30522


@dataclass(frozen=True)
class GroundingCost:
    """A grounder asked for three phrases, in a process of its own: seconds for the first picture, with loading; for
    another picture; for that one again; and the most memory that was ever resident, in bytes (None where the system
    does not tell)."""

    grounder: str
    network: str
    megapixels: float
    first: float
    other: float
    again: float
    peak_bytes: int | None


@dataclass(frozen=True)
class Kind:
    """A grounder, what its network is called, how to write it with random weights, and its options."""

    grounder: str
    network: str
    build: Callable[[Path], None]
    options: Mapping[str, Any]


def grounding_cost(
    folder: Path, kind: Kind, *, device: str = "auto", dtype: str = "auto", side: int = SIDE
) -> GroundingCost:
    """What the grounder costs with a network that is written into `folder`. ResultRefused (exit 11) when it fails."""
    from transformers.utils import logging

    with no_bars(logging):
        kind.build(folder)
    task = {
        "grounder": kind.grounder,
        "options": {**kind.options, "model": str(folder)},
        "device": device,
        "dtype": dtype,
        "side": side,
    }
    command = [sys.executable, "-m", "gas_diorama.bench.speed_grounding", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise ResultRefused(f"grounder {kind.grounder!r} failed: {last[0]}", "run: gas doctor")
    measured = json.loads(done.stdout.splitlines()[-1])
    return GroundingCost(kind.grounder, kind.network, side * side / 1e6, **measured)


def table(costs: Sequence[GroundingCost]) -> Table:
    """A row for each grounder."""
    from rich.table import Table

    size = costs[0].megapixels
    title = f"grounders of the published sizes, random weights, three phrases in {size:.2f} megapixels"
    found = Table(title=title, title_justify="left", box=None, pad_edge=False)
    found.add_column("grounder")
    found.add_column("network")
    for heading in ("s with loading", "s, another picture", "s, that one again", "resident memory"):
        found.add_column(heading, justify="right")
    for cost in costs:
        seconds = (f"{value:.1f}" for value in (cost.first, cost.other, cost.again))
        found.add_row(cost.grounder, cost.network, *seconds, shown(cost.peak_bytes))
    return found


def _grounding_dino(folder: Path) -> None:
    import torch
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection, GroundingDinoImageProcessorPil

    torch.manual_seed(0)
    GroundingDinoForObjectDetection(GroundingDinoConfig()).save_pretrained(folder)
    GroundingDinoImageProcessorPil().save_pretrained(folder)
    _bert_tokenizer(folder)


def _bert_tokenizer(folder: Path) -> None:
    """A tokenizer with as many words as BERT's, its special ones in their places."""
    from transformers import BertTokenizer

    words = [f"[unused{number}]" for number in range(_BERT_WORDS)]
    for place, word in {
        0: "[PAD]",
        100: "[UNK]",
        101: "[CLS]",
        102: "[SEP]",
        103: "[MASK]",
        1012: ".",
        1029: "?",
    }.items():
        words[place] = word
    for place, word in enumerate(sorted({word for phrase in PHRASES for word in phrase.split()}), 2000):
        words[place] = word
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)


def _sam(folder: Path) -> None:
    import torch
    from transformers import SamConfig, SamImageProcessorPil, SamModel

    torch.manual_seed(0)
    SamModel(SamConfig()).save_pretrained(folder)
    SamImageProcessorPil().save_pretrained(folder)


KINDS = (
    Kind("grounding-dino", "GroundingDINO, Swin-T", _grounding_dino, {"always_best": True}),
    Kind("sam", "Segment Anything, ViT-B", _sam, {}),
)


def _measure(task: Mapping[str, Any]) -> dict[str, Any]:
    """Seconds and memory of one grounder in this process."""
    from gas.backends.registry import Registry
    from gas.runtime import Runtime

    side, rng = task["side"], np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(2)]
    grounder = Registry.discover().create(
        "grounders", task["grounder"], task["options"], Runtime(task["device"], task["dtype"], offline=True)
    )
    asked = [
        Region(phrase, box=tuple(side * x for x in box) if grounder.segments else None, subtask=number)
        for number, (phrase, box) in enumerate(zip(PHRASES, BOXES, strict=True))
    ]
    seconds = {}
    for name, image in (("first", pictures[0]), ("other", pictures[1]), ("again", pictures[1])):
        began = time.perf_counter()
        _ask(grounder, image, asked)
        seconds[name] = time.perf_counter() - began
    return {**seconds, "peak_bytes": peak_memory()}


def _ask(grounder: Any, image: np.ndarray, regions: list[Region]) -> None:
    """Random weights may find nothing, which costs the same."""
    from gas.errors import ObjectNotFound

    try:
        grounder.ground(GroundJob(image, regions))
    except ObjectNotFound:
        return


if __name__ == "__main__":
    from gas.errors import GasError

    try:
        sys.stdout.write(json.dumps(_measure(json.loads(sys.argv[1]))) + "\n")
    except GasError as error:
        sys.exit(error.message)
