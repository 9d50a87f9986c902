"""Models that edit by instruction: an InstructPix2Pix (Brooks et al. 2022, arXiv 2211.09800), its guidance with two
scales, and the sampler that makes a picture with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gas.diffusion.backbone import Conditioning
from gas.diffusion.predictor import Predictor
from gas.diffusion.schedule import Schedule, VPSchedule
from gas.diffusion.stepping import same_size
from gas.errors import ModelUnavailable

NULL_ROW, IMAGE_ROW, TEXT_ROW = 0, 1, 2
"""Rows of a batch for one picture: told nothing, told the picture, told the picture and the (first) instruction."""


@dataclass(frozen=True)
class InstructionNoise:
    """The predictions that guidance needs: told nothing and told the picture, each `(1, C, h, w)`, and told the picture
    and an instruction `(K, C, h, w)`, a row for each of K."""

    null: Tensor
    image: Tensor
    text: Tensor

    def added(self, shares: Tensor | None = None) -> Tensor:
        """What the instruction adds, `eps(c_I, c_T) - eps(c_I, 0)`; of several the sum, each weighted by its `shares`
        `(K, 1, h, w)`. `(1, C, h, w)`."""
        each = self.text - self.image
        return each if shares is None else (shares.to(each) * each).sum(0, keepdim=True)

    def guided(self, text_scale: float, image_scale: float, shares: Tensor | None = None) -> Tensor:
        """`eps(0, 0) + s_I (eps(c_I, 0) - eps(0, 0)) + s_T (eps(c_I, c_T) - eps(c_I, 0))` (InstructPix2Pix, eq. 3); of
        several instructions the last difference is `added(shares)`."""
        return self.null + image_scale * (self.image - self.null) + text_scale * self.added(shares)


@torch.no_grad()
def told_instruction(predictor: Predictor, picture: Tensor, *instructions: str) -> Conditioning:
    """What an instruction model is told, a row for each of NULL_ROW and IMAGE_ROW, and from TEXT_ROW on one for each
    instruction.

    `picture` `(1, C, h, w)` is what it is told of the picture (`Backbone.picture_condition`); the first row has zeros
    in its place. Warns of words that do not fit.
    """
    prompts = predictor.condition(["", *instructions])[[0, 0, *range(1, 1 + len(instructions))]]
    beside = [torch.zeros_like(picture), *[picture] * (1 + len(instructions))]
    return prompts.with_extra(beside=torch.cat(beside))


@torch.no_grad()
def predict_instruction(predictor: Predictor, z_t: Tensor, t: float, told: Conditioning) -> InstructionNoise:
    """The predictions for a noisy latent `z_t` `(1, C, h, w)` at time t, in one network call; `told` is from
    `told_instruction`."""
    null, image, text = predictor.predict(z_t, t, told).split((1, 1, len(told) - TEXT_ROW))
    return InstructionNoise(null, image, text)


class Sampler:
    """From noise to a picture's latent with diffusers' DPM-Solver++ of second order (Lu et al. 2022, arXiv 2211.01095).

    `z` is the latent `(1, C, h, w)` after `done` of `steps` steps; `estimate` is what the last step took for the clean
    one. ModelUnavailable (exit 6) for a schedule that is not a table of times.
    """

    def __init__(self, schedule: Schedule, steps: int, z: Tensor) -> None:
        from diffusers import DPMSolverMultistepScheduler

        if not isinstance(schedule, VPSchedule):
            raise ModelUnavailable(
                "the sampler of instruction models knows variance-preserving schedules only", "name another model"
            )
        kept = schedule.alphas_cumprod.double().cpu()
        betas = 1 - kept / torch.cat([kept.new_ones(1), kept[:-1]])
        # Predictions are turned to noise before they come here, so the scheduler knows only that kind.
        kind: Any = DPMSolverMultistepScheduler  # its methods are not typed
        self._scheduler = kind(num_train_timesteps=len(kept), trained_betas=betas.tolist(), prediction_type="epsilon")
        self._scheduler.set_timesteps(steps)
        self.steps, self._clean = steps, schedule.clean
        self.times: tuple[int, ...] = tuple(int(t) for t in self._scheduler.timesteps)
        self.z = z
        self.done = 0
        self.estimate: Tensor | None = None

    @property
    def t(self) -> int:
        """The time of the next step."""
        return self.times[self.done]

    @property
    def reached(self) -> float:
        """The time that `z` has reached: that of the next step, the schedule's clean one after the last."""
        return self.times[self.done] if self.done < self.steps else self._clean

    def step(self, eps: Tensor) -> None:
        """Makes the step that the predicted noise `(1, C, h, w)` asks for."""
        self.z = self._scheduler.step(eps, self._scheduler.timesteps[self.done], self.z, return_dict=False)[0]
        self.estimate = self._scheduler.model_outputs[-1]
        self.done += 1

    def state(self) -> dict[str, Any]:
        """All that `restore` needs to resume bit for bit: tensors and plain numbers by name."""
        state: dict[str, Any] = {"step": self.done, "z": self.z}
        return state if self.estimate is None else {**state, "estimate": self.estimate}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Resumes from a `state`. KeyError, TypeError, ValueError or AttributeError for that of a run of another size
        or number of steps."""
        z, done = same_size(state["z"], self.z), int(state["step"])
        if not 0 <= done <= self.steps:
            raise ValueError("its number of steps differs")
        self.estimate = same_size(state["estimate"], self.z) if done else None
        self.z, self.done = z, done
        self._scheduler.set_begin_index(self.done)
        self._scheduler.lower_order_nums = min(self.done, self._scheduler.config.solver_order)
        self._scheduler.model_outputs[-1] = self.estimate
