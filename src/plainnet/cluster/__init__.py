"""The same trainings on many processes and machines, by Ray: ``plainnet.cluster.train`` and ``plainnet.cluster.spread``."""

from plainnet.cluster.cluster import spread, train

__all__ = ["spread", "train"]
