"""The first-party verifiers: their contract, and what each says of what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gas import EditPlan, Region, Runtime
from gas.errors import ModelUnavailable, ServiceUnavailable, UsageError
from gas.interfaces import Verifier, VerifyJob
from gas.testing import FakeVerifier, VerifierContract
from gas.testing.contracts import sample_image, verify_job
from gas.types import Evidence, Finding, Subtask
from gas_verifiers.combined import Combined
from gas_verifiers.detector import DetectorVerifier
from gas_verifiers.pixels import PixelsVerifier

IMAGE = sample_image(96, 64)
BLUE = (30, 60, 210)


def make(kind: type, **options: Any) -> Any:
    return kind(kind.options_type(**options), Runtime())


class Eyes:
    """A detector that knows things by their scores: phrase → [(box, score), ...], whatever the picture."""

    def __init__(self, **places: Sequence[tuple[tuple[float, float, float, float], float]]) -> None:
        self.places = {name.replace("_", " "): found for name, found in places.items()}
        self.asked: list[list[str]] = []

    def __call__(self, image: Any, phrases: Sequence[str]) -> list[list[Region]]:
        self.asked.append(list(phrases))
        return [[Region(p, box=box, score=score) for box, score in self.places.get(p, ())] for p in phrases]


HERE, THERE = (32.0, 16.0, 64.0, 48.0), (70.0, 2.0, 94.0, 14.0)


def job(look: Any = None, **changed: Any) -> VerifyJob:
    made = verify_job(IMAGE, BLUE)
    return replace(made, **({"look": look} if look else {}), **changed)


def plan(**subtask: Any) -> EditPlan:
    return EditPlan(subtasks=(Subtask(**subtask),))


class TestPixels(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return make(PixelsVerifier)


class TestDetector(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return make(DetectorVerifier)

    @pytest.fixture
    def job(self) -> VerifyJob:
        return job(Eyes(blue_box=[(HERE, 0.9)]))


class TestFake(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return make(FakeVerifier, colour=BLUE)


class TestCombined(VerifierContract):
    @pytest.fixture
    def verifier(self) -> Verifier:
        return combined(looks=("detector",))

    @pytest.fixture
    def job(self) -> VerifyJob:
        return job(Eyes(blue_box=[(HERE, 0.9)]))


class TestClip(VerifierContract):
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        from gas.testing.tiny import build_tiny_clip

        return build_tiny_clip(tmp_path)

    @pytest.fixture
    def verifier(self, folder: Path) -> Verifier:
        from gas_verifiers.clip import ClipVerifier

        return make(ClipVerifier, model=str(folder))

    def test_threshold_decides(self, folder: Path) -> None:
        from gas_verifiers.clip import ClipVerifier

        (score,) = [one.score for one in make(ClipVerifier, model=str(folder)).verify(job())]
        assert 0 < score < 1
        for target, verdict in ((score - 1e-3, "done"), (score + 1e-3, "not done")):
            (found,) = make(ClipVerifier, model=str(folder), target=target).verify(job())
            assert found.verdict == verdict

    def test_what_has_visibly_changed_is_not_called_unchanged(self, folder: Path) -> None:
        from gas_verifiers.clip import ClipVerifier

        never = make(ClipVerifier, model=str(folder), target=1.0)
        (found,) = never.verify(job())
        assert (found.verdict, found.failure) == ("not done", "wrong kind")
        faint = IMAGE.astype(int) + 3 * (IMAGE < 250)
        (found,) = never.verify(job(after=faint.astype(np.uint8)))
        assert (found.verdict, found.failure) == ("not done", "unchanged")

    def test_source_and_target_swapped_give_the_rest(self, folder: Path) -> None:
        from gas_verifiers.clip import ClipVerifier

        verifier = make(ClipVerifier, model=str(folder))
        (one,) = verifier.verify(job())
        (other,) = verifier.verify(job(plan=plan(source="a blue box", target="a red box")))
        assert one.score + other.score == pytest.approx(1, abs=1e-4)

    def test_one_phrase_alone_cannot_be_compared(self, folder: Path) -> None:
        from gas_verifiers.clip import ClipVerifier

        (found,) = make(ClipVerifier, model=str(folder)).verify(job(plan=plan(action="remove", source="a red box")))
        assert found.verdict == "cannot tell"

    def test_without_a_model_it_says_so(self) -> None:
        from gas_verifiers.clip import ClipVerifier

        with pytest.raises(ModelUnavailable, match="no model"):
            make(ClipVerifier).verify(job())


# --- pixels ----------------------------------------------------------------------------------------------------------


def test_pixels_never_say_done() -> None:
    (found,) = make(PixelsVerifier).verify(job())
    assert found.verdict == "cannot tell" and found.evidence[0].value == 1.0


def test_a_change_that_nobody_sees_is_none() -> None:
    after = IMAGE.copy()
    after[16:48, 32:64] += 1
    (found,) = make(PixelsVerifier).verify(job(after=after))
    assert (found.verdict, found.failure) == ("not done", "unchanged")
    (found,) = make(PixelsVerifier, least_change=0.5).verify(job(after=after))
    assert found.verdict == "cannot tell"


def test_change_elsewhere_is_named() -> None:
    after = job().after.copy()
    after[:14] = 255 - after[:14]
    (found,) = make(PixelsVerifier).verify(job(after=after))
    assert (found.verdict, found.failure) == ("not done", "outside")
    (found,) = make(PixelsVerifier, outside=0.5).verify(job(after=after))
    assert found.verdict == "cannot tell"


# --- the detector ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("places", "verdict", "failure"),
    [
        ({"blue_box": [(HERE, 0.9)]}, "done", None),
        ({"blue_box": [(HERE, 0.29)], "red_box": [(HERE, 0.9)]}, "not done", "unchanged"),
        ({"blue_box": [(HERE, 0.5)], "red_box": [(HERE, 0.6)]}, "not done", "unchanged"),
        ({"box": [(HERE, 0.6)], "red_box": [(HERE, 0.1)]}, "not done", "wrong colour"),
        ({"blue_box": [(THERE, 0.9)]}, "not done", "erased"),
        ({}, "not done", "erased"),
    ],
)
def test_detector_on_a_change_of_colour(places: Any, verdict: str, failure: str | None) -> None:
    (found,) = make(DetectorVerifier).verify(job(Eyes(**places)))
    assert (found.verdict, found.failure) == (verdict, failure)
    assert found.evidence[0].by == "detector"


@pytest.mark.parametrize(
    ("places", "verdict", "failure"),
    [
        ({"blue_ball": [(HERE, 0.9)]}, "done", None),
        ({"blue_ball": [(THERE, 0.9)]}, "not done", "displaced"),
        ({"red_box": [(HERE, 0.2)]}, "not done", "wrong kind"),
        ({"ball": [(HERE, 0.5)]}, "not done", "wrong colour"),
    ],
)
def test_detector_on_a_change_of_kind(places: Any, verdict: str, failure: str | None) -> None:
    (found,) = make(DetectorVerifier).verify(job(Eyes(**places), plan=plan(source="a red box", target="a blue ball")))
    assert (found.verdict, found.failure) == (verdict, failure)


def test_detector_on_a_removal_and_an_addition() -> None:
    gone = plan(action="remove", source="a red box", anchor="grass")
    (found,) = make(DetectorVerifier).verify(job(Eyes(red_box=[(THERE, 0.9)]), plan=gone))
    assert found.verdict == "done" and found.score == 1.0
    (found,) = make(DetectorVerifier).verify(job(Eyes(red_box=[(HERE, 0.9)]), plan=gone))
    assert (found.verdict, found.failure) == ("not done", "unchanged")
    added = plan(action="add", target="a hat", anchor="grass")
    (found,) = make(DetectorVerifier).verify(job(Eyes(hat=[(HERE, 0.9)]), plan=added))
    assert found.verdict == "done"


def test_detector_is_asked_once_for_all_phrases() -> None:
    eyes = Eyes()
    both = EditPlan(subtasks=(Subtask(source="a red box", target="a blue box"), Subtask(source="grass", target="snow")))
    mask = np.ones(IMAGE.shape[:2], np.float32)
    regions = (*job().regions, Region("grass", mask=mask, subtask=1))
    make(DetectorVerifier).verify(job(eyes, plan=both, regions=regions, subtasks=(0, 1)))
    assert len(eyes.asked) == 1 and set(eyes.asked[0]) == {"blue box", "red box", "box", "snow", "grass"}


def test_without_a_detector_it_cannot_tell() -> None:
    (found,) = make(DetectorVerifier).verify(job())
    assert found.verdict == "cannot tell" and "no grounder" in found.evidence[0].note


def test_a_tone_is_not_asked_of_a_detector() -> None:
    eyes = Eyes()
    tone = plan(source="the box", target="a darker box", attribute="tone")
    (found,) = make(DetectorVerifier).verify(job(eyes, plan=tone))
    assert found.verdict == "cannot tell" and not eyes.asked


# --- combined --------------------------------------------------------------------------------------------------------


class Says(Verifier):
    """Says the same of every subtask, or raises."""

    def __init__(self, verdict: Any) -> None:
        super().__init__(self.options_type(), Runtime())
        self.verdict, self.asked = verdict, []

    def verify(self, job: VerifyJob) -> list[Finding]:
        self.asked.append(job.subtasks)
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return [
            Finding(subtask=index, verdict=self.verdict, evidence=(Evidence(by="says", note="so"),))
            for index in job.subtasks
        ]


def combined(others: dict[str, Verifier] | None = None, **options: Any) -> Combined:
    made = make(Combined, **options)
    known = {"pixels": make(PixelsVerifier), "detector": make(DetectorVerifier), **(others or {})}
    made.find_verifier = known.__getitem__
    return made


def test_first_that_can_tell_decides() -> None:
    first, second, third = Says("cannot tell"), Says("done"), Says("not done")
    (found,) = combined({"a": first, "b": second, "c": third}, looks=("a", "b", "c")).verify(job())
    assert found.verdict == "done" and not third.asked and first.asked == [(0,)]
    assert [one.by for one in found.evidence] == ["says", "says", "pixels"]


def test_kinds_and_looks_are_asked_of_others() -> None:
    things, looks = Says("done"), Says("done")
    verifier = combined({"a": things, "b": looks}, things=("a",), looks=("b",))
    verifier.verify(job())
    verifier.verify(job(plan=plan(source="a red box", target="a blue ball")))
    assert len(things.asked) == 1 and len(looks.asked) == 1


@pytest.mark.parametrize(
    "error", [ModelUnavailable("no model"), ServiceUnavailable("nobody there"), ModuleNotFoundError(name="torch")]
)
def test_who_cannot_be_asked_is_passed_over_with_a_warning(error: Exception) -> None:
    verifier = combined({"a": Says(error), "b": Says("done")}, looks=("a", "b"))
    with pytest.warns(UserWarning, match="'a' is not asked"):
        (found,) = verifier.verify(job())
    assert found.verdict == "done"


def test_what_is_lacking_is_known_before_the_edit_for_what_the_plan_needs() -> None:
    from gas_verifiers.clip import ClipVerifier

    recolour, kinds = job().plan, plan(source="a red box", target="a blue ball")
    (bare,) = make(ClipVerifier).lacks(recolour)
    verifier = combined({"clip": make(ClipVerifier)})
    (told,) = verifier.lacks(recolour)
    assert told.message == f"the verifier 'clip' is not asked: {bare.message}" and told.hint == bare.hint
    assert verifier.lacks(kinds) == [], "the detector is asked first, and lacks nothing"
    with pytest.warns(UserWarning) as warned:
        verifier.verify(job())
    assert str(warned[0].message) == told.message, "so that it is shown once"
    assert combined({"clip": make(ClipVerifier, model="a/clip")}).lacks(recolour) == []


def test_noise_is_not_done_whoever_says_it_is() -> None:
    yes = Says("done")
    noise = np.random.default_rng(2).integers(0, 256, IMAGE.shape, dtype=np.uint8)
    after = IMAGE.copy()
    after[16:48, 32:64] = noise[16:48, 32:64]
    (found,) = combined({"a": yes}, looks=("a",)).verify(job(after=after))
    assert (found.verdict, found.failure) == ("not done", "noise") and not yes.asked


def test_it_cannot_ask_itself() -> None:
    with pytest.raises(ValueError, match="cannot ask itself"):
        make(Combined, things=("combined",))
    with pytest.raises(UsageError, match="session"):
        make(Combined).verify(job())


RIVALS = {"rivals": ("a car", "a ball", "a box", "sand")}


@pytest.mark.parametrize(
    ("places", "subtask", "verdict", "failure"),
    [
        ({"blue_ball": [(HERE, 0.8)], "ball": [(HERE, 0.9)]}, {}, "done", None),
        ({"blue_ball": [(HERE, 0.8)], "car": [(HERE, 0.95)]}, {}, "not done", "wrong kind"),
        ({"blue_ball": [(HERE, 0.8)], "car": [(HERE, 0.85)]}, {}, "done", None),
        ({"ball": [(HERE, 0.7)], "car": [(HERE, 0.9)]}, {}, "not done", "wrong kind"),
        ({"ball": [(HERE, 0.7)]}, {}, "not done", "wrong colour"),
        ({}, {}, "not done", "erased"),
        ({"car": [(HERE, 0.9)]}, {"action": "remove", "target": "", "anchor": "grass"}, "not done", "wrong kind"),
        ({"car": [(THERE, 0.9)]}, {"action": "remove", "target": "", "anchor": "grass"}, "done", None),
    ],
)
def test_what_came_instead_is_asked_for(places: Any, subtask: Any, verdict: str, failure: str | None) -> None:
    """Rivals count where they are new: the photograph shows none of them here."""
    eyes = Eyes(**places)

    def look(image: Any, phrases: Sequence[str]) -> list[list[Region]]:
        return eyes(image, phrases) if image[20, 40].tolist() != IMAGE[20, 40].tolist() else [[] for _ in phrases]

    made = job(look, plan=plan(**{"source": "a red box", "target": "a blue ball", **subtask}))
    (found,) = make(DetectorVerifier, **RIVALS).verify(made)
    assert (found.verdict, found.failure) == (verdict, failure)


def test_what_was_there_before_is_no_rival() -> None:
    eyes = Eyes(blue_ball=[(HERE, 0.8)], car=[(HERE, 0.9)])
    (found,) = make(DetectorVerifier, **RIVALS).verify(job(eyes, plan=plan(source="a red box", target="a blue ball")))
    assert found.verdict == "done"


def test_what_the_detector_cannot_look_for_cannot_be_told() -> None:
    def look(image: Any, phrases: Sequence[str]) -> list[Any]:
        return [None if phrase == "blue box" else [] for phrase in phrases]

    (found,) = make(DetectorVerifier).verify(job(look))
    assert found.verdict == "cannot tell" and "'blue box'" in found.evidence[0].note
    (found,) = make(DetectorVerifier).verify(job(look, plan=plan(source="a blue box", target="a red box")))
    assert found.verdict == "not done", "the source alone is not needed"
