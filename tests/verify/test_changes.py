"""What can be seen of a region without any model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gas.interfaces import VerifyJob
from gas.testing.contracts import sample_image, verify_job
from gas.verify.changes import change, outside_share, region_of, spoilt

IMAGE = sample_image(96, 64)


def job(paint=None) -> VerifyJob:
    """The question about the red box, which became what `paint` says: an array for its pixels, or a colour."""
    made = verify_job(IMAGE, (30, 60, 210))
    if paint is None:
        return made
    inside = region_of(made, 0)
    return replace(made, after=np.where(inside[..., None], np.broadcast_to(paint, IMAGE.shape), IMAGE).astype(np.uint8))


def noise(low: int = 0, high: int = 256, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, IMAGE.shape, dtype=np.uint8)


def test_a_colour_with_grain_is_no_noise() -> None:
    made = job()
    assert spoilt(made, 0) is None
    found = change(made.before, made.after, region_of(made, 0))
    assert found.share == 1.0 and not found.noise and not found.black


@pytest.mark.parametrize("paint", [noise(), noise(60, 190), noise(seed=9)])
def test_random_pixels_are_noise(paint: np.ndarray) -> None:
    assert spoilt(job(paint), 0) == "noise"


def test_a_rough_photograph_stays_what_it_is() -> None:
    """Where the photograph was as rough, roughness says nothing."""
    made = job(noise(seed=4))
    rough = np.where(region_of(made, 0)[..., None], noise(seed=5), IMAGE)
    assert spoilt(replace(made, before=rough), 0) is None


def test_stripes_are_no_noise() -> None:
    stripes = np.zeros(IMAGE.shape, np.uint8)
    stripes[:, ::6], stripes[:, 1::6], stripes[:, 2::6] = 220, 220, 220
    assert spoilt(job(stripes), 0) is None


def test_black_and_unchanged() -> None:
    assert spoilt(job((0, 0, 0)), 0) == "erased"
    assert spoilt(replace(job(), after=IMAGE), 0) == "unchanged"


def test_a_thing_that_was_black_may_be_black() -> None:
    made = job((0, 0, 0))
    dark = np.where(region_of(made, 0)[..., None], np.uint8(9), IMAGE)
    assert spoilt(replace(made, before=dark), 0) is None


def test_without_a_region() -> None:
    made = replace(job(), regions=())
    assert region_of(made, 0) is None and outside_share(made) is None
    assert spoilt(made, 0) is None
    assert spoilt(replace(made, after=made.before), 0) == "unchanged"


def test_share_outside_counts_what_can_be_seen() -> None:
    made = job()
    assert outside_share(made) == 0.0
    after = made.after.copy()
    outside = ~region_of(made, 0)
    after[outside] = np.clip(after[outside].astype(np.int16) + 10, 0, 255)
    assert outside_share(replace(made, after=after)) == 0.0
    after[outside] = 255 - made.before[outside]
    assert outside_share(replace(made, after=after)) > 0.9
