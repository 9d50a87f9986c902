"""The roles that a backend can have. All that the toolkit knows of a role stands in its row of this table.

Registry, hooks, settings, profiles, listings and the record are made from it, so a new role is a new row, a base class
(in `gas.interfaces`), and a hook in `gas.backends.hookspecs`. What a user chooses among (`chosen`) is also a field of
`Values`, `Profile` and `Record`, which are written by hand for the sake of their types; tests hold that they agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gas.interfaces import Backend


@dataclass(frozen=True)
class Role:
    """What backends are for.

    * `name`, `plural`: "planner" is the command line's option, "planners" what the registry and listings say;
    * `hook`: the function by which a plugin registers them;
    * `base`: "module:Class" that each of them is a child of; None where specs name a file and not a class;
    * `chosen`: whether settings and profiles choose among them, and records say which was used;
    * `several`: whether several can be chosen, in an order;
    * `takes_model`: whether the settings `model` and `lora` are their options of these names.
    """

    name: str
    plural: str
    hook: str
    base: str | None
    chosen: bool = False
    several: bool = False
    takes_model: bool = False

    @property
    def setting(self) -> str:
        """The field of `Values`, `Profile` and `Record` that says which are chosen: "planner", "grounders"."""
        return self.plural if self.several else self.name

    def names(self, holder: object) -> tuple[str, ...]:
        """The names that `holder`, some settings or a profile, has chosen for this role, in their order."""
        value = getattr(holder, self.setting)
        return tuple(value) if self.several else (value,)

    def base_class(self) -> type[Backend]:
        """The class behind `base`, imported. TypeError for a role without one."""
        if self.base is None:
            raise TypeError(f"{self.plural} are files, not classes")
        module, _, attribute = self.base.partition(":")
        found: type[Backend] = getattr(import_module(module), attribute)
        return found


PLANNERS = Role("planner", "planners", "gas_register_planners", "gas.interfaces:Planner", chosen=True)
GROUNDERS = Role(
    "grounder", "grounders", "gas_register_grounders", "gas.interfaces:Grounder", chosen=True, several=True
)
EDITORS = Role("editor", "editors", "gas_register_editors", "gas.interfaces:Editor", chosen=True, takes_model=True)
VERIFIERS = Role("verifier", "verifiers", "gas_register_verifiers", "gas.interfaces:Verifier", chosen=True)
PROFILES = Role("profile", "profiles", "gas_register_profiles", None)
SUITES = Role("suite", "suites", "gas_register_suites", "gas.suites:Suite")

ROLES: tuple[Role, ...] = (PLANNERS, GROUNDERS, EDITORS, VERIFIERS, PROFILES, SUITES)
"""All roles, in the order of listings."""

CHOSEN: tuple[Role, ...] = tuple(role for role in ROLES if role.chosen)
"""The roles that an edit goes through, in that order."""

PLURALS: tuple[str, ...] = tuple(role.plural for role in ROLES)


def find_role(plural: str) -> Role:
    """The role that the registry calls `plural`. UsageError with the nearest name for any other."""
    for role in ROLES:
        if role.plural == plural:
            return role
    from gas.validation import unknown  # it needs pydantic, which a command's help does without

    raise unknown("role", plural, PLURALS)
