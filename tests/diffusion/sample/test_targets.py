"""What a sampler is to make: shares of prompts in each cell, one prediction of them, nothing outside the regions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gas.diffusion.sample.targets import Targets
from gas.testing.gaussian import stable_diffusion_schedule

SCHEDULE = stable_diffusion_schedule()
SIZE = (6, 8)
WHOLE = ("a red box on grass", "a blue ball on snow")
SUBTASKS = [("a red box", "a blue ball"), ("grass", "snow")]
TIMES = (999, 700, 500, 300, 19)


def box(y0: int, y1: int, x0: int, x1: int, value: float = 1.0) -> Tensor:
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., y0:y1, x0:x1] = value
    return mask


SMALL, LARGE = box(1, 3, 1, 3), box(1, 5, 1, 6, 0.8)


def grounded(*masks: Tensor, **values: object) -> Targets:
    subtasks = (SUBTASKS * 2)[: len(masks)]
    return Targets.grounded(subtasks, WHOLE, masks, SCHEDULE, **values)  # type: ignore[arg-type]


def rows(count: int) -> Tensor:
    return torch.randn(count, 4, *SIZE, generator=torch.Generator().manual_seed(3))


# --- plain ------------------------------------------------------------------------------------------------------------


def test_plain_changes_nothing() -> None:
    targets = Targets.plain(*WHOLE)
    one, other = rows(2).split(1)
    assert targets.prompts == (WHOLE,)
    assert targets.region is None
    assert torch.equal(targets.shares(500, one), torch.ones(1, 1, *SIZE))
    assert targets.combine(one, 500) is one
    assert targets.blend(one, other) is one


# --- grounded ---------------------------------------------------------------------------------------------------------


def test_prompts_are_the_subtasks_with_the_whole_one_last() -> None:
    assert grounded(SMALL, LARGE).prompts == (*SUBTASKS, WHOLE)


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("masks", [(SMALL,), (SMALL, LARGE), (LARGE, SMALL, box(0, 6, 0, 8)), (LARGE, LARGE)])
@pytest.mark.parametrize("beta", [(0.5, 0.4, 0.3, 0.2, 0.1), (0.0,), (1.0,)])
def test_shares_are_never_negative_and_sum_to_one(t: int, masks: tuple[Tensor, ...], beta: tuple[float, ...]) -> None:
    shares = grounded(*masks, beta=beta).shares(t, rows(1))
    assert shares.shape == (len(masks) + 1, 1, *SIZE)
    assert float(shares.min()) >= 0
    torch.testing.assert_close(shares.sum(0), torch.ones(1, *SIZE))


def test_outside_all_regions_the_whole_prompt_alone_counts() -> None:
    targets = grounded(SMALL, LARGE)
    shares = targets.shares(500, rows(1))
    outside = targets.region == 0
    assert outside.any()
    assert bool((shares[-1:][outside] == 1).all()) and not shares[:-1, :, outside[0, 0]].any()


@pytest.mark.parametrize(("t", "beta"), [(19, 0.5), (300, 0.4), (500, 0.3), (700, 0.2), (999, 0.1)])
def test_beta_is_the_whole_prompts_weight_beside_a_subtask(t: int, beta: float) -> None:
    subtask, whole = grounded(SMALL).shares(t, rows(1))[:, 0, 1, 1].tolist()
    assert whole / subtask == pytest.approx(beta)


def test_one_beta_is_for_all_times() -> None:
    shares = [grounded(SMALL, beta=(0.25,)).shares(t, rows(1)) for t in TIMES]
    assert all(torch.equal(shares[0], one) for one in shares)
    assert float(shares[0][1, 0, 1, 1]) == pytest.approx(0.2)


def test_the_larger_of_two_regions_is_weakened_where_they_overlap() -> None:
    small, large, _ = grounded(SMALL, LARGE, overlap=0.3, beta=(0.0,)).shares(500, rows(1))[:, 0]
    assert float(large[1, 1] / small[1, 1]) == pytest.approx(0.3 * 0.8)
    assert float(large[4, 4]) == 1
    even, odd, _ = grounded(SMALL, LARGE, overlap=1.0, beta=(0.0,)).shares(500, rows(1))[:, 0]
    assert float(odd[1, 1] / even[1, 1]) == pytest.approx(0.8), "1 weakens nothing"


def test_the_region_is_where_any_subtask_acts() -> None:
    region = grounded(SMALL, box(4, 6, 6, 8, 0.2)).region
    assert region is not None
    assert torch.equal(region > 0, torch.maximum(SMALL, box(4, 6, 6, 8)) > 0)
    again = grounded(SMALL, LARGE, overlap=0.0).region
    assert again is not None and bool((again > 0).eq(LARGE > 0).all()), "no cell is lost by weakening"


def test_predictions_are_combined_by_their_shares() -> None:
    targets, made = grounded(SMALL, LARGE), rows(3)
    combined = targets.combine(made, 500)
    assert combined.shape == (1, 4, *SIZE)
    torch.testing.assert_close(combined[0], (targets.shares(500, made) * made).sum(0))
    assert torch.equal(combined[0, :, 0, 0], made[2, :, 0, 0])
    same = made[:1].repeat(3, 1, 1, 1)
    torch.testing.assert_close(targets.combine(same, 500), same[:1])


def test_a_stronger_subtask_counts_more_beside_the_whole_prompt() -> None:
    like = rows(1)
    even = grounded(SMALL).shares(500, like)
    strong = grounded(SMALL, strengths=[2.0]).shares(500, like)
    assert torch.allclose(strong.sum(0), torch.ones_like(strong[0]))
    inside = SMALL[0, 0] > 0
    assert (strong[0, 0][inside] > even[0, 0][inside]).all() and torch.equal(strong[:, 0, ~inside], even[:, 0, ~inside])


def test_blending_keeps_the_source_outside_bit_for_bit() -> None:
    targets = grounded(SMALL, box(4, 5, 6, 8, 0.6), box(5, 6, 6, 8, 0.4))
    z, source = rows(2).split(1)
    source[..., 0, 0] = -0.0
    z[..., 0, 0] = float("inf")
    blended = targets.blend(z, source)
    inside = (targets.region >= 0.5).expand_as(z)  # a cell that a region only grazes is not redrawn
    assert inside[..., 4, 7].all() and not inside[..., 5, 7].any()
    assert blended[inside].numpy().tobytes() == z[inside].numpy().tobytes()
    assert blended[~inside].numpy().tobytes() == source[~inside].numpy().tobytes()


def test_lists_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="1 masks for 2 subtasks"):
        Targets.grounded(SUBTASKS, WHOLE, [SMALL], SCHEDULE)
    with pytest.raises(ValueError, match="2 strengths for 1 subtasks"):
        grounded(SMALL, strengths=[1.0, 2.0])
    with pytest.raises(ValueError, match="0 masks for 0 subtasks"):
        Targets.grounded([], WHOLE, [], SCHEDULE)
