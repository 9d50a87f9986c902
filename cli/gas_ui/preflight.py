"""What is about to run, before it does: who is asked, what is missing, what leaves this machine."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from gas.backends.roles import CHOSEN, EDITORS, GROUNDERS, PLANNERS, VERIFIERS, Role
from gas.errors import GasError, ModelUnavailable
from gas.interfaces import EditJob, GroundJob, VerifyJob
from gas.models import cache as models
from gas.models.manifest import models_of
from gas.notes import plain
from gas.remedies import Command, Remedy
from gas.run.models import missing_models
from gas.types import EditPlan, Subtask
from gas_shell.reused import stages_line
from gas_ui.wording import page_words

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gas.interfaces import Backend
    from gas.preview import Preview
    from gas.run.job import PhotoJob
    from gas.run.record import Request
    from gas.run.session import Session
    from gas.settings.catalogue import KnownModel
    from gas.types import Image


class NeedsAgreement(GasError):
    """Backends that would send the picture to another machine, which the user has not agreed to yet: `asks`."""

    def __init__(self, asks: list[dict[str, Any]]) -> None:
        self.asks = asks
        super().__init__("the picture would leave this machine", "agree, or choose another in Settings")


def remote_backends(session: Session, roles: Sequence[Role], editors: Sequence[str] = ()) -> list[tuple[Role, str]]:
    """The chosen backends of `roles` that send pictures to another machine, and of other `editors`. Editors are also
    those that would try again; a verifier is asked only where it is verified."""
    found = []
    for role in roles:
        for name in dict.fromkeys((*_asked(session, role), *(editors if role is EDITORS else ()))):
            backend: Backend[Any, Any] = session.backend(role.plural, name)
            with session.registry.calling(role.plural, name):
                found += [(role, name)] if backend.remote else []
    return found


def _asked(session: Session, role: Role) -> tuple[str, ...]:
    """The names of the backends of `role` that an edit may ask."""
    settings = session.settings
    if role is VERIFIERS:
        return (settings.verifier,) if settings.verify else ()
    names = role.names(settings)
    if role is EDITORS and settings.verify and settings.tries > 1:
        names = tuple(dict.fromkeys((*names, *settings.retry_editors)))
    return names


def check_agreed(
    session: Session,
    roles: Sequence[Role],
    agreed: Collection[str],
    image: Image,
    request: Request,
    editors: Sequence[str] = (),
) -> dict[str, Any]:
    """The flags by which the user has named the remote backends of `roles`, and of other `editors` that are to be
    asked. NeedsAgreement for one that is not in `agreed` ("planner openai"), with what it would send and where to."""
    remote = remote_backends(session, roles, editors)
    open_ones = [(role, name) for role, name in remote if f"{role.name} {name}" not in agreed]
    if open_ones:
        raise NeedsAgreement(
            [
                {
                    "key": f"{role.name} {name}",
                    "role": role.name,
                    "name": name,
                    "lines": _preview(session, role, name, image, request).lines(role.name, name),
                }
                for role, name in open_ones
            ]
        )
    named = {role for role, _ in remote}
    flags: dict[str, Any] = {
        role.setting: (role.names(session.settings) if role.several else role.names(session.settings)[0])
        for role in CHOSEN
        if role in named
    }
    if EDITORS in named and session.settings.retry_editors:
        flags["retry_editors"] = session.settings.retry_editors
    return flags


def _preview(session: Session, role: Role, name: str, image: Image, request: Request) -> Preview:
    """What the backend would send; nothing is sent."""
    backend: Backend[Any, Any] = session.backend(role.plural, name)
    job: Any
    if role is PLANNERS:
        job = request.of(image, 0)
    else:
        plan = EditPlan(subtasks=(Subtask(source="the thing", target=request.instruction[:200] or "another"),))
        if role is GROUNDERS:
            job = GroundJob(image)
        elif role is VERIFIERS:
            job = VerifyJob(image, image, plan, (), (0,))
        else:
            job = EditJob(image, plan, (), 0, backend.options)
    with session.registry.calling(role.plural, name):
        return backend.preview(job)


def require_models(session: Session, editor: str | None = None) -> None:
    """ModelUnavailable (exit 6) where a model of the editor (default: the session's) is not on this machine, with the
    command that gets it."""
    missing = missing_models(session, EDITORS, [editor or session.settings.editor])
    if not missing:
        return
    profile = session.settings.profile
    absent = {files.model for files in profile.models if models.look(files).state != "there"}
    names = [profile.name] if absent >= {one.files.model for one in missing} else [one.files.model for one in missing]
    raise ModelUnavailable(
        f"not on this machine yet: {'; '.join(map(_said, missing))}",
        Remedy("pull", "get it with {pull}, then press Edit again", pull=Command("models pull", *names)),
    )


def sheet(job: PhotoJob) -> dict[str, Any]:
    """The line before the run: editor, profile, device, seed, sizes, what is missing, and what leaves the machine."""
    session = job.session
    settings = session.settings
    device = settings.device
    if "torch" in sys.modules:  # an editor that does without torch is not made to import it for the sake of this line
        device = str(session.runtime.torch_device())
    return {
        "editor": settings.editor,
        "grounded": settings.grounded,
        "profile": settings.profile.name,
        "why": settings.origin("profile"),
        "count": len(job.plan.subtasks),
        "device": device,
        "seed": job.seed,
        "models": _models(session),
        "reused": stages_line(job.reused) if job.reused else "",
        "missing": [_said(one) for one in missing_models(session, EDITORS, [settings.editor])],
        "lacks": [plain(f"{one.message}: {one.hint.worded(page_words)}") for one in session.verifier_lacks(job.plan)],
        "leaves": [f"{role.name} {name}" for role, name in remote_backends(session, (EDITORS, VERIFIERS))],
    }


def _models(session: Session) -> list[str]:
    """The names of the models that the editor and those that it asks are to use."""
    names: dict[str, None] = {}
    for editor in (session.settings.editor, *session.helpers()):
        with contextlib.suppress(GasError):  # of one that cannot be loaded it is said when it is asked
            options = session.settled(EDITORS.plural, editor).options.model_dump(mode="json")
            found = (model.partition("@")[0].rstrip("/").rpartition("/")[2] for _, model in models_of(options))
            names |= dict.fromkeys(found)
    return list(names)


def _said(one: KnownModel) -> str:
    files = one.files
    size = f", {files.size_mb / 1000:.1f} GB" if files.size_mb else ""
    licence = f", {files.licence}" if files.licence else ""
    return f"{files.model}{size}{licence}"
