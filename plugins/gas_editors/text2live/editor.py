"""Text2LIVE (Bar-Tal et al. 2022, arXiv 2204.02491): a small network, trained on the one picture, paints an edit layer
of colour and opacity over it, and CLIP says how well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from gas.diffusion.clip import Clip, to_pixels
from gas.diffusion.masks import weaken_overlaps
from gas.diffusion.memory import memory_named
from gas.diffusion.sample.phases import Phases
from gas.diffusion.stepping import Stopped
from gas.errors import InputRefused, OutOfMemory, UsageError
from gas.files import slug
from gas.interfaces import Edited, EditJob, Editor, Options
from gas.remedies import Option, Remedy
from gas.types import Subtask
from gas_editors.job_regions import whole_prompts
from gas_editors.latent_masks import subtask_mask
from gas_editors.maps import save_map
from gas_editors.text2live.losses import Criterion
from gas_editors.text2live.training import PARTS, Painted, Training

if TYPE_CHECKING:
    from gas.types import Image

SMALLEST_SIDE = 16
"""Pixels; below it a crop leaves nothing to the generator's second level."""


class Text2LiveOptions(Options):
    """Settings of the training. Defaults are those of Text2LIVE's code (`configs/image_config.yaml`)."""

    model: str | None = Field(
        None, description="a CLIP: hub id, id@revision, or folder (published: openai/clip-vit-base-patch32)"
    )
    allow_pickle: bool = Field(False, description="read weights that exist as .bin only (tensors only)")
    resolution: int = Field(
        512, ge=SMALLEST_SIDE, le=4096, description="side of the square whose area pictures are brought to"
    )
    steps: int = Field(1000, ge=1, le=100_000, description="training steps, each on one crop (published: 1000)")
    learning_rate: float = Field(0.0025, gt=0, le=1, description="of MADGRAD, at first")
    decay: float = Field(0.99, gt=0, le=1, description="factor of the learning rate after each step, down to 1e-5")
    width: int = Field(128, ge=4, le=1024, description="channels of the generator at each level")
    levels: int = Field(
        7, ge=1, le=10, description="levels of the generator; fewer where a picture has no room for them"
    )
    views: int = Field(16, ge=1, le=256, description="views of a picture that CLIP sees for each of its losses")
    recoloured: bool = Field(True, description="whether the views' colours are varied")
    templates: bool = Field(
        True, description="whether texts are worded as 'a photo of ...', '... over a green screen', or left as they are"
    )
    criterion: Criterion = Field("spherical", description="distance of a picture from a text")
    whole_every: int = Field(75, ge=1, description="the whole picture is trained on too at every so many steps")
    lambda_composition: float = Field(1.0, ge=0, description="weight: the composite shows the target prompt")
    lambda_region: float = Field(
        1.0, ge=0, description="grounded: weight of the same for each region's square and its subtask's phrases"
    )
    lambda_screen: float = Field(1.0, ge=0, description="weight: the layer alone, on a green screen, shows the target")
    lambda_structure: float = Field(2.0, ge=0, description="weight: what looked alike before still does")
    lambda_alpha_l1: float = Field(0.06, ge=0, description="weight of the mean opacity (6 * 0.01)")
    lambda_alpha_l0: float = Field(0.06, ge=0, description="weight of the share that is opaque at all (6 * 0.01)")
    lambda_bootstrap: float = Field(
        10.0, ge=0, description="weight, at first: opacity as the relevance of the source phrases, or as the region"
    )
    bootstrap: float = Field(
        1.0, ge=0, le=1, description="share of the steps in which that weight falls to 0 (published examples: all)"
    )
    relevance_layers: int = Field(1, ge=1, le=100, description="last layers of CLIP that the relevance is read from")
    overlap: float = Field(
        0.3, ge=0, le=1, description="grounded: opacity of the larger of two regions where they overlap"
    )

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "official-code": {
            "resolution": 512,
            "steps": 1000,
            "learning_rate": 0.0025,
            "decay": 0.99,
            "width": 128,
            "levels": 7,
            "views": 16,
            "recoloured": True,
            "templates": True,
            "criterion": "spherical",
            "whole_every": 75,
            "lambda_composition": 1.0,
            "lambda_screen": 1.0,
            "lambda_structure": 2.0,
            "lambda_alpha_l1": 0.06,
            "lambda_alpha_l0": 0.06,
            "lambda_bootstrap": 10.0,
            "bootstrap": 1.0,
            "relevance_layers": 1,
        }
    }


