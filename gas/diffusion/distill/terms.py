"""The terms of the distilled sum: what a problem is, and by which method it is solved."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gas.diffusion.distill.contrastive import Query
from gas.diffusion.distill.convergence import Convergence
from gas.diffusion.distill.draws import Draw
from gas.diffusion.masks import Cells

STEP_SIZE = 0.1 * 2000 / 4096
"""eta: learning rate 0.1 times the factor 2000 over the 64 x 64 cells that it was published for (DDS notebook, cell
6)."""


@dataclass(frozen=True)
class Penalty:
    """The null-text penalty `gamma = min(1, strength / n * sum |(eps(z_t, y) - eps(z_t, null)) * M|)`, unguided, on
    the edited latent. n counts the mask's cells that are not 0, times the channels ("mask": Ground-A-Score, eq. 11),
    or all numbers of the latent ("all": its reference code)."""

    strength: float = 5.0
    norm: Literal["mask", "all"] = "mask"


@dataclass(frozen=True)
class Contrast:
    """A contrastive loss between the self-attention features of (z0_t, source) and (z_t, target).

    * weight: lambda, the loss' weight inside g; eta * weight is how far z moves along its gradient.
    * boxes: where it is computed, each on its own and summed, in latent cells; None: on the whole picture.
    * prompts: another (source, target) pair than the term's own. Losses of one problem with the same `prompts` share
      one row of the batch, and then the largest of their masks.
    * smallest: least side of a crop, in cells of a feature map. With one cell there is nothing to contrast with.
    """

    weight: float
    boxes: tuple[Cells, ...] | None = None
    prompts: tuple[str, str] | None = None
    patches: int = 256
    sizes: tuple[int, ...] = (1, 2)
    temperature: float = 0.07
    query: Query = "source"
    smallest: int = 2


@dataclass(frozen=True)
class Term:
    """One summand of g.

    * target, source: prompts; `source=None` subtracts the noise itself and not a prediction (score distillation, SDS).
    * mask: `(1, 1, h, w)` or `(1, C, h, w)`; None is 1 everywhere.
    * weight: w, a number or a function of t.
    """

    target: str
    source: str | None
    mask: Tensor | None = None
    weight: float | Callable[[float], float] = 1.0
    penalty: Penalty | None = None
    contrast: Contrast | None = None
    name: str = ""

    def weight_at(self, t: float) -> float:
        return self.weight(t) if callable(self.weight) else self.weight


@dataclass(frozen=True)
class Problem:
    """One edit: the source latent `(1, C, h, w)` in fp32 (or fp64), the terms, and the draws of (t, eps).

    `draws` is any iterable of (t, eps) pairs, eps `(1, C, h, w)`: one a step, or one for each term of each step where
    the terms act one after the other. `generator` (on the CPU) draws the contrastive loss' patches. `z_start`, of the
    same shape, is where the edited latent begins; None: at `z_source`, as published.
    """

    z_source: Tensor
    terms: tuple[Term, ...]
    draws: Iterable[tuple[float, Tensor] | Draw]
    generator: torch.Generator
    z_start: Tensor | None = None


@dataclass(frozen=True)
class Method:
    """How all problems of a batch are run.

    * source_guidance: guidance of the source side (DDS, eq. 3, has one for both); None: as `guidance_scale`.
    * momentum: mu of v <- mu v + g, z <- z - eta v; 0: plain gradient descent.
    * sequential: each term makes a step of its own with its own (t, eps), as Ground-A-Score's reference code does;
      otherwise one aggregated step with one shared (t, eps).
    * separate_contrast: predictions for the contrastive loss are computed in rows of their own, again as reference
      code does. The result is the same; it is there to compare costs.
    * latent_dtype: z is rounded to this format after every step (CDS's reference code keeps z in the network's format).
    * rows_per_call: the most rows that the network gets at once; None: all.
    * convergence: when to end early; None: never.
    """

    steps: int = 200
    guidance_scale: float = 7.5
    step_size: float = STEP_SIZE
    source_guidance: float | None = None
    momentum: float = 0.0
    sequential: bool = False
    separate_contrast: bool = False
    latent_dtype: torch.dtype | None = None
    rows_per_call: int | None = None
    convergence: Convergence | None = None

    def guidance_of_source(self, term: Term) -> float:
        """The guidance of a term's source side. Equal prompts have that of the target's, or they would move."""
        if self.source_guidance is None or term.source == term.target:
            return self.guidance_scale
        return self.source_guidance

    def draws_needed(self, terms: int) -> int:
        """How many (t, eps) pairs a problem of so many terms uses."""
        return self.steps * (terms if self.sequential else 1)


@dataclass(frozen=True)
class Distilled:
    """What became of one problem.

    * z: the edited latent `(1, C, h, w)`, in the dtype of z_source.
    * stopped: interrupted before its end; converged: ended early because nothing moved any more.
    * log: plain JSON values: steps, rows, each term's gamma and weight, update norms.
    * maps: for each term `(h, w)`, the mean over steps and channels of `|eps(z_t, y) - eps(z_t, null)|`; empty unless
      asked for.
    """

    z: Tensor
    steps: int
    stopped: bool
    converged: bool
    log: Mapping[str, Any]
    maps: tuple[Tensor, ...]
