"""Learning-rate schedules: pure functions, step -> factor of the learning rate."""

from __future__ import annotations

from math import cos, pi

__all__ = ["warmup_cosine"]


def warmup_cosine(step: int, n_steps: int, warmup: float = 0.05) -> float:
    """Rise linearly for the first share of the steps, then fall to 0 along half a cosine wave.

    Args:
        step: steps taken so far.
        n_steps: steps planned.
        warmup: share of the steps spent rising, in [0, 1).

    >>> [round(warmup_cosine(step, 100, warmup=0.1), 3) for step in (0, 5, 10, 55, 100)]
    [0.1, 0.6, 1.0, 0.5, 0.0]
    """
    rising = max(1.0, warmup * n_steps)
    if step < rising:
        return min(1.0, (step + 1) / rising)
    return 0.5 * (1 + cos(pi * (step - rising) / max(1.0, n_steps - rising)))
