"""What the documentation names is there: functions, hooks, files and headings."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from gas.backends import hookspecs

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("**/*.md")])

_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|(?:src|href)=\"([^\"]+)\"|^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_NAME = re.compile(r"`((?:gas|gas_\w+)(?:\.\w+)+)`")


def prose(page: Path) -> str:
    """The page without its listings."""
    return _FENCE.sub("", page.read_text("utf-8"))


def links(page: Path) -> list[str]:
    """All targets of links and pictures."""
    return ["".join(groups) for groups in _LINK.findall(_CODE.sub("", prose(page)))]


def anchors(page: Path) -> set[str]:
    """The headings as a browser addresses them."""
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in _HEADING.findall(prose(page)))
    return {heading.replace(" ", "-") for heading in kept}


def resolve(name: str) -> object:
    """The object with a dotted name. ImportError or AttributeError when it is not there."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:count]))
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            continue
        for attribute in parts[count:]:
            found = getattr(found, attribute)
        return found
    raise ImportError(name)


METHODS = _NAME.findall((ROOT / "docs" / "methods.md").read_text("utf-8"))
INTERNAL = [
    pytest.param(page, link, id=f"{page.relative_to(ROOT)}: {link}")
    for page in PAGES
    for link in links(page)
    if not re.match(r"[a-z][a-z0-9+.-]*:", link)
]


@pytest.mark.parametrize("name", sorted(set(METHODS)))
def test_every_function_in_methods_exists(name: str) -> None:
    found = resolve(name)
    assert inspect.isfunction(found) or inspect.isclass(found) or isinstance(found, property)
    assert inspect.getdoc(found), f"{name} is not documented"


def test_methods_names_the_heart_of_each_method() -> None:
    assert {name.rpartition(".")[2] for name in METHODS} >= {"distill", "patch_nce", "guided", "Penalty", "snr_bin"}


def test_a_name_that_is_not_there_is_noticed() -> None:
    with pytest.raises(AttributeError):
        resolve("gas.diffusion.distill.loop.distil")
    with pytest.raises(ImportError):
        resolve("gas_nowhere.distill")


def test_every_hook_is_documented() -> None:
    hooks = [name for name, one in vars(hookspecs).items() if hasattr(one, "gas_spec")]
    assert len(hooks) >= 4
    page = (ROOT / "docs" / "write-a-backend.md").read_text("utf-8")
    assert [hook for hook in hooks if f"`{hook}`" not in page] == []


@pytest.mark.parametrize(("page", "link"), INTERNAL)
def test_every_internal_link_leads_somewhere(page: Path, link: str) -> None:
    path, _, fragment = link.partition("#")
    target = page if not path else (page.parent / path).resolve()
    assert target.is_relative_to(ROOT), f"{link} leads out of the repository"
    assert target.exists()
    if fragment:
        assert target.suffix == ".md" and fragment in anchors(target)


def test_links_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '# One, two: `three`\n[a](b.md#c) ![p](p.png "title") <img src="q.png"> `[no](no.md)`\n'
        "```\n[no](no.md)\n# no\n```\n[r]: s.md\n"
    )
    assert sorted(links(page)) == ["b.md#c", "p.png", "q.png", "s.md"]
    assert anchors(page) == {"one-two-three"}
