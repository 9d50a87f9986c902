"""What is kept of one run and reused in the next: the same bytes, where everything that decides is the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reusing
from reusing import ASKED, image, job, plan, regions, session

from gas.backends.registry import Registry
from gas.backends.roles import EDITORS
from gas.cache.entry import Entry
from gas.cache.store import Store
from gas.errors import Interrupted, ObjectNotFound, UsageError
from gas.folders import stages_folder
from gas.interfaces import Edited, EditJob, Step, Watch
from gas.picture.photo import of_pixels
from gas.preview import Preview
from gas.run import replay, working
from gas.run.job import make_plan, prepare
from gas.run.record import Request
from gas.run.result import EditResult
from gas.run.reuse import identity
from gas.run.reuse.told import Told, edits_anew
from gas.run.session import Session
from gas.types import EditPlan, EditRequest, Region, Subtask

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAS_CACHE_FOLDER", str(tmp_path / "cache"))
    ASKED.clear()


def edits() -> list[str]:
    """The targets that editors were asked for since the last call."""
    asked = [one.removeprefix("editor ") for one in ASKED if one.startswith(("editor", "batch"))]
    ASKED.clear()
    return asked


def store() -> Store:
    return Store(stages_folder(), 10**9)


def same(a: EditResult, b: EditResult) -> bool:
    return (
        (a.image == b.image).all()
        and (a.mask == b.mask).all()
        and (a.raw == b.raw).all()
        and (dict(a.log), a.chosen, a.places) == (dict(b.log), b.chosen, b.places)
    )


def fresh(the_plan: Any = None, **flags: Any) -> EditResult:
    result = job(the_plan, cache=False, **flags).edit()
    edits()
    return result


# --- edits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("editor", ["paints", "confines"])
@pytest.mark.parametrize("grounded", [True, False])
def test_the_same_run_again_asks_nobody_and_gives_the_same_bytes(editor: str, grounded: bool) -> None:
    first = job(editor=editor, grounded=grounded).edit()
    assert edits() == (["tiger", "lion", "bat"] if grounded and editor == "paints" else ["tiger, lion, bat"])
    second = job(editor=editor, grounded=grounded).edit()
    assert ASKED == [], "not even for the editor's size, for which its model would be loaded"
    assert same(first, second) and same(first, fresh(editor=editor, grounded=grounded))
    assert second.log["notes"], "what was warned of is said again"
    assert first.reused == () and {one.by for one in second.reused} == {editor}


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_in_turns_only_the_changed_subtask_is_made_anew(changed: int) -> None:
    """Whichever it is: its region meets no other's, so the others' turns do not depend on it."""
    job().edit()
    edits()
    targets = ["tiger", "lion", "bat"]
    targets[changed] = "a horse"
    result = job(plan(*targets)).edit()
    assert edits() == ["a horse"]
    assert same(result, fresh(plan(*targets)))
    others = {f"{target} in the place of {source}" for source, target in zip(reusing.THINGS, targets, strict=True)}
    assert {one.what[0] for one in result.reused} == others - {f"a horse in the place of {reusing.THINGS[changed]}"}


def test_a_turn_that_shows_the_changed_one_is_made_anew_too() -> None:
    """The cat lies on the dog; the bird does not."""

    def overlapping(**flags: Any) -> Any:
        moved = np.zeros((256, 256), np.float32)
        moved[40:70, 40:70] = 1
        drawn = (regions()[0], replace(regions()[1], mask=moved, box=(40, 40, 70, 70)), regions()[2])
        return lambda targets: replace(job(plan(*targets), **flags), regions=drawn)

    overlapping()(("tiger", "lion", "bat")).edit()
    edits()
    result = overlapping()(("a horse", "lion", "bat")).edit()
    assert edits() == ["a horse", "lion"]
    assert same(result, overlapping(cache=False)(("a horse", "lion", "bat")).edit())


def test_an_editor_that_couples_its_subtasks_runs_anew_and_says_so() -> None:
    job(editor="confines").edit()
    edits()
    changed = plan("tiger", "lion", "a horse")
    result = job(changed, editor="confines").edit()
    assert edits() == ["tiger, lion, a horse"] and same(result, fresh(changed, editor="confines"))
    (told,) = result.reused
    assert (told.stage, told.by, told.anew, len(told.what)) == ("edit", "confines", "together", 3)
    other = replace(job(editor="confines"), photo=of_pixels(image()[::-1].copy()), pixels="").edit()
    assert other.reused == (), "of a picture that was not edited before there is nothing to say"


def test_nothing_is_said_of_what_was_made_anew_for_another_reason() -> None:
    """Other options, another region, steps that are to be seen."""
    job(editor="confines").edit()
    assert job(editor="confines", options={"confines": {"steps": 2}}).edit().reused == ()
    shifted = tuple(replace(one, mask=np.roll(one.mask, 3, 0)) for one in regions())
    assert replace(job(editor="confines"), regions=shifted).edit().reused == ()
    with edits_anew():
        assert job(editor="confines").edit().reused == ()


def test_another_seed_is_said_with_the_one_that_would_reuse() -> None:
    job(seed=5).edit()
    edits()
    result = job(seed=9).edit()
    assert edits() == ["tiger", "lion", "bat"] and {(one.anew, one.shift) for one in result.reused} == {("seed", -4)}
    assert same(result, fresh(seed=9))
    job(seed=5).edit()
    assert edits() == []


def test_a_batch_is_reused_as_a_whole() -> None:
    """The last bits of its pictures depend on each other."""

    def run(*seeds: int) -> list[Any]:
        chosen = session(editor="batches", grounded=False)
        begun = [working.begin(chosen, image(), plan(), regions(), seed=seed, work="full") for seed in seeds]
        return working.edit_together(chosen, begun)

    first = run(1, 2)
    assert edits() == ["batch of 2", "tiger, lion, bat", "tiger, lion, bat"]
    second = run(1, 2)
    assert edits() == [] and all(same(a, b) for a, b in zip(first, second, strict=True))
    run(1, 3)
    assert edits()[0] == "batch of 2"


def test_working_pictures_of_their_own_are_reused_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three places of a large photograph, far from each other."""
    monkeypatch.setattr(reusing.Paints, "resolution", lambda self: 64)
    large = np.random.default_rng(3).integers(0, 200, (1024, 1024, 3), dtype=np.uint8)
    masks = [np.zeros((1024, 1024), np.float32) for _ in range(3)]
    for mask, (x, y) in zip(masks, ((0, 0), (900, 0), (400, 900)), strict=True):
        mask[y : y + 60, x : x + 60] = 1
    drawn = tuple(replace(one, mask=mask, box=None) for one, mask in zip(regions(), masks, strict=True))

    def run(*targets: str, **flags: Any) -> EditResult:
        flags = {"grounded": False, **flags}
        return replace(
            job(plan(*targets), **flags), photo=of_pixels(large), pixels="", regions=drawn, work="auto"
        ).edit()

    assert len(run("tiger", "lion", "bat").places) == 3
    edits()
    changed = run("tiger", "a horse", "bat")
    assert edits() == ["a horse"] and same(changed, run("tiger", "a horse", "bat", cache=False))


