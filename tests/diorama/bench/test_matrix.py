"""`gas bench matrix`: a small part of the table, and what it says of a refusal."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from places import DOCS

from gas import Registry
from gas.errors import UsageError
from gas.runtime import Runtime
from gas.suites import SuiteJob
from gas_diorama.bench.matrix import RUNS, Cell, Matrix, _takes_model, families, run
from gas_diorama.bench.suites import MatrixOptions, MatrixSuite

EDITORS = ("dds", "flow-edit", "masactrl")


HEADINGS = {
    "SDXL": "sdxl",
    "SD 3, 3.5": "sd3",
    "SD 1.x, 2.x": "sd",
    "FLUX.1 dev": "flux-dev",
    "FLUX.1 schnell": "flux-schnell",
    "FLUX.1 Kontext": "kontext",
    "FLUX.1 Fill": "flux-fill",
    "FLUX.2 dev": "flux2",
    "FLUX.2 klein": "flux2-klein",
    "Z-Image": "z-image",
    "Chroma": "chroma",
    "Qwen-Image-Edit": "qwen-edit",
    "2509 and later": "qwen-edit-plus",
    "Qwen-Image 2.1": "qwen-21",
    "LongCat-Image-Edit": "longcat",
    "FIBO Edit": "fibo",
}
"""The families of the matrix, as docs/choose.md calls them."""


def documented() -> dict[tuple[str, str], str]:
    """What docs/choose.md says of each editor and family."""
    section = (DOCS / "choose.md").read_text("utf-8").partition("## Which editor runs on which model")[2]
    found: dict[tuple[str, str], str] = {}
    columns: list[str] = []
    for line in section.partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == "editor":
            columns = [HEADINGS[heading] for heading in cells[1:]]
        elif line.startswith("| `"):
            editors = [editor.strip(" `") for editor in cells[0].split(",")]
            row = list(zip(columns, cells[1:], strict=True))
            found |= {(editor, family): said for editor in editors for family, said in row}
    return found


def as_documented(cell: Cell) -> bool:
    """Whether docs/choose.md says of it what it did."""
    said = documented()[cell.editor, cell.family].partition(" ")[0]
    return {"both": (0, 0), "refused": (6, 6)}[said] == cell.exit_codes


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
    assert all(as_documented(cell) for cell in found.values())
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
    assert all(as_documented(cell) for cell in found.values())
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


def test_the_page_has_every_family_and_editor() -> None:
    """But for the models of their own kind of the older instruction editors."""
    said = documented()
    assert {family for _, family in said} == families().keys() - {"instruct", "gligen"}
    named = {spec.name for spec in Registry.discover().specs("editors") if _takes_model(Registry.discover(), spec.name)}
    assert named == {editor for editor, family in said if family == "sd"}


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(UsageError, match="sdx"):
        run(Registry.discover(), Runtime("cpu", "fp32"), ("dds",), ("sdx",))


def test_an_unknown_editor_is_named_before_the_first_row() -> None:
    done: list[str] = []
    with pytest.raises(UsageError, match="unknown editor 'ddz'; did you mean"):
        run(Registry.discover(), Runtime("cpu", "fp32"), ("dds", "ddz"), ("sd",), lambda what, _, __: done.append(what))
    assert done == []
