"""What a worker of a batch does: it edits, one item after the other, with its models kept loaded.

Reading and planning are done by the thread that has the item, ahead of the device; finding and editing by one thread at
a time; writing again beside the next edit.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from gas import files, notes
from gas.backends.roles import CHOSEN, EDITORS, PLANNERS, VERIFIERS
from gas.batch import places
from gas.batch.engines.wire import bug, error_values
from gas.batch.rows import Row
from gas.errors import GasError, InputRefused, Interrupted, OutOfMemory
from gas.interfaces import Watch
from gas.picture import photo as photos
from gas.plan.words import what
from gas.run.job import PhotoJob, Planned, edit_together, make_plan, prepare
from gas.run.output import check_output
from gas.run.record import Request
from gas.run.session import Session
from gas.run.undone import raise_if_undone
from gas.runtime import Runtime
from gas.types import EditPlan, Region

if TYPE_CHECKING:
    from gas.backends.registry import Registry
    from gas.picture.photo import Photo
    from gas.run.job import WrittenEdit
    from gas.run.record import Record
    from gas.run.result import EditResult
    from gas.types import Image

THUMBNAIL = (480, 360)
"""Largest width and height of each half of a thumbnail."""
_LOST_DEVICE = 75


@dataclass(eq=False)
class _Ticket:
    """A job that waits for the device, and what came of it."""

    job: PhotoJob
    result: EditResult | GasError | None = None


@dataclass(eq=False)
class _Device:
    """One thread at a time edits; it takes up to `together` jobs of its own session that wait with its own."""

    together: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: list[_Ticket] = field(default_factory=list)
    _list: threading.Lock = field(default_factory=threading.Lock)

    def edit(self, job: PhotoJob, watch: Watch) -> EditResult:
        ticket = _Ticket(job)
        with self._list:
            self.waiting.append(ticket)
        with self.lock:
            if ticket.result is None:
                group = self._group(ticket)
                for one, result in zip(group, edit_together([one.job for one in group], watch), strict=True):
                    one.result = result
        if isinstance(ticket.result, GasError):
            raise ticket.result
        assert ticket.result is not None
        return ticket.result

    def _group(self, ticket: _Ticket) -> list[_Ticket]:
        with self._list:
            session = ticket.job.session
            others = [one for one in self.waiting if one is not ticket and one.job.session is session]
            group = [ticket, *others[: self.together - 1]]
            self.waiting = [one for one in self.waiting if one not in group]
            return group


class Editing:
    """A `gas.batch.engines.interface.Worker` that edits. `setup` holds what `gas.batch.run.Batch` puts in."""

    def __init__(self, setup: Mapping[str, Any]) -> None:
        self._recipes, self._work = setup["recipes"], setup["work"]
        self._out, self._store, self._gps = Path(setup["out"]), setup["store"], bool(setup["gps"])
        self._root = setup["root"]
        self._registry = _registry(setup["registry"])
        self._device = _Device(int(setup["together"]))
        self._sessions: dict[str, Session] = {}
        self._runtimes: dict[tuple[Any, ...], Runtime] = {}
        self._opening, self._stopping = threading.RLock(), threading.Event()

    def start(self) -> None:
        """Makes the backends of the first recipe and asks the editor for its size, which loads what it needs for that.
        GasError for whatever is wrong with them: it would be wrong for every item."""
        first = next(iter(self._recipes))
        session = self._session(first)
        editor = session.backend(EDITORS.plural, session.settings.editor)
        if not editor.remote:
            with session.registry.calling(EDITORS.plural, session.settings.editor):
                editor.resolution()

    def __call__(self, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """What came of an item: `thumbnail` (base64 of a JPEG), `error` or the figures of its record, `stopped`."""
        began = time.perf_counter()
        said: dict[str, Any] = {}
        try:
            with notes.collected() as warned:
                self._edit(data, said)
            said["warnings"] = list(notes.joined(said.get("warnings", ()), warned))
        except Interrupted:
            return {"stopped": True}
        except GasError as error:
            said["error"] = error_values(error)
        except MemoryError:
            short = OutOfMemory("not enough memory for this item", "give a smaller picture, or use fewer workers")
            said["error"] = error_values(short)
        except Exception as error:  # noqa: BLE001 - one bad item never stops a batch
            _end_if_the_device_is_lost(error)
            said["error"] = error_values(bug(error))
        said["seconds"] = time.perf_counter() - began
        return said

    def stop(self) -> None:
        self._stopping.set()

    def _edit(self, data: Mapping[str, Any], said: dict[str, Any]) -> None:
        session, row, seed = self._session(data["recipe"]), Row.model_validate(data["row"]), int(data["seed"])
        watch = Watch(should_stop=self._stopping.is_set)
        photo = self._photo(data)
        said["pixels"], said["warnings"] = list(photo.size), list(photo.warnings)
        with ExitStack() as held:
            out = self._out / data["out"] if not self._store else held.enter_context(_beside()) / Path(data["out"]).name
            try:
                files.make_folder(out.parent)
                if not self._store:
                    places.inside(str(self._out), data["out"])
                check_output(photo, out, overwrite=data["overwrite"])
                asked: Planned | EditPlan
                if isinstance(row.plan, EditPlan):
                    asked = row.plan
                else:
                    asked = make_plan(session, photo, Request(instruction=row.instruction), seed=seed)
                said["plan"] = _sentences(asked if isinstance(asked, EditPlan) else asked.plan)
                given = [*row.drawn(photo.size), *_masks(data["masks"], photo.size)]
                watch.check_stop()
                with self._device.lock:
                    job = prepare(session, photo, asked, given, seed=seed, work=self._work, watch=watch)
                said["found"] = [_found(region) for region in job.regions]
                said["warnings"] += [*job.plan.warnings, *job.notes]
                result = self._device.edit(job, watch)
                if session.settings.verify:
                    with self._device.lock:
                        result = job.verified(result, watch)
                if result.stopped:
                    raise Interrupted("stopped before it was finished")
            except GasError:
                said["thumbnail"] = _thumbnail(photo.pixels)
                raise
            said["thumbnail"] = _thumbnail(photo.pixels, result.image)
            written = job.write(result, out, gps=self._gps, overwrite=data["overwrite"])
            if self._store:
                self._put(written, data["out"])
        record = written.record
        assert record.file is not None
        said["inside"], said["outside"] = list(record.measured.inside), record.file.outside_max
        said["output_sha256"] = record.file.sha256
        said["warnings"] += [*written.written.warnings, *result.log.get("notes", ())]
        said["verdicts"] = _verdicts(record)
        raise_if_undone(record)

    def _photo(self, data: Mapping[str, Any]) -> Photo:
        """The item's picture. InputRefused (exit 3) where it is no longer the one that the batch began with."""
        if self._root:
            places.inside(self._root, data["place"])
        with places.local(data["place"]) as path:
            photo = photos.read(path)
        if not places.is_url(data["place"]) and data["sha256"] not in {"", photo.sha256}:
            raise InputRefused(f"{photo.name}: has changed while the batch ran", "start the batch again")
        return photo

    def _put(self, written: WrittenEdit, name: str) -> None:
        """Writes picture and record to object storage, the picture last: where it is, its record is too."""
        target = f"{self._store.rstrip('/')}/{name}"
        places.put(written.record_path, f"{target}.gas.json")
        places.put(written.written.path, target)

    def _session(self, recipe: str) -> Session:
        """The session of a recipe with all its backends made, so that threads do not make them twice."""
        from gas.settings.settings import Settings

        with self._opening:
            if recipe not in self._sessions:
                values = self._recipes[recipe]
                settings = Settings.of(values["said"], find_profile=self._registry.profile, recorded=values["rest"])
                where = (settings.device, settings.dtype, settings.offline, settings.memory)
                runtime = self._runtimes.setdefault(where, Runtime(*where))  # networks are loaded once for all recipes
                session = Session(settings, self._registry, runtime=runtime)
                for role in CHOSEN:
                    if role is VERIFIERS and not settings.verify:
                        continue
                    for name in role.names(settings):
                        with contextlib.suppress(*((GasError,) if role is PLANNERS else ())):  # it may not be needed
                            session.use(role, name)
                self._sessions[recipe] = session
            return self._sessions[recipe]


