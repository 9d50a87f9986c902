"""From a model's reply to a picture: any planner's plan edits the diorama's picture with no other change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planner_cases import CANARY
from typer.testing import CliRunner

import gas_diorama
from gas.plan.file import read_plan
from gas.run import record
from gas.testing.servers import FakeOllama, FakeOpenAI, say

SCENES = Path(gas_diorama.__file__).parent / "scenes"
REQUEST = "change the red car into a blue house"
REPLY = {
    "reasoning": "One thing is asked for.",
    "subtasks": [
        {"action": "change", "source": "a red car", "target": "a blue house", "anchor": "", "preserve_shape": False},
    ],
    "source_prompt": "a red car and a purple balloon on grass under a clear sky",
    "target_prompt": "a blue house and a purple balloon on grass under a clear sky",
    "preserve_shape": False,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("OLLAMA_HOST", "OLLAMA_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gas(*arguments: str) -> None:
    from gas_cli.app import app

    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, (done.output, done.exception)


def edit(*more: str) -> Path:
    mask = f"a red car={SCENES / 'demo-masks' / 'red-car.png'}"
    gas("edit", str(SCENES / "demo.png"), *more, "--profile", "diorama", "--mask", mask, "--grounder", "none",
        "--seed", "1", "--device", "cpu", "-o", "instruct-pix2pix.steps=2", "-o", "out.png")  # fmt: skip
    return Path("out.png")


@pytest.mark.parametrize("planner", ["ollama", "openai", "auto", "rules"])
def test_edit_with_each_planner(planner: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = np.asarray(Image.open(SCENES / "demo.png").convert("RGB"))
    mask = np.asarray(Image.open(SCENES / "demo-masks" / "red-car.png").convert("L"))
    with FakeOllama([say(json.dumps(REPLY))]) as ollama, FakeOpenAI([say(json.dumps(REPLY))]) as openai:
        monkeypatch.setenv("OLLAMA_HOST", ollama.url)
        monkeypatch.setenv("OPENAI_BASE_URL", openai.url)
        monkeypatch.setenv("OPENAI_API_KEY", CANARY)
        flags = ["-o", "openai.model=fake-vision"] if planner == "openai" else []
        out = edit(REQUEST, "--planner", planner, *flags)
        chats = (len(ollama.chats), len(openai.chats))
    assert chats == {"ollama": (1, 0), "openai": (0, 1), "auto": (1, 0), "rules": (0, 0)}[planner]
    changed = (np.asarray(Image.open(out).convert("RGB")) != before).any(axis=2)
    assert changed[mask == 255].mean() > 0.5 and not changed[mask == 0].any()
    told = record.read_record(out)
    assert [(s.source, s.target) for s in told.plan.subtasks] == [("a red car", "a blue house")]
    assert told.plan.provenance.planner == {"auto": "ollama"}.get(planner, planner)


def test_a_planners_plan_is_a_file_that_edits_without_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeOllama([say(json.dumps(REPLY))]) as ollama:
        monkeypatch.setenv("OLLAMA_HOST", ollama.url)
        gas("plan", str(SCENES / "demo.png"), REQUEST, "--planner", "ollama", "-o", "plan.json")
    assert read_plan("plan.json").provenance.planner == "ollama"
    assert record.read_record(edit("--plan", "plan.json")).plan == read_plan("plan.json")
