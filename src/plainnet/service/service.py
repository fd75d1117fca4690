"""The front room: models  ->  an ASGI app that predicts.

    service_of(models, limits, …)      the app: measured(guarded(routes))
    serve(models, host, port, …)       the app on a port, until SIGTERM

Every path is known when the service starts, so that a request is looked up in a dict: no web framework stands between the
bytes and the prediction. What a request goes through: metrics -> guard -> its route -> rows -> batches or bulk -> answers.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl

from plainnet.errors import SettingError
from plainnet.service import openapi, protocol
from plainnet.service.answers import ARROW_FILE, ARROW_STREAM, CSV, JSON, Answer, answer, media_type, written
from plainnet.service.arrow import read_arrow
from plainnet.service.batches import MOST_BATCH_ROWS, Batches, busy, too_late
from plainnet.service.guard import App, Receive, RefusalError, Scope, Send, allowed_hosts, guarded, is_local
from plainnet.service.metrics import CONTENT_TYPE, Metrics, measured
from plainnet.service.models import Model, follow, read
from plainnet.service.rows import Row

__all__ = ["Limits", "Service", "read_models", "serve", "service_of"]

#: Bytes of JSON from which it is decoded in a thread.
LARGE_BODY = 64 * 2**10
#: Large requests that wait or are being predicted; a further one is sent away.
MOST_BULK = 16
#: Bodies in memory at once, in units of the largest that is taken.
MOST_BODIES = 8
#: Paths that tell nothing, and need no token.
OPEN_PATHS = ("/health", "/v2/health/live", "/v2/health/ready", "/docs", "/docs.js", "/docs.css")

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Limits:
    """What a request may be.

    Attributes:
        body_bytes: of its body.
        rows: of its table.
        seconds: until its answer, beside those for its body to arrive.
        body_seconds: until its body is there.
    """

    body_bytes: int = 16 * 2**20
    rows: int = 100_000
    seconds: float = 30.0
    body_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("body_bytes", "rows", "seconds", "body_seconds"):
            if not getattr(self, name) > 0:
                raise SettingError(f"the limit {name} is {getattr(self, name)}, and has to be above 0.")


class Reply(NamedTuple):
    """An answer over HTTP."""

    body: bytes
    media: str = JSON
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = ()


Handler = Callable[[Scope, Receive], Awaitable[Reply]]


@dataclass
class Service:
    """The models that are served, and what waits for them.

    Attributes:
        models: by name; the values are replaced when their files change.
        limits: of a request.
        needs_token: whether the guard asks for one.
        metrics: what is measured.
    """

    models: MutableMapping[str, Model]
    limits: Limits
    needs_token: bool = False
    metrics: Metrics = field(default_factory=Metrics)
    batches: Batches[Model] = field(init=False)
    _bulk: ThreadPoolExecutor = field(init=False)
    _n_bulk: int = 0
    _body_bytes: int = 0

    def __post_init__(self) -> None:
        # A thread for small requests and one for large ones: a table of 100 000 rows is not waited for by a single row.
        few = ThreadPoolExecutor(1, thread_name_prefix="few-rows")
        self._bulk = ThreadPoolExecutor(1, thread_name_prefix="many-rows")
        self.batches = Batches(self._predict_rows, few, self.limits.seconds)
        for name, model in self.models.items():
            self.metrics.begin(name, model.estimator.schema_)

    def _predict_rows(self, model: Model, rows: Sequence[Row]) -> Answer:
        self.metrics.batch_rows.observe(len(rows))
        return self._predict_table(model, model.intake.table_of(rows))

    def _predict_table(self, model: Model, table: pl.DataFrame) -> Answer:
        found = answer(model.estimator, table)
        self.metrics.predicted(model.name, model.estimator.schema_, table)
        return found

    async def predict(self, name: str, scope: Scope, receive: Receive) -> Reply:
        """Answer a table in any of the forms."""
        model = self.models[name]
        content_type = accept = ""
        for key, value in scope["headers"]:
            if key == b"content-type":
                content_type = value.decode("latin-1").partition(";")[0].strip().lower()
            elif key == b"accept":
                accept = value.decode("latin-1")
        media = media_type(accept)
        async with self._body(receive) as body:
            if content_type in (JSON, "") and len(body) <= LARGE_BODY:
                rows = model.intake.rows_of_json(body)
                if len(rows) <= MOST_BATCH_ROWS:
                    return Reply(written(await self.batches.ask(model, rows), media), media)
                return Reply(
                    await self._in_bulk(lambda: self._written(model, model.intake.table_of(rows), media)), media
                )
            if content_type not in READERS:
                raise RefusalError(415, f"the body is {content_type!r:.80}. Send {', '.join(filter(None, READERS))}.")
            table_of = READERS[content_type]
            return Reply(await self._in_bulk(lambda: self._written(model, table_of(model, body), media)), media)

    def _written(self, model: Model, table: pl.DataFrame, media: str) -> bytes:
        return written(self._predict_table(model, table), media)

    async def infer(self, name: str, scope: Scope, receive: Receive) -> Reply:  # noqa: ARG002 - a handler takes both
        """Answer a request of the Open Inference Protocol."""
        model = self.models[name]

        def work(body: bytes) -> bytes:
            request, lists = protocol.lists_of(model, body)
            found = self._predict_table(model, model.intake.table_of_lists(lists))
            return _encode(protocol.infer_response(model, request, found))

        async with self._body(receive) as body:
            return Reply(await self._in_bulk(lambda: work(body)))

    async def _in_bulk(self, work: Callable[[], bytes]) -> bytes:
        """Do something in the thread for large requests."""
        if self._n_bulk >= MOST_BULK:
            raise busy()
        self._n_bulk += 1
        task = asyncio.get_running_loop().run_in_executor(self._bulk, work)
        task.add_done_callback(self._bulk_done)  # also where its client has gone: the thread is busy until then
        try:
            return await asyncio.wait_for(task, self.limits.seconds)
        except TimeoutError:
            raise too_late(self.limits.seconds) from None

    def _bulk_done(self, _: asyncio.Future[bytes]) -> None:
        self._n_bulk -= 1

    @asynccontextmanager
    async def _body(self, receive: Receive) -> AsyncIterator[bytes]:
        """Read the body, and hold it: what all requests hold together is limited."""
        parts, size = [], 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RefusalError(400, "the connection ended before the body did.")
                part = message.get("body", b"")
                parts.append(part)
                size += len(part)
                self._body_bytes += len(part)
                if self._body_bytes > MOST_BODIES * self.limits.body_bytes:
                    raise busy()
                if not message.get("more_body", False):
                    break
            yield parts[0] if len(parts) == 1 else b"".join(parts)
        finally:
            self._body_bytes -= size

    def description(self) -> bytes:
        """Return the OpenAPI document."""
        found = openapi.describe(self.models, needs_token=self.needs_token, most_rows=self.limits.rows)
        return _encode(found)

    def replaced(self, name: str, model: Model | None) -> None:
        """Note that a model's file was read anew, or, with None, could not be."""
        self.metrics.reloads.labels(name, "failed" if model is None else "replaced").inc()
        if model is not None:
            self.metrics.begin(name, model.estimator.schema_)

    def close(self) -> None:
        """End the threads, after what they do."""
        self.batches.pool.shutdown()
        self._bulk.shutdown()


