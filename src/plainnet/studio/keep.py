"""What is taken home: predictions of another table as a CSV that no spreadsheet will run, and a run as Python."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from pprint import pformat
from typing import Any

import polars as pl
from jinja2 import Environment, StrictUndefined
from torch import nn

from plainnet.errors import DataWarning, RunError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.predictions import prediction_columns
from plainnet.estimators.regressor import NetRegressor
from plainnet.evaluation.evaluation import Estimator
from plainnet.networks.layers import PiecewiseLinearEncoding
from plainnet.packs.members import DECAY, default_rate
from plainnet.runs.runs import Run
from plainnet.settings import FitSettings

__all__ = ["defused", "predictions_csv", "script_of"]

#: How a cell begins that spreadsheets take for a formula (OWASP, "CSV Injection"), unless it is a number.
FORMULA = r"^[=+\-@\t\r]"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def predictions_csv(estimator: Estimator, rows: pl.DataFrame) -> bytes:
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


def script_of(run: Run, kind: str) -> str:
    """Return a script that can be run.

    Args:
        run: whose rows were drawn by a seed, as the page's own are.
        kind: 'plainnet', which gives the same model; or 'pytorch', which trains one network of the same shape by a plain loop.

    Raises:
        RunError: another kind, or a run whose rows were split by groups or time.
    """
    if kind not in ("plainnet", "pytorch"):
        raise RunError(f"a script is 'plainnet' or 'pytorch', not {kind[:40]!r}.")
    facts = run.facts
    by = str(facts["split"]["by"])
    if not by.startswith("seed"):
        raise RunError(f"the rows of this run were split by {by}. `plainnet train --help` says how to train it again.")
    is_class = facts["task"] == "classes"
    factory = NetClassifier if is_class else NetRegressor
    arguments = _arguments(facts["settings"], factory().get_params()) | {"random_state": facts["seed"]}
    content: dict[str, Any] = {
        "kind": kind, "name": factory.__name__, "source": repr(facts["table"]["source"]), "target": repr(run.target),
        "share": facts.get("test_share", 0.2), "seed": facts["seed"], "is_class": is_class, "is_coded": False,
        "stopped": facts["training"].get("stopped_by") in ("on_epoch", "interrupt", "time"), "kinds": arguments.get("kinds"),
        "arguments": ", ".join(f"{key}={pformat(value, width=100)}" for key, value in arguments.items()),
    }  # fmt: skip
    content |= _loop(run, is_class=is_class) if kind == "pytorch" else {}
    page = Path(__file__).with_name("script.py.jinja").read_text(encoding="utf-8")
    environment = Environment(  # noqa: S701 - what it writes is no HTML
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(page).render(content)


def _arguments(settings: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Return the estimator's arguments that are not the default."""
    found = {}
    for name, value in settings.items():
        # JSON holds a dict as pairs.
        own = dict(value) if name in ("kinds", "monotone", "class_weight") and isinstance(value, list) else value
        is_known = name in defaults and name not in ("random_state", "verbose")
        if is_known and own != defaults[name] and own not in ({}, []):
            found[name] = own
    return found


def _loop(run: Run, *, is_class: bool) -> dict[str, Any]:
    """Return the network and the dials of the plain loop: of a member whose numbers are not coded, if there is one."""
    settings, estimator = run.facts["settings"], run.estimator()
    coded = [isinstance(member.network[0], PiecewiseLinearEncoding) for member in estimator.members_]  # type: ignore[index]
    member = estimator.members_[coded.index(min(coded))]
    plan = FitSettings.derive(
        estimator.schema_.n_rows,
        **{key: settings.get(key) for key in ("members", "batch_size", "epochs")},
        effort=settings.get("effort", "default"),
    )
    return {
        "is_coded": all(coded), "layers": [_layer(layer) for layer in member.network.children()], "decay": DECAY,
        "rate": settings.get("learning_rate") or default_rate(member.recipe.shape, is_class=is_class),
        "epochs": plan.epochs, "batch_size": plan.batch_size,
    }  # fmt: skip


def _layer(layer: nn.Module) -> str:
    """Spell a layer as Python."""
    if isinstance(layer, nn.Linear):
        return f"nn.Linear({layer.in_features}, {layer.out_features})"
    if isinstance(layer, PiecewiseLinearEncoding):
        return f"PiecewiseLinearEncoding({layer.plain}, {list(layer.bins)}, {layer.scale})"
    return f"nn.{layer!r}"
