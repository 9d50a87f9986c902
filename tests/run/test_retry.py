"""What is not done is tried again, alone, by the next editor; what was accepted stays."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_backends
import numpy as np
import pytest
from PIL import Image as Pictures

from gas.backends.hookspecs import hookimpl
from gas.backends.spec import BackendSpec
from gas.errors import (
    InputRefused,
    Interrupted,
    NotVerified,
    PluginBroken,
    ResultRefused,
    ServiceUnavailable,
    UsageError,
)
from gas.interfaces import Edited, EditJob, Verifier, VerifyJob, Watch
from gas.picture import photo
from gas.run import record, replay
from gas.run.budget import Budget, rows_of
from gas.run.job import PhotoJob
from gas.run.session import Session
from gas.run.undone import raise_if_undone
from gas.testing import fakes
from gas.types import EditPlan, Region, Subtask
from gas_shell.words import flag_words

PLAN = EditPlan(subtasks=(Subtask(source="dog", target="tiger"), Subtask(source="grass", target="snow")))
RED = (255, 0, 0)
ASKED: list[tuple[str, tuple[int, ...]]] = []
"""Which editor was called with which subtasks (of its own plan), and the verifier with which (of the whole plan)."""


class Native(fakes.FakeEditor):
    """Works on the photograph's own pixels, so that nothing is blurred by enlarging."""

    def resolution(self) -> None:  # type: ignore[override]
        return None

    def multiple(self) -> int:
        return 1


class Half(Native):
    """Paints the first region red, as the verifier wants it, and the others blue."""

    def edit(self, job: EditJob) -> Edited:
        ASKED.append(("half", tuple(region.subtask for region in job.regions)))
        image = job.image.copy()
        for region in reversed(job.regions):
            image[region.mask > 0] = RED if region.subtask == 0 and len(job.plan.subtasks) > 1 else (0, 0, 255)
        return Edited(image, log={"evaluations": 100})


class Redder(Native):
    def edit(self, job: EditJob) -> Edited:
        ASKED.append(("red", tuple(region.subtask for region in job.regions)))
        done = super().edit(job)
        return replace(done, log={**done.log, "evaluations": 40})


class Blue(Native):
    def edit(self, job: EditJob) -> Edited:
        ASKED.append(("blue", tuple(region.subtask for region in job.regions)))
        image = job.image.copy()
        for mask in [region.mask for region in job.regions] or [np.ones(image.shape[:2])]:
            image[mask > 0] = (0, 0, 250)
        return Edited(image, log={"evaluations": 10})


class Nearly(Native):
    """Paints all but some columns as the verifier wants it."""

    def edit(self, job: EditJob) -> Edited:
        image = job.image.copy()
        for region in job.regions:
            image[region.mask > 0] = RED
        image[:, ::5] = job.image[:, ::5]
        return Edited(image)


class Refuses(Native):
    def edit(self, job: EditJob) -> Edited:
        ASKED.append(("refuses", ()))
        raise ResultRefused("it came to nothing", "try another")


class Narrow(Native):
    def check_plan(self, plan: EditPlan) -> None:
        raise UsageError("it can only recolour", "ask for a colour")


class Counts(fakes.FakeVerifier):
    def verify(self, job: VerifyJob) -> Any:
        ASKED.append(("verifier", job.subtasks))
        return super().verify(job)


class Absent(Verifier):
    def verify(self, job: VerifyJob) -> Any:
        raise ServiceUnavailable("nobody is there", "start it")


class Broken(Verifier):
    def verify(self, job: VerifyJob) -> Any:
        return []


@hookimpl
def gas_register_editors() -> tuple[BackendSpec, ...]:
    names = ("Half", "Redder", "Blue", "Nearly", "Refuses", "Narrow")
    return tuple(BackendSpec(name.lower(), f"test_retry:{name}", "for tests") for name in names)


@hookimpl
def gas_register_verifiers() -> tuple[BackendSpec, ...]:
    return tuple(
        BackendSpec(name.lower(), f"test_retry:{name}", "for tests") for name in ("Counts", "Absent", "Broken")
    )


