"""The encoding of a table as an ONNX graph: raw columns  ->  the features of ``tables.encode``.

Numbers and the parts of dates stand side by side in one table of float64, so that each step (fill, scale, bend, find the
bin) is one node for all of them. Only what is done is cast to float32, as in ``tables.encode``: a time stamp has more
digits than float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from plainnet.export.graph import DOUBLE, FLOAT, Graph
from plainnet.tables.encode import CLIP, width_of
from plainnet.tables.schema import Column, Schema, Spread

__all__ = ["MISSING_DATE", "encode_columns", "missing_marker"]

#: Microseconds since 1970 that stand for a missing date: no date is that long ago.
MISSING_DATE = -(2**63)
DAY = 86_400_000_000
HOUR = 3_600_000_000


def missing_marker(column: Column) -> str:
    """Return the text that stands for a missing cell of a category or flag: '' unless that is one of its levels.

    >>> missing_marker(Column("town", "category", "", "String", levels=("Ulm", "")))
    '(missing)'
    """
    marker = "" if "" not in column.levels else "(missing)"
    while marker in column.levels:
        marker += "'"
    return marker


@dataclass
class _Features:
    """The plain features so far: tables side by side, and which feature each of their columns is."""

    tables: list[str] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def add(self, table: str, places: Sequence[int]) -> None:
        self.tables.append(table)
        self.places += places


def encode_columns(graph: Graph, schema: Schema, inputs: Mapping[str, str]) -> tuple[str, str]:
    """Add the encoding to a graph.

    Args:
        graph: to add to.
        schema: learnt from the training rows.
        inputs: the name of each used column's input, of shape (N, 1).

    Returns:
        The names of the plain features, (N, features), and of the positions of the coded numbers, (N, numbers), '' where
        there are none; both float32, in the order of ``tables.encode``.
    """
    first, starts = 0, {}
    for column in schema.used:
        starts[column.name] = first
        first += width_of(column)
    features = _Features()
    positions = _add_numbers(graph, schema, inputs, starts, features)
    _add_flags(graph, schema, inputs, starts, features)
    _add_categories(graph, schema, inputs, starts, features)
    side_by_side = graph.concat(features.tables, "features, by kind")
    order = np.argsort(features.places)
    return graph.columns(side_by_side, order.tolist(), len(order), "features"), positions


def _add_numbers(
    graph: Graph, schema: Schema, inputs: Mapping[str, str], starts: Mapping[str, int], features: _Features
) -> str:
    """Add numbers and parts of dates; return the name of their positions, '' where none is coded."""
    raw: list[str] = []
    spreads: list[Spread] = []
    places: list[int] = []
    gaps: list[tuple[int, int]] = []  # (which number tells whether the cell is missing, the feature that says so)
    dates = _date_parts(graph, schema, inputs)
    for column in schema.used:
        start = starts[column.name]
        if column.kind == "number" and column.spread is not None:
            own = {inputs[column.name]: column.spread}
        elif column.kind == "date":
            own = {dates[column.name, part]: spread for part, spread in (column.parts or {}).items()}
        else:
            continue
        if column.missing:
            gaps.append((len(raw), start + len(own)))
        places += range(start, start + len(own))
        raw += own
        spreads += own.values()
    if not raw:
        return ""
    values = graph.concat(raw, "numbers")
    is_missing = graph.add("Or", graph.add("IsNaN", values), graph.add("IsInf", values), out="is missing")
    medians = graph.constant([[spread.median for spread in spreads]], np.float64, "medians")
    filled = graph.add("Where", is_missing, medians, values, out="numbers, filled")
    features.add(_scaled(graph, filled, medians, spreads), places)
    if gaps:
        told = graph.columns(is_missing, [number for number, _ in gaps], len(raw), "is missing, told")
        said = graph.add("Cast", told, out="missing numbers", attributes=FLOAT)
        features.add(said, [place for _, place in gaps])
    return _positions(graph, filled, spreads)


def _scaled(graph: Graph, filled: str, medians: str, spreads: Sequence[Spread]) -> str:
    """Scale robustly and bend smoothly, as ``tables.encode`` does."""
    scales = [spread.scale for spread in spreads]
    ranges = graph.constant([scales], np.float64, "interquartile ranges")
    z = graph.add("Div", graph.add("Sub", filled, medians), ranges, out="z")
    if not np.isfinite(scales).all():  # infinity by infinity
        z = graph.add("Where", graph.add("IsNaN", z), graph.constant(0.0, np.float64, "zero"), z)
    most = graph.constant(1e6, np.float64, "largest z")
    z = graph.add("Clip", z, graph.constant(-1e6, np.float64, "smallest z"), most)
    by_clip = graph.add("Div", z, graph.constant(CLIP, np.float64, "clip"))
    squared = graph.add("Mul", by_clip, by_clip)
    root = graph.add("Sqrt", graph.add("Add", graph.constant(1.0, np.float64, "one"), squared))
    return graph.add("Cast", graph.add("Div", z, root), out="numbers, scaled", attributes=FLOAT)


def _positions(graph: Graph, filled: str, spreads: Sequence[Spread]) -> str:
    """Find each number's position among its knots, as ``numpy.interp`` does, by bisection: one step for all numbers.

    Knots, slopes and starts of all numbers stand one after the other in three tables, padded to the same length.
    """
    coded = [number for number, spread in enumerate(spreads) if spread.knots]
    if not coded:
        return ""
    most = max(len(spreads[number].knots) for number in coded)
    steps = (most - 1).bit_length()
    length = 2**steps
    knots = np.full((len(coded), length), np.inf)
    slopes, starts = np.zeros((len(coded), length)), np.ones((len(coded), length))
    for row, number in enumerate(coded):
        own = np.array(spreads[number].knots)
        ends = np.linspace(0, 1, len(own))
        knots[row, : len(own)], starts[row, : len(own)] = own, ends
        with np.errstate(over="ignore"):
            slopes[row, : len(own) - 1] = np.diff(ends) / np.diff(own)
    values = graph.columns(filled, coded, len(spreads), "coded numbers")
    first = graph.constant(knots[:, 0][None], np.float64, "first knots")
    last = graph.constant([[spreads[number].knots[-1] for number in coded]], np.float64, "last knots")
    values = graph.add("Min", graph.add("Max", values, first), last, out="coded numbers, within their knots")
    table = graph.constant(knots.ravel(), np.float64, "knots")
    bins = graph.constant([[row * length for row in range(len(coded))]], np.int64, "first bins")
    for step in reversed(range(steps)):
        further = graph.add("Add", bins, graph.constant(2**step, np.int64, f"{2**step} bins"))
        is_beyond = graph.add("GreaterOrEqual", values, graph.add("Gather", table, further))
        bins = graph.add("Where", is_beyond, further, bins, out="bins")
    above = graph.add("Sub", values, graph.add("Gather", table, bins))
    slope = graph.add("Gather", graph.constant(slopes.ravel(), np.float64, "slopes"), bins)
    start = graph.add("Gather", graph.constant(starts.ravel(), np.float64, "starts"), bins)
    position = graph.add("Add", graph.add("Mul", above, slope), start)
    return graph.add("Cast", position, out="positions", attributes=FLOAT)


def _date_parts(graph: Graph, schema: Schema, inputs: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """Add the parts of all dates, each (N, 1) float64, NaN where the date is missing; by column and part.

    Day and month come from the days since 1970 by Howard Hinnant's ``civil_from_days``, in whole numbers
    (https://howardhinnant.github.io/date_algorithms.html). Years begin in March there, so that the leap day is their last.
    """
    columns = [column for column in schema.used if column.kind == "date"]
    if not columns:
        return {}

    def number(value: int) -> str:
        return graph.constant(value, np.int64, str(value))

    def whole(operator: str, a: str, b: int | str) -> str:
        return graph.add(operator, a, number(b) if isinstance(b, int) else b)

    micros = graph.concat([inputs[column.name] for column in columns], "dates")
    is_missing = graph.add("Equal", micros, number(MISSING_DATE), out="is missing date")
    micros = graph.add("Where", is_missing, number(0), micros, out="dates, filled")
    of_day = whole("Mod", micros, DAY)  # never negative, as Mod has the divisor's sign
    days = whole("Div", whole("Sub", micros, of_day), DAY)
    day_of_era = whole("Mod", whole("Add", days, 719_468), 146_097)  # an era: 400 years, which all have as many days
    leap = whole("Sub", whole("Div", day_of_era, 1460), whole("Div", day_of_era, 36_524))
    leap = whole("Add", leap, whole("Div", day_of_era, 146_096))
    year = whole("Div", whole("Sub", day_of_era, leap), 365)
    to_year = whole("Add", whole("Mul", year, 365), whole("Sub", whole("Div", year, 4), whole("Div", year, 100)))
    day_of_year = whole("Sub", day_of_era, to_year)
    march_month = whole("Div", whole("Add", whole("Mul", day_of_year, 5), 2), 153)  # 0: March
    to_month = whole("Div", whole("Add", whole("Mul", march_month, 153), 2), 5)
    turns = {
        "month": (whole("Mod", whole("Add", march_month, 2), 12), 12),
        "weekday": (whole("Mod", whole("Add", days, 3), 7), 7),  # 1970 began on a Thursday
        "hour": (whole("Div", of_day, HOUR), 24),
    }
    nan = graph.constant(np.nan, np.float64, "not a number")
    tables: dict[str, str] = {}
    parts = {}
    for index, column in enumerate(columns):
        for part in column.parts or {}:
            if part not in tables:
                period, _, wave = part.partition(" ")
                if part == "days":
                    double = graph.add("Cast", micros, attributes=DOUBLE)
                    table = graph.add("Div", double, graph.constant(float(DAY), np.float64, "a day"))
                elif part == "day of month":
                    day = whole("Add", whole("Sub", day_of_year, to_month), 1)
                    table = graph.add("Cast", day, attributes=DOUBLE)
                else:
                    turn, length = turns[period]
                    angles = 2 * np.pi * (np.arange(length) / length)
                    waves = np.sin(angles) if wave == "sine" else np.cos(angles)
                    table = graph.add("Gather", graph.constant(waves, np.float64, f"{part}s"), turn)
                tables[part] = graph.add("Where", is_missing, nan, table, out=part)
            parts[column.name, part] = graph.columns(tables[part], [index], len(columns), f"{column.name}: {part}")
    return parts


def _looked_up(graph: Graph, column: Column, inputs: Mapping[str, str], out: str, values: dict[str, Any]) -> str:
    """Add a table from a column's levels, and last the text of a missing cell, to values."""
    keys = [*column.levels, missing_marker(column)]
    attributes = {"keys_strings": keys, **values}
    return graph.add("LabelEncoder", inputs[column.name], out=out, domain="ai.onnx.ml", attributes=attributes)


def _add_flags(
    graph: Graph, schema: Schema, inputs: Mapping[str, str], starts: Mapping[str, int], features: _Features
) -> None:
    """Add flags: -1, 1, and 0 where missing or unseen."""
    columns = [column for column in schema.used if column.kind == "flag"]
    if not columns:
        return
    values = []
    for column in columns:
        codes = [*(2.0 * code - 1 for code in range(len(column.levels))), 0.0]
        own = {"values_floats": codes, "default_float": 0.0}
        values.append(_looked_up(graph, column, inputs, f"{column.name}: flag", own))
    table = graph.concat(values, "flags")
    features.add(table, [starts[column.name] for column in columns])
    told = [index for index, column in enumerate(columns) if column.missing]
    if told:
        some = graph.columns(table, told, len(columns), "flags with missing cells")
        is_missing = graph.add("Equal", some, graph.constant(0.0, np.float32, "no flag"))
        said = graph.add("Cast", is_missing, out="missing flags", attributes=FLOAT)
        features.add(said, [starts[columns[index].name] + 1 for index in told])


def _add_categories(
    graph: Graph, schema: Schema, inputs: Mapping[str, str], starts: Mapping[str, int], features: _Features
) -> None:
    """Add categories: a feature a level, then one for rare levels and one for missing cells, where there were any."""
    hot: list[str] = []
    places: list[int] = []
    for column in schema.used:
        if column.kind != "category":
            continue
        width, n_levels = width_of(column), len(column.levels)
        # A code of ``width`` is none of the features.
        if_missing = width - 1 if column.missing else width
        codes, other = [*range(n_levels), if_missing], n_levels if column.other else if_missing
        own = {"values_int64s": codes, "default_int64": other}
        code = _looked_up(graph, column, inputs, f"{column.name}: code", own)
        levels = graph.constant(np.arange(width)[None], np.int64, f"{width} codes")
        hot.append(graph.add("Equal", code, levels, out=f"{column.name}: levels"))
        places += range(starts[column.name], starts[column.name] + width)
    if hot:
        features.add(graph.add("Cast", graph.concat(hot, "levels"), out="categories", attributes=FLOAT), places)
