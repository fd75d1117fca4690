"""Where the networks of ``train_many`` are trained: on threads of this process, or where a block says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from plainnet.training.history import History

__all__ = ["elsewhere", "trained_by"]

#: Trains as ``train_many`` does, and is called with its arguments.
Trainer = Callable[..., list[History]]

#: What trains in place of this process's threads; None: they do.
elsewhere: ContextVar[Trainer | None] = ContextVar("elsewhere", default=None)


@contextlib.contextmanager
def trained_by(trainer: Trainer) -> Iterator[None]:
    """Have ``trainer`` train all that ``train_many`` is asked for inside the block, on this thread."""
    token = elsewhere.set(trainer)
    try:
        yield
    finally:
        elsewhere.reset(token)
