"""What the server answers. Every route that concerns a window begins with `/api/w/{window}`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request as Asked
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from gas.errors import GasError
from gas.regions.mask_file import read_mask
from gas.version import __version__
from gas_ui import views
from gas_ui.choices import choices
from gas_ui.describe import window_state
from gas_ui.desk import Desk
from gas_ui.guard import Door, TooLong
from gas_ui.handlers import ROUTES, Handler, stop
from gas_ui.signing import signing_routes
from gas_ui.wording import told

STATIC = Path(__file__).with_name("static")


def application(desk: Desk, door: Door) -> Starlette:
    """The application without its guard (`gas_ui.guard.Guard`)."""
    app = Starlette(
        routes=[
            *signing_routes(door, STATIC),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/api/start", _start),
            Route("/api/choices", _choices),
            Route("/api/examples/{number:int}", _example),
            Route("/api/windows", _open, methods=["POST"]),
            *(Route(f"/api/w/{{window}}{path}", _answer(handle), methods=[method]) for method, path, handle in ROUTES),
            Route("/api/w/{window}/{what}/file", _take_file, methods=["POST"]),
        ],
        exception_handlers={GasError: _refused, TooLong: _too_long},
    )
    app.state.desk = desk
    return app


# --- for all windows ------------------------------------------------------------------------------------------------


def _desk(asked: Asked) -> Desk:
    desk: Desk = asked.app.state.desk
    return desk


def _start(asked: Asked) -> Response:
    shown = [{"number": i, "request": one.request} for i, one in enumerate(_desk(asked).examples)]
    return JSONResponse({"version": __version__, "examples": shown, "longest": views.LONGEST})


def _choices(asked: Asked) -> Response:
    return JSONResponse(choices(_desk(asked).registry))


def _example(asked: Asked) -> Response:
    examples, number = _desk(asked).examples, asked.path_params["number"]
    if number >= len(examples):
        return PlainTextResponse("no such picture", 404)
    return FileResponse(examples[number].path)


def _open(asked: Asked) -> Response:
    desk = _desk(asked)
    return JSONResponse(window_state(desk.open_window(), desk.tasks))


async def _refused(asked: Asked, error: Exception) -> Response:
    assert isinstance(error, GasError)
    return JSONResponse({"error": told(error)}, 422)


async def _too_long(asked: Asked, error: Exception) -> Response:
    return PlainTextResponse("too long", 413)


# --- of one window --------------------------------------------------------------------------------------------------


def _answer(handle: Handler) -> Callable[[Asked], Awaitable[Response]]:
    """A route that runs `handle` in a thread; what is no response of its own is answered with the window's state."""

    async def answer(asked: Asked) -> Response:
        asked.state.body = await asked.body()

        def work_on() -> Response:
            desk = _desk(asked)
            window = desk.window(asked.path_params["window"])
            if asked.method != "GET" and handle is not stop:
                window.check_idle()
            made = handle(asked, window)
            return made if isinstance(made, Response) else JSONResponse(window_state(window, desk.tasks))

        return await run_in_threadpool(work_on)

    return answer


async def _take_file(asked: Asked) -> Response:
    """A file, sent as the body: a photograph, the original for a replay, or a mask (`?place=`)."""
    desk, what = _desk(asked), asked.path_params["what"]
    window = desk.window(asked.path_params["window"])
    window.check_idle()
    if what not in {"photo", "original", "mask"}:
        return PlainTextResponse("no such place for a file", 404)
    path = window.new_file(asked.query_params.get("name", "photograph"))
    try:
        with path.open("xb") as stream:
            async for part in asked.stream():
                await run_in_threadpool(stream.write, part)

        def read() -> None:
            if what == "mask":
                mask = read_mask(path, window.shown().size)
                window.change_place(asked.query_params.get("place", ""), lambda place: place.put(mask))
            else:
                window.add_picture(path, show=what == "photo")

        await run_in_threadpool(read)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return JSONResponse(await run_in_threadpool(window_state, window, desk.tasks))
