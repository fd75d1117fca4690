"""A request's body  ->  its answer: which reader, which thread, which form.

Requests of few rows of JSON that come together are answered together: a prediction of sixty rows takes hardly longer than one of a
single row. While one batch is predicted, in a thread, the event loop goes on reading, and what it has read by then is the next batch:
no timer decides, and a request that comes alone does not wait. Everything else goes through a second thread, so that a table of
100 000 rows is not waited for by a single row. What is counted here is counted in the event loop's thread, so that there are no locks.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import msgspec
import polars as pl
from starlette.responses import Response
from starlette.types import Receive, Scope

from plainnet.errors import SettingError
from plainnet.service import openapi, protocol
from plainnet.service.answers import ARROW_FILE, ARROW_STREAM, CSV, JSON, Answer, answer, media_type, written
from plainnet.service.arrow import read_arrow
from plainnet.service.guard import RefusalError
from plainnet.service.metrics import Metrics
from plainnet.service.models import Model
from plainnet.service.rows import Intake, Row

__all__ = ["Handler", "Limits", "Service", "reply"]

#: Rows of one batch, and of a request that may join one.
MOST_BATCH_ROWS = 256
#: Rows that wait; a request beyond them is sent away.
MOST_WAITING_ROWS = 4096
#: Bytes of JSON from which it is decoded in a thread.
LARGE_BODY = 64 * 2**10
#: Large requests that wait or are being predicted; a further one is sent away.
MOST_BULK = 16
#: Bodies in memory at once, in units of the largest that is taken.
MOST_BODIES = 8


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


def reply(body: bytes, media: str = JSON, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> Response:
    """Make an answer that nobody keeps; Starlette, told of its type, would add a charset to it, and take twice the time."""
    response = Response(body, status)
    response.raw_headers += [(b"content-type", media.encode()), (b"cache-control", b"no-store"), *headers]
    return response


Handler = Callable[[Scope, Receive], Awaitable[Response]]


class _Waiting(NamedTuple):
    """One request that waits."""

    model: Model
    rows: Sequence[Row]
    arrived: float
    result: asyncio.Future[Answer]


@dataclass
class Batches:
    """The requests that wait for the next batch.

    Attributes:
        work: predicts rows of one model; called in ``pool``.
        pool: of one thread.
        seconds: after which a request that still waits is sent away.
    """

    work: Callable[[Model, Sequence[Row]], Answer]
    pool: ThreadPoolExecutor
    seconds: float
    _queue: deque[_Waiting] = field(default_factory=deque)
    _waiting_rows: int = 0
    _task: asyncio.Task[None] | None = None

    async def ask(self, model: Model, rows: Sequence[Row]) -> Answer:
        """Return the answer for some rows, at most MOST_BATCH_ROWS.

        Raises:
            RefusalError: 503 where too much waits already, or for too long.
        """
        if self._waiting_rows + len(rows) > MOST_WAITING_ROWS:
            raise busy()
        loop = asyncio.get_running_loop()
        one = _Waiting(model, rows, time.monotonic(), loop.create_future())
        self._queue.append(one)
        self._waiting_rows += len(rows)
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._work_off())
        return await one.result

    async def _work_off(self) -> None:
        """Predict batch after batch until nothing waits."""
        await asyncio.sleep(0)  # what the loop has read in this turn comes along
        while batch := self._take():
            await self._answer(batch)

    async def _answer(self, batch: Sequence[_Waiting]) -> None:
        rows = [row for one in batch for row in one.rows]
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self.pool, self.work, batch[0].model, rows)
        except Exception as error:  # noqa: BLE001 - it is the request's
            if len(batch) > 1:  # each alone, so that one's trouble is not the others'
                for one in batch:
                    await self._answer([one])
            elif not batch[0].result.done():
                batch[0].result.set_exception(error)
            return
        first = 0
        for one in batch:
            stop = first + len(one.rows)
            if not one.result.done():  # else its client has gone
                one.result.set_result(answer.part(first, stop))
            first = stop

    def _take(self) -> list[_Waiting]:
        """Take the oldest requests, of one model, off the queue."""
        batch: list[_Waiting] = []
        queue, n_rows, too_old = self._queue, 0, time.monotonic() - self.seconds
        while queue and n_rows + len(queue[0].rows) <= MOST_BATCH_ROWS:
            one = queue[0]
            if batch and one.model is not batch[0].model:
                break
            queue.popleft()
            self._waiting_rows -= len(one.rows)
            if one.result.done():
                continue
            if one.arrived < too_old:
                one.result.set_exception(too_late(self.seconds))
                continue
            n_rows += len(one.rows)
            batch.append(one)
        return batch


def busy() -> RefusalError:
    """Make the error for a request that comes while too many wait."""
    return RefusalError(503, "too many requests wait. Try again in a second.", headers={"retry-after": "1"})


def too_late(seconds: float) -> RefusalError:
    """Make the error for a request that took too long."""
    return RefusalError(503, f"no answer within {seconds:g} seconds.", headers={"retry-after": "5"})


class Service:
    """The models that are served, and what waits for them.

    Attributes:
        models: by name; the values are replaced when their files change.
        limits: of a request.
        needs_token: whether the guard asks for one.
        metrics: what is measured.
    """

    def __init__(self, models: MutableMapping[str, Model], limits: Limits, *, needs_token: bool = False) -> None:
        self.models, self.limits, self.needs_token, self.metrics = models, limits, needs_token, Metrics()
        few, self._bulk = (ThreadPoolExecutor(1, thread_name_prefix=f"{each}-rows") for each in ("few", "many"))
        self.batches = Batches(self._predict, few, limits.seconds)
        self._large: set[asyncio.Future[bytes]] = set()
        self._body_bytes = 0
        for model in models.values():
            self.metrics.begin(model)

    def _predict(self, model: Model, rows: Sequence[Row] | pl.DataFrame) -> Answer:
        if isinstance(rows, pl.DataFrame):
            found = answer(model.estimator, rows)
        else:
            self.metrics.batch_rows.observe(len(rows))
            found = answer(model.estimator, model.intake.cells_of(rows))
        self.metrics.predicted(model, rows)
        return found

    async def predict(self, name: str, scope: Scope, receive: Receive) -> Response:
        """Answer a table in any of the forms."""
        model = self.models[name]
        headers = dict(scope["headers"])
        content_type = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower() or JSON
        media = media_type(headers.get(b"accept", b"").decode("latin-1"))
        async with self._body(receive) as body:
            if content_type not in READERS:
                raise RefusalError(415, f"the body is {content_type!r:.80}. Send {', '.join(READERS)}.")
            table_of = partial(READERS[content_type], model.intake, body)
            if content_type == JSON and len(body) <= LARGE_BODY:
                rows = model.intake.rows_of_json(body)
                if len(rows) <= MOST_BATCH_ROWS:
                    return reply(written(await self.batches.ask(model, rows), media), media)
                table_of = partial(model.intake.table_of, rows)
            return reply(await self._in_bulk(lambda: written(self._predict(model, table_of()), media)), media)

    async def infer(self, name: str, scope: Scope, receive: Receive) -> Response:  # noqa: ARG002 - a handler takes both
        """Answer a request of the Open Inference Protocol."""
        model = self.models[name]

        def work(body: bytes) -> bytes:
            request, lists = protocol.lists_of(model, body)
            found = self._predict(model, model.intake.table_of_lists(lists))
            return msgspec.json.encode(protocol.infer_response(model, request, found))

        async with self._body(receive) as body:
            return reply(await self._in_bulk(lambda: work(body)))

    async def _in_bulk(self, work: Callable[[], bytes]) -> bytes:
        """Do something in the thread for large requests."""
        if len(self._large) >= MOST_BULK:
            raise busy()
        task = asyncio.get_running_loop().run_in_executor(self._bulk, _without_panic, work)
        self._large.add(task)
        task.add_done_callback(self._large.discard)  # also where its client has gone: the thread is busy until then
        try:
            return await asyncio.wait_for(task, self.limits.seconds)
        except TimeoutError:
            raise too_late(self.limits.seconds) from None

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
        return msgspec.json.encode(
            openapi.describe(self.models, needs_token=self.needs_token, most_rows=self.limits.rows)
        )

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
