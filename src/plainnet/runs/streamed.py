"""From a table that is read piece by piece to a run: the networks learn from all rows, and are scored on a sample of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.errors import SettingError, TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.runs.facts import table_facts
from plainnet.runs.parts import Rows, Watch, of_known_classes
from plainnet.runs.task import choose_task
from plainnet.runs.work import Work, check_columns
from plainnet.tables.scan import Scan, row_shares
from plainnet.tables.tables import rows_with_target, target_array

__all__ = ["SampledParts", "check_streamed", "first_targets", "sampled_parts", "split_scan", "work_of_scan"]

#: Salts of the test split and of the rows that are scored, so far from those of a fit that they never meet.
TEST, SCORED = 1 << 40, 1 << 41


@dataclass(frozen=True)
class SampledParts:
    """Rows of each part of a table, few enough to be held.

    Attributes:
        table: the sampled rows, without the target.
        y: their targets.
        parts: the numbers of the rows of ``table`` in each part that has any: 'train', 'test'.
        rows: how many rows with a target each part has in all.
    """

    table: pl.DataFrame
    y: npt.NDArray[Any]
    parts: Mapping[str, Rows]
    rows: Mapping[str, int]


def check_streamed(refused: Mapping[str, object]) -> None:
    """Refuse what needs all rows at once.

    Args:
        refused: values of options, None where they were not given.

    Raises:
        SettingError: one was given.
    """
    for name, value in refused.items():
        if value is not None:
            raise SettingError(
                f"--{name} needs all rows in memory, and this table is read piece by piece: leave --{name} out, or train on fewer files."
            )


def split_scan(scan: Scan, target: str, test_share: float, seed: int) -> dict[str, Scan]:
    """Return the parts of a table: 'train', and 'test' where its share is above 0.

    Raises:
        TableError: the table has no such column.
    """
    rows_with_target(pl.DataFrame(schema=dict(scan.types)), target)
    if test_share == 0:
        return {"train": scan}
    train, test = scan.split(test_share, seed + TEST)
    return {"train": train, "test": test}


def first_targets(scan: Scan, target: str) -> npt.NDArray[Any]:
    """Return the targets of an even sample of the rows, by which the task is found out."""
    share = min(1.0, scan.settings.sample_rows / scan.n_rows)
    drawn = [
        piece[target].drop_nulls().filter(row_shares(numbers, SCORED)[piece[target].is_not_null().to_numpy()] < share)
        for numbers, piece in scan.pieces([target])
    ]
    y = target_array(pl.concat(drawn))
    if not len(y):
        raise TableError(f"no row has a value in the target column {target!r}: name another, or fill it.")
    return y


def sampled_parts(parts: Mapping[str, Scan], target: str, seed: int) -> SampledParts:
    """Draw rows to score, up to ``ScanSettings.score_rows`` of each part, the same for the same seed."""
    frames: list[pl.DataFrame] = []
    places, rows, begin = {}, {}, 0
    for part, scan in parts.items():
        share = min(1.0, scan.settings.score_rows / max(scan.n_rows, 1))
        rows[part], drawn = 0, []
        for numbers, piece in scan.pieces():
            known = rows_with_target(piece, target)
            rows[part] += int(known.sum())
            drawn.append(piece.filter(known & (row_shares(numbers, seed + SCORED) < share)))
        height = sum(piece.height for piece in drawn)
        if height:
            places[part] = np.arange(begin, begin + height)
        begin += height
        frames += drawn
    table = pl.concat(frames)
    return SampledParts(table.drop(target), target_array(table[target]), places, rows)


def work_of_scan(
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
    check_columns(pl.DataFrame(schema=dict(scan.types)), target, (), kinds)
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
