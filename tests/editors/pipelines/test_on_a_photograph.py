"""Whole edits of a real photograph by the profiles of later models: planned, found, edited in its place, every other
pixel as it was. The models are tiny, of the real classes, with random weights; the detector is the diorama's, told to
take its best box for whatever it is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures
from places import DOCS

import gas
from gas.run.session import Session
from gas.testing.tiny import build_tiny_flux, build_tiny_stable_diffusion_3, build_tiny_stable_diffusion_xl
from gas.testing.tiny_edit import build_tiny_flux2_klein, build_tiny_kontext

PHOTOGRAPH = DOCS / "photographs" / "chelsea.jpg"
REQUEST = "change the cat into a tiger and the blanket into snow"
FOUND: dict[str, dict[str, Any]] = {
    "grounding-dino": {
        "model": "package:gas_diorama/weights/grounding-dino",
        "always_best": True,
    },
    "sam": {"model": "package:gas_diorama/weights/sam"},
}
SMALL: dict[str, Any] = {"steps": 2, "resolution": 128}
PROFILES: dict[str, tuple[Callable[[Path], Path], dict[str, Any]]] = {
    "kontext": (build_tiny_kontext, {"edit-model": SMALL}),
    "flux2-klein": (build_tiny_flux2_klein, {"edit-model": SMALL}),
    "flux": (build_tiny_flux, {"flow-edit": {"steps": 3}}),
    "sd3": (build_tiny_stable_diffusion_3, {"flow-edit": {"steps": 3}}),
    "sdxl": (build_tiny_stable_diffusion_xl, {"ledits-pp": {"steps": 3}}),
}


@pytest.mark.parametrize("alone", [True, False], ids=["model alone", "profile named"])
@pytest.mark.parametrize("name", PROFILES)
def test_a_request_is_carried_out_where_it_belongs_and_nowhere_else(name: str, alone: bool, tmp_path: Path) -> None:
    build, options = PROFILES[name]
    model = build(tmp_path / "model")
    session = Session.of(
        profile=None if alone else name,
        model=str(model),
        planner="rules",
        options={**FOUND, **options},
        device="cpu",
        dtype="fp32",
    )
    assert session.settings.profile.name == name
    out = tmp_path / "edited.png"
    made = gas.edit(PHOTOGRAPH, REQUEST, out=out, seed=1, session=session)
    before = np.asarray(Pictures.open(PHOTOGRAPH).convert("RGB"))
    after = np.asarray(Pictures.open(out).convert("RGB"))
    assert [subtask.source for subtask in made.plan.subtasks] == ["a cat", "a blanket"]
    inside = np.max([region.mask for region in made.regions], axis=0) > 0
    assert inside.any() and not inside.all(), "the best boxes are everything: another photograph is needed"
    assert np.array_equal(after[~inside], before[~inside])
    for region in made.regions:
        here = region.mask > 0.5
        assert np.abs(after[here].astype(int) - before[here]).mean() > 1, f"nothing was done to {region.phrase}"
