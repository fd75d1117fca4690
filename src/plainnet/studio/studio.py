"""The front room: the page's addresses, each a few lines to a function of the library; and the server that answers them.

Everything that the page shows is kept here, not in a tab: it can be reloaded in the middle of a training, and two tabs see the same.
The guard of ``plainnet.service`` stands before it. The browser gets in by a token that works once, and keeps a cookie.
"""

from __future__ import annotations

import hmac
import os
import sys
import threading
import webbrowser
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from plainnet.errors import PlainnetError, RunError, SettingError
from plainnet.export.onnx_model import onnx_model
from plainnet.runs.runs import list_runs, read_run
from plainnet.service.guard import Guard, allowed_hosts
from plainnet.service.listen import listen, run as run_server, server_of
from plainnet.studio.examples import EXAMPLES, make_example
from plainnet.studio.judge import importance, judge, listed_run
from plainnet.studio.keep import predictions_csv, script_of
from plainnet.studio.session import Order
from plainnet.studio.state import BusyError, Studio, events
from plainnet.studio.tables import MOST_BYTES, describe, list_tables, load_table, receive, table_path
from plainnet.studio.tryout import answer, form, why
from plainnet.tables.read import read_table

__all__ = ["app_of", "serve"]

T = TypeVar("T")

PAGE = Path(__file__).with_name("page")
#: Largest JSON body, in bytes: kinds of thousands of columns.
MOST_JSON = 2**20
NO_STORE = {"Cache-Control": "no-store"}


def app_of(studio: Studio, host: str, port: int) -> Guard:
    """Return the guarded app."""
    cookie = f"plainnet_studio_{port}"  # cookies are shared by all ports of a host, and two studios may be open
    page = [Route("/", _page(studio, cookie)), Mount("/page", StaticFiles(directory=PAGE))]
    refused = {PlainnetError: _refused, msgspec.MsgspecError: _refused, ClientDisconnect: _gone}
    app = Starlette(routes=[*page, *_choosing(studio), *_training(studio), *_using(studio)], exception_handlers=refused)
    files = [f"/page/{path.name}" for path in PAGE.iterdir()]
    return Guard(
        app, hosts=allowed_hosts(host, port), token=studio.key, cookie=cookie, open_paths=["/", *files],
        most_body_bytes=MOST_BYTES + MOST_JSON, body_seconds=900.0,
    )  # fmt: skip


def _page(studio: Studio, cookie: str) -> Callable[[Request], Response]:
    def page(request: Request) -> Response:
        given = request.cookies.get(cookie, "")
        is_known = hmac.compare_digest(given.encode(), studio.key.encode())
        token = request.query_params.get("token")
        if not is_known and not (token is not None and studio.let_in(token)):
            return PlainTextResponse(
                "This page opens with the address that `plainnet studio` shows in the terminal. That address works once: start "
                "`plainnet studio` again for another browser.\n",
                status_code=401,
            )
        if is_known and token is not None:
            return RedirectResponse("/", status_code=303)
        answer = FileResponse(PAGE / "index.html", headers=NO_STORE)
        if not is_known:
            answer.set_cookie(cookie, studio.key, httponly=True, samesite="strict", path="/")
        return answer

    return page


def _get(path: str, work: Callable[..., Any]) -> Route:
    """Answer GET with what a function returns, on a thread; it is given what the path names."""

    def handler(request: Request) -> Response:
        content = work(**request.path_params)
        return content if isinstance(content, Response) else _json(content)

    return Route(path, handler)


def _post(path: str, kind: type[Any], work: Callable[..., Any]) -> Route:
    """Answer POST likewise; the function is given the body, JSON of a kind, before what the path names."""

    async def handler(request: Request) -> Response:
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MOST_JSON:
                raise SettingError(f"the request is larger than {MOST_JSON:,} bytes: send less at once.")
        told = msgspec.json.decode(bytes(body), type=kind)
        return _json(await run_in_threadpool(work, told, **request.path_params))

    return Route(path, handler, methods=["POST"])


# Choosing a table.


def _choosing(studio: Studio) -> list[Route]:
    def state() -> dict[str, Any]:
        session = studio.session
        examples = {name: {"target": target, **settings} for name, (_, target, settings) in EXAMPLES.items()}
        runs = [listed_run(run) for run in reversed(list_runs(studio.runs))]
        return {
            "work": str(studio.work), "tables": list_tables(studio.work), "examples": examples,
            "training": None if session is None else session.facts(), "runs": runs, "most_bytes": MOST_BYTES,
        }  # fmt: skip

    async def upload(request: Request) -> Response:
        path = await receive(request.stream(), studio.tables, request.query_params.get("name", ""))
        try:
            await run_in_threadpool(load_table, path)
        except PlainnetError:
            path.unlink(missing_ok=True)
            raise
        return _json({"name": path.name})

    def columns(wanted: _Columns) -> dict[str, Any]:
        table, notes = load_table(table_path(studio.work, wanted.table))
        return describe(table, wanted.kinds) | {"notes": notes}

    return [
        _get("/api/state", state),
        Route("/api/tables", upload, methods=["POST"]),
        _post("/api/examples", _Example, lambda wanted: {"name": make_example(studio.tables, wanted.name).name}),
        _post("/api/columns", _Columns, columns),
    ]


