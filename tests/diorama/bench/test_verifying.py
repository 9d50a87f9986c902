"""The benchmark of verifiers: its samples, its figures, and one small run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gas import Registry, Runtime
from gas.suites import SuiteJob
from gas_diorama.bench.judge import Judge
from gas_diorama.bench.verifying import run as running
from gas_diorama.bench.verifying import samples as sampling
from gas_diorama.bench.verifying.figures import Figures, Share, VerifierAnswer, threshold
from gas_diorama.bench.verifying.samples import SPOILT
from gas_diorama.bench.verifying.spoilt import noise, spoilt
from gas_diorama.world.cases import benchmark_cases
from gas_diorama.world.world import apply, render

CASES = benchmark_cases(8, "validation")


def verified(right: bool, verdict: str, *, score: float | None = None, miss: str = "", failure: str | None = None):
    return VerifierAnswer("x", right, miss, False, verdict, score, failure)  # type: ignore[arg-type]


# --- samples ---------------------------------------------------------------------------------------------------------


def test_spoilt_results_are_half_right_and_plainly_wrong() -> None:
    judges = [(case, Judge(case.scene, case.edits)) for case in CASES]
    found = [
        verdict
        for variant in (0, 1)
        for case, judge in judges
        for verdict in judge.verdicts(spoilt(case, lambda one: one, variant))
    ]
    right = np.mean([one.right for one in found])
    assert 0.3 < right < 0.7
    assert {one.miss for one in found if not one.right} <= {"unchanged", "erased", "wrong kind", "wrong colour"}
    assert len({one.miss for one in found}) >= 4


def test_spoilt_results_are_repeatable_differ_by_variant_and_leave_the_rest() -> None:
    case = CASES[1]
    first = spoilt(case, lambda one: one)
    assert (first == spoilt(case, lambda one: one)).all()
    others = [spoilt(case, lambda one: one, variant) for variant in range(1, 6)]
    assert any((first != other).any() for other in others)
    outside = ~np.logical_or.reduce([region.mask > 0 for region in case.regions()])
    assert (spoilt(case, lambda one: 255 - one)[outside] == render(case.scene)[outside]).all()


def test_noise_is_in_one_region() -> None:
    case = CASES[1]
    made = noise(case, 1, 0)
    inside = case.regions()[1].mask > 0
    assert (made[inside] != render(apply(case.scene, case.edits))[inside]).mean() > 0.95
    verdicts = Judge(case.scene, case.edits).verdicts(made)
    assert verdicts[0].right and not verdicts[1].done


# --- figures ---------------------------------------------------------------------------------------------------------


def test_figures_count_each_mistake() -> None:
    figures = Figures.of(
        [
            verified(True, "done"),
            verified(True, "done"),
            verified(True, "not done"),
            verified(True, "cannot tell"),
            verified(False, "done"),
            verified(False, "not done", miss="erased", failure="erased"),
            verified(False, "not done", miss="erased", failure="unchanged"),
            verified(False, "cannot tell"),
        ]
    )
    assert (figures.accepted, figures.rejected, figures.unknown) == (Share(1, 4), Share(1, 4), Share(2, 8))
    assert (figures.precision, figures.recall, figures.named) == (Share(2, 3), Share(2, 4), Share(1, 2))


def test_interval_is_wilsons() -> None:
    low, high = Share(1, 10).interval
    assert (low, high) == (pytest.approx(0.0179, abs=1e-4), pytest.approx(0.4042, abs=1e-4))
    assert Share(0, 10).interval[0] == 0 and str(Share(0, 0)) == "–" and Share(0, 0).as_json()["share"] is None


def test_threshold_lies_between_wrong_and_right() -> None:
    found = [
        verified(right, "done", score=score) for score, right in ((0.1, False), (0.3, False), (0.7, True), (0.9, True))
    ]
    assert threshold(found) == pytest.approx(0.5)
    assert threshold([*found, verified(False, "done", score=0.8)]) == pytest.approx(0.5)
    assert threshold(found[2:]) is None
    assert threshold([verified(True, "cannot tell")]) is None


# --- a run -----------------------------------------------------------------------------------------------------------


def test_exact_result_is_done_and_noise_and_the_source_are_not() -> None:
    session = running._session(Registry.discover(), Runtime())
    case = CASES[0]
    source, exact = render(case.scene), render(apply(case.scene, case.edits))
    for picture, verdict in ((exact, "done"), (source, "not done"), (noise(case, 0, 3), "not done")):
        findings = session.verify(source, picture, case.plan, case.regions())
        assert findings[0].verdict == verdict


def test_small_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "benchmark_cases", lambda count, part: benchmark_cases(8, part)[:2])
    monkeypatch.setattr(sampling, "VARIANTS", 1)
    weak = next(row for row in sampling.ROWS if "weak" in row.title)
    told = running.VerifyOptions(edits=8, tries=0, rows=(weak.title,))
    suite = running.VerifySuite(told, Runtime())
    report = suite.run(SuiteJob(Registry.discover(), tmp_path / "out"))
    written = json.loads((tmp_path / "out" / "verify.json").read_text())
    assert written == report.as_json()
    assert set(written["verifiers"]) == {"combined", "detector", "clip", "pixels"}
    assert set(written["combined_by_origin"]) == {weak.title, SPOILT}
    assert written["noise_not_done"]["share"] == 1.0 and written["tries"] == {}
    assert written["subtasks"] == 2 * sum(len(case.edits) for case in benchmark_cases(8)[:2])
    assert {"detector.target", "detector.gone", "clip.target"} == set(written["thresholds_of_validation"])
    assert report.tables() and str(tmp_path / "out") in report.notes[0]
