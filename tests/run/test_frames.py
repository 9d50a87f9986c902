"""Edits in several working pictures: each place as fine as alone, everything in one file, stopped and resumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import fake_backends
import numpy as np
import pytest
from PIL import Image as Pictures

from gas.errors import InputRefused, ResultRefused
from gas.interfaces import Edited, EditJob, Step, Watch
from gas.picture import photo
from gas.run import record as records
from gas.run.job import PhotoJob, prepare
from gas.run.layer import edit_layer, place
from gas.run.replay import again
from gas.run.session import Session
from gas.testing.fakes import FakeEditor
from gas.types import EditPlan, Region, Subtask, WorkMode

PLAN = EditPlan(
    subtasks=(Subtask(source="dog", target="tiger"), Subtask(source="cat", target="lion")),
    source_prompt="a dog and a cat",
    target_prompt="a tiger and a lion",
)
IMAGE = np.random.default_rng(1).integers(0, 200, (600, 800, 3), dtype=np.uint8)
DOG, CAT = Region("dog", (20, 20, 60, 60)), Region("cat", (700, 500, 770, 570))


def session(**how: object) -> Session:
    registry = fake_backends.registry()
    return Session.of(registry=registry, planner="arrows", editor="painter", profile="diorama", **how)  # type: ignore[arg-type]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    Pictures.fromarray(IMAGE).save(tmp_path / "in.png")
    return tmp_path / "in.png"


def job(source: Path, work: WorkMode = "auto", **how: object) -> PhotoJob:
    return prepare(session(**how), photo.read(source), PLAN, [DOG, CAT], seed=3, work=work)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[EditJob]:
    """The jobs that the editor is given."""
    given: list[EditJob] = []
    edit = FakeEditor.edit

    def watched(self: FakeEditor, one: EditJob) -> Edited:
        given.append(replace(one, image=one.image.copy()))
        return edit(self, one)

    monkeypatch.setattr(FakeEditor, "edit", watched)
    return given


def test_each_place_has_a_picture_of_its_own(source: Path, tmp_path: Path, jobs: list[EditJob]) -> None:
    done = job(source).run(tmp_path / "out.png")
    assert [one.plan.subtasks[0].source for one in jobs] == ["cat", "dog"], "what is small comes last, and lies on top"
    assert [(one.plan.source_prompt, one.plan.target_prompt) for one in jobs] == [("cat", "lion"), ("dog", "tiger")]
    assert [one.intermediate for one in jobs] == [False, True] and len({one.seed for one in jobs}) == 2
    changed = (photo.read(tmp_path / "out.png").pixels != IMAGE).any(axis=2)
    for region in (DOG, CAT):
        x0, y0, x1, y1 = (int(side) for side in region.box or ())
        assert changed[y0 + 3 : y1 - 3, x0 + 3 : x1 - 3].mean() > 0.95
        changed[y0:y1, x0:x1] = False
    assert not changed.any() and done.written.outside.max == 0
    recorded = done.record.places
    assert [place.subtasks for place in recorded] == [(1,), (0,)]
    assert all(place.size[0] / (place.crop[2] - place.crop[0]) > 0.5 for place in recorded)


def test_a_place_is_as_fine_as_alone(source: Path, tmp_path: Path, jobs: list[EditJob]) -> None:
    job(source).run(tmp_path / "out.png")
    several = {one.plan.subtasks[0].source: one.image for one in jobs}
    jobs.clear()
    plan = PLAN.model_copy(update={"subtasks": PLAN.subtasks[:1]})
    prepare(session(), photo.read(source), plan, [DOG], seed=3).run(tmp_path / "dog.png")
    assert (jobs[0].image == several["dog"]).all()
    jobs.clear()
    job(source, "full").run(tmp_path / "full.png")
    assert len(jobs) == 1 and len(jobs[0].plan.subtasks) == 2


def test_a_subtask_without_a_region_keeps_all_in_one(jobs: list[EditJob]) -> None:
    session().edit(IMAGE, PLAN, [replace(DOG, subtask=0)], seed=1)
    assert len(jobs) == 1 and len(jobs[0].plan.subtasks) == 2


def test_grounded_runs_have_frames_too(source: Path, tmp_path: Path) -> None:
    done = job(source, grounded=True).run(tmp_path / "out.png")
    assert len(done.record.places) == 2 and done.result.log["confined_by"] == "turns"


def test_steps_count_on(source: Path, tmp_path: Path) -> None:
    steps: list[Step] = []
    job(source).run(tmp_path / "out.png", watch=Watch(on_step=steps.append))
    assert [(step.index, step.total) for step in steps] == [(n, 8) for n in range(1, 9)]


def test_a_stopped_run_goes_on_and_a_replay_is_the_same(source: Path, tmp_path: Path) -> None:
    whole = job(source).run(tmp_path / "whole.png")
    for stop in (2, 6):
        asked = 0

        def should_stop(stop: int = stop) -> bool:
            nonlocal asked
            asked += 1
            return asked > stop

        out = tmp_path / f"part-{stop}.png"
        part = job(source).run(out, watch=Watch(should_stop=should_stop))
        assert part.result.stopped and part.state is not None
        resumed = replace(job(source), resume=part.state).run(out, overwrite=True)
        assert (resumed.result.image == whole.result.image).all() and not resumed.result.stopped
        assert (resumed.result.mask == whole.result.mask).all() and (resumed.result.raw == whole.result.raw).all()
    told = records.read_record(tmp_path / "whole.png")
    replayed = again(told, photo.read(source), lambda wanted: session()).run(tmp_path / "again.png")
    assert replayed.written.path.read_bytes() == whole.written.path.read_bytes()


def test_the_layer_of_several_pictures_gives_the_output_again(source: Path, tmp_path: Path) -> None:
    done = job(source).run(tmp_path / "out.png")
    image, _ = place(IMAGE, edit_layer(done.result))
    assert np.abs(image.astype(int) - done.result.image).max() <= 1


def test_one_that_changes_nothing_is_noted_and_all_are_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = FakeEditor.edit
    lazy = {"dog"}

    def some(self: FakeEditor, one: EditJob) -> Edited:
        return Edited(one.image) if one.plan.subtasks[0].source in lazy else edit(self, one)

    monkeypatch.setattr(FakeEditor, "edit", some)
    done = job(source).run(tmp_path / "out.png")
    assert any("'tiger'" in note and "changed nothing" in note for note in done.result.log["notes"])
    lazy.add("cat")
    with pytest.raises(ResultRefused, match="changed nothing"):
        job(source).run(tmp_path / "none.png")


def test_what_has_changed_nothing_is_known_after_a_stop(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit, asked = FakeEditor.edit, 0

    def some(self: FakeEditor, one: EditJob) -> Edited:
        return Edited(one.image) if one.plan.subtasks[0].source == "cat" else edit(self, one)

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    monkeypatch.setattr(FakeEditor, "edit", some)
    part = job(source).run(tmp_path / "out.png", watch=Watch(should_stop=should_stop))
    assert part.result.stopped
    done = replace(job(source), resume=part.state).run(tmp_path / "out.png", overwrite=True)
    assert any("'lion'" in note and "changed nothing" in note for note in done.result.log["notes"])


def test_a_state_of_other_pictures_is_refused(source: Path, tmp_path: Path) -> None:
    states: list[dict[str, object]] = []
    watch = Watch(checkpoint=lambda state: states.append(dict(state)))
    session().edit(IMAGE, PLAN, [replace(DOG, subtask=0), replace(CAT, subtask=1)], seed=1, watch=watch)
    (state,) = [one for one in states if one["frames.done"] == 1 and "frame.step" not in one]
    for broken in ({}, state | {"frames.0.image": np.zeros((4, 4, 3), np.uint8)}, state | {"frames.done": "x"}):
        with pytest.raises(InputRefused, match="does not belong"):
            session().edit(
                IMAGE, PLAN, [replace(DOG, subtask=0), replace(CAT, subtask=1)], seed=1, watch=Watch(resume=broken)
            )


def test_the_record_says_it(source: Path, tmp_path: Path) -> None:
    job(source, "frames").run(tmp_path / "out.png")
    told = json.loads((tmp_path / "out.png.gas.json").read_text())
    assert told["work"] == "frames" and len(told["places"]) == 2


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the editor, which makes several edits in one batch, was asked for at once."""
    asked: list[list[str]] = []

    def edit_together(self: FakeEditor, given: Sequence[EditJob]) -> list[Edited]:
        asked.append([one.plan.subtasks[0].source or "" for one in given])
        return [self.edit(one) for one in given]

    monkeypatch.setattr(FakeEditor, "batches", True)
    monkeypatch.setattr(FakeEditor, "edit_together", edit_together)
    return asked


