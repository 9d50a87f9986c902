"""The ledger: what was told is there, whatever was killed when; what is not its own is passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from gas.batch.ledger import Entry, Ledger, entries
from gas.files import OutputExists


def entry(key: str, status: str = "done", attempt: int = 1, **more: object) -> Entry:
    return Entry(key, f"{key}.png", f"{key}.png", status, attempt, **more)  # type: ignore[arg-type]


def test_entries_come_back_as_they_were(tmp_path: Path) -> None:
    first = entry(
        "a", found=({"phrase": "ä\n", "score": 0.5},), inside=(1.5, None), pixels=(4, 3), outside=0.25, seed=0
    )
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.append([first, entry("b", "failed", exit_code=3, error="broken")])
        assert ledger.known["b"].status == "failed"
    assert list(entries(tmp_path / "ledger")) == [first, entry("b", "failed", exit_code=3, error="broken")]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_without_its_end_is_cut_off_and_the_next_is_whole(tmp_path: Path, cut: int) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.append([entry("a"), entry("b")])
    path = tmp_path / "ledger" / "part-0.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    assert [one.key for one in entries(tmp_path / "ledger")] == ["a"]
    with Ledger(tmp_path / "ledger") as ledger:
        assert set(ledger.known) == {"a"}
        ledger.append([entry("c")])
    assert [one.key for one in entries(tmp_path / "ledger")] == ["a", "c"]
    assert path.read_bytes().count(b"\n") == 2


def test_a_long_torn_line_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / "part-0.jsonl").write_bytes(entry("a").to_line() + b"x" * 200_000)
    with Ledger(tmp_path / "ledger"):
        pass
    assert (tmp_path / "ledger" / "part-0.jsonl").read_bytes() == entry("a").to_line()


@pytest.mark.parametrize("line", [
    b"{}\n", b"[]\n", b"null\n", b"{\n", b"\xff\n", b'{"key": 1, "item": "a", "out": "a", "status": "done"}\n',
    b'{"key": "k", "item": "a", "out": "a", "status": "great"}\n', b"[" * 100_000 + b"\n",
    b'{"key": "k", "item": "a", "out": "a", "status": "done", "attempt": "many"}\n',
])  # fmt: skip
def test_lines_that_are_none_are_passed_over(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "part-0.jsonl").write_bytes(line + entry("a").to_line())
    assert [one.key for one in entries(tmp_path)] == ["a"]


def test_all_parts_are_known_and_the_last_attempt_counts(tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    with Ledger(folder, 3) as ledger:
        ledger.append([entry("a", "failed", 1, ended="1"), entry("b", ended="1")])
    with Ledger(folder) as ledger:  # its part is read first
        ledger.append([entry("a", "done", 2, ended="2")])
    with Ledger(folder, 4) as ledger:
        assert (
            ledger.known["a"].status == "done" and ledger.known["a"].attempt == 2 and ledger.known["b"].status == "done"
        )
        assert ledger.by_out["a.png"] == ("2", "a")


def test_a_part_has_one_writer_and_parts_may_be_written_at_once(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger", 1), Ledger(tmp_path / "ledger", 2):
        third = Ledger(tmp_path / "ledger", 1)
        with pytest.raises(OutputExists, match="another run"):
            third.__enter__()
    with third:
        pass


def test_names_are_claimed_once_and_by_all_parts(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger", 1) as ledger:
        ledger.claim(["a.png", "ä.png"])
        ledger.claim(["a.png"])
    with Ledger(tmp_path / "ledger", 2) as ledger:
        assert ledger.names == {"a.png", "ä.png"}
    assert (tmp_path / "ledger" / "names-1.txt").read_text("utf-8") == "a.png\nä.png\n"
