"""Options that several verbs have, said once: what they are called, and what ``--help`` says of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from plainnet.errors import SettingError

__all__ = [
    "AsJson", "Category", "Cluster", "Date", "Epochs", "Group", "Ignore", "Number", "Overwrite", "Query", "RunFolder", "RunOrModel",
    "RunOut", "SplitTime", "Task", "Workers", "argument", "kinds_of", "on_cluster", "option",
]  # fmt: skip

Columns = list[str] | None


_option = partial(typer.Option, show_default=False)


def option(text: str, *names: str, default: Any = None, **more: Any) -> Any:
    """Return an option, as the default of a parameter, whose ``--help`` shows no default but what its text says; ``...``: needed."""
    return typer.Option(default, *names, help=text, show_default=False, **more)


def argument(text: str, *, default: Any = None, **more: Any) -> Any:
    """Return an argument, as ``option``."""
    return typer.Argument(default, help=text, show_default=False, **more)


RunFolder = Annotated[Path, typer.Argument(help="Run folder.", show_default=False)]
RunOrModel = Annotated[Path, typer.Argument(help="Run folder, or model file.", show_default=False)]
RunOut = Annotated[
    Path | None, _option("--out", "-o", help="Run folder to write.  [default: runs/NAME-1, runs/NAME-2, …]")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a run folder that is already there.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Query = Annotated[str | None, _option(help="Of a database: a SELECT, or a table's name.")]
Task = Annotated[str | None, _option(help="classes or numbers; found out from the target.")]
Group = Annotated[str | None, _option(help="Column whose groups a split never tears apart.")]
SplitTime = Annotated[str | None, _option(help="Column to split by time: the latest rows test.")]
Number = Annotated[Columns, _option(help="Column that is a number. Repeatable.")]
Category = Annotated[Columns, _option(help="Column that is a category. Repeatable.")]
Date = Annotated[Columns, _option(help="Column that is a date. Repeatable.")]
Ignore = Annotated[Columns, _option(help="Column to leave out. Repeatable.")]
Epochs = Annotated[int | None, _option(help="Passes over the training rows.  [default: by their number]")]

Cluster = Annotated[
    str | None,
    _option(
        help="Train on a Ray cluster: HOST:PORT; auto: one that runs here, or a new one on this machine; local: a new one."
    ),
]
Workers = Annotated[int | None, _option(help="Of --cluster: processes.  [default: one a CPU of it]")]


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
