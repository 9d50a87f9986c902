"""GLIGEN inpainting on a tiny model with random weights: what the UNet is told, what stays, every option, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sampling_guards import SamplingGuards, run

from gas import Registry
from gas.backends.options import Layer, settle
from gas.diffusion.backbone import Backbone
from gas.diffusion.gligen import MOST_THINGS, keeping, with_boxes
from gas.diffusion.load import load_backbone
from gas.errors import InputRefused, ModelUnavailable
from gas.interfaces import EditJob, Watch
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image
from gas.testing.tiny import build_tiny_gligen, build_tiny_stable_diffusion
from gas.types import EditPlan, Region, Subtask
from gas_editors.sampling.gligen import MODEL, GLIGENEditor, GLIGENOptions, phrase_of

WIDTH, HEIGHT = 96, 64
BOXES = ((0, 0, 40, 64), (16, 16, 64, 48))
PLAN = EditPlan(
    subtasks=(
        Subtask(source="a red box", target="a blue ball"),
        Subtask(action="add", target="snow", anchor="grass"),
    ),
    target_prompt="a blue ball on snowy grass",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_gligen(tmp_path_factory.mktemp("tiny") / "gligen", layers=1)


@pytest.fixture(scope="module")
def text_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_gligen(tmp_path_factory.mktemp("tiny") / "gligen", inpainting=False, layers=1)


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


@pytest.fixture
def model(folder: Path, runtime: Runtime) -> Backbone:
    return load_backbone(str(folder), runtime, kind="boxes")


def editor(runtime: Runtime, folder: Path, **values: Any) -> GLIGENEditor:
    layer = Layer("test", {"model": str(folder), "steps": 3, **values})
    return GLIGENEditor(settle("editor", GLIGENOptions, [layer]).options, runtime)


def regions() -> tuple[Region, ...]:
    """Two that overlap; the mask of each is the left half of its box."""
    found = []
    for index, (x0, y0, x1, y1) in enumerate(BOXES):
        mask = np.zeros((HEIGHT, WIDTH), np.float32)
        mask[y0:y1, x0 : (x0 + x1) // 2] = 1
        found.append(Region("here", (float(x0), float(y0), float(x1), float(y1)), mask, subtask=index))
    return tuple(found)


def job(edit: Any, plan: EditPlan = PLAN, grounded: bool = False, watch: Watch = Watch(), seed: int = 1) -> EditJob:
    return EditJob(sample_image(WIDTH, HEIGHT), plan, regions(), seed, edit.options, watch=watch, grounded=grounded)


class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, runtime: Runtime, folder: Path) -> Any:
        return Registry.discover().create("editors", "gligen", {"model": str(folder), "steps": 11}, runtime)


class TestGuards(SamplingGuards):
    options = ("steps", "guidance_scale", "scheduled_sampling", "overlap", "beta")
    make = staticmethod(editor)
    job = staticmethod(job)
    no_model = "no GLIGEN model is named"
    names_model = MODEL
    first_rows = 2
    not_finite = (("inpainting", 0, False),)
    make_long = staticmethod(partial(editor, steps=8))

    @pytest.fixture
    def weights(self, folder: Path) -> Path:
        return folder

    def wordy(self, plan: EditPlan) -> tuple[EditPlan, list[str]]:
        long = Subtask(source="a box", target="a very blue ball " * 9)
        return EditPlan(subtasks=(long, plan.subtasks[1]), target_prompt="a ball"), [long.target]


# --- what the UNet is told --------------------------------------------------------------------------------------------


def test_things_are_filled_up_with_nothing(model: Backbone) -> None:
    rows = model.condition(["", "two animals"], (8, 12))
    told = with_boxes(model, rows, [[], [("a cat", (0.1, 0.2, 0.3, 0.4)), ("a dog", (0.5, 0.5, 1.0, 1.0))]])
    boxes, phrases, things = (told.extra[name] for name in ("boxes", "phrases", "things"))
    assert boxes.shape == (2, MOST_THINGS, 4) and things.tolist() == [[0.0] * 30, [1.0, 1.0] + [0.0] * 28]
    assert boxes[1, 0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    words = model.need_words("a test")
    ids = words.tokenizer(["a dog"], return_tensors="pt").input_ids
    assert torch.allclose(phrases[1, 1], words.encoder(ids).pooler_output[0], atol=1e-5)
    assert not phrases[1, 2:].any() and not phrases[0].any()
    with pytest.raises(ValueError, match="31 things"):
        with_boxes(model, rows[:1], [[("a", (0.0, 0.0, 1.0, 1.0))] * 31])
    with pytest.raises(ValueError, match="2 rows, but things for 1"):
        with_boxes(model, rows, [[]])


def test_the_prediction_is_the_unets_own(model: Backbone) -> None:
    generator = torch.Generator().manual_seed(0)
    z, t = torch.randn(2, 4, 8, 12, generator=generator), torch.tensor([500, 500])
    keep = torch.ones(1, 1, 8, 12)
    keep[..., :4] = 0
    source = torch.randn(1, 4, 8, 12, generator=generator)
    beside = keeping(model, source, keep)
    assert beside is not None
    untold = model.condition(["", "a cat"], (8, 12)).with_extra(beside=beside.expand(2, -1, -1, -1))
    told = with_boxes(model, untold, [[], [("a cat", (0.0, 0.0, 0.5, 1.0))]])
    with torch.no_grad():
        found = model.predict(z, t, told)
        extra = told.extra
        gligen = {"boxes": extra["boxes"], "positive_embeddings": extra["phrases"], "masks": extra["things"]}
        given = torch.cat([z, (source * keep).expand(2, -1, -1, -1), keep.expand(2, -1, -1, -1)], 1)
        expected = model.network(given, t, told.embeddings, cross_attention_kwargs={"gligen": gligen}).sample
        assert torch.allclose(found, expected, atol=1e-6)
        passed_by = model.predict(z, t, untold)
    assert (found - passed_by).abs().amax((1, 2, 3)).min() > 1e-4, "both rows hear the gated layers"


def test_the_half_precision_formats_work(folder: Path) -> None:
    edit = editor(Runtime(device="cpu", dtype="bf16"), folder)
    assert edit.edit(job(edit)).image.shape == (HEIGHT, WIDTH, 3)


def test_what_belongs_into_a_box() -> None:
    assert phrase_of(Subtask(source="a cat", target="a dog")) == "a dog"
    assert phrase_of(Subtask(action="add", target="a hat", anchor="the dog")) == "a hat"
    assert phrase_of(Subtask(action="remove", source="a car", anchor="the road")) == "the road"
    assert phrase_of(Subtask(action="remove", source="a car")) == ""


def test_the_log_says_what_was_told(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder, steps=10)
    log = edit.edit(job(edit)).log
    assert log["things"] == [
        {"phrase": "a blue ball", "box": [0.0, 0.0, 40 / 96, 1.0]},
        {"phrase": "snow", "box": [16 / 96, 0.25, 64 / 96, 0.75]},
    ]
    assert log["steps_told"] == 3 and log["evaluations"] == 10 * 2
    assert json.loads(json.dumps(dict(log))) == dict(log)
    assert edit.edit(job(edit, grounded=True)).log["evaluations"] == 10 * 4


@pytest.mark.parametrize("inpainting", [True, False])
def test_phrases_and_boxes_count(inpainting: bool, runtime: Runtime, folder: Path, text_only: Path) -> None:
    edit = editor(runtime, folder if inpainting else text_only, scheduled_sampling=1.0)
    other = PLAN.model_copy(update={"subtasks": (Subtask(source="a red box", target="a tree"), PLAN.subtasks[1])})
    first = run(edit, job(edit))[0]
    assert (run(edit, job(edit, other))[0] - first).abs().max() > 1e-4, "another phrase, the same prompt"
    # The same cells are filled, but the things have changed places.
    exchanged = tuple(replace(region, subtask=1 - index) for index, region in enumerate(regions()))
    assert (run(edit, replace(job(edit), regions=exchanged))[0] - first).abs().max() > 1e-4


def test_a_removal_without_an_anchor_is_filled_untold(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    plan = EditPlan(subtasks=(Subtask(action="remove", source="a red box"),), target_prompt="green grass")
    z, z_source, log = run(edit, replace(job(edit, plan), regions=regions()[:1]))
    assert log["things"] == [] and (z - z_source)[..., :5].abs().max() > 1e-3


def test_too_many_boxes_are_refused(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    many = tuple(replace(regions()[0], subtask=0) for _ in range(30))
    with pytest.raises(InputRefused, match=r"31 boxes.*at most 30"):
        edit.edit(replace(job(edit), regions=(*many, regions()[1])))


# --- what stays -------------------------------------------------------------------------------------------------------


def test_nothing_outside_the_boxes_moves(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    z, z_source, _ = run(edit, job(edit))
    inside = torch.zeros(1, 1, 8, 12, dtype=torch.bool)
    inside[..., :5] = inside[..., 2:6, 2:8] = True
    change = (z - z_source).abs().amax(1, keepdim=True)
    assert float(change[~inside].max()) == 0 and float(change[inside].min()) > 1e-3
    mask = edit.edit(job(edit)).mask
    assert mask is not None and mask[:, :40].all() and mask[16:48, 16:64].all() and not mask[:, 64:].any()


def test_grounded_nothing_outside_the_regions_moves(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    z, z_source, _ = run(edit, job(edit, grounded=True))
    inside = torch.zeros(1, 1, 8, 12, dtype=torch.bool)
    inside[..., :3] = inside[..., 2:6, 2:5] = True  # 20 pixels are two cells and a half
    change = (z - z_source).abs().amax(1, keepdim=True)
    assert float(change[~inside].max()) == 0 and float(change[inside].min()) > 1e-3
    assert edit.edit(job(edit, grounded=True)).mask is None, "pasted where the regions are"


def test_maps_show_what_is_filled(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder, steps=1)
    maps: dict[str, np.ndarray] = {}
    edit.edit(job(edit, watch=Watch(save_map=maps.__setitem__)))
    assert list(maps) == ["filled"] and maps["filled"][8, 8] == 1 and maps["filled"][60, 90] == 0


def test_a_region_without_a_box_has_one_around_its_mask(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder, steps=1)
    unboxed = tuple(replace(region, box=None) for region in regions())
    log = edit.edit(replace(job(edit), regions=unboxed)).log
    assert log["things"][0]["box"] == [0.0, 0.0, 20 / 96, 1.0]


@pytest.mark.parametrize("size", [(64, 160), (128, 64)])
def test_any_size_and_aspect_ratio(runtime: Runtime, folder: Path, size: tuple[int, int]) -> None:
    edit = editor(runtime, folder, steps=1)
    mask = np.zeros(size, np.float32)
    mask[:32, :32] = 1
    region = Region("here", None, mask, subtask=0)
    plan = EditPlan(subtasks=PLAN.subtasks[:1], target_prompt=PLAN.target_prompt)
    work = replace(job(edit, plan), image=sample_image(size[1], size[0]), regions=(region,))
    assert edit.edit(work).image.shape == (*size, 3)


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "grounded"),
    [
        ("steps", 4, False),
        ("guidance_scale", 3, False),
        ("scheduled_sampling", 0.0, False),
        ("scheduled_sampling", 1.0, False),
        ("overlap", 0.9, True),
        ("beta", 3.0, True),
    ],
)
def test_every_option_changes_the_picture(
    option: str, value: Any, grounded: bool, runtime: Runtime, folder: Path
) -> None:
    plain, changed = editor(runtime, folder), editor(runtime, folder, **{option: value})
    before, after = (run(edit, job(edit, grounded=grounded))[0] for edit in (plain, changed))
    assert (before - after).abs().max() > 1e-5


def test_published_values() -> None:
    options = GLIGENOptions()
    assert (options.steps, options.guidance_scale, options.scheduled_sampling) == (50, 7.5, 0.3)


def test_each_seed_gives_another_picture(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    assert not np.array_equal(edit.edit(job(edit)).image, edit.edit(job(edit, seed=2)).image)


# --- interrupted and refused ------------------------------------------------------------------------------------------


def test_a_state_of_another_run_is_refused(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder, steps=5)
    asked, states = iter(range(9)), []
    stopped = edit.edit(job(edit, watch=Watch(checkpoint=states.append, should_stop=lambda: next(asked) == 3)))
    assert stopped.stopped and stopped.log["evaluations"] == 3 * 2
    with pytest.raises(InputRefused, match="does not belong to this run"):
        edit.edit(job(edit, watch=Watch(resume={**states[-1], "inpainting.z": torch.zeros(3)})))


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ({}, "is not a GLIGEN model: its UNet has no gated attention"),
        ({"attention_type": "gated", "in_channels": 8}, "takes 8 channels, but a GLIGEN model takes 4, or 9"),
    ],
)
def test_a_model_of_another_kind_is_refused(kind: dict[str, Any], match: str, runtime: Runtime, tmp_path: Path) -> None:
    edit = editor(runtime, build_tiny_stable_diffusion(tmp_path / "sd", **kind))
    with pytest.raises(ModelUnavailable, match=match) as caught:
        edit.edit(job(edit))
    assert caught.value.exit_code == 6 and MODEL in caught.value.remedy


@pytest.mark.seeded
def test_a_model_that_takes_pictures_of_things_is_refused(runtime: Runtime, folder: Path, tmp_path: Path) -> None:
    from shutil import copytree

    other = copytree(folder, tmp_path / "pictures")
    unet = load_backbone(str(folder), runtime, kind="boxes").network
    kind: Any = type(unet)
    kind.from_config({**unet.config, "attention_type": "gated-text-image"}).save_pretrained(other / "unet")
    with pytest.raises(ModelUnavailable, match="takes pictures too"):
        editor(runtime, other).resolution()


def test_other_editors_do_not_take_an_inpainting_model(runtime: Runtime, folder: Path) -> None:
    with pytest.raises(ModelUnavailable, match="an inpainting model"):
        load_backbone(str(folder), runtime)


def test_every_subtask_needs_a_region(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    with pytest.raises(InputRefused, match=r"subtask 2 \('grass'\) has no region") as caught:
        edit.edit(replace(job(edit), regions=regions()[:1]))
    assert 'gas.Region("grass", box=' in caught.value.remedy
    bare = EditPlan(subtasks=PLAN.subtasks)
    with pytest.raises(InputRefused, match="no target prompt"):
        edit.edit(job(edit, bare))


def test_a_size_that_does_not_divide_is_refused(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    with pytest.raises(InputRefused, match="does not divide"):
        edit.edit(replace(job(edit), image=sample_image(61, 33)))
