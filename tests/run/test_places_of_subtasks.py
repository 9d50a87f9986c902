"""The pipeline with subtasks about all but a thing and about the whole picture, with an editor of native pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures
from shaded import disc, on_top, surface

from gas.errors import ModelUnavailable, ObjectNotFound
from gas.picture.photo import read
from gas.run.job import PhotoJob
from gas.run.record import read_record
from gas.run.replay import again
from gas.run.session import Session
from gas.types import EditPlan, EditRequest, Region, Subtask

SIZE = (150, 233)
CUP = disc(SIZE, 40)
PICTURE = on_top(surface(SIZE, 80.0, 0.05, dark=0.4, light=0.7), surface(SIZE, 30.0, 0.34, dark=0.3, light=0.6), CUP)
DRAWN = Region("cup", mask=disc(SIZE, 42).astype(np.float32), given=True)


def session(**flags: Any) -> Session:
    return Session.of(profile="retouch", **flags)


def edited(request: str, given: list[Region] | None = None, **flags: Any) -> tuple[np.ndarray, EditPlan, Any]:
    chosen = session(**flags)
    plan = chosen.plan(EditRequest(PICTURE, request))
    regions = chosen.ground(PICTURE, plan, given or [])
    return PICTURE, plan, chosen.edit(PICTURE, plan, regions, seed=1)


def grey(image: np.ndarray) -> np.ndarray:
    return np.ptp(image.astype(int), axis=2) <= 2


@pytest.mark.parametrize("given", [[DRAWN], None])
def test_all_but_a_thing_found_or_drawn(given: list[Region] | None) -> None:
    before, _, result = edited("black and white but for the red cup", given)
    inside, outside = disc(SIZE, 36), ~disc(SIZE, 46)
    assert (result.image == before)[inside].all() and grey(result.image)[outside].all()
    assert len(result.regions) == 1 and result.regions[0].mask[inside].min() > 0.5, "the region is still the thing's"


def test_the_whole_picture_needs_no_grounder() -> None:
    before, _, result = edited("make the photo darker", grounders=())
    assert result.regions == () and (result.mask == 1).all()
    assert result.image.astype(int).mean() < before.mean() - 5


def test_whole_picture_and_thing_together() -> None:
    before, plan, result = edited("make the red cup blue and make the picture a little darker")
    assert [s.where for s in plan.subtasks] == ["region", "picture"]
    assert result.image[75, 116, 2] > result.image[75, 116, 0]
    assert result.image[5, 5].astype(int).sum() < before[5, 5].astype(int).sum()


def test_native_pixels_are_worked_on_whatever_the_size() -> None:
    _, _, result = edited("make the red cup blue")
    assert not result.frame.resized and result.frame.size == (SIZE[1], SIZE[0])
    assert result.raw.shape == PICTURE.shape


def test_a_crop_of_native_pixels() -> None:
    chosen = session()
    plan = EditPlan(subtasks=(Subtask(source="a red cup", target="a blue cup", attribute="colour"),))
    small = Region("cup", mask=disc(SIZE, 12).astype(np.float32), subtask=0, given=True)
    result = chosen.edit(PICTURE, plan, [small], seed=1, work="crop")
    assert not result.frame.resized and result.raw.shape[1] < PICTURE.shape[1]
    assert (result.image == PICTURE)[~disc(SIZE, 12)].all() and (result.image != PICTURE).any()


def test_a_found_thing_gets_a_margin_and_no_room() -> None:
    plan = EditPlan(subtasks=(Subtask(action="remove", source="a red cup"),))
    (region,) = session().ground(PICTURE, plan)
    (bare,) = session(grow=0.0).ground(PICTURE, plan)
    assert region.mask is not None and bare.mask is not None
    wide, narrow = (region.mask > 0).sum(), (bare.mask > 0).sum()
    assert narrow < wide < 1.15 * narrow, "the papers' box would be half as large again"


def test_what_needs_a_model_is_refused_before_anything_is_looked_for() -> None:
    plan = EditPlan(subtasks=(Subtask(source="a purple elephant", target="a tiger"),))
    with pytest.raises(ModelUnavailable):
        session().ground(PICTURE, plan)
    with pytest.raises(ObjectNotFound):
        session().ground(PICTURE, plan, required=True)


def test_the_record_measures_what_was_edited_and_makes_it_again(tmp_path: Path) -> None:
    path, out = tmp_path / "in.png", tmp_path / "out.png"
    Pictures.fromarray(PICTURE).save(path)
    photo, chosen = read(path), session()
    plan = chosen.plan(EditRequest(photo.pixels, "black and white but for the red cup and make the picture warmer"))
    regions = chosen.ground(photo.pixels, plan, [])
    PhotoJob(chosen, photo, plan, regions, seed=1).run(out)
    record = read_record(out)
    assert all(change is not None and change > 1 for change in record.measured.inside)
    job = again(record, photo, lambda flags: Session.of(**flags))
    repeated = job.run(tmp_path / "again.png")
    assert (repeated.result.image == np.asarray(Pictures.open(out))).all()
