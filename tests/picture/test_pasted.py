"""What several turns paste into one picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gas.picture.blend import blend
from gas.picture.pasted import Pasted

FIRST = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
ONE, OTHER = 255 - FIRST, np.full_like(FIRST, 100)
LEFT, TOP = np.zeros((6, 8), np.float32), np.zeros((6, 8), np.float32)
LEFT[:, :4], TOP[:3] = 1, 0.5


def two() -> Pasted:
    made = Pasted.begun(FIRST)
    made.paste(ONE, LEFT, {"turn": 1})
    made.paste(OTHER, TOP, {"turn": 2})
    return made


def test_nothing_was_pasted() -> None:
    for image, mask in (Pasted.begun(FIRST).once(), Pasted.begun(FIRST).once_raw()):
        assert np.array_equal(image, FIRST) and mask is not None and not mask.any()


@pytest.mark.parametrize("once", [Pasted.once, Pasted.once_raw])
def test_pasted_once_it_is_what_the_turns_left(once: Callable[[Pasted], Any]) -> None:
    made = two()
    assert np.array_equal(made.picture, blend(blend(FIRST, ONE, LEFT), OTHER, TOP))
    image, mask = once(made)
    assert np.abs(blend(FIRST, image, mask).astype(int) - made.picture).max() <= 1
    assert np.array_equal(mask > 0, np.maximum(LEFT, TOP) > 0)
    outside = mask == 0
    assert np.array_equal(image[outside], (FIRST if once is Pasted.once else OTHER)[outside])


def test_of_one_turn_the_raw_image_is_its_own_output() -> None:
    made = Pasted.begun(FIRST)
    made.paste(ONE, TOP, {})
    image, mask = made.once_raw()
    assert image is ONE and mask is not None and np.array_equal(mask, TOP)


def test_a_turn_that_replaces_the_picture_leaves_no_mask() -> None:
    made = two()
    made.paste(ONE, None, {})
    made.paste(OTHER, TOP, {})
    for image, mask in (made.once(), made.once_raw()):
        assert mask is None and np.array_equal(image, blend(ONE, OTHER, TOP))


def test_an_interrupted_turn_is_pasted_but_not_done() -> None:
    made = Pasted.begun(FIRST)
    made.paste(ONE, LEFT, {"steps": 3}, done=False)
    assert made.done == 0 and made.logs == [{"steps": 3}] and np.array_equal(made.picture[:, :4], ONE[:, :4])


@pytest.mark.parametrize("whole", [False, True])
def test_a_state_brings_all_of_it_back(whole: bool) -> None:
    made = two()
    if whole:
        made.paste(ONE, None, {})
    state = made.state()
    again = Pasted.restored(state, FIRST, 4)
    assert again.done == made.done and again.logs == made.logs
    for one in ("picture", "raw", "kept"):
        assert np.array_equal(getattr(again, one), getattr(made, one))
    before = state["picture"].copy()
    made.paste(OTHER, None, {})
    assert np.array_equal(state["picture"], before) and len(state["logs"]) == len(again.logs), "a kept state stays"


@pytest.mark.parametrize(
    "change",
    [
        {"picture": FIRST[:4]},
        {"raw": FIRST[..., 0][:2]},
        {"kept": LEFT[:, :3]},
        {"done": 3},
        {"done": -1},
        {"logs": None},
    ],
)
def test_the_state_of_another_edit_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Pasted.restored({**two().state(), **change}, FIRST, 3)
