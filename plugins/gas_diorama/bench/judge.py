"""Whether an edit of a diorama scene was done: DESIGN.md, "Judging an edit there". numpy only, about 0.2 s a subtask.

A subtask is done when, inside its region (`world.regions`),
(a) among renderings of the edited scene with every kind x colour in the place of the subtask's thing (or with every
    ground, or every sky), each shifted by up to 4 pixels and scaled by up to 10 %, the target is nearest to the output,
(b) and the output is nearer to the exact result than half the way: |out - exact| <= 0.5 |source - exact|, over RGB.

Where something is added or removed, "nothing there" is one more rendering.
`python -m gas_diorama.bench.judge` measures the judge itself.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gas_diorama import folders
from gas_diorama.bench.sprites import SCALES, SHIFTS, Array, Picture, sprites, windows
from gas_diorama.bench.verdict import ABSENT, Verdict, verdict
from gas_diorama.world.world import (
    COLOURS,
    GROUNDS,
    HOME,
    KINDS,
    SIZE,
    SKIES,
    Edit,
    Scene,
    Thing,
    View,
    apply,
    masks,
    name,
    regions,
    render,
    silhouette,
)


class Judge:
    """Judges outputs for one scene and its edits. The renderings are made at the first output and kept for the next.

    Outputs are pictures of `view`; in another than the usual one only things may be edited, and all of them within it.
    """

    def __init__(self, scene: Scene, edits: Sequence[Edit], view: View = HOME) -> None:
        if view != HOME and any(edit.part != "thing" for edit in edits):
            raise ValueError("ground and sky are judged in the usual view only")
        self.scene, self.edits, self.view = scene, tuple(edits), view
        self.edited = apply(scene, edits)
        self.source = render(scene, view)
        self.exact = render(self.edited, view)
        self.regions = [region > 0 for region in regions(scene, edits, view)]
        self._measures: list[Callable[[Array], dict[str, float]]] | None = None

    def verdicts(self, output: Picture) -> list[Verdict]:
        """One verdict per edit, in their order, on `output`: uint8 (128, 128, 3), or of the view's shape. ValueError on
        another shape."""
        found = []
        for edit, region, measured in zip(self.edits, self.regions, self._measured(output), strict=True):
            way = _distance(self.source, self.exact, region)
            ratio, still = _distance(output, self.exact, region) / way, _distance(output, self.source, region)
            nothing, choice = measured.get(ABSENT), _candidates(edit, measured)
            found.append(verdict(edit, choice, nothing=nothing, still=still**2, ratio=ratio, way=way**2))
        return found

    def distances(self, output: Picture) -> list[dict[str, float]]:
        """For each edit the squared distance inside its region from `output` to the nearest shift and scale of each
        rendering, by the rendering's name. ValueError on another shape."""
        return [_candidates(edit, one) for edit, one in zip(self.edits, self._measured(output), strict=True)]

    def _measured(self, output: Picture) -> list[dict[str, float]]:
        """As `distances`, with the distance to the place without any thing for changes of things too."""
        if output.shape != self.source.shape or output.dtype != np.uint8:
            raise ValueError(f"the judge needs uint8 {self.source.shape}, not {output.dtype} {output.shape}")
        if self._measures is None:
            pairs = zip(self.edits, self.regions, strict=True)
            self._measures = [self._prepare(edit, region) for edit, region in pairs]
        seen = output.astype(np.float32)
        return [measure(seen) for measure in self._measures]

    def _prepare(self, edit: Edit, region: NDArray[np.bool_]) -> Callable[[Array], dict[str, float]]:
        return self._prepare_thing(edit, region) if edit.part == "thing" else self._prepare_backdrop(edit, region)

    def _prepare_thing(self, edit: Edit, region: NDArray[np.bool_]) -> Callable[[Array], dict[str, float]]:
        """Squared distances to all renderings without making them.

        A rendering is `behind * (1 - c) + L` seen through what stands in front (F), so with r = out - base
        |out - rendering|^2 = |r|^2 - 2 <F r, L - behind c> + |F (L - behind c)|^2: a few matrix products. The moved
        thing keeps its depth.
        """
        thing = edit.source if edit.target is None else edit.target
        assert isinstance(thing, Thing)
        others = [other for other in self.edited.objects if other != thing]
        base = render(replace(self.edited, objects=tuple(others)), self.view).astype(np.float32)
        farther = tuple(other for other in others if (other.y, other.x) < (thing.y, thing.x))
        behind = render(replace(self.edited, objects=farther), self.view).astype(np.float32)
        front = region.astype(np.float32)
        for other in others:
            if other not in farther:
                front = front * (1 - silhouette(other, self.view))
        stock = sprites(self.edited, thing, front, behind, self.view)

        def measure(seen: Array) -> dict[str, float]:
            rest = (seen - base) * region[..., None]
            through = rest * front[..., None]
            moved, hidden = windows(through, stock.window), windows((through * behind).sum(-1), stock.window)
            names, scales = stock.layer.shape[:2]
            layer = moved @ stock.layer.reshape(names * scales, -1).astype(np.float32).T
            cover = hidden @ stock.cover.reshape(-1, stock.cover.shape[-1]).T
            product = layer.reshape(-1, names, scales) - stock.of_kind(
                cover.reshape(-1, len(KINDS), scales).astype(np.float64)
            )
            nothing = float((rest.astype(np.float64) ** 2).sum())
            best = (nothing - 2 * product + stock.fixed).min(axis=(0, 2))
            return dict(zip(stock.names, best.tolist(), strict=True)) | {ABSENT: nothing}

        return measure

    def _prepare_backdrop(self, edit: Edit, region: NDArray[np.bool_]) -> Callable[[Array], dict[str, float]]:
        free = masks(self.edited)[edit.part][..., None]
        own = render(replace(self.edited, objects=())).astype(np.float32)
        rows = (self.edited.horizon, SIZE) if edit.part == "ground" else (0, self.edited.horizon)
        candidates: list[tuple[str, Array]] = []
        for other in GROUNDS if edit.part == "ground" else SKIES:
            empty = replace(_with_backdrop(self.edited, edit.part, other), objects=())
            plain = render(empty).astype(np.float32)
            pictures = [self.exact + free * (variant - own) for variant in _variants(plain, rows)]
            candidates.append((name(other), np.stack([picture[region] for picture in pictures])))

        def measure(seen: Array) -> dict[str, float]:
            return {label: float(((stack - seen[region]) ** 2).sum((1, 2)).min()) for label, stack in candidates}

        return measure


