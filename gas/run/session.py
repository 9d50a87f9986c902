"""plan → ground → edit → compose: every stage takes plain values, so each can be skipped by giving its result."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gas.backends.roles import EDITORS, GROUNDERS, PLANNERS, VERIFIERS
from gas.errors import GasError, UsageError
from gas.interfaces import Backend, GroundJob, Refiner, VerifyJob, Watch, read_only
from gas.process import loading_stops_when
from gas.remedies import Remedy, Setting
from gas.run import answers, grounding
from gas.runtime import Runtime
from gas.settings.settings import OFF
from gas.types import EditPlan, EditRequest, Finding, Region

if TYPE_CHECKING:
    from gas.backends.options import Layer, Settled
    from gas.backends.registry import Registry
    from gas.backends.roles import Role
    from gas.interfaces import Editor, Grounder, Planner, Verifier
    from gas.placement import Rung
    from gas.run.result import EditResult
    from gas.run.reuse.stages import Stages
    from gas.settings.settings import Settings
    from gas.types import Image, Suggestions, WorkMode

_OF_A_MODEL = ("model", "variant", "lora", "parts_model", "quantise", "allow_pickle")
"""Options that say which model it is, and what is made of it: who borrows a model borrows all of it."""


def new_seed() -> int:
    """A fresh seed in [0, 2³¹)."""
    return secrets.randbelow(2**31)


class Session:
    """A chosen planner, grounders and editor with their options, ready for any number of pictures.

    Backends are created, and models loaded, when first used; both are kept.
    """

    def __init__(self, settings: Settings, registry: Registry, *, runtime: Runtime | None = None) -> None:
        self.settings = settings
        self.registry = registry
        self.runtime = runtime or Runtime(settings.device, settings.dtype, settings.offline, settings.memory)
        self._backends: dict[tuple[str, str], Any] = {}
        self.stages = _stages(self) if settings.cache else None

    @classmethod
    def of(
        cls,
        *,
        registry: Registry | None = None,
        image: Image | None = None,
        row: Mapping[str, Any] | None = None,
        **flags: Any,
    ) -> Session:
        """A session for a Python program: `Session.of(profile="sd15", editor="dds", options={"dds": {"steps": 300}})`.

        `flags` are the names of `gas.settings.settings.Values`. Neither environment nor settings files are read. Where
        no profile is named, `image` has a say in which one is the default (`gas.settings.catalogue.default_profile`).
        `row` as for `Settings.of`.
        """
        from gas.backends.registry import Registry
        from gas.settings.catalogue import default_profile
        from gas.settings.settings import Settings

        registry = registry or Registry.discover()
        settings = Settings.of(
            flags,
            find_profile=registry.profile,
            default_profile=lambda model: default_profile(registry, image, model),
            row=row,
        )
        return cls(settings, registry)

    @classmethod
    def load(
        cls,
        flags: Mapping[str, Any],
        *,
        registry: Registry,
        image: Image | None = None,
        recorded: Mapping[str, Any] | None = None,
        written: Callable[[str], str] = str,
        row: Mapping[str, Any] | None = None,
        runtime: Runtime | None = None,
    ) -> Session:
        """A session for a program that a person runs: `flags` over the environment and the settings files.

        `flags` are as for `of`; `written` says how the user wrote the setting of a name, for records and errors. With
        `recorded` flags, of a run that is to be made again, these stand in for environment and files. Where nobody has
        chosen a profile the picture `image` has a say. `row` is what a manifest's row says (`Settings.load`).
        """
        from gas.settings.catalogue import default_profile
        from gas.settings.settings import Settings

        def default(model: str | None) -> tuple[str, str]:
            return default_profile(registry, image, model)

        if recorded is not None:
            settings = Settings.of(flags, find_profile=registry.profile, default_profile=default, recorded=recorded)
        else:
            settings = Settings.load(
                flags, find_profile=registry.profile, default_profile=default, written=written, row=row
            )
        return cls(settings, registry, runtime=runtime)

    def with_editor(self, name: str) -> Session:
        """The same session with the editor `name`, for another try at a subtask (`Settings.with_editor`); its planner,
        grounders and models are shared."""
        made = Session(self.settings.with_editor(name), self.registry, runtime=self.runtime)
        made._backends |= {key: one for key, one in self._backends.items() if key[0] != EDITORS.plural}
        return made

    def check(self, *roles: Role) -> None:
        """Refuses, before anything is asked of them, chosen backends of these `roles` that cannot be used.

        UsageError (exit 2): an unknown name or option, a device that is not there; ModelUnavailable (exit 6): a package
        that is missing, a model for which no profile is. No backend is created and no model loaded.
        """
        for role in roles:
            for name in role.names(self.settings):
                self.settled(role.plural, name)
        if EDITORS in roles and self.settings.detail != OFF:
            self._refuse_no_refiner(self.settings.detail)
        if self.settings.device not in {"auto", "cpu"}:
            self.runtime.torch_device()

    def plan(self, request: EditRequest) -> EditPlan:
        """The plan that the session's planner makes of `request`, whose picture it may look at and not write into.
        Errors as `use`, and those of planning."""
        planner = self.planner()
        request = replace(request, image=read_only(request.image))
        ask = partial(planner.plan, request)
        with self.registry.calling(PLANNERS.plural, self.settings.planner):
            answer = ask() if self.stages is None else self.stages.plan(request, planner, ask)
        return answers.plan(answer, self.fault(PLANNERS, self.settings.planner))

    def suggest(self, image: Image, caption: str | None = None, avoid: Sequence[str] = ()) -> Suggestions:
        """Changes that suit `image`, from the session's planner; `avoid` are requests to leave out.

        UsageError (2), naming the planners that can, when this one sees no pictures. Other errors as `use`, and those
        of `Planner.suggest`.
        """
        planner, name = self.planner(), self.settings.planner
        if not planner.suggests:
            others = {f"other{i}": Setting(PLANNERS.name, one) for i, one in enumerate(self._that_suggest())}
            raise UsageError(
                f"planner {name!r} sees no pictures, so it has nothing to suggest",
                Remedy("name_planner", f"name one that does: {', '.join(f'{{{gap}}}' for gap in others)}", **others),
            )
        with self.registry.calling(PLANNERS.plural, name):
            answer = planner.suggest(read_only(image), caption, avoid)
        return answers.suggestions(answer, self.fault(PLANNERS, name))

    def planner(self) -> Planner:
        """The session's planner, if it may be asked; errors as `use`."""
        planner: Planner = self.use(PLANNERS, self.settings.planner)
        return planner

    def use(self, role: Role, name: str) -> Any:
        """The backend `name` of `role`, to be called with a picture.

        UsageError (2) for one that sends pictures to another machine unless the user named it, by a flag, a variable or
        the own settings: neither a profile, nor a folder's settings, nor a record may choose that.
        """
        backend: Backend = self.backend(role.plural, name)
        with self.registry.calling(role.plural, name):
            remote = backend.remote
        if remote and name in role.names(self.settings) and not self.settings.said_by_user(role.setting):
            stays = self.first(role, lambda kind: kind.remote is Backend.remote)
            here = {"here": Setting(role.name, stays)} if stays else {}
            raise UsageError(
                f"{role.name} {name!r} sends the picture to another machine, and it was chosen by "
                f"{self.settings.origin(role.setting)}, not by you",
                Remedy(
                    "allow_remote",
                    "name it to allow that: {backend}" + ("; or stay here: {here}" if here else ""),
                    backend=Setting(role.setting, role.names(self.settings) if role.several else name),
                    **here,
                ),
            )
        return backend

    def ground(
        self,
        image: Image,
        plan: EditPlan,
        given: Sequence[Region] = (),
        *,
        required: bool | None = None,
        watch: Watch = Watch(),
    ) -> tuple[Region, ...]:
        """A region with a mask, in pixels of `image`, for every subtask: given ones as they are, the others found.
        A given point is outlined first (`gas.run.points`).

        A region that the grounders return without a mask gets its box as one. Where the plan does not keep the shape a
        found thing gets room (`gas.masks.with_room`; setting `grow`, 0 for none), and where the editor never changes a
        shape a narrow margin. A subtask that means several things (`Subtask.count`) has a region for each that is found
        (`gas.regions.asked.doubts` says where they are fewer), one about the whole picture none. Errors as the editor's
        `check_plan`, unless `required` is said. Where regions are not `required`
        (default: what the editor needs, and all where the run is grounded) and no grounder is chosen that detects, only
        given ones come back; else UsageError (exit 2) says how to give them. Only given ones, too, for an editor that
        finds its places itself, unless `required` is said or the run is grounded; it would find a place for a thing
        that is not there as well, so the chosen grounders that detect are asked whether it is: ObjectNotFound (exit 5).

        Each grounder reports to `watch`; Interrupted (exit 130) when that asks to stop.
        """
        return grounding.ground(self, image, plan, given, required=required, watch=watch)

    def ask_grounder(self, name: str, job: GroundJob) -> Any:
        """What the grounder `name` answers, which is still to be looked at. Errors as `use`, and the grounder's."""
        grounder: Grounder = self.use(GROUNDERS, name)
        ask = partial(grounder.ground, job)
        with loading_stops_when(job.watch.should_stop), self.registry.calling(GROUNDERS.plural, name):
            return ask() if self.stages is None else self.stages.ground(name, grounder, job, ask)

    def outline(self, image: Image, region: Region, watch: Watch = Watch()) -> Region:
        """The region with the mask that a grounder makes of its box, a hint of the user, or of a point alone
        (`gas.run.points`).

        UsageError (exit 2) without such a grounder; Interrupted (exit 130); ObjectNotFound (exit 5) by the segmenter.
        """
        return grounding.outline(self, image, region, watch)

    def edit(
        self,
        image: Image,
        plan: EditPlan,
        regions: Sequence[Region] = (),
        *,
        seed: int,
        work: WorkMode = "auto",
        watch: Watch = Watch(),
    ) -> EditResult:
        """The finished picture: the editor's work at its own resolution, pasted back into `image` through its mask.

        Places that lie far apart have working pictures of their own (`gas.picture.frames`), edited one after the other.
        With the setting `grounded` each subtask's edit is confined to its own region (`gas.run.turns`), nothing outside
        the regions changes, and every subtask must have one.

        `image` is `(H, W, 3)` uint8 upright RGB at native resolution; boxes and masks of `regions` are in its pixels.
        ResultRefused (exit 11) for a picture that is all black or unchanged; whatever a run that was stopped has
        reached is returned. Interrupted (exit 130) when it was stopped while its models were loaded.
        """
        from gas.run import working

        asked = working.begin(self, image, plan, regions, seed=seed, work=work, watch=watch)
        return working.edit(self, asked)

    def verify(
        self,
        before: Image,
        after: Image,
        plan: EditPlan,
        regions: Sequence[Region],
        subtasks: Sequence[int] | None = None,
        *,
        watch: Watch = Watch(),
    ) -> tuple[Finding, ...]:
        """What the session's verifier says of each of the `subtasks` (None: of all) of an edit from `before` to
        `after`, both `(H, W, 3)` uint8; `regions` are native.

        UsageError (2) as `use`; PluginBroken (9) for an answer of no use; Interrupted (130); the verifier's errors.
        """
        from gas.regions.check import with_mask
        from gas.regions.where import edited_regions

        name = self.settings.verifier
        verifier: Verifier = self.use(VERIFIERS, name)
        size = before.shape[1], before.shape[0]
        places = edited_regions(plan, [with_mask(region, before) for region in regions], size)
        chosen = tuple(range(len(plan.subtasks)) if subtasks is None else subtasks)
        look = partial(self._candidates, plan, watch)
        job = VerifyJob(before, after, plan, tuple(places), chosen, look, Watch(should_stop=watch.should_stop))
        watch.check_stop()
        with loading_stops_when(watch.should_stop), self.registry.calling(VERIFIERS.plural, name):
            answer = verifier.verify(job)
        return answers.findings(answer, chosen, self.fault(VERIFIERS, name))

    def verifier_lacks(self, plan: EditPlan) -> list[GasError]:
        """What the session's verifier would need for an edit by `plan` and does not have (`Verifier.lacks`); nothing
        where edits are not verified. Nothing is loaded or asked."""
        if not self.settings.verify:
            return []
        name = self.settings.verifier
        verifier: Verifier = self.backend(VERIFIERS.plural, name)
        with self.registry.calling(VERIFIERS.plural, name):
            lacking = list(verifier.lacks(plan))
        if strange := [one for one in lacking if not isinstance(one, GasError)]:
            raise self.fault(VERIFIERS, name)(f"lacks returned {type(strange[0]).__name__}, not errors with remedies")
        return lacking

    def _candidates(
        self, plan: EditPlan, watch: Watch, image: Image, phrases: Sequence[str]
    ) -> list[list[Region] | None] | None:
        """Every place that the first chosen grounder that detects takes for each of the phrases; None without one."""
        name = next((one for one in self.settings.grounders if self.backend(GROUNDERS.plural, one).detects), None)
        if name is None:
            return None
        grounder: Grounder = self.use(GROUNDERS, name)
        asked = GroundJob(image, [Region(phrase) for phrase in phrases], plan, Watch(should_stop=watch.should_stop))
        with loading_stops_when(watch.should_stop), self.registry.calling(GROUNDERS.plural, name):
            answer = grounder.candidates(asked)
        return answers.candidates(answer, len(phrases), (image.shape[1], image.shape[0]), self.fault(GROUNDERS, name))

    def backend(self, role: str, name: str) -> Any:
        """The backend `name` of `role` ("planners", ...), created at its first use; to look at what it says of itself.
        Where a picture is handed to it, `use` is asked."""
        if (role, name) not in self._backends:
            layers = self._layers(role, name)
            made = self.registry.create(role, name, {}, self.runtime, below=layers)
            if role == EDITORS.plural:
                made.find_editor = partial(self._handed_to, EDITORS)
                if self.stages is not None:
                    made.edit_or_reuse = partial(self.stages.edit, name, made)
            if role == VERIFIERS.plural:
                made.find_verifier = partial(self._handed_to, VERIFIERS)
            self._backends[role, name] = made
        return self._backends[role, name]

    def climb_down(self) -> Rung | None:
        """After memory was short: the rung by which models are placed from now on, None where there is no lower one.
        Backends are made, and models loaded, anew."""
        rung = self.runtime.climb_down()
        if rung is not None:
            self._backends.clear()
        return rung

    def helpers(self) -> tuple[str, ...]:
        """The names of the editors that the session's editor hands subtasks to, and who draws finer what is made."""
        helpers = tuple(self.backend(EDITORS.plural, self.settings.editor).helpers)
        return helpers if self.settings.detail == OFF else (*helpers, self.settings.detail)

    def refiner(self) -> Refiner | None:
        """Who draws large places finer; None where the setting `detail` is off. Errors as `use`, and UsageError (exit
        2) for an editor that is no `Refiner`."""
        name = self.settings.detail
        if name == OFF:
            return None
        self._refuse_no_refiner(name)
        refiner: Refiner = self.use(EDITORS, name)
        return refiner

    def _refuse_no_refiner(self, name: str) -> None:
        known = [spec.name for spec in self.registry.specs(EDITORS.plural)]
        if name in known and issubclass(self.registry.load(EDITORS.plural, name), Refiner):
            return
        others = [one.spec.name for one in self.registry.own(EDITORS.plural) if self._is_refiner(one.spec.name)]
        raise UsageError(
            f"detail {name!r}: " + ("that editor draws nothing finer" if name in known else "there is no such editor"),
            f"use {', '.join((OFF, *others))}",
        )

    def _is_refiner(self, name: str) -> bool:
        try:
            return issubclass(self.registry.load(EDITORS.plural, name), Refiner)
        except GasError:
            return False

    def _layers(self, role: str, name: str) -> list[Layer]:
        """The values that are set for the options of a backend. A refiner without a model of its own takes that of the
        session's editor, or of the first of those that it hands subtasks to, that draws with a text-to-image model."""
        from gas.backends.options import Layer

        settings = self.settings
        if role != EDITORS.plural or name != settings.detail or name == settings.editor:
            return settings.option_layers(role, name)
        editors = (settings.editor, *self.backend(role, settings.editor).helpers)
        kinds: dict[str, Any] = {editor: self.registry.load(role, editor) for editor in editors}
        draws = bool(kinds[settings.editor].draws)
        for editor in (one for one in editors if kinds[one].draws):
            theirs = self.registry.settle(role, editor, {}, settings.option_layers(role, editor)).options.model_dump()
            model = {key: theirs[key] for key in _OF_A_MODEL if theirs.get(key)}
            if "model" in model:
                return [Layer(f"editor {editor}", model), *settings.option_layers(role, name, model=draws)]
        return settings.option_layers(role, name, model=draws)

    def _handed_to(self, role: Role, name: str) -> Any:
        """The backend `name` of `role`, for another one of it that hands its work on. UsageError (exit 2) for one that
        sends pictures away: the user has not named it."""
        backend: Backend = self.use(role, name)
        if backend.remote:
            raise UsageError(
                f"{role.name} {name!r} sends the picture to another machine, which only you may choose",
                Remedy(
                    f"name_{role.name}",
                    f"name it yourself: {{{role.name}}}",
                    **{role.name: Setting(role.name, name)},
                ),
            )
        return backend

    def verifiers(self) -> tuple[str, ...]:
        """The session's verifier and those that it asks, by their names."""
        name = self.settings.verifier
        return (name, *self.backend(VERIFIERS.plural, name).helpers)

    def settled(self, role: str, name: str) -> Settled:
        """The options of a backend as this session settles them, with the origin of each value. Errors as `check`."""
        if role == EDITORS.plural and name == self.settings.editor:
            from gas.settings.catalogue import refuse_model_of_no_kind

            refuse_model_of_no_kind(self.registry, self.settings)
        return self.registry.settle(role, name, {}, self._layers(role, name))

    def segmenter(self) -> Grounder | None:
        """The last chosen grounder that can segment a whole picture, for editors that want one. It is called as any
        backend is: what it raises, or returns that cannot be used, is its own fault (PluginBroken, exit 9)."""
        from gas.run.segmenter import CheckedSegmenter

        name = self.segmenter_name()
        if name is None:
            return None
        calling = partial(self.registry.calling, GROUNDERS.plural, name)
        return CheckedSegmenter(self.use(GROUNDERS, name), calling, self.fault(GROUNDERS, name))

    def segmenter_name(self) -> str | None:
        """The name of `segmenter()`."""
        return next(
            (name for name in reversed(self.settings.grounders) if self.backend(GROUNDERS.plural, name).segments), None
        )

    def first(self, role: Role, fits: Callable[[Any], bool]) -> str | None:
        """The first of the toolkit's own backends of `role`, in the order of their registration, whose class `fits`,
        as far as they can be loaded."""
        for entry in self.registry.own(role.plural):
            with contextlib.suppress(GasError):
                if fits(self.registry.load(role.plural, entry.spec.name)):
                    return entry.spec.name
        return None

    def _that_suggest(self) -> list[str]:
        """The names of the planners that see pictures, as far as they can be loaded."""
        found = []
        for spec in self.registry.specs(PLANNERS.plural):
            with contextlib.suppress(GasError):
                kind: Any = self.registry.load(PLANNERS.plural, spec.name)
                found += [spec.name] if kind.suggests else []
        return found

    def check_plan(self, plan: EditPlan) -> None:
        """An error where the editor cannot carry out the plan, whatever the picture."""
        editor: Editor = self.backend(EDITORS.plural, self.settings.editor)
        if isinstance(editor, Refiner):
            raise UsageError(
                f"{self.settings.editor} draws finer what another editor has made, and makes no edit itself",
                Remedy("name_detail", "use {detail}", detail=Setting("detail", self.settings.editor)),
            )
        self._refuse_whole_picture(plan, editor)
        with self.registry.calling(EDITORS.plural, self.settings.editor):
            editor.check_plan(plan)
        if (refiner := self.refiner()) is not None:
            with self.registry.calling(EDITORS.plural, self.settings.detail):
                refiner.check_plan(plan)

    def _refuse_whole_picture(self, plan: EditPlan, editor: Editor) -> None:
        """UsageError (exit 2) for a subtask about the whole picture and an editor that edits things."""
        whole = next((subtask for subtask in plan.subtasks if subtask.where == "picture"), None)
        if whole is not None and not editor.edits_pictures:
            raise UsageError(
                f"{whole.instruction or whole.target!r} is about the whole picture, and {self.settings.editor} edits "
                "the things that a plan names",
                Remedy(
                    "name_editor",
                    "name an editor that follows instructions: {editor}; or say which thing is to change",
                    editor=Setting("editor"),
                ),
            )

    def check_regions(self, plan: EditPlan, regions: Sequence[Region]) -> None:
        """UsageError (exit 2) for a subtask without a region, where the editor or a grounded run needs one of each."""
        grounding.check_regions(self, plan, regions)

    def fault(self, role: Role, name: str) -> answers.Fault:
        """What makes the error for a backend whose answer cannot be used."""
        shows = f"report it to the plugin's author; `gas.testing.{role.name.capitalize()}Contract` shows it"
        return lambda reason: self.registry.fault(role.plural, name, reason, shows)


def _stages(session: Session) -> Stages:
    from gas.cache.limit import parse_limit
    from gas.cache.store import Store
    from gas.folders import stages_folder
    from gas.run.reuse.stages import Stages

    return Stages(session, Store(stages_folder(), parse_limit(session.settings.cache_size)))
