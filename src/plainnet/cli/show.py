"""``plainnet show``."""

from __future__ import annotations

import typer

from plainnet.cli.options import RunOrModel
from plainnet.cli.output import print_json, print_scores, print_table

__all__ = ["show"]


def show(run: RunOrModel, as_json: bool = typer.Option(False, "--json", help="Print everything as JSON.")) -> None:
    """Show a run: its columns and why they are what they are, its network, its training, its scores.

    [bold]Example[/bold]

    plainnet show runs/adult-1
    """
    from plainnet.runs.runs import read_model_of, read_run
    from plainnet.tables.schema import describe_values

    estimator = read_model_of(run)
    facts = read_run(run).facts if run.is_dir() else {}
    if as_json:
        schema, target = estimator.schema_.to_json(), estimator.target_.to_json()
        facts = {**facts, "members": [member.to_json() for member in estimator.members_]}
        print_json(facts | {"schema": schema, "target_encoding": target})
        return
    rows = [
        (column.name, column.kind, column.why, f"{column.missing:,}", describe_values(column))
        for column in estimator.schema_.columns
    ]
    print_table(
        f"Columns, learnt from {estimator.schema_.n_rows:,} training rows",
        ("column", "kind", "why", "missing", "values"),
        rows,
        numbers=(3,),
    )
    members = estimator.members_
    typer.echo(f"\nNetwork\n{members[0].network}")
    if len(members) > 1:
        weights = [member.weight for member in members]
        typer.echo(
            f"… and {len(members) - 1} more that vote, with weights from {min(weights):.3f} to {max(weights):.3f}"
        )
    if facts:
        training, table = facts["training"], facts["table"]
        took = f"{training['epochs']} epochs in {training['seconds']:.1f} s, best epoch {training['best_epoch']}"
        typer.echo(f"\nTraining: {took}, seed {facts['seed']}")
        typer.echo(f"Engine:   {training['engine']}: {training['engine_reason']}")
        typer.echo(f"Table:    {table['source']} (sha256 {table['sha256'][:12]}…), split by {facts['split']['by']}")
        typer.echo(f"Target:   {facts['target']}: {facts['task']}, {facts['task_reason']}\n")
        print_scores(facts["scores"])
