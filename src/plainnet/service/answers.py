"""A table  ->  what a model answers, and that as JSON, CSV or Arrow."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.predictions import named_columns
from plainnet.estimators.regressor import NetRegressor
from plainnet.service.guard import RefusalError
from plainnet.tables.target import LabelsTarget

__all__ = ["ARROW_FILE", "ARROW_STREAM", "CSV", "JSON", "Answer", "Estimator", "answer", "media_type", "written"]

Estimator = NetClassifier | NetRegressor

JSON, CSV = "application/json", "text/csv"
ARROW_STREAM, ARROW_FILE = "application/vnd.apache.arrow.stream", "application/vnd.apache.arrow.file"


@dataclass(frozen=True)
class Answer:
    """What a model says of N rows.

    Attributes:
        predictions: (N,) classes or numbers; (N, K) labels, several numbers, or quantiles.
        probabilities: (N, C) of a classifier, else None.
        names: of the K predictions of a row and of the C probabilities, as in ``facts``.
        facts: what is the same for every row: ``classes``, ``labels`` or ``quantiles``.
    """

    predictions: npt.NDArray[Any]
    probabilities: npt.NDArray[Any] | None
    facts: dict[str, list[Any]]

    def part(self, first: int, stop: int) -> Answer:
        """Return the answer for some of the rows."""
        rows = None if self.probabilities is None else self.probabilities[first:stop]
        return Answer(self.predictions[first:stop], rows, self.facts)


def facts_of(estimator: Estimator) -> dict[str, list[Any]]:
    """Return the classes, the numbers of the labels, or the quantiles, by that name."""
    if isinstance(estimator, NetClassifier):
        name = "labels" if isinstance(estimator.target_, LabelsTarget) else "classes"
        return {name: estimator.classes_.tolist()}
    quantiles = getattr(estimator.target_, "quantiles", ())
    return {"quantiles": list(quantiles)} if quantiles else {}


def answer(estimator: Estimator, table: pl.DataFrame | Mapping[str, Sequence[Any]]) -> Answer:
    """Predict a table of the model's columns, or few rows as a dict of columns: the only place where the service asks a model."""
    if not isinstance(estimator, NetClassifier):
        return Answer(_finite(estimator.predict(table)), None, facts_of(estimator))
    probabilities = _finite(estimator.predict_proba(table))
    return Answer(estimator.target_.decode(probabilities), probabilities, facts_of(estimator))


def _finite(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if not np.isfinite(values).all():
        raise ArithmeticError("a prediction is not finite")
    return values


def media_type(accept: str) -> str:
    """Choose the form of the answer: the first media type of an Accept header that we write.

    >>> media_type("*/*"), media_type("text/csv;q=0.9, application/json")
    ('application/json', 'text/csv')
    """
    for part in accept.split(","):
        name = part.partition(";")[0].strip().lower()
        if name in (JSON, CSV, ARROW_STREAM, ARROW_FILE):
            return name
        if name in ("", "*/*", "application/*"):
            return JSON
        if name == "text/*":
            return CSV
    raise RefusalError(406, f"answers come as {JSON}, {CSV}, {ARROW_STREAM} or {ARROW_FILE}; Accept asks for others.")


def written(answer: Answer, media: str) -> bytes:
    """Write an answer in one of the four forms."""
    if media == JSON:
        probabilities = {} if answer.probabilities is None else {"probabilities": answer.probabilities.tolist()}
        return msgspec.json.encode({"predictions": answer.predictions.tolist(), **probabilities, **answer.facts})
    names = answer.facts.get("classes") or answer.facts.get("labels") or ()
    # The columns that ``plainnet predict`` writes too.
    columns = named_columns(answer.predictions, answer.probabilities, names, answer.facts.get("quantiles") or ())
    texts = {name: values.tolist() if values.dtype.kind in "OU" else values for name, values in columns.items()}
    buffer, frame = io.BytesIO(), pl.DataFrame(texts)
    if media == CSV:
        frame.write_csv(buffer)
    else:
        write = frame.write_ipc_stream if media == ARROW_STREAM else frame.write_ipc
        write(buffer, compression="uncompressed", compat_level=pl.CompatLevel.oldest())
    return buffer.getvalue()
