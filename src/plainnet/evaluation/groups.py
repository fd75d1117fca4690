"""Groups of rows: a column  ->  which rows hold what, to score each group by itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.errors import TableError
from plainnet.tables.wording import did_you_mean

__all__ = ["MOST_GROUPS", "rows_by"]

Rows = npt.NDArray[np.int64]

#: Groups at most; the rows of the others are one more.
MOST_GROUPS = 20
#: Different numbers (or dates) from which a column is cut into quarters.
MANY = 10


def rows_by(table: pl.DataFrame, name: str) -> dict[str, Rows]:
    """Group the rows of a table by a column.

    Args:
        table: N rows.
        name: of the column: text, true and false, or few different numbers are groups of their own, the most frequent 20 of them;
            many different numbers or dates are cut at their quartiles.

    Returns:
        The numbers of each group's rows by what it holds: numbers ascending, others by their frequency; what is left last, as
        '(other)', and rows without a value as '(missing)'.

    Raises:
        TableError: the table has no such column, or it holds lists or the like.

    >>> {group: rows.tolist() for group, rows in rows_by(pl.DataFrame({"town": ["b", "a", "b", None]}), "town").items()}
    {'b': [0, 2], 'a': [1], '(missing)': [3]}
    """
    if name not in table.columns:
        raise TableError(
            f"the table has no column {name!r} to group the scores by{did_you_mean(name, table.columns)}. "
            f"It has: {', '.join(table.columns[:30])}."
        )
    column = table[name]
    if column.dtype.is_nested() or column.dtype in (pl.Binary, pl.Object):
        raise TableError(f"the column {name!r} holds {column.dtype}, which is nothing to group by: pass another --by.")
    is_ordered = column.dtype.is_numeric() or column.dtype.is_temporal()
    n_different = column.drop_nulls().n_unique()
    if is_ordered and n_different > MANY:
        groups = _quarters(column)
    else:
        counts = column.drop_nulls().rename("value").value_counts(name="rows")
        order, descending = ("value", False) if is_ordered else (["rows", "value"], [True, False])
        kept = counts.sort(order, descending=descending)["value"][:MOST_GROUPS]
        groups = {_text(value): np.flatnonzero((column == value).fill_null(value=False).to_numpy()) for value in kept}
    taken = np.zeros(len(column), dtype=bool)
    for rows in groups.values():
        taken[rows] = True
    missing = column.is_null().to_numpy()
    for label, rest in (("(other)", ~taken & ~missing), ("(missing)", missing)):
        if rest.any():
            own = f"{label}'" if label in groups else label  # the column may hold that very text
            groups[own] = np.flatnonzero(rest)
    return groups


def _quarters(column: pl.Series) -> dict[str, Rows]:
    """Cut a column at its quartiles; rows of one value are in one group."""
    values = column.to_physical().cast(pl.Float64).to_numpy()
    known = np.isfinite(values)
    cuts = np.unique(np.quantile(values[known], [0.25, 0.5, 0.75]))
    which = np.searchsorted(cuts, values, side="left")
    groups = {}
    for quarter in range(len(cuts) + 1):
        rows = np.flatnonzero(known & (which == quarter))
        if len(rows):
            part = column[rows]
            groups[f"{_text(part.min())} … {_text(part.max())}"] = rows
    return groups


def _text(value: object) -> str:
    """Return a value as it is told; two different ones are told differently."""
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)
