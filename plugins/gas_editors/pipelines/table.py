"""diffusers' pipelines that edit a picture by a sentence, and what each is called with. One more is one more row.

Steps and guidance are those of the models' own cards and of diffusers' examples, named in `said_in`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from gas.masks import Size
from gas_editors.pipelines.row import Row


def _of_that_area(size: Size) -> Mapping[str, Any]:
    """What keeps FLUX.1 Kontext from bringing the picture to a size of its own."""
    return {"max_area": size[0] * size[1], "_auto_resize": False}


def _as_json(sentence: str) -> str:
    """FIBO Edit is told a JSON object; of its keys only this one is required."""
    return json.dumps({"edit_instruction": sentence})


_QWEN = "Qwen-Image-Edit's model card: 50 steps, true_cfg_scale 4.0, negative prompt ' '"

_T5 = ("text_encoder_3", "tokenizer_3")

EDIT_MODELS: tuple[Row, ...] = (
    Row(
        "FluxKontextPipeline",
        ("FluxKontextPipeline", "FluxKontextInpaintPipeline"),
        "instruction",
        steps=28,
        guidance=2.5,
        latents="tokens",
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
        latents="grid",
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
        latents="grid",
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
        latents="tokens",
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
        latents="tokens",
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
