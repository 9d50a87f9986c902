"""`gas cache`, `--no-cache`, and what a run says of what it took from the cache."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_cli import FAKE, Said, edit, gas, here  # noqa: F401 (the last two are fixtures)

from gas.interfaces import Edited, EditJob
from gas.run.reuse.told import Told
from gas.testing import fakes
from gas.types import EditPlan, Subtask
from gas_shell.reused import before_edit, reused_lines
from gas_ui.wording import page_words


@pytest.fixture
def asked(gas: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> list[str]:  # noqa: F811
    """Who was asked: "planner", "editor". The cache is on, as for a person."""
    monkeypatch.delenv("GAS_CACHE", raising=False)
    monkeypatch.delenv("GAS_CACHE_FOLDER", raising=False)
    who: list[str] = []
    made, planned = fakes.FakeEditor.edit, fakes.FakePlanner.plan

    def edits(self: Any, job: EditJob) -> Edited:
        who.append("editor")
        return made(self, job)

    def plans(self: Any, request: Any) -> Any:
        who.append("planner")
        return planned(self, request)

    monkeypatch.setattr(fakes.FakeEditor, "edit", edits)
    monkeypatch.setattr(fakes.FakePlanner, "plan", plans)
    monkeypatch.setattr(fakes.FakePlanner, "reusable", True)
    return who


def counts(gas: Callable[..., Said]) -> dict[str, int]:  # noqa: F811
    data = json.loads(gas("cache", "ls", "--json").out)["data"]
    return {one["kind"]: one["entries"] for one in data["kinds"]}


def test_the_same_edit_again_writes_the_same_bytes_and_says_what_it_took(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    asked: list[str],
) -> None:
    first = gas(*edit("-o", "a.png"))
    assert first.code == 0 and asked == ["planner", "editor"] and "from the cache" not in first.err
    second = gas(*edit("-o", "b.png"))
    assert second.code == 0 and asked == ["planner", "editor"]
    assert (here / "a.png").read_bytes() == (here / "b.png").read_bytes(), "its record too"
    assert "seed 1; from the cache: plan (arrows)" in second.err
    assert "from the cache: tiger in the place of dog (painter)" in second.err
    assert "no change had to be made" in second.err and "no change had to be made" not in first.err
    data = json.loads(gas(*edit("-o", "c.png", "--json")).out)["data"]
    assert [(one["stage"], one["by"]) for one in data["reused"]] == [("plan", "arrows"), ("edit", "painter")]
    fresh = gas(*edit("-o", "d.png", "--no-cache"))
    assert asked == ["planner", "editor"] * 2 and "from the cache" not in fresh.err
    assert (here / "a.png").read_bytes() == (here / "d.png").read_bytes()


@pytest.mark.parametrize("how", ["flag", "variable", "file"])
def test_the_cache_can_be_switched_off(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    if how == "variable":
        monkeypatch.setenv("GAS_CACHE", "0")
    if how == "file":
        (here / "gas.toml").write_text("cache = false\n")
    more = ["--no-cache"] if how == "flag" else []
    for name in ("a.png", "b.png"):
        assert gas(*edit("-o", name, *more)).code == 0
    assert asked == ["planner", "editor"] * 2 and counts(gas) == {}
    if how != "flag":
        assert "switched off" in gas("cache", "ls").err
        gas(*edit("-o", "c.png", "--cache"))
        assert counts(gas)["edits"] == 1


def test_a_replay_asks_the_editor(gas: Callable[..., Said], asked: list[str]) -> None:  # noqa: F811
    """It shows what this machine makes now, and not what it once made."""
    gas(*edit("-o", "a.png"))
    asked.clear()
    said = gas("replay", "a.png", "-o", "again.png")
    assert said.code == 0 and "the same bytes" in said.err and asked == ["editor"] and "from the cache" not in said.err


def test_pictures_of_the_steps_are_written_each_time(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    asked: list[str],
) -> None:
    gas(*edit("-o", "a.png"))
    gas(*edit("-o", "b.png", "--preview-every", "1"))
    assert any((here / "b-steps").iterdir())
    gas(*edit("-o", "c.png", "--save-maps", "maps"))
    assert any((here / "maps").iterdir()) and asked == ["planner", "editor", "editor", "editor"]


def test_a_comparison_makes_every_edit_and_keeps_it(gas: Callable[..., Said], asked: list[str]) -> None:  # noqa: F811
    """Its seconds are shown. The edit that follows it takes what it made."""
    compare = [
        "compare",
        "dog.png",
        "dog -> tiger",
        "--profile",
        "diorama",
        "--planner",
        "arrows",
        "--grounder",
        "none",
    ]
    compare += ["--editors", "painter", "--box", "dog=30,20,80,60", "--seed", "1"]
    for name in ("a.png", "b.png"):
        assert gas(*compare, "-o", name).code == 0
    assert asked == ["planner", "editor", "editor"]
    gas(*edit("-o", "c.png"))
    assert asked == ["planner", "editor", "editor"]


def test_plan_and_ground_say_what_they_took(gas: Callable[..., Said], asked: list[str]) -> None:  # noqa: F811
    words = ["dog.png", "dog -> tiger", "--profile", "diorama", "--planner", "arrows"]
    places = ["--grounder", "places", "-o", 'boxes={"dog": [0.2, 0.2, 0.6, 0.6]}', "--editor", "painter"]
    for n in range(2):
        planned = gas("plan", *words, "-o", f"{n}.json")
        found = gas("ground", *words, *places, "-o", f"regions{n}")
        assert planned.code == found.code == 0, found.err
    assert asked == ["planner"]
    assert "from the cache: plan (arrows)" in planned.err
    assert "from the cache: plan (arrows) and regions (places)" in found.err
    assert [
        one["stage"] for one in json.loads(gas("ground", *words, *places, "-o", "r3", "--json").out)["data"]["reused"]
    ]


def test_a_batch_keeps_nothing(gas: Callable[..., Said], here: Path, asked: list[str]) -> None:  # noqa: F811
    (here / "in").mkdir()
    (here / "dog.png").rename(here / "in" / "dog.png")
    said = gas("batch", "in", "make the picture darker", "--profile", "retouch", "-o", "out", "--workers", "1")
    assert said.code == 0, said.err
    assert not (here / "home" / "cache" / "stages").exists()


def test_kinds_are_listed_and_removed(gas: Callable[..., Said], here: Path, asked: list[str]) -> None:  # noqa: F811
    assert "nothing is kept" in gas("cache", "ls").out and "nothing was kept" in gas("cache", "clear").out
    gas(*edit("-o", "a.png"))
    listed = gas("cache", "ls").out
    assert str(here / "home" / "cache" / "stages") in listed and "2.0 GB" in listed
    row = next(line for line in listed.splitlines() if line.strip().startswith("edits"))
    assert " 1 " in row and " s" in row and "what editors made" in row
    units = {"bytes": 1, "kB": 1000}
    total, *sizes = [float(number) * units[unit] for number, unit in re.findall(r"([\d.]+) (bytes|kB)\b", listed)]
    assert len(sizes) == 4 and sum(sizes) == pytest.approx(total, abs=50 * (len(sizes) + 1)), "they add up to it"
    assert counts(gas) == {"plans": 1, "edits": 1, "sizes": 1, "seen": 1}
    assert gas("cache", "clear", "plans").out.startswith("removed 1 entry, ")
    assert counts(gas) == {"edits": 1, "sizes": 1, "seen": 1}
    wrong = gas("cache", "clear", "edit")
    assert wrong.code == 2 and "edits" in wrong.err
    told = json.loads(gas("cache", "clear", "--json").out)["data"]
    assert told["entries"] == 3 and told["bytes"] > 0 and counts(gas) == {}
    gas(*edit("-o", "b.png"))
    assert asked == ["planner", "editor"] * 2


def test_a_variable_moves_it_and_a_setting_limits_it(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GAS_CACHE_FOLDER", str(here / "elsewhere"))
    monkeypatch.setenv("GAS_CACHE_SIZE", "1MB")
    said = gas(*edit("-o", "a.png"))
    assert "GAS_CACHE_FOLDER is no setting" not in said.err
    assert (here / "elsewhere" / "stages" / "edits").is_dir() and "1.0 MB" in gas("cache", "ls").out
    monkeypatch.setenv("GAS_CACHE_SIZE", "lots")
    assert gas("cache", "ls").code == 2


@pytest.mark.parametrize("what", ["file", "link", "kind", "closed"])
def test_a_folder_that_cannot_be_listed_is_no_empty_one(
    gas: Callable[..., Said],  # noqa: F811
    here: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    folder = here / "home" / "cache" / "stages"
    folder.parent.mkdir(parents=True)
    if what == "file":
        folder.write_bytes(b"")
    elif what == "link":
        folder.symlink_to(here, target_is_directory=True)
    else:
        folder.mkdir()
        (folder / "edits").write_bytes(b"")
    if what == "closed":  # to its owner too; root could read it all the same

        def closed(path: Path) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr("gas.cache.store.os.scandir", closed)
    for command in ("ls", "clear"):
        said = gas("cache", command)
        assert said.code == 2 and str(folder) in said.err and "GAS_CACHE_FOLDER" in said.err and said.out == ""


def test_entries_that_cannot_be_removed_are_said(
    gas: Callable[..., Said],  # noqa: F811
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gas(*edit("-o", "a.png"))

    def refused(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "unlink", refused)
    said = gas("cache", "clear", "edits")
    assert (said.code == 2 and "1 entries" in said.err) or "cannot be removed" in said.err


def test_the_words_for_what_was_made_anew() -> None:
    together = Told("edit", "dds", ("a", "b"), "together")
    plan = EditPlan(subtasks=(Subtask(source="dog", target="cat"), Subtask(source="ball", target="box")))
    (line,) = reused_lines([together], 5, plan)
    assert line == "made anew: dds makes its 2 changes together, so that each depends on all"
    seeds = [Told("edit", "dds", (name,), "seed", -4) for name in "ab"]
    (line,) = reused_lines(seeds, 9, plan)
    assert "with --seed 5, as before" in line
    assert "with seed 5 in Settings, as before" in next(reused_lines(seeds, 9, plan, page_words)), "on the page"
    assert list(reused_lines([seeds[0], Told("edit", "dds", ("b",), "seed", 3)], 9, plan)) == [], "of two runs before"
    kept = [Told("edit", "dds", ("cat in the place of dog",)), Told("edit", "sds", ("box in the place of ball",))]
    assert list(reused_lines(kept, 5, plan))[-1] == "no change had to be made: all of them are from the cache"
    assert list(reused_lines(kept[:1], 5, plan)) == ["from the cache: cat in the place of dog (dds)"]
    assert before_edit([]) == "" and before_edit([Told("regions", "a"), Told("regions", "b")]) == (
        "; from the cache: regions (a, b)"
    )
