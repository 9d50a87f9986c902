"""Finds plugins and reads what they register, without letting a broken one stop or delay the rest.

The toolkit's own plugins are imported here and now. A third party's is looked at in a Python process of its own: what
it prints, how it exits and how long it takes is then its own affair, and a listing imports no foreign code at all. Its
backend's module is imported only when that backend is used.

The entry-point loop is our own, for pluggy's and importlib.metadata's end at the first malformed one.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gas.backends.roles import ROLES, Role, find_role
from gas.backends.spec import API_VERSION, BackendSpec, BrokenPlugin, Contents, Plugin
from gas.validation import nearest

if TYPE_CHECKING:
    from types import ModuleType

IMPORT_SECONDS = 3.0
_START_SECONDS = 20.0  # for Python itself to start, on a machine that is busy


def read_plugin(plugin: Plugin) -> Contents:
    """What `plugin` registers, imported in this process; whatever goes wrong becomes part of the answer."""
    from importlib import import_module

    try:
        return read_module(plugin, import_module(plugin.module))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a plugin may fail in any way; it is reported, with the cause
        return Contents(plugin, broken=(plugin.broken(_reason(error)),))


def read_module(plugin: Plugin, module: ModuleType | Any) -> Contents:
    """What the hooks of `module` return. A wrong hook is reported and the others are still used."""
    import pluggy

    from gas.backends import hookspecs

    broken = [plugin.broken(reason) for reason in _wrong_hooks(module)]
    specs: list[tuple[str, BackendSpec]] = []
    for role in ROLES:
        hook = role.hook
        if not hasattr(getattr(module, hook, None), "gas_impl"):
            continue
        manager = pluggy.PluginManager("gas")
        manager.add_hookspecs(hookspecs)
        try:
            manager.register(_OnlyHook(module, hook), plugin.name)
            answers = getattr(manager.hook, hook)()
            if not answers:  # pluggy leaves None out
                raise TypeError("it returned None, not a list of BackendSpec")
            for answer in answers:
                for spec in answer:
                    if not isinstance(spec, BackendSpec):
                        raise TypeError(f"{spec!r} is not a BackendSpec")
                    specs.append((role.plural, spec))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - as above
            broken.append(plugin.broken(f"{hook}() failed: {_reason(error)}"))
    if not specs and not broken and not _has_hooks(module):
        broken.append(plugin.broken("registers nothing: it has no function marked @gas.hookimpl"))
    for plural, spec in specs:
        if spec.api != API_VERSION:
            broken.append(plugin.broken(_other_version(spec), plural, spec.name))
        elif (reason := _target_missing(find_role(plural), spec, read_source=not plugin.builtin)) is not None:
            broken.append(plugin.broken(reason, plural, spec.name))
    bad = {(b.role, b.name) for b in broken}
    return Contents(plugin, tuple(s for s in specs if (s[0], s[1].name) not in bad), tuple(broken))


def probe(plugins: Sequence[Plugin]) -> list[Contents]:
    """What third-party `plugins` register, each looked at in its own process, a few at a time, 3 s at most for each."""
    from concurrent.futures import ThreadPoolExecutor

    if not plugins:
        return []
    with ThreadPoolExecutor(max_workers=min(4, len(plugins))) as pool:
        return list(pool.map(_probe_one, plugins))


# The child answers on a copy of its standard output; what the plugin itself prints goes nowhere. The watchdog is
# faulthandler's: a C thread that needs no GIL, so it also ends a loop inside an extension module, and it says where. It
# starts when what every plugin imports from gas has been imported: the seconds are the plugin's own.
_CHILD = """
import json, os, sys
ask = json.load(sys.stdin)
sys.path[:] = ask["path"]
answer = os.fdopen(os.dup(1), "w")
nowhere = os.open(os.devnull, os.O_RDWR)
for fd in (0, 1, 2):
    os.dup2(nowhere, fd)
