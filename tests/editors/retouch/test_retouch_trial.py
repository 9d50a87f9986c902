"""The trial on photographs: its cases, its figures on a few of them, and the photographs that are shipped."""

import numpy as np
import pytest
from places import DOCS

from gas.picture.colour_names import named
from gas.picture.oklab import from_lch
from gas_editors.retouch.trial.__main__ import table
from gas_editors.retouch.trial.copies import COPIED, MOST_BYTES
from gas_editors.retouch.trial.measure import colour_difference, iou, made
from gas_editors.retouch.trial.pictures import Recolouring, box_of, load, mask_of, recolourings

CASES = recolourings()


def test_there_are_enough_and_some_were_held_out() -> None:
    assert len(CASES) >= 20 and sum(case.since == "held out" for case in CASES) >= 5
    assert {case.since for case in CASES} == {"recipe", "looked at", "held out"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.picture}-{case.thing}-{case.target}")
def test_every_case_names_colours_and_a_place_in_its_picture(case: Recolouring) -> None:
    assert named(case.target) is not None and (not case.source or named(case.source) is not None)
    height, width = load(case.picture).shape[:2]
    if case.how == "box":
        x0, y0, x1, y1 = box_of(case.picture, case.thing)
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height
    else:
        assert mask_of(case.picture, case.thing, (width, height)).any()


@pytest.mark.parametrize(("picture", "thing"), [("coffee", "cup and saucer"), ("chelsea", "eyes"), ("chelsea", "nose")])
def test_recolourings_show_what_they_must(picture: str, thing: str) -> None:
    own = [case for case in CASES if (case.picture, case.thing) == (picture, thing)][:1]
    figures = [made(case)[0] for case in own]
    assert all(one.good for one in figures), figures
    assert f"| {picture} | {thing} |" in table(figures)


def test_the_difference_of_colours_knows_no_lightness() -> None:
    one, other = from_lch(0.5, 0.1, 30.0), from_lch(0.7, 0.1, 30.0)
    assert colour_difference(one, other) < 2
    assert colour_difference(one, from_lch(0.5, 0.1, 130.0)) > 20


def test_iou() -> None:
    a, b = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    a[0], b[:, :2] = True, True
    assert iou(a, b) == pytest.approx(2 / 6)


@pytest.mark.parametrize("name", COPIED)
def test_shipped_photographs_are_small_and_their_licence_is_named(name: str) -> None:
    path = DOCS / "photographs" / f"{name}.jpg"
    assert path.stat().st_size <= MOST_BYTES
    assert f"`{name}.jpg`" in (DOCS / "photographs" / "LICENCES.md").read_text(encoding="utf-8")
