"""Predictions as the columns of a file."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import polars as pl

from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor

__all__ = ["prediction_columns"]


def prediction_columns(estimator: NetClassifier | NetRegressor, rows: pl.DataFrame) -> dict[str, npt.NDArray[Any]]:
    """Return the columns to write, (N,) each: classes or labels with their probabilities, numbers, or quantiles.

    Raises:
        ColumnsChangedError: the rows lack a column, or one has become something else.
    """
    if not isinstance(estimator, NetClassifier):
        predicted = estimator.predict(rows)
        if predicted.ndim == 1:
            return {"prediction": predicted}
        shares = getattr(estimator.target_, "quantiles", ())
        names = [f"quantile {share:g}" for share in shares] or [f"prediction {k}" for k in range(predicted.shape[1])]
        return {name: predicted[:, k] for k, name in enumerate(names)}
    probabilities = estimator.predict_proba(rows)
    decoded = estimator.target_.decode(probabilities)
    columns = (
        {"prediction": decoded} if decoded.ndim == 1 else {f"label {k}": labels for k, labels in enumerate(decoded.T)}
    )
    return columns | {f"probability {name}": probabilities[:, k] for k, name in enumerate(estimator.classes_.tolist())}
