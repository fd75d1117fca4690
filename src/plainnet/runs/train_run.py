"""From a table to a run: read, split, fit, score, write."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy.typing as npt
import polars as pl

from plainnet.errors import DataWarning, PlainnetWarning, SettingError, TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.estimators.streamed import scan_of
from plainnet.evaluation.evaluation import baseline_of, evaluate, score
from plainnet.runs.folds import CrossValidation, cross_validate, deal_folds
from plainnet.runs.parts import Rows, Watch, fit_parts, group_names, known_rows, of_known_classes, split_parts
from plainnet.runs.report import gather, write_report
from plainnet.runs.reproduce import settings_facts
from plainnet.runs.runs import FORMAT, Run, check_free, write_run
from plainnet.runs.sources import default_folder, fingerprint, table_facts
from plainnet.runs.streamed import check_streamed, first_targets, sampled_parts, split_scan
from plainnet.runs.task import choose_task
from plainnet.tables.read import read_table
from plainnet.tables.scan import Scan
from plainnet.tables.tables import take_target
from plainnet.tables.wording import did_you_mean
from plainnet.versions import versions

__all__ = ["Work", "default_folder", "fingerprint", "keep_run", "read_work", "train_on", "train_run"]

#: RandomState takes 32 bits, and the validation rows are drawn with the next seed.
MOST_SEED = 2**32 - 1


def train_run(
    source: str | Path,
    target: str,
    out: Path | None = None,
    *,
    query: str | None = None,
    task: str | None = None,
    test_share: float | None = None,
    folds: int | None = None,
    group: str | None = None,
    time: str | None = None,
    kinds: Mapping[str, str] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = False,
    settings: Mapping[str, Any] | None = None,
    stream: bool = False,
    on_epochs: Watch | None = None,
) -> Run:
    """Train on a table and write the run folder.

    Args:
        source: the table's file or database.
        target: name of the column to predict.
        out: the run folder; None: the first free of runs/NAME-1, runs/NAME-2, …
        query: of a database: a SELECT, or a table's name.
        task: 'classes' or 'numbers'; None: found out.
        test_share: of the rows, held out for the test scores; 0: none; None: 0.2, or none where there are folds.
        folds: of a cross-validation: each row is predicted once by networks that were trained without its fold, and the model that
            is kept is trained on all rows; None: no cross-validation.
        group: name of a column whose groups are never torn apart by a split; the network does not see it.
        time: name of a column by which rows are split: the latest test, those before validate, the rest train.
        kinds: kinds of columns that the user knows better.
        seed: of the splits, the weights and the shuffle.
        overwrite: replace a run folder that is already there.
        progress: show a progress bar.
        settings: further arguments of NetClassifier or NetRegressor.
        stream: read the table piece by piece, however large it is; Parquet files of more than 2 GiB always are.
        on_epochs: looks on while the networks are trained, as on_epochs(estimator, member, network, epochs): on the member's own thread,
            some 25 times a second. True ends the training, and the best so far is kept. The folds are not watched.

    Returns:
        The run. Ctrl-C during training writes the best networks so far; during the folds, those that are done.

    Raises:
        PlainnetError: the table, a setting or the folder cannot be used.
    """
    if out is not None:
        check_free(out, overwrite=overwrite)  # now, rather than after the training
    test_share = _check_parts(seed, test_share, folds, time)
    started = perf_counter()
    needs_all = {"query": query, "folds": folds, "group": group, "time": time}
    is_whole = not stream and any(value is not None for value in needs_all.values())
    if not is_whole and (scan := scan_of(source, stream=stream)) is not None:
        check_streamed(needs_all)
        work, estimator = _train_on_scan(
            scan, target, task, test_share, kinds, seed, settings, on_epochs, progress=progress
        )
        facts = _facts(work, estimator, None, started)
        return keep_run(out or default_folder(source), work, estimator, facts, overwrite=overwrite)
    work = read_work(
        source, target, query=query, task=task, test_share=test_share, group=group, time=time, kinds=kinds, seed=seed
    )
    if folds is not None:  # now, rather than after the first training
        deal_folds(work.y, folds, is_class=work.task == "classes", groups=group_names(work.table, group))
    estimator, facts = train_on(work, settings, progress=progress, on_epochs=on_epochs)
    if folds is not None and estimator.history_.stopped_by != "interrupt":
        crossed = cross_validate(estimator, work.table, work.y, folds=folds, group=group, seed=seed, progress=progress)
        _add_folds(facts, crossed)
    facts["seconds"] = round(perf_counter() - started, 3)
    return keep_run(out or default_folder(source), work, estimator, facts, overwrite=overwrite)


@dataclass(frozen=True)
class Work:
    """A table that was read and split: what a training begins with.

    Attributes:
        table: N rows, without the target.
        y: (N,) the target.
        task: 'classes' or 'numbers'.
        kinds: kinds of columns that are known.
        parts: the rows of each part that has any: 'train', 'validation', 'test'.
        scored: the same without held-out rows of classes that no training row has.
        seed: of the splits, the weights and the shuffle.
        facts: what run.json says of all this.
    """

    table: pl.DataFrame
    y: npt.NDArray[Any]
    task: str
    kinds: Mapping[str, str]
    parts: Mapping[str, Rows]
    scored: Mapping[str, Rows]
    seed: int
    facts: Mapping[str, Any]

    def of(self, part: str) -> tuple[pl.DataFrame, npt.NDArray[Any]]:
        """Return the rows and targets of a part, as scored."""
        return self.table[self.scored[part]], self.y[self.scored[part]]


def read_work(
    source: str | Path,
    target: str,
    *,
    query: str | None = None,
    task: str | None = None,
    test_share: float = 0.2,
    group: str | None = None,
    time: str | None = None,
    kinds: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Work:
    """Read a table and split its rows; arguments and errors are those of ``train_run``."""
    _check_parts(seed, test_share, None, time)
    whole = read_table(source, query=query)
    table, y, n_without = take_target(whole, target)
    if n_without:
        warnings.warn(f"{n_without:,} rows without a value in {target!r} are left out", DataWarning, stacklevel=3)
    task, why = choose_task(y, task)
    kinds = dict(sorted((kinds or {}).items()))  # the order is in the model file, and says nothing
    _check_columns(table, target, (group, time), kinds)
    if group is not None:
        kinds.setdefault(group, "ignored")
    parts = split_parts(table, y, task, test_share=test_share, group=group, time=time, seed=seed)
    scored = of_known_classes(parts, y) if task == "classes" else parts
    by_seed = "seed, stratified" if task == "classes" else "seed"
    split_by = f"group {group}" if group else f"time {time}" if time else by_seed
    facts = {
        "table": table_facts(source, query, whole),
        "target": target,
        "task": task,
        "task_reason": why,
        "seed": seed,
        "test_share": test_share,
        "split": {"by": split_by, **{part: len(parts.get(part, ())) for part in ("train", "validation", "test")}},
        "not_scored": {part: len(parts[part]) - len(scored[part]) for part in parts},
    }
    return Work(table, y, task, kinds, parts, scored, seed, facts)


def train_on(
    work: Work,
    settings: Mapping[str, Any] | None = None,
    *,
    progress: bool = False,
    on_epochs: Watch | None = None,
) -> tuple[NetClassifier | NetRegressor, dict[str, Any]]:
    """Train on a table that was read and split.

    Returns:
        The estimator, and run.json.
    """
    started = perf_counter()
    estimator_class = NetClassifier if work.task == "classes" else NetRegressor
    estimator = estimator_class(kinds=work.kinds, random_state=work.seed, verbose=progress, **(settings or {}))
    threshold = fit_parts(estimator, work.table, work.y, work.scored, on_epochs)
    return estimator, _facts(work, estimator, threshold, started)


def _facts(
    work: Work, estimator: NetClassifier | NetRegressor, threshold: float | None, started: float
) -> dict[str, Any]:
    """Score a fitted estimator on the rows of its table; return run.json."""
    y_train = work.y[work.parts["train"]]
    baseline = baseline_of(estimator, y_train)
    scores = _scores(estimator, work.table, work.y, baseline, work.scored, threshold)
    if estimator.out_of_fold_ is not None:
        known, y_known = known_rows(estimator.out_of_fold_, y_train)
        found = [each.to_json() for each in score(estimator, known, y_known, baseline, threshold=threshold)]
        scores = {"train": scores["train"], "out of fold": found, **scores}
    return {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        **work.facts,
        "classes": estimator.classes_.tolist() if isinstance(estimator, NetClassifier) else None,
        "settings": settings_facts(estimator),
        "baseline": baseline.tolist(),
        "scores": scores,
        "threshold": threshold,
        "folds": None,
        "training": _training_facts(estimator),
        "versions": versions(),
        "seconds": round(perf_counter() - started, 3),
    }


def _train_on_scan(
    scan: Scan,
    target: str,
    task: str | None,
    test_share: float,
    kinds: Mapping[str, str] | None,
    seed: int,
    settings: Mapping[str, Any] | None,
    on_epochs: Watch | None,
    *,
    progress: bool,
) -> tuple[Work, NetClassifier | NetRegressor]:
    """Train on a table that is read piece by piece; the work has a sample of its rows."""
    parts = split_scan(scan, target, test_share, seed)
    task, why = choose_task(first_targets(scan, target), task)
    kinds = dict(sorted((kinds or {}).items()))
    _check_columns(pl.DataFrame(schema=dict(scan.types)), target, (), kinds)
    estimator_class = NetClassifier if task == "classes" else NetRegressor
    estimator = estimator_class(kinds=kinds, random_state=seed, verbose=progress, **(settings or {}))
    estimator.fit(parts["train"], target, on_epochs=None if on_epochs is None else partial(on_epochs, estimator))
    sample = sampled_parts(parts, target, seed)
    scored = of_known_classes(sample.parts, sample.y) if task == "classes" else sample.parts
    facts = {
        "table": {
            **table_facts(scan.source, None, sample.table),
            "rows": sum(scan.heights),
            "columns": len(scan.types),
        },
        "target": target,
        "task": task,
        "task_reason": why,
        "seed": seed,
        "test_share": test_share,
        "split": {"by": "seed, a hash of each row's number", "train": 0, "validation": 0, "test": 0, **sample.rows},
        "not_scored": {part: len(sample.parts[part]) - len(scored[part]) for part in sample.parts},
        "streamed": True,
    }
    return Work(sample.table, sample.y, task, kinds, sample.parts, scored, seed, facts), estimator


def keep_run(
    path: Path,
    work: Work,
    estimator: NetClassifier | NetRegressor,
    facts: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Run:
    """Write a run folder, then its report; errors are those of ``write_run``."""
    run = write_run(path, estimator, facts, overwrite=overwrite)
    _report(run, estimator, work.table, work.y, work.scored)
    return run


def _report(
    run: Run,
    estimator: NetClassifier | NetRegressor,
    table: pl.DataFrame,
    y: npt.NDArray[Any],
    parts: Mapping[str, Rows],
) -> None:
    """Write the report of a run that is complete without it: Ctrl-C leaves it out and keeps the run."""
    try:
        write_report(run, estimator, gather(estimator, table, y, parts))
    except KeyboardInterrupt:
        message = f"the report was stopped by Ctrl-C, the run is complete; write it with: plainnet report {run.path}"
        warnings.warn(message, PlainnetWarning, stacklevel=3)


def _check_parts(seed: int, test_share: float | None, folds: int | None, time: str | None) -> float:
    """Check what splits the rows; return the share of test rows."""
    if not 0 <= seed < MOST_SEED:
        raise SettingError(f"the seed is a whole number from 0 to {MOST_SEED - 1}, not {seed}.")
    if test_share is not None and test_share != 0 and not 0 < test_share < 1:
        raise SettingError(f"the share of test rows is at least 0 and below 1, not {test_share}.")
    if folds is None:
        return 0.2 if test_share is None else test_share
    if time is not None:
        raise SettingError(
            "folds deal the rows at random or by group, and a split by time keeps their order: leave out --folds, or --time."
        )
    if test_share:
        raise SettingError(
            "with folds each row is in a test once, and no further rows are held out: leave out --test, or --folds."
        )
    return 0.0


def _check_columns(
    table: pl.DataFrame, target: str, split_by: tuple[str | None, ...], kinds: Mapping[str, str]
) -> None:
    """Check the columns to split by, use or leave out."""
    for name in (*split_by, *kinds):
        if name == target:
            raise SettingError(
                f"{name!r} is the target: it is predicted, and cannot be a column to split by, use or leave out."
            )
    for name in split_by:
        if name is not None and name not in table.columns:
            raise TableError(f"the table has no column {name!r} to split by{did_you_mean(name, table.columns)}.")


def _scores(
    estimator: NetClassifier | NetRegressor,
    table: pl.DataFrame,
    y: npt.NDArray[Any],
    baseline: npt.NDArray[Any],
    parts: Mapping[str, Rows],
    threshold: float | None,
) -> dict[str, list[dict[str, Any]]]:
    """Score each part of the rows."""
    scores = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # said once is enough; `plainnet predict` counts them
        for part, rows in parts.items():
            if len(rows):
                found = evaluate(estimator, table[rows], y[rows], baseline, threshold=threshold)
                scores[part] = [each.to_json() for each in found]
    return scores


def _add_folds(facts: dict[str, Any], crossed: CrossValidation) -> None:
    """Write what cross-validation found into run.json."""
    if crossed.folds:
        facts["scores"] = {"cross-validation": crossed.to_json(), **facts["scores"]}
        not_scored = sum(fold.not_scored for fold in crossed.folds)
        facts["not_scored"] = {**facts["not_scored"], "cross-validation": not_scored}
    facts["folds"] = {
        "by": facts["split"]["by"],
        "stopped_by": crossed.stopped_by,
        "each": [
            {
                "train": fold.train_rows,
                "rows": len(fold.rows),
                "seconds": round(fold.seconds, 3),
                "scores": [each.to_json() for each in fold.scores],
            }
            for fold in crossed.folds
        ],
    }


def _training_facts(estimator: NetClassifier | NetRegressor) -> dict[str, Any]:
    history = estimator.history_
    return {
        "members": len(estimator.members_),
        "epochs": len(history),
        "best_epoch": history.best_epoch,
        "stopped_by": history.stopped_by,
        "seconds": round(float(history.seconds.sum()), 3),
        "engine": history.engine,
        "engine_reason": history.engine_reason,
    }
