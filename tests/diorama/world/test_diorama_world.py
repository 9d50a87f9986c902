"""The diorama's world: what is drawn, what is said of it, and that an edit of it is exact."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from gas_diorama.world import world
from gas_diorama.world.drawing import GROUND_PAINT, PAINT, SKY_PAINT
from gas_diorama.world.scene import CELL, SIZE, Edit, Scene, Thing, roomiest

CAR = Thing("car", "red", 40, 110, 48)
TREE = Thing("tree", "green", 98, 104, 44)
SCENE = Scene("clear", "grass", 66, (CAR, TREE), seed=7)

seeds = st.integers(0, 2**32 - 1)


def _scene(seed: int) -> Scene:
    return world.sample_scene(np.random.default_rng(seed))


def test_the_world_needs_no_torch() -> None:
    heavy = "{'torch', 'PIL', 'diffusers', 'transformers'}"
    code = f"import gas_diorama.world.world, sys; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_the_same_scene_gives_the_same_bytes(seed: int) -> None:
    assert _scene(seed) == _scene(seed)
    assert (world.render(_scene(seed)) == world.render(_scene(seed))).all()


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_a_scene_keeps_to_its_rules(seed: int) -> None:
    scene = _scene(seed)
    assert 1 <= len(scene.objects) <= 3
    assert len({thing.name for thing in scene.objects}) == len(scene.objects)
    for thing in scene.objects:
        x0, y0, x1, y1 = thing.box
        assert x0 >= 0 and y0 >= 0 and x1 <= world.SIZE and y1 <= world.SIZE and y1 > scene.horizon
        assert thing.size >= 36 or thing.is_small
        assert world.mask(scene, thing).sum() > 0.85 * world.silhouette(thing).sum(), "hidden by another"


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_masks_share_out_every_pixel(seed: int) -> None:
    scene = _scene(seed)
    visible = world.masks(scene)
    assert set(visible) == {*scene.objects, "ground", "sky"}
    assert np.abs(sum(visible.values()) - 1).max() < 1e-5
    assert all(mask.min() >= 0 and mask.max() <= 1 for mask in visible.values())


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_a_mask_is_exactly_where_recolouring_shows(seed: int) -> None:
    scene = _scene(seed)
    thing = scene.objects[0]
    taken = {other.name for other in scene.objects}
    colour = next(c for c in world.COLOURS if (c, thing.kind) not in taken)
    edited = world.apply(scene, [Edit("change", "thing", thing, replace(thing, colour=colour))])
    changed = (world.render(scene) != world.render(edited)).any(axis=2)
    mask = world.mask(scene, thing)
    assert not changed[mask == 0].any()
    assert changed[mask > 0.5].any()


@pytest.mark.parametrize("part", ["ground", "sky"])
def test_ground_and_sky_masks_are_exactly_where_a_change_of_them_shows(part: str) -> None:
    edit = Edit("change", part, getattr(SCENE, part), "snow" if part == "ground" else "night")
    changed = (world.render(SCENE) != world.render(world.apply(SCENE, [edit]))).any(axis=2)
    mask = world.mask(SCENE, part)
    assert not changed[mask == 0].any()
    assert changed[mask == 1].mean() > 0.99


@given(seeds, st.lists(st.sampled_from(world.EDIT_FORMS), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_an_edit_leaves_all_else_bit_identical(seed: int, forms: list[str]) -> None:
    rng = np.random.default_rng(seed)
    scene = world.sample_scene(rng)
    edits = world.sample_edits(scene, rng, list(dict.fromkeys(forms)))
    if edits is None:
        return
    inside = np.maximum.reduce(world.regions(scene, edits)) > 0
    before, after = world.render(scene), world.render(world.apply(scene, edits))
    assert (before[~inside] == after[~inside]).all()
    assert (before[inside] != after[inside]).any()


def test_a_region_reaches_one_latent_cell_beyond_both_silhouettes() -> None:
    house = replace(CAR, kind="house", colour="blue")
    (region,) = world.regions(SCENE, [Edit("change", "thing", CAR, house)])
    ends = (world.silhouette(CAR) > 0) | (world.silhouette(house) > 0)
    rows, columns = np.nonzero(ends)
    grown_rows, grown_columns = np.nonzero(region)
    assert grown_rows.min() == rows.min() - CELL and grown_columns.max() == columns.max() + CELL
    assert (region[ends] == 1).all()


def test_grow_agrees_with_scipy() -> None:
    region = np.random.default_rng(0).random((40, 40)) < 0.01
    assert (world.grow(region, 5) == ndimage.binary_dilation(region, np.ones((11, 11)))).all()


def test_regions_of_ground_and_sky_leave_out_what_stays() -> None:
    edits = [Edit("change", "ground", "grass", "snow"), Edit("change", "sky", "clear", "sunset")]
    ground, sky = world.regions(SCENE, edits)
    stays = world.mask(SCENE, TREE) == 1
    assert not ground[stays].any() and not sky[stays].any()


def test_an_order_of_edits_does_not_matter_and_a_missing_source_is_named() -> None:
    edits = [
        Edit("change", "thing", CAR, replace(CAR, kind="house", colour="blue")),
        Edit("remove", "thing", TREE, None),
        Edit("change", "ground", "grass", "snow"),
    ]
    assert world.apply(SCENE, edits) == world.apply(SCENE, edits[::-1])
    with pytest.raises(ValueError, match="not in the scene"):
        world.apply(SCENE, [Edit("remove", "thing", replace(CAR, colour="blue"), None)])
    with pytest.raises(ValueError, match="'grass', not 'snow'"):
        world.apply(SCENE, [Edit("change", "ground", "snow", "sand")])
    with pytest.raises(ValueError, match="another colour"):
        world.apply(SCENE, [Edit("change", "thing", TREE, replace(TREE, kind="car", colour="red"))])
    with pytest.raises(ValueError, match="not in the scene"):
        world.mask(SCENE, "moon")


@pytest.mark.parametrize("wrong", [("paint", "thing"), ("change", "moon"), ("remove", "sky")])
def test_an_impossible_edit_is_refused(wrong: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"unknown|can only be changed"):
        Edit(*wrong, CAR, None if wrong[0] == "remove" else CAR)
    with pytest.raises(ValueError, match="does not go with"):
        Edit("add", "thing", CAR, None)


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_captions_say_what_is_there_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = world.sample_scene(rng)
    for text in (world.caption(scene), world.caption(scene, rng)):
        words = f" {text.replace(',', ' ')} "
        for thing in scene.objects:
            assert f" {thing.colour} {thing.kind} " in words
        assert f" {scene.ground} " in words and f" {scene.sky} sky " in words
    short = f" {world.short_phrase(scene, rng).replace(',', ' ')} "
    colours = {thing.colour for thing in scene.objects}
    kinds = {thing.kind for thing in scene.objects}
    assert not any(f" {c} " in short for c in set(world.COLOURS) - colours)
    assert not any(f" {k} " in short for k in set(world.KINDS) - kinds)
    assert not any(f" {g} " in short for g in set(world.GROUNDS) - {scene.ground})
    assert not any(f" {s} sky " in short for s in set(world.SKIES) - {scene.sky})
    for one in scene.objects:
        for other in set(world.COLOURS) - {t.colour for t in scene.objects if t.kind == one.kind}:
            assert f" {other} {one.kind} " not in short


def test_plain_words() -> None:
    house = replace(CAR, kind="house", colour="blue")
    assert world.caption(SCENE) == "a red car and a green tree on grass under a clear sky"
    assert world.caption(replace(SCENE, objects=())) == "grass under a clear sky"
    edits = (
        Edit("change", "thing", CAR, house),
        Edit("change", "ground", "grass", "snow"),
        Edit("change", "sky", "clear", "sunset"),
    )
    wanted = "change the red car into a blue house, change the grass into snow, change the clear sky into a sunset sky"
    assert world.request(edits) == wanted
    assert [world.edit_phrases(edit, SCENE) for edit in edits] == [
        ("a red car", "a blue house"),
        ("grass", "snow"),
        ("a clear sky", "a sunset sky"),
    ]
    igloo = Thing("igloo", "white", 64, 120, 30)
    assert world.edit_phrases(Edit("add", "thing", None, igloo), SCENE) == ("grass", "grass with a white igloo")
    assert world.edit_phrases(Edit("remove", "thing", CAR, None), SCENE) == ("a red car on grass", "grass")
    assert world.article("igloo") == "an igloo"


@given(seeds, st.sampled_from(world.EDIT_FORMS))
@settings(max_examples=60, deadline=None)
def test_a_request_names_its_target(seed: int, form: str) -> None:
    rng = np.random.default_rng(seed)
    scene = world.sample_scene(rng)
    edit = world.sample_edit(scene, rng, form)
    if edit is None:
        return
    text = world.instruction(edit, rng, scene)
    if isinstance(edit.source, Thing):
        assert edit.source.kind in text
    if isinstance(edit.target, Thing):
        assert edit.target.kind in text if form != "colour" else edit.target.colour in text
    elif edit.target is not None:
        assert edit.target in text


def test_the_split_is_by_make_up_and_covers_all_three_parts() -> None:
    rng = np.random.default_rng(0)
    scenes = [world.sample_scene(rng) for _ in range(2000)]
    shares = {part: np.mean([world.split(s) == part for s in scenes]) for part in ("train", "validation", "test")}
    assert 0.75 < shares["train"] < 0.85 and min(shares["validation"], shares["test"]) > 0.07
    for scene in scenes[:50]:
        moved = replace(scene, horizon=70, seed=1, objects=tuple(replace(t, x=t.x + 1) for t in scene.objects[::-1]))
        assert world.split(moved) == world.split(scene)
        assert world.is_held_out(scene) == (world.split(scene) != "train")


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_scenes_of_a_part_have_captions_of_no_other_part(part: str) -> None:
    rng = np.random.default_rng(1)
    assert {world.split(world.sample_scene(rng, part=part)) for _ in range(50)} == {part}


def test_strata_can_be_asked_for() -> None:
    rng = np.random.default_rng(2)
    for _ in range(30):
        assert len(world.sample_scene(rng, count=3).objects) == 3
        small = world.sample_scene(rng, small=True)
        assert small.objects[0].is_small and not any(thing.is_small for thing in small.objects[1:])
        assert not any(thing.is_small for thing in world.sample_scene(rng, small=False).objects)
        first, second = world.sample_scene(rng, count=2, twins=True).objects
        assert first.kind == second.kind and first.colour != second.colour
        assert len({t.kind for t in world.sample_scene(rng, count=3, twins=False).objects}) == 3
    with pytest.raises(ValueError, match="twins"):
        world.sample_scene(rng, count=1, twins=True)


@pytest.mark.parametrize("kind", world.KINDS)
@pytest.mark.parametrize("size", [22, 36, 64])
def test_no_silhouette_is_thinner_than_three_pixels(kind: str, size: int) -> None:
    """Opening with a disc-like brush three pixels wide takes away little more than corners."""
    solid = world.silhouette(Thing(kind, "red", 64, 100, size)) >= 0.5
    brush = np.ones((3, 3), bool)
    lost = solid & ~ndimage.binary_opening(solid, brush)
    thick, _ = ndimage.label(lost)
    largest = np.bincount(thick.ravel())[1:].max(initial=0)
    assert largest <= 6, f"{largest} pixels together are thinner than three"


def test_no_colour_is_near_a_ground_a_sky_or_another_colour() -> None:
    things = {name: np.array(paint, float) for name, paint in PAINT.items()}
    behind = [np.array(p, float) for p in GROUND_PAINT.values()]
    behind += [np.array(p, float) for ends in SKY_PAINT.values() for p in ends]
    for name, paint in things.items():
        others = [other for key, other in things.items() if key != name]
        assert min(np.linalg.norm(paint - other) for other in others) > 100
        assert min(np.linalg.norm(paint - other) for other in behind) > (30 if name == "white" else 50)


def test_kinds_have_different_silhouettes() -> None:
    shapes = {k: world.silhouette(Thing(k, "red", 64, 100, 60)) > 0.5 for k in world.KINDS}
    for a in world.KINDS:
        for b in world.KINDS:
            if a < b:
                assert (shapes[a] & shapes[b]).sum() / (shapes[a] | shapes[b]).sum() < 0.85, (a, b)


def test_the_roomiest_place_is_away_from_the_others_and_in_the_middle_without_any() -> None:
    assert abs(roomiest(66, ())[0] - SIZE // 2) <= 4  # type: ignore[index]
    left = roomiest(66, (replace(CAR, x=100),))
    right = roomiest(66, (replace(CAR, x=28),))
    assert left is not None and right is not None and left[0] < SIZE // 2 < right[0]
    crowd = tuple(replace(CAR, x=x, y=y) for x in (28, 64, 100) for y in (60, 110))
    assert roomiest(66, crowd) is None


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_a_thing_in_the_roomiest_place_belongs_there(seed: int) -> None:
    scene = _scene(seed)
    spot = roomiest(scene.horizon, scene.objects[:2])
    if spot is not None:
        x, y, size = spot
        assert scene.horizon < y < SIZE and size <= y and size // 2 < x < SIZE - size // 2
        x0, y0, x1, y1 = Thing("ball", "white", *spot).box
        for a0, b0, a1, b1 in (other.box for other in scene.objects[:2]):
            assert min(x1, a1) <= max(x0, a0) or min(y1, b1) <= max(y0, b0), "it covers another thing"