def _registry(name: str) -> Registry:
    """This installation's registry, or the one that the function `module:name` of a program returns."""
    from gas.backends.registry import Registry

    if not name:
        return Registry.discover()
    module, _, function = name.partition(":")
    made: Registry = getattr(import_module(module), function)()
    return made


def _masks(several: Any, size: tuple[int, int]) -> Iterator[Region]:
    """The regions of a row's masks for a picture of `size`; the folder of one without a phrase has several."""
    from gas.masks import mask_box
    from gas.regions.folder import load_regions
    from gas.regions.mask_file import read_mask

    for phrase, place in several:
        if not phrase:
            yield from load_regions(Path(place), size)
            continue
        with places.local(place) as path:
            mask = read_mask(path, size)
        yield Region(phrase, mask_box(mask), mask, given=True)


def _sentences(plan: EditPlan) -> list[str]:
    """What each subtask asks for, in words."""
    return [one.instruction or f"{one.action} {one.source or one.target}" for one in plan.subtasks]


def _found(region: Region) -> dict[str, Any]:
    """What the report says of a place."""
    box = None if region.box is None else [round(float(value), 1) for value in region.box]
    score = None if region.score is None else round(float(region.score), 3)
    return {"phrase": region.phrase, "score": score, "box": box, "given": region.given}


