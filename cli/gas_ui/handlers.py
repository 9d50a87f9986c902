"""What the server answers about one window. A handler changes the window, or gives an answer of its own."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request as Asked
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response

from gas.errors import InputRefused, UsageError
from gas.run.record import Request
from gas.validation import explain
from gas_ui import bundle, views, work
from gas_ui.choices import form
from gas_ui.describe import task_state
from gas_ui.desk import Desk
from gas_ui.places import drawn
from gas_ui.tasks import Task
from gas_ui.window import Window

Handler = Callable[[Asked, Window], Any]


def _desk(asked: Asked) -> Desk:
    desk: Desk = asked.app.state.desk
    return desk


def _sent(asked: Asked) -> dict[str, Any]:
    """The JSON object that was sent. InputRefused for anything else."""
    try:
        found = json.loads(asked.state.body or b"{}")
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputRefused("what the page sent is no JSON object", "reload the page")
    return found


def _agreed(sent: dict[str, Any]) -> list[str]:
    return [str(one) for one in sent.get("agreed", [])]


def _picture(content: bytes) -> Response:
    return Response(content, media_type=views.kind(content))


def _state(asked: Asked, window: Window) -> None:
    """The window's state alone."""


def _take_example(asked: Asked, window: Window) -> None:
    examples, number = _desk(asked).examples, int(_sent(asked).get("number", -1))
    if not 0 <= number < len(examples):
        raise UsageError("there is no such picture to try", "reload the page")
    example = examples[number]
    path = window.new_file(example.path.name)
    shutil.copyfile(example.path, path)
    window.add_picture(path, example=example.request)


def _view(asked: Asked, window: Window) -> Response:
    number = asked.path_params["number"]
    found = next((one for one in window.pictures if one.number == number), None)
    found = found or next((one.picture for one in window.edits if one.picture.number == number), None)
    return PlainTextResponse("no such picture", 404) if found is None else _picture(found.view)


def _flags(asked: Asked, window: Window) -> None:
    window.set_flags(_sent(asked))


def _form(asked: Asked, window: Window) -> Response:
    return JSONResponse(form(window.session(), asked.path_params["role"], asked.path_params["name"]))


def _plan(asked: Asked, window: Window) -> None:
    sent, desk = _sent(asked), _desk(asked)
    window.shown()
    try:
        request = Request(instruction=str(sent.get("instruction", "")), caption=sent.get("caption") or None)
    except ValidationError as error:
        raise InputRefused(explain(error), "say it in fewer words") from None
    agreed = _agreed(sent)
    desk.start(window, "plan", lambda task: work.plan(window, task, request, agreed))


def _rows(asked: Asked, window: Window) -> None:
    sent = _sent(asked)
    rows = [one for one in sent.get("rows", []) if isinstance(one, dict)]
    source, target = ([*map(str, sent.get("sentences", [])), "", ""])[:2]
    window.change_plan(rows, source, target)


def _find(asked: Asked, window: Window) -> None:
    agreed = _agreed(_sent(asked))
    window.table.plan()
    _desk(asked).start(window, "find", lambda task: work.find(window, task, agreed))


def _new_place(asked: Asked, window: Window) -> None:
    sent = _sent(asked)
    row = str(sent.get("row"))
    window.add_place(row, drawn(window.phrase(row), _numbers(sent.get("box")), window.shown().size))


def _place_at(asked: Asked, window: Window) -> None:
    sent = _sent(asked)
    row, point, agreed = str(sent.get("row")), _numbers(sent.get("point")), _agreed(sent)
    _desk(asked).start(window, "outline", lambda task: work.segment(window, task, row, point, agreed))


def _mask(asked: Asked, window: Window) -> Response:
    place = window.place(asked.path_params["place"])
    return Response(place.view.tobytes(), media_type="application/octet-stream")


def _paint(asked: Asked, window: Window) -> None:
    window.change_place(asked.path_params["place"], lambda place: place.paint(asked.state.body))


def _change_place(asked: Asked, window: Window) -> None:
    sent, id = _sent(asked), asked.path_params["place"]
    how, agreed, (pixels,) = str(sent.get("how")), _agreed(sent), _numbers([sent.get("pixels", 0)])
    by = (*_numbers(sent.get("by", ())), 0.0, 0.0)[:2]
    if how == "outline":
        _desk(asked).start(window, "outline", lambda task: work.outline(window, task, id, agreed))
    elif how == "remove":
        window.remove_place(id)
    else:
        window.change_place(id, lambda place: place.change(how, pixels, by))


def _export_mask(asked: Asked, window: Window) -> Response:
    name, content = bundle.mask_png(window, asked.path_params["place"])
    return _download(content, name, "image/png")


def _edit(asked: Asked, window: Window) -> None:
    sent = _sent(asked)
    agreed, other = _agreed(sent), bool(sent.get("other_seed"))
    window.table.plan()
    _desk(asked).start(window, "edit", lambda task: work.edit(window, task, agreed, other_seed=other))


def _compare(asked: Asked, window: Window) -> None:
    sent = _sent(asked)
    agreed, editors = _agreed(sent), list(dict.fromkeys(str(one) for one in sent.get("editors", [])))
    window.table.plan()
    if not 1 < len(editors) <= 8:
        raise UsageError("choose two to eight editors", "tick them in the list")
    _desk(asked).start(window, "compare", lambda task: work.compare(window, task, editors, agreed))


