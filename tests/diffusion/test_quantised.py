"""Weights of fewer bits: int8 by torchao and GGUF files, near the same predictions, placed at each rung, or refused
with what is missing. Most need torchao or gguf, which are kept apart (`tests/apart.py`)."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from apart import needs
from diffusers.loaders import single_file_model, single_file_utils
from random_state import generator
from safetensors.torch import load_file
from test_single_file_families import published

from gas import placement
from gas.diffusion.load import load_backbone
from gas.diffusion.single_file import flux
from gas.errors import ModelUnavailable
from gas.models.kind import pipeline_of
from gas.placement import LADDER, Rung, size_of
from gas.runtime import Runtime
from gas.testing.tiny import build_tiny_flux, build_tiny_stable_diffusion

pytestmark = pytest.mark.seeded


@pytest.fixture(scope="module")
def tiny_flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_flux(tmp_path_factory.mktemp("flux") / "model")


@pytest.fixture
def as_wide_as_the_tiny_one(tiny_flux: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """diffusers' code has the width of the published model as a number in it, 3072; here it is the tiny one's."""
    name = "convert_flux_transformer_checkpoint_to_diffusers"
    convert = getattr(single_file_utils, name)
    code = convert.__code__
    narrow = code.replace(co_consts=tuple(32 if one == 3072 else one for one in code.co_consts))
    changed = types.FunctionType(narrow, convert.__globals__, name)
    monkeypatch.setattr(single_file_utils, name, changed)
    known = single_file_model.SINGLE_FILE_LOADABLE_CLASSES["FluxTransformer2DModel"]
    monkeypatch.setitem(known, "checkpoint_mapping_fn", changed)
    monkeypatch.setattr(flux, "SETTINGS", tiny_flux)
    yield


def gguf_file(folder: Path, to: Path, *, without: str = "", architecture: str = "flux", **more: Any) -> Path:
    """The transformer in `folder` as programs write GGUF: matrices in blocks of 32 numbers of 8 bits with a factor."""
    import gguf
    import numpy as np

    kind = gguf.GGMLQuantizationType.Q8_0
    writer = gguf.GGUFWriter(str(to), architecture)
    weights = published(load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors"))
    for key, one in {**weights, **more}.items():
        array = one.float().numpy()
        if key == without:
            continue
        if array.ndim == 2 and array.shape[1] % 32 == 0:
            writer.add_tensor(key, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(key, array.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return to


def predicted(model: Any, *, gradient: bool = False) -> torch.Tensor:
    z = torch.randn(2, 16, 8, 8, generator=generator(0)).requires_grad_(gradient)
    found = model.predict(z, torch.tensor([0.5, 0.5]), model.condition(["a red box", "grass"], (8, 8)))
    if gradient:
        (found,) = torch.autograd.grad(found.square().sum(), z)
    return found.detach()


def near(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether 8 bits of each weight are left of what was: the difference is a few per cent, and there is one."""
    difference = float((one - other).abs().max() / other.abs().max())
    return 0 < difference < 0.1


@needs("torchao")
@pytest.mark.parametrize("gradient", [False, True], ids=["prediction", "gradient"])
def test_int8_predicts_nearly_the_same_with_less_memory(gradient: bool, tiny_flux: Path) -> None:
    plain = load_backbone(str(tiny_flux), Runtime(device="cpu", dtype="fp32"))
    small = load_backbone(str(tiny_flux), Runtime(device="cpu", dtype="fp32"), quantise="int8")
    assert near(predicted(small, gradient=gradient), predicted(plain, gradient=gradient))
    for place, network in small.networks().items():
        share = size_of(network) / size_of(plain.networks()[place])
        works = place in ("transformer", "text_encoder_2")
        assert share < 0.6 if works else share == 1, place


@needs("torchao")
@pytest.mark.parametrize("rung", LADDER)
def test_int8_is_placed_at_each_rung(rung: Rung, tiny_flux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "can_offload", lambda device: True)
    expected = predicted(load_backbone(str(tiny_flux), Runtime(device="cpu", dtype="fp32"), quantise="int8"))
    runtime = Runtime(device="cpu", dtype="fp32", memory=rung)
    assert torch.equal(predicted(load_backbone(str(tiny_flux), runtime, quantise="int8")), expected)
    assert runtime.rung == rung


