"""`python -m gas_diorama.train.evaluate_grounding`: how well the grounders find things in held-out scenes, as a table
and as JSON."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from transformers import BertTokenizer

from gas.errors import ObjectNotFound
from gas.interfaces import GroundJob
from gas.types import Region
from gas_diorama.world.asking import ABSENT, Asked, ask_absent, plain, things, visible_boxes
from gas_diorama.world.bank import SceneBank
from gas_diorama.world.detector import detect
from gas_diorama.world.drawing import masks
from gas_diorama.world.language import article
from gas_diorama.world.scene import Scene, Thing

if TYPE_CHECKING:
    from gas.run.session import Session

THRESHOLD = 0.4
STRATA = ("all", "objects", "small objects", "same kind twice", "ground", "sky")


def box_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes x0, y0, x1, y1."""
    wide, high = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = max(wide, 0) * max(high, 0)
    return float(both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both))


def mask_overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two masks in [0, 1], each taken at one half."""
    one, other = a >= 0.5, b >= 0.5
    return float((one & other).sum() / max((one | other).sum(), 1))


def strata_of(scene: Scene, index: int) -> list[str]:
    """The rows of the table that thing `index` of `things(scene)` counts for."""
    what = things(scene)[index]
    if not isinstance(what, Thing):
        return ["all", what]
    twin = sum(other.kind == what.kind for other in scene.objects) > 1
    return ["all", "objects", *["small objects"] * what.is_small, *["same kind twice"] * twin]


def chain(session: Session, picture: np.ndarray, phrases: Sequence[str]) -> list[Region]:
    """What the session's grounders find for the phrases, asked together. ObjectNotFound as they raise it."""
    regions = [Region(phrase, subtask=number) for number, phrase in enumerate(phrases)]
    for name in session.settings.grounders:
        regions = session.backend("grounders", name).ground(GroundJob(picture, regions))
    return regions


def find(session: Session, picture: np.ndarray, phrases: Sequence[str]) -> list[Region | None]:
    """As `chain`, with None for each phrase that is not found; the others are then asked again, still together.

    Raises:
        ObjectNotFound: it names none of the phrases, so nobody knows which is meant.
    """
    missing: set[int] = set()
    while len(missing) < len(phrases):
        left = [number for number in range(len(phrases)) if number not in missing]
        try:
            found = chain(session, picture, [phrases[number] for number in left])
        except ObjectNotFound as error:
            named = [number for number in left if repr(phrases[number]) in str(error)]
            if not named:
                raise
            missing.add(named[-1])
        else:
            places = dict(zip(left, found, strict=True))
            return [places.get(number) for number in range(len(phrases))]
    return [None] * len(phrases)


def evaluate_grounding(session: Session, scenes: int = 200, part: str = "test", seed: int = 7) -> dict[str, object]:
    """Figures of the session's grounders on `scenes` scenes of a split.

    "present": for each stratum how many phrases were asked, the share found with an overlap of at least 0.5 ("recall"),
    and the mean overlaps of boxes and masks of what was found at all. All plain phrases of a scene are asked together.
    "whole pictures": the share of scenes in which every phrase was found so.
    "both of a kind": in scenes with twins, how often "a car", asked twice, finds both. "absent": the share of phrases
    for something absent, each asked alone, that bring a region, by form and for all forms but strangers. "seconds": of
    the whole chain for a picture, without loading.
    """
    bank = SceneBank(scenes, seed, part=part)
    rng = np.random.default_rng(seed)
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in STRATA}
    wrong: dict[str, list[bool]] = {form: [] for form in ABSENT}
    both: list[bool] = []
    whole: list[bool] = []
    seconds: list[float] = []
    find(session, bank.pictures(np.array([0]))[0], [one.text for one in plain(bank.scene(0))])
    for number in range(scenes):
        scene, picture = bank.scene(number), bank.pictures(np.array([number]))[0]
        boxes, exact = visible_boxes(scene), masks(scene)
        asked: list[Asked] = plain(scene)
        begin = time.monotonic()
        found = find(session, picture, [one.text for one in asked])
        seconds.append(time.monotonic() - begin)
        whole.append(all(_place(region, box) >= 0.5 for region, box in zip(found, boxes, strict=True)))
        for index, region in enumerate(found):
            values = (0.0, 0.0)
            if region is not None and region.box is not None:
                mask = 0.0 if region.mask is None else mask_overlap(region.mask, exact[things(scene)[index]])
                values = box_overlap(np.array(region.box), boxes[index]), mask
            for name in strata_of(scene, index):
                rows[name].append(values)
        for kind in sorted({thing.kind for thing in scene.objects}):
            alike = [index for index, thing in enumerate(scene.objects) if thing.kind == kind]
            if len(alike) > 1:
                pair = find(session, picture, [article(kind)] * len(alike))
                best = [max(_place(region, boxes[index]) for region in pair) for index in alike]
                both.append(min(best) >= 0.5)
        for form in ABSENT:
            wrong[form].append(find(session, picture, [ask_absent(scene, rng, form).text])[0] is not None)
    present = {}
    for name, pairs in rows.items():
        table = np.array(pairs).reshape(-1, 2)
        there = table[:, 0] > 0
        present[name] = {
            "asked": len(table),
            "recall": _mean(table[:, 0] >= 0.5),
            "box_iou": _mean(table[there, 0]),
            "mask_iou": _mean(table[there, 1]),
        }
    return {
        "present": present,
        "whole pictures": _mean(whole),
        "both of a kind": _mean(both),
        "absent": {
            "all": _mean([one for form in ABSENT if form != "stranger" for one in wrong[form]]),
            **{form: _mean(values) for form, values in wrong.items()},
        },
        "seconds": {"mean": float(np.mean(seconds)), "largest": float(np.max(seconds))},
        "setting": {
            "scenes": scenes,
            "part": part,
            "seed": seed,
            "grounders": {
                name: session.backend("grounders", name).options.model_dump(mode="json")
                for name in session.settings.grounders
            },
        },
    }


