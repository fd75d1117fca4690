"""What is taken home: the model as ONNX, and predictions of another table as a CSV that no spreadsheet will run."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from plainnet.errors import DataWarning
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.predictions import prediction_columns
from plainnet.estimators.regressor import NetRegressor
from plainnet.export.export import export_model

__all__ = ["defused", "onnx_bytes", "predictions_csv"]

#: How a cell begins that spreadsheets take for a formula (OWASP, "CSV Injection"), unless it is a number.
FORMULA = r"^[=+\-@\t\r]"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def onnx_bytes(estimator: NetClassifier | NetRegressor) -> bytes:
    """Return the model as an ONNX file, raw columns in and predictions out.

    Raises:
        MissingExtraError: onnx is not installed.
    """
    with TemporaryDirectory() as folder:
        return export_model(estimator, Path(folder) / "model.onnx")[0].read_bytes()


def predictions_csv(estimator: NetClassifier | NetRegressor, rows: pl.DataFrame) -> bytes:
    """Return the rows with the predictions after them, as CSV.

    Raises:
        ColumnsChangedError: the rows lack a column, or one has become something else.
    """
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        columns = prediction_columns(estimator, rows)
    taken, named = set(rows.columns), {}
    for name, values in columns.items():
        while name in taken:
            name += " (plainnet)"  # noqa: PLW2901 - until it is free
        named[name] = values
    result = pl.DataFrame({name: pl.Series(values.tolist()) for name, values in named.items()})
    plain = [column for column in rows.get_columns() if not (column.dtype.is_nested() or column.dtype == pl.Binary)]
    return defused(pl.concat([pl.DataFrame(plain), result], how="horizontal")).write_csv().encode()


def defused(table: pl.DataFrame) -> pl.DataFrame:
    """Put a ' before each text, the columns' names too, that a spreadsheet would take for a formula.

    >>> defused(pl.DataFrame({"=a": ["=1+1", "-5", "-x", "plain"]})).to_dict(as_series=False)
    {"'=a": ["'=1+1", '-5', "'-x", 'plain']}
    """
    text = pl.col(pl.String)
    is_formula = text.str.contains(FORMULA) & ~text.str.contains(NUMBER)
    safe = table.with_columns(pl.when(is_formula).then(pl.lit("'") + text).otherwise(text).name.keep())
    return safe.rename({name: f"'{name}" for name in table.columns if re.match(FORMULA, name)})
