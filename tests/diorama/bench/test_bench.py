"""The benchmark with editors whose results are known: what is counted, kept, resumed, refused, and how it sums up."""

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
from gas.errors import ObjectNotFound, ResultRefused, UsageError
from gas.interfaces import Edited, EditJob, GroundJob
from gas.runtime import Runtime
from gas.types import Region, Subtask
from gas_diorama.bench import bench
from gas_diorama.bench.counting import Counted, counting_rows
from gas_diorama.bench.kept import PICTURES, RESULTS
from gas_diorama.bench.report import tables
from gas_diorama.bench.rows import BASELINES, GROUPS, REFERENCE, ROWS, Row, rows_of
from gas_diorama.bench.scores import MISS_COLUMNS, Result, by_grounding, difference, estimate, summarise
from gas_diorama.world.cases import SINGLE, STRATA, Case, benchmark_cases, cases, single_cases
from gas_diorama.world.world import SMALL_AREA, apply, is_held_out, masks, render, split

pytest.importorskip("torch")

RUNTIME = Runtime(device="cpu", dtype="fp32")
"""Of all runs in here: models stay as they are, so each is read once."""

EXACT: dict[str, np.ndarray] = {}
WHOLE: dict[Subtask, np.ndarray] = {}
CALLS: list[int] = []


class FakeOptions(Options):
    model: str = ""
    colour: int = 0
    fail_at: str = ""


class Perfect(Editor):
    """Gives the exact result inside the regions, and adds `colour` outside."""

    options_type = FakeOptions
    needs_regions = True
    batches = True

    def edit(self, job: EditJob) -> Edited:
        return self.edit_together([job])[0]

    def edit_together(self, jobs: list[EditJob]) -> list[Edited]:
        CALLS.append(len(jobs))
        edited = []
        for job in jobs:
            if self.options.fail_at and self.options.fail_at in job.plan.target_prompt:
                raise ResultRefused("it is all black", "try another seed")
            inside = np.logical_or.reduce([region.mask > 0 for region in job.regions])[..., None]
            image = np.where(inside, EXACT[job.plan.target_prompt], job.image.astype(int) + self.options.colour)
            edited.append(Edited(np.clip(image, 0, 255).astype(np.uint8)))
        return edited


class Nothing(Editor):
    """Gives the source back, one edit at a time."""

    options_type = FakeOptions

    def edit(self, job: EditJob) -> Edited:
        CALLS.append(1)
        return Edited(job.image.copy())


class Whole(Editor):
    """Makes the whole picture of the case that the first subtask is of, and so much more than that subtask."""

    options_type = FakeOptions

    def edit(self, job: EditJob) -> Edited:
        CALLS.append(len(job.regions))
        return Edited(WHOLE[job.plan.subtasks[0]])


class FinderOptions(Options):
    absent: str = "nothing"


class Finder(Grounder):
    """Finds everything in the left half of the picture, except what is absent."""

    options_type = FinderOptions

    def ground(self, job: GroundJob) -> list[Region]:
        if any(self.options.absent in region.phrase for region in job.regions):
            raise ObjectNotFound(f"{self.options.absent!r} is not there", "name something else")
        side = job.image.shape[1]
        return [replace(region, box=(0.0, 0.0, side / 2, side)) for region in job.regions]


class Plugin:
    @staticmethod
    @hookimpl
    def gas_register_editors() -> list[BackendSpec]:
        return [
            BackendSpec("perfect", f"{__name__}:Perfect", "exact"),
            BackendSpec("nothing", f"{__name__}:Nothing", "the source"),
            BackendSpec("whole", f"{__name__}:Whole", "exact, everywhere"),
        ]

    @staticmethod
    @hookimpl
    def gas_register_grounders() -> list[BackendSpec]:
        return [BackendSpec("finder", f"{__name__}:Finder", "the left half")]


