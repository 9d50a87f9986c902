"""`gas replay` of what an older gas wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from places import DATA
from warm_program import gas

import gas_diorama

SCENE = Path(gas_diorama.__file__).parent / "scenes" / "demo.png"
OLD = DATA / "records" / "first_round.png"  # of the first version of records, eight steps of ground-a-score


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), int)


def test_a_record_of_the_first_version_gives_its_picture_again(tmp_path: Path) -> None:
    record = OLD.with_name(OLD.name + ".gas.json")
    assert "distribution" not in json.loads(record.read_text())["editor"], "a record as they were then"
    shutil.copy(SCENE, tmp_path / "scene.png")
    shutil.copy(record, tmp_path)
    shutil.copy(OLD, tmp_path)
    said = gas("replay", OLD.name, "-o", "again.png", "--allow-drift", cwd=tmp_path)
    assert said.returncode == 0, said.stderr
    old, again, scene = (
        np.asarray(Image.open(path).convert("RGB"), int) for path in (OLD, tmp_path / "again.png", SCENE)
    )
    untouched = (old == scene).all(axis=2)
    assert 0.05 < untouched.mean() < 0.95
    assert (again == scene).all(axis=2)[untouched].all(), "outside the recorded regions"
    # Its model has been trained further since: that is said, and what it makes is alike.
    assert "drifted: model package:gas_diorama/weights/sd has other files" in " ".join(said.stderr.split())
    assert np.abs(again - old).mean() < 20 and np.abs(again - scene)[~untouched].mean() > 10
