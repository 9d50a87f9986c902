"""Prompt-to-Prompt (Hertz et al. 2022, arXiv 2208.01626) on real pictures by way of null-text inversion (Mokady et al.
2022, arXiv 2211.09794): the edited picture is sampled with the attention that the source picture had."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, field_validator
from torch import Tensor
from torch.nn import functional as F

from gas.diffusion.attention.alignment import TokenMap, differing_tokens, refined_words, replaced_words, word_factors
from gas.diffusion.attention.control import Replace, Reweight, control_attention
from gas.diffusion.attention.inject import inject_attention
from gas.diffusion.attention.maps import AttentionMaps
from gas.diffusion.attention.phrase_tokens import phrase_tokens
from gas.diffusion.attention.sites import finest_side, sites_near, sites_within
from gas.diffusion.backbone import Conditioning
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.inversion import Inversion, invert, null_text
from gas.diffusion.sample.phases import Phases, State, clean, ddim
from gas.diffusion.sample.targets import Targets
from gas.diffusion.schedule import times
from gas.interfaces import EditJob
from gas_editors.maps import save_map
from gas_editors.sampling.base import SamplingEditor, SamplingOptions

BLEND_FROM = 0.2
"""Share of steps before which local blending leaves the picture alone (`null_text_w_ptp.ipynb`: start_blend)."""


def _as_tuple(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class PromptToPromptOptions(SamplingOptions):
    """Settings of Prompt-to-Prompt. Where no other source is named, a default is that of the authors' notebook for
    real pictures (`null_text_w_ptp.ipynb`)."""

    inversion: Literal["null-text", "negative-prompt", "ddim"] = Field(
        "null-text",
        description="how the picture is inverted and what stands for no prompt: embeddings optimised for this picture "
        "(Mokady et al. 2022), the source prompt (Miyake et al. 2023, arXiv 2305.16807: no optimisation), or the empty "
        "one (plain DDIM inversion)",
    )
    null_steps: int = Field(10, ge=1, le=1000, description="null-text: most optimisation steps for each time")
    fixed_point: int = Field(
        0, ge=0, le=20, description="times that each step of the inversion is refined (Pan et al. 2023); 0: not at all"
    )
    cross_replace: float = Field(
        0.8, ge=0, le=1, description="first share of steps in which words look where the source's look (tau_c)"
    )
    self_replace: float = Field(
        0.4, ge=0, le=1, description="first share of steps in which the picture looks at itself as the source does"
    )
    self_cells: float = Field(
        0.25,
        ge=0,
        le=1,
        description="self-attention is taken over in layers of at most this share of the latent's cells (32 x 32 of 64 "
        "x 64)",
    )
    mode: Literal["auto", "replace", "refine"] = Field(
        "auto",
        description="how words stand for each other: one by one, by what both prompts have in common, or the "
        "former where both have equally many words",
    )
    reweight: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        (), description="words of the target prompt that count more or less: WORD=FACTOR,WORD=FACTOR; at all steps"
    )
    local_blend: bool = Field(False, description="keep what none of the differing words looks at (local blending)")
    blend_threshold: float = Field(
        0.3, gt=0, lt=1, description="local blending: least attention, as a share of the largest, of what may change"
    )

    @field_validator("reweight")
    @classmethod
    def _factors(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            word, equals, factor = text.rpartition("=")
            try:
                if not word.strip() or not equals or not abs(float(factor)) <= 100:
                    raise ValueError
            except ValueError:
                raise ValueError(f"{text!r} is not WORD=FACTOR with a factor from -100 to 100") from None
        return value

    @property
    def factors(self) -> dict[str, float]:
        """Factor of each word that is reweighted."""
        return {word.strip(): float(factor) for word, _, factor in (text.rpartition("=") for text in self.reweight)}


@dataclass(frozen=True)
class Words:
    """How the prompts of the targets' rows go together: for each row the map from its source, how it was made, and
    factors of its tokens; which tokens of the whole prompts differ."""

    maps: tuple[TokenMap, ...]
    modes: tuple[str, ...]
    factors: tuple[Tensor | None, ...]
    differing: tuple[list[int], list[int]]


class PromptToPromptEditor(SamplingEditor[PromptToPromptOptions]):
    """Samples the target prompt from the picture's own noise, while words and cells look where those of the source
    picture look.

    The source's attention is computed on the path of the inversion itself, so that it is the picture's, however well
    or badly sampling would follow that path back (docs/methods.md).
    """

    options_type = PromptToPromptOptions

    def planned(self, job: EditJob) -> int:
        phases = 3 if self.options.inversion == "null-text" else 2
        return phases * len(times(self.model.schedule, self.options.steps))

    def run(
        self, job: EditJob, phases: Phases, predictor: Predictor, z_source: Tensor, targets: Targets
    ) -> tuple[Tensor, Mapping[str, Any]]:
        options = self.options
        predictor.model.need_null_row("Prompt-to-Prompt")
        words = self._words(targets)
        inversion = invert(
            phases,
            predictor,
            z_source,
            targets.prompts[-1][0],
            times(predictor.schedule, options.steps),
            refine=options.fixed_point,
            runtime=self.runtime,
        )
        nulls = self._nulls(phases, predictor, inversion)
        sampler = _Sampler(self, predictor, inversion, nulls, targets, words)
        state = phases.run("sampling", len(inversion.times), sampler.start(), sampler.step)
        if options.local_blend:
            size = job.image.shape[0], job.image.shape[1]
            save_map(job.watch, "local-blend", sampler.changing(state["seen"])[0, 0], size)
        return state["z"], {"inversion": options.inversion, "alignment": list(words.modes)}

    def _nulls(self, phases: Phases, predictor: Predictor, inversion: Inversion) -> Conditioning:
        """What stands for no prompt, a row for each step."""
        options = self.options
        null = predictor.condition([inversion.prompt if options.inversion == "negative-prompt" else ""])
        if options.inversion != "null-text":
            return null.with_embeddings(null.embeddings.expand(len(inversion.times), -1, -1))
        steps, scale = options.null_steps, options.guidance_scale
        found = null_text(phases, predictor, inversion, scale, inner_steps=steps, runtime=self.runtime)
        return null.with_embeddings(found)

    def _words(self, targets: Targets) -> Words:
        """InputRefused (exit 3) when prompts cannot be aligned, or a word to reweight is in none of them."""
        seen = self.model.need_words("Prompt-to-Prompt")
        tokenizer, length = seen.tokenizer, seen.max_tokens
        maps, modes = [], []
        for source, target in targets.prompts:
            mode = self.options.mode
            if mode == "auto":
                mode = "replace" if len(source.split()) == len(target.split()) else "refine"
            align = replaced_words if mode == "replace" else refined_words
            maps.append(align(tokenizer, source, target, length))
            modes.append(mode)
        factors: list[Tensor | None] = []
        missing = dict(self.options.factors)
        for _, target in targets.prompts:
            own = {w: f for w, f in self.options.factors.items() if phrase_tokens(tokenizer, target, w, length)}
            factors.append(word_factors(tokenizer, target, own, length) if own else None)
            missing = {word: factor for word, factor in missing.items() if word not in own}
        word_factors(tokenizer, targets.prompts[-1][1], missing, length)  # names the word that is nowhere
        differing = differing_tokens(tokenizer, *targets.prompts[-1], length)
        return Words(tuple(maps), tuple(modes), tuple(factors), differing)


class _Sampler:
    """The way from noise to the edited latent: what a step does, from its number and the state alone."""

    def __init__(
        self,
        editor: PromptToPromptEditor,
        predictor: Predictor,
        inversion: Inversion,
        nulls: Conditioning,
        targets: Targets,
        words: Words,
    ) -> None:
        self.options = editor.options
        self.predictor, self.inversion, self.nulls = predictor, inversion, nulls
        self.targets, self.words = targets, words
        # Rows that share a source prompt share its row.
        self.sources = list(dict.fromkeys(source for source, _ in targets.prompts))
        self.told_sources = predictor.condition(self.sources)
        self.told_targets = predictor.condition([target for _, target in targets.prompts])
        self.size = inversion.latents.shape[2], inversion.latents.shape[3]
        height, width = self.size
        self.cross = predictor.model.need_sites("cross", "Prompt-to-Prompt")
        own = predictor.model.need_sites("self", "Prompt-to-Prompt")
        self.own = sites_within(own, self.size, self.options.self_cells * height * width)
        # 16 x 16 cells at 512 pixels, as in the paper.
        least = min(8, finest_side(self.cross, self.size))
        self.seen = sites_near(self.cross, self.size, (height * width) ** 0.5 / 4, least)

    def start(self) -> State:
        state = {"z": self.inversion.noise()}
        if self.options.local_blend:
            state["seen"] = state["z"].new_zeros(2, 1, *self.seen[0].grid(self.size))
        return state

    def step(self, i: int, state: State) -> State:
        inversion, schedule = self.inversion, self.predictor.schedule
        count = len(inversion.times)
        t, s = inversion.times[i], inversion.times[i + 1] if i + 1 < count else schedule.clean
        z = state["z"]
        eps, seen = self._noise(i, z)
        here, estimate = ddim(schedule, z, eps, t, s), clean(schedule, z, eps, t)
        after: State = {}
        if seen is not None:
            after["seen"] = state["seen"] + seen
            if i >= BLEND_FROM * count:
                changing = self.changing(after["seen"])
                here = _between(inversion.at(i + 1), here, changing)
                estimate = _between(inversion.at(count), estimate, changing)
        here = self.targets.blend(here, inversion.at(i + 1))
        estimate = self.targets.blend(estimate, inversion.at(count))
        return {"z": here, "estimate": estimate, **after}

    def changing(self, seen: Tensor) -> Tensor:
        """`(1, 1, h, w)`: 1 where the differing words have looked enough, in the source or in the target."""
        wide = F.interpolate(F.max_pool2d(seen, 3, 1, 1), self.size)
        share = wide / wide.amax((2, 3), keepdim=True).clamp_min(torch.finfo(wide.dtype).tiny)
        return (share > self.options.blend_threshold).any(0, keepdim=True).to(seen)

    def _noise(self, i: int, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """The guided prediction of step i `(1, C, h, w)`, and where the differing words looked, `(2, 1, h, w)`."""
        options, words = self.options, self.words
        count = len(self.inversion.times)
        by_words = i < int(options.cross_replace * count)
        by_cells = i < int(options.self_replace * count) and bool(self.own)
        needed = by_words or by_cells or options.local_blend
        sources = self.told_sources[: len(self.told_sources) if needed else 0]
        first = len(sources) + 1  # the row of the first target; before it the null prompt's
        pairs = enumerate(self.targets.prompts, first)
        taken = {row: self.sources.index(source) for row, (source, _) in pairs} if needed else {}
        last = first + len(words.maps) - 1
        factors = {first + k: one for k, one in enumerate(words.factors) if one is not None}
        maps = AttentionMaps(self.size, [taken[last], last]) if options.local_blend else None
        with ExitStack() as controls:
            if by_cells:
                controls.enter_context(inject_attention(self.own, taken))
            if by_words:
                replace = Replace(taken, dict(enumerate(words.maps, first)))
                controls.enter_context(control_attention(self.cross, replace))
            if factors:
                controls.enter_context(control_attention(self.cross, Reweight(factors)))
            if maps is not None:
                controls.enter_context(control_attention(self.seen, maps))
            rows = self.predictor.predict(
                torch.cat(
                    [self.inversion.at(i).expand(len(sources), -1, -1, -1), z.expand(1 + len(words.maps), -1, -1, -1)]
                ),
                self.inversion.times[i],
                Conditioning.cat([sources, self.nulls[i : i + 1], self.told_targets]),
            )
        eps = self.targets.guided(rows[first - 1 :], self.inversion.times[i], options.guidance_scale)
        if maps is None:
            return eps, None
        looked = [one[tokens].sum(0, keepdim=True) for one, tokens in zip(maps.mean(), words.differing, strict=True)]
        return eps, torch.stack(looked).to(z)


def _between(before: Tensor, after: Tensor, changing: Tensor) -> Tensor:
    return before + changing * (after - before)
