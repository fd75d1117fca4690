"""A packed file -> its bytes, up to a limit: a few kilobytes of gzip can become terabytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from plainnet.errors import MissingExtraError, TableError

__all__ = ["COMPRESSED", "too_large", "unpacked"]


def unpacked(path: Path, compression: str, limit_bytes: int) -> bytes:
    """Unpack a file into memory, piece by piece.

    Args:
        path: the file.
        compression: one of COMPRESSED.
        limit_bytes: where to stop.

    Returns:
        What was packed.

    Raises:
        TableError: more than limit_bytes come out, or the file is damaged or cut short.
        MissingExtraError: .zst without a library that unpacks it.
    """
    buffer = io.BytesIO()
    try:
        with _OPENERS[compression](path) as file:
            while piece := file.read(1 << 20):
                buffer.write(piece)
                if buffer.tell() > limit_bytes:
                    raise too_large(path, limit_bytes)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise TableError(f"{path} is damaged or cut short: {error}. Download or pack it again.") from error
    return buffer.getvalue()


def _open_zst(path: Path) -> Any:
    with suppress(ImportError):
        return import_module("compression.zstd").open(path)  # Python 3.14
    try:
        return import_module("pyarrow").CompressedInputStream(str(path), "zstd")
    except ImportError as error:
        # polars unpacks zstd too, but all at once: it cannot be stopped at the limit.
        raise MissingExtraError("pyarrow", "sql", "Reading .zst files before Python 3.14") from error


_OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open, ".zst": _open_zst, ".bz2": bz2.open, ".xz": lzma.open,
}  # fmt: skip
COMPRESSED = tuple(_OPENERS)


def too_large(path: Path, limit_bytes: int) -> TableError:
    """Make the error for a file that becomes too large when it is unpacked."""
    return TableError(
        f"{path} becomes larger than {limit_bytes:,} bytes when it is unpacked. If that is meant, unpack it first or "
        "raise limit_bytes."
    )