class Text2LiveEditor(Editor[Text2LiveOptions]):
    """Paints one layer for the whole request; a grounded run paints one for each subtask, which is clear outside its
    region at every step, so that CLIP judges what will be there and nothing else moves."""

    options_type = Text2LiveOptions
    confines = True

    @property
    def clip(self) -> Clip:
        """The shared model; loaded when first asked for."""
        if not self.options.model:
            raise UsageError(
                "no CLIP is named",
                Remedy(
                    "name_clip",
                    "use {clip}, or {model} (a folder, or OWNER/NAME of the hub)",
                    clip=Option({"model": "openai/clip-vit-base-patch32"}),
                    model=Option({"model": "NAME"}),
                ),
            )
        return Clip.load(self.options.model, self.runtime, allow_pickle=self.options.allow_pickle)

    def resolution(self) -> int:
        return int(self.options.resolution)

    def multiple(self) -> int:
        return 1

    def edit(self, job: EditJob) -> Edited:
        height, width = job.image.shape[:2]
        if min(height, width) < SMALLEST_SIDE:
            raise InputRefused(
                f"a picture of {width}x{height} pixels is too small to train on",
                f"take one of at least {SMALLEST_SIDE} pixels on each side",
            )
        clip, options = self.clip, self.options
        whole = whole_prompts(job)
        picture = to_pixels(job.image, clip.device)
        with memory_named(lambda: _too_large(job.image)):
            layers = self.layers(job, clip, picture)
            training = Training(clip, picture, layers, whole, job.seed, options)
            phases = Phases(job.watch, training.decode, training.estimate, options.steps)
            stopped = False
            try:
                phases.run(
                    "edit layer",
                    options.steps,
                    training.start,
                    training.step,
                    less_extreme=Remedy(
                        "smaller_learning_rate", "set {rate} to less", rate=Option({"learning_rate": None})
                    ),
                    too_large=lambda: _too_large(job.image),
                )
            except Stopped:
                stopped = True
            weights, losses, rows = training.unpack(phases.estimate)
            made = training.paint(weights) if phases.done else []
            image = training.decode(phases.estimate) if phases.done else job.image.copy()
        for number, layer in enumerate(layers, start=1):
            name = f"{number}-{slug(layer.name, empty='layer')}"
            if layer.place is not None:
                save_map(job.watch, f"{name}-place", layer.place[0, 0], (height, width))
            if made:
                save_map(job.watch, f"{name}-opacity", made[number - 1][0, 3], (height, width))
        log = {
            "model": options.model,
            "grounded": job.grounded,
            "steps": phases.done,
            "clip_evaluations": rows,
            "screens": [layer.screen for layer in layers],
            "losses": {name: round(one, 6) for name, one in zip(PARTS, losses, strict=True)},
            "opacity": [round(float(one[:, 3].mean()), 6) for one in made],
        }
        return Edited(image=image, stopped=stopped, log=log)

    def layers(self, job: EditJob, clip: Clip, picture: Tensor) -> list[Painted]:
        """What is to be painted, the lowest layer first: one layer, or one for each subtask of a grounded job.

        A subtask's phrase on the screen is its target, and what lies behind a thing that is to be removed: a layer can
        only hide it. Its opacity begins where the source phrase is relevant (or the anchor of an addition), or, in a
        grounded job, in its region. Of a subtask with an empty prompt the whole sentences are a layer's own: one phrase
        against nothing would ask for all else that is there.
        """
        subtasks = job.plan.subtasks
        if not job.grounded:
            phrases = [phrase for one in subtasks if (phrase := one.region_phrase.strip())]
            screens = [text for one in subtasks if (text := one.prompts[1].strip())]
            place = self._relevance(clip, picture, phrases) if phrases and self.options.lambda_bootstrap else None
            return [
                Painted(job.plan.instruction, " and ".join(screens) or None, torch.ones_like(picture[:, :1]), place)
            ]
        masks = [subtask_mask(job, index, job.image.shape[:2]).to(clip.device) for index in range(len(subtasks))]
        weakened = weaken_overlaps(masks, self.options.overlap)
        whole = (job.plan.source_prompt, job.plan.target_prompt)
        layers = [
            Painted(
                one.target or f"no {one.source}",
                one.prompts[1].strip() or None,
                mask,
                mask,
                _pair(one, whole),
                one.strength,
            )
            for one, mask in zip(subtasks, weakened, strict=True)
        ]
        # The smallest lies on top: what is larger would hide it.
        return sorted(layers, key=lambda layer: -float(layer.mask.sum()))

    def _relevance(self, clip: Clip, picture: Tensor, phrases: Sequence[str]) -> Tensor:
        """`(1, 1, H, W)` in [0, 1]: the most relevant of the phrases at each place of the whole picture.

        It is found once, and the crops that are trained on cut their part out of it; the published code finds it anew
        for each crop, which costs a pass through CLIP and its gradient each step and jumps about with the crop.
        """
        seen = clip.whole(picture)
        maps = [clip.relevance(seen, text, self.options.relevance_layers) for text in clip.texts(phrases)]
        large = torch.cat([clip.resize(one, (picture.shape[2], picture.shape[3])) for one in maps])
        return large.amax(0, keepdim=True)


def _pair(subtask: Subtask, whole: tuple[str, str]) -> tuple[str, str]:
    """The prompts of a subtask where it has both, else the `whole` sentences."""
    return subtask.prompts if all(text.strip() for text in subtask.prompts) else whole


def _too_large(image: Image) -> OutOfMemory:
    return OutOfMemory(
        f"not enough memory to train a generator on a picture of {image.shape[1]}x{image.shape[0]} pixels",
        Remedy(
            "smaller_generator",
            "set {resolution}, {width} or {views} to less",
            resolution=Option({"resolution": None}),
            width=Option({"width": None}),
            views=Option({"views": None}),
        ),
    )
