"""An edit that runs out of memory is tried again one rung lower, which is said and recorded, until none is left."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_backends
import numpy as np
import pytest
import torch
from PIL import Image as Pictures

from gas import EditPlan, Region, Session, Subtask, placement
from gas.errors import GasError, OutOfMemory, OutOfResources
from gas.interfaces import Edited, EditJob
from gas.picture import photo
from gas.run import record, replay
from gas.run.job import PhotoJob
from gas.testing import fakes
from gas_cli.render import describe_record

IMAGE = np.full((64, 64, 3), 90, np.uint8)
PLAN = EditPlan(subtasks=(Subtask(source="dog", target="tiger"),))
GIVEN = Region("dog", box=(9.0, 9.0, 50.0, 40.0), mask=np.ones((64, 64), np.float32), subtask=0, given=True)
SHORT = OutOfMemory("not enough memory for 6 rows", "a smaller picture")


@pytest.fixture(autouse=True)
def as_if_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU counts as a device with memory of its own, of which enough is free."""
    monkeypatch.setattr(placement, "can_offload", lambda device: True)
    monkeypatch.setattr(placement, "free_memory", lambda device: 10**12)


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Makes the painter need memory: called with the rungs at which it has enough, and what it raises at the others. It
    gives the list of the rungs that were tried."""

    def make(*rungs: str, error: Any = SHORT, where: str = "edit") -> list[str]:
        tried: list[str] = []
        paint = fakes.FakeEditor.edit

        def work(self: Any) -> None:
            self.runtime.shared("networks", lambda: self.runtime.place({"network": torch.nn.Identity()}, "a model"))
            tried.append(self.runtime.rung)
            if self.runtime.rung not in rungs:
                raise error

        def edit(self: Any, job: EditJob) -> Edited:
            if where == "edit":
                work(self)
            return paint(self, job)

        def resolution(self: Any) -> int:
            if where == "resolution":
                work(self)
            return 64

        monkeypatch.setattr(fakes.FakeEditor, "edit", edit)
        monkeypatch.setattr(fakes.FakeEditor, "resolution", resolution)
        return tried

    return make


def session(**settings: Any) -> Session:
    return Session.of(
        registry=fake_backends.registry(),
        planner="arrows",
        grounders=("places",),
        editor="painter",
        profile="diorama",
        device="cpu",
        **settings,
    )


@pytest.mark.parametrize(
    ("rung", "tried"),
    [("all", ["all"]), ("offload", ["all", "offload"]), ("lowest", ["all", "offload", "lowest"])],
)
def test_it_climbs_down_until_it_fits_and_says_so(rung: str, tried: list[str], fits: Any) -> None:
    plain = session().edit(IMAGE, PLAN, [GIVEN], seed=1)
    found = fits(rung)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = session().edit(IMAGE, PLAN, [GIVEN], seed=1)
    assert found == tried and np.array_equal(made.image, plain.image)
    said = [f"not enough memory for 6 rows: tried again with memory {one}" for one in tried[1:]]
    assert [str(one.message) for one in caught] == said
    assert "notes" not in made.log  # a replay begins where this ended, and gives the same record


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "error", [SHORT, torch.OutOfMemoryError("CUDA out of memory"), MemoryError()], ids=["named", "torch's", "Python's"]
)
def test_where_no_rung_fits_it_is_exit_7_and_nothing_is_lost(error: Any, fits: Any) -> None:
    found = fits(error=error)
    with pytest.raises(GasError) as caught:
        session().edit(IMAGE, PLAN, [GIVEN], seed=1)
    assert found == ["all", "offload", "lowest"] and caught.value.exit_code == 7 and caught.value.remedy


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_setting_is_where_it_begins(fits: Any) -> None:
    found = fits("lowest")
    session(memory="offload").edit(IMAGE, PLAN, [GIVEN], seed=1)
    assert found == ["offload", "lowest"]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_model_that_is_loaded_for_its_size_alone_climbs_down_too(fits: Any) -> None:
    found = fits("offload", where="resolution")
    session().edit(IMAGE, PLAN, [GIVEN], seed=1)
    assert found[:2] == ["all", "offload"] and set(found[1:]) == {"offload"}


def test_a_full_disk_is_no_reason_to_try_again(fits: Any) -> None:
    found = fits(error=OutOfResources("the disk is full", "free some"))
    with pytest.raises(OutOfResources, match="disk"):
        session().edit(IMAGE, PLAN, [GIVEN], seed=1)
    assert found == ["all"]


def test_an_editor_without_networks_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def edit(self: Any, job: EditJob) -> Edited:
        calls.append(1)
        raise MemoryError

    monkeypatch.setattr(fakes.FakeEditor, "edit", edit)
    with pytest.raises(OutOfMemory):
        session().edit(IMAGE, PLAN, [GIVEN], seed=1)
    assert len(calls) == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_record_has_the_rung_and_a_replay_begins_there(fits: Any, tmp_path: Path) -> None:
    Pictures.fromarray(np.random.default_rng(1).integers(0, 200, (90, 120, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    picture, found = photo.read(tmp_path / "a.png"), fits("offload", "lowest")
    mask = np.zeros((90, 120), np.float32)
    mask[20:60, 30:80] = 1
    drawn = Region("dog", mask=mask, subtask=0, given=True)
    first = PhotoJob(session(), picture, PLAN, (drawn,), seed=5).run(tmp_path / "b.png")
    assert first.record.memory == "offload" and "memory offload" in "\n".join(describe_record(first.record, {}))
    found.clear()
    again = replay.again(
        record.read_record(first.written.path),
        picture,
        lambda flags: Session.of(registry=fake_backends.registry(), **{"planner": "arrows", **flags}),
    )
    second = again.run(tmp_path / "c.png")
    assert found == ["offload"]
    assert first.written.path.read_bytes() == second.written.path.read_bytes()


def test_what_places_nothing_records_no_rung(tmp_path: Path) -> None:
    Pictures.fromarray(IMAGE).save(tmp_path / "a.png")
    made = PhotoJob(session(), photo.read(tmp_path / "a.png"), PLAN, (GIVEN,), seed=5).run(tmp_path / "b.png")
    assert made.record.memory == "auto" and "memory" not in "\n".join(describe_record(made.record, {}))
