import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from effort import at_most
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pictures
from scipy import ndimage

from gas import masks as r
from gas.bands import bands
from gas.errors import InputRefused
from gas.picture.frame import to_working, work_frame
from gas.regions import check, folder, match, rle
from gas.types import EditPlan, Region, Subtask
from gas_cli import drawn

SIZE = (40, 30)


def silent(_):
    pass


@pytest.fixture
def warned():
    found = []
    return found, found.append


# --- boxes ---


@pytest.mark.parametrize(
    ("box", "complaint"),
    [
        ((math.nan, 0, 5, 5), "not four finite numbers"),
        ((0, 0, math.inf, 5), "not four finite numbers"),
        ((0, 0, 5), "not four finite numbers"),
        (("1", 0, 5, 5), "not four finite numbers"),
        ((9, 9, 3, 20), "inverted"),
        ((3, 3, 3, 9), "no area"),
        ((40, 0, 60, 10), "outside"),
        ((-9, -9, -1, -1), "outside"),
        ((0.1, 0.2, 0.5, 0.9), "fractions"),
        ((0, 0, 1, 1), "fractions"),
    ],
)
def test_bad_boxes_are_refused_by_value(box, complaint):
    with pytest.raises(InputRefused, match=complaint) as error:
        check.check_box(box, SIZE, name="box", warn=silent)
    assert error.value.remedy


def test_a_box_partly_outside_is_clipped_and_that_is_said(warned):
    found, warn = warned
    assert check.check_box((-5, 2, 10, 99), SIZE, warn=warn) == (0, 2, 10, 30)
    assert "clipped" in found[0]
    assert check.check_box(np.float32([1, 2, 3, 4]), SIZE, warn=warn) == (1, 2, 3, 4)
    assert len(found) == 1


def test_extreme_boxes_that_are_fine():
    assert r.box_mask(check.check_box((0, 0, 40, 30), SIZE), SIZE).all()
    assert r.box_mask(check.check_box((5, 5, 6, 6), SIZE), SIZE).sum() == 1
    assert r.box_mask((5.3, 2, 5.4, 9), SIZE).sum() == 7
    assert check.check_box((0, 0, 1, 1), (1, 1)) == (0, 0, 1, 1)


def test_boxes_from_the_command_line(warned):
    found, warn = warned
    region = drawn.parse_box("a=b = 1, 2 ,30,20.5", SIZE, warn=warn)
    assert (region.phrase, region.box, region.given) == ("a=b", (1, 2, 30, 20.5), True)
    assert region.mask.shape == (30, 40)
    assert drawn.parse_box("sky=0%,0%,100%,40%", SIZE, warn=warn).box == (0, 0, 40, 12)
    assert drawn.parse_box("dot=0%,0%,1%,1%", SIZE, warn=warn).mask.sum() == 1
    assert not found


@pytest.mark.parametrize(
    "text",
    [
        "red car",
        "=1,2,3,4",
        "car=",
        "car=1,2,3",
        "car=1,2,3,4,5",
        "car=a,b,c,d",
        "car=1,2,nan,4",
        "car=1,,3,4",
        "car=0.1,0.1,0.5,0.5",
        "car=9,9,1,1",
    ],
)
def test_unreadable_boxes_name_the_text(text):
    with pytest.raises(InputRefused) as error:
        drawn.parse_box(text, SIZE, warn=silent)
    assert text in error.value.message
    assert error.value.exit_code == 3


def test_points_from_the_command_line():
    assert drawn.parse_point("a=b = 1, 2.5", SIZE).point == (1, 2.5)
    region = drawn.parse_point("sky=50%,10%", SIZE)
    assert region.point == (SIZE[0] / 2, SIZE[1] / 10) and region.phrase == "sky" and region.mask is None
    for text in (
        "dog",
        "dog=1",
        "dog=1,2,3",
        "dog=1,x",
        "dog=nan,1",
        f"dog={SIZE[0]},1",
        "dog=-1,1",
        "dog=101%,1",
        "=1,2",
    ):
        with pytest.raises(InputRefused):
            drawn.parse_point(text, SIZE)


# --- masks ---


