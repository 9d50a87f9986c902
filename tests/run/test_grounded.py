"""Grounded runs: every subtask's edit stays in its region, whatever the editor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_backends
import numpy as np
import pytest
from PIL import Image as Pictures

from gas.backends.registry import Registry
from gas.errors import InputRefused, ObjectNotFound, PluginBroken, ResultRefused, UsageError
from gas.interfaces import Edited, EditJob, Step, Watch
from gas.picture import photo
from gas.run import record, replay
from gas.run.job import PhotoJob
from gas.run.session import Session
from gas.run.turns import edit_grounded, single_plan, turn_order
from gas.runtime import Runtime
from gas.testing import fakes
from gas.types import EditPlan, Region, Subtask

PLAN = EditPlan(
    subtasks=(Subtask(source="dog", target="tiger"), Subtask(source="grass", target="snow", preserve_shape=True)),
    source_prompt="a dog on grass",
    target_prompt="a tiger on snow",
    preserve_shape=True,
)
BOXES = {"dog": (0.1, 0.1, 0.4, 0.4), "grass": (0.3, 0.3, 1.0, 1.0)}


class Painter(fakes.FakeEditor):
    """Fills the whole picture with a colour of the subtask's own, and keeps the jobs that it was given."""

    def __init__(self, **options: Any) -> None:
        super().__init__(fakes.FakeEditorOptions(**options), Runtime())
        self.jobs: list[EditJob] = []

    def edit(self, job: EditJob) -> Edited:
        self.jobs.append(job)
        return super().edit(replace(job, regions=()))  # everywhere: what is outside a region is not its own doing


class Confining(Painter):
    confines = True


class Finding(Painter):
    finds_regions = True


def image(width: int = 64, height: int = 48) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 200, (height, width, 3), dtype=np.uint8)


