"""`gas replay` and `gas edit --resume` of somebody else's file: it names no model or profile that is then fetched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_cli import Said, edit, gas, here  # noqa: F401 (the last two are fixtures)

from gas.checkpoint import save_state

STRANGE = {"editor": {"name": "dds", "options": {"model": "some-body/some-model"}}}


@pytest.fixture(autouse=True)
def no_network(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    import huggingface_hub

    def refuse(*arguments: Any, **named: Any) -> None:
        if not named.get("local_files_only"):
            raise AssertionError("the hub was asked")
        from huggingface_hub.errors import LocalEntryNotFoundError

        raise LocalEntryNotFoundError("not here")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(here / "hub"))


@pytest.fixture
def replay(gas: Callable[..., Said], here: Path) -> Callable[..., Said]:  # noqa: F811
    """What `gas replay` says of a record with `changes`."""
    assert gas(*edit("-o", "a.png")).code == 0
    record = json.loads((here / "a.png.gas.json").read_text())

    def call(changes: dict[str, Any], *more: str) -> Said:
        (here / "theirs.json").write_text(json.dumps({**record, **changes}))
        return gas("replay", "theirs.json", "--input", "dog.png", "-o", "b.png", *more)

    return call


def test_a_model_that_only_the_record_names_is_not_used(replay: Callable[..., Said]) -> None:
    said = replay(STRANGE)
    assert said.code == 6 and "'some-body/some-model'" in said.err
    assert "--allow-model" in said.err and "--model" in said.err.replace("--allow-model", "")


@pytest.mark.parametrize("model", ["x/y@../../z", "no such: model", "\x1b[2J/evil"])
def test_what_can_be_no_model_is_refused_in_the_same_way(replay: Callable[..., Said], model: str) -> None:
    said = replay({"editor": {"name": "dds", "options": {"model": model}}})
    assert said.code == 6 and "--allow-model" in said.err and "\x1b" not in said.err


def test_a_grounders_model_counts_too(replay: Callable[..., Said]) -> None:
    said = replay({"grounders": [{"name": "owlv2", "options": {"model": "some-body/some-model"}}]})
    assert said.code == 6 and "--allow-model" in said.err


def test_the_user_may_trust_the_record_and_still_nothing_is_fetched(replay: Callable[..., Said]) -> None:
    said = replay(STRANGE, "--allow-model")
    assert said.code == 6 and "--allow-model" not in said.err and "gas models pull some-body/some-model" in said.err


def test_a_model_of_the_users_own_takes_the_place_of_the_records(replay: Callable[..., Said], here: Path) -> None:  # noqa: F811
    (here / "mine").mkdir()
    said = replay(STRANGE, "--model", "mine")
    assert said.code == 6 and "--allow-model" not in said.err and "mine" in said.err


def test_a_model_that_a_profile_names_is_known(replay: Callable[..., Said]) -> None:
    said = replay({"editor": {"name": "dds", "options": {"model": "stable-diffusion-v1-5/stable-diffusion-v1-5"}}})
    assert said.code == 6 and "--allow-model" not in said.err and "gas models pull" in said.err


def test_a_model_in_the_hubs_cache_is_here(replay: Callable[..., Said], here: Path) -> None:  # noqa: F811
    (here / "hub" / "models--some-body--some-model" / "snapshots" / "main").mkdir(parents=True)
    assert "--allow-model" not in replay(STRANGE).err


def test_a_profile_is_a_known_name_and_no_file(replay: Callable[..., Said], here: Path) -> None:  # noqa: F811
    (here / "theirs.toml").write_text('editor = "painter"\n')
    assert replay({"profile": "theirs.toml"}).code == 3
    said = replay({"profile": "theirs"})
    assert said.code == 6 and "'theirs'" in said.err and "--profile" in said.err


def test_a_resumed_run_is_a_strangers_record_too(gas: Callable[..., Said], here: Path) -> None:  # noqa: F811
    assert gas(*edit("-o", "a.png")).code == 0
    record = json.loads((here / "a.png.gas.json").read_text()) | STRANGE
    save_state(here / "b.png.gas-state", {}, digest="d", record=json.dumps(record))
    said = gas("edit", "dog.png", "--resume", "b.png.gas-state")
    assert said.code == 6 and "--allow-model" in said.err
    assert "--allow-model" not in gas("edit", "dog.png", "--resume", "b.png.gas-state", "--allow-model").err
