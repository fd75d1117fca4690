"""From a table to a run: read, split, fit, score, write."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.engines.job import Epochs
from plainnet.errors import DataWarning, RunError, SettingError, TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.evaluation.evaluation import baseline_of, evaluate, score
from plainnet.runs.runs import FORMAT, Run, check_free, free_name, write_run
from plainnet.runs.task import choose_task
from plainnet.settings import TINY_ROWS, VALIDATION_SHARE
from plainnet.storage.storage import plain
from plainnet.tables.databases import without_password
from plainnet.tables.read import read_table
from plainnet.tables.split import split_rows
from plainnet.tables.tables import take_target
from plainnet.tables.wording import did_you_mean, listed
from plainnet.versions import versions

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Watch", "test_rows_of", "train_run"]

Rows = npt.NDArray[np.int64]
#: Looks on: called with what is being fitted, the number of a member, its network, and its newest epochs.
Watch = Callable[[NetClassifier | NetRegressor, int, "nn.Module", Epochs], object]

#: Arguments that are functions: JSON cannot hold them, and the command line cannot set them.
OWN_PARTS = ("network", "loss", "optimizer")
#: Rows that a training needs.
LEAST_ROWS = 2
#: RandomState takes 32 bits, and the validation rows are drawn with the next seed.
MOST_SEED = 2**32 - 1


def train_run(
    source: str | Path,
    target: str,
    out: Path | None = None,
    *,
    query: str | None = None,
    task: str | None = None,
    test_share: float = 0.2,
    group: str | None = None,
    time: str | None = None,
    kinds: Mapping[str, str] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = False,
    settings: Mapping[str, Any] | None = None,
    on_epochs: Watch | None = None,
) -> Run:
    """Train on a table and write the run folder.

    Args:
        source: the table's file or database.
        target: name of the column to predict.
        out: the run folder; None: the first free of runs/NAME-1, runs/NAME-2, …
        query: of a database: a SELECT, or a table's name.
        task: 'classes' or 'numbers'; None: found out.
        test_share: of the rows, held out for the test scores; 0: none.
        group: name of a column whose groups are never torn apart by a split; the network does not see it.
        time: name of a column by which rows are split: the latest test, those before validate, the rest train.
        kinds: kinds of columns that the user knows better.
        seed: of the splits, the weights and the shuffle.
        overwrite: replace a run folder that is already there.
        progress: show a progress bar.
        settings: further arguments of NetClassifier or NetRegressor.
        on_epochs: looks on while the networks are trained, as on_epochs(estimator, member, network, epochs): on the member's own thread,
            some 25 times a second. True ends the training, and the best so far is kept.

    Returns:
        The run. Ctrl-C during training writes the best networks so far.

    Raises:
        PlainnetError: the table, a setting or the folder cannot be used.
    """
    if out is not None:
        check_free(out, overwrite=overwrite)  # now, rather than after the training
    if not 0 <= seed < MOST_SEED:
        raise SettingError(f"the seed is a whole number from 0 to {MOST_SEED - 1}, not {seed}.")
    if test_share != 0 and not 0 < test_share < 1:
        raise SettingError(f"the share of test rows is at least 0 and below 1, not {test_share}.")
    started = perf_counter()
    whole = read_table(source, query=query)
    table, y, n_without = take_target(whole, target)
    if n_without:
        warnings.warn(f"{n_without:,} rows without a value in {target!r} are left out", DataWarning, stacklevel=2)
    task, why = choose_task(y, task)
    kinds = dict(kinds or {})
    _check_names(table, target, kinds, (group, time))
    if group is not None:
        kinds.setdefault(group, "ignored")
    parts = _split(table, y, task, test_share=test_share, group=group, time=time, seed=seed)

    estimator_class = NetClassifier if task == "classes" else NetRegressor
    estimator = estimator_class(kinds=kinds, random_state=seed, verbose=progress, **(settings or {}))
    train_rows = parts["train"]
    scored = _of_known_classes(parts, y) if task == "classes" else parts
    held = None if "validation" not in scored else (table[scored["validation"]], y[scored["validation"]])
    watch = None if on_epochs is None else partial(on_epochs, estimator)
    estimator.fit(table[train_rows], y[train_rows], validation=held, on_epochs=watch)
    baseline = baseline_of(estimator, y[train_rows])
    scores = _scores(estimator, table, y, baseline, scored)
    if estimator.out_of_fold_ is not None:
        found = [each.to_json() for each in score(estimator, *_known(estimator.out_of_fold_, y[train_rows]), baseline)]
        scores = {"train": scores["train"], "out of fold": found, **scores}
    by_seed = "seed, stratified" if task == "classes" else "seed"
    split_by = f"group {group}" if group else f"time {time}" if time else by_seed
    facts = {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "table": _table_facts(source, query, whole),
        "target": target,
        "task": task,
        "task_reason": why,
        "classes": estimator.classes_.tolist() if isinstance(estimator, NetClassifier) else None,
        "seed": seed,
        "split": {
            "by": split_by,
            "test_share": test_share,
            **{part: len(parts.get(part, ())) for part in ("train", "validation", "test")},
        },
        "settings": {name: plain(v) for name, v in estimator.get_params().items() if name not in OWN_PARTS},
        "baseline": baseline.tolist(),
        "scores": scores,
        "not_scored": {part: len(parts[part]) - len(scored[part]) for part in parts},
        "training": _training_facts(estimator),
        "versions": versions(),
        "seconds": round(perf_counter() - started, 3),
    }
    return write_run(out or free_name(Path("runs"), _stem(source)), estimator, facts, overwrite=overwrite)


def _check_names(table: pl.DataFrame, target: str, kinds: Mapping[str, str], split_by: tuple[str | None, ...]) -> None:
    for name in (*split_by, *kinds):
        if name == target:
            raise SettingError(
                f"{name!r} is the target: it is predicted, and cannot be a column to split by, use or leave out."
            )
    for name in split_by:
        if name is not None and name not in table.columns:
            raise TableError(f"the table has no column {name!r} to split by{did_you_mean(name, table.columns)}.")


def test_rows_of(run: Run) -> tuple[pl.DataFrame, npt.NDArray[Any], Rows]:
    """Return the rows that a run tested on: its table is read again, and split as it was then.

    Args:
        run: of this version or an earlier one.

    Returns:
        The columns without the target, the target, and the numbers of these rows in the table, counted from 0 over those with a target.

    Raises:
        RunError: the run had no test rows, its table is not the one it was, or an earlier version did not note how it was split.
        TableError: the table cannot be read any more.
    """
    facts = run.facts
    table_facts, split = facts["table"], facts["split"]
    if not split.get("test"):
        raise RunError(f"the run {str(run.path)!r} held out no rows to test on.")
    by, _, column = str(split["by"]).partition(" ")
    is_drawn = by not in ("group", "time")
    if not is_drawn and "test_share" not in split:
        raise RunError(f"the run {str(run.path)!r} does not say which share of the rows it tested on. Train again.")
    whole = read_table(table_facts["source"], query=table_facts.get("query"))
    if _fingerprint(table_facts["source"], whole) != table_facts["sha256"]:
        raise RunError(
            f"the table {table_facts['source']!r} has changed since the run {str(run.path)!r} was trained on it."
        )
    table, y, _ = take_target(whole, run.target)
    share = split.get("test_share", split["test"] / len(y))
    parts = _split(
        table, y, facts["task"], test_share=share, group=column if by == "group" else None,
        time=column if by == "time" else None, seed=facts["seed"],
    )  # fmt: skip
    rows = parts["test"]
    return table[rows], y[rows], rows


def _scores(
    estimator: NetClassifier | NetRegressor,
    table: pl.DataFrame,
    y: npt.NDArray[Any],
    baseline: npt.NDArray[Any],
    parts: Mapping[str, Rows],
) -> dict[str, list[dict[str, Any]]]:
    """Score each part of the rows."""
    scores = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # said once is enough; `plainnet predict` counts them
        for part, rows in parts.items():
            if len(rows):
                scores[part] = [score.to_json() for score in evaluate(estimator, table[rows], y[rows], baseline)]
    return scores


def _known(predictions: npt.NDArray[Any], y: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return predictions and targets of the rows that have a prediction: all, unless a member failed."""
    known = np.isfinite(predictions.reshape(len(y), -1)).all(axis=1)
    return predictions[known], y[known]


