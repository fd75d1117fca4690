"""``plainnet plot``."""

from __future__ import annotations

from pathlib import Path

import typer

from plainnet.cli.options import argument, option

__all__ = ["plot"]


def plot(
    run: Path = argument("Run folder, or a history saved as .csv or .json.", default=...),
    out: Path | None = option(
        "Picture to write: .png, .svg or .pdf.  [default: loss.png in the run folder]", "--out", "-o"
    ),
) -> None:
    """Draw the loss curve of a run.

    [bold]Example[/bold]

    plainnet plot runs/adult-1 --out loss.svg
    """
    from plainnet.errors import RunError
    from plainnet.runs.runs import draw_losses, read_run
    from plainnet.training.history import History

    history = History.load(run) if run.is_file() else read_run(run).history()
    if not len(history):
        raise RunError(f"the history of {str(run)!r} holds no epochs, and nothing can be drawn: train again.")
    path = out or (run.parent if run.is_file() else run) / "loss.png"
    draw_losses(history, path)
    typer.echo(f"Loss curve of {len(history):,} epochs written to {path}", err=True)
