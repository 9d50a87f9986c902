"""SDEdit (Meng et al. 2021, arXiv 2108.01073): the picture with noise on it, sampled clean again under another
prompt."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from gas.diffusion.sample.phases import clean, ddim
from gas.diffusion.schedule import times
from gas_editors.sampling.base import SamplingEditor, SamplingOptions, guided

if TYPE_CHECKING:
    from gas.diffusion.predictor import Predictor
    from gas.diffusion.sample.phases import Phases, State
    from gas.diffusion.sample.targets import Targets
    from gas.diffusion.schedule import Schedule
    from gas.interfaces import EditJob


class SDEditOptions(SamplingOptions):
    """Settings of SDEdit; guidance by text came after it, with the value of text-to-image models."""

    strength: float = Field(
        0.5, gt=0, le=1, description="t0, share of the noise that is put on: more follows the prompt (paper: 0.5)"
    )
    repeats: int = Field(1, ge=1, le=20, description="K, how often noise is put on and taken off (paper: 1; code: 3)")
    eta: float = Field(
        1.0, ge=0, le=1, description="share of fresh noise in each step: 1 is the paper's stochastic sampler, 0 DDIM"
    )


class SDEditEditor(SamplingEditor[SDEditOptions]):
    """Puts noise on the picture and lets the model take it off again under the target sentence.

    A grounded run does so for all subtasks together, each in its region; what is outside all regions is after each
    step the picture's own latent with the same noise on it, which is the paper's edit within a mask.
    """

    options_type = SDEditOptions
    needs_source = False

    def times(self, schedule: Schedule) -> tuple[float, ...]:
        """The descending times of one repeat."""
        return times(schedule, self.options.steps, self.options.strength)

    def planned(self, job: EditJob) -> int:
        return self.options.repeats * len(self.times(self.model.schedule))

    def run(
        self, job: EditJob, phases: Phases, predictor: Predictor, z_source: Tensor, targets: Targets
    ) -> tuple[Tensor, Mapping[str, Any]]:
        options, schedule = self.options, predictor.schedule
        every, last = self.times(schedule), schedule.clean
        count = len(every)
        generator = torch.Generator().manual_seed(job.seed)
        # Of each repeat: first the noise that is put on, then the fresh noise of all its steps but the last.
        noises = torch.randn((options.repeats, count, *z_source.shape), generator=generator).to(z_source)
        predict = guided(predictor, targets, options.guidance_scale)

        def noisy(z: Tensor, repeat: int, t: float) -> Tensor:
            return z if t == last else schedule.add_noise(z, noises[repeat, 0], t)

        def step(i: int, state: State) -> State:
            repeat, place = divmod(i, count)
            t, s = every[place], every[place + 1] if place + 1 < count else last
            z = state["z"] if place else noisy(state["z"], repeat, t)
            eps = predict(z, t, i)
            fresh = None if s == last else noises[repeat, place + 1]
            there = ddim(schedule, z, eps, t, s, fresh, options.eta)
            return {
                "z": targets.blend(there, noisy(z_source, repeat, s)),
                "estimate": targets.blend(clean(schedule, z, eps, t), z_source),
            }

        made = phases.run("sampling", options.repeats * count, {"z": z_source}, step)
        return made["z"], {"first_time": every[0]}
