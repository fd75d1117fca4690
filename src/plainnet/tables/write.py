"""A frame -> a file, complete or absent."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from io import BufferedWriter
from pathlib import Path
from typing import Literal

import polars as pl

from plainnet.errors import MissingExtraError, TableError
from plainnet.files import replacing

__all__ = ["write_table"]

Compression = Literal["uncompressed", "gzip", "zstd"]
COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}


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
    write = _writer(frame, target)
    if not target.parent.is_dir():
        raise TableError(f"{target} cannot be written: there is no folder {target.parent}. Make it first.")
    try:
        with replacing(target) as unfinished, unfinished.open("wb") as file:
            write(file)
    except ImportError as error:
        raise MissingExtraError("xlsxwriter", "excel", "Writing Excel files") from error
    except (ValueError, TypeError, pl.exceptions.PolarsError) as error:
        raise TableError(f"{target} cannot be written: {error}.{_nested_hint(frame)}") from error


def _writer(frame: pl.DataFrame, target: Path) -> Callable[[BufferedWriter], object]:
    """Choose the function that writes the frame into an open file."""
    suffixes = [suffix.lower() for suffix in target.suffixes]
    compression = COMPRESSIONS.get(suffixes[-1] if suffixes else "", "uncompressed")
    suffix = (suffixes[-2:-1] if compression != "uncompressed" else suffixes[-1:]) or [""]
    match suffix[0], compression:
        case ((".csv" | ".txt" | ".tsv"), _):
            # A line with one missing cell would be blank, and blank lines are skipped when read.
            null = "NA" if frame.width == 1 else ""
            separator = "\t" if suffix[0] == ".tsv" else ","
            write_csv = partial(frame.write_csv, separator=separator, null_value=null)
            return write_csv if compression == "uncompressed" else partial(write_csv, compression=compression)
        case ((".jsonl" | ".ndjson"), "uncompressed"):
            return frame.write_ndjson
        case ((".jsonl" | ".ndjson"), _):
            return partial(frame.write_ndjson, compression=compression)
        case ".json", "uncompressed":
            return frame.write_json
        case ".parquet", "uncompressed":
            return frame.write_parquet
        case ((".arrow" | ".feather" | ".ipc"), "uncompressed"):
            return frame.write_ipc
        case ".xlsx", "uncompressed":
            return lambda file: frame.write_excel(file, autofit=False)
    raise TableError(
        f"{target.name} has no suffix that can be written. Use .csv, .tsv, .txt, .jsonl or .ndjson (also with .gz or "
        ".zst after it), .json, .parquet, .arrow, .feather, .ipc or .xlsx."
    )


def _nested_hint(frame: pl.DataFrame) -> str:
    nested = [name for name, dtype in frame.schema.items() if dtype.is_nested() or dtype == pl.Binary]
    return f" Columns {', '.join(nested)} hold lists or bytes: write .parquet, or leave them out." if nested else ""
