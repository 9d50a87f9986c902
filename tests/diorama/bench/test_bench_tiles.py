"""`gas bench tiles`: the same edits without and with detail, against exact results."""

from __future__ import annotations

import io
import json
from pathlib import Path

import fake_backends
import numpy as np
import pytest
from rich.console import Console

from gas.backends.registry import Registry
from gas.errors import ResultRefused
from gas.files import OutputExists
from gas.interfaces import Edited, EditJob, Effort, Refiner
from gas.testing.fakes import FakeEditor
from gas_diorama.bench import large_places


class Noisy(Refiner):
    """Draws noise."""

    def effort(self, job: EditJob, *, timed: bool = False) -> Effort:
        return Effort((1,) * len(job.plan.subtasks), 1, 2)

    def edit(self, job: EditJob) -> Edited:
        noise = np.random.default_rng(job.seed).integers(-20, 20, job.image.shape)
        image = np.clip(job.image.astype(int) + noise, 0, 255).astype(np.uint8)
        return Edited(image, log={"evaluations": 2})


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    known = fake_backends.registry()
    load = known.load
    monkeypatch.setattr(known, "load", lambda role, name: Noisy if name == "tiles" else load(role, name))
    return known


def test_the_same_edit_without_and_with_detail(registry: Registry, tmp_path: Path) -> None:
    report = large_places.run("painter", out=tmp_path, scenes=1, profile="retouch", registry=registry)
    ground, sky = report.tried
    assert (ground.part, sky.part) == ("ground", "sky") and ground.source != ground.target
    assert ground.sharp is not None and sky.sharp is not None
    assert ground.sharp.detailed > ground.sharp.without, "as sharp as the grass was"
    assert ground.sharp.detailed < 1.5 * ground.sharp.photograph
    assert sky.sharp.detailed < sky.sharp.without + sky.sharp.photograph + 0.1, "a smooth sky stays smooth"
    assert ground.outside == sky.outside == 0 and ground.rows == 2 and ground.tiles == 1
    told = json.loads((tmp_path / large_places.SUMMARY).read_text())
    assert len(told["edits"]) == 2 and told["detail"] == "tiles"
    assert len(list((tmp_path / large_places.PICTURES).iterdir())) == 2
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(report.tables())
    assert "ground" in (shown := console.export_text()) and "\u2026" not in shown
    with pytest.raises(OutputExists):
        large_places.run("painter", out=tmp_path, scenes=1, profile="retouch", registry=registry)


def test_what_is_refused_counts_for_nothing_and_is_said(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: FakeEditor, job: EditJob) -> Edited:
        raise ResultRefused("no", "no")

    monkeypatch.setattr(FakeEditor, "edit", refuse)
    report = large_places.run("painter", out=tmp_path, scenes=1, profile="retouch", registry=registry)
    assert all(one.sharp is None for one in report.tried) and "2 of 2 edits were refused" in report.notes[0]
