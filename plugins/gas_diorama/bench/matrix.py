"""`gas bench matrix`: which editor runs on which family of models, plain and grounded, and why it is refused elsewhere.

Each family is a tiny model of the real classes with random weights, made anew; so the table says what is defined and
carried out, and nothing of how well it edits.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gas.errors import GasError
from gas.interfaces import Refiner
from gas.suites import Progress, SuiteReport
from gas.types import EditPlan, Region, Subtask
from gas.validation import unknown

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gas.backends.registry import Registry
    from gas.runtime import Runtime

STEPS = 4
SIDES = (96, 64)
RESOLUTION = 64
OF_FIXED_SIZE = ("qwen-edit", "qwen-edit-plus", "qwen-21", "longcat")
"""Families that bring every picture to a megapixel themselves."""
PLAN = EditPlan(
    subtasks=(Subtask(source="red box", target="blue ball"), Subtask(source="grass", target="snow")),
    source_prompt="a red box on the grass",
    target_prompt="a blue ball on the snow",
)
REGIONS = (Region("red box", (16, 8, 40, 32), subtask=0), Region("grass", (56, 40, 88, 56), subtask=1))
RUNS = "runs"


def families() -> dict[str, Callable[[Path], Path]]:
    """What builds a tiny model of each family in a folder, by the family's name."""
    from gas.testing import tiny, tiny_edit, tiny_language_edit

    return {
        "sd": tiny.build_tiny_stable_diffusion,
        "instruct": tiny.build_tiny_instruct_pix2pix,
        "gligen": tiny.build_tiny_gligen,
        "sdxl": tiny.build_tiny_stable_diffusion_xl,
        "sd3": tiny.build_tiny_stable_diffusion_3,
        "flux-dev": tiny.build_tiny_flux,
        "flux-schnell": lambda folder: tiny.build_tiny_flux(folder, guidance_embeds=False),
        "kontext": tiny_edit.build_tiny_kontext,
        "flux-fill": tiny_edit.build_tiny_flux_fill,
        "flux2": tiny_language_edit.build_tiny_flux2,
        "flux2-klein": tiny_edit.build_tiny_flux2_klein,
        "qwen-edit": tiny_edit.build_tiny_qwen_image_edit,
        "qwen-edit-plus": lambda folder: tiny_edit.build_tiny_qwen_image_edit(
            folder, pipeline="QwenImageEditPlusPipeline"
        ),
        "qwen-21": tiny_language_edit.build_tiny_qwen_image_21,
        "longcat": tiny_edit.build_tiny_longcat_image_edit,
        "fibo": tiny_language_edit.build_tiny_fibo_edit,
        "z-image": tiny_edit.build_tiny_z_image,
        "chroma": tiny_edit.build_tiny_chroma,
    }


@dataclass(frozen=True)
class Cell:
    """What an editor did with a family: "runs", or why it was refused, of a plain and a grounded run. `exit_codes` are
    those of the two runs, 0 where it runs; `rows` how many rows of the network each took, None where it is refused."""

    editor: str
    family: str
    plain: str
    grounded: str
    exit_codes: tuple[int, int]
    rows: tuple[int | None, int | None]


