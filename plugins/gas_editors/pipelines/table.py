"""diffusers' pipelines that edit a picture by a sentence, and what each is called with. One more is one more row.

Steps and guidance are those of the models' own cards and of diffusers' examples, named in `said_in`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any, Literal

from gas.errors import UsageError
from gas.masks import Size
from gas.remedies import Option, Remedy

_ROUNDS = 8
_MOST_RATIO = 8.0  # FLUX.2 refuses more
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _no_arguments(size: Size) -> Mapping[str, Any]:
    return _NOTHING


def _of_that_area(size: Size) -> Mapping[str, Any]:
    """What keeps FLUX.1 Kontext from bringing the picture to a size of its own."""
    return {"max_area": size[0] * size[1], "_auto_resize": False}


def _as_json(sentence: str) -> str:
    """FIBO Edit is told a JSON object; of its keys only this one is required."""
    return json.dumps({"edit_instruction": sentence})


@dataclass(frozen=True)
class Row:
    """A pipeline, and how it is called.

    * name: diffusers' class; reads: the pipelines that the index of a model for it may name: those with the same parts.
    * told: what it is told of a subtask: its instruction, or the phrase for what shall be there.
    * steps, guidance: the defaults; `distilled` the two for a model whose index says `is_distilled`.
    * guided_by: the argument that guidance is given as; negative: the negative prompt that switches it on.
    * resolution, multiple: side of the square whose area it works at, and what its sides are divisible by;
      least: the shortest side that it takes.
    * sizes_in: `module:CONSTANT`, the sizes (width, height) that it was trained at.
    * fixed: whether diffusers brings every picture to about a megapixel itself, with its sides `rounded` to the
      multiple; sized: whether it takes a size.
    * strength: for those that are told a mask the share of the steps that is made in it, 1: from pure noise.
    * worded, arguments: the sentence as it wants it; further arguments for a size.
    * may_lack: parts that its folder may be without.
    """

    name: str
    reads: tuple[str, ...]
    told: Literal["instruction", "target"]
    steps: int
    guidance: float
    said_in: str
    distilled: tuple[int, float] | None = None
    guided_by: str = "guidance_scale"
    negative: str | None = None
    resolution: int = 1024
    multiple: int = 16
    least: int = 16
    sizes_in: str = ""
    fixed: bool = False
    sized: bool = True
    rounded: Callable[[float], int] = round
    strength: float | None = None
    worded: Callable[[str], str] = str
    arguments: Callable[[Size], Mapping[str, Any]] = _no_arguments
    may_lack: tuple[str, ...] = ()

    def defaults(self, distilled: bool) -> tuple[int, float]:
        """Steps and guidance where nobody says otherwise."""
        return self.distilled if distilled and self.distilled else (self.steps, self.guidance)

    def size(self, width: int, height: int, resolution: int | None) -> Size:
        """The size (width, height) to work at for a crop of that size; `resolution` is the user's.

        UsageError (exit 2) for a resolution of a pipeline whose size is fixed.
        """
        if resolution is not None and self.fixed:
            raise UsageError(
                f"{self.name} brings every picture to {self.resolution}x{self.resolution} pixels itself",
                Remedy("no_resolution", "leave {o} out", o=Option({"resolution": None})),
            )
        ratio = min(max(width / height, 1 / _MOST_RATIO), _MOST_RATIO)
        if self.sizes_in and resolution is None:
            module, _, constant = self.sizes_in.partition(":")
            known: list[Size] = getattr(import_module(module), constant)
            return min(known, key=lambda one: abs(one[0] / one[1] - ratio))
        side = resolution or self.resolution
        size = self._sides(side, ratio)
        if not self.fixed:  # more than that area FLUX.2 would shrink again
            while size[0] * size[1] > side * side and max(size) > self.least:
                wide = size[0] >= size[1]
                size = (size[0] - self.multiple * wide, size[1] - self.multiple * (not wide))
            return size
        # diffusers computes a size from the picture's ratio: it must come to the one that the picture has.
        for _ in range(_ROUNDS):
            size = self._sides(side, size[0] / size[1])
        return size

    def _sides(self, side: int, ratio: float) -> Size:
        """The sides of about `side` squared pixels with that ratio of width to height."""
        root = math.sqrt(ratio)
        width, height = (int(self.rounded(side * one / self.multiple)) * self.multiple for one in (root, 1 / root))
        return max(width, self.least), max(height, self.least)


_QWEN = "Qwen-Image-Edit's model card: 50 steps, true_cfg_scale 4.0, negative prompt ' '"

_T5 = ("text_encoder_3", "tokenizer_3")

EDIT_MODELS: tuple[Row, ...] = (
    Row(
        "FluxKontextPipeline",
        ("FluxKontextPipeline", "FluxKontextInpaintPipeline"),
        "instruction",
        steps=28,
        guidance=2.5,
        said_in="FLUX.1 Kontext dev's model card and diffusers' example: guidance 2.5; diffusers: 28 steps",
        sizes_in="diffusers.pipelines.flux.pipeline_flux_kontext:PREFERRED_KONTEXT_RESOLUTIONS",
        arguments=_of_that_area,
    ),
    Row(
        "Flux2Pipeline",
        ("Flux2Pipeline",),
        "instruction",
        steps=50,
        guidance=4.0,
        least=64,
        said_in="FLUX.2 dev's model card: 50 steps, guidance 4",
    ),
    Row(
        "Flux2KleinPipeline",
        ("Flux2KleinPipeline", "Flux2KleinInpaintPipeline"),
        "instruction",
        steps=50,
        guidance=4.0,
        distilled=(4, 1.0),
        least=64,
        said_in="FLUX.2 klein's model cards: 4 steps, guidance 1; base: 50 steps, guidance 4",
    ),
    Row(
        "QwenImageEditPipeline",
        ("QwenImageEditPipeline", "QwenImageEditInpaintPipeline"),
        "instruction",
        steps=50,
        guidance=4.0,
        guided_by="true_cfg_scale",
        negative=" ",
        multiple=32,
        fixed=True,
        said_in=_QWEN,
    ),
    Row(
        "QwenImageEditPlusPipeline",
        ("QwenImageEditPlusPipeline",),
        "instruction",
        steps=40,
        guidance=4.0,
        guided_by="true_cfg_scale",
        negative=" ",
        multiple=32,
        fixed=True,
        said_in="Qwen-Image-Edit-2509's model card: 40 steps, true_cfg_scale 4.0, negative prompt ' '",
    ),
    Row(
        "QwenImage21Pipeline",
        ("QwenImage21Pipeline",),
        "instruction",
        steps=40,
        guidance=1.0,
        guided_by="true_cfg_scale",
        negative=" ",
        multiple=32,
        fixed=True,
        said_in="diffusers' own defaults: 40 steps, no guidance",
    ),
    Row(
        "LongCatImageEditPipeline",
        ("LongCatImageEditPipeline",),
        "instruction",
        steps=50,
        guidance=4.5,
        fixed=True,
        sized=False,
        rounded=math.ceil,
        said_in="diffusers' example: 50 steps, guidance 4.5",
    ),
    Row(
        "BriaFiboEditPipeline",
        ("BriaFiboEditPipeline",),
        "instruction",
        steps=30,
        guidance=5.0,
        worded=_as_json,
        said_in="diffusers' example: 30 steps, guidance 5",
    ),
)


MASKED_MODELS: tuple[Row, ...] = (
    Row(
        "FluxKontextInpaintPipeline",
        ("FluxKontextPipeline", "FluxKontextInpaintPipeline"),
        "instruction",
        steps=28,
        guidance=2.5,
        strength=1.0,
        said_in="FLUX.1 Kontext dev's model card: guidance 2.5; diffusers' example: strength 1",
        sizes_in="diffusers.pipelines.flux.pipeline_flux_kontext:PREFERRED_KONTEXT_RESOLUTIONS",
        arguments=_of_that_area,
    ),
    Row(
        "Flux2KleinInpaintPipeline",
        ("Flux2KleinPipeline", "Flux2KleinInpaintPipeline"),
        "instruction",
        steps=50,
        guidance=4.0,
        distilled=(4, 1.0),
        strength=1.0,
        least=64,
        said_in="FLUX.2 klein's model cards: 4 steps, guidance 1; base: 50 steps, guidance 4",
    ),
    Row(
        "QwenImageEditInpaintPipeline",
        ("QwenImageEditPipeline", "QwenImageEditInpaintPipeline"),
        "instruction",
        steps=50,
        guidance=4.0,
        guided_by="true_cfg_scale",
        negative=" ",
        strength=1.0,
        multiple=32,
        fixed=True,
        said_in=_QWEN,
    ),
    Row(
        "FluxInpaintPipeline",
        ("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline"),
        "target",
        steps=28,
        guidance=7.0,
        strength=1.0,
        said_in="diffusers' own defaults: 28 steps, guidance 7",
    ),
    Row(
        "FluxFillPipeline",
        ("FluxFillPipeline",),
        "target",
        steps=50,
        guidance=30.0,
        strength=1.0,
        said_in="FLUX.1 Fill dev's model card: 50 steps, guidance 30",
    ),
    Row(
        "ZImageInpaintPipeline",
        ("ZImagePipeline", "ZImageImg2ImgPipeline", "ZImageInpaintPipeline"),
        "target",
        steps=8,
        guidance=0.0,
        strength=1.0,
        said_in="diffusers' example for Z-Image-Turbo: 8 steps, no guidance",
    ),
    Row(
        "ChromaInpaintPipeline",
        ("ChromaPipeline", "ChromaImg2ImgPipeline", "ChromaInpaintPipeline"),
        "target",
        steps=28,
        guidance=7.0,
        strength=1.0,
        said_in="diffusers' own defaults: 28 steps, guidance 7",
    ),
    Row(
        "StableDiffusion3InpaintPipeline",
        ("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline"),
        "target",
        steps=50,
        guidance=7.0,
        strength=1.0,
        said_in="diffusers' own defaults: 50 steps, guidance 7",
        may_lack=_T5,
    ),
    Row(
        "StableDiffusionXLInpaintPipeline",
        ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline"),
        "target",
        steps=50,
        guidance=7.5,
        strength=0.9999,
        multiple=8,
        said_in="diffusers' own defaults: 50 steps, guidance 7.5, strength 0.9999",
    ),
    Row(
        "StableDiffusionInpaintPipeline",
        ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"),
        "target",
        steps=50,
        guidance=7.5,
        strength=1.0,
        resolution=512,
        multiple=8,
        said_in="diffusers' own defaults: 50 steps, guidance 7.5, strength 1",
    ),
)


def row_of(pipeline: str, rows: tuple[Row, ...]) -> Row | None:
    """The row for a model whose index names `pipeline`; None where there is none."""
    return next((row for row in rows if pipeline in row.reads), None)