def rectangle(x0: int, y0: int, x1: int, y1: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    mask = np.zeros(size[::-1], np.float32)
    mask[y0:y1, x0:x1] = 1
    return mask


SMALL, LARGE = rectangle(4, 4, 20, 20), rectangle(12, 12, 60, 44)


def job(editor: Painter, watch: Watch = Watch(), **changes: Any) -> EditJob:
    regions = (Region("dog", mask=SMALL, subtask=0), Region("grass", mask=LARGE, subtask=1))
    return replace(EditJob(image(), PLAN, regions, 5, editor.options, watch=watch), **changes)


# --- turns ------------------------------------------------------------------------------------------------------------


def test_nothing_outside_the_regions_changes_by_a_bit() -> None:
    editor = Painter(grain=20)
    edited = edit_grounded(editor, job(editor))
    outside = np.maximum(SMALL, LARGE) == 0
    assert (edited.image[outside] == image()[outside]).all()
    assert (edited.image[~outside] != image()[~outside]).any(axis=1).mean() > 0.99
    assert edited.mask is not None and (edited.mask == np.maximum(SMALL, LARGE)).all()
    plain = editor.edit(job(editor))
    assert (plain.image[outside] != image()[outside]).any(), "this editor does not keep to the regions by itself"


def test_each_subtask_has_a_plan_a_region_a_picture_and_a_seed_of_its_own() -> None:
    editor = Painter(grain=20)
    edit_grounded(editor, job(editor))
    large, small = editor.jobs
    assert (large.plan.subtasks, small.plan.subtasks) == (PLAN.subtasks[1:], PLAN.subtasks[:1])
    assert [(r.phrase, r.subtask) for r in (*large.regions, *small.regions)] == [("grass", 0), ("dog", 0)]
    assert (large.plan.source_prompt, large.plan.target_prompt) == ("grass", "snow")
    assert (small.plan.source_prompt, small.plan.target_prompt) == ("dog", "tiger")
    assert (large.plan.preserve_shape, small.plan.preserve_shape) == (True, False)
    assert (large.seed, small.seed) == (6, 5)
    assert (large.image == image()).all()
    assert (small.image[LARGE == 0] == image()[LARGE == 0]).all()
    assert (small.image[LARGE > 0] != image()[LARGE > 0]).any(), "it works on what the turn before has left"
    assert (large.intermediate, small.intermediate) == (False, True)
    assert not large.grounded, "only an editor that says that it can is asked to confine its edits itself"


def test_the_largest_region_has_the_first_turn() -> None:
    assert turn_order([SMALL, LARGE, SMALL * 0.5]) == [1, 0, 2]
    assert turn_order([SMALL, SMALL.copy()]) == [0, 1]


def test_a_smaller_region_lies_on_top_of_a_whole_larger_one() -> None:
    editor = Painter(grain=20)
    edited = edit_grounded(editor, job(editor))
    seen = editor.jobs[1].image
    both = (SMALL > 0) & (LARGE > 0)
    assert (seen[both] != image()[both]).any(), "its turn begins with what the larger one's has made, undiluted"
    assert (seen[LARGE > 0] == editor.edit(editor.jobs[0]).image[LARGE > 0]).all()
    assert (edited.image[SMALL > 0] == editor.edit(editor.jobs[1]).image[SMALL > 0]).all()


def test_a_soft_region_is_pasted_once() -> None:
    editor = Painter(colour=(200, 200, 200))
    soft = np.full(SMALL.shape, 0.5, np.float32)
    before = np.full_like(image(), 100)
    plan = EditPlan(subtasks=PLAN.subtasks[:1])
    work = job(editor, plan=plan, image=before, regions=(Region("dog", mask=soft, subtask=0),))
    edited = edit_grounded(editor, work)
    assert edited.mask is not None and (edited.mask == 0.5).all()
    assert (edited.image == 200).all(), "the pipeline blends it by the mask, so it is not blended before"


def test_an_editor_that_pastes_less_than_its_region_is_kept_to_that() -> None:
    own = rectangle(4, 4, 8, 8)

    class Modest(Painter):
        def edit(self, job: EditJob) -> Edited:
            return replace(super().edit(job), mask=own)

    editor = Modest()
    edited = edit_grounded(editor, job(editor))
    assert ((edited.image != image()).any(axis=2) <= (own > 0)).all()
    assert edited.mask is not None and (edited.mask == own).all()


def test_an_editor_that_finds_its_places_is_given_them_as_drawn() -> None:
    for editor, given in ((Finding(), True), (Painter(), False)):
        edit_grounded(editor, job(editor))
        assert [region.given for one in editor.jobs for region in one.regions] == [given, given]


def test_an_editor_that_confines_is_asked_to() -> None:
    editor = Confining()
    edited = edit_grounded(editor, job(editor))
    assert len(editor.jobs) == 1 and editor.jobs[0].grounded and editor.jobs[0].plan == PLAN
    assert edited.log["confined_by"] == "editor" and edited.log["steps"] == 4


@pytest.mark.parametrize(
    ("subtask", "prompts"),
    [
        (Subtask(source="a cat", target="a dog"), ("a cat", "a dog")),
        (Subtask(action="add", target="a hat", anchor="the dog"), ("the dog", "the dog with a hat")),
        (Subtask(action="remove", source="a car", anchor="the road"), ("a car on the road", "the road")),
        (Subtask(action="add", target="a hat"), ("a dog on grass", "a tiger on snow")),
        (Subtask(action="remove", source="a car"), ("a dog on grass", "a tiger on snow")),
    ],
)
def test_prompts_of_a_subtask_alone(subtask: Subtask, prompts: tuple[str, str]) -> None:
    plan = single_plan(PLAN.model_copy(update={"subtasks": (PLAN.subtasks[0], subtask)}), 1)
    assert (plan.source_prompt, plan.target_prompt) == prompts
    assert plan.subtasks == (subtask,)
    EditPlan.model_validate(plan.model_dump())


# --- watched, stopped, resumed -----------------------------------------------------------------------------------


def test_steps_are_counted_over_all_turns() -> None:
    editor, steps = Painter(), []
    edit_grounded(editor, job(editor, Watch(on_step=steps.append)))
    assert [step.index for step in steps] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {step.total for step in steps} == {8}
    assert [step.values["subtask"] for step in steps] == [2] * 4 + [1] * 4


@pytest.mark.parametrize(("lengths", "counted"), [((4, 2), [1, 2, 3, 4, 6, 8]), ((2, 5), [1, 2, 3, 4])])
def test_turns_of_other_lengths_share_one_total(lengths: tuple[int, int], counted: list[int]) -> None:
    class Uneven(Painter):
        def edit(self, job: EditJob) -> Edited:
            for i in range(steps := lengths[len(self.jobs)]):
                assert job.watch.on_step is not None
                job.watch.on_step(Step(i + 1, steps))
            self.jobs.append(job)
            return Edited(255 - job.image)

    editor, seen = Uneven(), []
    edit_grounded(editor, job(editor, Watch(on_step=seen.append)))
    assert [step.index for step in seen] == counted and {step.total for step in seen} == {2 * lengths[0]}


def test_previews_show_the_whole_picture_with_the_turn_in_its_region() -> None:
    editor, shown = Painter(), []
    edited = edit_grounded(editor, job(editor, Watch(on_step=shown.append)))
    first, last = shown[3].preview(), shown[-1].preview()
    assert (first[LARGE == 0] == image()[LARGE == 0]).all() and (first[LARGE > 0] != image()[LARGE > 0]).any()
    assert (last == edited.image).all()


def test_maps_are_named_after_the_subtask() -> None:
    editor, names = Painter(steps=1), []
    edit_grounded(editor, job(editor, Watch(save_map=lambda name, values: names.append(name))))
    assert names == ["subtask-2-paint-1", "subtask-1-paint-1"]


def test_nobody_who_did_not_ask_is_made_to_pay_for_states_and_maps() -> None:
    editor = Painter()
    edit_grounded(editor, job(editor))
    assert all(one.watch.checkpoint is None and one.watch.save_map is None for one in editor.jobs)


def stopping(after: int, states: list[Mapping[str, Any]] | None = None) -> Watch:
    left = iter([False] * after)
    keep = None if states is None else lambda state: states.append(dict(state))
    return Watch(should_stop=lambda: next(left, True), checkpoint=keep)


@pytest.mark.parametrize("after", [0, 1, 4, 5, 7])
def test_an_interrupted_run_goes_on_to_the_same_bytes(after: int) -> None:
    editor, states = Painter(grain=20), []
    whole = edit_grounded(editor, job(editor))
    stopped = edit_grounded(editor, job(editor, stopping(after, states)))
    assert stopped.stopped and (stopped.image != whole.image).any()
    assert (stopped.image == image()).all() == (after == 0), "the latest state is what is returned"
    for state in states:
        steps: list[Step] = []
        resumed = edit_grounded(editor, job(editor, Watch(resume=state, on_step=steps.append)))
        assert (resumed.image == whole.image).all() and (resumed.mask == whole.mask).all()
        assert resumed.log == whole.log
        assert steps[-1].index == 8 and {step.total for step in steps} == {8}
    assert bool(states) == (after > 0)


def test_a_state_is_kept_between_the_turns_of_an_editor_that_keeps_none() -> None:
    class Forgetful(Painter):
        def edit(self, job: EditJob) -> Edited:
            return super().edit(replace(job, watch=replace(job.watch, checkpoint=None)))

    editor, states = Forgetful(grain=20), []
    whole = edit_grounded(editor, job(editor, Watch(checkpoint=lambda state: states.append(dict(state)))))
    (state,) = states
    editor.jobs.clear()
    resumed = edit_grounded(editor, job(editor, Watch(resume=state)))
    assert len(editor.jobs) == 1 and (resumed.image == whole.image).all()


@pytest.mark.parametrize("change", ["grounded.picture", "grounded.kept", "grounded.done", "grounded.logs"])
def test_a_state_of_another_run_is_refused(change: str) -> None:
    editor, states = Painter(), []
    edit_grounded(editor, job(editor, Watch(checkpoint=lambda state: states.append(dict(state)))))
    for broken in ({k: v for k, v in states[0].items() if k != change}, {**states[0], change: 7}):
        with pytest.raises(InputRefused, match="does not belong to this run"):
            edit_grounded(editor, job(editor, Watch(resume=broken)))


def test_the_log_says_how_and_in_which_order() -> None:
    class Noting(Painter):
        def edit(self, job: EditJob) -> Edited:
            edited = super().edit(job)
            return replace(edited, log={**edited.log, "evaluations": 3, "notes": ["look here"]})

    editor = Noting()
    log = edit_grounded(editor, job(editor)).log
    assert json.loads(json.dumps(log)) == log
    assert (log["confined_by"], log["order"], log["evaluations"]) == ("turns", [2, 1], 6)
    assert log["notes"] == ["subtask 2 ('snow'): look here", "subtask 1 ('tiger'): look here"]
    assert [(one["subtask"], one["seed"], one["log"]["steps"]) for one in log["turns"]] == [(2, 6, 4), (1, 5, 4)]


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Painter, Confining])
def test_a_subtask_without_a_region_is_refused_by_name(kind: type[Painter]) -> None:
    editor = kind()
    work = job(editor)
    with pytest.raises(InputRefused, match=r"subtask 1 \('dog'\) has no region") as caught:
        edit_grounded(editor, replace(work, regions=work.regions[1:]))
    assert caught.value.exit_code == 3 and 'gas.Region("dog", box=' in caught.value.remedy
    assert not editor.jobs


