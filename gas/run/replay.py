"""A run made again: from its record, or from the state that an interrupted one has left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.backends.roles import CHOSEN, EDITORS, GROUNDERS, PLANNERS, VERIFIERS
from gas.backends.spec import OWN_DISTRIBUTION
from gas.checkpoint import SUFFIX, load_record
from gas.errors import InputRefused
from gas.remedies import Command, Remedy, Setting
from gas.run import record as records
from gas.run.job import PhotoJob
from gas.run.models import refuse_strange_model
from gas.run.output import state_path
from gas.run.record import Record, Used
from gas.settings.catalogue import known_models
from gas.settings.settings import THE_RECORD

if TYPE_CHECKING:
    from gas.picture.photo import Photo
    from gas.run.session import Session


def again(
    record: Record,
    photo: Photo,
    open_session: Callable[[Mapping[str, Any]], Session],
    *,
    resume: Path | None = None,
    allow_model: bool = False,
) -> PhotoJob:
    """The job that a record describes, for the same picture.

    `open_session` makes a session of flags (see `Values`); it may put the user's own above the record's,
    e.g. a model folder, of whose place a record says nothing. InputRefused (exit 3) when `photo` has other pixels.
    ModelUnavailable (exit 6) for a profile that is not known here, and, unless `allow_model`, for a model that is
    neither on this machine nor in a known profile: a record may come from anybody.
    """
    same = records.same_input(record, photo)
    if not (same.file or same.pixels):
        raise InputRefused(
            f"{photo.name} is not the picture that was edited, {record.input.name}: their pixels differ",
            Remedy("give_original", "give the original with {input}", input=Setting("input", python="photo")),
        )
    # The plan and what was asked are in the record: no planner is chosen anew.
    # Nor is a verifier: what it said is there too.
    asked_anew = (PLANNERS, VERIFIERS)
    chosen = [
        (role, used) for role in CHOSEN if role not in asked_anew and ((used := record.used(role)) or role.several)
    ]
    options = {one.name: dict(one.options) for _, used in chosen for one in used}
    options |= {one.name: dict(one.options) for one in (*record.helpers, *_tried(record))}
    names = {role.setting: tuple(one.name for one in used) if role.several else used[0].name for role, used in chosen}
    session = open_session(
        {
            "profile": record.profile,
            **names,
            "device": record.device,
            "dtype": record.dtype,
            "memory": record.memory,
            "grounded": record.grounded,
            "detail": record.detail,
            "verify": False,
            "cache": False,
            "options": options,
        }
    )
    if not allow_model:
        _refuse_strange_models(session, record)
    regions = tuple(
        replace(region, given=told.given) for region, told in zip(record.to_regions(), record.regions, strict=True)
    )
    return PhotoJob(
        session,
        photo,
        record.plan,
        regions,
        record.seed,
        work=record.work,
        request=record.asked,
        planner=record.planner,
        grounders=record.grounders,
        resume=resume,
        profile_from=record.profile_from,
        notes=record.notes,
        verifier=record.verifier,
        follow=record.verified,
    )


def _tried(record: Record) -> list[Used]:
    """The editors that tried a subtask again, each once."""
    attempts = () if record.verified is None else record.verified.attempts
    return list({one.editor.name: one.editor for one in attempts}.values())


def _refuse_strange_models(session: Session, record: Record) -> None:
    """ModelUnavailable for a model that the record alone names and of which this machine knows nothing."""
    known = {one.files.id for one in known_models(session.registry, lambda name, error: None)}
    backends = [(EDITORS, record.editor.name), *((GROUNDERS, one.name) for one in record.grounders)]
    backends += [(EDITORS, one.name) for one in (*record.helpers, *_tried(record))]
    for role, name in backends:
        refuse_strange_model(session.settled(role.plural, name), THE_RECORD, known)


def state_record(path: Path) -> tuple[Record, Path]:
    """The record of an unfinished run, and its state file. `path` is that file, the run's output, or its record."""
    if path.name.endswith(SUFFIX):
        return records.parse_record(load_record(path), path.name), path
    output = path.with_name(path.name.removesuffix(".gas.json"))
    state = state_path(output)
    if not state.exists():
        raise InputRefused(
            f"there is no unfinished run of {output.name}: {state.name} is not there",
            Remedy(
                "replay_it",
                "a run that ended has no state; make it again with {replay}",
                replay=Command("replay"),
            ),
        )
    return records.parse_record(load_record(state), state.name), state


def drift(then: Record, now: Record) -> list[str]:
    """A sentence for everything that differs between two records of what should be the same run."""
    out = version_drift(then, now)
    if then.editor.options != now.editor.options:
        out.append("the editor's options differ")
    if [(one.name, one.options) for one in then.helpers] != [(one.name, one.options) for one in now.helpers]:
        out.append("the options of the editors that it hands subtasks to differ")
    return out + _plugin_drift(then.editor, now.editor)


def version_drift(then: Record, now: Record) -> list[str]:
    """A sentence for each version of gas and of libraries, and each model, that differs between two records."""
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
    return out


def _plugin_drift(then: Used, now: Used) -> list[str]:
    """What has changed of where an editor comes from; gas itself is not meant."""
    if then.distribution is None:
        return [f"the record does not say which version of the editor {then.name!r} made it"]
    if then.distribution != now.distribution:
        return [f"editor {now.name!r} came with {then.distribution}, now with {now.distribution}"]
    if then.version != now.version and now.distribution != OWN_DISTRIBUTION:
        return [f"{now.distribution}, which has the editor {now.name!r}, was {then.version}, is {now.version}"]
    return []


def output_of(state: Path) -> Path:
    """The output of the run whose state is in the file `state`."""
    return state.with_name(state.name.removesuffix(SUFFIX))
