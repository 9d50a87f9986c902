"""Drawings of this world are told from photographs of the same size, without a network."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image as Pictures
from places import DOCS, ROOT

from gas_diorama.world.looks import is_drawing
from gas_diorama.world.world import render, sample_scene

SCENES = sorted((ROOT / "plugins" / "gas_diorama" / "scenes").glob("*.png"))


def test_every_drawing_is_one() -> None:
    rng = np.random.default_rng(5)
    assert all(is_drawing(render(sample_scene(rng))) for _ in range(60))


@pytest.mark.parametrize("path", SCENES, ids=lambda path: path.stem)
def test_the_shipped_scenes_are(path) -> None:  # type: ignore[no-untyped-def]
    assert is_drawing(np.asarray(Pictures.open(path).convert("RGB")))


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
def test_photographs_are_none_at_any_size(name: str) -> None:
    picture = Pictures.open(DOCS / "photographs" / f"{name}.jpg")
    assert not is_drawing(np.asarray(picture))
    assert not is_drawing(np.asarray(picture.resize((128, 128), Pictures.Resampling.LANCZOS)))


def test_a_grey_picture_is_none_however_flat() -> None:
    assert not is_drawing(np.full((128, 128, 3), 128, np.uint8))


def test_it_loads_no_network() -> None:
    code = "import sys; import gas_diorama.world.looks; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
