"""Colour changes and removals of the benchmark's scenes, one at a time."""

import pytest

from gas_diorama.bench.colours import alone, main, run, sort_of, table
from gas_diorama.world.world import Edit, Thing

CAR = Thing("car", "red", 40, 110, 40)


def test_only_colour_changes_and_removals_are_taken() -> None:
    taken = list(alone(40, "validation"))
    assert {sort for sort, _ in taken} == {"colour", "remove"}
    assert all(len(case.edits) == len(case.plan.subtasks) == len(case.regions()) == 1 for _, case in taken)
    assert sort_of(Edit("change", "thing", CAR, Thing("car", "blue", 40, 110, 40))) == "colour"
    assert sort_of(Edit("change", "thing", CAR, Thing("house", "red", 40, 110, 40))) is None
    assert sort_of(Edit("change", "sky", "clear", "night")) is None


def test_retouch_gets_nearly_all_colours_right_and_changes_nothing_else() -> None:
    tried = run("retouch", 80, "validation", sorts=("colour",))
    assert len(tried) >= 15
    assert sum(one.right for one in tried) >= 0.95 * len(tried), [one for one in tried if not one.right]
    assert max(one.outside for one in tried) == 0
    assert "| colour | all |" in table(tried)


def test_the_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--cases", "8", "--part", "validation", "--misses"])
    assert "changed outside" in capsys.readouterr().out
