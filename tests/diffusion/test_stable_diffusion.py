"""Loading Stable Diffusion from a folder or the hub, its pictures, its prompts, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

from gas.diffusion.load import load_backbone
from gas.diffusion.loading import variants
from gas.diffusion.stable_diffusion import StableDiffusion
from gas.errors import InputRefused, ModelUnavailable, ResultRefused
from gas.remedies import Option
from gas.runtime import Runtime
from gas.testing.tiny import build_tiny_stable_diffusion


@pytest.fixture(scope="module")
def model(tiny_sd: Path) -> StableDiffusion:
    return StableDiffusion.from_folder(tiny_sd)


@pytest.fixture
def folder(tiny_sd: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that may be damaged."""
    return Path(shutil.copytree(tiny_sd, tmp_path / "model"))


def picture(height: int = 64, width: int = 96) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], -1).astype(np.uint8)


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def change(folder: Path, file: str, **values: Any) -> None:
    path = folder / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


# --- the networks -----------------------------------------------------------------------------------------------------


def test_it_is_frozen_and_small(model: StableDiffusion, tiny_sd: Path) -> None:
    for part in (model.network, model.autoencoder.vae, model.words.encoder):
        assert not part.training
        assert not any(parameter.requires_grad for parameter in part.parameters())
    assert sum(file.stat().st_size for file in tiny_sd.rglob("*") if file.is_file()) < 2_000_000


