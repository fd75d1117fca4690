"""The command that trains a run again: the same seed and table give the same model file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from plainnet.evaluation.evaluation import Estimator
from plainnet.runs.work import estimator_of
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


def settings_facts(estimator: Estimator) -> dict[str, Any]:
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
    settings, share, table = dict(facts["settings"]), facts.get("test_share"), facts["table"]
    if share is None or any(settings.get(name) not in (None, "poisson") for name in OWN_PARTS):
        return ""
    defaults = estimator_of(facts["task"])().get_params(deep=False)
    changed = {
        name: settings[name]
        for name, default in defaults.items()
        if name in settings and settings[name] != plain(default) and name not in ("random_state", "verbose", "kinds")
    }
    kinds = {name: kind for name, kind in settings.get("kinds") or []}  # noqa: C416 - pairs of JSON, of two types
    n_folds = len(facts["folds"]["each"]) if facts.get("folds") else None
    reading = {
        "query": table.get("query"), "task": facts["task"] if facts["task_reason"] == "chosen by the user" else None,
        "folds": n_folds, "test_share": share if share != DEFAULT_SHARE and n_folds is None else None, **split_column(facts),
    }  # fmt: skip
    write = _python
    if set(changed) <= {*OPTIONS, "monotone"} and set(kinds.values()) <= set(KIND_OPTIONS):
        write = _command
    return write(facts, {name: value for name, value in reading.items() if value is not None}, changed, kinds)


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


def _command(
    facts: Mapping[str, Any], reading: Mapping[str, Any], changed: Mapping[str, Any], kinds: Mapping[str, str]
) -> str:
    source, options = facts["table"]["source"], _option("--target", facts["target"])
    for name, value in reading.items():
        options += _option("--test" if name == "test_share" else f"--{name}", str(value))
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
        return shlex.join(["plainnet", "train", *options])
    return shlex.join(
        ["plainnet", "train", *([*options, "--", source] if source.startswith("-") else [source, *options])]
    )


def _python(
    facts: Mapping[str, Any], reading: Mapping[str, Any], changed: Mapping[str, Any], kinds: Mapping[str, str]
) -> str:
    pairs = {name: dict(changed[name]) for name in ("class_weight", "monotone") if isinstance(changed.get(name), list)}
    arguments: dict[str, Any] = {
        **reading, "kinds": dict(kinds) or None, "seed": facts["seed"], "settings": {**changed, **pairs} or None,
        "stream": facts.get("streamed"),
    }  # fmt: skip
    given = "".join(f",\n    {name}={value!r}" for name, value in arguments.items() if value is not None)
    call = f"train_run({facts['table']['source']!r}, {facts['target']!r}{given})"
    return f"from plainnet.runs.train_run import train_run\n\n{call}"
