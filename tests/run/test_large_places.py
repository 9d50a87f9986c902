"""The setting `detail`: which places get detail, from whom, and that it is a stage like any other: announced, counted,
stopped, resumed, recorded, replayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_backends
import numpy as np
import pytest
from fake_backbones import FAMILIES, FakeXL, model_folder
from PIL import Image as Pictures

from gas.diffusion import load
from gas.errors import InputRefused, UsageError
from gas.interfaces import Edited, EditJob, Step, Watch
from gas.picture import photo
from gas.picture.detail import sharpness
from gas.run import record as records
from gas.run.detail import keeps_detail
from gas.run.job import PhotoJob, edit_together, prepare
from gas.run.layer import edit_layer, place
from gas.run.replay import again
from gas.run.session import Session
from gas.types import EditPlan, Region, Subtask
from gas_editors.model_options import NamedModel
from gas_editors.tiles import TilesEditor

IMAGE = np.random.default_rng(1).integers(60, 160, (240, 320, 3), dtype=np.uint8)
GROUND, BALL = Region("grass", (0, 120, 320, 240)), Region("ball", (20, 20, 44, 44))
PLAN = EditPlan(
    subtasks=(Subtask(source="grass", target="red sand"), Subtask(source="ball", target="cube")),
    source_prompt="grass and a ball",
    target_prompt="red sand and a cube",
)
SMALL = {"steps": 4, "strength": 0.5, "repeats": 1}


@pytest.fixture(autouse=True)
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "FAMILIES", (*load.FAMILIES, *FAMILIES))


@pytest.fixture
def options(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return {"tiles": {"model": str(model_folder(tmp_path / "xl", FakeXL)), **SMALL}}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    Pictures.fromarray(IMAGE).save(tmp_path / "in.png")
    return tmp_path / "in.png"


def session(options: Mapping[str, Any] = {}, **how: Any) -> Session:
    how = {"editor": "painter", "detail": "tiles", "profile": "retouch", **how}
    return Session.of(registry=fake_backends.registry(), planner="arrows", options=options, **how)


def job(source: Path, options: Mapping[str, Any], plan: EditPlan = PLAN, **how: Any) -> PhotoJob:
    regions = [GROUND, BALL][: len(plan.subtasks)]
    return prepare(session(options, **how), photo.read(source), plan, regions, seed=3)


def one_of(subtask: Subtask) -> EditPlan:
    return PLAN.model_copy(update={"subtasks": (subtask,)})


def test_only_what_was_coarse_gets_detail_and_only_inside_its_region(source: Path, options: dict[str, Any]) -> None:
    coarse, fine = job(source, options, detail="off").edit(), job(source, options).edit()
    assert [one.subtask for one in fine.detailed] == [0] and not coarse.detailed
    (told,) = fine.detailed
    assert told.by == "tiles" and told.tiles > 1 and told.coarse > 1.5
    changed = (fine.image != coarse.image).any(axis=2)
    assert changed.any() and not changed[:120].any()
    assert (fine.image[fine.mask == 0] == IMAGE[fine.mask == 0]).all()
    assert fine.log["evaluations"] if "evaluations" in coarse.log else fine.log["detail"]["evaluations"] > 0


@pytest.mark.parametrize("subtasks", [1, 2])
def test_the_layer_gives_the_output_again(source: Path, options: dict[str, Any], subtasks: int) -> None:
    plan = PLAN.model_copy(update={"subtasks": PLAN.subtasks[:subtasks]})
    result = job(source, options, plan).edit()
    assert result.detailed and result.raw.shape == IMAGE.shape
    image, _ = place(IMAGE, edit_layer(result))
    away = np.abs(image.astype(int) - result.image)
    assert away[result.mask == 1].max() <= 1 and away.mean() < 0.5, "but for clipped colours in the soft edge"


def test_where_the_shape_is_kept_the_detail_is_the_photographs_own(source: Path, options: dict[str, Any]) -> None:
    plan = one_of(Subtask(source="grass", target="red grass", attribute="colour"))
    coarse, fine = job(source, options, plan, detail="off").edit(), job(source, options, plan).edit()
    assert fine.detailed[0].by == "photograph" and not fine.detailed[0].tiles and "detail" not in fine.log
    where = np.zeros(IMAGE.shape[:2], bool)
    where[140:230, 10:310] = True
    assert sharpness(coarse.image, where) < 0.2 * sharpness(IMAGE, where) < sharpness(fine.image, where)
    assert fine.detailed[0].sharpness is not None and fine.detailed[0].sharpness[1] < fine.detailed[0].sharpness[2]


@pytest.mark.parametrize(
    ("subtask", "kept"),
    [
        (Subtask(source="a", target="red a", attribute="colour"), True),
        (Subtask(source="a", target="dark a", attribute="tone"), True),
        (Subtask(source="a", target="b", preserve_shape=True), True),
        (Subtask(source="a", target="b", attribute="kind", preserve_shape=True), False),
        (Subtask(source="a", target="b"), False),
        (Subtask(action="remove", source="a"), False),
    ],
)
def test_what_keeps_its_detail(subtask: Subtask, kept: bool) -> None:
    assert keeps_detail(subtask) is kept


def test_an_effect_gets_no_detail(source: Path, options: dict[str, Any]) -> None:
    plan = one_of(Subtask(source="grass", target="blurred grass", attribute="effect"))
    made = job(source, options, plan)
    assert made.edit().detailed == ()


def test_it_is_announced_and_its_steps_are_some_of_all(source: Path, options: dict[str, Any]) -> None:
    made, steps = job(source, options), list[Step]()
    detail = made.detail()
    assert detail is not None and [one.subtask for one in detail.drawn] == [0]
    effort = detail.effort(timed=True)
    result = made.edit(Watch(on_step=steps.append))
    assert len({step.total for step in steps}) == 1
    assert [step.index for step in steps] == list(range(1, steps[0].total + 1))
    assert steps[0].total > effort.steps == sum("detail" in step.values for step in steps)
    assert result.log["detail"]["evaluations"] == effort.rows and (effort.seconds or 0) > 0
    assert job(source, options, detail="off").detail() is None


@pytest.mark.parametrize("stop", [4, 7, 12, 30])
def test_a_stopped_run_goes_on_and_a_replay_is_the_same(
    source: Path, tmp_path: Path, options: dict[str, Any], stop: int
) -> None:
    whole = job(source, options).run(tmp_path / "whole.png")
    asked = iter(range(10_000))
    out = tmp_path / "part.png"
    part = job(source, options).run(out, watch=Watch(should_stop=lambda: next(asked) >= stop))
    assert part.result.stopped and part.state is not None
    resumed = replace(job(source, options), resume=part.state).run(out, overwrite=True)
    assert (resumed.result.image == whole.result.image).all() and not resumed.result.stopped
    assert resumed.record.detailed == whole.record.detailed
    told = records.read_record(tmp_path / "whole.png")
    assert told.detail == "tiles" and [used.name for used in told.helpers] == ["tiles"]
    # Of a local folder a record says only the name; the user's own settings say where it is.
    replayed = again(told, photo.read(source), lambda wanted: session(**(wanted | {"options": options})))
    assert replayed.run(tmp_path / "again.png").written.path.read_bytes() == whole.written.path.read_bytes()


def test_a_state_of_a_run_without_detail_is_anothers(source: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    asked = iter(range(100))
    part = job(source, options).run(tmp_path / "part.png", watch=Watch(should_stop=lambda: next(asked) >= 4))
    with pytest.raises(InputRefused, match="another run"):
        replace(job(source, options, detail="off"), resume=part.state).check()


def test_edits_that_share_a_batch_get_their_detail_too(source: Path, options: dict[str, Any]) -> None:
    plan = one_of(PLAN.subtasks[0])
    alone = job(source, options, plan).edit()
    together = edit_together([job(source, options, plan)])
    (other,) = together
    assert not isinstance(other, Exception) and (other.image == alone.image).all() and other.detailed == alone.detailed


def test_what_was_drawn_is_reused_where_all_is_the_same(
    source: Path, tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAS_CACHE_FOLDER", str(tmp_path / "cache"))
    drawn: list[int] = []
    draw = TilesEditor.edit

    def counted(self: TilesEditor, one: EditJob) -> Edited:
        drawn.append(one.seed)
        return draw(self, one)

    monkeypatch.setattr(TilesEditor, "edit", counted)
    first, again = (job(source, options, cache=True).edit() for _ in range(2))
    assert drawn == [3] and (first.image == again.image).all() and first.detailed == again.detailed
    more = {"tiles": {**options["tiles"], "strength": 0.8}}
    job(source, more, cache=True).edit()
    assert drawn == [3, 3], "drawn anew with another option, on an edit that is reused"


def test_what_cannot_be_is_refused_by_name_before_anything_is_edited(source: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"'nobody'.*no such editor") as caught:
        job(source, options, detail="nobody")
    assert caught.value.remedy and "off, tiles" in caught.value.remedy
    with pytest.raises(UsageError, match=r"'sdedit'.*draws nothing finer"):
        job(source, options, detail="sdedit")
    with pytest.raises(UsageError, match="tiles draws finer what another editor has made"):
        job(source, options, editor="tiles")
    with pytest.raises(UsageError, match="needs a text-to-image model"):
        job(source, {"tiles": {"model": None}})


def test_the_model_is_the_editors_own_where_that_draws(tmp_path: Path) -> None:
    folder = str(model_folder(tmp_path / "xl", FakeXL))

    def model(**how: Any) -> Any:
        made = session(profile="sd15", **how)
        return made.settled("editors", "tiles").options.model_dump()["model"]

    assert model(editor="sdedit", options={"sdedit": {"model": folder}}) == folder
    assert model(editor="sdedit", model=folder) == folder
    assert model(editor="painter") is None, "an editor without a model has none to lend"
    assert model(editor="instruct-pix2pix", model=folder) is None, "a model by instruction is of no use"
    assert (
        model(editor="auto")
        == session(profile="sd15").settled("editors", "ground-a-score").options.model_dump()["model"]
    )
    lent = session(profile="sd15", editor="sdedit", options={"sdedit": {"model": folder, "quantise": "int8"}})
    told = lent.settled("editors", "tiles").options.model_dump()
    assert NamedModel(**{name: told[name] for name in NamedModel.model_fields}) == NamedModel(
        model=folder, quantise="int8"
    ), "with all that is made of it"
    own = {"sdedit": {"model": "other"}, "tiles": {"model": folder}}
    assert model(editor="sdedit", options=own) == folder, "what is said of tiles itself counts"