def test_noise_prediction_is_the_networks(model: StableDiffusion, tiny_sd: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(tiny_sd / "unet").eval()
    z_t, t = randn(3, 4, 8, 12), torch.tensor([3, 500, 999])
    told = model.condition(["a cat", "a dog", ""], (8, 12))
    with torch.no_grad():
        expected = unet(z_t, t, told.embeddings).sample
        torch.testing.assert_close(model.predict(z_t, t, told), expected)
        torch.testing.assert_close(model.epsilon(z_t, t, told), expected)


def test_velocity_prediction_is_turned_into_noise(folder: Path) -> None:
    change(folder, "scheduler/scheduler_config.json", prediction_type="v_prediction")
    model = StableDiffusion.from_folder(folder)
    z_t, t, told = randn(2, 4, 8, 8), torch.tensor([100, 800]), model.condition(["a", "b"], (8, 8))
    with torch.no_grad():
        v = model.network(z_t, t, told.embeddings).sample
        kept = model.schedule.alphas_cumprod[t].view(-1, 1, 1, 1)
        expected = kept.sqrt() * v + (1 - kept).sqrt() * z_t
        torch.testing.assert_close(model.predict(z_t, t, told), v)
        torch.testing.assert_close(model.epsilon(z_t, t, told), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_formats_of_the_network_leave_latents_alone(tiny_sd: Path, model: StableDiffusion, dtype: torch.dtype) -> None:
    other = StableDiffusion.from_folder(tiny_sd, dtype=dtype)
    assert other.network.dtype == dtype
    assert other.autoencoder.vae.dtype == other.words.encoder.dtype == torch.promote_types(dtype, torch.float32)
    z_t = randn(2, 4, 8, 8)
    t = torch.tensor([500, 100])
    with torch.no_grad():
        eps = other.epsilon(z_t, t, other.condition(["a cat", ""], (8, 8)))
        expected = model.epsilon(z_t, t, model.condition(["a cat", ""], (8, 8)))
    assert eps.dtype == torch.float32
    torch.testing.assert_close(eps, expected, rtol=0.05, atol=0.05)
    assert torch.equal(eps, expected) == (dtype == torch.float32)


def test_prompt_embeddings_are_the_text_encoders(model: StableDiffusion, tiny_sd: Path) -> None:
    embeddings = model.condition(["a red car", ""], (8, 12)).embeddings
    assert embeddings.shape == (2, 77, 32)
    ids = model.words.tokenizer("a red car", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = CLIPTextModel.from_pretrained(tiny_sd / "text_encoder")(ids).last_hidden_state
    torch.testing.assert_close(embeddings[:1], expected)


def test_tokenizer_files_of_the_older_form_are_read(folder: Path, model: StableDiffusion) -> None:
    vocabulary = model.words.tokenizer.get_vocab()
    for file in (folder / "tokenizer").iterdir():
        file.unlink()
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer" / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77})
    )
    again = StableDiffusion.from_folder(folder)
    torch.testing.assert_close(again.words.states(["a red car"]), model.words.states(["a red car"]))


# --- long prompts -----------------------------------------------------------------------------------------------------


def words(tokens: int) -> str:
    """A prompt of so many tokens, its two marks included: words of five letters are five tokens here."""
    text = " ".join(f"w{i:04d}" for i in range((tokens - 2) // 5))
    return f"{text} {'z' * ((tokens - 2) % 5)}".strip()


@pytest.mark.parametrize("tokens", [76, 77])
def test_prompts_that_fit_raise_no_warning(
    model: StableDiffusion, tokens: int, recwarn: pytest.WarningsRecorder
) -> None:
    prompt = words(tokens)
    assert len(model.words.tokenizer(prompt).input_ids) == tokens
    model.condition([prompt], (8, 12))
    assert model.dropped_words(prompt) == ""
    assert len(recwarn) == 0


@pytest.mark.parametrize(("tokens", "dropped"), [(78, "z"), (300, None)])
def test_prompts_that_are_too_long_name_the_lost_words(
    model: StableDiffusion, tokens: int, dropped: str | None
) -> None:
    prompt = words(tokens)
    assert len(model.words.tokenizer(prompt, verbose=False).input_ids) == tokens
    expected = dropped or prompt[prompt.index("w0015") :]
    assert model.dropped_words(prompt) == expected
    with pytest.warns(UserWarning, match="more than 77 tokens") as caught:
        model.condition([prompt], (8, 12))
    assert repr(expected) in str(caught[0].message)


def test_a_word_that_is_cut_in_two_counts_as_lost(model: StableDiffusion) -> None:
    assert model.dropped_words(f"{'x' * 70} {'y' * 10} end") == f"{'y' * 10} end"


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_a_latent_is_the_scaled_posterior_mean(model: StableDiffusion, tiny_sd: Path) -> None:
    image = picture()
    pixels = torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        mean = AutoencoderKL.from_pretrained(tiny_sd / "vae").encode(pixels).latent_dist.mean
    z = model.encode(image)
    assert z.shape == (1, 4, 8, 12)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z, mean * 0.18215)


def test_shift_mean_and_deviation_of_latents_are_honoured(folder: Path, model: StableDiffusion) -> None:
    image = picture()
    plain = model.encode(image) / 0.18215
    change(folder, "vae/config.json", shift_factor=0.1, scaling_factor=0.5)
    shifted = StableDiffusion.from_folder(folder)
    torch.testing.assert_close(shifted.encode(image), (plain - 0.1) * 0.5)
    mean, deviation = [0.1, 0.2, 0.3, 0.4], [1.0, 2.0, 3.0, 4.0]
    change(folder, "vae/config.json", shift_factor=None, latents_mean=mean, latents_std=deviation)
    spread = StableDiffusion.from_folder(folder)
    per_channel = [torch.tensor(v).view(1, 4, 1, 1) for v in (mean, deviation)]
    torch.testing.assert_close(spread.encode(image), (plain - per_channel[0]) * 0.5 / per_channel[1])
    for other in (shifted, spread):
        difference = other.decode(other.encode(image)).astype(int) - model.decode(model.encode(image))
        assert np.abs(difference).max() <= 1


def test_a_picture_comes_back_in_its_form(model: StableDiffusion) -> None:
    image = model.decode(model.encode(picture()))
    assert image.shape == (64, 96, 3)
    assert image.dtype == np.uint8


def test_round_trip_in_decibels(model: StableDiffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.full((8, 8, 3), 100, np.uint8)
    monkeypatch.setattr(StableDiffusion, "encode", lambda self, image: None)
    monkeypatch.setattr(StableDiffusion, "decode", lambda self, z: image + np.uint8(10))
    assert model.round_trip_db(image) == pytest.approx(20 * np.log10(25.5))
    monkeypatch.setattr(StableDiffusion, "decode", lambda self, z: image)
    assert model.round_trip_db(image) == np.inf


def test_a_picture_that_does_not_divide_into_cells_is_refused(model: StableDiffusion) -> None:
    with pytest.raises(InputRefused, match="96x60"):
        model.encode(picture(60, 96))


def test_a_broken_latent_gives_no_picture(model: StableDiffusion) -> None:
    with pytest.raises(ResultRefused, match="not finite"):
        model.decode(torch.full((1, 4, 2, 2), torch.nan))


def test_working_size_is_read_from_the_model(model: StableDiffusion, folder: Path) -> None:
    assert (model.resolution, model.factor) == (128, 8)
    for size, side in (((16, 64), 256), (96, 768), (None, 512)):
        change(folder, "unet/config.json", sample_size=size)
        assert StableDiffusion.from_folder(folder).resolution == side


# --- loading ----------------------------------------------------------------------------------------------------------


def test_networks_are_shared_in_the_runtime(tiny_sd: Path) -> None:
    runtime = Runtime(device="cpu", dtype="fp32")
    one = load_backbone(str(tiny_sd), runtime)
    assert load_backbone(str(tiny_sd), runtime) is one
    runtime.dtype = "bf16"
    assert load_backbone(str(tiny_sd), runtime) is not one


def missing(file: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / file
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def set_value(file: str, **values: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder, file, **values)


def truncate(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def rewrite(file: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
    """Replaces the tensors of a safetensors file."""

    def damage(folder: Path) -> None:
        tensors = change(load_file(folder / file))
        save_file({key: value.contiguous() for key, value in tensors.items()}, folder / file, metadata={"format": "pt"})

    return damage


def add_words(folder: Path) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<one>", "<two>"])
    tokenizer.save_pretrained(folder)


def without(part: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda tensors: {key: value for key, value in tensors.items() if part not in key}


UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no vae": (missing("vae"), "vae/config.json"),
    "no scheduler": (missing("scheduler"), "scheduler/scheduler_config.json"),
    "no tokenizer": (missing("tokenizer"), "tokenizer"),
    "no weights": (missing("unet/diffusion_pytorch_model.safetensors"), "no weights in unet"),
    "cut weights": (truncate, "cannot be loaded"),
    "not JSON": (lambda folder: (folder / "vae" / "config.json").write_text("{"), "cannot be loaded"),
    "index not JSON": (lambda folder: (folder / "model_index.json").write_text("{"), "model_index.json cannot be read"),
    "index a list": (lambda folder: (folder / "model_index.json").write_text("[]"), "model_index.json holds no"),
    "scheduler not JSON": (
        lambda folder: (folder / "scheduler" / "scheduler_config.json").write_text("{"),
        "scheduler_config.json cannot be read",
    ),
    "a layer of words missing": (
        rewrite(TEXT, without("layers.1.")),
        "16 of the weights of text_encoder are missing, such as encoder.layers.1",
    ),
    "a block missing": (rewrite(UNET, without("mid_block")), "of the weights of unet are missing, such as mid_block"),
    "a picture's weight missing": (rewrite(VAE, without("quant_conv.bias")), "of the weights of vae are missing"),
    "a layer too many": (
        rewrite(TEXT, lambda old: {**old, "text_model.encoder.layers.7.mlp.fc1.bias": torch.zeros(3)}),
        "no place for 1 weight of text_encoder, such as .*layers.7",
    ),
    "foreign prefix": (
        rewrite(UNET, lambda old: {f"module.{key}": value for key, value in old.items()}),
        r"'module\.[^']+' stands for '[^m]",
    ),
    "other shapes": (
        rewrite(UNET, lambda old: {**old, "conv_in.bias": torch.zeros(3)}),
        "conv_in.bias",
    ),
    "no words": (missing("tokenizer/tokenizer.json"), "tokenizer knows no words"),
    "too many words": (
        lambda folder: add_words(folder / "tokenizer"),
        "tokens up to number 515, its text encoder 514",
    ),
    "sdxl": (set_value("model_index.json", _class_name="StableDiffusionXLPipeline"), "XL"),
    "two encoders": (lambda folder: (folder / "text_encoder_2").mkdir(), "XL"),
    "other prediction": (set_value("scheduler/scheduler_config.json", prediction_type="sample"), "'sample'"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_not_a_whole_stable_diffusion_is_refused_by_name(folder: Path, name: str) -> None:
    damage, message = DAMAGES[name]
    damage(folder)
    with pytest.raises(ModelUnavailable, match=message) as caught:
        load_backbone(str(folder), Runtime(device="cpu", dtype="fp32"))
    assert caught.value.exit_code == 6
    assert caught.value.remedy


@pytest.mark.parametrize(("channels", "kind"), [(9, "inpainting"), (8, "InstructPix2Pix")])
def test_networks_with_more_input_channels_are_refused(tmp_path: Path, channels: int, kind: str) -> None:
    build_tiny_stable_diffusion(tmp_path / "other", in_channels=channels)
    with pytest.raises(ModelUnavailable, match=kind):
        StableDiffusion.from_folder(tmp_path / "other")


def test_parts_that_do_not_belong_together_are_refused(folder: Path, tmp_path: Path) -> None:
    build_tiny_stable_diffusion(tmp_path / "other", cross_attention_dim=64)
    shutil.rmtree(folder / "text_encoder")
    shutil.copytree(tmp_path / "other" / "text_encoder", folder / "text_encoder")
    with pytest.raises(ModelUnavailable, match="32 numbers, the text encoder gives 64"):
        StableDiffusion.from_folder(folder)


def to_variant(folder: Path, *places: str) -> None:
    for place in places:
        for file in (folder / place).glob("*.safetensors"):
            file.rename(file.with_name(file.name.replace(".safetensors", ".fp16.safetensors")))


def test_a_variant_is_read_part_by_part(folder: Path, model: StableDiffusion) -> None:
    to_variant(folder, "unet")
    found = StableDiffusion.from_folder(folder, variant="fp16")
    ours, wanted = found.network.state_dict(), model.network.state_dict()
    assert all(torch.equal(ours[key], wanted[key]) for key in wanted)


@pytest.mark.parametrize("places", [("unet",), ("unet", "vae", "text_encoder")])
def test_a_folder_with_a_variant_only_says_so(folder: Path, places: tuple[str, ...]) -> None:
    to_variant(folder, *places)
    with pytest.raises(ModelUnavailable, match="unet has weights of the variant fp16 only") as caught:
        StableDiffusion.from_folder(folder)
    assert caught.value.hint.parts["variant"] == Option({"variant": "fp16"})
    with pytest.raises(ModelUnavailable, match="no weights of the variant 'fp8', but fp16"):
        StableDiffusion.from_folder(folder, variant="fp8")


def test_a_variant_that_no_part_has_is_refused(folder: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"no weights of the variant 'fp16'\n"):
        StableDiffusion.from_folder(folder, variant="fp16")


def test_shards_of_a_variant_are_known(tmp_path: Path) -> None:
    for name in (
        "model.safetensors",
        "model.fp16-00001-of-00002.safetensors",
        "model-00001-of-00002.non_ema.safetensors",
    ):
        (tmp_path / name).touch()
    assert variants(tmp_path, ("model", "pytorch_model")) == {"", "fp16", "non_ema"}


def test_old_names_of_weights_are_read(folder: Path, model: StableDiffusion) -> None:
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def rename(tensors: dict[str, Any]) -> dict[str, Any]:
        for new, name in old.items():
            tensors = {key.replace(new, name): value for key, value in tensors.items()}
        return tensors

    rewrite(VAE, rename)(folder)
    rewrite(TEXT, lambda new: {**new, "text_model.embeddings.position_ids": torch.arange(77)[None]})(folder)
    found = StableDiffusion.from_folder(folder)
    assert all(
        torch.equal(value, found.autoencoder.vae.state_dict()[key])
        for key, value in model.autoencoder.vae.state_dict().items()
    )


def test_pickled_weights_are_read_only_when_allowed(folder: Path, model: StableDiffusion) -> None:
    part = folder / "unet"
    torch.save(model.network.state_dict(), part / "diffusion_pytorch_model.bin")
    (part / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match=r"unet has weights as \.bin only") as caught:
        StableDiffusion.from_folder(folder)
    assert "allow_pickle" in caught.value.remedy
    loaded = StableDiffusion.from_folder(folder, allow_pickle=True)
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor)


class _Marker:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize(("place", "file"), [("unet", "diffusion_pytorch_model"), ("text_encoder", "pytorch_model")])
def test_a_program_inside_pickled_weights_never_runs(folder: Path, tmp_path: Path, place: str, file: str) -> None:
    torch.save({"w": _Marker(tmp_path / "marker")}, folder / place / f"{file}.bin")
    next((folder / place).glob("*.safetensors")).unlink()
    with pytest.raises(ModelUnavailable, match=r"more than tensors|cannot be loaded"):
        StableDiffusion.from_folder(folder, allow_pickle=True)
    assert not (tmp_path / "marker").exists()


def test_a_model_of_the_hub_is_read_from_its_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_sd: Path, model: StableDiffusion
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelUnavailable, match="'some/model@abc' has not been downloaded") as caught:
        load_backbone("some/model@abc", Runtime(device="cpu"))
    assert "gas models pull some/model@abc" in caught.value.remedy
    shutil.copytree(tiny_sd, tmp_path / "models--some--model" / "snapshots" / "abc")
    found = load_backbone("some/model@abc", Runtime(device="cpu", dtype="fp32"))
    assert torch.equal(found.network.conv_in.weight, model.network.conv_in.weight)


def test_a_variants_file_names_are_used(folder: Path) -> None:
    for file in folder.glob("*/*.safetensors"):
        file.rename(file.with_suffix(".fp16.safetensors"))
    with pytest.raises(ModelUnavailable):
        StableDiffusion.from_folder(folder)
    assert StableDiffusion.from_folder(folder, variant="fp16").resolution == 128
