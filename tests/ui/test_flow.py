"""The whole way from a dropped photograph to the file that `gas edit` would have written, as the page goes it."""

from __future__ import annotations

import io
import json
import shlex
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures
from served import FAKE, PLACES, Page
from starlette.testclient import TestClient

from gas.backends.hookspecs import hookimpl
from gas.backends.roles import CHOSEN, EDITORS, VERIFIERS
from gas.backends.spec import BackendSpec
from gas.errors import ModelUnavailable
from gas.interfaces import Editor, Planner
from gas.preview import Preview
from gas.remedies import Option, Remedy
from gas.run.job import prepare
from gas.settings.settings import Values
from gas.testing import fakes
from gas_cli.app import app
from gas_cli.run import run
from gas_ui import views
from gas_ui.choices import ELSEWHERE, NO_FLAGS
from gas_ui.command import edit_line
from gas_ui.desk import Desk
from gas_ui.picture import file_name
from gas_ui.preflight import remote_backends
from gas_ui.progress import Progress
from gas_ui.tasks import Task

ASKED = "dog -> tiger; grass -> snow"


def png(width: int = 120, height: int = 90, seed: int = 1) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 200, (height, width, 3), dtype=np.uint8)
    Pictures.fromarray(noise).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def planned(page: Page) -> Page:
    """A photograph with its plan and regions."""
    assert page.drop(png(), "dog.png").status_code == 200
    assert page.do("/plan", {"instruction": ASKED})["error"] is None
    return page


def edited(page: Page, **body: Any) -> dict[str, Any]:
    """The card of one more edit."""
    task = page.do("/edit", body)
    assert task["error"] is None, task
    card: dict[str, Any] = page.state["edits"][0]
    return card


def of_the_command(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The file that a `gas edit` line writes in `folder`."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", [*shlex.split(line), "-o", "by-hand.png", "--overwrite"])
    with pytest.raises(SystemExit) as ended:
        run(app)
    assert not ended.value.code
    return (folder / "by-hand.png").read_bytes()


# --- the way through --------------------------------------------------------------------------------------------------