@pytest.mark.parametrize(
    ("mask", "complaint"),
    [
        (np.zeros((30, 40), np.float32), "empty"),
        (np.full((30, 40), np.nan), "NaN"),
        (np.full((30, 40), np.inf), "NaN or infinite"),
        (np.full((30, 40), 255.0), "run from 255 to 255"),
        (np.full((30, 40), -0.5), "run from -0.5"),
        (np.ones((40, 30), np.float32), "is 30x40 pixels"),
        (np.ones((30, 40, 3), np.float32), "3 dimensions"),
        (np.full((30, 40), 0.001, np.float32), "empty"),
    ],
)
def test_bad_masks_are_refused(mask, complaint):
    with pytest.raises(InputRefused, match=complaint):
        check.check_mask(mask, SIZE)


def test_masks_of_any_number_format_become_floats_in_steps():
    assert check.check_mask(np.ones((30, 40), bool), SIZE).dtype == np.float32
    assert check.check_mask(np.full((30, 40), 51, np.uint8), SIZE)[0, 0] == np.float32(0.2)
    third = check.check_mask(np.full((30, 40), 1 / 3), SIZE)
    assert np.array_equal(third, np.full((30, 40), np.float32(85) / np.float32(255)))


def test_a_region_gets_what_it_lacks_and_needs_something():
    boxed = check.check_region(Region("a", (2, 3, 8, 9)), SIZE)
    assert boxed.mask.sum() == 36
    masked = check.check_region(Region("a", mask=boxed.mask), SIZE)
    assert masked.box == (2, 3, 8, 9)
    with pytest.raises(InputRefused, match="neither box nor mask"):
        check.check_region(Region("a"), SIZE)


def test_mask_files(tmp_path, warned):
    found, warn = warned
    levels = np.zeros((30, 40), np.uint8)
    levels[5:9, 6:16] = 255
    levels[6, 7] = 128
    Pictures.fromarray(levels).save(tmp_path / "m.png")
    region = drawn.parse_mask(f"red car={tmp_path / 'm.png'}", SIZE, warn=warn)
    assert region.box == (6, 5, 16, 9)
    assert region.mask[6, 7] == np.float32(128) / np.float32(255)
    Pictures.fromarray((levels > 0).astype(np.uint8)).save(tmp_path / "classes.png")
    assert folder.read_mask(tmp_path / "classes.png", SIZE, warn=warn).sum() == 40
    assert "levels 0 and 1" in found[0]
    painted = np.zeros((30, 40, 4), np.uint8)
    painted[..., 0] = 255
    painted[5:9, 6:16, 3] = 255
    Pictures.fromarray(painted).save(tmp_path / "red.png")
    assert r.mask_box(folder.read_mask(tmp_path / "red.png", SIZE)) == (6, 5, 16, 9)
    with pytest.raises(InputRefused, match="no such file"):
        drawn.parse_mask(f"car={tmp_path / 'none.png'}", SIZE)
    with pytest.raises(InputRefused, match="40x30 pixels, the upright picture 20x30"):
        folder.read_mask(tmp_path / "m.png", (20, 30))


# --- algebra ---


def disc(size=60, radius=15):
    y, x = np.mgrid[:size, :size]
    return ((x - size / 2) ** 2 + (y - size / 2) ** 2 < radius**2).astype(np.float32)


def test_growing_is_a_fraction_of_the_box_on_each_side_and_stays_a_box():
    mask = r.box_mask((20, 10, 60, 30), (100, 60))
    assert r.mask_box(r.grow(mask, 0.15)) == (14, 7, 66, 33)
    assert r.grow(mask, 0.15).sum() == 52 * 26
    assert r.mask_box(r.grow(mask, 0.0, at_least=8)) == (12, 2, 68, 38)
    assert r.grow(mask, 0.0) is not None and np.array_equal(r.grow(mask, 0.0), mask)
    assert r.grow(mask, 9.0).all()


def test_growing_a_disc_keeps_it_round_and_every_pixel_of_it():
    mask = disc()
    mask[30, 30] = 0.5
    grown = r.grow(mask, 0.2)
    assert (grown >= mask).all()
    assert grown[30, 30] == 0.5 or grown[30, 30] == 1
    expected = disc(radius=15 + 6) > 0
    assert (expected & (grown > 0)).sum() > 0.93 * (expected | (grown > 0)).sum()
    assert grown[9, 9] == 0


