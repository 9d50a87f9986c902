"""From a photograph to its edited file with the record beside it: what `gas edit` and `gas replay` run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas import files
from gas.checkpoint import SUFFIX, load_record, load_state, run_digest, save_state
from gas.errors import InputRefused
from gas.interfaces import Step, Watch
from gas.picture import photo_write
from gas.picture.frame import Frame
from gas.picture.photo import Photo
from gas.picture.photo_write import Written
from gas.remedies import Remedy, Setting
from gas.run import record as records
from gas.run.record import Asked, Model, Record, Used
from gas.run.result import EditResult
from gas.run.session import Session, WorkMode
from gas.types import EditPlan, Region
from gas.version import __version__

if TYPE_CHECKING:
    from gas.interfaces import Options
    from gas.types import Image, Mask


@dataclass(frozen=True)
class Finished:
    """An edit that was written: the result in memory, the file, and the record, which is also in `record_path`.

    `state` is the file that an interrupted run can be gone on from (None: it ran to its end).
    """

    result: EditResult
    written: Written
    record: Record
    record_path: Path
    state: Path | None


@dataclass(frozen=True)
class PhotoJob:
    """A photograph with all that is to be done to it, settled: plan, regions (native pixels), editor, seed.

    `asked`, `planner` and `grounders` say where plan and regions came from, `profile_from` who chose the profile (None:
    as the settings say), for the record. `resume` is a state file.
    """

    session: Session
    photo: Photo
    plan: EditPlan
    regions: tuple[Region, ...]
    seed: int
    work: WorkMode = "auto"
    asked: Asked = field(default_factory=Asked)
    planner: Used | None = None
    grounders: tuple[Used, ...] = ()
    resume: Path | None = None
    profile_from: str | None = None

    def refuse_existing(self, out: Path) -> None:
        """OutputExists (exit 2) when the output or its record is there already; UsageError for an unusable name."""
        files.check_output_name(out)
        photo_write.output_format(out)
        files.refuse_existing([out, records.sidecar(out)])

    def run(
        self,
        out: Path,
        *,
        on_step: Callable[[Step], None] | None = None,
        should_stop: Callable[[], bool] = lambda: False,
        save_map: Callable[[str, Mask], None] | None = None,
        gps: bool = False,
        overwrite: bool = False,
    ) -> Finished:
        """The edit, written to `out` and read again, with its record in `out`.gas.json.

        While it runs its state is kept in `out`.gas-state, and stays there when it is stopped. Errors leave `out` as it
        was.
        """
        state = out.with_name(out.name + SUFFIX)
        digest = self._digest()
        draft = self._record(self._unfinished()).to_json()
        watch = Watch(
            on_step=on_step,
            should_stop=should_stop,
            checkpoint=lambda values: save_state(state, values, digest=digest, record=draft),
            resume=load_state(self.resume, digest=digest) if self.resume else None,
            save_map=save_map,
        )
        result = self.session.edit(
            self.photo.pixels, self.plan, self.regions, seed=self.seed, work=self.work, watch=watch
        )
        record = self._record(result)
        written = photo_write.write(
            self.photo,
            out,
            result.image,
            result.mask,
            record=records.embeddable(record, photo_write.output_format(out)),
            gps=gps,
            overwrite=overwrite,
        )
        record_path = records.write_sidecar(record, written, overwrite=overwrite)
        if not result.stopped:
            state.unlink(missing_ok=True)
        return Finished(result, written, record, record_path, state if result.stopped and state.exists() else None)

    def _record(self, result: EditResult) -> Record:
        settings, editor = self.session.settings, self._editor()
        return records.make(
            self.photo,
            result,
            asked=self.asked,
            planner=self.planner,
            grounders=self.grounders,
            editor=editor,
            profile=settings.profile.name,
            profile_from=self.profile_from or settings.origin("profile"),
            models=[*_models(editor.options), *(m for used in self.grounders for m in _models(used.options))],
            seed=self.seed,
            device=settings.device,
            dtype=settings.dtype,
            work=self.work,
            grounded=settings.grounded,
        )

    def _editor(self) -> Used:
        return used(self.session, "editors", self.session.settings.editor)

    def _unfinished(self) -> EditResult:
        """The result of a run that has not begun, for the record inside its state file."""
        import numpy as np

        width, height = self.photo.size
        return EditResult(
            image=self.photo.pixels,
            plan=self.plan,
            regions=self.regions,
            raw=self.photo.pixels,
            mask=np.zeros((height, width), np.float32),
            frame=Frame(self.photo.size, (0, 0, width, height), self.photo.size),
            stopped=True,
            log={},
        )

    def _digest(self) -> str:
        return run_digest(
            gas=__version__,
            pixels=records.pixel_hash(self.photo.pixels),
            plan=self.plan.model_dump(mode="json"),
            regions=[[r.phrase, r.subtask, _mask_hash(r)] for r in self.regions],
            editor=self._editor().model_dump(mode="json"),
            seed=self.seed,
            work=self.work,
            grounded=self.session.settings.grounded,
        )


def used(session: Session, role: str, name: str) -> Used:
    """Backend `name` with its settled options, for the record."""
    options: Options = session.settled(role, name).options
    return Used(name=name, options=options.model_dump(mode="json"))


def again(
    record: Record,
    photo: Photo,
    open_session: Callable[[Mapping[str, Any]], Session],
    *,
    resume: Path | None = None,
) -> PhotoJob:
    """The job that a record tells of, for the same picture.

    `open_session` makes a session of flags (see `Values`); it may put the user's own above the record's,
    e.g. a model folder, of whose place a record says nothing. InputRefused (exit 3) when `photo` has other pixels.
    """
    same = records.same_input(record, photo)
    if not (same.file or same.pixels):
        raise InputRefused(
            f"{photo.name} is not the picture that was edited, {record.input.name}: their pixels differ",
            Remedy("give_original", "give the original with {input}", input=Setting("input", python="photo")),
        )
    options = {one.name: dict(one.options) for one in (record.editor, *record.grounders)}
    session = open_session(
        {
            "profile": record.profile,
            "grounders": tuple(one.name for one in record.grounders),
            "editor": record.editor.name,
            "device": record.device,
            "dtype": record.dtype,
            "grounded": record.grounded,
            "options": options,
        }
    )
    regions = tuple(
        replace(region, given=told.given) for region, told in zip(record.to_regions(), record.regions, strict=True)
    )
    return PhotoJob(
        session,
        photo,
        record.plan,
        regions,
        record.seed,
        record.work,
        record.asked,
        record.planner,
        record.grounders,
        resume,
        record.profile_from,
    )


def state_record(path: Path) -> tuple[Record, Path]:
    """The record of an unfinished run, and its state file. `path` is that file, the run's output, or its record."""
    if path.name.endswith(SUFFIX):
        return records.parse_record(load_record(path), path.name), path
    output = path.with_name(path.name.removesuffix(".gas.json"))
    state = output.with_name(output.name + SUFFIX)
    if not state.exists():
        raise InputRefused(
            f"there is no unfinished run of {output.name}: {state.name} is not there",
            "a run that ended has no state; make it again with gas replay",
        )
    return records.parse_record(load_record(state), state.name), state


