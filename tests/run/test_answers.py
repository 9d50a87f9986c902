"""Whatever a stranger's backend returns, raises or leaves behind is named as its fault."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_backends
import numpy as np
import pytest

from gas.backends import running
from gas.backends.registry import Registry
from gas.backends.spec import BackendSpec
from gas.errors import GasError, InputRefused, OutOfResources, PluginBroken, UsageError
from gas.interfaces import Edited, EditJob, GroundJob
from gas.run.session import Session
from gas.testing import fakes
from gas.types import EditPlan, EditRequest, Region, Subtask

IMAGE = np.random.default_rng(3).integers(0, 200, (64, 64, 3), dtype=np.uint8)
PLAN = EditPlan(subtasks=(Subtask(source="dog", target="tiger"),))
NAMES = ("planner", "arrows"), ("grounder", "places"), ("editor", "painter")


def session(**flags: Any) -> Session:
    options = {"places": {"boxes": {"dog": [0.1, 0.1, 0.7, 0.7]}}}
    chosen = {"planner": "arrows", "editor": "painter", "profile": "diorama", "grounders": ("places",)}
    return Session.of(registry=fake_backends.registry(), **{**chosen, "options": options, **flags})


def edit(chosen: Session | None = None) -> Any:
    return (chosen or session()).edit(IMAGE, PLAN, seed=1)


def painted(**changes: Any) -> Callable[[Any, EditJob], Any]:
    return lambda self, job: replace(Edited(np.full_like(job.image, 90)), **changes)


def shape(job: EditJob) -> tuple[int, int]:
    return job.image.shape[:2]


EDITS: dict[str, Any] = {
    "None": lambda self, job: None,
    "a picture alone": lambda self, job: np.zeros_like(job.image),
    "image None": painted(image=None),
    "image a list": lambda self, job: Edited(job.image.tolist()),
    "floats": lambda self, job: Edited(job.image / 255),
    "grey": lambda self, job: Edited(job.image[..., 0]),
    "smaller": lambda self, job: Edited(job.image[:8, :8]),
    "mask as text": painted(mask="everywhere"),
    "mask of another size": painted(mask=np.ones((2, 2))),
    "mask of words": lambda self, job: Edited(job.image, mask=np.full(shape(job), "x")),
    "mask not finite": lambda self, job: Edited(job.image, mask=np.full(shape(job), np.nan)),
    "mask of 255": lambda self, job: Edited(job.image, mask=np.full(shape(job), 255.0)),
    "stopped maybe": painted(stopped="perhaps"),
    "log a list": painted(log=[1, 2]),
    "log with an array": painted(log={"loss": np.ones(3)}),
    "log with NaN": painted(log={"loss": float("nan")}),
    "log that holds itself": painted(log=(lambda log: log.update(log=log) or log)({})),
    "notes that are no sentences": painted(log={"notes": [1]}),
    "unedited of another size": painted(unedited=np.zeros((2, 2, 3), np.uint8)),
    "places of no list": painted(places=3),
    "places that are none": painted(places=[1]),
    "a place of another subtask": painted(places=[Region("", mask=np.ones((64, 64), np.float32), subtask=7)]),
    "a place of another size": painted(places=[Region("", mask=np.ones((2, 2), np.float32), subtask=0)]),
    "a place not finite": painted(places=[Region("", mask=np.full((64, 64), np.nan), subtask=0)]),
}


@pytest.mark.parametrize("returned", EDITS.values(), ids=EDITS)
def test_an_editors_garbage_is_its_fault(returned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeEditor, "edit", returned)
    with pytest.raises(PluginBroken, match=r"fake_backends.*'painter': returned") as caught:
        edit()
    assert "EditorContract" in caught.value.remedy


@pytest.mark.parametrize("size", [0, -8, 8.0, "8", True, None, 10**9])
@pytest.mark.parametrize("name", ["resolution", "multiple"])
def test_a_size_that_is_no_number_is_its_fault(size: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if (name, size) == ("resolution", None):
        size = float("nan")  # None says that it works on the photograph's own pixels
    monkeypatch.setattr(fakes.FakeEditor, name, lambda self: size)
    with pytest.raises(PluginBroken, match=rf"'painter': {name}\(\)"):
        edit()


PLANS: dict[str, Any] = {
    "None": None,
    "a dict": {"subtasks": []},
    "no subtasks": EditPlan.model_construct(subtasks=()),
    "subtasks of text": EditPlan.model_construct(subtasks=("dog",)),
    "half made": EditPlan.model_construct(),
    "a phrase of bytes": EditPlan.model_construct(subtasks=(Subtask.model_construct(source=b"\xff", target=3),)),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_a_planners_garbage_is_its_fault(plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakePlanner, "plan", lambda self, request: plan)
    with pytest.raises(PluginBroken, match=r"'arrows': returned"):
        session().plan(EditRequest(IMAGE, "dog -> tiger"))


MASK = np.ones((64, 64), np.float32)
PLACES: dict[str, Any] = {
    "None": None,
    "a generator": (one for one in ()),
    "nothing": [],
    "text": ["dog"],
    "another subtask": [Region("dog", mask=MASK, subtask=3)],
    "no subtask": [Region("dog", mask=MASK)],
    "subtask as a list": [Region("dog", mask=MASK, subtask=[0])],  # type: ignore[arg-type]
    "box outside": [Region("dog", box=(500, 500, 600, 600), subtask=0)],
    "box inverted": [Region("dog", box=(40, 40, 2, 2), subtask=0)],
    "box not finite": [Region("dog", box=(0, 0, float("nan"), 9), subtask=0)],
    "box of text": [Region("dog", box="left", subtask=0)],  # type: ignore[arg-type]
    "box of one number": [Region("dog", box=3, subtask=0)],  # type: ignore[arg-type]
    "mask a list": [Region("dog", mask=[[1]], subtask=0)],
    "mask of another size": [Region("dog", mask=np.ones((3, 3), np.float32), subtask=0)],
    "mask empty": [Region("dog", mask=np.zeros((64, 64), np.float32), subtask=0)],
    "mask not finite": [Region("dog", mask=np.full((64, 64), np.inf, np.float32), subtask=0)],
    "score as text": [Region("dog", mask=MASK, subtask=0, score="high")],  # type: ignore[arg-type]
    "score not finite": [Region("dog", mask=MASK, subtask=0, score=float("nan"))],
    "phrase None": [Region(None, mask=MASK, subtask=0)],  # type: ignore[arg-type]
}


@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
def test_a_grounders_garbage_is_its_fault(places: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeGrounder, "ground", lambda self, job: places)
    with pytest.raises(PluginBroken, match=r"'places': returned"):
        session().ground(IMAGE, PLAN, required=True)


# --- what is raised ---------------------------------------------------------------------------------------------------


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Zero(UsageError):
    exit_code = 0


class Half(GasError):
    def __init__(self) -> None:
        pass


def raising(error: BaseException) -> Any:
    def edit(self: Any, job: EditJob) -> Edited:
        raise error

    return edit


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), Mute(), Zero("a", "b"), Half(), GasError("plain"), UsageError(""), SystemExit(0), GeneratorExit(),
     StopIteration(3), RecursionError("deep")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_is_raised_is_its_fault(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeEditor, "edit", raising(error))
    with pytest.raises(PluginBroken, match=r"'painter': failed: " + type(error).__name__):
        edit()


def test_errors_that_have_a_name_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeEditor, "edit", raising(InputRefused("too dark", "brighten it")))
    with pytest.raises(InputRefused, match="too dark"):
        edit()


def test_memory_is_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeEditor, "edit", raising(MemoryError()))
    with pytest.raises(OutOfResources, match="painter"):
        edit()


def test_ctrl_c_passes_and_a_backends_own_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeEditor, "edit", lambda self, job: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            edit()
    finally:
        signal.signal(signal.SIGINT, before)
    own = {"__name__": "gas.testing.fakes"}  # the plugin's package, as the spec says it
    exec("def edit(self, job):\n    raise KeyboardInterrupt", own)
    monkeypatch.setattr(fakes.FakeEditor, "edit", own["edit"])
    with pytest.raises(PluginBroken, match="KeyboardInterrupt"):
        edit()


# --- what is left behind ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_the_working_folder_is_put_back(fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(self: Any, job: EditJob) -> Edited:
        os.chdir(tmp_path)
        if fails:
            raise ValueError("and failed")
        return Edited(np.full_like(job.image, 90))

    monkeypatch.setattr(fakes.FakeEditor, "edit", gone)
    before = os.getcwd()
    with pytest.raises(PluginBroken, match="and failed" if fails else "working folder"):
        edit()
    assert os.getcwd() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_does_not_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[int] = []

    def forked(self: Any, job: EditJob) -> Edited:
        if child := os.fork():
            children.append(child)
        return Edited(np.full_like(job.image, 90))

    monkeypatch.setattr(fakes.FakeEditor, "edit", forked)
    parent = os.getpid()
    try:
        edit()
    finally:
        if os.getpid() != parent:
            os._exit(77)  # it came back
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_run_that_ends_without_a_word_names_the_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = session()
    chosen.registry.runs = tmp_path
    monkeypatch.setattr(fakes.FakeEditor, "edit", lambda self, job: os._exit(0))
    if not (child := os.fork()):
        edit(chosen)
        os._exit(77)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    (said,) = running.unfinished(tmp_path)
    assert "editor 'painter' of this program" in said
    assert running.unfinished(tmp_path) == []


def test_a_backend_at_work_is_not_reported_and_leaves_no_mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def look(self: Any, job: EditJob) -> Edited:
        seen.extend([list(tmp_path.iterdir()), running.unfinished(tmp_path)])
        return Edited(np.full_like(job.image, 90))

    chosen = session()
    chosen.registry.runs = tmp_path
    monkeypatch.setattr(fakes.FakeEditor, "edit", look)
    edit(chosen)
    assert len(seen[0]) == 1 and seen[1] == [] and list(tmp_path.iterdir()) == []


# --- a segmenter that an editor calls ---------------------------------------------------------------------------------

SEGMENTS: dict[str, Any] = {
    "None": None,
    "words": ["a", "b"],
    "a segment of nothing": [Region("")],
    "another size": [Region("", mask=np.ones((3, 3), np.float32))],
    "not finite": [Region("", mask=np.full((64, 64), np.nan))],
    "out of range": [Region("", mask=np.full((64, 64), 7.0))],
}


def segmented(monkeypatch: pytest.MonkeyPatch, answer: Callable[[Any, Any], Any]) -> Any:
    """An edit by an editor that asks its segmenter for all segments."""

    def ask(self: Any, job: EditJob) -> Edited:
        assert job.segmenter is not None
        found = job.segmenter.ground(GroundJob(job.image))
        return Edited(np.full_like(job.image, 90), mask=found[0].mask)

    monkeypatch.setattr(fakes.FakeEditor, "edit", ask)
    monkeypatch.setattr(fakes.FakeGrounder, "ground", answer)
    return edit()


@pytest.mark.parametrize("answer", SEGMENTS.values(), ids=SEGMENTS)
def test_a_segmenters_garbage_is_its_fault_and_not_the_editors(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PluginBroken, match=r"'places': returned") as caught:
        segmented(monkeypatch, lambda self, job: answer)
    assert "GrounderContract" in caught.value.remedy


def test_a_segmenter_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, job: Any) -> Any:
        raise KeyError("segments")

    with pytest.raises(PluginBroken, match=r"'places': failed: KeyError"):
        segmented(monkeypatch, fail)


def test_a_sound_segmenter_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    half = np.zeros((64, 64), np.float32)
    half[:, :32] = 1
    made = segmented(monkeypatch, lambda self, job: [Region("", mask=half)])
    assert (made.image[:, :24] != IMAGE[:, :24]).any() and np.array_equal(made.image[:, 32:], IMAGE[:, 32:])


# --- what is declared -------------------------------------------------------------------------------------------------


def registry_of(spec: BackendSpec, **made: Any) -> Registry:
    from gas.backends.hookspecs import hookimpl

    module = SimpleNamespace(__name__="strange", gas_register_editors=hookimpl(lambda: [spec]))
    return Registry(plugins="none").add(module)


def declared(monkeypatch: pytest.MonkeyPatch, kind: type) -> Registry:
    monkeypatch.setitem(sys.modules, "strange_kind", SimpleNamespace(Kind=kind))  # type: ignore[arg-type]
    monkeypatch.setattr("gas.backends.probe._target_missing", lambda *args, **more: None)
    return registry_of(BackendSpec("strange", "strange_kind:Kind", "declares nonsense"))


def test_presets_on_the_wrong_class_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = declared(monkeypatch, type("Kind", (fakes.FakeEditor,), {"presets": {"fast": {"steps": 1}}}))
    with pytest.raises(PluginBroken, match="presets belong to its options_type"):
        registry.load("editors", "strange")


@pytest.mark.parametrize("presets", [[1], {"fast": 3}, {3: {}}])
def test_presets_of_another_form_are_an_error(presets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    options = type("O", (fakes.FakeEditorOptions,), {"presets": presets, "__annotations__": {}})
    registry = declared(monkeypatch, type("Kind", (fakes.FakeEditor,), {"options_type": options}))
    with pytest.raises(PluginBroken, match="preset"):
        registry.load("editors", "strange")


def test_an_init_that_forgets_its_base_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type("Kind", (fakes.FakeEditor,), {"__init__": lambda self, options, runtime: None})
    with pytest.raises(PluginBroken, match="__init__"):
        declared(monkeypatch, kind).create("editors", "strange", {}, session().runtime)


@pytest.mark.parametrize(("api", "who"), [(2, "upgrade gas"), (99, "upgrade gas")])
def test_a_plugin_of_another_interface_is_not_used(api: int, who: str) -> None:
    registry = registry_of(BackendSpec("later", "gas.testing.fakes:FakeEditor", "of another version", api=api))
    with pytest.raises(PluginBroken, match=rf"version {api} of the plugin interface.*{who}"):
        registry.find("editors", "later")


@pytest.mark.parametrize("api", ["1", 1.0, True, 0, None])
def test_an_api_that_is_no_version_is_refused(api: Any) -> None:
    with pytest.raises(TypeError, match="api"):
        BackendSpec("x", "gas.testing.fakes:FakeEditor", "", api=api)
