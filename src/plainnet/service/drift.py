"""How the rows that come differ from the training rows, told by what the schema knows of those.

The schema has, of each column, the share of missing cells; of a number its range and the knots of its bins; of a category its levels
and the share of rare ones. It has no count of each level. So this is what is told, of the last rows:

- the share of missing cells; of cells with a level that no training row had; of numbers beyond the training rows' range;
- the population stability index (PSI), ``Σ (p - q) ln(p / q)`` over groups, where p is the share of the last rows and q that
  of the training rows. The groups of a number are eight of the same share of training rows each, which its knots bound, and
  the missing cells; those of a category: kept levels, rare or unseen ones, missing cells. Where the schema does not know the
  shares (a number of few values, or with one that outweighs the others: its knots are no quantiles), only known and missing
  cells are the groups.

Rules of thumb for the PSI, from credit scoring (Siddiqi, Credit Risk Scorecards, 2006): below 0.1 little, above 0.25 much has changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.service.rows import Row
from plainnet.tables.bins import MOST_BINS
from plainnet.tables.dates import date_parts
from plainnet.tables.schema import Column, Schema, Spread, level_strings

__all__ = ["WINDOW_ROWS", "Drift", "Seen"]

#: The last rows that are looked at.
WINDOW_ROWS = 10_000
#: Rows that are collected before they are counted.
PENDING_ROWS = 2_000
GROUPS = 8
#: A share of no row counts as this much: its logarithm has to be finite.
LEAST_SHARE = 1e-4
#: Below so many rows, a PSI tells of chance.
LEAST_ROWS = 200


@dataclass(frozen=True)
class Seen:
    """Cells of one column, counted.

    Attributes:
        rows: all of them.
        missing, unseen, beyond: those without a value, with an unseen level, outside of the training rows' range.
        groups: (G,) rows of each group of the PSI.
    """

    rows: int
    missing: int
    unseen: int
    beyond: int
    groups: npt.NDArray[np.int64]

    def __add__(self, other: Seen) -> Seen:
        return Seen(*map(add, vars(self).values(), vars(other).values()))


@dataclass
class Drift:
    """Counts the rows of one model; used by one thread at a time.

    Attributes:
        schema: of the model.
        table_of: makes a table of rows.
        totals: of all rows that were counted, by column.
    """

    schema: Schema
    table_of: Callable[[Sequence[Row]], pl.DataFrame]
    totals: dict[str, Seen] = field(default_factory=dict)
    _rows: list[Row] = field(default_factory=list)
    _tables: list[pl.DataFrame] = field(default_factory=list)
    _pending: int = 0
    _window: deque[dict[str, Seen]] = field(default_factory=deque)

    def add(self, rows: Sequence[Row] | pl.DataFrame) -> None:
        """Keep rows until there are enough to be counted at once."""
        if isinstance(rows, pl.DataFrame):
            self._tables.append(rows)
        else:
            self._rows += rows
        self._pending += len(rows)
        if self._pending >= PENDING_ROWS:
            self.count()

    def count(self) -> None:
        """Count what is kept, and forget the rows."""
        if not self._pending:
            return
        table = pl.concat([*self._tables, *([self.table_of(self._rows)] if self._rows else [])])
        self._tables, self._rows, self._pending = [], [], 0
        counts = {column.name: count_cells(column, table[column.name]) for column in self.schema.used}
        self.totals = _added(self.totals, counts)
        self._window.append(counts)
        rows = [next(iter(each.values())).rows for each in self._window]
        while len(rows) > 1 and sum(rows) - rows[0] >= WINDOW_ROWS:
            self._window.popleft()
            rows.pop(0)

    def recent(self) -> dict[str, Seen]:
        """Return the counts of the last rows, by column."""
        return reduce(_added, self._window, {})

    def psi(self, column: Column, seen: Seen) -> float | None:
        """Return the population stability index of a column, None of too few rows."""
        if seen.rows < LEAST_ROWS:
            return None
        expected = np.maximum(expected_shares(column, self.schema.n_rows), LEAST_SHARE)
        actual = np.maximum(seen.groups / seen.rows, LEAST_SHARE)
        return float(((actual - expected) * np.log(actual / expected)).sum())


def _added(found: dict[str, Seen], counts: dict[str, Seen]) -> dict[str, Seen]:
    """Add the counts of further rows, by column."""
    return {name: found[name] + seen if name in found else seen for name, seen in counts.items()}


def count_cells(column: Column, series: pl.Series) -> Seen:
    """Count the cells of one column."""
    is_missing = series.is_null().to_numpy()
    missing, spread = int(is_missing.sum()), _spread_of(column)
    known, strange, beyond = len(series) - missing, 0, 0
    groups = [known, missing]
    if column.levels:
        strange = known - int(level_strings(series).is_in(column.levels).sum())
        groups = [known - strange, strange, missing] if column.kind == "category" else groups
    elif spread is not None:
        is_date = column.kind == "date"
        days = date_parts(series.cast(pl.Datetime("us")), ["days"])["days"] if is_date else None
        values = (series.cast(pl.Float64).to_numpy() if days is None else days)[~is_missing]
        beyond = int(((values < spread.minimum) | (values > spread.maximum)).sum())
        bounds = _bounds(spread)
        groups = [*np.bincount(np.searchsorted(bounds, values, side="left"), minlength=len(bounds) + 1), missing]
    # Where rare levels were merged, a level of none of the kept ones may have been there.
    return Seen(len(series), missing, 0 if column.other else strange, beyond, np.array(groups))


def expected_shares(column: Column, n_rows: int) -> npt.NDArray[np.float64]:
    """Return the training rows' share of each group of the PSI, (G,).

    >>> column = Column("town", "category", "", "String", missing=10, levels=("Ulm", "Bonn"), other=5)
    >>> expected_shares(column, 100)
    array([0.85, 0.05, 0.1 ])
    """
    missing = column.missing / max(n_rows, 1)
    if column.kind == "category":
        other = column.other / max(n_rows, 1)
        return np.array([1 - other - missing, other, missing])
    spread = _spread_of(column)
    n_groups = 1 if spread is None else len(_bounds(spread)) + 1
    return np.array([(1 - missing) / n_groups] * n_groups + [missing])


def _bounds(spread: Spread) -> npt.NDArray[np.float64]:
    """Return the bounds between groups of the same share of training rows, () where the schema does not know them."""
    if len(spread.knots) != MOST_BINS + 1:  # few values: each is a knot
        return np.zeros(0)
    knots = np.array(spread.knots)
    # One value that outweighs the others moves the knots away from the quantiles, of which the schema knows three.
    places = np.interp([spread.quartile_1, spread.median, spread.quartile_3], knots, np.linspace(0, 1, len(knots)))
    if np.abs(places - [0.25, 0.5, 0.75]).max() > 1 / 16:
        return np.zeros(0)
    return knots[:: MOST_BINS // GROUPS][1:-1]


def _spread_of(column: Column) -> Spread | None:
    return (column.parts or {}).get("days") if column.kind == "date" else column.spread
