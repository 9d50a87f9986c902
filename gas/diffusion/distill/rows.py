"""Rows of network calls: which ones a step needs, each only once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gas.diffusion.distill.terms import Problem

Key = tuple[int, str]
"""Number of the problem, prompt."""

NULL = ""


@dataclass
class GradientRow:
    """A row that is run with gradients: (z_t, target) of a problem, compared with the features of (z0_t, source).
    `terms` are the numbers of the terms whose contrastive losses look at it."""

    problem: int
    source: str
    target: str
    terms: list[int]


@dataclass
class StepRows:
    """The distinct rows of a step: of the source latent, of the edited latent, and of the edited latent with gradients.

    `referenced` are the source rows whose features are needed.
    """

    source: list[Key] = field(default_factory=list)
    target: list[Key] = field(default_factory=list)
    gradient: list[GradientRow] = field(default_factory=list)
    referenced: list[Key] = field(default_factory=list)


def terms_together(problems: Sequence[Problem], sequential: bool) -> list[list[list[int]]]:
    """Which terms of each problem act together: all at once, or one after the other."""
    if not sequential:
        return [[list(range(len(problem.terms))) for problem in problems]]
    most = max(len(problem.terms) for problem in problems)
    return [[[i] if i < len(problem.terms) else [] for problem in problems] for i in range(most)]


def rows_of(
    problems: Sequence[Problem],
    turn: Sequence[Sequence[int]],
    still: Sequence[bool],
    separate: bool,
    nulls: Sequence[str],
) -> StepRows:
    """The distinct rows that a turn needs; `nulls` is the null prompt where guidance compares with it."""
    rows = StepRows()
    for p, numbers in enumerate(turn):
        terms = {i: problems[p].terms[i] for i in numbers}
        shared: dict[tuple[str, str], GradientRow] = {}
        gradient: list[GradientRow] = []
        for i, term in terms.items():
            if term.contrast is None:
                continue
            source, target = term.contrast.prompts or (term.source, term.target)
            if source is None:
                raise ValueError(f"term {term.name or term.target!r}: a contrastive loss needs a source prompt")
            if term.contrast.prompts in shared:
                shared[source, target].terms.append(i)
                continue
            row = GradientRow(p, source, target, [i])
            gradient.append(row)
            if term.contrast.prompts is not None:
                shared[source, target] = row
        sources = [term.source for term in terms.values() if term.source is not None]
        rows.source += [
            (p, x) for x in dict.fromkeys([*(nulls if sources else []), *sources, *(r.source for r in gradient)])
        ]
        computed = set() if separate else {row.target for row in gradient} - {*nulls}
        targets = dict.fromkeys([*nulls, *(term.target for term in terms.values())]) if terms else {}
        rows.target += [] if still[p] else [(p, y) for y in targets if y not in computed]
        rows.gradient += gradient
        rows.referenced += [(p, row.source) for row in gradient]
    return rows


def prompts_of(problems: Sequence[Problem]) -> list[str]:
    """All prompts of the problems, the null prompt first; some more than once."""
    prompts = [NULL]
    for problem in problems:
        for term in problem.terms:
            prompts += [term.target, term.source or NULL, *((term.contrast.prompts or ()) if term.contrast else ())]
    return prompts
