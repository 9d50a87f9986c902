"""Words of position and size: what is taken off a phrase, and which box they choose."""

from __future__ import annotations

import numpy as np
import pytest

from gas_grounders.choosing import Position, split_position

SIZE = (200, 100)
# Three things in a row, the middle one largest, and a small one at the bottom right.
BOXES = np.array([[10, 40, 30, 60], [80, 20, 130, 70], [150, 30, 180, 60], [185, 85, 195, 95]], np.float64)
ROW = BOXES[:3]


@pytest.mark.parametrize(
    ("phrase", "query", "order"),
    [
        ("the cat on the left", "the cat", [0, 1, 2, 3]),
        ("The cat, on the left.", "the cat", [0, 1, 2, 3]),
        ("a cat on the far left side of the picture", "a cat", [0, 1, 2, 3]),
        ("the cat to the left", "the cat", [0, 1, 2, 3]),
        ("the cat at the left of the image", "the cat", [0, 1, 2, 3]),
        ("the cat that is on the right", "the cat", [3, 2, 1, 0]),
        ("the cat on the right-hand side", "the cat", [3, 2, 1, 0]),
        ("the cat at the top", "the cat", [1, 2, 0, 3]),
        ("the cat at the bottom", "the cat", [3, 0, 1, 2]),
        ("the cat in the bottom right corner", "the cat", [3, 2, 1, 0]),
        ("the cat in the upper left corner", "the cat", [0, 1, 2, 3]),
        ("the leftmost cat", "the cat", [0, 1, 2, 3]),
        ("the rightmost white cat with a hat", "the white cat with a hat", [3, 2, 1, 0]),
        ("the left cat", "the cat", [0, 1, 2, 3]),
        ("the lower cat", "the cat", [3, 0, 1, 2]),
        ("the topmost cat", "the cat", [1, 2, 0, 3]),
        ("the bigger cat", "the cat", [1, 2, 0, 3]),
        ("the biggest cat", "the cat", [1, 2, 0, 3]),
        ("a larger cat", "a cat", [1, 2, 0, 3]),
        ("the largest cat", "the cat", [1, 2, 0, 3]),
        ("the smaller cat", "the cat", [3, 0, 2, 1]),
        ("the smallest cat", "the cat", [3, 0, 2, 1]),
        ("the bigger one of the two cats", "the two cats", [1, 2, 0, 3]),
        ("the left one of the cats", "the cats", [0, 1, 2, 3]),
        ("the leftmost of the cats", "the cats", [0, 1, 2, 3]),
        ("the smaller of the cats", "the cats", [3, 0, 2, 1]),
        ("the cat, the bigger one", "the cat", [1, 2, 0, 3]),
        ("the second biggest cat", "the cat", [2, 0, 3, 1]),
        ("the second cat from the left", "the cat", [1, 2, 3, 0]),
        ("the first cat from the left", "the cat", [0, 1, 2, 3]),
        ("the third cat from the right", "the cat", [1, 0, 3, 2]),
        ("the cat, second from the right", "the cat", [2, 1, 0, 3]),
        ("the 2nd cat from the left", "the cat", [1, 2, 3, 0]),
    ],
)
def test_what_is_meant_and_which_comes_first(phrase: str, query: str, order: list[int]) -> None:
    text, position = split_position(phrase)
    assert text == query
    assert position is not None
    assert position.order(BOXES, SIZE) == order


@pytest.mark.parametrize(
    "phrase",
    [
        "a red car",
        "the cat",
        "a clear sky",
        "the cat to the left of the dog",
        "the cat on the left of the sofa",
        "the man's left hand",
        "the left hand",
        "the upper lip",
        "the bigger one",
        "the one on the left",
        "left",
        "a middle-aged man",
        "light from the left",
        "a cake with a cherry on top",
        "the bottom of the sea",
        "the top of the car",
        "a top hat",
        "a righteous man",
        "second floor",
        "",
    ],
)
def test_other_phrases_stay_as_they_are(phrase: str) -> None:
    assert split_position(phrase) == (phrase, None)


@pytest.mark.parametrize("phrase", ["the middle cat", "the cat in the middle", "the cat in the centre"])
def test_the_middle_of_several(phrase: str) -> None:
    _, position = split_position(phrase)
    assert position is not None
    assert position.order(ROW - np.array([60, 0, 60, 0]), SIZE)[0] == 1, (
        "in the middle of the three, not of the picture"
    )


def test_the_middle_of_two_is_the_pictures() -> None:
    _, position = split_position("the cat in the middle")
    assert position is not None
    assert position.order(BOXES[[0, 1]], SIZE)[0] == 1
    assert position.order(BOXES[[2, 1]], SIZE)[0] == 1


def test_the_middle_of_the_picture_is_the_pictures() -> None:
    moved = ROW + np.array([60, 0, 60, 0])
    _, of_picture = split_position("the cat in the middle of the picture")
    _, of_them = split_position("the cat in the middle")
    assert of_picture is not None and of_them is not None
    assert of_picture.order(moved, SIZE)[0] == 0
    assert of_them.order(moved, SIZE)[0] == 1


def test_corners_weigh_both_directions_alike() -> None:
    boxes = np.array([[0, 90, 10, 100], [150, 0, 160, 10], [40, 10, 50, 20]], np.float64)
    assert Position("", (-1.0, -1.0)).order(boxes, SIZE)[0] == 2


def test_a_rank_beyond_the_candidates_leaves_the_order_to_the_caller() -> None:
    assert Position("", (-1.0, 0.0), rank=1).order(BOXES[:1], SIZE) == [0]


def test_equal_places_keep_their_order() -> None:
    assert Position("", size=1.0).order(np.repeat(BOXES[:1], 3, axis=0), SIZE) == [0, 1, 2]
