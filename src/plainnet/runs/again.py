"""The table of a run, found again, and its rows split as they were: what an explanation or a new report needs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import polars as pl

from plainnet.errors import DataWarning, PlainnetError, RunError
from plainnet.runs.parts import Rows, of_known_classes, split_parts
from plainnet.runs.report import gather, write_report
from plainnet.runs.reproduce import split_column
from plainnet.runs.runs import Run
from plainnet.runs.source import fingerprint
from plainnet.runs.streamed import sampled_parts, split_scan
from plainnet.tables.read import read_table
from plainnet.tables.scan import scan_table
from plainnet.tables.tables import take_target

__all__ = ["OwnTable", "find_table", "report_again", "test_rows_of"]


@dataclass(frozen=True)
class OwnTable:
    """The table a run was trained on.

    Attributes:
        whole: all its rows, the target included.
        table: the rows with a target, without it.
        y: their targets.
        parts: the numbers of the rows of ``table`` in each part that can be scored: 'train', 'validation', 'test'.
    """

    whole: pl.DataFrame
    table: pl.DataFrame
    y: npt.NDArray[Any]
    parts: Mapping[str, Rows]


def find_table(run: Run, source: str | None = None, query: str | None = None) -> OwnTable:
    """Read the table of a run again, and split it as the training did.

    Args:
        run: whose table it is.
        source: where the table is now; None: where it was.
        query: of a database; None: as it was.

    Raises:
        RunError: the table is gone, or holds something else by now; the message asks for one. So it does where the run was written by a
            version that did not keep how many rows were held out.
    """
    facts = run.facts
    place = source or facts["table"]["source"]
    ask = f"Name the table: the one that the run was trained on, with SHA-256 {facts['table']['sha256'][:12]}…"
    share = facts.get("test_share")
    if share is None:
        raise RunError(f"{str(run.path / 'run.json')!r} does not say how many rows were held out: train again.")
    if facts.get("streamed"):
        return _find_sample(run, place, share, ask)
    try:
        whole = read_table(place, query=facts["table"].get("query") if query is None else query)
        found = fingerprint(place, whole)
    except (PlainnetError, OSError) as error:
        raise RunError(f"the table of the run, {place!r}, cannot be read: {error} {ask}") from error
    if found != facts["table"]["sha256"]:
        raise RunError(f"the table {place!r} is not what the run was trained on: its SHA-256 is {found[:12]}… {ask}")
    table, y, _ = take_target(whole, run.target)
    by = split_column(facts)
    parts = split_parts(
        table, y, facts["task"], test_share=share, group=by.get("group"), time=by.get("time"), seed=facts["seed"]
    )
    if facts["task"] == "classes":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)  # said when the run was trained, and in its run.json
            parts = of_known_classes(parts, y)
    return OwnTable(whole, table, y, parts)


def _find_sample(run: Run, place: str, share: float, ask: str) -> OwnTable:
    """Find the sample of a table that was read piece by piece, as the run drew it."""
    facts = run.facts
    try:
        scan = scan_table(place)
        found = fingerprint(place, pl.DataFrame())
    except (PlainnetError, OSError) as error:
        raise RunError(f"the table of the run, {place!r}, cannot be read: {error} {ask}") from error
    if found != facts["table"]["sha256"]:
        raise RunError(f"the table {place!r} is not what the run was trained on: its SHA-256 is {found[:12]}… {ask}")
    sample = sampled_parts(split_scan(scan, run.target, share, facts["seed"]), run.target, facts["seed"])
    parts = sample.parts
    if facts["task"] == "classes":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            parts = of_known_classes(parts, sample.y)
    whole = sample.table.with_columns(pl.Series(run.target, sample.y.tolist()))
    return OwnTable(whole, sample.table, sample.y, parts)


def test_rows_of(run: Run) -> tuple[pl.DataFrame, npt.NDArray[Any], Rows]:
    """Return the rows that a run tested on: the columns without the target, the target, and their numbers among those with a target.

    Raises:
        RunError: the run had no test rows, or its table is not the one it was.
    """
    own = find_table(run)
    rows = own.parts.get("test")
    if rows is None:
        raise RunError(
            f"the run {str(run.path)!r} held out no rows to test on: name a table, or train again with --test 0.2."
        )
    return own.table[rows], own.y[rows], rows


def report_again(run: Run, source: str | None = None, query: str | None = None) -> Path:
    """Write a run's report again; the arguments and errors are those of ``find_table``.

    The losses of the single networks and out-of-fold predictions are not kept in a run folder: this report is without them.
    """
    own = find_table(run, source, query)
    estimator = run.estimator()
    return write_report(run, estimator, gather(estimator, own.table, own.y, own.parts))
