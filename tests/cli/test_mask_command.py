"""`gas mask` as a user runs it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import warm_program
from PIL import Image


def gas(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return warm_program.gas("mask", *arguments, cwd=folder)


def saved(path: Path, *boxes: tuple[int, int, int, int], level: int = 255) -> Path:
    levels = np.zeros((40, 60), np.uint8)
    for number, (x0, y0, x1, y1) in enumerate(boxes, 1):
        levels[y0:y1, x0:x1] = level * number if level < 255 else level
    Image.fromarray(levels).save(path)
    return path


def test_masks_are_put_together_and_changed(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", (5, 5, 20, 20))
    saved(tmp_path / "b.png", (30, 5, 40, 20))
    saved(tmp_path / "c.png", (0, 0, 60, 10))
    done = gas("a.png", "b.png", "--minus", "c.png", "--grow", "2", "-o", "out.png", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)["data"]
    assert data["box"] == [3, 8, 42, 22] and data["size"] == [60, 40]
    levels = np.asarray(Image.open(tmp_path / "out.png"))
    assert levels.dtype == np.uint8 and data["share"] == (levels > 0).mean()
    assert levels[15, 10] == levels[15, 35] == 255 and levels[15, 25] == 0


def test_one_label_is_taken_and_the_name_is_new(tmp_path: Path) -> None:
    saved(tmp_path / "labels.png", (5, 5, 20, 20), (30, 5, 40, 20), level=3)
    done = gas("labels.png", folder=tmp_path)
    assert done.returncode == 3 and "with --of 6 of gas mask labels.png" in done.stderr
    assert gas("labels.png", "--of", "3", "--invert", folder=tmp_path).returncode == 0
    levels = np.asarray(Image.open(tmp_path / "labels-mask.png"))
    assert levels[10, 10] == 0 and levels[10, 35] == 255


def test_nothing_is_replaced_and_no_input_written_over(tmp_path: Path) -> None:
    saved(tmp_path / "a.png", (5, 5, 20, 20))
    (tmp_path / "out.png").write_bytes(b"mine")
    for arguments, complaint in (
        (["a.png", "-o", "out.png"], "is there already"),
        (["a.png", "-o", "a.png", "--overwrite"], "is the input"),
        (["a.png", "-o", "out.jpg"], "use .png"),
        (["a.png", "-o", "steps=3"], "no options of a backend"),
    ):
        done = gas(*arguments, folder=tmp_path)
        assert done.returncode == 2 and complaint in done.stderr, done.stderr
    assert (tmp_path / "out.png").read_bytes() == b"mine"
