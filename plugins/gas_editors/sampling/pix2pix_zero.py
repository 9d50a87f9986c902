"""pix2pix-zero (Parmar et al. 2023, arXiv 2302.03027): the inverted picture sampled again under a prompt that is moved
from one thing towards another, while its cross-attention is held to the picture's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import BeforeValidator, Field, field_validator
from torch import Tensor

from gas.diffusion.attention.control import control_attention
from gas.diffusion.attention.sites import AttentionSite
from gas.diffusion.backbone import Conditioning
from gas.diffusion.gradients import gradient
from gas.diffusion.memory import memory_named
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.inversion import invert
from gas.diffusion.sample.noise_regularisation import NoiseRegularisation
from gas.diffusion.sample.phases import Phases, State, clean, ddim
from gas.diffusion.sample.targets import Targets
from gas.diffusion.schedule import Schedule, times
from gas.errors import InputRefused, OutOfMemory
from gas.interfaces import EditJob
from gas.remedies import Option, Remedy, Setting
from gas_editors.model_options import one_or_several
from gas_editors.sampling.base import SamplingEditor, SamplingOptions

SENTENCES = (
    "{}",
    "a photo of {}",
    "a photograph of {}",
    "a picture of {}",
    "a painting of {}",
    "a drawing of {}",
    "a good photo of {}",
    "a bright photo of {}",
    "a dark photo of {}",
    "a close-up photo of {}",
    "a photo of {} from far away",
    "there is {}",
    "here is {} in a picture",
    "this is a picture with {} in the middle",
    "{} in the foreground",
    "{} in the background",
    "{} on a sunny day",
    "{} at night",
    "one can see {}",
    "look at {}",
)
"""Where a phrase is put to make sentences of it."""


class Pix2PixZeroOptions(SamplingOptions):
    """Settings of pix2pix-zero. Defaults are those of its code for real pictures (`edit_real.py`, `inversion.py`)."""

    guidance_scale: float = Field(5.0, ge=0, le=100, description="classifier-free guidance w (edit_real.py: 5)")
    negative_prompt: str | None = Field(
        None,
        max_length=2000,
        description="what guidance leads away from; none: the source prompt, as in edit_real.py",
    )
    cross_attention: float = Field(
        0.1,
        ge=0,
        le=100,
        description="weight of cross-attention guidance: length of the gradient step on z_t (paper: 0.1); 0: off",
    )
    autocorrelation: float = Field(
        20.0, ge=0, le=10_000, description="inversion: weight of the noise's autocorrelation (code: 20); 0: off"
    )
    kl: float = Field(20.0, ge=0, le=10_000, description="inversion: weight of the noise's KL divergence (code: 20)")
    regularisation_steps: int = Field(5, ge=1, le=100, description="inversion: gradient steps on both (code: 5)")
    rolls: int = Field(5, ge=1, le=100, description="inversion: distances for the autocorrelation a time (code: 5)")
    refine: int = Field(0, ge=0, le=20, description="inversion: fixed-point iterations a step (ours); 0: the paper's")
    sentences: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000), BeforeValidator(one_or_several)] = (
        Field(
            SENTENCES,
            description="sentences around {} for the phrases, whose mean embeddings make an edit direction (paper: "
            "about 1000 by a language model)",
        )
    )

    @field_validator("sentences")
    @classmethod
    def _have_a_place(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            if "{}" not in one:
                raise ValueError(f"the sentence {one!r} has no {{}}, where the phrase is to be put")
        return value


class Pix2PixZeroEditor(SamplingEditor[Pix2PixZeroOptions]):
    """Edits by adding a direction to the embedding of the picture's own sentence.

    A subtask's direction leads from sentences around its source phrase to the same around its target phrase, times its
    `strength`; a plain run adds up those of all subtasks. The target sentence is not used. A grounded run has a row for
    each subtask with its direction alone, confined to its region, and one with all (docs/methods.md).
    """

    options_type = Pix2PixZeroOptions
    compares_prompts = False  # the direction is its own, whatever the sentences say

    def times(self, schedule: Schedule) -> tuple[float, ...]:
        """The descending times of both ways."""
        return times(schedule, self.options.steps)

    def planned(self, job: EditJob) -> int:
        return 2 * len(self.times(self.model.schedule))

    def targets(self, job: EditJob, size: tuple[int, int]) -> Targets:
        source = job.plan.source_prompt
        if not source.strip():
            raise InputRefused(
                "the plan has no source prompt, a sentence for the whole picture",
                Remedy(
                    "source_prompt",
                    "give {source}, or {caption}, or write source_prompt into the plan",
                    source=Setting("source"),
                    caption=Setting("caption"),
                ),
            )
        # The base class asks for a target sentence too, which is not needed here.
        plan = job.plan.model_copy(update={"target_prompt": job.plan.target_prompt or source})
        return super().targets(replace(job, plan=plan), size)

    def run(
        self, job: EditJob, phases: Phases, predictor: Predictor, z_source: Tensor, targets: Targets
    ) -> tuple[Tensor, Mapping[str, Any]]:
        options, model, schedule = self.options, self.model, predictor.schedule
        model.need_null_row("pix2pix-zero")
        source = job.plan.source_prompt
        inversion = invert(
            phases,
            predictor,
            z_source,
            source,
            self.times(schedule),
            refine=options.refine,
            regularise=self._regularisation(job),
            runtime=self.runtime,
        )
        directions = torch.cat(
            [
                subtask.strength * edit_direction(predictor, *subtask.prompts, options.sentences)
                for subtask in job.plan.subtasks
            ]
        )
        kept, negative = predictor.condition([source, source if (no := options.negative_prompt) is None else no])
        whole = directions.sum(0, keepdim=True)
        moved = kept.embeddings + (whole if targets.masks is None else torch.cat([directions, whole]))
        edited = kept.with_embeddings(moved)
        guided = Conditioning.cat([negative, edited])
        sites = model.need_sites("cross", "pix2pix-zero") if options.cross_attention else ()

        def step(i: int, state: State) -> State:
            z, t, s = state["z"], inversion.times[i], (*inversion.times, schedule.clean)[i + 1]
            distance = state["distance"]
            if options.cross_attention:
                reference = _attention(predictor, sites, inversion.at(i), t, kept)
                pull, far = attention_pull(predictor, sites, reference, z, t, edited)
                z = z - options.cross_attention * targets.combine(pull, t)
                distance = distance + far.mean()
            eps = targets.guided(predictor.predict(z, t, guided), t, options.guidance_scale)
            return {
                "z": targets.blend(ddim(schedule, z, eps, t, s), inversion.at(i + 1)),
                "estimate": targets.blend(clean(schedule, z, eps, t), z_source),
                "distance": distance,
            }

        count = len(inversion.times)
        start = {"z": inversion.noise(), "distance": z_source.new_zeros(())}
        state = phases.run("edit", count, start, step)
        read = [
            source,
            *(one for s in job.plan.subtasks for phrase in s.prompts for one in filled(options.sentences, phrase)),
        ]
        measured = {
            "prompts_cut": {text: words for text in read if (words := model.dropped_words(text))},
            "directions": [float(one.norm()) for one in directions],
            "attention_distance": float(state["distance"]) / count if options.cross_attention else None,
        }
        return state["z"], measured

    def _regularisation(self, job: EditJob) -> NoiseRegularisation | None:
        options = self.options
        if not options.autocorrelation and not options.kl:
            return None
        return NoiseRegularisation(
            options.autocorrelation, options.kl, options.regularisation_steps, options.rolls, job.seed
        )


def edit_direction(predictor: Predictor, source: str, target: str, sentences: Sequence[str]) -> Tensor:
    """What is to be added to an embedding, `(1, tokens, dim)`: the mean embedding of the sentences around `target` less
    that of those around `source` (section 3.1). An empty phrase leaves its place in the sentence empty."""

    before, after = (
        predictor.condition(filled(sentences, phrase)).embeddings.mean(0, keepdim=True) for phrase in (source, target)
    )
    return after - before


def filled(sentences: Sequence[str], phrase: str) -> list[str]:
    """The sentences with `phrase` in its place."""
    return [" ".join(sentence.replace("{}", phrase).split()) for sentence in sentences]


def attention_pull(
    predictor: Predictor,
    sites: Sequence[AttentionSite],
    reference: Mapping[str, Tensor],
    z: Tensor,
    t: float,
    told: Conditioning,
) -> tuple[Tensor, Tensor]:
    """For each row of `told` the gradient `(n, C, h, w)` at `z` `(1, C, h, w)` of how far its
    cross-attention is from the `reference`'s, and how far it is, `(n,)`.

    Far is the squared difference, summed over cells and tokens, averaged over heads, summed over `sites` (eq. 5 and
    reference code, which averages over the rows for guidance too and so takes half the step). OutOfMemory (exit 7)
    when memory is short.
    """
    with torch.enable_grad(), memory_named(lambda: _too_large(z)):
        leaf = z.detach().repeat(len(told), 1, 1, 1).requires_grad_()
        maps = _attention(predictor, sites, leaf, t, told)
        far = torch.stack([(maps[name] - reference[name]).float().square().sum((2, 3)).mean(1) for name in maps]).sum(0)
        pull = gradient(far.sum(), leaf)
    return pull, far.detach()


def _attention(
    predictor: Predictor, sites: Sequence[AttentionSite], z: Tensor, t: float, told: Conditioning
) -> dict[str, Tensor]:
    """The cross-attention `(rows, heads, cells, tokens)` of each site by its name."""
    maps: dict[str, Tensor] = {}

    def keep(site: AttentionSite, probabilities: Tensor) -> None:
        maps[site.name] = probabilities

    with control_attention(sites, keep):
        predictor.predict(z, t, told)
    return maps


def _too_large(z: Tensor) -> OutOfMemory:
    return OutOfMemory(
        f"not enough memory for the gradient of attention over a latent of {z.shape[3]}x{z.shape[2]}",
        Remedy(
            "less_cross_attention",
            "try {option}, {dtype}, or a smaller picture",
            option=Option({"cross_attention": 0}),
            dtype=Setting("dtype", "bf16"),
        ),
    )
