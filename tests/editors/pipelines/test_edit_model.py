"""The editor `edit-model` with tiny models of the real classes in the real layouts, which have random weights: that it
runs, where it edits, and what it refuses. What the words do, random weights cannot show."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gas import Registry
from gas.errors import GasError, InputRefused, ModelUnavailable, ResultRefused, UsageError
from gas.interfaces import EditJob, Step, Watch
from gas.masks import box_mask
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image, sample_job
from gas.testing.tiny import build_tiny_flux
from gas.testing.tiny_edit import (
    build_tiny_flux2_klein,
    build_tiny_kontext,
    build_tiny_longcat_image_edit,
    build_tiny_qwen_image_edit,
)
from gas.types import EditPlan, Region, Subtask
from gas_editors.pipelines import edit_model
from gas_editors.pipelines.register import Move

PICTURE = sample_image(192, 128)
PLAN = EditPlan(
    subtasks=(
        Subtask(source="red box", target="blue ball", instruction="make the box a ball"),
        Subtask(source="grass", target="snow"),
    )
)
BOXES = ((64.0, 32.0, 96.0, 64.0), (120.0, 80.0, 184.0, 120.0))
REGIONS = tuple(
    Region(phrase, box, box_mask(box, (192, 128)), subtask=index)
    for index, (phrase, box) in enumerate(zip(("red box", "grass"), BOXES, strict=True))
)
MODELS: dict[str, Callable[[Path], Path]] = {"kontext": build_tiny_kontext, "flux2-klein": build_tiny_flux2_klein}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(MODELS[request.param](tmp_path_factory.mktemp(request.param) / "model"))


@pytest.fixture(scope="module")
def kontext(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build_tiny_kontext(tmp_path_factory.mktemp("kontext") / "model"))


RUNTIME = Runtime(device="cpu", dtype="fp32")
"""Of editors in here: models stay as they are, so each is read once."""


def made(model: str, runtime: Runtime = RUNTIME, **values: Any) -> Any:
    options = {"model": model, "steps": 2, "resolution": 64, **values}
    options = {name: value for name, value in options.items() if value is not ...}
    return Registry.discover().create("editors", "edit-model", options, runtime)


def job(editor: Any, plan: EditPlan = PLAN, regions: tuple[Region, ...] = REGIONS, **more: Any) -> EditJob:
    return EditJob(PICTURE.copy(), plan, regions, 1, editor.options, **more)


class TestKontext(EditorContract):
    @pytest.fixture
    def editor(self, kontext: str) -> Any:
        return made(kontext)


class TestKlein(EditorContract):
    @pytest.fixture
    def editor(self, tmp_path: Path) -> Any:
        return made(str(build_tiny_flux2_klein(tmp_path / "klein", distilled=False)))


# --- where it edits ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grounded", [False, True], ids=["plain", "grounded"])
def test_every_pixel_outside_the_regions_keeps_its_bits(model: str, grounded: bool) -> None:
    editor = made(model)
    edited = editor.edit(job(editor, grounded=grounded))
    inside = np.max([region.mask for region in REGIONS], axis=0) > 0
    assert np.array_equal(edited.image[~inside], PICTURE[~inside])
    assert edited.mask is not None and np.array_equal(edited.mask > 0, inside)
    for region in REGIONS:
        here = region.mask > 0
        assert np.abs(edited.image[here].astype(int) - PICTURE[here]).mean() > 1, f"nothing done to {region.phrase}"


def test_each_subtask_is_a_turn_with_its_own_words_seed_and_crop(kontext: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def arguments(self: Any, subtask: Subtask, row: Any, crop: np.ndarray, mask: np.ndarray) -> Any:
        seen.append(crop.shape[:2])
        return arguments_before(self, subtask, row, crop, mask)

    arguments_before = edit_model.EditModelEditor.arguments
    monkeypatch.setattr(edit_model.EditModelEditor, "arguments", arguments)
    editor = made(kontext)
    log = editor.edit(job(editor)).log
    turns = [(turn["subtask"], turn["told"], turn["seed"]) for turn in log["turns"]]
    assert turns == [(2, "turn grass into snow", 1), (1, "make the box a ball", 2)], "the largest region first"
    assert seen == [(64, 64), (64, 64)], "the model's own size, whatever the photograph's"
    assert log["evaluations"] == 4 and log["pipeline"] == "FluxKontextPipeline"


def test_what_has_no_region_is_the_whole_picture(kontext: str) -> None:
    editor = made(kontext)
    edited = editor.edit(job(editor, regions=()))
    assert edited.mask is None and edited.image.shape == PICTURE.shape
    assert (edited.image != PICTURE).mean() > 0.5


def test_several_things_of_one_subtask_have_a_crop_each(kontext: str) -> None:
    editor = made(kontext)
    both = tuple(replace(region, subtask=0) for region in REGIONS)
    one = EditPlan(subtasks=PLAN.subtasks[:1])
    edited = editor.edit(job(editor, one, both))
    assert [turn["subtask"] for turn in edited.log["turns"]] == [1, 1]
    inside = np.max([region.mask for region in REGIONS], axis=0) > 0
    assert np.array_equal((edited.image != PICTURE).any(axis=2) & ~inside, np.zeros_like(inside))


def test_a_crop_that_moved_is_moved_back(kontext: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model gives the crop back unchanged but shifted; moved back, its region is nearly the source's."""
    from gas_editors.pipelines.calling import PipelineCalls

    picture = np.asarray(textured(192, 128))
    monkeypatch.setattr(
        PipelineCalls,
        "make",
        lambda self, arguments, *rest: np.roll(np.asarray(arguments["image"]), (3, -4), axis=(0, 1)),
    )
    region = (REGIONS[0],)
    plan = EditPlan(subtasks=PLAN.subtasks[:1])
    away = {}
    for realign in (True, False):
        editor = made(kontext, resolution=128, realign=realign)
        edited = editor.edit(EditJob(picture, plan, region, 1, editor.options))
        here = region[0].mask > 0
        away[realign] = np.abs(edited.image[here].astype(int) - picture[here]).mean()
        if realign:
            moved = edited.log["turns"][0]["moved_back"]
            assert moved["dx"] == pytest.approx(-4, abs=0.2) and moved["dy"] == pytest.approx(3, abs=0.2)
    assert away[True] < 0.2 * away[False]