def _place(region: Region | None, box: np.ndarray) -> float:
    return 0.0 if region is None or region.box is None else box_overlap(np.array(region.box), box)


def _mean(values: object) -> float | None:
    array = np.asarray(values, np.float64)
    return float(array.mean()) if array.size else None


def table(figures: dict[str, Any]) -> str:
    """The figures as text."""

    def shown(value: float | None) -> str:
        return "     -" if value is None else f"{value:6.3f}"

    lines = ["phrases               asked  recall  box IoU  mask IoU"]
    for name, row in figures["present"].items():
        lines.append(
            f"{name:20}  {row['asked']:5}  {shown(row['recall'])}   {shown(row['box_iou'])}    {shown(row['mask_iou'])}"
        )
    lines.append(f"\nwhole pictures                {shown(figures['whole pictures'])}")
    lines.append(f"both of a kind, asked twice   {shown(figures['both of a kind'])}")
    lines.append("\nabsent: a region returned")
    lines += [f"{name:20}  {shown(value)}" for name, value in figures["absent"].items()]
    seconds = figures["seconds"]
    lines.append(f"\nseconds a picture: {seconds['mean']:.2f}, at most {seconds['largest']:.2f}")
    return "\n".join(lines) + "\n"


def measure_detector(
    detector: nn.Module, tokenizer: BertTokenizer, scenes: int, part: str, seed: int = 7
) -> dict[str, float]:
    """Figures of the bare detector on `scenes` scenes of a split: recall at 0.5, mean overlap, recall of small things,
    share of absent phrases for which something is returned, and the threshold at which as many present phrases are
    missed as absent ones are answered."""
    bank = SceneBank(scenes, seed, part=part)
    pictures = bank.pictures(np.arange(scenes))
    present = [plain(bank.scene(n)) for n in range(scenes)]
    rng = np.random.default_rng(seed)
    forms = [form for form in ABSENT if form != "stranger"]
    absent = [[ask_absent(bank.scene(n), rng, form).text for form in forms] for n in range(scenes)]
    overlaps: list[float] = []
    scores: list[float] = []
    small: list[bool] = []
    parts: list[bool] = []
    answers = detect(detector, tokenizer, pictures, [[one.text for one in some] for some in present])
    for n, some in enumerate(answers):
        scene, boxes = bank.scene(n), visible_boxes(bank.scene(n))
        for i, (score, box) in enumerate(some):
            overlaps.append(box_overlap(np.array(box), boxes[i]))
            scores.append(score)
            small.append(i < len(scene.objects) and scene.objects[i].is_small)
            parts.append(i >= len(scene.objects))
    invented = np.array([[score for score, _ in some] for some in detect(detector, tokenizer, pictures, absent)])
    iou, certain, little, part_of = np.array(overlaps), np.array(scores), np.array(small), np.array(parts)
    hit = (iou >= 0.5) & (certain >= THRESHOLD)
    levels = np.linspace(0.05, 0.95, 91)
    gap = [abs(float((certain < level).mean()) - float((invented >= level).mean())) for level in levels]
    even = float(levels[int(np.argmin(gap))])
    return {
        "recall": float(hit.mean()),
        "recall_objects": float(hit[~part_of].mean()),
        "recall_small": float(hit[little].mean()) if little.any() else float("nan"),
        "iou": float(iou.mean()),
        "iou_objects": float(iou[~part_of].mean()),
        "iou_small": float(iou[little].mean()) if little.any() else float("nan"),
        "absent": float((invented >= THRESHOLD).mean()),
        **{
            f"absent_{form.replace(' ', '_')}": float(v)
            for form, v in zip(forms, (invented >= THRESHOLD).mean(0), strict=True)
        },
        "even": even,
        "missed_even": float((certain < even).mean()),
    }


def main(arguments: list[str] | None = None) -> None:
    """Prints the table and writes the figures to `--json`."""
    from gas.run.session import Session

    parser = argparse.ArgumentParser(prog="python -m gas_diorama.train.evaluate_grounding", description=__doc__)
    parser.add_argument("--profile", default="diorama", help="whose grounders and options are used")
    parser.add_argument("--grounder", action="append", default=None, help="others than the profile's, in order")
    parser.add_argument(
        "-o", "--option", action="append", default=[], metavar="GROUNDER.NAME=VALUE", help="an option of a grounder"
    )
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: torch's)")
    parser.add_argument("--json", type=Path, default=None, help="file for the figures")
    chosen = parser.parse_args(arguments)
    if chosen.threads is not None:
        torch.set_num_threads(chosen.threads)
    options: dict[str, dict[str, object]] = {}
    for one in chosen.option:
        name, value = one.split("=", 1)
        backend, key = name.split(".", 1)
        options.setdefault(backend, {})[key] = value
    flags: dict[str, Any] = {} if chosen.grounder is None else {"grounders": tuple(chosen.grounder)}
    session = Session.of(profile=chosen.profile, options=options, offline=True, **flags)
    figures = evaluate_grounding(session, chosen.scenes, chosen.part, chosen.seed)
    sys.stdout.write(table(figures))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