def test_a_turn_that_is_black_is_refused_by_name() -> None:
    class Black(Painter):
        def edit(self, job: EditJob) -> Edited:
            return Edited(np.zeros_like(job.image)) if job.plan.subtasks[0].source == "dog" else super().edit(job)

    editor = Black()
    with pytest.raises(ResultRefused, match=r"subtask 1 \('tiger'\).*black") as caught:
        edit_grounded(editor, job(editor))
    assert caught.value.exit_code == 11


def test_a_turn_that_changes_nothing_is_noted() -> None:
    class Idle(Painter):
        def edit(self, job: EditJob) -> Edited:
            return Edited(job.image.copy()) if job.plan.subtasks[0].source == "dog" else super().edit(job)

    editor = Idle()
    assert edit_grounded(editor, job(editor)).log["notes"] == ["subtask 1 ('tiger') has changed nothing"]


# --- through the pipeline ---------------------------------------------------------------------------------------------


def session(*, grounded: bool = True, boxes: Mapping[str, Any] = BOXES, **flags: Any) -> Session:
    flags = {"planner": "arrows", "grounders": ("places",), "editor": "painter", "profile": "diorama", **flags}
    return Session.of(
        registry=fake_backends.registry(), options={"places": {"boxes": dict(boxes)}}, grounded=grounded, **flags
    )


