"""Stable Diffusion XL: its contract, what its rows are told, what is refused; on a tiny model of the real classes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

from gas.diffusion.attention.sites import CONTRASTED, unet_sites
from gas.diffusion.backbone import Backbone
from gas.diffusion.load import backbone_from_folder
from gas.diffusion.stable_diffusion_xl import StableDiffusionXL
from gas.errors import GasError, ModelUnavailable
from gas.models.kind import pipeline_of
from gas.testing import BackboneContract
from gas.testing.tiny import build_tiny_stable_diffusion_xl

PROMPTS = ("a red box on grass", "a blue ball")
CORNERS = (8, 12)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_stable_diffusion_xl(tmp_path_factory.mktemp("xl") / "model")


@pytest.fixture(scope="module")
def model(tiny: Path) -> StableDiffusionXL:
    found = backbone_from_folder(tiny)
    assert isinstance(found, StableDiffusionXL)
    return found


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(tiny, tmp_path / "model"))


class TestStableDiffusionXL(BackboneContract):
    @pytest.fixture
    def backbone(self, model: StableDiffusionXL) -> Backbone:
        return model


# --- rows -------------------------------------------------------------------------------------------------------------


def test_rows_and_predictions_are_those_of_diffusers(model: StableDiffusionXL, tiny: Path) -> None:
    pipe: Any = StableDiffusionXLPipeline.from_pretrained(tiny)
    pipe.set_progress_bar_config(disable=True)
    states, null, pooled, null_pooled = pipe.encode_prompt(list(PROMPTS), do_classifier_free_guidance=True)
    told = model.condition(["", *PROMPTS], CORNERS)
    torch.testing.assert_close(told.embeddings, torch.cat([null[:1], states]))
    torch.testing.assert_close(told.extra["pooled"], torch.cat([null_pooled[:1], pooled]))
    ids = pipe._get_add_time_ids((64, 96), (0, 0), (64, 96), torch.float32, 24)
    assert torch.equal(told.extra["size_ids"], ids.repeat(3, 1))
    z_t, t = torch.randn(3, 4, 8, 12, generator=torch.Generator().manual_seed(0)), torch.tensor([999.0, 500.0, 20.0])
    with torch.no_grad():
        wanted = pipe.unet(
            z_t,
            t,
            torch.cat([null[:1], states]),
            added_cond_kwargs={"text_embeds": torch.cat([null_pooled[:1], pooled]), "time_ids": ids.repeat(3, 1)},
        ).sample
        torch.testing.assert_close(model.predict(z_t, t, told), wanted)


def test_the_null_prompt_is_zeros_where_the_checkpoint_says_so(model: StableDiffusionXL, tmp_path: Path) -> None:
    row = model.condition([""], CORNERS)
    assert not row.embeddings.any() and not row.extra["pooled"].any() and row.extra["size_ids"].any()
    other = backbone_from_folder(build_tiny_stable_diffusion_xl(tmp_path / "words", zero_null=False))
    row = other.condition([""], CORNERS)
    assert row.embeddings.any() and row.extra["pooled"].any()


def test_sizes_matter(model: StableDiffusionXL) -> None:
    z_t, t = torch.randn(1, 4, 8, 12, generator=torch.Generator().manual_seed(0)), torch.tensor([500.0])
    with torch.no_grad():
        small, large = (model.predict(z_t, t, model.condition(PROMPTS[:1], size)) for size in (CORNERS, (64, 96)))
    assert not torch.equal(small, large)


# --- sites ------------------------------------------------------------------------------------------------------------


def test_what_is_compared_counts_nine_modules_together(model: StableDiffusionXL) -> None:
    compared = [site for site in model.attention_sites() if site.contrast]
    assert all(site.kind == "self" and site.name.startswith("up_blocks") for site in compared)
    assert len(compared) > CONTRASTED / 2 and sum(site.contrast for site in compared) == pytest.approx(CONTRASTED)


def test_the_real_layout_has_36_modules_to_compare(tmp_path: Path) -> None:
    folder = build_tiny_stable_diffusion_xl(tmp_path / "xl", transformer_layers=(1, 2, 10))
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    compared = [site for site in unet_sites(unet) if site.contrast]
    assert [site.level for site in compared] == [2] * 30 + [1] * 6, "30 at a quarter of the sides, 6 at the half"


# --- which folder is one ----------------------------------------------------------------------------------------------


def test_it_is_known_without_an_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()
    found = backbone_from_folder(folder)
    assert isinstance(found, StableDiffusionXL) and found.zero_null, "what the pipeline does unless it is told"
    assert pipeline_of(str(folder)) == "StableDiffusionXLPipeline"


def change(folder: Path, file: str, **values: Any) -> None:
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_missing_encoder_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(ModelUnavailable, match=r"text_encoder/config\.json missing") as caught:
        backbone_from_folder(folder)
    assert caught.value.exit_code == 6


def test_another_kind_of_model_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="which is not an instruction model") as caught:
        backbone_from_folder(folder, kind="instruction")
    assert "instruct-pix2pix" in caught.value.remedy
    with pytest.raises(ModelUnavailable, match=r"takes 9 channels \(an inpainting model"):
        backbone_from_folder(build_tiny_stable_diffusion_xl(tmp_path / "inpaint", in_channels=9))
    change(folder, "scheduler/scheduler_config.json", _class_name="EDMEulerScheduler")
    with pytest.raises(ModelUnavailable, match="schedule of EDMEulerScheduler"):
        backbone_from_folder(folder)
    change(folder, "scheduler/scheduler_config.json", prediction_type="sample")
    with pytest.raises(ModelUnavailable, match="'sample'"):
        backbone_from_folder(folder)


def test_parts_of_other_models_are_refused(folder: Path, tiny: Path) -> None:
    shutil.rmtree(folder / "text_encoder")
    shutil.copytree(folder / "text_encoder_2", folder / "text_encoder")
    with pytest.raises(GasError) as caught:
        backbone_from_folder(folder)
    assert caught.value.exit_code == 6