def open_session(flags: Mapping[str, Any]) -> Session:
    registry = fake_backends.registry().add(sys.modules[__name__])
    # What is pasted has a soft edge.
    told = {
        "planner": "arrows",
        "grounders": (),
        "profile": "diorama",
        "options": {"counts": {"tolerance": 100}},
        **flags,
    }
    return Session.of(registry=registry, **told)


@pytest.fixture(autouse=True)
def nobody_asked() -> None:
    ASKED.clear()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "dog.png"
    Pictures.fromarray(np.random.default_rng(1).integers(0, 200, (90, 120, 3), dtype=np.uint8)).save(path)
    return path


def masks(overlap: bool = False) -> tuple[Region, Region]:
    first, second = np.zeros((90, 120), np.float32), np.zeros((90, 120), np.float32)
    first[8:40, 8:60] = 1
    second[24 if overlap else 48 :, 12:] = 1
    return Region("dog", mask=first, subtask=0), Region("grass", mask=second, subtask=1)


def job(path: Path, *, regions: tuple[Region, ...] = (), plan: EditPlan = PLAN, **flags: Any) -> PhotoJob:
    told = {"editor": "half", "verifier": "counts", "verify": True, "tries": 3, "retry_editors": ("redder",), **flags}
    return PhotoJob(open_session(told), photo.read(path), plan, regions or masks(), 5)


def verdicts(result: Any) -> list[str]:
    return [one.verdict for one in result.verified.findings]


def test_only_what_failed_is_tried_again_and_what_was_accepted_stays(picture: Path) -> None:
    once = job(picture, tries=1).edit()
    assert verdicts(once) == ["done", "not done"] and once.verified.attempts == ()
    ASKED.clear()
    result = job(picture).edit()
    assert verdicts(result) == ["done", "done"] and not result.verified.undone
    assert ASKED == [("half", (0, 1)), ("verifier", (0, 1)), ("red", (0,)), ("verifier", (1,))]
    (attempt,) = result.verified.attempts
    assert (attempt.editor.name, attempt.kept, attempt.seed, attempt.rows) == ("redder", "accepted", 6, 40)
    inside = masks()[0].mask > 0
    assert (result.image[inside] == once.image[inside]).all()
    outside = ~(inside | (masks()[1].mask > 0))
    assert (result.image[outside] == photo.read(picture).pixels[outside]).all()


@pytest.mark.parametrize(
    ("editors", "tries", "names"),
    [
        (("blue", "redder"), 3, ["blue", "redder"]),
        (("blue", "redder"), 2, ["blue"]),
        (("half", "blue"), 3, ["blue"]),
        ((), 3, []),
    ],
)
def test_editors_in_their_order_as_often_as_is_allowed(picture: Path, editors: Any, tries: int, names: Any) -> None:
    result = job(picture, retry_editors=editors, tries=tries).edit()
    assert [one.editor.name for one in result.verified.attempts] == names
    assert bool(result.verified.undone) == ("redder" not in names)
    assert (result.verified.ended is None) == ("redder" in names)


