"""``plainnet runs``."""

from __future__ import annotations

from pathlib import Path

import typer

from plainnet.cli.options import AsJson, option
from plainnet.cli.output import print_json, print_note, print_table

__all__ = ["runs"]


def runs(
    folder: Path = typer.Argument(Path("runs"), help="Folder that holds run folders."),
    sort: str = typer.Option(
        "created", help="created (oldest first), score (best first), rows or seconds (fewest first)."
    ),
    target: str | None = option("Only runs that predict this column.", "--target", "-t"),
    task: str | None = option("Only runs that predict classes, or numbers."),
    where: list[str] | None = option(
        "Only runs for which this holds: a key of run.json, =, !=, <, <=, > or >=, a value. Repeatable."
    ),
    metric: str | None = option("The score to show and sort by, such as AUC.  [default: the first]"),
    last: int | None = option("Only so many of the newest that fit.", min=1),
    as_json: AsJson = False,
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
        print_note(f"{len(damaged)} of {len(every) + len(damaged)} runs cannot be listed: {named}")
    if as_json:
        print_json([{"run": str(run.path), **run.facts} for run in found])
    elif not every:
        typer.echo(f"No runs in {folder}. `plainnet train` makes one.")
    elif not found:
        typer.echo(f"None of the {len(every)} runs in {folder} fits.")
    else:
        rows = []
        for run in found:
            facts, judged = run.facts, main_score(run, metric)
            size, took = f"{facts['table']['rows']:,}", f"{facts['training']['seconds']:,.1f}"
            score = f"{judged[1]['metric']} {judged[1]['value']:.5g} ({judged[0]})" if judged else ""
            rows.append((str(run.path), str(facts.get("created", "")), run.target, size, took, score))
        print_table("", ("run", "created", "target", "rows", "seconds", "score"), rows, numbers=(3, 4))
