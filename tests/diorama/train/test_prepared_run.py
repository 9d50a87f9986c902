"""The prepared run on tiny networks: it keeps its time, leaves results when it is cut off, and goes on from there."""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import time
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from gas_diorama.bench.follow import load_parts
from gas_diorama.train import evaluate, prepared, run_folder, train, train_instruct
from gas_diorama.train.classifier import ClassifierSettings
from gas_diorama.train.drawn import drawers
from gas_diorama.train.flow import FlowSize, build_flow, export_flow, load_flow
from gas_diorama.train.pair_cache import PairCache
from gas_diorama.train.prepared import Plan, run_prepared, seconds
from gas_diorama.train.run_folder import NETWORKS, Run
from gas_diorama.train.scene_cache import SceneCache
from gas_diorama.train.train_autoencoder import AutoencoderSettings, train_autoencoder
from gas_diorama.train.train_flow import FlowSettings
from gas_diorama.train.train_instruct import InstructSettings, export_instruct
from gas_diorama.train.train_text import TextSettings, build_text_encoder
from gas_diorama.train.train_unet import UNetSettings, build_unet
from gas_diorama.train.train_vae import VAESettings, build_vae
from gas_diorama.train.training import Diverged, Stopped, load_checkpoint, stop
from gas_diorama.world.networks import scheduler
from gas_diorama.world.tokenizer import train_tokenizer

pytestmark = pytest.mark.seeded

SIZE = FlowSize(16, 2, 2)
SCENES = {"steps": 2, "batch": 2, "scenes": 6, "first_scenes": 4, "scenes_a_step": 1, "save_every": 1, "previews": 1}
UNET = UNetSettings(channels=(16, 16, 32), preview_every=9, **SCENES)  # type: ignore[arg-type]
FLOW = FlowSettings(width=16, heads=2, layers=2, shown_layer=0, preview_every=9, **SCENES)  # type: ignore[arg-type]
AUTOENCODER = AutoencoderSettings(steps=2, batch=2, measured=4)
INSTRUCT = InstructSettings(
    rank=1, whole=(), steps=1, batch=2, pairs=4, first_pairs=4, save_every=1, measured=0, average=0.9
)
PLAN = Plan(AUTOENCODER, UNET, FLOW, INSTRUCT, INSTRUCT)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the package's `weights`, with tiny untrained networks."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    tokenizer = train_tokenizer(size=700, count=50)
    StableDiffusionPipeline(
        vae=build_vae(VAESettings(channels=(8, 8, 16, 16), latent_channels=4)),
        text_encoder=build_text_encoder(TextSettings(width=24, layers=2, heads=2), tokenizer),
        tokenizer=tokenizer,
        unet=build_unet(UNET, 4, 24),
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder / "sd")
    export_flow(build_flow(SIZE, 4, 24), tokenizer, folder / "flow", folder / "sd")
    out = tmp_path_factory.mktemp("instruct")
    for name, base in (("instruct", "sd"), ("instruct-remove", "instruct")):
        train_instruct.train_instruct(out, name, INSTRUCT, folder / base)
        export_instruct(out, name, folder / name, folder / base)
    return folder


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    parts = load_parts(folder)
    return {
        **{f"unet.{k}": v for k, v in parts.unet.state_dict().items()},
        **{f"text.{k}": v for k, v in parts.encoder.state_dict().items()},
    }


def unpack(results: Path, folder: Path) -> None:
    """The weights among `results`, as CONTRIBUTING.md says to put them in their place."""
    folder.mkdir(exist_ok=True)
    command = f"cat {results}/weights.tar.* | tar x -C {folder}"
    subprocess.run(["sh", "-c", command], check=True)


