"""Predictions as the columns of a file; of a table that is read piece by piece, written piece by piece."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import polars as pl

from plainnet.errors import DataWarning, TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.tables.scan import Scan
from plainnet.tables.wording import listed
from plainnet.tables.write import write_pieces

__all__ = ["named_columns", "predict_pieces", "prediction_columns", "prediction_frame", "write_predictions"]


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


def prediction_frame(
    estimator: NetClassifier | NetRegressor, rows: pl.DataFrame, *, with_input: bool = False
) -> pl.DataFrame:
    """Return the predictions as a frame, with the rows' own columns before them where they are wanted.

    Raises:
        TableError: the rows have a column of the same name as one of the predictions.
        ColumnsChangedError: the rows lack a column, or one has become something else.
    """
    columns = prediction_columns(estimator, rows)
    result = pl.DataFrame({name: pl.Series(values.tolist()) for name, values in columns.items()})
    if not with_input:
        return result
    taken = [name for name in rows.columns if name in result.columns]
    if taken:
        raise TableError(
            f"the table already has a column {listed(taken)}, where --with-input puts its predictions beside the table's own "
            "columns: rename it, or leave out --with-input."
        )
    return pl.concat([rows, result], how="horizontal")


def predict_pieces(
    estimator: NetClassifier | NetRegressor, scan: Scan, *, with_input: bool = False
) -> Iterator[pl.DataFrame]:
    """Predict a table piece by piece; arguments and errors are those of ``prediction_frame``."""
    used = {column.name for column in estimator.schema_.used}
    columns = None if with_input else [name for name in scan.columns if name in used]
    for _, rows in scan.pieces(columns or None):
        yield prediction_frame(estimator, rows, with_input=with_input)


def write_predictions(
    estimator: NetClassifier | NetRegressor, scan: Scan, path: Path, *, with_input: bool = False
) -> int:
    """Predict a table piece by piece into a file, complete or not at all.

    Returns:
        How many rows were predicted.

    Raises:
        TableError, RunError: as for ``prediction_frame`` and ``write_pieces``.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", DataWarning)
        n_rows = write_pieces(predict_pieces(estimator, scan, with_input=with_input), path)
    of_data = [each for each in said if issubclass(each.category, DataWarning)]
    if of_data:  # one for all pieces
        more = f" (in one piece of the table; {len(of_data)} pieces have such cells)" if len(of_data) > 1 else ""
        warnings.warn(f"{of_data[0].message}{more}", DataWarning, stacklevel=2)
    for each in said:
        if each not in of_data:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return n_rows