@pytest.mark.parametrize("editor", ["moody", "abroad"])
def test_nothing_is_kept_of_an_editor_that_does_not_repeat_itself_or_is_elsewhere(editor: str) -> None:
    for _ in range(2):
        result = job(editor=editor).edit()
        assert edits() == ["tiger", "lion", "bat"] and result.reused == ()
    assert not any(one.kind in {"edits", "sizes"} for one in store().entries())


def test_what_is_stopped_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = reusing.Paints.edit

    def halfway(self: Any, one: EditJob) -> Edited:
        assert one.watch.on_step is not None
        one.watch.on_step(Step(1, 2))
        return replace(whole(self, one), stopped=True)

    with monkeypatch.context() as patched:
        patched.setattr(reusing.Paints, "edit", halfway)
        assert job().edit(Watch(on_step=lambda step: None)).stopped
    assert not any(one.kind == "edits" for one in store().entries())


def test_maps_and_steps_that_are_to_be_seen_are_made() -> None:
    job().edit()
    edits()
    result = job().edit(Watch(save_map=lambda name, values: None))
    assert edits() == ["tiger", "lion", "bat"] and result.reused == ()
    with edits_anew():
        job().edit()
    assert edits() == ["tiger", "lion", "bat"]
    job(plan("tiger", "lion", "owl")).edit()
    assert edits() == ["owl"]