def _replay(asked: Asked, window: Window) -> None:
    output = window.shown()
    _desk(asked).start(window, "replay", lambda task: work.replay(window, task, output))


def _task(asked: Asked, window: Window) -> Response:
    return JSONResponse(task_state(_its_task(asked, window), _desk(asked).tasks))


def stop(asked: Asked, window: Window) -> None:
    _desk(asked).tasks.stop(_its_task(asked, window))


def _preview(asked: Asked, window: Window) -> Response:
    preview = _its_task(asked, window).progress.preview
    return PlainTextResponse("none yet", 404) if preview is None else _picture(preview)


def _its_task(asked: Asked, window: Window) -> Task:
    task = window.task
    if task is None or task.id != asked.path_params["task"]:
        raise UsageError("this task is over", "reload the page")
    return task


def _resume(asked: Asked, window: Window) -> None:
    made = window.edit(asked.path_params["number"])
    _desk(asked).start(window, "edit", lambda task: work.resume(window, task, made))


def _redo(asked: Asked, window: Window) -> None:
    sent, made = _sent(asked), window.edit(asked.path_params["number"])
    (subtask,) = _numbers([sent.get("change", -1)])
    editor, agreed = sent.get("editor") or None, _agreed(sent)
    _desk(asked).start(
        window, "edit", lambda task: work.redo(window, task, made, int(subtask), editor and str(editor), agreed)
    )


def _accept(asked: Asked, window: Window) -> None:
    window.accept(asked.path_params["number"])


def _discard(asked: Asked, window: Window) -> None:
    window.discard(asked.path_params["number"])


def _open_edit(asked: Asked, window: Window) -> None:
    window.open(asked.path_params["number"])


def _continue(asked: Asked, window: Window) -> None:
    """The result of an edit becomes the photograph of the next."""
    made = window.edit(asked.path_params["number"])
    path = window.new_file(made.out.name)
    shutil.copyfile(made.out, path)
    window.add_picture(path)


def _after(asked: Asked, window: Window) -> Response:
    made = window.edit(asked.path_params["number"])
    return _picture(made.after) if made.after else PlainTextResponse("none yet", 404)


def _crop(asked: Asked, window: Window) -> Response:
    made, index = window.edit(asked.path_params["number"]), asked.path_params["index"]
    pair = made.changes[index] if index < len(made.changes) else None
    if pair is None:
        return PlainTextResponse("no such change", 404)
    return _picture(pair[asked.path_params["when"] == "after"])


def _result(asked: Asked, window: Window) -> Response:
    made = window.edit(asked.path_params["number"])
    if made.record is None:
        return PlainTextResponse("none yet", 404)
    return FileResponse(made.out, filename=made.out.name, media_type="application/octet-stream")


def _record(asked: Asked, window: Window) -> Response:
    made = window.edit(asked.path_params["number"])
    if made.record is None:
        return PlainTextResponse("none yet", 404)
    return _download(made.record.to_json(indent=1).encode() + b"\n", f"{made.out.name}.gas.json", "application/json")


def _bundle(asked: Asked, window: Window) -> Response:
    made = window.edit(asked.path_params["number"])
    if made.record is None:
        return PlainTextResponse("none yet", 404)
    return _download(bundle.plan_and_masks(made.record), f"{made.out.stem}-plan.zip", "application/zip")


def _download(content: bytes, name: str, kind: str) -> Response:
    ascii_name = name.encode("ascii", "replace").decode().replace('"', "_").replace("?", "_")
    return Response(content, media_type=kind, headers={"content-disposition": f'attachment; filename="{ascii_name}"'})


def _numbers(values: Any) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError):
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise InputRefused(f"{values!r:.80} are not numbers", "reload the page")
    return numbers


ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", "", _state),
    ("POST", "/example", _take_example),
    ("GET", "/pictures/{number:int}", _view),
    ("PUT", "/flags", _flags),
    ("GET", "/options/{role}/{name}", _form),
    ("POST", "/plan", _plan),
    ("PUT", "/plan", _rows),
    ("POST", "/find", _find),
    ("POST", "/places", _new_place),
    ("POST", "/places/at", _place_at),
    ("GET", "/places/{place}", _mask),
    ("PUT", "/places/{place}", _paint),
    ("POST", "/places/{place}", _change_place),
    ("GET", "/places/{place}/mask.png", _export_mask),
    ("POST", "/edit", _edit),
    ("POST", "/compare", _compare),
    ("POST", "/replay", _replay),
    ("GET", "/tasks/{task}", _task),
    ("POST", "/tasks/{task}/stop", stop),
    ("GET", "/tasks/{task}/preview", _preview),
    ("POST", "/edits/{number:int}/resume", _resume),
    ("POST", "/edits/{number:int}/redo", _redo),
    ("POST", "/edits/{number:int}/accept", _accept),
    ("POST", "/edits/{number:int}/discard", _discard),
    ("POST", "/edits/{number:int}/open", _open_edit),
    ("POST", "/edits/{number:int}/continue", _continue),
    ("GET", "/edits/{number:int}/after", _after),
    ("GET", "/edits/{number:int}/changes/{index:int}/{when}", _crop),
    ("GET", "/edits/{number:int}/picture", _result),
    ("GET", "/edits/{number:int}/record", _record),
    ("GET", "/edits/{number:int}/plan.zip", _bundle),
)
