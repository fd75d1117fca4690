"""``plainnet report``."""

from __future__ import annotations

import typer

from plainnet.cli.options import Query, RunFolder, argument

__all__ = ["report"]


def report(
    run: RunFolder,
    table: str | None = argument("Where the table of the run is now.  [default: where it was]"),
    query: Query = None,
) -> None:
    """Write report.html in a run folder again, from the model and the table; `plainnet train` writes the first one.

    [bold]Example[/bold]

    plainnet report runs/adult-1
    """
    from plainnet.runs.again import report_again
    from plainnet.runs.runs import read_run

    typer.echo(f"Report written to {report_again(read_run(run), table, query)}", err=True)