def test_an_edit_that_is_resumed_is_made() -> None:
    job(grounded=False).edit()
    edits()
    job(grounded=False).edit(Watch(resume={"step": 1}))
    assert edits() == ["tiger, lion, bat"]


# --- what decides -----------------------------------------------------------------------------------------------------


def _picture(one: Any) -> Any:
    other = image()
    other[0, 0, 0] ^= 1
    return replace(one, photo=of_pixels(other), pixels="")


def _mask(one: Any) -> Any:
    mask = one.regions[0].mask.copy()
    mask[60, 10] = 1
    return replace(one, regions=(replace(one.regions[0], mask=mask),))


ONE = plan("tiger", source_prompt="before", target_prompt="after")


def _with(**flags: Any) -> Callable[[Any], Any]:
    return lambda one: replace(one, session=session(**{"grounded": False, **flags}))


@pytest.mark.parametrize(
    "change",
    [
        _picture,
        _mask,
        lambda one: replace(one, seed=6),
        lambda one: replace(one, plan=ONE.model_copy(update={"subtasks": plan("lion").subtasks})),
        lambda one: replace(one, plan=ONE.model_copy(update={"source_prompt": "long before"})),
        lambda one: replace(one, plan=ONE.model_copy(update={"target_prompt": "long after"})),
        lambda one: replace(one, plan=ONE.model_copy(update={"preserve_shape": True})),
        lambda one: replace(one, regions=(replace(one.regions[0], phrase="hound"),)),
        lambda one: replace(one, regions=(replace(one.regions[0], given=False),)),
        lambda one: replace(one, regions=(replace(one.regions[0], score=0.5),)),
        _with(options={"paints": {"steps": 2}}),
        _with(editor="confines"),
        _with(dtype="fp32"),
        _with(device="cpu"),
        _with(grounders=("places",)),  # the segmenter that the editor is handed
    ],
)
def test_whatever_decides_an_edit_is_in_its_key(change: Callable[[Any], Any]) -> None:
    """Without turns, so that the whole plan counts."""
    before = job(ONE, grounded=False)
    before.edit()
    assert edits() == ["tiger"]
    change(before).edit()
    assert len(edits()) == 1
    before.edit()
    assert edits() == [], "and what was kept before is still there"


def test_no_field_of_what_an_editor_is_given_is_forgotten() -> None:
    """A new field must come into the key, or into one of these lists with a reason."""
    in_key = {"image", "plan", "regions", "seed", "options", "segmenter", "grounded", "intermediate"}
    assert in_key | {"watch"} == {one.name for one in fields(EditJob)}
    explains = {"version", "reasoning", "warnings", "provenance"}
    assert explains | {"subtasks", "source_prompt", "target_prompt", "preserve_shape"} == set(EditPlan.model_fields)
    of_a_region = {"phrase", "box", "mask", "score", "subtask", "given", "count", "point"}
    assert of_a_region | {"note"} == {one.name for one in fields(Region)}
    asked = {"image", "instruction", "seed", "caption", "source", "target"}
    assert asked == {one.name for one in fields(EditRequest)}


