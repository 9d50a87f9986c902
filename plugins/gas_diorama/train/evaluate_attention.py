"""`python -m gas_diorama.train.evaluate_attention`: where an instruction model's attention says that an edit belongs.

Against the exact region, for both branches that ZONE may use, each size of maps, a sweep of thresholds and each action;
and the same for what the instruction adds to the prediction."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from gas.diffusion.attention.control import control_attention
from gas.diffusion.attention.maps import AttentionMaps
from gas.diffusion.attention.sites import unet_sites
from gas.interfaces import GroundJob
from gas_diorama.bench.follow import Guidance, Parts, Pictures, edited_latents, followed, load_parts, where_added
from gas_diorama.train.train_instruct import INSTRUCT
from gas_diorama.world.drawing import masks, render, silhouette
from gas_diorama.world.pairs import Pair, held_out
from gas_diorama.world.scene import GRID, SIZE, Edit, Scene, Thing, apply

if TYPE_CHECKING:
    from gas.run.session import Session

Mask = NDArray[np.bool_]
Setting = tuple[str, int, int]
"""Branch, or "prediction"; cells on a side of the maps; threshold."""

BRANCHES = ("instruction", "null")
"""The rows that are told the instruction; those that are told none (ZONE's code)."""
THRESHOLDS = (0, 4, 8, 12, 16, 24, 32, 40, 54, 64, 80, 96, 112, 128, 144, 160, 176, 208)


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of one instruction: the pair, the model's answer, whether it did what it was told, where the edit
    belongs (an added thing where the answer has it), and the attention to the start and the end mark, float32 (2, side,
    side), under (branch, side); what the instruction adds to the prediction, float32 (16, 16)."""

    pair: Pair
    picture: Pictures
    done: bool
    region: Mask
    marks: Mapping[tuple[str, int], torch.Tensor]
    relevance: torch.Tensor


def exact_region(before: Scene, edit: Edit) -> Mask:
    """Where `edit` changes the scene: a thing's silhouettes before and after, or what is visible of ground or sky. It
    has no margin, unlike the regions that editors are given."""
    if edit.part == "thing":
        ends = [end for end in (edit.source, edit.target) if isinstance(end, Thing)]
        return np.logical_or.reduce([silhouette(end) > 0.5 for end in ends])
    found: Mask = (masks(before)[edit.part] > 0.5) | (masks(apply(before, [edit]))[edit.part] > 0.5)
    return found


def look(
    parts: Parts, pairs: Sequence[tuple[Pair, str]], guidance: Guidance, seed: int = 0, batch: int = 14
) -> list[Seen]:
    """The model's answers to the pairs' instructions, and its attention on the way, averaged as it goes."""
    layers = unet_sites(parts.unet, "cross")
    empty, found = parts.embed([""]), []
    for start in range(0, len(pairs), batch):
        some = pairs[start : start + batch]
        source = parts.encode(np.stack([render(pair.before) for pair, _ in some]))
        text = parts.embed([words for _, words in some])
        maps = {layer.grid((GRID, GRID))[0]: AttentionMaps((GRID, GRID)) for layer in layers}
        relevance = torch.zeros(len(some), GRID, GRID)
        with ExitStack() as watching:
            for side, one in maps.items():
                own = [layer for layer in layers if layer.grid((GRID, GRID))[0] == side]
                watching.enter_context(control_attention(own, one))
            latents = edited_latents(parts.unet, source, text, empty, guidance, seed + start, relevance)
        means = {side: one.mean().unflatten(0, (3, -1)) for side, one in maps.items()}  # told all, the picture, nothing
        for number, ((pair, words), picture) in enumerate(zip(some, parts.decode(latents), strict=True)):
            last = min(len(parts.tokenizer(words).input_ids), text.shape[1]) - 1
            marks = {}
            for side, one in means.items():
                marks["instruction", side] = one[0, number, [0, last]]
                marks["null", side] = one[1:, number][:, [0, last]].mean(0)
            (edit,) = where_added(pair.before, [pair.edit], picture)
            done = followed(pair, picture).done
            found.append(Seen(pair, picture, done, exact_region(pair.before, edit), marks, relevance[number]))
    return found


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks; 0 when both are empty."""
    return float((one & other).sum() / max((one | other).sum(), 1))


def compare(
    seen: Sequence[Seen], session: Session, thresholds: Sequence[int] = THRESHOLDS
) -> dict[Setting, dict[str, NDArray[np.float64]]]:
    """For each setting, one value for each of `seen`: the overlap (IoU) of its exact region with the attention's rough
    region ("rough") and with the region that the session's editor zone makes of that ("region": the segment that it
    chooses, or the rough one), and whether there was a rough region at all ("found")."""
    editor: Any = session.backend("editors", "zone")
    segmenter = session.segmenter()
    figures: dict[Setting, dict[str, list[float]]] = {}
    for one in seen:
        shown = render(one.pair.before) if one.pair.edit.action == "remove" else one.picture
        found = [] if segmenter is None else segmenter.ground(GroundJob(shown))
        segments = [region.mask > 0.5 for region in found if region.mask is not None]
        size = (SIZE, SIZE)
        differences = {key: editor.difference(marks[0], marks[1], size) for key, marks in one.marks.items()}
        differences["prediction", GRID] = editor.lack(one.relevance, size)
        for (branch, side), difference in differences.items():
            for threshold in thresholds:
                rough = editor.rough(difference, threshold)
                chosen, _ = editor.choose(rough, segments)
                own = figures.setdefault((branch, side, threshold), {"rough": [], "region": [], "found": []})
                own["rough"].append(overlap(rough, one.region))
                own["region"].append(overlap(rough if chosen is None else segments[chosen], one.region))
                own["found"].append(float(rough.any()))
    return {setting: {name: np.array(all_of) for name, all_of in own.items()} for setting, own in figures.items()}


def by_action(values: NDArray[np.float64], seen: Sequence[Seen]) -> dict[str, float]:
    """Means over all, over those whose instruction was followed, and over each action."""
    actions = np.array([one.pair.edit.action for one in seen])
    done = np.array([one.done for one in seen])
    groups = {"all": np.ones(len(seen), bool), "followed": done}
    groups |= {action: actions == action for action in ("change", "add", "remove")}
    return {name: float(values[group].mean()) for name, group in groups.items() if group.any()}


def main(arguments: list[str] | None = None) -> None:
    """Prints for each branch and size of maps the threshold whose region overlaps the exact one best, and with --sweep
    every threshold; writes all of it to --json. Regions of attention are compared before and after the choice of a
    segment."""
    from gas.run.session import Session

    parser = argparse.ArgumentParser(prog="python -m gas_diorama.train.evaluate_attention", description=__doc__)
    parser.add_argument("--model", type=Path, default=INSTRUCT, help="folder of the instruction model")
    parser.add_argument("--pairs", type=int, default=84, help="held-out instructions, all forms alike")
    parser.add_argument("--part", default="validation", choices=("validation", "test"), help="choose on validation")
    parser.add_argument("--text-guidance", type=float, default=Guidance.text)
    parser.add_argument("--image-guidance", type=float, default=Guidance.image)
    parser.add_argument("--steps", type=int, default=Guidance.steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", default="diorama", help="whose segmenter is used")
    parser.add_argument("--sweep", action="store_true", help="print every threshold")
    parser.add_argument("--json", type=Path, default=None, help="file for the figures")
    chosen = parser.parse_args(arguments)
    options = {"zone": {"model": str(chosen.model)}}
    session = Session.of(profile=chosen.profile, editor="zone", options=options, device="cpu")
    guidance = Guidance(chosen.text_guidance, chosen.image_guidance, chosen.steps)
    seen = look(load_parts(chosen.model), held_out(chosen.pairs, chosen.part), guidance, chosen.seed)
    figures = compare(seen, session)
    table = {
        setting: {name: by_action(own[name], seen) for name in ("rough", "region", "found")}
        for setting, own in figures.items()
    }
    sys.stdout.write(f"followed: {np.mean([one.done for one in seen]):.2f} of {len(seen)}; IoU with the exact region\n")
    for branch, side in dict.fromkeys(setting[:2] for setting in table):
        own = {setting: values for setting, values in table.items() if setting[:2] == (branch, side)}
        best = max(own, key=lambda setting: own[setting]["region"]["all"])
        for setting, values in own.items():
            if setting == best or chosen.sweep:
                sys.stdout.write(_line(setting, values, setting == best) + "\n")
    if chosen.json is not None:
        plain = [{"branch": b, "side": s, "threshold": t, **values} for (b, s, t), values in table.items()]
        what = {"pairs": chosen.pairs, "part": chosen.part, "seed": chosen.seed, **vars(guidance)}
        chosen.json.write_text(json.dumps({"attention": plain, "settings": what}, indent=2) + "\n")


def _line(setting: Setting, values: Mapping[str, Mapping[str, float]], best: bool) -> str:
    branch, side, threshold = setting
    shown = [f"{branch:11} {side:2}x{side:<2} {threshold:3}{'*' if best else ' '}"]
    for name in ("rough", "region"):
        shown.append(f"{name} " + " ".join(f"{group} {value:.3f}" for group, value in values[name].items()))
    return "  ".join([*shown, f"found {values['found']['all']:.2f}"])


if __name__ == "__main__":
    main()
