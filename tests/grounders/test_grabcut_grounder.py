"""GrabCut as a grounder: boxes become masks, and where the cut is not believed the box is kept and said so."""

import numpy as np
import pytest
from shaded import disc, on_top, surface

from gas.errors import ObjectNotFound
from gas.interfaces import GroundJob
from gas.runtime import Runtime
from gas.testing.contracts import GrounderContract
from gas.types import Region
from gas_grounders.grabcut import GrabCutGrounder, GrabCutOptions

SIZE = (120, 160)
THING = disc(SIZE, 40)
NOISE = np.random.default_rng(2).normal(0, 8, (*SIZE, 3)).astype(int)
GROUND = np.clip(surface(SIZE, 140.0, 0.2, dark=0.4, light=0.7).astype(int) + NOISE, 0, 255).astype(np.uint8)
PICTURE = on_top(GROUND, surface(SIZE, 30.0, 0.3), THING)
BOX = (36.0, 16.0, 124.0, 104.0)


def cut(image: np.ndarray, region: Region, **options: object) -> Region:
    return GrabCutGrounder(GrabCutOptions(**options), Runtime()).ground(GroundJob(image, [region]))[0]  # type: ignore[arg-type]


class TestContract(GrounderContract):
    @pytest.fixture
    def grounder(self) -> GrabCutGrounder:
        return GrabCutGrounder(GrabCutOptions(), Runtime())

    @pytest.fixture
    def regions(self) -> list[Region]:
        return [
            Region("the red box", (10.0, 10.0, 40.0, 40.0), subtask=0),
            Region("grass", (0.0, 30.0, 90.0, 60.0), subtask=1),
        ]


def test_the_thing_in_its_box() -> None:
    found = cut(PICTURE, Region("a ball", BOX, score=0.7))
    assert found.mask is not None and found.note == "" and found.score == 0.7 and found.box == BOX
    mine = found.mask > 0.5
    assert (mine & THING).sum() / (mine | THING).sum() > 0.95


def test_the_edge_is_the_pictures_own_at_full_size() -> None:
    large = PICTURE.repeat(6, axis=0).repeat(6, axis=1)
    thing = THING.repeat(6, axis=0).repeat(6, axis=1)
    found = cut(large, Region("a ball", tuple(6 * side for side in BOX)), side=160)  # type: ignore[arg-type]
    assert found.mask is not None
    mine = found.mask > 0.5
    assert (mine & thing).sum() / (mine | thing).sum() > 0.95


def test_a_cut_that_is_not_believed_keeps_the_box_and_says_so() -> None:
    found = cut(PICTURE, Region("a ball", BOX), least=0.9)
    assert found.mask is not None and found.mask.sum() == (BOX[2] - BOX[0]) * (BOX[3] - BOX[1])
    assert "'a ball'" in found.note and "box itself" in found.note


def test_a_mask_that_is_there_stays() -> None:
    mask = np.zeros(SIZE, np.float32)
    mask[:10] = 1
    region = Region("a ball", BOX, mask)
    assert cut(PICTURE, region) is region


def test_without_a_place_there_is_nothing_to_cut() -> None:
    with pytest.raises(ObjectNotFound, match="a ball"):
        cut(PICTURE, Region("a ball"))
