"""`gas bench matrix`: a small part of the table, and what it says of a refusal."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from gas import Registry
from gas.errors import UsageError
from gas.runtime import Runtime
from gas.suites import SuiteJob
from gas_diorama.bench.matrix import RUNS, Matrix, run
from gas_diorama.bench.suites import MatrixOptions, MatrixSuite

EDITORS = ("dds", "flow-edit", "masactrl")


def matrix(editors: tuple[str, ...], families: tuple[str, ...], out: Path | None = None) -> Matrix:
    options = MatrixOptions(editors=editors, families=families)
    made = MatrixSuite(options, Runtime("cpu", "fp32")).run(SuiteJob(Registry.discover(), out))
    assert isinstance(made, Matrix)
    return made


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux-dev", "flux-schnell"])
def test_what_runs_and_what_is_refused(family: str) -> None:
    found = {cell.editor: cell for cell in matrix(EDITORS, (family,)).cells}
    assert all(found[name].plain == found[name].grounded == RUNS for name in ("dds", "flow-edit"))
    # A step of FlowEdit: the whole sentence on both points, grounded each subtask too; null rows where there are any.
    pairs, null = (2, 6), 0 if family.startswith("flux") else 2
    assert found["flow-edit"].rows == tuple(found["flow-edit"].rows[0] // (2 + null) * (pair + null) for pair in pairs)
    refused = found["masactrl"]
    if family == "sdxl":
        assert refused.exit_codes == (0, 0)
    else:
        assert refused.plain == f"MasaCtrl works on self-attention, which the model {family} has none of"
        assert refused.exit_codes == (6, 6) and refused.rows == (None, None)


@pytest.mark.parametrize(
    ("family", "edit_model", "inpaint"),
    [
        ("kontext", (0, 0), (0, 0)),
        ("flux2-klein", (0, 0), (0, 0)),
        ("flux2", (0, 0), (6, 6)),
        ("fibo", (0, 0), (6, 6)),
        ("flux-fill", (6, 6), (0, 0)),
        ("sd", (6, 6), (0, 0)),
    ],
)
def test_editors_over_whole_pipelines(family: str, edit_model: tuple[int, int], inpaint: tuple[int, int]) -> None:
    found = {cell.editor: cell for cell in matrix(("edit-model", "inpaint"), (family,)).cells}
    assert found["edit-model"].exit_codes == edit_model and found["inpaint"].exit_codes == inpaint
    if family == "sd":
        expected = "the model sd is for diffusers' StableDiffusionPipeline, which is no model that edits a picture by"
        assert found["edit-model"].plain.startswith(expected)


def test_the_table_numbers_its_reasons(tmp_path: Path) -> None:
    from rich.console import Console

    report = matrix(("sdedit", "ledits-pp", "instruct-pix2pix"), ("sd3",), tmp_path / "matrix.json")
    console = Console(width=200, file=io.StringIO())
    console.print(report.tables())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "both" in shown and "grounded; 1" in shown
    assert "1. LEDITS++ with masks" in shown and "2. the model sd3" in shown
    told = json.loads((tmp_path / "matrix.json").read_text())
    assert [cell["editor"] for cell in told["cells"]] == ["sdedit", "ledits-pp", "instruct-pix2pix"]


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(UsageError, match="sdx"):
        run(Registry.discover(), Runtime("cpu", "fp32"), ("dds",), ("sdx",))
