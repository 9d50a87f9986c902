"""`gas bench speed`: the rows are those of the arithmetic, and what is measured is what it says."""

from __future__ import annotations

import io
import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import warm_program
from diffusers import UNet2DConditionModel
from rich.console import Console
from tiny_detectors import build_tiny_sam
from transformers import SamConfig, SamModel

from gas.diffusion.load import load_backbone
from gas.diffusion.stable_diffusion import StableDiffusion
from gas.errors import ResultRefused, UsageError
from gas.runtime import Runtime
from gas.testing.tiny import (
    build_tiny_flux,
    build_tiny_stable_diffusion,
    build_tiny_stable_diffusion_3,
    build_tiny_stable_diffusion_xl,
)
from gas_diorama.bench import real_sizes, speed, speed_backbones, speed_grounding
from gas_diorama.bench.random_weights import build_model
from gas_diorama.bench.speed import Cost, Report

NARROW: dict[str, dict[str, Any]] = {
    "sd15": {"block_out_channels": [64, 64, 64, 64], "cross_attention_dim": 32},
    "sdxl": {
        "block_out_channels": [32, 32, 32],
        "attention_head_dim": [1, 2, 2],
        "transformer_layers_per_block": [1, 1, 1],
        "cross_attention_dim": 80,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 72,
    },
    "sd3": {
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "caption_projection_dim": 16,
        "pooled_projection_dim": 28,
        "pos_embed_max_size": 16,
        "dual_attention_layers": [0],
    },
    "flux": {
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 32,
        "pooled_projection_dim": 12,
        "axes_dims_rope": [4, 6, 6],
    },
    "qwen": {"num_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2, "joint_attention_dim": 32,
             "axes_dims_rope": [4, 6, 6]},
}  # fmt: skip
"""Widths that make each family's network tiny; all else is as published."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_tiny_stable_diffusion(tmp_path_factory.mktemp("sd")))


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


@pytest.fixture(scope="module")
def report(folder: str, runtime: Runtime) -> Report:
    return speed.run(["diorama"], subtasks=(1, 3), contrast=(2,), steps=2, repeats=1, model=folder, runtime=runtime)


def found(report: Report, subtasks: int, preset: str) -> Cost:
    (cost,) = [cost for cost in report.costs if (cost.subtasks, cost.preset) == (subtasks, preset)]
    return cost


@pytest.mark.parametrize("k", [1, 3])
def test_rows_without_contrast(report: Report, k: int) -> None:
    assert found(report, k, "paper").rows == 2 * k + 4
    assert found(report, k, "official-code").rows == 4 * (k + 1)
    assert found(report, k, "fast").rows == k + 2
    filling = found(report, k, "fast").filling
    assert filling is not None and filling[0] == 2 * k + 4
    assert found(report, k, "paper").filling is None


def test_contrast_takes_no_rows_of_its_own_but_in_the_reference_codes_way(report: Report) -> None:
    k = 2
    assert found(report, k, "paper").rows == 2 * k + 4
    assert found(report, k, "official-code").rows == 4 * (k + 1) + k
    assert found(report, k, "fast").rows == k + 2


def test_ratios_are_of_a_whole_edit(report: Report) -> None:
    assert found(report, 3, "official-code").rows_ratio == 1
    assert found(report, 3, "official-code").time_ratio == 1
    assert found(report, 3, "paper").rows_ratio == pytest.approx(1.6)
    assert found(report, 3, "fast").rows_ratio == pytest.approx(500 * 16 / (64 * 10 + 436 * 5))


def test_time_outside_is_a_share_of_the_step(report: Report) -> None:
    for cost in report.costs:
        assert (cost.outside is None) == cost.contrast
        assert cost.seconds > 0
        assert cost.outside is None or 0 < cost.outside < 1


@pytest.mark.seeded
def test_a_slow_network_leaves_less_time_outside(folder: str, runtime: Runtime, report: Report) -> None:
    network = load_backbone(folder, runtime).network
    slow = network.conv_out.register_forward_hook(lambda *_: time.sleep(0.5))
    try:
        slowed = speed.run(["diorama"], subtasks=(3,), contrast=(), steps=1, repeats=1, model=folder, runtime=runtime)
    finally:
        slow.remove()
    outside = found(slowed, 3, "paper").outside
    assert outside is not None and outside < (found(report, 3, "paper").outside or 0)
    assert found(slowed, 3, "official-code").seconds > 4 * 0.5  # one call a turn


def test_nothing_stays_hooked(report: Report, folder: str, runtime: Runtime) -> None:
    network = load_backbone(folder, runtime).network
    assert not network._forward_hooks and not network._forward_pre_hooks


def test_report_for_machines_and_for_people(report: Report) -> None:
    data = json.loads(json.dumps(report.as_json()))
    assert data["suite"] == "speed" and len(data["costs"]) == len(report.costs) and data["demo"] is None
    assert data["threads"] == torch.get_num_threads()
    console = Console(file=io.StringIO(), width=140)
    console.print(report.tables())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "official-code" in shown and "1.60x" in shown and "10" in shown


def test_the_demos_edit_is_measured_in_its_own_process(folder: str, tmp_path: Path, runtime: Runtime) -> None:
    profile = tmp_path / "tiny.toml"
    profile.write_text(f'editor = "ground-a-score"\n[options.ground-a-score]\nmodel = "{folder}"\n')
    cost = speed.demo_cost(runtime, steps=2, profile=str(profile))
    assert cost.steps == 2
    assert 0 < cost.editing < cost.seconds
    assert cost.peak_bytes is None or 50e6 < cost.peak_bytes < 20e9
    with pytest.raises(ResultRefused, match="nowhere"):
        speed.demo_cost(runtime, steps=2, profile=str(tmp_path / "nowhere.toml"))


@pytest.mark.seeded
def test_large_model_has_stable_diffusions_form(tmp_path: Path) -> None:
    folder = build_model(tmp_path / "large", torch.bfloat16, channels=(32, 64, 96, 96))
    with torch.device("meta"):
        real = UNet2DConditionModel(cross_attention_dim=768)  # diffusers' defaults are Stable Diffusion 1.x
    model = StableDiffusion.from_folder(folder, dtype=torch.bfloat16)
    assert {n for n, _ in model.network.named_parameters()} == {n for n, _ in real.named_parameters()}
    eps = model.epsilon(torch.randn(1, 4, 64, 64), torch.tensor([500]), model.condition(["a dog"], (64, 64)))
    assert bool(eps.isfinite().all()) and float(eps.std()) > 0


@pytest.mark.seeded
def test_grounders_are_measured_in_processes_of_their_own(monkeypatch: pytest.MonkeyPatch, runtime: Runtime) -> None:
    small = speed_grounding.Kind("sam", "a small one", build_tiny_sam, {"mask_threshold": -20})
    monkeypatch.setattr(speed_grounding, "KINDS", (small,))
    monkeypatch.setattr(speed_grounding, "subprocess", warm_program)
    report = speed.run(["grounders"], runtime=runtime, side=96)
    (cost,) = report.grounders
    assert (cost.grounder, cost.network) == ("sam", "a small one") and cost.megapixels == pytest.approx(0.009216)
    assert min(cost.first, cost.other, cost.again) > 0  # loading; another embedding; the one that was kept
    assert cost.peak_bytes is None or 50e6 < cost.peak_bytes < 20e9
    assert report.as_json()["grounders"][0]["network"] == "a small one"
    console = Console(file=io.StringIO(), width=140)
    console.print(report.tables())
    assert "a small one" in console.file.getvalue()  # type: ignore[attr-defined]


def test_grounder_that_fails_is_named(tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_grounding, "subprocess", warm_program)
    broken = speed_grounding.Kind("sam", "none", lambda folder: None, {})
    with pytest.raises(ResultRefused, match="'sam' failed"):
        speed_grounding.grounding_cost(tmp_path, broken, device="cpu", side=64)


def test_published_sizes_are_the_real_ones() -> None:
    """Millions of parameters: GroundingDINO Swin-T 172, Segment Anything ViT-B 94."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    with torch.device("meta"):
        networks = GroundingDinoForObjectDetection(GroundingDinoConfig()), SamModel(SamConfig())
    sizes = [sum(p.numel() for p in network.parameters()) / 1e6 for network in networks]
    assert sizes == [pytest.approx(172, abs=3), pytest.approx(94, abs=1)]


