"""The pictures that come with the diorama are what its code draws."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gas_diorama import shipped
from gas_diorama.world.drawing import regions, render
from gas_diorama.world.scene import Thing, apply


def test_the_shipped_files_are_what_the_code_writes(tmp_path: Path) -> None:
    shipped.main(["--folder", str(tmp_path)])
    here = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    there = {path.relative_to(shipped.FOLDER) for path in shipped.FOLDER.rglob("*") if path.is_file()}
    assert here == there
    for path in here:
        if path.suffix == ".png":
            assert (np.array(Image.open(tmp_path / path)) == np.array(Image.open(shipped.FOLDER / path))).all()
        else:
            assert (tmp_path / path).read_text() == (shipped.FOLDER / path).read_text()


@pytest.mark.parametrize("one", shipped.shipped(), ids=lambda one: one.name)
def test_masks_hold_the_whole_change(one: shipped.Shipped) -> None:
    masks = [
        np.array(Image.open(shipped.FOLDER / f"{one.name}-masks" / f"{shipped.slug(edit)}.png")) for edit in one.edits
    ]
    changed = (render(one.scene) != render(apply(one.scene, one.edits))).any(axis=2)
    assert changed.any() and not changed[np.maximum.reduce(masks) == 0].any()
    for mask, region in zip(masks, regions(one.scene, one.edits), strict=True):
        assert set(np.unique(mask)) <= {0, 255} and (mask / 255 == region).all()


def test_the_demo_is_the_one_of_the_readme() -> None:
    demo = shipped.shipped()[0]
    wanted = "change the red car into a blue house, change the grass into snow, change the clear sky into a sunset sky"
    assert json.loads((shipped.FOLDER / "scenes.json").read_text())["demo"]["request"] == wanted
    assert sorted(shipped.slug(edit) for edit in demo.edits) == ["clear-sky", "grass", "red-car"]
    assert len(demo.scene.objects) == 2, "one thing is to stay"


def test_no_shipped_thing_leaves_the_picture_or_hides_another() -> None:
    for one in shipped.shipped():
        scene = apply(one.scene, one.edits)
        for thing in (*one.scene.objects, *scene.objects):
            x0, y0, x1, y1 = thing.box
            assert isinstance(thing, Thing) and min(x0, y0) >= 0 and max(x1, y1) <= 128
