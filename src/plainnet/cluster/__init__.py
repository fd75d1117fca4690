"""The same trainings on many processes and machines, by Ray: ``plainnet.cluster.train``."""

from plainnet.cluster.cluster import train

__all__ = ["train"]
