"""Ctrl-C and SIGTERM: both end what is under way in the same way, and keep what there is."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

__all__ = ["exit_code", "listening", "name"]

#: The SIGTERMs that came.
_came: list[int] = []


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Have SIGTERM do inside the block what Ctrl-C does; a second one is not listened to: who is in a hurry kills."""

    def raised(number: int, frame: Any) -> None:
        _came.append(number)
        if len(_came) == 1:
            handler = signal.getsignal(signal.SIGINT)
            if not callable(handler):  # a shell's background job has SIGINT ignored
                raise KeyboardInterrupt
            handler(signal.SIGINT, frame)

    _came.clear()
    before = signal.signal(signal.SIGTERM, raised)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def exit_code() -> int:
    """Return the exit code of what was stopped: 143 after SIGTERM, 130 after Ctrl-C (128 and the signal's number)."""
    return 143 if _came else 130


def name() -> str:
    """Say what stopped it."""
    return "SIGTERM" if _came else "Ctrl-C"
