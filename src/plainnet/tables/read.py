"""Any table -> a polars frame of plain types: the one door through which every table comes in.

A file is known by its suffix, a database by its URL, anything else is a table in memory (frames.py). Polars reads what
it can; where it refuses a JSON file, the standard library reads it again, slowly, and either copes or can say on which
line it is broken. Whatever is wrong with the source comes out as a TableError, never as the error of some library.
"""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import polars as pl

from plainnet.errors import MissingExtraError, TableError
from plainnet.tables.cells import as_dates, find_types
from plainnet.tables.databases import read_postgres, read_sqlite, without_password
from plainnet.tables.folders import expand, is_pattern, joined
from plainnet.tables.frames import frame_of, frame_of_rows, plain_types
from plainnet.tables.text import decode, read_text, unique_names
from plainnet.tables.unpack import COMPRESSED, too_large, unpacked
from plainnet.tables.wording import did_you_mean
from plainnet.tables.write import write_table

__all__ = ["is_path", "read_table", "write_table"]

TEXT, JSON = (".csv", ".tsv", ".txt"), (".jsonl", ".ndjson", ".json")
EXCEL, IPC, SQLITE = (".xlsx", ".xls", ".ods"), (".arrow", ".feather", ".ipc"), (".db", ".sqlite", ".sqlite3")
SUFFIXES = (*TEXT, *JSON, ".parquet", *IPC, *EXCEL, *SQLITE)

# How files begin whose suffix says that they are text.
BEGINNINGS = {
    b"\x1f\x8b": "gzip (.gz)",
    b"\x28\xb5\x2f\xfd": "zstd (.zst)",
    b"PK\x03\x04": "a zip archive or an Excel file (.xlsx)",
    b"\xd0\xcf\x11\xe0": "an old Excel file (.xls)",
    b"PAR1": "Parquet (.parquet)",
    b"ARROW1": "Arrow (.arrow)",
    b"SQLite format 3": "SQLite (.db)",
}


def read_table(source: Any, *, query: str | None = None, limit_bytes: int = 16 * 2**30) -> pl.DataFrame:
    """Read a table from a file, a database or memory.

    Args:
        source: a path (CSV, TSV, TXT, JSON, JSON lines, each also .gz .zst .bz2 .xz; Parquet, Arrow, Excel, SQLite), a
            URL (``sqlite:///file.db``, ``postgresql://…``), a folder or a pattern (``data/*.parquet``) of files with the same
            columns, a data frame of any library, a dict of columns, a list of dicts (rows), a NumPy array or torch tensor
            with two dimensions.
        query: for databases: a SELECT or the name of a table. None reads the only table.
        limit_bytes: how large a compressed file may become when it is unpacked, in bytes.

    Returns:
        A frame with at least one column. Missing cells are null, also NaN. See ``plain_types`` for the column types.

    Raises:
        TableError: the source is no table, or a file is missing, empty, damaged, or not what its suffix says.
        MissingExtraError: an optional library is needed for this source and not installed.

    >>> read_table({"age": [31, None], "city": ["Ulm", "Bonn"]}).rows()
    [(31, 'Ulm'), (None, 'Bonn')]
    """
    if is_path(source) and query is None and is_pattern(os.fspath(source)):
        files = expand(os.fspath(source))
        return joined([read_table(file, limit_bytes=limit_bytes) for file in files], files)
    if is_path(source):
        frame, name = _read_path(os.fspath(source), query, limit_bytes), without_password(os.fspath(source))
        if frame.width and frame.is_empty():
            raise TableError(f"{name} has columns but no rows. A table needs at least one row.")
    elif query is not None:
        raise TableError(f"query={query!r} is for databases; a {type(source).__name__} cannot be asked. Leave it out.")
    else:
        frame, name = frame_of(source), f"The {type(source).__name__}"
    if not frame.width:
        raise TableError(f"{name} has no columns. A table needs at least one.")
    return plain_types(frame)


