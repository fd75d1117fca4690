"""The rows a run was tested on, found again in its table."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import polars as pl

from plainnet.errors import RunError
from plainnet.runs.parts import Rows, split_parts
from plainnet.runs.runs import Run
from plainnet.runs.train_run import fingerprint
from plainnet.tables.read import read_table
from plainnet.tables.tables import take_target

__all__ = ["test_rows_of"]


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
    source, split = facts["table"]["source"], facts["split"]
    if not split.get("test"):
        raise RunError(f"the run {str(run.path)!r} held out no rows to test on.")
    by, _, column = str(split["by"]).partition(" ")
    if by in ("group", "time") and "test_share" not in split:
        raise RunError(f"the run {str(run.path)!r} does not say which share of the rows it tested on. Train again.")
    whole = read_table(source, query=facts["table"].get("query"))
    if fingerprint(source, whole) != facts["table"]["sha256"]:
        raise RunError(f"the table {source!r} has changed since the run {str(run.path)!r} was trained on it.")
    table, y, _ = take_target(whole, run.target)
    parts = split_parts(
        table, y, facts["task"], test_share=split.get("test_share", split["test"] / len(y)),
        group=column if by == "group" else None, time=column if by == "time" else None, seed=facts["seed"],
    )  # fmt: skip
    rows = parts["test"]
    return table[rows], y[rows], rows
