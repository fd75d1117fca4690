"""A frame -> a file, complete or absent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
from polars.io.plugins import register_io_source

from plainnet.errors import MissingExtraError, TableError
from plainnet.files import replacing

__all__ = ["write_pieces", "write_table"]

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}

#: What polars calls the format of a suffix.
FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".jsonl": "ndjson", ".ndjson": "ndjson", ".parquet": "parquet", ".arrow": "ipc",
    ".feather": "ipc", ".ipc": "ipc", ".json": "json", ".xlsx": "excel",
}  # fmt: skip
#: Formats to which rows can be added.
PIECEWISE = [suffix for suffix, kind in FORMATS.items() if kind not in ("json", "excel")]


def write_table(frame: pl.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write a frame in the format that the suffix of the path names; a file of that name is replaced.

    Args:
        frame: the table.
        path: .csv, .tsv, .txt, .jsonl or .ndjson (each also with .gz or .zst after it), .parquet, .arrow, .feather,
            .ipc, .json or .xlsx.

    Raises:
        TableError: another suffix, a folder that is missing, or columns that the format cannot hold.
        RunError: the folder is closed, or the disk is full.
        MissingExtraError: Excel without xlsxwriter.
    """
    target = Path(path)
    if target.is_dir():
        raise TableError(f"{target} is a folder. Name the file to write in it, such as {target / 'predictions.csv'}.")
    compression = COMPRESSIONS.get(target.suffix.lower())
    suffix = (Path(target.stem) if compression else target).suffix.lower()
    kind = FORMATS.get(suffix)
    if kind is None or (compression and kind not in ("csv", "ndjson")):
        raise TableError(
            f"{target.name} has no suffix that can be written. Use .csv, .tsv, .txt, .jsonl or .ndjson (also with .gz or "
            ".zst after it), .json, .parquet, .arrow, .feather, .ipc or .xlsx."
        )
    _check_folder(target)
    options = _options(suffix, frame.width) | ({"compression": compression} if compression else {})
    try:
        with replacing(target) as unfinished, unfinished.open("wb") as file:
            getattr(frame, f"write_{kind}")(file, **options)
    except ImportError as error:
        raise MissingExtraError("xlsxwriter", "excel", "Writing Excel files") from error
    except (ValueError, TypeError, pl.exceptions.PolarsError) as error:
        raise TableError(f"{target} cannot be written: {error}.{_nested_hint(frame)}") from error


def write_pieces(pieces: Iterator[pl.DataFrame], path: str | os.PathLike[str]) -> int:
    """Write frames of the same columns below each other, holding few of them at once; a file of that name is replaced.

    Args:
        pieces: at least one.
        path: .csv, .tsv, .txt, .jsonl, .ndjson, .parquet, .arrow, .feather or .ipc.

    Returns:
        How many rows were written.

    Raises:
        TableError: another suffix, a folder that is missing, or columns that the format cannot hold.
        RunError: the folder is closed, or the disk is full.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in PIECEWISE:
        raise TableError(
            f"{target.name}: a table that is read piece by piece is written as {' '.join(PIECEWISE)}. Name one of these."
        )
    _check_folder(target)
    first = next(pieces)
    n_rows, failures = 0, list[BaseException]()

    def frames(*_: object) -> Iterator[pl.DataFrame]:
        nonlocal n_rows
        try:
            for piece in chain([first], pieces):
                n_rows += piece.height
                yield piece
        except BaseException as error:
            failures.append(error)  # polars would tell of it as an error of its own
            raise

    lazy = register_io_source(frames, schema=first.schema)
    with replacing(target) as unfinished:
        try:
            getattr(lazy, f"sink_{FORMATS[suffix]}")(unfinished, **_options(suffix, first.width))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
            if failures:
                raise failures[0] from None
            raise TableError(f"{target} cannot be written: {error}.{_nested_hint(first)}") from error
    return n_rows


def _options(suffix: str, width: int) -> dict[str, Any]:
    """Return the arguments of polars' writer of so many columns."""
    if FORMATS[suffix] == "csv":
        # A line with one missing cell would be blank, and blank lines are skipped when read.
        return {"separator": "\t" if suffix == ".tsv" else ",", "null_value": "NA" if width == 1 else ""}
    return {"autofit": False} if suffix == ".xlsx" else {}


def _check_folder(target: Path) -> None:
    if not target.parent.is_dir():
        raise TableError(f"{target} cannot be written: there is no folder {target.parent}. Make it first.")


def _nested_hint(frame: pl.DataFrame) -> str:
    nested = [name for name, dtype in frame.schema.items() if dtype.is_nested() or dtype == pl.Binary]
    return f" Columns {', '.join(nested)} hold lists or bytes: write .parquet, or leave them out." if nested else ""