def with_editor(chosen: Session, kind: type[Painter], **options: Any) -> Painter:
    editor = kind(**options)
    chosen._backends["editors", "painter"] = editor
    return editor


def test_regions_are_required_of_every_editor() -> None:
    assert session(grounded=False, grounders=()).ground(image(), PLAN) == ()
    with pytest.raises(UsageError, match="no region is given for 'dog'") as caught:
        session(grounders=()).ground(image(), PLAN)
    assert caught.value.exit_code == 2 and 'gas.Region("dog", box=' in caught.value.remedy
    with pytest.raises(ObjectNotFound, match="grass") as missing:
        session(boxes={"dog": BOXES["dog"]}).ground(image(), PLAN)
    assert missing.value.exit_code == 5
    with pytest.raises(UsageError, match="painter, grounded, needs a region for 'dog'"):
        session().edit(image(), PLAN, (), seed=1)


def test_grounders_are_asked_also_for_an_editor_that_finds_its_places() -> None:
    for grounded in (False, True):
        chosen = session(grounded=grounded)
        with_editor(chosen, Finding)
        assert len(chosen.ground(image(), PLAN)) == 2 * grounded


@pytest.mark.parametrize("size", [(64, 48), (333, 250)])
@pytest.mark.parametrize("kind", [Painter, Confining])
def test_the_photograph_stays_outside_the_regions(size: tuple[int, int], kind: type[Painter]) -> None:
    class Beyond(kind):  # type: ignore[misc, valid-type]
        def edit(self, job: EditJob) -> Edited:
            return replace(super().edit(job), mask=np.ones(job.image.shape[:2], np.float32))

    before, chosen = image(*size), session()
    with_editor(chosen, Beyond, grain=20)
    regions = chosen.ground(before, PLAN)
    result = chosen.edit(before, PLAN, regions, seed=1)
    outside = np.maximum.reduce([region.mask for region in regions]) == 0
    assert outside.any() and (result.image[outside] == before[outside]).all()
    assert (result.image[~outside] != before[~outside]).any()


