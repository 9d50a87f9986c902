"""Large places drawn at their own size, tile by tile: SDEdit (arXiv 2108.01073) on the enlarged edit, its tiles mixed
as MultiDiffusion mixes them (arXiv 2302.08113)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field

from gas.diffusion.guidance import NoisePrediction
from gas.diffusion.masks import latent_mask
from gas.diffusion.sample.targets import COVERED
from gas.diffusion.sample.tiled import TiledSampling, TiledSettings, tiled_steps
from gas.diffusion.stepping import Stepping, Stopped
from gas.diffusion.tiles import Tiling, decode, encode
from gas.errors import UsageError
from gas.interfaces import Edited, EditJob, Effort, Refiner
from gas.masks import mask_box, union
from gas.remedies import Option, Remedy, Setting
from gas.run.turns import single_plan, turn_order
from gas_editors.job_regions import region_mask, subtask_regions
from gas_editors.model_options import NamedModel
from gas_editors.text_to_image import text_to_image_model

if TYPE_CHECKING:
    from torch import Tensor

    from gas.diffusion.backbone import Backbone
    from gas.types import EditPlan, Image, Mask


class TilesOptions(NamedModel):
    """Settings of the drawing. More noise draws more, also what nobody asked for; a little, several times, draws the
    texture."""

    steps: int = Field(20, ge=1, le=1000, description="steps of the sampler over the whole schedule")
    strength: float = Field(0.2, gt=0, le=1, description="share of the noise that is put on: more redraws more")
    repeats: int = Field(3, ge=1, le=20, description="how often noise is put on and taken off")
    guidance_scale: float = Field(3.0, ge=0, le=100, description="classifier-free guidance w")
    overlap: float = Field(0.5, ge=0.1, le=0.8, description="share of a side that neighbouring tiles have in common")


@dataclass(frozen=True)
class Piece:
    """A subtask's place: `rows` and `columns` of the picture, made larger at its right and lower end by `more` rows and
    columns until its sides fit the model, the mask of that, and its tiles."""

    subtask: int
    rows: slice
    columns: slice
    more: tuple[int, int]
    mask: Mask
    cells: Tensor
    tiling: Tiling

    @property
    def tiles(self) -> int:
        return len(self.tiling.showing(self.cells >= COVERED))

    def cut(self, image: Image) -> Image:
        """What the model is shown of a picture `(H, W, 3)`."""
        return np.pad(image[self.rows, self.columns], ((0, self.more[0]), (0, self.more[1]), (0, 0)), mode="edge")

    def pasted(self, image: Image, drawn: Image) -> Image:
        """A picture with what was drawn inside the mask."""
        out = image.copy()
        here = out[self.rows, self.columns]
        height, width = here.shape[:2]
        inside = self.mask[:height, :width] > 0
        here[inside] = drawn[:height, :width][inside]
        return out


class TilesEditor(Refiner[TilesOptions]):
    """Puts a little noise on each place at the photograph's own size and lets the model take it off again, under the
    subtask's own prompt, the largest place first. Every step is one tile of the model's resolution at one time."""

    options_type = TilesOptions
    confines = True

    @property
    def model(self) -> Backbone:
        """The shared model, loaded when first asked for."""
        return text_to_image_model(self.options, self.runtime)

    def check_plan(self, plan: EditPlan) -> None:
        """UsageError (exit 2) when there is no model."""
        if not self.options.model:
            raise UsageError(
                "detail in tiles needs a text-to-image model, and neither the editor nor the profile names one",
                Remedy(
                    "name_tiles_model",
                    "name one: {model}; or leave it out: {off}",
                    model=Option({"model": "NAME"}, "tiles"),
                    off=Setting("detail", "off"),
                ),
            )

    def effort(self, job: EditJob, *, timed: bool = False) -> Effort:
        pieces = sorted(self._pieces(job), key=lambda piece: piece.subtask)
        tiles = tuple(piece.tiles for piece in pieces)
        steps = sum(
            tiled_steps(
                self.model.schedule_for(piece.tiling.tile_size),
                piece.cells,
                piece.tiling,
                self._settings(),
                job.seed + piece.subtask,
            )
            for piece in pieces
        )
        rows = steps * (2 if self.model.guidance == "null" else 1)
        return Effort(tiles, steps, rows, steps * self._seconds(pieces[0]) if timed and steps else None)

    @torch.no_grad()
    def edit(self, job: EditJob) -> Edited:
        options, model = self.options, self.model
        pieces = list(self._pieces(job))
        stepping = Stepping(job.watch, self.effort(job).steps)
        image, stopped, rows, cut = job.image, False, 0, {}
        for piece in pieces:
            prompt = single_plan(job.plan, piece.subtask).target_prompt
            if words := model.dropped_words(prompt):
                cut[prompt] = words
            z = encode(model, piece.cut(image), piece.tiling)

            def shown(z: Tensor, piece: Piece = piece, before: Image = image) -> Image:
                return piece.pasted(before, decode(model, z, piece.tiling))

            seed = job.seed + piece.subtask
            work = TiledSampling(model, z, piece.cells, prompt, piece.tiling, self._settings(), seed, shown)
            try:
                stepping.run(f"tiles-{piece.subtask + 1}", work.steps, work)
                made = work.current["z"]
            except Stopped:
                made, stopped = work.current["estimate"], True
            rows += work.predictor.rows
            if made is not z:  # where nothing was drawn the picture stays, and is not what the model makes of it
                image = shown(made)
            if stopped:
                break
        log = {
            "model": options.model,
            "steps": stepping.done,
            "evaluations": rows,
            "tiles": {str(piece.subtask + 1): piece.tiles for piece in pieces},
            "prompts_cut": cut,
        }
        return Edited(image if image is not job.image else image.copy(), stopped=stopped, log=log)

    def _settings(self) -> TiledSettings:
        options = self.options
        return TiledSettings(options.steps, options.strength, options.repeats, options.guidance_scale)

    def _pieces(self, job: EditJob) -> Iterator[Piece]:
        """The subtasks' places, the largest first."""
        masks = [
            union([region_mask(region) for region in subtask_regions(job, index)])
            for index in range(len(job.plan.subtasks))
        ]
        for index in turn_order(masks):
            yield self._piece(index, masks[index])

    def _piece(self, subtask: int, mask: Mask) -> Piece:
        """The place of a mask `(H, W)`, with a quarter of a tile around it, and at least a tile where the picture has
        that."""
        model, (height, width) = self.model, mask.shape
        x0, y0, x1, y1 = (int(side) for side in mask_box(mask))
        rows = _around(y0, y1, model.resolution, height)
        columns = _around(x0, x1, model.resolution, width)
        more = -(rows.stop - rows.start) % model.multiple, -(columns.stop - columns.start) % model.multiple
        own = np.pad(mask[rows, columns], ((0, more[0]), (0, more[1])))
        size = own.shape[0] // model.factor, own.shape[1] // model.factor
        tiling = Tiling(size, model.resolution // model.factor, self.options.overlap)
        return Piece(subtask, rows, columns, more, own, latent_mask(own, size), tiling)

    @torch.no_grad()
    def _seconds(self, piece: Piece) -> float:
        """How long the prediction of a tile takes: the second one, since the first also makes ready."""
        from gas.diffusion.predictor import Predictor

        predictor = Predictor(self.model, piece.tiling.tile_size)
        told = predictor.guided([""], self.options.guidance_scale)
        z = self.model.encode(np.zeros((*(side * self.model.factor for side in piece.tiling.tile_size), 3), np.uint8))
        took = 0.0
        for _ in range(2):
            began = time.perf_counter()
            rows = predictor.predict(z, predictor.schedule.noisiest, told)
            NoisePrediction(None, rows).guided(1.0).sum().item()  # waits for the device
            took = time.perf_counter() - began
            if took > 1:
                break
        return took


def _around(first: int, last: int, side: int, limit: int) -> slice:
    """From `first` to `last` with a quarter of a `side` more at both ends, and at least a `side`, within 0..limit."""
    more = max(side // 4, (side - (last - first) + 1) // 2)
    return slice(max(first - more, 0), min(last + more, limit))
