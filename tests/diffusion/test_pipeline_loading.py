"""Whole pipelines: placed as the setting `memory` says, with LoRAs merged, refused before they are read where they
cannot fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from apart import needs
from random_state import generator
from safetensors.torch import save_file

import gas
from gas import placement
from gas.diffusion.pipeline import load_pipeline
from gas.errors import OutOfResources
from gas.memory import Memory
from gas.placement import Rung
from gas.run.session import Session
from gas.runtime import Runtime
from gas.testing.contracts import sample_image
from gas.testing.tiny import build_tiny_stable_diffusion
from gas.testing.tiny_edit import build_tiny_kontext
from gas.types import EditPlan, Region, Subtask

pytestmark = pytest.mark.seeded

PLAN = EditPlan(subtasks=(Subtask(source="red box", target="blue ball"),))
PLACE = Region("red box", (16, 8, 56, 48), subtask=0)


@pytest.fixture(scope="module")
def kontext(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_tiny_kontext(tmp_path_factory.mktemp("kontext") / "model"))


@pytest.mark.parametrize("rung", ["all", "offload"])
def test_an_editor_of_pipelines_works_at_the_rung_that_is_asked(
    rung: Rung, kontext: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "can_offload", lambda device: True)
    session = Session.of(
        profile="kontext",
        editor="edit-model",
        model=kontext,
        options={"edit-model": {"steps": 2, "resolution": 64, "realign": False}},
        device="cpu",
        dtype="fp32",
        memory=rung,
    )
    image = sample_image(96, 64)
    made = gas.edit(image, plan=PLAN, regions=[PLACE], seed=1, session=session)
    assert session.runtime.rung == rung
    pipeline = load_pipeline(kontext, session.runtime, "FluxKontextPipeline")
    assert hasattr(pipeline.transformer, "_hf_hook") == (rung == "offload")
    outside = made.mask == 0
    assert outside.any() and np.array_equal(made.image[outside], image[outside])
    assert not np.array_equal(made.image, image)


@needs("peft")
def test_loras_are_merged_into_a_pipeline(tmp_path: Path) -> None:
    folder = str(build_tiny_stable_diffusion(tmp_path / "model"))
    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    plain = load_pipeline(folder, Runtime(device="cpu", dtype="fp32"), "StableDiffusionPipeline")
    layer = dict(plain.unet.named_modules())[name]
    down = torch.randn(2, layer.in_features, generator=generator(0))
    up = torch.randn(layer.out_features, 2, generator=generator(1))
    save_file({f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}, tmp_path / "x.safetensors")
    styled = load_pipeline(
        folder,
        Runtime(device="cpu", dtype="fp32"),
        "StableDiffusionPipeline",
        loras=(f"{tmp_path / 'x.safetensors'}=0.5",),
    )
    expected = layer.weight + 0.5 * up @ down
    torch.testing.assert_close(dict(styled.unet.named_modules())[name].weight, expected, atol=1e-5, rtol=1e-5)


def test_one_that_cannot_fit_is_refused_before_it_is_read(kontext: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gas.diffusion.memory.memory", lambda: Memory(1000, 1000))
    monkeypatch.setattr("gas.diffusion.memory.swap", lambda: 0)
    with pytest.raises(OutOfResources, match="not enough memory to load") as refused:
        load_pipeline(kontext, Runtime(device="cpu", dtype="fp32"), "FluxKontextPipeline")
    assert refused.value.exit_code == 7
