"""`gas batch`: the installed program, on pictures that need no model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import warm_program
from PIL import Image as Pictures

from gas.batch.ledger import entries

RED = {"cup": ["20%", "20%", "70%", "70%"]}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    for number in range(4):
        pixels = np.random.default_rng(number).integers(90, 120, (60, 80, 3), dtype=np.uint8)
        pixels[12:42, 16:56] = (200, 30 + number, 30)
        (tmp_path / "in").mkdir(exist_ok=True)
        Pictures.fromarray(pixels).save(tmp_path / "in" / f"p{number}.png")
    return tmp_path


def environment(here: Path) -> dict[str, str]:
    return {"GAS_HOME": str(here / "home"), "GAS_PLUGINS": "none", "COLUMNS": "200"}


def start(here: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gas_cli", "batch", *arguments]
    environ, pipe = {**os.environ, **environment(here)}, subprocess.PIPE
    return subprocess.Popen(command, cwd=here, env=environ, text=True, stdout=pipe, stderr=pipe)


def gas(here: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    done = warm_program.gas("batch", *arguments, cwd=here, env=environment(here))
    assert "Traceback" not in done.stderr and "internal error" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def manifest(here: Path, *rows: dict[str, Any]) -> str:
    (here / "in" / "jobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "in/jobs.jsonl"


def row(number: int = 0, **more: Any) -> dict[str, Any]:
    return {"image": f"p{number}.png", "instruction": "make the red cup blue", "boxes": RED, **more}


def test_a_folder_and_an_instruction(here: Path) -> None:
    code, out, error = gas(here, "in", "make it a little darker", "-o", "out", "--profile", "retouch")
    assert code == 0 and out == "", error
    assert "4 of 4 to do; retouch" in error and "4 done, 0 failed" in error
    for number in range(4):
        before, after = (np.asarray(Pictures.open(here / where / f"p{number}.png")) for where in ("in", "out"))
        assert after.mean() < before.mean()
        assert (here / "out" / f"p{number}.png.gas.json").exists()
    assert (here / "out" / "index.html").exists()
    code, out, error = gas(here, "in", "make it a little darker", "-o", "out", "--profile", "retouch", "--json")
    assert code == 0 and "0 of 4 to do, 4 done already" in error
    (line,) = map(json.loads, out.splitlines())
    assert line["data"]["before"] == 4 and line["data"]["done"] == 0
    code, out, error = gas(
        here, "in", "make it a little darker", "-o", "out", "-o", "nonsense=0.5", "--profile", "retouch"
    )
    assert code == 2 and "nonsense" in error


def test_failed_items_are_named_with_flags_and_the_code_is_10(here: Path) -> None:
    listed = manifest(here, row(), row(1, image="gone.png"), row(2, boxes=None, instruction="make the unicorn blue"))
    code, out, error = gas(here, listed, "-o", "out", "--profile", "retouch", "--json", "--workers", "1")
    assert code == 10, error
    lines = [json.loads(line) for line in out.splitlines()]
    items = {line["item"]["item"]: line["item"] for line in lines if "item" in line}
    assert {name: (one["status"], one["exit_code"]) for name, one in items.items()} == {
        "p0.png": ("done", 0), "gone.png": ("failed", 3), "p2.png": ("failed", 5),
    }  # fmt: skip
    assert "--box" in items["p2.png"]["remedy"]
    assert lines[-2]["data"]["failed"] == 2 and lines[-1]["error"]["exit_code"] == 10
    code, _, error = gas(here, listed, "-o", "out", "--profile", "retouch", "--skip-failed")
    assert code == 10 and "2 failed before and left alone" in error and "failed: " not in error
    code, _, error = gas(here, listed, "-o", "out", "--profile", "retouch", "--fail-fast", "--workers", "1")
    assert code == 10 and "2 tried again" in error
    assert "failed: gone.png: there is no such file" in error, "its name once"


def test_items_are_verified_by_flags_and_columns(here: Path) -> None:
    listed = manifest(here, row(), row(1, verify=False))
    arguments = [listed, "-o", "out", "--profile", "retouch", "--verifier", "pixels", "--json"]
    arguments += ["--workers", "1"]
    code, out, error = gas(here, *arguments, "--tries", "2")
    assert code == 0, error
    items = {line["item"]["item"]: line["item"] for line in map(json.loads, out.splitlines()) if "item" in line}
    (verdict,) = items["p0.png"]["verdicts"]
    assert verdict["verdict"] == "cannot tell" and verdict["by"] == "pixels" and items["p1.png"]["verdicts"] == []
    code, _, error = gas(here, *arguments, "--no-verify")
    assert code == 0 and "1 done already" in error and "1 made again" in error
    code, _, error = gas(here, listed, "-o", "other", "--profile", "retouch", "--verify", "--budget", "much")
    assert code == 2 and "budget" in error and not (here / "other").exists()


def test_a_bad_manifest_runs_nothing(here: Path) -> None:
    listed = manifest(here, row(), {"image": "p1.png"}, row(2, image="../p.png"), row(3, out="../x.png"))
    code, _, error = gas(here, listed, "-o", "out", "--profile", "retouch")
    assert code == 3 and "line 2: " in error and not (here / "out").exists()
    listed = manifest(here, row(), row(2, image="../p.png"), row(3, out="../x.png"))
    code, _, error = gas(here, listed, "-o", "out", "--profile", "retouch")
    assert code == 3 and "line 2: " in error and "line 3: " in error and "--allow-outside" in error
    assert not (here / "out").exists()


@pytest.mark.parametrize(("arguments", "code", "words"), [
    (["in", "make it darker"], 2, "--output"),
    (["in", "-o", "out"], 2, "no instruction"),
    (["in", "x", "-o", "out", "--shard", "5/4"], 2, "write 3/16"),
    (["in", "x", "-o", "out", "--profile", "sd15"], 6, "not downloaded yet"),
    (["in", "x", "-o", "out", "--editor", "paynter"], 2, "unknown editor"),
    ([], 2, "gas batch --template"),
    (["jobs.txt", "-o", "out"], 2, "unknown extension"),
    (["jobs.jsonl", "-o", "out"], 3, "there is no such file"),
])  # fmt: skip
def test_what_cannot_be_done_is_said_before_anything_is(
    here: Path, arguments: list[str], code: int, words: str
) -> None:
    found, _, error = gas(here, *arguments)
    assert found == code and words in error, error
    assert not (here / "out").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_batch_that_is_stopped_keeps_what_is_done(here: Path, number: signal.Signals, code: int) -> None:
    listed = manifest(here, *(row(index % 4, seed=index) for index in range(30)))
    process = start(here, listed, "-o", "out", "--profile", "retouch", "--json", "--workers", "1")
    assert process.stdout is not None
    assert "item" in json.loads(process.stdout.readline())
    began = time.monotonic()
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    assert process.returncode == code, error
    assert time.monotonic() - began < 10
    told = 1 + sum("item" in json.loads(line) for line in out.splitlines())
    assert len(list(entries(here / "out" / "ledger"))) == told < 30
    assert (here / "out" / "index.html").exists() and "stopping; what is done is kept" in error
    assert not list((here / "out").glob(".*"))
    code, _, error = gas(here, listed, "-o", "out", "--profile", "retouch", "--workers", "1")
    assert code == 0 and f"{30 - told} of 30 to do, {told} done already" in error


def test_the_template_can_be_filled_in(here: Path) -> None:
    code, out, _ = gas(here, "--template")
    assert code == 0 and json.loads(out.splitlines()[0])["image"] == "photos/first.jpg"


def test_parts_are_sent_as_an_array_and_make_the_whole(here: Path) -> None:
    pytest.importorskip("submitit")
    arguments = ["in", "make it a little darker", "-o", "out", "--profile", "retouch", "--workers", "1"]
    code, out, error = gas(here, *arguments, "--submit", "2", "--cluster", "local", "--slurm", "timeout_min=5")
    assert code == 0 and len(out.split()) == 2, error
    until = time.monotonic() + 120
    while len({entry.item for entry in entries(here / "out" / "ledger")}) < 4:
        assert time.monotonic() < until, [p.read_text() for p in (here / "out" / "ledger" / "slurm").glob("*.err")]
        time.sleep(0.2)
    assert {path.name for path in (here / "out" / "ledger").glob("part-*")} == {"part-1.jsonl", "part-2.jsonl"}
    code, _, error = gas(here, *arguments)
    assert code == 0 and "4 done already" in error
