"""ZONE (Li et al. 2023, arXiv 2312.16794): edits one region from one instruction and leaves every other pixel alone.

An instruction model makes the whole picture anew; its attention to the instruction and the segments of the picture say
where the edit belongs; a filter finds the edit's own edge; only that is pasted back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from gas.diffusion.attention.maps import AttentionMaps
from gas.diffusion.attention.sites import AttentionSite, sites_near
from gas.diffusion.backbone import Backbone
from gas.diffusion.instruct import IMAGE_ROW, NULL_ROW, TEXT_ROW
from gas.errors import ObjectNotFound
from gas.interfaces import EditJob, GroundJob
from gas.masks import union
from gas.regions.rle import encode_rle
from gas.remedies import Given, Option, Remedy
from gas.types import Subtask
from gas_editors.instruction import zone_mask as steps
from gas_editors.instruction.actions import Decode, classifier
from gas_editors.instruction.base import InstructionEditor, InstructionOptions
from gas_editors.instruction.confined import Confined
from gas_editors.instruction.turn import Finished, Turn
from gas_editors.maps import save_map, save_tokens
from gas_editors.strokes import Strokes

if TYPE_CHECKING:
    from torch import Tensor

    from gas.types import Image, Mask

_PUBLISHED_SIDE = 512
"""Shorter side in pixels of the pictures that the published lengths were chosen on."""


class ZONEOptions(InstructionOptions):
    """Defaults are the reference code's numbers. Lengths are in pixels of a picture whose shorter side has 512."""

    second_model: str | None = Field(
        None, description="a second instruction model that helps (ZONE: MagicBrush); none: the first one alone"
    )
    beta: float = Field(0.01, ge=0, le=10, description="weight of the second model to change or add (ZONE: 0.01)")
    beta_remove: float = Field(0.2, ge=0, le=10, description="weight of the second model to remove (ZONE: 0.2)")
    skip_below: float = Field(
        0.05, ge=0, le=10, description="a second model of less weight is not run: half the time; 0: always run (papers)"
    )
    action: Literal["plan", "classifier"] = Field(
        "plan", description="who says whether to change, add or remove: the plan, or ZONE's classifier"
    )
    classifier: str | None = Field(
        None, description="file of a trained classifier (fc1, fc2); none: one is trained in seconds at first use"
    )
    classifier_decode: Decode = Field(
        "class", description="how a file's outputs are read: greatest class, or by token as ZONE's code does"
    )
    attention: Literal["null", "instruction", "prediction"] = Field(
        "null",
        description="which rows' attention is used: those without the instruction (ZONE's code), or with it; or, not "
        "attention, what the instruction adds to the prediction (Watch Your Steps)",
    )
    maps: Literal["nearest", "blocks"] = Field(
        "nearest",
        description="which layers: those of one size (ZONE's code: 16x16), or of the first three up and last three "
        "down blocks (paper)",
    )
    map_scale: float = Field(32, gt=0, le=512, description="maps nearest to 1/32 of the picture's side (ZONE's code)")
    least_cells: int = Field(8, ge=1, le=1024, description="maps of fewer cells on a side are not used")
    threshold: float = Field(
        54, ge=0, le=255, description="largest difference of attention inside the region (code: 54; paper: 128)"
    )
    least_effect: float = Field(
        0.02,
        ge=0,
        le=10,
        description="attention=prediction: an instruction that adds less than this everywhere to the "
        "predicted noise, on average over steps, names nothing in the picture (ours)",
    )
    min_area: float = Field(64, ge=0, description="parts of fewer square pixels are dropped (ZONE's code: 64)")
    corners: bool = Field(True, description="pixels that touch at a corner are one part; false: ZONE's code")
    segments: Literal["iou", "none"] = Field(
        "iou", description="whether the segment that overlaps the rough region best replaces it (ZONE, eq. 6)"
    )
    least_iou: float = Field(
        0.0, ge=0, lt=1, description="a segment must overlap more than this, else the rough region stays"
    )
    dilation: float = Field(
        4, ge=0, le=512, description="growth of the region before its edge is found (ZONE's code: 4)"
    )
    smoother: bool = Field(True, description="find the edit's own edge (ZONE, section 3.4); false: paste the region")
    cutoff: float = Field(
        200, gt=0, description="D0 of the low-pass filter, in bins of the spectrum (ZONE's code: 200)"
    )
    edge_threshold: float = Field(30, ge=0, le=255, description="least filtered difference in grey (ZONE's code: 30)")
    grey: Literal["rgb", "bgr"] = Field(
        "rgb", description="which colour weighs 0.299 and which 0.114 in grey: red and blue; bgr: ZONE's code"
    )
    levels: Literal["exact", "whole"] = Field(
        "exact", description="attention, grey and its difference as they are, or cut to whole levels (ZONE's code)"
    )
    closing: float = Field(21, ge=0, le=512, description="side of the closing's square (ZONE's code: 21)")
    alpha: float = Field(0.6, ge=0, le=1, description="strength where region and edge disagree (ZONE's code: 0.6)")
    brightness: float = Field(1.0, gt=0, le=4, description="factor on the edited picture (ZONE's code: 1)")
    one_place: bool = Field(
        True, description="one connected place for each subtask that does not mean several things; false: ZONE"
    )
    keep_outline: bool = Field(
        True,
        description="where a subtask keeps a thing's shape, paste inside the thing's outline in the source picture; "
        "false: ZONE, which pastes around it too",
    )
    scale_lengths: bool = Field(True, description="lengths grow with the picture; false: as published, at any size")
    map_model: str | None = Field(
        None, description="a text-to-image model whose attention is among the maps that are saved (ZONE, fig. 2)"
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}


