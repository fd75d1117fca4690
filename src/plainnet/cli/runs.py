"""``plainnet runs``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plainnet.cli.output import print_json, print_table

__all__ = ["runs"]


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder that holds run folders.")] = Path("runs"),
    sort: Annotated[
        str, typer.Option(help="created (oldest first), score (best first), rows or seconds (fewest first).")
    ] = "created",
    target: Annotated[
        str | None, typer.Option("--target", "-t", help="Only runs that predict this column.", show_default=False)
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Only runs that predict classes, or numbers.", show_default=False)
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            help="Only runs for which this holds: a key of run.json, =, !=, <, <=, > or >=, a value. Repeatable.",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="The score to show and sort by, such as AUC.  [default: the first]", show_default=False),
    ] = None,
    last: Annotated[
        int | None, typer.Option(help="Only so many of the newest that fit.", min=1, show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the runs in a folder. Damaged ones are named in a note.

    [bold]Examples[/bold]

    plainnet runs

    plainnet runs --target price --sort score --last 10

    plainnet runs --where settings.effort=best --where 'scores.test.AUC>0.9' --metric 'log-loss'
    """
    from plainnet.runs.listing import main_score, select_runs
    from plainnet.runs.runs import find_runs

    every, damaged = find_runs(folder)
    found = select_runs(every, target=target, task=task, where=where or (), metric=metric, last=last, sort=sort)
    if damaged:
        named = " ".join(damaged.values())
        typer.secho(
            f"Note: {len(damaged)} of {len(every) + len(damaged)} runs cannot be listed: {named}", fg="yellow", err=True
        )
    if as_json:
        print_json([{"run": str(run.path), **run.facts} for run in found])
    elif not every:
        typer.echo(f"No runs in {folder}. `plainnet train` makes one.")
    elif not found:
        typer.echo(f"None of the {len(every)} runs in {folder} fits.")
    else:
        rows = []
        for run in found:
            judged = main_score(run, metric)
            rows.append(
                (
                    str(run.path),
                    str(run.facts.get("created", "")),
                    run.target,
                    f"{run.facts['table']['rows']:,}",
                    f"{run.facts['training']['seconds']:,.1f}",
                    f"{judged[1]['metric']} {judged[1]['value']:.5g} ({judged[0]})" if judged else "",
                )
            )
        print_table("", ("run", "created", "target", "rows", "seconds", "score"), rows, numbers=(3, 4))
