"""The judge against renderings made one by one, and what it must accept and refuse."""

from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest

from gas_diorama.bench.judge import Judge, figures, wrong
from gas_diorama.bench.verdict import ABSENT, MISSES
from gas_diorama.world.cases import cases
from gas_diorama.world.world import (
    COLOURS,
    GROUNDS,
    KINDS,
    Edit,
    Scene,
    Thing,
    apply,
    masks,
    name,
    render,
)

T = TypeVar("T")
CAR = Thing("car", "red", 44, 100, 44)
HOUSE = Thing("house", "blue", 100, 112, 40)  # stands in front of where the car's shifted sprites reach
SCENE = Scene("clear", "grass", 60, (CAR, HOUSE), 7)
IGLOO = replace(CAR, kind="igloo", colour="white")


def judge(*edits: Edit) -> Judge:
    return Judge(SCENE, edits)


def only(found: list[T]) -> T:
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def igloo() -> Judge:
    """The red car is to become a white igloo."""
    return judge(Edit("change", "thing", CAR, IGLOO))


@pytest.fixture(scope="module")
def held_out() -> list:
    return cases(4, "validation")


def test_exact_is_done_and_source_is_not(held_out: list) -> None:
    for case in held_out:
        judge = Judge(case.scene, case.edits)
        exact, source = judge.verdicts(judge.exact), judge.verdicts(judge.source)
        assert all(verdict.done and verdict.ratio == 0 for verdict in exact), case.name
        assert all(not verdict.done and verdict.ratio == 1 for verdict in source), case.name


@pytest.mark.parametrize(("dx", "dy", "size"), [(4, -4, 44), (-4, 2, 44), (0, 0, 48), (0, 0, 40), (2, 4, 48)])
def test_the_target_is_found_moved_and_scaled(igloo: Judge, dx: int, dy: int, size: int) -> None:
    target = replace(IGLOO, x=CAR.x + dx, y=CAR.y + dy, size=size)
    moved = render(replace(SCENE, objects=(target, HOUSE)))
    found = only(igloo.distances(moved))["white igloo"]
    unmoved = float(((moved - igloo.exact.astype(float))[igloo.regions[0]] ** 2).sum())
    assert found < 0.05 * unmoved  # not zero: the tint belongs to the place


@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_a_backdrop_is_found_moved_and_scaled(scale: float) -> None:
    """Water whose waves lie elsewhere is water."""
    subject = judge(Edit("change", "ground", "grass", "water"))
    steps = np.arange(128)
    rows = np.clip(np.rint((steps - 94) / scale + 94 - 4), 60, 127).astype(int)
    columns = np.clip(np.rint((steps - 64) / scale + 64 + 2), 0, 127).astype(int)
    still = render(replace(SCENE, ground="water", objects=())).astype(float)
    visible = masks(SCENE)["ground"][..., None]
    moved = np.rint(subject.exact + visible * (still[rows][:, columns] - still)).astype(np.uint8)
    unmoved = float(((moved - subject.exact.astype(float))[subject.regions[0]] ** 2).sum())
    assert only(subject.distances(moved))["water"] < 0.01 * unmoved


@pytest.mark.parametrize("kind", KINDS)
def test_every_rendering_is_nearest_to_itself(igloo: Judge, kind: str) -> None:
    for colour in COLOURS:
        other = replace(SCENE, objects=(replace(CAR, kind=kind, colour=colour), HOUSE))
        verdict = only(igloo.verdicts(render(other)))
        assert verdict.nearest == f"{colour} {kind}"
        assert verdict.done == ((colour, kind) == ("white", "igloo"))


