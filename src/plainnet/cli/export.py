"""``plainnet export``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import typer

from plainnet.cli.options import RunOrModel, option

__all__ = ["export"]


def export(
    run: RunOrModel,
    to: Literal["onnx", "torch", "safetensors", "python"] = option("What to write; see below.", default=...),
    out: Path | None = option(
        "File to write: .onnx, .py or .safetensors.  [default: the run's name, in this folder]", "--out", "-o"
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace files that are already there."),
) -> None:
    """Write a run's model as a file that predicts without plainnet.

    onnx: raw columns in, predictions out, for ONNX Runtime in any language.

    torch: a script with an nn.Module, and its weights as safetensors beside it.

    python: a script to be read, which needs NumPy alone, and its weights beside it.

    safetensors: the model file itself, which plainnet reads.

    [bold]Examples[/bold]

    plainnet export runs/adult-1 --to onnx

    plainnet export runs/adult-1 --to python --out adult.py && python adult.py people.csv
    """
    from plainnet.export.export import SUFFIXES, export_model
    from plainnet.runs.runs import read_model_of

    estimator = read_model_of(run)
    if out is None:
        out = _default(run, SUFFIXES[to])
    for file in export_model(estimator, out, to, overwrite=overwrite):
        typer.echo(f"{file} written, {file.stat().st_size:,} bytes", err=True)


def _default(run: Path, suffix: str) -> Path:
    """Return the run's name with the export's ending; a script's name is one that Python can import."""
    name = run.resolve().name if run.is_dir() else run.stem
    if suffix == ".py":
        name = re.sub(r"\W", "_", name)
        name = name if name.isidentifier() else f"model_{name}"
    return Path(name + suffix)