def test_growing_on_a_large_picture_is_quick_and_close(monkeypatch):
    y, x = np.mgrid[:900, :900]
    mask = ((x - 450) ** 2 + (y - 450) ** 2 < 200**2).astype(np.float32)
    exact = r.grow(mask, 0.3)
    monkeypatch.setattr(r, "GROW_PIXELS", 10_000)
    coarse = r.grow(mask, 0.3)
    assert (coarse >= mask).all()
    overlap = np.minimum(exact, coarse).sum() / np.maximum(exact, coarse).sum()
    assert overlap > 0.9


def test_feathering_runs_inward_and_reaches_full_strength():
    mask = disc()
    soft = r.feather(mask, 4)
    assert ((soft > 0) == (mask > 0)).all()
    assert (soft <= mask).all()
    assert soft[30, 30] == 1
    rim = soft[30, int(np.flatnonzero(mask[30])[0])]
    assert 0 < rim < 0.5
    thin = r.box_mask((10, 10, 13, 50), (60, 60))
    assert r.feather(thin, 20).max() == 1
    both = r.union([thin, r.box_mask((30, 10, 55, 50), (60, 60))])
    assert r.feather(both, 6)[30, 11] == 1, "a thin part keeps its middle beside a thick one"
    at_border = r.feather(r.box_mask((0, 0, 30, 60), (60, 60)), 5)
    assert (at_border[:, :20] == 1).all()
    assert at_border[30, 29] < 0.5


def exactly_feathered(mask, pixels):
    """What `feather` says, on the whole picture at once."""
    inside = mask > 0
    depth = ndimage.distance_transform_cdt(inside)
    parts, count = ndimage.label(inside, structure=np.ones((3, 3)))
    deepest = ndimage.maximum(depth, parts, np.arange(count + 1))
    ramp = np.minimum(deepest, pixels + 1).astype(np.float32)
    ramp[0] = 1
    return mask * np.minimum(depth / ramp[parts], 1).astype(np.float32)


@pytest.mark.parametrize("pixels", [1, 3, 9, 300])
def test_feathering_in_bands_is_that_of_the_whole(monkeypatch, pixels):
    monkeypatch.setattr(r, "bands", lambda height, width, *_: bands(height, width, 7 * width))
    blobs = ndimage.gaussian_filter(np.random.default_rng(3).random((90, 120)), 3)
    mask = np.where(blobs > np.median(blobs) + 0.01, blobs / blobs.max(), 0).astype(np.float32)
    assert ndimage.label(mask > 0)[1] > 5
    expected, before = exactly_feathered(mask, pixels), mask.copy()
    assert np.allclose(r.feather(mask, pixels), expected, atol=1e-6) and np.array_equal(mask, before)
    assert np.allclose(r.feather(mask, pixels, in_place=True), expected, atol=1e-6)
    assert np.allclose(mask, expected, atol=1e-6), "it was in place"


def test_more_parts_than_a_short_number_counts_are_feathered_too():
    dots = np.zeros((520, 520), np.float32)
    dots[::2, ::2] = 1
    assert ndimage.label(dots)[1] > 2**16
    assert np.array_equal(r.feather(dots, 3), dots), "each dot keeps its middle"


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_masks_that_are_mostly_empty_take_little_memory():
    code = (
        "import numpy as np\n"
        "from gas import masks\n"
        "from gas.regions.check import check_mask\n"
        "levels = np.zeros((8000, 8000), np.uint8)\n"
        "levels[50:150, 40:90] = 255\n"
        "def peak():\n"
        "    return int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])\n"
        "masks.feather(check_mask(levels[:200, :200], (200, 200)), 3)\n"  # so that scipy is imported
        "before = peak()\n"
        "a = check_mask(levels, (8000, 8000))\n"
        "b = masks.union([a, masks.box_mask((100, 100, 200, 200), (8000, 8000))])\n"
        "c = check_mask(masks.feather(b, 9), (8000, 8000))\n"
        "print(peak() - before)\n"
    )
    kilobytes = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    print(kilobytes)
    assert kilobytes < 200_000, "one dense mask of this size takes 256 MB"


