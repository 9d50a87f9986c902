"""The contracts hold for the fakes, and for each of their guards there is a backend that it catches."""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import ConfigDict, Field

from gas import EditPlan, EditRequest, Options, Region, Registry, Runtime, Watch
from gas.errors import GasError, InputRefused, ObjectNotFound, PlanUnreadable
from gas.interfaces import GroundJob, Step
from gas.preview import Preview
from gas.testing import EditorContract, FakeEditor, FakeGrounder, FakePlanner, GrounderContract, PlannerContract, fakes
from gas.testing.contracts import ground_job, sample_image, sample_job, watch_run
from gas.types import Provenance, Subtask, Suggestions

pytest_plugins = ["pytester"]

BOXES = {"the red box": (0.3, 0.25, 0.7, 0.75), "the green grass": (0.0, 0.5, 1.0, 1.0)}
REQUEST = EditRequest(sample_image(96, 64), "the red box -> a blue ball; green grass -> snow")


def make(kind: type, **options: Any) -> Any:
    return kind(kind.options_type(**options), Runtime())


class TestFakePlanner(PlannerContract):
    @pytest.fixture
    def planner(self) -> FakePlanner:
        return make(FakePlanner)

    @pytest.fixture
    def edit_request(self) -> EditRequest:
        return REQUEST


class TestFakeGrounder(GrounderContract):
    @pytest.fixture(params=[True, False])
    def grounder(self, request: pytest.FixtureRequest) -> FakeGrounder:
        grounder = make(FakeGrounder, boxes=BOXES)
        if not request.param:
            grounder = make(DetectorOnly, boxes=BOXES, masks=False)
        return grounder


class DetectorOnly(FakeGrounder):
    segments = False

    def ground(self, job):
        return super().ground(job) if job.regions else []


class TestFakeEditor(EditorContract):
    @pytest.fixture(params=[0, 20])
    def editor(self, request: pytest.FixtureRequest) -> FakeEditor:
        return make(FakeEditor, grain=request.param)


def test_fakes_are_backends_like_others() -> None:
    registry = Registry(plugins="none").add(fakes)
    editor = registry.create("editors", "fake", {"preset": "quick", "colour": "0,0,255"}, Runtime())
    job = sample_job(editor, sample_image(96, 64))
    image = editor.edit(job).image
    mask = job.regions[0].mask == 1
    assert (image[mask] == (0, 0, 255)).all()
    assert (image[~mask] == job.image[~mask]).all()


def test_fake_editors_options_count() -> None:
    image = sample_image(96, 64)
    pictures = set()
    for options in ({}, {"colour": (0, 9, 0)}, {"grain": 9}):
        editor = make(FakeEditor, **options)
        pictures.add(editor.edit(sample_job(editor, image)).image.tobytes())
    assert len(pictures) == 3
    steps: list[Step] = []
    editor = make(FakeEditor, steps=7)
    editor.edit(replace(sample_job(editor, image), watch=Watch(on_step=steps.append)))
    assert len(steps) == 7


def test_fake_planners_and_grounders_options_count() -> None:
    assert make(FakePlanner, preserve_shape=True).plan(REQUEST).subtasks[0].preserve_shape
    with pytest.raises(PlanUnreadable):
        make(FakePlanner, arrow="=>").plan(REQUEST)
    (region,) = make(FakeGrounder, boxes=BOXES, score=0.3, masks=False).ground(
        GroundJob(REQUEST.image, [Region("the red box")])
    )
    assert (region.score, region.mask) == (0.3, None)


# Editors that break the contract, by the guard that catches them


class Broken(FakeEditor):
    """A fake whose answer is spoilt by `spoil`."""

    def edit(self, job):
        return self.spoil(job, super().edit(job))

    def spoil(self, job, edited):
        raise NotImplementedError


class ReturnsFloats(Broken):
    def spoil(self, job, edited):
        return replace(edited, image=edited.image.astype(np.float32))


