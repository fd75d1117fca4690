"""A request's body  ->  its answer: which reader, which thread, which form.

Requests of few rows of JSON go through ``batches``; everything else through a second thread, so that a table of 100 000 rows is not
waited for by a single row.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

import msgspec
import polars as pl
from starlette.responses import Response
from starlette.types import Receive, Scope

from plainnet.errors import SettingError
from plainnet.service import openapi, protocol
from plainnet.service.answers import ARROW_FILE, ARROW_STREAM, CSV, JSON, Answer, answer, media_type, written
from plainnet.service.arrow import read_arrow
from plainnet.service.batches import MOST_BATCH_ROWS, Batches, busy, too_late
from plainnet.service.guard import RefusalError
from plainnet.service.metrics import Metrics
from plainnet.service.models import Model
from plainnet.service.rows import Intake, Row

__all__ = ["Handler", "Limits", "Service", "reply"]

#: Bytes of JSON from which it is decoded in a thread.
LARGE_BODY = 64 * 2**10
#: Large requests that wait or are being predicted; a further one is sent away.
MOST_BULK = 16
#: Bodies in memory at once, in units of the largest that is taken.
MOST_BODIES = 8
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
        for name, value in vars(self).items():
            if not value > 0:
                raise SettingError(f"the limit {name} is {value}, and has to be above 0.")


def reply(body: bytes, media: str = JSON, status: int = 200, **headers: str) -> Response:
    """Make an answer that nobody keeps; Starlette would add a charset to a type that it is told of otherwise."""
    return Response(body, status, {"content-type": media, "cache-control": "no-store", **headers})


Handler = Callable[[Scope, Receive], Awaitable[Response]]


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
    batches: Batches = field(init=False)
    _bulk: ThreadPoolExecutor = field(init=False)
    _n_bulk: int = 0
    _body_bytes: int = 0

    def __post_init__(self) -> None:
        few = ThreadPoolExecutor(1, thread_name_prefix="few-rows")
        self._bulk = ThreadPoolExecutor(1, thread_name_prefix="many-rows")
        self.batches = Batches(self._predict_rows, few, self.limits.seconds)
        for model in self.models.values():
            self.metrics.begin(model)

    def _predict_rows(self, model: Model, rows: Sequence[Row]) -> Answer:
        self.metrics.batch_rows.observe(len(rows))
        found = answer(model.estimator, model.intake.cells_of(rows))
        self.metrics.predicted(model, rows)
        return found

    def _predict_table(self, model: Model, table: pl.DataFrame) -> Answer:
        found = answer(model.estimator, table)
        self.metrics.predicted(model, table)
        return found

    async def predict(self, name: str, scope: Scope, receive: Receive) -> Response:
        """Answer a table in any of the forms."""
        model = self.models[name]
        content_type, accept = JSON, ""
        for key, value in scope["headers"]:
            if key == b"content-type":
                content_type = value.decode("latin-1").partition(";")[0].strip().lower() or JSON
            elif key == b"accept":
                accept = value.decode("latin-1")
        media = media_type(accept)
        async with self._body(receive) as body:
            if content_type not in READERS:
                raise RefusalError(415, f"the body is {content_type!r:.80}. Send {', '.join(READERS)}.")
            table_of = partial(READERS[content_type], model.intake, body)
            if content_type == JSON and len(body) <= LARGE_BODY:
                rows = model.intake.rows_of_json(body)
                if len(rows) <= MOST_BATCH_ROWS:
                    return reply(written(await self.batches.ask(model, rows), media), media)
                table_of = partial(model.intake.table_of, rows)
            return reply(await self._in_bulk(lambda: written(self._predict_table(model, table_of()), media)), media)

    async def infer(self, name: str, scope: Scope, receive: Receive) -> Response:  # noqa: ARG002 - a handler takes both
        """Answer a request of the Open Inference Protocol."""
        model = self.models[name]

        def work(body: bytes) -> bytes:
            request, lists = protocol.lists_of(model, body)
            found = self._predict_table(model, model.intake.table_of_lists(lists))
            return _encode(protocol.infer_response(model, request, found))

        async with self._body(receive) as body:
            return reply(await self._in_bulk(lambda: work(body)))

    async def _in_bulk(self, work: Callable[[], bytes]) -> bytes:
        """Do something in the thread for large requests."""
        if self._n_bulk >= MOST_BULK:
            raise busy()
        self._n_bulk += 1
        task = asyncio.get_running_loop().run_in_executor(self._bulk, _without_panic, work)
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
        return _encode(openapi.describe(self.models, needs_token=self.needs_token, most_rows=self.limits.rows))

    def replaced(self, name: str, model: Model | None) -> None:
        """Note that a model's file was read anew, or, with None, could not be."""
        self.metrics.reloads.labels(name, "failed" if model is None else "replaced").inc()
        if model is not None:
            self.metrics.begin(model)

    def close(self) -> None:
        """End the threads, after what they do."""
        self.batches.pool.shutdown()
        self._bulk.shutdown()


def _without_panic(work: Callable[[], bytes]) -> bytes:
    """Do it; a panic of polars, which is no Exception, is the table's: a date beyond the calendar makes one."""
    try:
        return work()
    except pl.exceptions.PanicException:
        message = "the table holds values that cannot be read, such as dates beyond the calendar."
        raise RefusalError(422, message) from None


#: How a body becomes a table, by its media type.
READERS: dict[str, Callable[[Intake, bytes], pl.DataFrame]] = {
    JSON: lambda intake, body: intake.table_of(intake.rows_of_json(body)),
    CSV: Intake.table_of_csv,
    ARROW_STREAM: lambda intake, body: intake.checked(read_arrow(body, intake.most_rows)),
    ARROW_FILE: lambda intake, body: intake.checked(read_arrow(body, intake.most_rows)),
}
