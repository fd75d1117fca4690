"""The part of an exported script that encodes rows. It is copied as it stands from the line below on; nothing here is plainnet's."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

COLUMNS: list[dict[str, Any]] = []
# ---- Encoding: cells -> numbers near 0 -------------------------------------------------------------------------------


def encode(rows: dict[str, list[Any]]) -> np.ndarray:
    """Turn raw cells into features: {column: N cells} -> float32 (N, features).

    A cell is a number, text, True or False, a date, or None (NaN, NaT) where it is missing. Levels that the training rows never held
    count as rare if there were rare ones, else as missing.
    """
    lacking = [column["name"] for column in COLUMNS if column["name"] not in rows]
    if lacking:
        raise SystemExit(f"The rows lack the columns {lacking}.")
    features: list[np.ndarray] = []
    positions: list[np.ndarray] = []  # of the numbers among their quantiles; they stand last
    for column in COLUMNS:
        cells = rows[column["name"]]
        if column["kind"] == "number":
            values = np.array([number_of(cell) for cell in cells], dtype=np.float64)
            is_missing = ~np.isfinite(values)
            encode_number(values, column, features, positions)
        elif column["kind"] == "date":
            moments = [moment_of(cell, column["date_format"]) for cell in cells]
            is_missing = np.array([moment is None for moment in moments], dtype=bool)
            for part, spread in column["parts"].items():
                values = np.array([np.nan if moment is None else date_part(moment, part) for moment in moments])
                encode_number(values, spread, features, positions)
        else:
            levels = {level: code for code, level in enumerate(column["levels"])}
            names = [level_name(cell) for cell in cells]
            codes = np.array([-1 if name is None else levels.get(name, -1) for name in names], dtype=np.int64)
            is_missing = codes < 0
            if column["kind"] == "flag":
                features.append(np.where(is_missing, 0.0, 2.0 * codes - 1.0))  # -1, 1, and 0 where missing
            else:
                features += [(codes == code).astype(np.float64) for code in range(len(levels))]  # one-hot
                if column["has_rare"]:
                    is_rare = is_missing & np.array([name is not None for name in names], dtype=bool)
                    features.append(is_rare.astype(np.float64))
                    is_missing = is_missing & ~is_rare
        if column["has_missing"]:
            features.append(is_missing.astype(np.float64))
    return np.stack([*features, *positions], axis=1).astype(np.float32)


def encode_number(
    values: np.ndarray, spread: dict[str, Any], features: list[np.ndarray], positions: list[np.ndarray]
) -> None:
    """Scale numbers by their median and interquartile range, bend outliers smoothly into (-3, 3); a missing one is the median."""
    values = np.where(np.isfinite(values), values, spread["median"])
    with np.errstate(over="ignore"):
        z = np.clip(np.nan_to_num((values - spread["median"]) / spread["scale"]), -1e6, 1e6)
    features.append(z / np.sqrt(1 + (z / 3) ** 2))
    if spread["knots"]:  # where the number lies among these quantiles of the training rows, from 0 to 1
        positions.append(np.interp(values, spread["knots"], np.linspace(0, 1, len(spread["knots"]))))


def number_of(cell: Any) -> float:
    """Return a cell as a number, NaN where it is none: text such as '1.5' is one, a code such as '007' is not."""
    if isinstance(cell, str):
        text = cell.strip()
        is_number = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) and not re.match(r"[+-]?0\d", text)
        return float(text) if is_number else np.nan
    return np.nan if cell is None else float(cell)


def level_name(cell: Any) -> str | None:
    """Return the name of a cell's level: 1 and 1.0 are both '1', True is 'true'; None where the cell is missing."""
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if isinstance(cell, float | np.floating):
        number = float(cell)
        if np.isnan(number):
            return None
        if number.is_integer() and abs(number) < 2**53:
            return str(int(number))
        text = str(cell)
        if text.endswith("e-05"):  # 1e-05 is written 0.00001 …
            return "-" * (number < 0) + "0.0000" + text[:-4].lstrip("-").replace(".", "")
        return re.sub(r"e([+-])0*", r"e\1", text)  # … and 1e-07 as 1e-7
    return str(cell)


def moment_of(cell: Any, date_format: str | None) -> datetime | None:
    """Return a cell as a moment in UTC, None where it is no date. Text is read in the column's format, or in ISO's."""
    if isinstance(cell, str):
        text, cell = cell.strip(), None
        for each in ["ISO"] if date_format is None else [date_format, date_format.replace("%S%.f", "%S")]:
            try:
                is_iso = each == "ISO"
                cell = datetime.fromisoformat(text) if is_iso else datetime.strptime(text, each.replace("%.f", ".%f"))
                break
            except ValueError:
                continue
    if cell != cell:  # pandas' NaT differs from itself
        return None
    if isinstance(cell, datetime):
        return cell if cell.tzinfo is None else cell.astimezone(UTC).replace(tzinfo=None)
    return datetime(cell.year, cell.month, cell.day) if isinstance(cell, date) else None


def date_part(moment: datetime, part: str) -> float:
    """Return a part of a date; months, weekdays and hours are points on a circle, so that December is near January."""
    if part == "days":
        return (moment - datetime(1970, 1, 1)) // timedelta(microseconds=1) / 86_400e6
    if part == "day of month":
        return float(moment.day)
    period, _, wave = part.partition(" ")
    turn = {"month": (moment.month - 1) / 12, "weekday": moment.weekday() / 7, "hour": moment.hour / 24}[period]
    return float(np.sin(2 * np.pi * turn) if wave == "sine" else np.cos(2 * np.pi * turn))