class ReturnsAnotherSize(Broken):
    def spoil(self, job, edited):
        return replace(edited, image=edited.image[:-1])


class SwapsWidthAndHeight(Broken):
    def spoil(self, job, edited):
        return replace(edited, image=edited.image.transpose(1, 0, 2))


class ReturnsABareArray(Broken):
    def spoil(self, job, edited):
        return edited.image


class ReturnsASmallMask(Broken):
    def spoil(self, job, edited):
        return replace(edited, mask=np.ones((4, 4), np.float32))


class ReturnsAnEmptyMask(Broken):
    def spoil(self, job, edited):
        return replace(edited, mask=np.zeros(job.image.shape[:2], np.float32))


class LogsNaN(Broken):
    def spoil(self, job, edited):
        return replace(edited, log={"loss": float("nan")})


class AlwaysStopped(Broken):
    def spoil(self, job, edited):
        return replace(edited, stopped=True)


class NeverStopped(Broken):
    def spoil(self, job, edited):
        return replace(edited, stopped=False)


class Unseeded(Broken):
    def spoil(self, job, edited):
        return replace(
            edited, image=edited.image ^ np.random.default_rng().integers(0, 2, edited.image.shape, np.uint8)
        )


class RemembersTheLastRun(Broken):
    last = 0

    def spoil(self, job, edited):
        before, self.last = self.last, job.seed
        return replace(edited, image=edited.image ^ np.uint8(before))


class ActsForItsAudience(Broken):
    def spoil(self, job, edited):
        return replace(edited, image=edited.image ^ np.uint8(job.watch.on_step is not None))


class WritesIntoThePicture(Broken):
    def spoil(self, job, edited):
        job.image[0, 0] += 1
        return edited


class WritesIntoTheMask(Broken):
    def spoil(self, job, edited):
        for region in job.regions:
            region.mask[0, 0] = 0.5
        return edited


class Silent(FakeEditor):
    def edit(self, job):
        return super().edit(replace(job, watch=replace(job.watch, on_step=None)))


class Retold(FakeEditor):
    """A fake whose steps are told differently."""

    def edit(self, job):
        tell = job.watch.on_step
        told = None if tell is None else lambda step: tell(self.retell(step))
        return super().edit(replace(job, watch=replace(job.watch, on_step=told)))

    def retell(self, step):
        raise NotImplementedError


class CountsFromZero(Retold):
    def retell(self, step):
        return replace(step, index=step.index - 1)


class CountsDown(Retold):
    def retell(self, step):
        return replace(step, index=step.total + 1 - step.index)


class TotalGrows(Retold):
    def retell(self, step):
        return replace(step, total=step.index)


class ReportsNaN(Retold):
    def retell(self, step):
        return replace(step, values={"loss": float("nan")})


class SmallPreview(Retold):
    def retell(self, step):
        return replace(step, preview=lambda: step.preview()[::2, ::2])


class DeafEditor(FakeEditor):
    def edit(self, job):
        return super().edit(replace(job, watch=replace(job.watch, should_stop=lambda: False)))


class AsksOnce(FakeEditor):
    def edit(self, job):
        answer = job.watch.should_stop()
        return super().edit(replace(job, watch=replace(job.watch, should_stop=lambda: answer)))


class AsksLate(FakeEditor):
    def edit(self, job):
        asked = itertools.count()
        stop = job.watch.should_stop
        late = replace(job.watch, should_stop=lambda: next(asked) > 0 and stop())
        return super().edit(replace(job, watch=late))


class ForgetsWhereItWas(FakeEditor):
    def edit(self, job):
        edited = super().edit(job)
        return replace(edited, image=edited.image ^ np.uint8(bool(job.watch.resume)))


class SavesIntegers(FakeEditor):
    def edit(self, job):
        save = job.watch.save_map
        cut = None if save is None else lambda name, array: save(name, (array * 255).astype(np.uint8))
        return super().edit(replace(job, watch=replace(job.watch, save_map=cut)))


