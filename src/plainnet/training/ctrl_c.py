"""Ctrl-C while other threads train."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["noted_ctrl_c"]


@contextlib.contextmanager
def noted_ctrl_c() -> Iterator[threading.Event]:
    """Have the first Ctrl-C inside the block set the event instead of raising KeyboardInterrupt; the second raises it.

    For a main thread that waits for others: an exception that is raised wherever it happens to be can be lost, in a finalizer or in
    a callback of the garbage collector, and the trainings would go on. Elsewhere than in the main thread, and where somebody else
    handles Ctrl-C in a way of their own, nothing is changed.
    """
    came = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield came
        return

    def note(number: int, frame: Any) -> None:
        if came.is_set():
            signal.default_int_handler(number, frame)
        came.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)