def textured(width: int, height: int) -> np.ndarray:
    from scipy import ndimage

    noise = np.random.default_rng(0).normal(0, 1, (height, width, 3))
    smooth = ndimage.gaussian_filter(noise, (2, 2, 0))
    return np.clip(127 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


# --- options ----------------------------------------------------------------------------------------------------------


def test_options_change_what_comes_out(kontext: str) -> None:
    def picture(**values: Any) -> bytes:
        editor = made(kontext, **values)
        return bytes(editor.edit(job(editor)).image.tobytes())

    plain = picture()
    changed: list[dict[str, Any]] = [
        {"steps": 3},
        {"guidance_scale": 9.0},
        {"resolution": 96},
        {"enlarge": 2.0},
        {"wording": "template"},
    ]
    for values in changed:
        assert picture(**values) != plain, values


def test_a_distilled_model_has_its_own_steps_and_guidance(tmp_path: Path) -> None:
    for distilled, steps, rows in ((True, 4, 1), (False, 50, 2)):
        model = str(build_tiny_flux2_klein(tmp_path / str(distilled), distilled=distilled))
        editor = made(model, steps=...)
        asked: list[Step] = []
        watch = Watch(on_step=asked.append, should_stop=lambda asked=asked: len(asked) >= 2)
        log = editor.edit(job(editor, watch=watch)).log
        assert log["steps"] == steps and asked[0].total == 2 * steps
        assert log["evaluations"] == 2 * rows, "a null row only where the model knows guidance"


def test_qwen_is_told_a_negative_prompt_and_has_its_own_size(tmp_path: Path) -> None:
    """It brings every picture to about a megapixel itself (the only test at that size)."""
    model = str(build_tiny_qwen_image_edit(tmp_path / "qwen"))
    editor = made(model, steps=2, resolution=...)
    plan = EditPlan(subtasks=PLAN.subtasks[:1])
    edited = editor.edit(job(editor, plan, REGIONS[:1]))
    outside = REGIONS[0].mask == 0
    assert np.array_equal(edited.image[outside], PICTURE[outside])
    assert edited.log["evaluations"] == 4, "with a null row"
    refused = made(model, steps=1, resolution=512)
    with pytest.raises(UsageError, match="brings every picture to 1024x1024 pixels itself"):
        refused.edit(job(refused))


def test_a_pipeline_that_calls_nobody_after_its_steps_is_asked_by_its_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LongCat takes no callback, and no size: it works at about a megapixel (test_pipeline_table has the sizes), here
    at a sixteenth of it."""
    from diffusers.pipelines.longcat_image import pipeline_longcat_image_edit as longcat

    editor = made(str(build_tiny_longcat_image_edit(tmp_path / "longcat")), steps=2, resolution=...)
    row, sides = editor.row, longcat.calculate_dimensions
    monkeypatch.setattr(longcat, "calculate_dimensions", lambda area, ratio: sides(area // 16, ratio))
    monkeypatch.setattr(type(editor), "row", replace(row, resolution=row.resolution // 4))
    plan = EditPlan(subtasks=PLAN.subtasks[:1])
    steps: list[Step] = []
    edited = editor.edit(job(editor, plan, REGIONS[:1], watch=Watch(on_step=steps.append)))
    outside = REGIONS[0].mask == 0
    assert np.array_equal(edited.image[outside], PICTURE[outside])
    assert [step.index for step in steps] == [1, 2] and edited.log["evaluations"] == 4
    steps.clear()
    stop = Watch(on_step=steps.append, should_stop=lambda: bool(steps))
    assert editor.edit(job(editor, plan, REGIONS[:1], watch=stop)).stopped and len(steps) == 1


# --- stop and go on ---------------------------------------------------------------------------------------------------


def test_a_run_stopped_in_its_second_turn_keeps_the_first(kontext: str) -> None:
    editor = made(kontext)
    whole = editor.edit(job(editor))
    steps: list[Step] = []
    states: list[Any] = []
    watch = Watch(on_step=steps.append, should_stop=lambda: len(steps) >= 3, checkpoint=states.append)
    stopped = editor.edit(job(editor, watch=watch))
    assert stopped.stopped and len(steps) == 3 and len(states) == 2
    first, second = (region.mask > 0 for region in reversed(REGIONS))
    assert np.array_equal(stopped.image[first], whole.image[first])
    assert np.array_equal(stopped.image[second], PICTURE[second])
    for state, left in zip(states, ([3, 4], [4]), strict=True):
        steps.clear()
        resumed = editor.edit(job(editor, watch=Watch(resume=state, on_step=steps.append)))
        assert np.array_equal(resumed.image, whole.image) and resumed.log == whole.log
        assert [step.index for step in steps] == left


def test_a_turn_goes_on_from_where_it_was_bit_for_bit(model: str) -> None:
    editor = made(model, steps=13)
    whole = editor.edit(job(editor))
    for stop in (1, 7, 12, 20):
        steps: list[Step] = []
        states: list[Any] = []
        watch = Watch(
            on_step=steps.append,
            should_stop=lambda steps=steps, stop=stop: len(steps) >= stop,
            checkpoint=lambda state, states=states: states.append(dict(state)),
        )
        assert editor.edit(job(editor, watch=watch)).stopped
        steps.clear()
        resumed = editor.edit(job(editor, watch=Watch(resume=states[-1], on_step=steps.append)))
        assert np.array_equal(resumed.image, whole.image) and resumed.log == whole.log
        assert [step.index for step in steps] == list(range(stop + 1, 27))


def test_a_state_of_another_run_is_refused(kontext: str) -> None:
    editor = made(kontext, steps=13)
    states: list[Any] = []
    editor.edit(job(editor, watch=Watch(checkpoint=states.append)))
    for other in ({"steps": 9}, {"resolution": 96}):
        edits = made(kontext, **{"steps": 13, **other})
        with pytest.raises(InputRefused) as caught:
            edits.edit(job(edits, watch=Watch(resume=states[0])))
        assert caught.value.exit_code == 3


# --- what is refused --------------------------------------------------------------------------------------------------


def refusal(model: str, **values: Any) -> GasError:
    editor = made(model, Runtime(device="cpu", dtype="fp32"), **values)
    with pytest.raises(GasError) as caught:
        editor.edit(job(editor))
    assert "\n" not in caught.value.message and caught.value.remedy
    return caught.value


def test_a_model_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    error = refusal(str(build_tiny_flux(tmp_path / "flux")))
    assert isinstance(error, ModelUnavailable) and error.exit_code == 6
    assert "diffusers' FluxPipeline, which is no model that edits a picture by an instruction" in error.message


def test_no_model_is_named() -> None:
    editor = Registry.discover().create("editors", "edit-model", {}, Runtime(device="cpu"))
    with pytest.raises(UsageError, match="no model is named") as caught:
        editor.edit(sample_job(editor, PICTURE))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("how", ["index", "folder", "weights", "library"])
def test_a_part_that_is_missing_or_strange_is_named(how: str, tmp_path: Path) -> None:
    folder = build_tiny_kontext(tmp_path / "model")
    index_of = folder / "model_index.json"
    index = json.loads(index_of.read_text())
    if how == "index":
        index["text_encoder_2"] = [None, None]
        expected = "has no text encoder 2, which a FluxKontextPipeline needs"
    elif how == "folder":
        (folder / "text_encoder_2").rename(tmp_path / "away")
        expected = "has no folder text_encoder_2"
    elif how == "weights":
        next((folder / "vae").glob("*.safetensors")).unlink()
        expected = "there are no weights in vae"
    else:
        index["vae"] = ["os", "system"]
        expected = "its vae is of 'os.system', and only classes of diffusers and transformers are used"
    index_of.write_text(json.dumps(index))
    error = refusal(str(folder))
    assert isinstance(error, ModelUnavailable) and expected in error.message


def test_a_pipeline_that_diffusers_does_not_have_is_named(kontext: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import diffusers

    monkeypatch.setattr(diffusers, "FluxKontextPipeline", None)
    error = refusal(kontext)
    assert error.exit_code == 6 and "has no FluxKontextPipeline" in error.message


def test_numbers_that_are_not_finite_end_the_run(kontext: str) -> None:
    editor = made(kontext, Runtime(device="cpu", dtype="fp32"), guidance_scale=1e-3)
    network = editor.pipeline(editor.row).transformer
    with np.errstate(all="ignore"):
        network.proj_out.bias.data.fill_(float("nan"))
    with pytest.raises(ResultRefused, match=r"not a finite number any more \(step 1\)"):
        editor.edit(job(editor))


def test_a_moved_crop_has_an_edge_less() -> None:
    from gas_editors.pipelines.register import move_back

    _, known = move_back(PICTURE, Move(5.0, 0.0, 1.0, 0.1, 0.9))
    assert known[:, :-5].all() and not known[:, -5:].any()
