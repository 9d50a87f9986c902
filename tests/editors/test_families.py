"""Editors on families of a closed form: an SDXL layout and a flow layout of a dozen lines each
(`fake_backbones`), through the same options, the same loops and the same refusals as Stable Diffusion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_backbones import COLOURS, FAMILIES, FakeFlow, FakeXL, model_folder

from gas import Registry
from gas.diffusion import load
from gas.diffusion.distill.loop import distill
from gas.errors import GasError, ModelUnavailable, UsageError
from gas.interfaces import EditJob, Watch
from gas.masks import box_mask
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract
from gas.types import EditPlan, Region, Subtask

WIDTH, HEIGHT = 96, 64
PLAN = EditPlan(
    subtasks=(Subtask(source="red box", target="blue ball"),), source_prompt="red box", target_prompt="blue ball"
)
SAME = PLAN.model_copy(update={"target_prompt": "red box"})
BOX = (32.0, 16.0, 64.0, 48.0)
KINDS = (FakeXL, FakeFlow)


def picture(colour: str = "red") -> np.ndarray:
    """All of one colour, with a little noise."""
    noise = np.random.default_rng(0).normal(0, 4, (HEIGHT, WIDTH, 3))
    return np.clip((np.array(COLOURS[colour]) + 1) * 127.5 + noise, 0, 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "FAMILIES", (*load.FAMILIES, *FAMILIES))


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return model_folder(tmp_path / request.param.__name__, request.param)


def editor(name: str, model: Path, **values: Any) -> Any:
    return Registry.discover().create("editors", name, {"model": str(model), **values}, Runtime(device="cpu"))


def job(edit: Any, plan: EditPlan = PLAN, **more: Any) -> EditJob:
    region = Region("red box", BOX, box_mask(BOX, (WIDTH, HEIGHT)), subtask=0)
    return EditJob(picture(), plan, (region,), 1, edit.options, **more)


def colour(image: np.ndarray, inside: bool = True) -> np.ndarray:
    """The mean colour in [-1, 1] inside or outside the box."""
    mask = box_mask(BOX, (WIDTH, HEIGHT)) > 0
    return image[mask == inside].mean(0) / 127.5 - 1


class TestSDEditOnAFlow(EditorContract):
    @pytest.fixture
    def editor(self, tmp_path: Path) -> Any:
        return editor("sdedit", model_folder(tmp_path / "flow", FakeFlow), steps=11)


class TestDDSOnAnXL(EditorContract):
    @pytest.fixture
    def editor(self, tmp_path: Path) -> Any:
        return editor("dds", model_folder(tmp_path / "xl", FakeXL), steps=11)


# --- delta denoising --------------------------------------------------------------------------------------------------


def test_delta_denoising_goes_from_one_prompt_to_the_other(model: Path) -> None:
    """Its fixed point is the picture plus w times the difference of the means, however the model is guided."""
    edit = editor("dds", model, steps=300, guidance_scale=1, step_size=0.5)
    made = edit.edit(job(edit)).image
    wanted = np.array(COLOURS["blue"]) - np.array(COLOURS["red"])
    assert np.abs(colour(made) - colour(picture()) - wanted).max() < 0.02
    grain = made.astype(float) - picture()
    assert grain.reshape(-1, 3).std(0).max() < 12, "everywhere by as much: the picture's own detail stays"


def test_what_is_told_its_guidance_needs_no_null_rows(tmp_path: Path) -> None:
    for kind, rows in ((FakeXL, 4), (FakeFlow, 2)):
        edit = editor("dds", model_folder(tmp_path / kind.__name__, kind), steps=5)
        log = edit.edit(job(edit)).log
        assert log["batch"] == {"edits": 1, "rows": 5 * rows, "calls": 5}


def test_guidance_is_stronger_in_both_ways_of_guiding(model: Path) -> None:
    def moved(w: float) -> float:
        edit = editor("dds", model, steps=60, guidance_scale=w, step_size=0.2)
        return float(np.abs(colour(edit.edit(job(edit)).image) - colour(picture())).max())

    assert moved(1.5) > 1.3 * moved(0.5)


def test_equal_prompts_change_nothing(model: Path) -> None:
    edit = editor("dds", model, steps=5)
    z = edit.model.encode(picture())
    (made,) = distill(edit.model, [edit.problem(job(edit, SAME), z)], edit.method((8, 12)))
    assert torch.equal(made.z, z)


def test_times_of_publications_are_those_with_as_much_noise(model: Path) -> None:
    edit = editor("dds", model, t_range=(200, 400), steps=400)
    z = edit.model.encode(picture())
    times = edit.problem(job(edit), z).draws.times
    ratios = [edit.model.schedule.snr(t) for t in times]
    assert 0.7376 * 0.99 < min(ratios) < 0.8 and 2.8 < max(ratios) < 3.0602 * 1.01


# --- sampling ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_sdedit_from_all_noise_makes_the_target(model: Path, eta: float) -> None:
    edit = editor("sdedit", model, steps=20, strength=1.0, guidance_scale=1, eta=eta)
    made = edit.edit(job(edit)).image
    assert np.abs(colour(made) - np.array(COLOURS["blue"])).max() < 0.12
    assert made.reshape(-1, 3).std(0).min() > 8, "with the world's own spread, not a flat colour"


def test_sdedit_from_some_noise_keeps_some_of_the_picture(model: Path) -> None:
    def red(strength: float) -> float:
        edit = editor("sdedit", model, steps=20, strength=strength, guidance_scale=1)
        return float(colour(edit.edit(job(edit)).image)[0])

    weak, middle, strong = (red(strength) for strength in (0.05, 0.15, 1.0))
    assert weak > middle + 0.05 > strong + 0.1


def test_a_grounded_edit_moves_nothing_outside_its_region(model: Path) -> None:
    edit = editor("sdedit", model, steps=10, strength=0.8)
    unedited = edit.model.decode(edit.model.encode(picture()))
    made = edit.edit(job(edit, grounded=True)).image
    outside = box_mask(BOX, (WIDTH, HEIGHT)) == 0
    assert np.array_equal(made[outside], unedited[outside])
    assert colour(made)[2] > 0.3 > colour(made, inside=False)[2]


def test_an_inverted_picture_comes_back(model: Path) -> None:
    """DiffEdit's way there and back, also through the time at which a flow is all noise."""
    edit = editor("diffedit", model, steps=40, refine=5, encoding_ratio=1.0, guidance_scale=1, mask_threshold=0.0)
    plan = EditPlan(subtasks=PLAN.subtasks, source_prompt="blue ball", target_prompt="red box")
    made = edit.edit(job(edit, plan)).image
    assert np.isfinite(made).all() and colour(made)[0] > 0.4


