"""An estimator as an ONNX model: raw columns in, probabilities or numbers out.

The model needs no preparation of the rows beyond their types: each used column is an input of shape (N, 1), numbers as
float64, categories and flags as text, dates as whole microseconds. The entry ``plainnet`` of its metadata says in JSON what
every input is, so that a program in another language can make them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

import plainnet
from plainnet.errors import MissingExtraError, SettingError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.export.graph import Graph, free_name
from plainnet.export.onnx_encoding import MISSING_DATE, encode_columns, missing_marker
from plainnet.export.onnx_vote import class_type, decode_vote, vote
from plainnet.export.scripts import check_plain, plain_classes
from plainnet.files import replacing
from plainnet.tables.dates import parse_dates
from plainnet.tables.encode import match_columns
from plainnet.tables.kinds import numbers_of
from plainnet.tables.read import read_table
from plainnet.tables.schema import Column, Schema, level_strings
from plainnet.tables.tables import is_table
from plainnet.tables.target import ClassTarget, LabelsTarget, NumberTarget, Target

if TYPE_CHECKING:
    import onnx

__all__ = ["onnx_inputs", "onnx_model", "write_onnx"]

#: Those of ONNX 1.13, older than any ONNX Runtime that the extra `onnx` allows. ai.onnx.ml is there for LabelEncoder alone.
OPSET, ML_OPSET, IR_VERSION = 18, 3, 8
#: Grows by one with every change of the metadata that its readers have to know.
METADATA_FORMAT = 1
#: Bytes of an ONNX file at most: protobuf, in which it is written, knows no larger messages.
MOST_BYTES = 2**31 - 2**20

#: The type of the input of each kind of column, in ONNX's words.
TYPES = {"number": "double", "flag": "string", "category": "string", "date": "int64"}


def write_onnx(estimator: NetClassifier | NetRegressor, path: str | Path) -> None:
    """Write an ONNX file, complete or not at all.

    Raises:
        MissingExtraError: onnx is not installed.
        SettingError: the estimator has a network of its own, or is too large for ONNX.
        RunError: the file cannot be written.
    """
    content = onnx_model(estimator).SerializeToString()
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def onnx_model(estimator: NetClassifier | NetRegressor) -> onnx.ModelProto:
    """Return the whole of a fitted estimator as an ONNX model, checked by onnx.

    Raises:
        MissingExtraError: onnx is not installed.
        SettingError: the estimator has a network of its own, or is too large for ONNX.
    """
    try:
        import onnx
        from onnx import helper
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx", "Writing an ONNX file") from error
    check_plain(estimator)
    n_bytes = 4 * sum(values.numel() for member in estimator.members_ for values in member.network.parameters())
    if n_bytes > MOST_BYTES:
        raise SettingError(
            f"the networks have {n_bytes:,} bytes of weights, and an ONNX file holds {MOST_BYTES:,}: export to 'python' or 'safetensors'."
        )
    schema, target = estimator.schema_, estimator.target_
    taken: set[str] = set()
    names = input_names(schema, taken)
    outputs = _outputs(target, taken)
    graph = Graph(taken)
    plain, positions = encode_columns(graph, schema, names)
    decode_vote(graph, vote(graph, estimator.members_, target, plain, positions), target, list(outputs))
    graph.prune(outputs)
    metadata = _metadata(estimator, names, outputs)
    taken_in = []
    for entry in metadata["inputs"]:
        told = ", ".join(f"{key}: {value}" for key, value in entry.items() if key not in ("name", "type", "shape"))
        code = onnx.TensorProto.DataType.Value(entry["type"].upper())
        taken_in.append(helper.make_tensor_value_info(entry["name"], code, ["N", 1], told))
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), ["N", *own])
        for name, (dtype, own) in outputs.items()
    ]
    columns = ", ".join(f"{column.name} ({column.kind})" for column in schema.used)
    said = "".join(f"; {key}: {metadata[key]!r}" for key in ("classes", "quantiles") if key in metadata)
    about = (
        f"A {type(estimator).__name__} of plainnet {plainnet.__version__}: {len(estimator.members_)} plain networks that vote.\n"
        f"Takes raw columns, each (N, 1): {columns}.\nGives {' and '.join(outputs)}{said}."
    )
    model = helper.make_model(
        helper.make_graph(graph.nodes, "plainnet", taken_in, given, graph.constants),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)], ir_version=IR_VERSION,
        producer_name="plainnet", producer_version=plainnet.__version__, doc_string=about,
    )  # fmt: skip
    helper.set_model_props(model, {"plainnet": json.dumps(metadata, ensure_ascii=False, allow_nan=False)})
    onnx.checker.check_model(model, full_check=True)
    return model


def input_names(schema: Schema, taken: set[str]) -> dict[str, str]:
    """Return the name of each used column's input: its own, but for a column without a name, which ONNX does not allow."""
    taken.update(column.name for column in schema.used if column.name)
    return {column.name: column.name or free_name("column", taken) for column in schema.used}


