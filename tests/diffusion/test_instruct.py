"""Instruction models: loading, what the UNet is told, guidance with two scales, and the sampler."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gas.diffusion.backbone import Backbone
from gas.diffusion.instruct import InstructionNoise, Sampler, predict_instruction, told_instruction
from gas.diffusion.load import backbone_from_folder
from gas.diffusion.predictor import Predictor
from gas.diffusion.schedule import FlowSchedule, Schedule, VPSchedule
from gas.diffusion.stable_diffusion import StableDiffusion
from gas.errors import ModelUnavailable
from gas.testing.contracts import sample_image
from gas.testing.tiny import build_tiny_instruct_pix2pix, build_tiny_stable_diffusion


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_instruct_pix2pix(tmp_path_factory.mktemp("tiny") / "ip2p")


def load(folder: Path, name: str | None = None) -> Backbone:
    return backbone_from_folder(folder, name=name, kind="instruction")


def asked(model: Backbone, z_t: torch.Tensor, t: float, picture: torch.Tensor, instruction: str) -> InstructionNoise:
    predictor = Predictor(model, (z_t.shape[2], z_t.shape[3]))
    return predict_instruction(predictor, z_t, t, told_instruction(predictor, picture, instruction))


@pytest.fixture(scope="module")
def model(folder: Path) -> Backbone:
    return load(folder)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- loading ----------------------------------------------------------------------------------------------------------


def test_a_text_to_image_model_is_refused_by_name(tiny_sd: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"takes 4 channels \(a text-to-image model\).*takes 8") as caught:
        load(tiny_sd, "some/model")
    assert caught.value.exit_code == 6
    assert "some/model" in caught.value.message and "timbrooks/instruct-pix2pix" in caught.value.remedy


def test_other_numbers_of_channels_are_refused_by_name(tmp_path: Path) -> None:
    build_tiny_stable_diffusion(tmp_path / "inpainting", in_channels=9)
    with pytest.raises(ModelUnavailable, match=r"9 channels .*inpainting"):
        load(tmp_path / "inpainting")


def test_an_instruction_model_is_not_taken_for_text_to_image(folder: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"8 channels .*instruction model"):
        StableDiffusion.from_folder(folder)


def test_latents_of_another_width_work(tmp_path: Path) -> None:
    wide = load(build_tiny_instruct_pix2pix(tmp_path / "wide", latent_channels=8))
    noise = asked(wide, randn(1, 8, 8, 8), 500, randn(1, 8, 8, 8, seed=1), "make it red")
    assert noise.text.shape == (1, 8, 8, 8)


# --- what the network is told -----------------------------------------------------------------------------------------


def test_the_picture_is_told_as_the_posterior_mean_without_scaling(model: Backbone, tiny_sd: Path) -> None:
    image = sample_image(96, 64)
    torch.testing.assert_close(model.picture_condition(image) * 0.18215, model.encode(image))
    with pytest.raises(ModelUnavailable, match="not an instruction model"):
        backbone_from_folder(tiny_sd).picture_condition(image)


def test_three_rows_nothing_picture_and_both(model: Backbone) -> None:
    z_t, picture, instruction = randn(1, 4, 8, 12), randn(1, 4, 8, 12, seed=1), "make the sky pink"
    prompts = model.condition(["", instruction], (8, 12)).embeddings
    noise = asked(model, z_t, 700, picture, instruction)
    unet, t = model.network, torch.tensor(700)
    told = {"null": (0 * picture, 0), "image": (picture, 0), "text": (picture, 1)}
    with torch.no_grad():
        for name, (beside, prompt) in told.items():
            expected = unet(torch.cat([z_t, beside], 1), t, prompts[prompt : prompt + 1]).sample
            torch.testing.assert_close(getattr(noise, name), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(noise.null, noise.image) and not torch.allclose(noise.image, noise.text)


def test_velocity_is_turned_into_noise(tmp_path: Path, model: Backbone) -> None:
    build_tiny_instruct_pix2pix(tmp_path / "v", prediction_type="v_prediction")
    other = load(tmp_path / "v")  # the same weights
    z_t, picture = randn(1, 4, 8, 8), randn(1, 4, 8, 8, seed=1)
    alpha, sigma = model.schedule.coefficients(torch.tensor([300]))
    v, eps = (asked(one, z_t, 300, picture, "make it red") for one in (model, other))
    torch.testing.assert_close(eps.text, alpha * v.text + sigma * z_t)


def test_guidance_by_hand() -> None:
    null, image, text = (torch.full((1, 1, 1, 1), v) for v in (1.0, 3.0, 4.0))
    noise = InstructionNoise(null, image, text)
    assert noise.guided(7.5, 1.5).item() == 1 + 1.5 * 2 + 7.5 * 1
    assert noise.guided(1, 1).item() == 4 and noise.guided(0, 0).item() == 1


def test_tokens_have_names(model: Backbone) -> None:
    words = model.need_words("a test")
    assert words.token_names("a dog") == ["start", "a", "d", "o", "g", "end"]
    assert list(words.positions("a dog")) == list(range(6))
    assert len(words.positions("dog " * 60)) == 77


# --- the sampler ------------------------------------------------------------------------------------------------------


@pytest.fixture
def schedule() -> Schedule:
    return VPSchedule.from_config({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"})


def test_the_steps_are_diffusers_own(schedule: Schedule) -> None:
    from diffusers import DPMSolverMultistepScheduler

    theirs = DPMSolverMultistepScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    theirs.set_timesteps(6)
    z = randn(1, 4, 4, 4)
    ours = Sampler(schedule, 6, z)
    assert ours.times == tuple(theirs.timesteps.tolist())
    for number, t in enumerate(theirs.timesteps):
        eps = randn(1, 4, 4, 4, seed=number + 1)
        z = theirs.step(eps, t, z).prev_sample
        ours.step(eps)
        torch.testing.assert_close(ours.z, z, rtol=1e-4, atol=1e-4)


def test_a_flow_is_refused_by_name() -> None:
    with pytest.raises(ModelUnavailable, match="variance-preserving") as caught:
        Sampler(FlowSchedule(), 6, randn(1, 4, 4, 4))
    assert caught.value.exit_code == 6


def test_a_known_clean_latent_is_reached(schedule: Schedule) -> None:
    clean, z = randn(1, 4, 4, 4, seed=3), randn(1, 4, 4, 4)
    sampler = Sampler(schedule, 20, z)
    while sampler.done < 20:
        alpha, sigma = schedule.coefficients(torch.tensor([sampler.t]))
        sampler.step((sampler.z - alpha * clean) / sigma)  # what a perfect network would predict
        assert sampler.estimate is not None
        torch.testing.assert_close(sampler.estimate, clean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(sampler.z, clean, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_going_on_from_a_state_is_bit_equal(schedule: Schedule, cut: int) -> None:
    eps = [randn(1, 4, 4, 4, seed=i + 1) for i in range(6)]
    whole, first, second = (Sampler(schedule, 6, randn(1, 4, 4, 4)) for _ in range(3))
    for one in eps:
        whole.step(one)
    for one in eps[:cut]:
        first.step(one)
    second.restore(first.state())
    for one in eps[cut:]:
        second.step(one)
    assert torch.equal(second.z, whole.z)


@pytest.mark.parametrize(
    "change", [{"z": torch.zeros(1, 4, 5, 4)}, {"step": 9}, {"step": "x"}, {"estimate": None}, {"z": None}]
)
def test_a_state_of_another_run_is_refused(schedule: Schedule, change: dict) -> None:
    sampler = Sampler(schedule, 6, randn(1, 4, 4, 4))
    sampler.step(randn(1, 4, 4, 4))
    with pytest.raises((ValueError, AttributeError)):
        Sampler(schedule, 6, randn(1, 4, 4, 4)).restore({**sampler.state(), **change})
