"""``plainnet``: the front door. A new verb is one file beside this one and one line here."""

from __future__ import annotations

import io
import os
import sys
import warnings
from importlib import import_module
from typing import Any

import typer

import plainnet
from plainnet import files
from plainnet.cli import stop
from plainnet.cli.output import print_note
from plainnet.errors import PlainnetError, PlainnetWarning

__all__ = ["app", "main"]

app = typer.Typer(
    name="plainnet", help="Plain neural networks on tables: a CSV in, a trained network out.",
    epilog="Begin with: plainnet tutorial · plainnet train · plainnet train table.csv --target column",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)  # fmt: skip
for verb in (
    "train", "tune", "predict", "evaluate", "compare", "explain", "show", "plot", "report", "export", "serve", "studio", "runs", "track",
    "tutorial", "doctor",
):  # fmt: skip
    app.command()(getattr(import_module(f"plainnet.cli.{verb}"), verb))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"plainnet {plainnet.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and exit."
    ),
) -> None:
    """Plain neural networks on tables: a CSV in, a trained network out."""


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 an error that was explained, 2 wrong usage, 70 a bug, 130 Ctrl-C, 143 SIGTERM."""
    warnings.showwarning = _show_warning
    _speak_utf8()
    files.written.clear()
    try:
        with stop.listening():
            _run()
    except PlainnetError as error:
        typer.secho(f"Error: {error}", fg="red", err=True)
        sys.exit(1)
    except Exception as error:
        if "PLAINNET_TRACEBACK" in os.environ:
            raise
        typer.secho(
            f"Error: {type(error).__name__}: {error}\nThis is a bug in plainnet. Please report it with the output of "
            "`plainnet doctor`; PLAINNET_TRACEBACK=1 shows where it is.",
            fg="red",
            err=True,
        )
        sys.exit(70)
    except KeyboardInterrupt as error:
        there = ", ".join(dict.fromkeys(str(path) for path in files.written if path.exists()))
        kept = str(error) or (f"this was written: {there}." if there else "nothing was written.")
        typer.echo(f"Stopped; {kept}", err=True)
        sys.exit(stop.exit_code())


def _speak_utf8() -> None:
    """Have files and pipes filled with UTF-8, and a screen without a letter show '?': Windows' own encodings lack most letters."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            if stream.isatty():
                stream.reconfigure(errors="replace")
            else:
                stream.reconfigure(encoding="utf-8")


def _run() -> None:
    """Run the app; Typer turns KeyboardInterrupt into an exit without a word, and its own text is wanted."""
    try:
        app()
    except SystemExit as error:
        cause = getattr(error.__context__, "__cause__", None)
        if isinstance(cause, KeyboardInterrupt):
            raise cause from None
        raise


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Show our own warnings as one line; others are for developers."""
    if issubclass(category, PlainnetWarning):
        print_note(f"{message}")