class _Example(msgspec.Struct):
    name: str = ""


class _Columns(msgspec.Struct, forbid_unknown_fields=True):
    table: str
    kinds: dict[str, str] = {}


# Training.


def _training(studio: Studio) -> list[Route]:
    def steer(word: str, _: Request) -> Response:
        session = studio.session
        if session is None or session.is_over:
            raise SettingError("no training is under way: start one first.")
        session.steer(word)
        return _json(session.facts())

    async def stream(_: Request) -> Response:
        headers = {**NO_STORE, "X-Accel-Buffering": "no"}
        return StreamingResponse(events(studio), media_type="text/event-stream", headers=headers)

    return [
        _post("/api/train", Order, lambda order: studio.begin(order).facts()),
        Route("/api/train/events", stream),
        *(Route(f"/api/train/{word}", partial(steer, word), methods=["POST"]) for word in ("pause", "resume", "stop")),
    ]


# Judging, trying, keeping.


def _using(studio: Studio) -> list[Route]:
    def losses(name: str) -> dict[str, Any]:
        history = read_run(studio.run_path(name)).history()
        valid = history.validation_losses
        return {"losses": history.losses.tolist(), "validation": None if valid is None else valid.tolist()}

    def onnx(name: str) -> Response:
        headers = {**NO_STORE, "Content-Disposition": f'attachment; filename="{name}.onnx"'}
        model = onnx_model(studio.model(name)).SerializeToString()
        return Response(model, media_type="application/octet-stream", headers=headers)

    def script(request: Request) -> Response:
        kind = request.query_params.get("kind", "plainnet")
        return PlainTextResponse(script_of(read_run(studio.run_path(request.path_params["name"])), kind))

    async def predictions(request: Request) -> Response:
        estimator = await run_in_threadpool(studio.model, request.path_params["name"])
        with TemporaryDirectory(dir=studio.work, prefix=".rows-") as folder:
            path = await receive(request.stream(), Path(folder), request.query_params.get("name", ""))
            content = await run_in_threadpool(lambda: predictions_csv(estimator, read_table(path)))
        return Response(content, media_type="text/csv")

    run = "/api/runs/{name}"
    return [
        _get(run, lambda name: judge(studio.run_path(name))),
        _get(f"{run}/losses", losses),
        _get(f"{run}/form", lambda name: form(studio.model(name))),
        _get(f"{run}/importance", lambda name: importance(studio.run_path(name), studio.model(name))),
        _post(f"{run}/answer", dict[str, Any], lambda values, name: answer(studio.model(name), values)),
        _post(
            f"{run}/why", dict[str, Any], lambda values, name: why(studio.run_path(name), studio.model(name), values)
        ),
        _get(f"{run}/model", lambda name: _file(studio.run_path(name), "model.safetensors")),
        _get(f"{run}/report", lambda name: _file(studio.run_path(name), "report.html")),
        _get(f"{run}/onnx", onnx),
        Route(f"{run}/script", script),
        Route(f"{run}/predictions", predictions, methods=["POST"]),
    ]


def _file(run: Path, name: str) -> Response:
    if not (run / name).is_file():
        raise RunError(f"the run {run.name!r} has no {name}. `plainnet report` writes the report again.")
    return FileResponse(run / name, filename=f"{run.name}-{name}", headers=NO_STORE)


def _json(content: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, NO_STORE, "application/json")


async def _refused(_: Request, error: Exception) -> Response:
    """Answer our errors in words: 409 where a training is under way, 404 where a run or table is not there, else 422."""
    status = 409 if isinstance(error, BusyError) else 404 if isinstance(error, RunError) else 422
    return _json({"error": str(error)}, status)


async def _gone(_: Request, __: Exception) -> Response:
    """Answer nobody: the browser broke an upload off, and nothing of it was kept."""
    return Response(status_code=400)


# The server.


def serve(work: Path, port: int, *, opens: bool, say: Callable[[str], None]) -> None:
    """Serve the page on 127.0.0.1 until Ctrl-C; a training under way then ends, and its best networks so far are kept.

    Args:
        work: folder of tables and runs; made where it is not there.
        port: 0: any free one.
        opens: open the page in the browser.
        say: is told where the page is.

    Raises:
        SettingError: the port is taken.
        RunError: the work folder cannot be made.
    """
    sock = listen("127.0.0.1", port)
    studio = Studio(work.absolute())
    port = sock.getsockname()[1]
    server = server_of(app_of(studio, "127.0.0.1", port), "127.0.0.1", port)
    studio.is_ending = lambda: server.should_exit
    address = f"http://127.0.0.1:{port}/?token={studio.once}"
    say(
        f"plainnet studio: {address}\nThe address works once. Tables and runs are kept in {studio.work}. Ctrl-C ends it."
    )
    # On Linux without a screen, Python would open a browser that takes the terminal.
    has_screen = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if opens and has_screen:
        threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    try:
        run_server(server, sock)
    finally:
        session = studio.session
        if session is not None and not session.is_over:
            session.steer("stop")
            say("Ending the training; its best networks so far are kept.")
            session.join(60)
