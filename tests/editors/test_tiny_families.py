"""Whole edits with tiny models of the real classes of each later family, which have random weights: that an editor
runs, plain and grounded, and changes nothing outside its regions. What the words do, random weights cannot show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gas
from gas.errors import ModelUnavailable, ResultRefused, UsageError
from gas.run.session import Session
from gas.testing.contracts import sample_image
from gas.testing.tiny import build_tiny_flux, build_tiny_stable_diffusion_3, build_tiny_stable_diffusion_xl
from gas.types import EditPlan, Region, Subtask

FAMILIES: dict[str, Callable[[Path], Path]] = {
    "stable-diffusion-xl": build_tiny_stable_diffusion_xl,
    "stable-diffusion-3": build_tiny_stable_diffusion_3,
    "flux": build_tiny_flux,
}
PICTURE = sample_image(96, 64)
PLAN = EditPlan(
    subtasks=(Subtask(source="red box", target="blue ball"), Subtask(source="grass", target="snow")),
    source_prompt="a red box on the grass",
    target_prompt="a blue ball on the snow",
)
REGIONS = (Region("red box", (16, 8, 40, 32), subtask=0), Region("grass", (56, 40, 88, 56), subtask=1))
EDITORS: dict[str, dict[str, Any]] = {
    "dds": {"steps": 3},
    "ground-a-score": {"steps": 3, "penalty": False, "cut": "none"},
    "sdedit": {"steps": 4},
    "flow-edit": {"steps": 6},
}


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(FAMILIES[request.param](tmp_path_factory.mktemp(request.param) / "model"))


def edited(editor: str, model: str, plan: EditPlan = PLAN, grounded: bool = False, **values: Any) -> gas.EditResult:
    options = {editor: {**EDITORS.get(editor, {}), **values}}
    session = Session.of(
        profile="sd15", editor=editor, model=model, options=options, grounded=grounded, device="cpu", dtype="fp32"
    )
    return gas.edit(PICTURE, plan=plan, regions=REGIONS, seed=1, session=session)


@pytest.mark.parametrize("grounded", [False, True], ids=["plain", "grounded"])
@pytest.mark.parametrize("editor", sorted(EDITORS))
def test_an_editor_changes_what_it_is_asked_and_nothing_else(editor: str, grounded: bool, model: str) -> None:
    made = edited(editor, model, grounded=grounded)
    outside = made.mask == 0
    assert outside.any() and np.array_equal(made.image[outside], PICTURE[outside])
    for region in REGIONS:
        x0, y0, x1, y1 = map(round, region.box)
        away = made.image[y0:y1, x0:x1].astype(int) - PICTURE[y0:y1, x0:x1]
        assert np.abs(away).mean() > 1, f"nothing was done to the {region.phrase}"


@pytest.mark.parametrize(("profile", "build", "most"), [("flux", build_tiny_flux, 200),
                                                        ("sd3", build_tiny_stable_diffusion_3, 330)])  # fmt: skip
def test_three_places_by_flow_edit_take_no_more_rows_than_promised(
    profile: str, build: Callable[[Path], Path], most: int, tmp_path: Path
) -> None:
    """With the profile's own steps: a pair of rows for each place and one for the whole, and null rows where guidance
    is not told."""
    plan = PLAN.model_copy(update={"subtasks": (*PLAN.subtasks, Subtask(source="clear sky", target="sunset"))})
    regions = (*REGIONS, Region("clear sky", (0, 0, 96, 8), subtask=2))
    made = Session.of(
        profile=profile, editor="flow-edit", model=str(build(tmp_path)), grounded=True, device="cpu", dtype="fp32"
    )
    log = gas.edit(PICTURE, plan=plan, regions=regions, seed=1, session=made).log
    steps = round(log["steps"] * log["strength"]) if "strength" in log else {"flux": 24, "sd3": 33}[profile]
    rows = steps * (2 * 4 if profile == "flux" else 2 * 4 + 2)
    assert log["evaluations"] == rows <= most


def test_large_places_get_detail_from_the_editors_own_model(model: str) -> None:
    """Through the protocol alone: the refiner knows no family."""
    picture = sample_image(640, 448)
    plan = PLAN.model_copy(update={"subtasks": PLAN.subtasks[1:]})
    region = Region("grass", (24, 100, 620, 430), subtask=0)
    options = {"sdedit": EDITORS["sdedit"], "tiles": {"steps": 4, "strength": 0.5, "repeats": 1}}
    how = {"profile": "sd15", "editor": "sdedit", "model": model, "device": "cpu", "dtype": "fp32"}

    def made(detail: str) -> gas.EditResult:
        given = options if detail == "tiles" else {"sdedit": options["sdedit"]}
        session = Session.of(**how, detail=detail, options=given)
        return gas.edit(picture, plan=plan, regions=[region], seed=1, session=session)

    coarse, fine = made("off"), made("tiles")
    assert fine.detailed[0].tiles > 1 and fine.log["detail"]["model"] == model
    assert (fine.image != coarse.image).any()
    assert np.array_equal(fine.image[fine.mask == 0], picture[fine.mask == 0])


def test_equal_prompts_are_refused(model: str) -> None:
    same = PLAN.model_copy(update={"target_prompt": PLAN.source_prompt})
    with pytest.raises(ResultRefused, match="nothing to edit"):
        edited("dds", model, same)


# --- what a family does not have --------------------------------------------------------------------------------------

NEED_A_NULL_ROW = ("pix2pix-zero", "prompt-to-prompt", "ledits-pp")


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_tiny_flux(tmp_path_factory.mktemp("told") / "model"))


@pytest.mark.parametrize("editor", NEED_A_NULL_ROW)
def test_what_needs_a_null_row_is_refused_by_name(editor: str, flux: str) -> None:
    with pytest.raises(ModelUnavailable, match=r"compares with the null prompt, which .* has no row for: .*told"):
        edited(editor, flux, steps=2)


def test_the_null_text_penalty_is_refused_and_not_skipped(flux: str) -> None:
    with pytest.raises(ModelUnavailable, match="the null-text penalty compares with the null prompt") as caught:
        edited("ground-a-score", flux, penalty=True, penalty_area=1)
    assert caught.value.exit_code == 6 and "penalty" in caught.value.remedy


@pytest.mark.parametrize("editor", ["prompt-to-prompt", "ledits-pp", "masactrl", "plug-and-play"])
def test_what_looks_at_a_unets_attention_is_refused_on_a_transformer(editor: str, tmp_path: Path) -> None:
    model = str(build_tiny_stable_diffusion_3(tmp_path / "sd3"))
    with pytest.raises(ModelUnavailable) as caught:
        edited(editor, model, steps=2)
    assert caught.value.exit_code == 6 and caught.value.remedy and model in caught.value.message


def test_the_contrastive_loss_holds_a_shape_on_every_family(model: str) -> None:
    free, held = (edited("ground-a-score", model, cut="all", w_cut=weight, steps=2) for weight in (0, 5))
    assert not np.array_equal(free.raw, held.raw)


def test_schnell_knows_no_guidance(tmp_path: Path) -> None:
    model = str(build_tiny_flux(tmp_path / "schnell", guidance_embeds=False))
    with pytest.raises(UsageError, match="has no guidance"):
        edited("sdedit", model, guidance_scale=3.5)
    assert edited("sdedit", model, guidance_scale=1).image.shape == PICTURE.shape
