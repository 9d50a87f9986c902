"""Plug-and-Play (Tumanyan et al. 2022, arXiv 2211.12572): the inverted picture sampled again under another prompt, with
its own features and self-attention put in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor

from gas.diffusion.attention.inject import inject_attention, inject_features
from gas.diffusion.attention.sites import AttentionSite
from gas.diffusion.backbone import Backbone
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.inversion import invert
from gas.diffusion.sample.phases import Phases, sample
from gas.diffusion.sample.targets import Targets
from gas.diffusion.schedule import Schedule, times
from gas.errors import ModelUnavailable, UsageError
from gas.interfaces import EditJob
from gas_editors.model_options import one_or_several
from gas_editors.sampling.base import SamplingEditor, SamplingOptions

if TYPE_CHECKING:
    from torch import nn

SOURCE_ROW = 0
"""The row of the batch that is the picture's own; all others take from it."""


class PlugAndPlayOptions(SamplingOptions):
    """Settings of Plug-and-Play. Defaults are those of its authors' code for diffusers (`config_pnp.yaml`).

    Blocks of the decoder are counted from 0, the coarsest first, through all its levels, as there: Stable Diffusion 1.x
    has twelve.
    """

    features_until: float = Field(
        0.8, ge=0, le=1, description="tau_f: share of the steps, the noisiest first, with features put in"
    )
    attention_until: float = Field(
        0.5, ge=0, le=1, description="tau_A: share of the steps, the noisiest first, with self-attention put in"
    )
    feature_blocks: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...], Field(max_length=64), BeforeValidator(one_or_several)
    ] = Field((4,), description="blocks of the decoder whose features are put in (paper: 4)")
    attention_from: int = Field(
        4, ge=0, description="first block of the decoder whose self-attention is put in; all later ones too (paper: 4)"
    )
    features: Literal["residual", "output"] = Field(
        "residual",
        description="what of such a block is put in: what it adds to its input (authors' code), or all its output",
    )
    inversion_prompt: Literal["empty", "source"] = Field(
        "empty", description="prompt of the inversion and of the picture's own row (authors' code: empty)"
    )
    negative_prompt: str = Field(
        "ugly, blurry, black, low res, unrealistic",
        max_length=2000,
        description="what guidance leads away from (config_pnp.yaml)",
    )
    refine: int = Field(0, ge=0, le=20, description="inversion: fixed-point iterations a step (ours)")


class PlugAndPlayEditor(SamplingEditor[PlugAndPlayOptions]):
    """Edits by sampling under the target sentence beside the picture's own way from noise, whose features and
    self-attention every row takes over up to a time.

    A grounded run has a row for each subtask's target phrase and one for the whole sentence, confined to their regions
    (docs/methods.md).
    """

    options_type = PlugAndPlayOptions

    @property
    def needs_source(self) -> bool:  # type: ignore[override]
        return self.options.inversion_prompt == "source"

    def times(self, schedule: Schedule) -> tuple[float, ...]:
        """The descending times of both ways."""
        return times(schedule, self.options.steps)

    def injected_steps(self) -> tuple[int, int]:
        """How many steps have features put in, and how many self-attention; the noisiest ones."""
        count = len(self.times(self.model.schedule))
        # Rounded before it is cut, so that 0.29 of 100 steps are 29.
        features, attention = (
            int(round(count * share, 6)) for share in (self.options.features_until, self.options.attention_until)
        )
        return features, attention

    def planned(self, job: EditJob) -> int:
        return 2 * len(self.times(self.model.schedule))

    def run(
        self, job: EditJob, phases: Phases, predictor: Predictor, z_source: Tensor, targets: Targets
    ) -> tuple[Tensor, Mapping[str, Any]]:
        options, model = self.options, self.model
        every = self.times(predictor.schedule)
        until_features, until_attention = self.injected_steps()
        modules = feature_modules(model, options.feature_blocks, options.features) if until_features else []
        sites = decoder_attention(model, options.attention_from) if until_attention else []
        source = job.plan.source_prompt if options.inversion_prompt == "source" else ""
        inversion = invert(phases, predictor, z_source, source, every, refine=options.refine, runtime=self.runtime)
        wanted = [target for _, target in targets.prompts]
        told = predictor.guided(wanted, options.guidance_scale, options.negative_prompt, unguided=[source])
        rows = dict.fromkeys(range(1, len(told)), SOURCE_ROW)

        def noise(z: Tensor, t: float, i: int) -> Tensor:
            with ExitStack() as injected:
                if modules and i < until_features:
                    injected.enter_context(inject_features(modules, rows))
                if i < until_attention:
                    injected.enter_context(inject_attention(sites, rows))
                batch = torch.cat([inversion.at(i), z.repeat(len(rows), 1, 1, 1)])
                eps = predictor.predict(batch, t, told)
            return targets.guided(eps[1:], t, options.guidance_scale)

        def after(z: Tensor, s: float, i: int) -> Tensor:
            return targets.blend(z, inversion.reached(s, i))

        z = sample(phases, "edit", predictor.schedule, inversion.noise(), inversion.times, noise, after)
        return z, {"feature_steps": until_features, "attention_steps": until_attention}


def feature_modules(model: Backbone, blocks: tuple[int, ...], what: str) -> list[nn.Module]:
    """The modules whose output is put in, for the decoder's residual `blocks`. UsageError (exit 2) for a block that
    this network does not have; ModelUnavailable (exit 6) for one that is no U-Net."""
    names = _decoder_blocks(model)
    if wrong := [block for block in blocks if block >= len(names)]:
        raise UsageError(
            f"feature_blocks: this model's decoder has no block {wrong[0]}",
            f"it has {len(names)}: choose among 0 to {len(names) - 1}",
        )
    chosen = ["up_blocks.{}.resnets.{}".format(*names[block]) for block in dict.fromkeys(blocks)]
    return [model.network.get_submodule(f"{name}.conv2" if what == "residual" else name) for name in chosen]


def decoder_attention(model: Backbone, first: int) -> list[AttentionSite]:
    """The self-attention sites of the decoder's blocks from number `first` on; there may be none in some blocks.
    UsageError (exit 2) when there is none at all; ModelUnavailable (exit 6) for a network that is no U-Net."""
    numbers = {f"up_blocks.{level}.attentions.{one}.": n for n, (level, one) in enumerate(_decoder_blocks(model))}
    found = [
        site
        for site in model.attention_sites("self")
        for prefix, number in numbers.items()
        if site.name.startswith(prefix) and number >= first
    ]
    if not found:
        raise UsageError(
            f"attention_from: this model's decoder has no self-attention from block {first} on",
            f"it has {len(numbers)} blocks: choose a smaller number, or attention_until=0 for none",
        )
    return found


def _decoder_blocks(model: Backbone) -> list[tuple[int, int]]:
    """(level, number in it) of each residual block of the decoder, in order. ModelUnavailable (exit 6) without one."""
    decoder = getattr(model.network, "up_blocks", None)
    if decoder is None:
        raise ModelUnavailable(
            f"Plug-and-Play takes over the features of a U-Net's decoder, which {model.name} does not have",
            "take another editor or model",
        )
    return [
        (level, number)
        for level, block in enumerate(decoder.children())
        for number, _ in enumerate(block.get_submodule("resnets").children())
    ]