def test_distances_are_those_of_renderings_made_one_by_one() -> None:
    """The matrix products stand for real renderings, also for a noisy output and a thing half hidden by another."""
    thing = Thing("car", "red", 88, 104, 44)
    scene = Scene("night", "water", 60, (thing, HOUSE), 3)
    subject = Judge(scene, [Edit("change", "thing", thing, replace(thing, kind="tent"))])
    noise = np.random.default_rng(0).integers(-30, 31, subject.exact.shape)
    output = np.clip(subject.exact.astype(int) + noise, 0, 255).astype(np.uint8)
    distances = only(subject.distances(output))
    region = subject.regions[0]
    for kind in KINDS:
        for colour in COLOURS:
            alone = min(
                float(((output[region] - shifted[region].astype(np.float64)) ** 2).sum())
                for size in (40, 44, 48)
                for shifted in [
                    render(replace(scene, objects=(replace(thing, kind=kind, colour=colour, size=size), HOUSE)))
                ]
            )
            # shifts can only bring a rendering nearer; rounding to whole levels moves a distance by parts in a thousand
            assert distances[f"{colour} {kind}"] <= alone * 1.005
    unmoved = float(((output[region] - subject.exact[region].astype(np.float64)) ** 2).sum())
    assert distances["red tent"] == pytest.approx(unmoved, rel=0.005)
    assert len(distances) == len(KINDS) * len(COLOURS)


def test_half_way_is_the_bound(igloo: Judge) -> None:
    """Condition (b) alone: grain of a known size that looks like no rendering."""
    inside, away = igloo.regions[0], np.sign(127.5 - igloo.exact)
    grain = away * inside[..., None] * (np.indices((128, 128)).sum(0) % 2)[..., None]
    whole = np.linalg.norm((igloo.source - igloo.exact.astype(float))[inside]) / np.linalg.norm(grain)
    outputs = [np.rint(igloo.exact + share * whole * grain).astype(np.uint8) for share in (0.45, 0.55)]
    near, far = (only(igloo.verdicts(output)) for output in outputs)
    assert near.done and near.ratio == pytest.approx(0.45, abs=0.01)
    assert not far.done and far.nearest == "white igloo" and far.ratio == pytest.approx(0.55, abs=0.01)


def test_nearer_than_half_way_but_nearest_to_another_is_not_done() -> None:
    """Condition (a) alone: what lies between grass and snow looks like sand."""
    subject = judge(Edit("change", "ground", "grass", "snow"))
    blend = np.rint(0.55 * subject.exact + 0.45 * subject.source).astype(np.uint8)
    verdict = only(subject.verdicts(blend))
    assert verdict.ratio < 0.5 and verdict.nearest == "sand" and not verdict.done


def test_added_and_removed_things_may_be_absent() -> None:
    added = judge(Edit("add", "thing", None, Thing("ball", "yellow", 40, 60, 36)))
    assert only(added.verdicts(added.exact)).done
    assert only(added.verdicts(added.source)).nearest == ABSENT
    removed = judge(Edit("remove", "thing", CAR, None))
    assert only(removed.verdicts(removed.exact)).nearest == ABSENT
    assert only(removed.verdicts(removed.exact)).done
    assert only(removed.verdicts(removed.source)).nearest == "red car"


def test_what_is_not_done_says_why(igloo: Judge) -> None:
    """Each class on an output that is made for it; what is done has none."""
    inside = igloo.regions[0][..., None]

    def drawn(thing: Thing | None) -> np.ndarray:
        things = (HOUSE,) if thing is None else (thing, HOUSE)
        return render(replace(SCENE, objects=things))

    noise = np.random.default_rng(0).normal(0, 130, igloo.exact.shape) * inside
    answers = {
        None: igloo.exact,
        "unchanged": igloo.source,
        "erased": drawn(None),
        "wrong kind": drawn(replace(IGLOO, kind="tent")),
        "wrong colour": drawn(replace(IGLOO, colour="purple")),
        "displaced": drawn(replace(IGLOO, x=CAR.x + 4, y=CAR.y - 4, size=48)),
        "blurred": np.clip(igloo.exact + noise, 0, 255).astype(np.uint8),
    }
    found = {miss: only(igloo.verdicts(output)) for miss, output in answers.items()}
    assert {miss: one.miss for miss, one in found.items()} == {miss: miss for miss in answers}
    assert {miss for miss, one in found.items() if one.right} == {None, "displaced", "blurred"}
    assert {miss for miss, one in found.items() if one.done} == {None}
    assert set(MISSES) - set(answers) == {"refused"}, "the judge never sees what an editor gave up"


