"""The grounder `attention`: its contract with random weights, and what it finds with the diorama's trained ones."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import ndimage

from gas import Runtime
from gas.diffusion.load import load_backbone
from gas.errors import InputRefused, Interrupted, ModelUnavailable, ObjectNotFound, ResultRefused, UsageError
from gas.interfaces import GroundJob, Step, Watch
from gas.masks import mask_box
from gas.testing import GrounderContract
from gas.testing.contracts import sample_image
from gas.types import Region
from gas_diorama.world.world import Scene, Thing, masks, render
from gas_grounders.attention import AttentionGrounder, AttentionOptions, _enlarged, guided_filter

DIORAMA = "package:gas_diorama/weights/sd"
ASKED = [Region("the red box", subtask=0), Region("the green grass", subtask=1)]


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32", offline=True)


def make(model: Path | str, runtime: Runtime, **values: Any) -> AttentionGrounder:
    """Random weights explain nothing, so here everything counts as found."""
    values = {"model": str(model), "score_threshold": 0, "steps": 2, **values}
    return AttentionGrounder(AttentionOptions(**values), runtime)


@contextmanager
def hooked(network: torch.nn.Module, note: Callable[[Any, Any], None]) -> Iterator[None]:
    """`note` is called with the arguments of each forward pass."""
    handle = network.register_forward_pre_hook(lambda _, args, kwargs: note(args, kwargs), with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


class TestContract(GrounderContract):
    @pytest.fixture
    def grounder(self, tiny_sd: Path, runtime: Runtime) -> AttentionGrounder:
        return make(tiny_sd, runtime)


# --- options ----------------------------------------------------------------------------------------------------------


def answers(model: Path, runtime: Runtime, regions: list[Region] = ASKED, **values: Any) -> list[Region]:
    return make(model, runtime, **values).ground(GroundJob(sample_image(96, 64), regions))


@pytest.fixture(scope="module")
def plain(tiny_sd: Path, runtime: Runtime) -> list[Region]:
    return answers(tiny_sd, runtime)


def differ(one: list[Region], other: list[Region]) -> bool:
    return any(a.score != b.score or (a.mask != b.mask).any() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("caption", "the red box on the green grass"),
        ("words", "all"),
        ("steps", 3),
        ("t_range", (400, 500)),
        ("seed", 1),
        ("side", 4),
        ("refine", 0),
        ("refine", 2),
        ("refine_side", 4),
        ("smooth", 0),
        ("threshold", 0.8),
    ],
)
def test_every_option_changes_the_answer(
    tiny_sd: Path, runtime: Runtime, plain: list[Region], name: str, value: Any
) -> None:
    assert differ(plain, answers(tiny_sd, runtime, **{name: value}))


def test_a_caption_without_the_phrase_changes_nothing(tiny_sd: Path, runtime: Runtime, plain: list[Region]) -> None:
    assert not differ(plain, answers(tiny_sd, runtime, caption="a boat"))


def test_one_step_is_in_the_middle(tiny_sd: Path, runtime: Runtime) -> None:
    whole = answers(tiny_sd, runtime, steps=1, t_range=(100, 901))
    assert not differ(whole, answers(tiny_sd, runtime, steps=1, t_range=(500, 500)))


def test_times_are_spread_over_the_range_ends_included(tiny_sd: Path, runtime: Runtime) -> None:
    grounder = make(tiny_sd, runtime, steps=5, t_range=(100, 900))
    times: list[int] = []
    with hooked(grounder.model.network, lambda args, kwargs: times.append(int(args[1][0]))):
        grounder.ground(GroundJob(sample_image(96, 64), ASKED))
    assert times == [100, 300, 500, 700, 900]


def test_small_parts_are_dropped_and_the_largest_stays(tiny_sd: Path, runtime: Runtime) -> None:
    def count(min_area: float) -> tuple[int, float]:
        mask = answers(tiny_sd, runtime, ASKED[:1], refine=0, smooth=0, threshold=0.75, min_area=min_area)[0].mask
        assert mask is not None
        return ndimage.label(mask, np.ones((3, 3)))[1], float(mask.sum())

    (many, all_of_it), (one, largest) = count(0), count(0.9)
    assert many > 1 and one == 1
    assert 0 < largest < all_of_it


def test_rows_per_call_bounds_the_calls_and_changes_only_rounding(tiny_sd: Path, runtime: Runtime) -> None:
    rows: list[int] = []
    grounder = make(tiny_sd, runtime, rows_per_call=2, steps=1)
    with hooked(grounder.model.network, lambda args, kwargs: rows.append(len(args[0]))):
        few = grounder.ground(GroundJob(sample_image(96, 64), ASKED))
    assert rows == [2, 1], "nothing and two phrases"
    for a, b in zip(few, answers(tiny_sd, runtime, steps=1), strict=True):
        assert a.score == pytest.approx(b.score, abs=1e-5)
        assert a.mask is not None and b.mask is not None and np.abs(a.mask - b.mask).mean() < 0.01


def test_a_score_below_the_threshold_is_not_found(tiny_sd: Path, runtime: Runtime) -> None:
    score = answers(tiny_sd, runtime, ASKED[:1])[0].score
    assert score is not None and 0 < score < 1
    assert answers(tiny_sd, runtime, ASKED[:1], score_threshold=score - 1e-4)
    with pytest.raises(ObjectNotFound, match=r"'the red box' was not found: the best score is 0\.\d+, the threshold"):
        answers(tiny_sd, runtime, ASKED[:1], score_threshold=score + 1e-4)
    always = answers(tiny_sd, runtime, ASKED[:1], score_threshold=score + 1e-4, always_best=True)
    assert always[0].score == score


def test_variant_and_allow_pickle_go_to_the_loader(
    tiny_sd: Path, runtime: Runtime, plain: list[Region], tmp_path: Path
) -> None:
    with pytest.raises(ModelUnavailable):
        answers(tiny_sd, runtime, variant="fp16")
    folder = tmp_path / "sd"
    shutil.copytree(tiny_sd, folder)
    unet = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(unet), unet.with_suffix(".bin"))
    unet.unlink()
    with pytest.raises(ModelUnavailable, match="allow_pickle"):
        answers(folder, runtime)
    assert not differ(answers(folder, runtime, allow_pickle=True), plain)


# --- the model --------------------------------------------------------------------------------------------------------


def test_the_network_is_the_editors_and_is_left_as_it_was(tiny_sd: Path, runtime: Runtime) -> None:
    editors = load_backbone(str(tiny_sd), runtime)
    grounder = make(tiny_sd, runtime)
    assert grounder.model is editors
    before = editors.network.attn_processors
    grounder.ground(GroundJob(sample_image(96, 64), ASKED))
    assert all(one is before[name] for name, one in editors.network.attn_processors.items())

    def stop(args: Any, kwargs: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), hooked(editors.network, stop):
        grounder.ground(GroundJob(sample_image(96, 64), ASKED))
    assert all(one is before[name] for name, one in editors.network.attn_processors.items())
    assert not any("get_attention_scores" in vars(module) for module in editors.network.modules())


def test_maps_are_reduced_as_they_are_collected(tiny_sd: Path, runtime: Runtime) -> None:
    grounder = make(tiny_sd, runtime)
    model = grounder.model
    z = torch.zeros(1, 4, 16, 24)
    told = model.condition(["", "a box"], (16, 24))
    seen = grounder._step(model, z, 300, torch.randn(z.shape, generator=torch.Generator().manual_seed(0)), told)
    assert seen.cross.shape == (2, 77, 16, 24), "no heads, no layers"
    assert seen.alike is not None and seen.alike.shape == (2, 16 * 24, 16, 24)
    torch.testing.assert_close(seen.alike.sum(1), torch.ones(2, 16, 24))


def test_no_model_is_named(runtime: Runtime) -> None:
    grounder = AttentionGrounder(AttentionOptions(), runtime)
    with pytest.raises(UsageError, match="no model is named for the grounder attention"):
        grounder.ground(GroundJob(sample_image(96, 64), ASKED))
    drawn = Region("x", box=(1.0, 1.0, 5.0, 5.0), given=True)
    assert grounder.ground(GroundJob(sample_image(96, 64), [drawn])) == [drawn], "nothing to find needs no model"
    assert grounder.ground(GroundJob(sample_image(96, 64))) == []


def test_times_beyond_the_models_are_refused(tiny_sd: Path, runtime: Runtime) -> None:
    with pytest.raises(UsageError, match="beyond the model's 1000 times"):
        answers(tiny_sd, runtime, t_range=(100, 1000))
    with pytest.raises(ValueError, match="the smaller one first"):
        AttentionOptions(t_range=(500, 100))


@pytest.mark.parametrize("phrase", ["", "a " + "very " * 40 + "red box"])
def test_a_phrase_that_the_model_cannot_see_is_refused(tiny_sd: Path, runtime: Runtime, phrase: str) -> None:
    with pytest.raises(InputRefused, match="nothing to look for in"):
        answers(tiny_sd, runtime, [Region(phrase, subtask=0)])


def test_numbers_that_are_not_finite_are_no_region(tiny_sd: Path) -> None:
    grounder = make(tiny_sd, Runtime(device="cpu", dtype="fp32", offline=True))
    grounder.model.network.conv_out.bias.fill_(float("nan"))
    with pytest.raises(ResultRefused, match="not finite"):
        grounder.ground(GroundJob(sample_image(96, 64), ASKED))


@pytest.mark.parametrize("size", [(600, 400), (31, 97), (400, 20)])
def test_answers_are_at_the_pictures_own_resolution(tiny_sd: Path, runtime: Runtime, size: tuple[int, int]) -> None:
    found = make(tiny_sd, runtime, steps=1).ground(GroundJob(sample_image(*size), ASKED))
    for region in found:
        assert region.mask is not None and region.mask.shape == (size[1], size[0])
        assert region.box == mask_box(region.mask)


def test_plurals_and_phrases_without_a_noun_have_tokens(tiny_sd: Path, runtime: Runtime) -> None:
    asked = [Region(phrase, subtask=i) for i, phrase in enumerate(("two dogs", "the", "🙂"))]
    assert len(answers(tiny_sd, runtime, asked, steps=1)) == 3


def test_a_map_without_any_difference_is_everywhere() -> None:
    assert (_enlarged(torch.ones(1, 1), sample_image(16, 8), smooth=0) == 1).all()


# --- trained weights --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(runtime: Runtime) -> AttentionGrounder:
    return AttentionGrounder(AttentionOptions(model=DIORAMA), runtime)


def two_cars() -> tuple[np.ndarray, dict[str, np.ndarray]]:
    left, right = Thing("car", "red", 34, 88, 44), Thing("car", "blue", 94, 92, 44)
    world = Scene("sunset", "sand", 60, (left, right), 7)
    visible = masks(world)
    names = {"red": left, "blue": right, "sand": "ground", "sky": "sky"}
    return render(world), {name: visible[what] > 0.5 for name, what in names.items()}


def overlap(region: Region, exact: np.ndarray) -> float:
    assert region.mask is not None
    found = region.mask > 0.5
    return float((found & exact).sum() / (found | exact).sum())


def test_it_finds_things_and_what_has_no_shape(trained: AttentionGrounder) -> None:
    image, exact = two_cars()
    asked = [Region(phrase, subtask=i) for i, phrase in enumerate(("a red car", "sand", "a sunset sky"))]
    red, sand, sky = trained.ground(GroundJob(image, asked))
    assert overlap(red, exact["red"]) > 0.6
    assert overlap(sand, exact["sand"]) > 0.7
    assert overlap(sky, exact["sky"]) > 0.7
    assert all(region.score is not None and region.score > 0.5 for region in (red, sand, sky))


def test_it_does_not_find_what_is_not_there(trained: AttentionGrounder) -> None:
    image, _ = two_cars()
    with pytest.raises(ObjectNotFound, match="'a purple house' was not found: the best score is 0") as caught:
        trained.ground(GroundJob(image, [Region("a purple house", subtask=0)]))
    assert caught.value.exit_code == 5 and "the threshold 0.5" in caught.value.message


def test_parts_that_the_phrase_does_not_explain_are_left_out(runtime: Runtime, trained: AttentionGrounder) -> None:
    tree, balloon = Thing("tree", "green", 42, 114, 60), Thing("balloon", "purple", 98, 94, 54)
    world = Scene("clear", "grass", 68, (tree, balloon), 3)
    exact = masks(world)
    asked = [Region("a green tree", subtask=0)]
    (all_of_it,) = make(DIORAMA, runtime, steps=5, score_threshold=0).ground(GroundJob(render(world), asked))
    (region,) = trained.ground(GroundJob(render(world), asked))
    assert all_of_it.mask is not None and region.mask is not None
    assert (all_of_it.mask * exact[balloon]).sum() > 50, "the word tree makes it look at the balloon too"
    assert (region.mask * exact[balloon]).sum() == 0
    assert overlap(region, exact[tree] > 0.5) > 0.7


def test_of_several_it_tells_the_left_from_the_right(trained: AttentionGrounder) -> None:
    image, exact = two_cars()
    asked = [Region("the car on the right", subtask=0), Region("the car on the left", subtask=1)]
    right, left = trained.ground(GroundJob(image, asked))
    assert overlap(right, exact["blue"]) > 0.6 and overlap(left, exact["red"]) > 0.6
    both = trained.ground(GroundJob(image, [replace(region, phrase="a car") for region in asked]))
    assert both[0].box != both[1].box


# --- the filter -------------------------------------------------------------------------------------------------------


def test_the_filter_follows_the_pictures_edges() -> None:
    guide = np.zeros((40, 40, 3), np.float32)
    guide[:, 20:] = (0.8, 0.3, 0.1)
    ramp = np.clip((np.arange(40, dtype=np.float32) - 12) / 16, 0, 1)[None].repeat(40, 0)
    filtered = guided_filter(ramp, guide, 8)
    step = np.abs(np.diff(filtered[20]))
    assert step.argmax() == 19 and step[19] > 0.3, "the ramp becomes a step where the picture has one"
    assert np.delete(step, 19).max() < 0.05


def test_the_filter_is_a_mean_where_the_picture_is_flat() -> None:
    values = np.random.default_rng(0).random((30, 30), np.float32)
    flat = np.full((30, 30, 3), 0.5, np.float32)
    expected = ndimage.uniform_filter(ndimage.uniform_filter(values, 7, mode="nearest"), 7, mode="nearest")
    np.testing.assert_allclose(guided_filter(values, flat, 3), expected, atol=1e-4)


def test_it_can_be_stopped_between_two_times(tiny_sd: Path, runtime: Runtime) -> None:
    steps: list[Step] = []
    watch = Watch(on_step=steps.append, should_stop=lambda: len(steps) == 2)
    with pytest.raises(Interrupted):
        make(tiny_sd, runtime, steps=4).ground(GroundJob(sample_image(96, 64), ASKED, watch=watch))
    assert [(step.index, step.total) for step in steps] == [(1, 4), (2, 4)]
