"""ZONE as an editor: turns, the mask that is pasted, both models, every option, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from warm_program import gas

from gas.backends.options import Layer, settle
from gas.backends.registry import Registry
from gas.checkpoint import load_state, save_state
from gas.errors import ModelUnavailable, ObjectNotFound
from gas.interfaces import EditJob, GroundJob, Watch
from gas.masks import box_mask
from gas.picture.blend import blend
from gas.picture.photo import of_pixels
from gas.regions.rle import decode_rle
from gas.run.job import prepare
from gas.run.record import Request, read_record
from gas.run.session import Session
from gas.runtime import Runtime
from gas.settings.settings import Settings
from gas.testing import fakes
from gas.testing.contracts import EditorContract, sample_image
from gas.testing.fakes import FakeGrounder, FakeGrounderOptions
from gas.testing.tiny import build_tiny_instruct_pix2pix
from gas.types import EditPlan, Region, Subtask
from gas_editors.instruction import zone_mask
from gas_editors.instruction.zone import ZONEEditor, ZONEOptions

WIDTH, HEIGHT = 96, 64
CHANGE = Subtask(source="a red box", target="a blue ball", instruction="make the box blue")
ADD = Subtask(action="add", target="a hat", anchor="the box")
REMOVE = Subtask(action="remove", source="the box")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_instruct_pix2pix(tmp_path_factory.mktemp("tiny") / "ip2p")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_instruct_pix2pix(tmp_path_factory.mktemp("tiny") / "magicbrush", seed=1)


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


# A network of random weights attends to all tokens alike; this threshold leaves a part of the picture.
TINY = {"steps": 2, "threshold": 1.0, "least_cells": 2}


def editor(runtime: Runtime, folder: Path, **values: Any) -> ZONEEditor:
    layer = Layer("test", {"model": str(folder), **TINY, **values})
    return ZONEEditor(settle("zone", ZONEOptions, [layer]).options, runtime)


def quarters() -> FakeGrounder:
    return FakeGrounder(FakeGrounderOptions(), Runtime())


def job(edit: ZONEEditor, *subtasks: Subtask, watch: Watch = Watch(), segmenter: Any = None) -> EditJob:
    plan = EditPlan(subtasks=subtasks or (CHANGE,))
    return EditJob(sample_image(WIDTH, HEIGHT), plan, (), 1, edit.options, segmenter or quarters(), watch)


@pytest.fixture
def rough(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts rough regions of one's own in the place of the attention's, one for each call."""

    def put(*boxes: tuple[float, float, float, float] | None) -> None:
        queue = list(boxes)

        def made(first: Any, last: Any, size: tuple[int, int], **_: Any) -> np.ndarray:
            box = queue.pop(0) if len(queue) > 1 else queue[0]
            inside = np.zeros(size, bool) if box is None else box_mask(box, (size[1], size[0])) > 0
            return np.where(inside, 0.5, 200).astype(np.float32)

        monkeypatch.setattr(zone_mask, "attention_difference", made)

    return put


class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, runtime: Runtime, folder: Path, other: Path) -> Any:
        values = {**TINY, "model": str(folder), "second_model": str(other), "skip_below": 0, "steps": 6}
        return Registry.discover().create("editors", "zone", values, runtime)


# --- options ----------------------------------------------------------------------------------------------------------

CHANGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "steps": (3, {}),
    "guidance_scale": (3, {}),
    "image_guidance_scale": (3, {}),
    "wording": ("template", {}),
    "beta": (0.5, {"second_model": "OTHER", "skip_below": 0}),
    "skip_below": (0, {"second_model": "OTHER"}),
    "attention": ("instruction", {"segments": "none", "smoother": False}),
    "maps": ("blocks", {"segments": "none", "smoother": False}),
    "map_scale": (8, {"segments": "none", "smoother": False}),
    "least_cells": (8, {"segments": "none", "smoother": False}),
    "threshold": (4, {"segments": "none", "smoother": False}),
    "segments": ("none", {}),
    "least_iou": (0.99, {}),
    "dilation": (200, {"alpha": 1}),
    "smoother": (False, {}),
    "cutoff": (30, {}),
    "edge_threshold": (200, {}),
    "closing": (100, {}),
    "grey": ("bgr", {}),
    "levels": ("whole", {"segments": "none", "smoother": False}),
    "alpha": (0.2, {}),
    "brightness": (0.5, {}),
    "scale_lengths": (False, {}),
}
ELSEWHERE = {
    "model": "test_instruct_editor",
    "variant": "test_stable_diffusion",
    "allow_pickle": "test_stable_diffusion",
    "accept_db": "test_instruct_editor",
    "lora": "test_lora",
    "quantise": "test_quantised",
    "parts_model": "test_single_file_families",
    "second_model": "test_the_second_model_acts_as_its_weight_says",
    "beta_remove": "test_the_second_model_acts_as_its_weight_says",
    "action": "test_the_classifier_speaks_where_it_is_asked",
    "classifier": "test_the_classifier_speaks_where_it_is_asked",
    "classifier_decode": "test_the_classifier_speaks_where_it_is_asked",
    "min_area": "test_small_parts_are_not_edited",
    "one_place": "test_one_connected_place_unless_several_things_are_meant",
    "keep_outline": "test_a_thing_that_keeps_its_shape_is_edited_inside_its_outline",
    "corners": "test_parts_that_touch_at_a_corner",
    "least_effect": "test_an_instruction_without_effect_on_the_prediction_is_refused",
    "map_model": "test_maps_show_every_step",
    "keep_structure": "test_structure_option",
    "confine": "test_confined",
    "overlap": "test_confined",
    "stroke": "test_confined",
}


