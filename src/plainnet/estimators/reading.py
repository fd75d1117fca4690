"""What ``fit`` and ``predict`` are given  ->  a polars frame of the estimator's columns, targets, and weights."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.utils.validation import check_consistent_length, validate_data

from plainnet.errors import DataWarning, TableError
from plainnet.estimators.inputs import read_series, row_weights
from plainnet.tables.read import read_table
from plainnet.tables.tables import is_table, rows_with_target, take_target

if TYPE_CHECKING:
    from plainnet.estimators.estimators import NetEstimator

__all__ = ["table_and_y", "table_of", "training_rows"]

Array = npt.NDArray[Any]


def training_rows(
    estimator: NetEstimator, X: Any, y: Any, sample_weight: Any, *, reset: bool = True
) -> tuple[pl.DataFrame, Array, Array | None, npt.NDArray[np.bool_] | None]:
    """Read the table, the targets and the weights; rows of weight 0 are as if not there: the last value says which are."""
    is_named = isinstance(y, str) and is_table(X)
    X = read_table(X) if is_named else X
    known = rows_with_target(X, y) if is_named else None
    table, y = table_and_y(estimator, X, y, reset=reset)
    if sample_weight is None:
        return table, y, None, None
    weight = row_weights(sample_weight, len(y), known)
    there = weight > 0
    return table.filter(there), y[there], weight[there], there


def table_and_y(estimator: NetEstimator, X: Any, y: Any, *, reset: bool) -> tuple[pl.DataFrame, Array]:
    """Read the table and the targets, checked; ``reset``: the columns are remembered rather than compared."""
    if y is None:
        raise TableError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None. Pass the targets, or the name "
            "of the column that holds them: fit(table, 'column')."
        )
    if isinstance(y, str):
        if not is_table(X):
            raise TableError(
                f"y names the column {y!r}, and X is a {type(X).__name__} without column names: pass the targets."
            )
        table, target, n_without = take_target(X, y)
        if n_without:
            warnings.warn(f"{n_without:,} rows without a value in {y!r} are left out", DataWarning, stacklevel=4)
        y = target
        _remember_columns(estimator, table, reset=reset)
    else:
        table = table_of(estimator, X, reset=reset)
        if nw.dependencies.is_into_series(y):
            y = read_series(y)
    y = estimator.check_y(y)
    check_consistent_length(table, y)
    return table, y


def table_of(estimator: NetEstimator, X: Any, *, reset: bool) -> pl.DataFrame:
    """Read X; an array goes through scikit-learn's own checks. Infinity is missing, as in a data frame."""
    if is_table(X):
        table = read_table(X)
        _remember_columns(estimator, table, reset=reset)
        if table.height == 0:
            raise TableError("the table has no rows: pass one at least.")
        return table
    array = validate_data(estimator, X, reset=reset, dtype=None, ensure_all_finite=False)
    table = read_table(np.ascontiguousarray(array))
    if reset or not hasattr(estimator, "feature_names_in_"):
        return table
    return table.rename(dict(zip(table.columns, estimator.feature_names_in_, strict=True)))


def _remember_columns(estimator: NetEstimator, table: pl.DataFrame, *, reset: bool) -> None:
    if reset:
        estimator.n_features_in_ = table.width
        estimator.feature_names_in_ = np.array(table.columns, dtype=object)
    elif not hasattr(estimator, "feature_names_in_"):
        raise TableError(
            f"{type(estimator).__name__} was fitted on an array of {estimator.n_features_in_} columns without names, and X "
            "names its columns: pass an array, or fit again on a table."
        )
