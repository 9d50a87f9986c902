"""The pipeline, with backends that need no model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import fake_backends
import numpy as np
import pytest

import gas
from gas.backends.registry import Registry
from gas.errors import InputRefused, Interrupted, ObjectNotFound, PluginBroken, ResultRefused, UsageError
from gas.interfaces import Edited, EditJob, Editor, Grounder, GroundJob, Watch
from gas.run.segmenter import CheckedSegmenter
from gas.run.session import Session, new_seed
from gas.testing import fakes
from gas.types import EditPlan, EditRequest, Region, Subtask

PLAN = EditPlan(subtasks=(Subtask(source="dog", target="tiger"), Subtask(source="grass", target="snow")))
BOXES = {"dog": (0.1, 0.1, 0.4, 0.4), "grass": (0.5, 0.5, 1.0, 1.0)}


def image(width: int = 160, height: int = 120) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 200, (height, width, 3), dtype=np.uint8)


def session(*, boxes: dict[str, Any] = BOXES, masks: bool = True, **flags: Any) -> Session:
    flags = {"planner": "arrows", "grounders": ("places",), "editor": "painter", "profile": "diorama", **flags}
    return Session.of(registry=fake_backends.registry(), options={"places": {"boxes": boxes, "masks": masks}}, **flags)


def test_plan_ground_edit_compose_change_the_regions_and_nothing_else() -> None:
    before, chosen = image(), session()
    plan = chosen.plan(EditRequest(before, "dog -> tiger; grass -> snow"))
    regions = chosen.ground(before, plan)
    result = chosen.edit(before, plan, regions, seed=1)
    assert [r.subtask for r in regions] == [0, 1]
    outside = result.mask == 0
    assert outside.any() and (result.image[outside] == before[outside]).all()
    assert (result.image[~outside] != before[~outside]).any()
    assert result.image.shape == before.shape
    assert not result.stopped


def test_mask_that_is_pasted_stays_inside_the_native_regions() -> None:
    before, chosen = image(333, 250), session()
    drawn = np.zeros((250, 333), np.float32)
    drawn[100:131, 101:140] = 1
    result = chosen.edit(before, PLAN, [Region("dog", mask=drawn, subtask=0)], seed=1)
    assert (result.mask <= drawn).all() and result.mask.any()
    changed = (result.image != before).any(axis=2)
    assert changed.any() and not changed[drawn == 0].any()


def test_found_regions_grow_unless_the_shape_is_kept() -> None:
    before = image()
    found = session().ground(before, PLAN)
    kept = session().ground(
        before,
        PLAN.model_copy(
            update={"subtasks": tuple(s.model_copy(update={"preserve_shape": True}) for s in PLAN.subtasks)}
        ),
    )
    assert found[0].mask.sum() > kept[0].mask.sum()
    assert found[0].mask[kept[0].mask > 0].all()


def test_given_region_is_neither_grown_nor_looked_for() -> None:
    before = image()
    drawn = np.zeros(before.shape[:2], np.float32)
    drawn[10:20, 10:20] = 1
    chosen = session(boxes={"grass": BOXES["grass"]})
    regions = chosen.ground(before, PLAN, [Region("Dog", mask=drawn, given=True)])
    assert regions[0].subtask == 0 and (regions[0].mask == drawn).all()
    assert regions[1].phrase == "grass" and not regions[1].given


class Asked(Grounder):
    """Answers with boxes one beside the other, and keeps what it was asked."""

    questions: ClassVar[list[list[str]]] = []

    def ground(self, job: GroundJob) -> list[Region]:
        self.questions.append([region.phrase for region in job.regions])
        return [replace(region, box=(10.0 * i, 60.0, 10.0 * i + 10, 80.0)) for i, region in enumerate(job.regions)]


def test_additions_share_the_place_that_they_name() -> None:
    registry = fake_backends.registry()
    registry.add(type("P", (), {"gas_register_grounders": staticmethod(_asked_spec)}))
    chosen = Session.of(registry=registry, planner="arrows", grounders=("asked",), editor="painter", profile="diorama")
    plan = EditPlan(
        subtasks=(
            Subtask(action="add", target="a ball", anchor="the grass"),
            Subtask(source="cat", target="dog"),
            Subtask(source="grass", target="snow"),
            Subtask(action="add", target="a kite", anchor="grass"),
            Subtask(action="add", target="a cloud", anchor="sky"),
            Subtask(action="add", target="a bird", anchor="the sky"),
            Subtask(source="cat", target="tiger"),
        )
    )
    Asked.questions.clear()
    found = chosen.ground(image(), plan)
    assert [[*map(str.lower, phrases)] for phrases in Asked.questions] == [["cat", "grass", "sky", "cat"]]
    assert [region.subtask for region in found] == list(range(7))
    boxes = [region.box for region in found]
    assert boxes[0] == boxes[2] == boxes[3] and boxes[4] == boxes[5]
    assert boxes[1] != boxes[6], "two cats are two things"


class Picky(Editor):
    """Refuses every picture, and edits none."""

    needs_regions = True

    def check(self, image: np.ndarray) -> None:
        raise InputRefused(f"a picture of {image.shape[1]} pixels is not for this editor", "use another")

    def edit(self, job: EditJob) -> Edited:
        raise NotImplementedError


def test_what_is_not_found_in_a_picture_that_the_editor_refuses_is_refused() -> None:
    registry = fake_backends.registry()
    registry.add(type("P", (), {"gas_register_editors": staticmethod(_picky_spec)}))
    flags: dict[str, Any] = {"planner": "arrows", "grounders": ("places",), "profile": "diorama"}
    tables = {"places": {"boxes": {"grass": (0, 0, 1, 1)}}}
    with pytest.raises(InputRefused, match="160 pixels"):
        Session.of(registry=registry, editor="picky", options=tables, **flags).ground(image(), PLAN)
    with pytest.raises(ObjectNotFound, match="dog"):
        Session.of(registry=registry, editor="painter", options=tables, **flags).ground(image(), PLAN, required=True)


@gas.hookimpl
def _picky_spec() -> list[gas.BackendSpec]:
    return [gas.BackendSpec("picky", f"{__name__}:Picky", "refuses every picture")]


@gas.hookimpl
def _asked_spec() -> list[gas.BackendSpec]:
    return [gas.BackendSpec("asked", f"{__name__}:Asked", "boxes beside one another")]


def test_box_without_mask_becomes_the_mask() -> None:
    chosen = session(masks=False)
    regions = chosen.ground(image(), PLAN)
    assert all(region.mask is not None and region.mask.any() for region in regions)


def test_thing_that_is_not_there_is_exit_5() -> None:
    with pytest.raises(ObjectNotFound, match="grass") as caught:
        session(boxes={"dog": BOXES["dog"]}).ground(image(), PLAN)
    assert caught.value.exit_code == 5


def test_no_grounder_says_how_to_give_a_region() -> None:
    with pytest.raises(UsageError, match="dog") as caught:
        session(grounders=()).ground(image(), PLAN, required=True)
    assert 'gas.Region("dog", box=' in caught.value.remedy


def test_editor_that_needs_no_regions_gets_only_given_ones() -> None:
    assert session(grounders=()).ground(image(), PLAN) == ()


def test_addition_without_a_place_asks_for_one() -> None:
    plan = EditPlan(subtasks=(Subtask(action="add", target="a hat"),))
    with pytest.raises(UsageError, match="where to add 'a hat'"):
        session().ground(image(), plan)


def test_without_regions_the_whole_picture_is_edited() -> None:
    before = image()
    result = session(grounders=()).edit(before, PLAN, seed=1)
    assert result.mask.min() == 1
    assert (result.image == (255, 0, 0)).all()


def test_editor_with_its_own_mask_is_pasted_through_it() -> None:
    mine = np.zeros((48, 64), np.float32)
    mine[:20, :20] = 1

    class Own(fakes.FakeEditor):
        def edit(self, job: EditJob) -> Edited:
            own = np.zeros(job.image.shape[:2], np.float32)
            own[:16, :16] = 1
            return replace(super().edit(job), mask=own)

    before, chosen = image(64, 64), session(grounders=())
    chosen._backends["editors", "painter"] = Own(fakes.FakeEditorOptions(), chosen.runtime)
    result = chosen.edit(before, PLAN, seed=1)
    assert (result.image[20:] == before[20:]).all() and (result.image[:8, :8] != before[:8, :8]).any()


@pytest.mark.parametrize(
    "answer",
    [
        lambda job: Edited(job.image[:-1]),
        lambda job: Edited(job.image.astype(np.float32)),
        lambda job: Edited(job.image, mask=np.ones((3, 3), np.float32)),
        lambda job: Edited(job.image, mask=np.full(job.image.shape[:2], np.nan, np.float32)),
    ],
)
def test_editor_that_breaks_its_contract_is_named(answer: Any) -> None:
    class Bad(fakes.FakeEditor):
        def edit(self, job: EditJob) -> Edited:
            return answer(job)

    chosen = session(grounders=())
    chosen._backends["editors", "painter"] = Bad(fakes.FakeEditorOptions(), chosen.runtime)
    with pytest.raises(PluginBroken, match="painter") as caught:
        chosen.edit(image(), PLAN, seed=1)
    assert caught.value.exit_code == 9


def test_grounder_that_forgets_a_subtask_is_named() -> None:
    class Forgetful(fakes.FakeGrounder):
        def ground(self, job: GroundJob) -> list[Region]:
            return super().ground(job)[:1]

    chosen = session()
    chosen._backends["grounders", "places"] = Forgetful(fakes.FakeGrounderOptions(boxes=BOXES), chosen.runtime)
    with pytest.raises(PluginBroken, match="subtasks"):
        chosen.ground(image(), PLAN)


@pytest.mark.parametrize(("value", "word"), [("black", "black"), ("same", "same as the input")])
def test_black_or_unchanged_result_is_not_success(value: str, word: str) -> None:
    class Useless(fakes.FakeEditor):
        def edit(self, job: EditJob) -> Edited:
            return Edited(np.zeros_like(job.image) if value == "black" else job.image.copy())

    before, chosen = image(64, 64), session(grounders=())
    chosen._backends["editors", "painter"] = Useless(fakes.FakeEditorOptions(), chosen.runtime)
    with pytest.raises(ResultRefused, match=word) as caught:
        chosen.edit(before, PLAN, seed=1)
    assert caught.value.exit_code == 11


def test_stopped_run_returns_its_latest_state() -> None:
    calls = iter([False, False, True])
    result = session(grounders=()).edit(image(64, 64), PLAN, seed=1, watch=Watch(should_stop=lambda: next(calls)))
    assert result.stopped and result.log["steps"] == 2


def test_editor_gets_the_chosen_segmenter() -> None:
    seen: list[Grounder | None] = []

    class Asking(fakes.FakeEditor):
        def edit(self, job: EditJob) -> Edited:
            seen.append(job.segmenter)
            return super().edit(job)

    for grounders in (("places",), ()):
        chosen = session(grounders=grounders)
        chosen._backends["editors", "painter"] = Asking(fakes.FakeEditorOptions(), chosen.runtime)
        chosen.edit(image(64, 64), PLAN, seed=1)
    assert isinstance(seen[0], CheckedSegmenter) and isinstance(seen[0].inner, fakes.FakeGrounder) and seen[1] is None


def test_missing_region_is_refused_before_the_editor_runs() -> None:
    class Needy(fakes.FakeEditor):
        needs_regions = True

        def edit(self, job: EditJob) -> Edited:
            raise AssertionError("must not run")

    chosen = session()
    chosen._backends["editors", "painter"] = Needy(fakes.FakeEditorOptions(), chosen.runtime)
    assert isinstance(chosen.backend("editors", "painter"), Editor)
    with pytest.raises(UsageError, match="region for 'dog'"):
        chosen.edit(image(), PLAN, (), seed=1)


def test_one_call_takes_a_path_or_pixels(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image as Pictures

    before = image(64, 64)
    Pictures.fromarray(before).save(tmp_path / "in.png")
    monkeypatch.setattr(Registry, "discover", classmethod(lambda cls: fake_backends.registry()))
    flags: dict[str, Any] = {"planner": "arrows", "grounders": (), "editor": "painter", "profile": "diorama"}
    one = gas.edit(tmp_path / "in.png", "dog -> tiger", seed=3, **flags)
    two = gas.edit(before, "dog -> tiger", seed=3, **flags)
    assert (one.image == two.image).all()


def test_seeds_are_drawn_in_range() -> None:
    drawn = {new_seed() for _ in range(50)}
    assert len(drawn) > 40 and all(0 <= seed < 2**31 for seed in drawn)


def test_profile_may_not_choose_a_planner_that_sends_the_picture_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakePlanner, "remote", property(lambda self: True))
    chosen = session()
    assert chosen.plan(EditRequest(image(), "dog -> tiger")).subtasks
    monkeypatch.setattr(chosen.settings, "said_by_user", lambda name: False)
    with pytest.raises(UsageError, match="another machine") as caught:
        chosen.plan(EditRequest(image(), "dog -> tiger"))
    assert 'planner="arrows"' in caught.value.remedy


def test_grounders_get_the_plan_a_picture_that_they_cannot_write_into_and_the_users_watch() -> None:
    class Nosy(fakes.FakeGrounder):
        jobs: ClassVar[list[GroundJob]] = []

        def ground(self, job: GroundJob) -> list[Region]:
            self.jobs.append(job)
            return super().ground(job)

    chosen, pixels = session(), image()
    chosen._backends["grounders", "places"] = Nosy(fakes.FakeGrounderOptions(boxes=BOXES), chosen.runtime)
    given = Region("dog", box=(1.0, 1.0, 9.0, 9.0), mask=np.ones(pixels.shape[:2], np.float32), subtask=0, given=True)
    steps: list[Any] = []
    chosen.ground(pixels, PLAN, [given], watch=Watch(on_step=steps.append))
    (job,) = Nosy.jobs
    assert job.plan == PLAN and [region.subtask for region in job.regions] == [1], "the plan is the whole one"
    assert len(steps) == 1
    with pytest.raises(ValueError, match="read-only"):
        job.image[0] = 0
    pixels[0] = 0


def test_a_chain_of_grounders_can_be_stopped_between_two_of_them() -> None:
    asked: list[str] = []

    class Quick(fakes.FakeGrounder):
        def ground(self, job: GroundJob) -> list[Region]:
            asked.append("quick")
            return super().ground(replace(job, watch=Watch()))

    chosen = session(grounders=("places", "fake"))
    for name in ("places", "fake"):
        chosen._backends["grounders", name] = Quick(fakes.FakeGrounderOptions(boxes=BOXES), chosen.runtime)
    with pytest.raises(Interrupted) as caught:
        chosen.ground(image(), PLAN, watch=Watch(should_stop=lambda: len(asked) == 1))
    assert asked == ["quick"] and caught.value.exit_code == 130