@pytest.mark.parametrize("option", CHANGES)
def test_every_option_changes_the_result(option: str, runtime: Runtime, folder: Path, other: Path) -> None:
    value, beside = CHANGES[option]
    beside = {name: str(other) if one == "OTHER" else one for name, one in beside.items()}
    plain, changed = editor(runtime, folder, **beside), editor(runtime, folder, **{**beside, option: value})
    assert getattr(changed.options, option) != getattr(plain.options, option)
    results = [edit.edit(job(edit)) for edit in (plain, changed)]
    assert pasted(results[0]).tobytes() != pasted(results[1]).tobytes()


def pasted(edited: Any) -> np.ndarray:
    image = sample_image(WIDTH, HEIGHT).astype(np.float32)
    return image + edited.mask[..., None] * (edited.image - image)


def test_no_option_is_without_a_test() -> None:
    assert set(ZONEOptions.model_fields) == set(CHANGES) | set(ELSEWHERE)
    assert all(field.description for field in ZONEOptions.model_fields.values())


def test_presets_are_complete() -> None:
    of_the_machine = {"model", "second_model", "map_model", "variant", "allow_pickle", "accept_db", "classifier"}
    for values in ZONEOptions.presets.values():
        assert set(values) == set(ZONEOptions.model_fields) - of_the_machine
    paper, code = (ZONEOptions(**ZONEOptions.presets[name]) for name in ("paper", "official-code"))
    assert (paper.threshold, paper.maps, paper.attention) == (128, "blocks", "instruction")
    assert (code.threshold, code.attention, code.scale_lengths, code.skip_below) == (54, "null", False, 0)
    assert (code.corners, code.grey, code.levels) == (False, "bgr", "whole")
    assert not any(one.one_place or one.keep_outline for one in (paper, code)), "these are ours"


def test_published_values() -> None:
    options = ZONEOptions()
    assert (options.steps, options.guidance_scale, options.image_guidance_scale) == (20, 7.5, 1.5)
    assert (options.beta, options.beta_remove, options.threshold, options.min_area) == (0.01, 0.2, 54, 64)
    assert (options.dilation, options.cutoff, options.edge_threshold, options.closing) == (4, 200, 30, 21)
    assert options.alpha == 0.6


# --- two models -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subtask", "values", "weight", "evaluations"),
    [
        (CHANGE, {}, 0.0, 6),
        (ADD, {}, 0.0, 6),
        (REMOVE, {}, 0.2, 12),
        (CHANGE, {"skip_below": 0}, 0.01, 12),
        (REMOVE, {"beta_remove": 0}, 0.0, 6),
        (REMOVE, {"beta_remove": 0.4}, 0.4, 12),
    ],
)
def test_the_second_model_acts_as_its_weight_says(
    subtask: Subtask,
    values: dict[str, Any],
    weight: float,
    evaluations: int,
    runtime: Runtime,
    folder: Path,
    other: Path,
) -> None:
    both = editor(runtime, folder, second_model=str(other), **values)
    log = both.edit(job(both, subtask)).log
    assert log["turns"][0]["beta"] == weight and log["evaluations"] == evaluations
    alone = editor(runtime, folder, **values)
    same = np.array_equal(both.edit(job(both, subtask)).image, alone.edit(job(alone, subtask)).image)
    assert same == (weight == 0)


