"""LoRAs: merged exactly, with their weight, into the networks that they were made for, or refused with the reason.

Those that merge need peft, which is kept apart (`tests/apart.py`)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from apart import needs
from random_state import generator
from safetensors.torch import save_file
from torch import Tensor

import gas
from gas.diffusion.load import load_backbone
from gas.diffusion.lora import family_of_lora
from gas.errors import ModelUnavailable, UsageError
from gas.files import sha256_of
from gas.models.manifest import lora_of, models_of
from gas.runtime import Runtime
from gas.testing.contracts import sample_image
from gas.testing.tiny import (
    build_tiny_flux,
    build_tiny_stable_diffusion,
    build_tiny_stable_diffusion_3,
    build_tiny_stable_diffusion_xl,
)

FAMILIES: dict[str, Callable[[Path], Path]] = {
    "sd": build_tiny_stable_diffusion,
    "xl": build_tiny_stable_diffusion_xl,
    "sd3": build_tiny_stable_diffusion_3,
    "flux": build_tiny_flux,
}
TEXTS = {"sd": ["text_encoder"], "xl": ["text_encoder", "text_encoder_2"], "sd3": ["text_encoder"], "flux": []}

with_peft = needs("peft")
seeded = pytest.mark.seeded  # peft draws first weights, which are then replaced


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {name: build(folder / name) for name, build in FAMILIES.items()}


def load(model: Path, *loras: str) -> Any:
    return load_backbone(str(model), Runtime(device="cpu", dtype="fp32"), loras=loras)


def lora_for(model: Any, texts: list[str], rank: int = 2, seed: int = 0) -> dict[str, Tensor]:
    """A LoRA for the queries and values of a model's networks, under diffusers' names."""
    draw = generator(seed)
    made = {}
    for place, network in model.networks().items():
        ends = ("q_proj", "v_proj") if place in texts else ("to_q", "to_v")
        if place == "vae" or (place.startswith("text") and place not in texts):
            continue
        for name, module in network.named_modules():
            if name.endswith(ends):
                old = place.startswith("text") and not name.startswith("text_model")
                full = f"text_model.{name}" if old else name
                made[f"{place}.{full}.lora_A.weight"] = torch.randn(rank, module.in_features, generator=draw)
                made[f"{place}.{full}.lora_B.weight"] = torch.randn(module.out_features, rank, generator=draw)
    return made


def expected(model: Any, lora: dict[str, Tensor], weight: float) -> dict[str, dict[str, Tensor]]:
    """The weights of the model's networks with those of the LoRA added, by hand."""
    made = {}
    for place, network in model.networks().items():
        state = {name: one.clone() for name, one in network.state_dict().items()}
        for key in lora:
            module = key.removesuffix(".lora_A.weight")
            if not module.startswith(f"{place}.") or module == key:
                continue
            name = f"{module.removeprefix(f'{place}.')}.weight"
            name = name if name in state else name.removeprefix("text_model.")
            state[name] += weight * lora[f"{module}.lora_B.weight"] @ lora[key]
        made[place] = state
    return made


@with_peft
@seeded
@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_added_with_its_weight_and_nothing_else_changes(
    family: str, models: dict[str, Path], tmp_path: Path
) -> None:
    plain = load(models[family])
    lora = lora_for(plain, TEXTS[family])
    file = tmp_path / "style.safetensors"
    save_file(lora, file)
    changed = load(models[family], f"{file}=0.5")
    for place, state in expected(plain, lora, 0.5).items():
        network = changed.networks()[place]
        assert network.state_dict().keys() == state.keys()
        assert not any(one.requires_grad for one in network.parameters()) and not network.training
        for name, one in network.state_dict().items():
            torch.testing.assert_close(one, state[name], atol=1e-5, rtol=1e-5)
    assert not any("peft" in type(module).__module__ for module in changed.network.modules())
    assert changed.attention_sites() and len(changed.attention_sites()) == len(plain.attention_sites())