def _outputs(target: Target, taken: set[str]) -> dict[str, tuple[type, list[int]]]:
    """Return NumPy's type and the shape without rows of each output; a column may have taken its name."""
    if isinstance(target, ClassTarget | LabelsTarget):
        is_one = isinstance(target, ClassTarget)
        label: tuple[type, list[int]] = (class_type(target), []) if is_one else (np.int64, [target.n_outputs])  # type: ignore[arg-type]
        probabilities = free_name("probabilities", taken)
        said = free_name("label" if is_one else "labels", taken)
        return {probabilities: (np.float32, [target.n_outputs]), said: label}
    is_flat = target.is_1d and not getattr(target, "quantiles", ())
    return {free_name("prediction", taken): (np.float64, [] if is_flat else [target.n_outputs])}


def _metadata(
    estimator: NetClassifier | NetRegressor, names: dict[str, str], outputs: dict[str, tuple[type, list[int]]]
) -> dict[str, Any]:
    """Return what a program needs to make the inputs and to read the outputs."""
    target = estimator.target_
    inputs = []
    for column in estimator.schema_.used:
        entry: dict[str, Any] = {"name": names[column.name], "column": column.name, "kind": column.kind}
        entry |= {"type": TYPES[column.kind], "shape": ["N", 1], "read_as": column.dtype}
        if column.kind == "number":
            entry["missing"] = "NaN"
        elif column.kind == "date":
            entry |= {"unit": "microseconds since 1970-01-01 UTC", "missing": MISSING_DATE}
            entry |= {} if column.date_format is None else {"date_format": column.date_format}
        else:
            entry |= {"missing": missing_marker(column), "levels": list(column.levels)}
        inputs.append(entry)
    content: dict[str, Any] = {
        "format": METADATA_FORMAT,
        "plainnet": plainnet.__version__,
        "estimator": type(estimator).__name__,
        "inputs": inputs,
        "outputs": [
            {"name": name, "type": "string" if dtype is object else np.dtype(dtype).name, "shape": ["N", *shape]}
            for name, (dtype, shape) in outputs.items()
        ],
        "level_names": "whole numbers without a decimal point (1, not 1.0); true and false in lower case; other text as it is",
    }
    if isinstance(target, ClassTarget):
        content["classes"] = plain_classes(target)
    if isinstance(target, NumberTarget) and target.quantiles:
        content["quantiles"] = list(target.quantiles)
    return content


def onnx_inputs(model: NetClassifier | NetRegressor | Schema, table: Any) -> dict[str, npt.NDArray[Any]]:
    """Return the inputs that an exported ONNX model takes, from the rows of a table.

    Args:
        model: the estimator that was exported, or its ``schema_``.
        table: N rows, as for ``predict``.

    Returns:
        By the input's name an array (N, 1): float64 of a number, NaN where missing; text of a category or a flag, where missing
        '' (or what the model's metadata names, if '' is a level); int64 of a date, microseconds since 1970, -2⁶³ where missing.

    Raises:
        TableError: the table cannot be read.
        ColumnsChangedError: the table lacks a column, or one has become something else.

    >>> schema = Schema.learn(pl.DataFrame({"age": [30, 41, 57], "town": ["Ulm", "Bonn", "Ulm"]}))
    >>> onnx_inputs(schema, {"age": [25, None], "town": ["Bonn", None]})
    {'age': array([[25.], [nan]]), 'town': array([['Bonn'], ['']], dtype=object)}
    """
    schema = model if isinstance(model, Schema) else model.schema_
    rows = read_table(table if is_table(table) else np.ascontiguousarray(table))
    if not is_table(table) and rows.width == len(schema.columns):
        rows.columns = [column.name for column in schema.columns]
    rows = match_columns(schema, rows)
    names = input_names(schema, set())
    return {names[column.name]: _cells(column, rows[column.name])[:, None] for column in schema.used}


def _cells(column: Column, series: pl.Series) -> npt.NDArray[Any]:
    """Return the cells of a column as the model takes them, (N,)."""
    if column.kind == "number":
        return numbers_of(series).to_numpy().astype(np.float64)
    if column.kind == "date":
        dates, _ = parse_dates(series, column.date_format)
        if dates is None:
            return np.full(len(series), MISSING_DATE)
        return dates.dt.epoch("us").fill_null(MISSING_DATE).to_numpy().astype(np.int64)
    marker = missing_marker(column)
    stranger = marker + "?"  # a cell that holds the marker itself is no missing one, but an unseen level
    while stranger in column.levels:
        stranger += "?"
    texts = [stranger if level == marker else level for level in level_strings(series).to_list()]
    return np.array([marker if text is None else text for text in texts], dtype=object)
