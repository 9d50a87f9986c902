"""The planners, and the three ways to a model among them, give the same kind of plan for ten requests."""

from __future__ import annotations

import pytest

from gas.types import EditPlan
from gas_planners import side_by_side
from gas_planners.side_by_side import compare, main


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OLLAMA_HOST", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("GAS_HOME", str(tmp_path_factory.mktemp("home")))
        return compare()


def test_the_same_pairs_from_all(rows):
    assert len(rows) == 10 and sum(len(row.expected) for row in rows) == 26
    assert list(rows[0].plans) == ["rules", "openai", "ollama", "transformers"]
    for row in rows:
        for name, plan in row.plans.items():
            assert isinstance(plan, EditPlan), f"{name}: {plan}"
            assert plan.provenance.planner == name
            assert row.right(name), f"{name}: {row.request}: {plan.subtasks}"


def test_it_is_a_command(rows, monkeypatch, capsys):
    monkeypatch.setattr(side_by_side, "compare", lambda: rows)
    assert main() == 0
    out = capsys.readouterr().out
    assert "transformers: 10 of 10 as asked for" in out and "teddy bear" in out
