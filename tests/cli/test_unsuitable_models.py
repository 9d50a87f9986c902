"""`gas edit` with a model that cannot do what is asked: each its exit code, what to do, and nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_cli import Said, gas, here  # noqa: F401 (the last two are fixtures)

pytest.importorskip("torch")

import torch
from safetensors.torch import save_file

from gas.memory import Memory
from gas.testing.tiny import build_tiny_flux, build_tiny_stable_diffusion, build_tiny_stable_diffusion_3
from gas.testing.tiny_edit import build_tiny_kontext

EARLIER = b"an earlier result"


@pytest.fixture
def edit(gas: Callable[..., Said], here: Path) -> Callable[..., Said]:  # noqa: F811
    """The program with a model, an editor and more; what must not change is compared after each call that fails."""
    (here / "out.png").write_bytes(EARLIER)
    before = (here / "dog.png").read_bytes()
    call = ["edit", "dog.png", "change the dog into a cat", "--profile", "sd15", "--planner", "rules", "--grounder"]
    call += ["none", "--box", "dog=30,20,80,60", "--seed", "1", "--device", "cpu", "--dtype", "fp32", "--overwrite"]

    def run(model: Path, editor: str, *more: str) -> Said:
        said = gas(*call, "-o", "out.png", "--model", str(model), "--editor", editor, *more)
        assert "Traceback" not in said.err and (here / "dog.png").read_bytes() == before
        if said.code:
            assert (here / "out.png").read_bytes() == EARLIER
            assert sorted(path.name for path in here.iterdir() if path.suffix == ".png") == ["dog.png", "out.png"]
        return said

    return run


def test_a_model_of_the_wrong_kind_for_an_editor(edit: Callable[..., Said], tmp_path: Path) -> None:
    text_to_image = build_tiny_flux(tmp_path / "flux")
    said = edit(text_to_image, "edit-model")
    assert said.code == 6 and "FluxPipeline, which is no model that edits a picture by an instruction" in said.err
    assert "leave --profile and --editor out" in said.err
    said = edit(text_to_image, "prompt-to-prompt")
    assert said.code == 6 and "Prompt-to-Prompt" in said.err and "take another editor" in said.err
    said = edit(build_tiny_kontext(tmp_path / "kontext"), "instruct-pix2pix")
    assert said.code == 6 and "instruction model" in said.err


def test_a_lora_for_another_family(edit: Callable[..., Said], tmp_path: Path) -> None:
    """It is told by its names and shapes, without peft."""
    model, lora = build_tiny_stable_diffusion(tmp_path / "sd"), tmp_path / "style.safetensors"
    name = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    save_file({f"{name}.lora_A.weight": torch.ones(4, 2048), f"{name}.lora_B.weight": torch.ones(16, 4)}, lora)
    said = edit(model, "dds", "-o", "dds.steps=2", "--lora", str(lora))
    assert said.code == 6 and "style.safetensors" in said.err and "Stable Diffusion XL" in said.err
    assert "leave --lora out, or name the model that it was made for" in said.err


def test_too_little_memory(edit: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_tiny_stable_diffusion(tmp_path / "sd")
    monkeypatch.setattr("gas.diffusion.memory.memory", lambda: Memory(1000, 1000))
    monkeypatch.setattr("gas.diffusion.memory.swap", lambda: 0)
    for editor in ("dds", "inpaint"):
        said = edit(model, editor)
        assert said.code == 7 and "not enough memory to load" in said.err and "are free" in said.err
        assert "--dtype bf16" in said.err and "smaller model" in said.err


def test_a_text_encoder_that_is_missing(
    edit: Callable[..., Said],
    here: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Stable Diffusion 3 works without T5, and says so; without CLIP it is refused."""
    model = build_tiny_stable_diffusion_3(tmp_path / "sd3", t5=False)
    said = edit(model, "flow-edit", "-o", "flow-edit.steps=2")
    assert said.code == 0 and "has no T5 encoder" in said.err and "77 tokens" in said.err
    (here / "out.png").write_bytes(EARLIER)
    (model / "text_encoder_2").rename(tmp_path / "away")
    said = edit(model, "flow-edit", "-o", "flow-edit.steps=2")
    assert said.code == 6 and "text_encoder_2/config.json missing" in said.err and "give a folder with" in said.err