def drift(then: Record, now: Record) -> list[str]:
    """A sentence for everything that differs between two records of what should be the same run."""
    out = []
    if then.gas != now.gas:
        out.append(f"gas was {then.gas}, is {now.gas}")
    for name in sorted(then.libraries.keys() | now.libraries.keys()):
        was, is_now = then.libraries.get(name, "absent"), now.libraries.get(name, "absent")
        if was != is_now:
            out.append(f"{name} was {was}, is {is_now}")
    models = {model.id: model for model in now.models}
    for model in then.models:
        if model.id not in models:
            out.append(f"model {model.id} was not used")
        elif model != models[model.id]:
            out.append(f"model {model.id} has other files or another revision")
    if then.editor.options != now.editor.options:
        out.append("the editor's options differ")
    return out


def write_picture(path: Path, image: Image | Mask, *, overwrite: bool = True) -> None:
    """Writes a plain PNG of an `(H, W, 3)` or, with transparency, `(H, W, 4)` uint8 image, or of an `(H, W)` float map
    scaled so that its top is white."""
    import io

    import numpy as np
    from PIL import Image as Pictures

    if image.dtype != np.uint8:
        top = float(image.max()) or 1.0
        image = np.rint(np.clip(image / top, 0, 1) * 255).astype(np.uint8)
    stream = io.BytesIO()
    Pictures.fromarray(image).save(stream, "PNG")
    files.write_bytes(path, stream.getvalue(), overwrite=overwrite)


def _models(options: Mapping[str, Any]) -> list[Model]:
    """The models that a backend's options `model`, `second_model`, ... name; local ones with the hashes of their
    files."""
    from gas.models.manifest import CACHE_PREFIX, PACKAGE_PREFIX, resolve_model

    models = []
    for option, name in options.items():
        if not isinstance(name, str) or not (option == "model" or option.endswith("_model")):
            continue
        source = resolve_model(name)
        model = Model.of(source.location, source.revision)
        if name.startswith((CACHE_PREFIX, PACKAGE_PREFIX)):
            model = model.model_copy(update={"id": name})
        models.append(model)
    return models


def _mask_hash(region: Region) -> str | None:
    return None if region.mask is None else records.pixel_hash(region.mask)
