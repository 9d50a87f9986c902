"""An edit of nothing is refused, a small one is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import fake_backends
import numpy as np
import pytest

from gas.errors import PluginBroken, ResultRefused
from gas.interfaces import Edited, EditJob
from gas.run.compose import is_unchanged
from gas.run.session import Session
from gas.testing import fakes
from gas.types import EditPlan, Region, Subtask

PLAN = EditPlan(subtasks=(Subtask(source="dog", target="tiger"),))
TWO = EditPlan(subtasks=(*PLAN.subtasks, Subtask(source="grass", target="snow")))
SIZES = [(64, 64), (700, 500), (333, 250)]
"""Worked on at its own size; a crop of it enlarged; the whole of it enlarged."""


def picture(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(1).integers(40, 200, (size[1], size[0], 3), dtype=np.uint8)


def region(size: tuple[int, int], phrase: str = "dog", subtask: int = 0, left: float = 0.4) -> Region:
    width, height = size
    mask = np.zeros((height, width), np.float32)
    mask[int(0.4 * height) : int(0.6 * height), int(left * width) : int((left + 0.2) * width)] = 1
    return Region(phrase, mask=mask, subtask=subtask)


def coded(image: np.ndarray) -> np.ndarray:
    """What a model's coding makes of a picture: a little of everything is lost."""
    return (image.astype(np.uint16) // 8 * 8 + 3).astype(np.uint8)


def session(edit: Any, **flags: Any) -> Session:
    chosen = Session.of(
        registry=fake_backends.registry(),
        **{"planner": "arrows", "grounders": (), "editor": "painter", "profile": "diorama", **flags},
    )
    kind = type("Made", (fakes.FakeEditor,), {"edit": lambda self, job: edit(job)})
    chosen._backends["editors", "painter"] = kind(fakes.FakeEditorOptions(), chosen.runtime)
    return chosen


def nothing(job: EditJob) -> Edited:
    return Edited(job.image.copy())


def only_coded(job: EditJob) -> Edited:
    return Edited(coded(job.image), unedited=coded(job.image))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("edit", [nothing, only_coded])
def test_what_comes_back_as_it_went_in_is_refused(size: tuple[int, int], edit: Any) -> None:
    """Enlarged and pasted back it differs from the photograph, and was taken for a change before."""
    with pytest.raises(ResultRefused, match="painter has changed nothing") as refused:
        session(edit).edit(picture(size), PLAN, [region(size)], seed=1)
    assert refused.value.exit_code == 11
    assert ("coding" in refused.value.message) == (edit is only_coded)
    assert "steps" in refused.value.remedy


@pytest.mark.parametrize("size", SIZES)
def test_what_changed_only_outside_the_region_is_nothing_too(size: tuple[int, int]) -> None:
    def elsewhere(job: EditJob) -> Edited:
        image = np.full_like(job.image, 7)
        inside = job.regions[0].mask > 0  # type: ignore[operator]
        image[inside] = job.image[inside]
        return Edited(image)

    with pytest.raises(ResultRefused, match="changed nothing"):
        session(elsewhere).edit(picture(size), PLAN, [region(size)], seed=1)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("code", [False, True])
def test_a_small_change_is_an_edit(size: tuple[int, int], code: bool) -> None:
    """A few levels of one channel, in a part of the region."""

    def little(job: EditJob) -> Edited:
        base = coded(job.image) if code else job.image
        y, x = np.argwhere(job.regions[0].mask == 1).mean(axis=0).astype(int)
        image = base.copy()
        image[y - 1 : y + 2, x - 1 : x + 2, 0] += 3
        return Edited(image, unedited=coded(job.image) if code else None)

    before = picture(size)
    result = session(little).edit(before, PLAN, [region(size)], seed=1)
    assert (result.image != before).any()


def test_one_level_of_one_pixel_counts_and_only_inside_the_mask() -> None:
    before = picture((8, 8))
    mask = np.zeros((8, 8), np.float32)
    mask[2:5, 2:5] = 0.1
    assert is_unchanged(before, Edited(before.copy()), mask)
    image = before.copy()
    image[0, 0] += 9
    assert is_unchanged(before, Edited(image), mask)
    image[3, 3, 1] += 1
    assert not is_unchanged(before, Edited(image), mask)
    assert is_unchanged(before, Edited(image, unedited=image.copy()), mask)


def test_an_editor_that_finds_no_place_says_so() -> None:
    def nowhere(job: EditJob) -> Edited:
        return Edited(255 - job.image, mask=np.zeros(job.image.shape[:2], np.float32))

    with pytest.raises(ResultRefused, match="painter has found no place to change"):
        session(nowhere).edit(picture((64, 64)), PLAN, seed=1)


def test_a_run_that_was_stopped_keeps_what_it_has() -> None:
    def stopped(job: EditJob) -> Edited:
        return replace(only_coded(job), stopped=True)

    assert session(stopped).edit(picture((64, 64)), PLAN, seed=1).stopped


def test_an_editor_may_paint_on_the_picture_that_it_was_given() -> None:
    """It gets a picture and masks of its own: neither what it is held against nor the regions change with them."""

    def careless(job: EditJob) -> Edited:
        job.image[:] = 255 - job.image
        assert job.regions[0].mask is not None
        job.regions[0].mask[:] = 1
        return Edited(job.image)

    before, mine = picture((64, 64)), region((64, 64))
    kept = before.copy()
    result = session(careless).edit(before, PLAN, [mine], seed=1)
    assert (before == kept).all() and (result.image != kept).any()
    assert mine.mask is not None and mine.mask.mean() < 0.1 and result.regions[0].mask is mine.mask


def test_an_unedited_picture_of_another_kind_is_the_editors_fault() -> None:
    def wrong(job: EditJob) -> Edited:
        return Edited(255 - job.image, unedited=job.image[:-1])

    with pytest.raises(PluginBroken, match=r"painter.*unedited"):
        session(wrong).edit(picture((64, 64)), PLAN, seed=1)


# --- in turns ---------------------------------------------------------------------------------------------------------


def regions(size: tuple[int, int]) -> list[Region]:
    return [region(size), region(size, "grass", 1, left=0.7)]


@pytest.mark.parametrize("edit", [nothing, only_coded])
def test_turns_of_nothing_are_an_edit_of_nothing(edit: Any) -> None:
    with pytest.raises(ResultRefused, match="changed nothing"):
        session(edit, grounded=True).edit(picture((64, 64)), TWO, regions((64, 64)), seed=1)


def test_a_turn_of_nothing_leaves_its_region_alone_and_is_named() -> None:
    def second(job: EditJob) -> Edited:
        return only_coded(job) if job.plan.subtasks[0].source == "dog" else Edited(255 - job.image)

    before, places = picture((64, 64)), regions((64, 64))
    result = session(second, grounded=True).edit(before, TWO, places, seed=1)
    inside = [one.mask > 0 for one in places]  # type: ignore[operator]
    assert (result.image[inside[0]] == before[inside[0]]).all(), "what only the coding changed is not pasted"
    assert (result.image[inside[1]] != before[inside[1]]).any()
    assert result.log["notes"] == ["subtask 1 ('tiger') has changed nothing"]