def wrong(scene: Scene, edits: Sequence[Edit], index: int) -> list[Picture]:
    """Pictures in which all is exact but subtask `index`: each colour but the target's, or each other ground or sky.
    None for a removal."""
    edit, edited = edits[index], apply(scene, edits)
    if edit.target is None:
        return []
    if isinstance(edit.target, str):
        backdrops = [one for one in (GROUNDS if edit.part == "ground" else SKIES) if one != edit.target]
        return [render(_with_backdrop(edited, edit.part, one)) for one in backdrops]
    things = [replace(edit.target, colour=one) for one in COLOURS if one != edit.target.colour]
    return [
        render(replace(edited, objects=tuple(thing if o == edit.target else o for o in edited.objects)))
        for thing in things
    ]


def _candidates(edit: Edit, measured: dict[str, float]) -> dict[str, float]:
    """What a verdict chooses from: that nothing is there only where something is added or removed."""
    return {label: one for label, one in measured.items() if label != ABSENT or edit.action != "change"}


def _with_backdrop(scene: Scene, part: str, name: str) -> Scene:
    return replace(scene, ground=name) if part == "ground" else replace(scene, sky=name)


def _distance(a: Array | Picture, b: Array | Picture, region: NDArray[np.bool_]) -> float:
    return float(np.linalg.norm(a[region].astype(np.float64) - b[region].astype(np.float64)))


def _variants(backdrop: Array, rows: tuple[int, int]) -> Iterable[Array]:
    """The backdrop under each shift and scale: the pattern of `rows` (first, past last) moves, the horizon stays."""
    middle = (rows[0] + rows[1]) / 2
    for scale, (dy, dx) in itertools.product(SCALES, SHIFTS):
        steps = np.arange(SIZE)
        down = np.clip(np.rint((steps - middle) / scale + middle - dy), rows[0], rows[1] - 1).astype(int)
        across = np.clip(np.rint((steps - SIZE / 2) / scale + SIZE / 2 - dx), 0, SIZE - 1).astype(int)
        yield backdrop[down][:, across]


BLURS = (4, 8, 16)
"""Standard deviations in pixels of the Gaussian blurs that the judge is tried with: half a latent cell, one, two."""


def figures(
    scenes: Sequence[tuple[Scene, Sequence[Edit]]], round_trip: Callable[[Picture], Picture]
) -> dict[str, tuple[int, int]]:
    """How many answers of each sort pass, and of how many, over all subtasks of `scenes`.

    `round_trip` maps uint8 (n, 128, 128, 3) to the same after a VAE. Wrong answers and blurs are told apart for things
    and backdrops (ground and sky), because a blurred sky still is that sky.
    """
    from scipy.ndimage import gaussian_filter

    passed: dict[str, list[bool]] = {}
    for scene, edits in scenes:
        judge = Judge(scene, edits)
        answers = {"source": judge.source}
        answers["exact, VAE round trip"], answers["source, VAE round trip"] = round_trip(
            np.stack([judge.exact, judge.source])
        )
        for blur in BLURS:
            soft = gaussian_filter(judge.exact.astype(np.float32), (blur, blur, 0))
            answers[f"exact, blurred by {blur} px"] = np.rint(soft).astype(np.uint8)
        for sort, output in answers.items():
            for edit, one in zip(edits, judge.verdicts(output), strict=True):
                part = "" if "blurred" not in sort else ", things" if edit.part == "thing" else ", backdrops"
                passed.setdefault(sort + part, []).append(one.done)
        for index, edit in enumerate(edits):
            sort = "wrong colour" if edit.part == "thing" else "wrong ground or sky"
            for output in wrong(scene, edits, index):
                passed.setdefault(sort, []).append(judge.verdicts(output)[index].done)
    return {sort: (sum(done), len(done)) for sort, done in passed.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the judge's own figures on validation cases, as lines of "share passed of number  sort"."""
    import torch
    from diffusers import AutoencoderKL

    from gas_diorama.world.cases import cases
    from gas_diorama.world.networks import round_trip

    parser = argparse.ArgumentParser(prog="python -m gas_diorama.bench.judge", description=main.__doc__)
    parser.add_argument("--vae", default=str(folders.WEIGHTS / "sd" / "vae"), help="its folder")
    parser.add_argument("--cases", type=int, default=200, help="how many, a multiple of four")
    chosen = parser.parse_args(arguments)
    vae = AutoencoderKL.from_pretrained(chosen.vae, torch_dtype=torch.float32).eval()
    tried = [(case.scene, case.edits) for case in cases(chosen.cases, "validation")]
    for sort, (done, count) in figures(tried, lambda pictures: round_trip(vae, pictures)).items():
        sys.stdout.write(f"{100 * done / count:6.1f} %  of {count:4d}  {sort}\n")


if __name__ == "__main__":
    main()
