"""What the page shows of a table's columns: kind, why, missing share, and a small histogram of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from plainnet.tables.dates import parse_dates
from plainnet.tables.kinds import numbers_of
from plainnet.tables.schema import Column, Schema, level_strings

__all__ = ["describe"]

#: Rows that are looked at; of a larger table a random draw.
MOST_ROWS = 50_000
BARS = 20
LEVELS = 6


def describe(table: pl.DataFrame, kinds: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Describe all columns, the target among them.

    Args:
        table: of any size.
        kinds: kinds that the user knows better, by column.

    Returns:
        ``rows``, ``looked_at`` (how many of them were) and ``columns``: for each ``name``, ``kind``, ``why``, ``dtype``,
        ``missing`` (share), and ``bars`` (with ``low`` and ``high``) or ``levels`` (with their shares), or neither.

    Raises:
        TableError, SettingError: a column cannot be what ``kinds`` says, or no column can be used.
    """
    part = table if table.height <= MOST_ROWS else table.sample(MOST_ROWS, seed=0)
    schema = Schema.learn(part, kinds=kinds)
    columns = [_described(column, part[column.name]) for column in schema.columns]
    return {"rows": table.height, "looked_at": part.height, "columns": columns}


def _described(column: Column, series: pl.Series) -> dict[str, Any]:
    facts = {
        "name": column.name, "kind": column.kind, "why": column.why, "dtype": column.dtype, "missing": series.null_count() / len(series),
    }  # fmt: skip
    if column.kind == "number":
        return facts | {"missing": column.missing / len(series)} | _bars(numbers_of(series))
    if column.kind == "date":
        dates, _ = parse_dates(series)
        if dates is not None:
            return facts | _bars(dates.dt.epoch("s").cast(pl.Float64)) | {"unit": "date"}
    if column.kind in ("category", "flag"):
        counts = level_strings(series).drop_nulls().value_counts(sort=True).head(LEVELS)
        shares = (counts["count"] / len(series)).to_list()
        levels = [[level[:60], share] for level, share in zip(counts[series.name], shares, strict=True)]
        return facts | {"levels": levels}
    return facts


def _bars(numbers: pl.Series) -> dict[str, Any]:
    """Count the values in bins between the 1st and the 99th percentile; what lies beyond is in the outermost."""
    values = numbers.drop_nulls().to_numpy().astype(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return {}
    low, high = (float(each) for each in np.quantile(values, [0.01, 0.99]))
    if low == high:
        low, high = float(values.min()), float(values.max())
    counts, _ = np.histogram(np.clip(values, low, high), bins=BARS, range=(low, high if high > low else low + 1))
    return {"bars": counts.tolist(), "low": low, "high": high}
