"""The work of one browser window: a photograph, its plan, its regions, and the job that they make."""

from __future__ import annotations

import itertools
import secrets
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.backends.roles import CHOSEN, EDITORS
from gas.errors import GasError, InputRefused, ModelUnavailable, UsageError
from gas.interfaces import Watch
from gas.picture import photo_write
from gas.run.job import PhotoJob, make_plan, prepare, verifies
from gas.run.models import missing_models
from gas.run.record import Request
from gas.run.session import Session, new_seed
from gas.run.working import working_pictures
from gas.types import Region
from gas_shell.words import setting_words
from gas_ui.choices import in_use
from gas_ui.edits import Edit
from gas_ui.picture import Picture, file_name
from gas_ui.places import Place
from gas_ui.table import Table

if TYPE_CHECKING:
    from gas.backends.registry import Registry
    from gas.run.result import Place as WorkingPicture
    from gas.runtime import Runtime
    from gas_ui.tasks import Task

OWN_FLAGS = {"work", "gps"}
"""What is chosen on the page and is no setting of a session."""
OF_THE_EDIT = {"seed", "verify", "tries", "verifier", "retry_editors", "budget", *OWN_FLAGS}
"""What says how the same regions are edited: what was found stays when it changes."""
Share = Callable[["Runtime"], "Runtime"]
"""Gives the runtime that all windows use in the place of one that says the same."""
Later = Callable[["Window", Callable[["Task"], Any]], None]
"""Does something when nothing else is to be done."""


def _check_options(session: Session) -> None:
    """UsageError for an option that its backend does not take, of all that an edit may ask. A package that is missing
    is said when it is needed."""
    for role in CHOSEN:
        for name in in_use(session)[role.name]:
            with suppress(ModelUnavailable):
                session.settled(role.plural, name)


