"""What a run rests on: its columns by importance, and what made one row's prediction."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from plainnet.errors import DataWarning
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.evaluation.explain import permutation_importance
from plainnet.evaluation.shapley import MOST_BACKGROUND, explain_row
from plainnet.runs.again import find_table, test_rows_of
from plainnet.runs.runs import read_run
from plainnet.studio.tryout import row_of

__all__ = ["importance", "why"]

#: Columns that are shown, test rows that are shuffled at most, and how often.
SHOWN, ROWS, SHUFFLES = 15, 500, 3
#: Orders of the columns for one row: a second's work at most.
ORDERS = 100


def importance(path: Path, estimator: NetClassifier | NetRegressor) -> dict[str, Any]:
    """Return by how much the loss on the test rows grows when a column is shuffled, the most important columns first.

    Raises:
        RunError: the run had no test rows, or its table is not the one it was.
    """
    table, y, _ = test_rows_of(read_run(path))
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        found = permutation_importance(estimator, table, y, n_repeats=SHUFFLES, max_samples=ROWS).to_json()
    return found | {"columns": found["columns"][:SHOWN], "left_out": max(0, len(found["columns"]) - SHOWN)}


def why(path: Path, estimator: NetClassifier | NetRegressor, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each column adds to the prediction of a row made up by the user, beside that of an average training row.

    Raises:
        TableError: a value is none of its column's kind.
        RunError: the run's table is not the one it was.
    """
    background = _background(path, (path / "run.json").stat().st_mtime_ns)  # of a run that is written anew, the new one
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        found = explain_row(estimator, row_of(estimator, values), background, n_permutations=ORDERS).to_json()
    return found | {"output": str(found["output"]), "contributions": found["contributions"][:SHOWN]}


@lru_cache(maxsize=4)
def _background(path: Path, _written: int) -> pl.DataFrame:
    train, _ = find_table(read_run(path))[1].of("train")
    return train.sample(min(MOST_BACKGROUND, train.height), seed=0)
