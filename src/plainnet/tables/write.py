"""A frame -> a file, complete or absent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedWriter
from pathlib import Path
from typing import Literal

import polars as pl
from polars.io.plugins import register_io_source

from plainnet.errors import MissingExtraError, TableError
from plainnet.files import replacing

__all__ = ["write_pieces", "write_table"]

Compression = Literal["uncompressed", "gzip", "zstd"]
COMPRESSIONS: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}

#: Formats to which rows can be added.
PIECEWISE = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather", ".ipc")


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
    _check_folder(target)
    try:
        with replacing(target) as unfinished, unfinished.open("wb") as file:
            write(file)
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
        piece: pl.DataFrame | None = first
        try:
            while piece is not None:
                n_rows += piece.height
                yield piece
                piece = next(pieces, None)
        except BaseException as error:
            failures.append(error)  # polars would tell of it as an error of its own
            raise

    lazy = register_io_source(frames, schema=first.schema)
    with replacing(target) as unfinished:
        try:
            if suffix == ".parquet":
                lazy.sink_parquet(unfinished)
            elif suffix in (".arrow", ".feather", ".ipc"):
                lazy.sink_ipc(unfinished)
            elif suffix in (".jsonl", ".ndjson"):
                lazy.sink_ndjson(unfinished)
            else:
                null = "NA" if first.width == 1 else ""  # as in _writer
                lazy.sink_csv(unfinished, separator="\t" if suffix == ".tsv" else ",", null_value=null)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
            if failures:
                raise failures[0] from None
            raise TableError(f"{target} cannot be written: {error}.{_nested_hint(first)}") from error
    return n_rows


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


def _check_folder(target: Path) -> None:
    if not target.parent.is_dir():
        raise TableError(f"{target} cannot be written: there is no folder {target.parent}. Make it first.")


def _nested_hint(frame: pl.DataFrame) -> str:
    nested = [name for name, dtype in frame.schema.items() if dtype.is_nested() or dtype == pl.Binary]
    return f" Columns {', '.join(nested)} hold lists or bytes: write .parquet, or leave them out." if nested else ""
