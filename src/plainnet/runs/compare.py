"""A run on another table; runs side by side: what was set differently, and whether their scores may be compared at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.errors import RunError
from plainnet.evaluation.bootstrap import interval_of
from plainnet.evaluation.evaluation import Score, check_targets, predictions_of, score, to_json, what_is_left_out
from plainnet.runs.runs import Run
from plainnet.tables.tables import take_target

__all__ = ["Comparison", "Difference", "Evaluation", "compare_on", "compare_runs", "differences_of", "evaluate_run"]

#: Parts of the rows whose scores are compared, the best witness first.
PARTS = ("test", "cross-validation", "out of fold", "validation")


@dataclass(frozen=True)
class Evaluation:
    """What a run reaches on a table.

    Attributes:
        scores: on all rows with a target.
        groups: on the rows of each group, in the order in which they came.
        notes: what was left out, and why: sentences.
    """

    scores: list[Score]
    groups: dict[str, list[Score]]
    notes: list[str]


def evaluate_run(
    run: Run, table: pl.DataFrame, groups: Mapping[str, npt.NDArray[np.int64]] | None = None
) -> Evaluation:
    """Score a run on a table that holds its target, at the run's own threshold and beside its own baseline.

    Args:
        run: that was read.
        table: any rows; those without a target are left out.
        groups: numbers of rows, counted among those that have a target, by a name.

    Raises:
        TableError: the table lacks columns, no row has a target, or one is a class that the training rows did not have.
    """
    rows, y, n_without = take_target(table, run.target)
    estimator = run.estimator()
    check_targets(estimator, y)  # before the time of predicting is spent
    predictions = predictions_of(estimator, rows)

    def scored(of: Any) -> list[Score]:
        return score(estimator, predictions[of], y[of], run.baseline, threshold=run.threshold)

    notes = what_is_left_out(estimator, y)
    if n_without:
        notes.insert(0, f"{n_without:,} rows without a value in {run.target!r} are left out")
    return Evaluation(scored(slice(None)), {name: scored(own) for name, own in (groups or {}).items()}, notes)


@dataclass(frozen=True)
class Difference:
    """How much a run's score differs from the first run's, on the same rows.

    Attributes:
        run: index of the run, from 1.
        metric: the score's name.
        value: the run's score minus the first's.
        low: lower end of its 95 % interval, from the same resamples of the rows for both; None: too few rows.
        high: its upper end.
        is_clear: whether the interval excludes 0.
        is_better: whether the run is better than the first; None where neither higher nor lower is better, or nothing is clear.
    """

    run: int
    metric: str
    value: float
    low: float | None
    high: float | None
    is_clear: bool
    is_better: bool | None


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        part: the rows that the scores are of: 'test' …, or the table's name; None: there is no part that all runs have scores of.
        scores: of each run.
        reasons: why the scores are not of the same rows or the same target, and must not be compared: sentences; none: they may be.
        notes: what else is to be known: sentences.
        differences: to the first run, where all were scored on one table.
    """

    part: str | None
    scores: list[list[dict[str, Any]]]
    reasons: list[str]
    notes: list[str] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)


