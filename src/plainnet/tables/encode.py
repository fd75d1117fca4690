"""Columns  ->  float32 features, by a Schema learnt earlier.

Every number is scaled robustly and clipped smoothly, as RealMLP does (Holzmüller, Grinsztajn and Steinwart, "Better by
Default", NeurIPS 2024, arXiv:2407.04491): ``z = (value - median) / interquartile range``, then
``z / sqrt(1 + (z / 3)²)``, which is z near 0 and never beyond ±3, so that no outlier can shake the network.

A number that takes more than two values also has a position among its bins, from 0 to 1, which the network's first layer
may code piecewise linearly (``networks.layers.PiecewiseLinearEncoding``). All positions stand last.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.errors import ColumnsChangedError
from plainnet.tables.bins import positions
from plainnet.tables.dates import date_parts, parse_dates
from plainnet.tables.kinds import numbers_of
from plainnet.tables.schema import Column, Schema, Spread, level_strings
from plainnet.tables.wording import did_you_mean, listed

__all__ = [
    "coded", "encode", "feature_names", "features_of", "match_columns", "position_bins", "smooth_clip", "width_of",
]  # fmt: skip

Features = npt.NDArray[np.float32]

#: Features of a column, the positions of its numbers, and how many cells hold what the training rows never held.
_Encoded = tuple[Features, list[npt.NDArray[np.float64]], int]

CLIP = 3.0
MISSING = "(missing)"
OTHER = "(other)"


def smooth_clip(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Bend values smoothly into (-3, 3); small ones stay as they are.

    >>> smooth_clip(np.array([0.0, 0.1, 3.0, -1e9])).round(3)
    array([ 0.   ,  0.1  ,  2.121, -3.   ])
    """
    return z / np.sqrt(1 + (z / CLIP) ** 2)


def feature_names(schema: Schema) -> list[str]:
    """Name each feature after its column: 'age', 'age (missing)', 'town=Ulm', 'sold: weekday sine'."""
    names = [name for column in schema.used for name in _names(column)]
    return names + [f"{name}: position" for column in schema.used for name, _ in coded(column)]


def features_of(schema: Schema) -> list[str | None]:
    """Return, of each feature, the name of the number or flag that it never falls with; None for all others."""
    own = [column.name if name == column.name else None for column in schema.used for name in _names(column)]
    return own + [column.name if column.kind == "number" else None for column in schema.used for _ in coded(column)]


def position_bins(schema: Schema) -> tuple[int, ...]:
    """Return how many bins each position counts: the last features of ``encode`` are as many positions."""
    return tuple(len(spread.knots) - 1 for column in schema.used for _, spread in coded(column))


def width_of(column: Column) -> int:
    """Return how many features a column has, positions not among them."""
    own = {"category": len(column.levels) + (column.other > 0), "date": len(column.parts or {})}
    return own.get(column.kind, 1) + (column.missing > 0)


def coded(column: Column) -> Iterator[tuple[str, Spread]]:
    """Yield the numbers of a column that have bins."""
    yield from ((name, spread) for name, spread in column.numbers.items() if spread.knots)


def encode(schema: Schema, table: pl.DataFrame) -> tuple[Features, dict[str, int]]:
    """Encode a table of the schema's columns.

    Args:
        schema: learnt from the training rows.
        table: N rows; columns may stand in any order, further ones are ignored.

    Returns:
        The features, float32 of shape (N, features), and, by column, how many cells hold what the training rows
        never held: an unseen level, or text where numbers or dates are expected. Such a cell counts as rare where
        rare levels were merged, else as missing.

    Raises:
        ColumnsChangedError: a column is missing or has become something else.
    """
    table = match_columns(schema, table)
    parts: list[Features] = []
    places: list[npt.NDArray[np.float64]] = []
    unseen: dict[str, int] = {}
    for column in schema.used:
        features, own_places, strangers = _ENCODERS[column.kind](column, table[column.name])
        parts.append(features)
        places += own_places
        if strangers:
            unseen[column.name] = strangers
    parts += [place[:, None].astype(np.float32) for place in places]
    return np.concatenate(parts, axis=1, dtype=np.float32), unseen


def match_columns(schema: Schema, table: pl.DataFrame) -> pl.DataFrame:
    """Return the schema's used columns of a table, in the schema's order.

    Raises:
        ColumnsChangedError: columns are missing or have become something else; the message lists the differences.
    """
    # polars makes the list of names anew each time
    known, there = {column.name for column in schema.columns}, set(table.columns)
    unknown = [name for name in table.columns if name not in known]
    lines = []
    for column in schema.used:
        if column.name not in there:
            lines.append(f"  missing  {column.name}{did_you_mean(column.name, unknown)}")
        elif problem := _changed(column, table[column.name]):
            lines.append(f"  changed  {column.name}: {problem}")
    if lines:
        lines += [f"  unknown  {name}" for name in unknown[:20]]
        raise ColumnsChangedError(
            "the table differs from the one the network was fitted on.\n"
            + "\n".join(lines)
            + "\nRename or convert the columns, "
            "or fit again. `plainnet show RUN` lists the fitted columns."
        )
    return table.select(column.name for column in schema.used)


