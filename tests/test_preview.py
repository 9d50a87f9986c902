"""What would be sent, for people and machines; and what a backend says that has written nothing of its own."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gas import EditRequest, Planner, Runtime
from gas.errors import UsageError
from gas.interfaces import Options
from gas.preview import Message, Preview
from gas.testing.fakes import FakePlanner, FakePlannerOptions
from gas.types import EditPlan, Suggestions

REQUEST = EditRequest(np.zeros((8, 8, 3), np.uint8), "dog -> tiger")


class Distant(FakePlanner):
    @property
    def remote(self) -> bool:
        return True


def test_default_tells_the_truth() -> None:
    here = FakePlanner(FakePlannerOptions(), Runtime()).preview(REQUEST)
    assert here == Preview() and "nothing is sent" in "\n".join(here.lines("planner", "arrows"))
    away = Distant(FakePlannerOptions(), Runtime()).preview(REQUEST)
    assert away.remote and not away.complete
    text = "\n".join(away.lines("planner", "distant"))
    assert "the picture is sent to another machine" in text and "cannot show" in text and "nothing is sent" not in text


def test_lines_show_everything() -> None:
    sent = Preview(
        address="https://service.example",
        remote=True,
        model="eye-1",
        key="$EYE_API_KEY",
        picture="JPEG, 768x512",
        messages=(Message("system", "you plan"), Message("user", "dog -> tiger", with_picture=True)),
        calls=3,
        note="chosen",
    )
    assert sent.lines("planner", "eye") == [
        "planner  eye",
        "note     chosen",
        "to       https://service.example (another machine), at most 3 calls",
        "model    eye-1",
        "key      $EYE_API_KEY",
        "picture  JPEG, 768x512",
        "",
        "--- system ---",
        "you plan",
        "",
        "--- user, with the picture ---",
        "dog -> tiger",
    ]
    plain = json.loads(json.dumps(sent.as_json("planner", "eye")))
    assert plain["planner"] == "eye" and plain["remote"] is True and plain["calls"] == 3
    assert plain["messages"][1] == {"role": "user", "text": "dog -> tiger", "with_picture": True}


def test_once_is_one_call() -> None:
    assert "(this machine), at most 1 call" in Preview(address="http://localhost").lines("editor", "e")[1]


def test_a_planner_that_sees_nothing_refuses_to_suggest() -> None:
    with pytest.raises(UsageError, match="FakePlanner sees no pictures"):
        FakePlanner(FakePlannerOptions(), Runtime()).suggest(REQUEST.image)


def test_suggestions_through_a_session(tmp_path: Any) -> None:
    from types import SimpleNamespace

    from gas import BackendSpec, Registry, Session, hookimpl
    from gas.backends.profiles import Profile
    from gas.settings.settings import Settings

    @hookimpl
    def gas_register_planners() -> list[BackendSpec]:
        return [BackendSpec("eye", f"{__name__}:Seeing", "sees")]

    registry = Registry(plugins="none").add(SimpleNamespace(gas_register_planners=gas_register_planners))
    profile = Profile(name="p", planner="eye", editor="dds")

    def session(**flags: Any) -> Session:
        return Session(Settings.of({"profile": "p", **flags}, find_profile=lambda _: profile), registry)

    assert session().suggest(REQUEST.image, "a dog", ["x"]).request == "a dog, not x"
    with pytest.raises(UsageError, match="planner 'rules' sees no pictures") as caught:
        session(planner="rules").suggest(REQUEST.image)
    assert 'planner="eye"' in caught.value.remedy and 'planner="rules"' not in caught.value.remedy


class Seeing(Planner[Options]):
    suggests = True

    def plan(self, request: EditRequest) -> EditPlan:
        raise NotImplementedError

    def suggest(self, image: Any, caption: str | None = None, avoid: Any = ()) -> Suggestions:
        return Suggestions(suggestions=(), request=f"{caption}, not {avoid[0]}", planner="eye")
