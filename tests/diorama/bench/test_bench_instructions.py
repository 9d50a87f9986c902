"""The benchmark's rows of editors that work where they will, the scores of finished pictures, and the figures by
action."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from gas import BackendSpec, Editor, Grounder, Options, hookimpl
from gas.backends.profiles import Profile
from gas.backends.registry import Registry
from gas.errors import ObjectNotFound, UsageError
from gas.interfaces import Edited, EditJob, GroundJob
from gas.runtime import Runtime
from gas.testing.tiny import build_tiny_instruct_pix2pix, build_tiny_stable_diffusion
from gas.types import Region
from gas_diorama.bench import bench
from gas_diorama.bench.kept import PICTURES, RESULTS
from gas_diorama.bench.report import tables
from gas_diorama.bench.rows import ROWS, Row, rows_of
from gas_diorama.bench.scores import by_action, summarise
from gas_diorama.world.cases import Case, single_cases
from gas_diorama.world.world import Thing, apply, render

pytest.importorskip("torch")

RUNTIME = Runtime(device="cpu", dtype="fp32")
"""Of all runs in here: models stay as they are, so each is read once."""

JOBS: list[EditJob] = []
ANSWERS: dict[str, tuple[np.ndarray, np.ndarray]] = {}
"""Target prompt: the exact result with additions in another place, and where it differs from the source."""


class FreeOptions(Options):
    model: str = ""
    second_model: str | None = None
    spoil: bool = False
    fail: bool = False


class Free(Editor):
    """Does all exactly, but puts what is added where it likes; spoils all but its mask if asked to."""

    options_type = FreeOptions

    def edit(self, job: EditJob) -> Edited:
        JOBS.append(job)
        if self.options.fail:
            raise ObjectNotFound("nothing answers to it", "name it differently")
        image, changed = ANSWERS[job.plan.target_prompt]
        if self.options.spoil:
            image = np.where(changed[..., None], image, 255 - image)
        return Edited(image.copy(), changed.astype(np.float32) if self.options.spoil else None)


class CutterOptions(Options):
    model: str = ""


class Cutter(Grounder):
    """A segmenter."""

    options_type = CutterOptions
    segments, detects = True, False

    def ground(self, job: GroundJob) -> list[Region]:
        return list(job.regions)


class Plugin:
    @staticmethod
    @hookimpl
    def gas_register_editors() -> list[BackendSpec]:
        return [BackendSpec("free", f"{__name__}:Free", "where it likes")]

    @staticmethod
    @hookimpl
    def gas_register_grounders() -> list[BackendSpec]:
        return [BackendSpec("cutter", f"{__name__}:Cutter", "segments")]


@pytest.fixture(scope="module")
def five() -> list[Case]:
    """To add, to remove, to change, to remove, to add."""
    found = single_cases(5, "validation")
    for case in found:
        (edit,) = case.edits
        if edit.action == "add":
            thing = edit.target
            assert isinstance(thing, Thing)
            x = thing.x + 24 if thing.x < 64 else thing.x - 24
            edit = replace(edit, target=replace(thing, x=x))
        image = render(apply(case.scene, [edit]))
        ANSWERS[case.plan.target_prompt] = image, (image != render(case.scene)).any(-1)
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_stable_diffusion(tmp_path_factory.mktemp("tiny"), layers=1)


OWN, GIVEN = Row("own", "free", own=True), Row("given", "free")


@pytest.fixture
def run(model: Path, tmp_path: Path, five: list[Case]) -> Any:
    JOBS.clear()

    def go(*rows: Row, out: str = "out", cutter: str = "", **more: Any) -> bench.Report:
        options = {"free": {"model": str(model)}, "cutter": {"model": cutter or str(model)}}
        profile = Profile(name="test", editor="free", grounders=("cutter",), options=options)
        return bench.run(
            rows,
            out=tmp_path / out,
            profile=profile,
            runtime=RUNTIME,
            registry=Registry.discover().add(Plugin),
            **{"chosen": five, "clip": str(tmp_path / "none"), **more},
        )

    return go


# --- editors that work where they will --------------------------------------------------------------------------------


def test_such_an_editor_is_given_no_regions_but_a_segmenter(run: Any) -> None:
    run(OWN, GIVEN)
    own, given = JOBS[:5], JOBS[5:]
    assert all(job.regions == () and isinstance(job.segmenter.inner, Cutter) for job in own)
    assert all(len(job.regions) == 1 and job.segmenter is None for job in given)


def test_an_added_thing_is_judged_where_the_editor_put_it(run: Any, five: list[Case]) -> None:
    report = run(OWN, GIVEN)
    done = {row: [all(r.done) for r in report.results if r.row == row] for row in ("own", "given")}
    assert done["own"] == [True] * 5
    assert done["given"] == [case.edits[0].action != "add" for case in five], "there the place was given"
    l1 = {(r.row, r.case): r.l1 for r in report.results}
    for case in five:
        assert l1["own", case.name] == pytest.approx(0, abs=1e-3)
        assert (l1["given", case.name] > 0.005) == (case.edits[0].action == "add")


def test_the_finished_picture_is_judged_and_the_raw_output_measured_outside(run: Any) -> None:
    spoilt = Row("spoilt", "free", {"spoil": True}, own=True)
    report = run(spoilt, OWN)
    for own, clean in zip(report.results[:5], report.results[5:], strict=True):
        assert own.row == "spoilt" and all(own.done) and own.l1 == pytest.approx(clean.l1, abs=0.005)  # a soft edge
        assert own.pasted_outside == clean.pasted_outside
        assert own.raw_outside is None or own.raw_outside != clean.raw_outside


def test_what_an_editor_gives_up_leaves_the_source(run: Any, five: list[Case]) -> None:
    report = run(Row("gives up", "free", {"fail": True}, own=True))
    for case, result in zip(five, report.results, strict=True):
        assert not any(result.done) and "nothing answers" in result.nearest[0] and result.seconds is None
        difference = np.abs(render(case.scene).astype(float) - render(apply(case.scene, case.edits))) / 255
        assert result.l1 == pytest.approx(difference.mean(), abs=1e-5)
        assert result.l2 == pytest.approx((difference**2).mean(), abs=1e-5)


def test_results_with_another_segmenter_or_second_model_are_not_mixed(run: Any, tmp_path: Path) -> None:
    other = build_tiny_stable_diffusion(tmp_path / "other", seed=1)
    report = run(OWN)
    assert report.setting["rows"]["own"]["regions"] == "own" and "cutter" in report.setting["rows"]["own"]["grounders"]
    with pytest.raises(UsageError, match="other weights, options or cases"):
        run(OWN, cutter=str(other), resume=True)
    two = Row("two", "free", {"second_model": str(other)}, own=True)
    run(two, out="two")
    build_tiny_stable_diffusion(other, seed=2)
    with pytest.raises(UsageError, match="other weights, options or cases"):
        run(two, out="two", resume=True)


def test_without_a_model_the_profile_has_no_rows_of_such_editors(model: Path) -> None:
    registry = Registry.discover()
    titles = {row.title for row in ROWS if row.own}
    assert titles == {
        "zone", "zone no smoother", "zone no region IoU", "zone beta 0", "instruct-pix2pix", "magicbrush",
    }  # fmt: skip
    profile = Profile(name="test", editor="dds", options={"dds": {"model": str(model)}})
    assert not titles & {row.title for row in rows_of(profile, registry)}
    options = {name: {"model": str(model)} for name in ("zone", "magicbrush", "instruct-pix2pix")}
    assert titles <= {row.title for row in rows_of(profile.model_copy(update={"options": options}), registry)}


@pytest.mark.filterwarnings("ignore:the prompt")  # the tiny tokenizer takes a token for each letter
@pytest.mark.filterwarnings("ignore:the instruction")
def test_rows_of_zone_and_its_kin_run_on_a_network(tmp_path: Path, five: list[Case]) -> None:
    first, second = (build_tiny_instruct_pix2pix(tmp_path / f"m{seed}", layers=1, seed=seed) for seed in (0, 1))
    zone = {"model": str(first), "second_model": str(second), "steps": 2, "threshold": 255, "least_cells": 2}
    plain = {"model": str(first), "steps": 2}
    profile = Profile(
        name="test", editor="zone", options={"zone": zone, "instruct-pix2pix": plain, "magicbrush": plain}
    )
    rows = [row for row in ROWS if row.own]
    report = bench.run(rows, out=tmp_path / "out", profile=profile, runtime=RUNTIME, chosen=five[:2], clip="./none")
    counted = {(r.row, r.actions[0]): r.network_rows for r in report.results}
    assert counted["instruct-pix2pix", "add"] == counted["magicbrush", "remove"] == 20 * 3, "as they were published"
    assert counted["zone", "add"] == 6
    assert counted["zone", "remove"] == counted["zone no smoother", "remove"] == 12
    assert counted["zone beta 0", "remove"] == 6
    assert all(result.l1 is not None and result.raw_outside is not None for result in report.results)


# --- scores of finished pictures --------------------------------------------------------------------------------------


def test_finished_pictures_are_kept_and_scored_anew(run: Any, tmp_path: Path) -> None:
    from test_picture_scores import tiny_clip

    report = run(OWN)
    assert all(result.clip_i is None and result.l1 is not None for result in report.results)
    kept = sorted((tmp_path / "out" / PICTURES / "own").glob("*-finished.png"))
    assert len(kept) == 5
    line = json.loads((tmp_path / "out" / RESULTS).read_text().splitlines()[0])
    assert not {"l1", "clip_i"} & set(line), "a score belongs to the report: another CLIP gives another"
    JOBS.clear()
    again = run(OWN, resume=True, clip=str(tiny_clip(tmp_path / "clip")))
    assert JOBS == [] and all(result.clip_i > 0.9 for result in again.results)
    assert again.as_json()["strata"]["single"]["own"]["value"]["clip_t"]["mean"] != 0
    assert again.as_json()["actions"]["add"]["own"]["value"]["clip_region"]["mean"] != 0


def test_results_from_before_finished_pictures_were_kept_are_scored_too(run: Any, tmp_path: Path) -> None:
    report = run(GIVEN)
    for path in (tmp_path / "out" / PICTURES / "given").glob("*-finished.png"):
        path.unlink()
    assert run(GIVEN, resume=True).results == report.results
    picture = tmp_path / "out" / PICTURES / "given" / f"{report.results[0].case}-s0.png"
    Image.fromarray(255 - np.asarray(Image.open(picture))).save(picture)
    again = run(GIVEN, resume=True)
    assert again.results[0].l1 > report.results[0].l1 and again.results[1:] == report.results[1:]


# --- by action --------------------------------------------------------------------------------------------------------


def test_figures_by_action_are_of_single_instructions(run: Any) -> None:
    report = run(OWN, GIVEN)
    assert list(report.actions) == ["change", "add", "remove"] and list(report.summary) == ["single"]
    assert report.actions["add"]["given"]["value"]["subtasks_done"].mean == 0
    assert report.actions["remove"]["given"]["value"]["subtasks_done"].mean == 100
    two = [replace(r, actions=("add", "add"), done=(True, True)) for r in report.results]
    assert by_action(two, "given") == {}
    mixed = [replace(report.results[0], stratum="plain"), *report.results[1:5]]
    assert summarise(mixed, "x")["all"]["own"] == summarise(mixed, "x")["plain"]["own"], "singles are beside all cases"


def test_tables_show_scores_and_actions(run: Any) -> None:
    report = run(OWN, GIVEN)
    console = Console(width=250, file=StringIO())
    console.print(tables(report.summary, "given", report.actions))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "single instructions: remove (means)" in text and "L2" in text
    assert "CLIP-T" not in text, "there is no CLIP"
    assert text.index("single") < text.index("single instructions: change")
