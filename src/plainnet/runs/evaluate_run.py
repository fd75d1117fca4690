"""A run's scores on another table, and on groups of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.evaluation.evaluation import Score, check_targets, predictions_of, score, what_is_left_out
from plainnet.runs.runs import Run
from plainnet.tables.tables import take_target

__all__ = ["Evaluation", "evaluate_run"]


@dataclass(frozen=True)
class Evaluation:
    """What a run reaches on a table.

    Attributes:
        scores: on all rows with a target.
        groups: on the rows of each group, in the order in which they came.
        notes: what was left out, and why: sentences.
    """

    scores: list[Score]
    groups: dict[str, list[Score]]
    notes: list[str]


def evaluate_run(
    run: Run, table: pl.DataFrame, groups: Mapping[str, npt.NDArray[np.int64]] | None = None
) -> Evaluation:
    """Score a run on a table that holds its target, at the run's own threshold and beside its own baseline.

    Args:
        run: that was read.
        table: any rows; those without a target are left out.
        groups: numbers of rows, counted among those that have a target, by a name.

    Raises:
        TableError: the table lacks columns, no row has a target, or one is a class that the training rows did not have.
    """
    rows, y, n_without = take_target(table, run.target)
    estimator = run.estimator()
    check_targets(estimator, y)  # before the time of predicting is spent
    predictions = predictions_of(estimator, rows)

    def scored(of: Any) -> list[Score]:
        return score(estimator, predictions[of], y[of], run.baseline, threshold=run.threshold)

    notes = what_is_left_out(estimator, y)
    if n_without:
        notes.insert(0, f"{n_without:,} rows without a value in {run.target!r} are left out")
    return Evaluation(scored(slice(None)), {name: scored(own) for name, own in (groups or {}).items()}, notes)
