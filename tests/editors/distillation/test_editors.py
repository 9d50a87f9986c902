"""SDS, DDS, CDS and Ground-A-Score as editors: every option counts, presets are complete, regions become masks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gas import notes
from gas.backends.options import Layer, settle
from gas.diffusion.distill.loop import distill
from gas.diffusion.distill.terms import STEP_SIZE, Term
from gas.diffusion.masks import latent_mask
from gas.errors import InputRefused, UsageError
from gas.interfaces import EditJob, Watch
from gas.masks import box_mask
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract, sample_image
from gas.testing.tiny import build_tiny_stable_diffusion
from gas.types import EditPlan, Region, Subtask
from gas_editors.distillation.base import ScoreDistillationEditor
from gas_editors.distillation.cds import CDSEditor
from gas_editors.distillation.dds import DDSEditor
from gas_editors.distillation.ground_a_score import GroundAScoreEditor, GroundAScoreOptions
from gas_editors.distillation.sds import SDSEditor

EDITORS: dict[str, type[ScoreDistillationEditor]] = {
    "sds": SDSEditor,
    "dds": DDSEditor,
    "cds": CDSEditor,
    "ground-a-score": GroundAScoreEditor,
}
HEIGHT, WIDTH = 64, 96
SIZE = (8, 12)
PLAN = EditPlan(
    subtasks=(
        Subtask(source="a red box", target="a blue ball", preserve_shape=True),
        Subtask(source="grass", target="snow"),
    ),
    source_prompt="a red box on grass",
    target_prompt="a blue ball on snow",
)


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return Runtime(device="cpu", dtype="fp32")


@pytest.fixture(scope="module")
def half() -> Runtime:
    """In bf16, where a latent that is kept in the network's number format differs from one in fp32."""
    return Runtime(device="cpu", dtype="bf16")


@pytest.fixture(scope="module")
def unchanged() -> dict[Any, torch.Tensor]:
    """Latents that were computed already."""
    return {}


def editor(kind: type[ScoreDistillationEditor], runtime: Runtime, folder: Path, **values: Any) -> Any:
    """The editor with options as the command line sets them; a preset may be among `values`."""
    layer = Layer("test", {"model": str(folder), "steps": 2, **values})
    return kind(settle("editor", kind.options_type, [layer]).options, runtime)


def region(subtask: int, box: tuple[float, float, float, float], phrase: str = "") -> Region:
    return Region(phrase, box=box, mask=box_mask(box, (WIDTH, HEIGHT)), subtask=subtask)


SMALL, LARGE = (16.0, 16.0, 40.0, 40.0), (0.0, 24.0, 96.0, 64.0)  # 9 % and 62 % of the picture


def job(
    edit: ScoreDistillationEditor,
    plan: EditPlan = PLAN,
    regions: tuple[Region, ...] | None = None,
    seed: int = 1,
    watch: Watch = Watch(),
) -> EditJob:
    regions = (region(0, SMALL), region(1, LARGE)) if regions is None else regions
    return EditJob(sample_image(WIDTH, HEIGHT), plan, regions, seed, edit.options, watch=watch)


def latent(edit: ScoreDistillationEditor, work: EditJob | None = None) -> torch.Tensor:
    """The edited latent, which shows more than a picture of eight bits."""
    work = work or job(edit)
    (result,) = distill(edit.model, [edit.problem(work, edit.model.encode(work.image))], edit.method(SIZE))
    return result.z


def terms(edit: ScoreDistillationEditor, work: EditJob | None = None) -> tuple[Term, ...]:
    return edit.terms(work or job(edit), SIZE, STEP_SIZE)


@pytest.mark.parametrize("name", EDITORS)
class TestContract(EditorContract):
    @pytest.fixture
    def editor(self, name: str, runtime: Runtime, tiny_sd: Path) -> Any:
        return editor(EDITORS[name], runtime, tiny_sd)


# --- options and presets ----------------------------------------------------------------------------------------------

