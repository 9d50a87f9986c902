"""The editor auto: which sort a subtask is, who makes it, one picture, one record that replays."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import fake_backends
import numpy as np
import pytest
from PIL import Image as Pictures
from pydantic import ValidationError

from gas import BackendSpec, Registry, hookimpl, notes
from gas.errors import ModelUnavailable, UsageError
from gas.interfaces import Edited, EditJob, Editor, Options, Watch
from gas.masks import box_mask
from gas.picture.photo import read as read_photo
from gas.run.job import PhotoJob
from gas.run.record import parse_record
from gas.run.replay import again, drift
from gas.run.session import Session
from gas.runtime import Runtime
from gas.types import EditPlan, Region, Subtask
from gas_cli.flags import open_session
from gas_editors.choosing.auto import AutoOptions
from gas_editors.choosing.sorts import sort_of

SIDE = 64
LEFT, RIGHT = box_mask((4, 20, 24, 44), (SIDE, SIDE)), box_mask((40, 20, 60, 44), (SIDE, SIDE))
LOW = box_mask((0, 48, SIDE, SIDE), (SIDE, SIDE))
EVERYWHERE = np.ones((SIDE, SIDE), np.float32)
CUP = Subtask(source="a red cup", target="a blue cup", attribute="colour")
CAT = Subtask(source="a cat", target="a dog")
FLOOR = Subtask(source="the floor", target="sand")
PLAN = EditPlan(subtasks=(CUP, CAT, FLOOR), source_prompt="before", target_prompt="after")
MASKS = (LEFT, RIGHT, LOW)
TABLE = {"colour": "reds", "otherwise": "greens"}


class Fill(Editor):
    """Adds its level to its channel wherever it may, and keeps what it was given."""

    options_type = Options
    channel, level = 0, 40
    seen: ClassVar[list[EditJob]] = []

    def resolution(self) -> int | None:
        return 64

    def edit(self, job: EditJob) -> Edited:
        type(self).seen.append(job)
        image = job.image.copy()
        image[..., self.channel] = np.minimum(image[..., self.channel].astype(int) + self.level, 255)
        return Edited(image)


class Reds(Fill):
    seen: ClassVar[list[EditJob]] = []

    def resolution(self) -> int | None:
        return None

    def multiple(self) -> int:
        return 1


class Greens(Fill):
    channel = 1
    confines = True
    seen: ClassVar[list[EditJob]] = []


class Remote(Fill):
    remote = True


class Plugin:
    @staticmethod
    @hookimpl
    def gas_register_editors() -> list[BackendSpec]:
        kinds = {"reds": Reds, "greens": Greens, "distant": Remote}
        return [BackendSpec(name, f"{__name__}:{kind.__name__}", "fills") for name, kind in kinds.items()]


def session(table: Any = TABLE, **flags: Any) -> Session:
    options = {"auto": {"table": table}, **flags.pop("options", {})}
    registry = Registry(plugins="none").add(Plugin)
    return Session.of(registry=registry, editor="auto", profile="diorama", options=options, **flags)


def image() -> np.ndarray:
    return np.full((SIDE, SIDE, 3), 50, np.uint8)


def regions(masks: Any = MASKS) -> list[Region]:
    return [Region("", mask=mask, subtask=index) for index, mask in enumerate(masks)]


@pytest.fixture(autouse=True)
def _nobody_was_asked() -> None:
    for kind in (Reds, Greens):
        kind.seen.clear()


@pytest.mark.parametrize(
    ("subtask", "mask", "sort"),
    [
        (CUP, LEFT, "colour"),
        (Subtask(source="a red cup", target="a blue cup"), LEFT, "colour"),
        (Subtask(source="a red cup", target="a blue bowl"), LEFT, "kind"),
        (Subtask(source="a cup", target="a wooden cup", attribute="material"), LEFT, "material"),
        (Subtask(source="a cup", target="a darker cup"), LEFT, "tone"),
        (Subtask(source="a cup", target="a blurred cup"), LEFT, "effect"),
        (CAT, RIGHT, "kind"),
        (FLOOR, LOW, "backdrop"),
        (Subtask(action="add", target="a hat", anchor="the cat"), LOW, "add"),
        (Subtask(action="remove", source="the cat"), LEFT, "remove"),
    ],
)
def test_sorts(subtask: Subtask, mask: Any, sort: str) -> None:
    assert sort_of(subtask, mask) == sort


def test_a_table_names_known_sorts_and_never_itself() -> None:
    with pytest.raises(ValidationError, match="'colors' is not a sort"):
        AutoOptions(table={"colors": "reds"})
    with pytest.raises(ValidationError, match="itself"):
        AutoOptions(table={"kind": "auto"})


# --- one picture ------------------------------------------------------------------------------------------------------


def test_each_subtask_is_made_by_the_editor_of_its_sort() -> None:
    result = session().edit(image(), PLAN, regions(), seed=5)
    for channel, own in ((0, LEFT), (1, np.maximum(RIGHT, LOW))):
        changed = result.image[..., channel] != 50
        assert not changed[own == 0].any() and changed[own > 0].mean() > 0.9
    assert (result.image[(LEFT == 0) & (RIGHT == 0) & (LOW == 0)] == 50).all()
    assert [(one["subtask"], one["sort"], one["editor"]) for one in result.log["chosen"]] == [
        (1, "colour", "reds"),
        (2, "kind", "greens"),
        (3, "backdrop", "greens"),
    ]


def test_who_confines_gets_all_of_its_subtasks_at_once_and_the_largest_region_comes_first() -> None:
    on_the_floor = box_mask((4, 4, 24, 50), (SIDE, SIDE))
    session().edit(image(), PLAN, regions((on_the_floor, RIGHT, LOW)), seed=5)
    (green,), (red,) = Greens.seen, Reds.seen
    assert green.grounded and green.plan.subtasks == (CAT, FLOOR) and green.plan.source_prompt == "before"
    assert [region.subtask for region in green.regions] == [0, 1]
    assert not red.grounded and red.plan.subtasks == (CUP,) and red.plan.target_prompt == "a blue cup"
    assert (red.image[LOW > 0][:, 1] == 90).all(), "it works on what the first one has left"
    assert type(red.options) is Options and red.intermediate and not green.intermediate


def test_who_does_not_confine_is_asked_for_one_subtask_at_a_time() -> None:
    session({"otherwise": "reds"}).edit(image(), PLAN, regions(), seed=5)
    assert [len(job.plan.subtasks) for job in Reds.seen] == [1, 1, 1]


def test_what_an_editor_cannot_make_is_made_otherwise() -> None:
    """retouch refuses a change of kind; a plan of its sort that it can make stays with it."""
    result = session({"kind": "retouch", "otherwise": "greens"}).edit(image(), PLAN, regions(), seed=5)
    assert [one["editor"] for one in result.log["chosen"]] == ["greens", "greens", "greens"]


def test_a_sort_without_an_editor_is_refused() -> None:
    with pytest.raises(UsageError, match="no editor for subtask 2, which is of the sort 'kind'"):
        session({"colour": "reds"}).edit(image(), PLAN, regions(), seed=5)
    with pytest.raises(UsageError, match="no table"):
        session({}).edit(image(), PLAN, regions(), seed=5)


def test_the_editor_of_an_addition_is_asked_before_the_edit() -> None:
    hat = PLAN.model_copy(update={"subtasks": (Subtask(action="add", target="a hat", anchor="the cat"), CAT)})
    with pytest.warns(UserWarning, match="score distillation seldom adds things: 'a hat' may"):
        session({"otherwise": "ground-a-score"}).check_plan(hat)
    with pytest.raises(ModelUnavailable, match="'a hat'"):
        session({"otherwise": "retouch"}).check_plan(hat)
    with pytest.raises(UsageError, match="no editor for subtask 1, which is of the sort 'add'"):
        session({"kind": "greens"}).check_plan(hat)
    with notes.collected() as said:
        session({"add": "retouch", "otherwise": "greens"}).check_plan(hat)
    assert said == [], "greens makes what retouch does not take"


def test_a_remedy_names_the_option_of_the_editor_that_asks_for_it() -> None:
    with pytest.raises(UsageError, match="no GLIGEN model") as caught:
        session({"otherwise": "gligen"}).backend("editors", "auto").resolution()
    assert '{"gligen": {"model": "FOLDER"}}' in caught.value.remedy


@pytest.mark.parametrize("name", ["diorama", "sd15", "instruct"])
def test_tables_of_profiles_name_editors_that_the_profile_has_a_model_for(name: str) -> None:
    made = Session.of(profile=name, editor="auto")
    editor = made.backend("editors", "auto")
    assert "otherwise" in editor.options.table
    for helper in editor.helpers:
        settled = made.settled("editors", helper).options
        assert helper == "retouch" or settled.model, helper


def test_it_works_at_the_size_of_the_first_editor_that_has_one() -> None:
    editor = session().backend("editors", "auto")
    assert (editor.resolution(), editor.multiple()) == (64, 8)
    alone = session({"otherwise": "reds"}).backend("editors", "auto")
    assert (alone.resolution(), alone.multiple()) == (None, 1)


def test_an_editor_that_sends_pictures_away_is_never_handed_one() -> None:
    with pytest.raises(UsageError, match="which only you may choose"):
        session({"otherwise": "distant"}).edit(image(), PLAN, regions(), seed=5)


def test_outside_a_session_it_says_so() -> None:
    made = Registry(plugins="none").add(Plugin).create("editors", "auto", {"table": TABLE}, Runtime())
    with pytest.raises(UsageError, match="in a session"):
        made.edit(EditJob(image(), PLAN, tuple(regions()), 5, made.options))


def test_a_stopped_run_keeps_whole_parts_and_goes_on() -> None:
    states: list[Any] = []
    asked = iter(range(9))
    watch = Watch(checkpoint=lambda state: states.append(dict(state)), should_stop=lambda: next(asked) > 99)
    whole = session().edit(image(), PLAN, regions(), seed=5, watch=watch)
    assert len(states) == 1
    Greens.seen.clear()
    resumed = session().edit(image(), PLAN, regions(), seed=5, watch=Watch(resume=states[0]))
    assert np.array_equal(resumed.image, whole.image) and not Greens.seen


# --- one record -------------------------------------------------------------------------------------------------------


def test_the_record_has_the_options_of_all_of_them_and_replays(tmp_path: Path) -> None:
    pixels = scene()
    Pictures.fromarray(pixels).save(tmp_path / "cup.png")
    photo = read_photo(tmp_path / "cup.png")
    options = {"retouch": {"towards": 0.9}, "painter": {"colour": (9, 8, 7)}}
    table = {"colour": "retouch", "otherwise": "painter"}

    def opened(flags: Any) -> Session:
        return Session.of(registry=fake_backends.registry(), **flags)

    first = opened({"editor": "auto", "profile": "diorama", "options": {"auto": {"table": table}, **options}})
    done = PhotoJob(first, photo, PLAN, tuple(regions()), 3).run(tmp_path / "out.png")
    record = parse_record(done.record_path.read_text(), "out.png")
    assert [one.name for one in record.helpers] == ["retouch", "painter"]
    assert record.helpers[0].options["towards"] == 0.9
    repeated = again(record, photo, opened).run(tmp_path / "again.png")
    assert np.array_equal(repeated.result.image, done.result.image)
    assert drift(record, repeated.record) == []
    others = tuple(one.model_copy(update={"options": {**one.options, "x": 1}}) for one in record.helpers)
    assert drift(record.model_copy(update={"helpers": others}), repeated.record) == [
        "the options of the editors that it hands subtasks to differ"
    ]


def scene() -> np.ndarray:
    """A red cup where the first region is."""
    pixels = np.full((SIDE, SIDE, 3), (90, 140, 80), np.uint8)
    pixels[LEFT > 0] = (190, 30, 40)
    return pixels


def test_options_of_its_editors_may_be_set_on_the_command_line() -> None:
    given = [("retouch", "towards", "0.9"), (None, "table", '{"otherwise": "retouch"}')]
    made = open_session({"editor": "auto", "profile": "diorama"}, given)
    assert made.backend("editors", "retouch").options.towards == 0.9
    with pytest.raises(UsageError, match="'zone' is not in use"):
        open_session({"editor": "auto", "profile": "diorama"}, [("zone", "steps", "3")])