def test_classes_of_additions_removals_and_backdrops() -> None:
    added = judge(Edit("add", "thing", None, Thing("ball", "yellow", 40, 60, 36)))
    assert only(added.verdicts(added.source)).miss == "unchanged"
    removed = judge(Edit("remove", "thing", CAR, None))
    assert only(removed.verdicts(removed.source)).miss == "unchanged"
    other = render(replace(SCENE, objects=(replace(CAR, kind="tent"), HOUSE)))
    assert only(removed.verdicts(other)).miss == "wrong kind"
    ground = judge(Edit("change", "ground", "grass", "snow"))
    assert only(ground.verdicts(ground.source)).miss == "unchanged"
    assert only(ground.verdicts(render(replace(SCENE, ground="water")))).miss == "wrong kind"


def test_each_subtask_is_judged_alone() -> None:
    ground, sky = Edit("change", "ground", "grass", "snow"), Edit("change", "sky", "clear", "night")
    subject = judge(ground, sky)
    assert [verdict.done for verdict in subject.verdicts(render(apply(SCENE, [ground])))] == [True, False]
    assert [verdict.nearest for verdict in subject.verdicts(subject.source)] == ["grass", "clear sky"]


def test_wrong_answers_are_refused(held_out: list) -> None:
    for case in held_out:
        subject = Judge(case.scene, case.edits)
        for index, edit in enumerate(case.edits):
            for output in wrong(case.scene, case.edits, index):
                verdict = subject.verdicts(output)[index]
                assert not verdict.done, (case.name, edit, verdict)


def test_wrong_answers_are_other_colours_or_other_backdrops() -> None:
    edits = [
        Edit("change", "thing", CAR, IGLOO),
        Edit("change", "ground", "grass", "snow"),
        Edit("remove", "thing", HOUSE, None),
    ]
    colours = wrong(SCENE, edits, 0)
    assert len(colours) == len(COLOURS) - 1 and len(wrong(SCENE, edits, 1)) == len(GROUNDS) - 1
    assert wrong(SCENE, edits, 2) == []
    red = render(apply(SCENE, [Edit("change", "thing", CAR, replace(IGLOO, colour="red")), *edits[1:]]))
    assert any((picture == red).all() for picture in colours)


def test_other_shapes_are_refused() -> None:
    subject = judge(Edit("change", "ground", "grass", "snow"))
    with pytest.raises(ValueError, match="uint8"):
        subject.verdicts(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ValueError, match="float32"):
        subject.verdicts(subject.exact.astype(np.float32))


def test_names_of_renderings_are_the_worlds() -> None:
    """`nearest` is compared with `world.name`: both must spell alike."""
    subject = judge(Edit("change", "thing", CAR, IGLOO), Edit("change", "sky", "clear", "sunset"))
    assert [v.nearest for v in subject.verdicts(subject.exact)] == [name(IGLOO), name("sunset")]


def test_figures_count_each_sort_of_answer(held_out: list) -> None:
    """With a perfect VAE the exact result always passes; with one that gives negatives nothing does."""
    tried = [(case.scene, case.edits) for case in held_out[:2]]
    subtasks = sum(len(edits) for _, edits in tried)
    found = figures(tried, lambda pictures: pictures)
    assert found["exact, VAE round trip"] == (subtasks, subtasks)
    assert found["source"] == found["source, VAE round trip"] == (0, subtasks)
    negative = figures(tried, lambda pictures: 255 - pictures)
    assert negative["exact, VAE round trip"] == (0, subtasks)
    assert negative["wrong colour"] == found["wrong colour"]
