"""With what the rows of a manifest are edited: a session for each set of settings, and what a row may choose.

A manifest may come from anybody. What it names is no word of the user's: neither a backend that sends pictures away nor
a model that is not on this machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gas.backends.roles import CHOSEN, EDITORS, GROUNDERS, PLANNERS, VERIFIERS
from gas.checkpoint import run_digest
from gas.errors import GasError, ModelUnavailable, UsageError
from gas.remedies import Command, Remedy
from gas.run.job import verifies
from gas.run.models import missing_models, refuse_strange_model
from gas.run.used import models_used, used
from gas.settings.settings import THE_MANIFEST

if TYPE_CHECKING:
    from gas.backends.roles import Role
    from gas.batch.rows import Row
    from gas.run.session import Session

OpenSession = Callable[[Mapping[str, Any] | None], "Session"]
"""Makes a session of the user's settings with those of a row above them (None: none)."""
_CHOOSE = {"profile", "planner", "grounder", "editor", "options", "verify", "tries"}
"""The columns of a row that say with what it is edited."""
Require = Callable[["Session", bool], None]
"""Sees to it that a session's models are here; is told whether things are looked for."""


@dataclass(frozen=True)
class Recipe:
    """The settings of some rows: the session that they make here, and how it is made again elsewhere. `where` the first
    of them stands (empty: no row says anything of its own)."""

    number: int
    session: Session
    where: str = ""

    @cached_property
    def plan_digest(self) -> str:
        """What a plan depends on besides request and picture."""
        settings = self.session.settings
        return run_digest(planner=used(self.session, PLANNERS.plural, settings.planner).model_dump(mode="json"))

    @cached_property
    def digest(self) -> str:
        """What an edit depends on besides plan, picture, regions and seed: backends with versions and options, and
        models with revisions or the hashes of their files; where it verifies, who is asked and who tries again."""
        settings = self.session.settings
        asked = [(GROUNDERS.plural, name) for name in settings.grounders]
        asked += [(EDITORS.plural, name) for name in (settings.editor, *self.session.helpers())]
        backends = [used(self.session, role, name) for role, name in asked]
        needed = [m.model_dump(mode="json") for role, name in asked for m in models_used(self.session, role, name)]
        return run_digest(
            backends=[one.model_dump(mode="json") for one in backends],
            models=needed,
            grow=settings.grow,
            grounded=settings.grounded,
            detail=settings.detail,
            dtype=settings.dtype,
            **({"verified": self._verification()} if settings.verify else {}),
        )

    def _verification(self) -> dict[str, Any]:
        """What verification and further attempts depend on. Models that verifiers name are told by their options."""
        settings = self.session.settings
        asked = [used(self.session, VERIFIERS.plural, name) for name in self.session.verifiers()]
        retry = settings.retry_editors if settings.tries > 1 else ()
        sessions = {name: self.session.with_editor(name) for name in retry}
        others = [used(session, EDITORS.plural, name) for name, session in sessions.items()]
        models = [m for name, session in sessions.items() for m in models_used(session, EDITORS.plural, name)]
        return {
            "by": [one.model_dump(mode="json") for one in asked],
            "tries": settings.tries,
            "budget": settings.budget if settings.tries > 1 else None,
            "others": [one.model_dump(mode="json") for one in others],
            "models": [model.model_dump(mode="json") for model in models],
        }

    @cached_property
    def data(self) -> dict[str, Any]:
        """The same settings as plain values, for `Settings.of` in another process."""
        said, rest = self.session.settings.spoken()
        options: dict[str, dict[str, Any]] = {}
        for session, role, name in _backends(self.session):
            if role is not PLANNERS or self._can_plan:  # backends of two roles that have one name share a table
                settled = session.settled(role.plural, name).options
                options.setdefault(name, {}).update(settled.model_dump(mode="json"))
        return {"said": {**said, "options": options}, "rest": rest}

    @property
    def _can_plan(self) -> bool:
        try:
            self.session.check(PLANNERS)
        except GasError:  # of no importance where every row has its plan
            return False
        return True

    def check(self, *, plans: bool, looks: bool, require: Require) -> None:
        """Refuses what can be refused before anything is edited: errors of `Session.check` and `Session.use`, and
        ModelUnavailable (exit 6) for models that are missing."""
        session = self.session
        with _at(self.where):
            verified = (VERIFIERS,) if verifies(session) else ()
            roles = (*((PLANNERS,) if plans else ()), GROUNDERS, EDITORS, *verified)
            session.check(*roles)
            for role in roles:
                for name in role.names(session.settings):
                    session.use(role, name)
            require(session, looks)


