"""The table of pipelines: what each row names is there in the installed diffusers, and sizes come out as it computes
them."""

from __future__ import annotations

import inspect
import json
from importlib import import_module

import diffusers
import pytest

from gas_editors.pipelines.row import Row
from gas_editors.pipelines.table import EDIT_MODELS, MASKED_MODELS

ROWS = {row.name: row for row in (*EDIT_MODELS, *MASKED_MODELS)}
CROPS = ((1792, 1792), (1000, 700), (640, 1500), (4000, 300), (33, 47))


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_a_pipeline_takes_what_its_row_gives(row: Row) -> None:
    takes = inspect.signature(getattr(diffusers, row.name).__call__).parameters
    given = {"image", "prompt", "generator", "output_type", "num_inference_steps", row.guided_by}
    given |= set(row.arguments((64, 64))) | ({"height", "width"} if row.sized else set())
    given |= {"negative_prompt"} if row.negative is not None else set()
    given |= {"mask_image", "strength"} if row in MASKED_MODELS else set()
    assert given <= set(takes)
    assert row.name in row.reads and row.said_in
    assert (row.strength is not None) == (row in MASKED_MODELS)


@pytest.mark.parametrize("rows", [EDIT_MODELS, MASKED_MODELS], ids=["edit", "masked"])
def test_a_kind_of_model_has_one_row(rows: tuple[Row, ...]) -> None:
    kinds = [kind for row in rows for kind in row.reads]
    assert len(kinds) == len(set(kinds)) and all(hasattr(diffusers, kind) for kind in kinds)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_sizes_are_those_of_the_model(row: Row) -> None:
    for width, height in CROPS:
        size = row.size(width, height, None)
        assert all(side % row.multiple == 0 and side >= row.least for side in size)
        assert 0.9 * row.resolution**2 <= size[0] * size[1] <= 1.1 * row.resolution**2
        assert row.fixed or row.sizes_in or size[0] * size[1] <= row.resolution**2
        if 1 / 2 < width / height < 2:
            assert size[0] / size[1] == pytest.approx(width / height, rel=0.08)
    if not row.fixed:
        assert row.size(500, 500, 256) == (256, 256)


@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.fixed], ids=lambda row: row.name)
def test_diffusers_comes_to_the_same_size(row: Row) -> None:
    """Were its own size another one, source and result would not lie on the same cells, and the edit would move."""
    compute = import_module(getattr(diffusers, row.name).__module__).calculate_dimensions
    for crop in CROPS:
        size = row.size(*crop, None)
        assert tuple(compute(1024 * 1024, size[0] / size[1])[:2]) == size


def test_fibo_is_told_an_object() -> None:
    said = ROWS["BriaFiboEditPipeline"].worded('make it "blue"')
    assert json.loads(said) == {"edit_instruction": 'make it "blue"'}
