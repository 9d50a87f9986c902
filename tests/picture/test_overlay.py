import numpy as np
import pytest
from pictures import scene

from gas.masks import box_mask
from gas.picture import overlay
from gas.picture.frame import Frame
from gas.regions.check import check_region
from gas.types import Region


def test_regions_are_tinted_outlined_and_labelled():
    image = np.full((600, 800, 3), 90, np.uint8)
    box = (100, 300, 400, 500)
    plain = check_region(Region("the red car", box, score=0.87, subtask=0), (800, 600))
    out = overlay.draw_regions(image, [plain])
    assert out.shape == image.shape and out.dtype == np.uint8
    assert (image == 90).all(), "the picture that was given is left alone"
    colour = np.array(overlay.COLOURS[0])
    assert np.abs(out[400, 250] - (90 + overlay.TINT * (colour - 90))).max() <= 1
    assert (out[300, 110:390] == colour).all()
    untouched = (out == 90).all(axis=2)
    assert untouched[550:].all() and untouched[:, 450:].all()
    assert not untouched[270:300, 100:200].all(), "the label stands above the box"
    named = overlay.draw_regions(image, [check_region(Region("the red bus", box, score=0.87, subtask=0), (800, 600))])
    scored = overlay.draw_regions(image, [check_region(Region("the red car", box, score=0.12, subtask=0), (800, 600))])
    assert not np.array_equal(named, out) and not np.array_equal(scored, out)


def test_a_mask_shows_its_shape_and_subtasks_their_colours():
    image = np.zeros((600, 600, 3), np.uint8)
    y, x = np.mgrid[:600, :600]
    disc = ((x - 300) ** 2 + (y - 300) ** 2 < 150**2).astype(np.float32)
    out = overlay.draw_regions(image, [Region("disc", mask=disc, subtask=3)])
    assert (out[300, 300] == np.rint(np.array(overlay.COLOURS[3]) * overlay.TINT)).all()
    assert not out[170, 440].any()
    assert len({overlay._colour(Region("", subtask=n), 0) for n in range(7)}) == 7


def test_labels_stay_inside_and_off_each_other():
    taken = []
    image = np.zeros((520, 520, 3), np.uint8)
    regions = [Region(f"thing number {n}", (500, 505, 519, 519), subtask=n) for n in range(3)]
    regions += [Region("top", (0, 0, 9, 9)), Region("x" * 300, (-50, -50, 5, 5)), Region("bidi\u202e\n", (5, 5, 9, 9))]
    original = overlay._write

    def spy(*arguments):
        original(*arguments)
        taken.append(arguments[-1][-1])

    overlay._write, kept = spy, overlay._write
    try:
        overlay.draw_regions(image, regions)
    finally:
        overlay._write = kept
    assert len(taken) == 6
    for number, (x0, y0, x1, y1) in enumerate(taken):
        assert x0 >= 0 and y0 >= 0 and y1 <= 520
        assert x1 <= 520 or number == 4
        assert not any(overlay._meet((x0, y0, x1, y1), other) for other in taken[:number])


def test_working_pictures_are_dashed_and_captioned():
    image = np.full((600, 800, 3), 90, np.uint8)
    out = overlay.draw_regions(image, [], [(Frame((800, 600), (100, 100, 500, 400), (400, 300)), "dog at 1:1")])
    edge = out[100, 100:500]
    assert {tuple(pixel) for pixel in edge.tolist()} == {(0, 0, 0), (255, 255, 255)}
    inside = out[110:360, 110:490]
    assert (inside == 90).all(), "the caption stands at the lower edge"
    assert (out[370:400, 100:200] != 90).any()


def test_a_small_picture_is_enlarged_so_that_labels_do_not_hide_it():
    region = check_region(Region("dot", (10, 10, 20, 20)), (96, 64))
    out = overlay.draw_regions(scene(), [region])
    assert out.shape == (64 * 6, 96 * 6, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (4096, 1)])
def test_odd_sizes(size):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    region = Region("x", (0, 0, *size), box_mask((0, 0, *size), size))
    assert overlay.draw_regions(image, [region]).ndim == 3
    assert overlay.strip([("x", image)]).ndim == 3


def test_many_pictures_stand_in_rows_equally_full():
    image = np.full((40, 60, 3), 7, np.uint8)
    one, three = overlay.strip([("a", image)] * 3), overlay.strip([("a", image)] * 7, in_a_row=3)
    assert three.shape == (3 * one.shape[0], one.shape[1], 3)
    assert (three[: one.shape[0]] == one).all(), "7 in rows of 3, 3 and 1"
    last = three[2 * one.shape[0] :]
    assert (last == 7).all(-1).sum() == 40 * 60 and (last[:, -60:] == 255).all()
    four = overlay.strip([("a", image)] * 4, in_a_row=3)
    assert four.shape[1] < one.shape[1], "4 in rows of 2"


def test_strips_have_equal_heights_and_names():
    wide, tall = scene(200, 100), scene(100, 200)
    out = overlay.strip([("input", wide), ("a name that is rather long for its picture", tall)], height=100)
    assert out.dtype == np.uint8
    below = out[-104:-4]
    assert np.abs(below[:, 4:204].astype(int) - wide).mean() < 1
    assert (out[:, :3] == 255).all() and (out[-3:] == 255).all()
    assert out[: -104 - 4].min() < 100, "there is text above"
    without = overlay.strip([("", wide), ("", tall)], height=100)
    assert without.shape[0] < out.shape[0]
    with pytest.raises(ValueError, match="no picture"):
        overlay.strip([])