def test_union_intersection_minus_and_holes():
    a, b = r.box_mask((0, 0, 20, 20), (40, 40)), r.box_mask((10, 10, 30, 30), (40, 40))
    assert r.union([a, b]).sum() == 700
    assert r.intersection([a, b]).sum() == 100
    assert r.minus(a, b).sum() == 300
    assert (r.minus(r.box_mask((0, 0, 40, 40), (40, 40)), b) == 1 - b).all()
    with pytest.raises(ValueError, match="unpack"):
        r.union([])


# --- to the editor ---


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 90), st.integers(1, 90), st.sampled_from(["full", "crop", "auto"]))
def test_no_box_whatever_becomes_an_empty_or_non_finite_mask(seed, width, height, mode):
    """200 pictures with 50 boxes each: usual ones, hair-thin ones, ones far outside, and numbers that are none."""
    draw = np.random.default_rng(seed)
    accepted = 0
    for _ in range(50):
        box = draw.uniform(-0.3, 1.3, 4) * [width, height, width, height]
        box[2:] = np.where(draw.random(2) < 0.3, box[:2] + 10.0 ** draw.uniform(-9, 0, 2), box[2:])
        odd = draw.random(4) < 0.03
        box[odd] = draw.choice([np.nan, np.inf, -np.inf, 1e300, -1e300, 0, 1, width, height, 5e-324], odd.sum())
        box = np.round(box) if draw.random() < 0.3 else box
        try:
            region = check.check_region(Region("x", tuple(box)), (width, height), warn=silent)
        except InputRefused:
            continue
        accepted += 1
        frame = work_frame((width, height), [region], mode, 32, 8)
        (working,) = to_working([region], frame)
        assert working.mask.shape == (frame.size[1], frame.size[0])
        assert np.isfinite(working.mask).all()
        assert 0.5 <= working.mask.max() <= 1
        assert working.mask.min() >= 0
        x0, y0, x1, y1 = working.box
        assert x1 - x0 >= 0.999 and y1 - y0 >= 0.999
        assert x0 >= 0 and y0 >= 0 and x1 <= frame.size[0] and y1 <= frame.size[1]
    assert accepted > 0 or max(width, height) < 3


def test_a_speck_in_a_large_picture_reaches_the_editor_at_full_strength():
    mask = np.zeros((2000, 3000), np.float32)
    mask[1234, 777] = 1
    frame = work_frame((3000, 2000), [], "full", 64, 8)
    (working,) = to_working([Region("x", mask=mask)], frame)
    assert working.mask.max() == 1
    assert np.count_nonzero(working.mask) == 1


def test_a_region_outside_the_frame_is_refused():
    inside = Region("a", mask=r.box_mask((0, 0, 10, 10), (1000, 1000)))
    frame = work_frame((1000, 1000), [inside], "crop", 64, 8)
    with pytest.raises(InputRefused, match="outside the part"):
        to_working([Region("b", mask=r.box_mask((900, 900, 950, 950), (1000, 1000)))], frame)


# --- matching ---

PLAN = EditPlan(
    subtasks=(
        Subtask(source="the red car", target="a blue house"),
        Subtask(source="a cat", target="a dog"),
        Subtask(source="cat", target="a tiger"),
        Subtask(action="add", target="a red hat", anchor="the woman's head"),
        Subtask(action="remove", source="Sign", anchor="wall"),
    )
)


def test_regions_find_their_subtasks():
    given = [Region(p) for p in ("sign", "CAT", "red-car", "a cat", "red hat", "Red Car")]
    found = match.match(given, PLAN)
    assert [(g.phrase, g.subtask) for g in found] == [
        ("red-car", 0),
        ("Red Car", 0),
        ("CAT", 1),
        ("a cat", 2),
        ("red hat", 3),
        ("sign", 4),
    ]
    assert match.match([Region("womans head")], PLAN)[0].subtask == 3
    assert match.match([Region("cat", subtask=2)], PLAN)[0].subtask == 2


def test_an_unknown_phrase_names_the_nearest_and_all():
    with pytest.raises(InputRefused, match="'red cart'") as error:
        match.match([Region("red cart")], PLAN)
    assert "did you mean 'the red car'" in error.value.remedy
    assert "'Sign'" in error.value.remedy
    with pytest.raises(InputRefused):
        match.match([Region("a blue house")], PLAN)
    with pytest.raises(InputRefused):
        match.match([Region("wall")], PLAN)


