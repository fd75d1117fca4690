"""The Open Inference Protocol (KServe's V2), as JSON: one input tensor a column, of shape [N] or [N, 1].

https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol. One extension: ``null`` in ``data`` is a missing cell.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from plainnet.service.answers import Answer, Estimator, facts_of
from plainnet.service.cells import about
from plainnet.service.guard import RefusalError
from plainnet.service.models import Model

__all__ = ["SERVER", "Inference", "infer_response", "lists_of", "model_metadata"]

#: What GET /v2 answers; the version is the protocol's, since a server's helps only those who attack it.
SERVER = {"name": "plainnet", "version": "2", "extensions": []}

#: How a column's cells are announced, by ``cell_type``.
DATATYPES = {"number": "FP64", "whole": "INT64", "text": "BYTES", "flag": "BOOL", "date": "BYTES"}
WHOLE = {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
#: What is taken for each of them.
TAKEN = {"FP64": WHOLE | {"FP16", "FP32", "FP64"}, "INT64": WHOLE, "BYTES": {"BYTES"}, "BOOL": {"BOOL"}}
#: Of the outputs, by the type of their first value.
OUTPUT_TYPES: dict[type, str] = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES"}

Scalar = str | bool | int | float | None


class Tensor(msgspec.Struct, frozen=True):
    """One input."""

    name: str
    shape: list[int]
    datatype: Annotated[str, msgspec.Meta(extra_json_schema={"enum": sorted(set.union(*TAKEN.values()))})]
    data: list[Scalar | list[Scalar]]


class Output(msgspec.Struct, frozen=True):
    """An output that is asked for."""

    name: str


class Inference(msgspec.Struct, frozen=True):
    """A request. ``parameters`` and whatever else is not read."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Output] | None = None


_decode = msgspec.json.Decoder(Inference).decode


def model_metadata(model: Model) -> dict[str, Any]:
    """Return what GET /v2/models/NAME answers."""
    inputs = [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in _datatypes(model).items()]
    outputs = _outputs(model.estimator)
    return {"name": model.name, "versions": [], "platform": "plainnet", "inputs": inputs, "outputs": outputs}


def _datatypes(model: Model) -> dict[str, str]:
    return {c.name: DATATYPES[each] for c, each in zip(model.intake.columns, model.intake.types, strict=True)}


def _outputs(estimator: Estimator) -> list[dict[str, Any]]:
    facts = facts_of(estimator)
    each = [-1, estimator.target_.n_outputs]
    if "classes" in facts or "labels" in facts:
        datatype = OUTPUT_TYPES.get(type(facts["classes"][0]), "BYTES") if "classes" in facts else "INT64"
        return [
            {"name": "predictions", "datatype": datatype, "shape": [-1] if "classes" in facts else each},
            {"name": "probabilities", "datatype": "FP64", "shape": each},
        ]
    is_1d = estimator.target_.is_1d and "quantiles" not in facts  # type: ignore[union-attr]  # numbers and counts have it
    return [{"name": "predictions", "datatype": "FP64", "shape": [-1] if is_1d else each}]


def lists_of(model: Model, body: bytes) -> tuple[Inference, dict[str, list[Any]]]:
    """Read a request: it, and its columns as lists of cells.

    Raises:
        RefusalError: 400 where it is no request of the protocol, 422 where a tensor does not fit.
    """
    try:
        request = _decode(body)
    except msgspec.ValidationError as error:
        raise RefusalError(422, f"the request is not one of the protocol: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RefusalError(400, "the body is no JSON.") from None
    wanted = _datatypes(model)
    lists: dict[str, list[Any]] = {}
    for tensor in request.inputs:
        if tensor.name in lists:
            raise about("there are two tensors of that name.", None, tensor.name)
        if (datatype := wanted.get(tensor.name)) and tensor.datatype not in TAKEN[datatype]:
            what = f"its datatype is {tensor.datatype!r:.20}, and has to be {datatype}."
            raise about(what, None, tensor.name)
        nested = [each if isinstance(each, list) else [each] for each in tensor.data]
        cells = [cell for each in nested for cell in each]
        if tensor.shape not in ([len(nested)], [len(nested), 1]) or set(map(len, nested)) - {1}:
            what = f"its shape is {tensor.shape!r:.40} with {len(cells):,} cells, and has to be [N] or [N, 1]."
            raise about(what, None, tensor.name)
        lists[tensor.name] = cells
    return request, lists


def infer_response(model: Model, request: Inference, answer: Answer) -> dict[str, Any]:
    """Return what the protocol answers.

    Raises:
        RefusalError: an output is asked for that there is not.
    """
    found = []
    for output in _outputs(model.estimator):
        values = answer.predictions if output["name"] == "predictions" else answer.probabilities
        assert values is not None  # noqa: S101 - numbers have no output of that name
        flat = values.ravel().tolist()
        flat = list(map(str, flat)) if output["datatype"] == "BYTES" else flat
        found.append({**output, "shape": [len(values), *output["shape"][1:]], "data": flat})
    if request.outputs:
        by_name = {output["name"]: output for output in found}
        unknown = [each.name for each in request.outputs if each.name not in by_name]
        if unknown:
            raise RefusalError(422, f"there is no output {unknown[0]!r:.80}, only {' and '.join(by_name)}.")
        found = [by_name[each.name] for each in request.outputs]
    own = {} if request.id is None else {"id": request.id}
    return {"model_name": model.name, **own, "outputs": found}