def is_path(source: Any) -> bool:
    """Tell whether ``read_table`` takes the source as the name of a file or database.

    >>> is_path("adult.csv"), is_path({"age": [31]})
    (True, False)
    """
    return isinstance(source, str) or (isinstance(source, os.PathLike) and isinstance(os.fspath(source), str))


def _read_path(source: str, query: str | None, limit_bytes: int) -> pl.DataFrame:
    """Tell URLs from files, and databases from other files."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]+)://", source)
    kind = scheme[1].lower() if scheme else ""
    if kind in ("postgresql", "postgres"):
        return read_postgres(source, query)
    if kind not in ("", "sqlite"):
        raise TableError(
            f"{without_password(source)}: tables are not read from {kind}:// addresses. Download the file first "
            "and pass its path (databases: sqlite:/// and postgresql://)."
        )
    path = _existing(_sqlite_path(source) if kind else source)
    if kind or path.suffix.lower() in SQLITE:
        return read_sqlite(path, query)
    if query is not None:
        raise TableError(f"query={query!r} is for databases, and {path} is none. Leave query out.")
    try:
        return _read_file(path, limit_bytes)
    except PermissionError as error:
        raise TableError(f"{path} cannot be read: no permission. Ask its owner, or copy it.") from error
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error}.") from error


def _sqlite_path(url: str) -> str:
    path = url[len("sqlite://") :]
    if not path.startswith("/") or path in ("/", "/:memory:"):
        raise TableError(f"{url} names no file. Write sqlite:///relative.db or sqlite:////absolute/path.db.")
    return path[1:]


def _existing(source: str) -> Path:
    """Find the file, or say what stands in its place and which name is near."""
    if not source or "\n" in source or "\0" in source:
        raise TableError(f"{source[:40]!r} is not the name of a file. Pass a path; rows may come as a list of dicts.")
    try:
        path = Path(source).expanduser()
        if path.is_file():
            return path
        if path.is_dir():
            raise TableError(f"{path} is a folder, and holds no database. Name one file in it.")
        if path.exists():
            raise TableError(f"{path} is not a regular file. Save the table as a file first.")
        if path.is_symlink():
            raise TableError(
                f"{path} is a link that leads nowhere, to {path.readlink()}. Mend the link, or name the file itself."
            )
        near = did_you_mean(path.name, [entry.name for entry in path.parent.iterdir()]) if path.parent.is_dir() else ""
    except PermissionError as error:
        raise TableError(
            f"{source} cannot be read: no permission to enter {Path(source).parent}. Ask its owner, or copy it."
        ) from error
    except (OSError, RuntimeError) as error:  # a name that is too long, a home folder that is unknown
        raise TableError(f"{source[:200]} is not the name of a file: {error}.") from error
    if not path.parent.is_dir():
        raise TableError(f"{path} does not exist: there is no folder {path.parent} (looked from {Path.cwd()}).")
    raise TableError(f"{path} does not exist{near or f' (looked in {path.parent.resolve()})'}.")


def _read_file(path: Path, limit_bytes: int) -> pl.DataFrame:
    """Choose the reader by the suffix."""
    where, suffix = str(path), path.suffix.lower()
    compression = suffix if suffix in COMPRESSED else ""
    if compression:
        suffix = Path(path.stem).suffix.lower()
    if suffix in TEXT or suffix in JSON:
        data = unpacked(path, compression, limit_bytes) if compression else path.read_bytes()
        kind = next((kind for beginning, kind in BEGINNINGS.items() if data.startswith(beginning)), None)
        if kind is not None:
            raise TableError(f"{where} is not text: it begins like {kind}. Give it the suffix of its real format.")
        return read_text(data, where) if suffix in TEXT else _read_json(decode(data, where), where)
    if compression or suffix not in SUFFIXES:
        raise TableError(
            f"{where} has no suffix that is known. Known are {' '.join(SUFFIXES)}, and {' '.join(COMPRESSED)} after "
            "those of text and JSON files. Rename the file if it is one of these."
        )
    if not path.stat().st_size:
        raise TableError(f"{where} is empty (0 bytes). Write or download it again.")
    if suffix in EXCEL:
        return _read_excel(path, limit_bytes)
    return _read_columnar(path, suffix)


def _read_json(text: bytes, where: str) -> pl.DataFrame:
    """Read an array of objects, or one object a line."""
    start = text.lstrip()[:1]
    if not start:
        raise TableError(f'{where} is empty. It needs at least one object, such as {{"age": 31}}.')
    read = pl.read_json if start == b"[" else pl.read_ndjson
    try:
        frame = read(io.BytesIO(text), infer_schema_length=None)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        frame = frame_of_rows(_json_rows(text.decode(), where, is_array=start == b"["))
    return frame.with_columns(as_dates(column) for column in frame.get_columns())


def _json_rows(text: str, where: str, *, is_array: bool) -> list[dict[str, Any]]:
    pieces = [(1, text)] if is_array else [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    rows: list[dict[str, Any]] = []
    for number, piece in pieces:
        try:
            value = json.loads(piece)
        except (ValueError, RecursionError) as error:
            at = f"line {getattr(error, 'lineno', 1) + number - 1}, column {getattr(error, 'colno', 1)}"
            reason = getattr(error, "msg", str(error))
            raise TableError(f"{where}, {at}: {reason}. Write an array of objects, or one object a line.") from None
        for row in value if is_array else [value]:
            if not isinstance(row, dict):
                raise TableError(
                    f'{where}, line {number}: {str(row)[:40]!r} is not an object. Write rows as {{"name": value}}.'
                )
            rows.append(row)
    return rows


def _read_columnar(path: Path, suffix: str) -> pl.DataFrame:
    try:
        if suffix == ".parquet":
            return pl.read_parquet(path, glob=False)
        # Opened here, since read_ipc would take signs such as [ in a path for a pattern.
        with path.open("rb") as file, path.open("rb") as again:
            return pl.read_ipc(again) if file.read(6) == b"ARROW1" else pl.read_ipc_stream(again)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise TableError(
            f"{path} is not {'an' if suffix[1] in 'ai' else 'a'} {suffix[1:]} file, or it is damaged: {error}. Write it again."
        ) from error


def _read_excel(path: Path, limit_bytes: int) -> pl.DataFrame:
    """Read the first sheet; its columns of strings are treated as those of a CSV file."""
    try:
        import fastexcel
    except ImportError as error:
        raise MissingExtraError("fastexcel", "excel", "Reading Excel files") from error
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > limit_bytes:
                    raise too_large(path, limit_bytes)
        workbook = fastexcel.read_excel(path)
        first = workbook.load_sheet(0, header_row=None, n_rows=1, dtypes="string").to_polars()
        rows = workbook.load_sheet(0, schema_sample_rows=None).to_polars()
    except (TableError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a damaged file can make its reader panic, and a panic is no Exception
        reason = str(error).partition("\n")[0]
        raise TableError(f"{path} is not an Excel file, or it is damaged: {reason}. Save it again.") from error
    if first.is_empty():
        raise TableError(f"{path}: the first sheet, {workbook.sheet_names[0]!r}, is empty. Put the table there.")
    header = first.row(0)
    used = [i for i, cell in enumerate(header) if cell is not None or rows.to_series(i).count()]
    rows = rows[:, used].filter(~pl.all_horizontal(pl.all().is_null()))
    rows.columns = unique_names([header[i] for i in used], str(path))
    return find_types(rows.with_columns(map(_whole_numbers, rows.get_columns())), str(path), decimal_comma=False)


def _whole_numbers(column: pl.Series) -> pl.Series:
    """Excel keeps every number as Float64; columns without any fraction were meant as whole numbers."""
    if column.dtype != pl.Float64 or not ((column == column.round()) & (column.abs() < 2**53)).all():
        return column
    return column.cast(pl.Int64)