def test_too_many_regions_for_a_repeated_phrase():
    with pytest.raises(InputRefused, match="3 regions for 'a cat', but the plan names it 2 times"):
        match.match([Region("cat")] * 3, PLAN)


# --- run lengths ---


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 256]))
def test_run_lengths_come_back_exactly(height, width, seed, levels):
    drawn = np.random.default_rng(seed).integers(0, levels, (height, width))
    mask = (drawn * (255 // (levels - 1))).astype(np.float32) / np.float32(255)
    written = rle.RLE.model_validate_json(rle.encode_rle(mask).model_dump_json())
    assert np.array_equal(rle.decode_rle(written), mask)


def test_run_lengths_are_cocos_columns_first():
    mask = np.array([[0, 1], [1, 1]], np.float32)
    assert rle.encode_rle(mask) == rle.RLE(size=(2, 2), counts=(1, 3))
    assert rle.encode_rle(np.ones((2, 2), np.float32)).counts == (0, 4)


@pytest.mark.parametrize(
    "lie",
    [
        {"size": (2, 2), "counts": (1, 2)},
        {"size": (2, 2), "counts": (-1, 5)},
        {"size": (0, 2), "counts": ()},
        {"size": (10**6, 10**6), "counts": (10**12,)},
        {"size": (2, 2), "counts": (2, 2), "levels": (1,)},
        {"size": (2, 2), "counts": (2, 2), "levels": (1, 300)},
    ],
)
def test_run_lengths_that_lie_are_refused_at_once(lie):
    with at_most(seconds=5), pytest.raises(InputRefused):
        rle.decode_rle(rle.RLE(**lie))


# --- folders ---


def test_saved_regions_come_back(tmp_path, warned):
    found, warn = warned
    regions = [
        Region("the red car", (1, 2, 11, 12), r.box_mask((1, 2, 11, 12), SIZE), 0.75, 0),
        Region("cat", (3, 3, 9, 9), disc(40, 9)[5:35], 0.5, 1),
        Region("cat", (20, 3, 30, 9), r.box_mask((20, 3, 30, 9), SIZE), None, 2),
        Region("../con", (20, 3, 30, 9)),
    ]
    written = folder.save_regions(tmp_path / "out", SIZE, regions)
    assert [p.name for p in written] == ["the-red-car.png", "cat.png", "cat-2.png", "regions.json"]
    back = folder.load_regions(tmp_path / "out", SIZE, warn=warn)
    for a, b in zip(regions, back, strict=True):
        assert (a.phrase, a.box, a.score, a.subtask) == (b.phrase, b.box, b.score, b.subtask)
        assert b.given
        assert a.mask is None or np.array_equal(a.mask, b.mask)
    assert not found
    (tmp_path / "out" / "overlay.png").write_bytes(b"no mask")
    (tmp_path / "out" / "stray.png").write_bytes(b"no mask")
    folder.load_regions(tmp_path / "out", SIZE, warn=warn)
    assert len(found) == 1 and "stray.png" in found[0]
    with pytest.raises(Exception, match="is there already"):
        folder.save_regions(tmp_path / "out", SIZE, regions)
    with pytest.raises(InputRefused, match="40x30"):
        folder.load_regions(tmp_path / "out", (30, 40))


def test_a_folder_of_masks_made_by_hand(tmp_path):
    for number, name in enumerate(("red-car.png", "cat.png", "cat-2.png", "cat-10.png", "route-66.PNG")):
        Pictures.fromarray((r.box_mask((number, 0, number + 5, 9), SIZE) * 255).astype(np.uint8)).save(tmp_path / name)
    found = folder.load_regions(tmp_path, SIZE)
    assert [(f.phrase, f.box[0]) for f in found] == [
        ("cat", 1),
        ("cat", 2),
        ("cat", 3),
        ("red car", 0),
        ("route 66", 4),
    ]


def test_folders_that_cannot_be_used(tmp_path):
    with pytest.raises(InputRefused, match="not a folder"):
        folder.load_regions(tmp_path / "none", SIZE)
    with pytest.raises(InputRefused, match="holds no PNG masks"):
        folder.load_regions(tmp_path, SIZE)
    good = {"version": 1, "size": list(SIZE), "regions": [{"phrase": "a", "box": [1, 2, 9, 9]}]}
    bad = {
        "99x99": {**good, "size": [99, 99]},
        "not a PNG file in the folder": {**good, "regions": [{"phrase": "a", "mask": "../../etc/passwd"}]},
        "extra": {**good, "surprise": 1},
        "neither box nor mask": {**good, "regions": [{"phrase": "a"}]},
        "names no regions": {**good, "regions": []},
        "inverted": {**good, "regions": [{"phrase": "a", "box": [9, 9, 1, 1]}]},
    }
    (tmp_path / "regions.json").write_text(json.dumps(good))
    assert folder.load_regions(tmp_path, SIZE)[0].box == (1, 2, 9, 9)
    for complaint, content in bad.items():
        (tmp_path / "regions.json").write_text(json.dumps(content))
        with pytest.raises(InputRefused, match=complaint):
            folder.load_regions(tmp_path, SIZE)
    for text in ("", "{", "[" * 100_000, '{"version": NaN}', '{"size": 1, "size": 2}'):
        (tmp_path / "regions.json").write_text(text)
        with pytest.raises(InputRefused, match="regions"):
            folder.load_regions(tmp_path, SIZE)


def test_shorter_phrase_will_do_where_only_one_can_be_meant() -> None:
    plan = EditPlan(subtasks=(Subtask(source="a red car", target="x"), Subtask(source="the old house", target="y")))
    assert [one.subtask for one in match.match([Region("car"), Region("House")], plan)] == [0, 1]
    with pytest.raises(InputRefused):
        match.match([Region("blue car")], plan)
    two = EditPlan(subtasks=(Subtask(source="a red car", target="x"), Subtask(source="a blue car", target="y")))
    with pytest.raises(InputRefused):
        match.match([Region("car")], two)


def found(mask, box=None, phrase="dog"):
    return Region(phrase, box=box, mask=mask.astype(np.float32), subtask=0)


def test_thing_gets_its_box_and_a_share_of_the_longer_side_on_every_side():
    mask = np.zeros((100, 120), np.float32)
    mask[40:50, 30:70][np.tri(10, 40, 30, dtype=bool)] = 1
    room = r.with_room(found(mask, box=(28.0, 40.0, 70.0, 50.0)), 0.1)
    assert r.mask_box(room.mask) == (24, 36, 74, 54)  # a tenth of 42 on every side of box and mask together
    assert room.mask.sum() == 50 * 18
    assert room.box == (28.0, 40.0, 70.0, 50.0)


def test_background_grows_a_little_and_nothing_does_without_a_share():
    sky = np.zeros((60, 80), np.float32)
    sky[:30] = 1
    sky[20:30, 30:50] = 0
    seam = r.with_room(found(sky), 0.25).mask  # 2.5 % of 80 pixels
    assert (seam >= sky).all() and not seam[32:].any() and seam[:22, :].all() and not seam[22:30, 33:47].any()
    assert np.array_equal(r.with_room(found(sky.T.copy()), 0.25).mask, seam.T)
    assert np.array_equal(r.with_room(found(sky), 0.0).mask, sky)
    thing = np.zeros((60, 80), np.float32)
    thing[10:20, 1:80] = np.tri(10, 79, 40)
    assert np.array_equal(r.with_room(found(thing), 0.0).mask, thing)
    assert not np.array_equal(r.with_room(found(thing), 0.1).mask, thing)


@pytest.mark.parametrize(("right", "down"), [(0, 0), (2, 1), (-3, 0), (0, -4), (7, 0), (0, 99)])
def test_a_mask_is_moved_and_what_leaves_the_picture_is_lost(right: int, down: int) -> None:
    mask = np.random.default_rng(1).random((5, 7), dtype=np.float32)
    moved = r.moved(mask, right, down)
    for y in range(5):
        for x in range(7):
            inside = 0 <= y - down < 5 and 0 <= x - right < 7
            assert moved[y, x] == (mask[y - down, x - right] if inside else 0)