class NeedsRegionsSilently(FakeEditor):
    def edit(self, job):
        job.regions[0]
        return super().edit(job)


class Confines(FakeEditor):
    """Paints its regions in a colour that the target chooses."""

    confines = True

    def edit(self, job):
        if job.grounded and not job.regions:
            raise InputRefused("a subtask has no region", "draw it")
        regions = job.regions if job.grounded else ()
        painted = super().edit(replace(job, regions=regions))
        mask = np.max([r.mask for r in regions], axis=0) if regions else np.ones(job.image.shape[:2], np.float32)
        shade = len(job.plan.subtasks[0].target) * 9
        return replace(painted, image=np.where(mask[..., None] > 0, np.uint8(shade), painted.image))


class ConfinesNothing(Confines):
    def edit(self, job):
        return super().edit(replace(job, grounded=False))


class CoarserThanItself(FakeEditor):
    def multiple(self):
        return 128


class MutableOptions(fakes.FakeEditorOptions):
    model_config = ConfigDict(frozen=False)


class LaxOptions(fakes.FakeEditorOptions):
    model_config = ConfigDict(extra="allow")


class ForgetfulOptions(fakes.FakeEditorOptions):
    grain: int = Field(3, exclude=True)


class OptionsWithoutDefault(Options):
    colour: int


class WrongPreset(fakes.FakeEditorOptions):
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"fast": {"stepz": 1}}


def with_options(options_type: type[Options]) -> type[FakeEditor]:
    return type(options_type.__name__, (FakeEditor,), {"options_type": options_type})


class UneditedOfAnotherSize(FakeEditor):
    def edit(self, job):
        return replace(super().edit(job), unedited=job.image[:-1])


class LosesAJob(FakeEditor):
    def edit_together(self, jobs):
        return super().edit_together(jobs)[:1]


class SwapsTheJobs(FakeEditor):
    batches = True

    def edit_together(self, jobs):
        return super().edit_together(jobs)[::-1]


class CodesToAnotherSize(FakeEditor):
    def coded(self, image):
        return image[:-1]


EDITORS = {
    "test_coding_alone_gives_a_picture_of_the_same_size": [CodesToAnotherSize],
    "test_several_jobs_at_once_give_what_each_gives_alone": [LosesAJob, SwapsTheJobs],
    "test_returns_a_picture_of_the_same_size": [
        ReturnsFloats, ReturnsAnotherSize, SwapsWidthAndHeight, ReturnsABareArray, ReturnsASmallMask,
        ReturnsAnEmptyMask, LogsNaN, AlwaysStopped, UneditedOfAnotherSize,
    ],
    "test_same_seed_gives_the_same_bytes": [Unseeded, RemembersTheLastRun, ActsForItsAudience],
    "test_leaves_its_input_alone": [WritesIntoThePicture, WritesIntoTheMask],
    "test_reports_steps": [Silent, CountsFromZero, CountsDown, TotalGrows, ReportsNaN],
    "test_previews_are_pictures": [SmallPreview],
    "test_stops_when_told": [DeafEditor, AsksLate, NeverStopped],
    "test_stops_on_the_way": [DeafEditor, AsksOnce],
    "test_resumed_run_gives_the_same_bytes": [ForgetsWhereItWas],
    "test_maps_have_the_pictures_form": [SavesIntegers],
    "test_works_or_refuses_by_name_without_regions": [NeedsRegionsSilently],
    "test_grounded_run_confines_what_is_asked_to_the_regions": [ConfinesNothing],
    "test_grounded_run_refuses_a_subtask_without_a_region": [ConfinesNothing],
}  # fmt: skip
CAUGHT = (AssertionError, pytest.fail.Exception, ValueError, LookupError, AttributeError)


def check_editor(guard: str, editor: FakeEditor) -> None:
    """Calls the guard with what it asks for, as pytest does."""
    check, job = getattr(EditorContract(), guard), sample_job(editor, sample_image(96, 64))
    given: dict[str, Any] = {"editor": editor, "job": job}
    if "watched" in inspect.signature(check).parameters:
        given["watched"] = watch_run(editor, job)
    check(**{name: given[name] for name in inspect.signature(check).parameters})


