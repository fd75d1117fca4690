"""``plainnet runs``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from plainnet.cli.output import print_json, print_table

__all__ = ["runs"]


def runs(
    folder: Annotated[Path, typer.Argument(help="Folder that holds run folders.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the runs in a folder, oldest first.

    [bold]Example[/bold]

    plainnet runs
    """
    from plainnet.runs.runs import list_runs

    found = list_runs(folder)
    if as_json:
        print_json([{"run": str(run.path), **run.facts} for run in found])
    elif not found:
        typer.echo(f"No runs in {folder}. `plainnet train` makes one.")
    else:
        rows = []
        for run in found:
            part = "test" if "test" in run.facts["scores"] else next(iter(run.facts["scores"]), "")
            score = run.facts["scores"][part][0] if part else None
            rows.append(
                (
                    str(run.path),
                    str(run.facts.get("created", "")),
                    run.target,
                    f"{run.facts['table']['rows']:,}",
                    f"{score['metric']} {score['value']:.5g} ({part})" if score else "",
                )
            )
        print_table("", ("run", "created", "target", "rows", "score"), rows, numbers=(3,))