def _table_facts(source: str | Path, query: str | None, table: pl.DataFrame) -> dict[str, Any]:
    return {
        "source": without_password(str(source)),
        "query": query,
        "rows": table.height,
        "columns": table.width,
        "sha256": _fingerprint(source, table),
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


def _split(
    table: pl.DataFrame,
    y: npt.NDArray[Any],
    task: str,
    *,
    test_share: float,
    group: str | None,
    time: str | None,
    seed: int,
) -> dict[str, Rows]:
    """Return the rows of each part that has any."""

    def held_out(rows: Rows, share: float, draw: int) -> tuple[Rows, Rows]:
        kept, held = split_rows(
            len(rows), share, seed=draw,
            stratify=y[rows] if task == "classes" and not group and not time else None,
            groups=None if group is None else table[group][rows].cast(pl.String).fill_null("").to_numpy(),
            time=None if time is None else _instants(table[time][rows]),
        )  # fmt: skip
        return rows[kept], rows[held]

    by = group or time
    n_parts = 1 + (test_share > 0) + (table.height > TINY_ROWS)  # without groups or time, each member holds out its own
    if by is not None and table[by].n_unique() < n_parts:
        raise TableError(
            f"the column {by!r} has {table[by].n_unique()} different values, and a split by it into training, validation "
            f"and test rows needs at least {n_parts}."
        )
    rows, parts = np.arange(table.height), {}
    if test_share > 0:
        rows, parts["test"] = held_out(rows, test_share, seed)
        if len(rows) < LEAST_ROWS:
            raise TableError(
                f"a share of {test_share:g} test rows leaves {len(rows)} of {table.height} rows to train on, and at least "
                f"{LEAST_ROWS} are needed: pass a smaller --test, or 0."
            )
    if by is not None and len(rows) > TINY_ROWS:
        rows, parts["validation"] = held_out(rows, VALIDATION_SHARE, seed + 1)
    return {"train": rows, **dict(reversed(parts.items()))}


def _instants(series: pl.Series) -> npt.NDArray[Any]:
    """Return what orders rows in time: numbers, or dates as numbers; rows without come first."""
    from plainnet.tables.dates import parse_dates

    if series.dtype.is_numeric():
        return series.cast(pl.Float64).fill_null(-np.inf).to_numpy()
    dates, _ = parse_dates(series)
    if dates is None:
        raise TableError(
            f"the column {series.name!r} holds {series.dtype}, such as {series.drop_nulls()[:1].to_list()}, and no time to split by."
        )
    return dates.dt.epoch("us").cast(pl.Float64).fill_null(-np.inf).to_numpy()


def _of_known_classes(parts: Mapping[str, Rows], y: npt.NDArray[Any]) -> dict[str, Rows]:
    """Leave out held-out rows of classes that no training row has: they cannot be scored. Each part with such is named.

    Raises:
        TableError: no validation row is left.
    """
    classes = np.unique(y[parts["train"]])
    scored = {}
    for part, rows in parts.items():
        known = np.isin(y[rows], classes)
        scored[part] = rows[known]
        if known.all():
            continue
        strange = listed(np.unique(y[rows[~known]]).tolist())
        if part == "validation" and not known.any():
            raise TableError(
                f"every validation row is of a class without a training row ({strange}): no best epoch can be found. "
                "Split by another column, or by none."
            )
        warnings.warn(
            f"{int((~known).sum()):,} of {len(rows):,} {part} rows are of classes without a training row, and not scored: {strange}",
            DataWarning,
            stacklevel=3,
        )
    return scored


def _fingerprint(source: str | Path, table: pl.DataFrame) -> str:
    """SHA-256 of the file, or of the table as CSV where it comes from a database."""
    digest = hashlib.sha256()
    if Path(source).is_file():
        with Path(source).open("rb") as file:
            while chunk := file.read(2**20):
                digest.update(chunk)
    else:
        digest.update(table.write_csv().encode())
    return digest.hexdigest()


def _stem(source: str | Path) -> str:
    name = str(source).rstrip("/").rpartition("/")[2].split("?")[0]
    return name.partition(".")[0] or "run"