def _changed(column: Column, series: pl.Series) -> str:
    """Say how a column can no longer be read as it was fitted, '' if it can."""
    known = series.drop_nulls()
    if series.dtype == pl.Null or not len(known):
        return ""
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
        return f"fitted as a {column.kind}, now {series.dtype}"
    if column.kind == "number":
        if series.dtype.is_numeric() or series.dtype == pl.Boolean:
            return ""
        if series.dtype == pl.String and numbers_of(known).is_not_null().any():
            return ""
        return (
            f"fitted as a number, now {series.dtype} such as {listed(known.head(2).to_list())}; convert it to numbers"
        )
    if column.kind == "date":
        dates, _ = parse_dates(known.head(1000), column.date_format)
        if dates is None or not dates.is_not_null().any():
            what = "text" if series.dtype == pl.String else str(series.dtype)
            return f"fitted as a date, now {what} such as {listed(known.head(2).to_list())}; convert it to dates"
    if column.kind in ("category", "flag") and series.dtype.is_temporal():
        return f"fitted as a {column.kind} of text or numbers, now {series.dtype}"
    return ""


def _names(column: Column) -> Iterator[str]:
    missing = [f"{column.name} {MISSING}"] if column.missing else []
    if column.kind == "date":
        yield from [*column.numbers, *missing]
    elif column.kind == "category":
        yield from (f"{column.name}={level}" for level in column.levels)
        if column.other:
            yield f"{column.name}={OTHER}"
        yield from missing
    else:
        yield from [column.name, *missing]


def _scaled(values: npt.NDArray[np.float64], spread: Spread) -> npt.NDArray[np.float64]:
    """Scale and clip; a missing value becomes the median, which is 0."""
    with np.errstate(over="ignore"):
        z = (values - spread.median) / spread.scale
    return smooth_clip(np.clip(np.nan_to_num(z), -1e6, 1e6))


def _with_missing(
    column: Column, features: list[npt.NDArray[np.float64]], is_missing: npt.NDArray[np.bool_]
) -> Features:
    if column.missing:  # only where training rows were missing: else there would be nothing to learn it from
        features.append(is_missing.astype(np.float64))
    return np.stack(features, axis=1).astype(np.float32)


def _encode_numbers(column: Column, series: pl.Series) -> _Encoded:
    """Encode a number, or the parts of a date."""
    if column.kind == "number":
        array = numbers_of(series).to_numpy().astype(np.float64)
        is_missing = ~np.isfinite(array)
        values = [np.where(is_missing, np.nan, array)]
    else:
        dates, _ = parse_dates(series, column.date_format)
        if dates is None:  # a column of nothing but missing cells
            dates = pl.Series(series.name, [None] * len(series), dtype=pl.Datetime("us"))
        is_missing = dates.is_null().to_numpy()
        values = list(date_parts(dates, column.parts or {}).values())
    features, places = [], []
    for own, spread in zip(values, column.numbers.values(), strict=True):
        features.append(_scaled(own, spread))
        if spread.knots:  # a missing value is at the median's position
            places.append(positions(np.where(np.isnan(own), spread.median, own), spread.knots))
    return _with_missing(column, features, is_missing), places, int(is_missing.sum()) - series.null_count()


def _encode_levels(column: Column, series: pl.Series) -> _Encoded:
    """Encode a flag or a category by the number of each cell's level, -1 where it is missing or unseen."""
    numbers = {level: index for index, level in enumerate(column.levels)}
    levels = level_strings(series)
    codes = levels.replace_strict(numbers, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy()
    strangers = int((codes < 0).sum()) - series.null_count()
    if column.kind == "flag":
        values = np.where(codes < 0, 0.0, 2.0 * codes - 1.0)  # -1, 1, and 0 where missing
        return _with_missing(column, [values], codes < 0), [], strangers
    width = width_of(column)
    if column.other:
        codes = np.where((codes < 0) & series.is_not_null().to_numpy(), len(column.levels), codes)
    if column.missing:
        codes = np.where(codes < 0, width - 1, codes)
    features = np.zeros((len(codes), width), dtype=np.float32)
    rows = np.flatnonzero(codes >= 0)
    features[rows, codes[rows]] = 1
    return features, [], 0 if column.other else strangers


_ENCODERS = {"number": _encode_numbers, "flag": _encode_levels, "category": _encode_levels, "date": _encode_numbers}
