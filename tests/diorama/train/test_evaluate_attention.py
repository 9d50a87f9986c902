"""Where an instruction model's attention is, against exact regions: both branches, the sweep, figures by action."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from gas.interfaces import GroundJob
from gas.testing.tiny import build_tiny_instruct_pix2pix
from gas.types import Region
from gas_diorama.bench.follow import Guidance, load_parts
from gas_diorama.train import evaluate_attention as module
from gas_diorama.train.evaluate_attention import Seen, by_action, compare, exact_region, look, overlap
from gas_diorama.world.drawing import mask, render, silhouette
from gas_diorama.world.pairs import Pair, held_out
from gas_diorama.world.scene import Edit, Scene, Thing, apply

pytestmark = pytest.mark.seeded  # libraries draw the first weights of the networks in here


pytestmark = pytest.mark.filterwarnings("ignore:the prompt")

CAR, TREE = Thing("car", "red", 34, 110, 44), Thing("tree", "green", 96, 104, 44)
SCENE = Scene("clear", "grass", 66, (CAR, TREE), 3)
STEPS = Guidance(3.0, 1.5, 2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_instruct_pix2pix(tmp_path_factory.mktemp("tiny") / "ip2p", prediction_type="v_prediction")


def test_the_exact_region_is_what_changes() -> None:
    remove = Edit("remove", "thing", CAR, None)
    assert np.array_equal(exact_region(SCENE, remove), silhouette(CAR) > 0.5)
    assert np.array_equal(exact_region(SCENE, Edit("change", "sky", "clear", "night")), mask(SCENE, "sky") > 0.5)
    moved = Thing("ball", "blue", 34, 110, 30)
    both = exact_region(SCENE, Edit("change", "thing", CAR, moved))
    assert np.array_equal(both, (silhouette(CAR) > 0.5) | (silhouette(moved) > 0.5))


def test_the_attention_of_both_branches_at_every_size_is_that_of_one_pair_alone(folder: Path) -> None:
    """A batch of pairs sees what each pair sees when it is asked alone; two batches have noises of their own."""
    parts = load_parts(folder)
    pairs = held_out(2, "validation")
    one, two = look(parts, pairs, STEPS, batch=1)
    assert {branch for branch, _ in one.marks} == set(module.BRANCHES) and {side for _, side in one.marks} >= {16, 8}
    assert all(marks.shape == (2, side, side) for (_, side), marks in one.marks.items())
    again = look(parts, pairs[:1], STEPS, batch=14)[0]
    assert np.array_equal(again.picture, one.picture)
    for key, marks in one.marks.items():
        torch.testing.assert_close(again.marks[key], marks)
        assert not torch.equal(two.marks[key], marks)
    assert not torch.equal(one.marks["null", 16], one.marks["instruction", 16])
    other = look(parts, [(pairs[0][0], "make something else of it")], STEPS)[0]
    assert not torch.allclose(other.marks["instruction", 16], one.marks["instruction", 16], atol=1e-7)


class FakeZone:
    """Differences are the first mark's values."""

    def difference(self, first: torch.Tensor, last: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
        return np.kron(first.numpy(), np.ones((size[0] // 16, size[1] // 16)))

    def lack(self, relevance: torch.Tensor, size: tuple[int, int]) -> np.ndarray:
        return np.kron(255 - relevance.numpy(), np.ones((size[0] // 16, size[1] // 16)))

    def rough(self, difference: np.ndarray, threshold: float) -> np.ndarray:
        return difference <= threshold

    def choose(self, rough: np.ndarray, segments: list[np.ndarray]) -> tuple[int | None, float]:
        overlaps = [overlap(rough, one) for one in segments]
        best = int(np.argmax(overlaps)) if overlaps else None
        return (None, 0.0) if best is None or not overlaps[best] else (best, overlaps[best])


def session(segments: list[np.ndarray], asked: list[np.ndarray]) -> Any:
    def ground(job: GroundJob) -> list[Region]:
        asked.append(job.image)
        return [Region("", mask=one.astype(np.float32)) for one in segments]

    segmenter = SimpleNamespace(ground=ground)
    return SimpleNamespace(backend=lambda role, name: FakeZone(), segmenter=lambda: segmenter)


def seen(edit: Edit, region: np.ndarray, done: bool = True) -> Seen:
    """Attention that is 10 in the region's cells, 100 elsewhere."""
    cells = region.reshape(16, 8, 16, 8).mean((1, 3)) > 0.5
    marks = torch.from_numpy(np.where(cells, 10.0, 100.0))
    pair = Pair(edit.action, SCENE, edit, apply(SCENE, [edit]))
    return Seen(
        pair,
        render(pair.after),
        done,
        region,
        {("null", 16): torch.stack([marks, marks])},
        torch.from_numpy(255.0 * cells),
    )


def test_rough_regions_and_segments_are_compared_with_the_exact_one() -> None:
    exact = np.zeros((128, 128), bool)
    exact[64:96, 32:64] = True
    away = np.zeros((128, 128), bool)
    away[:8, :8] = True
    half = exact.copy()
    half[64:80] = False
    remove = seen(Edit("remove", "thing", CAR, None), exact)
    asked: list[np.ndarray] = []
    found = compare([remove], session([half, away], asked), (5, 50, 150))
    assert np.array_equal(asked[0], render(SCENE)), "to remove, the picture before is segmented"
    assert [float(found["null", 16, t]["found"][0]) for t in (5, 50, 150)] == [0, 1, 1]
    assert found["null", 16, 50]["rough"][0] == 1 and found["null", 16, 50]["region"][0] == 0.5
    assert found["null", 16, 5]["rough"][0] == found["null", 16, 5]["region"][0] == 0
    assert found["null", 16, 150]["rough"][0] == exact.mean()
    assert found["prediction", 16, 50]["rough"][0] == 1 and found["prediction", 16, 150]["rough"][0] == 1
    change = seen(Edit("change", "sky", "clear", "night"), exact)
    compare([change], session([], asked), (50,))
    assert np.array_equal(asked[-1], change.picture), "else the answer"
    assert compare([change], session([], []), (50,))["null", 16, 50]["region"][0] == 1, "no segment: the rough region"


def test_means_by_action() -> None:
    exact = np.ones((128, 128), bool)
    some = [
        seen(Edit("remove", "thing", CAR, None), exact),
        seen(Edit("change", "sky", "clear", "night"), exact, done=False),
        seen(Edit("remove", "thing", TREE, None), exact, done=False),
    ]
    assert by_action(np.array([1.0, 0.25, 0.0]), some) == {
        "all": pytest.approx(1.25 / 3),
        "followed": 1.0,
        "change": 0.25,
        "remove": 0.5,
    }


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    from gas.run.session import Session

    monkeypatch.setattr(Session, "segmenter", lambda self: None)
    out = tmp_path / "attention.json"
    module.main(["--model", str(folder), "--pairs", "3", "--steps", "2", "--json", str(out)])
    said = capsys.readouterr().out
    assert said.startswith("followed: ") and "instruction 16x16" in said and "null" in said and "*" in said
    figures = json.loads(out.read_text())
    rows = figures["attention"]
    assert {row["branch"] for row in rows} == {"instruction", "null", "prediction"} and figures["settings"][
        "steps"
    ] == 2
    assert {row["threshold"] for row in rows} == set(module.THRESHOLDS)
    widest = [row for row in rows if row["threshold"] == max(module.THRESHOLDS)]
    assert all(0 <= row["rough"]["all"] <= 1 for row in rows) and any(row["found"]["all"] > 0 for row in widest)
