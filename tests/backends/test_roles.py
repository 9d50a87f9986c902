"""What is written by hand for the sake of its types agrees with the table of roles."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import gas
from gas import BackendSpec, Registry, hookimpl
from gas.backends import hookspecs
from gas.backends.profiles import Profile
from gas.backends.roles import CHOSEN, EDITORS, GROUNDERS, PROFILES, ROLES, Role, find_role
from gas.errors import UsageError
from gas.interfaces import Backend
from gas.run.record import Record
from gas.settings.settings import Settings, Values


def test_hooks_are_those_of_the_table() -> None:
    hooks = [name for name, one in vars(hookspecs).items() if hasattr(one, "gas_spec")]
    assert hooks == [role.hook for role in ROLES]


@pytest.mark.parametrize("role", CHOSEN, ids=lambda role: role.name)
def test_typed_fields_are_those_of_the_table(role: Role) -> None:
    for kind in (Values, Profile, Record):
        assert role.setting in kind.model_fields, f"{kind.__name__} has no field {role.setting!r}"
        assert ("tuple" in str(kind.model_fields[role.setting].annotation)) is role.several


@pytest.mark.parametrize("role", [role for role in ROLES if role.base], ids=lambda role: role.name)
def test_base_class_is_there_and_public(role: Role) -> None:
    base = role.base_class()
    assert issubclass(base, Backend)
    assert getattr(gas, base.__name__) is base


def test_files_have_no_base_class() -> None:
    with pytest.raises(TypeError, match="profiles are files"):
        PROFILES.base_class()


def test_names_are_those_that_settings_and_profiles_chose() -> None:
    profile = Profile(name="p", planner="a", grounders=("b", "c"), editor="d", verifier="e")
    settings = Settings.of({"grounders": ("f",), "profile": "p"}, find_profile=lambda _: profile)
    assert [role.names(profile) for role in CHOSEN] == [("a",), ("b", "c"), ("d",), ("e",)]
    assert [role.names(settings) for role in CHOSEN] == [("a",), ("f",), ("d",), ("e",)]


def test_unknown_role_suggests_the_nearest() -> None:
    assert find_role("grounders") is GROUNDERS
    with pytest.raises(UsageError, match="unknown role 'editor'; did you mean 'editors'"):
        find_role("editor")


@pytest.mark.parametrize("role", [role for role in ROLES if role.base], ids=lambda role: role.name)
def test_every_role_can_be_registered_and_found(role: Role) -> None:
    def register() -> list[BackendSpec]:
        return [BackendSpec("mine", "colorsys:rgb_to_hsv", "a stranger's")]

    register.__name__ = role.hook
    registry = Registry(plugins="none").add(SimpleNamespace(**{role.hook: hookimpl(register)}))
    assert registry.find(role.plural, "mine").role == role.plural
    assert not registry.broken


def test_the_setting_model_is_the_editors(tmp_path: object) -> None:
    settings = Settings.of({"model": "m", "profile": "p"}, find_profile=lambda _: Profile(name="p", editor="d"))
    assert settings.option_layers(EDITORS.plural, "d")[-1].values == {"model": "m"}
    assert settings.option_layers(GROUNDERS.plural, "d") == []