@pytest.mark.parametrize("name", ["grounded", "intermediate"])
def test_how_an_editor_is_to_work_is_in_the_key(name: str) -> None:
    stages = session(editor="confines").stages
    assert stages is not None
    one = working.begin(stages.session, image(), plan(), regions(), seed=1, work="full").job
    assert stages._job(one) != stages._job(replace(one, **{name: True}))


@pytest.mark.parametrize(
    ("field", "value"),
    [("box", (1, 1, 9, 9)), ("subtask", 1), ("count", 2), ("point", (3, 3)), ("mask", None), ("score", 0.1)],
)
def test_whatever_is_known_of_a_region_is_in_the_key(field: str, value: Any) -> None:
    one = regions()[0]
    assert identity.of_regions([one]) != identity.of_regions([replace(one, **{field: value})])


def test_the_plugin_and_its_version_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def known() -> Any:
        return identity.of_backend(chosen, EDITORS, "paints")

    chosen = session()
    before, entry = known(), chosen.registry.find("editors", "paints")
    later = replace(entry, plugin=replace(entry.plugin, version="9.9"))
    monkeypatch.setattr(chosen.registry, "find", lambda role, name: later)
    assert known() != before
    moved = replace(entry, spec=replace(entry.spec, target="reusing:Confines"))
    monkeypatch.setattr(chosen.registry, "find", lambda role, name: moved)
    assert known() != before


def test_a_plans_explanations_and_maker_decide_nothing() -> None:
    job(ONE, grounded=False).edit()
    edits()
    told = ONE.provenance.model_copy(update={"planner": "openai", "reply": "{}"})
    job(ONE.model_copy(update={"reasoning": "x", "warnings": ("y",), "provenance": told}), grounded=False).edit()
    assert edits() == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("code_stamp", lambda package: "another"),
        ("__version__", "9.9"),
        ("_libraries", lambda: {"torch": "9"}),
    ],
)
def test_code_and_versions_are_in_the_key(name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job().edit()
    edits()
    monkeypatch.setattr(identity, name, value)
    job().edit()
    assert edits() == ["tiger", "lion", "bat"]


def test_the_machine_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    here = identity.machine()
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    threads = identity.machine()
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    assert here != threads != identity.machine() != here


def test_code_that_changes_in_place_has_another_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_package").mkdir()
    (tmp_path / "a_package" / "__init__.py").write_text("")
    (tmp_path / "a_module.py").write_text("")
    stamp = identity.code_stamp.__wrapped__
    before = stamp("a_package"), stamp("a_module")
    (tmp_path / "a_package" / "more.py").write_text("x = 1")
    (tmp_path / "a_module.py").write_text("y = 1")
    assert stamp("a_package") != before[0] and stamp("a_module") != before[1]
    (tmp_path / "a_package" / "__pycache__").mkdir()
    (tmp_path / "a_package" / "__pycache__" / "more.pyc").write_text("")
    assert stamp("a_package") == stamp("a_package")
    with pytest.raises(identity.Unknown):
        stamp("no_such_package")


def named(model: str = "", **options: Any) -> dict[str, Any]:
    """The identity of an editor with a model."""
    chosen = session(editor="dds", options={"dds": {"model": model, **options}})
    return identity.of_backend(chosen, EDITORS, "dds")


def test_a_model_is_known_by_what_is_in_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "unet.safetensors").write_bytes(b"weights")
    before = named(str(folder))
    assert named(str(folder)) == before
    (folder / "unet.safetensors").write_bytes(b"weighty")
    assert named(str(folder))["models"] != before["models"]


