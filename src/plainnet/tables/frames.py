"""A table in memory (polars, pandas, pyarrow, NumPy, torch, dicts, rows …) -> a polars frame of plain types.

What is not polars is turned into columns one by one, so that one odd column cannot spoil the others. Neither pandas
nor pyarrow nor torch is imported here: an object of theirs brings its library along, and is known by its module.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from numbers import Integral, Real
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl
import polars.selectors as cs

from plainnet.errors import TableError
from plainnet.tables.wording import listed

__all__ = ["column_of", "frame_of", "frame_of_rows", "plain_types"]

ACCEPTED = (
    "a path or URL, a polars, pandas, pyarrow or other data frame, a dict of columns, a list of dicts (rows), "
    "a NumPy array or torch tensor with two dimensions"
)


def frame_of(source: Any) -> pl.DataFrame:
    """Turn a table in memory into a polars frame; the source is not changed.

    Args:
        source: one of the kinds named in ACCEPTED.

    Returns:
        The same columns, their types not yet made plain.

    Raises:
        TableError: not a table, columns of different lengths, or two columns of one name.
    """
    classes = _classes(source)
    if isinstance(source, pl.DataFrame | pl.LazyFrame):
        return _collected(source)
    if "torch.Tensor" in classes:
        return _frame_of_array(_array_of_tensor(source))
    if any(name.startswith("scipy.") for name in classes) and hasattr(source, "toarray"):
        raise TableError(f"A sparse matrix {_shape(source)} cannot be read as a table. Pass matrix.toarray().")
    if isinstance(source, np.ndarray):
        return _frame_of_array(source)
    if isinstance(source, Mapping):
        return _frame_of_columns(source.keys(), source.values())
    if isinstance(source, Sequence) and not isinstance(source, str | bytes | pl.Series):
        return frame_of_rows(source)
    if "pandas.DataFrame" in classes:
        return _frame_of_columns(source.columns, (source.iloc[:, i] for i in range(source.shape[1])))
    if classes & {"pyarrow.Table", "pyarrow.RecordBatch"}:
        return _frame_of_columns(source.schema.names, source.columns)
    return _frame_of_other(source)


def _frame_of_other(source: Any) -> pl.DataFrame:
    """Leave the frames of all other libraries to narwhals."""
    try:
        frame = nw.from_native(source, pass_through=True, allow_series=True)
    except nw.exceptions.NarwhalsError as error:
        raise TableError(f"The {type(source).__qualname__} cannot be read as a table: {error}") from error
    if isinstance(frame, nw.Series):
        raise TableError(
            f"One column (a {type(source).__name__} of {len(frame)} values) is no table. Pass a data frame, such as "
            "series.to_frame()."
        )
    if isinstance(frame, nw.DataFrame):
        native = nw.to_native(frame)
        return frame.to_polars() if native is source else frame_of(native)
    if isinstance(frame, nw.LazyFrame):
        return _collected(nw.to_native(frame.collect(backend="polars")))
    raise TableError(f"A {type(source).__module__}.{type(source).__qualname__} is not a table. Pass {ACCEPTED}.")


def frame_of_rows(rows: Sequence[Any]) -> pl.DataFrame:
    """Turn a list of dicts, one a row, into a frame; a key that a row lacks is missing there.

    Args:
        rows: dicts from column name to cell.

    Returns:
        The columns in the order in which their names first occur.

    Raises:
        TableError: no rows, or a row that is not a dict.
    """
    if not len(rows):
        raise TableError("An empty list is no table. Pass at least one row, as a dict from column name to value.")
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise TableError(f"Row {number} is a {type(row).__name__}, not a dict from name to value. Pass {ACCEPTED}.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _frame_of_columns(names, ([row.get(name) for row in rows] for name in names))


def column_of(name: str, values: Any) -> pl.Series:
    """Turn one column in memory into a polars column.

    Args:
        name: its name.
        values: an array, tensor, series or list with one dimension.

    Returns:
        The typed column. A list of things that have no type in common becomes strings; missing cells become null.

    Raises:
        TableError: a single value, or an array with more or fewer dimensions than one.
    """
    if isinstance(values, nw.Series):
        values = nw.to_native(values)
    classes = _classes(values)
    if isinstance(values, pl.Series):
        return values.alias(name)
    if "torch.Tensor" in classes:
        values = _array_of_tensor(values)
    if isinstance(values, np.ndarray):
        return _column_of_array(name, values)
    if any(each.startswith("pandas.") for each in classes):
        return _column_of_pandas(name, values)
    if classes & {"pyarrow.Array", "pyarrow.ChunkedArray"}:
        return pl.Series(name, values)
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise TableError(
            f"Column {name!r} is a single {type(values).__name__}, not a list or array of one value a row."
        )
    return _column_of_list(name, list(values))


def plain_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Bring each column to one of the types that the later stages know; NaN becomes null.

    Args:
        frame: any polars frame.

    Returns:
        Decimals and 128-bit whole numbers as Float64, categories as String, durations and times of day as seconds in
        Float64, columns without any value as String. Lists, structs and binary columns stay as they are.
    """
    objects = [_column_of_mixed(column.name, column.to_list()) for column in frame if column.dtype == pl.Object]
    plain = frame.with_columns(objects).with_columns(_plain(name, dtype) for name, dtype in frame.schema.items())
    return plain.with_columns(cs.float().fill_nan(None))


