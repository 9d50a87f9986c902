"""Starting is quick because nothing heavy is imported: a slow start shows here as a module's name, not as a number."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "transformers", "diffusers", "accelerate", "safetensors", "huggingface_hub")
HEAVY += ("openai", "ollama", "skimage", "sklearn")
REPORT = (
    "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})), file=sys.stderr)"
)


def modules_after(code: str, tmp_path: Path) -> set[str]:
    env = {**os.environ, "GAS_HOME": str(tmp_path), "GAS_PLUGINS": "none"}
    started = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\n{REPORT}"], env=env, capture_output=True, text=True, timeout=240
    )
    print(f"{code.splitlines()[0]}: {time.perf_counter() - started:.2f} s")
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stderr.strip().splitlines()[-1]))


def command(*arguments: str) -> str:
    return (
        f"import sys; sys.argv = ['gas', *{arguments!r}]\n"
        "from gas_cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as e:\n    assert not e.code, e.code"
    )


def test_import_gas_is_light(tmp_path: Path) -> None:
    there = modules_after("import gas", tmp_path)
    assert not there & {*HEAVY, "numpy", "PIL", "scipy", "pydantic", "pluggy", "rich", "typer"}


def test_every_public_name_is_there() -> None:
    import gas

    for name in gas.__all__:
        assert getattr(gas, name) is not None
    assert set(dir(gas)) >= set(gas.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = gas.nonsense


def test_registering_is_light(tmp_path: Path) -> None:
    code = "import gas_planners, gas_grounders, gas_editors, gas_diorama"
    assert not modules_after(code, tmp_path) & {*HEAVY, "numpy", "PIL", "scipy", "pydantic"}


@pytest.mark.parametrize("arguments", [
    ("--help",), ("edit", "--help"), ("--version",), ("backends",), ("backends", "editors", "--json"), ("bench",),
    ("bench", "--help"), ("bench", "diorama", "--help"),
])  # fmt: skip
def test_commands_that_only_tell_are_light(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert not modules_after(command(*arguments), tmp_path) & set(HEAVY)


def test_help_looks_at_no_plugin(tmp_path: Path) -> None:
    there = modules_after(command("--help"), tmp_path)
    assert not there & {"pydantic", "numpy", "PIL"}
    assert not {name for name in there if name.startswith("gas_")} - {"gas_cli", "gas_shell"}


def test_planning_by_rules_is_light(tmp_path: Path) -> None:
    code = (
        "from gas import Registry, Runtime, EditRequest\n"
        "planner = Registry.discover().create('planners', 'rules', {}, Runtime())\n"
        "assert planner.plan(EditRequest(None, 'change the cat into a dog')).subtasks[0].target"
    )
    assert not modules_after(code, tmp_path) & set(HEAVY)


@pytest.mark.parametrize("arguments", [
    (), ("nonsense",), ("edit", "--nonsense"), ("edit", "in.png", "--seed", "many"), ("backends", "nonsense"),
    ("backends", "show"), ("backends", "show", "nonsense"), ("bench", "nonsense"), ("bench", "speed", "--nonsense"),
])  # fmt: skip
def test_wrong_command_lines_are_exit_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    env = {**os.environ, "GAS_HOME": str(tmp_path), "GAS_PLUGINS": "none"}
    command_line = [sys.executable, "-m", "gas_cli", *arguments]
    result = subprocess.run(command_line, env=env, capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert "internal error" not in result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) <= 2 and (not arguments or lines[0].startswith("error: "))


def test_the_page_is_ready_without_a_model_library(tmp_path: Path) -> None:
    code = (
        "import gas_ui.serve\n"
        "from gas_ui.desk import Desk\n"
        "from gas_ui.describe import window_state\n"
        "from gas_ui.choices import choices\n"
        "desk = Desk()\n"
        "window = desk.open_window()\n"
        "assert desk.examples and choices(desk.registry)['editor']\n"
        "window.add_picture(desk.examples[0].path)\n"
        "assert window_state(window, desk.tasks)['chosen']['profile']\n"
        "desk.close()"
    )
    assert not modules_after(code, tmp_path) & set(HEAVY)