def test_a_turn_that_breaks_the_contract_is_named() -> None:
    class Bad(Painter):
        def edit(self, job: EditJob) -> Edited:
            return Edited(job.image[:-1])

    before, chosen = image(), session()
    with_editor(chosen, Bad)
    with pytest.raises(PluginBroken, match="painter"):
        chosen.edit(before, PLAN, chosen.ground(before, PLAN), seed=1)


# --- the record -------------------------------------------------------------------------------------------------------


def open_session(flags: Mapping[str, Any]) -> Session:
    return Session.of(registry=fake_backends.registry(), **{"planner": "arrows", **flags})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "dog.png"
    Pictures.fromarray(image(120, 90)).save(path)
    return path


def photo_job(picture: Path, grounded: bool = True) -> PhotoJob:
    read = photo.read(picture)
    flags = {"editor": "painter", "profile": "diorama", "options": {"painter": {"steps": 4, "grain": 20}}}
    small, large = rectangle(10, 10, 40, 40, (120, 90)), rectangle(30, 30, 110, 80, (120, 90))
    regions = (Region("dog", mask=small, subtask=0), Region("grass", mask=large, subtask=1))
    return PhotoJob(open_session({**flags, "grounded": grounded}), read, PLAN, regions, 5)


def test_the_record_says_it_and_replay_does_it(picture: Path) -> None:
    done = photo_job(picture).run(picture.with_name("a.png"))
    told = record.read_record(done.written.path)
    assert told.grounded and told.log["confined_by"] == "turns"
    replayed = replay.again(told, photo.read(picture), open_session)
    assert replayed.session.settings.grounded
    assert replayed.run(picture.with_name("b.png")).written.path.read_bytes() == done.written.path.read_bytes()
    plain = photo_job(picture, grounded=False).run(picture.with_name("c.png"))
    assert not plain.record.grounded and "confined_by" not in plain.record.log
    assert (plain.result.image != done.result.image).any()


@pytest.mark.parametrize("after", [3, 6])
def test_an_interrupted_run_is_gone_on_with_from_its_file(picture: Path, after: int) -> None:
    whole = photo_job(picture).run(picture.with_name("whole.png"))
    left = iter([False] * after)
    part = photo_job(picture).run(picture.with_name("part.png"), watch=Watch(should_stop=lambda: next(left, True)))
    assert part.state is not None
    told, state = replay.state_record(part.state)
    resumed = replay.again(told, photo.read(picture), open_session, resume=state)
    done = resumed.run(part.written.path, overwrite=True)
    assert done.written.path.read_bytes() == whole.written.path.read_bytes()
    plain = replace(photo_job(picture, grounded=False), resume=state)
    resumable = picture.with_name("part2.png")
    left = iter([False] * after)
    state = photo_job(picture).run(resumable, watch=Watch(should_stop=lambda: next(left, True))).state
    with pytest.raises(InputRefused, match="another run"):
        replace(plain, resume=state).run(resumable, overwrite=True)


# --- editors with networks --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    from gas.testing.tiny import build_tiny_instruct_pix2pix, build_tiny_stable_diffusion

    folder = tmp_path_factory.mktemp("tiny")
    return {
        "ip2p": build_tiny_instruct_pix2pix(folder / "ip2p", layers=1),
        "sd": build_tiny_stable_diffusion(folder / "sd", layers=1),
    }


def registered(name: str, model: Path, **values: Any) -> Any:
    return Registry.discover().create("editors", name, {"model": str(model), **values}, Runtime("cpu", "fp32"))