import faulthandler
from dataclasses import asdict
import gas.backends.hookspecs, gas.interfaces, gas.types
from gas.backends.probe import Plugin, read_plugin
faulthandler.dump_traceback_later(ask["seconds"], exit=True, file=answer)
contents = read_plugin(Plugin(**ask["plugin"]))
faulthandler.cancel_dump_traceback_later()
answer.write("\\nanswer " + json.dumps({
    "specs": [(role, asdict(spec)) for role, spec in contents.specs],
    "broken": [asdict(b) for b in contents.broken],
}))
answer.flush()
os._exit(0)
"""


def _probe_one(plugin: Plugin) -> Contents:
    import json
    import subprocess
    import sys

    def failed(reason: str) -> Contents:
        return Contents(plugin, broken=(plugin.broken(reason),))

    if not sys.executable:
        return failed("cannot be looked at: no Python executable is known")
    ask = {"path": sys.path, "plugin": asdict(plugin), "seconds": IMPORT_SECONDS}
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        # pydantic looks for plugins of its own with a loop that dies on anybody's malformed entry point
        env={**os.environ, "PYDANTIC_DISABLE_PLUGINS": "1"},
        start_new_session=True,  # so that what the plugin itself starts ends with it
    )
    try:
        out = child.communicate(json.dumps(ask).encode(), timeout=IMPORT_SECONDS + _START_SECONDS)[0].decode(
            errors="replace"
        )
    except subprocess.TimeoutExpired:
        return failed(f"import did not end in {IMPORT_SECONDS:g} s and had to be killed")
    finally:
        _end(child)
    _, found, answer = out.rpartition("\nanswer ")
    if found:
        said = json.loads(answer)
        return Contents(
            plugin,
            tuple((role, BackendSpec(**spec)) for role, spec in said["specs"]),
            tuple(BrokenPlugin(**b) for b in said["broken"]),
        )
    if "Timeout (" in out:
        places = re.findall(r'File "([^"]+)", line (\d+)', out)
        where = next((f" (stuck at {os.path.basename(f)}, line {n})" for f, n in places), "")
        return failed(f"import did not end in {IMPORT_SECONDS:g} s{where}")
    code = child.returncode
    return failed(f"import ended Python with {f'signal {-code}' if code < 0 else f'exit code {code}'}")


def _end(child: Any) -> None:
    """Ends `child` and whatever it started."""
    import signal

    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.wait()
    child.stdout.close()


def _other_version(spec: BackendSpec) -> str:
    older = spec.api < API_VERSION
    return f"it was written for version {spec.api} of the plugin interface, this gas has {API_VERSION}: upgrade " + (
        "the plugin" if older else "gas"
    )


class _OnlyHook:
    """A module seen through one of its hooks, so that a fault in another cannot hide it."""

    def __init__(self, module: Any, hook: str) -> None:
        setattr(self, hook, getattr(module, hook))


def _has_hooks(module: Any) -> bool:
    return any(hasattr(getattr(module, role.hook, None), "gas_impl") for role in ROLES)


def _wrong_hooks(module: Any) -> Iterator[str]:
    """A reason for each function of `module` that looks like a hook and is none."""
    hooks = [role.hook for role in ROLES]
    for name, value in sorted(vars(module).items()):
        if not callable(value):
            continue
        marked = hasattr(value, "gas_impl")
        own = getattr(value, "__module__", None) == getattr(module, "__name__", None)
        if name in hooks:
            if own and not marked:
                yield f"{name} is not marked with @gas.hookimpl"
        elif marked or (own and name.startswith("gas_")):
            guess = nearest(name, hooks)
            yield f"unknown hook {name!r}" + (f"; did you mean {guess!r}?" if guess else f"; known: {', '.join(hooks)}")


def _target_missing(role: Role, spec: BackendSpec, read_source: bool) -> str | None:
    """Why the target of `spec` cannot be there, found without importing it; None when it seems to be.

    With `read_source` its source is searched for the name; that is lenient, and the import, when it comes, has the last
    word. The toolkit's own are not searched: tests hold that they are there, and it would cost every start some time.
    """
    import sys
    from importlib.util import find_spec

    if (role.base is None) != spec.attribute.endswith(".toml"):
        wanted = "package:file.toml" if role.base is None else "module:Class"
        return f"target {spec.target!r} must be of the form {wanted!r}"
    try:
        found = find_spec(spec.module)
    except (ImportError, ValueError) as error:
        return f"target {spec.target!r} cannot be found: {error}"
    if found is None:
        return f"target {spec.target!r} names a module that is not there"
    if role.base is None:
        folders = list(found.submodule_search_locations or ())
        if folders and not any(os.path.isfile(os.path.join(folder, spec.attribute)) for folder in folders):
            return f"target {spec.target!r} names a file that is not there"
        return None
    if (module := sys.modules.get(spec.module)) is not None:
        missing = not hasattr(module, spec.attribute)
    else:
        missing = read_source and not _source_mentions(found, spec.attribute)
    return f"target {spec.target!r} names a class that is not there" if missing else None


def _source_mentions(found: Any, name: str) -> bool:
    import ast

    try:
        source = found.loader.get_source(found.name)
        tree = ast.parse(source) if source is not None else None
    except (AttributeError, ImportError, SyntaxError, ValueError):
        return True
    if tree is None:
        return True
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in {name, "__getattr__"}:
            return True
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == name:
            return True
        if isinstance(node, ast.alias) and (node.asname or node.name) in {name, "*"}:
            return True
    return False


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"it exits Python when imported (sys.exit({error.code!r}))"
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({os.path.basename(error.filename or '?')}, line {error.lineno})"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__
