"""Several instructions in one denoising, each in its region: the guidance, what stays outside, costs, interruptions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gas import Registry
from gas.errors import InputRefused, ResultRefused
from gas.interfaces import EditJob, Watch
from gas.masks import box_mask
from gas.run.turns import edit_grounded
from gas.runtime import Runtime
from gas.testing.contracts import sample_image
from gas.testing.tiny import build_tiny_instruct_pix2pix
from gas.types import EditPlan, Region, Subtask
from gas_editors.instruction.confined import Confined
from gas_editors.instruction.turn import Turn
from gas_editors.strokes import Strokes
from gas_editors.told import instruction_of

WIDTH, HEIGHT = 96, 64
BOX = Subtask(source="a red box", target="a blue ball", instruction="make the box a blue ball")
GRASS = Subtask(source="grass", target="snow")
PLAN = EditPlan(subtasks=(BOX, GRASS))
LEFT, LOW = box_mask((8, 8, 40, 56), (WIDTH, HEIGHT)), box_mask((24, 40, 80, 64), (WIDTH, HEIGHT))
OUTSIDE = np.maximum(LEFT, LOW) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_instruct_pix2pix(tmp_path_factory.mktemp("tiny") / "ip2p", layers=1)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_instruct_pix2pix(tmp_path_factory.mktemp("tiny") / "magicbrush", layers=1, seed=1)


RUNTIME = Runtime("cpu", "fp32")
"""Of all editors in here: models stay as they are, so each is read once."""


def made(folder: Path, name: str = "instruct-pix2pix", **values: Any) -> Any:
    options = {"model": str(folder), "steps": 3, **values}
    return Registry.discover().create("editors", name, options, RUNTIME)


def _regions(masks: Any = (LEFT, LOW)) -> list[Region]:
    return [Region("", mask=mask, subtask=index) for index, mask in enumerate(masks)]


def job(editor: Any, plan: EditPlan = PLAN, masks: tuple[Any, ...] = (LEFT, LOW), watch: Watch = Watch()) -> EditJob:
    return EditJob(
        sample_image(WIDTH, HEIGHT), plan, tuple(_regions(masks)), 1, editor.options, watch=watch, grounded=True
    )


# --- who counts where -------------------------------------------------------------------------------------------------


def cells(*boxes: tuple[int, int]) -> list[torch.Tensor]:
    """A mask over columns `first..last` of a row of six cells for each box."""
    masks = []
    for first, last in boxes:
        mask = torch.zeros(1, 1, 1, 6)
        mask[..., first:last] = 1
        masks.append(mask)
    return masks


def test_shares_are_the_masks_and_never_sum_to_more_than_one() -> None:
    apart = Confined.from_masks(cells((0, 2), (3, 6)), 0.3, (1, 1))
    assert torch.equal(apart.shares, torch.cat(cells((0, 2), (3, 6))))
    assert apart.region.flatten().tolist() == [True, True, False, True, True, True]
    twice = Confined.from_masks(cells((0, 4), (0, 4)), 0.3, (1, 1))
    assert twice.shares.sum(0).max() == 1 and (twice.shares[:, 0, 0, 0] == 0.5).all()


def test_the_larger_of_two_regions_gives_way_and_a_strength_multiplies() -> None:
    small, large = Confined.from_masks(cells((0, 2), (0, 6)), 0.3, (1, 2)).shares[:, 0, 0]
    assert large[0] / small[0] == pytest.approx(0.3 * 2) and small[0] == pytest.approx(1 / 1.3)
    assert (large[2:] == 2).all() and (small[2:] == 0).all()


def test_a_value_for_each_subtask_becomes_one_for_each_cell() -> None:
    mean = Confined.from_masks(cells((0, 2), (2, 4)), 0.3, (1, 3)).mean([0.2, 0.8]).flatten()
    assert mean.tolist() == pytest.approx([0.2, 0.2, 0.8, 0.8, 0, 0])


# --- one denoising ----------------------------------------------------------------------------------------------------


def test_a_region_of_the_whole_picture_is_the_plain_turn(folder: Path) -> None:
    editor, plan = made(folder), EditPlan(subtasks=(BOX,))
    everywhere = job(editor, plan, (np.ones((HEIGHT, WIDTH), np.float32),))
    assert np.array_equal(editor.edit(everywhere).image, editor.edit(replace(everywhere, grounded=False)).image)


def test_it_takes_a_row_for_each_instruction_and_two_more(folder: Path) -> None:
    editor = made(folder)
    edited = edit_grounded(editor, replace(job(editor), grounded=False))
    assert edited.log["confined_by"] == "editor" and edited.log["evaluations"] == 3 * (2 + 2)
    assert edited.log["instructions"] == ["make the box a blue ball", "turn grass into snow"]
    turns = edit_grounded(made(folder, confine="turns"), job(editor))
    assert turns.log["confined_by"] == "turns" and turns.log["evaluations"] == 2 * 3 * 3
    assert not np.array_equal(turns.image, edited.image)


def test_outside_is_the_sources_own_latent_at_every_step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = made(folder, steps=4)
    model, seen = editor.model, []
    source = model.encode(sample_image(WIDTH, HEIGHT))
    step = Turn.step

    def watched(turn: Turn) -> None:
        step(turn)
        seen.append((turn.samplers[0].reached, turn.samplers[0].z, turn.latent, turn.confined))

    monkeypatch.setattr(Turn, "step", watched)
    edited = editor.edit(job(editor))
    noise = torch.randn(source.shape, generator=torch.Generator().manual_seed(1))
    for reached, z, latent, confined in seen:
        outside = (~confined.region).expand_as(z)
        clean = reached == model.schedule.clean
        expected = source if clean else model.schedule.add_noise(source, noise, reached)
        assert torch.equal(z[outside], expected[outside]) and torch.equal(latent[outside], source[outside])
        assert not torch.equal(z[~outside], expected[~outside])
    assert [reached for reached, *_ in seen][-1] == model.schedule.clean
    assert np.array_equal(edited.unedited, model.decode(source))


def test_guidance_of_each_instruction_acts_in_its_own_cells(folder: Path) -> None:
    """In one step from one noise another instruction in one region leaves the other region as it was."""
    editor = made(folder, steps=1)
    apart = (box_mask((0, 0, 32, 64), (WIDTH, HEIGHT)), box_mask((64, 0, 96, 64), (WIDTH, HEIGHT)))
    other = PLAN.model_copy(update={"subtasks": (BOX, GRASS.model_copy(update={"target": "a red sea"}))})
    size = HEIGHT // 8, WIDTH // 8
    latents = []
    for plan in (PLAN, other):
        work = job(editor, plan, apart)
        told = [instruction_of(subtask) for subtask in plan.subtasks]
        turn = editor.start(work, range(2), told, work.image, Confined.of(work, size, 0.3))
        turn.step()
        latents.append(turn.latent[0])
    same = (latents[0] == latents[1]).all(0)
    assert same[:, :4].all() and not same[:, 8:].any()


@pytest.mark.parametrize(("option", "value"), [("overlap", 0.9), ("confine", "turns"), ("guidance_scale", 3)])
def test_options_of_a_grounded_run_change_it(option: str, value: Any, folder: Path) -> None:
    plain, other = made(folder), made(folder, **{option: value})
    assert getattr(plain.options, option) != getattr(other.options, option)
    assert not np.array_equal(plain.edit(job(plain)).image, other.edit(job(other)).image)


def test_a_subtasks_strength_changes_it(folder: Path) -> None:
    editor = made(folder)
    weak = PLAN.model_copy(update={"subtasks": (BOX.model_copy(update={"strength": 0.2}), GRASS)})
    assert not np.array_equal(editor.edit(job(editor)).image, editor.edit(job(editor, weak)).image)


def test_a_subtask_without_a_region_is_refused(folder: Path) -> None:
    editor = made(folder)
    with pytest.raises(InputRefused, match="subtask 2 \\('grass'\\) has no region"):
        editor.edit(job(editor, masks=(LEFT,)))


def test_numbers_that_are_not_finite_stop_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = made(folder)
    weight = editor.model.network.conv_out.weight
    monkeypatch.setattr(weight, "data", torch.full_like(weight, float("nan")))
    with pytest.raises(ResultRefused, match=r"prediction is not a finite number \(step 1 of 3\)"):
        editor.edit(job(editor))


@pytest.mark.parametrize("name", ["instruct-pix2pix", "zone"])
def test_an_interrupted_run_goes_on_to_the_same_bytes(name: str, folder: Path) -> None:
    editor = made(folder, name, steps=5)
    whole = editor.edit(job(editor))
    asked, states = iter(range(99)), []
    watch = Watch(checkpoint=lambda state: states.append(dict(state)), should_stop=lambda: next(asked) == 2)
    stopped = editor.edit(job(editor, watch=watch))
    assert stopped.stopped and not np.array_equal(stopped.image, whole.image)
    resumed = editor.edit(job(editor, watch=Watch(resume=states[-1])))
    assert np.array_equal(resumed.image, whole.image) and resumed.log == whole.log
    at_once = editor.edit(job(editor, watch=Watch(should_stop=lambda: True)))
    assert at_once.stopped and np.array_equal(at_once.image, sample_image(WIDTH, HEIGHT))


def test_maps_show_each_instruction(folder: Path) -> None:
    for name in ("instruct-pix2pix", "zone"):
        editor, maps = made(folder, name), {}
        editor.edit(job(editor, watch=Watch(save_map=maps.__setitem__)))
        assert {one.split("-")[0] for one in maps} == {"1", "2"}, name
        assert any("attention" in one for one in maps)


# --- strokes where something is added ---------------------------------------------------------------------------------

ADDED = PLAN.model_copy(update={"subtasks": (Subtask(action="add", target="a green ball", anchor="the floor"), GRASS)})


def test_a_stroke_is_of_the_colour_that_an_addition_names() -> None:
    work = EditJob(sample_image(WIDTH, HEIGHT), ADDED, tuple(_regions()), 1, None)  # type: ignore[arg-type]
    strokes = Strokes.of(work, (HEIGHT // 8, WIDTH // 8), 0.5)
    assert strokes is not None
    painted = (strokes.picture != work.image).any(-1)
    assert painted[32, 24] and not painted[LEFT == 0].any() and painted.sum() < 0.6 * (LEFT > 0).sum()
    red, green, blue = strokes.picture[32, 24].astype(int)
    assert green > red + 30 and green > blue + 30
    assert torch.equal(strokes.places[0, 0], torch.tensor(LEFT[4::8, 4::8] > 0))
    for target in ("a ball", "a green and blue ball"):
        plan = ADDED.model_copy(update={"subtasks": (ADDED.subtasks[0].model_copy(update={"target": target}), GRASS)})
        assert Strokes.of(replace(work, plan=plan), (8, 12), 0.5) is None
    assert Strokes.of(replace(work, plan=PLAN), (8, 12), 0.5) is None, "nothing is added"


def test_the_place_is_held_to_the_stroke_down_to_its_share(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor, seen = made(folder, steps=4, stroke=0.45), []
    step = Turn.step

    def watched(turn: Turn) -> None:
        step(turn)
        seen.append((turn.samplers[0].reached, turn.samplers[0].z, turn))

    monkeypatch.setattr(Turn, "step", watched)
    edited = editor.edit(job(editor, ADDED))
    schedule, held = editor.model.schedule, []
    for reached, z, turn in seen:
        if reached != schedule.clean:
            expected = schedule.add_noise(editor.model.encode(turn.strokes.picture), turn._noise, reached)
            held.append(torch.equal(z[turn.strokes.places.expand_as(z)], expected[turn.strokes.places.expand_as(z)]))
    assert held == [True, True, False], "at three and two quarters of the schedule, and no more at one"
    plain = made(folder, steps=4)
    assert not np.array_equal(plain.edit(job(plain, ADDED)).image, edited.image)
    assert np.array_equal(plain.edit(job(plain)).image, editor.edit(job(editor)).image), "without an addition no stroke"


# --- ZONE -------------------------------------------------------------------------------------------------------------


def test_zone_pastes_each_region_by_its_own_edge(folder: Path) -> None:
    editor = made(folder, "zone")
    edited = editor.edit(job(editor))
    assert edited.mask is not None and (edited.mask[OUTSIDE] == 0).all()
    assert (edited.mask[LEFT > 0] > 0).any() and (edited.mask[LOW > 0] > 0).any()
    shares = [one["rough_share"] for one in edited.log["subtasks"]]
    assert shares == pytest.approx([LEFT.mean(), LOW.mean()])
    assert edited.log["evaluations"] == 3 * (2 + 2)


def test_zones_second_model_acts_where_its_subtask_is(folder: Path, second: Path) -> None:
    """Only the removal has a weight that counts; the second model's rows come with it, and cells of the other subtask
    are not mixed."""
    removal = PLAN.model_copy(update={"subtasks": (BOX, Subtask(action="remove", source="the grass"))})
    alone = made(folder, "zone")
    helped = made(folder, "zone", second_model=str(second), beta=0.01, beta_remove=0.5)
    edited = helped.edit(job(helped, removal))
    assert edited.log["evaluations"] == 2 * 3 * (2 + 2)
    assert [one["beta"] for one in edited.log["subtasks"]] == [0.0, 0.5]
    assert helped.edit(job(helped)).log["evaluations"] == 3 * (2 + 2), "no weight counts"
    work = job(helped, removal)
    told = [instruction_of(subtask) for subtask in removal.subtasks]
    latents = []
    for editor in (alone, helped):
        turn = editor.start(work, range(2), told, work.image, Confined.of(work, (HEIGHT // 8, WIDTH // 8), 0.3))
        turn.step()
        latents.append(turn.samplers[0].z[0])
    different = (latents[0] != latents[1]).any(0)
    assert not different[1:5, 1:3].any() and different[6:, 4:].any()