def test_instruct_pix2pix_in_turns(models: dict[str, Path]) -> None:
    editor = registered("instruct-pix2pix", models["ip2p"], steps=3, confine="turns")
    names, states = [], []
    watch = Watch(save_map=lambda name, _: names.append(name), checkpoint=lambda state: states.append(dict(state)))
    whole = edit_grounded(editor, job(editor, watch))
    outside = np.maximum(SMALL, LARGE) == 0
    assert (whole.image[outside] == image()[outside]).all() and (whole.image[~outside] != image()[~outside]).any()
    told = [turn["log"]["turns"][0]["instruction"] for turn in whole.log["turns"]]
    assert told == ["turn grass into snow", "turn dog into tiger"]
    assert whole.log["evaluations"] == 2 * 3 * 3
    assert names and all(name.startswith(("subtask-2-", "subtask-1-")) for name in names)
    quiet = edit_grounded(editor, job(editor))
    stopped = edit_grounded(editor, job(editor, stopping(4, states)))
    assert stopped.stopped
    resumed = edit_grounded(editor, job(editor, Watch(resume=states[-1])))
    assert (resumed.image == quiet.image).all() and resumed.log == quiet.log


def test_score_distillation_in_turns(models: dict[str, Path]) -> None:
    editor = registered("dds", models["sd"], steps=2)
    edited = edit_grounded(editor, job(editor))
    outside = np.maximum(SMALL, LARGE) == 0
    assert (edited.image[outside] == image()[outside]).all() and (edited.image[~outside] != image()[~outside]).any()


@pytest.mark.parametrize("name", ["dds", "instruct-pix2pix"])
def test_a_small_world_takes_what_a_turn_has_left(name: str, models: dict[str, Path]) -> None:
    """The picture given is judged, and what an edit has made of it is not judged again."""
    model = models["sd" if name == "dds" else "ip2p"]
    editor = registered(name, model, steps=1)
    backbone = editor.model
    found = backbone.round_trip_db(image())
    with pytest.raises(InputRefused, match="not of the kind that this model knows"):
        edit_grounded(registered(name, model, steps=1, accept_db=found + 0.1), job(editor))
    strict = registered(name, model, steps=1, accept_db=found - 0.001)
    edit_grounded(strict, job(strict))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(backbone), "round_trip_db", lambda self, picture, z=None: found if (picture == image()).all() else 0
        )
        edit_grounded(strict, job(strict))


def test_zone_is_confined_to_what_was_found(models: dict[str, Path]) -> None:
    editor = registered("zone", models["ip2p"], steps=1)
    plan = PLAN.model_copy(update={"subtasks": PLAN.subtasks[:1]})
    work = job(editor, plan=plan, regions=(Region("dog", mask=SMALL, subtask=0),))
    edited = edit_grounded(editor, work)
    assert edited.mask is not None and (edited.mask[SMALL == 0] == 0).all() and edited.mask.any()
    assert edited.log["subtasks"][0]["rough_share"] == pytest.approx(SMALL.mean())
    turns = edit_grounded(registered("zone", models["ip2p"], steps=1, confine="turns"), work)
    assert turns.mask is not None and (turns.mask[SMALL == 0] == 0).all() and turns.mask.any()
    assert turns.log["turns"][0]["log"]["turns"][0]["rough_share"] == pytest.approx(SMALL.mean())


def test_ground_a_score_is_grounded_by_nature_and_says_so(models: dict[str, Path]) -> None:
    editor = registered("ground-a-score", models["sd"], steps=1)
    plain, edited = editor.edit(job(editor)), edit_grounded(editor, job(editor))
    assert (edited.image == plain.image).all()
    assert edited.log["confined_by"] == "editor" and "anyway" in edited.log["notes"][0]
    assert "notes" not in plain.log


@pytest.mark.parametrize("ablation", [{"mask": "none"}, {"subtasks": False}])
def test_ground_a_score_without_what_confines_it_is_refused(ablation: dict[str, Any], models: dict[str, Path]) -> None:
    editor = registered("ground-a-score", models["sd"], steps=1, **ablation)
    editor.edit(job(editor))
    with pytest.raises(UsageError, match="does not confine subtasks"):
        edit_grounded(editor, job(editor))
