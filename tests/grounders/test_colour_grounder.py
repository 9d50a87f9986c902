"""The grounder that knows colours: one thing, several, things with a colour of their own, and refusals."""

import numpy as np
import pytest
from shaded import on_top, surface

from gas.errors import ObjectNotFound
from gas.interfaces import GroundJob
from gas.masks import mask_box
from gas.runtime import Runtime
from gas.testing.contracts import GrounderContract
from gas.types import Region
from gas_grounders.colour import ColourGrounder, ColourOptions

SIZE = (120, 200)
WALL = surface(SIZE, 80.0, 0.02, dark=0.5, light=0.7)


def placed(x: int, y: int, radius: int) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.hypot(rows - y, columns - x) <= radius


LEFT, RIGHT, SMALL = placed(45, 60, 24), placed(150, 62, 30), placed(100, 20, 7)
RED = surface(SIZE, 30.0, 0.34, dark=0.35, light=0.55)
BLUE = surface(SIZE, 262.0, 0.34, dark=0.35, light=0.55)


def found(image: np.ndarray, *phrases: str, **options: object) -> list[Region]:
    grounder = ColourGrounder(ColourOptions(**options), Runtime())  # type: ignore[arg-type]
    return grounder.ground(GroundJob(image, [Region(phrase, subtask=i) for i, phrase in enumerate(phrases)]))


def middle(region: Region) -> tuple[float, float]:
    assert region.box is not None
    return (region.box[0] + region.box[2]) / 2, (region.box[1] + region.box[3]) / 2


def iou(region: Region, mask: np.ndarray) -> float:
    assert region.mask is not None
    mine = region.mask > 0.5
    return float((mine & mask).sum() / (mine | mask).sum())


class TestContract(GrounderContract):
    @pytest.fixture
    def grounder(self) -> ColourGrounder:
        return ColourGrounder(ColourOptions(), Runtime())


def test_the_thing_of_that_colour() -> None:
    image = on_top(on_top(WALL, RED, LEFT), BLUE, RIGHT)
    red, blue = found(image, "the red ball", "the blue ball")
    assert iou(red, LEFT) > 0.9 and iou(blue, RIGHT) > 0.9
    assert red.box == pytest.approx(mask_box(LEFT.astype(np.float32)), abs=3)
    assert red.score is not None and red.score > 0.6


def test_a_pattern_inside_belongs_to_the_thing() -> None:
    image = on_top(on_top(WALL, RED, RIGHT), WALL, placed(150, 62, 8))
    (region,) = found(image, "the red ball")
    assert iou(region, RIGHT) > 0.9


@pytest.mark.parametrize(
    ("phrase", "which"),
    [
        ("the red ball on the left", LEFT),
        ("the red ball on the right", RIGHT),
        ("the bigger red ball", RIGHT),
        ("the smallest red ball", SMALL),
        ("the left red ball", LEFT),
    ],
)
def test_words_of_position_and_size_choose(phrase: str, which: np.ndarray) -> None:
    image = on_top(on_top(on_top(WALL, RED, LEFT), RED, RIGHT), RED, SMALL)
    (region,) = found(image, phrase, score_threshold=0.1)
    assert iou(region, which) > 0.8


def test_several_of_one_name_are_several_things() -> None:
    image = on_top(on_top(WALL, RED, LEFT), RED, RIGHT)
    first, second = found(image, "a red ball", "a red ball")
    assert {round(middle(first)[0] / 50), round(middle(second)[0] / 50)} == {1, 3}


def test_a_plural_means_all_of_them() -> None:
    image = on_top(on_top(WALL, RED, LEFT), RED, RIGHT)
    (region,) = found(image, "the red balls")
    assert iou(region, LEFT | RIGHT) > 0.85


def test_of_two_reds_the_purer_one_is_meant() -> None:
    wood = surface(SIZE, 42.0, 0.2, dark=0.4, light=0.6)
    (region,) = found(on_top(wood, RED, LEFT), "the red cup")
    assert iou(region, LEFT) > 0.85


@pytest.mark.parametrize("phrase", ["the sky", "the blue sky"])
def test_the_sky_is_at_the_top(phrase: str) -> None:
    image = surface(SIZE, 140.0, 0.2, dark=0.35, light=0.5)
    image[:50] = surface((50, 200), 250.0, 0.12, dark=0.6, light=0.75)
    image[90:] = surface((30, 200), 250.0, 0.2, dark=0.4, light=0.55)  # a lake
    (region,) = found(image, phrase)
    assert middle(region)[1] < 50


def test_grass_is_green() -> None:
    image = WALL.copy()
    image[70:] = surface((50, 200), 135.0, 0.25, dark=0.4, light=0.6)
    (region,) = found(image, "the grass")
    assert region.box == pytest.approx((0, 70, 200, 120), abs=3)


def test_a_phrase_without_a_colour_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(ObjectNotFound) as caught:
        found(on_top(WALL, RED, LEFT), "the dog")
    assert "the dog" in str(caught.value) and "red" in caught.value.remedy and '"the dog"' in caught.value.remedy


def test_a_colour_that_is_not_there_is_refused() -> None:
    with pytest.raises(ObjectNotFound, match="a green ball"):
        found(on_top(WALL, RED, LEFT), "a green ball")


def test_the_threshold_is_one() -> None:
    image = on_top(WALL, RED, placed(100, 60, 4))
    assert found(image, "the red dot", score_threshold=0.1)
    with pytest.raises(ObjectNotFound):
        found(image, "the red dot", score_threshold=0.95)
