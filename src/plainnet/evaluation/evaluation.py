"""Scores of an estimator on a table, each with its interval, the number of rows, and a baseline that looks at no column.

The metrics are scikit-learn's (``classes``, ``numbers``), the intervals the bootstrap's (``bootstrap``). The baseline always says the
training rows' most frequent class (with their shares as probabilities), their mean or their quantiles: a network that is not
better has learnt nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.errors import TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.evaluation.bootstrap import LEAST_ROWS, MOST_ROWS, SEED, Measure, draw_counts, draw_rows, interval_of
from plainnet.evaluation.classes import choose_threshold, class_measures, label_measures
from plainnet.evaluation.numbers import COVERAGE, interval_measures, number_measures, quantile_measures
from plainnet.tables.target import CountTarget, LabelsTarget
from plainnet.tables.wording import listed

__all__ = [
    "Array", "Estimator", "Score", "baseline_of", "check_targets", "evaluate", "predictions_of", "reach_of", "score", "threshold_of",
    "to_json", "what_is_left_out",
]  # fmt: skip

Array = npt.NDArray[Any]
Estimator = NetClassifier | NetRegressor

#: Targets below it are scored in a unit of their own.
TINY = 1e-100


@dataclass(frozen=True)
class Score:
    """One metric on one set of rows.

    Attributes:
        metric: its name.
        value: of the network.
        baseline: of the baseline, on the same rows.
        rows: how many rows it was measured on.
        higher_is_better: which way is good.
        low: lower end of the value's 95 % interval; None: there is none.
        high: its upper end.
        aim: what the value should be, where neither higher nor lower is better: the coverage of an interval; else None.
        replicates: (B,) the value on resamples of the rows, the same resamples for every network; None: too few rows.
    """

    metric: str
    value: float
    baseline: float
    rows: int
    higher_is_better: bool
    low: float | None = None
    high: float | None = None
    aim: float | None = None
    replicates: Array | None = field(default=None, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return the score as plain values, without the replicates."""
        return {name: value for name, value in vars(self).items() if name != "replicates"}


