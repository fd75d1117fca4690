"""``plainnet doctor``."""

from __future__ import annotations

import os
import platform
from typing import Any

import typer

from plainnet.cli.options import AsJson
from plainnet.cli.output import print_json, print_table

__all__ = ["doctor"]

PACKAGES = (
    "torch", "numba", "numpy", "polars", "narwhals", "scikit-learn", "safetensors", "matplotlib", "typer", "rich",
)  # fmt: skip
EXTRAS = {"excel": ("fastexcel",), "sql": ("connectorx", "pyarrow")}


def doctor(as_json: AsJson = False) -> None:
    """Check the installation and print what a bug report needs.

    [bold]Example[/bold]

    plainnet doctor
    """
    facts = _facts()
    if as_json:
        print_json(facts)
    else:
        print_table("", ("what", "found"), [(name, str(value)) for name, value in facts.items()])
    if facts["training"] != "works":
        raise typer.Exit(1)


def _facts() -> dict[str, Any]:
    import torch

    from plainnet.kernels.kernels import cache_folder
    from plainnet.versions import version_of, versions

    facts: dict[str, Any] = {
        "plainnet": versions()["plainnet"],
        "python": platform.python_version(),
        "system": platform.platform(),
    }
    facts |= {package: version_of(package) or "not installed" for package in PACKAGES}
    facts |= {
        f"extra {extra}": ", ".join(f"{each} {version_of(each) or 'not installed'}" for each in needs)
        for extra, needs in EXTRAS.items()
    }
    facts["cores"] = os.cpu_count()
    facts["torch threads"] = torch.get_num_threads()
    facts["cuda"] = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    facts["mps"] = "available" if torch.backends.mps.is_available() else "none"
    facts["machine code of the fused engine"] = str(cache_folder() or "kept nowhere: its folder cannot be written")
    facts["training"] = _trial()
    return facts


def _trial() -> str:
    """Train a tiny network on a line; 'works', or what went wrong."""
    from plainnet.estimators.regressor import NetRegressor

    table = {"x": [float(i) for i in range(20)]}
    predicted = NetRegressor(hidden=(8,), epochs=200, learning_rate=0.02).fit(table, table["x"]).predict(table)
    worst = float(abs(predicted - table["x"]).max())
    return "works" if worst < 5 else f"learns badly: a line is missed by {worst:.2f}"
