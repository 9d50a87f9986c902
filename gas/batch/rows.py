"""One row of a manifest: a picture and what is to be done to it. Whoever wrote it may be a stranger."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from gas.errors import InputRefused
from gas.masks import Size
from gas.regions.check import check_box
from gas.types import EditPlan, Phrase, Region
from gas.validation import explain, load_json

MAX_TEXT, MAX_PLACES, MAX_DEPTH, MAX_ROW_BYTES = 20_000, 100, 16, 2**20
Side = Annotated[float, Field(ge=-(2**20), le=2**20)] | Annotated[str, Field(pattern=r"^-?\d{1,4}(\.\d{1,6})?%$")]
Box = tuple[Side, Side, Side, Side]
Name = Annotated[str, Field(min_length=1, max_length=200)]
File = Annotated[str, Field(min_length=1, max_length=4000)]

_JSON_COLUMNS = {"boxes", "masks", "options"}
_TABLE_COLUMNS = {"grounder"}


class Row(BaseModel):
    """What one row says. Paths are relative to the manifest; boxes are in pixels of the upright picture, or shares of
    its sides ("25%"); everything but the picture and what is asked may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    image: File = Field(description="the photograph")
    instruction: str = Field("", max_length=MAX_TEXT, description="what to change")
    plan: File | EditPlan | None = Field(None, description="a finished plan, or its file, instead of an instruction")
    masks: Mapping[Phrase, File | tuple[File, ...]] | File | None = Field(
        None, description="files of masks by phrase, or a folder as gas ground writes it"
    )
    boxes: Mapping[Phrase, Box | tuple[Box, ...]] | None = Field(None, description="boxes by phrase: x0, y0, x1, y1")
    seed: int | None = Field(None, ge=0, lt=2**31)
    profile: Name | None = None
    planner: Name | None = None
    grounder: Name | tuple[Name, ...] | None = Field(None, description="one, or several that chain; none for none")
    editor: Name | None = None
    options: Mapping[Name, Any] | None = Field(
        None, description="options of the editor, or tables of options by backend"
    )
    verify: bool | None = Field(None, description="whether it is verified that each change is there")
    tries: int | None = Field(None, ge=1, le=10, description="how often a change is tried that is not done; verifies")
    out: File | None = Field(None, description="where in the output folder the edited picture goes")

    @field_validator("boxes", "masks", mode="after")
    @classmethod
    def _not_too_many(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and len(value) > MAX_PLACES:
            raise ValueError(f"{len(value)} places; {MAX_PLACES} at most")
        return value

    @model_validator(mode="after")
    def _asks_for_one_thing(self) -> Row:
        if bool(self.instruction.strip()) == (self.plan is not None):
            neither = "has neither an instruction nor a plan"
            raise ValueError(neither if self.plan is None else "has both an instruction and a plan")
        return self

    @model_validator(mode="after")
    def _tries_what_it_verifies(self) -> Row:
        if self.tries is not None and self.verify is False:
            raise ValueError("has tries, but verify is false")
        return self

    def settings(self, editor: str) -> dict[str, Any]:
        """What the row says of settings, by the names of `gas.settings.settings.Values`. Options without a table are
        put into that of `editor`."""
        values: dict[str, Any] = {"profile": self.profile, "planner": self.planner, "editor": self.editor}
        if self.grounder is not None:
            names = (self.grounder,) if isinstance(self.grounder, str) else self.grounder
            values["grounders"] = () if names == ("none",) else names
        if self.options:
            tables = {name: value for name, value in self.options.items() if isinstance(value, Mapping)}
            plain = {name: value for name, value in self.options.items() if not isinstance(value, Mapping)}
            if plain:
                tables[editor] = {**plain, **tables.get(editor, {})}
            values["options"] = tables
        values["verify"] = True if self.tries is not None else self.verify
        values["tries"] = self.tries
        return {name: value for name, value in values.items() if value is not None}

    def drawn(self, size: Size) -> list[Region]:
        """The regions of the row's boxes for a picture of `size` (width, height). InputRefused (exit 3) for a box that
        cannot be used there."""
        return [
            Region(phrase, _checked(phrase, box, size), given=True)
            for phrase, boxes in (self.boxes or {}).items()
            for box in (boxes if isinstance(boxes[0], tuple) else (boxes,))
        ]

    def mask_files(self) -> list[tuple[str, str]]:
        """The files of masks that are named one by one, with their phrases."""
        if not isinstance(self.masks, Mapping):
            return []
        return [(p, one) for p, files in self.masks.items() for one in ((files,) if isinstance(files, str) else files)]


COLUMNS = tuple(Row.model_fields)


def parse_row(values: Any, where: str) -> Row:
    """The row that these plain values say. InputRefused (exit 3) names `where` it stands and what is wrong."""
    if not isinstance(values, Mapping):
        raise InputRefused(f"{where}: is not a table of names and values", f"columns: {', '.join(COLUMNS)}")
    try:
        return Row.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        words = str(first["ctx"]["error"]) if first["type"] == "value_error" and not first["loc"] else explain(error)
        raise InputRefused(f"{where}: {words}", f"columns: {', '.join(COLUMNS)}") from None


def parse_cells(cells: Mapping[str, Any], where: str) -> Row:
    """The row of a table's cells: text, of which empty cells say nothing, and tables of values are JSON."""
    values: dict[str, Any] = {}
    for name, cell in cells.items():
        if cell is None or (isinstance(cell, float) and math.isnan(cell)):
            continue
        if isinstance(cell, Mapping):  # a column of tables has the keys of all rows
            values[name] = {key: value for key, value in cell.items() if value is not None}
        elif not isinstance(cell, str):
            values[name] = cell
        elif cell.strip():
            values[name] = _cell(name, cell.strip(), where)
    return parse_row(values, where)


def parse_line(line: str, where: str) -> Row:
    """The row of one line of JSON, read as from a stranger."""
    try:
        values = load_json(line, where, max_bytes=MAX_ROW_BYTES, max_depth=MAX_DEPTH)
    except InputRefused as error:
        raise InputRefused(error.message, "a line of a manifest is one table of JSON") from None
    return parse_row(values, where)


def _cell(name: str, text: str, where: str) -> Any:
    if name == "seed":
        return int(text) if text.isdecimal() and len(text) < 12 else text
    if name in _TABLE_COLUMNS and "," in text:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if text[0] in "{[" and (name in _JSON_COLUMNS or name == "plan"):
        try:
            return load_json(text, f"{where}: {name}", max_bytes=MAX_ROW_BYTES, max_depth=MAX_DEPTH)
        except InputRefused as error:
            raise InputRefused(error.message, 'such a cell holds JSON, e.g. {"dog": [10, 20, 200, 180]}') from None
    return text


def _checked(phrase: str, box: Box, size: Size) -> tuple[float, float, float, float]:
    """The box in pixels of a picture of `size`. InputRefused (exit 3) as `check_box`."""
    sides = (*size, *size)
    pixels = [
        float(value[:-1]) * side / 100 if isinstance(value, str) else float(value)
        for value, side in zip(box, sides, strict=True)
    ]
    return check_box(pixels, size, name=f"box of {phrase!r}", sure=any(isinstance(value, str) for value in box))


def template() -> str:
    """A manifest to start from: lines of JSON that show every column."""
    rows: list[dict[str, Any]] = [
        {"image": "photos/first.jpg", "instruction": "make the red car blue"},
        {
            "image": "photos/second.jpg",
            "instruction": "make the cup green",
            "boxes": {"cup": ["10%", "20%", "60%", "90%"]},
            "seed": 7,
            "verify": True,
            "tries": 2,
            "out": "cups/second-green.png",
        },
        {
            "image": "photos/third.png",
            "plan": "plans/third.json",
            "masks": {"dog": "masks/dog.png"},
            "profile": "retouch",
            "planner": "rules",
            "grounder": ["colour", "grabcut"],
            "editor": "retouch",
            "options": {"grabcut": {"rounds": 8}},
        },
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
