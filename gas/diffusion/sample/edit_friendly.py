"""Edit-friendly inversion (Huberman-Spiegelglas et al. 2023, arXiv 2304.06140), of second order as in LEDITS++ (Brack
et al. 2023, arXiv 2311.16711): the noise with which the stochastic DPM-Solver++ makes a given picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.inversion import fingerprint, remembered
from gas.diffusion.sample.phases import Phases, State, clean

if TYPE_CHECKING:
    from gas.diffusion.schedule import Schedule
    from gas.runtime import Runtime


@dataclass(frozen=True)
class SDESolver:
    """The steps of SDE-DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, app. E) down the descending `times`: step i
    goes from `times[i]` to the next one, the last to the picture without noise."""

    schedule: Schedule
    times: tuple[float, ...]

    def mean(self, i: int, z: Tensor, estimate: Tensor, before: Tensor) -> Tensor:
        """Where step i takes the latent `z` `(n, C, h, w)` before its noise is added.

        `estimate` is the clean latent that z speaks of, `before` the one of the step before (step 0 has none and looks
        at none: it is of first order, like the last, where nothing but the estimate is left).
        """
        if i + 1 == len(self.times):
            return estimate
        share = -math.expm1(-2 * self._width(i))  # of the way from z to the estimate
        slope = 0.0
        if i and math.isfinite(last := self._width(i - 1)):
            slope = 0.5 * self._width(i) / last
        alpha, sigma = self._at(i + 1)
        drift = sigma / self._at(i)[1] * math.exp(-self._width(i))
        return drift * z + alpha * share * (estimate + slope * (estimate - before))

    def deviation(self, i: int) -> float:
        """How much of unit noise step i adds. The last step adds none in the papers; here what its estimate misses is
        kept as its noise, with deviation 1, or the way back would lose it (docs/methods.md)."""
        if i + 1 == len(self.times):
            return 1.0
        return self._at(i + 1)[1] * math.sqrt(-math.expm1(-2 * self._width(i)))

    def _at(self, i: int) -> tuple[float, float]:
        return self.schedule.alpha(self.times[i]), self.schedule.sigma(self.times[i])

    def _width(self, i: int) -> float:
        """The change of the logarithm of alpha / sigma in step i; infinite from a time at which all is noise."""
        (alpha_s, sigma_s), (alpha_t, sigma_t) = self._at(i), self._at(i + 1)
        return math.inf if alpha_s == 0 else math.log(alpha_t / sigma_t) - math.log(alpha_s / sigma_s)


@dataclass(frozen=True)
class EditFriendlyInversion:
    """A picture's latent, noised anew for each time: `latents[i]` `(C, h, w)` is at `solver.times[i]`, the last of the
    `steps + 1` is the picture's own; and `noises[i]`, with which step i goes from one to the next.

    The latents are no path of the sampler (their noises are drawn apart), so the noises are larger than the sampler's
    own, and correlated: they carry the picture's layout, which is why an edit keeps it.
    """

    solver: SDESolver
    latents: Tensor
    noises: Tensor

    def at(self, i: int) -> Tensor:
        """The latent `(1, C, h, w)` that step i begins with; for `i = steps` the picture's own."""
        return self.latents[i : i + 1]

    def step(self, i: int, z: Tensor, estimate: Tensor, before: Tensor) -> Tensor:
        """The latent after step i from `z`, with the picture's noise; arguments as `SDESolver.mean` takes them."""
        return self.solver.mean(i, z, estimate, before) + self.solver.deviation(i) * self.noises[i]


def invert_edit_friendly(
    phases: Phases,
    predictor: Predictor,
    z_source: Tensor,
    times: Sequence[float],
    seed: int,
    *,
    runtime: Runtime | None = None,
) -> EditFriendlyInversion:
    """The inversion of `z_source` `(1, C, h, w)` under the null prompt, one step of `phases` and one row for each time.

    Following its steps with the null prompt's predictions gives `z_source` back up to rounding, whatever the model. The
    noises of the latents come from `seed`. What is in `runtime` already is not made again.
    """
    solver = SDESolver(predictor.schedule, tuple(times))
    count = len(solver.times)

    def make() -> EditFriendlyInversion:
        null = predictor.condition([""])
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(count, *z_source.shape[1:], generator=generator).to(z_source)
        noised = predictor.schedule.add_noise(z_source, drawn, torch.tensor(solver.times, dtype=z_source.dtype))

        def step(i: int, state: State) -> State:
            z, t = state["latents"][i : i + 1], solver.times[i]
            estimate = clean(predictor.schedule, z, predictor.predict(z, t, null), t)
            mean, deviation = solver.mean(i, z, estimate, state["before"]), solver.deviation(i)
            noises, latents = state["noises"].clone(), state["latents"].clone()
            noises[i] = (state["latents"][i + 1] - mean[0]) / deviation
            # As the way back will reach it: so the small errors of rounding do not add up (LEDITS++'s own code).
            latents[i + 1] = mean[0] + deviation * noises[i]
            return {"latents": latents, "noises": noises, "before": estimate}

        state = {
            "latents": torch.cat([noised, z_source]),
            "noises": torch.zeros_like(noised),
            "before": torch.zeros_like(z_source),
        }
        state = phases.run("inversion", count, state, step)
        return EditFriendlyInversion(solver, state["latents"], state["noises"])

    key = ("edit-friendly", id(predictor.model), fingerprint(z_source), solver.times, seed)
    return remembered(runtime, key, phases, count, make)
