"""One turn of an editor by instruction: a picture made anew, told the old one and what to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gas.checkpoint import prefixed, under
from gas.diffusion.attention.control import control_attention
from gas.diffusion.attention.maps import AttentionMaps
from gas.diffusion.attention.sites import AttentionSite
from gas.diffusion.backbone import Backbone
from gas.diffusion.instruct import InstructionNoise, Sampler, predict_instruction, told_instruction
from gas.diffusion.predictor import Predictor
from gas.diffusion.stepping import same_size
from gas.errors import ModelUnavailable
from gas_editors.instruction.confined import Confined
from gas_editors.strokes import Strokes

if TYPE_CHECKING:
    from gas.types import Image, Mask
    from gas_editors.instruction.base import InstructionOptions


@dataclass(frozen=True)
class Finished:
    """What a turn made: `image` `(H, W, 3)` uint8 is its own output, pasted with the strength `alpha` `(H, W)` in [0,
    1] (None: it replaces the whole picture). `log` holds plain JSON values."""

    image: Image
    alpha: Mask | None
    log: Mapping[str, Any] = field(default_factory=dict)


class Turn:
    """One denoising of one picture, from noise to the edited latent: of one instruction for the whole picture, or of
    several, each `confined` to its region, and then outside all regions the source's own latent after each step, and
    `strokes`, if there are any, where something is added.

    The second of two `models` advances a latent of its own from the same noise, and after each step the first one's
    becomes `(z + beta z_2) / (1 + beta)` (ZONE, eq. 5); `beta` is a number, or one for each cell `(1, 1, h, w)`. Each
    of `maps` collects the attention of its sites of the first model.
    """

    def __init__(
        self,
        models: Sequence[Backbone],
        image: Image,
        instructions: Sequence[str],
        seed: int,
        options: InstructionOptions,
        beta: float | Tensor = 0.0,
        maps: Sequence[tuple[Sequence[AttentionSite], AttentionMaps]] = (),
        confined: Confined | None = None,
        strokes: Strokes | None = None,
    ) -> None:
        self.models, self.options, self.beta, self.maps = tuple(models), options, beta, tuple(maps)
        self.instructions, self.confined, self.strokes = tuple(instructions), confined, strokes
        pictures = [model.picture_condition(image) for model in models]
        first = pictures[0]
        if any(one.shape != first.shape for one in pictures):
            raise ModelUnavailable(
                f"the two instruction models do not share a latent space: "
                f"{' and '.join('x'.join(map(str, one.shape[1:])) for one in pictures)}",
                "name a second_model of the same kind",
            )
        self.predictors = [Predictor(model, (first.shape[2], first.shape[3])) for model in models]
        self.told = [
            told_instruction(predictor, picture, *instructions)
            for predictor, picture in zip(self.predictors, pictures, strict=True)
        ]
        noise = torch.randn(first.shape, generator=torch.Generator().manual_seed(seed)).to(first.device)
        self._noise = noise
        self._sources = [] if confined is None else [model.encode(image) for model in models]
        self._painted = [] if strokes is None else [model.encode(strokes.picture) for model in models]
        self.samplers = [Sampler(predictor.schedule, options.steps, noise) for predictor in self.predictors]
        self._keep_outside()
        self.relevance = torch.zeros(first.shape[2:])
        self._added = torch.zeros_like(first)
        self._predicted = [torch.zeros_like(first) for _ in models]

    @property
    def done(self) -> int:
        return self.samplers[0].done

    @property
    def evaluations(self) -> int:
        """How many rows the models were asked for."""
        return sum(predictor.rows for predictor in self.predictors)

    @property
    def latent(self) -> Tensor:
        """The edited latent `(1, C, h, w)` at the end, before it what is taken for it."""
        sampler = self.samplers[0]
        if sampler.estimate is None or sampler.done == sampler.steps:
            return sampler.z
        if self.confined is None:
            return sampler.estimate
        return self.confined.blend(sampler.estimate, self._sources[0])

    def decode(self) -> Image:
        """The picture `(H, W, 3)` uint8 of `latent`."""
        return self.models[0].decode(self.latent)

    def unedited(self) -> Image | None:
        """What `decode` would give of a confined turn that changed nothing; None of one that remakes the whole
        picture."""
        return self.models[0].decode(self._sources[0]) if self._sources else None

    def preview(self) -> Callable[[], Image]:
        """What decodes the present `latent`, also when more steps have been made since."""
        model, latent = self.models[0], self.latent
        return lambda: model.decode(latent)

    def step(self) -> None:
        """Makes one step of all models."""
        noises: list[InstructionNoise] = []
        with ExitStack() as seen:
            for sites, one in self.maps:
                seen.enter_context(control_attention(sites, one, beside=True))
            for predictor, sampler, told in zip(self.predictors, self.samplers, self.told, strict=True):
                noises.append(predict_instruction(predictor, sampler.z, sampler.t, told))
        shares = None if self.confined is None else self.confined.shares
        self._added = noises[0].added(shares)
        self.relevance += self._added[0].abs().mean(0).float().cpu()
        scales = self.options.guidance_scale, self.options.image_guidance_scale
        self._predicted = [noise.guided(*scales, shares) for noise in noises]
        for sampler, eps in zip(self.samplers, self._predicted, strict=True):
            sampler.step(eps)
        for other in self.samplers[1:]:
            first = self.samplers[0]
            beta = self.beta.to(first.z) if isinstance(self.beta, Tensor) else self.beta
            first.z = (first.z + beta * other.z) / (1 + beta)
        self._keep_outside()

    def _keep_outside(self) -> None:
        """Outside the regions the source at the time that is reached, with the run's own noise on it."""
        if self.confined is None:
            return
        for predictor, sampler, source in zip(self.predictors, self.samplers, self._sources, strict=True):
            s = sampler.reached
            clean = s == predictor.schedule.clean
            sampler.z = self.confined.blend(
                sampler.z, source if clean else predictor.schedule.add_noise(source, self._noise, s)
            )
        self._hold_strokes()

    def _hold_strokes(self) -> None:
        """Where something is added the stroke at the time that is reached, while there is more noise than it is held
        to."""
        if self.strokes is None:
            return
        for predictor, sampler, painted in zip(self.predictors, self.samplers, self._painted, strict=True):
            s, schedule = sampler.reached, predictor.schedule
            if s != schedule.clean and schedule.snr(s) <= schedule.snr(schedule.share(self.strokes.until)):
                there = schedule.add_noise(painted, self._noise, s)
                sampler.z = torch.where(self.strokes.places.to(there.device), there, sampler.z)

    def effect(self) -> float:
        """The root mean square of what the instructions added to the predicted noise in the last step."""
        return float(self._added.square().mean().sqrt())

    def numbers(self) -> Mapping[str, Tensor]:
        """What must be finite after a step: the guided predictions of all models, and their latents."""
        latents = [sampler.z for sampler in self.samplers]
        return {"prediction": torch.cat(self._predicted), "latent": torch.cat(latents)}

    def state(self) -> dict[str, Any]:
        """All that `restore` needs: a flat mapping of names to tensors and plain numbers."""
        state: dict[str, Any] = {"evaluations": self.evaluations, "relevance": self.relevance}
        for number, sampler in enumerate(self.samplers):
            state |= prefixed(f"sampler.{number}.", sampler.state())
        for number, (_, one) in enumerate(self.maps):
            state |= prefixed(f"maps.{number}.", one.state())
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        """Resumes from a `state`. KeyError, TypeError, ValueError or AttributeError when it is another turn's."""
        for number, sampler in enumerate(self.samplers):
            sampler.restore(under(state, f"sampler.{number}."))
        for number, (_, one) in enumerate(self.maps):
            one.restore(under(state, f"maps.{number}."), self.samplers[0].z.device)
        self.relevance = same_size(state["relevance"], self.relevance)
        self.predictors[0].rows = int(state["evaluations"])
