"""`gas bench detail`: one crop against frames, judged place by place; and how seams are measured."""

from __future__ import annotations

import io
import json
from pathlib import Path

import fake_backends
import numpy as np
import pytest
from rich.console import Console

from gas.errors import ResultRefused
from gas.files import OutputExists
from gas.interfaces import Edited, EditJob
from gas.testing.fakes import FakeEditor
from gas_diorama.bench import detail
from gas_diorama.bench.seams import seam
from gas_diorama.world.large import large_cases


def test_a_seam_is_the_step_that_grew_most() -> None:
    before = np.full((6, 8, 3), 100, np.uint8)
    before[:, 4:] = 130  # an edge that was there before
    mask = np.zeros((6, 8), np.float32)
    mask[:, 4:] = 1
    same = seam(before, before, mask)
    assert same is not None and (same.step, same.before, same.rise) == (30, 30, 0)
    after = before.copy()
    after[2, 4, 1] = 180
    found = seam(before, after, mask)
    assert found is not None and (found.step, found.before) == (80, 30) and found.rise == pytest.approx(50 / 6)
    assert seam(before, after, np.zeros_like(mask)) is None and seam(before, after, np.ones_like(mask)) is None


def test_frames_are_at_native_size_and_what_is_refused_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = fake_backends.registry()
    report = detail.run(["painter"], out=tmp_path, scenes=1, profile="diorama", registry=registry)
    crop, frames = report.tried
    assert (crop.work, frames.work) == ("crop", "frames") and crop.outside == frames.outside == 0
    assert crop.coarse is not None and frames.coarse is not None and crop.coarse > 2 * frames.coarse
    assert frames.seam is not None and frames.seam.step > frames.seam.before, "noise has a border that shows"
    assert not any(frames.result.done)
    told = json.loads((tmp_path / detail.SUMMARY).read_text())
    assert [row["work"] for row in told["rows"]["all"]] == ["one crop", "frames"]
    assert (tmp_path / detail.PICTURES / "painter-large-00.png").exists()
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(report.tables())
    assert "…" not in (shown := console.export_text()) and "512x512" in shown
    with pytest.raises(OutputExists):
        detail.run(["painter"], out=tmp_path, scenes=1, profile="diorama", registry=registry)

    def refuse(self: FakeEditor, job: EditJob) -> Edited:
        raise ResultRefused("no", "no")

    monkeypatch.setattr(FakeEditor, "edit", refuse)
    report = detail.run(["painter"], out=tmp_path / "no", scenes=1, profile="diorama", registry=registry)
    assert all(set(one.result.miss) == {"refused"} and one.seam is None for one in report.tried)


def test_the_trained_editor_does_more_in_frames(tmp_path: Path) -> None:
    report = detail.run(["instruct-pix2pix"], out=tmp_path, scenes=1, profile="diorama")
    crop, frames = (sum(one.result.done) for one in report.tried)
    assert frames == 2 > crop
    assert all(one.outside == 0 for one in report.tried)


def test_with_the_ground_the_things_frames_lie_on_top_of_its_own(tmp_path: Path) -> None:
    registry = fake_backends.registry()
    report = detail.run(["painter"], out=tmp_path, scenes=1, profile="diorama", registry=registry, ground=True)
    (case,) = large_cases(1, ground=True)
    assert [edit.part for edit in case.edits] == ["thing", "thing", "ground"]
    for one in report.tried:
        assert one.result.actions == ("change", "change") and len(one.result.done) == 2 and one.outside == 0
    assert json.loads((tmp_path / detail.SUMMARY).read_text())["ground"] is True
