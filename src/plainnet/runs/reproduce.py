"""The command that trains a run again: the same seed and table give the same model file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.samples.samples import ADULT_PATH
from plainnet.storage.storage import plain

__all__ = ["command_of", "settings_facts", "split_column", "why_not_the_same"]

#: Arguments that may be functions or modules: JSON holds how they are written, and no command line can set them.
OWN_PARTS = ("network", "loss", "optimizer")
#: Settings that `plainnet train` has an option for.
OPTIONS = (
    "effort", "members", "time_limit", "hidden", "epochs", "batch_size", "learning_rate", "patience", "device",
)  # fmt: skip
#: Share of the test rows where none is named.
DEFAULT_SHARE = 0.2
KIND_OPTIONS = {"number": "--number", "category": "--category", "date": "--date", "ignored": "--ignore"}


def settings_facts(estimator: NetClassifier | NetRegressor) -> dict[str, Any]:
    """Return an estimator's arguments as plain values; of one's own parts those that were passed, as they are written."""
    facts = {}
    for name, value in estimator.get_params(deep=False).items():
        if name not in OWN_PARTS:
            facts[name] = plain(value)
        elif value is not None:
            facts[name] = value if isinstance(value, str) else repr(value)
    return facts


def command_of(facts: Mapping[str, Any]) -> str:
    """Return the shell command, or the Python where an option is missing for a setting, that trains a run again; '' if neither can.

    Args:
        facts: of run.json. A part of one's own (a network, a loss, an optimizer) is only named there, and runs of older versions do not
            say how many rows were held out: '' for both.
    """
    settings, share = dict(facts["settings"]), facts.get("test_share")
    own = [name for name in OWN_PARTS if settings.get(name) not in (None, "poisson")]
    if own or share is None:
        return ""
    estimator = NetClassifier() if facts["task"] == "classes" else NetRegressor()
    changed = {
        name: settings[name]
        for name, default in estimator.get_params(deep=False).items()
        if name in settings and settings[name] != plain(default) and name not in ("random_state", "verbose", "kinds")
    }
    kinds = {name: kind for name, kind in settings.get("kinds") or []}  # noqa: C416 - pairs of JSON, of two types
    if set(changed) <= {*OPTIONS, "monotone"} and set(kinds.values()) <= set(KIND_OPTIONS):
        return shlex.join(_arguments(facts, changed, kinds, share))
    return _python(facts, changed, kinds, share)


def why_not_the_same(facts: Mapping[str, Any]) -> str:
    """Say what may keep a repeated training from giving the same bytes, '' if nothing."""
    if facts["training"].get("stopped_by") == "interrupt":
        return "This training was stopped by Ctrl-C: repeated, it goes on to its end."
    if facts["settings"].get("time_limit") is not None:
        return "This training had a time limit: how far it comes depends on the machine."
    return ""


def split_column(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the column that the rows were split by, as 'group' or 'time'; {} if by none."""
    how, _, column = facts["split"]["by"].partition(" ")
    return {how: column} if how in ("group", "time") and column else {}


def _option(name: str, value: str) -> list[str]:
    """Return an option and its value; a value that begins with a dash would be taken for an option itself."""
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def _arguments(
    facts: Mapping[str, Any], changed: Mapping[str, Any], kinds: Mapping[str, str], share: float
) -> list[str]:
    source, query = facts["table"]["source"], facts["table"].get("query")
    options = _option("--target", facts["target"])
    if query is not None:
        options += _option("--query", query)
    if facts["task_reason"] == "chosen by the user":
        options += ["--task", facts["task"]]
    if facts.get("folds"):
        options += ["--folds", str(len(facts["folds"]["each"]))]
    elif share != DEFAULT_SHARE:
        options += ["--test", repr(share)]
    for how, column in split_column(facts).items():
        options += _option(f"--{how}", column)
    for name, kind in kinds.items():
        options += _option(KIND_OPTIONS[kind], name)
    for name, direction in changed.get("monotone", ()):
        options += _option("--increasing" if direction > 0 else "--decreasing", name)
    for name in (name for name in OPTIONS if name in changed):
        value = changed[name]
        text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
        options += _option(f"--{name.replace('_', '-')}", text)
    options += ["--seed", str(facts["seed"])] + ["--stream"] * bool(facts.get("streamed"))
    if source == str(ADULT_PATH):
        return ["plainnet", "train", *options]
    return (
        ["plainnet", "train", *options, "--", source]
        if source.startswith("-")
        else ["plainnet", "train", source, *options]
    )


def _python(facts: Mapping[str, Any], changed: Mapping[str, Any], kinds: Mapping[str, str], share: float) -> str:
    table = facts["table"]
    for name in ("class_weight", "monotone"):
        if isinstance(changed.get(name), list):
            changed = {**changed, name: dict(changed[name])}
    arguments: dict[str, Any] = {
        "query": table.get("query"),
        "task": facts["task"] if facts["task_reason"] == "chosen by the user" else None,
        "folds": len(facts["folds"]["each"]) if facts.get("folds") else None,
        "test_share": share if share != DEFAULT_SHARE and not facts.get("folds") else None,
        **split_column(facts),
        "kinds": dict(kinds) or None,
        "seed": facts["seed"],
        "settings": dict(changed) or None,
        "stream": facts.get("streamed"),
    }
    given = "".join(f",\n    {name}={value!r}" for name, value in arguments.items() if value is not None)
    return (
        f"from plainnet.runs.train_run import train_run\n\ntrain_run({table['source']!r}, {facts['target']!r}{given})"
    )
