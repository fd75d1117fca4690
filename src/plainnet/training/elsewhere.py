"""Where networks are trained: in this process, or where a block says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

__all__ = ["NETWORKS", "SCANS", "trained_by"]

Trainer = Callable[..., Any]
Place = ContextVar[Trainer | None]

#: Trains in place of ``train_many``, with whose arguments it is called; None: the threads of this process do.
NETWORKS: Place = ContextVar("NETWORKS", default=None)
#: Encodes and trains on tables that are fitted piece by piece, as ``cluster.scans.train_scan`` does; None: this process does.
SCANS: Place = ContextVar("SCANS", default=None)


@contextlib.contextmanager
def trained_by(trainer: Trainer, place: Place = NETWORKS) -> Iterator[None]:
    """Have ``trainer`` do inside the block, on this thread, what ``place`` says."""
    token = place.set(trainer)
    try:
        yield
    finally:
        place.reset(token)