def to_json(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """Return scores as plain values."""
    return [each.to_json() for each in scores]


def baseline_of(estimator: Estimator, y: Array) -> Array:
    """Measure the baseline on the training rows.

    Args:
        estimator: fitted.
        y: their targets, (N,) or (N, K).

    Returns:
        The share of each class (C,) or label (L,), the mean (1,) or (K,), or the quantiles (Q,) that the estimator predicts.
    """
    if isinstance(estimator, NetClassifier) and y.ndim == 1:
        counts = np.array([(y == each).sum() for each in estimator.classes_], dtype=np.float64)
        return np.asarray(counts / counts.sum())
    if quantiles := getattr(estimator.target_, "quantiles", ()):
        return np.asarray(np.quantile(y, quantiles))
    return np.asarray(np.atleast_1d(y.mean(axis=0)))


def predictions_of(estimator: Estimator, table: pl.DataFrame) -> Array:
    """Predict what ``score`` wants: probabilities (N, C), or numbers (N,) or (N, K)."""
    return estimator.predict_proba(table) if isinstance(estimator, NetClassifier) else estimator.predict(table)


def threshold_of(estimator: Estimator, predictions: Array, y: Array) -> float | None:
    """Choose the probability of the second of two classes from which F1 says it.

    Args:
        estimator: fitted.
        predictions: (N, C) probabilities of rows that the networks did not train on: out of fold, or of validation rows.
        y: (N,) their classes.

    Returns:
        That of the highest F1; None where there are not two classes, or the rows hold one of them only.
    """
    if not isinstance(estimator, NetClassifier) or y.ndim > 1 or predictions.shape[1] != 2:
        return None
    return choose_threshold(predictions[:, 1], _codes_of(estimator, y))


def reach_of(estimator: Estimator, n_rows: int) -> Array | None:
    """Return half the width of the 90 % interval of each of N rows, (N,), as in ``predict_interval``; None: there is none."""
    residuals = getattr(estimator, "residuals_", None)
    if residuals is None:
        return None
    return np.full(n_rows, np.interp(COVERAGE, np.linspace(0, 1, len(residuals)), residuals))


def evaluate(
    estimator: Estimator, table: pl.DataFrame, y: Array, baseline: Array, *, threshold: float | None = None
) -> list[Score]:
    """Score an estimator on a table of N rows; the other arguments, the scores and the errors are those of ``score``."""
    check_targets(estimator, y)  # refuses unknown classes before the time of predicting is spent
    return score(estimator, predictions_of(estimator, table), y, baseline, threshold=threshold)


def score(
    estimator: Estimator,
    predictions: Array,
    y: Array,
    baseline: Array,
    *,
    threshold: float | Array | None = None,
    reach: Array | Literal["own"] | None = "own",
) -> list[Score]:
    """Score an estimator's predictions.

    Args:
        estimator: fitted.
        predictions: (N, C) probabilities, or (N,) or (N, K) numbers.
        y: (N,) the targets of these rows, or (N, K).
        baseline: what ``baseline_of`` gave for the training rows.
        threshold: of two classes, what ``threshold_of`` gave for rows that were not trained on, one or (N,); None: F1 at 0.5.
        reach: (N,) half the width of each row's 90 % interval; 'own': the estimator's; None: there is none.

    Returns:
        The scores, the chief one first. For two classes: AUC, average precision, accuracy, balanced accuracy, F1, log-loss, Brier
        score, calibration error; for more: AUC (one against the rest, the mean over the classes), accuracy, balanced accuracy,
        macro F1, top-3 accuracy from 6 classes on, log-loss, Brier score, calibration error. For labels: macro AUC, subset
        accuracy, log-loss. For numbers: RMSE, MAE, R², median absolute error, MAPE; for counts the Poisson deviance too; coverage
        and width of the 90 % interval where there is one. For quantiles: pinball loss, coverage. What is not defined on these
        rows is left out.

    Raises:
        TableError: the target holds what the estimator does not predict.
    """
    check_targets(estimator, y)
    n_rows = len(y)
    if n_rows == 0:
        raise TableError("there are no rows to score: pass a table with a target in one row at least.")
    if isinstance(estimator, NetClassifier):
        found = predictions.astype(np.float64)
        if not isinstance(estimator.target_, LabelsTarget):
            found /= found.sum(axis=1, keepdims=True)
        guessed = np.broadcast_to(baseline, found.shape)
    else:
        # Tiny numbers are squared in a unit of their own: in float64 the square of 1e-200 is 0.
        largest = float(np.abs(y.astype(np.float64)).max())
        unit = largest if 0 < largest < TINY else 1.0
        y = y.astype(np.float64).reshape(n_rows, -1) / unit
        found = predictions.reshape(n_rows, -1) / unit
        guessed = np.broadcast_to(baseline / unit, found.shape)
        reaches = reach_of(estimator, n_rows) if isinstance(reach, str) else reach
        reaches = None if reaches is None else reaches / unit

    def measures(rows: Array) -> list[Measure]:
        if isinstance(estimator, NetClassifier):
            if isinstance(estimator.target_, LabelsTarget):
                return label_measures(y[rows].astype(np.int64))
            at = threshold[rows] if isinstance(threshold, np.ndarray) else threshold
            return class_measures(_codes_of(estimator, y[rows]), found.shape[1], at)
        if quantiles := getattr(estimator.target_, "quantiles", ()):
            return quantile_measures(y[rows], quantiles, unit=unit)
        own = number_measures(y[rows], are_counts=isinstance(estimator.target_, CountTarget), unit=unit)
        return own if reaches is None else own + interval_measures(y[rows], reaches[rows], guessed[rows], unit=unit)

    drawn = draw_rows(n_rows, MOST_ROWS, np.random.RandomState(SEED))
    of_all = measures(np.arange(n_rows))
    of_drawn = {each.name: each for each in (of_all if len(drawn) == n_rows else measures(drawn))}
    counts = draw_counts(len(drawn)) if n_rows >= LEAST_ROWS else None
    return [_scored(each, of_drawn.get(each.name), found, guessed, drawn, counts) for each in of_all]


def _scored(
    of_all: Measure, of_drawn: Measure | None, found: Array, guessed: Array, drawn: Array, counts: Array | None
) -> Score:
    """Measure one metric, and resample it."""
    value = of_all.value(found)
    replicates = None
    if counts is not None and of_drawn is not None:
        replicates = of_drawn.resampled(found[drawn], counts)
        if len(drawn) < len(found):
            away = replicates - of_drawn.value(found[drawn])
            replicates = value + away * sqrt(len(drawn) / len(found))
        replicates = replicates * of_all.unit
    low, high = interval_of(replicates) or (None, None)
    baseline = of_all.value(guessed) if of_all.baseline is None else of_all.baseline
    return Score(
        of_all.name, value * of_all.unit, baseline * of_all.unit, len(found), of_all.higher_is_better, low, high, of_all.aim, replicates,
    )  # fmt: skip


def what_is_left_out(estimator: Estimator, y: Array) -> list[str]:
    """Say which scores these targets, (N,), leave out, and why: a sentence each, without a full stop."""
    said = []
    values = np.unique(y)
    if isinstance(estimator, NetClassifier) and y.ndim == 1 and len(values) < len(estimator.classes_):
        n_classes = len(estimator.classes_)
        without = "AUC, average precision and F1 are" if n_classes == 2 else "AUC is"
        one, some = f"are all of the class {values[0]!s:.40}", f"hold {len(values)} of {n_classes} classes"
        held = one if len(values) == 1 else some
        said.append(f"{without} left out, as the rows {held}")
    if isinstance(estimator, NetRegressor) and len(values) == 1 and not getattr(estimator.target_, "quantiles", ()):
        said.append(f"R² is left out, as all rows have the target {values[0]:g}")
    if len(y) < LEAST_ROWS:
        rows = "row is" if len(y) == 1 else "rows are"
        said.append(f"there are no intervals, as {len(y)} {rows} too few to stand for others")
    return said


def _codes_of(estimator: NetClassifier, y: Array) -> npt.NDArray[np.int64]:
    """Return the number of each row's class."""
    return estimator.target_.encode(y).astype(np.int64)


def check_targets(estimator: Estimator, y: Array) -> None:
    """Check that the targets are of the kind that is predicted.

    Raises:
        TableError: they are not.
    """
    if isinstance(estimator, NetClassifier):
        estimator.target_.encode(y)
    elif y.dtype.kind not in "fiub":
        raise TableError(
            f"the network predicts numbers, and the target column holds {listed(y.ravel()[:2].tolist())}, which are none: "
            "convert it to numbers."
        )
    elif not np.isfinite(y).all():
        raise TableError("the target holds NaN or infinity, which cannot be scored: drop those rows.")
