"""Lists and loads the backends that the installed plugins name."""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.backends import calling as guard
from gas.backends.entry_points import find_plugins, missing_packages, select
from gas.backends.probe import probe, read_module, read_plugin
from gas.backends.roles import PLURALS, PROFILES, find_role
from gas.backends.spec import BackendSpec, BrokenPlugin, Contents, Plugin
from gas.errors import GasError, PluginBroken, UsageError
from gas.remedies import Command, Remedy, install, shell_words
from gas.validation import unknown

if TYPE_CHECKING:
    from gas.backends.options import Layer, Settled
    from gas.backends.profiles import Profile
    from gas.interfaces import Backend
    from gas.runtime import Runtime


@dataclass(frozen=True)
class Registered:
    """A backend that can be asked for by name, and the plugin that it came with."""

    role: str
    spec: BackendSpec
    plugin: Plugin

    @property
    def install(self) -> str | None:
        """The command that installs what the backend needs beyond its own distribution; None if it needs nothing."""
        return str(remedy) if (remedy := self.remedy()) else None

    def remedy(self, *, upgrade: bool = False) -> Remedy | None:
        """The same as a remedy, or to bring what the backend needs to its newest version."""
        if not self.spec.extra:
            return None
        return install(f"{self.plugin.distribution}[{self.spec.extra}]", upgrade=upgrade)

    @property
    def missing(self) -> list[str]:
        """The packages that are to be installed before the backend can be used, as far as metadata tell."""
        return missing_packages(self.plugin.distribution, self.spec.extra) if self.spec.extra else []


