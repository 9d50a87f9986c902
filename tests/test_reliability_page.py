"""docs/reliability.md shows every row of the table, and the tests that it names are there."""

from __future__ import annotations

import ast

import pytest
from places import DOCS, ROOT
from reliability_rows import ROWS, Row

PAGE = (DOCS / "reliability.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_the_page_shows_the_row_and_its_tests_pass(row: Row) -> None:
    begins = row.line("").removesuffix(" |")
    (line,) = [line for line in PAGE.splitlines() if line.startswith(begins)]
    figures = line.removeprefix(begins)
    assert "tests pass" in figures and not any(word in figures for word in ("FAIL", "CHANGED", "broken"))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.number))
def test_the_tests_of_a_row_are_there(row: Row) -> None:
    for test in row.tests:
        file, _, name = test.partition("::")
        tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert not name or name in names, test
