"""What explanations share: a table encoded once, which features are which column's, predictions and losses of encoded rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from plainnet.errors import DataWarning, SettingError, TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.inputs import read_series, warn_of_unseen
from plainnet.evaluation.evaluation import Array, Estimator, check_targets
from plainnet.packs.voting import predict_members
from plainnet.tables.encode import coded, encode, match_columns, width_of
from plainnet.tables.read import read_table
from plainnet.tables.schema import Schema
from plainnet.tables.tables import take_target
from plainnet.tables.wording import listed

__all__ = [
    "Features", "Judge", "batch_rows", "encoded", "feature_blocks", "judge", "output_of", "outputs", "seen_table", "table_and_y", "vote",
]  # fmt: skip

Features = npt.NDArray[np.float32]

#: Rows whose predictions are made in one call, and their features: bounds memory.
BATCH_ROWS, BATCH_CELLS = 50_000, 20_000_000


def feature_blocks(schema: Schema) -> dict[str, npt.NDArray[np.int64]]:
    """Return the features of each used column: its own, and the positions of its numbers, which stand last of all.

    >>> schema = Schema.learn(pl.DataFrame({"age": [30, 41, 57], "town": ["Ulm", "Bonn", "Ulm"]}))
    >>> from plainnet.tables.encode import feature_names
    >>> feature_names(schema)
    ['age', 'town', 'age: position']
    >>> feature_blocks(schema)
    {'age': array([0, 2]), 'town': array([1])}
    """
    first, place = 0, sum(map(width_of, schema.used))
    blocks = {}
    for column in schema.used:
        n_own, n_places = width_of(column), sum(1 for _ in coded(column))
        blocks[column.name] = np.r_[first : first + n_own, place : place + n_places]
        first, place = first + n_own, place + n_places
    return blocks


def batch_rows(n_features: int) -> int:
    """Return how many rows of so many features are predicted in one call."""
    return max(1, min(BATCH_ROWS, BATCH_CELLS // n_features))


def seen_table(estimator: Estimator, X: Any) -> pl.DataFrame:
    """Read X, and keep the columns that the network sees.

    Raises:
        TableError: X has no rows, or lacks such a column.
    """
    check_is_fitted(estimator)
    table = match_columns(estimator.schema_, read_table(X))
    if table.height == 0:
        raise TableError("the table has no rows: pass one at least.")
    return table


def table_and_y(X: Any, y: Any) -> tuple[pl.DataFrame, Array]:
    """Read X and the targets; rows of X without one are left out where ``y`` names its column."""
    if isinstance(y, str):
        table, y, n_without = take_target(X, y)
        if n_without:
            warnings.warn(f"{n_without:,} rows without a target are left out", DataWarning, stacklevel=3)
        return table, y
    table = read_table(X)
    y = read_series(y) if nw.dependencies.is_into_series(y) else np.asarray(y)
    check_consistent_length(table, y)
    return table, y


def encoded(estimator: Estimator, table: pl.DataFrame) -> Features:
    """Encode a table; cells that the training rows never held are counted in a DataWarning."""
    check_is_fitted(estimator)
    x, unseen = encode(estimator.schema_, table)
    warn_of_unseen(unseen)
    return x


def vote(estimator: Estimator, x: Features) -> Array:
    """Return the vote of the members on encoded rows, as ``predict_members`` does."""
    return predict_members(estimator.members_, x, estimator.target_)


def outputs(estimator: Estimator, x: Features) -> npt.NDArray[np.float64]:
    """Predict encoded rows as the user knows predictions, (N, outputs): probabilities, or numbers in the target's unit."""
    joint = vote(estimator, x)
    if isinstance(estimator, NetClassifier):
        return joint
    return np.asarray(estimator.target_.decode(joint), dtype=np.float64).reshape(len(joint), -1)


def output_of(estimator: Estimator, wanted: Any, sizes: Array) -> tuple[int, Any]:
    """Return the number and the name of what is explained, of all that is predicted: the classes, quantiles, or numbers.

    Args:
        estimator: fitted.
        wanted: its name; None: that of the largest size.
        sizes: of each output.

    Raises:
        SettingError: there is no such output.
    """
    if isinstance(estimator, NetClassifier):
        names = list(estimator.classes_.tolist())
    elif shares := getattr(estimator.target_, "quantiles", ()):
        names = [f"quantile {share:g}" for share in shares]
    else:
        names = [f"prediction {k}" for k in range(len(sizes))] if len(sizes) > 1 else ["prediction"]
    if wanted is not None and wanted not in names:
        raise SettingError(f"there is no output {wanted!r} to explain. There are: {listed(names, most=20)}.")
    index = int(np.argmax(sizes)) if wanted is None else names.index(wanted)
    return index, names[index]


@dataclass(frozen=True)
class Judge:
    """How predictions of some rows are judged.

    Attributes:
        metric: the loss's name.
        unit: what its values are multiplied by to be in the target's own unit; squares of tiny numbers would be 0.
        is_root: the root of the mean is taken.
        losses: from votes on some copies of the rows, one copy after the other, and how many copies, to the loss of each row.
    """

    metric: str
    unit: float
    is_root: bool
    losses: Callable[[Array, int], Array]


def judge(estimator: Estimator, y: Array) -> Judge:
    """Say how predictions of rows with the targets ``y`` are judged.

    Raises:
        TableError: the target holds what the network does not predict.
    """
    check_targets(estimator, y)
    target, unit = estimator.target_, 1.0
    if isinstance(estimator, NetClassifier):
        wanted, metric = target.encode(y), "log-loss"
    else:
        wanted = target.encode(y.astype(np.float64))
        # Encoded numbers are standardised, or divided by their mean: one unit of theirs is so much of the target's.
        ends = [np.asarray(target.decode(np.full((1, target.n_outputs), value))).ravel()[0] for value in (0.0, 1.0)]
        unit = float(ends[1] - ends[0])
        metric = "pinball loss" if getattr(target, "quantiles", ()) else "RMSE"
    if metric != "RMSE":
        return Judge(metric, unit, False, lambda joint, count: target.row_losses(joint, _copies(wanted, count)))

    def squares(joint: Array, count: int) -> Array:
        return np.asarray(((joint - _copies(wanted, count)) ** 2).mean(axis=1))

    if target.n_outputs > 1:
        return Judge("RMSE of the standardised targets", 1.0, True, squares)
    return Judge(metric, unit, True, squares)


def _copies(rows: Array, count: int) -> Array:
    return np.concatenate([rows] * count)
