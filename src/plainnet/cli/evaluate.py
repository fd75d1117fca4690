"""``plainnet evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plainnet.cli.output import print_json, print_scores

__all__ = ["evaluate"]


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    table: Annotated[
        str,
        typer.Argument(help="Table with the target column: any table that `plainnet train` takes.", show_default=False),
    ],
    query: Annotated[
        str | None, typer.Option(help="Of a database: a SELECT, or a table's name.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score a run on rows it has not seen, beside a baseline that always says the majority or the mean.

    [bold]Example[/bold]

    plainnet evaluate runs/adult-1 new_people.csv
    """
    from plainnet.evaluation.evaluation import evaluate as measure
    from plainnet.runs.runs import read_run
    from plainnet.tables.read import read_table
    from plainnet.tables.tables import take_target

    found = read_run(run)
    rows, y, n_without = take_target(read_table(table, query=query), found.target)
    scores = [score.to_json() for score in measure(found.estimator(), rows, y, found.baseline)]
    if as_json:
        print_json({"run": str(run), "table": table, "rows_without_target": n_without, "scores": scores})
        return
    if n_without:
        typer.secho(f"Note: {n_without:,} rows without a value in {found.target!r} are left out", fg="yellow", err=True)
    print_scores({table: scores})
