"""Photographs of every kind through the retoucher: grey, 16 bit, CMYK, alpha; masks that cover all or leak."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pictures
from shaded import disc, on_top, surface

from gas.errors import ObjectNotFound
from gas.picture.photo import read
from gas.run.job import PhotoJob, WrittenEdit
from gas.run.session import Session
from gas.types import EditRequest, Region

SIZE = (90, 120)
CUP = disc(SIZE, 30)
COLOURS = on_top(surface(SIZE, 80.0, 0.03, dark=0.4, light=0.7), surface(SIZE, 30.0, 0.34, dark=0.3, light=0.6), CUP)


def saved(folder: Path, mode: str) -> Path:
    picture = Pictures.fromarray(COLOURS)
    if mode == "I;16":
        path = folder / "in.png"
        Pictures.fromarray((np.asarray(picture.convert("L"), np.uint16) * 257).astype(np.uint16)).save(path)
        return path
    if mode == "RGBA":
        picture.putalpha(Pictures.fromarray(np.tile(np.linspace(0, 255, SIZE[1]).astype(np.uint8), (SIZE[0], 1))))
    path = folder / {"CMYK": "in.tif", "L": "in.png", "RGBA": "in.png"}[mode]
    (picture if mode == "RGBA" else picture.convert(mode)).save(path)
    return path


def edit(path: Path, request: str, mask: np.ndarray) -> WrittenEdit:
    photo, session = read(path), Session.of(profile="retouch")
    plan = session.plan(EditRequest(photo.pixels, request))
    regions = session.ground(photo.pixels, plan, [Region("cup", mask=mask.astype(np.float32), given=True)])
    return PhotoJob(session, photo, plan, regions, seed=1).run(path.with_name(f"out{path.suffix}"))


@pytest.mark.parametrize("mode", ["L", "I;16", "CMYK", "RGBA"])
def test_every_kind_of_picture(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path, mode)
    done = edit(path, "make the cup darker", CUP)
    before, after = read(path).pixels, done.result.image
    assert after[CUP].astype(int).mean() < before[CUP].astype(int).mean() - 4
    assert (after[~CUP] == before[~CUP]).all() and done.written.outside.max == 0


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_a_colour_is_given_to_a_grey_picture_and_the_file_holds_it(tmp_path: Path, mode: str) -> None:
    done = edit(saved(tmp_path, mode), "make the cup red", CUP)
    with Pictures.open(done.written.path) as picture:
        assert picture.mode == "RGB"
        red = np.asarray(picture)[45, 75].astype(int)
    assert red[0] > red[2] + 40


def test_a_grey_picture_has_no_red_thing(tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFound, match="no red"):
        edit(saved(tmp_path, "L"), "make the red cup blue", CUP)


def test_a_mask_that_covers_all_still_finds_the_colour(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    Pictures.fromarray(COLOURS).save(path)
    done = edit(path, "make the red cup blue", np.ones(SIZE, bool))
    changed = np.abs(done.result.image.astype(int) - COLOURS).max(axis=2) > 20
    assert changed[disc(SIZE, 26)].mean() > 0.9 and changed[~disc(SIZE, 34)].mean() < 0.02


def test_a_mask_that_leaks_to_the_edge_takes_the_colour_alone(tmp_path: Path) -> None:
    path = tmp_path / "in.png"
    Pictures.fromarray(COLOURS).save(path)
    leaking = np.zeros(SIZE, bool)
    leaking[:, 40:] = True
    done = edit(path, "make the red cup blue", leaking)
    changed = np.abs(done.result.image.astype(int) - COLOURS).max(axis=2) > 20
    assert not changed[:, :40].any() and changed[~disc(SIZE, 34)].mean() < 0.02
