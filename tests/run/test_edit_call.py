"""From Python: one call edits and writes a file with all that the command line promises; saving can come later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_backends
import numpy as np
import pytest
from PIL import ExifTags, ImageCms
from PIL import Image as Pictures

import gas
from gas.backends.registry import Registry
from gas.errors import InputRefused, UsageError
from gas.files import OutputExists
from gas.interfaces import Edited, EditJob, Step, Watch
from gas.picture import photo
from gas.picture.photo_write import read_embedded
from gas.run import record
from gas.run.job import WrittenEdit, prepare
from gas.run.record import Request
from gas.run.session import Session
from gas.testing import fakes
from gas.types import EditPlan, Region, Subtask

FLAGS: dict[str, Any] = {"planner": "arrows", "grounders": (), "editor": "painter", "profile": "diorama"}
DOG = gas.Region("dog", box=(30, 20, 80, 60))
PIXELS = np.random.default_rng(1).integers(0, 200, (90, 120, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _backends(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Registry, "discover", classmethod(lambda cls: fake_backends.registry()))
    yield


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A photograph with much to lose: a colour profile, half transparency, a resolution, a maker and a place."""
    exif = Pictures.Exif()
    exif[ExifTags.Base.Make] = "Maker"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (12.0, 34.0, 56.0)
    rgba = np.dstack([PIXELS, np.full((90, 120, 1), 200, np.uint8)])
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Pictures.fromarray(rgba).save(tmp_path / "dog.png", dpi=(300, 300), exif=exif, icc_profile=profile)
    return tmp_path / "dog.png"


def test_one_call_writes_the_file_with_record_profile_transparency_and_metadata(picture: Path) -> None:
    out = picture.with_name("tiger.png")
    result = gas.edit(picture, "dog -> tiger", out=out, seed=3, regions=[DOG], **FLAGS)
    before, after = photo.read(picture), photo.read(out)
    assert (after.pixels == result.image).all() and (after.pixels != before.pixels).any()
    assert after.alpha is not None and before.alpha is not None and (after.alpha == before.alpha).all()
    assert after.icc == before.icc and after.icc is not None and after.dpi == before.dpi
    with Pictures.open(out) as opened:
        exif = opened.getexif()
        assert exif[ExifTags.Base.Make] == "Maker" and not exif.get_ifd(ExifTags.IFD.GPSInfo)
    told = record.read_record(out)
    assert (told.seed, told.asked.instruction, told.input.name) == (3, "dog -> tiger", "dog.png")
    assert told.file is not None and told.file.outside_max == 0 and told.regions[0].given
    assert record.parse_record(read_embedded(out) or "").plan == told.plan
    assert sorted(path.name for path in picture.parent.iterdir()) == ["dog.png", "tiger.png", "tiger.png.gas.json"]


def test_saving_later_writes_the_same_bytes(picture: Path) -> None:
    given: dict[str, Any] = {"seed": 3, "regions": [DOG], **FLAGS}
    gas.edit(picture, "dog -> tiger", out=picture.with_name("now.png"), **given)
    result = gas.edit(str(picture), "dog -> tiger", **given)
    done = result.save(picture.with_name("later.png"))
    assert isinstance(done, WrittenEdit) and done.written.exact and done.record_path.exists()
    assert done.written.path.read_bytes() == picture.with_name("now.png").read_bytes()
    with pytest.raises(OutputExists):
        result.save(done.written.path)
    with pytest.raises(UsageError, match="is the input"):
        result.save(str(picture), overwrite=True)
    kept = result.save(picture.with_name("place.jpg").with_suffix(".webp"), gps=True).written.path
    with Pictures.open(kept) as opened:
        assert opened.getexif().get_ifd(ExifTags.IFD.GPSInfo)


def test_an_array_is_saved_as_what_an_array_can_promise(tmp_path: Path) -> None:
    result = gas.edit(PIXELS, "dog -> tiger", regions=[DOG], seed=3, **FLAGS)
    assert (result.image != PIXELS).any() and (result.image == PIXELS)[result.asked == 0].all()
    done = result.save(tmp_path / "out.png")
    again = photo.read(done.written.path)
    assert (again.pixels == result.image).all() and again.icc is None and again.alpha is None
    told = record.read_record(done.written.path)
    assert told.input.name == "array" and told.input.size == (120, 90)
    Pictures.fromarray(PIXELS).save(tmp_path / "elsewhere.tif")
    assert record.same_input(told, photo.read(tmp_path / "elsewhere.tif")) == (False, True)
    with pytest.raises(InputRefused, match="float64"):
        gas.edit(PIXELS / 255, "dog -> tiger", **FLAGS)


def test_a_result_of_an_array_in_a_session_says_how_to_save(tmp_path: Path) -> None:
    plan = EditPlan(subtasks=(Subtask(source="dog", target="tiger"),))
    result = Session.of(**FLAGS).edit(PIXELS, plan, [replace(DOG, subtask=0)], seed=1)
    assert (result.image == PIXELS)[result.asked == 0].all(), "a box alone is a region here too"
    with pytest.raises(UsageError, match=r"Session\.edit") as refused:
        result.save(tmp_path / "out.png")
    assert "gas.edit" in refused.value.remedy


