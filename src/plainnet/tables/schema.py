"""Schema: what each column of a table is, learnt from the training rows only, kept as readable JSON.

A Schema holds all that is needed to encode another table of the same columns: levels, quantiles, date parts. It is
made of plain values, so that it can be printed, compared, and stored in a model file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.errors import SettingError, TableError
from plainnet.tables.bins import Weight, find_knots
from plainnet.tables.dates import DATE_PARTS, date_parts, parse_dates
from plainnet.tables.kinds import decide_kind, numbers_of
from plainnet.tables.wording import did_you_mean

__all__ = ["Column", "Schema", "Spread", "count_rows", "learn_column", "learn_levels", "level_rows"]

#: One-hot columns of one category at most: beyond it, rare levels cost more weights than their rows can teach.
MOST_LEVELS = 100
#: A level of fewer training rows is merged with other rare ones, in a table large enough to have better-known ones.
RARE_ROWS = 10


@dataclass(frozen=True)
class Spread:
    """Where the values of a number lie, in the column's own unit.

    ``knots`` are the bounds of its bins, () where it takes too few values to have any.
    """

    minimum: float
    quartile_1: float
    median: float
    quartile_3: float
    maximum: float
    knots: tuple[float, ...] = field(default=(), repr=False)

    @property
    def scale(self) -> float:
        """What a distance from the median is divided by: the interquartile range, or half the range where that is 0."""
        return (self.quartile_3 - self.quartile_1) or (self.maximum - self.minimum) / 2 or 1.0

    @classmethod
    def of(cls, values: npt.NDArray[np.float64], weight: Weight = None) -> Spread:
        """Measure finite values, (N,), N ≥ 1; a row of weight 2 counts like two rows.

        >>> Spread.of(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
        Spread(minimum=1.0, quartile_1=2.0, median=3.0, quartile_3=4.0, maximum=100.0)
        """
        weight = None if weight is None or not weight.any() else weight
        points = np.quantile(values, [0, 0.25, 0.5, 0.75, 1], method="inverted_cdf", weights=weight)
        minimum, quartile_1, median, quartile_3, maximum = map(float, points)
        return cls(minimum, quartile_1, median, quartile_3, maximum, find_knots(values, weight))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Spread:
        """Return the spread that ``asdict`` made plain."""
        return cls(**(dict(content) | {"knots": tuple(content.get("knots", ()))}))


@dataclass(frozen=True)
class Column:
    """One column of the training table.

    Attributes:
        name: as in the table.
        kind: 'number', 'category', 'flag' or 'date'; or why it is left out: 'identifier', 'text', 'constant', 'ignored'.
        why: why that kind was chosen, in words.
        dtype: the polars type it was read as.
        missing: training rows without a value.
        spread: of a number.
        levels: of a category, most frequent first, those merged as rare not among them; of a flag, its two.
        other: training rows of a category whose level was merged as rare.
        date_format: how a date written as text is read, None where the column holds dates.
        parts: of a date: the spread of each part that varies.
    """

    name: str
    kind: str
    why: str
    dtype: str
    missing: int = 0
    spread: Spread | None = None
    levels: tuple[str, ...] = ()
    other: int = 0
    date_format: str | None = None
    parts: Mapping[str, Spread] | None = None

    @property
    def is_used(self) -> bool:
        """Whether the network sees this column."""
        return self.kind in ("number", "category", "flag", "date")

    @property
    def numbers(self) -> dict[str, Spread]:
        """The numbers that the network sees of a number or a date, by name."""
        if self.kind == "number" and self.spread is not None:
            return {self.name: self.spread}
        return {f"{self.name}: {part}": spread for part, spread in (self.parts or {}).items()}

    def to_json(self) -> dict[str, Any]:
        """Return the column as plain values; what it has not is left out."""
        return {key: value for key, value in asdict(self).items() if value not in (None, (), 0) or key == "missing"}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Column:
        """Return the column that ``to_json`` wrote."""
        values = dict(content)
        if "spread" in values:
            values["spread"] = Spread.from_json(values["spread"])
        if "parts" in values:
            values["parts"] = {name: Spread.from_json(spread) for name, spread in values["parts"].items()}
        values["levels"] = tuple(values.get("levels", ()))
        return cls(**values)


@dataclass(frozen=True)
class Schema:
    """All columns of the training table.

    Attributes:
        columns: in the table's order, the ones left out included.
        n_rows: training rows the schema was learnt from.
    """

    columns: tuple[Column, ...]
    n_rows: int

    @classmethod
    def learn(
        cls, table: pl.DataFrame, *, kinds: Mapping[str, str] | None = None,
        weight: npt.NDArray[np.float64] | None = None,
    ) -> Schema:  # fmt: skip
        """Decide the kind of each column and measure what its encoding needs.

        Args:
            table: the training rows, without the target.
            kinds: kinds that the user knows better, by column: 'number', 'category', 'flag', 'date' or 'ignored'.
            weight: (rows,) weight of each row; a row of weight 2 counts like two rows.

        Raises:
            SettingError: ``kinds`` names an unknown column or kind.
            TableError: no column can be used, or a column cannot be what ``kinds`` says.

        >>> schema = Schema.learn(pl.DataFrame({"age": [30, 41, 57], "town": ["Ulm", "Bonn", "Ulm"]}))
        >>> [(column.name, column.kind) for column in schema.columns]
        [('age', 'number'), ('town', 'flag')]
        """
        kinds = dict(kinds or {})
        for name, kind in kinds.items():
            if name not in table.columns:
                raise SettingError(
                    f"kinds names the column {name!r}, which the table lacks{did_you_mean(name, table.columns)}."
                )
            if kind not in ("number", "category", "flag", "date", "ignored"):
                raise SettingError(
                    f"column {name!r} cannot be {kind!r}: choose number, category, flag, date or ignored."
                )
        columns = tuple(learn_column(table[name], kinds.get(name), weight) for name in table.columns)
        if not any(column.is_used for column in columns):
            why = "; ".join(f"{column.name}: {column.why}" for column in columns[:10]) or "the table has none"
            raise TableError(f"no column can be used to predict: {why}. Override a kind: kinds={{'column': 'number'}}.")
        return cls(columns, count_rows(np.ones(table.height, dtype=bool), weight))

    @property
    def used(self) -> tuple[Column, ...]:
        """The columns that the network sees."""
        return tuple(column for column in self.columns if column.is_used)

    @property
    def left_out(self) -> tuple[Column, ...]:
        """The columns that it does not see."""
        return tuple(column for column in self.columns if not column.is_used)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as plain values."""
        return {"n_rows": self.n_rows, "columns": [column.to_json() for column in self.columns]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Schema:
        """Return the schema that ``to_json`` wrote."""
        return cls(tuple(Column.from_json(column) for column in content["columns"]), int(content["n_rows"]))


def learn_column(series: pl.Series, wanted: str | None, weight: Weight = None) -> Column:
    """Learn one column, of the kind that is wanted; None: found out."""
    kind, why = decide_kind(series) if wanted is None else (wanted, "chosen by the user")
    is_missing = series.is_null().to_numpy()
    column = Column(series.name, kind, why, str(series.dtype), missing=count_rows(is_missing, weight))
    if kind == "number":
        return _learn_number(column, series, weight)
    if kind in ("category", "flag"):
        return learn_levels(column, series, weight)
    if kind == "date":
        return _learn_date(column, series, weight)
    return column


def _learn_number(column: Column, series: pl.Series, weight: Weight) -> Column:
    array = numbers_of(series).to_numpy().astype(np.float64)
    known = np.isfinite(array)
    if not known.any():
        raise TableError(f"column {column.name!r} cannot be a number: no cell holds one. Choose category or ignored.")
    spread = Spread.of(array[known], None if weight is None else weight[known])
    return replace(column, spread=spread, missing=count_rows(~known, weight))


def learn_levels(column: Column, series: pl.Series, weight: Weight) -> Column:
    """Choose the levels of a category or flag, by the rows, or the weight, of each."""
    rows = level_rows(series, weight).filter(pl.col("rows") > 0)
    counts = rows.sort(["rows", "level"], descending=[True, False])
    if column.kind == "flag":
        if counts.height > 2:
            raise TableError(
                f"column {column.name!r} cannot be a flag: it has {counts.height} levels, not 2. Choose category."
            )
        return replace(column, levels=tuple(sorted(counts["level"].to_list(), key=_level_order)))
    rare = min(RARE_ROWS, float(counts["rows"].sum()) / 200)
    kept = counts.filter(pl.col("rows") >= rare).head(MOST_LEVELS)
    if kept.height == 0:
        kept = counts.head(MOST_LEVELS)
    other = round(float(counts["rows"].sum()) - float(kept["rows"].sum()))
    return replace(column, levels=tuple(kept["level"].to_list()), other=other)


def level_rows(series: pl.Series, weight: Weight) -> pl.DataFrame:
    """Count the rows, or add up the weights, of each level: a frame of level and rows."""
    rows = pl.DataFrame({"level": level_strings(series), "rows": np.ones(len(series)) if weight is None else weight})
    return rows.drop_nulls("level").group_by("level").agg(pl.col("rows").sum())


def _learn_date(column: Column, series: pl.Series, weight: Weight) -> Column:
    dates, date_format = parse_dates(series)
    if dates is None:
        raise TableError(
            f"column {column.name!r} cannot be a date: its cells are {series.dtype}, such as "
            f"{series.drop_nulls()[:1].to_list()}. Choose category or ignored."
        )
    parts = {}
    for name, values in date_parts(dates, DATE_PARTS).items():
        known = np.isfinite(values)
        if known.any() and np.ptp(values[known]) > 0:
            parts[name] = Spread.of(values[known], None if weight is None else weight[known])
    if not parts:
        return replace(column, kind="constant", why="every row holds the same date")
    return replace(column, date_format=date_format, parts=parts, missing=count_rows(dates.is_null().to_numpy(), weight))


def level_strings(series: pl.Series) -> pl.Series:
    """Return a column's values as level names: 1 and 1.0 are both '1', True is 'true'.

    >>> level_strings(pl.Series([1.0, 2.5, None])).to_list()
    ['1', '2.5', None]
    """
    if series.dtype.is_float():
        whole = series.is_finite() & (series == series.round(0)) & (series.abs() < 2**53)
        as_whole = series.cast(pl.Int64, strict=False).cast(pl.String)
        return pl.select(pl.when(whole).then(as_whole).otherwise(series.cast(pl.String))).to_series()
    return series.cast(pl.String)


def _level_order(level: str) -> tuple[bool, float, str]:
    """Order levels as people do: numbers by size, then words."""
    try:
        return (False, float(level), level)
    except ValueError:
        return (True, 0.0, level)


def count_rows(rows: npt.NDArray[np.bool_], weight: Weight) -> int:
    """Count rows; where the weights are whole numbers, a row of weight 2 is two."""
    if weight is None or not np.array_equal(weight, np.rint(weight)):
        return int(rows.sum())
    return int(weight[rows].sum())


def describe_kinds(columns: Sequence[Column]) -> str:
    """Sum up columns: '8 numbers, 6 categories'.

    >>> describe_kinds([Column("a", "number", "", "Int64"), Column("b", "number", "", "Int64")])
    '2 numbers'
    """
    plural = {"number": "numbers", "category": "categories", "flag": "flags", "date": "dates"}
    counts = {kind: sum(column.kind == kind for column in columns) for kind in plural}
    return ", ".join(f"{n} {plural[kind] if n > 1 else kind}" for kind, n in counts.items() if n) or "no columns"


def describe_values(column: Column) -> str:
    """Sum up what a column holds.

    >>> describe_values(Column("town", "category", "", "String", levels=("Ulm", "Bonn"), other=3))
    'Ulm, Bonn; rare: 3 rows'
    """
    if column.spread is not None:
        return f"{column.spread.minimum:g} … median {column.spread.median:g} … {column.spread.maximum:g}"
    if column.parts:
        return ", ".join(column.parts)
    more = f" and {len(column.levels) - 4} more" if len(column.levels) > 4 else ""
    other = f"; rare: {column.other:,} rows" if column.other else ""
    return ", ".join(column.levels[:4]) + more + other