def test_the_latents_are_mixed_by_hand(runtime: Runtime, folder: Path, other: Path) -> None:
    edit = editor(runtime, folder, second_model=str(other))
    turn = edit.start(job(edit, REMOVE), [0], ["remove the box"], sample_image(WIDTH, HEIGHT))
    one = edit.start(job(edit), [0], ["remove the box"], sample_image(WIDTH, HEIGHT))
    with torch.no_grad():
        turn.step()
        one.step()
    first, second = turn.samplers[0].z, turn.samplers[1].z
    torch.testing.assert_close(first, (one.samplers[0].z + 0.2 * second) / 1.2)


def test_models_of_different_latents_are_refused(runtime: Runtime, folder: Path, tmp_path: Path) -> None:
    wide = build_tiny_instruct_pix2pix(tmp_path / "wide", latent_channels=8)
    edit = editor(runtime, folder, second_model=str(wide))
    with pytest.raises(ModelUnavailable, match="do not share a latent space"):
        edit.edit(job(edit, REMOVE))


# --- the action -------------------------------------------------------------------------------------------------------


def test_the_classifier_speaks_where_it_is_asked(runtime: Runtime, folder: Path, tmp_path: Path) -> None:
    weights = {"fc1.weight": torch.zeros(128, 32), "fc1.bias": torch.zeros(128), "fc2.weight": torch.zeros(3, 128)}
    torch.save({**weights, "fc2.bias": torch.tensor([0.0, 0.0, 1.0])}, tmp_path / "remove.pth")
    file = str(tmp_path / "remove.pth")
    edit = editor(runtime, folder, action="classifier", classifier=file)
    assert edit.edit(job(edit)).log["turns"][0]["action"] == "remove"
    official = editor(runtime, folder, action="classifier", classifier=file, classifier_decode="token")
    assert official.edit(job(official)).log["turns"][0]["action"] == "change", "by token: the first of equals"
    plan = editor(runtime, folder, classifier=file)
    assert plan.edit(job(plan, ADD)).log["turns"][0]["action"] == "add", "the plan's action wins"


# --- the region -------------------------------------------------------------------------------------------------------


def test_the_best_segment_becomes_the_region(runtime: Runtime, folder: Path, rough: Any) -> None:
    rough((50.0, 34.0, 90.0, 60.0))
    edit = editor(runtime, folder, smoother=False)
    edited = edit.edit(job(edit))
    assert np.array_equal(edited.mask, box_mask((48, 32, 96, 64), (WIDTH, HEIGHT)))
    turn = edited.log["turns"][0]
    assert (turn["segments"], turn["segment"]) == (4, 3) and turn["iou"] == pytest.approx(40 * 26 / (48 * 32))