def test_who_made_it_for_another_editor_is_not_asked_again(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Half.edit

    def told(self: Any, job: EditJob) -> Edited:
        made = whole(self, job)
        return replace(made, log={**made.log, "chosen": [{"subtask": 2, "sort": "kind", "editor": "blue"}]})

    monkeypatch.setattr(Half, "edit", told)
    result = job(picture, retry_editors=("blue", "redder")).edit()
    assert [one.editor.name for one in result.verified.attempts] == ["redder"]


def test_a_failed_try_leaves_no_trace_for_the_next(picture: Path) -> None:
    seen = []

    class Spy(Redder):
        def edit(self, job: EditJob) -> Edited:
            seen.append(job.image.copy())
            return super().edit(job)

    made = job(picture, retry_editors=("blue", "redder"))
    sys.modules[__name__].Redder, kept = Spy, Redder  # type: ignore[misc]
    try:
        made.edit()
    finally:
        sys.modules[__name__].Redder = kept  # type: ignore[misc]
    assert not (seen[0] == (0, 0, 250)).all(axis=2).any() and not (seen[0] == (0, 0, 255)).all(axis=2).any()


def test_best_of_what_is_not_done_is_written(picture: Path) -> None:
    result = job(picture, retry_editors=("blue", "nearly", "refuses")).edit()
    blue, nearly = result.verified.attempts
    assert (blue.kept, nearly.kept) == ("no", "best")
    assert verdicts(result) == ["done", "not done"] and result.verified.findings[1].score > 0.7
    middle = result.image[60:80, 40:80]
    assert (middle == RED).all(axis=2).mean() > 0.7
    assert result.verified.ended == "after 3 tries"


def test_first_edit_is_kept_where_nothing_better_came(picture: Path) -> None:
    result = job(picture, retry_editors=("blue",)).edit()
    once = job(picture, tries=1).edit()
    assert (result.image == once.image).all() and [one.kept for one in result.verified.attempts] == ["no"]


def test_editor_that_gives_up_is_an_attempt(picture: Path) -> None:
    result = job(picture, retry_editors=("refuses", "redder")).edit()
    gave_up, red = result.verified.attempts
    assert gave_up.finding.failure == "refused" and "came to nothing" in gave_up.finding.evidence[0].note
    assert red.kept == "accepted" and verdicts(result) == ["done", "done"]


def test_editor_that_cannot_is_passed_over_with_a_warning(picture: Path) -> None:
    with pytest.warns(UserWarning, match="only recolour"):
        result = job(picture, retry_editors=("narrow", "redder"), tries=2).edit()
    assert [one.editor.name for one in result.verified.attempts] == ["redder"]


@pytest.mark.parametrize(
    ("budget", "attempts"), [("100rows", 0), ("105rows", 1), ("111rows", 2), ("0s", 0), ("60s", 2)]
)
def test_budget_ends_it(picture: Path, budget: str, attempts: int) -> None:
    result = job(picture, retry_editors=("blue", "redder"), budget=budget).edit()
    assert len(result.verified.attempts) == attempts
    if attempts < 2:
        assert "budget" in result.verified.ended


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"tries": 1}, "--tries 3"),
        ({"retry_editors": ("blue", "nearly")}, "--tries"),
        ({"retry_editors": ("blue",)}, "--retry-editor"),
        ({"retry_editors": ()}, "--retry-editor"),
        ({"retry_editors": ("blue",), "budget": "0s"}, "--budget"),
    ],
)
def test_what_was_tried_is_not_advised_again(picture: Path, tmp_path: Path, flags: Any, words: str) -> None:
    done = job(picture, **flags).run(tmp_path / "out.png")
    with pytest.raises(NotVerified) as refused:
        raise_if_undone(done.record)
    assert f"({words})" in refused.value.hint.worded(flag_words)


def test_smaller_region_lies_on_top(picture: Path) -> None:
    """The large region is tried again after the small one was accepted: it leaves that alone."""
    once = job(picture, regions=masks(overlap=True), tries=1).edit()
    result = job(picture, regions=masks(overlap=True)).edit()
    small = masks()[0].mask > 0
    assert (result.image[small] == once.image[small]).all()
    assert verdicts(result)[0] == "done"
    shared = small & (masks(overlap=True)[1].mask > 0)
    assert shared.any()


