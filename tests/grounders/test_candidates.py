"""What a detector proposes for a phrase, however faint: for verifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gas import Region, Runtime
from gas.errors import ObjectNotFound, UsageError
from gas.interfaces import GroundJob
from gas.testing import FakeGrounder
from gas_grounders import detector
from gas_grounders.detector import Candidates, Detector, DetectorOptions

IMAGE = np.zeros((60, 100, 3), np.uint8)
BOXES = np.array([[0, 0, 20, 20], [1, 0, 20, 20], [50, 10, 90, 50], [95, 10, 130, 50]], float)


class Sees(Detector[DetectorOptions]):
    name = "sees"

    def __init__(self, candidates: Candidates) -> None:
        super().__init__(DetectorOptions(), Runtime())
        self.candidates_of_all, self.asked = candidates, []

    def look(self, image: Any, queries: Any, watch: Any) -> list[Candidates]:
        self.asked.append([query.text for query in queries])
        return [self.candidates_of_all for _ in queries]


def proposed(candidates: Candidates, *phrases: str) -> list[Any]:
    return Sees(candidates).candidates(GroundJob(IMAGE, [Region(phrase) for phrase in phrases]))


def test_faint_ones_come_too_the_best_first_each_place_once() -> None:
    scores = np.array([0.2, 0.5, 0.05, 0.1])
    (found,) = proposed(Candidates(BOXES, scores), "a dog")
    assert [region.score for region in found] == [0.5, 0.1, 0.05]
    assert found[1].box == (95.0, 10.0, 100.0, 50.0), "cut at the picture's edge"
    with pytest.raises(ObjectNotFound):
        Sees(Candidates(BOXES, scores * 0.1)).ground(GroundJob(IMAGE, [Region("a dog", subtask=0)]))


def test_a_box_scores_no_more_than_its_noun() -> None:
    scores, nouns = np.array([0.2, 0.9, 0.8, 0.1]), np.array([0.9, 0.3, 0.7, 0.9])
    (found,) = proposed(Candidates(BOXES, scores, nouns), "a red dog")
    assert [region.score for region in found] == [0.7, 0.3, 0.1]


def test_words_that_are_not_known_and_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.array([0.2, 0.9, 0.8, 0.1])
    assert proposed(Candidates(BOXES, scores, unread="dog"), "a dog") == [None]
    monkeypatch.setattr(detector, "MOST", 2)
    assert [len(each) for each in proposed(Candidates(BOXES, scores), "a dog", "a cat")] == [2, 2]


def test_grounder_without_its_own_gives_what_it_finds() -> None:
    fake = FakeGrounder(FakeGrounder.options_type(boxes={"dog": (0.1, 0.1, 0.5, 0.5)}, score=0.7), Runtime())
    found, none = fake.candidates(GroundJob(IMAGE, [Region("dog"), Region("a submarine")]))
    assert [region.score for region in found] == [0.7] and none == []


def test_phrase_that_a_grounder_cannot_look_for_is_none() -> None:
    class OnlyDogs(FakeGrounder):
        def ground(self, job: GroundJob) -> list[Region]:
            if job.regions[0].phrase != "dog":
                raise UsageError("only dogs", "ask for a dog")
            return super().ground(job)

    fake = OnlyDogs(OnlyDogs.options_type(boxes={"dog": (0.1, 0.1, 0.5, 0.5)}), Runtime())
    found, none = fake.candidates(GroundJob(IMAGE, [Region("dog"), Region("cat")]))
    assert found and none is None
    with pytest.raises(UsageError, match="only dogs"):
        fake.candidates(GroundJob(IMAGE, [Region("cat"), Region("cow")]))


def test_one_phrase_that_is_refused_takes_nothing_from_the_others() -> None:
    class Colours(Sees):
        def look(self, image: Any, queries: Any, watch: Any) -> list[Candidates]:
            if any(query.text == "cup" for query in queries):
                raise ObjectNotFound("'cup' names no colour", "say its colour")
            return super().look(image, queries, watch)

    fake = Colours(Candidates(BOXES, np.array([0.2, 0.9, 0.8, 0.1])))
    red, none = fake.candidates(GroundJob(IMAGE, [Region("red cup"), Region("cup")]))
    assert len(red) == 3 and none is None
