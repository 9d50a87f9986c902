"""Stable Diffusion XL and FLUX.1 in one file: the same networks as from a folder, every weight accounted for."""

from __future__ import annotations

import json
import shutil
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel
from diffusers.loaders import single_file_utils
from original_layout import single_file, single_file_xl
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from gas.diffusion.flux import Flux
from gas.diffusion.load import load_backbone
from gas.diffusion.single_file import flux, stable_diffusion_1, stable_diffusion_xl
from gas.diffusion.stable_diffusion_xl import StableDiffusionXL
from gas.errors import ModelUnavailable
from gas.models.kind import pipeline_of
from gas.runtime import Runtime
from gas.testing.tiny import build_tiny_flux, build_tiny_stable_diffusion, build_tiny_stable_diffusion_xl

PROMPTS = ["a red car", "", "Ümläute  und 3 Zahlen"]


def load(file: Path, **options: Any) -> Any:
    return load_backbone(str(file), Runtime(device="cpu", dtype="fp32"), **options)


def same_weights(ours: Any, theirs: Any) -> None:
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(torch.equal(one, theirs.state_dict()[key]) for key, one in ours.state_dict().items())
    assert not any(one.requires_grad for one in ours.parameters()) and not ours.training


def without(key: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: {name: one for name, one in weights.items() if not name.startswith(key)}


def plus(key: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: {**weights, key: torch.ones(2)}


# --- Stable Diffusion XL ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_stable_diffusion_xl(tmp_path_factory.mktemp("xl") / "model")


@pytest.fixture
def xl(tiny_xl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Tensor]], Path]:
    """Writes weights into a file, whose shipped settings have the sizes of the tiny model in their place."""
    folder = Path(shutil.copytree(tiny_xl, tmp_path / "settings"))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    monkeypatch.setattr(stable_diffusion_xl, "SETTINGS", folder)
    monkeypatch.setattr(stable_diffusion_1, "SETTINGS", folder)

    def write(weights: dict[str, Tensor]) -> Path:
        save_file(weights, tmp_path / "xl.safetensors")
        return tmp_path / "xl.safetensors"

    return write


def test_xls_networks_and_words_are_those_of_the_folder(xl: Any, tiny_xl: Path) -> None:
    file = xl(single_file_xl(tiny_xl))
    assert pipeline_of(str(file)) == "StableDiffusionXLPipeline"
    model, same = load(file), StableDiffusionXL.from_folder(tiny_xl)
    assert model.networks().keys() == same.networks().keys()
    for place, ours in model.networks().items():
        same_weights(ours, same.networks()[place])
    told, expected = (one.condition(PROMPTS, (8, 8)) for one in (model, same))
    torch.testing.assert_close(told.embeddings[..., :32], expected.embeddings[..., :32])
    torch.testing.assert_close(told.extra["pooled"], expected.extra["pooled"])
    # The second encoder's prompts are filled up with "!", as published, which what comes before does not see.
    for row, prompt in enumerate(PROMPTS):
        seen = len(same.words.positions(prompt))
        torch.testing.assert_close(told.embeddings[row, :seen], expected.embeddings[row, :seen])
    assert (model.words.tokenizer.pad_token, model.second.tokenizer.pad_token) == ("<|endoftext|>", "!")
    assert torch.equal(model.schedule.alphas_cumprod, same.schedule.alphas_cumprod)
    assert (model.resolution, model.zero_null) == (same.resolution, same.zero_null)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("model.diffusion_model.label_emb."), "weights of unet are missing"),
        (without("conditioner.embedders.1.model.ln_final."), "weights of text_encoder_2 are missing"),
        (without("conditioner.embedders.1.model.text_projection"), "1 of the weights of text_encoder_2 are missing"),
        (without("conditioner.embedders.1."), "no weights of text_encoder_2"),
        (plus("conditioner.embedders.1.model.strange"), "no place for 1 weight of text_encoder_2"),
        (plus("conditioner.embedders.1.model.transformer.strange"), "no place for 1 weight of text_encoder_2"),
        (plus("conditioner.embedders.0.transformer.text_model.strange"), "no place for 1 weight of text_encoder"),
        (plus("strange"), "no place for 1 weight, such as strange"),
        (plus("conditioner.embedders.0.model.x"), "is the refiner of Stable Diffusion XL"),
    ],
)
def test_what_does_not_fit_xl_is_named(change: Any, says: str, xl: Any, tiny_xl: Path) -> None:
    with pytest.raises(ModelUnavailable, match=says) as refused:
        load(xl(change(single_file_xl(tiny_xl))))
    assert refused.value.remedy


