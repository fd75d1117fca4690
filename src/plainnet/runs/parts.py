"""The parts of a table's rows: which train, which validate, which test; and a network fitted on them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.engines.job import Epochs
from plainnet.errors import DataWarning, TableError
from plainnet.evaluation.evaluation import Array, Estimator, predictions_of, threshold_of
from plainnet.settings import TINY_ROWS, VALIDATION_SHARE
from plainnet.tables.split import split_rows
from plainnet.tables.wording import listed

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "LEAST_ROWS", "Rows", "Watch", "group_names", "known_rows", "of_known_classes", "own_threshold", "split_parts", "validation_of",
]  # fmt: skip

Rows = npt.NDArray[np.int64]
#: Looks on: called with what is being fitted, the number of a member, its network, and its newest epochs.
Watch = Callable[[Estimator, int, "nn.Module", Epochs], object]

#: Rows that a training needs.
LEAST_ROWS = 2


def group_names(table: pl.DataFrame, group: str | None) -> Array | None:
    """Return the group of each row, (N,), as text; rows without are a group of their own."""
    return None if group is None else table[group].cast(pl.String).fill_null("").to_numpy()


def split_parts(
    table: pl.DataFrame, y: Array, task: str, *, test_share: float, group: str | None, time: str | None, seed: int
) -> dict[str, Rows]:
    """Return the rows of each part that has any."""

    def held_out(rows: Rows, share: float, draw: int) -> tuple[Rows, Rows]:
        kept, held = split_rows(
            len(rows), share, seed=draw,
            stratify=y[rows] if task == "classes" and not group and not time else None,
            groups=group_names(table[rows], group),
            time=None if time is None else _instants(table[time][rows]),
        )  # fmt: skip
        return rows[kept], rows[held]

    by = group or time
    n_parts = 1 + (test_share > 0) + (table.height > TINY_ROWS)  # without groups or time, each member holds out its own
    if by is not None and table[by].n_unique() < n_parts:
        raise TableError(
            f"the column {by!r} has {table[by].n_unique()} different values, and a split by it into training, validation "
            f"and test rows needs at least {n_parts}: name another column."
        )
    rows, parts = np.arange(table.height), {}
    if test_share > 0:
        rows, parts["test"] = held_out(rows, test_share, seed)
        if len(rows) < LEAST_ROWS:
            raise TableError(
                f"a share of {test_share:g} test rows leaves {len(rows)} of {table.height} rows to train on, and at least "
                f"{LEAST_ROWS} are needed: pass a smaller --test, or 0."
            )
    if by is not None and len(rows) > TINY_ROWS:
        rows, parts["validation"] = held_out(rows, VALIDATION_SHARE, seed + 1)
    return {"train": rows, **dict(reversed(parts.items()))}


def _instants(series: pl.Series) -> Array:
    """Return what orders rows in time: numbers, or dates as numbers; rows without come first."""
    from plainnet.tables.dates import parse_dates

    if series.dtype.is_numeric():
        return series.cast(pl.Float64).fill_null(-np.inf).to_numpy()
    dates, _ = parse_dates(series)
    if dates is None:
        raise TableError(
            f"the column {series.name!r} holds {series.dtype}, such as {series.drop_nulls()[:1].to_list()}, and no "
            "time to split by: name another column."
        )
    return dates.dt.epoch("us").cast(pl.Float64).fill_null(-np.inf).to_numpy()


def of_known_classes(parts: Mapping[str, Rows], y: Array) -> dict[str, Rows]:
    """Leave out held-out rows of classes that no training row has: they cannot be scored. Each part with such is named.

    Raises:
        TableError: no validation row is left.
    """
    classes = np.unique(y[parts["train"]])
    scored = {}
    for part, rows in parts.items():
        known = np.isin(y[rows], classes)
        scored[part] = rows[known]
        if known.all():
            continue
        strange = listed(np.unique(y[rows[~known]]).tolist())
        if part == "validation" and not known.any():
            raise TableError(
                f"every validation row is of a class without a training row ({strange}): no best epoch can be found. "
                "Split by another column, or by none."
            )
        warnings.warn(
            f"{int((~known).sum()):,} of {len(rows):,} {part} rows are of classes without a training row, and not scored: {strange}",
            DataWarning,
            stacklevel=3,
        )
    return scored


def validation_of(table: pl.DataFrame, y: Array, parts: Mapping[str, Rows]) -> tuple[pl.DataFrame, Array] | None:
    """Return the validation rows and their targets; None: there are none."""
    return None if "validation" not in parts else (table[parts["validation"]], y[parts["validation"]])


def own_threshold(estimator: Estimator, table: pl.DataFrame, y: Array, parts: Mapping[str, Rows]) -> float | None:
    """Return a fitted estimator's threshold of F1, chosen on rows that it was not trained on: out of fold, or the validation rows.

    None: there are neither, or not two classes.
    """
    if estimator.out_of_fold_ is not None:
        return threshold_of(estimator, *known_rows(estimator.out_of_fold_, y[parts["train"]]))
    held = validation_of(table, y, parts)
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        return None if held is None else threshold_of(estimator, predictions_of(estimator, held[0]), held[1])


def known_rows(predictions: Array, y: Array) -> tuple[Array, Array]:
    """Return predictions and targets of the rows that have a prediction: all, unless a member failed."""
    known = np.isfinite(predictions.reshape(len(y), -1)).all(axis=1)
    return predictions[known], y[known]