def differences_of(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """Return what was set differently: by setting, the value of each run, None where a run has none.

    Raises:
        RunError: there are fewer than two runs.
    """
    if len(runs) < 2:
        raise RunError("two runs or more are compared, and one was named: name another run folder.")
    tables = [_settings_of(run) for run in runs]
    names = list(dict.fromkeys(name for table in tables for name in table))
    values = {name: [table.get(name) for table in tables] for name in names}
    return {name: each for name, each in values.items() if any(value != each[0] for value in each)}


def _settings_of(run: Run) -> dict[str, Any]:
    facts = run.facts
    folds = facts.get("folds") or {}
    return {
        "target": facts["target"],
        "task": facts["task"],
        "table": facts["table"]["source"],
        "query": facts["table"].get("query"),
        "sha256": facts["table"]["sha256"],
        "split by": facts["split"]["by"],
        **{f"{part} rows": facts["split"].get(part) for part in ("train", "validation", "test")},
        "folds": len(folds["each"]) if isinstance(folds.get("each"), list) else None,
        "seed": facts["seed"],
        **{name: value for name, value in facts["settings"].items() if name not in ("random_state", "verbose")},
        "plainnet": facts["versions"].get("plainnet"),
    }


def compare_runs(runs: Sequence[Run]) -> Comparison:
    """Put the scores that runs already have side by side: those of the first part of the rows that all of them have scores of.

    Args:
        runs: two or more.

    Raises:
        RunError: there are fewer than two runs.
    """
    changed = differences_of(runs)
    part = next((part for part in PARTS if all(part in run.facts["scores"] for run in runs)), None)
    if part is None:
        parts = "; ".join(f"{run.path} has {', '.join(run.facts['scores'])}" for run in runs)
        return Comparison(None, [], [f"there is no part of the rows that all have honest scores of: {parts}"])
    reasons = []
    if "target" in changed or "task" in changed:
        targets = ", ".join(f"{run.target!r} ({run.facts['task']})" for run in runs)
        reasons.append(f"they predict different things: {targets}")
    if "sha256" in changed:
        reasons.append("they were trained on different tables, or on different versions of one (their sha256 differ)")
    elif part != "cross-validation":  # which is of all rows, however they are dealt
        by_time = runs[0].facts["split"]["by"].startswith("time ")
        what = [
            name for name in changed if name == "split by" or name.endswith(" rows") or (name == "seed" and not by_time)
        ]
        if what:
            reasons.append(f"their {part} rows are not the same: their {' and '.join(what)} differ")
    scores = [list(run.facts["scores"][part]) for run in runs]
    if not reasons and len({of_run[0]["rows"] for of_run in scores}) > 1:
        reasons.append(f"their {part} scores are of {', '.join(str(of_run[0]['rows']) for of_run in scores)} rows")
    notes = [] if reasons else ["--table TABLE scores all of them on one table, and says which differences are clear"]
    return Comparison(part, scores, reasons, notes)


def compare_on(runs: Sequence[Run], table: pl.DataFrame, name: str, *, sha256: str = "") -> Comparison:
    """Score runs on one table, and measure the differences to the first run on the same resamples of its rows.

    What makes rows hard is hard for all runs, so that the difference of two scores is known better than each score (the paired
    bootstrap: each resample draws rows, with what all runs say of them).

    Args:
        runs: two or more, of one target.
        table: that holds the target; rows without one are left out.
        name: of the table, for the messages.
        sha256: of its file, to see whether a run was trained on it; '': unknown.

    Raises:
        RunError: there are fewer than two runs, or they do not predict the same column as the same task.
        TableError: the table lacks a column, or holds classes that a run does not know.
    """
    changed = differences_of(runs)
    if "target" in changed or "task" in changed:
        targets = "; ".join(f"{run.path}: {run.target!r} ({run.facts['task']})" for run in runs)
        raise RunError(
            f"runs that predict different things cannot be scored on one table: {targets}. Leave the table out, or "
            "compare those of one target."
        )
    found, notes = [evaluate_run(run, table) for run in runs], list[str]()
    for run, of_run in zip(runs, found, strict=True):
        notes += [note for note in of_run.notes if note not in notes]
        if sha256 and run.facts["table"]["sha256"] == sha256:
            notes.append(f"{run.path} was trained on rows of this very table: its scores here are too good")
    first = {each.metric: each for each in found[0].scores}
    differences = [
        _difference(number, first[each.metric], each)
        for number, of_run in enumerate(found[1:], start=1)
        for each in of_run.scores
        if each.metric in first
    ]
    return Comparison(name, [to_json(of_run.scores) for of_run in found], [], notes, differences)


def _difference(run: int, first: Score, other: Score) -> Difference:
    both = None if first.replicates is None or other.replicates is None else other.replicates - first.replicates
    low, high = interval_of(both) or (None, None)
    is_clear = low is not None and high is not None and (low > 0 or high < 0)
    value = other.value - first.value
    is_better = (value > 0) == other.higher_is_better if is_clear and other.aim is None else None
    return Difference(run, other.metric, value, low, high, is_clear, is_better)