_PUBLISHED: dict[str, Any] = {
    name: field.default
    for name, field in ZONEOptions.model_fields.items()
    if name not in {"model", "second_model", "map_model", "variant", "allow_pickle", "accept_db", "classifier"}
}
ZONEOptions.presets = {
    "paper": {
        **_PUBLISHED,
        "skip_below": 0.0,
        "threshold": 128,
        "maps": "blocks",
        "attention": "instruction",
        "one_place": False,
        "keep_outline": False,
    },
    "official-code": {
        **_PUBLISHED,
        "skip_below": 0.0,
        "scale_lengths": False,
        "corners": False,
        "grey": "bgr",
        "levels": "whole",
        "one_place": False,
        "keep_outline": False,
    },
}


@dataclass(frozen=True)
class ZonePlace:
    """Where an instruction is at work: the rough region, bool `(H, W)`; `drawn` by the user, or from attention. `found`
    says what there is where that is nothing."""

    rough: np.ndarray
    drawn: bool
    found: str = ""


class ZONEEditor(InstructionEditor[ZONEOptions]):
    """One turn for each subtask: a region of its own, and nothing else of the picture changes.

    It finds regions itself; what the user drew for a subtask is taken instead.
    """

    options_type = ZONEOptions
    finds_regions = True

    def start(
        self,
        job: EditJob,
        numbers: Sequence[int],
        instructions: Sequence[str],
        picture: Image,
        confined: Confined | None = None,
        strokes: Strokes | None = None,
    ) -> Turn:
        model, options = self.model, self.options
        betas = [
            self._beta(self._action(job.plan.subtasks[number], instruction))
            for number, instruction in zip(numbers, instructions, strict=True)
        ]
        models = [model]
        if options.second_model and any(betas):
            models.append(self._load(options.second_model))
        size = picture.shape[0] // model.factor, picture.shape[1] // model.factor
        words = model.need_words("ZONE")
        rows = [NULL_ROW, IMAGE_ROW] if options.attention == "null" else [TEXT_ROW]
        sites = self._sites(model, size)
        maps = []
        if confined is None:  # else the places are settled, and attention need not be asked for them
            positions = words.positions(instructions[0])
            maps.append((sites, AttentionMaps(size, rows, [positions[0], positions[-1]])))
        if job.watch.save_map is not None:
            maps += [
                (sites, AttentionMaps(size, [TEXT_ROW + row], words.positions(instruction)))
                for row, instruction in enumerate(instructions)
            ]
        beta = betas[0] if confined is None else confined.mean(betas)
        return Turn(models, picture, instructions, job.seed + numbers[0], options, beta, maps, confined, strokes)

    def finish(self, job: EditJob, numbers: Sequence[int], turn: Turn, before: Image, stopped: bool) -> Finished:
        after = turn.decode()
        if self.options.brightness != 1:
            after = np.clip(np.rint(after.astype(np.float32) * self.options.brightness), 0, 255).astype(np.uint8)
        made = [self._pasted(job, number, row, turn, before, after, stopped) for row, number in enumerate(numbers)]
        if turn.confined is None:
            return Finished(after, *made[0])
        logs = [log for _, log in made]
        notes = list(dict.fromkeys(note for log in logs for note in log["notes"]))
        alpha = np.maximum.reduce([alpha for alpha, _ in made])
        return Finished(after, alpha, {"subtasks": logs, "notes": notes})

    def _pasted(
        self, job: EditJob, number: int, row: int, turn: Turn, before: Image, after: Image, stopped: bool
    ) -> tuple[Mask, dict[str, Any]]:
        """How strongly the turn's output `after` is pasted for the subtask `number`, whose instruction is the turn's
        `row`th, `(H, W)`; and what there is to say about it."""
        options, instruction = self.options, turn.instructions[row]
        action = self._action(job.plan.subtasks[number], instruction)
        beta = self._beta(action) if len(turn.models) > 1 else 0.0
        log: dict[str, Any] = {"action": action, "beta": beta, "notes": []}
        place = self._place(job, number, turn, before)
        if stopped:
            return place.rough.astype(np.float32), log
        if not place.rough.any():
            raise ObjectNotFound(
                f"nothing in the picture answers to {instruction!r}: {place.found}",
                Remedy(
                    "draw_or_raise_threshold",
                    "name the thing differently, draw it ({regions}), or raise the threshold ({threshold})",
                    regions=Given(how=("box", "mask")),
                    threshold=Option({"threshold": None}),
                ),
            )
        subtask, region, segments = job.plan.subtasks[number], place.rough, list[np.ndarray]()
        one = options.one_place and not place.drawn and subtask.count is None
        kept = options.keep_outline and subtask.preserve_shape and action == "change" and not place.drawn
        if options.segments == "iou" and not place.drawn:
            shown = before if kept or action == "remove" else after
            region, segments = self._segment(job, shown, place.rough, log)
        if one:
            region = steps.one_place(region, place.rough)
        smoothed = None
        if options.smoother and not kept:
            grown = steps.dilate(region, round(self._length(options.dilation, before)))
            cutoff, whole = self._length(options.cutoff, before), options.levels == "whole"
            response = steps.edge_response(before, after, grown, cutoff, swapped=options.grey == "bgr", whole=whole)
            closing = round(self._length(options.closing, before))
            smoothed = steps.smoothed_mask(response, options.edge_threshold, closing)
        alpha = steps.layer_strength(region, smoothed, options.alpha)
        if place.drawn:
            alpha = np.where(place.rough, alpha, 0).astype(np.float32)
        if one:
            alpha = np.where(steps.touching(alpha > 0, region), alpha, 0).astype(np.float32)
        if not place.drawn:
            log["place"] = encode_rle((alpha > 0).astype(np.float32)).model_dump()
        log |= {
            "rough_share": float(place.rough.mean()),
            "region_share": float(region.mean()),
            "pasted_share": float((alpha > 0).mean()),
        }
        self._save_maps(job, number, row, turn, before, place.rough, segments, region, smoothed, alpha)
        return alpha, log

    # --- what is asked ------------------------------------------------------------------------------------------------

    def _action(self, subtask: Subtask, instruction: str) -> Literal["change", "add", "remove"]:
        options = self.options
        if options.action == "plan":
            return subtask.action
        words = self.model.need_words("ZONE's classifier")
        assert options.model is not None, "self.model has refused that"
        judge = classifier(
            self.runtime,
            options.model,
            words,
            options.classifier,
            options.classifier_decode,
        )
        return judge.actions([instruction])[0]

    def _beta(self, action: str) -> float:
        """The weight of the second model; 0 for one that is too small for it to be run."""
        beta = float(self.options.beta_remove if action == "remove" else self.options.beta)
        return beta if beta >= self.options.skip_below else 0.0

    def _length(self, published: float, picture: Image) -> float:
        """A published length in pixels of `picture`."""
        side = min(picture.shape[:2])
        return published * side / _PUBLISHED_SIDE if self.options.scale_lengths else published

    # --- where --------------------------------------------------------------------------------------------------------

    def _sites(self, model: Backbone, size: tuple[int, int]) -> Sequence[AttentionSite]:
        options = self.options
        sites = model.need_sites("cross", "ZONE")
        if options.maps == "blocks":
            down = len(model.network.down_blocks)
            wanted = [f"down_blocks.{i}." for i in range(max(down - 3, 0), down)] + [
                f"up_blocks.{i}." for i in range(3)
            ]
            chosen = tuple(site for site in sites if site.name.startswith(tuple(wanted)))
            return chosen or sites
        side = math.sqrt(size[0] * size[1]) * model.factor / options.map_scale
        # A picture of fewer cells than that gives what it has.
        return sites_near(sites, size, side, min(options.least_cells, *size))

    def difference(self, first: Tensor, last: Tensor, size: tuple[int, int]) -> np.ndarray:
        """`(H, W)` float32 in [0, 255] from the maps of the first and the last token: see `attention_difference`."""
        return steps.attention_difference(first, last, size, whole=self.options.levels == "whole")

    def lack(self, relevance: Tensor, size: tuple[int, int]) -> np.ndarray:
        """The same from what the instruction adds to the prediction: see `relevance_difference`."""
        return steps.relevance_difference(relevance, size)

    def rough(self, difference: np.ndarray, threshold: float | None = None) -> np.ndarray:
        """The rough region, bool `(H, W)`: where the difference is at most `threshold` (default: the option), without
        small parts."""
        threshold = self.options.threshold if threshold is None else threshold
        return self._without_small(difference <= threshold)

    def choose(self, rough: np.ndarray, segments: Sequence[np.ndarray]) -> tuple[int | None, float]:
        """Which of the `segments` becomes the region, if any, and its overlap with the rough one."""
        return steps.choose_segment(rough, segments, self.options.least_iou)

    def _place(self, job: EditJob, number: int, turn: Turn, before: Image) -> ZonePlace:
        drawn = [r.mask for r in job.regions if r.subtask == number and r.given and r.mask is not None]
        if drawn:
            return ZonePlace(union(drawn) > 0, True)
        options = self.options
        if options.attention == "prediction":
            difference = self.lack(turn.relevance, before.shape[:2])
        else:
            first, last = turn.maps[0][1].mean().mean(0)
            difference = self.difference(first, last, before.shape[:2])
        rough = self.rough(difference)
        save_map(job.watch, f"{number + 1}-difference", difference / 255, before.shape[:2])
        if options.attention == "prediction":
            effect = float(turn.relevance.max()) / max(turn.done, 1)
            if effect < options.least_effect:
                found = (
                    f"it adds {effect:.3f} at most to the prediction, {options.least_effect:g} at least is asked for"
                )
                return ZonePlace(np.zeros_like(rough), False, found)
        found = (
            f"the smallest difference of attention is {difference.min():.0f} of 255, {options.threshold:g} at most is "
            "asked for, in a part that is large enough"
        )
        return ZonePlace(rough, False, found)

    def _without_small(self, mask: np.ndarray) -> np.ndarray:
        least = self._length(math.sqrt(self.options.min_area), mask) ** 2
        return steps.drop_small(mask, least, corners=self.options.corners)

    def _segment(
        self, job: EditJob, picture: Image, rough: np.ndarray, log: dict[str, Any]
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """The region that is edited, and all segments. What was chosen, or why nothing was, goes into `log`."""
        if job.segmenter is None:
            log["notes"].append(
                "no segmenter is chosen, so the region is the attention's rough one; the grounder sam outlines things"
            )
            return rough, []
        # It is not asked to stop: the turn, which is all made by now, would be lost with it.
        found = job.segmenter.ground(GroundJob(picture, plan=job.plan))
        segments = [region.mask > 0.5 for region in found if region.mask is not None]
        chosen, overlap = self.choose(rough, segments)
        log |= {"segments": len(segments), "segment": chosen, "iou": overlap}
        region = rough if chosen is None else self._without_small(segments[chosen])
        if chosen is None or not region.any():
            log["notes"].append("no segment overlaps the attention's rough region, which is edited as it is")
            return rough, segments
        return region, segments

    # --- looking inside -----------------------------------------------------------------------------------------------

    def _save_maps(
        self,
        job: EditJob,
        number: int,
        row: int,
        turn: Turn,
        before: Image,
        rough: np.ndarray,
        segments: Sequence[np.ndarray],
        region: np.ndarray,
        smoothed: np.ndarray | None,
        alpha: np.ndarray,
    ) -> None:
        watch, options, size = job.watch, self.options, before.shape[:2]
        if watch.save_map is None:
            return
        what, instruction = f"{number + 1}", turn.instructions[row]
        maps = turn.maps[row if turn.confined is not None else 1][1]
        save_tokens(watch, self.model.need_words("ZONE"), instruction, maps.mean()[0], size, f"{what}-attention")
        if options.map_model:
            from gas_editors.instruction.zone_maps import text_attention

            words, attention = text_attention(self, options.map_model, before, instruction, job.seed + number)
            save_tokens(watch, words, instruction, attention, size, f"{what}-text-to-image")
        levels = np.zeros(size, np.float32)
        for shade, segment in enumerate(segments, 1):  # the largest come first, so that small ones lie on top
            levels[segment] = shade / len(segments)
        pictures = {"rough": rough, "segments": levels, "chosen": region, "smoothed": smoothed, "pasted": alpha}
        for name, one in pictures.items():
            if one is not None:
                save_map(watch, f"{what}-{name}", one.astype(np.float32), size)
