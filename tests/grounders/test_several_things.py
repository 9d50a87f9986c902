"""How many things a phrase means, and which: a detector gives a box for each, and never one box to two of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gas.errors import ObjectNotFound
from gas.interfaces import GroundJob, Watch
from gas.runtime import Runtime
from gas.types import Region
from gas_grounders.asking import Wanted, in_order
from gas_grounders.choosing import one_of_them, split_other, split_position
from gas_grounders.detector import Candidates, Detector, DetectorOptions, Query

IMAGE = np.zeros((100, 400, 3), np.uint8)
# Three cars in a row, the one in the middle red and scored highest.
LEFT, RED, RIGHT = (0, 0, 50, 50), (100, 0, 150, 50), (300, 0, 350, 50)
THINGS = {"car": [(LEFT, 0.6), (RED, 0.9), (RIGHT, 0.5)], "red car": [(RED, 0.9), (LEFT, 0.2)], "dog": [(RIGHT, 0.8)]}


class Cars(Detector[DetectorOptions]):
    """A detector of the things above, by their words without articles."""

    name = "cars"

    def look(self, image: Any, queries: Sequence[Query], watch: Watch) -> list[Candidates]:
        found = [THINGS.get(query.text.removeprefix("the ").removeprefix("a "), []) for query in queries]
        self.queries = [query.text for query in queries]
        return [
            Candidates(np.array([b for b, _ in one]).reshape(-1, 4), np.array([s for _, s in one])) for one in found
        ]


def looked(*asked: Region, **options: Any) -> list[tuple[int | None, tuple[int, ...]]]:
    detector = Cars(DetectorOptions(**options), Runtime())
    regions = detector.ground(GroundJob(IMAGE, asked))
    return [(r.subtask, tuple(int(v) for v in r.box or ())) for r in regions]


def test_all_of_them_are_found() -> None:
    assert looked(Region("cars", subtask=0, count="all")) == [(0, RED), (0, LEFT), (0, RIGHT)]
    assert looked(Region("a car", subtask=0, count="all")) == [(0, RED), (0, LEFT), (0, RIGHT)]


def test_a_number_of_them_and_no_more() -> None:
    assert looked(Region("cars", subtask=0, count=2)) == [(0, RED), (0, LEFT)]
    assert looked(Region("cars", subtask=0, count=5)) == [(0, RED), (0, LEFT), (0, RIGHT)], "fewer are no error"
    assert looked(Region("a car", subtask=0)) == [(0, RED)]


@pytest.mark.parametrize(
    ("phrase", "box"),
    [("other car", LEFT), ("the other car", LEFT), ("a left car", LEFT), ("a right car", RIGHT),
     ("the last car", RIGHT), ("a first car", LEFT), ("a third car", RIGHT), ("the remaining car", LEFT)],
)  # fmt: skip
def test_what_is_another_thing_never_gets_its_box(phrase: str, box: tuple[int, ...]) -> None:
    for order in ((0, 1), (1, 0)):
        asked = (Region("a red car", subtask=0), Region(phrase, subtask=1))
        assert dict(looked(*(asked[i] for i in order))) == {0: RED, 1: box}


def test_a_place_that_another_thing_has_goes_to_the_next() -> None:
    THINGS["blue car"] = [(LEFT, 0.9)]
    found = dict(looked(Region("a blue car", subtask=0), Region("a left car", subtask=1)))
    assert found == {0: LEFT, 1: RED}, "of the two that are left, the left one"


def test_the_first_so_many_are_counted_from_the_left() -> None:
    assert looked(Region("first cars", subtask=0, count=2)) == [(0, LEFT), (0, RED)]


def test_the_others_are_all_but_the_one() -> None:
    found = looked(Region("a red car", subtask=0), Region("other cars", subtask=1, count="all"))
    assert found == [(0, RED), (1, LEFT), (1, RIGHT)]


def test_where_there_is_no_other_nothing_is_found() -> None:
    with pytest.raises(ObjectNotFound) as caught:
        looked(Region("a dog", subtask=0), Region("the other dog", subtask=1))
    assert "only 1 of 2 'the other dog' was found" in caught.value.message
    assert caught.value.exit_code == 5


def test_always_the_best_even_where_there_is_no_other() -> None:
    found = looked(Region("a dog", subtask=0), Region("the other dog", subtask=1), always_best=True)
    assert found == [(0, RIGHT), (1, RIGHT)]


def test_things_of_other_names_are_left_alone() -> None:
    assert looked(Region("a dog", subtask=0), Region("a right car", subtask=1)) == [(0, RIGHT), (1, RIGHT)]


def test_the_network_is_asked_for_one_thing_without_such_words() -> None:
    detector = Cars(DetectorOptions(), Runtime())
    detector.ground(GroundJob(IMAGE, [Region("the other red cars", subtask=0, count="all")]))
    assert detector.queries == ["the red car"]


@pytest.mark.parametrize(
    ("phrase", "text", "words"),
    [
        ("a second pig", "the pig", "second"),
        ("the last house", "the house", "last"),
        ("the third window from the left", "the window", "third from the left"),
        ("a second floor", "a second floor", None),
        ("first aid kit", "first aid kit", None),
    ],
)
def test_numbers_are_counted_from_the_left(phrase: str, text: str, words: str | None) -> None:
    rest, position = split_position(phrase)
    assert rest == text
    assert (position.words if position else None) == words


def test_other_and_one_of_them() -> None:
    assert split_other("other dog") == ("the dog", True)
    assert split_other("the other one") == ("the other one", False)
    assert split_other("a mother") == ("a mother", False)
    assert one_of_them("red cars with wheels") == "red car with wheels"
    assert one_of_them("the people on the left") == "the person on the left"


def test_the_order_of_choosing() -> None:
    wanted = [Wanted.of(i, Region(p, count=c)) for i, (p, c) in enumerate(
        [("the other car", None), ("cars", "all"), ("the left car", None), ("the car", None), ("a red car", None)]
    )]  # fmt: skip
    assert [one.phrase for one in in_order(wanted)] == ["a red car", "the left car", "the car", "cars", "the other car"]
