"""The bootstrap: what a score would have been on other rows of the same kind  ->  its 95 % interval.

Rows are drawn again from the rows, as many and with replacement, some hundred times; the middle 95 % of the resamples' scores are
the interval (the percentile bootstrap: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13). A resample
is held as how often it has each row, so that a mean over rows of all resamples is one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LEAST_ROWS", "Measure", "draw_counts", "draw_rows", "interval_of", "mean_over_rows", "sums_by"]

Array = npt.NDArray[Any]

#: Rows below which there is no interval: so few can hardly stand for others.
LEAST_ROWS = 10
#: Rows that are resampled at most. Of larger tables as many are taken at random, and the interval is made narrower by the square root of
#: the shares (the m out of n bootstrap; Bickel, Götze and van Zwet 1997). Its width is then right to about 1 %.
MOST_ROWS = 10_000
#: Resamples, at least and at most, and rows of all resamples together between those: an ordinary table takes a few tenths of a second.
LEAST_RESAMPLES, MOST_RESAMPLES, DRAWS = 200, 1000, 4_000_000
#: Share of the resamples that the interval holds.
COVERAGE = 0.95
#: Of the draw: the same rows are drawn for the same number of rows, so that two networks are compared on the same resamples.
SEED = 0


@dataclass(frozen=True)
class Measure:
    """One metric of the predictions of N rows, whose targets it knows.

    Attributes:
        name: of the metric.
        value: predictions -> the metric, by scikit-learn.
        resampled: predictions, counts (B, N) -> the metric of each of B resamples, (B,); NaN where it is not defined.
        higher_is_better: which way is good.
        aim: what the value should be, where neither higher nor lower is better; else None.
        baseline: the baseline's value, where it is not that of the constant prediction.
        unit: by which values are multiplied in the end.
    """

    name: str
    value: Callable[[Array], float]
    resampled: Callable[[Array, Array], Array]
    higher_is_better: bool = True
    aim: float | None = None
    baseline: float | None = None
    unit: float = 1.0


def draw_rows(n_rows: int, most: int, random: np.random.RandomState) -> npt.NDArray[np.int64]:
    """Return the numbers of all rows, or of at most ``most`` drawn ones, ascending.

    >>> draw_rows(3, 10, np.random.RandomState(0))
    array([0, 1, 2])
    """
    return np.arange(n_rows) if n_rows <= most else np.sort(random.permutation(n_rows)[:most])


def draw_counts(n_rows: int) -> npt.NDArray[np.float64]:
    """Return how often each of B resamples has each row, (B, N); each sums to N.

    >>> draw_counts(50).shape, set(draw_counts(50).sum(axis=1).tolist())
    ((1000, 50), {50.0})
    """
    n_resamples = int(np.clip(DRAWS // n_rows, LEAST_RESAMPLES, MOST_RESAMPLES))
    random = np.random.RandomState(SEED)  # its numbers are frozen: the same interval for ever
    counts = np.empty((n_resamples, n_rows))
    for resample in counts:
        resample[:] = np.bincount(random.randint(0, n_rows, n_rows, dtype=np.int32), minlength=n_rows)
    return counts


def interval_of(replicates: Array | None) -> tuple[float, float] | None:
    """Return the middle 95 % of resampled scores, (B,); None where there are none, or a tenth of them is not defined."""
    if replicates is None:
        return None
    defined = replicates[np.isfinite(replicates)]
    if len(defined) < 0.9 * len(replicates):
        return None
    low, high = np.quantile(defined, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def mean_over_rows(of_rows: Callable[[Array], Array]) -> Callable[[Array, Array], Array]:
    """Return the ``resampled`` of a metric that is the mean of a value of each row: predictions -> (N,)."""
    return lambda predictions, counts: counts @ of_rows(predictions) / counts.shape[1]


def sums_by(codes: npt.NDArray[np.int64], n_codes: int, counts: Array, of_rows: Array | None = None) -> Array:
    """Sum a value of each row by its code, in each resample.

    Args:
        codes: (N,) from 0 to C - 1.
        n_codes: C.
        counts: (B, N).
        of_rows: (N,) values; None: 1.

    Returns:
        (B, C).
    """
    weights = (own if of_rows is None else own * of_rows for own in counts)
    return np.stack([np.bincount(codes, weights=each, minlength=n_codes) for each in weights])
