"""Dates: text -> dates -> parts that a network can use."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["DATE_PARTS", "date_parts", "parse_dates"]

#: The parts of a date. A part that comes round again is two numbers, its sine and cosine, so that December is near
#: January; ``days`` counts from 1970-01-01 and carries the trend.
DATE_PARTS = (
    "days", "day of month", "month sine", "month cosine", "weekday sine", "weekday cosine", "hour sine", "hour cosine",
)  # fmt: skip

#: How text is tried as a date. Day before month is tried first, month before day only where that fails: a column with
#: a day above 12 decides itself.
FORMATS = (
    "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y%m%dT%H%M%S", "%Y/%m/%d",
    "%d.%m.%Y", "%d.%m.%Y %H:%M", "%d/%m/%Y", "%d/%m/%Y %H:%M", "%m/%d/%Y", "%m/%d/%Y %H:%M",
)  # fmt: skip

#: Share of a text column's cells that have to be dates.
ENOUGH = 0.99


def parse_dates(series: pl.Series, date_format: str | None = None) -> tuple[pl.Series | None, str | None]:
    """Read a column as dates.

    Args:
        series: dates, times with dates, or text.
        date_format: how text is written; None: found out.

    Returns:
        The column as Datetime in microseconds, cells that are no date missing, and the format of text. (None, None)
        where the column holds no dates.

    >>> parse_dates(pl.Series(["24.12.2025", "01.02.2026"]))[1]
    '%d.%m.%Y'
    """
    if series.dtype == pl.Datetime and series.dtype.time_zone is not None:  # type: ignore[attr-defined]
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if series.dtype in (pl.Date, pl.Datetime):
        return series.cast(pl.Datetime("us")), None
    if series.dtype != pl.String:
        return None, None
    text = series.str.strip_chars()
    if date_format is not None:
        return _parsed(text, date_format), date_format
    sample = text.drop_nulls().unique(maintain_order=True)
    if not len(sample) or not bool(sample.head(100).str.contains(r"\d{4}").any()):
        return None, None
    for each in FORMATS:
        parsed = _parsed(sample, each)
        if parsed.drop_nulls().len() >= ENOUGH * len(sample):
            return _parsed(text, each), each
    return None, None


def _parsed(text: pl.Series, date_format: str) -> pl.Series:
    if "%H" in date_format:
        return text.str.to_datetime(date_format, strict=False, time_unit="us")
    return text.str.to_date(date_format, strict=False).cast(pl.Datetime("us"))


def date_parts(dates: pl.Series, names: Iterable[str]) -> dict[str, npt.NDArray[np.float64]]:
    """Return the named parts of dates, each (N,); NaN where the date is missing."""
    days = dates.dt.epoch("us").cast(pl.Float64).to_numpy() / 86_400e6
    turns = {
        "month": (dates.dt.month() - 1).cast(pl.Float64).to_numpy() / 12,
        "weekday": (dates.dt.weekday() - 1).cast(pl.Float64).to_numpy() / 7,
        "hour": dates.dt.hour().cast(pl.Float64).to_numpy() / 24,
    }
    parts: dict[str, npt.NDArray[np.float64]] = {}
    for name in names:
        period, _, wave = name.partition(" ")
        if name == "days":
            parts[name] = days
        elif name == "day of month":
            parts[name] = dates.dt.day().cast(pl.Float64).to_numpy()
        else:
            angle = 2 * np.pi * turns[period]
            parts[name] = np.sin(angle) if wave == "sine" else np.cos(angle)
    return parts
