"""The draws of (t, eps): ranges, schedules, banks, repeatability."""

from __future__ import annotations

import pytest
import torch

from gas.diffusion.distill.draws import Draws, TOrder, draws_after
from gas.diffusion.schedule import FlowSchedule, stable_diffusion_schedule

SHAPE = (1, 2, 3, 4)
SCHEDULE = stable_diffusion_schedule()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_uniform_draws_include_both_ends_and_nothing_else() -> None:
    times = Draws(generator(), SHAPE, 5000, SCHEDULE, (50, 59)).times
    assert set(times) == set(range(50, 60))
    counts = torch.bincount(torch.tensor(times) - 50)
    assert counts.min() > 400


def test_a_range_of_one_time() -> None:
    for schedule in ("uniform", "logit-normal", "descending"):
        assert set(Draws(generator(), SHAPE, 20, SCHEDULE, (7, 7), schedule).times) == {7}


def test_logit_normal_draws_prefer_the_middle() -> None:
    times = torch.tensor(Draws(generator(), SHAPE, 5000, SCHEDULE, (0, 999), "logit-normal").times)
    middle = ((times > 300) & (times < 700)).float().mean()
    assert 0.55 < middle < 0.65  # P(|N(0, 1)| < 0.85) = 0.60
    assert times.min() >= 0
    assert times.max() <= 999


def test_descending_draws_go_once_from_noise_to_picture() -> None:
    times = Draws(generator(), SHAPE, 100, SCHEDULE, (100, 700), "descending").times
    assert times == sorted(times, reverse=True)
    assert times[0] > 690
    assert times[-1] < 110


def test_equal_seeds_give_equal_draws() -> None:
    one, two = (list(Draws(generator(3), SHAPE, 10, SCHEDULE)) for _ in range(2))
    other = list(Draws(generator(4), SHAPE, 10, SCHEDULE))
    assert all(a.t == b.t and torch.equal(a.eps, b.eps) for a, b in zip(one, two, strict=True))
    assert not all(torch.equal(a.eps, b.eps) for a, b in zip(one, other, strict=True))


def test_bank_repeats_its_pairs_and_covers_the_range() -> None:
    draws = list(Draws(generator(), SHAPE, 20, SCHEDULE, (50, 948), bank=8))
    pairs = {draw.slot: draw for draw in draws}
    assert sorted(pairs) == list(range(8))
    for draw in draws:
        assert draw.t == pairs[draw.slot].t
        assert draw.eps is pairs[draw.slot].eps
    assert [draw.slot for draw in draws[:8]] != [draw.slot for draw in draws[8:16]]  # each round in an order of its own
    assert sorted(draw.slot for draw in draws[8:16]) == list(range(8))
    for slot, draw in pairs.items():  # one in each eighth
        assert 50 + slot * 899 / 8 - 1 <= draw.t <= 50 + (slot + 1) * 899 / 8 + 1


def test_draws_can_be_gone_on_with() -> None:
    made = generator(1)
    draws = Draws(made, SHAPE, 10, SCHEDULE)
    start = draws.after(0)
    for _ in range(4):
        next(start)
    state = made.get_state()
    rest = list(start)
    again = generator(1)
    resumed = Draws(again, SHAPE, 10, SCHEDULE)
    again.set_state(state)
    for a, b in zip(rest, resumed.after(4), strict=True):
        assert a.t == b.t
        assert torch.equal(a.eps, b.eps)


def test_pairs_from_outside_are_skipped_as_far_as_they_are_used() -> None:
    pairs = [(t, torch.full(SHAPE, float(t))) for t in range(5)]
    left = list(draws_after(iter(pairs), 3))
    assert [draw.t for draw in left] == [3, 4]
    assert left[0].slot is None


@pytest.mark.parametrize("t_range", [(5, 4), (-1, 3), (5, 1000)])
def test_an_impossible_range_is_refused(t_range: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="smaller one first"):
        Draws(generator(), SHAPE, 3, SCHEDULE, t_range)


@pytest.mark.parametrize("order", ["uniform", "logit-normal", "descending"])
def test_times_of_a_flow_are_real_numbers(order: TOrder) -> None:
    flow = FlowSchedule()
    t_range = (flow.published(50), flow.published(948))
    times = Draws(generator(), SHAPE, 400, flow, t_range, order).times
    assert all(isinstance(t, float) and t_range[0] <= t <= t_range[1] for t in times)
    assert len(set(times)) == 400
    assert min(times) < 0.25 and max(times) > 0.85
