"""One pass over a table that is read piece by piece  ->  its Schema, and what is to be known of its target.

Kinds, quantiles and bins are learnt from a sample of the rows, drawn evenly; what a sample could miss is counted on all rows: how many
there are, how many cells are missing, the least and the largest number, and the levels of a text column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.errors import TableError
from plainnet.tables.bins import Weight
from plainnet.tables.kinds import kind_of_levels
from plainnet.tables.scan import TrainingRows, row_shares
from plainnet.tables.schema import Column, Schema, count_rows, learn_column, learn_levels, level_rows
from plainnet.tables.tables import target_array

__all__ = ["Sketch", "TargetTally", "sketch"]


@dataclass
class TargetTally:
    """What is exact about the target.

    Attributes:
        rows: with a target.
        without: rows without.
        classes: rows of each value; None: there are more different ones than are counted.
        minimum, maximum: of numbers.
    """

    rows: int = 0
    without: int = 0
    classes: Counter[Any] | None = field(default_factory=Counter)
    minimum: float = np.inf
    maximum: float = -np.inf

    def add(self, y: npt.NDArray[Any], most: int) -> None:
        """Count the targets of a piece."""
        self.rows += len(y)
        if y.dtype.kind in "iuf" and len(y):
            self.minimum, self.maximum = min(self.minimum, float(y.min())), max(self.maximum, float(y.max()))
        if self.classes is not None:
            values, counts = np.unique(y, return_counts=True)
            self.classes = _added(self.classes, dict(zip(values.tolist(), counts.tolist(), strict=True)), most)


@dataclass
class Tally:
    """What is exact about a column: cells without a value, the extremes, and the rows or weight of each level, None: too many levels."""

    missing: int = 0
    extremes: tuple[Any, Any] | None = None
    levels: Counter[str] | None = None

    def add(self, series: pl.Series, most: int, weight: Weight) -> None:
        """Count the cells of a piece; levels by the weights of their rows."""
        self.missing += int(_is_missing(series).sum())
        finite = series.filter(series.is_finite()) if series.dtype.is_float() else series
        if (series.dtype.is_numeric() or series.dtype.is_temporal()) and finite.len() > finite.null_count():
            own: tuple[Any, Any] = (finite.min(), finite.max())
            before = self.extremes or own
            self.extremes = (min(before[0], own[0]), max(before[1], own[1]))
        if self.levels is not None:
            self.levels = _added(self.levels, dict(level_rows(series, weight).iter_rows()), most)


@dataclass(frozen=True)
class Sketch:
    """What one pass over the rows has found.

    Attributes:
        schema: of the columns, the target left out.
        y: (n,) the targets of the sample.
        weight: (n,) their weights; None: all 1.
        target: what is exact about the target.
    """

    schema: Schema
    y: npt.NDArray[Any]
    weight: Weight
    target: TargetTally


def sketch(
    training: TrainingRows,
    *,
    kinds: Mapping[str, str] | None = None,
    salt: int = 0,
    told: Callable[[], None] | None = None,
) -> Sketch:
    """Pass over the rows once.

    Args:
        training: the rows.
        kinds: as for ``Schema.learn``.
        salt: of the sample's draw.
        told: called after each piece.

    Raises:
        TableError: no row has a target, or as for ``Schema.learn`` and ``TrainingRows.pieces``.
        SettingError: as for these.
    """
    scan, target = training.scan, training.target
    most = scan.settings.most_levels
    share = min(1.0, scan.settings.sample_rows / max(scan.n_rows, 1))
    counted = {name for name, kind in (kinds or {}).items() if kind in ("category", "flag")}
    tallies = {
        name: Tally(levels=Counter() if scan.types[name] in (pl.String, pl.Boolean) or name in counted else None)
        for name in training.columns
    }
    if not tallies:
        raise TableError(f"the table has only the target column {target!r}, and no other to predict it from: add some.")
    found, sampled = TargetTally(), []
    weights: list[npt.NDArray[np.float64]] = []
    for numbers, rows, weight, without in training.pieces():
        found.without += without
        found.add(target_array(rows[target]), most)
        for name, tally in tallies.items():
            tally.add(rows[name], most, weight)
        drawn = row_shares(numbers, salt) < share
        if drawn.any():
            sampled.append(rows.filter(drawn))
            weights += [] if weight is None else [weight[drawn]]
        if told is not None:
            told()
    if found.rows == 0:
        raise TableError(
            f"no row has a value in the target column {target!r}{'' if training.weight is None else ' and a weight above 0'}: name "
            "another, or fill it."
        )
    if not sampled:
        raise TableError(f"{found.rows:,} rows are too few to draw a sample from: read the table as a whole.")
    sample = pl.concat(sampled)
    joint = np.concatenate(weights) if weights else None
    y, table = target_array(sample[target]), sample.drop(target)
    schema = Schema.learn(table, kinds=kinds, weight=joint)
    columns = [
        _exact(each, tallies[each.name], table[each.name], joint, found.rows, kinds or {}) for each in schema.columns
    ]
    return Sketch(Schema(tuple(columns), found.rows), y, joint, found)


def _exact(
    column: Column, tally: Tally, sample: pl.Series, weight: Weight, n_rows: int, kinds: Mapping[str, str]
) -> Column:
    """Put what was counted on all rows in the place of what the sample shows."""
    # With the least and the largest value, a number that seldom leaves 0 is no constant, and one that has a 2 is no flag.
    unseen = [value for value in tally.extremes or () if not (sample == value).any()]
    if unseen:
        more = pl.Series(sample.name, sorted(set(unseen)), dtype=sample.dtype)
        sample = sample.extend(more)
        weight = None if weight is None else np.append(weight, np.full(len(more), np.median(weight)))
        column = learn_column(sample, kinds.get(column.name), weight)
    # Text that is no number or date is missing, too: how much of it there is, the sample says.
    empty = count_rows(_is_missing(sample), weight)
    unread = (column.missing - empty) * n_rows / count_rows(np.ones(len(sample), dtype=bool), weight)
    column = replace(column, missing=tally.missing + round(unread))
    if tally.levels is None or column.kind not in ("category", "flag", "constant"):
        return column
    n_levels = len(tally.levels)
    if n_levels == 0 or (n_levels == 1 and not tally.missing):
        return column
    if column.name not in kinds:
        kind, why = ("flag", "true or false") if column.dtype == "Boolean" else kind_of_levels(tally.levels)
        column = replace(column, kind=kind, why=why)
    levels = pl.Series(column.name, list(tally.levels), dtype=pl.String)
    return learn_levels(column, levels, np.array(list(tally.levels.values()), dtype=np.float64))


def _is_missing(series: pl.Series) -> npt.NDArray[np.bool_]:
    missing = series.is_null()
    if series.dtype.is_float():
        missing |= series.is_infinite().fill_null(value=False)
    return missing.to_numpy()


def _added(counts: Counter[Any], more: dict[Any, Any], most: int) -> Counter[Any] | None:
    """Add counts; None where there are more different values than ``most``."""
    counts.update(more)
    return counts if len(counts) <= most else None