@with_peft
@seeded
def test_several_are_merged_one_after_the_other(models: dict[str, Path], tmp_path: Path) -> None:
    plain = load(models["sd"])
    one, two = (lora_for(plain, ["text_encoder"], seed=seed) for seed in (1, 2))
    save_file(one, tmp_path / "one.safetensors"), save_file(two, tmp_path / "two.safetensors")
    both = load(models["sd"], f"{tmp_path / 'one.safetensors'}", f"{tmp_path / 'two.safetensors'}=-0.5")
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    added = sum(
        weight * lora[f"unet.{name}.lora_B.weight"] @ lora[f"unet.{name}.lora_A.weight"]
        for lora, weight in ((one, 1), (two, -0.5))
    )
    before = plain.network.state_dict()[f"{name}.weight"]
    torch.testing.assert_close(both.network.state_dict()[f"{name}.weight"], before + added, atol=1e-4, rtol=1e-4)


@with_peft
@seeded
def test_the_names_of_other_programs_are_read(models: dict[str, Path], tmp_path: Path) -> None:
    plain = load(models["sd"])
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    module = dict(plain.network.named_modules())[name]
    down = torch.randn(2, module.in_features, generator=generator(0))
    up = torch.randn(module.out_features, 2, generator=generator(1))
    key = f"lora_unet_{name.replace('.', '_')}"
    save_file(
        {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(1.0)},
        tmp_path / "kohya.safetensors",
    )
    changed = load(models["sd"], str(tmp_path / "kohya.safetensors"))
    torch.testing.assert_close(
        changed.network.state_dict()[f"{name}.weight"],
        plain.network.state_dict()[f"{name}.weight"] + 0.5 * up @ down,  # alpha / rank
        atol=1e-5,
        rtol=1e-5,
    )


@with_peft
@seeded
@pytest.mark.parametrize(("of", "to"), [("xl", "sd"), ("sd", "xl"), ("flux", "sd"), ("flux", "xl"), ("sd3", "sd"),
                                         ("sd", "flux"), ("sd", "sd3"), ("flux", "sd3")])  # fmt: skip
