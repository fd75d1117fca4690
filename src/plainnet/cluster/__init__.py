"""The same trainings on many processes and machines, by Ray: ``plainnet.cluster.train`` and ``plainnet.cluster.spread``."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plainnet.cluster.cluster import spread, train

__all__ = ["spread", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'plainnet.cluster' has no attribute {name!r}")
    from plainnet.cluster import cluster  # late: a task that encodes rows needs no torch

    return getattr(cluster, name)