def test_what_a_model_rests_on_is_looked_at_too(tmp_path: Path) -> None:
    """The base of an adapter of an adapter, and the folder in which an index has its other parts."""
    for name in ("base", "parts"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "unet.safetensors").write_bytes(b"weights")
    for name, file, told in (
        ("first", "adapter.json", '{"base": "../base"}'),
        ("second", "adapter.json", '{"base": "../first"}'),
        ("flow", "model_index.json", '{"_base": "../parts"}'),
        ("circle", "adapter.json", '{"base": "../circle"}'),
        ("absent", "adapter.json", '{"base": "../nowhere"}'),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(told)
    before = {name: named(str(tmp_path / name))["models"] for name in ("second", "flow", "circle", "absent")}
    for name in ("base", "parts"):
        (tmp_path / name / "unet.safetensors").write_bytes(b"weighty")
    changed = {name for name, told in before.items() if named(str(tmp_path / name))["models"] != told}
    assert changed == {"second", "flow"}


def test_a_lora_is_known_by_its_file_and_its_weight(tmp_path: Path) -> None:
    file = tmp_path / "style.safetensors"
    file.write_bytes(b"style")
    before = named(str(tmp_path), lora=[f"{file}=0.5"])
    assert named(str(tmp_path), lora=[f"{file}=0.6"]) != before
    file.write_bytes(b"other")
    assert named(str(tmp_path), lora=[f"{file}=0.5"])["models"] != before["models"]


def test_a_model_of_the_hub_is_known_by_its_commit_or_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(identity.Unknown, match="which commit"):
        named("owner/name")
    commit = "0123456789" * 4
    repository = tmp_path / "models--owner--name"
    (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("gas.models.cache.hub_folder", lambda: tmp_path)
    assert dict(named("owner/name")["models"])["model"]["revision"] == commit


def test_a_file_that_an_option_names_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "words.json"
    file.write_text("[]")
    before = identity._files({"examples": str(file), "table": {"x": [str(tmp_path)]}}, {})
    assert set(before) == {str(file), str(tmp_path)}
    file.write_text("[1]")
    assert identity._files({"examples": str(file), "table": {"x": [str(tmp_path)]}}, {}) != before


# --- entries that are not what they should be -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["edits", "sizes", "seen", "regions", "plans"])
@pytest.mark.parametrize(
    "entry",
    [
        Entry(),
        Entry({"notes": []}),
        Entry({"notes": [], "edits": [], "regions": [], "plan": {}, "resolution": -1, "multiple": 0, "seed": "x"}),
        Entry(
            {
                "notes": [],
                "edits": [{"log": {}, "places": []}],
                "regions": [{"phrase": "dog"}],
                "plan": {"subtasks": []},
                "resolution": 64.5,
                "multiple": 8,
            },
            {"0.image": np.zeros((3, 3, 3), np.uint8)},
        ),
    ],
)
def test_a_whole_entry_with_wrong_values_is_a_miss(kind: str, entry: Entry) -> None:
    def run() -> EditResult:
        return prepare(session(), of_pixels(image()), Request(instruction="dog -> tiger"), seed=5).edit()

    first = run()
    there = [one for one in store().entries() if one.kind == kind]
    assert there
    for one in there:
        store().put(kind, one.path.name.split(".")[0], entry)
    ASKED.clear()
    assert same(run(), first) and (ASKED or kind == "seen")


@pytest.mark.parametrize("error", [identity.Unknown("which?"), PermissionError("not yours"), RuntimeError("a bug")])
def test_what_cannot_be_named_is_asked_and_not_kept(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def unnamed(*arguments: Any, **named: Any) -> Any:
        raise error

    monkeypatch.setattr(identity, "of_backend", unnamed)
    for _ in range(2):
        prepare(session(), of_pixels(image()), Request(instruction="dog -> tiger"), seed=5).edit()
    assert [one for one in ASKED if one != "size"] == ["planner", "grounder dog", "editor tiger"] * 2
    assert store().entries() == []


def test_a_cache_that_cannot_be_written_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GAS_CACHE_FOLDER", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="nothing more is kept in the cache"):
        result = job().edit()
    edits()
    assert same(result, fresh())


def test_nothing_secret_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-canary-0123456789")
    monkeypatch.setattr(reusing.Paints, "edit", _telling(reusing.Paints.edit))
    asked = Request(instruction="dog -> tiger", caption="sk-canary-0123456789")
    prepare(session(), of_pixels(image()), asked, seed=5).edit()
    whole = b"".join(
        path.read_bytes() + path.name.encode() for path in (tmp_path / "cache").rglob("*") if path.is_file()
    )
    values = [store().get(one.kind, one.path.name.split(".")[0]) for one in store().entries()]
    assert whole and b"canary" not in whole and "canary" not in repr(values) and "***" in repr(values)


def _telling(edit: Any) -> Any:
    def told(self: Any, one: EditJob) -> Edited:
        made = edit(self, one)
        return replace(made, log={**made.log, "said": f"refused the key {os.environ['SOME_API_KEY']}"})

    return told


# --- plans and regions ------------------------------------------------------------------------------------------------

PHOTO = of_pixels(image())
WORDS = Request(instruction="dog -> tiger; cat -> lion")


def test_a_planner_that_lets_its_answers_be_kept_is_asked_once_for_each_question() -> None:
    first = make_plan(session(), PHOTO, WORDS, seed=5)
    again = make_plan(session(), PHOTO, WORDS, seed=5)
    assert ASKED == ["planner"] and again.plan == first.plan and again.planner == first.planner
    for other in (
        lambda: make_plan(session(), PHOTO, WORDS, seed=6),
        lambda: make_plan(session(), PHOTO, replace_words(caption="x"), seed=5),
        lambda: make_plan(session(), PHOTO, replace_words(instruction="dog -> horse"), seed=5),
        lambda: make_plan(session(), of_pixels(image()[::-1].copy()), WORDS, seed=5),
        lambda: make_plan(session(options={"plans": {"preserve_shape": True}}), PHOTO, WORDS, seed=5),
        lambda: make_plan(session(cache=False), PHOTO, WORDS, seed=5),
    ):
        ASKED.clear()
        other()
        assert ASKED == ["planner"]


def replace_words(**changes: Any) -> Request:
    return WORDS.model_copy(update=changes)


def test_another_planner_is_always_asked() -> None:
    for _ in range(2):
        make_plan(session(planner="forgets"), PHOTO, WORDS, seed=5)
    assert ASKED == ["planner", "planner"] and store().entries() == []


def test_where_a_planner_would_send_to_is_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    make_plan(session(), PHOTO, WORDS, seed=5)
    monkeypatch.setattr(reusing.Plans, "preview", lambda self, request: Preview(address="http://elsewhere"))
    make_plan(session(), PHOTO, WORDS, seed=5)
    assert ASKED == ["planner", "planner"]


def test_who_may_not_be_asked_is_not_answered_from_the_cache_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planner that sends the picture away, chosen by a record or a profile."""
    make_plan(session(), PHOTO, WORDS, seed=5)
    monkeypatch.setattr(reusing.Plans, "remote", property(lambda self: True))
    chosen = session()
    monkeypatch.setattr(chosen.settings, "said_by_user", lambda name: False)
    with pytest.raises(UsageError, match="sends the picture"):
        make_plan(chosen, PHOTO, WORDS, seed=5)


def test_the_planners_of_the_toolkit_that_ask_a_model_are_kept_and_no_others() -> None:
    registry = Registry.discover()
    names = [spec.name for spec in registry.specs("planners")]
    kept = {name for name in names if registry.load("planners", name).reusable}
    assert kept == {"ollama", "openai", "transformers"} & set(names) and "rules" in names and "auto" in names


def grounded(the_plan: Any = None, **flags: Any) -> tuple[Region, ...]:
    return session(**flags).ground(image(), the_plan or plan("tiger", "lion"))


def test_what_was_found_is_found_again_when_only_a_target_has_changed() -> None:
    first = grounded()
    again = grounded(plan("a horse", "lion"))
    assert ASKED == ["grounder dog, cat"]
    for one, other in zip(first, again, strict=True):
        assert (one.mask == other.mask).all() and one.mask.dtype == other.mask.dtype
        assert replace(one, mask=None) == replace(other, mask=None) and one.note == "in the dark"
    grounded(plan("tiger"))
    assert ASKED == ["grounder dog, cat", "grounder dog"]


def test_a_grounder_that_reads_the_plan_or_sends_away_is_asked() -> None:
    grounded(grounders=("reads",))
    grounded(grounders=("reads",))
    assert len(ASKED) == 1
    grounded(plan("a horse", "lion"), grounders=("reads",))
    assert len(ASKED) == 2
    ASKED.clear()
    for _ in range(2):
        grounded(grounders=("sends",))
    assert len(ASKED) == 2


def test_what_is_not_found_is_looked_for_again() -> None:
    for _ in range(2):
        with pytest.raises(ObjectNotFound):
            session().ground(
                image(), plan().model_copy(update={"subtasks": (Subtask(source="unicorn", target="horse"),)})
            )
    assert len(ASKED) == 2


def test_a_prepared_job_says_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> Any:
        return prepare(session(), PHOTO, WORDS, seed=5)

    first, second = run(), run()
    assert first.reused == () and first.notes == second.notes == ("it is dark",)
    assert second.reused == (Told("plan", "plans"), Told("regions", "finds", ("dog", "cat")))
    assert [one.note for one in second.regions] == ["in the dark"] * 2


def test_a_stop_ends_a_run_whatever_is_kept() -> None:
    job().edit()
    with pytest.raises(Interrupted):
        prepare(session(), PHOTO, WORDS, seed=5, watch=Watch(should_stop=lambda: True))


# --- when -------------------------------------------------------------------------------------------------------------


def test_a_program_says_when_it_wants_a_cache_and_a_person_when_not(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = session().registry
    assert Session.of(registry=registry, profile="diorama").stages is None
    assert Session.of(registry=registry, profile="diorama", cache=True).stages is not None
    monkeypatch.delenv("GAS_CACHE", raising=False)
    assert Session.load({"profile": "diorama"}, registry=registry).stages is not None
    assert Session.load({"profile": "diorama", "cache": False}, registry=registry).stages is None
    monkeypatch.setenv("GAS_CACHE", "0")
    assert Session.load({"profile": "diorama"}, registry=registry).stages is None


def test_a_run_that_is_made_again_has_no_cache(tmp_path: Path) -> None:
    """Even where whoever opens the session wants one: a replay shows what this machine makes now."""
    done = job(plan("tiger")).run(tmp_path / "out.png")
    edits()
    again = replay.again(done.record, of_pixels(image()), lambda flags: session(**{"cache": True, **flags}))
    assert again.session.stages is None
    assert (again.edit().image == done.result.image).all() and edits() == ["tiger"]


def test_a_new_session_for_another_editor_has_stages_of_its_own() -> None:
    chosen = session()
    other = chosen.with_editor("confines")
    assert other.stages is not None and other.stages.session is other


def test_the_size_that_may_be_kept_is_a_setting() -> None:
    stages = session(cache_size="5MB").stages
    assert stages is not None and stages.store.limit == 5_000_000
    with pytest.raises(UsageError, match="cache_size"):
        session(cache_size="much")


def test_the_key_has_all_of_an_array() -> None:
    image_hash = identity.of_array(image())
    assert image_hash != identity.of_array(image().reshape(128, 512, 3))
    assert identity.of_array(np.zeros((2, 4), np.uint8)) != identity.of_array(np.zeros((2, 4), bool))
    assert len(image_hash) == len(hashlib.sha256().hexdigest())