#: How a body becomes a table, by its media type.
READERS: dict[str, Callable[[Model, bytes], pl.DataFrame]] = {
    "": lambda model, body: model.intake.table_of(model.intake.rows_of_json(body)),
    JSON: lambda model, body: model.intake.table_of(model.intake.rows_of_json(body)),
    CSV: lambda model, body: model.intake.table_of_csv(body),
    ARROW_STREAM: lambda model, body: model.intake.checked(read_arrow(body, model.intake.most_rows)),
    ARROW_FILE: lambda model, body: model.intake.checked(read_arrow(body, model.intake.most_rows)),
}


def _routes(service: Service) -> dict[str, dict[str, Handler]]:
    """Return what each path answers, by method."""

    def fixed(body: Any) -> dict[str, Handler]:
        reply = Reply(_encode(body))
        return {"GET": lambda _, __: _ready(reply)}

    def page(name: str, media: str) -> dict[str, Handler]:
        text = resources.files("plainnet.service").joinpath(name).read_bytes()
        return {"GET": lambda _, __: _ready(Reply(text, f"{media}; charset=utf-8"))}

    async def metrics(_: Scope, __: Receive) -> Reply:
        return Reply(await asyncio.to_thread(service.metrics.page), CONTENT_TYPE)

    routes: dict[str, dict[str, Handler]] = {
        "/": {"GET": lambda _, __: _ready(Reply(b"", "text/plain", 307, ((b"location", b"/docs"),)))},
        "/docs": page("docs.html", "text/html"),
        "/docs.js": page("docs.js", "text/javascript"),
        "/docs.css": page("docs.css", "text/css"),
        "/health": fixed({"status": "ok"}),
        "/metrics": {"GET": metrics},
        "/openapi.json": {"GET": lambda _, __: _ready(Reply(service.description()))},
        "/v2": fixed(protocol.server_metadata()),
        "/v2/health/live": fixed({"live": True}),
        "/v2/health/ready": fixed({"ready": True}),
    }
    for name in service.models:
        routes |= _model_routes(service, name)
    routes["/predict"] = routes[f"/models/{next(iter(service.models))}/predict"]
    return routes


