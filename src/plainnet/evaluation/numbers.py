"""The metrics of numbers: predictions  ->  RMSE, MAE, R² …, and those of quantiles, counts and intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from plainnet.evaluation.bootstrap import Measure, mean_over_rows

__all__ = ["COVERAGE", "interval_measures", "number_measures", "quantile_measures"]

Array = npt.NDArray[Any]

#: Of the prediction intervals that are scored.
COVERAGE = 0.9
#: Least divisor of a MAPE, as in scikit-learn.
EPSILON = float(np.finfo(np.float64).eps)


def number_measures(y: Array, *, are_counts: bool = False, unit: float = 1.0) -> list[Measure]:
    """Return the metrics that these targets can be measured with; of several numbers a row, the mean of each number's metric.

    Args:
        y: (N, K) targets.
        are_counts: whether the network predicts the expectation of counts.
        unit: that y was divided by.

    Returns:
        Measures of (N, K) predictions: R² where each number varies, MAPE where none is 0, the Poisson deviance of counts.
    """

    def rmses(p: Array, counts: Array) -> Array:
        return np.asarray(np.sqrt(counts @ (y - p) ** 2 / len(y)).mean(axis=1))

    found = [
        Measure("RMSE", _value(metrics.root_mean_squared_error, y), rmses, False, unit=unit),
        Measure("MAE", _value(metrics.mean_absolute_error, y), mean_over_rows(lambda p: np.abs(y - p).mean(axis=1)), False, unit=unit),
    ]  # fmt: skip
    if len(y) > 1 and np.ptp(y, axis=0).all():
        found.append(Measure("R²", _value(metrics.r2_score, y), lambda p, counts: _r2s(y, p, counts)))
    median = _value(metrics.median_absolute_error, y)
    found.append(Measure("median absolute error", median, lambda p, counts: _medians(np.abs(y - p), counts), False, unit=unit))  # fmt: skip
    if (y != 0).all():
        shares = mean_over_rows(lambda p: (np.abs(y - p) / np.maximum(np.abs(y), EPSILON)).mean(axis=1))
        found.append(Measure("MAPE", _value(metrics.mean_absolute_percentage_error, y), shares, False))
    if are_counts and y.min() >= 0:
        found.append(_deviance(y, unit))
    return found


def _value(metric: Callable[[Array, Array], float], y: Array) -> Callable[[Array], float]:
    return lambda p: float(metric(y, p))


def _deviance(y: Array, unit: float) -> Measure:
    least = float(np.finfo(np.float64).tiny)  # an expectation is above 0; in float64 it may be rounded to it

    def value(p: Array) -> float:
        columns = zip(y.T, np.maximum(p, least).T, strict=True)
        return float(np.mean([metrics.mean_poisson_deviance(own, said) for own, said in columns]))

    def of_rows(p: Array) -> Array:
        p = np.maximum(p, least)
        return np.asarray((2 * (y * np.log(np.maximum(y, least) / p) - y + p)).mean(axis=1))

    return Measure("Poisson deviance", value, mean_over_rows(of_rows), higher_is_better=False, unit=unit)


def quantile_measures(y: Array, shares: Sequence[float], *, unit: float = 1.0) -> list[Measure]:
    """Return the metrics of predicted quantiles: measures of (N, Q) predictions.

    Args:
        y: (N, 1) targets.
        shares: the quantiles, ascending, (Q,).
        unit: that y was divided by.

    Returns:
        The mean pinball loss, and where there are two quantiles or more, how many targets lie between the outer ones.
    """
    own = y[:, 0]

    def pinball(p: Array) -> float:
        losses = [metrics.mean_pinball_loss(own, p[:, k], alpha=share) for k, share in enumerate(shares)]
        return float(np.mean(losses))

    def pinballs(p: Array) -> Array:
        away = y - p
        return np.asarray(np.maximum(np.array(shares) * away, (np.array(shares) - 1) * away).mean(axis=1))

    def inside(p: Array) -> Array:
        return np.asarray((p[:, 0] <= own) & (own <= p[:, -1]))

    found = [Measure("pinball loss", pinball, mean_over_rows(pinballs), higher_is_better=False, unit=unit)]
    if len(shares) > 1:
        aim = round(shares[-1] - shares[0], 9)
        name = f"{100 * aim:g} % interval coverage"
        found.append(Measure(name, lambda p: float(inside(p).mean()), mean_over_rows(inside), aim=aim))
    return found


def interval_measures(y: Array, reach: Array, guessed: Array, *, unit: float = 1.0) -> list[Measure]:
    """Return the metrics of prediction ± reach, the 90 % interval of ``predict_interval``.

    Args:
        y: (N, 1) targets.
        reach: (N,) half the width of each row's interval.
        guessed: (N, 1) the baseline's predictions: beside the width stands that of the interval around them that holds 90 % of these
            rows.
        unit: that all these were divided by.

    Returns:
        How many targets lie inside, and the mean width: measures of (N, 1) predictions.
    """
    own = y[:, 0]
    needed = np.abs(own - guessed[:, 0])
    width = float(np.quantile(needed, COVERAGE, method="higher"))
    percent = f"{100 * COVERAGE:g} %"

    def inside(p: Array) -> Array:
        return np.asarray(np.abs(own - p[:, 0]) <= reach)

    def covered(p: Array) -> float:
        return float(inside(p).mean())

    def mean_width(_: Array) -> float:
        return float(2 * reach.mean())

    guessed_coverage = float((needed <= width).mean())
    return [
        Measure(
            f"{percent} interval coverage", covered, mean_over_rows(inside), aim=COVERAGE, baseline=guessed_coverage
        ),
        Measure(f"{percent} interval width", mean_width, _widths(reach), False, baseline=2 * width, unit=unit),
    ]


def _widths(reach: Array) -> Callable[[Array, Array], Array]:
    """Return what resamples a width: where it is the same in every row, there is nothing to resample."""
    if np.ptp(reach) == 0:
        return lambda _, counts: np.full(len(counts), np.nan)
    return mean_over_rows(lambda _: 2 * reach)


def _r2s(y: Array, p: Array, counts: Array) -> Array:
    centred = y - y.mean(axis=0)
    spread = counts @ centred**2 - (counts @ centred) ** 2 / len(y)
    # Resamples of one value have no R²; what is left of their spread is rounding.
    spread = np.where(spread > 1e-12 * (centred**2).sum(axis=0), spread, np.nan)
    return np.asarray((1 - counts @ (y - p) ** 2 / spread).mean(axis=1))


def _medians(errors: Array, counts: Array) -> Array:
    """Return the median of each resample's errors, the mean of each number's."""
    n_rows, found = len(errors), np.zeros(len(counts))
    middle = [(n_rows - 1) // 2, n_rows // 2]
    for column in errors.T:
        order = np.argsort(column, kind="stable")
        ordered = column[order]
        for i, own in enumerate(counts):
            found[i] += ordered[np.searchsorted(np.cumsum(own[order]), middle, side="right")].mean()
    return np.asarray(found / errors.shape[1])
