"""What every backend must keep, as test classes to subclass. Override the fixture that gives your backend; run pytest.

    class TestTint(EditorContract):
        @pytest.fixture
        def editor(self):
            return Tint(Tint.options_type(), gas.Runtime())

The other fixtures (pictures, requests, jobs) have defaults that suit most backends; override those that do not suit
yours.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import ValidationError

from gas.errors import GasError, Interrupted, ObjectNotFound, UsageError
from gas.interfaces import (
    Backend,
    Edited,
    EditJob,
    Editor,
    Grounder,
    GroundJob,
    Options,
    Planner,
    Step,
    Verifier,
    VerifyJob,
    Watch,
)
from gas.masks import box_mask
from gas.preview import Preview
from gas.types import EditPlan, EditRequest, Finding, Region, Subtask, Suggestions

if TYPE_CHECKING:
    from gas.types import Image


class _BackendContract:
    """What planners, grounders, editors and verifiers have in common."""

    job_fixture = "job"
    """The name of the fixture with what the backend is given."""

    @pytest.fixture
    def backend(self) -> Backend:
        raise NotImplementedError

    @pytest.fixture
    def image(self) -> Image:
        """A picture of 96×64 pixels: a red box on green grass under a blue sky, with a little noise."""
        return sample_image(96, 64)

    def test_options_can_be_written_down_and_read_back(self, backend: Backend) -> None:
        options = backend.options
        assert isinstance(options, type(backend).options_type), "the options are not of the class's options_type"
        assert type(options).model_validate_json(options.model_dump_json()) == options

    def test_options_have_defaults_and_refuse_unknown_names(self, backend: Backend) -> None:
        options_type = type(backend).options_type
        options_type()
        with pytest.raises(ValidationError):
            options_type.model_validate({"no_such_option": 1})

    def test_options_cannot_be_changed(self, backend: Backend) -> None:
        assert type(backend).options_type.model_config.get("frozen"), "options must stay as they were recorded"

    def test_preview_tells_the_truth(self, backend: Backend, request: pytest.FixtureRequest) -> None:
        """What is sent to another machine is never said to stay here."""
        preview = backend.preview(request.getfixturevalue(self.job_fixture))
        assert isinstance(preview, Preview), "preview returns a gas.preview.Preview"
        assert preview.remote is backend.remote, "preview and the property `remote` must say the same"
        assert not preview.remote or preview.address or not preview.complete, "a remote preview says where to"

    def test_presets_fit_the_options(self, backend: Backend) -> None:
        options_type: type[Options] = type(backend).options_type
        for values in options_type.presets.values():
            options_type(**values)


class PlannerContract(_BackendContract):
    """Override `planner`, and `edit_request` if it cannot read "change the red box into a blue ball"."""

    job_fixture = "edit_request"

    @pytest.fixture
    def planner(self) -> Planner:
        pytest.fail("override the fixture `planner`")

    @pytest.fixture
    def backend(self, planner: Planner) -> Backend:
        return planner

    @pytest.fixture
    def edit_request(self, image: Image) -> EditRequest:
        return EditRequest(image, "change the red box into a blue ball")

    def test_returns_a_plan_that_survives_a_file(self, planner: Planner, edit_request: EditRequest) -> None:
        plan = planner.plan(edit_request)
        assert isinstance(plan, EditPlan)
        assert EditPlan.model_validate_json(plan.model_dump_json()) == plan

    def test_plan_says_where_it_came_from(self, planner: Planner, edit_request: EditRequest) -> None:
        assert planner.plan(edit_request).provenance.planner != "hand", "provenance.planner names the planner"

    def test_same_request_gives_the_same_plan(self, planner: Planner, edit_request: EditRequest) -> None:
        assert planner.plan(edit_request) == planner.plan(edit_request)

    def test_leaves_the_picture_alone(self, planner: Planner, edit_request: EditRequest) -> None:
        with _unchanged(edit_request.image):
            planner.plan(edit_request)

    @pytest.mark.parametrize("instruction", ["", "  ", "\x00\u202e", "🙂", "change", "x" * 100_000, "a -> b;" * 1000])
    def test_reads_or_refuses_by_name(self, planner: Planner, edit_request: EditRequest, instruction: str) -> None:
        with _only_gas_errors():
            planner.plan(replace(edit_request, instruction=instruction))

    def test_suggests_as_it_says(self, planner: Planner, image: Image) -> None:
        with _only_gas_errors() as raised:
            assert isinstance(planner.suggest(image), Suggestions)
            assert planner.suggests, "it has suggestions: say `suggests = True`"
        assert planner.suggests or isinstance(raised[0], UsageError), "without `suggests` it refuses to suggest"


class GrounderContract(_BackendContract):
    """Override `grounder`, and `regions` (with `image`) to ask for things that it finds there."""

    @pytest.fixture
    def grounder(self) -> Grounder:
        pytest.fail("override the fixture `grounder`")

    @pytest.fixture
    def backend(self, grounder: Grounder) -> Backend:
        return grounder

    @pytest.fixture
    def regions(self) -> list[Region]:
        """What is asked for: two things in `sample_image`. For a segmenter give boxes too."""
        return [Region("the red box", subtask=0), Region("the green grass", subtask=1)]

    @pytest.fixture
    def job(self, image: Image, regions: Sequence[Region]) -> GroundJob:
        return ground_job(image, regions)

    def test_answers_for_everything_asked_in_order(
        self, grounder: Grounder, job: GroundJob, regions: Sequence[Region]
    ) -> None:
        answer = grounder.ground(job)
        assert isinstance(answer, list)
        assert all(isinstance(region, Region) for region in answer)
        asked = [(region.phrase, region.subtask) for region in regions]
        answered = [(region.phrase, region.subtask) for region in answer]
        assert list(dict.fromkeys(answered)) == asked, "phrases and subtasks come back as asked, in the same order"

    def test_places_are_inside_the_picture(self, grounder: Grounder, job: GroundJob) -> None:
        for region in grounder.ground(job):
            assert region.box is not None or region.mask is not None, f"no place for {region.phrase!r}"
            _check_place(job.image, region)

    def test_same_question_gives_the_same_answer(self, grounder: Grounder, job: GroundJob) -> None:
        first, second = grounder.ground(job), grounder.ground(job)
        assert [_plain(region) for region in first] == [_plain(region) for region in second]

    def test_leaves_its_input_alone(self, grounder: Grounder, job: GroundJob) -> None:
        """The picture cannot be written into at all; masks can."""
        before = [_plain(region) for region in job.regions]
        with _unchanged(job.image):
            grounder.ground(job)
        assert [_plain(region) for region in job.regions] == before, "the regions that were given were changed"

    def test_stops_when_told_or_answers_as_always(self, grounder: Grounder, job: GroundJob) -> None:
        """One that is done in an instant need not ask; half an answer is none."""
        try:
            answer = grounder.ground(replace(job, watch=Watch(should_stop=lambda: True)))
        except Interrupted:
            return
        assert [_plain(region) for region in answer] == [_plain(region) for region in grounder.ground(job)]

    def test_reports_steps_upwards(self, grounder: Grounder, job: GroundJob) -> None:
        """A grounder that is done in one go reports none."""
        steps: list[Step] = []
        grounder.ground(replace(job, watch=Watch(on_step=steps.append)))
        indices = [step.index for step in steps]
        assert indices == sorted(set(indices)) and all(1 <= step.index <= step.total for step in steps)

    def test_works_or_refuses_by_name_without_a_plan(self, grounder: Grounder, job: GroundJob) -> None:
        with _only_gas_errors():
            grounder.ground(replace(job, plan=None))

    def test_who_reads_no_plan_answers_alike_whatever_it_says(self, grounder: Grounder, job: GroundJob) -> None:
        """What it found may then be reused for another plan (`Grounder.reads_plan`)."""
        if not grounder.reads_plan:
            with_one, without = grounder.ground(job), grounder.ground(replace(job, plan=None))
            assert [_plain(region) for region in with_one] == [_plain(region) for region in without]

    def test_given_regions_are_taken_literally(self, grounder: Grounder, image: Image) -> None:
        mask = np.zeros(image.shape[:2], np.float32)
        mask[2:9, 3:11] = 0.5
        drawn = Region("drawn by hand", box=(3.0, 2.0, 11.0, 9.0), mask=mask, subtask=0, given=True)
        assert [_plain(region) for region in grounder.ground(ground_job(image, [drawn]))] == [_plain(drawn)]

    def test_thing_that_is_not_there_is_found_or_refused_by_name(self, grounder: Grounder, image: Image) -> None:
        with _only_gas_errors() as raised:
            grounder.ground(ground_job(image, [Region("a purple submarine on the moon", subtask=0)]))
        for error in raised:
            assert isinstance(error, ObjectNotFound), f"{type(error).__name__} instead of ObjectNotFound"
            assert "purple submarine" in error.message, "the message must name the phrase"

    def test_asked_what_is_at_a_point(self, grounder: Grounder, image: Image) -> None:
        if not grounder.points:
            return
        x, y = image.shape[1] // 3, image.shape[0] // 3
        with _only_gas_errors() as raised:
            (region,) = grounder.ground(ground_job(image, [Region("it", subtask=0, point=(x, y))]))
            _check_place(image, region)
            place = region.mask
            if place is None:
                assert region.box is not None, "there is a place"
                place = box_mask(region.box, (image.shape[1], image.shape[0]))
            assert place[y, x] > 0, "the place holds the point"
        for error in raised:
            assert isinstance(error, ObjectNotFound), f"{type(error).__name__} instead of ObjectNotFound"

    def test_asked_for_nothing(self, grounder: Grounder, image: Image) -> None:
        answer = grounder.ground(GroundJob(image))
        if not grounder.segments:
            assert answer == []
            return
        assert answer, "a segmenter asked with no regions returns all segments"
        for region in answer:
            assert region.mask is not None, "a segment has a mask"
            _check_place(image, region)

    def test_candidates_are_places_with_scores_the_best_first(self, grounder: Grounder, job: GroundJob) -> None:
        answer = grounder.candidates(job)
        assert len(answer) == len(job.regions), "a list of places for each region that is asked for"
        for places in answer:
            if places is None:
                continue
            scores = [region.score or 0.0 for region in places]
            assert scores == sorted(scores, reverse=True), "the best place comes first"
            for region in places:
                _check_place(job.image, region)


@dataclass(frozen=True)
class WatchedRun:
    """A run of a job whose every report was listened to: what came of it, the steps, the preview of the first one that
    has any, the states of its checkpoints, the maps by name, and whether its picture and masks were left alone."""

    edited: Edited
    steps: Sequence[Step]
    previews: Sequence[Image]
    states: Sequence[Mapping[str, Any]]
    maps: Sequence[tuple[str, Any]]
    kept_its_input: bool


def watch_run(editor: Editor, job: EditJob) -> WatchedRun:
    """What comes of `job`."""
    steps: list[Step] = []
    previews: list[Image] = []
    states: list[dict[str, Any]] = []
    maps: list[tuple[str, Any]] = []

    def on_step(step: Step) -> None:
        steps.append(step)
        if step.preview and not previews:
            previews.append(step.preview())

    watch = Watch(
        on_step=on_step,
        checkpoint=lambda state: states.append(dict(state)),
        save_map=lambda name, array: maps.append((name, array)),
    )
    given = [job.image, *(region.mask for region in job.regions if region.mask is not None)]
    before = [array.tobytes() for array in given]
    edited = editor.edit(replace(job, watch=watch))
    kept = [array.tobytes() for array in given] == before
    return WatchedRun(edited, steps, previews, states, maps, kept)


_WATCHED = pytest.StashKey[dict[str, WatchedRun]]()


class EditorContract(_BackendContract):
    """Override `editor`, and `job` if it needs more than a picture, a plan of one subtask and its region."""

    @pytest.fixture
    def editor(self) -> Editor:
        pytest.fail("override the fixture `editor`")

    @pytest.fixture
    def backend(self, editor: Editor) -> Backend:
        return editor

    @pytest.fixture
    def image(self, editor: Editor) -> Image:
        """The picture of `sample_image`, wider than high, with sides that the editor can work on."""
        multiple = editor.multiple()
        return sample_image(-(-96 // multiple) * multiple, -(-64 // multiple) * multiple)

    @pytest.fixture
    def job(self, editor: Editor, image: Image) -> EditJob:
        return sample_job(editor, image)

    def test_working_size_is_sensible(self, editor: Editor) -> None:
        resolution, multiple = editor.resolution(), editor.multiple()
        if resolution is None:
            assert multiple == 1, "who works on native pixels takes every size"
            return
        assert isinstance(resolution, int) and isinstance(multiple, int)
        assert 0 < multiple <= resolution, "a square of that resolution must be a picture that it can work on"

    @pytest.fixture
    def watched(self, request: pytest.FixtureRequest, editor: Editor, job: EditJob) -> WatchedRun:
        """One run of `job`, which all tests of the class with the same parameters look at."""
        kept = request.node.getparent(pytest.Class).stash.setdefault(_WATCHED, {})
        parameters = getattr(request.node, "callspec", None)
        key = "" if parameters is None else parameters.id
        if key not in kept:
            kept[key] = watch_run(editor, job)
        return kept[key]

    def test_returns_a_picture_of_the_same_size(self, job: EditJob, watched: WatchedRun) -> None:
        edited = watched.edited
        assert isinstance(edited, Edited)
        _check_image(edited.image, job.image)
        if edited.mask is not None:
            _check_mask(job.image, edited.mask)
        if edited.unedited is not None:
            _check_image(edited.unedited, job.image)
        assert not edited.stopped, "nobody asked it to stop"
        json.dumps(dict(edited.log), allow_nan=False)

    def test_same_seed_gives_the_same_bytes(self, editor: Editor, job: EditJob, watched: WatchedRun) -> None:
        """Whatever it did before, and whether anybody watches or not."""
        editor.edit(replace(job, seed=job.seed + 1))
        again = editor.edit(job).image.tobytes()
        assert again == watched.edited.image.tobytes(), "the same job gave another picture"

    def test_leaves_its_input_alone(self, watched: WatchedRun) -> None:
        assert watched.kept_its_input, "an array that was given was written into"

    def test_reports_steps(self, watched: WatchedRun) -> None:
        steps = watched.steps
        assert steps, "no step was reported to watch.on_step"
        indices = [step.index for step in steps]
        assert indices == sorted(set(indices)) and indices[0] >= 1, f"steps are counted upwards from 1: {indices[:9]}"
        assert len({step.total for step in steps}) == 1 and indices[-1] <= steps[0].total
        for step in steps:
            assert all(math.isfinite(value) for value in step.values.values()), f"a value of step {step.index} is NaN"

    def test_previews_are_pictures(self, job: EditJob, watched: WatchedRun) -> None:
        for preview in watched.previews:
            _check_image(preview, job.image)

    def test_stops_when_told(self, editor: Editor, job: EditJob) -> None:
        steps: list[Step] = []
        edited = editor.edit(replace(job, watch=Watch(on_step=steps.append, should_stop=lambda: True)))
        assert edited.stopped, "stopped must say that the run was interrupted"
        assert not steps, "should_stop is asked before every step, also the first"
        _check_image(edited.image, job.image)

    def test_stops_on_the_way(self, editor: Editor, job: EditJob) -> None:
        steps: list[Step] = []
        watch = Watch(on_step=steps.append, should_stop=lambda: len(steps) >= 1)
        edited = editor.edit(replace(job, watch=watch))
        if steps[0].total > 1:
            assert edited.stopped and len(steps) == 1, f"{len(steps)} steps were made after it was told to stop at 1"

    def test_resumed_run_gives_the_same_bytes(self, editor: Editor, job: EditJob, watched: WatchedRun) -> None:
        states, whole = list(watched.states), watched.edited.image.tobytes()
        asked = iter((False, True))
        interrupted = Watch(checkpoint=lambda state: states.append(dict(state)), should_stop=lambda: next(asked, True))
        editor.edit(replace(job, watch=interrupted))
        for state in (*states[:1], *states[1:][-1:]):
            resumed = editor.edit(replace(job, watch=Watch(resume=state)))
            assert resumed.image.tobytes() == whole, "going on from a checkpoint gave another picture"

    def test_several_jobs_at_once_give_what_each_gives_alone(self, editor: Editor, job: EditJob) -> None:
        """In one batch numbers are rounded in another order, so that a few levels may differ."""
        if type(editor).edit_together is Editor.edit_together:
            return
        jobs = [job, replace(job, image=np.ascontiguousarray(job.image[:, ::-1]), seed=job.seed + 1)]
        together = editor.edit_together(jobs)
        assert isinstance(together, list) and len(together) == 2, "one result for each job, in their order"
        for one, alone in zip(together, map(editor.edit, jobs), strict=True):
            _check_image(one.image, job.image)
            if editor.batches:
                assert np.abs(one.image.astype(np.float32) - alone.image).mean() <= 1
            else:
                assert one.image.tobytes() == alone.image.tobytes()

    def test_coding_alone_gives_a_picture_of_the_same_size(self, editor: Editor, job: EditJob) -> None:
        with _unchanged(job.image):
            coded = editor.coded(job.image)
        if coded is not None:
            _check_image(coded, job.image)

    def test_maps_have_the_pictures_form(self, watched: WatchedRun) -> None:
        for name, array in watched.maps:
            assert isinstance(name, str) and name
            assert array.ndim == 2 and array.dtype == np.float32 and np.isfinite(array).all()

    def test_works_or_refuses_by_name_without_regions(self, editor: Editor, job: EditJob) -> None:
        with _only_gas_errors():
            _check_image(editor.edit(replace(job, regions=())).image, job.image)

    def test_grounded_run_confines_what_is_asked_to_the_regions(self, editor: Editor, job: EditJob) -> None:
        """What an editor gives back may differ a little everywhere, since a decoder sees beyond its cell, but most of
        what the target decides is inside. The pipeline keeps the rest of the photograph as it was."""
        if not editor.confines:
            return
        job = replace(job, grounded=True)
        first = editor.edit(job)
        _check_image(first.image, job.image)
        json.dumps(dict(first.log), allow_nan=False)
        target = "a green cat with a hat"
        subtask = job.plan.subtasks[0].model_copy(update={"target": target})
        plan = job.plan.model_copy(update={"subtasks": (subtask, *job.plan.subtasks[1:]), "target_prompt": target})
        other = editor.edit(replace(job, plan=plan))
        change = np.abs(first.image.astype(np.float32) - other.image).mean(axis=2)
        inside = np.max([region.mask for region in job.regions if region.mask is not None], axis=0) > 0
        if inside.all():
            return
        assert change[~inside].mean() <= change[inside].mean() * 0.75, (
            f"another target changed the picture by {change[~inside].mean():.2f} of 255 outside the regions, by "
            f"{change[inside].mean():.2f} inside"
        )

    def test_grounded_run_refuses_a_subtask_without_a_region(self, editor: Editor, job: EditJob) -> None:
        if not editor.confines:
            return
        with _only_gas_errors() as raised:
            editor.edit(replace(job, grounded=True, regions=()))
        assert raised, "it confines subtasks to their regions, and made an edit of one that has none"


class VerifierContract(_BackendContract):
    """Override `verifier`, and `job` if it needs more than a picture whose red box became a blue one.

    What it says is its own affair; that it says it of every subtask, repeatably, and never of nothing, is not.
    """

    @pytest.fixture
    def verifier(self) -> Verifier:
        pytest.fail("override the fixture `verifier`")

    @pytest.fixture
    def backend(self, verifier: Verifier) -> Backend:
        return verifier

    @pytest.fixture
    def job(self, image: Image) -> VerifyJob:
        return verify_job(image, (30, 60, 210))

    def test_answers_for_every_subtask_in_order(self, verifier: Verifier, job: VerifyJob) -> None:
        answer = verifier.verify(job)
        assert isinstance(answer, list)
        assert all(isinstance(finding, Finding) for finding in answer)
        assert [finding.subtask for finding in answer] == list(job.subtasks)

    def test_answers_for_those_that_are_asked_for_alone(self, verifier: Verifier, job: VerifyJob) -> None:
        last = job.subtasks[-1:]
        assert [finding.subtask for finding in verifier.verify(replace(job, subtasks=last))] == list(last)

    def test_says_how_it_knows(self, verifier: Verifier, job: VerifyJob) -> None:
        for finding in verifier.verify(job):
            assert finding.evidence, f"{finding.verdict!r} without any evidence"
            assert Finding.model_validate_json(finding.model_dump_json()) == finding

    def test_same_question_gives_the_same_answer(self, verifier: Verifier, job: VerifyJob) -> None:
        assert verifier.verify(job) == verifier.verify(job)

    def test_leaves_its_input_alone(self, verifier: Verifier, job: VerifyJob) -> None:
        with _unchanged(job.before, job.after, *(mask for one in job.subtasks for mask in job.masks(one))):
            verifier.verify(job)

    def test_subtask_without_a_region_is_answered_or_cannot_be_told(self, verifier: Verifier, job: VerifyJob) -> None:
        answer = verifier.verify(replace(job, regions=()))
        assert [finding.subtask for finding in answer] == list(job.subtasks)

    def test_unchanged_picture_is_not_done(self, verifier: Verifier, job: VerifyJob) -> None:
        """Whoever cannot tell may say so; nobody may say that it is done."""
        for finding in verifier.verify(replace(job, after=job.before)):
            assert finding.verdict != "done", "the picture is as it was, and the verifier says that the edit is done"

    def test_noise_is_not_done(self, verifier: Verifier, job: VerifyJob) -> None:
        noise = np.random.default_rng(7).integers(0, 256, job.before.shape, dtype=np.uint8)
        inside = np.max([mask for one in job.subtasks for mask in job.masks(one)], axis=0) > 0
        after = np.where(inside[..., None], noise, job.before)
        for finding in verifier.verify(replace(job, after=after)):
            assert finding.verdict != "done", "the region is random noise, and the verifier says that the edit is done"


def verify_job(image: Image, colour: tuple[int, int, int]) -> VerifyJob:
    """The question whether the red box of `sample_image` became a blue one, where it was painted in `colour`."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.float32)
    mask[height // 4 : 3 * height // 4, width // 3 : 2 * width // 3] = 1
    grain = np.random.default_rng(1).normal(0, 4, image.shape)
    paint = np.clip(np.asarray(colour) + grain, 0, 255).astype(np.uint8)
    after = np.where(mask[..., None] > 0, paint, image)
    x0, y0 = float(width // 3), float(height // 4)
    region = Region("the red box", box=(x0, y0, float(2 * width // 3), float(3 * height // 4)), mask=mask, subtask=0)
    plan = EditPlan(subtasks=(Subtask(source="a red box", target="a blue box", attribute="colour"),))
    return VerifyJob(image, after, plan, (region,), (0,))


def sample_image(width: int, height: int) -> Image:
    """A picture `(height, width, 3)` uint8: a red box on green grass under a blue sky, with a little noise."""
    image = np.empty((height, width, 3), np.float32)
    image[: height // 2] = (90, 150, 230)
    image[height // 2 :] = (60, 160, 50)
    image[height // 4 : 3 * height // 4, width // 3 : 2 * width // 3] = (200, 40, 30)
    noise = np.random.default_rng(0).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def ground_job(image: Image, regions: Sequence[Region]) -> GroundJob:
    """The question for `regions` in `image`, with a plan that changes each of them into something else."""
    subtasks = tuple(Subtask(source=region.phrase, target=f"another {region.phrase}") for region in regions)
    return GroundJob(image, regions, EditPlan(subtasks=subtasks))


def sample_job(editor: Editor, image: Image) -> EditJob:
    """A job for `editor`: one subtask, whose region is the middle of `image`."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = width // 4, height // 4, 3 * width // 4, 3 * height // 4
    mask = np.zeros((height, width), np.float32)
    mask[y0:y1, x0:x1] = 1
    region = Region("the red box", box=(float(x0), float(y0), float(x1), float(y1)), mask=mask, subtask=0)
    plan = EditPlan(
        subtasks=(Subtask(source="the red box", target="a blue ball"),),
        source_prompt="a red box on green grass",
        target_prompt="a blue ball on green grass",
    )
    return EditJob(image, plan, (region,), seed=1, options=editor.options)


@contextmanager
def _unchanged(*arrays: np.ndarray) -> Iterator[None]:
    before = [array.tobytes() for array in arrays]
    yield
    assert [array.tobytes() for array in arrays] == before, "an array that was given was written into"


@contextmanager
def _only_gas_errors() -> Iterator[list[GasError]]:
    """Whatever is raised inside must be a GasError with a message and an exit code of its own; they are collected."""
    raised: list[GasError] = []
    try:
        yield raised
    except GasError as error:
        assert error.message and "\n" not in error.message, "an error says in one line what is wrong"
        assert error.exit_code > 1, "exit code 1 is for bugs: raise one of the children of GasError"
        raised.append(error)


def _check_image(image: Any, like: Image) -> None:
    assert isinstance(image, np.ndarray), f"{type(image).__name__} instead of a numpy array"
    assert image.dtype == np.uint8, f"{image.dtype} instead of uint8"
    assert image.shape == like.shape, f"{image.shape} instead of {like.shape}"


def _check_mask(image: Image, mask: Any) -> None:
    assert isinstance(mask, np.ndarray) and mask.dtype == np.float32, "a mask is float32"
    assert mask.shape == image.shape[:2], f"the mask is {mask.shape}, the picture {image.shape[:2]}"
    assert np.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1, "mask values are finite, 0 to 1"
    assert mask.any(), "the mask is empty"


def _check_place(image: Image, region: Region) -> None:
    height, width = image.shape[:2]
    if region.box is not None:
        x0, y0, x1, y1 = region.box
        assert all(isinstance(v, float) and math.isfinite(v) for v in region.box), (
            f"box {region.box} is not four floats"
        )
        assert 0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height, f"box {region.box} is not inside {width}×{height}"
    if region.mask is not None:
        _check_mask(image, region.mask)
    if region.score is not None:
        assert isinstance(region.score, float) and math.isfinite(region.score), f"score {region.score!r}"


def _plain(region: Region) -> tuple[Any, ...]:
    mask = None if region.mask is None else (region.mask.shape, region.mask.tobytes())
    return region.phrase, region.box, mask, region.score, region.subtask, region.given
