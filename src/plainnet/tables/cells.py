"""Strings -> types: what the cells of a column say when all of them are read.

A type is given only where every cell has it, so nothing is lost in silence: one word among ten thousand numbers makes
a column of strings. Whole numbers with leading zeros (post codes, telephone numbers) are names and stay strings.

The hard case is the mark in 1,234 and 1.234. One cell cannot tell, so the whole file is asked:

    every cell fits                      the column is
    decimal comma only    1,5  0,123     read with a decimal comma; evidence for the columns that fit both
    decimal point only    1.5  1,234.5   read with a decimal point; evidence for the columns that fit both
    both                  1,234  1.234   read as the evidence says; without any, by the delimiter, with a warning
"""

from __future__ import annotations

import re
import warnings

import polars as pl

from plainnet.errors import DataWarning

__all__ = ["as_dates", "as_number", "find_types"]

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")

LEADING_ZERO = r"^[+-]?0\d+$"
LONG_WHOLE = r"^[+-]?\d{17,}$"
DECIMAL_POINT = r"^[+-]?(\d*|[1-9]\d{0,2}(,\d{3})+)(\.\d*)?([eE][+-]?\d+)?$"
DECIMAL_COMMA = r"^[+-]?(\d*|[1-9]\d{0,2}([.'\s]\d{3})+)(,\d*)?([eE][+-]?\d+)?$"

DATE = r"^\d{4}-\d{2}-\d{2}$"
TIME_ZONE = r":\d{2}(?:\.\d+)?(Z|[+-]\d{2}:?\d{2})$"
MOMENT = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})?)?$"


def find_types(cells: pl.DataFrame, where: str, *, decimal_comma: bool) -> pl.DataFrame:
    """Strip the cells of string columns, make missing ones null, and find the narrowest type that all of a column have.

    Args:
        cells: columns of strings; columns of other types pass unchanged.
        where: the name of the file, for warnings.
        decimal_comma: whether 1,234 means 1.234 rather than 1234 where nothing in the file tells.

    Returns:
        The same columns as Boolean, Int64, Float64, Date, Datetime or String.
    """
    text = pl.col(pl.String)
    stripped = cells.with_columns(text.str.strip_chars())
    marked = stripped.with_columns(pl.when(~text.is_in(MISSING)).then(text).name.keep())
    columns = [as_dates(_as_boolean(column)) for column in marked.get_columns()]
    return pl.DataFrame(_as_numbers(columns, where, decimal_comma=decimal_comma))


def as_number(column: pl.Series) -> pl.Series | None:
    """Read a column of strings as whole or decimal numbers with a decimal point.

    Args:
        column: strings, null where missing.

    Returns:
        Int64, or Float64; None if one cell is not a number, has a leading zero, or all are missing.
    """
    if column.null_count() == len(column):
        return None
    for dtype in (pl.Int64, pl.Float64):
        numbers = column.cast(dtype, strict=False)
        if numbers.null_count() == column.null_count():
            return None if column.str.contains(LEADING_ZERO).any() else numbers
    return None


def as_dates(column: pl.Series) -> pl.Series:
    """Turn a column of ISO dates (2026-11-24) or moments (2026-11-24 12:30, also with a zone) into Date or Datetime.

    Args:
        column: any column.

    Returns:
        Date, Datetime (in UTC where the cells bear a zone), or the column as it was if one cell is something else.
    """
    first = _first(column)
    if first is None or not re.match(MOMENT, first) or not column.str.contains(MOMENT).all():
        return column
    if column.str.contains(DATE).all():
        dates = column.str.to_date("%Y-%m-%d", strict=False)
    else:
        has_zone = column.str.contains(TIME_ZONE)
        if has_zone.any() and not has_zone.all():
            return column
        # Every cell in the longest form: a space for the T, midnight for a bare date, :00 for missing seconds.
        full = column.str.replace("T", " ").str.replace(r"^(.{10})$", "$1 00:00")
        full = full.str.replace(r" (\d{2}:\d{2})($|[Z+-])", " $1:00$2")
        zone = "%#z" if has_zone.any() else ""
        dates = full.str.to_datetime(f"%Y-%m-%d %H:%M:%S%.f{zone}", time_unit="us", strict=False)
    return dates if dates.null_count() == column.null_count() else column


