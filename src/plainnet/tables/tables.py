"""The front room: whatever the user calls a table and a target  ->  a polars data frame and a NumPy array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.errors import TableError
from plainnet.tables.read import is_path, read_table
from plainnet.tables.wording import did_you_mean

__all__ = ["check_column", "is_table", "merge_repeated_rows", "rows_with_target", "take_target", "target_array"]


def is_table(source: Any) -> bool:
    """Whether a source names its columns (a file, a data frame, a dict of columns, rows as dicts), as arrays do not."""
    if is_path(source) or isinstance(source, Mapping | pl.LazyFrame) or nw.dependencies.is_into_dataframe(source):
        return True
    return isinstance(source, list) and bool(source) and isinstance(source[0], Mapping)


def take_target(source: Any, target: str) -> tuple[pl.DataFrame, npt.NDArray[Any], int]:
    """Read a table and take the target column out of it.

    Args:
        source: anything ``read_table`` takes.
        target: name of the column to predict.

    Returns:
        The other columns, the target as an array (rows,), and how many rows were left out as they have no target.

    Raises:
        TableError: the table cannot be read, has no such column, or no row has a target.
    """
    table = read_table(source)
    known = table.filter(rows_with_target(table, target))
    if table.width == 1:
        raise TableError(f"the table has only the target column {target!r}, and no other to predict it from: add some.")
    if known.height == 0:
        raise TableError(f"no row has a value in the target column {target!r}: name another, or fill it.")
    return known.drop(target), target_array(known[target]), table.height - known.height


def rows_with_target(table: pl.DataFrame, target: str) -> npt.NDArray[np.bool_]:
    """Return which rows of a table have a target, (rows,).

    Raises:
        TableError: the table has no such column.
    """
    check_column(target, table.columns)
    return table[target].is_not_null().to_numpy()


def check_column(name: str, columns: Sequence[str]) -> None:
    """Check that a table has a column.

    Raises:
        TableError: it has not; the message names the nearest, and what there is.
    """
    if name not in columns:
        raise TableError(
            f"the table has no column {name!r}{did_you_mean(name, columns)}. It has: {', '.join(columns[:30])}."
        )


def target_array(series: pl.Series) -> npt.NDArray[Any]:
    """Return a target column as an array; text as NumPy text, so that it sorts and compares."""
    if series.dtype == pl.String:
        return np.array(series.to_list(), dtype=np.str_)
    if series.dtype.is_float() and series.is_infinite().any():
        n_infinite = int(series.is_infinite().sum())
        raise TableError(f"the target column {series.name!r} holds infinity in {n_infinite:,} rows: mend or drop them.")
    if series.dtype.is_numeric() or series.dtype == pl.Boolean:
        return series.to_numpy()
    raise TableError(
        f"the target column {series.name!r} is {series.dtype}; it has to be text, numbers, or true and false: convert it, or name another."
    )


def merge_repeated_rows(
    table: pl.DataFrame, y: npt.NDArray[Any], weight: npt.NDArray[np.float64]
) -> tuple[pl.DataFrame, npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Merge equal rows of equal target, adding their weights, and put them in an order of their own.

    A network that is trained on all rows at once then depends neither on the order of the rows nor on whether a row is
    there twice or has the weight 2. For tiny tables only: it looks at every row in Python.
    """
    first: dict[str, int] = {}
    total = np.zeros_like(weight)
    for index, row in enumerate(table.iter_rows()):
        kept = first.setdefault(repr((row, np.asarray(y[index]).tolist())), index)
        total[kept] += weight[index]
    order = np.array([first[key] for key in sorted(first)])
    return table[order], y[order], total[order]