def small(name: str) -> real_sizes.RealSize:
    """The row of a family, with a network of its class a few channels wide and a small picture."""
    tiny = {
        "sd15": real_sizes.of_backbone(build_tiny_stable_diffusion),
        "sdxl": real_sizes.of_backbone(build_tiny_stable_diffusion_xl),
        "sd3": real_sizes.of_backbone(build_tiny_stable_diffusion_3),
        "flux": real_sizes.of_backbone(build_tiny_flux),
        "qwen": real_sizes.of_qwen,
    }
    kind = real_sizes.REAL_SIZES[name]
    return replace(kind, network=lambda: kind.network(**NARROW[name]), steps=tiny[name], side=256, gpu_only=False)


@pytest.mark.seeded
@pytest.mark.parametrize("name", real_sizes.REAL_SIZES)
def test_a_step_of_each_family_is_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own backbone predicts with a network of the real class and the real settings, but for the widths."""
    monkeypatch.setitem(real_sizes.REAL_SIZES, name, small(name))
    seen: list[tuple[int, ...]] = []
    step = speed_backbones._step

    def remembered(predict: Any, rows: int, *rest: Any) -> Any:
        def watched() -> torch.Tensor:
            output = predict()
            seen.append(tuple(output.shape))
            assert output.std() > 0
            return output

        return step(watched, rows, *rest)

    monkeypatch.setattr(speed_backbones, "_step", remembered)
    told = speed_backbones.measure(name, torch.device("cpu"), torch.bfloat16)
    assert [one["rows"] for one in told["steps"]] == [1, 2]
    assert all(one["seconds"] > 0 and one["processor_seconds"] > 0 for one in told["steps"])
    assert told["bytes"] >= 2 * told["parameters"] > 0
    channels = 4 if name in ("sd15", "sdxl") else 16
    assert seen == ([(1, 256, 64), (2, 256, 64)] if name == "qwen" else [(n, channels, 32, 32) for n in (1, 2)])


def test_backbones_are_measured_in_processes_of_their_own(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one is what the others are compared with; what fits nowhere is skipped with the reason."""

    class Program:
        def run(self, command: list[str], **how: object) -> subprocess.CompletedProcess[str]:
            assert command[1:3] == ["-m", "gas_diorama.bench.speed_backbones"]
            name = json.loads(command[3])["model"]
            told: dict[str, Any] = {"parameters": 10**9, "bytes": 2 * 10**9}
            seconds = {"sd15": 2.0, "sdxl": 9.0}.get(name)
            if seconds is None:
                told = {"skipped": "does not fit: 99 GB"}
            else:
                step = {"seconds": 7.0, "peak_bytes": 3 * 10**9}
                told["steps"] = [{"rows": n, "processor_seconds": n * seconds, **step} for n in (1, 2)]
            return subprocess.CompletedProcess(command, 0, json.dumps(told), "")

    monkeypatch.setattr(speed_backbones, "subprocess", Program())
    report = speed.run(["backbones"], runtime=runtime)
    one, two, three, *others = report.backbones
    assert (one.ratio, two.ratio, three.skipped) == (1, 4.5, "does not fit: 99 GB")
    assert [other.skipped.partition(":")[0] for other in others] == ["needs a GPU", "needs a GPU"]
    assert report.as_json()["backbones"][1]["steps"][1]["processor_seconds"] == 18
    console = Console(file=io.StringIO(), width=160)
    console.print(report.tables())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "4.5" in shown and "1.00" in shown and "18.0" in shown and "3.00 GB" in shown
    assert "Stable Diffusion 3.5 medium does not fit: 99 GB" in shown and "FLUX.1 dev needs a GPU" in shown


