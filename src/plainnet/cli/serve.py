"""``plainnet serve``."""

from __future__ import annotations

from pathlib import Path

import typer

from plainnet.cli.options import argument, option

__all__ = ["serve"]


def serve(
    runs: list[Path] | None = argument("Run folders, or model files; /predict asks the first.", metavar="RUN"),
    model: list[str] | None = option("name=path: a model under another name; may be repeated.", "--model"),
    host: str = typer.Option("127.0.0.1", help="Address to listen at; beyond this machine only with a token."),
    port: int = typer.Option(8000, help="Port to listen at; 0 for any that is free."),
    token: str | None = option(
        "What clients have to send as 'Authorization: Bearer …'. Better set as PLAINNET_TOKEN: others see a command's options.",
        envvar="PLAINNET_TOKEN",
        show_envvar=False,
    ),
    allow_host: list[str] | None = option(
        "A further name by which clients call this server, such as a proxy's; may be repeated."
    ),
    max_body: float = typer.Option(16, help="Largest body of a request, in MiB."),
    max_rows: int = typer.Option(100_000, help="Most rows of a request."),
    max_seconds: float = typer.Option(30, help="Longest time for an answer, and for a body to arrive."),
) -> None:
    """Serve models over HTTP: JSON, CSV or Arrow rows in, predictions out. A page at /docs shows how.

    A model is replaced without a failed request when its file changes, or on SIGHUP. SIGTERM and Ctrl-C finish what is under way.

    [bold]Examples[/bold]

    plainnet serve runs/adult-1

    curl localhost:8000/predict -H 'Content-Type: text/csv' --data-binary @people.csv

    plainnet serve runs/adult-1 --model price=runs/houses-3 --port 9000

    PLAINNET_TOKEN=$(openssl rand -hex 32) plainnet serve runs/adult-1 --host 0.0.0.0
    """
    import warnings

    from plainnet.errors import DataWarning, MissingExtraError

    try:
        from plainnet.service.models import name_models
        from plainnet.service.service import Limits, serve as serve_models
    except ImportError as error:
        raise MissingExtraError(error.name or "msgspec", "web", "Serving over HTTP") from error
    paths = name_models(runs or [], model or [])
    limits = Limits(round(max_body * 2**20), max_rows, max_seconds, max_seconds)
    # What a warning would say of each request, /metrics says of all: unseen levels, missing cells.
    warnings.simplefilter("ignore", DataWarning)
    serve_models(
        paths, host=host, port=port, token=token, also_hosts=allow_host or [], limits=limits,
        ready=lambda url: typer.echo(f"Serving {', '.join(paths)} at {url} (how: {url}/docs). Ctrl-C ends it."),
    )  # fmt: skip
