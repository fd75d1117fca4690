"""What the server knows, and tells every tab: tables and runs of the work folder, and the one training under way."""

from __future__ import annotations

import asyncio
import hmac
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from plainnet.errors import RunError, SettingError
from plainnet.evaluation.evaluation import Estimator
from plainnet.runs.runs import read_model_of
from plainnet.studio.session import Order, Session
from plainnet.studio.tables import remembered, table_path

__all__ = ["BusyError", "Studio", "events"]

#: Seconds between two events of a training, and between two looks whether there is any.
EVENT_SECONDS, IDLE_SECONDS = 0.1, 0.3
#: Seconds after which a silent stream says that it is alive.
ALIVE_SECONDS = 15.0


class BusyError(SettingError):
    """A training is under way."""


class Studio:
    """What the server knows.

    Attributes:
        work: the folder that holds ``tables`` and ``runs``.
        session: the training under way, or the last; None before the first.
        is_ending: whether the server is about to end, and streams are to.
    """

    def __init__(self, work: Path) -> None:
        self.work, self.tables, self.runs = work, work / "tables", work / "runs"
        self.session: Session | None = None
        self.is_ending: Callable[[], bool] = lambda: False
        self.key, self.once = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self._lock = threading.Lock()
        for folder in (work, self.tables, self.runs):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RunError(
                    f"the work folder {str(folder)!r} cannot be made: {error.strerror}. Choose --work."
                ) from error

    def begin(self, order: Order) -> Session:
        """Start a training.

        Raises:
            SettingError: one is under way.
            TableError: there is no such table.
        """
        with self._lock:
            if self.session is not None and not self.session.is_over:
                raise BusyError(
                    "a training is under way, and only one at a time is run. Stop it, or wait until it has ended."
                )
            number = 1 if self.session is None else self.session.number + 1
            self.session = Session(order, table_path(self.work, order.table), self.runs, number)
            self.session.start()
            return self.session

    def run_path(self, name: str) -> Path:
        """Return the folder of a run by its name.

        Raises:
            RunError: there is none of that name.
        """
        for path in self.runs.iterdir():
            if path.name == name and not name.startswith("."):
                return path
        raise RunError(f"there is no run {name[:60]!r} in {str(self.runs)!r}: choose one of the list.")

    def model(self, name: str) -> Estimator:
        """Read a run's model; the last four are kept in memory."""
        return _model(self.run_path(name))

    def let_in(self, token: str) -> bool:
        """Whether a token is the one that works once; from now on it does not."""
        with self._lock:
            is_right = bool(self.once) and hmac.compare_digest(token.encode(), self.once.encode())
            self.once = "" if is_right else self.once
            return is_right


_model = remembered(4)(read_model_of)


async def events(studio: Studio) -> AsyncIterator[bytes]:
    """Yield server-sent events: what is new about the training under way, at most ten times a second.

    The first event has everything so far, so that a page that comes back draws all of it.
    """
    number, version, silent = 0, -1, 0.0
    sent: dict[int, int] = {}
    pictures: list[Any] = [None, None]
    while not studio.is_ending():
        session = studio.session
        if session is None or (session.number == number and session.version == version):
            silent += IDLE_SECONDS
            if silent >= ALIVE_SECONDS:
                silent = 0.0
                yield b": alive\n\n"
            await asyncio.sleep(IDLE_SECONDS)
            continue
        if session.number != number:
            number, sent, pictures = session.number, {}, [None, None]
        silent, version = 0.0, session.version
        event: dict[str, Any] = {"training": session.facts(), "curves": session.news(sent)}
        if session.plane is not None and session.surface is not pictures[0]:
            if pictures[0] is None:
                event["plane"] = session.plane.to_json()
            event["surface"] = pictures[0] = session.surface
        if session.drawing is not pictures[1]:
            event["network"] = pictures[1] = session.drawing
        yield b"data: " + msgspec.json.encode(event) + b"\n\n"
        await asyncio.sleep(EVENT_SECONDS)
