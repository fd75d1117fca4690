"""From a table that is read piece by piece to a run: the networks learn from all rows, and are scored on a sample of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from plainnet.errors import SettingError, TableError
from plainnet.evaluation.evaluation import Array, Estimator
from plainnet.runs.parts import Watch
from plainnet.runs.work import Work, check_columns, choose_task, estimator_of, table_facts
from plainnet.tables.scan import Scan, row_shares
from plainnet.tables.tables import rows_with_target, target_array

__all__ = ["check_streamed", "first_targets", "sampled_work", "scan_facts", "split_scan", "work_of_scan"]

#: Salts of the test split and of the rows that are scored, so far from those of a fit that they never meet.
TEST, SCORED = 1 << 40, 1 << 41


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


def first_targets(scan: Scan, target: str) -> Array:
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


def scan_facts(scan: Scan) -> dict[str, Any]:
    """Return what run.json says of a table that is read piece by piece."""
    rows, columns = sum(scan.heights), len(scan.types)
    return table_facts(scan.source, None, pl.DataFrame()) | {"rows": rows, "columns": columns}


def sampled_work(
    parts: Mapping[str, Scan],
    target: str,
    *,
    task: tuple[str, str],
    kinds: Mapping[str, str],
    test_share: float,
    seed: int,
    about: Mapping[str, Any],
) -> Work:
    """Draw rows to score, up to ``ScanSettings.score_rows`` of each part of a scan, the same for the same seed.

    Args:
        parts: what ``split_scan`` gave.
        target: name of the column to predict.
        task: 'classes' or 'numbers', and why.
        kinds: kinds of columns that are known.
        test_share: of the rows that test.
        seed: of the split and the draw.
        about: what run.json says of the table.

    Returns:
        The drawn rows as a table; its ``facts`` say how many rows with a target each part has in all.
    """
    frames: list[pl.DataFrame] = []
    places, rows, begin = {}, {}, 0
    for part, own in parts.items():
        share = min(1.0, own.settings.score_rows / max(own.n_rows, 1))
        rows[part], drawn = 0, []
        for numbers, piece in own.pieces():
            known = rows_with_target(piece, target)
            rows[part] += int(known.sum())
            drawn.append(piece.filter(known & (row_shares(numbers, seed + SCORED) < share)))
        height = sum(piece.height for piece in drawn)
        if height:
            places[part] = np.arange(begin, begin + height)
        begin += height
        frames += drawn
    table = pl.concat(frames)
    facts = {
        "table": about, "target": target, "task": task[0], "task_reason": task[1], "seed": seed, "test_share": test_share,
        "split": {"by": "seed, a hash of each row's number", "train": 0, "validation": 0, "test": 0, **rows},
    }  # fmt: skip
    work = Work.of_parts(table.drop(target), target_array(table[target]), kinds, places, facts)
    facts["streamed"] = True
    return work


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
) -> tuple[Work, Estimator]:
    """Train on a table that is read piece by piece; the work has a sample of its rows."""
    parts = split_scan(scan, target, test_share, seed)
    found = choose_task(first_targets(scan, target), task)
    kinds = dict(sorted((kinds or {}).items()))
    check_columns(pl.DataFrame(schema=dict(scan.types)), target, (), kinds)
    estimator = estimator_of(found[0])(kinds=kinds, random_state=seed, verbose=progress, **(settings or {}))
    estimator.fit(parts["train"], target, on_epochs=None if on_epochs is None else partial(on_epochs, estimator))
    about = scan_facts(scan)
    work = sampled_work(parts, target, task=found, kinds=kinds, test_share=test_share, seed=seed, about=about)
    return work, estimator
