"""The table's file: its fingerprint, and whether it is still what was read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from plainnet.files import sha256_of
from plainnet.tables.folders import expand, is_pattern

__all__ = ["Stamp", "fingerprint", "since", "stamp"]

#: What changes when a file is written: its size, its time, its place on the disk; None: there is no file.
Stamp = tuple[int, int, int] | None


def stamp(source: str | Path) -> Stamp:
    """Return what to tell a change of a file by, without reading it; None for a database, or where there is no file."""
    try:
        facts = Path(source).stat()
    except (OSError, ValueError):
        return None
    return facts.st_size, facts.st_mtime_ns, facts.st_ino


def since(source: str | Path, before: Stamp, sha256: str) -> str:
    """Say what became of a file since ``before``: 'changed', 'gone', or '' where it holds what it held, or never was a file.

    Args:
        source: the file.
        before: its stamp before it was read.
        sha256: its fingerprint then; compared only where the stamp is another.
    """
    if before is None or (now := stamp(source)) == before:
        return ""
    return "gone" if now is None else "changed" if fingerprint(source, pl.DataFrame()) != sha256 else ""


def fingerprint(source: str | Path, table: pl.DataFrame) -> str:
    """SHA-256 of the file, of the SHA-256s of several, or of the table as CSV where it comes from a database."""
    if Path(source).is_file():
        return sha256_of(source)
    if is_pattern(str(source)):
        return hashlib.sha256("".join(map(sha256_of, expand(str(source)))).encode()).hexdigest()
    return hashlib.sha256(table.write_csv().encode()).hexdigest()