class Recipes:
    """The recipes of a manifest's rows, each made once."""

    def __init__(self, open_session: OpenSession, *, own: bool = False, allow_model: bool = False) -> None:
        self._open = open_session
        self._own, self._allow_model = own, allow_model
        self._made: dict[str, Recipe] = {}
        self._base: Session | None = None

    @property
    def all(self) -> list[Recipe]:
        return list({recipe.number: recipe for recipe in self._made.values()}.values())

    def of(self, row: Row, where: str) -> Recipe:
        """The recipe of a row that stands at `where`. Errors name the place: UsageError (exit 2) for a name or option
        that is unknown, InputRefused (3) as `Settings.of`, ModelUnavailable (6) for a model that a row may not name."""
        asked = row.model_dump(include=_CHOOSE, exclude_none=True)
        key = json.dumps(asked, sort_keys=True)
        if key not in self._made:
            with _at(where):
                self._made[key] = self._new(row, where) if asked else Recipe(0, self.base)
        return self._made[key]

    @property
    def base(self) -> Session:
        """The session of the user's settings alone."""
        if self._base is None:
            self._base = self._open(None)
        return self._base

    def _new(self, row: Row, where: str) -> Recipe:
        mine = self.base.settings
        values = row.settings("")
        if options := values.pop("options", None):  # those without a table are the editor's that the rest comes to
            editor = self._open(values).settings.editor
            values["options"] = {**options, editor: {**options.pop("", {}), **options.get(editor, {})}}
        for role in CHOSEN:  # what the user has named too is his own word
            name = role.setting
            same = name in values and (values[name] if role.several else (values[name],)) == role.names(mine)
            if same and mine.said_by_user(name):
                del values[name]
        session = self._open(values)
        in_use = {name for _, _, name in _backends(session)} if "options" in values else set()
        if strange := next((name for name in values.get("options", {}) if name not in in_use), None):
            raise UsageError(f"options of {strange!r}, which is not in use", f"in use: {', '.join(sorted(in_use))}")
        if not self._allow_model:
            _refuse_models(session)
        return Recipe(len(self._made) + 1, session, where)


def require_models(session: Session, looks: bool) -> None:
    """ModelUnavailable (exit 6) for models of the editor, and of grounders where something is looked for, that are not
    on this machine. Nothing is downloaded."""
    missing = missing_models(session, EDITORS, [session.settings.editor])
    if missing and looks:
        missing += missing_models(session, GROUNDERS, session.settings.grounders)
    if missing:
        names = list(dict.fromkeys(one.files.model for one in missing))
        raise ModelUnavailable(
            f"not downloaded yet: {', '.join(names)}",
            Remedy("pull", "get it: {pull}", pull=Command("models pull", *names)),
        )


def _refuse_models(session: Session) -> None:
    """ModelUnavailable for a model that the manifest alone names and that is not on this machine."""
    for one, role, name in _backends(session):
        try:
            settled = one.settled(role.plural, name)
        except GasError:  # `Recipe.check` says so where it matters
            continue
        refuse_strange_model(settled, THE_MANIFEST)


def _backends(session: Session) -> list[tuple[Session, Role, str]]:
    """All backends that a session may use, each with the session that settles its options: those that are chosen, the
    editors that its editor hands subtasks to, and where it verifies who is asked and who tries again."""
    settings = session.settings
    found = [(session, role, name) for role in CHOSEN for name in role.names(settings)]
    found += [(session, EDITORS, name) for name in session.helpers()]
    if settings.verify:
        found += [(session, VERIFIERS, name) for name in session.verifiers()[1:]]
        known = {name for _, role, name in found if role is EDITORS}
        again = [name for name in settings.retry_editors if name not in known] if settings.tries > 1 else []
        found += [(session.with_editor(name), EDITORS, name) for name in again]
    return found


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Within it errors say where in the manifest it stands that they are about."""
    try:
        yield
    except GasError as error:
        if not where:
            raise
        error.message = f"{where}: {error.message}"
        error.args = (error.message,)
        raise
