"""Scenes drawn large: any part of the plane is drawn alike, and edits of it are exact place by place."""

from __future__ import annotations

import numpy as np
import pytest

from gas_diorama.bench.judge import Judge
from gas_diorama.world import world
from gas_diorama.world.large import APART, SIZES, large_cases
from gas_diorama.world.scene import Edit, Scene, Thing
from gas_diorama.world.view import View

CAR = Thing("car", "red", 40, 110, 48)
FAR = Thing("ball", "blue", 600, 104, 44)
SCENE = Scene("clear", "grass", 66, (CAR, FAR), seed=7)
WIDE = View(-100, -60, 800, 400)


def test_a_part_of_the_plane_is_drawn_as_in_the_whole() -> None:
    whole, home = world.render(SCENE, WIDE), world.render(SCENE)
    assert whole.shape == (400, 800, 3)
    assert (whole[world.HOME.of(WIDE)] == home).all()
    around = View(540, 20, 128, 128)
    assert (whole[around.of(WIDE)] == world.render(SCENE, around)).all()
    masks = world.masks(SCENE, WIDE)
    assert masks[FAR].sum() > 500 and not world.masks(SCENE)[FAR].any(), "it is out of the usual view"
    assert np.allclose(sum(masks.values()), 1, atol=1e-6)


def test_large_cases_are_held_out_and_their_things_far_apart() -> None:
    cases = large_cases(12)
    assert [(case.view.width, case.view.height) for case in cases[:3]] == list(SIZES)
    assert [case.scene for case in large_cases(3)] == [case.scene for case in cases[:3]]
    assert {len(case.edits) for case in cases} == {2, 3}
    assert all(world.split(case.scene) == "test" for case in cases)
    for case in cases:
        across = sorted(thing.x for thing in case.scene.objects)
        assert min(np.diff(across)) >= APART and all(40 <= thing.size <= 64 for thing in case.scene.objects)
        source = world.render(case.scene, case.view)
        exact = world.render(world.apply(case.scene, case.edits), case.view)
        covered = np.zeros(case.view.shape, bool)
        for index, region in enumerate(case.regions()):
            alone, around = case.around(index)
            here = around.of(case.view)
            judge = Judge(alone, [case.edits[index]], around)
            assert (judge.source == source[here]).all() and (judge.exact == exact[here]).all()
            assert region.mask is not None and region.mask[here].sum() == region.mask.sum() > 0
            covered |= region.mask > 0
        assert (source == exact)[~covered].all()
    with pytest.raises(ValueError, match="held out"):
        large_cases(1, "train")


def test_the_judge_tells_the_exact_result_from_the_source_in_any_view() -> None:
    case = large_cases(1)[0]
    for index, edit in enumerate(case.edits):
        alone, around = case.around(index)
        judge = Judge(alone, [edit], around)
        assert judge.verdicts(judge.exact)[0].done and not judge.verdicts(judge.source)[0].right
    with pytest.raises(ValueError, match="usual view"):
        Judge(SCENE, [Edit("change", "sky", "clear", "night")], WIDE)
