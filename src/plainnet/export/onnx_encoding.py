"""The encoding of a table as an ONNX graph: raw columns  ->  the features of ``tables.encode``.

Numbers and the parts of dates stand side by side in one table of float64, so that each step (fill, scale, bend, find the
bin) is one node for all of them. Only what is done is cast to float32, as in ``tables.encode``: a time stamp has more
digits than float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
NAN, ONE = np.float64(np.nan), np.float64(1)


def missing_marker(column: Column) -> str:
    """Return the text that stands for a missing cell of a category or flag: '' unless that is one of its levels.

    >>> missing_marker(Column("town", "category", "", "String", levels=("Ulm", "")))
    '(missing)'
    """
    marker = "" if "" not in column.levels else "(missing)"
    while marker in column.levels:
        marker += "'"
    return marker


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
    encoding = _Encoding(graph, schema.used, inputs)
    positions = encoding.add_numbers()
    encoding.add_flags()
    encoding.add_categories()
    side_by_side = graph.concat(encoding.tables, "features, by kind")
    order = np.argsort(encoding.places)
    return graph.columns(side_by_side, order.tolist(), len(order), "features"), positions


class _Encoding:
    """The plain features so far: tables side by side, and which feature each of their columns is."""

    def __init__(self, graph: Graph, columns: Sequence[Column], inputs: Mapping[str, str]) -> None:
        self.graph, self.columns, self.inputs = graph, columns, inputs
        first = np.cumsum([0, *map(width_of, columns)]).tolist()
        self.starts = {column.name: start for column, start in zip(columns, first, strict=False)}
        self.tables: list[str] = []
        self.places: list[int] = []

    def add(self, table: str, places: Sequence[int]) -> None:
        self.tables.append(table)
        self.places += places

    def add_numbers(self) -> str:
        """Add numbers and parts of dates; return the name of their positions, '' where none is coded."""
        graph = self.graph
        raw: list[str] = []
        spreads: list[Spread] = []
        places: list[int] = []
        gaps: list[tuple[int, int]] = []  # (which number tells whether the cell is missing, the feature that says so)
        dates = self.date_parts()
        for column in self.columns:
            start = self.starts[column.name]
            if column.spread is not None:
                own = {self.inputs[column.name]: column.spread}
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
        medians = np.array([[spread.median for spread in spreads]])
        filled = graph.add("Where", is_missing, medians, values, out="numbers, filled")
        # Scaled robustly and bent smoothly, as ``tables.encode`` does.
        scales = np.array([[spread.scale for spread in spreads]])
        z = graph.add("Div", graph.add("Sub", filled, medians), scales, out="z")
        if not np.isfinite(scales).all():  # infinity by infinity
            z = graph.add("Where", graph.add("IsNaN", z), np.float64(0), z)
        z = graph.add("Clip", z, np.float64(-1e6), np.float64(1e6))
        by_clip = graph.add("Div", z, np.float64(CLIP))
        root = graph.add("Sqrt", graph.add("Add", ONE, graph.add("Mul", by_clip, by_clip)))
        self.add(graph.add("Cast", graph.add("Div", z, root), out="numbers, scaled", to=FLOAT), places)
        if gaps:
            told = graph.columns(is_missing, [number for number, _ in gaps], len(raw), "is missing, told")
            self.add(graph.add("Cast", told, out="missing numbers", to=FLOAT), [place for _, place in gaps])
        return self.positions(filled, spreads)

    def positions(self, filled: str, spreads: Sequence[Spread]) -> str:
        """Find each number's position among its knots, as ``numpy.interp`` does, by bisection: one step for all numbers.

        Knots, slopes and starts of all numbers stand one after the other in three tables, padded to the same length.
        """
        graph = self.graph
        coded = [number for number, spread in enumerate(spreads) if spread.knots]
        if not coded:
            return ""
        steps = (max(len(spreads[number].knots) for number in coded) - 1).bit_length()
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
        last = np.array([[spreads[number].knots[-1] for number in coded]])
        values = graph.add(
            "Min", graph.add("Max", values, knots[:, 0][None]), last, out="coded numbers, within their knots"
        )
        table = graph.constant(knots.ravel(), "knots")
        bins = graph.constant(np.arange(len(coded))[None] * length, "first bins")
        for step in reversed(range(steps)):
            further = graph.add("Add", bins, np.int64(2**step))
            is_beyond = graph.add("GreaterOrEqual", values, graph.add("Gather", table, further))
            bins = graph.add("Where", is_beyond, further, bins, out="bins")
        above = graph.add("Sub", values, graph.add("Gather", table, bins))
        slope = graph.add("Gather", slopes.ravel(), bins, out="slopes")
        position = graph.add(
            "Add", graph.add("Mul", above, slope), graph.add("Gather", starts.ravel(), bins, out="starts")
        )
        return graph.add("Cast", position, out="positions", to=FLOAT)

    def date_parts(self) -> dict[tuple[str, str], str]:
        """Add the parts of all dates, each (N, 1) float64, NaN where the date is missing; by column and part.

        Day and month come from the days since 1970 by Howard Hinnant's ``civil_from_days``, in whole numbers
        (https://howardhinnant.github.io/date_algorithms.html). Years begin in March there, so that the leap day is their last.
        """
        graph = self.graph
        columns = [column for column in self.columns if column.kind == "date"]
        if not columns:
            return {}

        def whole(operator: str, a: str, b: int | str) -> str:
            return graph.add(operator, a, np.int64(b) if isinstance(b, int) else b)

        micros = graph.concat([self.inputs[column.name] for column in columns], "dates")
        is_missing = graph.add("Equal", micros, np.int64(MISSING_DATE), out="is missing date")
        micros = graph.add("Where", is_missing, np.int64(0), micros, out="dates, filled")
        of_day = whole("Mod", micros, DAY)  # never negative, as Mod has the divisor's sign
        days = whole("Div", whole("Sub", micros, of_day), DAY)
        day_of_era = whole(
            "Mod", whole("Add", days, 719_468), 146_097
        )  # an era: 400 years, which all have as many days
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
        tables: dict[str, str] = {}
        for part in dict.fromkeys(part for column in columns for part in column.parts or {}):
            period, _, wave = part.partition(" ")
            if part == "days":
                table = graph.add("Div", graph.add("Cast", micros, to=DOUBLE), np.float64(DAY))
            elif part == "day of month":
                table = graph.add("Cast", whole("Add", whole("Sub", day_of_year, to_month), 1), to=DOUBLE)
            else:
                turn, length = turns[period]
                angles = 2 * np.pi * (np.arange(length) / length)
                table = graph.add("Gather", np.sin(angles) if wave == "sine" else np.cos(angles), turn, out=f"{part}s")
            tables[part] = graph.add("Where", is_missing, NAN, table, out=part)
        return {
            (column.name, part): graph.columns(tables[part], [index], len(columns), f"{column.name}: {part}")
            for index, column in enumerate(columns)
            for part in column.parts or {}
        }

    def looked_up(self, column: Column, out: str, **values: Any) -> str:
        """Add a table from a column's levels, and last the text of a missing cell, to values."""
        keys = [*column.levels, missing_marker(column)]
        lookup = {"domain": "ai.onnx.ml", "keys_strings": keys, **values}
        return self.graph.add("LabelEncoder", self.inputs[column.name], out=f"{column.name}: {out}", **lookup)

    def add_flags(self) -> None:
        """Add flags: -1, 1, and 0 where missing or unseen."""
        graph = self.graph
        columns = [column for column in self.columns if column.kind == "flag"]
        if not columns:
            return
        codes = [[*(2.0 * code - 1 for code in range(len(column.levels))), 0.0] for column in columns]
        values = [
            self.looked_up(column, "flag", values_floats=own, default_float=0.0)
            for column, own in zip(columns, codes, strict=True)
        ]
        table = graph.concat(values, "flags")
        self.add(table, [self.starts[column.name] for column in columns])
        told = [index for index, column in enumerate(columns) if column.missing]
        if told:
            some = graph.columns(table, told, len(columns), "flags with missing cells")
            said = graph.add("Cast", graph.add("Equal", some, np.float32(0)), out="missing flags", to=FLOAT)
            self.add(said, [self.starts[columns[index].name] + 1 for index in told])

    def add_categories(self) -> None:
        """Add categories: a feature a level, then one for rare levels and one for missing cells, where there were any."""
        graph = self.graph
        hot: list[str] = []
        places: list[int] = []
        for column in self.columns:
            if column.kind != "category":
                continue
            width, n_levels, start = width_of(column), len(column.levels), self.starts[column.name]
            # A code of ``width`` is none of the features.
            if_missing = width - 1 if column.missing else width
            codes, other = [*range(n_levels), if_missing], n_levels if column.other else if_missing
            code = self.looked_up(column, "code", values_int64s=codes, default_int64=other)
            hot.append(graph.add("Equal", code, np.arange(width)[None], out=f"{column.name}: levels"))
            places += range(start, start + width)
        if hot:
            self.add(graph.add("Cast", graph.concat(hot, "levels"), out="categories", to=FLOAT), places)
