"""Bins of a number: where a piecewise linear code has its knots."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_BINS", "Weight", "find_knots", "positions"]

#: (N,) of each row; None: all weigh the same.
Weight = npt.NDArray[np.float64] | None

#: Bins of a column at most. A coded layer's time does not depend on it; 64 tell apart what a few hundred rows share.
MOST_BINS = 64


def find_knots(values: npt.NDArray[np.float64], weight: Weight = None, bins: int = MOST_BINS) -> tuple[float, ...]:
    """Return the knots between which a number is coded linearly: quantiles, in which no single value counts for more than a bin.

    Where few values are different, each is a knot. Where most rows hold one value (a capital gain of 0), plain quantiles would
    spend all knots on it: here its rows count as those of one bin, and the others share the rest.

    Args:
        values: (N,) finite numbers.
        weight: (N,) of each row; a row of weight 2 counts like two rows.
        bins: at most.

    Returns:
        Up to bins + 1 different numbers, ascending; () where all values are the same or there are only two.

    >>> find_knots(np.array([0.0] * 90 + [1.0, 2.0, 3.0, 4.0]), bins=4)
    (0.0, 1.0, 2.0, 3.0, 4.0)
    """
    distinct, which = np.unique(values, return_inverse=True)
    if len(distinct) <= bins + 1:
        return tuple(distinct.tolist()) if len(distinct) > 2 else ()
    rows = np.bincount(which, weights=weight, minlength=len(distinct)).astype(np.float64)
    counted = rows
    for _ in range(3):  # what one value loses makes the bins smaller, which another may then be larger than
        counted = np.minimum(rows, counted.sum() / bins)
    ranks = np.cumsum(counted) - counted / 2
    knots = np.unique(np.interp(np.linspace(ranks[0], ranks[-1], bins + 1), ranks, distinct))
    return tuple(knots.tolist())


def positions(values: npt.NDArray[np.float64], knots: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return where values lie among the knots, from 0 (the first, and below) to 1 (the last, and above).

    >>> positions(np.array([-5.0, 0.0, 2.0, 10.0, 99.0]), (0.0, 1.0, 3.0, 10.0)).tolist()
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    return np.asarray(np.interp(values, knots, np.linspace(0, 1, len(knots))))
