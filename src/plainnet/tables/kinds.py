"""What kind a column is, decided from its training rows, with the reason in words.

The order of the questions is the order of the functions below: a column's type first, then how many different values
it has, then what its name and its text look like. The user can overrule any answer.
"""

from __future__ import annotations

import re
from collections.abc import Collection

import polars as pl

from plainnet.tables.dates import parse_dates
from plainnet.tables.wording import listed

__all__ = ["KINDS", "decide_kind", "kind_of_levels", "numbers_of"]

KINDS = ("number", "category", "flag", "date", "identifier", "text", "constant", "ignored")

#: Rows from which a column of all-different values is taken for an identifier: below, chance explains it.
IDENTIFIER_ROWS = 20
#: Share of different values from which a text column says too little about other rows.
MANY_LEVELS = 0.5
#: Share of a text column's cells that have to be numbers for the rest to be taken as missing.
ENOUGH_NUMBERS = 0.95
IDENTIFIER_NAME = re.compile(
    r"(?i:(^|[\s_.-])(id|ids|uuid|guid|key|index|idx|rownum|row_?number|unnamed: 0)$|^$)|[a-z](Id|ID)$"
)


def decide_kind(series: pl.Series) -> tuple[str, str]:
    """Return a column's kind and why.

    >>> decide_kind(pl.Series("age", [30, 41, 57]))
    ('number', 'Int64')
    >>> decide_kind(pl.Series("customer_id", range(1000)))
    ('identifier', 'its name says so, and all 1,000 values differ')
    """
    if series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object):
        return "ignored", f"{series.dtype} is no single value"
    known = series.drop_nulls()
    n_different = known.n_unique()
    has_missing = len(known) < len(series)
    if n_different == 0:
        return "constant", "every cell is missing"
    if n_different == 1 and not has_missing:
        return "constant", f"every row holds {known[0]!r}"
    if series.dtype == pl.Boolean:
        return "flag", "true or false"
    if (
        n_different == len(known) >= IDENTIFIER_ROWS
        and _is_identifier_name(series.name)
        and not series.dtype.is_float()
    ):
        return "identifier", f"its name says so, and all {len(known):,} values differ"
    if series.dtype.is_numeric():
        if n_different == 2 and set(known.unique().to_list()) == {0, 1}:
            return "flag", "0 or 1"
        return "number", str(series.dtype)
    if series.dtype.is_temporal():
        return "date", str(series.dtype)
    return _decide_text(known, n_different)


def _decide_text(known: pl.Series, n_different: int) -> tuple[str, str]:
    numbers = numbers_of(known)
    n_numbers = numbers.is_not_null().sum()
    if n_numbers >= ENOUGH_NUMBERS * len(known) and n_different > 2:
        others = known.filter(numbers.is_null()).unique(maintain_order=True)
        rest = f"; {listed(others, 3)} count as missing" if len(others) else ""
        return "number", f"text, of which {n_numbers / len(known):.1%} are numbers{rest}"
    dates, date_format = parse_dates(known)
    if dates is not None:
        return "date", f"text written as {date_format}"
    if len(known) >= IDENTIFIER_ROWS and n_different > MANY_LEVELS * len(known):
        words = known.str.count_matches(r"\S+").mean()
        if isinstance(words, float) and words >= 3:
            return "text", f"{n_different:,} different texts of {words:.0f} words on average in {len(known):,} rows"
        return "identifier", f"{n_different:,} different values in {len(known):,} rows"
    return kind_of_levels(known.unique())


def kind_of_levels(levels: Collection[str]) -> tuple[str, str]:
    """Return the kind of text that is neither numbers nor dates, and why."""
    if len(levels) == 2:
        return "flag", f"two levels: {listed(sorted(levels))}"
    return "category", f"text of {len(levels):,} levels"


def _is_identifier_name(name: str) -> bool:
    """Whether a name says identifier: id, customer_id, customerId, uuid, Unnamed: 0.

    >>> [_is_identifier_name(name) for name in ("id", "customerID", "row_id", "humid", "paid")]
    [True, True, True, False, False]
    """
    return bool(IDENTIFIER_NAME.search(name))


def numbers_of(series: pl.Series) -> pl.Series:
    """Return cells as float64, missing where they are no number. Text with a leading zero ('01234') is a code, and none.

    >>> numbers_of(pl.Series(["1.5", " 7 ", "x", "01234", "0.5"])).to_list()
    [1.5, 7.0, None, None, 0.5]
    """
    if series.dtype != pl.String:
        return series.cast(pl.Float64, strict=False)
    text = series.str.strip_chars()
    numbers = text.cast(pl.Float64, strict=False)
    is_code = text.str.contains(r"^[+-]?0\d")
    return pl.select(pl.when(~is_code & numbers.is_finite()).then(numbers)).to_series().rename(series.name)
