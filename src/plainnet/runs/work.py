"""A table that was read and split: what a training begins with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import polars as pl

from plainnet.errors import DataWarning, SettingError, TableError
from plainnet.runs.facts import table_facts
from plainnet.runs.parts import Rows, of_known_classes, split_parts
from plainnet.runs.task import choose_task
from plainnet.tables.read import read_table
from plainnet.tables.tables import take_target
from plainnet.tables.wording import did_you_mean

__all__ = ["Work", "check_columns", "check_parts", "read_work"]

#: RandomState takes 32 bits, and the validation rows are drawn with the next seed.
MOST_SEED = 2**32 - 1


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
    check_parts(seed, test_share, None, time)
    whole = read_table(source, query=query)
    table, y, n_without = take_target(whole, target)
    if n_without:
        warnings.warn(f"{n_without:,} rows without a value in {target!r} are left out", DataWarning, stacklevel=3)
    task, why = choose_task(y, task)
    kinds = dict(sorted((kinds or {}).items()))  # the order is in the model file, and says nothing
    check_columns(table, target, (group, time), kinds)
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
