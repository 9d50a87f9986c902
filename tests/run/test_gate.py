"""What sends pictures to another machine is used only if the user named it, whatever its role."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_backends
import numpy as np
import pytest

from gas import EditRequest, Region, Session
from gas.backends.profiles import Profile
from gas.backends.roles import CHOSEN, EDITORS, Role
from gas.errors import ObjectNotFound, UsageError
from gas.settings.settings import Settings
from gas.testing import fakes
from gas.types import EditPlan, Subtask

PROFILE = Profile(
    name="away",
    planner="arrows",
    grounders=("places",),
    editor="painter",
    verifier="colour-eye",
    options={"places": {"boxes": {"dog": (0.2, 0.2, 0.7, 0.7)}}},
)
IMAGE = np.full((60, 80, 3), 90, np.uint8)
PLAN = EditPlan(subtasks=(Subtask(source="dog", target="tiger"),))
GIVEN = Region("dog", box=(10.0, 10.0, 50.0, 40.0), mask=np.ones((60, 80), np.float32), subtask=0, given=True)
CLASSES = {
    "planner": fakes.FakePlanner,
    "grounder": fakes.FakeGrounder,
    "editor": fakes.FakeEditor,
    "verifier": fakes.FakeVerifier,
}
NAMES: dict[str, Any] = {"planner": "arrows", "grounders": ("places",), "editor": "painter", "verifier": "colour-eye"}
USES: dict[str, Callable[[Session], Any]] = {
    "planner": lambda session: session.plan(EditRequest(IMAGE, "dog -> tiger")),
    "grounder": lambda session: session.ground(IMAGE, PLAN, required=True),
    "editor": lambda session: session.edit(IMAGE, PLAN, [GIVEN], seed=1),
    "verifier": lambda session: session.verify(IMAGE, IMAGE + 9, PLAN, [GIVEN]),
}


def session(tmp_path: Path, environ: dict[str, str] | None = None, **flags: Any) -> Session:
    registry = fake_backends.registry()
    settings = Settings.load(
        {"profile": "away", **flags},
        find_profile=lambda name: PROFILE,
        environ={"GAS_HOME": str(tmp_path / "home"), "GAS_CACHE": "false", **(environ or {})},
        folder=tmp_path,
    )
    return Session(settings, registry)


@pytest.fixture(params=CHOSEN, ids=lambda role: role.name)
def role(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Role:
    """A role whose fake sends pictures away."""
    monkeypatch.setattr(CLASSES[request.param.name], "remote", property(lambda self: True))
    return request.param


def test_profile_may_not_choose_what_sends_the_picture_away(role: Role, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sends the picture to another machine") as caught:
        USES[role.name](session(tmp_path))
    assert caught.value.exit_code == 2
    assert f"{role.name} " in caught.value.message and "chosen by profile away, not by you" in caught.value.message
    assert f"{role.setting}=" in caught.value.remedy
    assert "; or stay here: " in caught.value.remedy, "the first of the toolkit's own that sends nothing is named"


def test_folder_may_not_choose_it_either(role: Role, tmp_path: Path) -> None:
    value = NAMES[role.setting]
    (tmp_path / "gas.toml").write_text(f"{role.setting} = {list(value) if role.several else value!r}\nprofile = 'away'")
    with pytest.raises(UsageError, match=r"chosen by .*gas\.toml, not by you"):
        USES[role.name](session(tmp_path, profile=None))


def test_user_may(role: Role, tmp_path: Path) -> None:
    name = NAMES[role.setting]
    assert USES[role.name](session(tmp_path, **{role.setting: name}))
    text = ",".join(name) if role.several else name
    assert USES[role.name](session(tmp_path, {f"GAS_{role.setting.upper()}": text}))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text(f"{role.setting} = {list(name) if role.several else name!r}")
    plain = Settings.load(
        {},
        find_profile=lambda name: PROFILE,
        environ={"GAS_HOME": str(tmp_path / "home"), "GAS_CACHE": "false"},
        default_profile=lambda model: ("away", "default"),
    )
    assert USES[role.name](Session(plain, fake_backends.registry()))


def test_record_may_not(role: Role) -> None:
    recorded = {"profile": "away", **NAMES}

    def again(**flags: Any) -> Session:
        settings = Settings.of(flags, find_profile=lambda name: PROFILE, recorded=recorded)
        return Session(settings, fake_backends.registry())

    with pytest.raises(UsageError, match="chosen by the record, not by you"):
        USES[role.name](again())
    assert USES[role.name](again(**{role.setting: NAMES[role.setting]}))


def test_looking_at_what_a_backend_says_of_itself_is_always_allowed(role: Role, tmp_path: Path) -> None:
    chosen = session(tmp_path)
    for name in role.names(chosen.settings):
        assert chosen.backend(role.plural, name).remote
        assert not chosen.backend(role.plural, name).preview(None).complete


def test_segmenter_that_sends_pictures_is_not_handed_to_an_editor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fakes.FakeGrounder, "remote", property(lambda self: True))
    with pytest.raises(UsageError, match="grounder 'places' sends the picture"):
        session(tmp_path).edit(IMAGE, PLAN, [GIVEN], seed=1)
    assert session(tmp_path, grounders=("places",)).edit(IMAGE, PLAN, [GIVEN], seed=1)


def test_remote_editor_is_not_asked_about_a_picture_in_which_nothing_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sent(self: Any, image: Any) -> None:
        raise AssertionError("the picture was sent")

    monkeypatch.setattr(fakes.FakeEditor, "remote", property(lambda self: True))
    monkeypatch.setattr(fakes.FakeEditor, "check", sent)
    cat = EditPlan(subtasks=(Subtask(source="cat", target="tiger"),))
    with pytest.raises(ObjectNotFound):
        session(tmp_path).ground(IMAGE, cat, required=True)


def test_addresses_of_services_are_not_taken_from_a_record() -> None:
    options = {"painter": {"steps": 3, "base_url": "http://evil", "server": "x"}}
    settings = Settings.of({}, find_profile=lambda name: PROFILE, recorded={"profile": "away", "options": options})
    (layer,) = settings.option_layers(EDITORS.plural, "painter")
    assert (layer.origin, dict(layer.values)) == ("the record", {"steps": 3})
