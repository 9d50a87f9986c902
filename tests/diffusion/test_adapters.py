"""Adapters: merged weights do what the factors do beside the layers, wider inputs change nothing by themselves, and
what does not fit is refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from gas.diffusion.adapters import adapt, factors_of, find_base, merge, pack, unpack, write_adapter
from gas.diffusion.load import backbone_from_folder
from gas.diffusion.stable_diffusion import StableDiffusion
from gas.errors import ModelUnavailable

pytestmark = pytest.mark.seeded  # libraries draw the first weights of the networks in here


LAYERS = (
    "down_blocks.0.resnets.0.conv1",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k",
    "time_embedding.linear_1",
)


@pytest.fixture(scope="module")
def unet(tiny_sd: Path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(tiny_sd / "unet").eval().requires_grad_(False)


@pytest.fixture(scope="module")
def adapter(unet: UNet2DConditionModel) -> dict[str, Tensor]:
    """Factors of rank 3 for a convolution and two matrices, and a whole vector."""
    generator, weights = torch.Generator().manual_seed(0), unet.state_dict()
    found = {"conv_out.bias": torch.ones_like(weights["conv_out.bias"])}
    for layer in LAYERS:
        weight = weights[f"{layer}.weight"]
        down, up = factors_of(f"{layer}.weight")
        found[down] = torch.randn(3, *weight.shape[1:], generator=generator) * 0.2
        found[up] = torch.randn(len(weight), 3, *[1] * (weight.ndim - 2), generator=generator) * 0.2
    return found


def _asked(unet: UNet2DConditionModel, channels: int | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(2, channels or unet.config.in_channels, 16, 16, generator=generator)
    text = torch.randn(2, 5, unet.config.cross_attention_dim, generator=generator)
    with torch.no_grad():
        return unet(z, torch.tensor([300, 700]), text).sample


def test_merged_weights_do_what_the_factors_do_beside_the_layers(
    unet: UNet2DConditionModel, adapter: dict[str, Tensor]
) -> None:
    hooks = []
    for layer in LAYERS:
        module = unet.get_submodule(layer)
        down, up = (adapter[name] for name in factors_of(f"{layer}.weight"))

        def beside(
            module: nn.Module, inputs: tuple[Tensor], out: Tensor, down: Tensor = down, up: Tensor = up
        ) -> Tensor:
            if isinstance(module, nn.Conv2d):
                inner = nn.functional.conv2d(inputs[0], down, stride=module.stride, padding=module.padding)
                return out + nn.functional.conv2d(inner, up)
            return out + inputs[0] @ down.T @ up.T

        hooks.append(module.register_forward_hook(beside))
    unmerged = _asked(unet) + 1  # the bias of conv_out was 0 and is 1
    plain_bias = unet.state_dict()["conv_out.bias"]
    for hook in hooks:
        hook.remove()
    merged = _asked(adapt(unet, adapter))
    assert torch.allclose(merged, unmerged - plain_bias[:, None, None], atol=1e-5)
    assert not torch.allclose(merged, _asked(unet) + 1 - plain_bias[:, None, None], atol=1e-2)


def test_gradients_reach_factors_and_whole_weights(unet: UNet2DConditionModel, adapter: dict[str, Tensor]) -> None:
    trained = {name: value.clone().requires_grad_() for name, value in adapter.items()}
    sum(value.square().sum() for value in merge(unet.state_dict(), trained).values()).backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in trained.values())


def test_channels_with_zeros_change_nothing_and_others_do(unet: UNet2DConditionModel) -> None:
    first = unet.state_dict()["conv_in.weight"]
    wide = adapt(unet, {"conv_in.weight": torch.cat([first, torch.zeros_like(first)], 1)})
    assert wide.config.in_channels == 2 * unet.config.in_channels == wide.conv_in.in_channels
    generator = torch.Generator().manual_seed(2)
    z, source = torch.randn(2, 2, 4, 16, 16, generator=generator)
    text, t = torch.randn(2, 5, unet.config.cross_attention_dim, generator=generator), torch.tensor([9, 900])
    with torch.no_grad():
        assert torch.allclose(wide(torch.cat([z, source], 1), t, text).sample, unet(z, t, text).sample, atol=1e-6)
        other = adapt(unet, {"conv_in.weight": torch.cat([first, first], 1)})
        assert not torch.allclose(other(torch.cat([z, source], 1), t, text).sample, unet(z, t, text).sample, atol=1e-3)


def test_a_difference_is_added_and_may_be_wider(unet: UNet2DConditionModel) -> None:
    first = unet.state_dict()["conv_in.weight"]
    wide = adapt(unet, {"conv_in.weight.diff": torch.cat([first, 2 * first], 1), "conv_out.bias.diff": torch.ones(4)})
    weights = wide.state_dict()
    assert wide.config.in_channels == 2 * unet.config.in_channels
    assert torch.equal(weights["conv_in.weight"], torch.cat([2 * first, 2 * first], 1))
    assert torch.equal(weights["conv_out.bias"], unet.state_dict()["conv_out.bias"] + 1)


def test_eight_bits_keep_a_250th_of_each_row(adapter: dict[str, Tensor]) -> None:
    packed = pack(adapter)
    again = unpack(packed)
    assert again.keys() == adapter.keys()
    for name, value in adapter.items():
        if value.ndim < 2:
            assert packed[name].dtype == torch.float16 and torch.equal(again[name], value.half())
            continue
        assert packed[name].dtype == torch.int8
        apart = (again[name] - value).flatten(1).abs().amax(1)
        assert (apart <= value.flatten(1).abs().amax(1) / 250).all()
    assert not unpack(pack({"w": torch.zeros(2, 3)}))["w"].any()


def test_a_packed_folder_is_half_as_large_and_nearly_the_same(
    tiny_sd: Path, tmp_path: Path, adapter: dict[str, Tensor]
) -> None:
    shutil.copytree(tiny_sd, tmp_path / "sd")
    large = {
        f"{name}.diff": 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
        for name, weight in StableDiffusion.from_folder(tmp_path / "sd").network.state_dict().items()
        if name.startswith("mid_block.resnets") and weight.ndim > 1
    }
    sizes = [write_adapter(tmp_path / name, {**adapter, **large}, "../sd", name == "b") for name in ("a", "b")]
    assert sizes[1] < 0.75 * sizes[0]
    a, b = (_asked(StableDiffusion.from_folder(tmp_path / name).network) for name in ("a", "b"))
    assert torch.allclose(a, b, atol=0.02) and not torch.equal(a, b)


def test_eight_bits_without_a_scale_are_refused() -> None:
    with pytest.raises(ModelUnavailable, match=r"no scale for 'conv_in\.weight'"):
        unpack({"conv_in.weight": torch.ones(2, 2, dtype=torch.int8)})


def test_an_adapted_unet_keeps_its_dtype_and_is_frozen(unet: UNet2DConditionModel, adapter: dict[str, Tensor]) -> None:
    half = UNet2DConditionModel.from_config(unet.config)
    nn.Module.to(half, torch.bfloat16)
    adapted = adapt(half, adapter)
    assert adapted.dtype == torch.bfloat16 and not adapted.training
    assert not any(parameter.requires_grad for parameter in adapted.parameters())


def test_a_folder_with_an_adapter_is_a_model_and_adapters_rest_on_each_other(
    tiny_sd: Path, tmp_path: Path, unet: UNet2DConditionModel, adapter: dict[str, Tensor]
) -> None:
    shutil.copytree(tiny_sd, tmp_path / "sd")
    size = write_adapter(tmp_path / "one", adapter, "../sd")
    assert size == sum(path.stat().st_size for path in (tmp_path / "one").iterdir()) < 40_000
    write_adapter(tmp_path / "two", {"conv_out.bias": torch.full((4,), 3.0)}, "../one")
    assert find_base(tmp_path / "two")[0] == (tmp_path / "sd").resolve()
    assert find_base(tmp_path / "sd") == (tmp_path / "sd", ())
    loaded = {name: StableDiffusion.from_folder(tmp_path / name).network for name in ("sd", "one", "two")}
    halved = {name: value.half().float() for name, value in adapter.items()}
    assert torch.equal(_asked(loaded["sd"]), _asked(unet))
    assert torch.allclose(_asked(loaded["one"]), _asked(adapt(unet, halved)), atol=1e-6)
    assert torch.allclose(_asked(loaded["two"]), _asked(loaded["one"]) + 2, atol=1e-5)


def test_a_text_to_image_editor_refuses_an_instruction_model_made_by_an_adapter(
    tiny_sd: Path, tmp_path: Path, unet: UNet2DConditionModel
) -> None:
    shutil.copytree(tiny_sd, tmp_path / "sd")
    first = unet.state_dict()["conv_in.weight"]
    write_adapter(tmp_path / "instruct", {"conv_in.weight": torch.cat([first, first], 1)}, "../sd")
    assert backbone_from_folder(tmp_path / "instruct", kind="instruction").network.config.in_channels == 8
    with pytest.raises(ModelUnavailable, match=r"takes 8 channels \(an instruction model"):
        StableDiffusion.from_folder(tmp_path / "instruct")


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("{", "does not name a base"),
        ("[]", "does not name a base"),
        ('{"base": ""}', "does not name a base"),
        ('{"base": "../nothing"}', "'../nothing', which is not there"),
        ('{"base": "."}', "more than 4 adapters rest on each other"),
    ],
)
def test_a_bad_description_is_named(description: str, said: str, tmp_path: Path) -> None:
    write_adapter(tmp_path, {"conv_out.bias": torch.ones(4)}, "x")
    (tmp_path / "adapter.json").write_text(description)
    with pytest.raises(ModelUnavailable, match=said):
        find_base(tmp_path)


def test_a_description_without_weights_is_named(tmp_path: Path) -> None:
    (tmp_path / "adapter.json").write_text(json.dumps({"base": "."}))
    with pytest.raises(ModelUnavailable, match=r"adapter\.safetensors is missing"):
        find_base(tmp_path)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"conv_gone.weight": torch.ones(2)}, "its base has no weight for 'conv_gone.weight'"),
        ({"conv_out.lora_A.weight": torch.ones(1, 8, 3, 3)}, "only one of two factors: 'conv_out.lora_A.weight'"),
        ({"conv_out.bias": torch.ones(7)}, "size mismatch for conv_out.bias"),
        ({}, "has no weights"),
        ({"conv_out.lora_A.weight": torch.ones(1, 5), "conv_out.lora_B.weight": torch.ones(4, 1)}, "does not fit"),
    ],
)
def test_an_adapter_of_another_model_is_refused(
    weights: dict[str, Tensor], said: str, unet: UNet2DConditionModel
) -> None:
    with pytest.raises(ModelUnavailable, match=f"^the one here.*{said}"):
        adapt(unet, weights, "the one here")