def _plain(name: str, dtype: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    # By name, since older versions of polars lack some of these types.
    kind = str(dtype.base_type())
    if kind in ("Decimal", "Int128", "UInt128"):
        return column.cast(pl.Float64)
    if kind in ("Categorical", "Enum", "Null"):
        return column.cast(pl.String)
    if kind == "Extension":
        return column.ext.storage()
    if isinstance(dtype, pl.Duration):
        return column.to_physical().cast(pl.Float64) / {"ns": 1e9, "us": 1e6, "ms": 1e3}[dtype.time_unit]
    if kind == "Time":
        return column.to_physical().cast(pl.Float64) / 1e9
    return column


def _classes(source: Any) -> set[str]:
    """Name the class of an object and its parents, each as library.Class."""
    return {f"{parent.__module__.partition('.')[0]}.{parent.__name__}" for parent in type(source).__mro__}


def _shape(source: Any) -> str:
    return f"of shape {tuple(source.shape)}"


def _collected(frame: pl.DataFrame | pl.LazyFrame) -> pl.DataFrame:
    try:
        return frame.lazy().collect()
    except Exception as error:
        raise TableError(f"The lazy frame could not be computed: {error}") from error


def _frame_of_columns(names: Iterable[Any], columns: Iterable[Any]) -> pl.DataFrame:
    """Put columns together; a name that is not a string becomes one, and a tuple of names is joined by _."""
    read = [
        column_of("_".join(map(str, name)) if isinstance(name, tuple) else str(name), column)
        for name, column in zip(names, columns, strict=True)
    ]
    twice = [name for name, count in Counter(column.name for column in read).items() if count > 1]
    if twice:
        raise TableError(f"The table has more than one column named {listed(twice)}. Rename them.")
    if len({len(column) for column in read}) > 1:
        lengths = ", ".join(f"{column.name!r} {len(column)}" for column in read)
        raise TableError(f"Columns have different numbers of values: {lengths}. Every column needs one value a row.")
    return pl.DataFrame(read)


def _frame_of_array(array: np.ndarray[Any, Any]) -> pl.DataFrame:
    """Name the columns of a matrix x0, x1, …; a structured array brings its names along."""
    if isinstance(array, np.ma.MaskedArray):
        raise TableError("A masked array cannot be read as a table. Pass array.astype(float).filled(float('nan')).")
    if array.dtype.names and array.ndim == 1:
        return _frame_of_columns(array.dtype.names, (array[name] for name in array.dtype.names))
    if array.ndim == 1:
        raise TableError(
            f"An array of shape {array.shape} is one column, not a table. Pass array.reshape(-1, 1) for one column of "
            "many rows, or array.reshape(1, -1) for one row."
        )
    if array.ndim != 2:
        raise TableError(
            f"An array of shape {array.shape} is not a table: a table has two dimensions, rows and columns."
        )
    matrix = np.asarray(array)
    return _frame_of_columns((f"x{i}" for i in range(matrix.shape[1])), matrix.T)


def _array_of_tensor(tensor: Any) -> np.ndarray[Any, Any]:
    if str(tensor.layout) != "torch.strided":
        raise TableError(f"A sparse tensor {_shape(tensor)} cannot be read as a table. Pass tensor.to_dense().")
    on_cpu = tensor.detach().cpu()
    if str(on_cpu.dtype) == "torch.bfloat16":  # NumPy has no such type
        on_cpu = on_cpu.float()
    array: np.ndarray[Any, Any] = on_cpu.numpy()
    return array


def _column_of_array(name: str, array: np.ndarray[Any, Any]) -> pl.Series:
    if array.ndim != 1:
        raise TableError(f"Column {name!r} is an array of shape {array.shape}. A column has one value a row: split it.")
    kind = array.dtype.kind
    if kind == "O":
        return _column_of_list(name, array.tolist())
    if kind == "c":
        raise TableError(f"Column {name!r} holds complex numbers. Pass their real and imaginary parts as two columns.")
    if kind == "V":
        raise TableError(f"Column {name!r} holds values of type {array.dtype}, which is no column type. Leave it out.")
    if array.dtype == np.longdouble and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    if kind in "mM" and np.datetime_data(array.dtype)[0] not in ("D" if kind == "M" else "us", "ms", "us", "ns"):
        array = array.astype(f"{kind}8[us]")
    return pl.Series(name, array)


def _column_of_pandas(name: str, values: Any) -> pl.Series:
    """Let polars do it where it can; it cannot where types are mixed, nor much at all without pyarrow."""
    if not str(getattr(values, "dtype", "")).startswith(("object", "period", "interval")):
        with suppress(ImportError, TypeError, ValueError, NotImplementedError, pl.exceptions.PolarsError):
            column: Any = pl.from_pandas(values)
            return pl.Series(name, column)
    return _column_of_list(name, list(values))


def _column_of_list(name: str, values: list[Any]) -> pl.Series:
    cells = [None if _is_missing(value) else value for value in values]
    try:
        column = pl.Series(name, cells, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
        column = _column_of_mixed(name, cells)
    return _column_of_mixed(name, cells) if column.dtype == pl.Object else column


def _column_of_mixed(name: str, cells: list[Any]) -> pl.Series:
    """Numbers of different kinds become Int64 or Float64, anything else becomes strings."""
    present = [cell for cell in cells if cell is not None]
    if all(isinstance(cell, Real) for cell in present):
        number = int if all(isinstance(cell, Integral) for cell in present) else float
        with suppress(OverflowError):
            return pl.Series(name, [None if cell is None else number(cell) for cell in cells])
    return pl.Series(name, [None if cell is None else str(cell) for cell in cells], dtype=pl.String)


def _is_missing(value: Any) -> bool:
    """Find None, NaN in any float type, and pandas' NA and NaT."""
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    if isinstance(value, np.datetime64 | np.timedelta64):
        return bool(np.isnat(value))
    return value is None or type(value).__name__ in ("NAType", "NaTType")
