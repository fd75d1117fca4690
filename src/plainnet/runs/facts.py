"""Parts of run.json: the table, the training, the scores, the folds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import polars as pl

from plainnet.errors import DataWarning
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.evaluation.evaluation import evaluate
from plainnet.runs.folds import CrossValidation
from plainnet.runs.parts import Rows
from plainnet.runs.source import fingerprint
from plainnet.tables.databases import without_password

__all__ = ["add_folds", "scores_of", "table_facts", "training_facts"]


def scores_of(
    estimator: NetClassifier | NetRegressor,
    table: pl.DataFrame,
    y: npt.NDArray[Any],
    baseline: npt.NDArray[Any],
    parts: Mapping[str, Rows],
    threshold: float | None,
) -> dict[str, list[dict[str, Any]]]:
    """Score each part of the rows."""
    scores = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # said once is enough; `plainnet predict` counts them
        for part, rows in parts.items():
            if len(rows):
                found = evaluate(estimator, table[rows], y[rows], baseline, threshold=threshold)
                scores[part] = [each.to_json() for each in found]
    return scores


def table_facts(source: str | Path, query: str | None, table: pl.DataFrame) -> dict[str, Any]:
    """Return what run.json says of the table."""
    return {
        "source": without_password(str(source)),
        "query": query,
        "rows": table.height,
        "columns": table.width,
        "sha256": fingerprint(source, table),
    }


def add_folds(facts: dict[str, Any], crossed: CrossValidation) -> None:
    """Write what cross-validation found into run.json."""
    if crossed.folds:
        facts["scores"] = {"cross-validation": crossed.to_json(), **facts["scores"]}
        not_scored = sum(fold.not_scored for fold in crossed.folds)
        facts["not_scored"] = {**facts["not_scored"], "cross-validation": not_scored}
    facts["folds"] = {
        "by": facts["split"]["by"],
        "stopped_by": crossed.stopped_by,
        "each": [
            {
                "train": fold.train_rows,
                "rows": len(fold.rows),
                "seconds": round(fold.seconds, 3),
                "scores": [each.to_json() for each in fold.scores],
            }
            for fold in crossed.folds
        ],
    }


def training_facts(estimator: NetClassifier | NetRegressor) -> dict[str, Any]:
    """Return what run.json says of the training."""
    history = estimator.history_
    return {
        "members": len(estimator.members_),
        "epochs": len(history),
        "best_epoch": history.best_epoch,
        "stopped_by": history.stopped_by,
        "seconds": round(float(history.seconds.sum()), 3),
        "engine": history.engine,
        "engine_reason": history.engine_reason,
    }