def test_a_file_can_say_that_it_predicts_v(xl: Any, tiny_xl: Path) -> None:
    model = load(xl({**single_file_xl(tiny_xl), "v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}))
    assert model.parameterisation == "v_prediction"
    assert float(model.schedule.alphas_cumprod[-1]) < 1e-6


def test_the_shipped_settings_of_xl_make_the_published_networks() -> None:
    """Their numbers of weights are those of SDXL 1.0: 2567, 84 and 695 million."""
    read = {
        part: json.loads((stable_diffusion_xl.SETTINGS / part / "config.json").read_text())
        for part in ("unet", "vae", "text_encoder_2")
    }
    with init_empty_weights():
        unet = UNet2DConditionModel.from_config(read["unet"])
        vae = AutoencoderKL.from_config(read["vae"])
        text = CLIPTextModelWithProjection(CLIPTextConfig.from_dict(read["text_encoder_2"]))
    sizes = [sum(one.numel() for one in network.parameters()) for network in (unet, vae, text)]
    assert sizes == [2_567_463_684, 83_653_863, 694_659_840]
    assert vae.config.scaling_factor == 0.13025 and unet.config.sample_size == 128


# --- FLUX.1 -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_flux(tmp_path_factory.mktemp("flux") / "model")


@pytest.fixture
def as_wide_as_the_tiny_one(tiny_flux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """diffusers' code has the width of the published model as a number in it, 3072; here it is the tiny one's."""
    convert = single_file_utils.convert_flux_transformer_checkpoint_to_diffusers
    narrow = convert.__code__.replace(co_consts=tuple(32 if one == 3072 else one for one in convert.__code__.co_consts))
    assert narrow != convert.__code__
    monkeypatch.setattr(
        single_file_utils,
        convert.__name__,
        types.FunctionType(narrow, convert.__globals__, convert.__name__, convert.__defaults__, convert.__closure__),
    )
    shutil.copytree(tiny_flux / "transformer", tmp_path / "settings" / "transformer")
    monkeypatch.setattr(flux, "SETTINGS", tmp_path / "settings")
    yield


def published(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A FLUX.1's transformer of diffusers under the names of its publication."""

    def taken(*names: str) -> Tensor:
        return torch.cat([weights[name] for name in names])

    found: dict[str, Tensor] = {}
    embedders = {"time_in": "timestep", "vector_in": "text", "guidance_in": "guidance"}
    for kind in ("weight", "bias"):
        for old, new in embedders.items():
            for side, number in (("in", 1), ("out", 2)):
                name = f"time_text_embed.{new}_embedder.linear_{number}.{kind}"
                if name in weights:
                    found[f"{old}.{side}_layer.{kind}"] = weights[name]
        found[f"txt_in.{kind}"] = weights[f"context_embedder.{kind}"]
        found[f"img_in.{kind}"] = weights[f"x_embedder.{kind}"]
        found[f"final_layer.linear.{kind}"] = weights[f"proj_out.{kind}"]
        scale, shift = weights[f"norm_out.linear.{kind}"].chunk(2)
        found[f"final_layer.adaLN_modulation.1.{kind}"] = torch.cat([shift, scale])
    number = 0
    while f"transformer_blocks.{number}.norm1.linear.weight" in weights:
        new, old = f"transformer_blocks.{number}", f"double_blocks.{number}"
        for kind in ("weight", "bias"):
            qkv = [f"{new}.attn.to_{one}.{kind}" for one in "qkv"]
            added = [f"{new}.attn.add_{one}_proj.{kind}" for one in "qkv"]
            found[f"{old}.img_attn.qkv.{kind}"], found[f"{old}.txt_attn.qkv.{kind}"] = taken(*qkv), taken(*added)
            for side, ours in (
                ("img_mod.lin", "norm1.linear"),
                ("txt_mod.lin", "norm1_context.linear"),
                ("img_mlp.0", "ff.net.0.proj"),
                ("img_mlp.2", "ff.net.2"),
                ("txt_mlp.0", "ff_context.net.0.proj"),
                ("txt_mlp.2", "ff_context.net.2"),
                ("img_attn.proj", "attn.to_out.0"),
                ("txt_attn.proj", "attn.to_add_out"),
            ):
                found[f"{old}.{side}.{kind}"] = weights[f"{new}.{ours}.{kind}"]
        for side, ours in (
            ("img_attn.norm.query_norm", "norm_q"),
            ("img_attn.norm.key_norm", "norm_k"),
            ("txt_attn.norm.query_norm", "norm_added_q"),
            ("txt_attn.norm.key_norm", "norm_added_k"),
        ):
            found[f"{old}.{side}.scale"] = weights[f"{new}.attn.{ours}.weight"]
        number += 1
    number = 0
    while f"single_transformer_blocks.{number}.norm.linear.weight" in weights:
        new, old = f"single_transformer_blocks.{number}", f"single_blocks.{number}"
        for kind in ("weight", "bias"):
            found[f"{old}.modulation.lin.{kind}"] = weights[f"{new}.norm.linear.{kind}"]
            qkv = [f"{new}.attn.to_{one}.{kind}" for one in "qkv"]
            found[f"{old}.linear1.{kind}"] = taken(*qkv, f"{new}.proj_mlp.{kind}")
            found[f"{old}.linear2.{kind}"] = weights[f"{new}.proj_out.{kind}"]
        for side, ours in (("norm.query_norm", "norm_q"), ("norm.key_norm", "norm_k")):
            found[f"{old}.{side}.scale"] = weights[f"{new}.attn.{ours}.weight"]
        number += 1
    return {key: one.clone().contiguous() for key, one in found.items()}


def flux_file(folder: Path, tmp_path: Path, prefix: str = "", **more: Tensor) -> Path:
    weights = published(load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors"))
    save_file({**{prefix + key: one for key, one in weights.items()}, **more}, tmp_path / "flux.safetensors")
    return tmp_path / "flux.safetensors"


@pytest.mark.usefixtures("as_wide_as_the_tiny_one")
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_fluxs_transformer_is_that_of_the_folder(prefix: str, tiny_flux: Path, tmp_path: Path) -> None:
    beside = {"vae.decoder.conv_in.weight": torch.ones(2)} if prefix else {}
    file = flux_file(tiny_flux, tmp_path, prefix, **beside)
    assert pipeline_of(str(file)) == "FluxPipeline"
    model, same = load(file, parts=str(tiny_flux)), Flux.from_folder(tiny_flux)
    for place, ours in model.networks().items():
        same_weights(ours, same.networks()[place])
    assert model.guidance == same.guidance == "told" and model.resolution == same.resolution


@pytest.mark.usefixtures("as_wide_as_the_tiny_one")
def test_a_flux_that_is_told_no_guidance_is_known_by_its_weights(tmp_path: Path) -> None:
    folder = build_tiny_flux(tmp_path / "schnell", guidance_embeds=False, layers=1, single_layers=2)
    model = load(flux_file(folder, tmp_path), parts=str(folder))
    assert model.guidance == "none" and len(model.network.transformer_blocks) == 1


def test_a_transformer_alone_says_what_is_missing_and_how_to_give_it(tiny_flux: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="text encoders and VAE are missing") as refused:
        load(flux_file(tiny_flux, tmp_path))
    assert "parts_model" in refused.value.remedy


def test_a_file_that_is_no_model_is_told_of_and_not_its_parts(tmp_path: Path, tiny_flux: Path) -> None:
    file = tmp_path / "flux.gguf"
    file.write_bytes(b"GGUX" + b"1" * 500)
    with pytest.raises(ModelUnavailable) as refused:
        load(file, parts=str(tiny_flux))
    assert "flux.gguf" in refused.value.message and "parts" not in refused.value.message


@pytest.mark.usefixtures("as_wide_as_the_tiny_one")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without("double_blocks.1.img_mod.lin.bias"), "weights of transformer are missing, such as double_blocks.1"),
        (plus("double_blocks.0.strange"), "no place for 1 weight of transformer"),
        (plus("double_blocks.0.img_attn.qkv.scale_weight"), "which are not read"),
        (lambda old: {**old, "txt_in.weight": torch.ones(3, 3)}, "another shape"),
        (lambda old: {**old, "img_in.weight": torch.ones(32, 384)}, "a model that takes a picture too"),
    ],
)
def test_what_does_not_fit_flux_is_named(change: Any, says: str, tiny_flux: Path, tmp_path: Path) -> None:
    file = flux_file(tiny_flux, tmp_path)
    weights = change(load_file(file))
    save_file(weights, file)
    with pytest.raises(ModelUnavailable, match=says):
        load(file, parts=str(tiny_flux))


def test_parts_are_for_a_file_that_has_not_all(tmp_path: Path, tiny_flux: Path) -> None:
    folder = build_tiny_stable_diffusion(tmp_path / "sd")
    with pytest.raises(ModelUnavailable, match="has all its parts itself") as refused:
        load(folder, parts=str(tiny_flux))
    assert "parts_model" in refused.value.remedy


def test_a_stable_diffusion_3_in_one_file_is_named(tmp_path: Path) -> None:
    weights = single_file(build_tiny_stable_diffusion(tmp_path / "sd"))
    save_file({**weights, "model.diffusion_model.joint_blocks.0.x": torch.ones(1)}, tmp_path / "sd3.safetensors")
    assert pipeline_of(str(tmp_path / "sd3.safetensors")) == "StableDiffusion3Pipeline"
    with pytest.raises(ModelUnavailable, match="Stable Diffusion 3 model, which is not read from a single file"):
        load(tmp_path / "sd3.safetensors")


def test_the_shipped_settings_of_flux_make_the_published_network() -> None:
    """Its number of weights is that of FLUX.1 dev: 11901 million."""
    read = json.loads((flux.SETTINGS / "transformer" / "config.json").read_text())
    with init_empty_weights():
        network = FluxTransformer2DModel.from_config(read)
    assert sum(one.numel() for one in network.parameters()) == 11_901_408_320
