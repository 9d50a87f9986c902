"""What became of a problem: its latent, and what was measured on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gas.diffusion.distill.terms import Distilled, Method, Problem, Term


def outcome(
    problem: Problem,
    method: Method,
    z: Tensor,
    *,
    updates: Tensor | None,
    gammas: Tensor | None,
    maps: Tensor | None,
    batch: Mapping[str, int],
    stopped: bool,
    converged: bool,
) -> Distilled:
    """The edited latent `z` `(1, C, h, w)` with its log.

    `updates` `(steps,)` and `gammas` `(steps, terms)` are those of the steps that were made (None: none were), `maps`
    `(terms, h, w)` their sum, `batch` counts edits, rows and calls of the whole batch.
    """
    steps = 0 if updates is None else len(updates)
    log: dict[str, Any] = {
        "steps": steps,
        "converged": converged,
        "guidance_scale": method.guidance_scale,
        "step_size": method.step_size,
        "batch": dict(batch),
    }
    if updates is not None and gammas is not None:
        moved = updates.cpu()
        log["update_norm"] = {"first": float(moved[0]), "mean": float(moved.mean()), "last": float(moved[-1])}
        log["change_rms"] = float((z[0] - problem.z_source[0].to(z)).square().mean().sqrt())
        each = gammas.cpu()
        log["terms"] = [_term_log(term, each[:, i]) for i, term in enumerate(problem.terms)]
    mean = () if maps is None else tuple(maps[: len(problem.terms)] / max(steps, 1))
    return Distilled(z, steps, stopped, converged, log, mean)


def _term_log(term: Term, gamma: Tensor) -> dict[str, Any]:
    log: dict[str, Any] = {"name": term.name, "source": term.source, "target": term.target}
    if term.penalty is not None:
        histogram = torch.histc(gamma.float(), bins=10, min=0.0, max=1.0).int().tolist()
        log["gamma"] = {
            "mean": float(gamma.mean()),
            "min": float(gamma.min()),
            "max": float(gamma.max()),
            "histogram": histogram,
        }
    return log