@pytest.mark.parametrize(("guard", "kind"), [(guard, kind) for guard, kinds in EDITORS.items() for kind in kinds])
def test_guards_catch_bad_editors(guard: str, kind: type[FakeEditor]) -> None:
    for good in (make(FakeEditor), make(Confines)):
        check_editor(guard, good)
    with pytest.raises(CAUGHT):
        check_editor(guard, make(kind))


def test_guard_catches_a_working_size_that_cannot_be() -> None:
    EditorContract().test_working_size_is_sensible(make(FakeEditor))
    with pytest.raises(AssertionError):
        EditorContract().test_working_size_is_sensible(make(CoarserThanItself))


@pytest.mark.parametrize(("guard", "options_type", "given"), [
    ("test_options_cannot_be_changed", MutableOptions, {}),
    ("test_options_have_defaults_and_refuse_unknown_names", LaxOptions, {}),
    ("test_options_have_defaults_and_refuse_unknown_names", OptionsWithoutDefault, {"colour": 1}),
    ("test_options_can_be_written_down_and_read_back", ForgetfulOptions, {"grain": 5}),
    ("test_presets_fit_the_options", WrongPreset, {}),
])  # fmt: skip
def test_guards_catch_bad_options(guard: str, options_type: type[Options], given: dict[str, Any]) -> None:
    check = getattr(EditorContract(), guard)
    check(make(FakeEditor))
    with pytest.raises(CAUGHT):
        check(make(with_options(options_type), **given))


def test_guard_catches_options_of_another_class() -> None:
    editor = FakeEditor(Options(), Runtime())  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        EditorContract().test_options_can_be_written_down_and_read_back(editor)


# Planners


class ReturnsAList(FakePlanner):
    def plan(self, request):
        return list(super().plan(request).subtasks)


class Unsigned(FakePlanner):
    def plan(self, request):
        return super().plan(request).model_copy(update={"provenance": Provenance()})


class UnreadablePlan(FakePlanner):
    def plan(self, request):
        plan = super().plan(request)
        return EditPlan.model_construct(**{**plan.__dict__, "subtasks": ()})


class ChangesItsMind(FakePlanner):
    said = 0

    def plan(self, request):
        self.said += 1
        return super().plan(request).model_copy(update={"reasoning": str(self.said)})


class DrawsOnThePicture(FakePlanner):
    def plan(self, request):
        request.image[0] = 0
        return super().plan(request)


class TripsOverInput(FakePlanner):
    def plan(self, request):
        return EditPlan(subtasks=(Subtask(source=request.instruction.split("->")[0], target="x"),))


class RaisesTheBase(FakePlanner):
    def plan(self, request):
        with contextlib.suppress(GasError):
            return super().plan(request)
        raise GasError("no")


@pytest.mark.parametrize(("guard", "kind"), [
    ("test_returns_a_plan_that_survives_a_file", ReturnsAList),
    ("test_returns_a_plan_that_survives_a_file", UnreadablePlan),
    ("test_plan_says_where_it_came_from", Unsigned),
    ("test_same_request_gives_the_same_plan", ChangesItsMind),
    ("test_leaves_the_picture_alone", DrawsOnThePicture),
    ("test_reads_or_refuses_by_name", TripsOverInput),
    ("test_reads_or_refuses_by_name", RaisesTheBase),
])  # fmt: skip
def test_guards_catch_bad_planners(guard: str, kind: type[FakePlanner]) -> None:
    check = getattr(PlannerContract(), guard)
    more = ("x" * 100_000,) if guard == "test_reads_or_refuses_by_name" else ()
    check(make(FakePlanner), REQUEST, *more)
    request = replace(REQUEST, image=REQUEST.image.copy())
    with pytest.raises(CAUGHT):
        check(make(kind), request, *more)


