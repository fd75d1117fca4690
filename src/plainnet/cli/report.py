"""``plainnet report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["report"]


def report(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    table: Annotated[
        str | None,
        typer.Argument(help="Where the table of the run is now.  [default: where it was]", show_default=False),
    ] = None,
    query: Annotated[
        str | None, typer.Option(help="Of a database: a SELECT, or a table's name.", show_default=False)
    ] = None,
) -> None:
    """Write report.html in a run folder again, from the model and the table; `plainnet train` writes the first one.

    [bold]Example[/bold]

    plainnet report runs/adult-1
    """
    from plainnet.runs.again import report_again
    from plainnet.runs.runs import read_run

    typer.echo(f"Report written to {report_again(read_run(run), table, query)}", err=True)
