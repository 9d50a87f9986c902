"""A run can be stopped while models are loaded, until there is something to return."""

from __future__ import annotations

from typing import Any

import fake_backends
import numpy as np
import pytest

from gas import EditPlan, Region, Session, Subtask, Watch
from gas.errors import Interrupted
from gas.interfaces import Edited, EditJob, GroundJob
from gas.testing import fakes

IMAGE = np.full((64, 64, 3), 90, np.uint8)
PLAN = EditPlan(subtasks=(Subtask(source="dog", target="tiger"),))
GIVEN = Region("dog", box=(9.0, 9.0, 50.0, 40.0), mask=np.ones((64, 64), np.float32), subtask=0, given=True)


class Stop:
    """A user who asks to stop when `loaded` has so many names."""

    def __init__(self, after: int) -> None:
        self.after, self.loaded = after, list[str]()

    def __call__(self) -> bool:
        return len(self.loaded) >= self.after

    def loader(self, name: str) -> Any:
        def load() -> str:
            self.loaded.append(name)
            return name

        return load


def session() -> Session:
    return Session.of(
        registry=fake_backends.registry(), planner="arrows", grounders=("places",), editor="painter", profile="diorama"
    )


@pytest.mark.parametrize("where", ["resolution", "edit"])
def test_editor_is_stopped_between_two_models(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop(after=2)

    def load(self: Any) -> None:
        for name in ("text encoder", "network", "autoencoder"):
            self.runtime.shared(name, stop.loader(name))

    def resolution(self: Any) -> int:
        if where == "resolution":
            load(self)
        return 64

    def edit(self: Any, job: EditJob) -> Edited:
        load(self)
        raise AssertionError("it went on")

    monkeypatch.setattr(fakes.FakeEditor, "resolution", resolution)
    monkeypatch.setattr(fakes.FakeEditor, "edit", edit)
    with pytest.raises(Interrupted, match="nothing has been made yet") as caught:
        session().edit(IMAGE, PLAN, [GIVEN], seed=1, watch=Watch(should_stop=stop))
    assert stop.loaded == ["text encoder", "network"] and caught.value.exit_code == 130


def test_what_is_loaded_after_the_first_step_throws_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor that needs another model at its end returns what it has."""
    stop = Stop(after=1)
    paint = fakes.FakeEditor.edit

    def edit(self: Any, job: EditJob) -> Edited:
        assert not job.watch.should_stop()
        stop.loader("first step")()
        edited = paint(self, job)
        self.runtime.shared("another model", stop.loader("another model"))
        return edited

    monkeypatch.setattr(fakes.FakeEditor, "edit", edit)
    result = session().edit(IMAGE, PLAN, [GIVEN], seed=1, watch=Watch(should_stop=stop))
    assert result.stopped and stop.loaded == ["first step", "another model"]


def test_grounder_is_stopped_between_two_models(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop(after=1)

    def ground(self: Any, job: GroundJob) -> list[Region]:
        for name in ("one", "two"):
            self.runtime.shared(name, stop.loader(name))
        return []

    monkeypatch.setattr(fakes.FakeGrounder, "ground", ground)
    with pytest.raises(Interrupted):
        session().ground(IMAGE, PLAN, required=True, watch=Watch(should_stop=stop))
    assert stop.loaded == ["one"]


def test_stable_diffusion_is_stopped_between_its_parts(tiny_sd: Any) -> None:
    pytest.importorskip("diffusers")
    from gas import Runtime
    from gas.diffusion.load import load_backbone
    from gas.process import loading_stops_when

    asked: list[bool] = []

    def stop() -> bool:
        asked.append(True)
        return len(asked) > 3

    with loading_stops_when(stop), pytest.raises(Interrupted):
        load_backbone(str(tiny_sd), Runtime(device="cpu"))
    assert len(asked) == 4
