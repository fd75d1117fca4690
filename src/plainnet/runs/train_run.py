"""From a table to a run: read, split, fit, score, write."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from plainnet.errors import DataWarning, PlainnetError, PlainnetWarning, RunError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.streamed import scan_of
from plainnet.evaluation.evaluation import Estimator, baseline_of, evaluate, score, to_json
from plainnet.runs.folds import CrossValidation, cross_validate, deal_folds
from plainnet.runs.parts import Watch, group_names, known_rows, own_threshold
from plainnet.runs.report import gather, write_report
from plainnet.runs.reproduce import settings_facts
from plainnet.runs.resume import beginning, check_unlocked, going_on
from plainnet.runs.runs import FORMAT, Run, check_free, free_name, write_run
from plainnet.runs.source import since, stamp
from plainnet.runs.streamed import check_streamed, work_of_scan
from plainnet.runs.work import Work, check_parts, estimator_of, read_work
from plainnet.tables.databases import without_password
from plainnet.tables.folders import is_pattern
from plainnet.training.checkpoints import Checkpoints
from plainnet.versions import versions

__all__ = ["default_folder", "keep_run", "resume_run", "train_on", "train_run"]


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
    checkpoint_every: float | None = None,
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
        checkpoint_every: seconds between two checkpoints in the folder OUT.checkpoint, from which ``resume_run`` goes on after a crash; it
            is removed once the run is complete. None: no checkpoints. The folds have none.

    Returns:
        The run. Ctrl-C during training writes the best networks so far; during the folds, those that are done.

    Raises:
        PlainnetError: the table, a setting or the folder cannot be used.
    """
    if out is not None:
        check_free(out, overwrite=overwrite)  # now, rather than after the training
    test_share = check_parts(seed, test_share, folds, time)
    if checkpoint_every is None:
        check_unlocked(out)
    needs_all = {"query": query, "folds": folds, "group": group, "time": time, "checkpoint-every": checkpoint_every}
    is_whole = not stream and any(value is not None for value in needs_all.values())
    if not is_whole and (scan := scan_of(source, stream=stream)) is not None:
        check_streamed(needs_all)
        started = perf_counter()
        work, estimator = work_of_scan(
            scan, target, task, test_share, kinds, seed, settings, on_epochs, progress=progress
        )
        facts = run_facts(work, estimator, None, started)
        return keep_run(out or default_folder(source), work, estimator, facts, overwrite=overwrite)
    reading = {
        "query": query, "task": task, "test_share": test_share, "group": group, "time": time, "kinds": dict(kinds or {}), "seed": seed,
    }  # fmt: skip
    asked = {
        "source": source, "target": target, "reading": reading, "folds": folds, "settings": dict(settings or {}), "overwrite": overwrite,
    }  # fmt: skip
    if checkpoint_every is None:
        return _train(asked, out, progress, on_epochs)
    out = out or default_folder(source)
    kept = asked | {"source": without_password(str(source))}
    with beginning(out, checkpoint_every, kept, overwrite=overwrite, progress=progress) as checkpoints:
        return _train(asked, out, progress, on_epochs, checkpoints)


def resume_run(
    path: str | Path,
    source: str | None = None,
    *,
    checkpoint_every: float | None = None,
    progress: bool = False,
    on_epochs: Watch | None = None,
) -> Run:
    """Go on with a training that was killed or stopped, from its last checkpoint, and write the run folder.

    The model file has the bytes of a training that was never stopped, unless that had a time limit.

    Args:
        path: the run folder that was to be written, or its checkpoint folder.
        source: where the table is now; None: where it was.
        checkpoint_every: as for ``train_run``; None: as before.
        progress: as for ``train_run``.
        on_epochs: as for ``train_run``.

    Raises:
        RunError: there is no checkpoint, another process goes on with it, or the table is not the one it was.
        PlainnetError: as for ``train_run``.
    """
    with going_on(path, checkpoint_every, progress=progress) as (out, checkpoints):
        asked = checkpoints.facts | {"source": source or checkpoints.facts["source"], "overwrite": True}
        return _train(asked, out, progress, on_epochs, checkpoints)


def _train(
    asked: Mapping[str, Any],
    out: Path | None,
    progress: bool,
    on_epochs: Watch | None,
    checkpoints: Checkpoints | None = None,
) -> Run:
    """Read, fit, score and write; the arguments are those of ``train_run``, checked."""
    source, target, reading, folds = (asked[name] for name in ("source", "target", "reading", "folds"))
    started, before = perf_counter(), stamp(source)
    if checkpoints is not None and "sha256" in checkpoints.facts:
        work = _read_again(source, target, out, reading, checkpoints.facts["sha256"])
    else:
        work = read_work(source, target, **reading)
    if checkpoints is not None:
        checkpoints.facts["sha256"] = work.facts["table"]["sha256"]
    if folds is not None:  # now, rather than after the first training
        is_class, groups = work.task == "classes", group_names(work.table, reading["group"])
        deal_folds(work.y, folds, is_class=is_class, groups=groups)
    estimator, facts = train_on(
        work, asked["settings"], progress=progress, on_epochs=on_epochs, checkpoints=checkpoints
    )
    is_stopped = estimator.history_.stopped_by == "interrupt"
    if folds is not None and not is_stopped:
        crossed = cross_validate(
            estimator, work.table, work.y, folds=folds, group=reading["group"], seed=work.seed, progress=progress
        )
        add_folds(facts, crossed)
        is_stopped = crossed.stopped_by == "interrupt"
    if became := since(source, before, facts["table"]["sha256"]):
        facts["table"] = {**facts["table"], "since": became}
        message = f"the table {str(source)!r} is {became} since the training read it: the run is of what it held then"
        warnings.warn(message, DataWarning, stacklevel=3)
    seconds = 0.0 if checkpoints is None else checkpoints.seconds
    facts["seconds"] = round(seconds + perf_counter() - started, 3)
    run = keep_run(out or default_folder(source), work, estimator, facts, overwrite=asked["overwrite"])
    if checkpoints is not None and not is_stopped:
        checkpoints.remove()
    return run