class Registry:
    """The backends of this installation, by role ("planners", "editors", ...: `gas.backends.roles`) and name.

    The toolkit's own plugins are looked at first, third parties' only for a listing or for a name that is not the
    toolkit's own. `plugins` is, when not given, what the environment variable GAS_PLUGINS says: "none" keeps third
    parties out, a list of distributions or plugins, separated by commas, lets only those in.

    A name that the toolkit has cannot be taken over. A name that two third parties claim belongs to neither, for else
    installing a package could silently change what a command means; both are reported.

    `runs` is the folder in which third parties' backends are marked while they are at work (None: they are not).
    """

    def __init__(self, plugins: str | None = None) -> None:
        self._chosen = os.environ.get("GAS_PLUGINS") if plugins is None else plugins
        self.runs: Path | None = None
        self._known: dict[tuple[str, str], Registered] = {}
        self._broken: list[BrokenPlugin] = []
        self._waiting: list[Plugin] | None = None

    @classmethod
    def discover(cls) -> Registry:
        """The registry of this installation, with the toolkit's own plugins looked at."""
        registry = cls()
        registry._discover_builtin()
        return registry

    # What there is

    def look_everywhere(self) -> Registry:
        """This registry, after third parties' plugins have been looked at too, each for 3 s at most."""
        self._discover_builtin()
        waiting, self._waiting = self._waiting or [], []
        self._take(probe(waiting))
        return self

    def entries(self, role: str) -> list[Registered]:
        """All backends of `role`, the toolkit's own first, with the plugin that each came with."""
        find_role(role)
        self.look_everywhere()
        return [entry for (r, _), entry in self._known.items() if r == role]

    def own(self, role: str) -> list[Registered]:
        """The toolkit's own backends of `role`. No third party's plugin is looked at."""
        find_role(role)
        self._discover_builtin()
        return [entry for (r, _), entry in self._known.items() if r == role and entry.plugin.builtin]

    def specs(self, role: str) -> list[BackendSpec]:
        """The specs of all backends of `role`, the toolkit's own first."""
        return [entry.spec for entry in self.entries(role)]

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """What is wrong with the plugins that have been looked at so far; after `look_everywhere`, at all."""
        return tuple(self._broken)

    def add(self, module: Any) -> Registry:
        """This registry, with the backends that the hooks of `module` name: for a program's own, without packaging."""
        self._discover_builtin()
        name = getattr(module, "__name__", type(module).__name__)
        self._take([read_module(Plugin(name, name, "this program", ""), module)])
        return self

    def find(self, role: str, name: str) -> Registered:
        """The backend `name` of `role`. UsageError with the nearest name; PluginBroken when its plugin is at fault."""
        singular = find_role(role).name
        self._discover_builtin()
        if (role, name) not in self._known:
            self.look_everywhere()
        if (entry := self._known.get((role, name))) is not None:
            return entry
        for fault in self._broken:
            if (fault.role, fault.name) == (role, name):
                raise PluginBroken(str(fault), f"repair or uninstall {fault.distribution}, or set GAS_PLUGINS=none")
        see = f"see: {shell_words(Command('backends'))}"
        remedy = f"{len(self._broken)} plugin faults may hide it, {see}" if self._broken else see
        raise unknown(singular, name, (n for r, n in self._known if r == role), remedy)

    # What it does

    def load(self, role: str, name: str) -> type[Backend]:
        """The class of the backend `name` of `role`, imported.

        ModelUnavailable naming the extra to install when a package is missing; PluginBroken when the plugin's code
        fails or the class is not of the role's interface.
        """
        from gas import interfaces
        from gas.backends import options

        entry = self.find(role, name)
        if find_role(role) is PROFILES:
            raise UsageError(f"{name!r} is a profile, not a backend", "use Registry.profile")
        base = find_role(role).base_class()
        with self.calling(role, name, importing=True):
            try:
                # Prints at import must not get into data on standard output.
                with contextlib.redirect_stdout(sys.stderr):
                    found = getattr(import_module(entry.spec.module), entry.spec.attribute)
            except AttributeError as error:
                raise guard.fault(entry, f"target {entry.spec.target!r} cannot be loaded: {error}") from error
        if not (isinstance(found, type) and issubclass(found, base)):
            raise guard.fault(entry, f"target {entry.spec.target!r} is not a gas.{base.__name__}")
        if inspect.isabstract(found):
            missing = ", ".join(sorted(found.__abstractmethods__))
            raise guard.fault(entry, f"{entry.spec.attribute} does not implement {missing}")
        if not (isinstance(found.options_type, type) and issubclass(found.options_type, interfaces.Options)):
            raise guard.fault(entry, f"{entry.spec.attribute}.options_type is not a subclass of gas.Options")
        if (wrong := options.wrong_options(found)) is not None:
            raise guard.fault(entry, wrong)
        if options.PRESET in found.options_type.model_fields:
            raise guard.fault(
                entry, f"{entry.spec.attribute} has an option named {options.PRESET!r}, which is reserved"
            )
        return found

    def settle(self, role: str, name: str, values: Mapping[str, Any], below: Sequence[Layer] = ()) -> Settled:
        """The options of a backend, with the origin of each value: defaults < the layers `below` < `values`.

        `values` are those given explicitly. Text among them is read as the option's type wants it (`steps=200`), and
        `preset` names a preset, whose values lie beneath the other `values` and above all layers below.
        """
        from gas.backends.options import Layer, settle

        layers = [
            Layer(one.origin, self._own_values(role, name, one.values)) for one in [*below, Layer("given", values)]
        ]
        return settle(name, self.load(role, name).options_type, layers)

    def _own_values(self, role: str, name: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """`values` without those of a namesake in another role: the planner `auto` has no table, the editor has."""
        own = self.load(role, name).options_type
        strange = [key for key in values if key not in own.model_fields and key != "preset"]
        if not strange:
            return values
        theirs: set[str] = set()
        for other in PLURALS:
            if other != role and (other, name) in self._known and find_role(other).base is not None:
                with contextlib.suppress(GasError):
                    theirs |= self.load(other, name).options_type.model_fields.keys()
        return {key: value for key, value in values.items() if key not in strange or key not in theirs}

    def create(
        self,
        role: str,
        name: str,
        values: Mapping[str, Any],
        runtime: Runtime,
        *,
        below: Sequence[Layer] = (),
    ) -> Any:
        """The backend `name` of `role`, with its options settled as in `settle`."""
        backend = self.load(role, name)
        settled = self.settle(role, name, values, below)
        with self.calling(role, name):
            made = backend(settled.options, runtime)
        if not (isinstance(made, backend) and hasattr(made, "options") and hasattr(made, "runtime")):
            raise self.fault(role, name, "has no options or no runtime: its __init__ does not call that of its base")
        return made

    def profile(self, name: str) -> Profile:
        """The profile `name`: registered by a plugin, one of the user's own, or the path of a TOML file."""
        from gas.backends.profiles import Profile, user_profiles

        if name.endswith(".toml"):
            return Profile.from_toml(name)
        self._discover_builtin()
        own = user_profiles()
        if name in own:
            holder = self._known.get((PROFILES.plural, name))
            if holder is not None and holder.plugin.builtin:
                raise UsageError(f"{own[name]} has the name of a built-in profile", "give the file another name")
            return Profile.from_toml(own[name])
        try:
            entry = self.find(PROFILES.plural, name)
        except UsageError:
            known = [*own, *(n for r, n in self._known if r == PROFILES.plural)]
            raise unknown("profile", name, known, "or the path of a .toml file") from None
        with self.calling(PROFILES.plural, name):
            return Profile.from_package(entry.spec.module, entry.spec.attribute)

    @contextlib.contextmanager
    def calling(self, role: str, name: str, *, importing: bool = False) -> Iterator[None]:
        """Within it the code of a backend may be run; what that raises becomes the error that it means
        (`gas.backends.calling`)."""
        with guard.calling(self.find(role, name), importing=importing, runs=self.runs):
            yield

    def fault(self, role: str, name: str, reason: str, remedy: str | Remedy | None = None) -> PluginBroken:
        """The error for a backend that does not keep its contract: it names the plugin that it came with."""
        return guard.fault(self.find(role, name), reason, remedy)

    # How it finds out

    def _discover_builtin(self) -> None:
        if self._waiting is not None:
            return
        found, broken = find_plugins()
        plugins, missing = select(found, self._chosen)
        self._broken += [*broken, *missing]
        self._take([read_plugin(plugin) for plugin in plugins if plugin.builtin])
        self._waiting = [plugin for plugin in plugins if not plugin.builtin]

    def _take(self, contents: Sequence[Contents]) -> None:
        for plugin in contents:
            self._broken += plugin.broken
        claims: dict[tuple[str, str], list[Registered]] = {}
        for plugin in contents:
            for role, spec in plugin.specs:
                claims.setdefault((role, spec.name), []).append(Registered(role, spec, plugin.plugin))
        for key, entries in claims.items():
            holder = self._known.get(key)
            if holder is None and len(entries) == 1:
                self._known[key] = entries[0]
                continue
            for entry in entries:
                others = [e.plugin for e in ([holder] if holder else entries) if e is not entry]
                owners = ", ".join(f"{p.name!r} of {p.distribution}" for p in others)
                reason = f"the name is taken by plugin {owners}" if holder else f"the name is also claimed by {owners}"
                self._broken.append(entry.plugin.broken(reason, *key))
