"""The colour of an edit with the source's structure: what stays, what is taken over, and where nothing is done."""

from __future__ import annotations

import numpy as np
import pytest

from gas.picture.oklab import chroma, hue, to_lab
from gas.picture.structure import keep_structure

SIDE = 64
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE]
DISC = (ROWS - 32) ** 2 + (COLUMNS - 32) ** 2 < 18**2
MASK = ((abs(ROWS - 32) < 24) & (abs(COLUMNS - 32) < 24)).astype(np.float32)


def scene(colour: tuple[int, int, int], where: np.ndarray = DISC, shaded: bool = True) -> np.ndarray:
    """A disc of one colour, lit from the left, on grass."""
    picture = np.empty((SIDE, SIDE, 3), np.float32)
    picture[:] = (60, 130, 50)
    light = (1.1 - 0.5 * COLUMNS / SIDE) if shaded else np.ones_like(COLUMNS)
    picture[where] = (np.array(colour) * light[..., None])[where]
    return np.clip(picture, 0, 255).astype(np.uint8)


SOURCE = scene((190, 30, 35))
MOVED = (ROWS - 36) ** 2 + (COLUMNS - 28) ** 2 < 16**2
EDITED = scene((40, 70, 210), MOVED, shaded=False)
"""What an editor makes of "a blue disc": flat, smaller, and not where it was; and something else outside."""
EDITED[:4] = 255


@pytest.mark.parametrize("phrase", ["a red disc", "a disc"])
def test_the_colour_is_the_edits_and_all_else_the_sources(phrase: str) -> None:
    kept = keep_structure(SOURCE, EDITED, MASK, phrase)
    assert kept is not None
    outside, both = MASK == 0, DISC & MOVED
    assert np.array_equal(kept[outside], EDITED[outside])
    middle = to_lab(kept)[both].mean(0)
    assert abs(float(hue(middle)) - float(hue(to_lab(EDITED)[both].mean(0)))) < 12 and chroma(middle) > 0.1
    light = to_lab(kept)[..., 0]
    assert light[32, 20] > light[32, 44] + 0.05, "lit from the left as before"
    if phrase == "a red disc":  # else what the edit changed is all that is known of the place
        assert np.array_equal(kept[(MASK > 0) & ~DISC][::7], SOURCE[(MASK > 0) & ~DISC][::7])
        assert (kept[DISC] != EDITED[DISC]).any(-1).mean() > 0.9


def test_an_edit_that_changed_no_colour_stays_as_it_is() -> None:
    assert keep_structure(SOURCE, scene((186, 34, 38)), MASK, "a red disc") is None
    assert keep_structure(SOURCE, SOURCE, MASK, "a disc") is None


def test_a_colour_that_is_not_there_changes_nothing() -> None:
    assert keep_structure(SOURCE, EDITED, MASK, "a yellow disc") is None


def test_grey_takes_no_hue_from_noise() -> None:
    kept = keep_structure(SOURCE, scene((205, 205, 207), DISC), MASK, "a red disc")
    assert kept is not None and float(chroma(to_lab(kept)[DISC]).mean()) < 0.03