def test_pictures_of_one_size_share_a_batch(
    source: Path, tmp_path: Path, batches: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Step] = []
    together = job(source).run(tmp_path / "together.png", watch=Watch(on_step=steps.append))
    assert batches == [["cat", "dog"]]
    assert [(step.index, step.total) for step in steps] == [(2, 8), (4, 8), (6, 8), (8, 8)], "a step counts for both"
    batches.clear()
    job(source, grounded=True).run(tmp_path / "grounded.png")
    assert batches == [], "subtasks are confined in turns"
    monkeypatch.setattr(FakeEditor, "batches", False)
    alone = job(source).run(tmp_path / "alone.png")
    assert (alone.result.image == together.result.image).all() and (alone.result.mask == together.result.mask).all()


def test_pictures_that_overlap_are_made_in_turn(batches: list[list[str]]) -> None:
    plan = PLAN.model_copy(update={"subtasks": (*PLAN.subtasks, Subtask(source="bird", target="owl"))})
    dog, bird = Region("dog", (20, 20, 200, 200), subtask=0), Region("bird", (100, 100, 130, 130), subtask=2)
    session().edit(IMAGE, plan, [dog, replace(CAT, subtask=1), bird], seed=1)
    assert batches == [["dog", "cat"]], "the bird's picture lies in the dog's"


def test_pictures_of_two_sizes_are_made_in_turn(batches: list[list[str]], jobs: list[EditJob]) -> None:
    wide, small = Region("dog", (20, 20, 120, 80), subtask=0), Region("cat", (700, 30, 720, 50), subtask=1)
    session().edit(IMAGE[:100], PLAN, [wide, small], seed=1)
    assert len({one.image.shape for one in jobs}) == len(jobs) == 2 and batches == []


def test_a_batch_that_fails_is_made_one_by_one(
    source: Path, tmp_path: Path, batches: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(self: FakeEditor, given: Sequence[EditJob]) -> list[Edited]:
        raise InputRefused("too much memory", "less")

    whole = job(source).run(tmp_path / "whole.png")
    monkeypatch.setattr(FakeEditor, "edit_together", too_large)
    done = job(source).run(tmp_path / "out.png")
    assert (done.result.image == whole.result.image).all()


def test_a_stopped_batch_goes_on(source: Path, tmp_path: Path, batches: list[list[str]]) -> None:
    whole = job(source).run(tmp_path / "whole.png")
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    part = job(source).run(tmp_path / "part.png", watch=Watch(should_stop=should_stop))
    assert part.result.stopped and part.state is not None
    resumed = replace(job(source), resume=part.state).run(tmp_path / "part.png", overwrite=True)
    assert (resumed.result.image == whole.result.image).all() and not resumed.result.stopped
