"""Options that several verbs have, said once: what they are called, and what ``--help`` says of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from plainnet.errors import SettingError

__all__ = [
    "Category", "Cluster", "Date", "Epochs", "Group", "Ignore", "Number", "Overwrite", "Query", "RunFolder", "RunOrModel",
    "RunOut", "SplitTime", "Task", "Workers", "kinds_of", "on_cluster",
]  # fmt: skip

Columns = list[str] | None

RunFolder = Annotated[Path, typer.Argument(help="Run folder.", show_default=False)]
RunOrModel = Annotated[Path, typer.Argument(help="Run folder, or model file.", show_default=False)]
RunOut = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Run folder to write.  [default: runs/NAME-1, runs/NAME-2, …]", show_default=False
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a run folder that is already there.")]
Query = Annotated[str | None, typer.Option(help="Of a database: a SELECT, or a table's name.", show_default=False)]
Task = Annotated[str | None, typer.Option(help="classes or numbers; found out from the target.", show_default=False)]
Group = Annotated[str | None, typer.Option(help="Column whose groups a split never tears apart.", show_default=False)]
SplitTime = Annotated[
    str | None, typer.Option(help="Column to split by time: the latest rows test.", show_default=False)
]
Number = Annotated[Columns, typer.Option(help="Column that is a number. Repeatable.", show_default=False)]
Category = Annotated[Columns, typer.Option(help="Column that is a category. Repeatable.", show_default=False)]
Date = Annotated[Columns, typer.Option(help="Column that is a date. Repeatable.", show_default=False)]
Ignore = Annotated[Columns, typer.Option(help="Column to leave out. Repeatable.", show_default=False)]
Epochs = Annotated[
    int | None, typer.Option(help="Passes over the training rows.  [default: by their number]", show_default=False)
]

Cluster = Annotated[
    str | None,
    typer.Option(
        help="Train on a Ray cluster: HOST:PORT; auto: one that runs here, or a new one on this machine; local: a new one.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None, typer.Option(help="Of --cluster: processes.  [default: one a CPU of it]", show_default=False)
]


@contextlib.contextmanager
def on_cluster(cluster: str | None, workers: int | None) -> Iterator[None]:
    """Train inside the block on a cluster, where one is named."""
    if cluster is None:
        if workers is not None:
            raise SettingError("--workers are processes of a cluster, and none is named: add --cluster auto.")
        yield
        return
    from plainnet.cluster.cluster import spread

    with spread(cluster, workers):
        yield


def kinds_of(number: Columns, category: Columns, date: Columns, ignore: Columns) -> dict[str, str]:
    """Return the kinds of columns that the user knows better, by column.

    >>> kinds_of(["zip"], None, None, ["id"])
    {'zip': 'number', 'id': 'ignored'}
    """
    named: Iterable[tuple[str, Columns]] = (
        ("number", number), ("category", category), ("date", date), ("ignored", ignore),
    )  # fmt: skip
    return {name: kind for kind, names in named for name in names or ()}
