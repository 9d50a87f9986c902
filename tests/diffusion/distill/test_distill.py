"""The loop against closed form, its rows, its repeatability, and what it does when something goes wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gas.checkpoint import prefixed
from gas.diffusion.backbone import Conditioning
from gas.diffusion.distill.contrastive import patch_nce
from gas.diffusion.distill.convergence import Convergence
from gas.diffusion.distill.draws import Draws
from gas.diffusion.distill.features import capture_features, feature_grid
from gas.diffusion.distill.loop import distill
from gas.diffusion.distill.terms import STEP_SIZE, Contrast, Distilled, Method, Penalty, Problem, Term
from gas.diffusion.schedule import FlowSchedule, stable_diffusion_schedule
from gas.diffusion.stable_diffusion import StableDiffusion
from gas.diffusion.stepping import FORMAT
from gas.errors import InputRefused, ModelUnavailable, OutOfResources, ResultRefused, UsageError
from gas.interfaces import Step, Watch
from gas.testing.gaussian import GaussianDenoiser

SHAPE = (1, 4, 6, 8)
SIZE = (6, 8)


def randn(seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


MEANS = {prompt: randn(100 + seed) for seed, prompt in enumerate(["", "a", "b", "c", "d", "A", "B"])}
Z = randn(1)
LEFT = torch.zeros(1, 1, *SHAPE[2:])
LEFT[..., :3] = 1


def problem(*terms: Term, z: Tensor = Z, method: Method = Method(), seed: int = 0, **draws: Any) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    return Problem(
        z,
        terms,
        Draws(generator, tuple(z.shape), method.draws_needed(len(terms)), stable_diffusion_schedule(), **draws),
        generator,
    )


def run(*terms: Term, method: Method = Method(), watch: Watch | None = None, seed: int = 0, **draws: Any) -> Distilled:
    (result,) = distill(
        GaussianDenoiser(MEANS), [problem(*terms, method=method, seed=seed, **draws)], method, watch=watch
    )
    return result


# --- closed form ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("w", [1.0, 7.5])
@pytest.mark.parametrize("sequential", [False, True])
def test_fixed_point_of_delta_denoising(w: float, sequential: bool) -> None:
    method = Method(steps=1000, guidance_scale=w, sequential=sequential)
    result = run(Term("b", "a"), method=method)
    torch.testing.assert_close(result.z, Z + w * (MEANS["b"] - MEANS["a"]), rtol=0, atol=1e-3)


def test_fixed_point_with_a_bank_and_the_other_schedules() -> None:
    for draws in ({"bank": 16}, {"order": "logit-normal"}, {"order": "descending"}, {"t_range": (300, 400)}):
        result = run(Term("b", "a"), method=Method(steps=1000, guidance_scale=2), **draws)
        torch.testing.assert_close(result.z, Z + 2 * (MEANS["b"] - MEANS["a"]), rtol=0, atol=1e-3)


FLOW = FlowSchedule()
FLOWS: dict[str, tuple[dict[str, Any], float]] = {
    # How the model is made, and how far w carries: the number that it is told is the world's own affair.
    "null": ({}, 2.0),
    "told": ({"guidance": "told"}, 1.0),
}


@pytest.mark.parametrize("name", FLOWS)
def test_fixed_point_on_a_rectified_flow(name: str) -> None:
    kind, factor = FLOWS[name]
    world = GaussianDenoiser(MEANS, 1.0, FLOW, "velocity", **kind)
    method = Method(steps=1000, guidance_scale=2)
    generator = torch.Generator().manual_seed(0)
    draws = Draws(generator, SHAPE, 1000, FLOW, (FLOW.published(50), FLOW.published(948)))
    (result,) = distill(world, [Problem(Z, (Term("b", "a"),), draws, generator)], method)
    torch.testing.assert_close(result.z, Z + factor * (MEANS["b"] - MEANS["a"]), rtol=0, atol=1e-3)
    assert set(world.calls) == {4 if name == "null" else 2} and set(world.told) == (set() if name == "null" else {2.0})


def test_a_step_on_a_flow_has_its_pull_back_term() -> None:
    """g = (1 - t) [ v(z_t, y) - v(z0_t, x) + (z - z0) ]: without z - z0 an edit on a flow runs away."""
    world = GaussianDenoiser(MEANS, 1.0, FLOW, "velocity")
    given = [(0.3, randn(1)), (0.6, randn(2))]
    (result,) = distill(world, [Problem(Z, (Term("b", "a"),), given, torch.Generator())], Method(2, 1.0))
    z = Z.clone()
    for t, eps in given:
        time = torch.tensor([t])
        v = [
            world.velocity(FLOW.add_noise(latent, eps, t), time, world.condition([prompt], SIZE))
            for latent, prompt in ((z, "b"), (Z, "a"))
        ]
        z = z - STEP_SIZE * (1 - t) * (v[0] - v[1] + z - Z)
    torch.testing.assert_close(result.z, z, rtol=0, atol=1e-6)
    assert float((z - Z).abs().max()) > 1e-3


def test_what_needs_a_null_row_is_refused_by_name() -> None:
    world = GaussianDenoiser(MEANS, guidance="told")
    for term, maps, what in ((Term("b", "a", penalty=Penalty()), False, "penalty"), (Term("b", "a"), True, "a map")):
        with pytest.raises(ModelUnavailable, match=what) as caught:
            distill(world, [problem(term)], Method(steps=1), maps=maps)
        assert caught.value.exit_code == 6 and caught.value.remedy
    assert not world.calls


def test_a_guidance_of_the_source_side_needs_a_null_row() -> None:
    seen = GaussianDenoiser(MEANS)
    seen.guidance = "told"
    with pytest.raises(ModelUnavailable, match="a guidance of the source side"):
        distill(seen, [problem(Term("b", "a"))], Method(steps=1, source_guidance=1.5))


def test_a_model_that_knows_no_guidance_is_asked_for_none() -> None:
    world = GaussianDenoiser(MEANS, guidance="none")
    with pytest.raises(UsageError, match="has no guidance"):
        distill(world, [problem(Term("b", "a"))], Method(steps=1))
    method = Method(steps=1000, guidance_scale=1)
    (result,) = distill(world, [problem(Term("b", "a"), method=method)], method)
    torch.testing.assert_close(result.z, Z + MEANS["b"] - MEANS["a"], rtol=0, atol=1e-3)


def test_sites_count_by_their_weight(model: StableDiffusion, z: Tensor) -> None:
    """Families with more sites give each less: nine ninths are one sum."""

    def moved(weight: float) -> Tensor:
        sites = tuple(replace(site, contrast=weight * site.contrast) for site in model.attention_sites())
        method = Method(steps=1, guidance_scale=0)
        made = problem(Term("b", "a", contrast=Contrast(100.0)), z=z, method=method)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(StableDiffusion, "attention_sites", lambda self, kind=None: sites)
            return distill(model, [made], method)[0].z - made.z_source

    whole, third = moved(1.0), moved(1 / 3)
    assert float(whole.abs().max()) > 1e-4
    torch.testing.assert_close(third, whole / 3, rtol=1e-3, atol=1e-6)


def test_score_distillation_goes_to_the_target_itself() -> None:
    # What is left of eps in each step keeps z moving, so it comes near the mean only.
    result = run(Term("b", None), method=Method(steps=2000, guidance_scale=1, step_size=0.02), t_range=(300, 948))
    assert float((result.z - MEANS["b"]).square().mean()) < 0.05 * float((Z - MEANS["b"]).square().mean())


def test_one_step_is_the_written_out_sum() -> None:
    t, eps = 412, randn(7)
    w, beta = 3.0, 0.4
    terms = (Term("b", "a", LEFT, 2.0), Term("d", "c", 1 - LEFT, lambda time: beta if time == t else math.nan))
    method = Method(steps=1, guidance_scale=w)
    (result,) = distill(GaussianDenoiser(MEANS), [Problem(Z, terms, [(t, eps)], torch.Generator())], method)

    kept = GaussianDenoiser(MEANS).schedule.alphas_cumprod[t]
    alpha, sigma = kept.sqrt(), (1 - kept).sqrt()

    def guided(prompt: str) -> Tensor:
        z_t = alpha * Z + sigma * eps
        uncond, cond = (sigma * (z_t - alpha * MEANS[p]) / (alpha**2 + sigma**2) for p in ("", prompt))
        return uncond + w * (cond - uncond)

    g = 2 * LEFT * (guided("b") - guided("a")) + beta * (1 - LEFT) * (guided("d") - guided("c"))
    torch.testing.assert_close(result.z, Z - STEP_SIZE * g, rtol=1e-5, atol=1e-6)


def test_the_source_side_may_have_a_guidance_of_its_own() -> None:
    """One step written out; equal prompts, which nothing may move, keep one guidance on both sides."""
    method = Method(steps=1, guidance_scale=3, source_guidance=1.5, step_size=0.1)
    (t, eps), schedule, seen = (500, randn(7)), stable_diffusion_schedule(), GaussianDenoiser(MEANS)

    def predicted(prompt: str, w: float) -> Tensor:
        z_t = schedule.add_noise(Z, eps, t)
        null, own = (seen.epsilon(z_t, torch.tensor([t]), seen.condition([one], SIZE)) for one in ("", prompt))
        return null + w * (own - null)

    def moved(*terms: Term) -> Tensor:
        solved = Problem(Z, terms, [(t, eps)], torch.Generator())
        return distill(seen, [solved], method)[0].z - Z

    expected = -0.1 * (predicted("b", 3) - predicted("a", 1.5))
    torch.testing.assert_close(moved(Term("b", "a")), expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(moved(Term("a", "a", LEFT), Term("b", "a", 1 - LEFT))[..., :3], torch.zeros_like(Z)[..., :3])


def test_momentum_is_the_heavy_ball() -> None:
    """Two steps with one draw written out; a run that is interrupted between them has the same bits."""
    draws = [(500, randn(7)), (300, randn(8))]

    def latents(steps: int, momentum: float) -> Tensor:
        method = Method(steps=steps, guidance_scale=1, step_size=0.1, momentum=momentum)
        return distill(GaussianDenoiser(MEANS), [Problem(Z, (Term("b", "a"),), draws, torch.Generator())], method)[0].z

    one, two, plain = latents(1, 0.5), latents(2, 0.5), latents(2, 0)
    assert torch.equal(one, latents(1, 0))
    # In this world the gradient is the same for every z but for its pull, which both second steps share.
    torch.testing.assert_close(two - plain, 0.5 * (one - Z), rtol=1e-4, atol=1e-5)


def test_step_size_is_the_published_one_and_independent_of_resolution() -> None:
    assert STEP_SIZE == 0.048828125
    means = {p: torch.full((1, 4, 1, 1), float(i)) for i, p in enumerate(["", "a", "b"])}
    moved = []
    for h, w in ((6, 8), (12, 16)):
        denoiser = GaussianDenoiser({p: m.expand(1, 4, h, w) for p, m in means.items()})
        z = torch.zeros(1, 4, h, w)
        pair = [(300, torch.zeros_like(z))]
        (result,) = distill(denoiser, [Problem(z, (Term("b", "a"),), pair, torch.Generator())], Method(steps=1))
        moved.append(float(result.z[0, 0, 0, 0]))
    assert moved[0] == moved[1] != 0


def test_double_precision_is_kept() -> None:
    (result,) = distill(GaussianDenoiser(MEANS), [problem(Term("b", "a"), z=Z.double())], Method(steps=5))
    assert result.z.dtype == torch.float64


# --- what must not change ---------------------------------------------------------------------------------------------


def test_nothing_changes_where_the_mask_is_zero() -> None:
    result = run(Term("b", "a", LEFT), Term("d", "c", LEFT), method=Method(steps=30))
    assert torch.equal(result.z[..., 3:], Z[..., 3:])
    assert not torch.equal(result.z[..., :3], Z[..., :3])


def test_nothing_changes_under_an_empty_mask() -> None:
    assert torch.equal(run(Term("b", "a", torch.zeros(1, 1, *SHAPE[2:])), method=Method(steps=10)).z, Z)


@pytest.mark.parametrize("sequential", [False, True])
def test_equal_prompts_leave_the_latent_bit_identical(model: StableDiffusion, sequential: bool) -> None:
    method = Method(steps=6, sequential=sequential)
    z = randn(2, (1, 4, 8, 8))
    (result,) = distill(model, [problem(Term("a", "a"), Term("b", "b"), z=z, method=method)], method)
    assert torch.equal(result.z, z)


def test_equal_seeds_give_equal_bits_and_others_do_not() -> None:
    method = Method(steps=20)
    one, two = (run(Term("b", "a", LEFT), method=method, seed=5).z for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, run(Term("b", "a", LEFT), method=method, seed=6).z)


def test_the_source_latent_is_left_alone() -> None:
    before = Z.clone()
    run(Term("b", "a"), method=Method(steps=5))
    assert torch.equal(Z, before)


# --- the null-text penalty --------------------------------------------------------------------------------------------


def gamma_by_hand(strength: float, count: int, mask: Tensor) -> float:
    t, eps = 500, randn(9)
    denoiser = GaussianDenoiser(MEANS)
    z_t = denoiser.schedule.add_noise(Z, eps, torch.tensor([t]))
    cond, uncond = (denoiser.predict(z_t, torch.tensor([t]), denoiser.condition([p], SIZE)) for p in ("b", ""))
    return min(1.0, float(strength * ((cond - uncond).abs() * mask).sum() / count))


@pytest.mark.parametrize(("norm", "count"), [("mask", 4 * 6 * 3), ("all", 4 * 6 * 8)])
def test_penalty_is_the_formula(norm: Any, count: int) -> None:
    strength = 0.3
    weak = LEFT * 1.0
    weak[..., 0, 0] = 0.3  # an attenuated cell counts as one in the mask's norm
    term = Term("b", "a", weak, penalty=Penalty(strength, norm))
    given = [(500, randn(9))]
    (with_penalty,) = distill(GaussianDenoiser(MEANS), [Problem(Z, (term,), given, torch.Generator())], Method(steps=1))
    (without,) = distill(
        GaussianDenoiser(MEANS), [Problem(Z, (replace(term, penalty=None),), given, torch.Generator())], Method(steps=1)
    )
    gamma = gamma_by_hand(strength, count, weak)
    assert 0 < gamma < 1
    torch.testing.assert_close(with_penalty.z - Z, gamma * (without.z - Z), rtol=1e-4, atol=1e-7)
    assert with_penalty.log["terms"][0]["gamma"]["mean"] == pytest.approx(gamma, rel=1e-5)


def test_a_very_large_lambda_is_no_penalty_and_a_very_small_one_stops_the_edit() -> None:
    plain = run(Term("b", "a"), method=Method(steps=5)).z
    assert torch.equal(run(Term("b", "a", penalty=Penalty(1e9)), method=Method(steps=5)).z, plain)
    assert torch.equal(run(Term("b", "a", penalty=Penalty(0.0)), method=Method(steps=5)).z, Z)


# --- rows -------------------------------------------------------------------------------------------------------------


def counted(terms: Sequence[Term], method: Method, **draws: Any) -> list[int]:
    denoiser = GaussianDenoiser(MEANS)
    distill(denoiser, [problem(*terms, method=method, **draws)], method)
    return denoiser.calls


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_step_costs_2k_plus_4_rows_in_one_call(k: int) -> None:
    pairs = [("b", "a"), ("d", "c"), ("B", "A")]
    names = [*pairs[:k], ("y", "x")]
    means = {**MEANS, "x": randn(50), "y": randn(51)}
    terms = [Term(y, x, LEFT) for y, x in names]
    for sequential, expected in ((False, [2 * k + 4] * 3), (True, [4] * (k + 1) * 3)):
        method = Method(steps=3, sequential=sequential)
        denoiser = GaussianDenoiser(means)
        (result,) = distill(denoiser, [problem(*terms, method=method)], method)
        assert denoiser.calls == expected
        assert result.log["batch"] == {"edits": 1, "rows": sum(expected), "calls": len(expected)}


def test_equal_prompts_are_computed_once() -> None:
    two_cats = [Term("b", "a", LEFT), Term("d", "a", 1 - LEFT)]
    assert counted(two_cats, Method(steps=1)) == [2 + 1 + 2]
    assert counted([Term("b", "")], Method(steps=1)) == [1 + 2]  # an empty source is the null prompt


def test_score_distillation_needs_two_rows() -> None:
    assert counted([Term("b", None)], Method(steps=2)) == [2, 2]


def test_a_bank_computes_the_source_half_once() -> None:
    terms = [Term("b", "a", LEFT), Term("d", "c")]
    assert counted(terms, Method(steps=8), bank=2) == [3, 3, 3, 3] + [3] * 6  # K + 2 a step, and 2 x (K + 2) once
    same = [distill(GaussianDenoiser(MEANS), [p], Method(steps=8))[0].z for p in _bank_and_its_draws(terms)]
    torch.testing.assert_close(same[0], same[1], rtol=0, atol=1e-6)


def _bank_and_its_draws(terms: Sequence[Term]) -> list[Problem]:
    with_slots = problem(*terms, method=Method(steps=8), bank=2)
    pairs = [(draw.t, draw.eps) for draw in with_slots.draws]
    return [with_slots, replace(with_slots, draws=pairs)]


def test_long_batches_can_be_split() -> None:
    terms = [Term("b", "a", LEFT), Term("d", "c")]
    assert counted(terms, Method(steps=1, rows_per_call=4)) == [4, 2]
    method = Method(steps=6)
    whole, split = (run(*terms, method=replace(method, rows_per_call=n)).z for n in (None, 1))
    torch.testing.assert_close(whole, split, rtol=0, atol=1e-6)


def test_edits_share_a_batch_and_come_out_as_if_alone() -> None:
    method = Method(steps=6)
    terms = [(Term("b", "a", LEFT),), (Term("d", "c"), Term("B", "A", 1 - LEFT))]
    latents = [Z, randn(2)]
    for sequential in (False, True):
        method = Method(steps=6, sequential=sequential)
        made = [problem(*t, z=z, method=method, seed=s) for s, (t, z) in enumerate(zip(terms, latents, strict=True))]
        denoiser = GaussianDenoiser(MEANS)
        together = distill(denoiser, made, method)
        assert denoiser.calls[0] == (4 + 6 if not sequential else 4 + 4)
        for s, (t, z) in enumerate(zip(terms, latents, strict=True)):
            (alone,) = distill(GaussianDenoiser(MEANS), [problem(*t, z=z, method=method, seed=s)], method)
            torch.testing.assert_close(together[s].z, alone.z, rtol=0, atol=1e-6)
            assert len(together[s].log["terms"]) == len(t)


def test_latents_of_different_sizes_cannot_share_a_batch() -> None:
    with pytest.raises(ValueError, match="one size"):
        distill(GaussianDenoiser(MEANS), [problem(Term("b", "a")), problem(Term("b", "a"), z=Z[..., :4])], Method())


def test_draws_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="a draw's noise"):
        distill(
            GaussianDenoiser(MEANS), [Problem(Z, (Term("b", "a"),), [(3, Z[..., :1])], torch.Generator())], Method()
        )


# --- the contrastive part ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tiny_sd: Path) -> StableDiffusion:
    return StableDiffusion.from_folder(tiny_sd)


@pytest.fixture(scope="module")
def z(model: StableDiffusion) -> Tensor:
    return randn(3, (1, 4, 8, 12))


def rows_of(model: StableDiffusion, run: Callable[[], Any]) -> list[int]:
    rows: list[int] = []
    handle = model.network.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    run()
    handle.remove()
    return rows


BOX = (2, 1, 9, 7)
INSIDE = torch.zeros(1, 1, 8, 12)
INSIDE[..., 1:7, 2:9] = 1


def test_contrastive_step_is_the_written_out_one(model: StableDiffusion, z: Tensor) -> None:
    t, eps, weight = 260, randn(4, (1, 4, 8, 12)), 2.0
    start = z + 0.3 * randn(5, (1, 4, 8, 12))  # away from the source, where the loss has a slope

    def moved(contrast: Contrast | None, **method: Any) -> Tensor:
        term = Term("a tiger", "a dog", INSIDE, contrast=contrast)
        state = {"step": 1, "rows": 0, "calls": 0, "z": start, "generator.0": torch.Generator().get_state()}
        state |= {"gammas": torch.ones(1, 1, 1), "updates": torch.ones(1, 1)}
        state = {"stepping": FORMAT, **prefixed("distillation.", state)}
        made = Problem(z, (term,), [(0, eps), (t, eps)], torch.Generator())
        return distill(model, [made], Method(steps=2, **method), watch=Watch(resume=state))[0].z - start

    found = moved(Contrast(weight, (BOX,), patches=10**6)) - moved(None)

    time = torch.tensor([t])
    told = model.condition(["a dog", "a tiger"], (8, 12))
    leaf = start.clone().requires_grad_()
    with capture_features([site for site in model.attention_sites() if site.contrast]) as seen:
        with torch.no_grad():
            model.predict(model.schedule.add_noise(z, eps, time), time, told[:1])
        source = dict(seen)
        model.predict(model.schedule.add_noise(leaf, eps, time), time, told[1:])
        loss = torch.zeros(())
        for name, target in seen.items():
            rows, columns = grid = feature_grid(target.shape[1], 8, 12)
            x0, x1 = (round(e * columns / 12) for e in (2, 9))
            y0, y1 = (round(e * rows / 8) for e in (1, 7))
            pair = [one[0].unflatten(0, grid)[y0:y1, x0:x1] for one in (source[name], target)]
            loss = loss + patch_nce(pair[0], pair[1], patches=10**6)
    (gradient,) = torch.autograd.grad(loss, leaf)
    expected = -STEP_SIZE * weight * INSIDE * gradient
    assert float(expected.abs().max()) > 1e-5
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_contrastive_rows_are_rows_of_the_batch(model: StableDiffusion, z: Tensor) -> None:
    loss = Contrast(1.0)
    terms = (Term("b", "a", INSIDE, contrast=loss), Term("d", "c", contrast=loss), Term("B", "A"))
    expected = {
        Method(steps=2): [6, 2, 6, 2],  # 2K + 4 = 8
        Method(steps=2, separate_contrast=True): [8, 2, 8, 2],
        Method(steps=1, sequential=True): [3, 1, 3, 1, 4],
        Method(steps=1, sequential=True, separate_contrast=True): [4, 1, 4, 1, 4],
        Method(steps=1, rows_per_call=4): [4, 2, 2],
    }
    results = []
    for method, rows in expected.items():
        made = problem(*terms, z=z, method=method)
        assert rows_of(model, lambda m=method, p=made: results.append(distill(model, [p], m)[0].z)) == rows
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(results[2], results[3], rtol=0, atol=1e-5)


def test_one_row_serves_all_losses_under_the_whole_prompt(model: StableDiffusion, z: Tensor) -> None:
    shared = Contrast(1.0, (BOX,), prompts=("A", "B"))
    terms = (Term("b", "a", INSIDE, contrast=shared), Term("d", "c", contrast=shared), Term("B", "A"))
    method = Method(steps=2)
    assert rows_of(model, lambda: distill(model, [problem(*terms, z=z, method=method)], method)) == [7, 1, 7, 1]


def test_contrastive_loss_with_a_bank_is_the_same(model: StableDiffusion, z: Tensor) -> None:
    terms = (Term("b", "a", INSIDE, contrast=Contrast(1.0, (BOX,))), Term("d", "c"))
    method = Method(steps=5)
    with_slots = problem(*terms, z=z, method=method, bank=2)
    pairs = replace(problem(*terms, z=z, method=method, bank=2), draws=[(d.t, d.eps) for d in with_slots.draws])
    one, two = (distill(model, [p], method)[0].z for p in (with_slots, pairs))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)


def test_contrastive_loss_changes_nothing_outside_its_mask(model: StableDiffusion, z: Tensor) -> None:
    method = Method(steps=3)
    term = Term("b", "a", INSIDE, contrast=Contrast(50.0))
    (result,) = distill(model, [problem(term, z=z, method=method)], method)
    outside = INSIDE.expand_as(z) == 0
    assert torch.equal(result.z[outside], z[outside])


def test_contrastive_loss_needs_features_and_a_source() -> None:
    with pytest.raises(ModelUnavailable, match="self-attention, which a Gaussian world has none of") as caught:
        run(Term("b", "a", contrast=Contrast(1.0)))
    assert caught.value.exit_code == 6 and "w_cut" in caught.value.remedy
    with pytest.raises(ValueError, match="source"):
        run(Term("b", None, contrast=Contrast(1.0)))


def test_half_precision_gradients_do_not_vanish(tiny_sd: Path, z: Tensor) -> None:
    moved = []
    for dtype in (torch.float32, torch.float16):
        method = Method(steps=1, guidance_scale=0, step_size=1e4)
        term = Term("b", "b", contrast=Contrast(1e-6))  # so small that fp16 would flush it to zero on its way back
        made = problem(term, z=z, method=method, t_range=(900, 948))
        moved.append((distill(StableDiffusion.from_folder(tiny_sd, dtype=dtype), [made], method)[0].z - z).flatten())
    assert float(moved[0].norm()) > 0
    assert float(torch.cosine_similarity(*moved, dim=0)) > 0.9
    assert 0.8 < float(moved[1].norm() / moved[0].norm()) < 1.25


# --- watching, stopping, going on -------------------------------------------------------------------------------------


def stop_after(count: int) -> Callable[[], bool]:
    asked = iter(range(10**6))
    return lambda: next(asked) >= count


def test_progress_is_told_after_every_step() -> None:
    steps: list[Step] = []
    result = run(Term("b", "a", penalty=Penalty()), method=Method(steps=12), watch=Watch(on_step=steps.append))
    assert [(step.index, step.total) for step in steps] == [(i, 12) for i in range(1, 13)]
    assert set(steps[0].values) == {"change", "update", "gamma"}
    assert steps[-1].values["change"] == pytest.approx(float((result.z - Z).square().mean().sqrt()))
    assert steps[-1].preview is None


def test_preview_shows_the_present_state() -> None:
    seen: list[Any] = []
    watch = Watch(on_step=lambda step: seen.append(step.preview()))
    made = problem(Term("b", "a"))
    (result,) = distill(
        GaussianDenoiser(MEANS), [made], Method(steps=3), watch=watch, decode=lambda z: z.numpy().copy()
    )
    assert np.array_equal(seen[-1], result.z.numpy())
    assert not np.array_equal(seen[0], seen[-1])


def test_stopping_keeps_the_latest_state() -> None:
    stopped = run(Term("b", "a"), method=Method(steps=50), watch=Watch(should_stop=stop_after(7)))
    assert stopped.stopped
    assert stopped.steps == stopped.log["steps"] == 7
    assert not torch.equal(stopped.z, Z)
    unhindered = run(Term("b", "a"), method=Method(steps=7))
    assert not unhindered.stopped


def test_checkpoints_are_at_most_25_steps_apart() -> None:
    states: list[Any] = []
    run(Term("b", "a"), method=Method(steps=80), watch=Watch(checkpoint=states.append))
    at = [0, *(state["distillation.step"] for state in states), 80]
    assert max(b - a for a, b in pairwise(at)) <= 25


CASES: dict[str, tuple[Method, dict[str, Any]]] = {
    "aggregate": (Method(steps=40), {}),
    "sequential": (Method(steps=40, sequential=True), {}),
    "bank": (Method(steps=40), {"bank": 5}),
    "momentum": (Method(steps=40, momentum=0.5), {}),
    "convergence": (Method(steps=40, convergence=Convergence(0.02, window=10, earliest=20)), {}),
    "network": (Method(steps=28), {"bank": 3}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_resumed_run_has_the_same_bits(model: StableDiffusion, name: str) -> None:
    method, draws = CASES[name]
    denoiser, z = (model, randn(3, (1, 4, 4, 4))) if name == "network" else (GaussianDenoiser(MEANS), Z)
    loss = Contrast(1.0, patches=9) if name == "network" else None  # 9 of 16 patches: the generator draws them too
    terms = (Term("b", "a", penalty=Penalty(), contrast=loss), Term("d", "c", weight=lambda t: t / 1000))

    def start(watch: Watch) -> Distilled:
        (result,) = distill(denoiser, [problem(*terms, z=z, method=method, **draws)], method, watch=watch, maps=True)
        return result

    whole = start(Watch())
    states: list[Any] = []
    stopped = start(Watch(checkpoint=states.append, should_stop=stop_after(27)))
    assert [state["distillation.step"] for state in states] == [10, 20, 27]
    assert all(isinstance(value, Tensor | int) for state in states for value in state.values())
    assert stopped.stopped
    for state in states:
        resumed = start(Watch(resume=state))
        assert torch.equal(resumed.z, whole.z)
        assert {**resumed.log, "batch": 0} == {**whole.log, "batch": 0}
        assert all(torch.equal(a, b) for a, b in zip(resumed.maps, whole.maps, strict=True))


def test_a_state_of_another_run_is_refused() -> None:
    states: list[Any] = []
    run(Term("b", "a"), method=Method(steps=30), watch=Watch(checkpoint=states.append))
    changes = [{"z": Z[..., :2]}, {"step": 31}, {"generator.0": torch.zeros(3)}]
    for state in [{}, *({**states[0], **prefixed("distillation.", change)} for change in changes)]:
        with pytest.raises(InputRefused, match="does not belong to this run"):
            run(Term("b", "a"), method=Method(steps=30), watch=Watch(resume=state))


def test_a_run_that_ended_early_is_not_gone_on_with() -> None:
    method = Method(steps=5000, guidance_scale=1, convergence=Convergence(0.5, window=10, earliest=20))
    states: list[Any] = []
    whole = run(Term("b", "a"), method=method, watch=Watch(checkpoint=states.append))
    assert whole.converged and whole.steps == states[-1]["distillation.step"], "kept in its last step"
    again = run(Term("b", "a"), method=method, watch=Watch(resume=states[-1]))
    assert again.converged and again.steps == whole.steps and torch.equal(again.z, whole.z)


def test_a_run_ends_early_when_nothing_moves_any_more() -> None:
    rule = Convergence(0.02, window=50, earliest=150)
    result = run(Term("b", "a"), method=Method(steps=5000, guidance_scale=1, convergence=rule))
    assert result.converged
    assert 150 <= result.steps < 1500
    full = run(Term("b", "a"), method=Method(steps=1500, guidance_scale=1))
    assert full.steps == 1500
    assert float((full.z - result.z).norm() / (full.z - Z).norm()) < 0.1
    moving = run(Term("b", "a"), method=Method(steps=300, step_size=1e-4, convergence=rule))
    assert not moving.converged


# --- the log and the maps ---------------------------------------------------------------------------------------------


def test_the_log_counts_gammas_and_updates() -> None:
    result = run(Term("b", "a", LEFT, penalty=Penalty(0.3), name="small"), Term("d", "c"), method=Method(steps=20))
    small, plain = result.log["terms"]
    assert small["name"] == "small"
    assert 0 < small["gamma"]["min"] <= small["gamma"]["mean"] <= small["gamma"]["max"] <= 1
    assert sum(small["gamma"]["histogram"]) == 20
    assert "gamma" not in plain
    assert result.log["update_norm"]["first"] > result.log["update_norm"]["last"] > 0


def test_maps_are_the_mean_difference_to_the_null_prompt() -> None:
    given = [(500, randn(9)), (200, randn(10))]
    made = Problem(Z, (Term("b", "a"), Term("d", "c", weight=0.0)), given, torch.Generator())
    denoiser = GaussianDenoiser(MEANS)
    still = Method(steps=2, step_size=1e-12)
    (result,) = distill(denoiser, [made], still, maps=True)
    expected = torch.zeros(SHAPE[2:])
    for t, eps in given:
        time = torch.tensor([t])
        z_t = denoiser.schedule.add_noise(Z, eps, time)
        cond, uncond = (denoiser.predict(z_t, time, denoiser.condition([p], SIZE)) for p in ("b", ""))
        expected += (cond - uncond).abs()[0].mean(0) / 2
    torch.testing.assert_close(result.maps[0], expected)
    assert len(result.maps) == 2
    (without,) = distill(denoiser, [replace(made, draws=given)], still)
    assert without.maps == ()


# --- failures ---------------------------------------------------------------------------------------------------------


class Broken(GaussianDenoiser):
    """Gives NaN for one prompt from the third call on."""

    def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        eps = super().predict(z_t, t, conditioning)
        if len(self.calls) < 3:
            return eps
        bad = (conditioning.embeddings == MEANS["b"]).flatten(1).all(1)
        return torch.where(bad.view(-1, 1, 1, 1), torch.nan, eps)


@pytest.mark.parametrize("mask", [None, LEFT, torch.zeros(1, 1, *SHAPE[2:])])
def test_nan_is_stopped_in_its_step_and_named(mask: Tensor | None) -> None:
    steps: list[Step] = []
    with pytest.raises(ResultRefused, match=r"'b'.*step 3, t = \d+") as caught:
        distill(
            Broken(MEANS),
            [problem(Term("b", "a", mask), Term("d", "c"))],
            Method(steps=9),
            watch=Watch(on_step=steps.append),
        )
    assert len(steps) == 2
    assert caught.value.exit_code == 11
    assert 'dtype="fp32"' in caught.value.remedy


def test_a_latent_that_runs_away_is_stopped() -> None:
    with pytest.raises(ResultRefused, match="latent is not a finite number"):
        run(Term("b", "a"), method=Method(steps=200, step_size=1e8))


def test_short_memory_is_named_with_what_to_do() -> None:
    class Hungry(GaussianDenoiser):
        def predict(self, z_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(OutOfResources, match="4 rows") as caught:
        distill(Hungry(MEANS), [problem(Term("b", "a"))], Method(steps=1))
    assert "rows_per_call=2" in caught.value.remedy


def test_latents_are_not_kept_in_half_precision() -> None:
    with pytest.raises(ValueError, match="fp32"):
        distill(GaussianDenoiser(MEANS), [problem(Term("b", "a"), z=Z.half())], Method(steps=1))


def test_small_steps_are_lost_when_latents_are_rounded() -> None:
    fine = run(Term("b", "a"), method=Method(steps=3, step_size=1e-4))
    coarse = run(Term("b", "a"), method=Method(steps=3, step_size=1e-4, latent_dtype=torch.float16))
    assert torch.equal(coarse.z, coarse.z.half().float())
    assert not torch.equal(fine.z, coarse.z)


@pytest.mark.parametrize("mask", [-LEFT, LEFT * torch.nan])
def test_an_impossible_mask_is_refused(mask: Tensor) -> None:
    with pytest.raises(ValueError, match="mask"):
        run(Term("b", "a", mask))
