"""Plan files: written and read back equal, published schema, refused in one or two lines when they cannot be used."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import DOCS

from gas.errors import InputRefused, UsageError
from gas.plan.file import (
    MAX_PLAN_BYTES,
    MAX_PLAN_DEPTH,
    flag_foreign_phrases,
    parse_plan,
    plan_schema,
    plan_to_json,
    read_plan,
    write_plan,
)
from gas.plan.phrases import content_words, main_noun, normalise_phrase, singular
from gas.types import EditPlan, Provenance, Subtask

SCHEMA = DOCS / "plan.schema.json"


def a_plan(**changes: object) -> EditPlan:
    values: dict = {
        "subtasks": (
            Subtask(source="a dog", target="a tiger", instruction="change the dog into a tiger", preserve_shape=True),
            Subtask(action="remove", source="a logo", anchor="a shirt", strength=0.5),
            Subtask(action="add", target="a “café” sign\nin two lines"),
        ),
        "source_prompt": "a dog and a shirt with a logo",
        "target_prompt": "a tiger and a shirt",
        "provenance": Provenance(planner="rules", reply="\x1b[31m kept as it came"),
    }
    return EditPlan(**{**values, **changes})


def broken(**changes: object) -> str:
    return json.dumps({**a_plan().model_dump(mode="json"), **changes})


def refusal(data: str | bytes) -> InputRefused:
    with pytest.raises(InputRefused) as caught:
        parse_plan(data, origin="plan.json")
    assert caught.value.exit_code == 3
    assert len(str(caught.value).splitlines()) <= 2
    assert "plan.json" in str(caught.value)
    return caught.value


def test_written_and_read_back_equal(tmp_path: Path) -> None:
    path = write_plan(a_plan(), tmp_path / "plan.json")
    assert read_plan(path) == a_plan()
    assert path.read_text(encoding="utf-8").endswith("}\n")
    assert "café" in path.read_text(encoding="utf-8"), "people edit it by hand: no escapes"
    assert os.listdir(tmp_path) == ["plan.json"]


def test_never_over_another_file(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("mine")
    with pytest.raises(UsageError):
        write_plan(a_plan(), path)
    assert path.read_text() == "mine"
    write_plan(a_plan(), path, overwrite=True)
    assert read_plan(path) == a_plan()


def test_published_schema_is_the_models_own() -> None:
    assert json.loads(SCHEMA.read_text(encoding="utf-8")) == plan_schema(), (
        "write it anew from gas.plan.file.plan_schema()"
    )
    assert plan_schema()["required"][0] == "version"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", ["malformed", "line 1"]),
        ("{", ["malformed"]),
        ("[]", ["object", "list"]),
        ("null", ["object"]),
        ('{"version": 1}', ["subtasks"]),
        (broken(version=2), ["version", "2"]),
        (broken(version=True), ["version", "True"]),
        (broken(version="1"), ["version", "'1'"]),
        (broken(subtasks=[]), ["subtasks"]),
        (broken(subtasks=[{"source": "dog"}]), ["subtasks.0", "target"]),
        (broken(subtasks=[{"source": "dog", "target": " Dog"}]), ["same phrase"]),
        (broken(subtasks=[{"source": "dog", "target": "cat", "action": "explode"}]), ["subtasks.0.action", "explode"]),
        (broken(subtasks=[{"source": "dog", "target": "cat", "strenght": 1}]), ["strenght", "'strength'"]),
        (broken(subtasks=[{"source": "dog", "target": "cat", "strength": -1}]), ["subtasks.0.strength", "-1"]),
        (broken(subtasks=[{"source": "dog", "target": "cat"}] * 33), ["subtasks", "32"]),
        (broken(subtasks=[{"source": "dog", "target": "cat", "where": "inside"}]), ["subtasks.0.where", "inside"]),
        (broken(subtasks=[{"source": "dog", "target": "cat", "attribute": "x"}]), ["subtasks.0.attribute", "x"]),
        (broken(subtasks=[{"target": "a darker picture", "where": "outside"}]), ["source"]),
        (broken(subtasks=[{"target": "a hat", "action": "add", "where": "picture"}]), ["where", "picture", "add"]),
        (broken(source_prompt="x" * 2001), ["source_prompt", "2000"]),
        (broken(surprise=1), ["surprise"]),
        (broken(reasoning=7), ["reasoning", "7"]),
        ('{"version": 1, "version": 1}', ["'version'", "twice"]),
        (broken(source_prompt="a \u202egod\u202c"), ["source_prompt", "U+202E"]),
        (broken(subtasks=[{"source": "dog\x1b[2J", "target": "cat"}]), ["subtasks.0.source", "U+001B"]),
        (broken(source_prompt="\ud800"), ["source_prompt"]),
        (b"\xff\xfe", ["UTF-8"]),
        ('{"version": 1, "subtasks": [{"source": "a", "target": "b", "strength": NaN}]}', ["NaN"]),
        ('{"version": 1, "subtasks": [{"source": "a", "target": "b", "strength": -Infinity}]}', ["Infinity"]),
        ('{"version": 1, "subtasks": [{"source": "a", "target": "b", "strength": 1e999}]}', ["strength", "inf"]),
        ('{"version": ' + "9" * 5000 + "}", ["digits"]),
        ("[" * 100_000 + "]" * 100_000, [f"deeper than {MAX_PLAN_DEPTH}"]),
        ('{"a":' * 100_000, [f"deeper than {MAX_PLAN_DEPTH}"]),
        (b" " * (MAX_PLAN_BYTES + 1), ["larger", str(MAX_PLAN_BYTES)]),
        ("é" * (MAX_PLAN_BYTES // 2 + 1), ["larger"]),
    ],
)
def test_refused_with_the_place_and_the_value(data: str | bytes, words: list[str]) -> None:
    message = str(refusal(data))
    for word in words:
        assert word in message
    assert len(message) < 600
    assert "\x1b" not in message and "\u202e" not in message, "an error must not steer the terminal"


def test_plans_from_before_attributes_and_places_still_load() -> None:
    old = {"version": 1, "subtasks": [{"action": "change", "source": "a red cup", "target": "a blue cup"}]}
    subtask = parse_plan(json.dumps(old)).subtasks[0]
    assert (subtask.attribute, subtask.where, subtask.strength) == (None, "region", 1.0)


def test_the_whole_picture_needs_no_source_and_looks_for_nothing() -> None:
    whole = {"target": "a darker picture", "attribute": "tone", "where": "picture"}
    subtask = parse_plan(broken(subtasks=[whole])).subtasks[0]
    assert subtask.region_phrase == ""
    spared = {"source": "a balloon", "target": "a black and white picture", "where": "outside"}
    assert parse_plan(broken(subtasks=[spared])).subtasks[0].region_phrase == "a balloon"


def test_a_bracket_in_a_string_is_no_nesting() -> None:
    plan = a_plan(reasoning="[" * 5000 + '"\\' + "{" * 5000)
    assert parse_plan(plan_to_json(plan)) == plan


def test_byte_order_mark_is_no_obstacle() -> None:
    assert parse_plan("\ufeff" + plan_to_json(a_plan())) == a_plan()
    assert parse_plan(b"\xef\xbb\xbf" + plan_to_json(a_plan()).encode()) == a_plan()


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "null"])
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "p"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(InputRefused):
        read_plan(path if kind != "null" else "a\0b")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_whatever_comes_is_a_plan_or_refused(data: bytes | str) -> None:
    refusal(data)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["source", "action", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["version", "subtasks", "source_prompt", "provenance", "warnings", "reasoning"]), _json)
def test_any_value_in_any_place(key: str, value: object) -> None:
    plain = {**a_plan().model_dump(mode="json"), key: value}
    try:
        plan = parse_plan(json.dumps(plain), origin="plan.json")
    except InputRefused as error:
        assert "plan.json" in str(error)
    else:
        assert parse_plan(plan_to_json(plan)) == plan


# --- phrases ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phrase", "plain"),
    [
        ("The  red Car.", "red car"),
        ("a red car", "red car"),
        ("some birds", "birds"),
        ("the man’s T-shirt", "man's t-shirt"),
        (' "an igloo" ', "igloo"),
        ("anthill", "anthill"),
        ("the", ""),
        ("", ""),
    ],
)
def test_normalise_phrase(phrase: str, plain: str) -> None:
    assert normalise_phrase(phrase) == plain


@pytest.mark.parametrize(
    ("plural", "one"),
    [("cars", "car"), ("wolves", "wolf"), ("people", "person"), ("boxes", "box"), ("cities", "city"), ("grass",
    "grass"),
     ("glasses", "glasses"), ("bus", "bus"), ("shoes", "shoe"), ("tomatoes", "tomato"), ("churches", "church"),
      ("cacti", "cactus"),
     ("horses", "horse"), ("gas", "gas"), ("tie", "tie"), ("movies", "movie")],
)  # fmt: skip
def test_singular(plural: str, one: str) -> None:
    assert singular(plural) == one
    assert singular(one) == one


def test_main_noun() -> None:
    assert main_noun("a small brown dog with a hat") == "dog"
    assert main_noun("the two cats") == "cat"
    assert main_noun("") is None
    assert content_words("Autumn-coloured leaves on the trees") == [
        "autumn-coloured",
        "autumn",
        "coloured",
        "leaf",
        "tree",
    ]


def plan_of(*subtasks: Subtask) -> EditPlan:
    return EditPlan(subtasks=subtasks)


def test_phrases_of_the_request_are_not_flagged() -> None:
    plan = plan_of(
        Subtask(source="the small brown dog", target="a wolf"),
        Subtask(source="a house", target="a blue house"),
        Subtask(action="add", target="birds", anchor="the clear sky"),
    )
    assert (
        flag_foreign_phrases(plan, "Change the dogs to wolves, make the HOUSE blue and add a bird in the sky") == plan
    )


def test_foreign_phrases_are_flagged_by_name() -> None:
    plan = plan_of(
        Subtask(source="a dog", target="a cat with an Acme logo"),
        Subtask(action="remove", source="the watermark"),
        Subtask(action="add", target="a cat", anchor="the sofa"),
    )
    flagged = flag_foreign_phrases(plan, "change the dog to a cat")
    assert [w.split(":")[0] for w in flagged.warnings] == ["subtask 1", "subtask 2", "subtask 3"]
    assert "acme, logo" in flagged.warnings[0]
    assert "watermark" in flagged.warnings[1]
    assert "sofa" in flagged.warnings[2]
    assert flag_foreign_phrases(flagged, "change the dog to a cat") == flagged, "said once"