LOOP: dict[str, Any] = {
    "steps": 3,
    "guidance_scale": 3,
    "step_size": 0.1,
    "official_hw_scaling": True,
    "t_range": "100,700",
    "t_schedule": "descending",
    "alpha_exp": 1,
    "sigma_exp": 1,
    "momentum": 0.9,
    "bank": 1,
}
DELTA: dict[str, Any] = {**LOOP, "source_guidance": 1}
CONTRAST: dict[str, Any] = {"patches": 9, "patch_sizes": "1", "temperature": 0.5, "nce_query": "target"}
CHANGES: dict[str, dict[str, Any]] = {
    "sds": {**LOOP, "mask": "union"},
    "dds": {**DELTA, "mask": "union"},
    "cds": {**DELTA, **CONTRAST, "mask": "union", "w_dds": 2, "w_cut": 30, "latents": "network"},
    "ground-a-score": {
        **DELTA,
        **CONTRAST,
        "mask": "none",
        "overlap": 0.9,
        "subtasks": False,
        "full_prompt": False,
        "full_source": "joined",
        "beta": 0.7,
        "penalty": False,
        "penalty_strength": 0.5,
        "penalty_area": 0.01,
        "penalty_norm": "all",
        "cut": "all",
        "w_cut": 30,
        "cut_prompt": "full",
        "sequential": True,
        "halo": -1,
        "window_kept": "50,51",
        "window_backdrop": "50,51",
    },
}
# What makes no difference to the latent of two steps, with the test that shows what it does.
ELSEWHERE = {
    "model": "test_the_model_has_to_be_named",
    "variant": "test_stable_diffusion",
    "allow_pickle": "test_stable_diffusion",
    "keep_structure": "test_structure_option",
    "accept_db": "test_a_picture_from_another_world_is_refused",
    "convergence": "test_a_run_may_end_early",
    "rows_per_call": "test_less_memory_for_more_calls",
    "separate_contrast": "test_reference_code_spends_more_rows",
    "window_free": "test_each_kind_of_subtask_has_a_window_of_its_own",
    "stroke": "test_an_addition_begins_as_a_stroke_of_its_colour",
    "overlap_mode": "test_overlap_under_several_smaller_regions",
}


# A bank shows from its second step on; a small region's feature maps have too few places for the patches to matter.
BESIDE: dict[tuple[str, str], dict[str, Any]] = {
    **{(name, "bank"): {"steps": 2} for name in EDITORS},
    **{(name, "momentum"): {"steps": 2} for name in EDITORS},
    ("ground-a-score", "patches"): {"cut": "all"},
    ("ground-a-score", "patch_sizes"): {"cut": "all"},
}


@pytest.mark.parametrize(("name", "option"), [(name, option) for name, values in CHANGES.items() for option in values])
def test_every_option_changes_the_result(
    name: str, option: str, runtime: Runtime, half: Runtime, tiny_sd: Path, unchanged: dict[Any, torch.Tensor]
) -> None:
    at, beside = half if option == "latents" else runtime, {"steps": 1, **BESIDE.get((name, option), {})}
    plain = editor(EDITORS[name], at, tiny_sd, **beside)
    changed = editor(EDITORS[name], at, tiny_sd, **{**beside, option: CHANGES[name][option]})
    assert getattr(changed.options, option) != getattr(plain.options, option)
    key = (name, at.dtype, *beside.items())
    if key not in unchanged:
        unchanged[key] = latent(plain)
    assert not torch.equal(latent(changed), unchanged[key])


ADDED = {"lora", "quantise", "parts_model"}
"""To a model: test_lora, test_quantised, test_single_file_families."""


@pytest.mark.parametrize("name", EDITORS)
def test_no_option_is_without_a_test(name: str) -> None:
    assert set(EDITORS[name].options_type.model_fields) <= set(CHANGES[name]) | set(ELSEWHERE) | ADDED


@pytest.mark.parametrize("name", EDITORS)
def test_presets_are_complete_and_paper_is_the_default(name: str) -> None:
    options_type = EDITORS[name].options_type
    of_the_machine = {"model", "variant", "allow_pickle", "accept_db", "keep_structure", "rows_per_call"} | ADDED
    for preset, values in options_type.presets.items():
        assert set(values) == set(options_type.model_fields) - of_the_machine, preset
    assert options_type(**options_type.presets["paper"]) == options_type()
    assert {"paper", "official-code"} <= set(options_type.presets)


