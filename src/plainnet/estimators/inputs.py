"""What comes beside the table: a target column of some data-frame library, weights of the rows."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.errors import DataWarning, SettingError, TableError
from plainnet.tables.read import read_table
from plainnet.tables.rows import MOST_CELLS, RowEncoder
from plainnet.tables.tables import target_array

__all__ = ["aligned", "columns_of", "encode_few", "read_series", "refuse_dates", "row_weights", "warn_of_unseen"]


def encode_few(
    encoder: RowEncoder, X: Any, *, has_names: bool
) -> tuple[npt.NDArray[np.float32], dict[str, int]] | None:
    """Encode a few rows without asking polars; None where X has to be read as any other table.

    Args:
        encoder: of the schema.
        X: what a user predicts: a data frame, a dict of lists, an array.
        has_names: whether the columns were named when the schema was learnt.
    """
    if isinstance(X, np.ndarray):
        is_plain = X.ndim == 2 and X.dtype.kind in "fiu" and X.dtype != np.longdouble
        if has_names or not is_plain or X.shape[1] != len(encoder.schema.columns):
            return None
        return encoder.encode_array(X.astype(np.float64))
    if not has_names or not hasattr(X, "__len__") or len(X) > MOST_CELLS:
        return None
    if type(X) is dict and all(type(column) is list for column in X.values()):
        return encoder.encode(X)
    is_pandas = type(X).__name__ == "DataFrame" and type(X).__module__.partition(".")[0] == "pandas"
    if isinstance(X, pl.DataFrame) or (is_pandas and X.columns.is_unique):
        return encoder.encode({name: X[name].to_list() for name in encoder.names if name in X.columns})
    return None


def warn_of_unseen(unseen: Mapping[str, int]) -> None:
    """Count in a DataWarning, to the caller of the caller's caller, the cells that hold what the training rows never held, by column."""
    if unseen:
        cells = ", ".join(f"{n:,} in {name!r}" for name, n in unseen.items())
        message = f"cells that hold what the training rows never held: {cells}; they count as rare or missing"
        warnings.warn(message, DataWarning, stacklevel=4)


def read_series(y: Any) -> npt.NDArray[Any]:
    """Read a pandas, polars or pyarrow column as targets (N,): its nullable types and categories are not NumPy's.

    Raises:
        TableError: a row has no target.
    """
    series = read_table({"y": y})["y"]
    if series.null_count():
        raise TableError(f"Input y contains NaN: {series.null_count():,} rows have no target. Drop those rows.")
    return target_array(series)


def aligned(predictions: npt.NDArray[Any], there: npt.NDArray[np.bool_] | None) -> npt.NDArray[Any]:
    """Put predictions of the rows that ``there`` marks beside all rows, NaN for the others; None: all are there."""
    if there is None:
        return predictions
    whole = np.full((len(there), *predictions.shape[1:]), np.nan)
    whole[there] = predictions
    return whole


def columns_of(y: Any) -> int:
    """Return how many targets a row has: those of an array, a sparse matrix, or a list of lists."""
    try:
        shape = getattr(y, "shape", None) or np.asarray(y).shape
    except ValueError:  # rows of different lengths
        return 1
    return int(shape[1]) if len(shape) == 2 else 1


def refuse_dates(y: Any) -> None:
    """Refuse targets that are dates or durations: they are neither classes nor plain numbers.

    Raises:
        TableError: y holds dates or durations.
    """
    array = np.asarray(y)
    first = next(iter(array.ravel()[:1].tolist()), None)
    if array.dtype.kind in "mM" or isinstance(first, date | timedelta):
        raise TableError(
            f"the target holds dates or durations, such as {first}; it has to be text, numbers, or true and false. Predict "
            "numbers made of them, such as the days since the first, or text for classes: y.astype(str)."
        )


def row_weights(sample_weight: Any, n_rows: int, known: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.float64]:
    """Return the weight of each row, (n_rows,), from an array or one number for all.

    Args:
        sample_weight: (n_rows,), or a weight of every row of the table, those without a target included.
        n_rows: rows with a target.
        known: which rows of the table those are; None: all.

    Raises:
        SettingError: another shape, a negative, NaN or infinite weight, or only zeros.
    """
    try:
        weight = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SettingError(f"sample_weight is {sample_weight!r:.60}, and has to be a number for each row.") from error
    if weight.ndim == 0:
        weight = np.full(n_rows, float(weight))
    if known is not None and weight.shape == known.shape:
        weight = weight[known]
    if weight.shape != (n_rows,):
        raise SettingError(
            f"sample_weight has shape {weight.shape}, and the table has {n_rows} rows with a target: pass ({n_rows},)."
        )
    wrong = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if len(wrong):
        raise SettingError(
            f"sample_weight holds a negative, NaN or infinite weight: {weight[wrong[0]]:g} at index {wrong[0]}. Weights are numbers from 0."
        )
    if not weight.any():
        raise SettingError(
            "Sample weights must contain at least one non-zero number: leave sample_weight out to weigh all rows alike."
        )
    return weight