@dataclass(frozen=True)
class Matrix(SuiteReport):
    """The table; `reasons` are the refusals, each once, in the order in which they are numbered there."""

    cells: tuple[Cell, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why a run was refused."""
        every = [why for cell in self.cells for why in (cell.plain, cell.grounded) if why != RUNS]
        return tuple(dict.fromkeys(every))

    def as_json(self) -> Mapping[str, Any]:
        return {"suite": "matrix", "version": 1, "steps": STEPS, "cells": [asdict(cell) for cell in self.cells]}

    def tables(self) -> RenderableType:
        """A row for each editor, a column for each family: "both", "plain" or "grounded", and the refusals' numbers."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table("editor", *dict.fromkeys(cell.family for cell in self.cells))
        for editor in dict.fromkeys(cell.editor for cell in self.cells):
            table.add_row(editor, *(self._said(cell) for cell in self.cells if cell.editor == editor))
        return Group(table, *(Text(f"{number}. {why}") for number, why in enumerate(self.reasons, 1)))

    def _said(self, cell: Cell) -> str:
        numbers = {why: str(number) for number, why in enumerate(self.reasons, 1)}
        if cell.plain == cell.grounded:
            return "both" if cell.plain == RUNS else numbers[cell.plain]
        runs, why = ("plain", cell.grounded) if cell.plain == RUNS else ("grounded", cell.plain)
        return f"{runs}; {numbers[why]}" if RUNS in (cell.plain, cell.grounded) else f"{numbers[cell.plain]}; {why}"

    @property
    def notes(self) -> Sequence[str]:
        return (f"tiny models with random weights, {STEPS} steps: what runs, not how well",)


def run(
    registry: Registry,
    runtime: Runtime,
    editors: Sequence[str] = (),
    only: Sequence[str] = (),
    progress: Progress = lambda what, done, total: None,
) -> Matrix:
    """The matrix of the `editors` (none: all with a model of diffusers) and the families `only` (none: all).

    UsageError (exit 2) for a family that is not known, and errors of the registry for an editor. Whatever is not a
    child of `GasError` is a defect, and is raised.
    """
    known = families()
    for name in only:
        if name not in known:
            raise unknown("family", name, known)
    for name in editors:
        registry.find("editors", name)  # a name that nobody knows is refused before the first row
    chosen = list(editors) or [spec.name for spec in registry.specs("editors") if _takes_model(registry, spec.name)]
    wanted = list(only) or list(known)
    cells: list[Cell] = []
    total = len(chosen) * len(wanted)
    with tempfile.TemporaryDirectory(prefix="gas-matrix-") as folder:
        for family in wanted:
            model = known[family](Path(folder) / family)
            for editor in chosen:
                progress(f"{editor} on {family}", len(cells), total)
                plain, grounded = (_tried(registry, runtime, editor, model, family, one) for one in (False, True))
                codes, rows = (plain[1], grounded[1]), (plain[2], grounded[2])
                cells.append(Cell(editor, family, plain[0], grounded[0], codes, rows))
    return Matrix(tuple(cells))


def _takes_model(registry: Registry, editor: str) -> bool:
    kind = registry.load("editors", editor)
    fields = kind.options_type.model_fields
    return "model" in fields and "variant" in fields and not issubclass(kind, Refiner)


def _tried(
    registry: Registry, runtime: Runtime, editor: str, model: Path, family: str, grounded: bool
) -> tuple[str, int, int | None]:
    """ "runs", 0 and the rows that it took; or why it was refused, the exit code and None."""
    from gas.run.edit import edit
    from gas.run.session import Session
    from gas.testing.contracts import sample_image

    fields = registry.load("editors", editor).options_type.model_fields
    scales = [name for name in ("guidance_scale", "source_guidance") if name in fields and fields[name].default]
    scales = scales if family == "flux-schnell" else []  # it knows no guidance, and the defaults would be refused
    chosen = {"steps": STEPS} if "steps" in fields else {}
    if "resolution" in fields and fields["resolution"].default is None and family not in OF_FIXED_SIZE:
        chosen["resolution"] = RESOLUTION
    try:
        session = Session.of(
            registry=registry,
            profile="sd15",
            editor=editor,
            grounders=(),
            model=str(model),
            grounded=grounded,
            options={editor: {**chosen, **dict.fromkeys(scales, 1)}},
            device=str(runtime.device),
            dtype="fp32",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = edit(sample_image(*SIDES), plan=PLAN, regions=REGIONS, seed=1, session=session)
    except GasError as error:
        return error.message.replace(str(model), f"the model {family}"), error.exit_code, None
    return RUNS, 0, made.log.get("evaluations")
