"""`gas bench speed`: the rows are those of the arithmetic, and what is measured is what it says."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

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
from gas.testing.tiny import build_tiny_stable_diffusion
from gas_diorama.bench import speed, speed_grounding
from gas_diorama.bench.random_weights import build_model
from gas_diorama.bench.speed import Cost, Report


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