def _read_again(source: str | Path, target: str, out: Path | None, reading: Mapping[str, Any], sha256: str) -> Work:
    """Read the table of a checkpoint; a RunError says where it is not what it was."""
    ask = f"Bring it back, or say where it is now: plainnet train TABLE --resume {out}"
    try:
        work = read_work(source, target, **reading)
    except (PlainnetError, OSError) as error:
        raise RunError(
            f"the table of the checkpoint, {str(source)!r}, cannot be read as it was: {error} {ask}"
        ) from error
    found = work.facts["table"]["sha256"]
    if found != sha256:
        raise RunError(
            f"the table {str(source)!r} has changed since the training began: its SHA-256 is {found[:12]}…, and was {sha256[:12]}…. "
            f"{ask}"
        )
    return work


def train_on(
    work: Work,
    settings: Mapping[str, Any] | None = None,
    *,
    progress: bool = False,
    on_epochs: Watch | None = None,
    checkpoints: Checkpoints | None = None,
) -> tuple[Estimator, dict[str, Any]]:
    """Train on a table that was read and split.

    Returns:
        The estimator, and run.json.
    """
    started = perf_counter()
    estimator = estimator_of(work.task)(kinds=work.kinds, random_state=work.seed, verbose=progress, **(settings or {}))
    watch = None if on_epochs is None else partial(on_epochs, estimator)
    validation = work.of("validation") if "validation" in work.scored else None
    estimator.fit(*work.of("train"), validation=validation, on_epochs=watch, checkpoints=checkpoints)
    threshold = own_threshold(estimator, work.table, work.y, work.scored)
    return estimator, run_facts(work, estimator, threshold, started)


def run_facts(work: Work, estimator: Estimator, threshold: float | None, started: float) -> dict[str, Any]:
    """Score a fitted estimator on the rows of its table; return run.json."""
    y_train, history = work.y[work.parts["train"]], estimator.history_
    baseline = baseline_of(estimator, y_train)
    scores = {}
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        # once is enough; `plainnet predict` counts them
        for part in (part for part, rows in work.scored.items() if len(rows)):
            scores[part] = to_json(evaluate(estimator, *work.of(part), baseline, threshold=threshold))
    if estimator.out_of_fold_ is not None:
        known, y_known = known_rows(estimator.out_of_fold_, y_train)
        found = to_json(score(estimator, known, y_known, baseline, threshold=threshold))
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
        "training": {
            "members": len(estimator.members_), "epochs": len(history), "best_epoch": history.best_epoch,
            "stopped_by": history.stopped_by, "seconds": round(float(history.seconds.sum()), 3),
            "engine": history.engine, "engine_reason": history.engine_reason,
        },
        "versions": versions(),
        "seconds": round(perf_counter() - started, 3),
    }  # fmt: skip


def add_folds(facts: dict[str, Any], crossed: CrossValidation) -> None:
    """Write what cross-validation found into run.json."""
    if crossed.folds:
        facts["scores"] = {"cross-validation": crossed.to_json(), **facts["scores"]}
        facts["not_scored"] = facts["not_scored"] | {"cross-validation": sum(each.not_scored for each in crossed.folds)}
    each = [
        {"train": fold.train_rows, "rows": len(fold.rows), "seconds": round(fold.seconds, 3), "scores": to_json(fold.scores)}
        for fold in crossed.folds
    ]  # fmt: skip
    facts["folds"] = {"by": facts["split"]["by"], "stopped_by": crossed.stopped_by, "each": each}


def keep_run(path: Path, work: Work, estimator: Estimator, facts: Mapping[str, Any], *, overwrite: bool = False) -> Run:
    """Write a run folder, then its report; errors are those of ``write_run``."""
    run = write_run(path, estimator, facts, overwrite=overwrite)
    _report(run, estimator, work)
    return run


def _report(run: Run, estimator: Estimator, work: Work) -> None:
    """Write the report of a run that is complete without it: Ctrl-C leaves it out and keeps the run."""
    try:
        write_report(run, estimator, gather(estimator, work))
    except KeyboardInterrupt:
        message = f"the report was stopped by Ctrl-C, the run is complete; write it with: plainnet report {run.path}"
        warnings.warn(message, PlainnetWarning, stacklevel=3)


def default_folder(source: str | Path) -> Path:
    """Return the first of runs/NAME-1, runs/NAME-2, … that is not there yet, NAME the table's."""
    if is_pattern(str(source)) and not Path(source).is_dir():
        source = Path(source).parent.resolve()  # the folder that the pattern looks in
    name = str(source).rstrip("/").rpartition("/")[2].split("?")[0]
    return free_name(Path("runs"), name.partition(".")[0] or "run")
