"""A batch with real worker processes: what is done, what is recorded, and what a second run does."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import batch_backends
import pytest
from batch_backends import FLAGS, pictures, rows
from PIL import Image as Pictures

import gas
from gas.batch.ledger import Entry, entries
from gas.errors import GasError, InputRefused, ResultRefused, UsageError
from gas.files import OutputExists
from gas.run.record import read_record


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(items: Any, **named: Any) -> list[Entry]:
    """The entries of a batch with the fake backends. A worker is a process."""
    return list(gas.batch(items, **{"out": "out", "workers": 1, **FLAGS, **named}))


def outputs(folder: Path) -> dict[str, bytes]:
    """The bytes of every picture in an output folder."""
    found = [path for path in folder.rglob("*.png") if "report" not in path.relative_to(folder).parts]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_ten_poisoned_of_a_hundred(here: Path) -> None:
    """RELIABILITY, row 20: one bad item never stops a batch."""
    listed = rows(pictures(here, 100))
    (here / "empty.png").write_bytes(b"")
    (here / "cut.png").write_bytes((here / "p000.png").read_bytes()[:400])
    (here / "text.png").write_text("no picture")
    (here / "folder.png").mkdir()
    poison: list[tuple[dict[str, Any], int]] = [
        ({"image": "missing.png"}, 3),
        ({"image": "empty.png"}, 3),
        ({"image": "cut.png"}, 3),
        ({"image": "text.png"}, 3),
        ({"image": "folder.png"}, 3),
        ({"instruction": "nobody can read this"}, 4),
        ({"instruction": "unicorn -> horse"}, 5),
        ({"instruction": "dog -> nothing"}, 11),
        ({"instruction": "dog -> trouble"}, 9),
        ({"instruction": "dog -> death"}, 7),
    ]
    bad = dict(zip(range(5, 100, 10), poison, strict=True))
    for index, (change, _) in bad.items():
        listed[index] |= change
    found = run(listed, workers=2)
    by_name = {entry.item: entry for entry in found}
    assert len(found) == len(by_name) == 100
    assert sum(entry.status == "done" for entry in found) == 90
    for index, (_, code) in bad.items():
        entry = by_name[listed[index]["image"]]
        assert (entry.status, entry.exit_code) == ("failed", code), entry
        assert entry.error and entry.remedy
    for entry in found:
        if entry.status == "done":
            assert read_record(here / "out" / entry.out).seed == entry.seed
    assert len(outputs(here / "out")) == 90
    before = {path: path.stat().st_mtime_ns for path in (here / "out").rglob("*.png*")}

    again = run(listed, workers=2)
    assert {entry.item for entry in again} == {listed[index]["image"] for index in bad}
    assert all(entry.status == "failed" and entry.attempt == 2 for entry in again)
    assert {path: path.stat().st_mtime_ns for path in (here / "out").rglob("*.png*")} == before
    told = Counter((entry.key, entry.status) for entry in entries(here / "out" / "ledger"))
    assert max(count for (_, status), count in told.items() if status == "done") == 1
    assert run(listed, skip_failed=True) == []

    Pictures.new("RGB", (48, 40), (30, 60, 90)).save(here / "missing.png")
    repaired = run(listed)
    assert [entry.item for entry in repaired if entry.status == "done"] == ["missing.png"]


def test_memory_that_is_short_is_tried_once_more_and_then_recorded(here: Path) -> None:
    found = run(rows(pictures(here, 1), "dog -> memory"))
    assert [(entry.exit_code, entry.status) for entry in found] == [(7, "failed")]


def test_what_a_batch_writes_is_what_an_edit_writes(here: Path) -> None:
    (name,) = pictures(here, 1)
    (entry,) = run(rows([name]), seed=5)
    flags = {key: value for key, value in FLAGS.items() if key != "registry"}
    session = gas.Session.of(registry=batch_backends.registry(), **flags)
    gas.edit(name, "dog -> tiger", out="alone.png", seed=5, session=session)
    assert (here / "alone.png").read_bytes() == (here / "out" / entry.out).read_bytes()
    record = read_record(here / "out" / entry.out)
    assert record.asked.instruction == "dog -> tiger" and record.planner is not None
    assert record.planner.name == "arrows"


def test_a_changed_option_request_or_picture_is_made_again(here: Path) -> None:
    names = pictures(here, 3)
    first = run(rows(names))
    options = {**FLAGS["options"], "painter": {"colour": (0, 0, 255)}}
    blue = run(rows(names), options=options)
    assert {e.out for e in blue} == {e.out for e in first} and not {e.key for e in blue} & {e.key for e in first}
    assert run(rows(names), options=options) == []
    Pictures.new("RGB", (48, 40), (1, 2, 3)).save(here / names[1])
    assert [entry.item for entry in run(rows(names), options=options)] == [names[1]]
    (here / names[0]).touch()  # another time, the same bytes
    assert run(rows(names), options=options) == []
    (here / "out" / names[2]).unlink()
    assert [entry.item for entry in run(rows(names), options=options)] == [names[2]]


def test_a_changed_file_of_the_same_size_and_time_is_noticed_when_asked(here: Path) -> None:
    Pictures.new("RGB", (48, 40), (90, 60, 30)).save("p.bmp")
    run(rows(["p.bmp"]))
    was = Path("p.bmp").stat()
    Pictures.new("RGB", (48, 40), (30, 60, 90)).save("p.bmp")
    os.utime("p.bmp", ns=(was.st_atime_ns, was.st_mtime_ns))
    assert Path("p.bmp").stat().st_size == was.st_size
    assert run(rows(["p.bmp"])) == []
    assert len(run(rows(["p.bmp"]), check_inputs=True)) == 1


def test_files_of_somebody_else_are_never_replaced(here: Path) -> None:
    names = pictures(here, 2)
    (here / "out").mkdir()
    (here / "out" / names[1]).write_text("precious")
    with pytest.raises(OutputExists, match="this batch has not made it"):
        run(rows(names))
    assert (here / "out" / names[1]).read_text() == "precious" and not (here / "out" / names[0]).exists()
    run(rows(names), overwrite=True)
    assert len(outputs(here / "out")) == 2


def test_a_picture_that_is_to_be_edited_is_never_an_output(here: Path) -> None:
    names = pictures(here, 2)
    listed = rows(names)
    with pytest.raises(UsageError, match="one of the pictures to be edited"):
        run(listed, out=".", overwrite=True)


def test_two_runs_at_once_are_refused(here: Path) -> None:
    names = pictures(here, 3)
    first = gas.batch(rows(names), out="out", workers=1, **FLAGS)
    next(first)
    with pytest.raises(OutputExists, match="another run is writing it now"):
        run(rows(names))
    assert len(list(first)) == 2


def test_a_fault_of_the_job_ends_it_before_anything_is_edited(here: Path) -> None:
    names = pictures(here, 3)
    for named, code in [
        ({"editor": "paynter"}, 2),
        ({"options": {"painter": {"colur": 1}}}, 2),
        ({"options": {"painter": {"broken": True}}}, 11),
        ({"planner": "openai", "editor": "dds", "model": "nobody/nowhere"}, 6),
        ({"work": "sideways"}, 2),
    ]:
        with pytest.raises(GasError) as caught:
            run(rows(names), **named)
        assert caught.value.exit_code == code, caught.value
        assert not outputs(here / "out")
    assert not list(entries(here / "out" / "ledger"))


def test_the_end_after_so_many_failures_keeps_what_is_done(here: Path) -> None:
    names = pictures(here, 30)
    found = run(rows(names, "dog -> nothing"), max_failures=2, workers=1)
    assert 2 <= len(found) <= 5
    assert len(list(entries(here / "out" / "ledger"))) == len(found)


def test_who_stops_listening_ends_the_workers_and_keeps_what_is_done(here: Path) -> None:
    names = pictures(here, 20)
    for entry in gas.batch(rows(names), out="out", workers=2, **FLAGS):
        assert entry.status == "done"
        break
    kept = len(list(entries(here / "out" / "ledger")))
    assert 1 <= kept < 20
    assert len(run(rows(names))) == 20 - kept


def test_rows_say_places_masks_plans_seeds_names_and_options(here: Path) -> None:
    names = pictures(here, 5)
    Pictures.new("L", (48, 40), 255).save(here / "mask.png")
    plan = {"version": 1, "subtasks": [{"source": "dog", "target": "cat"}]}
    (here / "plan.json").write_text(json.dumps(plan))
    listed = [
        {"image": names[0], "instruction": "hat -> cap", "boxes": {"hat": [1, 1, 20, 20]}, "seed": 3},
        {"image": names[1], "instruction": "hat -> cap", "masks": {"hat": "mask.png"}, "out": "a/b/hat.png"},
        {"image": names[2], "plan": "plan.json"},
        {"image": names[3], "plan": plan, "options": {"colour": [0, 255, 0]}},
        {"image": names[4], "instruction": "hat -> cap", "boxes": {"hat": ["10%", "0%", "50%", "50%"]}},
    ]
    found = {entry.item: entry for entry in run(listed)}
    assert all(entry.status == "done" for entry in found.values()), found
    assert found[names[0]].seed == 3 and found[names[0]].found[0]["given"]
    assert found[names[1]].out == "a/b/hat.png" and (here / "out" / "a" / "b" / "hat.png").exists()
    assert found[names[2]].asked == "change dog" and read_record(here / "out" / names[2]).planner is None
    assert read_record(here / "out" / names[3]).editor.options["colour"] == [0, 255, 0]
    assert found[names[4]].found[0]["box"] == [4.8, 0.0, 24.0, 20.0]


def test_pictures_of_one_size_share_a_batch_when_asked(here: Path) -> None:
    names = pictures(here, 12)
    options = {**FLAGS["options"], "painter": {"seconds": 0.05}}
    run(rows(names), together=4, workers=1, options=options)
    shared = [read_record(path).log.get("together", 1) for path in (here / "out").glob("*.png")]
    assert len(shared) == 12 and max(shared) > 1
    run(rows(names), out="alone", workers=1, options=options)
    assert all("together" not in read_record(path).log for path in (here / "alone").glob("*.png"))


def test_seeds_are_the_same_for_the_same_and_others_for_twins(here: Path) -> None:
    (name,) = pictures(here, 1)
    found = run([*rows([name]), *rows([name])])
    assert len({entry.seed for entry in found}) == 2 and {entry.out for entry in found} == {"p000.png", "p000-2.png"}
    again = run([*rows([name]), *rows([name])], out="again")
    assert {(entry.out, entry.seed, entry.output_sha256) for entry in again} == {
        (entry.out, entry.seed, entry.output_sha256) for entry in found
    }


def test_a_programs_own_rows_are_checked_too(here: Path) -> None:
    with pytest.raises(InputRefused, match=r"item 1: has neither(.|\n)*item 2: image: field"):
        run([{"image": "a.png"}, {"imag": "b.png", "instruction": "x"}])
    assert not (here / "out").exists()


def test_errors_before_the_first_entry_come_from_the_call(here: Path) -> None:
    with pytest.raises(ResultRefused):
        broken = {**FLAGS, "options": {"painter": {"broken": True}}}
        next(gas.batch(rows(pictures(here, 1)), out="out", workers=1, **broken))
