"""Stable Diffusion 3: its contract, what its rows are told, with T5 and without; on a tiny model of the real
classes."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from diffusers import StableDiffusion3Pipeline

from gas.diffusion.attention.sites import CONTRASTED
from gas.diffusion.backbone import Backbone
from gas.diffusion.load import backbone_from_folder
from gas.diffusion.stable_diffusion_3 import StableDiffusion3
from gas.errors import InputRefused, ModelUnavailable
from gas.models.kind import pipeline_of
from gas.testing import BackboneContract
from gas.testing.contracts import sample_image
from gas.testing.tiny import build_tiny_stable_diffusion_3

PROMPTS = ("a red box on grass", "a blue ball", "")
CORNERS = (8, 12)
LONG = "a large red box on the short grass by a green tree and a blue house with a red roof far away under a grey sky"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_stable_diffusion_3(tmp_path_factory.mktemp("sd3") / "model")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without T5."""
    return build_tiny_stable_diffusion_3(tmp_path_factory.mktemp("sd3") / "small", t5=False)


@pytest.fixture(scope="module")
def model(tiny: Path) -> StableDiffusion3:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = backbone_from_folder(tiny)
    assert isinstance(found, StableDiffusion3)
    return found


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(tiny, tmp_path / "model"))


class TestStableDiffusion3(BackboneContract):
    @pytest.fixture
    def backbone(self, model: StableDiffusion3) -> Backbone:
        return model


class TestWithoutT5(BackboneContract):
    prompts: ClassVar = ("red box", "", "blue ball")

    @pytest.fixture(scope="class")
    @classmethod
    def backbone(cls, small: Path) -> Backbone:
        with pytest.warns(UserWarning, match="has no T5 encoder .*see 77 tokens"):
            return backbone_from_folder(small)


@pytest.mark.parametrize("t5", [True, False])
def test_rows_and_predictions_are_those_of_diffusers(t5: bool, tiny: Path, small: Path) -> None:
    folder = tiny if t5 else small
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = backbone_from_folder(folder)
        absent = {} if t5 else {"text_encoder_3": None, "tokenizer_3": None}
        pipe: Any = StableDiffusion3Pipeline.from_pretrained(folder, **absent)
    states, _, pooled, _ = pipe.encode_prompt(
        list(PROMPTS), list(PROMPTS), list(PROMPTS), do_classifier_free_guidance=False
    )
    told = model.condition(PROMPTS, CORNERS)
    torch.testing.assert_close(told.embeddings, states)
    torch.testing.assert_close(told.extra["pooled"], pooled)
    z_t, t = torch.randn(3, 16, 8, 12, generator=torch.Generator().manual_seed(0)), torch.tensor([1.0, 0.5, 0.02])
    with torch.no_grad():
        wanted = pipe.transformer(z_t, states, pooled, 1000 * t).sample
        torch.testing.assert_close(model.predict(z_t, t, told), wanted)


def test_times_of_a_run_are_diffusers(model: StableDiffusion3, tiny: Path) -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler: Any = FlowMatchEulerDiscreteScheduler.from_pretrained(tiny / "scheduler")
    scheduler.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25])
    assert model.schedule.spaced(4) == pytest.approx(scheduler.sigmas[:4].tolist(), rel=1e-6)


def test_what_it_sees_of_a_prompt_is_t5s_part(model: StableDiffusion3, small: Path) -> None:
    with pytest.warns(UserWarning, match="no T5"):
        without = backbone_from_folder(small)
    assert model.dropped_words(LONG) == "" and without.dropped_words(LONG).endswith("grey sky")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.condition([LONG], CORNERS)
    with pytest.warns(UserWarning, match="more than 77 tokens"):
        without.condition([LONG], CORNERS)
    with pytest.warns(UserWarning, match="more than 256 tokens"):
        model.condition([4 * LONG], CORNERS)


def test_image_cells_of_the_later_half_are_compared(model: StableDiffusion3) -> None:
    sites = model.attention_sites("joint")
    assert [bool(site.contrast) for site in sites] == [False, False, True, True]
    assert sum(site.contrast for site in sites) == pytest.approx(CONTRASTED)
    assert model.attention_sites("self") == ()


def test_it_is_known_without_an_index(folder: Path) -> None:
    (folder / "model_index.json").unlink()
    assert isinstance(backbone_from_folder(folder), StableDiffusion3)
    assert pipeline_of(str(folder)) == "StableDiffusion3Pipeline"


def test_pictures_must_divide_into_patches_and_not_be_too_large(model: StableDiffusion3) -> None:
    assert model.multiple == 16
    with pytest.raises(InputRefused, match="patches of latent cells of 16"):
        model.encode(sample_image(72, 64))
    with pytest.raises(InputRefused, match="up to 256 pixels a side, this one has 264x64"):
        model.condition(["a"], (8, 33))


def test_parts_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / "text_encoder_2")
    with pytest.raises(ModelUnavailable, match=r"text_encoder_2/config\.json missing"):
        backbone_from_folder(folder)
    shutil.copytree(folder / "text_encoder", folder / "text_encoder_2")
    with pytest.raises(ModelUnavailable, match=r"wants pooled embeddings of 28 numbers, .* give 24"):
        backbone_from_folder(folder)
    with pytest.raises(ModelUnavailable, match="not an instruction model"):
        backbone_from_folder(folder, kind="instruction")
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter.json").write_text(json.dumps({"base": "../model"}))
    (adapter / "adapter.safetensors").touch()
    with pytest.raises(ModelUnavailable, match="an adapter of a UNet"):
        backbone_from_folder(adapter)
