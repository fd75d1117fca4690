"""Requests of few rows that come together are answered together.

A prediction of sixty rows takes hardly longer than one of a single row. While one batch is predicted, in a thread, the event
loop goes on reading, and what it has read by then is the next batch: no timer decides, and a request that comes alone does not
wait. Everything here runs in the event loop's thread, so that there are no locks.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from plainnet.service.answers import Answer
from plainnet.service.guard import RefusalError
from plainnet.service.models import Model
from plainnet.service.rows import Row

__all__ = ["Batches", "busy", "too_late"]

#: Rows of one batch, and of a request that may join one.
MOST_BATCH_ROWS = 256
#: Rows that wait; a request beyond them is sent away.
MOST_WAITING_ROWS = 4096


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
