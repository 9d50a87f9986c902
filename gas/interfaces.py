"""What a backend is: a class with a model of its options and one method; and what it is given and gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from gas.errors import InputRefused, Interrupted, ModelUnavailable, ObjectNotFound, UsageError
from gas.preview import Preview
from gas.types import EditPlan, EditRequest, Finding, Region, Suggestions

if TYPE_CHECKING:
    from gas.errors import GasError
    from gas.runtime import Runtime
    from gas.types import Image, Mask


class Options(BaseModel):
    """Settings of one backend: validated, frozen, unknown names refused. Subclass it and declare fields with defaults.

    `presets` names sets of values (`preset="fast"`); single options are set on top of a preset.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def named_models(self) -> dict[str, str]:
        """The models that the options name, by option: `model`, and every option whose name ends in `_model`."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: value
            for name, value in values.items()
            if (name == "model" or name.endswith("_model")) and isinstance(value, str)
        }


# --- what backends are given and give back ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """Progress of a long run. `preview()` decodes the present state to an image; call it only when it is shown."""

    index: int
    total: int
    values: Mapping[str, float] = field(default_factory=dict)
    preview: Callable[[], Image] | None = None


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Watch:
    """What a run reports to and listens to. All of it may be left out.

    * `on_step(step)` is called after every step;
    * `should_stop()` is asked before every step: True ends the run, which then returns its latest state;
    * `checkpoint(state)` is given, at least every 25 steps, all that is needed to resume bit for bit: a flat mapping of
      names to tensors, numpy arrays and plain JSON values;
    * `resume` is such a state to resume from;
    * `save_map(name, array)` takes `(H, W)` float32 pictures of what the editor sees inside;
    * `on_picture(image)` is told the picture that the editor will work on, `(H, W, 3)` uint8, before its first step.
    """

    on_step: Callable[[Step], None] | None = None
    should_stop: Callable[[], bool] = _never
    checkpoint: Callable[[Mapping[str, Any]], None] | None = None
    resume: Mapping[str, Any] | None = None
    save_map: Callable[[str, Mask], None] | None = None
    on_picture: Callable[[Image], None] | None = None

    def check_stop(self) -> None:
        """Raises Interrupted (exit 130) when the run is to end: for work that has no state of its own to return."""
        if self.should_stop():
            raise Interrupted("stopped before there was a result")


def read_only(image: Image) -> Image:
    """The picture as a view that cannot be written into."""
    seen = image.view()
    seen.flags.writeable = False
    return seen


@dataclass(frozen=True)
class GroundJob:
    """All that a grounder gets.

    * `image`: `(H, W, 3)` uint8 upright RGB, the whole picture; it cannot be written into;
    * `regions`: what is looked for, with what is known of it already; boxes and masks are in pixels of `image`. None
      at all asks a segmenter for all segments of the picture;
    * `plan`: the whole plan, also the subtasks whose places are known (None: nobody has planned, as when a program asks
      for places by name);
    * `watch`: progress, and whether to stop: `watch.check_stop()` between the parts of long work.
    """

    image: Image
    regions: Sequence[Region] = ()
    plan: EditPlan | None = None
    watch: Watch = Watch()

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", read_only(self.image))
        object.__setattr__(self, "regions", tuple(self.regions))


@dataclass(frozen=True)
class EditJob:
    """All that an editor gets. `image` and the regions' masks and boxes are at the working resolution.

    Every region has a mask that is finite and not empty. `options` is an instance of the editor's own Options class.
    `segmenter` is the user's chosen segmenter, for editors that want segments of a picture of their own making.
    `grounded` says that the editor is to confine each subtask to its region itself; it is set only for editors that
    say that they can (`Editor.confines`), and every subtask then has a region. `intermediate` says that the image is
    one that a turn before has edited: an editor that refuses pictures of another kind than its own must take it.
    """

    image: Image
    plan: EditPlan
    regions: tuple[Region, ...]
    seed: int
    options: Options
    segmenter: Grounder | None = None
    watch: Watch = Watch()
    grounded: bool = False
    intermediate: bool = False


@dataclass(frozen=True)
class Edited:
    """What an editor returns: the raw edited image, same size as the job's, before anything is pasted back.

    `mask` is where the edit is to be pasted (None: the union of the job's regions, or everywhere when there are none).
    `unedited` is what the editor would return had it changed nothing, where that is not the job's image itself: what
    comes back from its model's latent. It shows whether anything was edited; an edit of nothing is refused.
    `places` are the regions that the editor has chosen itself, with masks at the size of the job's image, each with the
    index of its subtask: they are shown to the user and recorded.
    `stopped` says that the run was interrupted before its end. `log` holds plain JSON values: what was measured.
    """

    image: Image
    mask: Mask | None = None
    stopped: bool = False
    log: Mapping[str, Any] = field(default_factory=dict)
    unedited: Image | None = None
    places: Sequence[Region] = ()


def _nowhere(image: Image, phrases: Sequence[str]) -> list[list[Region] | None] | None:
    return None


@dataclass(frozen=True)
class VerifyJob:
    """All that a verifier gets.

    * `before`, `after`: `(H, W, 3)` uint8 upright RGB, the photograph and what became of it; neither can be written
      into;
    * `plan`: what was asked for; `regions`: where, in pixels of both (a subtask may have none, or several). Where
      a subtask is about all but a thing, its region is what was to change;
    * `subtasks`: the indices of those that are to be verified;
    * `look(image, phrases)`: every place that the user's own detector takes for each of the phrases, with scores, the
      best first (`Grounder.candidates`); None for a phrase that it cannot look for, None where none is chosen;
    * `watch`: whether to stop.
    """

    before: Image
    after: Image
    plan: EditPlan
    regions: tuple[Region, ...]
    subtasks: tuple[int, ...]
    look: Callable[[Image, Sequence[str]], list[list[Region] | None] | None] = _nowhere
    watch: Watch = Watch()

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            object.__setattr__(self, name, read_only(getattr(self, name)))

    def masks(self, subtask: int) -> list[Mask]:
        """The masks `(H, W)` of a subtask's regions."""
        return [one.mask for one in self.regions if one.subtask == subtask and one.mask is not None]


# --- backends ---------------------------------------------------------------------------------------------------------

OptionsT = TypeVar("OptionsT", bound=Options)
JobT = TypeVar("JobT", contravariant=True)


class Backend(ABC, Generic[OptionsT, JobT]):
    """Base of every backend: built once with its options and the shared runtime, then called with a job.

    `Editor[TintOptions]` says to a type checker what `self.options` is; a plain `Editor` leaves it open.
    """

    options_type: ClassVar[type[Options]] = Options

    reusable: ClassVar[bool] = True
    """Whether an answer may be kept and given again to the same question with the same options, model and seed, without
    asking (docs/cache.md). False where it depends on anything else. Planners say True where they want it; verifiers
    are always asked; of grounders and editors that are `remote` nothing is kept."""

    def __init__(self, options: OptionsT, runtime: Runtime) -> None:
        self.options = options
        self.runtime = runtime

    @property
    def remote(self) -> bool:
        """Whether it sends the request or the picture to another machine; then it is used only if the user named it."""
        return False

    def preview(self, job: JobT) -> Preview:
        """What would leave this machine if the backend were called with `job`. Nothing is sent.

        Write one for whatever sends something, to a service on this machine too. Without it a backend that is not
        `remote` says that nothing is sent, and one that is says that it cannot show what.
        """
        return Preview(remote=self.remote, complete=not self.remote)


class Planner(Backend[OptionsT, EditRequest]):
    """Splits a request into subtasks."""

    reusable: ClassVar[bool] = False

    suggests: ClassVar[bool] = False
    """Whether it can look at a picture and say what to change in it (`suggest`)."""

    @abstractmethod
    def plan(self, request: EditRequest) -> EditPlan:
        """The plan for `request`. Raises PlanUnreadable (exit 4) or ServiceUnavailable (exit 8)."""

    def suggest(self, image: Image, caption: str | None = None, avoid: Sequence[str] = ()) -> Suggestions:
        """Changes that suit `image`, `(H, W, 3)` uint8 upright RGB; `avoid` are requests to leave out.

        UsageError (2) by a planner that sees no pictures; PlanUnreadable (4) when the model's replies were of no use;
        ServiceUnavailable (8) when there was none.
        """
        raise UsageError(
            f"{type(self).__name__} sees no pictures, so it has nothing to suggest", "name a planner that sees"
        )


class Grounder(Backend[OptionsT, GroundJob]):
    """Finds things, or refines what another grounder found. Grounders chain as a list."""

    segments: ClassVar[bool] = False
    """Whether it can turn a box into a mask, and all of a picture into segments when asked with no regions."""

    points: ClassVar[bool] = False
    """Whether it outlines what is at a region's `point` where the region has neither box nor mask."""

    detects: ClassVar[bool] = True
    """Whether it looks for phrases; False for one that only refines what others have found."""

    reads_plan: ClassVar[bool] = True
    """Whether its answer depends on the job's plan; False for one that looks at the regions alone, whose answer is
    reused when only what a thing is to become was changed."""

    @abstractmethod
    def ground(self, job: GroundJob) -> list[Region]:
        """The job's regions, in the order asked, with more of box, mask and score filled in.

        A region with `given=True` is returned as it is; one that asks for several things (`Region.count`) comes back
        once for each that is found. Raises ObjectNotFound (exit 5), naming the phrase, the best score and the
        threshold; Interrupted (exit 130) when the job's watch says so. A segmenter asked with no regions returns all
        segments of the picture.
        """

    def candidates(self, job: GroundJob) -> list[list[Region] | None]:
        """For each of the job's regions every place that could be its phrase, with a score, the best first; empty where
        nothing could be, None for a phrase that it cannot look for. For a verifier, which asks how much a place looks
        like a phrase, and not where a thing is.

        A detector returns faint ones too. Without one of its own, what `ground` finds; its error where it can look for
        none of the phrases.
        """
        found: list[list[Region] | None] = []
        for region in job.regions:
            asked = replace(region, box=None, mask=None, given=False, count="all")
            try:
                places = self.ground(replace(job, regions=(asked,)))
                found.append(sorted(places, key=lambda place: -(place.score or 0.0)))
            except ObjectNotFound:
                found.append([])
            except (UsageError, InputRefused, ModelUnavailable):
                if len(found) == len(job.regions) - 1 and all(one is None for one in found):
                    raise
                found.append(None)
        return found


class Editor(Backend[OptionsT, EditJob]):
    """Changes a picture."""

    needs_regions: ClassVar[bool] = False
    """Whether every subtask must come with a region; the pipeline then asks the grounders, or refuses."""

    edits_pictures: ClassVar[bool] = True
    """Whether it carries out a subtask about the whole picture (`Subtask.where`); False for one that edits things."""

    finds_regions: ClassVar[bool] = False
    """Whether it finds its places itself: grounders are then not asked for them, and only the regions that the user
    drew and a segmenter are handed to it."""

    confines: ClassVar[bool] = False
    """Whether `edit` confines each subtask to its region itself when `job.grounded` is set. For an editor that does not
    a grounded run goes subtask by subtask and is composited in turn (`gas.run.turns`)."""

    batches: ClassVar[bool] = False
    """Whether `edit_together` makes several edits in one batch, which takes less time than one after the other."""

    draws: ClassVar[bool] = False
    """Whether its option `model` names a text-to-image model: a `Refiner` without a model of its own uses that."""

    find_editor: Callable[[str], Editor] | None = None
    """Gives another registered editor by its name, with the options that the session settles for it: for an editor with
    `helpers`. The session sets it; None outside one."""

    edit_or_reuse: Callable[[EditJob], Edited] | None = None
    """Does what `edit` does, or gives what is kept of it. The session sets it; None: nothing is kept."""

    @property
    def helpers(self) -> tuple[str, ...]:
        """The names of the registered editors that it hands subtasks to; their options are in the record too."""
        return ()

    reshapes: ClassVar[bool] = True
    """Whether what it makes of a thing may have another shape: a found thing then gets room around it."""

    def resolution(self) -> int | None:
        """Side in pixels of the square whose area the working image should have (512 for Stable Diffusion 1.x).

        None: it works on the photograph's own pixels, whatever their number.
        """
        return 512

    def multiple(self) -> int:
        """Number that the working image's sides must be divisible by; 1 where `resolution` is None."""
        return 8

    def check_plan(self, plan: EditPlan) -> None:
        """Raises an error for a plan that the editor cannot carry out, whatever the picture.

        The pipeline asks before it looks for anything. ModelUnavailable (exit 6) says what could.
        """

    def check(self, image: Image) -> None:
        """Raises InputRefused (exit 3) for a picture that the editor would refuse whatever was asked of it.

        `image` is the whole picture at native size. The pipeline asks when something was not found, since "there is no
        dog" would be the wrong answer for a picture of which a small model knows nothing.
        """

    def coded(self, image: Image) -> Image | None:
        """What the editor's model makes of `image`, at its working size, without an edit: encoded and decoded again.
        None for an editor whose output does not come from a latent."""
        return None

    @abstractmethod
    def edit(self, job: EditJob) -> Edited:
        """The edited image, at the size of `job.image`, with what was measured on the way."""

    def edit_together(self, jobs: Sequence[EditJob]) -> list[Edited]:
        """The results of `jobs`, in their order: of pictures of one size in one batch by an editor that `batches`, else
        one after the other."""
        return [self.edit(job) for job in jobs]


@dataclass(frozen=True)
class Effort:
    """What a refiner is going to do: the tiles of each subtask in the order of the plan, the steps that it will report,
    the rows that its network is given, and the seconds that this takes about (None: not measured)."""

    tiles: tuple[int, ...]
    steps: int
    rows: int
    seconds: float | None = None


class Refiner(Editor[OptionsT]):
    """Draws finer what another editor has made: the setting `detail` names it, and never the setting `editor`.

    Its job's image is the photograph at its own size with the edit in it, the job's plan has the subtasks that are to
    be drawn finer, each with its regions. What it returns counts inside these regions alone, and of that the detail
    alone (`gas.picture.detail`). `check_plan` is asked before anything is edited.
    """

    needs_regions = True

    def resolution(self) -> int | None:
        """None: it works on the photograph's own pixels."""
        return None

    def multiple(self) -> int:
        return 1

    @abstractmethod
    def effort(self, job: EditJob, *, timed: bool = False) -> Effort:
        """What `edit` is going to do for `job`; with `timed` a step of it is made to measure how long that takes."""


class Verifier(Backend[OptionsT, VerifyJob]):
    """Says of each subtask of an edit whether the picture shows it now, and how that is known."""

    find_verifier: Callable[[str], Verifier] | None = None
    """Gives another registered verifier by its name, for one with `helpers`. The session sets it; None outside one."""

    @property
    def helpers(self) -> tuple[str, ...]:
        """The names of the registered verifiers that it asks."""
        return ()

    def lacks(self, plan: EditPlan) -> Sequence[GasError]:
        """What it would need to verify an edit by `plan` and does not have, each with its remedy, as far as that is
        known without loading or asking anything. It is told before the edit; nothing ends for it."""
        return ()

    @abstractmethod
    def verify(self, job: VerifyJob) -> list[Finding]:
        """A finding for each of the job's subtasks, in their order.

        What cannot be known is "cannot tell", with the reason as evidence; it is never guessed. ModelUnavailable (6)
        where its model is missing, ServiceUnavailable (8) where nobody answers; Interrupted (130) when the watch says
        so.
        """
