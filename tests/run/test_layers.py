"""Layers: what an edit pasted, alone, and placed again."""

from __future__ import annotations

import sys
from pathlib import Path

import fake_backends
import numpy as np
import pytest
from PIL import Image as Pictures

from gas.backends.registry import Registry
from gas.errors import InputRefused
from gas.picture.frame import Frame
from gas.run.layer import edit_layer, place
from gas.run.result import EditResult
from gas.types import EditPlan, Subtask
from gas_cli.app import app
from gas_cli.run import run

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)


def result(frame: Frame, mask: np.ndarray) -> EditResult:
    raw = RNG.integers(0, 256, (frame.size[1], frame.size[0], 3), dtype=np.uint8)
    plan = EditPlan(subtasks=(Subtask(source="a", target="b"),))
    return EditResult(frame.paste(IMAGE, raw, mask), plan, (), raw, mask, frame, False, {})


@pytest.mark.parametrize(
    "frame", [Frame((80, 60), (0, 0, 80, 60), (40, 32)), Frame((80, 60), (8, 4, 72, 60), (64, 56))]
)
def test_placed_where_it_was_it_gives_the_output_again(frame: Frame) -> None:
    mask = np.zeros((60, 80), np.float32)
    mask[10:40, 20:50], mask[10:40, 20] = 1, 0.6
    made = result(frame, mask)
    layer = edit_layer(made)
    assert layer.shape == (60, 80, 4) and not layer[mask == 0].any()
    again, covered = place(IMAGE, layer)
    assert np.abs(again.astype(int) - made.image).max() <= 1
    np.testing.assert_allclose(covered, mask, atol=1 / 255)
    assert np.array_equal(again[mask == 0], IMAGE[mask == 0])


def patch(y0: int, x0: int, y1: int, x1: int) -> np.ndarray:
    layer = np.zeros((60, 80, 4), np.uint8)
    layer[y0:y1, x0:x1] = (10, 200, 30, 255)
    return layer


def test_moved_and_cut_at_the_border() -> None:
    moved, mask = place(IMAGE, patch(10, 10, 20, 30), move=(60, -5))
    assert (moved[5:15, 70:80] == (10, 200, 30)).all() and mask.sum() == 10 * 10
    assert np.array_equal(moved[mask == 0], IMAGE[mask == 0])


@pytest.mark.parametrize(("scale", "box"), [(2, (15, 10, 35, 50)), (0.5, (22, 25, 27, 35))])
def test_scaled_around_its_middle_without_a_fringe(scale: float, box: tuple[int, int, int, int]) -> None:
    y0, x0, y1, x1 = box
    made, mask = place(IMAGE, patch(20, 20, 30, 40), scale=scale)
    assert (mask[y0:y1, x0:x1] == 1).all() and mask.sum() == (y1 - y0) * (x1 - x0)
    assert (made[y0:y1, x0:x1] == (10, 200, 30)).all()


def test_soft_edges_keep_their_colour_when_scaled() -> None:
    layer = patch(20, 20, 40, 40)
    layer[20:40, 20:22, 3] = 80
    made, mask = place(np.full_like(IMAGE, 255), layer, scale=1.5)
    soft = (mask > 0.1) & (mask < 0.9)
    expected = 255 + mask[soft][:, None] * (np.array([10, 200, 30]) - 255)
    assert soft.any() and np.abs(made[soft] - expected).max() < 4


def test_what_cannot_be_placed_is_refused() -> None:
    with pytest.raises(InputRefused, match="80x60 with 4 channels, the picture 40x60"):
        place(IMAGE[:, :40], patch(1, 1, 5, 5))
    with pytest.raises(InputRefused, match="shows nothing"):
        place(IMAGE, np.zeros((60, 80, 4), np.uint8))
    with pytest.raises(InputRefused, match="moved by 500,0 the layer leaves"):
        place(IMAGE, patch(1, 1, 5, 5), move=(500, 0))
    with pytest.raises(InputRefused, match="moved by -500,0 the layer leaves"):
        place(IMAGE, patch(1, 1, 5, 5), move=(-500, 0))
    with pytest.raises(InputRefused, match="scale 1000"):
        place(IMAGE, patch(1, 1, 50, 50), scale=1000)


# --- the command line -------------------------------------------------------------------------------------------------


def test_a_layer_is_saved_and_placed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Registry, "discover", classmethod(lambda cls: fake_backends.registry()))
    Pictures.fromarray(IMAGE).save("dog.png")

    def gas(*arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", ["gas", *arguments])
        with pytest.raises(SystemExit) as ended:
            run(app)
        return int(ended.value.code or 0)

    what = ["edit", "dog.png", "dog -> tiger", "--profile", "diorama", "--planner", "arrows", "--editor", "painter"]
    how = ["--grounder", "none", "--box", "dog=20,15,40,35", "--seed", "1", "-o", "out.png"]
    assert gas(*what, *how, "--save-layer", "layer.png") == 0
    layer = np.asarray(Pictures.open("layer.png"))
    assert layer.shape == (60, 80, 4) and layer[25, 30, 3] == 255 and layer[5, 5, 3] == 0
    assert gas("place", "dog.png", "layer.png", "-o", "again.png") == 0
    out, again = (np.asarray(Pictures.open(name)).astype(int) for name in ("out.png", "again.png"))
    assert np.abs(out - again).max() <= 1
    assert gas("place", "dog.png", "layer.png", "-o", "moved.png", "--move", "30,10", "--scale", "0.5") == 0
    moved = np.asarray(Pictures.open("moved.png"))
    assert tuple(moved[35, 60]) == tuple(out[25, 30]) and np.array_equal(moved[:28], IMAGE[:28])
    capfd.readouterr()
    assert gas("place", "dog.png", "layer.png", "--move", "far") == 2 and "--move 'far'" in capfd.readouterr().err
    assert gas("place", "dog.png", "dog.png") == 3 and "no transparency" in capfd.readouterr().err
    assert gas("place", "dog.png", "layer.png", "-o", "steps=3") == 2
    assert gas("place", "dog.png", "layer.png", "-o", "moved.png") == 2, "never overwritten silently"
