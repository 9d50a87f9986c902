"""Text2LIVE: the generator and its optimiser, the views, what each loss stands for, and the editor, plain and
grounded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from random_state import generator
from torch import Tensor

from gas import Registry
from gas.backends.options import Layer, settle
from gas.diffusion.clip import Clip, to_pixels
from gas.errors import InputRefused, ModelUnavailable, OutOfResources, ResultRefused, UsageError
from gas.interfaces import EditJob, Watch
from gas.masks import mask_box
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image
from gas.testing.tiny import build_tiny_clip
from gas.types import EditPlan, Region, Subtask
from gas_editors.text2live import losses as losses
from gas_editors.text2live.editor import Text2LiveEditor, Text2LiveOptions
from gas_editors.text2live.generator import Generators, LayerGenerator, levels_for, madgrad, madgrad_start
from gas_editors.text2live.training import PARTS, Training
from gas_editors.text2live.views import Views, clip_views, training_crop

SMALL = {"resolution": 40, "steps": 2, "width": 4, "levels": 2, "views": 2}
IMAGE = sample_image(48, 40)
PLAN = EditPlan(
    subtasks=(Subtask(source="a red box", target="a blue ball"), Subtask(source="green grass", target="snow")),
    source_prompt="a red box on green grass",
    target_prompt="a blue ball on snow",
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_clip(tmp_path_factory.mktemp("tiny") / "clip", side=16, patch=8, layers=2)


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


@pytest.fixture(scope="module")
def clip(folder: Path, runtime: Runtime) -> Clip:
    return Clip.load(str(folder), runtime)


def editor(runtime: Runtime, folder: Path, **values: Any) -> Text2LiveEditor:
    layer = Layer("test", {"model": str(folder), **SMALL, **values})
    return Text2LiveEditor(settle("editor", Text2LiveOptions, [layer]).options, runtime)


def region(index: int, x0: int, y0: int, x1: int, y1: int) -> Region:
    mask = np.zeros(IMAGE.shape[:2], np.float32)
    mask[y0:y1, x0:x1] = 1
    return Region(PLAN.subtasks[index].source, mask_box(mask), mask, subtask=index)


REGIONS = (region(0, 16, 8, 32, 30), region(1, 0, 24, 48, 40))


def job(
    edit: Text2LiveEditor, plan: EditPlan = PLAN, watch: Watch = Watch(), seed: int = 1, grounded: bool = False
) -> EditJob:
    return EditJob(IMAGE, plan, REGIONS if grounded else (), seed, edit.options, watch=watch, grounded=grounded)


class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, runtime: Runtime, folder: Path) -> Any:
        values = {"model": str(folder), **SMALL, "steps": 11, "views": 1, "levels": 1}
        return Registry.discover().create("editors", "text2live", values, runtime)

    @pytest.fixture
    def job(self, editor: Any) -> EditJob:
        return replace(job(editor), regions=REGIONS)


# --- generator and optimiser ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "levels"), [((40, 48), 2), ((31, 17), 2), ((64, 96), 4), ((16, 16), 2)])
def test_a_layer_has_the_pictures_size_and_is_between_0_and_1(size: tuple[int, int], levels: int) -> None:
    layer = Generators(1, 4, levels, seed=0)
    made = layer.layer(layer.start[0], torch.rand(1, 3, *size, generator=generator(1)))
    assert made.shape == (1, 4, *size) and made.min() > 0 and made.max() < 1


def test_levels_leave_four_pixels_to_the_deepest() -> None:
    found = [levels_for(side, side + 9, 7) for side in (512, 511, 2000, 128, 64, 16, 3)]
    assert found == [7, 6, 7, 5, 4, 2, 1]
    assert levels_for(512, 512, 3) == 3


def test_generators_differ_by_number_and_seed_and_leave_the_global_dice_alone() -> None:
    before = torch.random.get_rng_state()
    one, other = Generators(2, 4, 2, seed=0), Generators(2, 4, 2, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not torch.equal(one.start[0], one.start[1]) and not torch.equal(one.start, other.start)
    assert torch.equal(one.start, Generators(2, 4, 2, seed=0).start)


@pytest.mark.seeded
def test_published_size() -> None:
    """128 channels at seven levels: 2 (9 * 128 * 128) down and 132 * 9 * 128 + 128 * 128 up, about 3.2 million."""
    count = sum(one.numel() for one in LayerGenerator(128, 7).parameters())
    assert count == pytest.approx(7 * (2 * 9 * 128 * 128 + 132 * 9 * 128 + 128 * 128), rel=0.05)


def test_madgrads_first_step_by_hand() -> None:
    state = madgrad_start(torch.tensor([1.0, -2.0]))
    gradient = torch.tensor([0.5, -3.0])
    whole = gradient + 0.01 * state["weights"]
    reached = state["weights"] - 0.1 * whole / whole.abs() ** (2 / 3) * 0.0025 ** (2 / 3)
    assert torch.allclose(madgrad(state, gradient, 0.0025, 0)["weights"], reached, atol=1e-5)


def test_madgrad_goes_downhill_and_leaves_its_state_alone() -> None:
    state = first = madgrad_start(torch.tensor([5.0, -5.0]))
    for step in range(200):
        state = madgrad(state, 2 * (state["weights"] - 1), 0.05, step)
    assert (state["weights"] - 1).abs().max() < 0.1
    assert torch.equal(first["weights"], torch.tensor([5.0, -5.0])) and not first["squares"].any()


# --- views ------------------------------------------------------------------------------------------------------------


def test_a_view_of_the_whole_is_the_picture() -> None:
    picture = torch.rand(1, 3, 20, 30, generator=generator(2))
    whole = Views(np.eye(3)[None], np.ones(1), np.ones(1), np.eye(3)[None])
    assert torch.allclose(whole.recolour(whole.look(picture, (20, 30))), picture, atol=1e-5)
    flip = replace(whole, places=np.diag([-1.0, 1, 1])[None])
    assert torch.allclose(flip.look(picture, (20, 30)), picture.flip(3), atol=1e-5)
    beyond = replace(whole, places=np.array([[[1.0, 0, 5], [0, 1, 0], [0, 0, 1]]]))
    assert (beyond.look(picture, (20, 30)) == 1).all() and (beyond.look(picture, (20, 30), outside=0) == 0).all()


def test_views_cut_turn_slant_and_recolour() -> None:
    views = clip_views(np.random.default_rng(0), 200, 1.5)
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], float)
    seen = corners @ views.places.transpose(0, 2, 1)
    seen = seen[..., :2] / seen[..., 2:]
    assert np.abs(seen).max() < 3, "a view looks far beyond the picture"
    slanted = np.abs(views.places[:, 2, :2]).max(1) > 1e-9
    assert 0.4 < slanted.mean() < 0.6
    assert 0.3 < (views.places[~slanted, 0, 0] < 0).mean() < 0.7, "half of them are flipped"
    grey = np.ptp(views.colours, axis=1).max(1) < 1e-9
    assert 0.08 < grey.mean() < 0.25
    plain = clip_views(np.random.default_rng(0), 50, 1.0, recoloured=False)
    assert (plain.colours == np.eye(3)).all() and (plain.brightness == 1).all() and (plain.contrast == 1).all()


def test_turns_keep_the_pictures_aspect_ratio() -> None:
    """In pixels a place that is neither cut nor slanted is a rotation: its columns are at right angles."""
    for place in (
        clip_views(np.random.default_rng(1), 1, 2.0).places,
        *(clip_views(np.random.default_rng(seed), 1, 2.0).places for seed in range(20)),
    ):
        if np.abs(place[0, 2, :2]).max() > 1e-9:
            continue
        pixels = np.diag([2.0, 1, 1]) @ place[0] @ np.diag([0.5, 1, 1])
        assert pixels[:2, 0] @ pixels[:2, 1] == pytest.approx(0, abs=1e-9)


def test_colours_change_as_said() -> None:
    grey = Views(np.eye(3)[None], np.ones(1), np.ones(1), np.tile([0.299, 0.587, 0.114], (1, 3, 1)))
    picture = torch.rand(1, 3, 4, 4, generator=generator(3))
    assert torch.allclose(grey.recolour(picture).std(1), torch.zeros(1, 4, 4), atol=1e-6)
    dark = Views(np.eye(3)[None], np.full(1, 0.5), np.ones(1), np.eye(3)[None])
    assert torch.allclose(dark.recolour(picture), picture / 2, atol=1e-6)
    flat = Views(np.eye(3)[None], np.ones(1), np.zeros(1), np.eye(3)[None])
    assert torch.allclose(flat.recolour(picture).std(), torch.zeros(()), atol=1e-6)


def test_crops_are_of_the_sizes_that_were_published() -> None:
    sizes = np.array([training_crop(np.random.default_rng(seed), 100, 200)[1] for seed in range(200)])
    assert sizes[:, 0].min() >= 68 and sizes[:, 0].max() <= 120 and np.ptp(sizes[:, 0]) > 30
    assert np.abs(sizes[:, 1] / sizes[:, 0] - 2).max() < 0.05


# --- losses -----------------------------------------------------------------------------------------------------------


def test_a_clear_layer_is_the_picture_bit_for_bit() -> None:
    picture = to_pixels(IMAGE)
    layer = torch.cat([torch.rand(1, 3, 40, 48, generator=generator(4)), torch.zeros(1, 1, 40, 48)], 1)
    assert torch.equal(losses.over(layer, picture), picture)
    solid = torch.cat([layer[:, :3], torch.ones(1, 1, 40, 48)], 1)
    assert torch.allclose(losses.over(solid, picture), layer[:, :3])
    assert torch.allclose(losses.on_screen(layer)[0, :, 0, 0], torch.tensor([0.0, 177 / 255, 64 / 255]))


def test_distance_from_a_text() -> None:
    axes = torch.eye(3)
    for criterion, right_angle in (("spherical", 2 * (np.pi / 4) ** 2), ("cosine", 1.2)):
        found = losses.distance(axes[:2], axes, criterion)  # type: ignore[arg-type]
        assert found.shape == (2, 3) and float(found[0, 0]) == pytest.approx(0, abs=1e-5)
        assert float(found[0, 1]) == pytest.approx(right_angle, rel=1e-4)
    opposite = axes[:1].clone().requires_grad_(True)
    losses.distance(opposite, torch.cat([axes[:1], -axes[:1]])).sum().backward()
    assert opposite.grad is not None and torch.isfinite(opposite.grad).all()


def test_direction() -> None:
    before, axes = torch.zeros(1, 3), torch.eye(3)
    change = axes[:1] * 3
    same, still, away = (losses.direction_loss(before, before + way, change) for way in (axes[:1], 0, -axes[:1]))
    assert (float(same), float(still), float(away)) == pytest.approx((0, 1, 2), abs=1e-5)


def test_structure_is_0_for_the_source_and_for_nothing_else(clip: Clip) -> None:
    picture = clip.whole(to_pixels(IMAGE))
    own = clip.self_similarity(picture)
    assert float(losses.structure_loss(own, clip.self_similarity(picture))) == 0
    assert float(losses.structure_loss(own, clip.self_similarity(picture.flip(3).flip(2)))) > 1e-4


def test_sparsity() -> None:
    clear, half, full = (losses.sparsity(torch.full((4,), one), 1.0, 2.0) for one in (0.0, 0.5, 1.0))
    assert float(clear) == 0
    assert float(full) == pytest.approx(1 + 2 * (2 / (1 + np.exp(-5)) - 1), abs=1e-5)
    assert float(half) > float(full) / 2, "what is opaque at all counts more than how much"


def test_bootstrapping_fades() -> None:
    assert [losses.bootstrap_weight(step, 4) for step in range(6)] == [0.75, 0.5, 0.25, 0, 0, 0]
    assert losses.bootstrap_weight(0, 0) == 0


def test_composition_falls_towards_the_target(clip: Clip) -> None:
    wanted = losses.Wanted.of(clip, "a red box", "a blue ball", losses.TEMPLATES)
    assert wanted.source.shape == wanted.target.shape == (14, 8)
    assert torch.allclose(wanted.target[11], clip.texts(["a blue ball"])[0], atol=1e-5)

    def loss(after: Tensor) -> float:
        rng = np.random.default_rng(0)
        return float(losses.composition_loss(wanted.source[:1], after, wanted, rng, "spherical"))

    assert loss(wanted.target[:1]) < loss(wanted.source[:1])


def test_each_loss_is_weighed_and_pulls_on_its_own(runtime: Runtime, folder: Path) -> None:
    """With all weights but one at 0, only that part is not 0, and training on it makes it smaller."""
    weights = {
        "composition": "lambda_composition",
        "region": "lambda_region",
        "screen": "lambda_screen",
        "structure": "lambda_structure",
        "sparsity": "lambda_alpha_l1",
        "bootstrap": "lambda_bootstrap",
    }
    assert tuple(weights) == PARTS
    none = dict.fromkeys([*weights.values(), "lambda_alpha_l0"], 0.0)
    for part, name in weights.items():
        edit = editor(runtime, folder, **none | {name: 1.0}, steps=1)
        log = edit.edit(job(edit, grounded=True)).log["losses"] if part != "bootstrap" else None
        if log is not None:
            assert {key for key, value in log.items() if value} == {part}
    sparse = editor(runtime, folder, **none | {"lambda_alpha_l1": 1.0}, steps=30, learning_rate=0.05)
    opaque = editor(runtime, folder, **none | {"lambda_bootstrap": 1.0}, steps=30, learning_rate=0.05)
    assert sparse.edit(job(sparse, grounded=True)).log["opacity"][1] < 0.1 * REGIONS[0].mask.mean()  # type: ignore[union-attr]
    assert opaque.edit(job(opaque, grounded=True)).log["opacity"][1] > 0.7 * REGIONS[0].mask.mean()  # type: ignore[union-attr]


# --- the editor -------------------------------------------------------------------------------------------------------

CHANGES = [
    ("steps", 3),
    ("learning_rate", 0.01),
    ("decay", 0.1),
    ("width", 5),
    ("levels", 1),
    ("views", 1),
    ("recoloured", False),
    ("templates", False),
    ("criterion", "cosine"),
    ("whole_every", 1),
    ("lambda_composition", 0.0),
    ("lambda_screen", 0.0),
    ("lambda_structure", 50.0),
    ("lambda_alpha_l1", 3.0),
    ("lambda_alpha_l0", 3.0),
    ("lambda_bootstrap", 0.0),
    ("bootstrap", 0.0),
    ("relevance_layers", 2),
]
FOR_GROUNDED = [("lambda_region", 0.0), ("overlap", 1.0)]


@pytest.fixture(scope="module")
def usual(runtime: Runtime, folder: Path) -> dict[bool, Any]:
    edit = editor(runtime, folder)
    return {grounded: edit.edit(job(edit, grounded=grounded)) for grounded in (False, True)}


@pytest.mark.parametrize(("option", "value"), CHANGES + FOR_GROUNDED)
def test_every_option_changes_the_picture(
    option: str, value: Any, runtime: Runtime, folder: Path, usual: dict[bool, Any]
) -> None:
    grounded = (option, value) in FOR_GROUNDED
    changed = editor(runtime, folder, **{option: value})
    assert getattr(changed.options, option) != getattr(editor(runtime, folder).options, option)
    edited = changed.edit(job(changed, grounded=grounded))
    # A picture's levels may hide what two steps of training change; the losses do not.
    assert edited.log != usual[grounded].log


def test_no_option_is_without_a_test() -> None:
    elsewhere = {"model", "allow_pickle", "resolution"}  # test_clip, and below
    assert set(Text2LiveOptions.model_fields) == {name for name, _ in CHANGES + FOR_GROUNDED} | elsewhere
    assert all(field.description for field in Text2LiveOptions.model_fields.values())
    assert Text2LiveOptions(**Text2LiveOptions.presets["official-code"]) == Text2LiveOptions()


def test_sizes(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder, resolution=96)
    assert (edit.resolution(), edit.multiple()) == (96, 1)
    with pytest.raises(InputRefused, match="15x40 pixels is too small"):
        edit.edit(replace(job(edit), image=np.ascontiguousarray(IMAGE[:, :15])))


def test_a_seed_decides_everything(runtime: Runtime, folder: Path, usual: dict[bool, Any]) -> None:
    edit = editor(runtime, folder)
    before = torch.random.get_rng_state()
    assert not np.array_equal(edit.edit(job(edit, seed=2)).image, usual[False].image)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_grounded_job_paints_inside_the_regions_only(usual: dict[bool, Any]) -> None:
    inside = np.maximum(*(one.mask for one in REGIONS)) > 0
    edited = usual[True]
    assert (
        np.array_equal(edited.image[~inside], IMAGE[~inside]) and (edited.image[inside] != IMAGE[inside]).mean() > 0.5
    )
    assert not np.array_equal(usual[False].image[~inside], IMAGE[~inside])
    assert edited.log["grounded"] and edited.log["screens"] == ["snow", "a blue ball"], "the smaller layer lies on top"


def test_where_regions_overlap_the_larger_layer_is_fainter(runtime: Runtime, folder: Path, clip: Clip) -> None:
    edit = editor(runtime, folder, overlap=0.25)
    below, above = edit.layers(job(edit, grounded=True), clip, to_pixels(IMAGE))
    assert below.mask[0, 0, 26, 20] == 0.25 and below.mask[0, 0, 26, 2] == 1 and above.mask[0, 0, 26, 20] == 1


def test_what_each_layer_is_told(runtime: Runtime, folder: Path, clip: Clip) -> None:
    edit = editor(runtime, folder)
    gone = Subtask(action="remove", source="a car", anchor="the road", strength=2)
    bare = Subtask(action="remove", source="a car")
    added = Subtask(action="add", target="a hat", anchor="the dog")
    picture = to_pixels(IMAGE)

    def layers(*subtasks: Subtask, grounded: bool = False) -> Any:
        return edit.layers(job(edit, PLAN.model_copy(update={"subtasks": subtasks}), grounded=grounded), clip, picture)

    assert layers(*PLAN.subtasks)[0].screen == "a blue ball and snow"
    assert layers(gone)[0].screen == "the road" and layers(bare)[0].screen is None
    assert layers(Subtask(action="add", target="a hat"))[0].place is None
    found = {one.prompts: one for one in layers(added, gone, grounded=True)}
    assert found["the dog", "the dog with a hat"].screen == "the dog with a hat"
    assert found["a car on the road", "the road"].strength == 2
    (nameless,) = layers(bare, grounded=True)
    assert nameless.prompts == (PLAN.source_prompt, PLAN.target_prompt) and nameless.screen is None


def test_a_subtasks_strength_weighs_its_own_losses(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder, steps=1)
    found = []
    for strength in (1.0, 3.0):
        subtasks = tuple(one.model_copy(update={"strength": strength}) for one in PLAN.subtasks)
        plan = PLAN.model_copy(update={"subtasks": subtasks})
        found.append(edit.edit(job(edit, plan, grounded=True)).log["losses"])
    for part in PARTS:
        assert found[1][part] == pytest.approx((3 if part in ("region", "screen") else 1) * found[0][part], rel=1e-3)


def test_relevance_of_several_phrases_is_that_of_the_best(runtime: Runtime, folder: Path, clip: Clip) -> None:
    edit, picture = editor(runtime, folder), to_pixels(IMAGE)
    one, other, both = (edit._relevance(clip, picture, names) for names in (["a"], ["grass"], ["a", "grass"]))
    assert both.shape == (1, 1, 40, 48) and torch.allclose(both, torch.maximum(one, other), atol=1e-5)


def test_log_and_maps(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    maps: dict[str, np.ndarray] = {}
    log = edit.edit(job(edit, watch=Watch(save_map=maps.__setitem__), grounded=True)).log
    assert json.loads(json.dumps(dict(log), allow_nan=False)) == dict(log)
    assert list(maps) == ["1-snow-place", "1-snow-opacity", "2-a-blue-ball-place", "2-a-blue-ball-opacity"]
    assert not maps["2-a-blue-ball-opacity"][:8].any() and maps["2-a-blue-ball-opacity"][8:30, 16:32].any()
    # Each step: composite and source, 2 views of each; structure, 2; for each layer two of its region and its screen.
    # The first step does all of it for the whole picture too.
    assert log["clip_evaluations"] == 3 * (2 * 2 + 2 + 2 * (2 * 2 + 2))


@pytest.mark.parametrize("grounded", [False, True])
def test_an_interrupted_edit_goes_on_to_the_same_bytes(runtime: Runtime, folder: Path, grounded: bool) -> None:
    edit = editor(runtime, folder, steps=4)
    whole = edit.edit(job(edit, grounded=grounded))
    asked = iter(range(9))
    states: list[Any] = []
    watch = Watch(checkpoint=lambda state: states.append(dict(state)), should_stop=lambda: next(asked) == 2)
    stopped = edit.edit(job(edit, watch=watch, grounded=grounded))
    assert stopped.stopped and stopped.log["steps"] == 2
    again = edit.edit(job(edit, watch=Watch(resume=states[-1], should_stop=lambda: True), grounded=grounded))
    assert again.stopped and np.array_equal(again.image, stopped.image) and again.log == stopped.log
    resumed = edit.edit(job(edit, watch=Watch(resume=states[-1]), grounded=grounded))
    assert np.array_equal(resumed.image, whole.image) and resumed.log == whole.log


def test_stopped_before_the_first_step_is_the_source(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    edited = edit.edit(job(edit, watch=Watch(should_stop=lambda: True)))
    assert edited.stopped and np.array_equal(edited.image, IMAGE)


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_the_model_has_to_be_named_and_there(runtime: Runtime) -> None:
    nameless = Text2LiveEditor(Text2LiveOptions(), runtime)
    with pytest.raises(UsageError, match="no CLIP is named") as usage:
        nameless.edit(job(nameless))
    missing = Text2LiveEditor(Text2LiveOptions(model="./no-such-clip"), runtime)
    with pytest.raises(ModelUnavailable, match=r"\./no-such-clip") as unavailable:
        missing.edit(job(missing))
    assert (usage.value.exit_code, unavailable.value.exit_code) == (2, 6)


@pytest.mark.parametrize("name", ["source_prompt", "target_prompt"])
def test_whole_sentences_are_needed(runtime: Runtime, folder: Path, name: str) -> None:
    edit = editor(runtime, folder)
    with pytest.raises(InputRefused, match="the plan has no"):
        edit.edit(job(edit, PLAN.model_copy(update={name: " "})))


def test_a_grounded_subtask_needs_its_region(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    with pytest.raises(InputRefused, match=r"subtask 2 \('green grass'\) has no region"):
        edit.edit(replace(job(edit, grounded=True), regions=REGIONS[:1]))


def test_numbers_that_are_not_finite_stop_by_name(
    runtime: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Training, "_losses", lambda self, weights, *_: weights.sum().log() * torch.full((6,), np.nan))
    edit = editor(runtime, folder)
    with pytest.raises(ResultRefused, match="the edit layer is not a finite number any more") as caught:
        edit.edit(job(edit))
    assert caught.value.exit_code == 11 and "learning_rate" in caught.value.remedy


def test_too_little_memory_says_what_to_do(runtime: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Generators, "layer", full)
    edit = editor(runtime, folder)
    with pytest.raises(OutOfResources, match="48x40") as caught:
        edit.edit(job(edit))
    assert caught.value.exit_code == 7 and "the option width" in caught.value.remedy


def test_a_state_of_another_run_is_refused(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    with pytest.raises(InputRefused, match="does not belong to this run"):
        edit.edit(job(edit, watch=Watch(resume={"number": 3})))
