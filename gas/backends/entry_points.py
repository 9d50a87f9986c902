"""The entry points of the group `gas`: which plugins are installed, and which of them may be looked at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from gas.backends.spec import GROUP, BrokenPlugin, Plugin

if TYPE_CHECKING:
    from importlib.metadata import Distribution


def find_plugins() -> tuple[list[Plugin], list[BrokenPlugin]]:
    """The installed plugins, sorted by distribution and name, and the entry points that are malformed."""
    # What is installed is looked at anew, here and by `missing_packages` after it.
    _requirements.cache_clear()
    _is_installed.cache_clear()
    from importlib.metadata import distributions

    plugins: list[Plugin] = []
    broken: list[BrokenPlugin] = []
    seen: set[str] = set()
    for distribution in distributions():
        text = _entry_points_text(distribution)
        if not text or not re.search(rf"^\s*\[\s*{GROUP}\s*\]", text, re.MULTILINE):
            continue
        name, version = _identity(distribution)
        if name in seen:  # the first on the path shadows the others, as with imports
            continue
        seen.add(name)
        for line in _lines_of_group(text):
            key, _, module = (part.strip() for part in line.partition("="))
            plugin = Plugin(key, module, name, version)
            if re.fullmatch(r"[\w.-]+", key) and re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", module):
                plugins.append(plugin)
            else:
                broken.append(plugin.broken(f"malformed entry point {line!r}: expected name = module"))
    plugins.sort(key=lambda p: (not p.builtin, p.distribution, p.name))
    return plugins, broken


def missing_packages(distribution: str, extra: str) -> list[str]:
    """The packages of an extra of `distribution` that are not installed, from metadata alone.

    Versions are not compared and nothing is imported, so that a listing stays quick; the import has the last word.
    """
    missing = []
    for requirement in _requirements(distribution):
        wanted, _, marker = requirement.partition(";")
        if not re.fullmatch(rf"""\s*extra\s*==\s*['"]{re.escape(extra)}['"]\s*""", marker):
            continue
        name = re.match(r"[\w.-]+", wanted.strip())
        if name is not None and not _is_installed(name[0]):
            missing.append(name[0])
    return missing


@cache
def _requirements(distribution: str) -> tuple[str, ...]:
    from importlib.metadata import PackageNotFoundError, requires

    try:
        return tuple(requires(distribution) or ())
    except PackageNotFoundError:
        return ()


@cache
def _is_installed(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def select(plugins: Iterable[Plugin], chosen: str | None) -> tuple[list[Plugin], list[BrokenPlugin]]:
    """The plugins that the environment variable GAS_PLUGINS lets in, and the names in it that are not installed.

    None or "" lets all in, "none" or "0" only the toolkit's own, otherwise it is a list of distributions or plugins,
    separated by commas. The toolkit's own plugins are always in.
    """
    plugins = list(plugins)
    if not chosen or not chosen.strip():
        return plugins, []
    wanted = {_normal(n) for n in chosen.split(",") if n.strip()} - {"none", "0"}
    names = {n for p in plugins for n in (_normal(p.name), p.distribution)}
    missing = [
        BrokenPlugin(name, "", name, "named in GAS_PLUGINS but not installed") for name in sorted(wanted - names)
    ]
    return [p for p in plugins if p.builtin or {_normal(p.name), p.distribution} & wanted], missing


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def _entry_points_text(distribution: Distribution) -> str | None:
    try:
        return distribution.read_text("entry_points.txt")
    except (OSError, UnicodeDecodeError):
        return None


def _identity(distribution: Distribution) -> tuple[str, str]:
    """Name and version of a distribution, from its folder's name where its metadata is damaged."""
    try:
        name, version = distribution.metadata["Name"], distribution.version
    except Exception:  # noqa: BLE001 - damaged metadata raises differently in every Python version
        name, version = "", ""
    if name:
        return _normal(name), version or "?"
    folder = getattr(distribution, "_path", None)
    name, _, version = getattr(folder, "name", "unknown").removesuffix(".dist-info").partition("-")
    return _normal(name), version or "?"


def _lines_of_group(text: str) -> Iterator[str]:
    group = None
    for line in (raw.strip() for raw in text.splitlines()):
        if line.startswith("["):
            group = line.strip("[] \t")
        elif line and not line.startswith(("#", ";")) and group == GROUP:
            yield line
