"""The editor without a model: its contract, each kind of change, refusals, and what it says of doubtful ones."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from shaded import disc, on_top, surface

from gas.errors import InputRefused, ModelUnavailable, ObjectNotFound
from gas.interfaces import Edited, EditJob, Watch
from gas.picture.oklab import chroma, hue, hue_difference, to_lab
from gas.runtime import Runtime
from gas.testing.contracts import EditorContract
from gas.types import EditPlan, Region, Subtask
from gas_editors.retouch.editor import RetouchEditor, RetouchOptions

SIZE = (96, 128)
CUP = disc(SIZE, 36)
TABLE = surface(SIZE, 80.0, 0.03, dark=0.4, light=0.7)
PICTURE = on_top(TABLE, surface(SIZE, 30.0, 0.34, dark=0.3, light=0.6), CUP)
RED_TO_BLUE = Subtask(source="a red cup", target="a blue cup", attribute="colour")


def editor(**options: object) -> RetouchEditor:
    return RetouchEditor(RetouchOptions(**options), Runtime())  # type: ignore[arg-type]


def box(x0: int, y0: int, x1: int, y1: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size, np.float32)
    mask[y0:y1, x0:x1] = 1
    return mask


BOX = box(20, 6, 108, 90)


def job(
    *subtasks: Subtask, masks: list[np.ndarray] | None = None, image: np.ndarray = PICTURE, seed: int = 1
) -> EditJob:
    masks = masks or [BOX] * len(subtasks)
    regions = tuple(Region(s.source, mask=m, subtask=i) for i, (s, m) in enumerate(zip(subtasks, masks, strict=True)))
    return EditJob(image, EditPlan(subtasks=subtasks), regions, 1, RetouchOptions())


def edited(*subtasks: Subtask, options: dict[str, object] | None = None, **more: object) -> Edited:
    return editor(**(options or {})).edit(job(*subtasks, **more))  # type: ignore[arg-type]


class TestContract(EditorContract):
    @pytest.fixture
    def editor(self) -> RetouchEditor:
        return RetouchEditor(RetouchOptions(), Runtime())

    @pytest.fixture
    def job(self, editor: RetouchEditor, image: np.ndarray) -> EditJob:
        whole = np.ones(image.shape[:2], np.float32)
        plan = EditPlan(subtasks=(Subtask(source="a thing", target="a blue thing", attribute="colour"),))
        return EditJob(image, plan, (Region("a thing", mask=whole, subtask=0),), 1, editor.options)


def test_another_colour_for_what_has_the_sources() -> None:
    done = edited(RED_TO_BLUE)
    deep = disc(SIZE, 32)
    assert abs(float(np.median(hue_difference(hue(to_lab(done.image))[deep], 263.0)))) < 6
    outside = ~disc(SIZE, 40)
    assert np.abs(done.image.astype(int) - PICTURE)[outside].max() <= 2, "the table in the box stays"
    assert done.log["done"][0]["colour"] == "blue" and done.log["done"][0]["from"] == "red"


def test_a_thing_without_a_named_colour_is_recoloured_whole_and_said_so_for_a_box() -> None:
    subtask = Subtask(source="a cup", target="a blue cup", attribute="colour")
    boxed, masked = edited(subtask), edited(subtask, masks=[CUP.astype(np.float32)])
    assert (boxed.image != PICTURE).any(axis=2)[BOX > 0].mean() > 0.95
    assert "all in its box became blue" in boxed.log["notes"][0]
    assert masked.log["notes"] == []
    assert (masked.image == PICTURE)[~CUP].all()


def test_the_option_select_takes_all_in_the_region() -> None:
    assert (edited(RED_TO_BLUE, options={"select": False}).image != PICTURE).any(axis=2)[BOX > 0].mean() > 0.95


def test_a_colour_that_is_not_there_is_named_with_those_that_are() -> None:
    green = Subtask(source="a green cup", target="a blue cup", attribute="colour")
    with pytest.raises(ObjectNotFound) as caught:
        edited(green)
    assert caught.value.exit_code == 5
    assert "no green" in caught.value.message and "red" in caught.value.message


def test_a_grey_picture_can_be_given_a_colour() -> None:
    grey = np.repeat(PICTURE.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    done = edited(
        Subtask(source="a cup", target="a red cup", attribute="colour"), image=grey, masks=[CUP.astype(np.float32)]
    )
    assert float(np.median(chroma(to_lab(done.image))[CUP])) > 0.1


def test_a_tone_in_the_region_alone_and_by_its_strength() -> None:
    tones = [
        edited(Subtask(source="a cup", target="a darker cup", attribute="tone", strength=strength)).image
        for strength in (0.5, 1.0, 2.0)
    ]
    light = [float(to_lab(image)[..., 0][BOX > 0].mean()) for image in (PICTURE, *tones)]
    assert light == sorted(light, reverse=True) and light[0] - light[-1] > 0.1
    assert all((image == PICTURE)[BOX == 0].all() for image in tones)
    stronger = edited(Subtask(source="a cup", target="a darker cup", attribute="tone"), options={"strength": 2.0})
    assert (stronger.image == tones[2]).all()


def test_a_little_blue_is_half_way() -> None:
    half = edited(RED_TO_BLUE.model_copy(update={"strength": 0.5})).image.astype(int)
    whole = edited(RED_TO_BLUE).image.astype(int)
    inside = disc(SIZE, 30)
    assert (np.abs(half - PICTURE)[inside].mean()) < 0.9 * np.abs(whole - PICTURE)[inside].mean()


@pytest.mark.parametrize("effect", ["blurred", "pixelated"])
def test_effects_take_away_detail_in_the_region_alone(effect: str) -> None:
    rng = np.random.default_rng(0)
    busy = rng.integers(0, 256, (*SIZE, 3), np.uint8)
    subtask = Subtask(source="a face", target=f"a {effect} face", attribute="effect")
    done = edited(subtask, image=busy).image
    assert done[20:80, 40:90].std() < 0.6 * busy[20:80, 40:90].std()
    assert (done == busy)[BOX == 0].all()


def test_nothing_from_beside_a_region_is_blurred_into_it() -> None:
    """Or a person's outline would glow in the blurred background."""
    image = np.zeros((*SIZE, 3), np.uint8)
    image[:, 64:] = 255
    done = edited(
        Subtask(source="a wall", target="a blurred wall", attribute="effect"), image=image, masks=[box(0, 0, 64, 96)]
    )
    assert done.image[:, :64].max() <= 4


