"""Scores of an estimator on a table, each with the number of rows and beside a baseline that looks at no column.

The metrics are scikit-learn's. The baseline always says the training rows' most frequent class (with their shares as
probabilities) or their mean: a network that is not better has learnt nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn import metrics

from plainnet.errors import TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.tables.wording import listed

__all__ = ["Score", "baseline_of", "evaluate", "score"]

Array = npt.NDArray[Any]

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
    """

    metric: str
    value: float
    baseline: float
    rows: int
    higher_is_better: bool

    def to_json(self) -> dict[str, Any]:
        """Return the score as plain values."""
        return asdict(self)


def baseline_of(estimator: NetClassifier | NetRegressor, y: Array) -> Array:
    """Measure the baseline on the training rows: the share of each class (C,), or the mean (1,) or (K,)."""
    if isinstance(estimator, NetClassifier):
        counts = np.array([(y == each).sum() for each in estimator.classes_], dtype=np.float64)
        return np.asarray(counts / counts.sum())
    return np.asarray(np.atleast_1d(y.mean(axis=0)))


def evaluate(estimator: NetClassifier | NetRegressor, table: pl.DataFrame, y: Array, baseline: Array) -> list[Score]:
    """Score an estimator on a table of N rows; the other arguments, the scores and the errors are those of ``score``."""
    is_class = isinstance(estimator, NetClassifier)
    if is_class:
        estimator.target_.encode(y)  # refuses unknown classes before the time of predicting is spent
    return score(estimator, estimator.predict_proba(table) if is_class else estimator.predict(table), y, baseline)


def score(estimator: NetClassifier | NetRegressor, predictions: Array, y: Array, baseline: Array) -> list[Score]:
    """Score an estimator's predictions.

    Args:
        estimator: fitted.
        predictions: (N, C) probabilities, or (N,) or (N, K) numbers.
        y: (N,) the targets of these rows.
        baseline: what ``baseline_of`` gave for the training rows.

    Returns:
        For classes: accuracy, balanced accuracy, log-loss, and AUC (one against the rest, averaged over the classes)
        where the rows hold every class. For numbers: RMSE and MAE in the target's unit, R² where the target varies.

    Raises:
        TableError: the target holds what the estimator does not predict.
    """
    if isinstance(estimator, NetClassifier):
        return _class_scores(estimator, predictions, y, baseline)
    if y.dtype.kind not in "fiub":
        raise TableError(
            f"the network predicts numbers, and the target column holds {listed(y.ravel()[:2].tolist())}, which are none: "
            "convert it to numbers."
        )
    y = y.astype(np.float64)
    return _number_scores(predictions, y, baseline)


def _class_scores(estimator: NetClassifier, predictions: Array, y: Array, shares: Array) -> list[Score]:
    codes = estimator.target_.encode(y)
    found = predictions.astype(np.float64)
    found /= found.sum(axis=1, keepdims=True)
    guessed = np.tile(shares, (len(y), 1))
    labels = np.arange(len(shares))

    def accuracy(p: Array) -> float:
        return float(metrics.accuracy_score(codes, p.argmax(axis=1)))

    def balanced_accuracy(p: Array) -> float:
        hits = p.argmax(axis=1) == codes
        return float(np.mean([hits[codes == code].mean() for code in np.unique(codes)]))

    def log_loss(p: Array) -> float:
        return float(metrics.log_loss(codes, p, labels=labels))

    def auc(p: Array) -> float:
        return float(metrics.roc_auc_score(codes, p[:, 1] if len(labels) == 2 else p, multi_class="ovr", labels=labels))

    wanted = [
        ("accuracy", accuracy, True),
        ("balanced accuracy", balanced_accuracy, True),
        ("log-loss", log_loss, False),
    ]
    if len(np.unique(codes)) == len(labels):
        wanted.insert(0, ("AUC", auc, True))
    return [Score(name, metric(found), metric(guessed), len(y), higher) for name, metric, higher in wanted]


def _number_scores(predicted: Array, y: Array, mean: Array) -> list[Score]:
    guessed = np.broadcast_to(mean if y.ndim > 1 else mean[0], y.shape)
    wanted = [
        ("RMSE", metrics.root_mean_squared_error, False),
        ("MAE", metrics.mean_absolute_error, False),
        ("R²", metrics.r2_score, True),
    ]
    if len(y) < 2 or not np.ptp(y, axis=0).all():
        wanted.pop()
    # Tiny numbers are squared in a unit of their own: in float64 the square of 1e-200 is 0.
    largest = float(np.abs(y).max(initial=0))
    unit = largest if 0 < largest < TINY else 1.0

    def value(name: str, metric: Callable[[Array, Array], float], values: Array) -> float:
        return float(metric(y / unit, values / unit)) * (1.0 if name == "R²" else unit)

    return [
        Score(name, value(name, metric, predicted), value(name, metric, guessed), len(y), higher)
        for name, metric, higher in wanted
    ]
