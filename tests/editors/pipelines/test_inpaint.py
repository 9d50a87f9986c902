"""The editor `inpaint` with tiny models of the real classes in the real layouts, which have random weights: that it
runs, where it edits, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gas import Registry
from gas.errors import ModelUnavailable
from gas.interfaces import EditJob, Step, Watch
from gas.masks import box_mask
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image
from gas.testing.tiny import (
    build_tiny_flux,
    build_tiny_instruct_pix2pix,
    build_tiny_stable_diffusion,
    build_tiny_stable_diffusion_3,
    build_tiny_stable_diffusion_xl,
)
from gas.testing.tiny_edit import (
    build_tiny_chroma,
    build_tiny_flux2_klein,
    build_tiny_kontext,
    build_tiny_z_image,
)
from gas.types import EditPlan, Region, Subtask
from gas_editors.pipelines.inpaint import InpaintEditor

PICTURE = sample_image(192, 128)
PLAN = EditPlan(
    subtasks=(
        Subtask(source="red box", target="blue ball", instruction="make the box a ball"),
        Subtask(source="grass", target="snow"),
    )
)
BOXES = ((64.0, 32.0, 96.0, 64.0), (120.0, 80.0, 184.0, 120.0))
REGIONS = tuple(
    Region(phrase, box, box_mask(box, (192, 128)), subtask=index, given=True)
    for index, (phrase, box) in enumerate(zip(("red box", "grass"), BOXES, strict=True))
)
FOUND = tuple(replace(region, given=False) for region in REGIONS)


def build_tiny_masked(folder: Path) -> Path:
    """Stable Diffusion's own inpainting model: its UNet takes mask and masked picture beside the noisy latent."""
    build_tiny_stable_diffusion(folder, in_channels=9, layers=1)
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "StableDiffusionInpaintPipeline"))
    return folder


MODELS: dict[str, Callable[[Path], Path]] = {
    "sd": build_tiny_stable_diffusion,
    "sd-inpainting": build_tiny_masked,
    "sdxl": build_tiny_stable_diffusion_xl,
    "sd3": build_tiny_stable_diffusion_3,
    "flux": build_tiny_flux,
    "kontext": build_tiny_kontext,
    "flux2-klein": build_tiny_flux2_klein,
    "z-image": build_tiny_z_image,
    "chroma": build_tiny_chroma,
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(MODELS[request.param](tmp_path_factory.mktemp(request.param) / "model"))


@pytest.fixture(scope="module")
def sd3(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_tiny_stable_diffusion_3(tmp_path_factory.mktemp("sd3") / "model"))


RUNTIME = Runtime(device="cpu", dtype="fp32")
"""Of all editors in here: models stay as they are, so each is read once."""


def made(model: str, **values: Any) -> Any:
    options = {"model": model, "steps": 3, "resolution": 128, **values}
    return Registry.discover().create("editors", "inpaint", options, RUNTIME)


def job(editor: Any, regions: tuple[Region, ...] = REGIONS, **more: Any) -> EditJob:
    return EditJob(PICTURE.copy(), PLAN, regions, 1, editor.options, **more)


class TestStableDiffusion3(EditorContract):
    @pytest.fixture
    def editor(self, sd3: str) -> Any:
        return made(sd3)


class TestStableDiffusionXL(EditorContract):
    @pytest.fixture
    def editor(self, tmp_path: Path) -> Any:
        return made(str(build_tiny_stable_diffusion_xl(tmp_path / "sdxl")))


@pytest.mark.parametrize("grounded", [False, True], ids=["plain", "grounded"])
def test_every_pixel_outside_drawn_regions_keeps_its_bits(model: str, grounded: bool) -> None:
    editor = made(model)
    edited = editor.edit(job(editor, grounded=grounded))
    inside = np.max([region.mask for region in REGIONS], axis=0) > 0
    assert np.array_equal(edited.image[~inside], PICTURE[~inside])
    assert edited.mask is not None and np.array_equal(edited.mask > 0, inside)
    for region in REGIONS:
        here = region.mask > 0
        assert np.abs(edited.image[here].astype(int) - PICTURE[here]).mean() > 1, f"nothing done to {region.phrase}"


def test_what_is_filled_is_not_cut_off_at_a_found_region(sd3: str) -> None:
    """The model's mask is as fine as its cells; all that it fills lies within what is pasted, and so do the cells
    around, in which the picture is its own again."""
    editor = made(sd3)
    whole, cut = (made(sd3, margin=margin).edit(job(editor, FOUND)) for margin in (1.0, 0.0))
    inside = np.max([region.mask for region in FOUND], axis=0) > 0
    assert np.array_equal(cut.mask > 0, inside)
    wider = (whole.mask > 0) & ~inside
    assert wider.any() and np.array_equal(whole.image[whole.mask == 0], PICTURE[whole.mask == 0])
    rows = np.flatnonzero((whole.mask > 0).any(axis=1))
    x0, y0, x1, y1 = 120, 80, 184, 120
    assert rows.max() + 1 == min(y1 + 16, 128), "one cell of 16 pixels beyond, where the crop is not resized"
    assert (whole.mask[y0 - 16 : y1, x0:x1] > 0).all()
    grounded = editor.edit(job(editor, FOUND, grounded=True))
    assert np.array_equal(grounded.mask > 0, inside), "a grounded run keeps to the region"


def test_what_each_kind_is_told(model: str) -> None:
    told = {turn["told"] for turn in made(model).edit(job(made(model))).log["turns"]}
    by_instruction = {"make the box a ball", "turn grass into snow"}
    named = json.loads((Path(model) / "model_index.json").read_text())["_class_name"]
    assert told == (by_instruction if named.startswith(("FluxKontext", "Flux2Klein")) else {"blue ball", "snow"})


def test_strength_keeps_something_of_the_source_and_takes_fewer_steps(sd3: str) -> None:
    away = {}
    for strength in (1.0, 0.3):
        editor = made(sd3, steps=10, strength=strength, guidance_scale=1.0)
        steps: list[Step] = []
        edited = editor.edit(job(editor, watch=Watch(on_step=steps.append)))
        assert steps[-1].total == 2 * 10 * strength and steps[-1].index == steps[-1].total
        assert edited.log["strength"] == strength
        away[strength] = edited.image
    assert not np.array_equal(away[1.0], away[0.3])


def test_stable_diffusion_3_without_t5_works_and_says_so(tmp_path: Path) -> None:
    editor = made(str(build_tiny_stable_diffusion_3(tmp_path / "model", t5=False)))
    assert editor.edit(job(editor)).log["notes"] == ["the model has no text encoder 3, and sees less of a long prompt"]
    lacking = build_tiny_stable_diffusion_3(tmp_path / "less")
    index = json.loads((lacking / "model_index.json").read_text())
    (lacking / "model_index.json").write_text(json.dumps({**index, "text_encoder_2": [None, None]}))
    other = made(str(lacking))
    with pytest.raises(ModelUnavailable, match="has no text encoder 2") as caught:
        other.edit(job(other))
    assert caught.value.exit_code == 6 and caught.value.remedy


def test_a_model_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    editor = made(str(build_tiny_instruct_pix2pix(tmp_path / "model")))
    with pytest.raises(ModelUnavailable, match="which is no model that fills a masked region") as caught:
        editor.edit(job(editor))
    assert "StableDiffusionXLPipeline" in caught.value.remedy


def test_it_needs_regions() -> None:
    assert InpaintEditor.needs_regions