# What backends say of themselves


class SaysThatNothingIsSent(FakePlanner):
    @property
    def remote(self):
        return True

    def preview(self, job):
        return Preview()


class SaysNotWhere(FakePlanner):
    @property
    def remote(self):
        return True

    def preview(self, job):
        return Preview(remote=True)


class SaysWhat(FakePlanner):
    def preview(self, job):
        return "nothing"


class Distant(FakePlanner):
    @property
    def remote(self):
        return True


@pytest.mark.parametrize("kind", [SaysThatNothingIsSent, SaysNotWhere, SaysWhat])
def test_guard_catches_a_preview_that_is_not_true(kind: type[FakePlanner]) -> None:
    fixtures: Any = SimpleNamespace(getfixturevalue={"edit_request": REQUEST}.__getitem__)
    for good in (FakePlanner, Distant):
        PlannerContract().test_preview_tells_the_truth(make(good), fixtures)
    with pytest.raises(AssertionError):
        PlannerContract().test_preview_tells_the_truth(make(kind), fixtures)


class HasNoSuggestions(FakePlanner):
    suggests = True

    def suggest(self, image, caption=None, avoid=()):
        return None


class SuggestsInSecret(FakePlanner):
    def suggest(self, image, caption=None, avoid=()):
        return Suggestions(suggestions=(), request="", planner="x")


class RefusesAsIfItWereBroken(FakePlanner):
    def suggest(self, image, caption=None, avoid=()):
        raise InputRefused("no")


@pytest.mark.parametrize("kind", [HasNoSuggestions, SuggestsInSecret, RefusesAsIfItWereBroken])
def test_guard_catches_suggestions_that_were_not_declared(kind: type[FakePlanner]) -> None:
    PlannerContract().test_suggests_as_it_says(make(FakePlanner), REQUEST.image)
    with pytest.raises((AssertionError, IndexError)):
        PlannerContract().test_suggests_as_it_says(make(kind), REQUEST.image)


# Grounders


class Answers(FakeGrounder):
    """A fake whose answer is spoilt by `spoil`."""

    def ground(self, job):
        return self.spoil(job.image, super().ground(job))

    def spoil(self, image, regions):
        raise NotImplementedError


class ReturnsATuple(Answers):
    def spoil(self, image, regions):
        return tuple(regions)


class LosesOne(Answers):
    def spoil(self, image, regions):
        return regions[1:]


class SortsThem(Answers):
    def spoil(self, image, regions):
        return regions[::-1]


class RenamesThem(Answers):
    def spoil(self, image, regions):
        return [replace(region, phrase=region.phrase.upper()) for region in regions]


class FindsNoPlace(Answers):
    def spoil(self, image, regions):
        return [replace(region, box=None, mask=None) for region in regions]


class ReachesOutside(Answers):
    def spoil(self, image, regions):
        return [replace(region, box=(0.0, 0.0, image.shape[1] + 1.0, 5.0)) for region in regions]


class TurnsBoxesOver(Answers):
    def spoil(self, image, regions):
        return [replace(region, box=(9.0, 9.0, 5.0, 5.0)) for region in regions]


class NaNScore(Answers):
    def spoil(self, image, regions):
        return [replace(region, score=float("nan")) for region in regions]


class EmptyMasks(Answers):
    def spoil(self, image, regions):
        return [replace(region, mask=np.zeros(image.shape[:2], np.float32)) for region in regions]


class BooleanMasks(Answers):
    def spoil(self, image, regions):
        return [replace(region, mask=region.mask > 0) for region in regions]


class LoudMasks(Answers):
    def spoil(self, image, regions):
        return [replace(region, mask=region.mask * 255) for region in regions]


class Wavers(Answers):
    asked = 0

    def spoil(self, image, regions):
        self.asked += 1
        return [replace(region, score=1 / self.asked) for region in regions]


class PaintsTheImage(Answers):
    def spoil(self, image, regions):
        image[0] = 0
        return regions


