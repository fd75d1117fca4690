"""The table of a run, found again, and its rows split as they were: what an explanation or a new report needs."""

from __future__ import annotations

import warnings
from pathlib import Path

import polars as pl

from plainnet.errors import DataWarning, PlainnetError, RunError
from plainnet.evaluation.evaluation import Array
from plainnet.runs.parts import Rows
from plainnet.runs.report import gather, write_report
from plainnet.runs.reproduce import split_column
from plainnet.runs.runs import Run
from plainnet.runs.streamed import sampled_work, scan_facts, split_scan
from plainnet.runs.work import Work, split_work, table_facts
from plainnet.tables.read import read_table
from plainnet.tables.scan import scan_table

__all__ = ["find_table", "report_again", "test_rows_of"]


def find_table(run: Run, source: str | None = None, query: str | None = None) -> tuple[pl.DataFrame, Work]:
    """Read the table of a run again, and split it as the training did.

    Args:
        run: whose table it is.
        source: where the table is now; None: where it was.
        query: of a database; None: as it was.

    Returns:
        All its rows, the target included; and the rows with a target, split. Of a table that was read piece by piece, both are of the
        sample that the run drew.

    Raises:
        RunError: the table is gone, or holds something else by now; the message asks for one. So it does where the run was written by a
            version that did not keep how many rows were held out.
    """
    facts = run.facts
    place, sha256, seed = source or facts["table"]["source"], facts["table"]["sha256"], facts["seed"]
    ask = f"Name the table: the one that the run was trained on, with SHA-256 {sha256[:12]}…"
    share = facts.get("test_share")
    if share is None:
        raise RunError(f"{str(run.path / 'run.json')!r} does not say how many rows were held out: train again.")
    is_streamed, query = facts.get("streamed"), facts["table"].get("query") if query is None else query
    try:
        if is_streamed:
            scan = scan_table(place)
            about = scan_facts(scan)
        else:
            whole = read_table(place, query=query)
            about = table_facts(place, query, whole)
    except (PlainnetError, OSError) as error:
        raise RunError(f"the table of the run, {place!r}, cannot be read: {error} {ask}") from error
    if about["sha256"] != sha256:
        found = about["sha256"][:12]
        raise RunError(f"the table {place!r} is not what the run was trained on: its SHA-256 is {found}… {ask}")
    with warnings.catch_warnings(action="ignore", category=DataWarning):  # said when the run was trained
        if is_streamed:
            parts, task = split_scan(scan, run.target, share, seed), (facts["task"], facts["task_reason"])
            work = sampled_work(parts, run.target, task=task, kinds={}, test_share=share, seed=seed, about=about)
            return work.table.with_columns(pl.Series(run.target, work.y.tolist())), work
        by = split_column(facts)
        return whole, split_work(
            whole, about, run.target, task=facts["task"], test_share=share, group=by.get("group"), time=by.get("time"), seed=seed
        )  # fmt: skip


def test_rows_of(run: Run) -> tuple[pl.DataFrame, Array, Rows]:
    """Return the rows that a run tested on: the columns without the target, the target, and their numbers among those with a target.

    Raises:
        RunError: the run had no test rows, or its table is not the one it was.
    """
    _, own = find_table(run)
    if "test" not in own.scored:
        raise RunError(
            f"the run {str(run.path)!r} held out no rows to test on: name a table, or train again with --test 0.2."
        )
    return *own.of("test"), own.scored["test"]


def report_again(run: Run, source: str | None = None, query: str | None = None) -> Path:
    """Write a run's report again; the arguments and errors are those of ``find_table``.

    The losses of the single networks and out-of-fold predictions are not kept in a run folder: this report is without them.
    """
    _, own = find_table(run, source, query)
    estimator = run.estimator()
    return write_report(run, estimator, gather(estimator, own))