def test_the_file_is_the_one_that_gas_edit_writes(
    planned: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = planned.state
    assert [(row["source"], row["target"]) for row in state["rows"]] == [("dog", "tiger"), ("grass", "snow")]
    assert [place["phrase"] for place in state["places"]] == ["dog", "grass"]
    assert state["sheet"]["leaves"] == [] and state["sheet"]["missing"] == []
    card = edited(planned)
    assert card["name"] == "dog-edited.png" and card["outside"] == 0 and not card["by_hand"]
    (tmp_path / "dog.png").write_bytes(png())
    mine = planned.get(f"/edits/{card['number']}/picture")
    assert 'filename="dog-edited.png"' in mine.headers["content-disposition"]
    line = card["command"]
    assert shlex.split(line)[:4] == ["gas", "edit", "dog.png", ASKED] and "-o 'places.boxes=" in line
    assert mine.content == of_the_command(line, tmp_path, monkeypatch)
    record = json.loads(planned.get(f"/edits/{card['number']}/record").content)
    assert record["asked"]["instruction"] == ASKED and record["planner"]["name"] == "arrows"
    assert record["profile_from"] == "--profile"


def test_the_command_has_no_tries_where_nothing_is_checked() -> None:
    """Both together are refused."""
    line = edit_line("dog.png", ASKED, {"verify": False, "tries": 3}, 1, by_hand=False, masks=False)
    assert "--no-verify" in line and "--tries" not in line
    assert "--tries 3" in edit_line("dog.png", ASKED, {"verify": True, "tries": 3}, 1, by_hand=False, masks=False)


def test_what_was_changed_by_hand_comes_as_a_plan_and_masks(
    planned: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = planned.state["rows"]
    rows[0]["target"] = "lion"
    assert planned.put("/plan", {"rows": rows, "sentences": planned.state["sentences"]}).status_code == 200
    card = edited(planned)
    assert card["by_hand"] and "--plan plan.json --masks masks" in card["command"]
    (tmp_path / "dog.png").write_bytes(png())
    archive = zipfile.ZipFile(io.BytesIO(planned.get(f"/edits/{card['number']}/plan.zip").content))
    archive.extractall(tmp_path)
    assert json.loads((tmp_path / "plan.json").read_text())["subtasks"][0]["target"] == "lion"
    by_hand = of_the_command(card["command"], tmp_path, monkeypatch)
    mine = planned.get(f"/edits/{card['number']}/picture").content
    assert np.array_equal(*(np.asarray(Pictures.open(io.BytesIO(one))) for one in (mine, by_hand)))


def test_rows_are_switched_off_added_and_removed(planned: Page) -> None:
    rows = planned.state["rows"]
    rows[1]["on"] = False
    assert planned.put("/plan", {"rows": rows, "sentences": ["", ""]}).status_code == 200
    card = edited(planned)
    assert [one["what"] for one in card["changes"]] == ["dog → tiger"]
    rows = [planned.state["rows"][0], {"action": "remove", "source": "grass", "on": True}]
    assert planned.put("/plan", {"rows": rows, "sentences": ["", ""]}).status_code == 200
    assert [one["what"] for one in edited(planned)["changes"]] == ["dog → tiger", "remove grass"]
    off = [{**row, "on": False} for row in planned.state["rows"]]
    assert planned.put("/plan", {"rows": off, "sentences": ["", ""]}).json()["error"]["message"].startswith("every")
    wrong = [{**rows[0], "target": ""}]
    assert "change 1" in planned.put("/plan", {"rows": wrong, "sentences": ["", ""]}).json()["error"]["message"]


def test_an_edit_is_the_same_again_and_another_with_another_seed(planned: Page) -> None:
    planned.put("/flags", {**FAKE, "options": {"places": PLACES, "painter": {"grain": "40"}}})
    planned.do("/plan", {"instruction": ASKED})
    first = edited(planned)
    other = edited(planned, other_seed=True)
    assert first["seed"] != other["seed"]
    pictures = [planned.get(f"/edits/{one['number']}/picture").content for one in (first, other)]
    assert pictures[0] != pictures[1]


def test_an_edit_from_the_cache_says_so(planned: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAS_CACHE", "true")
    planned.put("/flags", {**FAKE, "options": {"places": PLACES}})
    planned.do("/plan", {"instruction": ASKED})
    first, second = edited(planned), edited(planned)
    assert not any("from the cache" in note for note in first["notes"])
    assert any("from the cache" in note and "painter" in note for note in second["notes"])
    pictures = [planned.get(f"/edits/{one['number']}/picture").content for one in (first, second)]
    assert pictures[0] == pictures[1]
    planned.do("/plan", {"instruction": ASKED})
    assert planned.state["sheet"]["reused"] == "from the cache: regions (places)"
    seconds = planned.state["sheet"]["seconds"]
    assert seconds == pytest.approx(first["seconds"])  # as long as what was really made


def test_stop_keeps_what_was_reached_and_resume_ends_as_if_nothing_had_happened(
    planned: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = planned.get(f"/edits/{edited(planned)['number']}/picture").content
    step = fakes.FakeEditor.edit

    def stopping(self: Any, job: Any) -> Any:
        task = planned.desk.windows[planned.id].task
        assert task is not None
        planned.desk.tasks.stop(task)
        return step(self, job)

    monkeypatch.setattr(fakes.FakeEditor, "edit", stopping)
    task = planned.do("/edit")
    card = planned.state["edits"][0]
    if card["done"]:  # stopped after at least one step
        assert task["state"] == "stopped" and card["stopped"]
    monkeypatch.setattr(fakes.FakeEditor, "edit", stop_after_two(planned, step))
    planned.do("/edit")
    card = planned.state["edits"][0]
    assert card["stopped"] and card["resumable"]
    monkeypatch.setattr(fakes.FakeEditor, "edit", step)
    assert planned.do(f"/edits/{card['number']}/resume")["error"] is None
    resumed = planned.state["edits"][0]
    assert not resumed["stopped"] and not resumed["resumable"]
    assert planned.get(f"/edits/{card['number']}/picture").content == whole


def stop_after_two(page: Page, edit: Any) -> Any:
    """`FakeEditor.edit` during whose second step somebody presses Stop."""
    from dataclasses import replace

    def stopping(self: Any, job: Any) -> Any:
        told = job.watch.on_step

        def on_step(step: Any) -> None:
            told(step)
            if step.index == 2:
                window = page.desk.windows[page.id]
                assert window.task is not None
                assert page.post(f"/tasks/{window.task.id}/stop").status_code == 200

        return edit(self, replace(job, watch=replace(job.watch, on_step=on_step)))

    return stopping


def test_editors_are_compared_on_the_same_plan_and_seed(planned: Page) -> None:
    assert planned.do("/compare", {"editors": ["painter", "retouch"]})["error"] is None
    cards = planned.state["edits"]
    assert [one["editor"] for one in cards] == ["retouch", "painter"] and cards[0]["group"] == cards[1]["group"]
    assert cards[1]["done"] and cards[0]["error"]  # the one that cannot stops no other
    assert planned.post("/compare", {"editors": ["painter"]}).status_code == 422


def pixels(page: Page, card: dict[str, Any]) -> np.ndarray:
    return np.asarray(Pictures.open(io.BytesIO(page.get(f"/edits/{card['number']}/picture").content)))


def grainy(page: Page) -> dict[str, Any]:
    """The card of an edit that another seed would make otherwise."""
    page.put("/flags", {**FAKE, "options": {"places": PLACES, "painter": {"grain": "40"}}})
    page.do("/plan", {"instruction": ASKED})
    return edited(page)


def test_one_change_is_made_again_accepted_and_then_another(
    planned: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = grainy(planned)
    masks = [planned.get(f"/places/{place['id']}").content for place in planned.state["places"]]
    areas = [np.frombuffer(one, np.uint8).reshape(90, 120) > 0 for one in masks]
    for change in (0, 1, 0):
        before = pixels(planned, card)
        assert planned.do(f"/edits/{card['number']}/redo", {"change": change})["error"] is None
        offer = planned.state["edits"][0]
        assert (offer["parent"], offer["redone"], offer["offered"]) == (card["number"], change, True)
        assert [one["what"] for one in offer["changes"]] == ["dog → tiger", "grass → snow"]
        state = planned.post(f"/edits/{offer['number']}/accept").json()
        card = state["edits"][0]
        assert not card["offered"] and planned.post(f"/edits/{card['number']}/accept").status_code == 422
        after, mine = pixels(planned, card), areas[change]
        assert (before[mine] != after[mine]).any() and np.array_equal(before[~mine], after[~mine])
    record = json.loads(planned.get(f"/edits/{card['number']}/record").content)
    attempts = record["verified"]["attempts"]
    assert [(one["finding"]["subtask"], one["asked"], one["kept"]) for one in attempts] == [
        (0, True, "accepted"),
        (1, True, "accepted"),
        (0, True, "accepted"),
    ]
    assert card["changes"][0]["tried"][0] == "made again by hand with painter; kept"
    # what was accepted is made again by the command on the card
    assert card["command"] == "gas replay dog-edited.png --input dog.png" and card["from_record"]
    mine_bytes = planned.get(f"/edits/{card['number']}/picture").content
    (tmp_path / "dog-edited.png").write_bytes(mine_bytes)
    (tmp_path / "dog.png").write_bytes(png())
    assert of_the_command(card["command"], tmp_path, monkeypatch) == mine_bytes


def test_what_is_thrown_away_is_gone(planned: Page) -> None:
    card = grainy(planned)
    planned.do(f"/edits/{card['number']}/redo", {"change": 0})
    first = planned.state["edits"][0]
    undecided = planned.do(f"/edits/{first['number']}/redo", {"change": 1})["error"]["message"]
    assert "not decided on" in undecided and planned.state["edits"][0]["number"] == first["number"]
    planned.do(f"/edits/{card['number']}/redo", {"change": 1})  # an offer makes room for the next
    second = planned.state["edits"][0]
    assert [one["number"] for one in planned.state["edits"]] == [second["number"], card["number"]]
    assert first["number"] != second["number"]
    folder = planned.desk.windows[planned.id].edits[-1].out.parent
    assert folder.is_dir()
    state = planned.post(f"/edits/{second['number']}/discard").json()
    assert [one["number"] for one in state["edits"]] == [card["number"]] and not folder.exists()
    assert planned.post(f"/edits/{card['number']}/discard").status_code == 422


def test_a_change_that_cannot_be_made_again_leaves_no_card(planned: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    card = edited(planned)
    assert "no change 8" in planned.do(f"/edits/{card['number']}/redo", {"change": 7})["error"]["message"]
    task = planned.do(f"/edits/{card['number']}/redo", {"change": 0, "editor": "retouch"})
    assert task["error"] and [one["number"] for one in planned.state["edits"]] == [card["number"]]


# --- whether it is there ----------------------------------------------------------------------------------------------

CHECKED = {**FAKE, "verify": True, "verifier": "colour-eye"}


def test_each_change_is_checked_where_that_is_asked_for(
    planned: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = [place["id"] for place in planned.state["places"]]
    told = planned.put("/flags", {**CHECKED, "options": {"places": PLACES, "colour-eye": {"tolerance": "100"}}})
    assert told.status_code == 200
    planned.do("/plan", {"instruction": ASKED})
    card = edited(planned)
    assert places and [one["verdict"] for one in card["changes"]] == ["done", "done"]
    assert card["changes"][0]["answer"].startswith("yes (fake ") and card["changes"][0]["remedy"] == ""
    assert "--verify" in card["command"] and "--verifier colour-eye" in card["command"]
    (tmp_path / "dog.png").write_bytes(png())
    mine = planned.get(f"/edits/{card['number']}/picture").content
    assert mine == of_the_command(card["command"], tmp_path, monkeypatch)


def test_what_is_not_there_is_diagnosed_in_the_pages_words(planned: Page) -> None:
    options = {"places": PLACES, "painter": {"colour": "0,0,250"}}
    planned.put("/flags", {**CHECKED, "options": options})
    planned.do("/plan", {"instruction": ASKED})
    task = planned.do("/edit")
    assert task["error"] is None and task["state"] == "done"  # the picture is written, as by the command
    for one in planned.state["edits"][0]["changes"]:
        assert one["verdict"] == "not done" and one["answer"].startswith("no, it has another colour")
        assert "tries" in one["remedy"] and "--" not in one["remedy"] and one["evidence"]


class Redder:
    """A plugin with one more editor, which paints as the verifier wants it."""

    @hookimpl
    def gas_register_editors(self) -> tuple[BackendSpec, ...]:
        return (BackendSpec("redder", "gas.testing.fakes:FakeEditor", "paints red"),)


def test_what_is_not_there_is_tried_again(planned: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    begin = Progress.begin
    monkeypatch.setattr(
        Progress, "begin", lambda self, *told, **more: (names.append(told[0]), begin(self, *told, **more))
    )
    planned.desk.registry.add(Redder())
    options = {"places": PLACES, "painter": {"colour": "0,0,250"}, "colour-eye": {"tolerance": "100"}}
    flags = {**CHECKED, "tries": 3, "retry_editors": ["retouch", "redder"], "options": options}
    assert planned.put("/flags", flags).status_code == 200
    planned.do("/plan", {"instruction": "dog -> tiger"})
    card = edited(planned)
    (change,) = card["changes"]
    assert (change["verdict"], change["editor"]) == ("done", "redder") and "retry" in names
    assert [one.split(":")[0] for one in change["tried"]] == ["tried again with redder"]
    assert any(note.startswith("retouch does not try 'tiger' again") for note in card["notes"])
    assert "--tries 3" in card["command"] and "--retry-editor retouch --retry-editor redder" in card["command"]


def test_checking_keeps_the_regions_that_were_found(planned: Page) -> None:
    before = planned.state["places"]
    state = planned.put("/flags", {**planned.state["flags"], **CHECKED, "tries": 3}).json()
    assert state["places"] == before and state["sheet"]["editor"] == "painter"
    assert edited(planned)["changes"][0]["verdict"] is not None
    wrong = planned.put("/flags", {**planned.state["flags"], "budget": "soon"})
    assert wrong.status_code == 422 and planned.state["flags"]["tries"] == 3


def test_nobody_is_asked_where_it_was_not_asked_for(planned: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes.FakeVerifier, "verify", lambda self, job: pytest.fail("asked"))
    (first, second) = edited(planned)["changes"]
    assert first["verdict"] is None and second["verdict"] is None and "answer" not in first


def test_a_verifier_is_agreed_to_as_any_other(page: Page, remote: list[str]) -> None:
    page.put("/flags", {**page.state["flags"], **CHECKED})
    page.drop(png(), "dog.png")
    page.do("/plan", {"instruction": ASKED, "agreed": ["planner arrows"]})
    task = page.do("/edit")
    assert [one["key"] for one in task["asks"]] == ["editor painter", "verifier colour-eye"]
    assert all("far.example" in "\n".join(one["lines"]) for one in task["asks"]) and remote == ["plan"]
    page.do("/edit", {"agreed": ["editor painter"]})
    assert remote == ["plan"]
    page.do("/edit", {"agreed": ["editor painter", "verifier colour-eye"]})
    assert remote == ["plan", "edit", "verify"]


def test_whoever_would_try_again_is_agreed_to_too(page: Page, remote: list[str]) -> None:
    window = page.desk.windows[page.id]
    flags = {"editor": "retouch", "verify": True, "verifier": "pixels", "retry_editors": ["painter"]}

    def leaving(**more: Any) -> list[str]:
        return [name for _, name in remote_backends(window.session({**flags, **more}), (EDITORS, VERIFIERS))]

    assert leaving(tries=2) == ["painter"] and leaving(tries=1) == [] and leaving(tries=2, verify=False) == []
    assert leaving(verifier="colour-eye") == ["colour-eye"]


def test_an_edit_opens_again_with_everything(planned: Page) -> None:
    first = edited(planned)
    planned.drop(png(seed=2), "other.png")
    assert planned.state["rows"] == []
    state = planned.post(f"/edits/{first['number']}/open").json()
    assert state["picture"]["name"] == "dog.png" and state["instruction"] == ASKED
    assert [row["target"] for row in state["rows"]] == ["tiger", "snow"] and len(state["places"]) == 2
    assert edited(planned)["seed"] == first["seed"]


def test_an_opened_edit_says_what_would_run(planned: Page, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = ModelUnavailable("it has no model", Remedy("", "name one: {model}", model=Option({"model": None}, "eye")))
    monkeypatch.setattr(fakes.FakeVerifier, "lacks", lambda self, plan: [lacking])
    planned.put("/flags", {**planned.state["flags"], **CHECKED})
    before, first = planned.state["sheet"], edited(planned)
    assert before["lacks"] == ["it has no model: name one: model in Settings of eye"]
    planned.drop(png(seed=2), "other.png")
    assert planned.state["sheet"] is None and not planned.state["preparing"]
    (window,) = desk.windows.values()
    later: list[Callable[[Task], Any]] = []
    monkeypatch.setattr(window, "_later", lambda window, work: later.append(work))
    opened = planned.post(f"/edits/{first['number']}/open").json()
    assert opened["preparing"] and opened["sheet"] is None
    later.pop(0)(Task("find", lambda task: None))
    state = planned.state
    assert state["sheet"] == {**before, "sizes": None, "seconds": state["sheet"]["seconds"]} and not state["preparing"]


def test_what_would_run_is_never_that_of_another_plan(
    planned: Page, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made ready beside whoever goes on changing the plan that he has opened."""
    first = edited(planned)
    (window,) = desk.windows.values()
    later: list[Callable[[Task], Any]] = []
    monkeypatch.setattr(window, "_later", lambda window, work: later.append(work))

    def changes(values: dict[str, Any]) -> None:
        rows = [{**row, **values} for row in planned.state["rows"]]
        assert planned.put("/plan", {"rows": rows, "sentences": planned.state["sentences"]}).status_code == 200

    def changed_meanwhile(*arguments: Any, **named: Any) -> Any:
        changes({"strength": 0.5})
        return prepare(*arguments, **named)

    planned.post(f"/edits/{first['number']}/open")
    monkeypatch.setattr("gas_ui.window.prepare", changed_meanwhile)
    later[-1](Task("find", lambda task: None))
    assert planned.state["sheet"] is None and not planned.state["preparing"]
    planned.post(f"/edits/{first['number']}/open")
    changes({"source": "cat"})
    monkeypatch.setattr("gas_ui.window.prepare", lambda *arguments, **named: pytest.fail("looked for the cat"))
    later[-1](Task("find", lambda task: None))
    assert planned.state["sheet"] is None and not planned.state["preparing"]


def test_the_result_is_edited_further(planned: Page) -> None:
    first = edited(planned)
    state = planned.post(f"/edits/{first['number']}/continue").json()
    assert state["picture"]["name"] == "dog-edited.png" and state["picture"]["made"]["asked"] == ASKED


def test_a_dropped_output_is_replayed_from_its_original(planned: Page, client: TestClient, desk: Desk) -> None:
    content = planned.get(f"/edits/{edited(planned)['number']}/picture").content
    fresh = Page(client, desk)
    made = fresh.drop(content, "dog-edited.png").json()["picture"]["made"]
    assert made["asked"] == ASKED and made["original"] == "dog.png" and not made["here"]
    assert "original" in fresh.do("/replay")["error"]["message"]
    wrong = fresh.drop(png(seed=2), "dog.png", what="original")
    assert wrong.status_code == 422 and "is not what" in wrong.json()["error"]["message"]
    assert fresh.drop(png(), "dog.png", what="original").json()["picture"]["made"]["here"]
    assert fresh.do("/replay")["error"] is None
    card = fresh.state["edits"][0]
    assert card["same_bytes"] is True and card["drift"] == []


# --- regions ----------------------------------------------------------------------------------------------------------


def test_painting_a_mask_changes_exactly_that_region(planned: Page) -> None:
    dog, grass = planned.state["places"]
    levels = np.frombuffer(planned.get(f"/places/{dog['id']}").content, np.uint8).reshape(90, 120).copy()
    levels[:5, :7] = 255
    assert planned.put(f"/places/{dog['id']}", levels.tobytes()).status_code == 200
    after = planned.state["places"]
    assert after[0]["byHand"] and after[0]["version"] == 1 and after[1] == grass
    window = planned.desk.windows[planned.id]
    assert np.array_equal(window.place(dog["id"]).region.mask, levels.astype(np.float32) / 255)
    a = np.asarray(Pictures.open(io.BytesIO(png())))
    card = edited(planned)
    b = np.asarray(Pictures.open(io.BytesIO(planned.get(f"/edits/{card['number']}/picture").content)))
    allowed = levels > 0
    allowed |= np.frombuffer(planned.get(f"/places/{grass['id']}").content, np.uint8).reshape(90, 120) > 0
    assert (a != b)[allowed].any() and np.array_equal(a[~allowed], b[~allowed])
    assert "4 levels for a view of 120x90" in planned.put(f"/places/{dog['id']}", b"xxxx").json()["error"]["message"]
    empty = planned.put(f"/places/{dog['id']}", bytes(90 * 120)).json()["error"]["message"]
    assert "empty" in empty


def test_a_place_is_grown_inverted_and_taken_back(planned: Page) -> None:
    place = planned.state["places"][0]["id"]

    def share() -> float:
        return planned.state["places"][0]["share"]

    start = share()
    planned.post(f"/places/{place}", {"how": "grow", "pixels": 4})
    grown = share()
    planned.post(f"/places/{place}", {"how": "undo"})
    assert grown > start == share()
    planned.post(f"/places/{place}", {"how": "shrink", "pixels": 4})
    assert share() < start
    planned.post(f"/places/{place}", {"how": "undo"})
    planned.post(f"/places/{place}", {"how": "invert"})
    assert share() == pytest.approx(1 - start, abs=0.01)
    assert planned.post(f"/places/{place}", {"how": "fold"}).status_code == 422
    planned.post(f"/places/{place}", {"how": "remove"})
    assert [one["phrase"] for one in planned.state["places"]] == ["grass"]
    planned.do("/find")
    assert [one["phrase"] for one in planned.state["places"]] == ["dog", "grass"]


def test_a_mask_goes_out_and_comes_back_as_a_picture(planned: Page) -> None:
    dog, grass = (one["id"] for one in planned.state["places"])
    told = planned.get(f"/places/{dog}/mask.png")
    assert 'filename="dog.png"' in told.headers["content-disposition"]
    assert planned.drop(told.content, "m.png", what="mask", place=grass).status_code == 200
    assert planned.get(f"/places/{grass}").content == planned.get(f"/places/{dog}").content
    small = png(20, 20)
    assert planned.drop(small, "m.png", what="mask", place=grass).status_code == 422


def test_a_box_that_is_drawn_is_taken_as_it_is(page: Page) -> None:
    page.put("/flags", {**FAKE, "grounders": []})
    page.drop(png(), "dog.png")
    page.do("/plan", {"instruction": "dog -> tiger"})
    row = page.state["rows"][0]["id"]
    assert page.post("/places", {"row": row, "box": [80, 60, 30, 20]}).status_code == 200
    (place,) = page.state["places"]
    assert place["box"] == [30, 20, 80, 60] and place["byHand"]
    assert page.post("/places", {"row": row, "box": [1, 2]}).status_code == 422
    assert page.post("/places", {"row": "n0", "box": [1, 2, 30, 40]}).status_code == 422
    assert edited(page)["outside"] == 0


def test_a_large_photograph_is_painted_on_a_smaller_copy() -> None:
    mask = np.zeros((1000, 3200), np.float32)
    mask[101:301, 203:803] = 1  # edges that the view cannot hold
    before = views.levels(mask)
    assert before.shape == (500, 1600)
    after = before.copy()
    after[400:450, 1000:1100] = 255
    full = views.painted(mask, before, after)
    assert np.array_equal(full[:700] > 0, mask[:700] > 0)
    assert (full[804:896, 2004:2196] == 255).all() and not full[700:798].any()


# --- what is refused, and how -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "x.png", "empty"),
        (b"%PDF-1.7", "x.png", "is PDF"),
        (b"GIF89a" + bytes(40), "x.gif", "x.gif"),
        (png()[:900], "x.png", ""),
    ],
)
def test_a_file_that_is_no_picture_is_refused_and_not_kept(page: Page, content: bytes, name: str, words: str) -> None:
    told = page.drop(content, name)
    assert told.status_code == 422 and words in told.json()["error"]["message"]
    assert page.state["picture"] is None
    assert not [one for one in page.desk.windows[page.id].folder.rglob("*") if one.is_file()]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\dog.jpg", "dog.jpg"),
        (".hidden.png", "hidden.png"),
        ("a\x00\u202eb.png", "ab.png"),
        ("..", "photograph"),
        ("", "photograph"),
        ("mein Hund.jpeg", "mein Hund.jpeg"),
        ("x" * 300 + ".png", "x" * 116 + ".png"),
    ],
)
def test_a_files_name_stays_in_its_folder(sent: str, kept: str) -> None:
    assert file_name(sent) == kept


def test_what_the_planner_refuses_is_said_in_the_plan(page: Page) -> None:
    page.drop(png(), "dog.png")
    task = page.do("/plan", {"instruction": "what a lovely day"})
    assert task["state"] == "failed" and task["error"]["message"]
    assert page.post("/plan", {"instruction": ""}).status_code in {200, 422}


def test_a_plan_stays_when_a_thing_is_not_found(page: Page) -> None:
    page.drop(png(), "dog.png")
    page.put("/flags", {**FAKE, "options": {"places": {"boxes": {"grass": [0, 0, 1, 1]}, "strict": "true"}}})
    page.do("/plan", {"instruction": ASKED})
    assert [row["source"] for row in page.state["rows"]] == ["dog", "grass"]


def test_a_dead_ollama_is_named_with_its_remedy(page: Page) -> None:
    page.put(
        "/flags", {"profile": "retouch", "planner": "ollama", "options": {"ollama": {"host": "http://127.0.0.1:9"}}}
    )
    page.drop(png(), "dog.png")
    error = page.do("/plan", {"instruction": "make the dog a tiger"})["error"]
    assert error["code"] in {6, 8} and ("127.0.0.1:9" in error["message"] or "ollama" in error["remedy"])


def test_models_that_are_not_here_are_named_with_the_command(page: Page) -> None:
    page.put("/flags", {"profile": "sd15", "planner": "arrows", "grounders": [], "editor": "dds"})
    page.drop(png(), "dog.png")
    page.do("/plan", {"instruction": "dog -> tiger"})
    error = page.do("/edit")["error"]
    assert error["code"] == 6 and "not on this machine yet" in error["message"]
    assert "gas models pull sd15" in error["remedy"] and "--" not in error["remedy"]


def test_settings_that_cannot_be_stay_out(page: Page) -> None:
    before = page.state["flags"]
    for flags, words in (
        ({"editor": "paint"}, "painter"),
        ({"device": "toaster"}, "device"),
        ({**FAKE, "options": {"painter": {"steps": "0"}}}, "steps"),
        ({"nonsense": 1}, "nonsense"),
    ):
        told = page.put("/flags", flags)
        assert told.status_code == 422 and words in json.dumps(told.json()["error"])
    assert page.state["flags"] == before


# --- what leaves the machine ------------------------------------------------------------------------------------------


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Planner and editor send pictures away; the list says who was asked."""
    asked: list[str] = []

    def noted(kind: Any, method: str) -> None:
        call = getattr(kind, method)
        monkeypatch.setattr(kind, "remote", property(lambda self: True))
        monkeypatch.setattr(kind, "preview", lambda self, job: Preview("https://far.example", remote=True, model="m"))
        monkeypatch.setattr(kind, method, lambda self, job: (asked.append(method), call(self, job))[1])

    noted(fakes.FakePlanner, "plan")
    noted(fakes.FakeEditor, "edit")
    noted(fakes.FakeVerifier, "verify")
    assert issubclass(fakes.FakePlanner, Planner) and issubclass(fakes.FakeEditor, Editor)
    return asked


def test_a_picture_leaves_only_when_the_user_has_agreed(page: Page, remote: list[str]) -> None:
    page.drop(png(), "dog.png")
    task = page.do("/plan", {"instruction": ASKED})
    assert [one["key"] for one in task["asks"]] == ["planner arrows"] and remote == []
    assert "far.example" in "\n".join(task["asks"][0]["lines"])
    page.do("/plan", {"instruction": ASKED, "agreed": ["planner arrows"]})
    assert remote == ["plan"]
    task = page.do("/edit", {"agreed": ["planner arrows"]})  # agreed to another one
    assert [one["key"] for one in task["asks"]] == ["editor painter"] and remote == ["plan"]
    assert page.do("/edit", {"agreed": ["editor painter"]})["error"] is None
    assert remote == ["plan", "edit"]
    task = page.do("/compare", {"editors": ["painter", "retouch"]})
    assert [one["key"] for one in task["asks"]] == ["editor painter"] and remote == ["plan", "edit"]


def test_a_click_outlines_the_thing_there_as_a_point_of_the_command_line_does(planned: Page) -> None:
    row, before = planned.state["rows"][0]["id"], {place["id"] for place in planned.state["places"]}
    planned.do("/places/at", {"row": row, "point": [1, 1]})
    (place,) = [place for place in planned.state["places"] if place["id"] not in before]
    assert place["row"] == row and place["byHand"] and place["box"][:2] == [0, 0]
    assert place["share"] == pytest.approx(0.25, abs=0.01), "the fake's answer to a point is that quarter"


def test_pointing_at_a_thing_sends_nothing_without_agreement(planned: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    ground = fakes.FakeGrounder.ground
    monkeypatch.setattr(fakes.FakeGrounder, "remote", property(lambda self: True))
    monkeypatch.setattr(fakes.FakeGrounder, "preview", lambda self, job: Preview("https://far.example", remote=True))
    monkeypatch.setattr(fakes.FakeGrounder, "ground", lambda self, job: (asked.append(job), ground(self, job))[1])
    place, row = planned.state["places"][0]["id"], planned.state["rows"][0]["id"]
    for path, body in (
        (f"/places/{place}", {"how": "outline"}),
        ("/places/at", {"row": row, "point": [40, 40]}),
        ("/find", {}),
    ):
        task = planned.do(path, body)
        assert [one["key"] for one in task["asks"]] == ["grounder places"] and asked == []
    assert planned.do(f"/places/{place}", {"how": "outline", "agreed": ["grounder places"]})["asks"] is None
    assert len(asked) == 1


def test_keys_are_never_shown(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-seen")
    page.put("/flags", {"profile": "retouch", "planner": "openai"})
    page.drop(png(), "dog.png")
    told = [page.get("").text, page.get("/options/planner/openai").text, page.client.get("/api/choices").text]
    page.do("/plan", {"instruction": "make the dog a tiger"})
    told.append(page.get("").text)
    assert "openai" in told[-1] and not any("sk-not" in one for one in told)


# --- two windows, and what is served ----------------------------------------------------------------------------------


def test_two_windows_do_not_disturb_each_other(planned: Page, client: TestClient, desk: Desk) -> None:
    other = Page(client, desk)
    assert other.state["picture"] is None and other.state["edits"] == []
    other.put("/flags", {**FAKE, "options": {"places": PLACES}})
    other.drop(png(seed=3), "cat.png")
    before = planned.state
    other.do("/plan", {"instruction": "dog -> cat"})
    card = edited(other)
    assert planned.state == before
    for path in (f"/pictures/{other.state['picture']['number'] + 100}", f"/edits/{card['number'] + 100}/picture"):
        assert planned.get(path).status_code in {404, 422}
    theirs = other.desk.windows[other.id].edits[0].out
    assert theirs.is_file() and planned.id not in str(theirs)
    assert client.get("/api/w/unknown").status_code == 422


def test_no_path_of_this_machine_is_told(planned: Page) -> None:
    edited(planned)
    assert str(planned.desk.folder) not in planned.get("").text


def test_a_window_has_one_thing_at_work(planned: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    gate = threading.Event()
    edit = fakes.FakeEditor.edit
    monkeypatch.setattr(fakes.FakeEditor, "edit", lambda self, job: (gate.wait(20), edit(self, job))[1])
    assert planned.post("/edit").status_code == 200
    assert "at work" in planned.post("/edit").json()["error"]["message"]
    gate.set()
    assert planned.wait()["state"] == "done"


def test_everything_is_removed_in_the_end(planned: Page) -> None:
    assert planned.desk.folder.is_dir()
    planned.desk.close()
    assert not planned.desk.folder.exists()


# --- what can be chosen -----------------------------------------------------------------------------------------------


def test_what_is_installed_is_offered_and_the_rest_has_its_install_line(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gas.backends import registry

    monkeypatch.setattr(registry, "missing_packages", lambda distribution, extra: ["x"] if extra == "openai" else [])
    told = page.client.get("/api/choices").json()
    by_name = {one["name"]: one for one in told["planner"]}
    assert by_name["openai"]["install"] == 'pip install "gas-edit[openai]"' and not by_name["openai"]["ready"]
    assert by_name["rules"]["ready"] and by_name["rules"]["install"] is None
    assert {"profile", "planner", "grounders", "editor"} <= told.keys()


def test_the_options_are_a_form_of_their_own_schema(page: Page) -> None:
    form = page.get("/options/editor/painter").json()
    steps = next(one for one in form["fields"] if one["name"] == "steps")
    assert (steps["kind"], steps["least"], steps["most"], steps["default"]) == ("whole", 1, 10_000, "4")
    assert steps["description"] == "the paint gets stronger with each" and form["presets"] == ["quick"]
    page.put("/flags", {**FAKE, "options": {"painter": {"preset": "quick"}}})
    steps = next(one for one in page.get("/options/editor/painter").json()["fields"] if one["name"] == "steps")
    assert (steps["value"], steps["origin"]) == ("1", "preset quick")


def test_nothing_changes_under_a_run(planned: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    gate = threading.Event()
    edit = fakes.FakeEditor.edit
    monkeypatch.setattr(fakes.FakeEditor, "edit", lambda self, job: (gate.wait(20), edit(self, job))[1])
    before = planned.state
    assert planned.post("/edit").status_code == 200
    place = before["places"][0]["id"]
    assert planned.drop(png(seed=5), "cat.png").status_code == 422
    assert planned.put("/flags", {}).status_code == 422
    assert planned.put("/plan", {"rows": before["rows"][:1], "sentences": ["", ""]}).status_code == 422
    assert planned.put(f"/places/{place}", bytes(90 * 120)).status_code == 422
    gate.set()
    assert planned.wait()["error"] is None
    after = planned.state
    assert all(before[name] == after[name] for name in ("picture", "flags", "rows", "places"))


def test_pictures_that_are_not_in_work_let_go_of_their_pixels(planned: Page) -> None:
    first = edited(planned)
    planned.drop(png(seed=2), "other.png")
    window = planned.desk.windows[planned.id]
    assert window.pictures[0]._photo is None and window.pictures[1]._photo is not None
    assert planned.get(f"/pictures/{first['picture']}").status_code == 200 and window.pictures[0]._photo is None
    planned.post(f"/edits/{first['number']}/open")
    assert edited(planned)["outside"] == 0


def test_every_setting_without_a_place_of_its_own_is_a_field_of_its_schema(page: Page) -> None:
    fields = {one["name"]: one for one in page.state["chosen"]["settings"]}
    elsewhere = ELSEWHERE | NO_FLAGS | {role.setting for role in CHOSEN}
    assert not fields.keys() & elsewhere and fields.keys() | elsewhere == set(Values.model_fields)
    assert fields["dtype"]["kind"] == "choice" and "bf16" in fields["dtype"]["choices"]
    assert fields["device"]["choices"] == ["auto", "cpu", "cuda", "mps"] and fields["device"]["chosen"] is None
    assert (fields["grow"]["kind"], fields["grow"]["least"], fields["grow"]["most"]) == ("number", 0, 2)
    page.put("/flags", {**page.state["flags"], "grow": "0.3"})
    grow = next(one for one in page.state["chosen"]["settings"] if one["name"] == "grow")
    assert (grow["value"], grow["chosen"], grow["origin"]) == ("0.3", "0.3", "--grow")


def test_how_fine_each_place_is_worked_on_is_known_before_the_run(planned: Page) -> None:
    def sizes() -> list[dict[str, Any]]:
        until = time.monotonic() + 30
        while (found := planned.state["sheet"]["sizes"]) is None:
            assert time.monotonic() < until
            time.sleep(0.01)
        told: list[dict[str, Any]] = found
        return told

    def made() -> list[int]:
        record = json.loads(planned.get(f"/edits/{edited(planned)['number']}/record").content)
        size: list[int] = record["frame"]["size"]
        return size

    planned.do("/plan", {"instruction": "dog -> tiger"})
    (one,) = sizes()
    assert one["what"] == ["dog"] and one["coarse"] > 1
    assert planned.state["sheet"]["seconds"] is None
    assert one["size"] == made() and planned.state["sheet"]["seconds"] > 0
    planned.put("/flags", {**planned.state["flags"], "work": "crop"})
    (crop,) = sizes()
    assert crop["coarse"] < one["coarse"] and crop["size"] == made()
