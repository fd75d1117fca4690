"""Predictions as the columns of a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import polars as pl

from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor

__all__ = ["named_columns", "prediction_columns"]


def prediction_columns(estimator: NetClassifier | NetRegressor, rows: pl.DataFrame) -> dict[str, npt.NDArray[Any]]:
    """Return the columns to write, (N,) each: classes or labels with their probabilities, numbers, or quantiles.

    Raises:
        ColumnsChangedError: the rows lack a column, or one has become something else.
    """
    if not isinstance(estimator, NetClassifier):
        return named_columns(estimator.predict(rows), quantiles=getattr(estimator.target_, "quantiles", ()))
    probabilities = estimator.predict_proba(rows)
    return named_columns(estimator.target_.decode(probabilities), probabilities, estimator.classes_.tolist())


def named_columns(
    predictions: npt.NDArray[Any],
    probabilities: npt.NDArray[Any] | None = None,
    classes: Sequence[Any] = (),
    quantiles: Sequence[float] = (),
) -> dict[str, npt.NDArray[Any]]:
    """Name the columns of predictions.

    Args:
        predictions: (N,) classes or numbers; (N, K) labels, several numbers, or quantiles.
        probabilities: (N, C) of classes or labels, else None.
        classes: the C classes, or the numbers of the labels.
        quantiles: the K quantiles.
    """
    if predictions.ndim == 1:
        columns = {"prediction": predictions}
    else:
        what = "prediction" if probabilities is None else "label"
        names = [f"quantile {share:g}" for share in quantiles] or [f"{what} {k}" for k in range(predictions.shape[1])]
        columns = {name: predictions[:, k] for k, name in enumerate(names)}
    if probabilities is not None:
        columns |= {f"probability {name}": probabilities[:, k] for k, name in enumerate(classes)}
    return columns