def test_a_session_serves_several_pictures(picture: Path) -> None:
    session = gas.Session.of(**FLAGS)
    for name in ("a.png", "b.png"):
        gas.edit(picture, "dog -> tiger", out=picture.with_name(name), session=session, seed=1, regions=[DOG])
    assert picture.with_name("a.png").read_bytes() == picture.with_name("b.png").read_bytes()
    assert len(session._backends) == 2, "planner and editor, each made once"
    with pytest.raises(UsageError, match="a session and editor"):
        gas.edit(picture, "dog -> tiger", session=session, editor="painter")


def test_whole_prompts_or_a_plan_instead_of_an_instruction(picture: Path) -> None:
    plan = EditPlan(subtasks=(Subtask(source="dog", target="tiger"),))
    assert gas.edit(picture, plan=plan, seed=1, **FLAGS).plan == plan
    prompts = {"source": "a dog on grass", "target": "a tiger on grass"}
    made = gas.edit(picture, seed=1, **prompts, **{**FLAGS, "planner": "rules"})
    assert made.plan.source_prompt == "a dog on grass" and made.job is not None
    assert made.job.request == Request(**prompts)
    with pytest.raises(UsageError, match="both a plan and a request"):
        gas.edit(picture, "dog -> wolf", plan=plan, **FLAGS)
    with pytest.raises(UsageError, match="nothing is asked for"):
        gas.edit(picture, **FLAGS)


def test_an_output_that_cannot_be_written_is_refused_before_anybody_is_asked(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fakes.FakePlanner, "plan", lambda self, request: 1 / 0)
    for out, words in ((picture.with_name("a.jpg"), "transparency"), (picture / "x.png", "no folder")):
        with pytest.raises(UsageError, match=words):
            gas.edit(picture, "dog -> tiger", out=out, **FLAGS)


def test_steps_are_reported_and_an_interrupted_run_can_be_resumed(picture: Path) -> None:
    steps: list[Step] = []
    out = picture.with_name("out.png")
    watch = Watch(on_step=steps.append, should_stop=lambda: len(steps) == 2)
    result = gas.edit(picture, "dog -> tiger", out=out, watch=watch, seed=1, regions=[DOG], **FLAGS)
    assert result.stopped and [step.index for step in steps] == [1, 2]
    assert out.exists() and out.with_name("out.png.gas-state").exists()


# --- true figures -----------------------------------------------------------------------------------------------------


class Beyond(fakes.FakeEditor):
    """Paints the upper half of the picture, whatever was asked for."""

    def edit(self, job: EditJob) -> Edited:
        mask = np.zeros(job.image.shape[:2], np.float32)
        mask[: len(mask) // 2] = 1
        image = np.where(mask[..., None] > 0, np.uint8(250), job.image)
        return Edited(image, mask=mask)


def run(picture: Path, out: str, editor: Any, regions: list[Region]) -> WrittenEdit:
    session = Session.of(**FLAGS)
    session._backends["editors", "painter"] = editor(fakes.FakeEditorOptions(), session.runtime)
    job = prepare(session, photo.read(picture), Request(instruction="dog -> tiger"), regions, seed=1)
    return job.run(picture.with_name(out))


def measured(picture: Path, out: str, asked: np.ndarray) -> tuple[float, float]:
    """What a stranger measures on the two files, outside what was asked for."""
    before, after = (np.asarray(Pictures.open(picture.with_name(n)).convert("RGB")).astype(int) for n in ("p.png", out))
    change = np.abs(before - after)[asked == 0]
    return float(change.max()), float(change.mean())


@pytest.mark.parametrize("out", ["out.png", "out.jpg", "out.webp"])
def test_what_an_editor_does_beyond_the_regions_is_a_difference_outside(tmp_path: Path, out: str) -> None:
    """Before, an editor's own mask counted as asked for, and the picture as untouched outside."""
    Pictures.fromarray(PIXELS).save(tmp_path / "p.png")
    done = run(tmp_path / "p.png", out, Beyond, [DOG])
    asked = np.zeros((90, 120))
    asked[20:60, 30:80] = 1
    assert done.record.file is not None
    largest, mean = measured(tmp_path / "p.png", out, asked)
    assert (done.record.file.outside_max, done.record.file.outside_mean) == (largest, pytest.approx(mean))
    assert largest > 100
    pasted = done.result.mask > 0
    assert done.record.file.beyond == pytest.approx((pasted & (asked == 0)).mean()) and done.record.file.beyond > 0.3
    assert done.record.file.edited == pytest.approx(pasted.mean())


def test_an_editor_that_stays_inside_is_bit_for_bit_outside(tmp_path: Path) -> None:
    Pictures.fromarray(PIXELS).save(tmp_path / "p.png")
    done = run(tmp_path / "p.png", "out.png", fakes.FakeEditor, [DOG])
    asked = np.zeros((90, 120))
    asked[20:60, 30:80] = 1
    assert measured(tmp_path / "p.png", "out.png", asked) == (0, 0)
    assert done.record.file is not None and (done.record.file.outside_max, done.record.file.beyond) == (0, 0)


def test_without_regions_the_editors_own_place_is_what_was_asked_for(tmp_path: Path) -> None:
    Pictures.fromarray(PIXELS).save(tmp_path / "p.png")
    done = run(tmp_path / "p.png", "out.png", Beyond, [])
    assert done.record.file is not None
    assert (done.record.file.outside_max, done.record.file.beyond) == (0, 0)
    assert 0.4 < (done.record.file.edited or 0) < 0.6
