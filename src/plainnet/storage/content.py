"""What the JSON of a model file has to hold, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any

from plainnet.storage.misfit import Wanted, misfit
from plainnet.tables.dates import DATE_PARTS
from plainnet.tables.kinds import KINDS

__all__ = ["problem_of"]

SPREAD = {
    "minimum": Real, "quartile_1": Real, "median": Real, "quartile_3": Real, "maximum": Real, "knots?": [Real],
}  # fmt: skip
COLUMN = {
    "name": str, "kind": str, "why": str, "dtype": str, "missing": int, "spread?": SPREAD, "levels?": [str], "other?": int,
    "date_format?": str, "parts?": {str: SPREAD},
}  # fmt: skip
NETWORK = {
    "n_in": int, "n_out": int, "hidden": [int], "activation": str, "dropout": Real, "bins?": [int], "scale?": Real,
}  # fmt: skip
TARGETS: dict[str, Wanted] = {
    "classes": {"kind": str, "dtype": str, "classes": [(str, bool, Real)]},
    "labels": {"kind": str, "labels": int},
    "numbers": {
        "kind": str, "mean": [Real], "scale": [Real], "is_1d": bool, "bounds?": [[Real]], "quantiles?": [Real], "logs?": [Real],
    },
    "counts": {"kind": str, "mean": [Real], "most": [Real], "is_1d": bool},
}  # fmt: skip
COMMON = {
    "format": int, "estimator": str, "settings": dict, "target": {"kind": str, str: object}, "has_column_names": bool,
    "schema": {"n_rows": int, "columns": [COLUMN]}, "versions": {str: str},
}  # fmt: skip
FORMATS: dict[int, Wanted] = {
    1: {**COMMON, "network": NETWORK},
    2: {
        **COMMON, "members": [{"network": NETWORK, "weight": Real, "is_log": bool, "score": (Real, None)}],
        "residuals?": ([Real], None),
    },
}  # fmt: skip


def problem_of(content: Mapping[str, Any]) -> str:
    """Say what is wrong with the content of a model file of a known format, '' if nothing is."""
    problem = misfit(content, FORMATS[content["format"]], "")
    if problem:
        return problem
    target = content["target"]
    if target["kind"] not in TARGETS:
        return f"target: kind is {target['kind']!r:.40}"
    return (
        misfit(target, TARGETS[target["kind"]], "target: ")
        or _strange_target(target)
        or next(filter(None, map(_strange_column, content["schema"]["columns"])), "")
    )


def _strange_target(target: Mapping[str, Any]) -> str:
    if target["kind"] == "classes":
        dtypes = ("str", "object", "bool", *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)))
        if target["dtype"] not in (*dtypes, "float16", "float32", "float64"):
            return f"target: dtype is {target['dtype']!r:.40}"
        return "" if len(target["classes"]) >= 2 else "target: it has less than two classes"
    if target["kind"] == "labels":
        return "" if target["labels"] >= 1 else "target: labels is 0"
    count = len(target["mean"])
    others = [target["scale"], *target.get("bounds", [])] if target["kind"] == "numbers" else [target["most"]]
    is_odd = count < 1 or any(len(each) != count for each in others) or len(target.get("bounds", [0, 0])) != 2
    if is_odd or (target["is_1d"] and count != 1) or len(target.get("logs", [0, 0, 0])) != 3:
        return "target: its lists do not belong together"
    shares = target.get("quantiles", [])
    if any(not 0 < share < 1 for share in shares) or any(a >= b for a, b in pairwise(shares)):
        return f"target: quantiles is {shares!r:.40}"
    positive = target["scale"] if target["kind"] == "numbers" else target["mean"]
    units = [target["logs"][0], target["logs"][2]] if "logs" in target else []
    return "" if all(each > 0 for each in (*positive, *units)) else "target: a scale is not above 0"


def _strange_column(column: Mapping[str, Any]) -> str:
    """Say what of a column does not belong together."""
    name, kind, parts = column["name"], column["kind"], column.get("parts", {})
    levels, spreads = column.get("levels", []), list(parts.values())
    if kind not in KINDS:
        return f"column {name!r:.40}: kind is {kind!r:.40}"
    if kind == "number":
        spreads.append(column.get("spread"))
    if None in spreads or (kind == "date" and not set(parts) <= set(DATE_PARTS)):
        return f"column {name!r:.40}: it lacks what a {kind} needs"
    if len(set(levels)) != len(levels) or (kind == "flag" and len(levels) > 2):
        return f"column {name!r:.40}: its levels are {levels!r:.40}"
    if not all(_is_ascending(spread) for spread in spreads):
        return f"column {name!r:.40}: its spread is in no order"
    return ""


def _is_ascending(spread: Mapping[str, Any]) -> bool:
    points = [spread[key] for key in ("minimum", "quartile_1", "median", "quartile_3", "maximum")]
    knots: Sequence[float] = spread.get("knots", [])
    is_strict = all(a < b for a, b in pairwise(knots)) and len(knots) != 1
    return is_strict and all(a <= b for a, b in pairwise(points))
