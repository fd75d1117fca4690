"""One row, made up by the user: a form from the schema, what the pack says to it, and why."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from plainnet.errors import DataWarning, TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.evaluation.evaluation import Estimator
from plainnet.evaluation.shapley import MOST_BACKGROUND, explain_row
from plainnet.runs.again import find_table
from plainnet.runs.runs import read_run
from plainnet.studio.tables import remembered
from plainnet.tables.schema import Column

__all__ = ["answer", "form", "row_of", "why"]

#: Columns that are shown, and orders of the columns that are tried: a second's work at most.
SHOWN, ORDERS = 15, 100


def form(estimator: Estimator) -> list[dict[str, Any]]:
    """Return a field for each column that the networks see.

    Each has ``name``, ``kind`` and, of a number, ``low``, ``high``, ``whole`` and the median as ``value``; of a category or flag its
    ``levels``, the most frequent first.
    """
    fields = []
    for column in estimator.schema_.used:
        more: dict[str, Any] = {"value": ""}
        if (of := column.spread) is not None:
            more = {"low": of.minimum, "high": of.maximum, "value": of.median, "whole": "Int" in column.dtype}
        elif column.kind != "date":
            more = {"levels": list(column.levels), "value": next(iter(column.levels), "")}
        fields.append({"name": column.name, "kind": column.kind, **more})
    return fields


def answer(estimator: Estimator, values: Mapping[str, Any]) -> dict[str, Any]:
    """Predict one row.

    Args:
        estimator: fitted.
        values: by column: a number, a level, or a date as 2026-01-31; '' or None or absent: missing.

    Returns:
        Of classes the ``classes`` with their probabilities, the most probable first; of numbers the ``value``, and the ``low`` and
        ``high`` ends of its 90 % interval where the run has one.

    Raises:
        TableError: a value is none of its column's kind.
    """
    row = row_of(estimator, values)
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        if isinstance(estimator, NetClassifier):
            said = estimator.predict_proba(row)[0]
            order = said.argsort()[::-1]
            return {"classes": [[str(estimator.classes_[i]), float(said[i])] for i in order[:20].tolist()]}
        found: dict[str, Any] = {"value": float(estimator.predict(row).reshape(-1)[0])}
        if estimator.residuals_ is not None:
            low, high = estimator.predict_interval(row, coverage=0.9)[0].tolist()
            found |= {"low": low, "high": high}
        return found


def why(path: Path, estimator: Estimator, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each column adds to the prediction of a row made up by the user, beside that of an average training row.

    Raises:
        TableError: a value is none of its column's kind.
        RunError: the run's table is not the one it was.
    """
    row = row_of(estimator, values)
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        found = explain_row(estimator, row, _background(path), n_permutations=ORDERS).to_json()
    return found | {"output": str(found["output"]), "contributions": found["contributions"][:SHOWN]}


@remembered(4)
def _background(path: Path) -> pl.DataFrame:
    train, _ = find_table(read_run(path))[1].of("train")
    return train.sample(min(MOST_BACKGROUND, train.height), seed=0)


def row_of(estimator: Estimator, values: Mapping[str, Any]) -> pl.DataFrame:
    """Return values by column as a table of one row; the arguments and errors are those of ``answer``."""
    return pl.DataFrame([_cell(column, values.get(column.name)) for column in estimator.schema_.used])


def _cell(column: Column, value: Any) -> pl.Series:
    """Return a value as a column of one row, of a type that the column was fitted on."""
    if value is None or value == "":
        return pl.Series(column.name, [None], dtype=pl.Float64 if column.kind == "number" else pl.String)
    try:
        if column.kind == "number":
            return pl.Series(column.name, [float(value)])
        if column.kind == "date":
            day = datetime.fromisoformat(str(value))
            return pl.Series(column.name, [day if column.date_format is None else day.strftime(column.date_format)])
    except (TypeError, ValueError) as error:
        raise TableError(
            f"{column.name!r} is a {column.kind}, and {str(value)[:40]!r} is none: write one, or leave it empty."
        ) from error
    return pl.Series(column.name, [str(value)])