def test_a_network_that_does_not_fit_is_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(real_sizes.REAL_SIZES, "sd15", small("sd15"))
    monkeypatch.setattr(speed_backbones, "free_memory", lambda device: 10**9)
    told = speed_backbones.measure("sd15", torch.device("cpu"), torch.float32)
    assert "1.0 GB are free" in told["skipped"] and told.keys() == {"skipped"}


def test_a_step_that_fails_is_named(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_backbones, "subprocess", warm_program)
    monkeypatch.setitem(speed_backbones.REAL_SIZES, "none", replace(real_sizes.REAL_SIZES["sd15"], name="no model"))
    with pytest.raises(ResultRefused, match="a step of no model failed"):
        speed_backbones.backbone_costs(runtime, ["none"])


def test_numbers_that_are_not_finite_are_no_measurement() -> None:
    with pytest.raises(ResultRefused, match="no finite numbers"):
        speed_backbones._step(lambda: torch.tensor([float("nan")]), 1, torch.device("cpu"), 1)


@pytest.mark.parametrize(
    ("name", "millions"), [("sd15", 860), ("sdxl", 2567), ("sd3", 2243), ("flux", 11901), ("qwen", 20430)]
)
def test_families_have_the_published_sizes(name: str, millions: int) -> None:
    """As their papers and model cards count them: 0.86, 2.6, 2.5 (with a table of places), 12 and 20 billion."""
    with torch.device("meta"):
        network = real_sizes.REAL_SIZES[name].network()
    assert sum(one.numel() for one in network.parameters()) / 1e6 == pytest.approx(millions, abs=1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"parts": ["diorma"]}, "diorama"),
        ({"subtasks": (0,)}, "0 subtasks"),
        ({"contrast": (6,)}, "6 subtasks"),
        ({"steps": 0}, "0 times"),
    ],
)
def test_wrong_arguments_are_refused_at_once(changed: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        speed.run(**{"parts": ["diorama"], **changed})  # type: ignore[arg-type]
