"""The one loop of score distillation: z moves against a sum of terms, with one batched network call a step.

    z <- z - eta g,   g = sum_i  w_i(t) gamma_i M_i * [ eps_w(z_t, target_i) - eps_w(z0_t, source_i) ]  +  M_i *
    grad_z l_i

eps_w is the guided prediction, M_i a mask, gamma_i the null-text penalty, l_i the contrastive loss times its weight.
DDS, CDS and Ground-A-Score differ in their terms only. Several problems (edits of the same latent size) may share the
batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gas.checkpoint import prefixed, under
from gas.diffusion.backbone import Backbone
from gas.diffusion.distill.contrastive import patch_nce
from gas.diffusion.distill.draws import Draw, draws_after
from gas.diffusion.distill.features import feature_grid
from gas.diffusion.distill.network import Network
from gas.diffusion.distill.outcome import outcome
from gas.diffusion.distill.rows import NULL, GradientRow, Key, StepRows, prompts_of, rows_of, terms_together
from gas.diffusion.distill.terms import Distilled, Method, Problem, Term
from gas.diffusion.gradients import gradient
from gas.diffusion.guidance import NoisePrediction
from gas.diffusion.masks import crop_cells
from gas.diffusion.stepping import Stepping, Stopped, Work, same_size
from gas.errors import OutOfMemory, ResultRefused
from gas.interfaces import Watch
from gas.remedies import USE_FP32, Option, Remedy, Setting

if TYPE_CHECKING:
    from gas.types import Image


def distill(
    backbone: Backbone,
    problems: Sequence[Problem],
    method: Method,
    *,
    watch: Watch | None = None,
    decode: Callable[[Tensor], Image] | None = None,
    maps: bool = False,
) -> list[Distilled]:
    """The edited latents of `problems`, which share every network call.

    A step costs 2K + 4 rows for K masked terms and one for the whole prompt: the null prompt on both latents (not where
    a model is told its guidance as a number: 2K + 2), K + 1 sources, K + 1 targets; equal prompts are computed once.
    Terms with a contrastive loss use rows that are computed anyway, in a second call with gradients. Draws with a slot
    (a bank) have their source half computed once, in a call of its own.

    Where every mask is 0 z keeps its bits; so it does everywhere when all source and target prompts are equal.
    ResultRefused (exit 11) within one step when anything is not finite, naming the prompt; OutOfMemory (exit 7)
    when memory is short; InputRefused (exit 3) for a `watch.resume` that is not from such a run; ModelUnavailable (exit
    6) where a term needs what the model does not have: a null row, or features of self-attention.
    """
    run = _Distillation(backbone, problems, method, decode, maps)
    stopped = False
    try:
        Stepping(watch or Watch(), method.steps).run("distillation", method.steps, run)
    except Stopped:
        stopped = True
    return [run.outcome(p, stopped) for p in range(len(problems))]


@dataclass
class _Half:
    """What the source side of a draw gives: predictions by prompt, and the features of those that are referenced."""

    eps: dict[Key, Tensor] = field(default_factory=dict)
    features: dict[Key, dict[str, Tensor]] = field(default_factory=dict)


@dataclass
class _Noise:
    """One draw for every problem, on the device: t `(n,)`, eps `(n, C, h, w)`, alpha and sigma `(n, 1, 1, 1)`."""

    t: Tensor
    eps: Tensor
    alpha: Tensor
    sigma: Tensor

    def added(self, z: Tensor, problems: Sequence[int]) -> Tensor:
        """`(len(problems), C, h, w)`: z_t for the rows of z `(n, C, h, w)` that belong to these problems."""
        return self.alpha[problems] * z[problems] + self.sigma[problems] * self.eps[problems]


class _Distillation(Work):
    """The state of one call of `distill`."""

    def __init__(
        self,
        backbone: Backbone,
        problems: Sequence[Problem],
        method: Method,
        decode: Callable[[Tensor], Image] | None,
        maps: bool,
    ) -> None:
        size = _shared_size(problems)
        self.problems, self.method, self.decode = problems, method, decode
        self.device = backbone.device
        self.schedule = backbone.schedule_for(size)
        self.null = backbone.guidance == "null"
        if not self.null:
            _refuse_what_needs_a_null_row(backbone, problems, method, maps)
        self.z_source = torch.cat([problem.z_source for problem in problems]).detach().to(self.device)
        if self.z_source.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"latents are kept in fp32, not in {self.z_source.dtype}")
        self.masks = [[self._mask(term) for term in problem.terms] for problem in problems]
        self.cells = [[mask.count_nonzero() for mask in masks] for masks in self.masks]
        self.network = Network(backbone, prompts_of(problems), size, method.guidance_scale, method.rows_per_call)
        # With equal prompts throughout nothing can move, and no rounding inside the network may say otherwise.
        self.still = [all(t.source == t.target and t.contrast is None for t in problem.terms) for problem in problems]
        self.turns = terms_together(problems, method.sequential)
        nulls = [NULL] if self.null else []
        self.rows = [rows_of(problems, turn, self.still, method.separate_contrast, nulls) for turn in self.turns]
        self.bank: dict[tuple[int, int], _Half] = {}
        # What changes from step to step:
        starts = [problem.z_source if problem.z_start is None else problem.z_start for problem in problems]
        self.z = torch.cat(starts).detach().to(self.z_source)
        self.velocity = torch.zeros_like(self.z)
        self.draws = self._draws_after(0)
        self.gammas: list[Tensor] = []
        self.updates: list[Tensor] = []
        most = max(len(problem.terms) for problem in problems)
        self.maps = self.z.new_zeros(len(problems), most, *size) if maps else None
        self.watcher = method.convergence.watcher(self.z_source) if method.convergence else None
        self.converged = False
        self._seen: list[tuple[str, str, Tensor]] = []
        self._values: dict[str, float] = {}

    # --- one step -----------------------------------------------------------------------------------------------------

    def step(self, i: int) -> None:
        before = self.z
        gammas = self.z.new_ones(len(self.problems), max(len(p.terms) for p in self.problems))
        self._seen = []
        for turn, rows in zip(self.turns, self.rows, strict=True):
            draws = {p: next(self.draws[p]) for p, terms in enumerate(turn) if terms}
            noise = self._noise(draws)
            source, target = self._predict(rows, noise, draws)
            g = self._contrast(rows, noise, source, target)
            for p, draw in draws.items():
                for number in turn[p]:
                    part, gammas[p, number] = self._gradient(p, number, draw, noise, source, target)
                    g[p] += part
            if self.method.momentum:
                g = self.velocity = self.method.momentum * self.velocity + g
            self.z = self.z - self.method.step_size * g
            if self.method.latent_dtype is not None:
                self.z = self.z.to(self.method.latent_dtype).to(g.dtype)
            at = ", ".join(f"{draw.t:g}" for draw in draws.values())
            self._seen += [(at, prompt, eps) for (_, prompt), eps in [*source.eps.items(), *target.items()]]
        self.gammas.append(gammas)
        self.updates.append((self.z - before).flatten(1).norm(dim=1))
        if self.watcher is not None:
            self.converged = self.watcher.reached(self.z, len(self.updates))

    def _noise(self, draws: Mapping[int, Draw]) -> _Noise:
        shape = self.z.shape[1:]
        for draw in draws.values():
            if tuple(draw.eps.shape) != (1, *shape):
                raise ValueError(
                    f"a draw's noise is {tuple(draw.eps.shape)}, the latent (1, {', '.join(map(str, shape))})"
                )
        everyone = range(len(self.problems))
        t = torch.tensor([draws[p].t if p in draws else 0.0 for p in everyone], dtype=self.z.dtype).to(self.device)
        eps = torch.cat([draws[p].eps if p in draws else torch.zeros(1, *shape) for p in everyone])
        return _Noise(t, eps.to(self.device, self.z.dtype), *self.schedule.coefficients(t, self.z.dtype))

    @torch.no_grad()
    def _predict(self, rows: StepRows, noise: _Noise, draws: Mapping[int, Draw]) -> tuple[_Half, dict[Key, Tensor]]:
        """The source half, and the edited latent's predictions by problem and prompt, without gradients."""
        halves = {
            p: self.bank.setdefault((p, draw.slot), _Half()) for p, draw in draws.items() if draw.slot is not None
        }
        known = _Half()
        for half in halves.values():
            known.eps.update(half.eps)
            known.features.update(half.features)
        missing = [k for k in rows.source if k not in known.eps or (k in rows.referenced and k not in known.features)]
        if halves and missing:
            # In a call of its own: what is kept must not depend on what shared its batch, or a resumed run would
            # differ.
            found, _ = self._call(noise, missing, [], rows.referenced)
            for key in missing:
                if key[0] in halves:
                    halves[key[0]].eps[key] = found.eps[key]
                    halves[key[0]].features.update({key: found.features[key]} if key in found.features else {})
            _, target = self._call(noise, [], rows.target, [])
        else:
            found, target = self._call(noise, missing, rows.target, rows.referenced)
        known.eps.update(found.eps)
        known.features.update(found.features)
        target.update({key: eps for key, eps in known.eps.items() if self.still[key[0]]})
        return known, target

    def _call(
        self, noise: _Noise, source: list[Key], target: list[Key], referenced: list[Key]
    ) -> tuple[_Half, dict[Key, Tensor]]:
        """One network call for these rows of the source and of the edited latent."""
        of_source, of_target = [p for p, _ in source], [p for p, _ in target]
        if not source and not target:
            return _Half(), {}
        z_t = torch.cat([noise.added(self.z_source, of_source), noise.added(self.z, of_target)])
        featured = [row for row, key in enumerate(source) if key in referenced]
        eps, features = self.network.predict(
            z_t, noise.t[of_source + of_target], [y for _, y in source + target], featured
        )
        single = eps.split(1)
        half = _Half(dict(zip(source, single[: len(source)], strict=True)))
        half.features = {source[row]: features[place] for place, row in enumerate(featured)}
        return half, dict(zip(target, single[len(source) :], strict=True))

    def _contrast(self, rows: StepRows, noise: _Noise, source: _Half, target: dict[Key, Tensor]) -> Tensor:
        """The contrastive part of g `(n, C, h, w)`; the predictions that come with it are added to `target`."""
        g = torch.zeros_like(self.z)
        size = self.method.rows_per_call or len(rows.gradient) or 1
        for start in range(0, len(rows.gradient), size):
            part = rows.gradient[start : start + size]
            problems = [row.problem for row in part]
            with torch.enable_grad():
                leaf = self.z[problems].requires_grad_()  # a copy for each row, so that each gets a gradient of its own
                z_t = noise.alpha[problems] * leaf + noise.sigma[problems] * noise.eps[problems]
                prompts = [row.target for row in part]
                eps, features = self.network.predict(z_t, noise.t[problems], prompts, range(len(part)))
                losses = [
                    self._loss(row, source.features[row.problem, row.source], own)
                    for row, own in zip(part, features, strict=True)
                ]
                pulls = gradient(torch.stack(losses).sum(), leaf)
            for row, prediction, own in zip(part, eps.detach().split(1), pulls, strict=True):
                target.setdefault((row.problem, row.target), prediction)
                mask = torch.cat([self.masks[row.problem][i] for i in row.terms]).amax(0)
                g[row.problem] += mask * own
        return g

    def _loss(self, row: GradientRow, source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """The weighted losses of a row's terms, summed over layers and boxes (CDS, eq. 8; in boxes: Ground-A-Score,
        sec. 3.4)."""
        problem = self.problems[row.problem]
        size = (self.z.shape[2], self.z.shape[3])
        losses = []
        weights = {site.name: site.contrast for site in self.network.compared}
        for i in row.terms:
            contrast = problem.terms[i].contrast
            assert contrast is not None
            for name in target:
                grid = feature_grid(len(target[name]), *size)
                pair = [maps[name].to(self.z.dtype).unflatten(0, grid) for maps in (source, target)]
                for box in contrast.boxes or ((0, 0, size[1], size[0]),):
                    x0, y0, x1, y1 = crop_cells(box, size, grid, contrast.smallest)
                    loss = patch_nce(
                        pair[0][y0:y1, x0:x1],
                        pair[1][y0:y1, x0:x1],
                        patches=contrast.patches,
                        sizes=contrast.sizes,
                        temperature=contrast.temperature,
                        query=contrast.query,
                        generator=problem.generator,
                    )
                    losses.append(contrast.weight * weights[name] * loss)
        return torch.stack(losses).sum()

    @torch.no_grad()
    def _gradient(
        self, p: int, i: int, draw: Draw, noise: _Noise, source: _Half, target: Mapping[Key, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """`w gamma M * [eps_w(z_t, y) - eps_w(z0_t, x)]` of one term, `(C, h, w)`, and gamma."""
        term, mask, scale = self.problems[p].terms[i], self.masks[p][i], self.method.guidance_scale
        here = NoisePrediction(target[p, NULL] if self.null else None, target[p, term.target])
        if term.source is None:
            there = noise.eps[p : p + 1]  # SDS: the noise itself (DDS, eq. 2)
        else:
            null = source.eps[p, NULL] if self.null else None
            there = NoisePrediction(null, source.eps[p, term.source]).guided(self.method.guidance_of_source(term))
        g = mask * (here.guided(scale) - there)
        gamma = g.new_ones(())
        if here.uncond is not None and (term.penalty is not None or self.maps is not None):
            seen = (here.cond - here.uncond).abs()
            if self.maps is not None:
                self.maps[p, i] += seen[0].mean(0)
            if term.penalty is not None:
                count = self.cells[p][i] if term.penalty.norm == "mask" else mask.numel()
                gamma = (term.penalty.strength * (seen * mask).sum() / count).clamp(max=1.0)
        return (term.weight_at(draw.t) * gamma * g)[0], gamma

    # --- as a work ----------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        return self.converged

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = {"z": self.z, "rows": self.network.rows, "calls": self.network.calls}
        if self.method.momentum:
            state["velocity"] = self.velocity
        state |= {f"generator.{p}": problem.generator.get_state() for p, problem in enumerate(self.problems)}
        if self.updates:
            state |= {"gammas": torch.stack(self.gammas), "updates": torch.stack(self.updates)}
        if self.maps is not None:
            state["maps"] = self.maps
        if self.watcher is not None:
            state |= {"converged": self.converged, **prefixed("convergence.", self.watcher.state())}
        return state

    def restore(self, state: Mapping[str, Any]) -> None:
        self.z = same_size(state["z"], self.z)
        if self.method.momentum:
            self.velocity = same_size(state["velocity"], self.velocity)
        # The log of a resumed run is that of one that was not stopped.
        self.network.rows, self.network.calls = int(state["rows"]), int(state["calls"])
        for p, problem in enumerate(self.problems):
            problem.generator.set_state(state[f"generator.{p}"])
        if "updates" in state:
            self.gammas = list(state["gammas"].to(self.z).unbind())
            self.updates = list(state["updates"].to(self.z).unbind())
        self.draws = self._draws_after(len(self.updates))
        if self.maps is not None:
            self.maps = same_size(state["maps"], self.maps)
        if self.watcher is not None:
            self.converged = bool(state["converged"])
            self.watcher.restore(under(state, "convergence."))

    def numbers(self) -> Mapping[str, Tensor]:
        return {"z": self.z}

    def not_finite(self, what: str, name: str, i: int) -> ResultRefused:
        for at, prompt, eps in self._seen:
            if not bool(torch.isfinite(eps).all()):
                where = f"step {i + 1}, t = {at}"
                message = f"the network's prediction for the prompt {prompt!r} is not a finite number ({where})"
                return ResultRefused(message, USE_FP32)
        return ResultRefused(
            f"the latent is not a finite number any more (step {i + 1})", "use a smaller step_size or guidance_scale"
        )

    def too_large(self, what: str, i: int) -> OutOfMemory:
        largest = self.network.largest
        return OutOfMemory(
            f"not enough memory for {largest} rows in one network call",
            Remedy(
                "fewer_rows",
                "try {rows}, {dtype}, or a smaller picture",
                rows=Option({"rows_per_call": max(1, largest // 2)}),
                dtype=Setting("dtype", "bf16"),
            ),
        )

    def values(self, renewed: bool) -> Mapping[str, float]:
        if renewed:
            moved = (self.z - self.z_source).square().mean().sqrt()
            penalised = [
                self.gammas[-1][p, number]
                for p, problem in enumerate(self.problems)
                for number, term in enumerate(problem.terms)
                if term.penalty
            ]
            numbers = [moved, self.updates[-1].mean()] + ([torch.stack(penalised).mean()] if penalised else [])
            self._values = dict(zip(("change", "update", "gamma"), torch.stack(numbers).tolist(), strict=False))
        return self._values

    def preview(self) -> Callable[[], Image] | None:
        decode, z = self.decode, self.z
        return None if decode is None else lambda: decode(z[:1])

    # --- what goes in and out -----------------------------------------------------------------------------------------

    def _mask(self, term: Term) -> Tensor:
        one = self.z_source[:1]
        if term.mask is None:
            return torch.ones_like(one)
        mask = term.mask.to(one).expand_as(one)
        if not bool(torch.isfinite(mask).all()) or bool((mask < 0).any()):
            raise ValueError(f"the mask of {term.name or term.target!r} must be finite and not negative")
        return mask

    def _draws_after(self, steps: int) -> list[Iterator[Draw]]:
        """What is left of each problem's draws after so many steps."""
        used = [steps * (len(problem.terms) if self.method.sequential else 1) for problem in self.problems]
        return [draws_after(problem.draws, count) for problem, count in zip(self.problems, used, strict=True)]

    def outcome(self, p: int, stopped: bool) -> Distilled:
        """What became of problem p."""
        batch = {"edits": len(self.problems), "rows": self.network.rows, "calls": self.network.calls}
        return outcome(
            self.problems[p],
            self.method,
            self.z[p : p + 1],
            updates=torch.stack(self.updates)[:, p] if self.updates else None,
            gammas=torch.stack(self.gammas)[:, p] if self.gammas else None,
            maps=None if self.maps is None else self.maps[p],
            batch=batch,
            stopped=stopped,
            converged=self.converged,
        )


def _shared_size(problems: Sequence[Problem]) -> tuple[int, int]:
    """(h, w) of the problems' latents. ValueError unless there are problems with terms, and all of one size."""
    if not problems or not all(problem.terms for problem in problems):
        raise ValueError("distill needs at least one problem, and each at least one term")
    shapes = {tuple(problem.z_source.shape) for problem in problems}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 4 or shape[0] != 1:
        raise ValueError("problems that share a batch need latents (1, C, h, w) of one size")
    return shape[2], shape[3]


def _refuse_what_needs_a_null_row(backbone: Backbone, problems: Sequence[Problem], method: Method, maps: bool) -> None:
    if method.source_guidance is not None:
        remedy = Remedy("no_source_guidance", "leave {option} out", option=Option({"source_guidance": None}))
        backbone.need_null_row("a guidance of the source side of its own", remedy)
    if any(term.penalty is not None for problem in problems for term in problem.terms):
        remedy = Remedy("no_penalty", "set {penalty}", penalty=Option({"penalty": False}))
        backbone.need_null_row("the null-text penalty", remedy)
    if maps:
        remedy = Remedy("no_maps", "leave {maps} out", maps=Setting("save_maps", python="save_map"))
        backbone.need_null_row("a map of where a prompt is at work", remedy)