class Window:
    """What one browser window has in work. Its methods take its lock; long ones are called by tasks.

    `flags` are the settings that were chosen on the page, by the names of `gas.settings.settings.Values`, beside `work`
    and `gps`. `preparing`: an edit was opened, and what would run is not known yet.
    """

    def __init__(self, folder: Path, registry: Registry, share: Share, later: Later) -> None:
        self.id = secrets.token_urlsafe(12)
        self.folder = folder / self.id
        self.folder.mkdir(mode=0o700)
        self.registry = registry
        self._shared, self._later = share, later
        self.lock = threading.RLock()
        self.numbers = itertools.count(1)
        self.pictures: list[Picture] = []
        self.picture: Picture | None = None
        self.flags: dict[str, Any] = {}
        self.request = Request()
        self.table = Table(self._new_id)
        self.places: list[Place] = []
        self.job: PhotoJob | None = None
        self.sizes: list[WorkingPicture] | None = None
        self.seed: int | None = None
        self.preparing = False
        self.task: Task | None = None
        self.edits: list[Edit] = []

    # --- the photograph ------------------------------------------------------------------------------------------

    def new_file(self, name: str) -> Path:
        """A path for a file called `name`, in a new folder of its own."""
        folder = self.folder / str(next(self.numbers))
        folder.mkdir(mode=0o700)
        return folder / file_name(name)

    def add_picture(self, path: Path, *, example: str = "", show: bool = True) -> Picture:
        """The photograph in the file, from now on the window's, unless it is only the original for a replay.
        InputRefused for another one than that."""
        picture = Picture(path, next(self.numbers), example)
        with self.lock:
            if not show and self.picture is not None and not picture.made(self.picture):
                raise InputRefused(
                    f"{path.name}: is not what the picture was made from",
                    "give the photograph that was edited",
                )
            self.pictures.append(picture)
            if show:
                self.show(picture)
        return picture

    def show(self, picture: Picture) -> None:
        """From now on `picture` is the one in work; the plan of the one before is forgotten."""
        for one in self.pictures:
            if one is not picture:
                one.release()
        self.picture, self.table, self.places, self.job, self.seed = picture, Table(self._new_id), [], None, None
        self.preparing = False

    def check_idle(self) -> None:
        """UsageError while something is at work: what it works on must not change."""
        if self.task is not None and not self.task.over:
            raise UsageError("this window has something at work", "wait for it, or stop it")

    def shown(self) -> Picture:
        """The window's photograph. UsageError before there is one."""
        if self.picture is None:
            raise UsageError("there is no photograph yet", "drop one on the page")
        return self.picture

    # --- settings ------------------------------------------------------------------------------------------------

    def session(
        self,
        more: Mapping[str, Any] | None = None,
        flags: Mapping[str, Any] | None = None,
        *,
        recorded: Mapping[str, Any] | None = None,
        picture: Picture | None = None,
    ) -> Session:
        """A session with the window's settings, or those of `flags`, and `more` above them, for the window's photograph
        or `picture`; models are shared by all windows. `recorded` stands in for environment and settings files."""
        below = self.flags if flags is None else flags
        flags = {name: value for name, value in {**below, **(more or {})}.items() if name not in OWN_FLAGS}
        picture = picture or self.picture
        image = None if picture is None else picture.photo.pixels
        session = Session.load(flags, registry=self.registry, image=image, recorded=recorded, written=setting_words)
        session.runtime = self._shared(session.runtime)
        return session

    def set_flags(self, flags: Mapping[str, Any]) -> None:
        """Other settings. What was found with the old ones is forgotten, unless they only say how the same is edited.
        UsageError for what cannot be: then everything stays."""
        with self.lock:
            before, self.flags = self.flags, dict(flags)
            try:
                session = self.session()
                session.check(EDITORS)
                verifies(session)
                _check_options(session)
            except Exception:
                self.flags = before
                raise
            changed = {name for name in {*before, *flags} if before.get(name) != flags.get(name)}
            self.seed = None if "seed" in changed else self.seed
            if not changed <= OF_THE_EDIT:
                self._forget_found()
            elif self.job is not None:
                seed = session.settings.seed if session.settings.seed is not None else self.job.seed
                self._ready(replace(self.job, session=session, seed=seed, work=self.work))

    @property
    def work(self) -> Any:
        return self.flags.get("work") or "auto"

    def _forget_found(self) -> None:
        self.job = None
        self.places = [place for place in self.places if place.by_hand]

    # --- the plan ------------------------------------------------------------------------------------------------

    def ask(self, task: Task, request: Request, more: Mapping[str, Any]) -> None:
        """Makes the plan of a request; everything that belonged to the one before is forgotten."""
        session = self.session(more)
        picture = self.shown()
        seed = next(one for one in (session.settings.seed, new_seed()) if one is not None)
        planned = make_plan(session, picture.photo, request, seed=seed, watch=task.watch(), on_stage=task.begin_stage)
        with self.lock:
            self.request, self.table, self.seed = request, Table(self._new_id, planned), seed
            self.places, self.job = [], None

    def change_plan(self, rows: Sequence[Mapping[str, Any]], source: str, target: str) -> None:
        """The plan's rows as they are on the page. Errors as `Table.change`."""
        with self.lock:
            stays = self.table.change(rows, source, target)
            self.places = [place for place in self.places if place.row in stays]
            self.job = None

    # --- regions -------------------------------------------------------------------------------------------------

    def find(self, watch: Watch, on_stage: Callable[[str, str], None], more: Mapping[str, Any], **how: Any) -> PhotoJob:
        """Looks for what has no region yet; the job is then ready to run. Errors as `gas.run.job.prepare`."""
        with self.lock:
            picture, session = self.shown(), self.session(more)
            asked = self.table.asked()
            request = asked or self.table.plan()
            index, by_hand = self.table.indices(), {place.row for place in self.places if place.by_hand}
            given = [
                replace(place.region, subtask=index[place.row], given=True)
                for place in self.places
                if place.row in index and (place.row in by_hand or not asked)
            ]
            seed, work, asked_for = self.seed, self.work, self._asked_for()
        job = prepare(
            session, picture.photo, request, given, seed=seed, work=work, watch=watch, on_stage=on_stage, **how
        )
        with self.lock:
            if self._asked_for() == asked_for:
                self._take(job)
        return job

    def _asked_for(self) -> tuple[object, ...]:
        """All that decides the job, to be compared later."""
        rows = [(row.id, row.on, row.now) for row in self.table.rows]
        places = [(place.id, place.version) for place in self.places]
        return self.picture, dict(self.flags), self.table.base, rows, places

    def _prepare_again(self, task: Task) -> None:
        """Makes the job of an edit that was opened ready, so that the page says what would run. What is wrong with it
        is said when it is to run."""
        try:
            with suppress(GasError):
                if self._all_placed():
                    self.find(task.watch(), lambda stage, names: None, {})
        finally:
            self.preparing = False

    def _all_placed(self) -> bool:
        """Whether nothing would have to be looked for."""
        placed = {place.row for place in self.places}
        return all(row.id in placed or row.now.where == "picture" for row in self.table.rows if row.on)

    def _take(self, job: PhotoJob) -> None:
        """The job's regions as places on the picture; what was drawn stays what was drawn."""
        rows = list(self.table.indices())
        before = {(place.row, id(place.region.mask)): place for place in self.places}
        places = []
        for region in job.regions:
            row = rows[region.subtask or 0]
            same = before.get((row, id(region.mask)))
            fresh = replace(same, region=region) if same else None
            places.append(fresh or Place.of(self._new_id(), row, region, by_hand=region.given))
        self.places = [*places, *(place for place in self.places if place.row not in rows)]
        self.seed = job.seed
        self._ready(job)

    def _ready(self, job: PhotoJob) -> None:
        """From now on `job` is what Edit runs. How fine it works is measured when there is time."""
        self.job, self.sizes = job, None
        self._later(self, lambda task: self._measure(job, task))

    def _measure(self, job: PhotoJob, task: Task) -> None:
        """How fine `job` works; nothing where a model is missing, or its editor cannot be asked."""
        if self.job is not job:
            return
        places: list[WorkingPicture] = []
        with suppress(GasError):
            if not missing_models(job.session, EDITORS, [job.session.settings.editor]):
                places = working_pictures(
                    job.session, job.photo.size, job.plan, job.regions, work=job.work, watch=task.watch()
                )
        with self.lock:
            if self.job is not None and self.job.regions is job.regions:
                self.sizes = places

    def place(self, id: str) -> Place:
        """The place with this id. UsageError for one that is gone."""
        for place in self.places:
            if place.id == id:
                return place
        raise UsageError("this region is no longer there", "reload the page")

    def phrase(self, row: str) -> str:
        """What the row's place is called."""
        subtask = self.table.row(row).now
        return subtask.region_phrase or subtask.target

    def add_place(self, row: str, region: Region) -> None:
        """A region of the row that the user has drawn or pointed at."""
        with self.lock:
            self.places.append(Place.of(self._new_id(), row, region, by_hand=True))
            self.job = None

    def remove_place(self, id: str) -> None:
        """Takes a place away; its thing is then looked for again."""
        with self.lock:
            self.places.remove(self.place(id))
            self.job = None

    def change_place(self, id: str, change: Callable[[Place], None]) -> None:
        """Changes a place; the job that is ready, if there is one, has it from now on."""
        with self.lock:
            change(self.place(id))
            if self.job is not None:
                index = self.table.indices()
                on = [place for place in self.places if place.row in index]
                regions = tuple(replace(place.region, subtask=index[place.row]) for place in on)
                self._ready(replace(self.job, regions=regions))

    # --- edits ---------------------------------------------------------------------------------------------------

    def new_edit(
        self, job: PhotoJob, editor: str, flags: Mapping[str, Any], *, picture: Picture | None = None, **more: Any
    ) -> Edit:
        """A card for an edit that is about to run, and the name of its file: the photograph's, with `-edited`. It is
        shown beside `picture` (default: the window's)."""
        picture = picture or self.shown()
        photo = job.photo
        assert photo.path is not None
        name = f"{photo.path.stem}-edited{photo_write.default_suffix(photo, photo.path)}"
        with self.lock:
            edit = Edit(
                number=next(self.numbers),
                picture=picture,
                out=self.new_file(name),
                instruction=self.request.instruction,
                flags=dict(flags),
                by_hand=self.table.asked() is None or any(place.by_hand for place in self.places),
                editor=editor,
                **more,
            )
            self.edits.append(edit)
        return edit

    def redone_edit(self, made: Edit, subtask: int, task: Task) -> Edit:
        """A card for `made` with one change made again, which is offered; an earlier offer is thrown away."""
        with self.lock:
            for one in [one for one in self.edits if one.offered]:
                self.discard(one.number)
            fresh = replace(
                made, number=next(self.numbers), out=self.new_file(made.out.name), task=task, parent=made.number
            )
            fresh.redone, fresh.offered, fresh.group, fresh.record, fresh.seconds = subtask, True, None, None, 0.0
            fresh.same_bytes, fresh.drift = None, ()
            self.edits.append(fresh)
        return fresh

    def accept(self, number: int) -> None:
        """The offered edit becomes the one that it was made of. UsageError where nothing is offered."""
        with self.lock:
            self._offered(number).offered = False

    def discard(self, number: int) -> None:
        """Throws an offered edit away, with its files."""
        with self.lock:
            edit = self._offered(number)
            self.edits.remove(edit)
            shutil.rmtree(edit.out.parent, ignore_errors=True)

    def _offered(self, number: int) -> Edit:
        edit = self.edit(number)
        if not edit.offered:
            raise UsageError("this edit is no offer", "reload the page")
        return edit

    def edit(self, number: int) -> Edit:
        """The edit of this number. UsageError for one that is not of this window."""
        for one in self.edits:
            if one.number == number:
                return one
        raise UsageError("this edit is not of this window", "reload the page")

    def open(self, number: int) -> None:
        """Everything of an edit again: its photograph, settings, plan and regions."""
        with self.lock:
            edit = self.edit(number)
            record = edit.record
            if record is None:
                raise UsageError("this edit was never finished", "make it again")
            self.show(edit.picture)
            self.flags = dict(edit.flags)
            self.request = record.asked if record.asked.instruction else Request(instruction=edit.instruction)
            self.table, self.seed = Table(self._new_id, record.plan), record.seed
            self.places = [
                Place.of(self._new_id(), self.table.rows[region.subtask or 0].id, region, by_hand=told.given)
                for region, told in zip(record.to_regions(), record.regions, strict=True)
            ]
            if self._all_placed():
                self.preparing = True
                self._later(self, self._prepare_again)

    def _new_id(self) -> str:
        return f"n{next(self.numbers)}"
