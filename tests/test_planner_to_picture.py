"""From a model's reply to a picture: the plan of any planner goes through the same pipeline, with no other change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from planner_cases import CANARY
from typer.testing import CliRunner

from gas import record
from gas.testing.servers import FakeOllama, FakeOpenAI, say

REPLY = {
    "reasoning": "One thing is asked for.",
    "subtasks": [
        {"action": "change", "source": "a red box", "target": "a blue ball", "anchor": "", "preserve_shape": False},
    ],
    "source_prompt": "a red box on grass",
    "target_prompt": "a blue ball on grass",
    "preserve_shape": False,
}


@pytest.fixture
def picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("OLLAMA_HOST", "OLLAMA_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "box.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)).save(path)
    return path


def edit(picture: Path, model: Path, *flags: str) -> Path:
    from gas_cli.app import app

    out = picture.with_name("out.png")
    told = ["edit", str(picture), "change the red box into a blue ball", "--profile", "sd15", "--model", str(model)]
    told += [
        "--editor",
        "dds",
        "--grounder",
        "none",
        "-o",
        "steps=2",
        "--box",
        "a red box=20,20,90,90",
        "--seed",
        "1",
        "--device",
        "cpu",
        "-o",
        str(out),
        *flags,
    ]
    done = CliRunner().invoke(app, told)
    assert done.exit_code == 0, (done.output, done.exception)
    return out


@pytest.mark.parametrize("planner", ["ollama", "openai", "auto", "rules"])
def test_edit_with_each_planner(planner, picture, tiny_sd, monkeypatch):
    before = np.asarray(Image.open(picture))
    with FakeOllama([say(json.dumps(REPLY))]) as ollama, FakeOpenAI([say(json.dumps(REPLY))]) as openai:
        monkeypatch.setenv("OLLAMA_HOST", ollama.url)
        monkeypatch.setenv("OPENAI_BASE_URL", openai.url)
        monkeypatch.setenv("OPENAI_API_KEY", CANARY)
        flags = ["-o", "openai.model=fake-vision"] if planner == "openai" else []
        out = edit(picture, tiny_sd, "--planner", planner, *flags)
        chats = (len(ollama.chats), len(openai.chats))
    assert chats == {"ollama": (1, 0), "openai": (0, 1), "auto": (1, 0), "rules": (0, 0)}[planner]
    after = np.asarray(Image.open(out))
    assert after.shape == before.shape
    changed = (after != before).any(axis=2)
    assert changed[30:80, 30:80].mean() > 0.5 and not changed[:15].any()
    told = record.read_record(out)
    assert [(s.source, s.target) for s in told.plan.subtasks] == [("a red box", "a blue ball")]
    assert told.plan.provenance.planner == {"auto": "ollama"}.get(planner, planner)
    for path in picture.parent.rglob("*"):
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path
