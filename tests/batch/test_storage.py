"""Pictures and lists behind addresses: as in object storage, here by fsspec's addresses of this machine's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from batch_backends import FLAGS, pictures, rows

import gas
from gas.batch.ledger import Entry
from gas.errors import InputRefused
from gas.run.record import read_record

pytest.importorskip("fsspec")


def batch(source: str, **named: object) -> list[Entry]:
    return list(gas.batch(source, out="out", workers=1, **{**FLAGS, **named}))


def test_list_and_pictures_come_from_storage_and_go_to_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    listed = rows(pictures(tmp_path / "bucket", 3))
    (tmp_path / "bucket" / "jobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed))
    address = (tmp_path / "bucket").as_uri()
    found = batch(f"{address}/jobs.jsonl", store=f"{address}/edited/here")
    assert [entry.status for entry in found] == ["done"] * 3, found
    for entry in found:
        record = read_record(tmp_path / "bucket" / "edited" / "here" / entry.out)
        assert record.file is not None and record.file.sha256 == entry.output_sha256
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"ledger", "report", "index.html"}
    assert batch(f"{address}/jobs.jsonl", store=f"{address}/edited/here") == []
    pictures(tmp_path / "bucket", 4)  # written anew: another time, so other objects, as far as the service tells
    assert len(batch(f"{address}/jobs.jsonl", store=f"{address}/edited/here", check_inputs=True)) == 3


def test_an_object_that_is_not_there_is_an_item_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "bucket", 1)
    address = (tmp_path / "bucket").as_uri()
    (tmp_path / "bucket" / "jobs.jsonl").write_text('{"image": "gone.png", "instruction": "dog -> cat"}\n')
    (entry,) = batch(f"{address}/jobs.jsonl")
    assert (entry.exit_code, entry.status) == (3, "failed") and "no such object" in entry.error
    (tmp_path / "bucket" / "jobs.jsonl").write_text('{"image": "file:///etc/hostname", "instruction": "dog -> cat"}\n')
    with pytest.raises(InputRefused, match="outside the manifest's folder"):
        batch(f"{address}/jobs.jsonl")
