"""The rows of `gas bench diorama`: which editors it runs, with which options, under which names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gas.validation import unknown

if TYPE_CHECKING:
    from gas.backends.profiles import Profile
    from gas.backends.registry import Registry

REFERENCE = "ground-a-score"
"""Title of the row that the others are compared with."""


@dataclass(frozen=True, eq=False)
class Row:
    """A row of the table: an editor under the profile's options, with some of them set otherwise.

    `found`: in the regions that the profile's grounders find, instead of the exact ones.
    `own`: no regions are given, the editor works where it will. The finished picture is judged then, and an added thing
    where the editor put it (`gas_diorama.bench.follow.where_added`): nothing told it the exact place.
    `grounded`: each subtask confined to its exact region (`gas.run.turns`), by the editor or in turns.
    `part`: only every so many-th case of each stratum, unless the run is a full one; for rows that take very long.
    """

    title: str
    editor: str
    options: Mapping[str, Any] = field(default_factory=dict)
    found: bool = False
    part: int = 1
    own: bool = False
    grounded: bool = False


_PARTS = {"text2live": 2}
"""Editors whose rows take very long."""


def _plain(editor: str) -> Row:
    return Row(editor, editor, part=_PARTS.get(editor, 1))


def _grounded(editor: str) -> Row:
    return Row(f"{editor} grounded", editor, grounded=True, part=_PARTS.get(editor, 1))


_OPTIMISED = (
    Row("sds", "sds"),
    Row("dds", "dds"),
    Row("cds", "cds"),
    Row(REFERENCE, "ground-a-score"),
    Row("no masks or full prompt", "ground-a-score", {"mask": "none", "full_prompt": False}),
    Row("no subtasks", "ground-a-score", {"subtasks": False}),
    Row("no full prompt", "ground-a-score", {"full_prompt": False}),
    Row("no penalty", "ground-a-score", {"penalty": False}),
    Row("found regions", "ground-a-score", found=True),
    Row("paper's values", "ground-a-score", {"preset": "paper"}, part=5),
)
_INSTRUCTIONS = (
    Row("zone", "zone", own=True),
    Row("zone no smoother", "zone", {"smoother": False}, own=True),
    Row("zone no region IoU", "zone", {"segments": "none"}, own=True),
    Row("zone beta 0", "zone", {"beta": 0.0, "beta_remove": 0.0}, own=True),
    Row("instruct-pix2pix", "instruct-pix2pix", {"steps": 20}, own=True),
    Row("magicbrush", "magicbrush", {"steps": 20}, own=True),
)
BASELINES = (
    "sdedit",
    "diffedit",
    "pix2pix-zero",
    "prompt-to-prompt",
    "plug-and-play",
    "masactrl",
    "ledits-pp",
    "text2live",
)
"""Editors that the papers compare with or build on, which have a plain and a grounded row each. GLIGEN is not among
them: the diorama has no model for it."""
_LEVERS = {
    "steps": 30,
    "step_size": 0.2,
    "penalty": False,
    "source_guidance": 1.5,
    "halo": -1,
    "window_kept": (300, 700),
}
"""Of Ground-A-Score, chosen on validation cases: half the rows of the profile's own values (docs/benchmark.md)."""
_BETTER = (
    Row("auto", "auto", grounded=True),
    Row("auto found regions", "auto", grounded=True, found=True),
    _grounded("instruct-pix2pix"),
    Row("instruct-pix2pix structure kept", "instruct-pix2pix", {"keep_structure": True}, grounded=True),
    _grounded("magicbrush"),
    _grounded("zone"),
    Row("instruct-pix2pix in turns", "instruct-pix2pix", {"confine": "turns", "steps": 20}, grounded=True),
    _grounded("flow-edit"),
    Row("flow-edit", "flow-edit"),
    Row("ground-a-score levers", REFERENCE, _LEVERS),
)
"""Editors that make all subtasks in one denoising, or each by another editor; and what they were before, in turns."""
_FLOW = {"model": "package:gas_diorama/weights/flow"}
_ON_FLOW = (
    Row("flow-edit on flow", "flow-edit", _FLOW),
    Row("flow-edit grounded on flow", "flow-edit", _FLOW, grounded=True),
    Row("dds grounded on flow", "dds", _FLOW, grounded=True),
    Row("ground-a-score on flow", REFERENCE, _FLOW),
)
"""Editors that work on the diorama's flow model as they do on its denoiser."""
_GROUNDED = tuple(_grounded(name) for name in ("sds", "dds", "cds", *BASELINES)) + _BETTER
GROUPS: Mapping[str, tuple[Row, ...]] = {
    "optimised": _OPTIMISED,
    "instructions": _INSTRUCTIONS,
    "baselines": tuple(row for name in BASELINES for row in (_plain(name), _grounded(name))),
    "better": _BETTER,
    "grounded": _GROUNDED,
    "flow": _ON_FLOW,
}
"""Rows that can be asked for together by one name. A row may be in several."""
ROWS = tuple({row.title: row for rows in GROUPS.values() for row in rows}.values())
_ALWAYS = {row.editor for row in _OPTIMISED}


def rows_of(profile: Profile, registry: Registry, editors: Sequence[str | Row] = ()) -> list[Row]:
    """The rows of the names `editors`; of none all of ROWS that the profile has what they need for: grounders for found
    regions, a model for an editor by instruction or by sampling. A row that is named twice comes once."""
    titles = {row.title: row for row in ROWS}
    found: list[Row] = []
    for name in editors or [row.title for row in ROWS if _can_run(profile, row)]:
        if isinstance(name, Row):
            found.append(name)
        elif name in GROUPS:
            found += [titles[row.title] for row in GROUPS[name]]
        elif name in titles:
            found.append(titles[name])
        elif name in (known := [spec.name for spec in registry.specs("editors")]):
            found.append(Row(name, name))
        else:
            raise unknown("editor of the benchmark", name, [*titles, *GROUPS, *known])
    return list(dict.fromkeys(found))


def _can_run(profile: Profile, row: Row) -> bool:
    told = profile.options.get(row.editor, {})
    if row.own or row.editor not in _ALWAYS:
        return ("model" in told or "table" in told) and (bool(profile.grounders) or not row.found)
    return bool(profile.grounders) or not row.found
