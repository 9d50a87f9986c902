"""Stable Diffusion 1.x in one file: the same networks as from a folder, every weight accounted for, nothing fetched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from original_layout import single_file
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel

from gas.diffusion.load import load_backbone
from gas.diffusion.single_file import stable_diffusion_1 as reading
from gas.diffusion.stable_diffusion import StableDiffusion
from gas.errors import ModelUnavailable
from gas.models.kind import pipeline_of
from gas.runtime import Runtime
from gas.testing.tiny import build_tiny_instruct_pix2pix

UNET = "model.diffusion_model."
FIRST = f"{UNET}input_blocks.0.0.weight"


@pytest.fixture
def settings(whole_tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings that are shipped, with the sizes of the tiny model in their place; its words too."""
    folder = Path(shutil.copytree(whole_tiny_sd, tmp_path / "settings"))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    monkeypatch.setattr(reading, "SETTINGS", folder)
    return folder


@pytest.fixture
def weights(whole_tiny_sd: Path) -> dict[str, Tensor]:
    return single_file(whole_tiny_sd)


@pytest.fixture
def written(settings: Path, tmp_path: Path) -> Callable[[dict[str, Tensor]], Path]:
    def write(weights: dict[str, Tensor]) -> Path:
        save_file(weights, tmp_path / "v1-5.safetensors")
        return tmp_path / "v1-5.safetensors"

    return write


def load(file: Path, **options: Any) -> Any:
    return load_backbone(str(file), Runtime(device="cpu", dtype="fp32"), **options)


def test_its_networks_and_words_are_those_of_the_folder(
    weights: dict[str, Tensor], written: Any, whole_tiny_sd: Path
) -> None:
    model, same = load(written(weights)), StableDiffusion.from_folder(whole_tiny_sd)
    for ours, theirs in ((model.network, same.network), (model.autoencoder.vae, same.autoencoder.vae)):
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        assert all(torch.equal(one, theirs.state_dict()[key]) for key, one in ours.state_dict().items())
        assert not any(one.requires_grad for one in ours.parameters()) and not ours.training
    prompts = ["a red car", "", "Ümläute  und 3 Zahlen"]
    assert torch.equal(model.words.states(prompts), same.words.states(prompts))
    z = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([500])
    with torch.no_grad():
        found = model.predict(z, t, model.condition(["a cat"], (8, 8)))
        # not to the last digit: where weights lie in memory decides in which order they are summed up
        torch.testing.assert_close(found, same.predict(z, t, same.condition(["a cat"], (8, 8))))
    assert torch.equal(model.schedule.alphas_cumprod, same.schedule.alphas_cumprod)
    assert model.resolution == same.resolution and model.parameterisation == same.parameterisation


def test_half_precision_in_the_file_and_what_training_left_there(weights: dict[str, Tensor], written: Any) -> None:
    half = {key: one.half() for key, one in weights.items()}
    left = {"model_ema.decay": torch.ones(1), "betas": torch.ones(1000), "first_stage_model.loss.logvar": torch.ones(1)}
    position = {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None]}
    model = load(written({**half, **left, **position}))
    assert model.network.dtype == model.autoencoder.vae.dtype == model.words.encoder.dtype == torch.float32
    torch.testing.assert_close(model.network.state_dict()["conv_in.weight"], half[FIRST].float())


def without(key: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: {name: one for name, one in weights.items() if not name.startswith(key)}


def plus(key: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: {**weights, key: torch.ones(2)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without(f"{UNET}middle_block.2."), "weights of unet are missing"),
        (without("first_stage_model.decoder.conv_in."), "weights of vae are missing"),
        (without("cond_stage_model.transformer.text_model.encoder.layers.1."), "weights of text_encoder are missing"),
        (without("first_stage_model.encoder.down.0.downsample.conv.bias"), "1 of the weights of vae are missing"),
        (without("first_stage_model."), "no weights of vae"),
        (plus(f"{UNET}input_blocks.2.7.strange"), "no place for 1 weight of unet"),
        (plus("first_stage_model.encoder.strange"), "no place for 1 weight of vae"),
        (plus("cond_stage_model.transformer.text_model.strange"), "no place for 1 weight of text_encoder"),
        (plus("control_model.strange"), "no place for 1 weight, such as control_model.strange"),
        (lambda old: {**old, f"{UNET}out.2.weight": torch.ones(5, 8, 3, 3)}, "another shape .*5x8x3x3 and 4x8x3x3"),
        (plus("cond_stage_model.model.x"), "2.x"),
        (lambda old: {"lora_unet_x": torch.ones(1)}, "LoRA"),
        (lambda old: {"x": torch.ones(1)}, "no weights of unet"),
    ],
)
def test_what_does_not_fit_is_named(change: Any, says: str, weights: dict[str, Tensor], written: Any) -> None:
    with pytest.raises(ModelUnavailable, match=says) as refused:
        load(written(change(weights)))
    assert refused.value.hint