def _as_boolean(column: pl.Series) -> pl.Series:
    if (_first(column) or "").lower() not in ("true", "false"):
        return column
    lower = column.str.to_lowercase()
    return lower == "true" if lower.is_in(["true", "false"]).all() else column


def _as_numbers(columns: list[pl.Series], where: str, *, decimal_comma: bool) -> list[pl.Series]:
    """Read the columns of strings that hold numbers; see the table at the top of this file."""
    plain = {column.name: as_number(column) for column in columns if column.dtype == pl.String}
    with_commas = [column for column in columns if plain.get(column.name, column) is None and _may_be_number(column)]
    if any(column.str.contains(",", literal=True).any() for column in with_commas):
        fits = {column.name: _decimal_mark(column) for column in columns if _may_be_number(column)}
        evidence = {mark for mark in fits.values() if mark is not None and mark != "?"}
        for column in columns:
            mark = fits.get(column.name)
            if mark == "?":
                mark = _guess_mark(column, evidence, where, decimal_comma=decimal_comma)
            if mark == ",":
                point = column.str.replace_all(r"[.'\s]", "").str.replace(",", ".", literal=True)
                plain[column.name] = as_number(point)
            elif mark == ".":
                plain[column.name] = as_number(column.str.replace_all(",", "", literal=True))
    for column in columns:
        _warn_of_lost_digits(column, plain.get(column.name), where)
    read = ((column, plain.get(column.name)) for column in columns)
    return [column if numbers is None else numbers for column, numbers in read]


def _may_be_number(column: pl.Series) -> bool:
    """Look at one cell only: this spares columns of words the slow patterns."""
    first = _first(column)
    return first is not None and bool(re.match(DECIMAL_COMMA, first) or re.match(DECIMAL_POINT, first))


def _decimal_mark(column: pl.Series) -> str | None:
    """Say which decimal mark the cells have: a comma, a point, "?" if they fit both, None if neither."""
    comma, point = column.str.contains(DECIMAL_COMMA).all(), column.str.contains(DECIMAL_POINT).all()
    if comma and not point and not column.str.contains(",", literal=True).any():
        # 192.168.100.200 and 123 456 are numbers only in a file that has decimal commas elsewhere.
        return "?"
    return {(True, False): ",", (False, True): ".", (True, True): "?"}.get((comma, point))


def _guess_mark(column: pl.Series, evidence: set[str], where: str, *, decimal_comma: bool) -> str:
    has_comma = bool(column.str.contains(",", literal=True).any())
    if len(evidence) == 1:
        mark = next(iter(evidence))
        # 1.234 would be a number with a decimal point as well; 1.234.567 would not.
        dots = bool(column.str.contains(".", literal=True).any())
        guessed = mark == "," and dots and not has_comma and as_number(column) is not None
    else:
        mark = "," if has_comma and decimal_comma else "."
        guessed = has_comma
    if guessed:
        example = column.filter(column.str.contains(r"[.,'\s]")).item(0)
        without = example.replace("." if mark == "," else ",", "")
        message = (
            f"{where}, column {column.name!r}: the mark in {example} could part thousands or decimals; it was read as "
            f"{without.replace(',', '.')}. Write the numbers of this column without thousands marks to be sure."
        )
        warnings.warn(message, DataWarning, stacklevel=8)
    return mark


def _warn_of_lost_digits(column: pl.Series, numbers: pl.Series | None, where: str) -> None:
    """Warn where whole numbers beyond 64 bits, of which a float keeps 16 digits, are no longer told apart."""
    if numbers is None or numbers.dtype != pl.Float64 or column.str.len_bytes().max() < 17:  # type: ignore[operator]  # some cell is there
        return
    if not column.str.contains(LONG_WHOLE).any():
        return
    n_cells, n_numbers = column.n_unique(), numbers.n_unique()
    if n_numbers < n_cells:
        message = (
            f"{where}, column {column.name!r}: whole numbers as long as {column.filter(column.str.contains(LONG_WHOLE)).item(0):.40} "
            f"keep 16 digits only, and {n_cells:,} different ones became {n_numbers:,}. If they are names, put a letter before them."
        )
        warnings.warn(message, DataWarning, stacklevel=8)


def _first(column: pl.Series) -> str | None:
    """Return the first cell of a column of strings that is not missing."""
    if column.dtype != pl.String or column.null_count() == len(column):
        return None
    cell: str | None = column[0]  # the usual case, without a copy of the column
    return column.drop_nulls().item(0) if cell is None else cell
