"""How far an edited picture has moved: shift and scale are found by the surroundings, whatever is in the region."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pictures
from places import DOCS
from scipy import ndimage

from gas_editors.pipelines.register import find_move, move_back

PHOTOGRAPH = np.asarray(Pictures.open(DOCS / "photographs" / "chelsea.jpg").convert("RGB"))[:300, :400]
HEIGHT, WIDTH = PHOTOGRAPH.shape[:2]
REGION = np.zeros((HEIGHT, WIDTH), np.float32)
REGION[70:230, 130:270] = 1


def moved(scale: float, dx: float, dy: float, seed: int = 0) -> np.ndarray:
    """The photograph enlarged and shifted, a little darker, with noise, and something else in the region."""
    cy, cx = (HEIGHT - 1) / 2, (WIDTH - 1) / 2
    at = cy - (cy + dy) / scale, cx - (cx + dx) / scale
    channels = [
        ndimage.affine_transform(PHOTOGRAPH[..., c].astype(np.float64), [1 / scale] * 2, at, order=3, mode="reflect")
        for c in range(3)
    ]
    rng = np.random.default_rng(seed)
    picture = 0.95 * np.stack(channels, axis=-1) + 5 + rng.normal(0, 3, PHOTOGRAPH.shape)
    picture[REGION > 0] = rng.uniform(0, 255, (int(REGION.sum()), 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("scale", "dx", "dy"), [(1, 7, -4), (1.03, 3.4, 2.2), (0.96, -11, 8), (1, 25, -20), (1.08, 0, 0), (1, 0.6, -0.4)]
)
def test_shift_and_scale_are_found_and_undone(scale: float, dx: float, dy: float) -> None:
    edited = moved(scale, dx, dy)
    move = find_move(PHOTOGRAPH, edited, REGION)
    assert move is not None
    assert (move.dx, move.dy) == pytest.approx((dx, dy), abs=0.15)
    assert move.scale == pytest.approx(scale, abs=1e-3)
    back, known = move_back(edited, move)
    around = known & ~ndimage.binary_dilation(REGION > 0, iterations=30)  # what the region holds has moved too
    still = np.abs(moved(1, 0, 0).astype(float) - PHOTOGRAPH)[around].mean()
    assert np.abs(back.astype(float) - PHOTOGRAPH)[around].mean() < still + 1.5
    assert known[REGION > 0].all()


def test_what_has_not_moved_is_left_alone() -> None:
    assert find_move(PHOTOGRAPH, moved(1, 0, 0), REGION) is None


def test_another_picture_is_not_brought_to_the_source() -> None:
    noise = np.random.default_rng(1).integers(0, 256, PHOTOGRAPH.shape).astype(np.uint8)
    assert find_move(PHOTOGRAPH, noise, REGION) is None
    assert find_move(PHOTOGRAPH, np.ascontiguousarray(PHOTOGRAPH[::-1, ::-1]), REGION) is None


def test_a_plain_wall_or_too_little_around_says_nothing() -> None:
    wall = np.full_like(PHOTOGRAPH, 130)
    assert find_move(wall, wall, REGION) is None
    assert find_move(PHOTOGRAPH, moved(1, 7, -4), np.ones_like(REGION)) is None
