"""A table that was read and split: what a training begins with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

import numpy as np
import polars as pl

from plainnet.errors import DataWarning, SettingError, TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.evaluation.evaluation import Array, Estimator
from plainnet.runs.parts import Rows, of_known_classes, split_parts
from plainnet.runs.source import fingerprint
from plainnet.tables.databases import without_password
from plainnet.tables.read import read_table
from plainnet.tables.tables import take_target
from plainnet.tables.wording import did_you_mean

__all__ = [
    "Reading", "Work", "check_columns", "check_parts", "choose_task", "estimator_of", "read_work", "split_work", "table_facts",
]  # fmt: skip

TASKS = ("classes", "numbers")
#: RandomState takes 32 bits, and the validation rows are drawn with the next seed.
MOST_SEED = 2**32 - 1


class Reading(TypedDict, total=False):
    """How a table is split: arguments of ``train_run``, which says what each is."""

    task: str | None
    test_share: float
    group: str | None
    time: str | None
    kinds: Mapping[str, str] | None
    seed: int


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
    y: Array
    task: str
    kinds: Mapping[str, str]
    parts: Mapping[str, Rows]
    scored: Mapping[str, Rows]
    seed: int
    facts: Mapping[str, Any]

    @classmethod
    def of_parts(
        cls, table: pl.DataFrame, y: Array, kinds: Mapping[str, str], parts: Mapping[str, Rows], facts: dict[str, Any]
    ) -> Self:
        """Put together what was read and split, and find out which rows can be scored."""
        scored = of_known_classes(parts, y) if facts["task"] == "classes" else parts
        facts["not_scored"] = {part: len(parts[part]) - len(scored[part]) for part in parts}
        return cls(table, y, facts["task"], kinds, parts, scored, facts["seed"], facts)

    def of(self, part: str) -> tuple[pl.DataFrame, Array]:
        """Return the rows and targets of a part, as scored."""
        return self.table[self.scored[part]], self.y[self.scored[part]]


def choose_task(y: Array, wanted: str | None = None) -> tuple[str, str]:
    """Return 'classes' or 'numbers', and why.

    Args:
        y: (N,) the target.
        wanted: the user's choice; None: found out.

    Raises:
        SettingError: ``wanted`` is no task, or the target cannot be predicted that way.

    >>> choose_task(np.array(["yes", "no"]))
    ('classes', 'the target is text')
    >>> choose_task(np.array([1.5, 2.5, 3.5]))
    ('numbers', 'the target holds 3 different numbers')
    """
    if wanted is not None and wanted not in TASKS:
        raise SettingError(f"the task is one of {', '.join(TASKS)}, not {wanted!r}.")
    if wanted == "numbers" and y.dtype.kind not in "fiu":
        raise SettingError(f"the target holds {y[:1].tolist()[0]!r}, which is no number: choose --task classes.")
    if wanted == "classes" and y.dtype.kind == "f" and not np.array_equal(y, np.rint(y)):
        raise SettingError("the target holds numbers with decimals, which are no classes: choose --task numbers.")
    if wanted is not None:
        return wanted, "chosen by the user"
    if y.dtype.kind == "b":
        return "classes", "the target is true or false"
    if y.dtype.kind not in "fiu":
        return "classes", "the target is text"
    n_different = len(np.unique(y))
    if n_different == 2 and np.array_equal(y, np.rint(y)):
        return "classes", "the target holds two different whole numbers"
    return "numbers", f"the target holds {n_different:,} different numbers"


def estimator_of(task: str) -> type[Estimator]:
    """Return the estimator for a task."""
    return NetClassifier if task == "classes" else NetRegressor


def read_work(source: str | Path, target: str, *, query: str | None = None, **reading: Unpack[Reading]) -> Work:
    """Read a table and split its rows; arguments and errors are those of ``train_run``."""
    check_parts(reading.get("seed", 0), reading.get("test_share"), None, reading.get("time"))
    whole = read_table(source, query=query)
    return split_work(whole, table_facts(source, query, whole), target, **reading)


def split_work(
    whole: pl.DataFrame,
    about: Mapping[str, Any],
    target: str,
    *,
    task: str | None = None,
    test_share: float = 0.2,
    group: str | None = None,
    time: str | None = None,
    kinds: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Work:
    """Split the rows of a table that was read, as ``read_work``; ``about``: what run.json says of it."""
    table, y, n_without = take_target(whole, target)
    if n_without:
        warnings.warn(f"{n_without:,} rows without a value in {target!r} are left out", DataWarning, stacklevel=4)
    task, why = choose_task(y, task)
    kinds = dict(sorted((kinds or {}).items()))  # the order is in the model file, and says nothing
    check_columns(table, target, (group, time), kinds)
    if group is not None:
        kinds.setdefault(group, "ignored")
    parts = split_parts(table, y, task, test_share=test_share, group=group, time=time, seed=seed)
    by_seed = "seed, stratified" if task == "classes" else "seed"
    split_by = f"group {group}" if group else f"time {time}" if time else by_seed
    facts = {
        "table": about, "target": target, "task": task, "task_reason": why, "seed": seed,
        "test_share": test_share,
        "split": {"by": split_by, **{part: len(parts.get(part, ())) for part in ("train", "validation", "test")}},
    }  # fmt: skip
    return Work.of_parts(table, y, kinds, parts, facts)


def table_facts(source: str | Path, query: str | None, table: pl.DataFrame) -> dict[str, Any]:
    """Return what run.json says of the table."""
    return {
        "source": without_password(str(source)), "query": query, "rows": table.height, "columns": table.width,
        "sha256": fingerprint(source, table),
    }  # fmt: skip


def check_parts(seed: int, test_share: float | None, folds: int | None, time: str | None) -> float:
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


def check_columns(table: pl.DataFrame, target: str, split_by: tuple[str | None, ...], kinds: Mapping[str, str]) -> None:
    """Check the columns to split by, use or leave out."""
    for name in (*split_by, *kinds):
        if name == target:
            raise SettingError(
                f"{name!r} is the target: it is predicted, and cannot be a column to split by, use or leave out."
            )
    for name in split_by:
        if name is not None and name not in table.columns:
            raise TableError(f"the table has no column {name!r} to split by{did_you_mean(name, table.columns)}.")
