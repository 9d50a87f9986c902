"""Which subtask of a plan a region belongs to."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gas import files
from gas.errors import InputRefused
from gas.plan.phrases import content_words, main_noun
from gas.types import EditPlan, Region

_ARTICLES = {"a", "an", "the"}


def match(regions: Sequence[Region], plan: EditPlan) -> list[Region]:
    """The given regions, each with the index of its subtask, in the order of the subtasks.

    A region's phrase may be the subtask's source or, for an addition, its anchor or its target; case, articles and
    punctuation do not matter, and words may be missing where only one phrase can be meant ("car" for "a red car").
    Where several subtasks have the same phrase, the regions of that phrase are dealt out in order, one each; where one
    has, it gets them all. InputRefused: a phrase that is not in the plan (the nearest one is named), more regions than
    the plan's repeated phrase has subtasks.
    """
    wanted: dict[str, list[int]] = {}
    shown: dict[str, str] = {}
    for index, subtask in enumerate(plan.subtasks):
        phrases = (subtask.anchor or "", subtask.target) if subtask.action == "add" else (subtask.source,)
        for phrase in phrases:
            key = phrase_key(phrase)
            if key and index not in wanted.setdefault(key, []):
                wanted[key].append(index)
                shown.setdefault(key, phrase)
    given: dict[str, list[Region]] = {}
    out: list[Region] = []
    for region in regions:
        key = phrase_key(region.phrase)
        if key not in wanted:
            key = _shorter_for(region.phrase, shown) or key
        if key not in wanted:
            near = difflib.get_close_matches(key, wanted, n=1, cutoff=0.5)
            hint = f"did you mean {shown[near[0]]!r}? " if near else ""
            raise InputRefused(
                f"no subtask of the plan is about {region.phrase!r}",
                f"{hint}the plan's phrases are: {', '.join(repr(p) for p in shown.values())}",
            )
        if region.subtask is not None and region.subtask in wanted[key]:
            out.append(region)
        else:
            given.setdefault(key, []).append(region)
    for key, group in given.items():
        indices = wanted[key]
        if len(indices) == 1:
            out += [replace(region, subtask=indices[0]) for region in group]
        elif len(group) > len(indices):
            raise InputRefused(
                f"{len(group)} regions for {shown[key]!r}, but the plan names it {len(indices)} times",
                "give one region for each, in the order of the plan",
            )
        else:
            out += [replace(region, subtask=index) for region, index in zip(group, indices, strict=False)]
    return sorted(out, key=lambda region: region.subtask if region.subtask is not None else -1)


def _shorter_for(phrase: str, shown: Mapping[str, str]) -> str | None:
    """The key of the only phrase in `shown` that speaks of the same thing in more words; None if there are several."""
    words, noun = set(content_words(phrase)), main_noun(phrase)
    fitting = [k for k, full in shown.items() if main_noun(full) == noun and words <= set(content_words(full))]
    return fitting[0] if noun is not None and len(fitting) == 1 else None


def phrase_key(phrase: str) -> str:
    """The phrase as a key for comparison: its slug without articles; empty for an empty phrase."""
    words = [w for w in files.slug(phrase, empty="").split("-") if w and w not in _ARTICLES]
    return "-".join(words)