class ClearsTheMasks(FakeGrounder):
    def ground(self, job):
        for region in job.regions:
            region.mask[:] = 0
        return super().ground(job)


class StopsHalfWay(FakeGrounder):
    def ground(self, job):
        return [] if job.watch.should_stop() else super().ground(job)


class CountsItsStepsDown(FakeGrounder):
    def ground(self, job):
        for number in (2, 1):
            if job.watch.on_step:
                job.watch.on_step(Step(number, 2))
        return super().ground(replace(job, watch=Watch()))


class NeedsAPlan(FakeGrounder):
    def ground(self, job):
        return super().ground(job)[: len(job.plan.subtasks)]


class RefinesGiven(FakeGrounder):
    def ground(self, job):
        answer = super().ground(job)
        return [replace(region, mask=np.ones(job.image.shape[:2], np.float32)) for region in answer]


class RaisesKeyError(FakeGrounder):
    def ground(self, job):
        return [replace(region, box=BOXES[region.phrase]) for region in job.regions]


class RaisesAnotherError(FakeGrounder):
    def ground(self, job):
        with contextlib.suppress(ObjectNotFound):
            return super().ground(job)
        raise InputRefused("'a purple submarine on the moon' was not found")


class DoesNotSayWhat(FakeGrounder):
    def ground(self, job):
        with contextlib.suppress(ObjectNotFound):
            return super().ground(job)
        raise ObjectNotFound("something was not found")


class NoSegments(FakeGrounder):
    def ground(self, job):
        return super().ground(job) if job.regions else []


class SegmentsUnasked(FakeGrounder):
    segments = False


MASK = np.ones((64, 96), np.float32)
QUESTION = [Region("the red box", mask=MASK, subtask=0), Region("the green grass", mask=MASK, subtask=1)]
GROUNDERS = {
    "test_answers_for_everything_asked_in_order": [ReturnsATuple, LosesOne, SortsThem, RenamesThem],
    "test_places_are_inside_the_picture": [
        FindsNoPlace, ReachesOutside, TurnsBoxesOver, NaNScore, EmptyMasks, BooleanMasks, LoudMasks
    ],
    "test_same_question_gives_the_same_answer": [Wavers],
    "test_leaves_its_input_alone": [PaintsTheImage, ClearsTheMasks],
    "test_stops_when_told_or_answers_as_always": [StopsHalfWay],
    "test_reports_steps_upwards": [CountsItsStepsDown],
    "test_works_or_refuses_by_name_without_a_plan": [NeedsAPlan],
    "test_given_regions_are_taken_literally": [RefinesGiven],
    "test_thing_that_is_not_there_is_found_or_refused_by_name": [RaisesKeyError, RaisesAnotherError, DoesNotSayWhat],
    "test_asked_for_nothing": [NoSegments, SegmentsUnasked, EmptyMasks],
}  # fmt: skip


@pytest.mark.parametrize(("guard", "kind"), [(guard, kind) for guard, kinds in GROUNDERS.items() for kind in kinds])
def test_guards_catch_bad_grounders(guard: str, kind: type[FakeGrounder]) -> None:
    check = getattr(GrounderContract(), guard)
    wanted = check.__code__.co_varnames[2 : check.__code__.co_argcount]

    def fixtures() -> list[Any]:
        image, regions = sample_image(96, 64), [replace(region, mask=MASK.copy()) for region in QUESTION]
        known = {"image": image, "regions": regions, "job": ground_job(image, regions)}
        return [known[name] for name in wanted]

    check(make(FakeGrounder, boxes=BOXES), *fixtures())
    with pytest.raises(CAUGHT):
        check(make(kind, boxes=BOXES), *fixtures())


@pytest.mark.seeded
def test_contract_without_its_backend_says_what_to_override(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("from gas.testing import EditorContract\nclass TestMine(EditorContract): pass")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    assert result.ret == 1
    result.stdout.fnmatch_lines("*override the fixture `editor`*")
