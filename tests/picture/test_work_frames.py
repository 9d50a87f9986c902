import numpy as np
import pytest

from gas.picture.frame import work_frame
from gas.picture.frames import MOST_FRAMES, one_frame, work_frames
from gas.types import Region

SIZE = 4000, 3000
CORNERS = [Region("a", (100, 100, 400, 400), subtask=0), Region("b", (3600, 2600, 3900, 2900), subtask=1)]


def shown(frames):
    return [one.regions for one in frames]


@pytest.mark.parametrize("mode", ["auto", "frames"])
def test_places_in_opposite_corners_are_shown_as_fine_as_each_alone(mode):
    frames = work_frames(SIZE, CORNERS, mode, 512, 8)
    assert sorted(shown(frames)) == [(0,), (1,)]
    for one in frames:
        alone = work_frame(SIZE, [CORNERS[one.regions[0]]], "crop", 512, 8)
        assert one.frame == alone and min(one.frame.scale) > 0.9
    together = one_frame(SIZE, CORNERS, "auto", 512, 8)
    assert together.regions == (0, 1) and max(together.frame.scale) < 0.2


def test_places_that_lose_nothing_together_share_a_picture():
    near = [CORNERS[0], Region("c", (420, 100, 520, 400), subtask=1), CORNERS[1]]
    assert sorted(shown(work_frames(SIZE, near, "auto", 512, 8))) == [(0, 1), (2,)]
    assert shown(
        work_frames((512, 512), [Region("a", (0, 0, 9, 9)), Region("b", (500, 500, 510, 510))], "frames", 512)
    ) == [(0, 1)]


def test_the_largest_comes_first_and_masks_count_as_their_boxes():
    sky = np.zeros((3000, 4000), np.float32)
    sky[:1500] = 1
    frames = work_frames(SIZE, [CORNERS[1], Region("sky", mask=sky, subtask=1)], "auto", 512, 8)
    assert shown(frames) == [(1,), (0,)]
    assert frames[0].frame.crop[2] - frames[0].frame.crop[0] == 4000 and min(frames[1].frame.scale) > 0.9


@pytest.mark.parametrize("mode", ["full", "crop"])
def test_the_other_modes_have_one_picture(mode):
    (one,) = work_frames(SIZE, CORNERS, mode, 512, 8)
    assert one.frame == work_frame(SIZE, CORNERS, mode, 512, 8) and one.regions == (0, 1)


def test_an_editor_of_native_pixels_has_one():
    (one,) = work_frames(SIZE, CORNERS, "frames", None)
    assert one.frame.crop == (0, 0, *SIZE) and not one.frame.resized


def test_there_are_at_most_so_many():
    places = [
        Region(
            str(n), (300 + 900 * (n % 4), 200 + 850 * (n // 4), 400 + 900 * (n % 4), 300 + 850 * (n // 4)), subtask=n
        )
        for n in range(12)
    ]
    frames = work_frames(SIZE, places, "frames", 256, 8)
    assert len(frames) == MOST_FRAMES and sorted(i for one in frames for i in one.regions) == list(range(12))