@needs("gguf")
@pytest.mark.usefixtures("as_wide_as_the_tiny_one")
@pytest.mark.parametrize("rung", LADDER)
def test_a_gguf_file_predicts_nearly_the_same_at_each_rung(
    rung: Rung, tiny_flux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(placement, "can_offload", lambda device: True)
    file = gguf_file(tiny_flux, tmp_path / "flux-Q8_0.gguf")
    assert pipeline_of(str(file)) == "FluxPipeline"
    plain = load_backbone(str(tiny_flux), Runtime(device="cpu", dtype="fp32"))
    runtime = Runtime(device="cpu", dtype="fp32", memory=rung)
    model = load_backbone(str(file), runtime, parts=str(tiny_flux))
    assert near(predicted(model), predicted(plain)) and near(
        predicted(model, gradient=True), predicted(plain, gradient=True)
    )
    assert size_of(model.network) < 0.6 * size_of(plain.network) and model.guidance == "told"
    said = [str(one.message) for one in recwarn if "transformer cannot be moved layer by layer" in str(one.message)]
    assert len(said) == (rung == "lowest")
    assert not any(one.is_meta for one in model.network.parameters())


@needs("gguf")
@pytest.mark.usefixtures("as_wide_as_the_tiny_one")
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"without": "double_blocks.0.img_mod.lin.bias"}, "weights of transformer are missing"),
        ({"double_blocks.0.strange": torch.ones(3, 3)}, "no place for 1 weight of transformer"),
        ({"txt_in.weight": torch.ones(32, 7)}, "another shape"),
    ],
)
def test_what_does_not_fit_is_named(how: Any, says: str, tiny_flux: Path, tmp_path: Path) -> None:
    file = gguf_file(tiny_flux, tmp_path / "flux.gguf", **how)
    with pytest.raises(ModelUnavailable, match=says):
        load_backbone(str(file), Runtime(device="cpu", dtype="fp32"), parts=str(tiny_flux))


@needs("gguf")
def test_gguf_of_another_network_and_broken_ones_are_refused(tiny_flux: Path, tmp_path: Path) -> None:
    other = gguf_file(tiny_flux, tmp_path / "llama.gguf", architecture="llama")
    assert pipeline_of(str(other)) is None
    with pytest.raises(ModelUnavailable, match=r"neither \.safetensors nor \.ckpt"):
        load_backbone(str(other), Runtime(device="cpu"))
    file = gguf_file(tiny_flux, tmp_path / "flux.gguf")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load_backbone(str(file), Runtime(device="cpu"), parts=str(tiny_flux))


@needs("gguf")
@pytest.mark.parametrize("more", [{"loras": ("x.safetensors",)}, {"quantise": "int8"}], ids=["LoRA", "int8"])
def test_what_would_change_quantised_weights_is_refused(more: Any, tiny_flux: Path, tmp_path: Path) -> None:
    file = gguf_file(tiny_flux, tmp_path / "flux.gguf")
    with pytest.raises(ModelUnavailable, match="has weights of fewer bits already"):
        load_backbone(str(file), Runtime(device="cpu"), parts=str(tiny_flux), **more)


def test_without_the_packages_it_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gas.diffusion.quantised.find_spec", lambda name: None)
    folder = build_tiny_stable_diffusion(tmp_path / "sd")
    with pytest.raises(ModelUnavailable, match="torchao") as refused:
        load_backbone(str(folder), Runtime(device="cpu"), quantise="int8")
    assert 'pip install "gas-edit[quantised]"' in refused.value.remedy
    (tmp_path / "flux.gguf").write_bytes(
        b"GGUF" + bytes(28) + b"general.architecture" + (8).to_bytes(4, "little") + (4).to_bytes(8, "little") + b"flux"
    )
    with pytest.raises(ModelUnavailable, match="gguf") as refused:
        load_backbone(str(tmp_path / "flux.gguf"), Runtime(device="cpu"), parts=str(build_tiny_flux(tmp_path / "f")))
    assert 'pip install "gas-edit[quantised]"' in refused.value.remedy