def test_small_parts_are_not_edited(runtime: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = box_mask((10, 10, 40, 30), (WIDTH, HEIGHT)), box_mask((80, 50, 83, 53), (WIDTH, HEIGHT))
    monkeypatch.setattr(zone_mask, "attention_difference", lambda *_, **__: np.float32(200) * (1 - large - small))
    values = {"segments": "none", "smoother": False}
    for least, expected in ((64, large + small), (2000, large)):  # 1 and 31 pixels here
        edit = editor(runtime, folder, min_area=least, one_place=False, **values)
        assert np.array_equal(edit.edit(job(edit)).mask, expected)


def test_parts_that_touch_at_a_corner(runtime: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large, corner = box_mask((10, 10, 40, 30), (WIDTH, HEIGHT)), box_mask((40, 30, 44, 34), (WIDTH, HEIGHT))
    monkeypatch.setattr(zone_mask, "attention_difference", lambda *_, **__: np.float32(200) * (1 - large - corner))
    for corners, expected in ((True, large + corner), (False, large)):
        edit = editor(runtime, folder, corners=corners, min_area=2000, segments="none", smoother=False)
        assert np.array_equal(edit.edit(job(edit)).mask, expected)


def test_one_connected_place_unless_several_things_are_meant(
    runtime: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large, other = box_mask((10, 10, 40, 30), (WIDTH, HEIGHT)), box_mask((60, 40, 84, 60), (WIDTH, HEIGHT))
    monkeypatch.setattr(zone_mask, "attention_difference", lambda *_, **__: np.float32(200) * (1 - large - other))
    values = {"segments": "none", "smoother": False}
    several = CHANGE.model_copy(update={"count": "all"})
    for subtask, one, expected in (
        (CHANGE, True, large),
        (CHANGE, False, large + other),
        (several, True, large + other),
    ):
        edit = editor(runtime, folder, one_place=one, **values)
        assert np.array_equal(edit.edit(job(edit, subtask)).mask, expected)


def test_what_the_smoother_finds_apart_from_the_place_is_not_pasted(
    runtime: Runtime, folder: Path, rough: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rough((10.0, 10.0, 40.0, 30.0))
    place, apart = box_mask((10, 10, 42, 30), (WIDTH, HEIGHT)), box_mask((60, 40, 84, 60), (WIDTH, HEIGHT))
    monkeypatch.setattr(zone_mask, "smoothed_mask", lambda *_: (place + apart) > 0)
    for one, expected in ((True, place), (False, place + apart)):
        edit = editor(runtime, folder, segments="none", alpha=1.0, one_place=one)
        assert np.array_equal(edit.edit(job(edit)).mask, expected)


def test_a_thing_that_keeps_its_shape_is_edited_inside_its_outline(runtime: Runtime, folder: Path, rough: Any) -> None:
    rough((10.0, 10.0, 40.0, 30.0))
    kept = CHANGE.model_copy(update={"preserve_shape": True})
    segmenter = _Segmenter(FakeGrounderOptions(), Runtime())
    edit = editor(runtime, folder, dilation=80, edge_threshold=0)
    edited = edit.edit(job(edit, kept, segmenter=segmenter))
    assert np.array_equal(segmenter.seen, sample_image(WIDTH, HEIGHT)), "the source's outline"
    assert np.array_equal(edited.mask, box_mask((0, 0, 48, 32), (WIDTH, HEIGHT))), "the segment, and nothing around it"
    for other, subtask in (({"keep_outline": False}, kept), ({}, CHANGE)):
        edit = editor(runtime, folder, dilation=80, edge_threshold=0, **other)
        around = edit.edit(job(edit, subtask)).mask > 0
        assert around[:, 48:].any(), "the published way pastes around the segment too"


class _Segmenter(FakeGrounder):
    seen: Any = None

    def ground(self, job: GroundJob) -> list[Region]:
        self.seen = job.image
        return super().ground(job)


@pytest.mark.parametrize(("subtask", "original"), [(CHANGE, False), (ADD, False), (REMOVE, True)])
def test_which_picture_is_segmented(
    subtask: Subtask, original: bool, runtime: Runtime, folder: Path, rough: Any
) -> None:
    rough((10.0, 10.0, 40.0, 30.0))
    segmenter = _Segmenter(FakeGrounderOptions(), Runtime())
    edit = editor(runtime, folder)
    edited = edit.edit(job(edit, subtask, segmenter=segmenter))
    assert np.array_equal(segmenter.seen, sample_image(WIDTH, HEIGHT) if original else edited.image)


def test_without_an_overlapping_segment_the_rough_region_is_edited(
    runtime: Runtime, folder: Path, rough: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rough((10.0, 10.0, 40.0, 30.0))
    corner = Region("", mask=box_mask((80, 50, 96, 64), (WIDTH, HEIGHT)))
    monkeypatch.setattr(FakeGrounder, "ground", lambda self, job: [corner])
    edit = editor(runtime, folder, smoother=False)
    edited = edit.edit(job(edit))
    assert np.array_equal(edited.mask, box_mask((10, 10, 40, 30), (WIDTH, HEIGHT)))
    assert "no segment overlaps" in edited.log["notes"][0]


def test_without_a_segmenter_it_says_so(runtime: Runtime, folder: Path, rough: Any) -> None:
    rough((10.0, 10.0, 40.0, 30.0))
    edit = editor(runtime, folder, smoother=False)
    edited = edit.edit(replace(job(edit), segmenter=None))
    assert np.array_equal(edited.mask, box_mask((10, 10, 40, 30), (WIDTH, HEIGHT)))
    assert "the grounder sam" in edited.log["notes"][0]
    quiet = editor(runtime, folder, segments="none")
    assert quiet.edit(replace(job(quiet), segmenter=None)).log["notes"] == []


def test_an_instruction_that_names_nothing_visible_is_refused(runtime: Runtime, folder: Path, rough: Any) -> None:
    rough(None)
    edit = editor(runtime, folder, threshold=12)
    with pytest.raises(ObjectNotFound, match=r"'make the box blue'.* 200 of 255, 12 at most") as caught:
        edit.edit(job(edit))
    assert caught.value.exit_code == 5 and "threshold" in caught.value.remedy


def test_an_instruction_without_effect_on_the_prediction_is_refused(runtime: Runtime, folder: Path) -> None:
    asked: dict[str, Any] = {"attention": "prediction", "segments": "none", "threshold": 200}
    edit = editor(runtime, folder, least_effect=0, **asked)
    assert edit.edit(job(edit, CHANGE)).image.shape == (HEIGHT, WIDTH, 3)
    edit = editor(runtime, folder, least_effect=9, **asked)
    with pytest.raises(ObjectNotFound, match=r"it adds 0\.\d+ at most to the prediction, 9 at least") as caught:
        edit.edit(job(edit, CHANGE))
    assert caught.value.exit_code == 5


def test_the_prediction_may_say_where_the_edit_is(runtime: Runtime, folder: Path) -> None:
    asked: dict[str, Any] = {"segments": "none", "smoother": False, "threshold": 150, "one_place": False}
    seen = []
    for attention in ("null", "prediction"):
        edit, maps = editor(runtime, folder, attention=attention, **asked), {}
        edited = edit.edit(job(edit, CHANGE, watch=Watch(save_map=maps.__setitem__)))
        assert edited.mask is not None
        np.testing.assert_array_equal(edited.mask > 0, maps["1-difference"] * 255 <= 150)
        seen.append(maps["1-difference"])
    assert not np.allclose(*seen) and seen[1].min() == 0, "somewhere the instruction changes most"


def test_an_interrupted_edit_knows_where_the_prediction_changed(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder, attention="prediction", threshold=150, segments="none", steps=4)
    whole = edit.edit(job(edit, CHANGE))
    asked, states = iter(range(99)), []
    watch = Watch(checkpoint=lambda s: states.append(dict(s)), should_stop=lambda: next(asked) == 2)
    assert edit.edit(job(edit, CHANGE, watch=watch)).stopped
    resumed = edit.edit(job(edit, CHANGE, watch=Watch(resume=states[-1])))
    assert np.array_equal(resumed.mask, whole.mask) and np.array_equal(resumed.image, whole.image)


def test_what_the_user_drew_is_taken_literally(runtime: Runtime, folder: Path, rough: Any) -> None:
    rough(None)
    mask = box_mask((20, 20, 50, 40), (WIDTH, HEIGHT))
    edit = editor(runtime, folder)
    drawn = Region("a red box", mask=mask, subtask=0, given=True)
    edited = edit.edit(replace(job(edit), regions=(drawn,)))
    assert edited.mask is not None and edited.mask.any() and not edited.mask[mask == 0].any()
    with pytest.raises(ObjectNotFound):
        edit.edit(replace(job(edit), regions=(replace(drawn, given=False),)))


# --- turns ------------------------------------------------------------------------------------------------------------


def test_each_turn_works_on_the_last_ones_picture_and_leaves_the_rest_alone(
    runtime: Runtime, folder: Path, rough: Any
) -> None:
    boxes = ((0.0, 0.0, 40.0, 30.0), (30.0, 20.0, 70.0, 50.0), (60.0, 40.0, 96.0, 64.0))
    rough(*boxes)
    edit = editor(runtime, folder, smoother=False, segments="none")
    edited = edit.edit(job(edit, CHANGE, ADD, REMOVE))
    masks = [box_mask(box, (WIDTH, HEIGHT)) for box in boxes]
    assert np.array_equal(edited.mask, np.max(masks, axis=0))
    picture = sample_image(WIDTH, HEIGHT)
    for number, (subtask, box, mask) in enumerate(zip((CHANGE, ADD, REMOVE), boxes, masks, strict=True)):
        rough(box)
        alone = edit.edit(replace(job(edit, subtask), image=picture, seed=1 + number))
        before, picture = picture, blend(picture, alone.image, mask)
        assert np.array_equal(picture[mask == 0], before[mask == 0])
    inside = edited.mask > 0
    assert np.array_equal(edited.image[inside], picture[inside])


def test_what_is_pasted_once_is_what_soft_turns_left_one_by_one(runtime: Runtime, folder: Path, rough: Any) -> None:
    rough((0.0, 0.0, 60.0, 40.0), (30.0, 20.0, 96.0, 64.0))
    edit = editor(runtime, folder)
    edited = edit.edit(job(edit, CHANGE, ADD))
    assert set(np.unique(edited.mask.round(3))) & {np.float32(0.6), np.float32(0.84)}, "soft edges, and two of them"
    picture = sample_image(WIDTH, HEIGHT)
    for number, subtask in enumerate((CHANGE, ADD)):
        rough(((0.0, 0.0, 60.0, 40.0), (30.0, 20.0, 96.0, 64.0))[number])
        alone = edit.edit(replace(job(edit, subtask), image=picture, seed=1 + number))
        picture = blend(picture, alone.image, alone.mask)
    assert np.abs(blend(sample_image(WIDTH, HEIGHT), edited.image, edited.mask).astype(int) - picture).max() <= 1


def test_an_interrupted_edit_goes_on_to_the_same_bytes(
    runtime: Runtime, folder: Path, other: Path, tmp_path: Path
) -> None:
    edit = editor(runtime, folder, second_model=str(other), steps=4)
    whole = edit.edit(job(edit, REMOVE, CHANGE))
    for after in (3, 6):
        asked, states = iter(range(99)), []
        watch = Watch(checkpoint=lambda s: states.append(dict(s)), should_stop=lambda: next(asked) == after)  # noqa: B023
        stopped = edit.edit(job(edit, REMOVE, CHANGE, watch=watch))
        assert stopped.stopped
        save_state(tmp_path / "a.gas-state", states[-1], digest="d", record="{}")
        state = load_state(tmp_path / "a.gas-state", digest="d")
        resumed = edit.edit(job(edit, REMOVE, CHANGE, watch=Watch(resume=state)))
        assert np.array_equal(resumed.image, whole.image) and np.array_equal(resumed.mask, whole.mask)
        assert resumed.log == whole.log


def test_a_run_that_is_stopped_pastes_the_rough_region_only(runtime: Runtime, folder: Path, rough: Any) -> None:
    rough((10.0, 10.0, 40.0, 30.0))
    edit = editor(runtime, folder)
    asked = iter(range(9))
    early = edit.edit(job(edit, watch=Watch(should_stop=lambda: next(asked) == 1)))
    assert np.array_equal(early.mask, box_mask((10, 10, 40, 30), (WIDTH, HEIGHT)))
    assert not edit.edit(job(edit, watch=Watch(should_stop=lambda: True))).mask.any()


# --- through the pipeline ---------------------------------------------------------------------------------------------


def session(folder: Path, *grounders: str, **values: Any) -> Session:
    from gas.testing import fakes

    registry = Registry.discover().add(fakes)
    options = {"zone": {"model": str(folder), **TINY, **values}}
    flags = {"profile": "sd15", "editor": "zone", "grounders": grounders, "options": options, "dtype": "fp32"}
    return Session(Settings.of(flags, find_profile=registry.profile), registry)


def test_its_places_are_not_the_grounders_and_the_segmenter_is_handed_on(
    folder: Path, rough: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rough((10.0, 10.0, 90.0, 60.0), (120.0, 80.0, 140.0, 100.0))
    monkeypatch.setattr(FakeGrounder, "detects", False)
    used = session(folder, "fake")
    image = sample_image(200, 150)
    plan = EditPlan(subtasks=(CHANGE, ADD))
    regions = used.ground(image, plan)
    assert regions == (), "the fake knows no box, and would have refused"
    result = used.edit(image, plan, regions, seed=1)
    assert result.log["turns"][0]["segments"] == 4
    outside = result.mask == 0
    assert 0 < outside.sum() < outside.size
    assert np.array_equal(result.image[outside], image[outside]), "bit for bit"


def test_what_a_detector_does_not_find_is_not_edited(folder: Path) -> None:
    """It would find a place for a thing that is not there too, so whoever was chosen to detect is asked first."""
    image, car = sample_image(64, 64), Subtask(source="a car", target="a blue car")
    options = {"zone": {"model": str(folder), **TINY}, "fake": {"boxes": {"a red box": [0.1, 0.1, 0.5, 0.5]}}}
    flags = {"profile": "sd15", "editor": "zone", "grounders": ("fake",), "options": options, "dtype": "fp32"}
    registry = Registry.discover().add(fakes)
    used = Session(Settings.of(flags, find_profile=registry.profile), registry)
    assert used.ground(image, EditPlan(subtasks=(CHANGE,))) == (), "it is there; the editor finds the place itself"
    with pytest.raises(ObjectNotFound, match="'a car' was not found"):
        used.ground(image, EditPlan(subtasks=(car,)))
    drawn = Region("a car", box=(5.0, 5.0, 30.0, 30.0), given=True)
    assert len(used.ground(image, EditPlan(subtasks=(car,)), [drawn])) == 1, "the user has drawn it"


def test_the_places_are_shown_and_recorded(folder: Path, rough: Any) -> None:
    from gas.run.record import Record
    from gas_cli.render import outside_lines

    rough((10.0, 10.0, 40.0, 30.0))
    used = session(folder, segments="none", smoother=False)
    photo = of_pixels(sample_image(WIDTH, HEIGHT))
    made = prepare(used, photo, EditPlan(subtasks=(CHANGE,)), seed=1).edit()
    (place,) = made.chosen
    assert (place.phrase, place.subtask, place.given) == ("a red box", 0, False)
    assert made.regions == () and np.array_equal(place.mask > 0, made.mask > 0)
    assert made.job is not None and "place" not in made.log["turns"][0], "it is recorded once"
    record = Record.model_validate_json(made.job._record(made).to_json())
    assert record.chosen[0].box == place.box and record.regions == ()
    box, share = ", ".join(f"{side:.0f}" for side in place.box or ()), 100 * (place.mask > 0).mean()
    assert next(outside_lines(record)) == f"zone chose for 'a red box' the place in the box {box} ({share:.1f} %)"


def test_a_segmenter_alone_finds_nothing_and_is_not_asked_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"profile": "instruct", "grounders": ("sam",), "editor": "instruct-pix2pix", "dtype": "fp32"}
    registry = Registry.discover()
    used = Session(Settings.of(flags, find_profile=registry.profile), registry)
    assert used.ground(sample_image(64, 64), EditPlan(subtasks=(CHANGE,))) == ()


# --- looking inside ---------------------------------------------------------------------------------------------------


def test_maps_show_every_step(runtime: Runtime, folder: Path, tiny_sd: Path) -> None:
    maps: dict[str, np.ndarray] = {}
    edit = editor(runtime, folder, map_model=str(tiny_sd))
    edit.edit(job(edit, CHANGE.model_copy(update={"instruction": "go"}), watch=Watch(save_map=maps.__setitem__)))
    tokens = ["00-start", "01-g", "02-o", "03-end"]
    assert list(maps) == [
        "1-difference",
        *(f"1-attention-{token}" for token in tokens),
        *(f"1-text-to-image-{token}" for token in tokens),
        *(f"1-{name}" for name in ("rough", "segments", "chosen", "smoothed", "pasted")),
    ]
    for one in maps.values():
        assert one.shape == (HEIGHT, WIDTH) and one.min() >= 0 and one.max() <= 1
    assert len(np.unique(maps["1-segments"])) == 4


def test_the_log_is_plain(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    log = edit.edit(job(edit, CHANGE, REMOVE)).log
    assert json.loads(json.dumps(dict(log))) == dict(log)
    assert [turn["action"] for turn in log["turns"]] == ["change", "remove"]


@pytest.mark.parametrize("size", [(64, 160), (128, 64), (56, 72)])
def test_any_size_and_aspect_ratio(runtime: Runtime, folder: Path, size: tuple[int, int]) -> None:
    for values in ({}, {"maps": "blocks"}, {"least_cells": 8}):
        edit = editor(runtime, folder, steps=1, threshold=255, **values)
        work = replace(job(edit), image=sample_image(size[1], size[0]))
        assert edit.edit(work).image.shape == (*size, 3)


# --- the profile and the installed program ----------------------------------------------------------------------------


def test_the_profile_is_pinned_and_fits() -> None:
    profile = Registry.discover().profile("instruct")
    assert (profile.editor, profile.grounders) == ("zone", ("grounding-dino", "sam"))
    known = {model.model for model in profile.models}
    assert {options["model"] for options in profile.options.values() if "model" in options} <= known
    for model in profile.models:
        assert len(model.revision or "") == 40 and model.licence and model.files
    for name in ("zone", "instruct-pix2pix"):
        Registry.discover().settle("editors", name, {}, [profile.layer(name)])


def test_a_photograph_on_the_command_line(tmp_path: Path, folder: Path, other: Path) -> None:
    from PIL import Image as Pictures
    from skimage import data

    photo = data.astronaut()[:300, :400]
    Pictures.fromarray(photo).save(tmp_path / "photo.png")
    options = ["steps=2", "threshold=2", "least_cells=2", "skip_below=0", f"second_model={other}"]
    arguments = ["edit", "photo.png", "remove the flag", "--profile", "instruct", "--model", str(folder)]
    arguments += [
        "--grounder",
        "none",
        "--planner",
        "rules",
        "--dtype",
        "fp32",
        "--seed",
        "1",
        "-o",
        "out.png",
        "--json",
    ]
    arguments += ["--save-maps", "maps", "--save-layer", "layer.png"]
    arguments += [part for one in options for part in ("-o", one)]
    said = gas(*arguments, cwd=tmp_path, env={"GAS_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"})
    assert said.returncode == 0, said.stderr
    assert "the grounder sam" in said.stderr and "bit for bit" in said.stderr and "Traceback" not in said.stderr
    answer = json.loads(said.stdout)["data"]
    assert answer["log"]["turns"][0]["action"] == "remove" and answer["log"]["evaluations"] == 12
    assert answer["outside"]["max"] == 0
    out, layer = (np.asarray(Pictures.open(tmp_path / name)) for name in ("out.png", "layer.png"))
    outside = layer[..., 3] == 0
    assert outside.any() and not outside.all() and np.array_equal(out[outside], photo[outside])
    record = json.loads((tmp_path / "out.png.gas.json").read_text())
    assert [model["id"] for model in record["models"]] == ["ip2p", "magicbrush"]


def test_three_instructions_on_the_command_line(tmp_path: Path) -> None:
    """Three turns with the diorama's own models: outside their three masks the input is kept bit for bit, and each step
    of each turn can be seen."""
    from PIL import Image as Pictures

    scene = Path(str(find_spec("gas_diorama").submodule_search_locations[0])) / "scenes" / "camp.png"
    arguments = ["edit", str(scene), "--plan", "plan.json", "--editor", "zone"]
    arguments += ["--profile", "diorama", "--grounder", "sam", "--dtype", "fp32", "--seed", "3", "-o", "out.png"]
    arguments += ["--json", "--save-maps", "maps", "-o", "steps=4"]
    told = ["remove the igloo", "make the tent a car", "add a ball"]
    subtasks = [
        {"action": "remove", "source": "an igloo", "instruction": told[0]},
        {"action": "change", "source": "a tent", "target": "a car", "instruction": told[1]},
        {"action": "add", "target": "a ball", "anchor": "sand", "instruction": told[2]},
    ]
    (tmp_path / "plan.json").write_text(json.dumps({"version": 1, "subtasks": subtasks}))
    said = gas(*arguments, cwd=tmp_path, env={"GAS_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"})
    assert said.returncode == 0, said.stderr
    turns = json.loads(said.stdout)["data"]["log"]["turns"]
    assert [turn["instruction"] for turn in turns] == told
    assert [turn["action"] for turn in turns] == ["remove", "change", "add"]

    before, after = (np.asarray(Pictures.open(path).convert("RGB")) for path in (scene, tmp_path / "out.png"))
    record = read_record(tmp_path / "out.png")
    masks = [decode_rle(place.mask) > 0 for place in record.chosen]
    assert [place.subtask for place in record.chosen] == [0, 1, 2]
    assert {f"{turn}-rough.png" for turn in (1, 2, 3)} <= {path.name for path in (tmp_path / "maps").iterdir()}
    outside = ~np.logical_or.reduce(masks)
    assert outside.any() and all(mask.any() for mask in masks)
    assert np.array_equal(after[outside], before[outside]) and (after != before).any()
    for turn, words in enumerate(told, 1):
        for number, token in enumerate(["start", *words.split(), "end"]):
            for of in ("attention", "text-to-image"):  # ZONE, fig. 2: the same words under both models
                assert (tmp_path / "maps" / f"{turn}-{of}-{number:02d}-{token}.png").exists()
    assert turns[0]["segments"] > 1, "to remove, the scene itself is segmented, and it has segments"


@pytest.mark.parametrize("seed", [1, 6])
def test_the_readmes_second_command_changes_the_tent_alone(seed: int) -> None:
    """No pixel of the igloo and the water beside it changes by more than encoding and decoding the picture does."""
    from PIL import Image as Pictures

    from gas_diorama.shipped import shipped
    from gas_diorama.world.drawing import masks

    scene = next(one.scene for one in shipped() if one.name == "camp")
    source = Path(str(find_spec("gas_diorama").submodule_search_locations[0])) / "scenes" / "camp.png"
    before = np.asarray(Pictures.open(source).convert("RGB"))
    registry = Registry.discover()
    flags = {"profile": "diorama", "planner": "rules", "editor": "zone", "device": "cpu"}
    used = Session(Settings.of(flags, find_profile=registry.profile), registry)

    after = prepare(used, of_pixels(before), Request(instruction="make the tent blue"), seed=seed).edit().image
    changed, coded = (
        np.abs(one.astype(int) - before).max(axis=2) for one in (after, used.backend("editors", "zone").coded(before))
    )
    beside = {what if isinstance(what, str) else what.kind: mask > 0.5 for what, mask in masks(scene).items()}
    for name in ("igloo", "ground"):
        assert changed[beside[name]].max() <= coded[beside[name]].max()
    assert not changed[beside["igloo"]].any() and (changed[beside["tent"]] > 40).mean() > 0.5
    with pytest.raises(ObjectNotFound):
        prepare(used, of_pixels(before), Request(instruction="make the submarine blue"), seed=seed)