def test_sharpening_steepens_edges() -> None:
    row = np.clip(np.linspace(-1500, 1755, 128), 60, 195).astype(np.uint8)
    soft = np.broadcast_to(row[None, :, None], (*SIZE, 3)).copy()
    done = edited(Subtask(source="a wall", target="a sharper wall", attribute="effect"), image=soft).image
    assert np.ptp(done[40, 20:108].astype(int)) > np.ptp(soft[40, 20:108].astype(int))


def test_a_removed_spot_is_filled_from_around_it() -> None:
    spotted = TABLE.copy()
    spot = disc(SIZE, 4)
    spotted[spot] = (200, 20, 20)
    mask = disc(SIZE, 6).astype(np.float32)
    done = edited(Subtask(action="remove", source="a spot"), image=spotted, masks=[mask])
    assert np.abs(done.image.astype(int) - TABLE)[spot].mean() < 12
    assert (done.image == spotted)[mask == 0].all()
    assert done.log["notes"] == []


@pytest.mark.parametrize(("radius", "words"), [(11, "above 2 %"), (20, "a model does it better")])
def test_a_large_hole_is_said_to_be_one(radius: float, words: str) -> None:
    mask = disc(SIZE, radius).astype(np.float32)
    done = edited(Subtask(action="remove", source="a cup"), image=PICTURE, masks=[mask])
    assert words in done.log["notes"][0] and "'a cup'" in done.log["notes"][0]


def test_lines_that_run_into_a_hole_are_told() -> None:
    striped = np.full((*SIZE, 3), 200, np.uint8)
    striped[:, ::4] = 30
    done = edited(Subtask(action="remove", source="a spot"), image=striped, masks=[disc(SIZE, 6).astype(np.float32)])
    assert "lines run into it" in done.log["notes"][0]


def test_a_hole_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(InputRefused, match="covers 100 %"):
        edited(Subtask(action="remove", source="all"), masks=[np.ones(SIZE, np.float32)])


def test_subtasks_are_done_one_after_the_other() -> None:
    darker = Subtask(source="a cup", target="a darker cup", attribute="tone")
    both = edited(RED_TO_BLUE, darker).image
    first = edited(RED_TO_BLUE).image
    assert (both == edited(darker, image=first).image).all()


@pytest.mark.parametrize(
    ("subtask", "error", "words"),
    [
        (Subtask(source="a dog", target="a tiger"), ModelUnavailable, ["'a tiger'", "gas models pull sd15", "GB"]),
        (Subtask(action="add", target="a hat"), ModelUnavailable, ["'a hat'"]),
        (Subtask(source="a cup", target="a turqoise cup", attribute="colour"), InputRefused, ["turqoise", "turquoise"]),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_is_done(
    subtask: Subtask, error: type[Exception], words: list[str]
) -> None:
    with pytest.raises(error) as caught:
        editor().check_plan(EditPlan(subtasks=(RED_TO_BLUE, subtask)))
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


def test_the_selection_can_be_looked_at() -> None:
    maps: dict[str, np.ndarray] = {}
    editor().edit(replace(job(RED_TO_BLUE), watch=Watch(save_map=lambda name, array: maps.update({name: array}))))
    assert maps["selection-1"][CUP].mean() > 0.9


def test_it_needs_neither_torch_nor_opencv() -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['cv2'] = None\n"
        "import numpy as np\n"
        "from gas_editors.retouch.editor import *\n"
        "from gas.types import *; from gas.runtime import Runtime\n"
        "image = np.zeros((40, 40, 3), np.uint8) + np.array([180, 40, 30], np.uint8)\n"
        "wall = Region('', mask=np.ones((40, 40), np.float32), subtask=0)\n"
        "plan = EditPlan(subtasks=(Subtask(source='a red wall', target='a blue wall', attribute='colour'),))\n"
        "job = EditJob(image, plan, (wall,), 1, RetouchOptions())\n"
        "out = RetouchEditor(RetouchOptions(), Runtime()).edit(job).image\n"
        "assert out[20, 20, 2] > out[20, 20, 0]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