@pytest.fixture
def begun(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs begin with the tiny networks."""
    begin = Run.begin
    monkeypatch.setattr(Run, "begin", lambda self: begin(self, shipped))


@pytest.mark.usefixtures("begun")
def test_a_run_trains_every_network_and_its_results_unpack(shipped: Path, tmp_path: Path) -> None:
    results = run_prepared(tmp_path / "run", 600.0, "cpu", tmp_path / "results", settings=PLAN)
    names = {path.name for path in results.iterdir()}
    assert names == {"weights.tar.00", "pictures.png"}  # train.log is the command line's
    assert Image.open(results / "pictures.png").height == 256
    unpack(results, tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(NETWORKS)
    before, after = _weights(shipped / "sd"), _weights(tmp_path / "new" / "sd")
    for part in ("unet.", "text."):
        assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith(part)), part
    for name in ("instruct", "instruct-remove"):
        old, new = (load_file(folder / name / "adapter.safetensors") for folder in (shipped, tmp_path / "new"))
        assert any(not torch.equal(old[key], new[key]) for key in old), name
    old, new = (load_flow(folder / "flow")[0].transformer.state_dict() for folder in (shipped, tmp_path / "new"))
    assert any(not torch.equal(old[key], new[key]) for key in old)
    assert json.loads((tmp_path / "run" / "done.json").read_text()) == ["unet", "flow", "instruct", "instruct-remove"]


@pytest.mark.usefixtures("begun")
def test_an_autoencoder_with_a_share_is_trained_first_and_its_latents_are_made_anew(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches: list[SceneCache] = []
    before: list[torch.Tensor] = []

    def noted(out: Path, settings: object, scenes: SceneCache, *rest: object) -> None:
        caches.append(scenes)
        before.append(scenes.latents.clone())
        train_autoencoder(out, settings, scenes, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(prepared, "train_autoencoder", noted)
    run_prepared(tmp_path / "run", 600.0, "cpu", settings=PLAN, shares=prepared.SHARES["cuda"])
    assert json.loads((tmp_path / "run" / "done.json").read_text())[:2] == ["autoencoder", "unet"]
    old, new = (load_parts(folder / "sd").vae for folder in (shipped, tmp_path / "run" / "weights"))
    assert any(not torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters(), strict=True))
    scenes, known = caches[0], 4
    assert not torch.equal(scenes.latents[:known], before[0][:known])
    for channel in scenes.latents[:known].float().unbind(1):  # standardised over these scenes
        assert abs(channel.mean().item()) < 0.05 and abs(channel.std().item() - 1) < 0.05


@pytest.mark.usefixtures("begun")
def test_a_run_that_is_cut_off_leaves_results_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[str] = []
    real = prepared.train_flow

    def cut(*args: object, **more: object) -> object:
        stop.asked = True
        return real(*args, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as cutting, pytest.raises(Stopped):
        cutting.setattr(prepared, "train_flow", cut)
        run_prepared(tmp_path, 600.0, "cpu", settings=PLAN)
    stop.asked = False
    assert json.loads((tmp_path / "done.json").read_text()) == ["unet"]
    state = load_checkpoint(tmp_path / "flow.pt")
    assert state is not None and state["step"] == 1
    unpack(tmp_path / "results", tmp_path / "new")
    packed = load_flow(tmp_path / "new" / "flow")[0].transformer.state_dict()
    assert torch.equal(packed["proj_out.weight"], state["average"]["transformer.proj_out.weight"].half().float())
    monkeypatch.setattr(prepared, "train_unet", lambda *args, **more: trained.append("unet"))
    run_prepared(tmp_path, 600.0, "cpu", settings=PLAN)
    assert trained == [], "what is done is not trained again"
    state = load_checkpoint(tmp_path / "flow.pt")
    assert state is not None and state["step"] == FLOW.steps
    assert len(json.loads((tmp_path / "done.json").read_text())) == 4


@pytest.mark.usefixtures("begun")
def test_a_network_that_diverges_stays_as_it_was(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def diverged(*args: object, **more: object) -> None:
        raise Diverged("flow: the loss is nan at step 50")

    monkeypatch.setattr(prepared, "train_flow", diverged)
    with caplog.at_level(logging.INFO, "gas_diorama.train"):
        run_prepared(tmp_path, 600.0, "cpu", settings=PLAN)
    assert "flow stays as it was" in caplog.text and "nan at step 50" in caplog.text
    assert json.loads((tmp_path / "done.json").read_text()) == ["unet", "instruct", "instruct-remove"]
    weights = Path("transformer/diffusion_pytorch_model.safetensors")
    assert (tmp_path / "weights" / "flow" / weights).read_bytes() == (shipped / "flow" / weights).read_bytes()


@pytest.mark.usefixtures("begun")
def test_a_network_for_which_no_time_is_left_stays_as_it_was(shipped: Path, tmp_path: Path) -> None:
    run_prepared(tmp_path, 1e-3, "cpu", settings=PLAN)
    assert json.loads((tmp_path / "done.json").read_text()) == ["unet"]
    weights = Path("transformer/diffusion_pytorch_model.safetensors")
    assert (tmp_path / "weights" / "flow" / weights).read_bytes() == (shipped / "flow" / weights).read_bytes()
    assert (tmp_path / "results" / "weights.tar.00").exists()


def test_results_are_cut_into_parts(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "run", tmp_path / "results")
    monkeypatch.setattr(run_folder, "PART", 100_000)
    run.begin(shipped)
    parts = list(run.results.glob("weights.tar.*"))
    assert len(parts) > 11 and max(part.stat().st_size for part in parts) == 100_000
    unpack(run.results, tmp_path / "new")
    for path in (run.weights / "sd").rglob("*.safetensors"):
        assert (tmp_path / "new" / "sd" / path.relative_to(run.weights / "sd")).read_bytes() == path.read_bytes()
    monkeypatch.setattr(run_folder, "PART", 10**9)
    run.pack()
    assert [part.name for part in run.results.glob("weights.tar.*")] == ["weights.tar.00"], "older parts were left"


def test_the_shipped_networks_fit_into_eight_files_of_what_may_be_taken_away(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", tmp_path / "results")
    run.begin()
    (tmp_path / "run" / "train.log").touch()
    (tmp_path / "run" / "figures.json").touch()
    run.pack()
    files = list(run.results.iterdir())
    assert len(files) + 1 <= 8 and max(path.stat().st_size for path in files) <= 16 * 2**20
    assert prepared.load_transformer(tmp_path / "run" / "weights" / "nothing") is None


def test_figures_are_left_out_where_there_is_no_time_for_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gas_diorama.train"):
        prepared.figures(Run(tmp_path, tmp_path), "cpu", time.monotonic() + 100)
    assert "no figures: 100 s are left of at least 900" in caplog.text


def test_figures_are_those_of_the_denoiser_and_of_the_flow_model(
    shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ClassifierSettings(steps=2, batch=4, scenes=6, round_trips=4, calibration=4, warm_up=1)
    monkeypatch.setattr(evaluate, "ClassifierSettings", lambda: few)
    for name, value in {"_SCENES": 4, "_CAPTIONS": 3, "_STEPS": 2}.items():
        monkeypatch.setattr(prepared, name, value)
    monkeypatch.setitem(prepared._FIGURES_SECONDS, "cpu", 1.0)
    run = Run(tmp_path / "run", tmp_path / "results")
    run.begin(shipped)
    prepared.figures(run, "cpu", time.monotonic() + 300)
    found = json.loads((tmp_path / "run" / "figures.json").read_text())
    assert found["settings"] == {"scenes": 4, "captions": 3, "guidance_scale": 4.0, "steps": 2, "seed": 0}
    for name in ("text_to_image", "flow"):
        assert set(found[name]) == {"ground", "sky", "kind", "colour", "thing", "invented"}
    assert load_checkpoint(tmp_path / "run" / "classifier.pt")["step"] == 2  # type: ignore[index]
    run.pack()
    assert (tmp_path / "results" / "figures.json").exists()


def test_processes_draw_what_one_would(shipped: Path) -> None:
    parts = load_parts(shipped / "sd")
    alone, together = (SceneCache(parts.vae, parts.tokenizer, 3, seed=2, texts=1) for _ in range(2))
    pairs, more_pairs = (PairCache(parts, 3, 2, {"add": 1.0}, texts=1) for _ in range(2))
    alone.grow(3)
    pairs.grow(3)
    with drawers(2) as pool:
        assert pool is not None
        together.grow(3, pool)
        more_pairs.grow(3, pool)
    for name in ("latents", "weights", "ids", "shown"):
        assert torch.equal(getattr(alone, name), getattr(together, name)), name
    for name in ("latents", "weights", "ids", "changes"):
        assert torch.equal(getattr(pairs, name), getattr(more_pairs, name)), name


@pytest.mark.parametrize(("text", "expected"), [("7m", 420), ("90s", 90), ("1.5h", 5400), ("42", 42)])
def test_times_are_read(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "m", "-3m", "0s", "7 m", "7d", "inf"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="write it as 90s"):
        seconds(text)


def test_a_budget_is_for_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train.main(["flow", "--budget", "1m", "--out", str(tmp_path)])
    assert "--budget is for all, not flow" in capsys.readouterr().err


def test_a_gpu_gets_large_batches_and_all_scenes_at_once() -> None:
    gpu, cpu = prepared.plan("cuda", 3), prepared.plan("cpu", 3)
    for one in (gpu.unet, gpu.flow):
        assert one.first_scenes == one.scenes and one.batch > cpu.unet.batch and one.seed == 3
    assert cpu.unet.first_scenes < 1000 and {cpu.remove.seed, gpu.remove.seed} == {4}
    for shares in prepared.SHARES.values():
        assert abs(sum(shares.values()) - 1) < 1e-9