@pytest.fixture(scope="module")
def four() -> list[Case]:
    found = cases(4, "validation")
    for case in found:
        EXACT[case.plan.target_prompt] = render(apply(case.scene, case.edits))
        WHOLE.update(dict.fromkeys(case.plan.subtasks, EXACT[case.plan.target_prompt]))
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gas.testing.tiny import build_tiny_stable_diffusion

    return build_tiny_stable_diffusion(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from gas.testing.tiny import build_tiny_clip

    return build_tiny_clip(tmp_path_factory.mktemp("clip"))


class Bench:
    """`bench.run` on four cases with one registry and profile."""

    def __init__(self, model: Path, out: Path, four: list[Case]) -> None:
        self.model, self.out, self.four = model, out, four

    def __call__(
        self, *editors: str | Row, options: dict[str, Any] | None = None, absent: str = "nothing", **more: Any
    ) -> bench.Report:
        own = {
            "perfect": {"model": str(self.model), **(options or {})},
            "nothing": {"model": str(self.model)},
            "whole": {"model": str(self.model)},
            "finder": {"absent": absent},
        }
        profile = Profile(name="test", editor="perfect", grounders=("finder",), options=own)
        return bench.run(
            editors or ("perfect", "nothing"),
            out=self.out,
            profile=profile,
            runtime=RUNTIME,
            registry=Registry.discover().add(Plugin),
            **{"chosen": self.four, **more},
        )


@pytest.fixture
def run(model: Path, tmp_path: Path, four: list[Case]) -> Bench:
    CALLS.clear()
    return Bench(model, tmp_path / "out", four)


# --- cases ------------------------------------------------------------------------------------------------------------


def test_cases_are_the_same_every_time_and_grow_at_the_end() -> None:
    few, many = cases(8), cases(20)
    assert few == cases(8)
    assert {case.name: case for case in few}.items() <= {case.name: case for case in many}.items()
    assert [case.stratum for case in many] == [stratum for stratum in STRATA for _ in range(5)]
    with pytest.raises(ValueError, match="multiple of 4"):
        cases(10)
    with pytest.raises(ValueError, match="train"):
        cases(4, "train")


@pytest.mark.parametrize("part", ["test", "validation"])
def test_cases_are_held_out_and_of_their_stratum(part: str) -> None:
    for case in cases(40, part):
        things = case.scene.objects
        touched = [edit.source for edit in case.edits if edit.part == "thing" and edit.source]
        assert split(case.scene) == part and is_held_out(case.scene)
        assert (len(case.edits) >= 3) == (case.stratum == "several"), case.name
        if case.stratum == "twins":
            assert things[0].kind == things[1].kind and set(touched) <= set(things[:2]), case.name
        if case.stratum == "small":
            x0, y0, x1, y1 = things[0].box
            assert (x1 - x0) * (y1 - y0) < SMALL_AREA * 128**2 and things[0] in touched
            assert np.hypot((x0 + x1) / 2 - 64, (y0 + y1) / 2 - 64) >= 32


def test_single_instructions_stand_beside_the_strata() -> None:
    """The published table's cases stay as they are; each of the others is one action alone."""
    every = benchmark_cases(40)
    assert every[:40] == cases(40) and every[40:] == single_cases(20)
    assert single_cases(20, "validation")[:3] == single_cases(3, "validation") != single_cases(3)
    asked = [case.edits[0].action for case in single_cases(20)]
    assert {action: asked.count(action) for action in set(asked)} == {"add": 8, "remove": 8, "change": 4}
    assert all(len(case.edits) == 1 and case.stratum == SINGLE for case in every[40:])
    assert all(split(case.scene) == "test" for case in every)
    with pytest.raises(ValueError, match="train"):
        single_cases(4, "train")


def test_a_cases_plan_and_regions_are_exact() -> None:
    for case in benchmark_cases(40):
        edited = apply(case.scene, case.edits)
        outside = np.ones((128, 128), bool)
        for region, subtask in zip(case.regions(), case.plan.subtasks, strict=True):
            assert region.given and region.mask is not None and region.box is not None
            outside &= region.mask == 0
            x0, y0, x1, y1 = map(int, region.box)
            assert region.mask[y0:y1, x0:x1].sum() == region.mask.sum() > 0
            assert subtask.instruction
        changed = (render(case.scene) != render(edited)).any(-1)
        assert not (changed & outside).any(), case.name
    assert masks(case.scene)  # the world still tells what is visible


# --- what is measured -------------------------------------------------------------------------------------------------


def test_a_perfect_editor_has_all_done_and_a_lazy_one_nothing(run: Bench) -> None:
    report = run()
    value = {row: kinds["value"] for row, kinds in report.summary["all"].items()}
    assert value["perfect"]["subtasks_done"].mean == value["perfect"]["all_done"].mean == 100
    assert value["nothing"]["subtasks_done"].mean == value["nothing"]["subtasks_right"].mean == 0
    assert value["nothing"]["miss_unchanged"].mean == 100
    assert value["perfect"]["pasted_outside"].mean == 0
    assert all(result.seconds is not None and result.seconds >= 0 for result in report.results)


def test_the_error_outside_is_against_the_round_trip_and_gone_after_pasting(run: Bench) -> None:
    """The tiny random VAE's round trip is far from the source, so the source itself has a large raw error."""
    from gas.diffusion.stable_diffusion import StableDiffusion

    report = run("nothing")
    vae = StableDiffusion.from_folder(run.model)
    for case, result in zip(run.four, report.results, strict=True):
        source = render(case.scene)
        outside = np.logical_and.reduce([region.mask == 0 for region in case.regions()])
        trip = vae.decode(vae.encode(source))
        if not outside.any():
            assert result.raw_outside is None
            continue
        expected = np.abs(trip.astype(float) - source)[outside].mean()
        assert result.raw_outside == pytest.approx(expected, abs=1e-3) and expected > 1
        assert result.pasted_outside == 0


def test_what_is_changed_outside_counts_raw_and_not_pasted(run: Bench) -> None:
    plain = run("perfect")
    run.out = run.out.with_name("other")
    tinted = run("perfect", options={"colour": 40})
    for before, after in zip(plain.results, tinted.results, strict=True):
        if before.raw_outside is not None:
            assert after.raw_outside != before.raw_outside
            assert after.pasted_outside == before.pasted_outside == 0


def test_an_edit_that_is_refused_is_not_done_and_spoils_no_other(run: Bench) -> None:
    poisoned = run.four[1]
    report = run("perfect", options={"fail_at": poisoned.plan.target_prompt})
    for result in report.results:
        assert all(result.done) == (result.case != poisoned.name)
        if result.case == poisoned.name:
            assert result.raw_outside is None and "all black" in result.nearest[0]
            assert set(result.miss) == {"refused"} and not any(result.right)


def test_network_rows_are_counted_by_a_hook(model: Path) -> None:
    import torch

    from gas.diffusion.stable_diffusion import StableDiffusion

    known = StableDiffusion.from_folder(model)
    with counting_rows() as counted:
        for rows in (3, 5):
            known.predict(torch.zeros(rows, 4, 16, 16), torch.full((rows,), 10), known.condition([""] * rows, (16, 16)))
    known.predict(torch.zeros(1, 4, 16, 16), torch.tensor([10]), known.condition([""], (16, 16)))
    assert counted.rows == 8


@pytest.mark.seeded
def test_rows_of_a_flow_model_are_counted_too() -> None:
    import torch

    from gas_diorama.train.flow import FlowSize, build_flow

    network = build_flow(FlowSize(16, 2, 1), 4, 24)
    with counting_rows() as counted:
        network(torch.zeros(3, 4, 16, 16), torch.zeros(3, 5, 24), torch.zeros(3, 24), torch.zeros(3))
    assert counted.rows == 3


@pytest.mark.seeded
def test_what_clip_and_layer_generators_are_given_is_counted_by_name(clip: Path) -> None:
    import torch
    from transformers import CLIPModel

    from gas_editors.text2live.generator import LayerGenerator

    network = CLIPModel.from_pretrained(clip)
    with counting_rows() as counted:
        network.get_image_features(pixel_values=torch.zeros(3, 3, 32, 32))
        network.get_image_features(pixel_values=torch.zeros(2, 3, 32, 32))
        LayerGenerator(8, 2)(torch.zeros(1, 3, 32, 32))
    assert (counted.rows, counted.clip, counted.generator) == (0, 5, 1)
    assert counted.shared(2) == Counted(0, 2.5, 0.5)
    assert Counted(6).shared(2) == Counted(3, None, None)


def test_a_grounded_row_goes_subtask_by_subtask_and_leaves_the_rest(run: Bench) -> None:
    report = run(Row("plain", "whole"), Row("grounded", "whole", grounded=True))
    plain, grounded = ([r for r in report.results if r.row == row] for row in ("plain", "grounded"))
    assert all(all(result.done) for result in grounded)
    assert all(result.raw_outside in (0, None) for result in grounded)
    assert all(result.raw_outside != 0 for result in plain), "the round trip's error counts for an editor's own output"
    subtasks = [
        sum(region.subtask == i for region in case.regions()) for case in run.four for i in range(len(case.edits))
    ]
    assert sorted(CALLS[4:]) == sorted(subtasks)
    rows = report.setting["rows"]
    assert rows["grounded"]["grounded"] and "grounded" not in rows["plain"]
    assert rows["plain"] == {name: value for name, value in rows["grounded"].items() if name != "grounded"}


def test_counts_that_no_row_has_are_left_out(run: Bench) -> None:
    def shown(report: bench.Report) -> str:
        stream = StringIO()
        Console(file=stream, width=300).print(report.tables())
        return stream.getvalue()

    report = run("nothing")
    assert "network rows" in shown(report) and "CLIP rows" not in shown(report)
    used = tuple(replace(result, clip_rows=7.0) for result in report.results)
    assert "CLIP rows" in shown(replace(report, results=used))


def test_edits_share_batches(run: Bench) -> None:
    run("perfect", batch=3)
    assert CALLS == [3, 1]
    CALLS.clear()
    run.out = run.out.with_name("other")
    run("nothing", batch=3)
    assert CALLS == [1, 1, 1, 1]


def test_rows_of_ones_own_set_options(run: Bench) -> None:
    title = run.four[0].plan.target_prompt
    report = run(Row("fails", "perfect", {"fail_at": title}), Row("works", "perfect"))
    assert {result.row: all(result.done) for result in report.results if result.case == run.four[0].name} == {
        "fails": False,
        "works": True,
    }


FOUND = Row("found", "perfect", found=True)


def test_row_with_found_regions_is_given_what_the_grounders_find(run: Bench) -> None:
    report = run(FOUND, Row("exact", "perfect"))
    exact = {result.case: result for result in report.results if result.row == "exact"}
    found = [result for result in report.results if result.row == "found"]
    assert len(found) == 4 and all(all(result.done) for result in exact.values())
    assert any(not all(result.done) for result in found)  # what lies in the right half was not changed
    assert "finder" in report.setting["rows"]["found"]["grounders"]
    assert "grounders" not in report.setting["rows"]["exact"]


def test_what_the_grounders_do_not_find_is_not_done(run: Bench) -> None:
    missing = run.four[0].plan.subtasks[0].region_phrase
    report = run(FOUND, absent=missing)
    assert missing in report.results[0].nearest[0] and not any(report.results[0].done)
    assert report.results[0].seconds is None


def test_results_with_other_grounders_are_not_mixed(run: Bench) -> None:
    run(FOUND)
    with pytest.raises(UsageError, match="other weights, options or cases"):
        run(FOUND, absent="a car", resume=True)


def test_row_of_a_part_takes_some_of_each_stratum_unless_the_run_is_full(run: Bench, four: list[Case]) -> None:
    part, twelve = Row("part", "nothing", part=2), cases(12, "validation")
    assert [r.case for r in run(part, chosen=twelve).results] == [f"{s}-{n:02d}" for s in STRATA for n in (0, 2)]
    run.out = run.out.with_name("full")
    assert len(run(part, chosen=twelve, seeds=(0,), full=True).results) == 12


def test_without_grounders_the_profile_has_no_row_of_found_regions(run: Bench, model: Path) -> None:
    profile = Profile(name="test", editor="dds", options={"dds": {"model": str(model)}})
    rows = rows_of(profile, Registry.discover())
    assert rows and not any(row.found for row in rows)
    assert any(row.found for row in rows_of(profile.model_copy(update={"grounders": ("x",)}), Registry.discover()))


def test_all_rows_of_the_table_can_be_settled(model: Path) -> None:
    """Their options or regions exist, and each row's differ from every other's of the same editor."""
    registry = Registry.discover()
    profile = registry.profile("diorama")
    seen = [
        (
            row.editor,
            (row.found, row.own, row.grounded),
            registry.settle("editors", row.editor, row.options, [profile.layer(row.editor)]).options,
        )
        for row in ROWS
    ]
    assert all(one not in seen[:i] for i, one in enumerate(seen))


@pytest.mark.filterwarnings("ignore:the prompt")  # the tiny tokenizer takes a token for each letter
def test_every_row_runs_on_a_network(model: Path, tmp_path: Path, four: list[Case]) -> None:
    """Two steps of each optimising editor and ablation on an untrained network, counted row by row."""
    rows = [row for row in GROUPS["optimised"] if "preset" not in row.options and not row.found]
    names = {row.editor for row in rows}
    profile = Profile(
        name="test",
        editor="dds",
        options={name: {"model": str(model), "steps": 2, "bank": 0} for name in names},
    )
    report = bench.run(
        rows,
        out=tmp_path,
        profile=profile,
        runtime=RUNTIME,
        chosen=[case for case in four if case.stratum in ("plain", "several")],
    )
    counted = {(result.row, result.stratum): result.network_rows for result in report.results}
    subtasks = {case.stratum: len(case.edits) for case in four}
    both = sum(subtasks[stratum] for stratum in ("plain", "several"))
    assert len(report.results) == 2 * len(rows)
    assert counted["sds", "plain"] == 2 * 2  # null and target
    assert counted["dds", "plain"] == counted["cds", "plain"] == 2 * 4
    # rows are shared out evenly among the edits of a batch
    assert counted[REFERENCE, "plain"] == counted["no penalty", "several"] == 2 * (2 * both + 2 * 4) / 2
    assert counted["no full prompt", "plain"] == 2 * (2 * both + 2 * 2) / 2
    assert counted["no subtasks", "plain"] == 2 * 4


def test_the_suite_runs_as_many_seeds_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from gas.suites import SuiteJob
    from gas_diorama.bench.suites import DioramaOptions, DioramaSuite

    asked: dict[str, Any] = {}
    monkeypatch.setattr(bench, "run", lambda editors, **given: asked.update(given))
    for options, expected in (({"seeds": 3}, range(3)), ({}, None)):
        DioramaSuite(DioramaOptions(**options), Runtime()).run(SuiteJob(Registry.discover()))
        assert asked["seeds"] == expected


def test_groups_name_rows(run: Bench, model: Path) -> None:
    registry = Registry.discover()
    registered = {spec.name for spec in registry.specs("editors")}
    assert {row.editor for row in ROWS} <= registered and not registered & GROUPS.keys()
    assert len({row.title for row in ROWS}) == len(ROWS)
    profile = Profile(name="test", editor="dds", options={"sdedit": {"model": str(model)}})
    baselines = rows_of(profile, registry, ["baselines"])
    assert [row.title for row in baselines[:2]] == ["sdedit", "sdedit grounded"]
    assert {row.editor for row in baselines} == set(BASELINES)
    both = rows_of(profile, registry, ["baselines", "sdedit", "grounded"])
    assert len(both) == len({row.title for row in both}), "a row comes once"
    own = {row.editor for row in rows_of(profile, registry)}
    assert "sdedit" in own and "diffedit" not in own, "an editor without a model in the profile has no row by default"


@pytest.mark.filterwarnings("ignore:the prompt", "ignore:the text")
@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_runs_plain_and_grounded(
    name: str, model: Path, clip: Path, tmp_path: Path, four: list[Case]
) -> None:
    own = {"model": str(clip), "width": 4, "levels": 2, "views": 2} if name == "text2live" else {"model": str(model)}
    profile = Profile(name="test", editor=name, options={name: {"steps": 2, **own}})
    rows = [row for row in GROUPS["baselines"] if row.editor == name]
    report = bench.run(rows, out=tmp_path, profile=profile, runtime=RUNTIME, chosen=four[1:2])
    for one in report.results:
        assert one.seconds is not None and one.raw_outside is not None
        assert one.clip_rows and one.generator_rows if name == "text2live" else one.network_rows
    assert [one["grounded"] for one in report.setting["rows"].values() if "grounded" in one] == [True]
    same = (report.folder / PICTURES).glob("**/several-00-s0.png")
    assert len({path.read_bytes() for path in same}) == 2, "grounding makes a difference"


def test_every_row_pays_its_own_inversion(model: Path, tmp_path: Path, four: list[Case]) -> None:
    profile = Profile(name="t", editor="masactrl", options={"masactrl": {"model": str(model), "steps": 2}})
    rows = [Row("first", "masactrl"), Row("second", "masactrl")]
    first, second = bench.run(rows, out=tmp_path, profile=profile, runtime=RUNTIME, chosen=four[:1]).results
    assert first.network_rows == second.network_rows


def test_unknown_editors_are_refused_with_the_nearest(run: Bench) -> None:
    with pytest.raises(UsageError, match="ground-a-score"):
        run("ground-a-scor")
    assert not run.out.exists()


# --- what is kept -----------------------------------------------------------------------------------------------------


def lines_of(out: Path) -> list[str]:
    return (out / RESULTS).read_text().splitlines()


def test_results_pictures_summary_and_sheet_are_written(run: Bench) -> None:
    report = run(seeds=(0, 1))
    assert len(lines_of(run.out)) == len(report.results) == 2 * 2 * 4
    summary = json.loads((run.out / bench.SUMMARY).read_text())
    assert summary == json.loads(json.dumps(report.as_json()))
    assert summary["strata"]["all"]["perfect"]["value"]["subtasks_done"]["mean"] == 100
    assert len(summary["rows"]["perfect"]["weights"]) == 64
    case = run.four[0]
    kept = np.asarray(Image.open(run.out / PICTURES / "perfect" / f"{case.name}-s1.png"))
    inside = case.regions()[0].mask > 0
    assert (kept[inside] == EXACT[case.plan.target_prompt][inside]).all()
    sheet = np.asarray(Image.open(run.out / bench.SHEET))
    assert sheet.shape[0] > 4 * 128 and sheet.shape[1] > 4 * 128


def test_an_interrupted_run_goes_on_where_it_was(run: Bench) -> None:
    class Interrupted(Exception):
        pass

    def stop(row: str, done: int, total: int) -> None:
        assert total == 4
        if done == 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        run("perfect", batch=1, progress=stop)
    whole = lines_of(run.out)
    assert len(whole) == 2
    # the crash came in the middle of a line
    (run.out / RESULTS).write_text("\n".join([whole[0], whole[1][: len(whole[1]) // 2]]))
    CALLS.clear()
    report = run("perfect", batch=1, resume=True)
    assert len(CALLS) == 3 and len(report.results) == 4
    assert report.results[0].seconds == json.loads(whole[0])["seconds"]
    CALLS.clear()
    assert run("perfect", resume=True).results == report.results and CALLS == []


def test_a_folder_with_results_is_not_added_to_by_accident(run: Bench) -> None:
    run("perfect")
    with pytest.raises(UsageError, match="resume=True"):
        run("perfect")


def test_results_of_other_options_or_weights_are_not_mixed(run: Bench, tmp_path: Path) -> None:
    from gas.testing.tiny import build_tiny_stable_diffusion

    run("perfect")
    before = lines_of(run.out)
    with pytest.raises(UsageError, match="other weights, options or cases"):
        run("perfect", options={"colour": 1}, resume=True)
    # the same folder with other numbers in it
    copy = build_tiny_stable_diffusion(tmp_path / "model")
    moved = Bench(copy, tmp_path / "moved", run.four)
    moved("perfect")
    build_tiny_stable_diffusion(copy, seed=1)
    with pytest.raises(UsageError, match="other weights, options or cases"):
        moved("perfect", resume=True)
    assert lines_of(run.out) == before


def test_another_editor_is_added_to_a_folder(run: Bench) -> None:
    run("perfect")
    CALLS.clear()
    report = run("perfect", "nothing", resume=True)
    assert CALLS == [1] * 4 and {result.row for result in report.results} == {"perfect", "nothing"}


# --- sums -------------------------------------------------------------------------------------------------------------


def result(row: str, case: str, *done: bool, stratum: str = "plain", seed: int = 0, raw: float | None = 1.0) -> Result:
    n = len(done)
    miss = tuple("" if one else "blurred" for one in done)
    verdicts = done, ("snow",) * n, (0.1,) * n, done, miss
    return Result(row, case, stratum, seed, ("change",) * n, *verdicts, raw, 0.0, 2.0, 10.0)


def test_means_are_over_subtasks_and_cases() -> None:
    results = [result("a", "1", True, True, True), result("a", "2", False)]
    assert estimate(results, "subtasks_done").mean == 75
    assert estimate(results, "all_done").mean == 50
    assert estimate([result("a", "1", True, raw=None)], "raw_outside") is None
    mixed = [result("a", "1", True, raw=None), result("a", "2", True, raw=3.0)]
    assert estimate(mixed, "raw_outside").mean == 3


def test_right_and_why_not_done_are_shares_of_all_subtasks() -> None:
    """Two of four are the target, one of them blurred; what was not done is told apart, and adds up."""
    found = replace(
        result("a", "1", True, False, False, False),
        right=(True, True, False, False),
        miss=("", "blurred", "wrong kind", "wrong kind"),
    )
    columns = ("subtasks_right", "subtasks_done", *MISS_COLUMNS)
    shares = {column: estimate([found], column).mean for column in columns}
    assert shares.pop("subtasks_right") == 50 and sum(shares.values()) == 100
    assert {column: share for column, share in shares.items() if share} == {
        "subtasks_done": 25,
        "miss_blurred": 25,
        "miss_wrong_kind": 50,
    }
    console = Console(width=250, file=StringIO())
    console.print(tables(summarise([found], "a"), "a"))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "what is not done, and why" in text and "displaced" in text


def test_intervals_hold_the_mean_and_shrink_with_more_cases() -> None:
    few, many = ([result("a", str(i), i % 2 == 0) for i in range(n)] for n in (10, 200))
    narrow, wide = estimate(many, "subtasks_done"), estimate(few, "subtasks_done")
    assert narrow.low < 50 < narrow.high and wide.low < 50 < wide.high
    assert narrow.high - narrow.low < 0.4 * (wide.high - wide.low)
    # 1.96 standard errors of a share of one half among 200
    assert narrow.high - narrow.low == pytest.approx(2 * 1.96 * 100 * 0.5 / 200**0.5, rel=0.15)


def test_differences_are_paired_by_case() -> None:
    """Two rows that differ by one and the same case in ten have a far narrower difference than their own intervals."""
    ours = [result("a", str(i), i % 2 == 0 or i == 1) for i in range(40)]
    theirs = [result("b", str(i), i % 2 == 0) for i in reversed(range(40))]
    paired = difference(ours, theirs, "subtasks_done")
    assert paired.mean == pytest.approx(2.5) and paired.low >= 0 and paired.high < 10
    assert difference(ours, [result("b", "other", True)], "subtasks_done") is None
    half = difference(ours, theirs[:20], "subtasks_done")
    assert half.mean == 0  # only the cases that both have: the later twenty


def test_seeds_of_a_case_are_no_cases_of_their_own() -> None:
    one = [result("a", str(i), i % 2 == 0) for i in range(10)]
    three = [result("a", str(i), i % 2 == 0, seed=seed) for i in range(10) for seed in range(3)]
    assert estimate(three, "subtasks_done") == estimate(one, "subtasks_done")


def test_grounded_rows_are_compared_with_their_plain_ones() -> None:
    def several(row: str, case: str, ratio: float) -> Result:
        one = result(row, case, ratio < 0.5, stratum="several")
        twice = {name: getattr(one, name) * 2 for name in ("done", "actions", "nearest", "right", "miss")}
        return replace(one, ratio=(ratio, ratio), **twice)

    results = [
        *(several("x", str(i), 0.8) for i in range(3)),
        *(several("x grounded", str(i), 0.3) for i in range(3)),
        *(replace(result(row, "one", False), ratio=(1.0,)) for row in ("x", "x grounded")),
        several("alone", "0", 0.1),
        *(several(row, "s", 0.0) for row in ("y grounded",)),
        *(replace(several(row, "single-0", 0.0), stratum="single") for row in ("x", "x grounded")),
    ]
    found = by_grounding(results)
    assert list(found) == ["one subtask", "several subtasks"]
    assert list(found["several subtasks"]) == ["x", "x grounded"], "rows that are there both ways"
    grounded = found["several subtasks"]["x grounded"]
    assert grounded["value"]["ratio"].mean == pytest.approx(0.3), "single instructions are left out"
    assert grounded["difference"]["ratio"].mean == pytest.approx(-0.5)
    assert grounded["difference"]["subtasks_done"].mean == 100
    assert found["several subtasks"]["x"]["difference"] == {}
    console = Console(width=250, file=StringIO())
    console.print(tables(summarise(results, "x"), "x", None, found))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "edits of several subtasks: plain and grounded" in text and "-0.50 [-0.50, -0.50]" in text


def test_summary_has_every_stratum_and_differences_from_the_reference() -> None:
    results = [
        *(result(REFERENCE, str(i), True, stratum=STRATA[i % 2]) for i in range(4)),
        *(result("dds", str(i), i % 2 == 0, stratum=STRATA[i % 2]) for i in range(4)),
    ]
    summary = summarise(results, REFERENCE)
    assert list(summary) == ["all", "plain", "several"]
    assert summary["plain"]["dds"]["difference"]["subtasks_done"].mean == 0
    assert summary["several"]["dds"]["difference"]["subtasks_done"].mean == -100
    assert summary["all"][REFERENCE]["difference"] == {}
    console = Console(width=250, file=StringIO())
    console.print(tables(summary, REFERENCE))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "several" in text and "-100 [-100, -100]" in text and "subtasks done (%)" in text


def test_every_row_can_be_named_among_others() -> None:
    assert not [row.title for row in ROWS if "," in row.title]