# --- what a family does not have is refused by name -------------------------------------------------------------------

UNGUIDED = {"pix2pix-zero", "ledits-pp", "prompt-to-prompt"}
LOOKS_INSIDE = {"cds", "prompt-to-prompt", "pix2pix-zero", "plug-and-play", "masactrl", "ledits-pp"}
RUNS = {"sds", "dds", "sdedit", "diffedit"}


@pytest.mark.parametrize("name", sorted(RUNS | LOOKS_INSIDE | {"ground-a-score"}))
def test_every_editor_runs_or_says_what_the_model_lacks(name: str, model: Path) -> None:
    steps = {"steps": 3, **({"mask_noises": 1} if name == "diffedit" else {})}
    edit = editor(name, model, **steps)
    try:
        made = edit.edit(job(edit))
    except GasError as error:
        assert name not in RUNS, error
        assert error.exit_code == 6 and "\n" not in error.message and error.remedy
        assert str(model) in error.message
    else:
        assert name not in LOOKS_INSIDE and made.image.shape == (HEIGHT, WIDTH, 3)


def test_the_null_text_penalty_is_refused_and_not_skipped(tmp_path: Path) -> None:
    flow = model_folder(tmp_path / "flow", FakeFlow)
    edit = editor("ground-a-score", flow, steps=3, penalty_area=1)
    with pytest.raises(ModelUnavailable, match=r"the null-text penalty compares with the null .*told") as caught:
        edit.edit(job(edit))
    assert "penalty=False" in caught.value.remedy
    edit = editor("ground-a-score", flow, steps=3, penalty_area=1, penalty=False)
    whole = PLAN.model_copy(update={"source_prompt": "red box on grass", "target_prompt": "blue ball on grass"})
    assert edit.edit(job(edit, whole)).log["batch"]["rows"] == 3 * 4, "2 (K + 1) rows a step"
    with pytest.raises(ModelUnavailable, match="a map of where a prompt is at work"):
        edit.edit(job(edit, watch=Watch(save_map=lambda name, values: None)))


def test_a_kept_shape_needs_attention_to_compare(model: Path) -> None:
    edit = editor("ground-a-score", model, steps=3, penalty=False, cut="all")
    with pytest.raises(ModelUnavailable, match=r"features of self-attention, which .* has none of") as caught:
        edit.edit(job(edit))
    assert "w_cut" in caught.value.remedy


def test_null_text_inversion_needs_a_null_row(tmp_path: Path) -> None:
    from gas.diffusion.predictor import Predictor
    from gas.diffusion.sample.inversion import Inversion, null_text

    flow = FakeFlow.from_folder(tmp_path, None, None, name="a fake flow")
    path = Inversion("red box", (1.0, 0.5), torch.zeros(3, 3, 8, 12))
    with pytest.raises(ModelUnavailable, match="null-text inversion compares with the null prompt"):
        null_text(None, Predictor(flow, (8, 12)), path, 7.5)  # type: ignore[arg-type]


def test_a_model_without_guidance_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeFlow, "guidance", "none")
    flow = model_folder(tmp_path / "flow", FakeFlow)
    for name in ("dds", "sdedit"):
        edit = editor(name, flow, steps=2, guidance_scale=7.5)
        with pytest.raises(UsageError, match=r"has no guidance: a guidance_scale of 7\.5") as caught:
            edit.edit(job(edit))
        assert "guidance_scale" in caught.value.remedy
        plain = editor(name, flow, steps=2, guidance_scale=1)
        assert plain.edit(job(plain)).image.shape == (HEIGHT, WIDTH, 3)


def test_the_grounder_by_attention_says_what_the_model_lacks(model: Path) -> None:
    from gas.interfaces import GroundJob

    grounder = Registry.discover().create("grounders", "attention", {"model": str(model)}, Runtime(device="cpu"))
    with pytest.raises(ModelUnavailable, match="the grounder attention .*" + model.name) as caught:
        grounder.ground(GroundJob(picture(), [Region("red box", subtask=0)]))  # type: ignore[attr-defined]
    assert caught.value.exit_code == 6
