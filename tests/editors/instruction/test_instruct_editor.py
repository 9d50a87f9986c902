"""InstructPix2Pix and MagicBrush as editors: instructions in turn, every option, interruptions, and the command line on
a photograph."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pictures
from warm_program import gas

from gas import Registry
from gas.backends.options import Layer, settle
from gas.checkpoint import prefixed
from gas.diffusion.instruct import Sampler
from gas.errors import InputRefused, ModelUnavailable, OutOfResources, ResultRefused, UsageError
from gas.interfaces import EditJob, Watch
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image
from gas.testing.tiny import build_tiny_instruct_pix2pix
from gas.types import EditPlan, Subtask
from gas_editors.instruction.instruct_pix2pix import InstructPix2PixEditor, InstructPix2PixOptions
from gas_editors.told import instruction_of

WIDTH, HEIGHT = 96, 64
PLAN = EditPlan(subtasks=(Subtask(source="a red box", target="a blue ball", instruction="make the box a blue ball"),))
TWO = EditPlan(subtasks=(*PLAN.subtasks, Subtask(source="grass", target="snow")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_instruct_pix2pix(tmp_path_factory.mktemp("tiny") / "ip2p", layers=1)


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


def editor(runtime: Runtime, folder: Path, **values: Any) -> InstructPix2PixEditor:
    layer = Layer("test", {"model": str(folder), "steps": 2, **values})
    return InstructPix2PixEditor(settle("editor", InstructPix2PixOptions, [layer]).options, runtime)


def job(edit: Any, plan: EditPlan = PLAN, watch: Watch = Watch(), seed: int = 1) -> EditJob:
    return EditJob(sample_image(WIDTH, HEIGHT), plan, (), seed, edit.options, watch=watch)


@pytest.mark.parametrize("name", ["instruct-pix2pix", "magicbrush"])
class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, name: str, runtime: Runtime, folder: Path) -> Any:
        return Registry.discover().create("editors", name, {"model": str(folder), "steps": 6}, runtime)


# --- what is asked ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subtask", "request_", "template"),
    [
        (Subtask(source="a cat", target="a dog"), "turn a cat into a dog", "turn a cat into a dog"),
        (Subtask(source="a", target="b", instruction="make a b"), "make a b", "turn a into b"),
        (Subtask(action="add", target="a hat", anchor="the dog"), "add a hat to the dog", "add a hat to the dog"),
        (Subtask(action="add", target="a hat"), "add a hat", "add a hat"),
        (Subtask(action="remove", source="a car"), "remove a car", "remove a car"),
        (Subtask(action="remove", source="a car", anchor="the road"), *["remove a car from the road"] * 2),
    ],
)
def test_instructions(subtask: Subtask, request_: str, template: str) -> None:
    assert instruction_of(subtask) == request_
    assert instruction_of(subtask, "template") == template


@pytest.mark.parametrize(
    ("option", "value"), [("steps", 3), ("guidance_scale", 3), ("image_guidance_scale", 3), ("wording", "template")]
)
def test_every_option_changes_the_picture(option: str, value: Any, runtime: Runtime, folder: Path) -> None:
    plain, changed = editor(runtime, folder), editor(runtime, folder, **{option: value})
    assert getattr(changed.options, option) != getattr(plain.options, option)
    assert not np.array_equal(plain.edit(job(plain)).image, changed.edit(job(changed)).image)


def test_no_option_is_without_a_test() -> None:
    here = {"steps", "guidance_scale", "image_guidance_scale", "wording"}  # changed above
    models = {"model", "variant", "allow_pickle", "accept_db", "keep_structure"}  # test_structure_option, and below
    grounded = {"confine", "overlap", "stroke"}  # test_confined
    added = {"lora", "quantise", "parts_model"}  # test_lora, test_quantised, test_single_file_families
    assert set(InstructPix2PixOptions.model_fields) == here | models | grounded | added
    for values in InstructPix2PixOptions.presets.values():
        assert set(values) == here
    assert InstructPix2PixOptions(**InstructPix2PixOptions.presets["paper"]) == InstructPix2PixOptions()
    assert all(field.description for field in InstructPix2PixOptions.model_fields.values())


def test_published_values() -> None:
    options = InstructPix2PixOptions()
    assert (options.steps, options.guidance_scale, options.image_guidance_scale) == (20, 7.5, 1.5)


def test_each_seed_gives_another_picture(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    assert not np.array_equal(edit.edit(job(edit)).image, edit.edit(job(edit, seed=2)).image)


def test_each_turn_works_on_what_the_last_one_made(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    first = edit.edit(job(edit))
    second = replace(job(edit, EditPlan(subtasks=TWO.subtasks[1:])), image=first.image, seed=2)
    both = edit.edit(job(edit, TWO))
    assert np.array_equal(both.image, edit.edit(second).image)
    assert [turn["instruction"] for turn in both.log["turns"]] == ["make the box a blue ball", "turn grass into snow"]
    assert both.log["evaluations"] == 2 * 2 * 3
    assert both.mask is None


@pytest.mark.parametrize("size", [(64, 160), (128, 64), (56, 72)])
def test_any_size_and_aspect_ratio(runtime: Runtime, folder: Path, size: tuple[int, int]) -> None:
    edit = editor(runtime, folder, steps=1)
    work = replace(job(edit), image=sample_image(size[1], size[0]))
    assert edit.edit(work).image.shape == (*size, 3)


def test_the_log_is_plain_and_says_what_was_cut(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder, steps=1)
    long = PLAN.subtasks[0].model_copy(update={"instruction": "make it red " * 20})
    with pytest.warns(UserWarning, match="does not see"):
        log = edit.edit(job(edit, EditPlan(subtasks=(long,)))).log
    assert json.loads(json.dumps(dict(log))) == dict(log)
    assert list(log["prompts_cut"]) == [long.instruction.strip()]
    assert "does not see" in log["notes"][0]


# --- interrupted ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [2, 7])
def test_an_interrupted_edit_goes_on_to_the_same_bytes(runtime: Runtime, folder: Path, after: int) -> None:
    edit = editor(runtime, folder, steps=5)
    whole = edit.edit(job(edit, TWO))
    asked = iter(range(99))
    states: list[Any] = []
    watch = Watch(checkpoint=lambda state: states.append(dict(state)), should_stop=lambda: next(asked) == after)
    stopped = edit.edit(job(edit, TWO, watch))
    assert stopped.stopped and not np.array_equal(stopped.image, whole.image)
    resumed = edit.edit(job(edit, TWO, Watch(resume=states[-1])))
    assert np.array_equal(resumed.image, whole.image)
    assert resumed.log == whole.log


@pytest.mark.parametrize(
    "change",
    [
        {"turns.picture": np.zeros((8, 8, 3), np.uint8)},
        {"turns.done": 7},
        {"turns.logs": None},
        {"turns.raw": 3},
        {"turn.sampler.0.z": torch.zeros(1, 4, 3, 3)},
    ],
)
def test_a_state_of_another_run_is_refused(runtime: Runtime, folder: Path, change: dict[str, Any]) -> None:
    edit = editor(runtime, folder, steps=11)
    states: list[Any] = []
    edit.edit(job(edit, watch=Watch(checkpoint=states.append)))
    with pytest.raises(InputRefused, match="does not belong to this run"):
        edit.edit(job(edit, watch=Watch(resume={**states[0], **prefixed("instructions.", change)})))


def test_numbers_that_are_not_finite_stop_by_name(
    runtime: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit = editor(runtime, folder)
    weight = edit.model.network.conv_out.weight
    monkeypatch.setattr(weight, "data", torch.full_like(weight, float("nan")))
    with pytest.raises(ResultRefused, match=r"prediction is not a finite number \(turn 1, step 1 of 2\)") as caught:
        edit.edit(job(edit))
    assert caught.value.exit_code == 11


def test_a_latent_that_runs_away_stops_by_name(runtime: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = editor(runtime, folder)
    step = Sampler.step

    def away(sampler: Sampler, eps: torch.Tensor) -> None:
        step(sampler, eps)
        sampler.z = sampler.z * float("inf") if sampler.done == 2 else sampler.z

    monkeypatch.setattr(Sampler, "step", away)
    with pytest.raises(ResultRefused, match=r"the latent is not a finite number any more \(turn 1, step 2 of 2\)"):
        edit.edit(job(edit))


def test_too_little_memory_says_what_to_do(runtime: Runtime, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit = editor(runtime, folder)

    def full(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(edit.model.network, "forward", full)
    with pytest.raises(OutOfResources, match="12x8") as caught:
        edit.edit(job(edit))
    assert "bf16" in caught.value.remedy


# --- models -----------------------------------------------------------------------------------------------------------


def test_the_model_has_to_be_named(runtime: Runtime) -> None:
    edit = InstructPix2PixEditor(InstructPix2PixOptions(), runtime)
    with pytest.raises(UsageError, match="no instruction model"):
        edit.edit(job(edit))


def test_a_text_to_image_model_is_refused(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(runtime, tiny_sd)
    with pytest.raises(ModelUnavailable, match="takes 4 channels"):
        edit.edit(job(edit))


def test_a_picture_from_another_world_is_refused(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder, accept_db=50)
    with pytest.raises(InputRefused, match="not of the kind that this model knows"):
        edit.edit(job(edit))


def test_maps_show_the_attention_to_each_token(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder)
    maps: dict[str, np.ndarray] = {}
    plan = EditPlan(subtasks=(Subtask(source="a", target="b", instruction="go on"),))
    plain = edit.edit(job(edit, plan))
    seen = edit.edit(job(edit, plan, Watch(save_map=maps.__setitem__)))
    assert list(maps) == [f"1-attention-{i:02d}-{name}" for i, name in enumerate(["start", *"goon", "end"])]
    for one in maps.values():
        assert one.shape == (HEIGHT, WIDTH) and one.min() >= 0 and one.max() <= 1
    assert np.abs(seen.image.astype(int) - plain.image).max() <= 1, "looking changes nothing but rounding"


def test_maps_survive_an_interruption(runtime: Runtime, folder: Path) -> None:
    edit = editor(runtime, folder, steps=5)
    whole: dict[str, np.ndarray] = {}
    again: dict[str, np.ndarray] = {}
    edit.edit(job(edit, watch=Watch(save_map=whole.__setitem__)))
    states: list[Any] = []
    asked = iter(range(9))
    edit.edit(
        job(
            edit,
            watch=Watch(save_map=again.__setitem__, checkpoint=states.append, should_stop=lambda: next(asked) == 2),
        )
    )
    assert not again
    edit.edit(job(edit, watch=Watch(save_map=again.__setitem__, resume=states[-1])))
    assert list(again) == list(whole)
    assert all(np.array_equal(again[name], whole[name]) for name in whole)


# --- the installed program --------------------------------------------------------------------------------------------


def test_a_photograph_on_the_command_line(tmp_path: Path, folder: Path) -> None:
    from skimage import data

    photo = data.astronaut()[:300, :400]
    Pictures.fromarray(photo).save(tmp_path / "photo.png")
    what = ["edit", "photo.png", "make the suit green", "--editor", "instruct-pix2pix", "--profile", "sd15"]
    how = ["--model", str(folder), "--dtype", "fp32", "--planner", "rules", "--seed", "1", "-o", "steps=2"]
    where = ["--box", "the suit=50,60,200,160", "-o", "out.png", "--save-maps", "maps", "--save-raw", "raw.png"]
    said = gas(
        *what, *how, *where, "--json", cwd=tmp_path, env={"GAS_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    )
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["data"]["log"]["turns"][0]["instruction"]
    out = np.asarray(Pictures.open(tmp_path / "out.png"))
    assert np.array_equal(out[:60], photo[:60]) and np.array_equal(out[:, 200:], photo[:, 200:])
    assert (out[65:155, 55:195] != photo[65:155, 55:195]).mean() > 0.9
    assert Pictures.open(tmp_path / "raw.png").size == (144, 112), "the aspect ratio stays"
    assert any((tmp_path / "maps").iterdir())
