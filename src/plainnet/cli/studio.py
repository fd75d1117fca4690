"""``plainnet studio``."""

from __future__ import annotations

from pathlib import Path

import typer

__all__ = ["studio"]


def studio(
    port: int = typer.Option(0, help="Port on 127.0.0.1; 0: any that is free."),
    work: Path = typer.Option(Path(), "--work", "-w", help="Folder of the tables and runs; made if it is not there."),
    no_browser: bool = typer.Option(False, "--no-browser", help="Only show the address."),
) -> None:
    """Open a page in the browser: choose a table, watch networks learn from it, judge, try and keep them.

    It is served to this machine alone. Runs are ordinary run folders in WORK/runs, as `plainnet train` writes them.

    [bold]Examples[/bold]

    plainnet studio

    plainnet studio --work experiments --port 8420
    """
    from plainnet.errors import MissingExtraError

    try:
        from plainnet.studio.studio import serve
    except ImportError as error:
        raise MissingExtraError(error.name or "starlette", "web", "plainnet studio") from error
    serve(work, port, opens=not no_browser, say=lambda text: typer.echo(text, err=True))