def test_each_kind_of_subtask_has_a_window_of_its_own(runtime: Runtime, tiny_sd: Path) -> None:
    """What keeps its shape, what spans the picture, and the rest; the whole prompt has none."""
    windows = {"window_kept": "100,200", "window_backdrop": "300,400", "window_free": "500,600"}
    edit = editor(GroundAScoreEditor, runtime, tiny_sd, **windows)
    kept = PLAN.subtasks[0].model_copy(update={"preserve_shape": True})
    free = kept.model_copy(update={"preserve_shape": False})
    backdrop = PLAN.subtasks[1].model_copy(update={"preserve_shape": False})
    plan = PLAN.model_copy(update={"subtasks": (kept, backdrop, free)})
    found = terms(edit, job(edit, plan, (region(0, SMALL), region(1, LARGE), region(2, SMALL))))
    acting = [[t for t in (150, 350, 550) if term.weight_at(t)] for term in found]
    assert acting == [[150], [350], [550], [150, 350, 550]]
    ends = [found[0].weight_at(t) > 0 for t in (99, 100, 200, 201)]
    assert ends == [False, True, True, False]
    with pytest.raises(ValueError, match="smaller one first"):
        GroundAScoreOptions(window_free=(600, 500))
    with pytest.raises(ValueError, match="window_kept is 960,999, where t_range 50,948 never comes"):
        GroundAScoreOptions(window_kept=(960, 999))
    with pytest.raises(UsageError, match=r"window_kept is 960,999, where t_range 50,948 never comes\n"):
        settle("ground-a-score", GroundAScoreOptions, [Layer("-o", {"window_kept": "960,999"})])


def test_an_addition_begins_as_a_stroke_of_its_colour(runtime: Runtime, tiny_sd: Path) -> None:
    ball = Subtask(action="add", target="a green ball", anchor="grass")
    plan = PLAN.model_copy(update={"subtasks": (ball, PLAN.subtasks[1])})
    edit = editor(GroundAScoreEditor, runtime, tiny_sd, stroke="300,700")
    work = job(edit, plan)
    z = edit.model.encode(work.image)
    start = edit.problem(work, z).z_start
    place = (latent_mask(box_mask(SMALL, (WIDTH, HEIGHT)), SIZE) >= 0.5).expand_as(z)
    assert start is not None and torch.equal(start[~place], z[~place])
    assert bool((start != z)[place].any())
    acting = [[t for t in (250, 350, 750) if term.weight_at(t)] for term in terms(edit, work)]
    assert acting == [[350], [250, 350, 750], [250, 350, 750]]

    alone = job(edit, PLAN.model_copy(update={"subtasks": (ball,)}), (region(0, SMALL),))
    never = editor(GroundAScoreEditor, runtime, tiny_sd, stroke="0,0", full_prompt=False)
    assert torch.equal(latent(never, alone), start), "what does not act stays where it began"

    with notes.collected() as said:
        edit.check_plan(plan)
    assert said == [], "it adds, so nobody is warned"

    plain = plan.model_copy(update={"subtasks": (ball.model_copy(update={"target": "a ball"}), plan.subtasks[1])})
    assert edit.problem(job(edit, plain), z).z_start is None, "it names no colour"
    assert all(terms(edit, job(edit, plain))[0].weight_at(t) for t in (250, 350, 750))
    with pytest.warns(UserWarning, match="'a ball' may come out"):
        edit.check_plan(plain)
    published = gas(runtime, tiny_sd)
    assert published.problem(job(published, plan), z).z_start is None


def test_a_halo_grows_and_shrinks_masks_but_never_to_nothing(runtime: Runtime, tiny_sd: Path) -> None:
    cells = {}
    for halo in (-2, -1, 0, 1):
        edit = editor(GroundAScoreEditor, runtime, tiny_sd, halo=halo)
        small, large, _ = terms(edit)
        assert small.mask is not None and large.mask is not None
        cells[halo] = int((small.mask > 0).sum())
        assert bool((large.mask > 0)[..., -1, :].all()), "the picture's border is no edge"
    assert cells == {-2: 9, -1: 1, 0: 9, 1: 25}


@pytest.mark.parametrize("name", EDITORS)
def test_options_say_what_they_are(name: str) -> None:
    for field in EDITORS[name].options_type.model_fields.values():
        assert field.description


def test_values_of_the_papers() -> None:
    paper = GroundAScoreOptions()
    assert (paper.steps, paper.guidance_scale, paper.t_range, paper.step_size) == (500, 7.5, (50, 948), 0.048828125)
    assert paper.beta == (0.5, 0.4, 0.3, 0.2, 0.1)
    assert (paper.overlap, paper.penalty_strength, paper.penalty_area, paper.w_cut) == (0.3, 5, 0.15, 1)
    cds = CDSEditor.options_type()
    assert (cds.steps, cds.w_cut, cds.temperature, cds.patches, cds.patch_sizes) == (200, 3, 0.07, 256, (1, 2))


