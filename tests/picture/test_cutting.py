"""The guided filter and GrabCut on pictures whose masks are known."""

import numpy as np
import pytest
from shaded import disc, on_top, surface

from gas.picture.grabcut import cut, grouped
from gas.picture.guided import fit

SIZE = (96, 128)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A red disc with a dark stripe on a mottled green ground, and the disc's mask."""
    rng = np.random.default_rng(3)
    thing = disc(SIZE, 34)
    ground = surface(SIZE, 140.0, 0.2, dark=0.4, light=0.7).astype(int) + rng.normal(0, 8, (*SIZE, 3)).astype(int)
    red = surface(SIZE, 30.0, 0.3)
    red[40:48] = (40, 20, 20)
    return on_top(np.clip(ground, 0, 255).astype(np.uint8), red, thing), thing


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_rough_mask_takes_on_the_edges_of_its_picture() -> None:
    image, thing = scene()
    rough = np.roll(thing, (2, -3), axis=(0, 1)).astype(np.float32)
    found = fit(image, rough, 6, 1e-3).apply(image) > 0.5
    assert iou(found, thing) > iou(rough > 0.5, thing) + 0.03


def test_a_fit_of_a_small_picture_serves_the_large_one() -> None:
    image, thing = scene()
    large = image.repeat(4, axis=0).repeat(4, axis=1)
    mask = thing.repeat(4, axis=0).repeat(4, axis=1)
    found = fit(image, thing.astype(np.float32), 3).apply(large)
    assert found.shape == mask.shape and iou(found > 0.5, mask) > 0.97


def test_a_flat_mask_stays_flat() -> None:
    image, _ = scene()
    assert fit(image, np.ones(SIZE, np.float32), 4).apply(image) == pytest.approx(np.ones(SIZE), abs=1e-3)


def test_the_thing_is_cut_out_of_its_box() -> None:
    image, thing = scene()
    box = np.zeros(SIZE, bool)
    box[8:88, 24:104] = True
    found = cut(image, box, box)
    assert iou(found, thing) > 0.95
    assert not found[~box].any()
    assert (cut(image, box, box) == found).all(), "the same every time"


def test_what_is_sure_stays() -> None:
    image, _ = scene()
    box = np.zeros(SIZE, bool)
    box[8:88, 24:104] = True
    sure = np.zeros(SIZE, bool)
    sure[10:14, 28:32] = True  # of the ground's colour
    assert cut(image, box, box, sure)[sure].all()


def test_a_box_around_everything_has_no_ground_to_learn_from() -> None:
    image, _ = scene()
    full = np.ones(SIZE, bool)
    assert cut(image, full, full).all()


def test_groups_are_of_like_colours() -> None:
    colours = np.concatenate([np.full((50, 3), value) for value in (0.1, 0.5, 0.9)])
    labels = grouped(colours, 3)
    assert len(np.unique(labels)) == 3 and all(len(set(labels[i : i + 50])) == 1 for i in (0, 50, 100))
