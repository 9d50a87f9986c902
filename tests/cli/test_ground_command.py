"""`gas ground` as a user runs it: the trained chain on the diorama, and untrained networks of the real classes on real
photographs, which prove that everything is wired up and nothing about what is found."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import skimage
from PIL import Image
from places import DOCS
from tiny_detectors import build_tiny_grounding_dino, build_tiny_sam
from warm_program import gas

import gas_diorama

SCENES = Path(gas_diorama.__file__).parent / "scenes"
REQUEST = "change the red car into a blue house, change the grass into snow, change the clear sky into a sunset sky"


def test_the_diorama_finds_its_own_things(tmp_path: Path) -> None:
    done = gas("ground", SCENES / "demo.png", REQUEST, "--profile", "diorama", "--planner", "rules",
               "--grow", "0", "-o", "out", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    for found, exact in (("red-car", "red-car"), ("grass", "grass"), ("clear-sky", "clear-sky")):
        (mask,) = (tmp_path / "out").glob(f"*{found}.png")
        a = np.asarray(Image.open(mask).convert("L")) > 127
        b = np.asarray(Image.open(SCENES / "demo-masks" / f"{exact}.png")) > 127
        assert (a & b).sum() > 0.9 * a.sum(), f"{found} lies in the exact region"
    assert np.asarray(Image.open(tmp_path / "out" / "overlay.png")).shape[0] >= 512


def test_what_is_not_there_ends_the_run_with_its_score(tmp_path: Path) -> None:
    done = gas("ground", SCENES / "demo.png", "change the green igloo into a white tent", "--profile", "diorama",
               "--planner", "rules", "-o", "out", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 5
    assert "green igloo" in done.stderr and "0.35" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_it_shows_how_fine_an_editor_works_on_a_model_of_ones_own(tmp_path: Path) -> None:
    words = ("ground", SCENES / "demo.png", "change the red car into a blue house", "--profile", "diorama")
    for model, said in (
        ("package:gas_diorama/weights/sd", "an edit with dds works on them: a red car at 1:1"),
        ("./nowhere", "the working pictures are not shown: model './nowhere' is not there"),
    ):
        done = gas(*words, "--editor", "dds", "--model", model, "-o", "out", "--overwrite", cwd=tmp_path)
        assert done.returncode == 0 and said in " ".join((done.stdout + done.stderr).split())


@pytest.mark.parametrize("command", ["edit", "ground"])
def test_a_photograph_is_refused_with_the_command_that_gets_a_model_for_it(tmp_path: Path, command: str) -> None:
    photograph = Path(skimage.__file__).parent / "data" / "astronaut.png"
    done = gas(
        command, photograph, "make the woman a robot", "--profile", "diorama", "--planner", "rules", "-o", "out.png",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    why = {"edit": "this is a photograph", "ground": "not of the kind that this model knows"}
    assert why[command] in done.stderr and "gas models pull sd15" in done.stderr
    assert not (tmp_path / "out.png").exists()


def test_without_a_model_a_photograph_is_retouched_and_the_rest_refused_by_name(tmp_path: Path) -> None:
    photograph = DOCS / "photographs" / "coffee.jpg"
    request = "change the red cup into a blue cup"
    done = gas("edit", photograph, request, "--box", "cup=72,12,484,392", "-o", "out.jpg", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "retouch (retouch, default; what needs a model: gas models pull sd15 (5.3 GB))" in done.stderr
    blue = np.asarray(Image.open(tmp_path / "out.jpg"))[200, 120].astype(int)
    assert blue[2] > 2 * blue[0]
    done = gas("edit", photograph, "change the cup into a tiger", "-o", "tiger.jpg", cwd=tmp_path)
    assert done.returncode == 6
    assert done.stderr.splitlines()[-1] == "gas models pull sd15 (5.3 GB, a GPU is advised), then --profile sd15"
    assert "'a tiger'" in done.stderr and not (tmp_path / "tiger.jpg").exists()


def _photographs() -> list[Path]:
    found = [Path(skimage.__file__).parent / "data" / "astronaut.png"]
    spec = find_spec("ultralytics")
    if spec is not None and spec.origin is not None:
        found.append(Path(spec.origin).parent / "assets" / "bus.jpg")
    return found


@pytest.mark.parametrize("photograph", _photographs(), ids=lambda path: path.stem)
def test_real_photographs_through_both_networks(tmp_path: Path, photograph: Path) -> None:
    dino, sam = build_tiny_grounding_dino(tmp_path / "dino"), build_tiny_sam(tmp_path / "sam")
    plan = {"version": 1, "subtasks": [{"source": "the red box", "target": "a cat"}, {"source": "the green grass",
            "target": "snow"}]}  # fmt: skip
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    done = gas(
        "ground", photograph, "--plan", "plan.json", "--profile", "diorama",
        "--grounder", "grounding-dino", "--grounder", "sam", "-o", "regions",
        "-o", f"grounding-dino.model={dino}", "-o", "grounding-dino.always_best=true", "-o", f"sam.model={sam}",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    height, width = np.asarray(Image.open(photograph)).shape[:2]
    saved = json.loads((tmp_path / "regions" / "regions.json").read_text())
    assert len(saved["regions"]) == 2
    masks = [path for path in (tmp_path / "regions").glob("*.png") if path.stem != "overlay"]
    assert [np.asarray(Image.open(path)).shape[:2] for path in masks] == [(height, width)] * 2
    assert np.asarray(Image.open(tmp_path / "regions" / "overlay.png")).shape[:2] >= (512, 512)