def test_its_kind_is_told_by_its_first_weight(
    weights: dict[str, Tensor], written: Any, tmp_path: Path, settings: Path
) -> None:
    file = written(weights)
    assert pipeline_of(str(file)) == "StableDiffusionPipeline"
    with pytest.raises(ModelUnavailable, match="instruction"):
        load(file, kind="instruction")
    instruction = single_file(build_tiny_instruct_pix2pix(tmp_path / "instruct"))
    save_file(instruction, tmp_path / "ip2p.safetensors")
    assert pipeline_of(str(tmp_path / "ip2p.safetensors")) == "StableDiffusionInstructPix2PixPipeline"
    assert load(tmp_path / "ip2p.safetensors", kind="instruction").network.config.in_channels == 8
    for name, content in (("a.safetensors", b"\xff" * 20), ("b.safetensors", b""), ("c.safetensors", b"\2" + bytes(7))):
        (tmp_path / name).write_bytes(content)
        assert pipeline_of(str(tmp_path / name)) is None


def test_only_tensors_of_a_ckpt_are_read_and_only_when_allowed(
    weights: dict[str, Tensor], settings: Path, tmp_path: Path
) -> None:
    file = tmp_path / "v1-5.ckpt"
    torch.save({"state_dict": weights, "global_step": 5}, file)
    assert pipeline_of(str(file)) == "StableDiffusionPipeline"
    with pytest.raises(ModelUnavailable, match=r"single file of the kind \.ckpt, which can hide programs") as refused:
        load(file)
    assert "allow_pickle" in str(refused.value.hint)
    torch.testing.assert_close(load(file, allow_pickle=True).network.state_dict()["conv_in.weight"], weights[FIRST])
    torch.save({"state_dict": weights, "callbacks": Path("x")}, file)
    with pytest.raises(ModelUnavailable, match="more than tensors"):
        load(file, allow_pickle=True)


def test_other_files_and_variants_are_refused(weights: dict[str, Tensor], written: Any, tmp_path: Path) -> None:
    (tmp_path / "v1-5.gguf").write_bytes(b"x")
    with pytest.raises(ModelUnavailable, match=r"neither \.safetensors nor \.ckpt"):
        load(tmp_path / "v1-5.gguf")
    (tmp_path / "broken.safetensors").write_bytes(b"x")
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load(tmp_path / "broken.safetensors")
    with pytest.raises(ModelUnavailable, match="variant 'fp16'"):
        load(written(weights), variant="fp16")


# --- what is shipped --------------------------------------------------------------------------------------------------


def test_the_shipped_settings_make_the_published_networks() -> None:
    """Their numbers of weights are those of Stable Diffusion v1-5: 860, 84 and 123 million."""
    read = {
        part: json.loads((reading.SETTINGS / part / "config.json").read_text())
        for part in ("unet", "vae", "text_encoder")
    }
    with init_empty_weights():
        unet = UNet2DConditionModel.from_config(read["unet"])
        vae = AutoencoderKL.from_config(read["vae"])
        text = CLIPTextModel(CLIPTextConfig.from_dict(read["text_encoder"]))
    sizes = [sum(one.numel() for one in network.parameters()) for network in (unet, vae, text)]
    assert sizes == [859_520_964, 83_653_863, 123_060_480]
    assert vae.config.scaling_factor == 0.18215 and unet.config.sample_size == 64


def test_the_shipped_words_have_the_published_numbers() -> None:
    tokenizer = reading.read_tokenizer(reading.SETTINGS / "tokenizer")
    assert len(tokenizer) == 49408 and tokenizer.model_max_length == 77
    # as CLIP's own tokenizer numbers them
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("Hello, World!").input_ids == [49406, 3306, 267, 1002, 256, 49407]
    assert tokenizer.decode(tokenizer("a photograph of an astronaut").input_ids[1:-1]) == "a photograph of an astronaut"


def test_an_edit_by_a_file_alone_takes_the_profile_of_its_kind(weights: dict[str, Tensor], written: Any) -> None:
    import gas
    from gas.testing.contracts import sample_image

    image = sample_image(128, 128)
    result = gas.edit(
        image,
        "change the red box into a blue ball",
        regions=[gas.Region("red box", box=(30, 30, 90, 90))],
        model=str(written(weights)),
        planner="rules",
        editor="dds",
        options={"dds": {"steps": 2}},
        seed=1,
    )
    changed = (result.image != image).any(axis=2)
    assert changed[30:90, 30:90].any() and not changed[:30].any() and not changed[90:].any()
    assert result.job is not None and result.job.session.settings.profile.name == "sd15"
