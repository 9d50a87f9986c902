"""What is typed before and after a command, and what `-o` is called."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import warm_program
from PIL import Image as Pictures
from places import DOCS

from gas.errors import UsageError
from gas_cli import flags
from gas_cli.arguments import arranged

PHOTOGRAPH = DOCS / "photographs" / "coffee.jpg"
CUP = ("change the red cup into a blue cup", "--box", "cup=72,12,484,392", "--profile", "retouch")


def gas(*arguments: str | Path, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return warm_program.gas(*arguments, cwd=folder, env={"GAS_HOME": str(folder / "home"), **environ})


def test_flags_of_gas_itself_may_stand_anywhere() -> None:
    assert arranged(["edit", "a.png", "--quiet", "b"]) == ["--quiet", "edit", "a.png", "b"]
    assert arranged(["models", "ls", "--offline", "--debug"]) == ["--debug", "--offline", "models", "ls"]
    assert arranged(["edit", "a.png", "--", "--quiet"]) == ["edit", "a.png", "--", "--quiet"], "an instruction"


def test_long_names_of_o_say_what_they_mean() -> None:
    def split(*typed: str) -> object:
        values = arranged(typed)
        assert values[::2] == ["-o"] * (len(values) // 2)
        return flags.split_o(values[1::2])

    assert split("--output", "a=b.png") == (Path("a=b.png"), [])
    assert split("--output=a=b.png", "--option=steps=3") == (Path("a=b.png"), [(None, "steps", "3")])
    assert split("-o", "steps=3", "-o", "out.png") == (Path("out.png"), [(None, "steps", "3")])
    with pytest.raises(UsageError, match=r"'out\.png' is not an option of a backend"):
        split("--option", "out.png")
    with pytest.raises(UsageError, match="two outputs"):
        split("--output", "a.png", "-o", "b.png")
    with pytest.raises(UsageError, match="two outputs") as caught:
        split("-o", "auto.table.colour=zone", "-o", "b.png")
    assert "backend.name=value" in caught.value.remedy


def test_a_quiet_command_says_nothing_but_warnings_and_errors(tmp_path: Path) -> None:
    said = gas("edit", PHOTOGRAPH, *CUP, "--output", "a=b.png", "--quiet", folder=tmp_path)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "") and (tmp_path / "a=b.png").exists()
    assert "wrote" in gas("edit", PHOTOGRAPH, *CUP, "-o", "c.png", folder=tmp_path).stderr
    refused = gas("edit", PHOTOGRAPH, *CUP, "--output", "a=b.png", "--quiet", folder=tmp_path)
    assert refused.returncode == 2 and "a=b.png" in refused.stderr
    warned = gas("edit", PHOTOGRAPH, *CUP, "-o", "d.png", "--quiet", folder=tmp_path, GAS_SEDE="3")
    assert warned.returncode == 0 and warned.stderr.count("\n") == 1 and "GAS_SEDE" in warned.stderr


def test_any_command_stays_off_the_network_when_told_to(tmp_path: Path) -> None:
    asked = ("plan", PHOTOGRAPH, "make it blue", "--planner", "openai", "--offline")
    said = gas(*asked, "-o", "model=gpt-4o", folder=tmp_path, OPENAI_API_KEY="none")
    assert said.returncode != 0 and "offline is set" in said.stderr
    pulled = gas("models", "pull", "sd15", "--offline", folder=tmp_path, HF_HOME=str(tmp_path / "hub"))
    assert pulled.returncode != 0 and "offline" in pulled.stderr


def test_commands_are_completed() -> None:
    code = "import sys; sys.argv[0] = 'gas'; from gas_cli.app import main; main()"
    environ = {**os.environ, "_GAS_COMPLETE": "complete_bash", "COMP_WORDS": "gas ed", "COMP_CWORD": "1"}
    said = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=60)
    assert said.stdout.split() == ["edit"]


def test_maps_lie_over_the_picture_with_their_names_and_none_is_there_twice(tmp_path: Path) -> None:
    from gas_cli.maps import Maps

    written: dict[Path, np.ndarray] = {}
    maps = Maps(tmp_path, written.__setitem__)
    picture = np.full((40, 60, 3), 200, np.uint8)
    maps.on_picture(picture)
    half = np.zeros((40, 60), np.float32)
    half[:, 30:] = 1
    maps.add("1-chosen", half)
    maps.add("1-pasted", half.copy())
    maps.add("1-rough", 1 - half)
    assert [path.name for path in written] == ["1-chosen.png", "1-rough.png"] and maps.same == {"1-pasted": "1-chosen"}
    shown = written[tmp_path / "1-chosen.png"]
    assert min(shown.shape[:2]) >= 512
    body = shown[-300:-100]
    dark, light = body[:, 60], body[:, -60]
    assert (dark == 100).all(), "the picture in dim grey"
    assert (light[:, 0] > 200).all() and (light[:, 2] < 60).all()
    assert (shown[:30] < 128).any(), "its name is above"


@pytest.mark.parametrize("columns", ["80", "60"])
def test_tables_fit_the_terminal(columns: str, tmp_path: Path) -> None:
    import pty

    for command in (("backends",), ("backends", "show", "retouch"), ("models", "ls")):
        main, terminal = pty.openpty()
        environ = {**os.environ, "COLUMNS": columns, "GAS_HOME": str(tmp_path), "TERM": "xterm", "NO_COLOR": "1"}
        done = subprocess.Popen(
            [sys.executable, "-m", "gas_cli", *command], stdout=terminal, stderr=subprocess.DEVNULL, env=environ
        )
        os.close(terminal)
        text = b""
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:
                break
            if not part:
                break
            text += part
        assert done.wait() == 0
        lines = re.sub(r"\x1b\[[0-9;]*m", "", text.decode()).splitlines()
        if "show" in command:  # the table alone: what stands beside it is broken by the terminal
            rest = [line.startswith(("-o preset=", "retouch (profile)")) for line in lines].index(True)
            lines = lines[lines.index("options") : rest]
        assert max(map(len, lines)) <= int(columns) and len(lines) > 5, command


def test_a_photograph_is_refused_by_the_diorama_before_torch_is_imported() -> None:
    code = f"""
