"""Work on the next things in other threads, while the caller works on this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["ahead"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def ahead(work: Callable[[Item], Result], items: Iterable[Item], threads: int = 1) -> Generator[Result, None, None]:
    """Yield ``work(item)`` of each item, in their order; those of the next ones are made meanwhile.

    What an item's work raises is raised in its place. There are never more than ``threads`` results beside the one that was yielded,
    which is not held here.

    Args:
        work: is done in the threads.
        items: asked for in the caller's thread, as many ahead as there are threads.
        threads: how many.

    >>> list(ahead(abs, [-1, -2, -3]))
    [1, 2, 3]
    """
    with ThreadPoolExecutor(threads, "plainnet-ahead") as pool:
        coming: deque[Future[Result]] = deque()
        try:
            for item in items:
                coming.append(pool.submit(work, item))
                if len(coming) > threads:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            for each in coming:  # of a caller that wants no more
                each.cancel()