def _model_routes(service: Service, name: str) -> dict[str, dict[str, Handler]]:
    ready = Reply(_encode({"name": name, "ready": True}))
    return {
        f"/models/{name}/predict": {"POST": lambda scope, receive: service.predict(name, scope, receive)},
        f"/v2/models/{name}": {
            "GET": lambda _, __: _ready(Reply(_encode(protocol.model_metadata(service.models[name]))))
        },
        f"/v2/models/{name}/ready": {"GET": lambda _, __: _ready(ready)},
        f"/v2/models/{name}/infer": {"POST": lambda scope, receive: service.infer(name, scope, receive)},
    }


async def _ready(reply: Reply) -> Reply:
    return reply


def service_of(
    service: Service,
    *,
    hosts: Collection[str] | None,
    token: str | None = None,
    lifespan: Callable[[], Any] | None = None,
) -> App:
    """Return the ASGI app of a service.

    Args:
        service: the models and the limits.
        hosts: the Host headers that are ours, of ``allowed_hosts``; None: any, which needs a token.
        token: what clients have to send; None: nothing.
        lifespan: an asynchronous context manager around all requests; None: nothing.

    Raises:
        SettingError: any host without a token.
    """
    routes = _routes(service)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send, lifespan)
            return
        methods = routes.get(scope["path"])
        if methods is None:
            raise RefusalError(404, "there is nothing at this path; /docs lists what there is.")
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        if method not in methods:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            raise RefusalError(405, f"this path takes {allowed}.", headers=[(b"allow", allowed.encode())])
        reply = await methods[method](scope, receive)
        headers = [
            (b"content-type", reply.media.encode()),
            (b"content-length", b"%d" % len(reply.body)),
            (b"cache-control", b"no-store"),
            *reply.headers,
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    guard = guarded(
        app,
        hosts=hosts,
        token=token,
        open_paths=OPEN_PATHS,
        most_body_bytes=service.limits.body_bytes,
        body_seconds=service.limits.body_seconds,
    )
    return measured(guard, service.metrics, routes)


async def _live(receive: Receive, send: Send, lifespan: Callable[[], Any] | None) -> None:
    await receive()
    if lifespan is None:
        await send({"type": "lifespan.startup.complete"})
        await receive()
    else:
        async with lifespan():
            await send({"type": "lifespan.startup.complete"})
            await receive()
    await send({"type": "lifespan.shutdown.complete"})


def read_models(paths: dict[str, Path], limits: Limits) -> dict[str, Model]:
    """Read models by their names.

    Raises:
        RunError, ModelFileError: one is missing, damaged, or cannot predict.
    """
    return {name: read(name, path, limits.rows) for name, path in paths.items()}


def serve(
    paths: dict[str, Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    also_hosts: Collection[str] = (),
    limits: Limits | None = None,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve models until SIGTERM or Ctrl-C; SIGHUP has their files read anew.

    Args:
        paths: run folders or model files, by the name in the URL; ``/predict`` asks the first.
        host: where to listen. Beyond this machine only with a token.
        port: 0 for any that is free.
        token: what clients have to send as ``Authorization: Bearer``.
        also_hosts: further names by which clients call this server.
        limits: of a request.
        ready: told the URL, once the models are read and before the first request is answered.

    Raises:
        SettingError: a host beyond this machine without a token, or a port that is taken.
        RunError, ModelFileError: a model cannot be served.
    """
    from plainnet.service.listen import listen, run, server_of

    limits = limits or Limits()
    if not is_local(host) and token is None:
        raise SettingError(
            f"--host {host} is reached from other machines, and needs a token: PLAINNET_TOKEN=$(openssl rand -hex 32), or --token."
        )
    with listen(host, port) as sock:
        port = sock.getsockname()[1]
        service = Service(read_models(paths, limits), limits, needs_token=token is not None)

        @asynccontextmanager
        async def following() -> AsyncIterator[None]:
            wake = asyncio.Event()
            if threading.current_thread() is threading.main_thread():
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, wake.set)
            task = asyncio.create_task(follow(service.models, wake, limits.rows, service.replaced))
            ready(f"http://{'[' + host + ']' if ':' in host else host}:{port}")
            yield
            task.cancel()

        app = service_of(service, hosts=allowed_hosts(host, port, also_hosts), token=token, lifespan=following)
        try:
            run(server_of(app, host, port), sock)
        finally:
            service.close()