import sys
import gas
from gas.errors import InputRefused
try:
    gas.edit({str(PHOTOGRAPH)!r}, "make the cup blue", profile="diorama", planner="rules")
except InputRefused as error:
    assert "photograph" in error.message, error.message
else:
    raise SystemExit("not refused")
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_photographs_and_drawings_are_told_apart() -> None:
    from gas_diorama.world.cases import cases
    from gas_diorama.world.looks import is_photograph
    from gas_diorama.world.world import render

    for case in cases(20, "validation"):
        drawing = Pictures.fromarray(render(case.scene))
        for shown in (drawing, drawing.resize((512, 512))):
            assert not is_photograph(np.asarray(shown))
    for path in (DOCS / "photographs").glob("*.jpg"):
        assert is_photograph(np.asarray(Pictures.open(path).convert("RGB"))), path.name


def test_a_backend_whose_packages_are_missing_is_shown_without_its_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gas.backends.registry import Registry
    from gas.errors import ModelUnavailable
    from gas.settings.settings import Settings
    from gas_cli.listing import print_show

    registry = Registry.discover()
    settings = Settings.of({"profile": "diorama"}, find_profile=registry.profile)
    (entry,) = [one for one in registry.entries("editors") if one.spec.name == "zone"]

    def missing(self: object, role: str, name: str) -> object:
        raise ModelUnavailable("zone needs torch")

    monkeypatch.setattr(type(entry), "missing", ("torch",))
    monkeypatch.setattr(Registry, "load", missing)
    print_show(registry, "zone", settings)
    shown = capsys.readouterr().out
    assert "missing: torch" in shown and "once that is installed" in shown and "ZONE" in shown
