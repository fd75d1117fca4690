"""Which engine runs a job, and why, in words.

Every engine is a function ``run(job) -> Iterator[Epoch]``. The eager engine is the specification: any other engine
has to give its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from plainnet.engines import eager
from plainnet.engines.job import Epoch, Job

__all__ = ["Engine", "choose_engine"]


@dataclass(frozen=True)
class Engine:
    """An engine that was chosen for a job.

    Attributes:
        name: the engine's name, as ``History.engine`` shows it.
        reason: why this engine, in words.
        run: starts the job; each ``next`` trains one epoch.
    """

    name: str
    reason: str
    run: Callable[[Job], Iterator[Epoch]]


def choose_engine(job: Job) -> Engine:
    """Choose the engine for a job.

    Args:
        job: what is to be trained.

    Returns:
        The eager engine, the only one there is so far.
    """
    device = next(job.model.parameters()).device.type
    return Engine("eager", f"the plain PyTorch loop, on {device}", eager.run)
