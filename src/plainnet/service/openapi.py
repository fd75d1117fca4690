"""The OpenAPI description of the service, made from the models' columns: what a client has to send, cell by cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from plainnet.service import protocol
from plainnet.service.answers import ARROW_FILE, ARROW_STREAM, CSV, JSON, facts_of
from plainnet.service.cells import JSON_TYPES, LARGEST, cell_type, example_cell, example_row
from plainnet.service.models import Model
from plainnet.tables.schema import Column

__all__ = ["describe"]

#: What answers hold where no more is said of it.
OBJECT, TEXT = {JSON: {"schema": {"type": "object"}}}, {"schema": {"type": "string"}}
REFUSED = tuple(map(HTTPStatus, (400, 401, 403, 406, 408, 413, 415, 421, 422, 500, 503)))

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {"type": "string"},
        "row": {"type": "integer", "description": "Which row, from 0."},
        "column": {"type": "string"},
    },
}
REF = "#/components/schemas/{name}"


def describe(models: Mapping[str, Model], *, needs_token: bool, most_rows: int) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document.

    Args:
        models: by name; the first is the one that /predict asks.
        needs_token: whether a bearer token is asked for.
        most_rows: of a request.
    """
    (tensors,), schemas = msgspec.json.schema_components([protocol.Inference], ref_template=REF)
    schemas["Error"] = ERROR
    v2 = "The Open Inference Protocol: "
    paths: dict[str, Any] = {
        "/health": _get("health", "Whether the service answers."),
        "/v2": _get("v2", f"{v2}the server."),
        "/v2/health/live": _get("live", "Whether it lives."),
        "/v2/health/ready": _get("ready", "Whether it is ready."),
        "/metrics": _get("metrics", "What Prometheus reads.", {"text/plain": TEXT}, "Metrics."),
        "/predict": _predict(*next(iter(models.items())), "predict"),
    }
    for name, model in models.items():
        schemas |= _schemas(name, model, most_rows)
        paths |= {
            f"/models/{name}/predict": _predict(name, model, f"predict_{name}"),
            f"/v2/models/{name}": _get(f"model_{name}", f"{v2}a model."),
            f"/v2/models/{name}/ready": _get(f"ready_{name}", "Whether it is ready."),
            f"/v2/models/{name}/infer": _post(_get(f"infer_{name}", f"{v2}predict."), {JSON: {"schema": tensors}}),
        }
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "plainnet",
            "version": "1",
            "description": "Predictions of plain networks for rows of tables.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas},
    }
    if needs_token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _get(
    operation: str, summary: str, content: Mapping[str, Any] = OBJECT, description: str = "As said."
) -> dict[str, Any]:
    error = {JSON: {"schema": {"$ref": REF.format(name="Error")}}}
    refused = {str(status.value): {"description": status.phrase, "content": error} for status in REFUSED}
    responses = {"200": {"description": description, "content": content}, **refused}
    return {"get": {"operationId": operation, "summary": summary, "responses": responses}}


def _post(found: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    return {"post": found["get"] | {"requestBody": {"required": True, "content": asked}}}


def _predict(name: str, model: Model, operation: str) -> dict[str, Any]:
    row, lists, answer = ({"$ref": REF.format(name=f"{name}.{what}")} for what in ("Row", "Columns", "Answer"))
    rows = {"type": "array", "items": row, "minItems": 1, "maxItems": model.intake.most_rows}
    binary = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
    others = {CSV: TEXT, ARROW_STREAM: binary, ARROW_FILE: binary}
    forms = {"anyOf": [row, rows, _object({"rows": rows}, ["rows"]), lists]}
    asked = {JSON: {"schema": forms, "example": {"rows": [example_row(model.intake.columns)]}}, **others}
    said = "One prediction a row, in the rows' order. Accept chooses the form."
    found = _get(operation, f"Predict rows with the model {name}.", {JSON: {"schema": answer}, **others}, said)
    return _post(found, asked)


def _schemas(name: str, model: Model, most_rows: int) -> dict[str, Any]:
    columns = model.intake.columns
    properties = {column.name: _cell(column) for column in columns}
    required = list(properties)
    kinds = ["string", "number", "boolean", "null"]
    unused = {"type": kinds, "minimum": -LARGEST, "maximum": LARGEST, "description": "Not used."}
    properties |= dict.fromkeys(sorted(model.intake.left_out), unused)
    some = {"type": "array", "minItems": 1, "maxItems": most_rows}
    table = _object({each: some | {"items": schema} for each, schema in properties.items()}, required)
    facts = facts_of(model.estimator)
    answer: dict[str, Any] = {"predictions": {"type": "array"}}
    if "classes" in facts or "labels" in facts:
        shares = {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}}
        said = "Of each class, in the order of `classes`."
        answer["probabilities"] = {"type": "array", "items": shares, "description": said}
    answer |= {fact: {"type": "array", "examples": [values]} for fact, values in facts.items()}
    return {
        f"{name}.Row": _object(properties, required) | {"examples": [example_row(columns)]},
        f"{name}.Columns": _object({"columns": table}, ["columns"]) | {"description": "Lists of the same length."},
        f"{name}.Answer": {"type": "object", "properties": answer, "required": list(answer)},
    }


def _object(properties: Mapping[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _cell(column: Column) -> dict[str, Any]:
    """Describe the cells of one column."""
    schema = msgspec.json.schema(JSON_TYPES[cell_type(column)])["anyOf"][0]
    schema |= {"type": [schema["type"], "null"], "examples": [example_cell(column)]}
    seen = f"Missing in {column.missing:,} of" if column.missing else "Never missing in"
    if column.spread is not None:
        what = f"A number, {column.spread.minimum:g} … {column.spread.maximum:g} in the training rows."
    elif column.kind == "date":
        form = f"written as {column.date_format}" if column.date_format else "as ISO 8601"
        what = f"A date, {form}."
    else:
        more = f" and {len(column.levels) - 20} more" if len(column.levels) > 20 else ""
        what = f"One of: {', '.join(column.levels[:20])}{more}. Others count as rare or missing."
    return {**schema, "description": f"{what} {seen} the training rows."}