def _verdicts(record: Record) -> list[dict[str, Any]]:
    """What the ledger says of the verification: for each change whether it is there, how that is known, and how often
    it was tried. Empty where nothing was verified."""
    verified = record.verified
    if verified is None:
        return []
    tried = Counter(one.finding.subtask for one in verified.attempts)
    return [
        {
            "what": what(record.plan.subtasks[one.subtask]),
            "verdict": one.verdict,
            "failure": one.failure,
            "score": None if one.score is None else round(one.score, 3),
            "by": one.evidence[0].by if one.evidence else None,
            "tries": 1 + tried[one.subtask],
        }
        for one in verified.findings
    ]


def _thumbnail(*images: Image) -> str:
    """The images, small and side by side, as base64 of a JPEG."""
    from PIL import Image as Pictures

    small = []
    for image in images:
        picture = Pictures.fromarray(image)
        picture.thumbnail(THUMBNAIL, Pictures.Resampling.BOX)
        small.append(picture)
    strip = Pictures.new("RGB", (sum(one.width for one in small), small[0].height))
    for index, one in enumerate(small):
        strip.paste(one, (index * small[0].width, 0))
    stream = io.BytesIO()
    strip.save(stream, "JPEG", quality=82)
    return base64.b64encode(stream.getvalue()).decode("ascii")


@contextlib.contextmanager
def _beside() -> Iterator[Path]:
    with TemporaryDirectory(prefix="gas-batch-") as folder:
        yield Path(folder)


def _end_if_the_device_is_lost(error: BaseException | None) -> None:
    """Ends the process after an error from which a GPU does not recover in it: a new worker takes its place."""
    torch: Any = sys.modules.get("torch")
    lost = getattr(torch, "AcceleratorError", ()) if torch is not None else ()
    while error is not None:
        if isinstance(error, lost) or "CUDA error" in str(error):
            sys.stderr.write(f"the device is lost: {error}\n")
            sys.stderr.flush()
            os._exit(_LOST_DEVICE)
        error = error.__cause__ or error.__context__
