"""``plainnet track``."""

from __future__ import annotations

import typer

from plainnet.cli.options import RunFolder, argument, option

__all__ = ["track"]


def track(
    run: RunFolder,
    tracker: str = argument("tensorboard or mlflow.", default=...),
    to: str | None = option(
        "TensorBoard's log folder, or MLflow's tracking URI, such as sqlite:///mlflow.db or http://127.0.0.1:5000.  "
        "[default: the folder tensorboard, or what MLflow is set to]"
    ),
) -> None:
    """Write a run's settings, losses and scores to an experiment tracker. `plainnet train --track` does so after a training.

    [bold]Examples[/bold]

    plainnet track runs/adult-1 tensorboard --to logs

    plainnet track runs/adult-1 mlflow --to sqlite:///mlflow.db
    """
    from plainnet.runs.runs import read_run
    from plainnet.runs.track import track as write

    typer.echo(write(read_run(run), tracker, to))