def test_replay_follows_and_asks_nobody(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done = job(picture, retry_editors=("blue", "nearly", "redder"), tries=4).run(out)
    assert [one.kept for one in done.record.verified.attempts] == ["no", "no", "accepted"]
    ASKED.clear()
    then = record.read_record(out)
    assert then.verified == done.record.verified and then.verifier.name == "counts"
    again = replay.again(then, photo.read(picture), open_session)
    made = again.run(tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == out.read_bytes()
    assert [who for who, _ in ASKED] == ["half", "red"]
    assert made.record.verified == then.verified and replay.drift(then, made.record) == []


def test_replay_of_what_stayed_undone(picture: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    done = job(picture, retry_editors=("nearly", "blue"), tries=3).run(out)
    assert [one.kept for one in done.record.verified.attempts] == ["best", "no"]
    replay.again(record.read_record(out), photo.read(picture), open_session).run(tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == out.read_bytes()


def test_verified_record_of_another_plan_is_refused(picture: Path, tmp_path: Path) -> None:
    done = job(picture).run(tmp_path / "out.png")
    text = done.record.to_json().replace('"subtask":1,"verdict"', '"subtask":7,"verdict"')
    with pytest.raises(InputRefused, match="2 subtasks"):
        record.parse_record(text)


def test_no_edit_is_lost_for_a_verifier_that_cannot_be_asked(picture: Path) -> None:
    with pytest.warns(UserWarning, match="nobody is there"):
        result = job(picture, verifier="absent").edit()
    assert verdicts(result) == ["cannot tell", "cannot tell"] and result.verified.attempts == ()
    assert (result.image == job(picture, tries=1).edit().image).all()


def test_verifier_that_answers_nonsense_is_named(picture: Path) -> None:
    made = job(picture, verifier="broken")
    with pytest.raises(PluginBroken, match=r"verifiers 'broken'.*findings for"):
        made.session.verify(made.photo.pixels, made.photo.pixels, made.plan, made.regions)


def test_verifier_cannot_write_into_the_pictures(picture: Path) -> None:
    made = job(picture)
    kind = type(made.session.backend("verifiers", "counts"))
    kind.verify, kept = lambda self, job: job.after.fill(0), kind.verify  # type: ignore[method-assign]
    try:
        with pytest.raises((PluginBroken, ValueError)):
            made.session.verify(made.photo.pixels, made.photo.pixels, made.plan, made.regions)
    finally:
        kind.verify = kept  # type: ignore[method-assign]


def test_stop_while_verifying_keeps_what_is_made(picture: Path) -> None:
    def should_stop() -> bool:
        return ("half", (0, 1)) in ASKED

    result = job(picture).edit(Watch(should_stop=should_stop))
    assert result.stopped and result.verified is None


def test_stop_between_tries_keeps_what_was_accepted(picture: Path) -> None:
    told = []

    def should_stop() -> bool:
        return ("blue", (0,)) in ASKED

    result = job(picture, retry_editors=("blue", "redder")).edit(
        Watch(should_stop=should_stop), on_attempt=lambda subtask, name: told.append((subtask, name))
    )
    assert result.stopped and told == [(1, "blue")] and verdicts(result) == ["done", "not done"]
    assert result.verified.ended == "it was stopped"


def test_single_subtask_without_a_region_is_tried_where_the_editor_worked(picture: Path) -> None:
    plan = EditPlan(subtasks=PLAN.subtasks[:1])
    made = PhotoJob(
        open_session(
            {"editor": "blue", "verifier": "counts", "verify": True, "tries": 2, "retry_editors": ("redder",)}
        ),
        photo.read(picture),
        plan,
        (),
        5,
    )
    result = made.edit()
    assert result.verified.first[0].verdict == "cannot tell"  # the fake knows no place, and guesses nothing


def test_without_verify_nobody_is_asked(picture: Path) -> None:
    result = job(picture, verify=False).edit()
    assert result.verified is None and [who for who, _ in ASKED] == ["half"]


def test_remote_editor_must_be_named_by_the_user(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Redder, "remote", True)
    named = job(picture).edit()
    assert verdicts(named) == ["done", "done"]
    made = job(picture)
    made.session.settings._sources = [replace(one, own=False) for one in made.session.settings._sources]
    with pytest.warns(UserWarning, match="another machine"):
        result = made.edit()
    assert verdicts(result) == ["done", "not done"]


@pytest.mark.parametrize("text", ["", "fast", "10", "10 minutes", "-5s", "s"])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(UsageError, match="budget"):
        Budget.of(text)


def test_rows_are_read_from_logs() -> None:
    assert rows_of({"evaluations": 12}) == 12
    assert rows_of({"batch": {"rows": 30, "edits": 1}}) == 30
    assert rows_of({"turns": [{"log": {"evaluations": 3}}, {"log": {"batch": {"rows": 4}}}]}) == 7
    assert rows_of({"turns": [{"log": {"evaluations": 3}}, {"log": {}}]}) is None
    assert rows_of({}) is None


def test_interrupted_is_no_finding(picture: Path) -> None:
    made = job(picture)
    with pytest.raises(Interrupted):
        made.session.verify(
            made.photo.pixels, made.photo.pixels, made.plan, made.regions, watch=Watch(should_stop=lambda: True)
        )
