"""From a picture back to the noise that a model would have made it from: DDIM inversion (Song et al. 2020; Dhariwal and
Nichol 2021, app. F) and null-text inversion (Mokady et al. 2022, arXiv 2211.09794). Written once for all editors, and
made once for each picture."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from gas.diffusion.gradients import gradient
from gas.diffusion.guidance import NoisePrediction
from gas.diffusion.predictor import Predictor
from gas.diffusion.sample.noise_regularisation import NoiseRegularisation
from gas.diffusion.sample.phases import Phases, State, ddim
from gas.errors import ModelUnavailable

if TYPE_CHECKING:
    from gas.runtime import Runtime

T = TypeVar("T")
_REMEMBERED = 16
INVERSIONS = "inversions"
"""What a runtime knows its inversions by: `runtime.forget(INVERSIONS)` lets the next edit pay its own."""


@dataclass(frozen=True)
class Inversion:
    """The path of a picture's latent to noise under `prompt`: `latents[i]` `(C, h, w)` is at `times[i]`, which descend;
    the last of its `len(times) + 1` latents is the picture's own, without noise."""

    prompt: str
    times: tuple[float, ...]
    latents: Tensor

    def at(self, i: int) -> Tensor:
        """The latent `(1, C, h, w)` that step i begins with; for `i = len(times)` the clean one."""
        return self.latents[i : i + 1]

    def reached(self, s: float, i: int) -> Tensor:
        """The latent `(1, C, h, w)` at the time `s` that step i leads to; the clean one for any other `s`."""
        return self.at(i + 1 if s in self.times[i + 1 : i + 2] else len(self.times))

    def noise(self) -> Tensor:
        """The latent `(1, C, h, w)` at the noisiest time."""
        return self.at(0)


def invert(
    phases: Phases,
    predictor: Predictor,
    z_source: Tensor,
    prompt: str,
    times: Sequence[float],
    *,
    refine: int = 0,
    regularise: NoiseRegularisation | None = None,
    runtime: Runtime | None = None,
    name: str = "inversion",
) -> Inversion:
    """The inversion of `z_source` `(1, C, h, w)` under `prompt` without guidance, one step of `phases` for each time.

    A step from s up to t takes the noise that is predicted for the latent it starts from as if that were at t already;
    `refine` times it is predicted again at the latent that was reached (fixed point, Pan et al. 2023, arXiv
    2309.04907), which makes the way back exact as far as it converges. What is in `runtime` already is not made again.
    `regularise` changes each predicted noise before it is used (pix2pix-zero); ModelUnavailable (exit 6) where a
    velocity is predicted. `name` is the phase's; two inversions in one edit need two.
    """
    ordered = tuple(times)
    if regularise is not None and predictor.schedule.sampled != "epsilon":
        raise ModelUnavailable(
            f"the inversion's noise cannot be regularised: {predictor.model.name} does not step with noise",
            "take another editor or model",
        )

    def make() -> Inversion:
        embedding = predictor.condition([prompt])
        count = len(ordered)
        latents = z_source.repeat(count + 1, 1, 1, 1)

        def step(i: int, state: State) -> State:
            place = count - 1 - i
            t, s = ordered[place], ordered[place + 1] if place + 1 < count else predictor.schedule.clean
            here = state["latents"][place + 1 : place + 2]
            there = here
            for _ in range(1 + refine):
                eps = predictor.predict(there, t, embedding)
                there = ddim(predictor.schedule, here, eps if regularise is None else regularise(eps, t), s, t)
            latents = state["latents"].clone()
            latents[place] = there[0]
            return {"latents": latents}

        return Inversion(prompt, ordered, phases.run(name, count, {"latents": latents}, step)["latents"])

    key = ("inversion", id(predictor.model), fingerprint(z_source), prompt, ordered, refine, regularise)
    return remembered(runtime, key, phases, len(ordered), make)


def null_text(
    phases: Phases,
    predictor: Predictor,
    inversion: Inversion,
    guidance_scale: float,
    *,
    inner_steps: int = 10,
    rate: float = 1e-2,
    enough: float = 1e-5,
    runtime: Runtime | None = None,
) -> Tensor:
    """For each time the embeddings `(steps, tokens, dim)` to be used as the null prompt's, so that sampling with
    `guidance_scale` under the inversion's own prompt follows the inversion's path back (null-text inversion, alg. 1).

    One step of `phases` for each time; at most `inner_steps` steps of Adam each, at least one of them. The last is the
    one whose mean squared error was below `enough` (plus 2e-5 for each time before, as in the reference code, whose
    rate also falls to half of `rate` over the run). ModelUnavailable (exit 6) for a model without a null row.
    """
    predictor.model.need_null_row("null-text inversion")
    count = len(inversion.times)

    def make() -> Tensor:
        prompt, empty = predictor.condition([inversion.prompt, ""])
        null = empty.embeddings
        state = {"z": inversion.noise(), "null": null, "nulls": torch.cat([null] * count)}

        def step(i: int, state: State) -> State:
            t, s = inversion.times[i], inversion.times[i + 1] if i + 1 < count else predictor.schedule.clean
            goal = inversion.at(i + 1)
            cond = predictor.predict(state["z"], t, prompt)

            def back(null: Tensor) -> Tensor:
                uncond = predictor.predict(state["z"], t, empty.with_embeddings(null))
                eps = NoisePrediction(uncond, cond).guided(guidance_scale)
                return ddim(predictor.schedule, state["z"], eps, t, s)

            null = _fitted(state["null"], back, goal, inner_steps, rate * (1 - i / (2 * count)), enough + 2e-5 * i)
            nulls = state["nulls"].clone()
            nulls[i] = null[0]
            return {"z": back(null), "null": null, "nulls": nulls}

        return phases.run("null-text", count, state, step)["nulls"]

    settings = (guidance_scale, inner_steps, rate, enough)
    path = fingerprint(inversion.latents)
    key = ("null-text", id(predictor.model), path, inversion.prompt, inversion.times, settings)
    return remembered(runtime, key, phases, count, make)


def _fitted(
    null: Tensor, back: Callable[[Tensor], Tensor], goal: Tensor, steps: int, rate: float, enough: float
) -> Tensor:
    """`null` after at most `steps` steps of Adam that bring `back(null)` nearer to `goal`; there is one at least, for
    the reference code looks at the error after the step."""
    leaf = null.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([leaf], lr=rate)
    for _ in range(steps):
        with torch.enable_grad():
            loss = (back(leaf) - goal).square().mean()
            leaf.grad = gradient(loss, leaf)
        optimiser.step()
        if float(loss.detach()) < enough:
            break
    return leaf.detach()


def fingerprint(tensor: Tensor) -> str:
    """A hash of a tensor's size and numbers."""
    shown = tensor.detach().cpu().contiguous()
    return hashlib.sha256(repr(tuple(shown.shape)).encode() + shown.numpy().tobytes()).hexdigest()


def remembered(runtime: Runtime | None, key: Hashable, phases: Phases, steps: int, make: Callable[[], T]) -> T:
    """What `make()` gives, made once for each `key` of a runtime, which keeps the last few; without a runtime always.

    Where it is known already, the `steps` of `phases` that it would take are skipped.
    """
    if runtime is None:
        return make()
    kept: OrderedDict[Hashable, T] = runtime.shared(INVERSIONS, OrderedDict)
    if key in kept:
        phases.skip(steps)
    else:
        kept[key] = make()
    kept.move_to_end(key)
    while len(kept) > _REMEMBERED:
        kept.popitem(last=False)
    return kept[key]