@pytest.mark.parametrize(
    "values", [{"t_range": "700,100"}, {"beta": "1,2"}, {"beta": "-1"}, {"steps": 0}, {"steps": "x"}]
)
def test_values_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        settle("ground-a-score", GroundAScoreOptions, [Layer("test", values)])


def test_times_beyond_the_models_are_refused(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(DDSEditor, runtime, tiny_sd, t_range="0,1000")
    with pytest.raises(UsageError, match="1000 times"):
        edit.edit(job(edit))


def test_the_model_has_to_be_named(runtime: Runtime, tiny_sd: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no model is named") as caught:
        DDSEditor(DDSEditor.options_type(), runtime).resolution()
    assert "sd15" in caught.value.remedy
    other = build_tiny_stable_diffusion(tmp_path / "other", seed=1)
    one, two = (latent(editor(DDSEditor, runtime, folder)) for folder in (tiny_sd, other))
    assert not torch.equal(one, two)


def test_contrast_moves_as_far_as_in_the_papers(runtime: Runtime, tiny_sd: Path) -> None:
    (term,) = terms(editor(CDSEditor, runtime, tiny_sd))
    assert term.contrast is not None
    assert term.contrast.weight == pytest.approx(6.144)  # 0.1 * 3 / 0.0488
    slow = editor(CDSEditor, runtime, tiny_sd, step_size=0.01)
    assert terms(slow)[0].contrast.weight == term.contrast.weight  # one step size for both parts
    official = editor(CDSEditor, runtime, tiny_sd, official_hw_scaling=True)
    eta = official.method(SIZE).step_size
    assert eta == pytest.approx(0.1 * 2000 / 96)
    assert official.terms(job(official), SIZE, eta)[0].contrast.weight * eta == pytest.approx(0.3)
    assert terms(editor(CDSEditor, runtime, tiny_sd, w_cut=0))[0].contrast is None


# --- whole pictures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EDITORS)
def test_a_plan_without_whole_sentences_is_refused(name: str, runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(EDITORS[name], runtime, tiny_sd)
    for missing in ("source", "target"):
        plan = PLAN.model_copy(update={f"{missing}_prompt": " "})
        if name == "sds" and missing == "source":
            edit.edit(job(edit, plan))  # has no use for it
            continue
        with pytest.raises(InputRefused, match=f"no {missing} prompt") as caught:
            edit.edit(job(edit, plan))
        assert f"write {missing}_prompt into the plan" in caught.value.remedy


@pytest.mark.parametrize("name", ["sds", "dds", "cds"])
def test_a_whole_picture_editor_works_everywhere_or_in_the_regions(name: str, runtime: Runtime, tiny_sd: Path) -> None:
    plain, masked = (editor(EDITORS[name], runtime, tiny_sd, mask=mask) for mask in ("none", "union"))
    source = plain.model.encode(job(plain).image)
    work = job(masked, regions=(region(0, SMALL),))
    outside = (latent_mask(work.regions[0].mask, SIZE) == 0).expand_as(source)
    assert torch.equal(latent(masked, work)[outside], source[outside])
    assert not torch.equal(latent(plain, work)[outside], source[outside])
    with pytest.raises(InputRefused, match="no regions"):
        masked.edit(job(masked, regions=()))


def test_cds_keeps_latents_in_fp32_unless_told(tiny_sd: Path) -> None:
    runtime = Runtime(device="cpu", dtype="bf16")
    paper, official = (editor(CDSEditor, runtime, tiny_sd, preset=preset) for preset in ("paper", "official-code"))
    assert paper.method(SIZE).latent_dtype is None
    assert official.method(SIZE).latent_dtype == torch.bfloat16


# --- Ground-A-Score ---------------------------------------------------------------------------------------------------


def gas(runtime: Runtime, folder: Path, **values: Any) -> GroundAScoreEditor:
    return editor(GroundAScoreEditor, runtime, folder, **values)


def test_terms_of_a_plan(runtime: Runtime, tiny_sd: Path) -> None:
    edit = gas(runtime, tiny_sd)
    ball, snow, whole = terms(edit)
    assert [(t.source, t.target) for t in (ball, snow, whole)] == [
        ("a red box", "a blue ball"),
        ("grass", "snow"),
        ("a red box on grass", "a blue ball on snow"),
    ]
    assert ball.penalty is not None  # 9 % of the picture
    assert snow.penalty is None  # 62 %
    assert whole.penalty is None
    assert (ball.contrast is not None, snow.contrast is not None, whole.contrast is not None) == (True, False, False)
    assert ball.contrast.boxes == ((2, 2, 5, 5),)
    assert [whole.weight_at(t) for t in (0, 199, 200, 500, 700, 999)] == [0.5, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert ball.weight_at(500) == 1


def test_a_step_costs_2k_plus_4_rows(runtime: Runtime, tiny_sd: Path) -> None:
    edit = gas(runtime, tiny_sd)
    assert edit.edit(job(edit)).log["batch"] == {"edits": 1, "rows": 2 * 8, "calls": 4}


def test_reference_code_spends_more_rows(runtime: Runtime, tiny_sd: Path) -> None:
    edit = gas(runtime, tiny_sd, preset="official-code", steps=2)
    assert edit.edit(job(edit)).log["batch"]["rows"] == 2 * (4 * 3 + 1)
    shared = gas(runtime, tiny_sd, preset="official-code", steps=2, separate_contrast=False)
    assert shared.edit(job(shared)).log["batch"]["rows"] == 2 * 4 * 3
    torch.testing.assert_close(latent(edit), latent(shared), rtol=0, atol=1e-4)


def test_the_fast_preset_computes_the_source_half_once(runtime: Runtime, tiny_sd: Path) -> None:
    edit = gas(runtime, tiny_sd, preset="fast", steps=20, bank=4)
    rows = edit.edit(job(edit)).log["batch"]["rows"]
    assert rows == 4 * 4 + 20 * 4  # M (K + 2) once, K + 2 a step


def test_the_larger_of_two_regions_is_weakened_where_they_overlap(runtime: Runtime, tiny_sd: Path) -> None:
    ball, snow, whole = terms(gas(runtime, tiny_sd))
    assert ball.mask[0, 0, 3:5, 2:5].eq(1).all()
    torch.testing.assert_close(snow.mask[0, 0, 3:5, 2:5], torch.full((2, 3), 0.3))
    assert snow.mask[0, 0, 3:, 5:].eq(1).all()
    assert whole.mask.unique().tolist() == [0, 1]  # the union knows no 0.3
    assert torch.equal(whole.mask > 0, (ball.mask > 0) | (snow.mask > 0))


def test_regions_of_equal_size_weaken_neither(runtime: Runtime, tiny_sd: Path) -> None:
    for other in ((16.0, 16.0, 40.0, 40.0), (24.0, 24.0, 48.0, 48.0)):
        edit = gas(runtime, tiny_sd)
        ball, snow, _ = terms(edit, job(edit, regions=(region(0, SMALL), region(1, other))))
        assert ball.mask.unique().tolist() == [0, 1]
        assert snow.mask.unique().tolist() == [0, 1]


def test_overlap_under_several_smaller_regions(runtime: Runtime, tiny_sd: Path) -> None:
    plan = PLAN.model_copy(update={"subtasks": (*PLAN.subtasks, Subtask(source="a cat", target="a dog"))})
    regions = (region(0, SMALL), region(1, (0.0, 0.0, 96.0, 64.0)), region(2, (24.0, 24.0, 40.0, 40.0)))
    for mode, factor in (("assign", 0.3), ("multiply", 0.09)):
        edit = gas(runtime, tiny_sd, overlap_mode=mode)
        _, snow, _, _ = terms(edit, job(edit, plan, regions))
        assert float(snow.mask[0, 0, 4, 4]) == pytest.approx(factor)
        assert float(snow.mask[0, 0, 2, 2]) == pytest.approx(0.3)


def test_several_regions_of_one_subtask_are_united(runtime: Runtime, tiny_sd: Path) -> None:
    edit = gas(runtime, tiny_sd)
    right = (64.0, 0.0, 80.0, 16.0)
    ball, *_ = terms(edit, job(edit, regions=(region(0, SMALL), region(0, right), region(1, LARGE))))
    assert ball.mask[0, 0, 2:5, 2:5].eq(1).all()
    assert ball.mask[0, 0, :2, 8:10].eq(1).all()
    assert float(ball.mask.sum()) == 9 + 4
    assert ball.contrast.boxes == ((2, 2, 5, 5), (8, 0, 10, 2))


def test_drawn_masks_are_used_and_boxes_only_when_asked(runtime: Runtime, tiny_sd: Path) -> None:
    drawn = np.zeros((HEIGHT, WIDTH), np.float32)
    drawn[16:40, 16:28] = 1
    regions = (replace(region(0, SMALL), mask=drawn), region(1, LARGE))
    edit = gas(runtime, tiny_sd)
    ball, *_ = terms(edit, job(edit, regions=regions))
    assert torch.equal(ball.mask, latent_mask(drawn, SIZE))
    assert ball.contrast.boxes == ((2, 2, 4, 5),)
    assert edit.edit(job(edit, regions=regions)).mask is None
    boxes = gas(runtime, tiny_sd, mask="box")
    ball, *_ = terms(boxes, job(boxes, regions=regions))
    assert float(ball.mask.sum()) == 9
    pasted = boxes.edit(job(boxes, regions=regions)).mask
    assert np.array_equal(pasted, np.maximum(box_mask(SMALL, (WIDTH, HEIGHT)), box_mask(LARGE, (WIDTH, HEIGHT))))
    with pytest.raises(InputRefused, match="no box"):
        boxes.edit(job(boxes, regions=(replace(region(0, SMALL), box=None), region(1, LARGE))))


def test_nothing_changes_outside_the_regions(runtime: Runtime, tiny_sd: Path) -> None:
    edit = gas(runtime, tiny_sd, cut="all")
    work = job(edit)
    source = edit.model.encode(work.image)
    outside = (terms(edit, work)[-1].mask == 0).expand_as(source)
    assert outside.any()
    assert torch.equal(latent(edit, work)[outside], source[outside])


@pytest.mark.parametrize(
    ("box", "small"),
    [((0.0, 0.0, 48.0, 19.0), True), ((0.0, 0.0, 48.0, 19.2), False), ((0.0, 0.0, 48.0, 20.0), False)],
)
def test_the_penalty_is_for_regions_below_15_percent(
    runtime: Runtime, tiny_sd: Path, box: tuple[float, float, float, float], small: bool
) -> None:
    edit = gas(runtime, tiny_sd, mask="box")
    assert (terms(edit, job(edit, regions=(region(0, box), region(1, LARGE))))[0].penalty is not None) == small
    off = gas(runtime, tiny_sd, mask="box", penalty=False)
    assert terms(off)[0].penalty is None
    everywhere = gas(runtime, tiny_sd, penalty_area=1)
    assert terms(everywhere)[1].penalty is not None


def test_ablations_of_the_paper(runtime: Runtime, tiny_sd: Path) -> None:
    naive = terms(gas(runtime, tiny_sd, mask="none", full_prompt=False))  # eq. 6
    assert len(naive) == 2
    assert all(t.mask.eq(1).all() and t.penalty is None for t in naive)
    assert [t.name for t in terms(gas(runtime, tiny_sd, subtasks=False))] == ["whole"]
    assert [t.name for t in terms(gas(runtime, tiny_sd, full_prompt=False))] == ["subtask 1", "subtask 2"]
    assert not any(t.penalty for t in terms(gas(runtime, tiny_sd, penalty=False)))
    strengths = [terms(gas(runtime, tiny_sd, penalty_strength=s))[0].penalty.strength for s in (0, 1, 1e9)]
    assert strengths == [0, 1, 1e9]
    with pytest.raises(UsageError, match="nothing to do"):
        terms(gas(runtime, tiny_sd, subtasks=False, full_prompt=False))


def test_the_contrastive_loss_goes_where_the_plan_says(runtime: Runtime, tiny_sd: Path) -> None:
    def flags(plan: EditPlan = PLAN, **values: Any) -> list[bool]:
        edit = gas(runtime, tiny_sd, **values)
        return [t.contrast is not None for t in terms(edit, job(edit, plan))]

    assert flags() == [True, False, False]
    assert flags(PLAN.model_copy(update={"preserve_shape": True})) == [True, False, True]
    assert flags(cut="all") == [True, True, True]
    assert flags(cut="none") == [False, False, False]
    assert flags(w_cut=0) == [False, False, False]
    edit = gas(runtime, tiny_sd, cut="all", cut_prompt="full")
    shared = [t.contrast.prompts for t in terms(edit)]
    assert shared == [(PLAN.source_prompt, PLAN.target_prompt)] * 3
    assert edit.edit(job(edit)).log["batch"]["rows"] == 2 * 8


def test_strength_multiplies_a_subtasks_gradient(runtime: Runtime, tiny_sd: Path) -> None:
    strong = PLAN.subtasks[0].model_copy(update={"strength": 2.5})
    plan = PLAN.model_copy(update={"subtasks": (strong, PLAN.subtasks[1])})
    edit = gas(runtime, tiny_sd)
    assert [t.weight_at(100) for t in terms(edit, job(edit, plan))] == [2.5, 1, 0.5]
    assert not torch.equal(latent(edit, job(edit, plan)), latent(edit))


def test_a_joined_source_as_in_the_reference_code(runtime: Runtime, tiny_sd: Path) -> None:
    whole = terms(gas(runtime, tiny_sd, full_source="joined"))[-1]
    assert (whole.source, whole.target) == ("a red box and grass", "a blue ball on snow")


def test_adding_and_removing(runtime: Runtime, tiny_sd: Path) -> None:
    subtasks = (Subtask(action="add", target="a hat", anchor="a dog"), Subtask(action="remove", source="a car"))
    edit = gas(runtime, tiny_sd)
    added, removed, _ = terms(edit, job(edit, PLAN.model_copy(update={"subtasks": subtasks})))
    assert (added.source, added.target) == ("a dog", "a dog with a hat")
    assert (removed.source, removed.target) == ("a car", "")
    assert np.isfinite(edit.edit(job(edit, PLAN.model_copy(update={"subtasks": subtasks}))).log["change_rms"])


@pytest.mark.parametrize("name", EDITORS)
def test_who_asks_for_an_addition_is_told_before_the_edit_who_adds(name: str, runtime: Runtime, tiny_sd: Path) -> None:
    edit, change = editor(EDITORS[name], runtime, tiny_sd), PLAN.subtasks[0]
    hat = Subtask(action="add", target="a hat", anchor="a dog")
    removed = Subtask(action="remove", source="a car")
    with (
        notes.collected() as said,
        pytest.warns(UserWarning, match="'a hat' may come out .* instruct-pix2pix and zone"),
    ):
        edit.check_plan(PLAN.model_copy(update={"subtasks": (change, hat)}))
    assert len(said) == 1
    with notes.collected() as said:
        edit.check_plan(PLAN.model_copy(update={"subtasks": (change, removed)}))
    assert said == []


def test_a_subtask_without_a_region_is_refused(runtime: Runtime, tiny_sd: Path) -> None:
    assert GroundAScoreEditor.needs_regions
    edit = gas(runtime, tiny_sd)
    with pytest.raises(InputRefused, match="'grass'"):
        edit.edit(job(edit, regions=(region(0, SMALL),)))


def test_a_box_of_no_width_still_edits(runtime: Runtime, tiny_sd: Path) -> None:
    for mask in ("box", "region"):
        edit = gas(runtime, tiny_sd, mask=mask, cut="all")
        ball, *_ = terms(edit, job(edit, regions=(region(0, (95.5, 63.5, 96.0, 64.0)), region(1, LARGE))))
        assert float(ball.mask.max()) == 1
        edit.edit(job(edit, regions=(region(0, (95.5, 63.5, 96.0, 64.0)), region(1, LARGE))))


# --- running ----------------------------------------------------------------------------------------------------------


def test_several_edits_share_their_network_calls(runtime: Runtime, tiny_sd: Path) -> None:
    edit = gas(runtime, tiny_sd)
    plan = PLAN.model_copy(update={"subtasks": PLAN.subtasks[:1]})
    jobs = [job(edit), job(edit, plan, (region(0, LARGE),), seed=2)]
    together = edit.edit_together(jobs)
    assert together[0].log["batch"] == {"edits": 2, "rows": 2 * (8 + 6), "calls": 4}
    for one, alone in zip(together, [edit.edit(j) for j in jobs], strict=True):
        assert np.abs(one.image.astype(int) - alone.image).max() <= 1


@pytest.mark.parametrize("name", EDITORS)
def test_an_interrupted_edit_goes_on_to_the_same_bytes(name: str, runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(EDITORS[name], runtime, tiny_sd, steps=4)
    whole = edit.edit(job(edit))
    asked = iter(range(9))
    states: list[Any] = []
    stopped = edit.edit(job(edit, watch=Watch(checkpoint=states.append, should_stop=lambda: next(asked) == 2)))
    assert stopped.stopped
    assert not np.array_equal(stopped.image, whole.image)
    resumed = edit.edit(job(edit, watch=Watch(resume=states[0])))
    assert np.array_equal(resumed.image, whole.image)
    assert resumed.log["terms"] == whole.log["terms"]


def test_draws_can_come_from_outside(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(DDSEditor, runtime, tiny_sd)
    pairs = [(t, torch.randn(1, 4, *SIZE, generator=torch.Generator().manual_seed(t))) for t in (100, 500)]
    one, two = (edit.edit_together([job(edit, seed=s)], [pairs])[0].image for s in (1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(edit.edit(job(edit, seed=1)).image, edit.edit(job(edit, seed=2)).image)


def test_less_memory_for_more_calls(runtime: Runtime, tiny_sd: Path) -> None:
    edit = gas(runtime, tiny_sd, rows_per_call=3)
    assert edit.edit(job(edit)).log["batch"]["calls"] > 4
    torch.testing.assert_close(latent(edit), latent(gas(runtime, tiny_sd)), rtol=0, atol=1e-5)


def test_a_run_may_end_early(runtime: Runtime, tiny_sd: Path) -> None:
    assert editor(DDSEditor, runtime, tiny_sd).method(SIZE).convergence is None
    rule = editor(DDSEditor, runtime, tiny_sd, convergence=0.02).method(SIZE).convergence
    assert (rule.threshold, rule.window, rule.earliest) == (0.02, 50, 150)


def test_a_picture_from_another_world_is_refused(runtime: Runtime, tiny_sd: Path) -> None:
    edit = editor(DDSEditor, runtime, tiny_sd, accept_db=50)
    with pytest.raises(InputRefused, match="not of the kind that this model knows") as caught:
        edit.edit(job(edit))
    assert caught.value.exit_code == 3
    assert 'profile="sd15"' in caught.value.remedy and "gas models pull sd15" in caught.value.remedy
    lenient = editor(DDSEditor, runtime, tiny_sd, accept_db=0)
    lenient.edit(job(lenient))


def test_maps_show_where_the_model_sees_a_target(runtime: Runtime, tiny_sd: Path) -> None:
    maps: dict[str, np.ndarray] = {}
    edit = gas(runtime, tiny_sd)
    log = edit.edit(job(edit, watch=Watch(save_map=lambda name, array: maps.update({name: array})))).log
    assert list(maps) == ["1-a-blue-ball", "2-snow", "3-a-blue-ball-on-snow"]
    for one in maps.values():
        assert one.shape == (HEIGHT, WIDTH)
        assert 0 <= one.min() < one.max() <= 1
    assert log["maps_scale"] > 0


def test_the_log_is_plain_and_says_what_was_cut(runtime: Runtime, tiny_sd: Path) -> None:
    long = "a red box " + "and grass " * 20
    edit = gas(runtime, tiny_sd)
    with pytest.warns(UserWarning, match="does not see"):
        log = edit.edit(job(edit, PLAN.model_copy(update={"source_prompt": long.strip()}))).log
    assert json.loads(json.dumps(dict(log))) == dict(log)
    assert list(log["prompts_cut"]) == [long.strip()]
    assert set(log["terms"][0]["gamma"]) == {"mean", "min", "max", "histogram"}


@pytest.mark.parametrize("size", [(64, 160), (128, 64), (56, 72)])
def test_any_size_and_aspect_ratio(runtime: Runtime, tiny_sd: Path, size: tuple[int, int]) -> None:
    height, width = size
    box = (width / 4, height / 4, width / 2, height / 2)
    regions = tuple(Region("", box=b, mask=box_mask(b, (width, height)), subtask=i) for i, b in enumerate((box, box)))
    for preset in ("paper", "official-code", "fast"):
        edit = gas(runtime, tiny_sd, preset=preset, steps=1, cut="all", accept_db=None)
        work = EditJob(sample_image(width, height), PLAN, regions, 1, edit.options)
        assert edit.edit(work).image.shape == (height, width, 3)


def test_velocity_models_with_more_channels_work(runtime: Runtime, tmp_path: Path) -> None:
    folder = build_tiny_stable_diffusion(
        tmp_path / "v", latent_channels=8, cross_attention_dim=16, prediction_type="v_prediction"
    )
    edit = gas(runtime, folder, cut="all")
    assert edit.edit(job(edit)).image.shape == (HEIGHT, WIDTH, 3)


def test_presets_are_reachable_by_name(runtime: Runtime, tiny_sd: Path) -> None:
    for name, kind in EDITORS.items():
        seen = set()
        for preset in kind.options_type.presets:
            edit = editor(kind, runtime, tiny_sd, preset=preset, steps=1)
            assert np.isfinite(edit.edit(job(edit)).log["change_rms"]), (name, preset)
            seen.add(edit.options.model_dump_json())
        assert len(seen) == len(kind.options_type.presets)
