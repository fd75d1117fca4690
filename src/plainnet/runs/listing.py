"""Which runs of a folder to list, and in what order."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from plainnet.errors import SettingError
from plainnet.runs.runs import Run
from plainnet.tables.wording import did_you_mean

__all__ = ["ORDERS", "main_score", "select_runs"]

#: The longer ones first: '>' begins '>=' too.
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge, "<=": operator.le, "!=": operator.ne, "=": operator.eq, ">": operator.gt, "<": operator.lt,
}  # fmt: skip
ORDERS = ("created", "score", "rows", "seconds")


def select_runs(
    runs: Sequence[Run],
    *,
    target: str | None = None,
    task: str | None = None,
    where: Sequence[str] = (),
    metric: str | None = None,
    last: int | None = None,
    sort: str = "created",
) -> list[Run]:
    """Return the runs that fit, in order.

    Args:
        runs: oldest first.
        target: the column they predict; None: any.
        task: 'classes' or 'numbers'; None: any.
        where: conditions that all hold, such as 'settings.effort=best' or 'scores.test.AUC>0.9': a key of run.json, its parts with
            dots between them, then =, !=, <, <=, > or >=, then a value. A run that lacks the key does not fit.
        metric: what 'score' sorts by; None: each run's first.
        last: only so many of the newest that fit; None: all.
        sort: 'created' (oldest first), 'score' (best first, metric by metric; runs without it last), 'rows' or 'seconds' (fewest first).

    Raises:
        SettingError: a condition cannot be read, or no run has its key or the metric.

    >>> select_runs([], sort="fame")
    Traceback (most recent call last):
    plainnet.errors.SettingError: runs are sorted by created, score, rows, seconds, not by 'fame'.
    """
    if sort not in ORDERS:
        raise SettingError(f"runs are sorted by {', '.join(ORDERS)}, not by {sort!r}{did_you_mean(sort, ORDERS)}.")
    if last is not None and last < 1:
        raise SettingError(f"the last so many runs are a whole number from 1, not {last}.")
    conditions = [_condition(text) for text in where]
    for key, _, _ in conditions:
        if runs and all(_values(run.facts, key) == () for run in runs):
            raise SettingError(f"no run has {key!r} in its run.json: --where names settings.effort, scores.test.AUC, …")
    if metric is not None and runs and not any(main_score(run, metric) for run in runs):
        known = sorted({score["metric"] for run in runs for part in run.facts["scores"].values() for score in part})
        raise SettingError(
            f"no run has the score {metric!r}{did_you_mean(metric, known)}; there are {', '.join(known)}."
        )
    found = [
        run
        for run in runs
        if target in (None, run.target)
        and task in (None, run.facts["task"])
        and all(_holds(run.facts, *condition) for condition in conditions)
    ]
    found = found if last is None else found[-last:]
    keys: dict[str, Callable[[Run], Any]] = {
        "score": lambda run: _rank(main_score(run, metric)),
        "rows": lambda run: run.facts["table"]["rows"],
        "seconds": lambda run: run.facts["training"]["seconds"],
    }
    return sorted(found, key=keys[sort]) if sort in keys else found


def main_score(run: Run, metric: str | None = None) -> tuple[str, Mapping[str, Any]] | None:
    """Return the part of the rows a run is judged by, the test rows where it has such, and its score there.

    Args:
        run: that was read.
        metric: which score; None: the first. A run without it is judged by no other: None is returned.
    """
    scores = run.facts["scores"]
    part = "test" if "test" in scores else next(iter(scores), "")
    for score in scores.get(part, ()):
        if metric in (None, score["metric"]):
            return part, score
    return None


def _rank(judged: tuple[str, Mapping[str, Any]] | None) -> tuple[bool, str, float]:
    if judged is None:
        return True, "", 0.0
    _, score = judged
    return False, score["metric"], -score["value"] if score["higher_is_better"] else score["value"]


def _condition(text: str) -> tuple[str, str, str]:
    """Take a condition apart: the key, the operator, the value."""
    places = [(text.index(sign), -len(sign), sign) for sign in OPERATORS if sign in text]
    key, sign, value = text.partition(min(places)[2]) if places else ("", "", "")
    if not key.strip() or not value.strip():
        raise SettingError(
            f"--where is a key, one of {' '.join(OPERATORS)}, and a value, such as settings.effort=best, not {text!r}."
        )
    return key.strip(), sign, value.strip()


def _holds(facts: Mapping[str, Any], key: str, sign: str, wanted: str) -> bool:
    return any(OPERATORS[sign](*_comparable(value, wanted)) for value in _values(facts, key))


def _comparable(value: Any, wanted: str) -> tuple[Any, Any]:
    """Return both as numbers where both are, else as text, spelt as JSON spells it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value], wanted.lower()
    try:
        return float(value), float(wanted)
    except (TypeError, ValueError):
        return str(value), wanted


def _values(facts: Mapping[str, Any], key: str) -> tuple[Any, ...]:
    """Return what run.json holds at a key, () if nothing; of a list of scores, the value of the metric named."""
    content: Any = facts
    for name in key.split("."):
        if isinstance(content, list):
            content = {
                score["metric"]: score["value"] for score in content if isinstance(score, dict) and "metric" in score
            }
        if not isinstance(content, Mapping) or name not in content:
            return ()
        content = content[name]
    return () if isinstance(content, Mapping | list) else (content,)
