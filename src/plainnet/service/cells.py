"""The cells of one column, as clients send them  ->  as the network's encoding wants them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import polars as pl

from plainnet.service.guard import RefusalError
from plainnet.tables.dates import parse_dates
from plainnet.tables.kinds import numbers_of
from plainnet.tables.schema import Column, level_strings

__all__ = [
    "JSON_TYPES", "LARGEST", "POLARS_TYPES", "about", "cell_type", "checked", "example_cell", "example_row", "read_dates", "short",
    "strange",
]  # fmt: skip

#: Characters of a cell of text.
MOST_TEXT = 10_000
#: Whole numbers up to here are float64 too.
MOST_WHOLE = 2**53
LARGEST = sys.float_info.max

#: What msgspec decodes a cell into, by ``cell_type``; null is a missing cell.
JSON_TYPES: dict[str, Any] = {
    "number": Annotated[float, msgspec.Meta(extra_json_schema={"minimum": -LARGEST, "maximum": LARGEST})] | None,
    "whole": Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | None,
    "text": Annotated[str, msgspec.Meta(max_length=MOST_TEXT)] | None,
    "flag": bool | None,
    "date": Annotated[str, msgspec.Meta(max_length=64)] | None,
}
POLARS_TYPES = {
    "number": pl.Float64(), "whole": pl.Int64(), "text": pl.String(), "flag": pl.Boolean(), "date": pl.Datetime("us"),
}  # fmt: skip
WORDS = {
    "number": "a number",
    "whole": "a whole number below 2**63",
    "text": f"text of at most {MOST_TEXT:,} characters",
    "flag": "true or false",
    "date": "a date as text",
}


def cell_type(column: Column) -> str:
    """Return what a column's cells are in JSON: 'number', 'whole', 'text', 'flag' or 'date'."""
    if column.kind in ("number", "date"):
        return column.kind
    if column.dtype == "Boolean":
        return "flag"
    if column.dtype.startswith(("Int", "UInt", "Float", "Decimal")):
        return "whole" if any(abs(float(level)) >= MOST_WHOLE for level in column.levels) else "number"
    return "text"


def about(what: str, row: int | None, column: str | None) -> RefusalError:
    """Make the error about a cell, a row or a column; rows count from 0."""
    places = [f"row {row}"] if row is not None else []
    places += [f"column {column!r:.200}"] if column is not None else []
    fields = {name: value for name, value in (("row", row), ("column", column)) if value is not None}
    return RefusalError(422, f"{', '.join(places)}: {what}", fields)


def short(cell: Any) -> str:
    """Show a cell as JSON, its beginning if it is long."""
    if isinstance(cell, dict | list):
        return "an object" if isinstance(cell, dict) else "an array"
    is_huge = isinstance(cell, int) and abs(cell) >= 1e40
    text = "so large a number" if is_huge else json.dumps(cell, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:60]}…"


def strange(each: str, cell: Any) -> str:
    """Say what is wrong with a cell, '' if nothing is."""
    if isinstance(cell, Decimal):
        return f"{cell} is no JSON number. Send null where a cell is missing."
    if isinstance(cell, float | int) and abs(cell) > LARGEST:
        return "the number is too large."
    try:
        msgspec.convert(cell, JSON_TYPES[each])
    except msgspec.ValidationError:
        return f"{short(cell)} is not {WORDS[each]}. A missing cell is null."
    return ""


def read_dates(column: Column, cells: Sequence[str | None]) -> Sequence[datetime | None]:
    """Read dates: as the training rows wrote them, or, where those were no text, as ISO 8601."""
    if column.date_format is not None:
        return checked(column, "date", pl.Series(column.name, cells, dtype=pl.String)).to_list()
    found: list[datetime | None] = []
    for number, cell in enumerate(cells):
        try:
            when = None if cell is None else datetime.fromisoformat(cell)
            found.append(when if when is None or when.tzinfo is None else when.astimezone(UTC).replace(tzinfo=None))
        except (ValueError, OverflowError):
            what = f"{short(cell)} is no date such as 2024-12-31 or 2024-12-31T23:59:00."
            raise about(what, number, column.name) from None
    return found


def checked(column: Column, each: str, series: pl.Series) -> pl.Series:
    """Bring one column of a table to its type."""
    if not series.null_count() < len(series):
        return pl.Series(series.name, [None] * len(series), dtype=POLARS_TYPES[each])
    if each == "date":
        dates, _ = parse_dates(series, column.date_format)
        if dates is None:
            raise about(f"{short(str(series.drop_nulls()[0]))} is no date.", None, column.name)
        form = f" written as {column.date_format}" if column.date_format else ""
        _refuse_new_nulls(column, series, dates, f"a date{form}")
        return dates
    dtype = series.dtype
    unfit = dtype not in (pl.Boolean, pl.String) if each == "flag" else each != "text" and dtype == pl.Boolean
    if unfit or dtype.is_nested() or dtype.is_temporal() or dtype in (pl.Binary, pl.Object):
        raise about(f"it holds {dtype}, and has to be {WORDS[each]}.", None, column.name)
    if each == "text":
        return level_strings(series)
    if each == "flag" and dtype == pl.String:
        words = {"true": True, "false": False}
        cells = series.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
    else:
        cells = (numbers_of(series) if dtype == pl.String else series).cast(POLARS_TYPES[each], strict=False)
    if cells.dtype.is_float():
        cells = pl.select(pl.when(cells.is_finite()).then(cells)).to_series().rename(series.name)
    _refuse_new_nulls(column, series, cells, WORDS[each])
    return cells


def _refuse_new_nulls(column: Column, before: pl.Series, after: pl.Series, wanted: str) -> None:
    wrong = (after.is_null() & before.is_not_null()).arg_true()
    if len(wrong):
        raise about(f"{short(str(before[wrong[0]]))} is not {wanted}.", int(wrong[0]), column.name)


def example_row(columns: Sequence[Column]) -> dict[str, Any]:
    """Return a row as a client may send it: medians, and most frequent levels."""
    return {column.name: example_cell(column) for column in columns}


def example_cell(column: Column) -> Any:
    """Return the median, the first level, or the median day as it was written."""
    if column.spread is not None:
        median = column.spread.median
        return int(median) if median == int(median) and abs(median) < MOST_WHOLE else median
    if column.kind == "date":
        days = (column.parts or {}).get("days")
        when = pl.Series([0.0 if days is None else days.median]).cast(pl.Int64).cast(pl.Date).cast(pl.Datetime("us"))
        return str(when.dt.strftime(column.date_format or "%Y-%m-%d")[0])
    if not column.levels:
        return None
    return column.levels[0] if cell_type(column) == "text" else json.loads(column.levels[0])  # a number, true or false