def test_one_for_another_family_is_refused(of: str, to: str, models: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file(lora_for(load(models[of]), []), file)
    with pytest.raises(ModelUnavailable, match=r"other\.safetensors") as refused:
        load(models[to], str(file))
    assert refused.value.exit_code == 6 and "lora" in refused.value.remedy


@with_peft
@seeded
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda old: {**old, "unet.strange.to_q.lora_A.weight": torch.ones(2, 8),
                      "unet.strange.to_q.lora_B.weight": torch.ones(8, 2)}, "a place for .* of its"),
        (lambda old: {key: one[:, :3] if key.endswith("lora_A.weight") else one for key, one in old.items()},
         r"half\.safetensors does not fit .*mismatch"),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit_are_named(change: Any, says: str, models: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "half.safetensors"
    lora = lora_for(load(models["sd"]), [])
    kept = {key: one for key, one in lora.items() if "attn1" in key}
    save_file({key: one.contiguous() for key, one in change(kept).items()}, file)
    with pytest.raises(ModelUnavailable, match=says) as refused:
        load(models["sd"], str(file))
    assert refused.value.remedy


@pytest.mark.parametrize("kind", ["no LoRA", "broken", "other ending", "two in a folder", "absent"])
def test_what_is_no_lora_is_refused(kind: str, models: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file({"weight": torch.ones(2)}, file)
    says = "holds no LoRA"
    if kind == "broken":
        file.write_bytes(b"\xff" * 20)
    elif kind == "other ending":
        file, says = tmp_path / "x.bin", "not a .safetensors file"
        file.write_bytes(b"x")
    elif kind == "two in a folder":
        save_file({"weight": torch.ones(2)}, tmp_path / "y.safetensors")
        file, says = tmp_path, "there are 2 files"
    elif kind == "absent":
        file, says = tmp_path / "absent.safetensors", "is not there"
    with pytest.raises(ModelUnavailable, match=says) as refused:
        load(models["sd"], str(file))
    assert refused.value.exit_code == 6 and refused.value.remedy


def test_a_lora_that_is_not_there_is_missed_before_the_model_is_read(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gas.diffusion.load.backbone_from_folder", None)
    with pytest.raises(ModelUnavailable, match="is not there"):
        load(models["sd"], str(tmp_path / "absent.safetensors"))


def test_without_peft_it_says_how_to_get_it(
    models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file({"lora": torch.ones(2)}, tmp_path / "x.safetensors")
    monkeypatch.setattr("gas.diffusion.lora.find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable, match="peft") as refused:
        load(models["sd"], str(tmp_path / "x.safetensors"))
    assert 'pip install "gas-edit[lora]"' in refused.value.remedy


def test_nothing_of_gas_imports_peft_unless_a_lora_is_named() -> None:
    """diffusers does, wherever it is installed: which is why it is an extra of its own."""
    code = "import gas.diffusion.load, gas.diffusion.lora, sys; assert 'peft' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("text", "model", "weight"),
    [("a.safetensors", "a.safetensors", 1.0), ("a=b/c.safetensors=0.8", "a=b/c.safetensors", 0.8), (" x=-1 ", "x", -1)],
)
def test_a_lora_is_a_file_with_a_weight(text: str, model: str, weight: float) -> None:
    assert lora_of(text) == (model, weight)


@pytest.mark.parametrize("text", ["a=", "a=much", "a=nan", "a=inf", "a=101", "=1"])
def test_a_weight_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not a weight"):
        lora_of(text)


def test_loras_count_as_models_of_a_backend() -> None:
    options = {"model": "x", "lora": ["a=0.5", "b"], "judge_model": None, "second_model": "y", "steps": 3}
    assert models_of(options) == [("model", "x"), ("lora", "a"), ("lora", "b"), ("second_model", "y")]


@pytest.mark.parametrize(
    ("name", "shape", "family"),
    [
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", (4, 768),
         ("Stable Diffusion 1.x", 768)),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight", (4, 2048),
         ("Stable Diffusion XL", 2048)),
        ("lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight", (4, 3072), ("FLUX.1", None)),
        ("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", (4, 3072), ("FLUX.1", None)),
        ("transformer.transformer_blocks.0.attn.add_k_proj.lora_A.weight", (4, 1536), ("Stable Diffusion 3", None)),
        ("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight", (4, 1280), ("", None)),
    ],
)  # fmt: skip
def test_a_family_is_told_by_names_and_shapes(name: str, shape: tuple[int, ...], family: Any) -> None:
    assert family_of_lora({name: shape}) == family


@with_peft
@seeded
def test_an_edit_records_it_with_its_hash(models: dict[str, Path], tmp_path: Path) -> None:
    file = tmp_path / "style.safetensors"
    save_file(lora_for(load(models["sd"]), []), file)
    image = sample_image(128, 128)

    def edited(*loras: str) -> Any:
        return gas.edit(
            image,
            "change the red box into a blue ball",
            regions=[gas.Region("red box", box=(30, 30, 90, 90))],
            model=str(models["sd"]),
            planner="rules",
            editor="dds",
            options={"dds": {"steps": 2}},
            seed=1,
            **({"lora": loras} if loras else {}),
        )

    plain, styled = edited(), edited(f"{file}=0.7")
    assert not np.array_equal(plain.image, styled.image)
    assert np.array_equal(plain.image[:30], styled.image[:30])
    told = styled.save(tmp_path / "out.png").record
    names = {model.id: model for model in told.models}
    assert names["style.safetensors"].files == {"style.safetensors": sha256_of(file)}
    assert told.editor.options["lora"] == ["style.safetensors=0.7"]
