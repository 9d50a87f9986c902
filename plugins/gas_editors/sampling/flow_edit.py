"""FlowEdit (Kulikov et al. 2024, arXiv 2412.08629): straight from the picture to the edited one along the difference of
two velocities, without an inversion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from gas.diffusion.backbone import Conditioning
from gas.diffusion.schedule import times
from gas_editors.sampling.base import SamplingEditor, SamplingOptions

if TYPE_CHECKING:
    from gas.diffusion.predictor import Predictor
    from gas.diffusion.sample.phases import Phases, State
    from gas.diffusion.sample.targets import Targets
    from gas.diffusion.schedule import Schedule
    from gas.interfaces import EditJob


class FlowEditOptions(SamplingOptions):
    """Settings of FlowEdit. Defaults are those of its own code for Stable Diffusion 3: 50 steps, of which the last 33
    are made."""

    strength: float = Field(
        0.66, gt=0, le=1, description="share of the steps that are made, n_max / T: more follows the prompt"
    )
    guidance_scale: float = Field(13.5, ge=0, le=100, description="classifier-free guidance of the target")
    source_guidance: float = Field(3.5, ge=0, le=100, description="classifier-free guidance of the source")
    average: int = Field(
        1, ge=1, le=20, description="n_avg, draws of noise that each step's velocities are averaged of"
    )
    align: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the way from the target's clean picture to the source's that each step goes back "
        "(FlowAlign, arXiv 2505.23145: 0.01); 0: none",
    )


class FlowEditEditor(SamplingEditor[FlowEditOptions]):
    """Carries the latent along `v(Z_tar, y) - v(Z_src, x)` from much noise to none (its algorithm 1).

    A model that preserves variance is taken as a flow by a change of variables: `tau = sigma / (alpha + sigma)`, whose
    points times `alpha + sigma` are the network's own (docs/methods.md). A grounded run carries each subtask in its
    region; outside all regions the latent keeps its bits.
    """

    options_type = FlowEditOptions

    def times(self, schedule: Schedule) -> tuple[float, ...]:
        """The descending times of the steps."""
        return times(schedule, self.options.steps, self.options.strength)

    def planned(self, job: EditJob) -> int:
        return len(self.times(self.model.schedule))

    def run(
        self, job: EditJob, phases: Phases, predictor: Predictor, z_source: Tensor, targets: Targets
    ) -> tuple[Tensor, Mapping[str, Any]]:
        options, schedule = self.options, predictor.schedule
        every = self.times(schedule)
        taus = [*(_tau(schedule, t) for t in every), 0.0]
        generator = torch.Generator().manual_seed(job.seed)
        noises = torch.randn((len(every), options.average, *z_source.shape), generator=generator).to(z_source)
        told = [
            predictor.guided([pair[side] for pair in targets.prompts], scale)
            for side, scale in enumerate((options.source_guidance, options.guidance_scale))
        ]
        both = Conditioning.cat(told)

        def velocities(z: Tensor, t: float, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            """The guided velocities at the source's and the target's point, and how far the target's clean picture is
            from the source's, each `(1, C, h, w)`."""
            tau, alpha, sigma = _tau(schedule, t), schedule.alpha(t), schedule.sigma(t)
            at_source = (1 - tau) * z_source + tau * noise
            points = at_source, z + at_source - z_source
            rows = [point.expand(len(part), -1, -1, -1) for point, part in zip(points, told, strict=True)]
            found = predictor.predict((alpha + sigma) * torch.cat(rows), t, both).split([len(part) for part in told])
            guidance = options.source_guidance, options.guidance_scale
            v = [targets.guided(part, t, scale) for part, scale in zip(found, guidance, strict=True)]
            if schedule.sampled == "epsilon":
                v = [
                    _velocity(eps, (alpha + sigma) * z_tau, alpha, sigma) for eps, z_tau in zip(v, points, strict=True)
                ]
            clean = [point - tau * one for point, one in zip(points, v, strict=True)]
            return v[0], v[1], clean[1] - clean[0]

        def step(i: int, state: State) -> State:
            z = state["z"]
            drawn = [velocities(z, every[i], noise) for noise in noises[i]]
            change = torch.stack([v_target - v_source for v_source, v_target, _ in drawn]).mean(0)
            there = z + (taus[i + 1] - taus[i]) * change
            if options.align:
                there = there - options.align * torch.stack([away for _, _, away in drawn]).mean(0)
            there = targets.blend(there, z_source)
            return {"z": there, "estimate": there}

        made = phases.run("flow", len(every), {"z": z_source}, step)
        return made["z"], {"first_time": every[0]}


def _tau(schedule: Schedule, t: float) -> float:
    """The time of the rectified flow whose points are those of the schedule, scaled: its share of noise."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return sigma / (alpha + sigma)


def _velocity(eps: Tensor, z_t: Tensor, alpha: float, sigma: float) -> Tensor:
    """The velocity of that flow, `eps - x_0`, where `eps` is predicted for `z_t = alpha x_0 + sigma eps`."""
    return eps - (z_t - sigma * eps) / alpha
