"""What a run says of the table that it came from: its name, its size, and what tells it from another."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import polars as pl

from plainnet.runs.runs import free_name
from plainnet.tables.databases import without_password
from plainnet.tables.folders import expand, is_pattern

__all__ = ["default_folder", "fingerprint", "table_facts"]


def default_folder(source: str | Path) -> Path:
    """Return the first of runs/NAME-1, runs/NAME-2, … that is not there yet, NAME the table's."""
    return free_name(Path("runs"), _stem(source))


def table_facts(source: str | Path, query: str | None, table: pl.DataFrame) -> dict[str, Any]:
    """Return what run.json says of a table."""
    return {
        "source": without_password(str(source)),
        "query": query,
        "rows": table.height,
        "columns": table.width,
        "sha256": fingerprint(source, table),
    }


def fingerprint(source: str | Path, table: pl.DataFrame) -> str:
    """SHA-256 of the file or files, or of the table as CSV where it comes from a database."""
    digest = hashlib.sha256()
    if Path(source).is_file() or is_pattern(str(source)):
        for path in [Path(source)] if Path(source).is_file() else expand(str(source)):
            with path.open("rb") as file:
                while chunk := file.read(2**20):
                    digest.update(chunk)
    else:
        digest.update(table.write_csv().encode())
    return digest.hexdigest()


def _stem(source: str | Path) -> str:
    if is_pattern(str(source)) and not Path(source).is_dir():
        source = Path(source).parent.resolve()  # the folder that the pattern looks in
    name = str(source).rstrip("/").rpartition("/")[2].split("?")[0]
    return name.partition(".")[0] or "run"
