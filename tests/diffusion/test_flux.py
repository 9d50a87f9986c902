"""FLUX.1: its contract, packed latents, guidance as a number; on a tiny model of the real classes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from gas.diffusion.attention.sites import CONTRASTED
from gas.diffusion.backbone import Backbone
from gas.diffusion.flux import Flux
from gas.diffusion.load import backbone_from_folder
from gas.errors import InputRefused, ModelUnavailable
from gas.models.kind import pipeline_of
from gas.testing import BackboneContract
from gas.testing.contracts import sample_image
from gas.testing.tiny import build_tiny_flux

PROMPTS = ("a red box on grass", "a blue ball", "")
CORNERS = (8, 12)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_flux(tmp_path_factory.mktemp("flux") / "dev")


@pytest.fixture(scope="module")
def schnell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_flux(tmp_path_factory.mktemp("flux") / "schnell", guidance_embeds=False)


@pytest.fixture(scope="module")
def model(tiny: Path) -> Flux:
    found = backbone_from_folder(tiny)
    assert isinstance(found, Flux) and found.guidance == "told"
    return found


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(tiny, tmp_path / "model"))


class TestFlux(BackboneContract):
    @pytest.fixture
    def backbone(self, model: Flux) -> Backbone:
        return model


class TestSchnell(BackboneContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backbone(cls, schnell: Path) -> Backbone:
        found = backbone_from_folder(schnell)
        assert found.guidance == "none"
        return found


def test_rows_and_predictions_are_those_of_diffusers(model: Flux, tiny: Path) -> None:
    pipe: Any = FluxPipeline.from_pretrained(tiny)
    states, pooled, txt_ids = pipe.encode_prompt(list(PROMPTS), list(PROMPTS))
    told = model.guided(model.condition(PROMPTS, CORNERS), 3.5)
    torch.testing.assert_close(told.embeddings, states, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(told.extra["pooled"], pooled)
    z_t, t = torch.randn(3, 16, *CORNERS, generator=torch.Generator().manual_seed(0)), torch.tensor([1.0, 0.5, 0.02])
    with torch.no_grad():
        wanted = pipe.transformer(
            pipe._pack_latents(z_t, 3, 16, *CORNERS),
            told.embeddings,
            pooled,
            t,
            img_ids=pipe._prepare_latent_image_ids(3, CORNERS[0] // 2, CORNERS[1] // 2, "cpu", torch.float32),
            txt_ids=txt_ids,
            guidance=torch.full((3,), 3.5),
        ).sample
        unpacked = pipe._unpack_latents(wanted, 8 * CORNERS[0], 8 * CORNERS[1], 8)
        torch.testing.assert_close(model.predict(z_t, t, told), unpacked)


def test_the_guidance_that_is_told_matters(model: Flux) -> None:
    z_t, t = torch.randn(1, 16, *CORNERS, generator=torch.Generator().manual_seed(0)), torch.tensor([0.5])
    row = model.condition(PROMPTS[:1], CORNERS)
    with torch.no_grad():
        weak, strong = (model.predict(z_t, t, model.guided(row, scale)) for scale in (1.0, 5.5))
        assert torch.equal(model.predict(z_t, t, row), weak), "nobody said one: 1"
    assert not torch.equal(weak, strong)


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (96, 192)])
def test_times_of_a_run_shift_with_the_size_as_in_diffusers(size: tuple[int, int], model: Flux, tiny: Path) -> None:
    scheduler: Any = FlowMatchEulerDiscreteScheduler.from_pretrained(tiny / "scheduler")
    mu = calculate_shift(size[0] * size[1] // 4, 256, 4096, 0.5, 1.15)
    scheduler.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25], mu=mu)
    assert model.schedule_for(size).spaced(4) == pytest.approx(scheduler.sigmas[:4].tolist(), rel=1e-6)
    assert model.schedule_for((16, 16)) == model.schedule, "that of a picture of its resolution"


def test_schnell_has_even_times(schnell: Path) -> None:
    assert backbone_from_folder(schnell).schedule_for((128, 128)).spaced(4) == (1.0, 0.75, 0.5, 0.25)


def test_image_cells_of_the_later_half_are_compared(model: Flux) -> None:
    sites = model.attention_sites("joint")
    assert [site.name for site in sites if site.contrast] == [f"single_transformer_blocks.{i}.attn" for i in (1, 2, 3)]
    assert sum(site.contrast for site in sites) == pytest.approx(CONTRASTED)


def test_words_beyond_t5s_512_tokens_are_named(model: Flux) -> None:
    with pytest.warns(UserWarning, match="more than 512 tokens") as caught:
        model.condition([f"{'ab ' * 200}last"], CORNERS)
    assert len(caught) == 1, "CLIP, which gives the pooled embedding alone, is not named"


def test_it_is_known_without_an_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()
    assert isinstance(backbone_from_folder(folder), Flux) and pipeline_of(str(folder)) == "FluxPipeline"


def test_what_is_no_text_to_image_flux_is_refused(folder: Path, model: Flux) -> None:
    with pytest.raises(InputRefused, match="patches of latent cells of 16"):
        model.encode(sample_image(72, 64))
    with pytest.raises(ModelUnavailable, match="not an instruction model"):
        backbone_from_folder(folder, kind="instruction")
    shutil.rmtree(folder / "text_encoder_2")
    with pytest.raises(ModelUnavailable, match=r"text_encoder_2/config\.json missing"):
        backbone_from_folder(folder)
