"""Arrow IPC from a stranger  ->  a table. What it announces is read before anything is allocated for it.

A few kilobytes can announce terabytes: by compressed buffers, or by a column of a type that needs no buffers. So the messages'
own headers are walked through first (they are flatbuffers: https://flatbuffers.dev/internals/ and
https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc), with every place
checked against the end of the bytes. A file is the stream between two magic words, and is read as that stream: its footer,
which could point elsewhere, is not looked at.
"""

from __future__ import annotations

import io
import struct

import polars as pl

from plainnet.service.guard import RefusalError

__all__ = ["read_arrow"]

MAGIC = b"ARROW1\0\0"
CONTINUATION = 0xFFFFFFFF
DICTIONARY_BATCH, RECORD_BATCH = 2, 3
#: Of a message: batches of one row are no way to send a table.
MOST_MESSAGES = 10_000


def read_arrow(data: bytes, most_rows: int) -> pl.DataFrame:
    """Read an Arrow IPC stream or file.

    Raises:
        RefusalError: it is damaged, compressed, or holds more rows.
    """
    data = data[len(MAGIC) :] if data.startswith(MAGIC) else data
    try:
        _check_messages(data, most_rows)
    except (struct.error, IndexError, ValueError):
        raise RefusalError(400, "the body is no Arrow IPC stream or file, or it is damaged.") from None
    try:
        return pl.read_ipc_stream(io.BytesIO(data))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # its reader can panic, and a panic is no Exception  # noqa: BLE001
        raise RefusalError(400, "the body is no Arrow IPC stream or file, or it is damaged.") from None


def _check_messages(data: bytes, most_rows: int) -> None:
    """Walk through the messages, as the reader will."""
    place, rows = 0, 0
    for _ in range(MOST_MESSAGES):
        if place == len(data):
            return
        (size,) = struct.unpack_from("<I", data, place)
        if size != CONTINUATION:
            raise ValueError("Arrow before 0.15 had no such mark")
        (size,) = struct.unpack_from("<I", data, place + 4)
        if size == 0:  # the end of the stream
            return
        start = place + 8
        message = data[start : start + size]
        table = _root(message)
        kind = message[_field(message, table, 1)] if _field(message, table, 1) else 0
        body = struct.unpack_from("<q", message, _field(message, table, 3))[0] if _field(message, table, 3) else 0
        place = start + size + body
        if body < 0 or len(message) < size or place > len(data):
            raise ValueError("a message is longer than the body")
        if kind in (DICTIONARY_BATCH, RECORD_BATCH):
            batch = _follow(message, _field(message, table, 2))
            if kind == DICTIONARY_BATCH:
                batch = _follow(message, _field(message, batch, 1))
            rows += _check_batch(message, batch, most_rows) if kind == RECORD_BATCH else 0
            if kind == DICTIONARY_BATCH:
                _check_batch(message, batch, most_rows)
            if rows > most_rows:
                raise RefusalError(413, f"the body holds more than {most_rows:,} rows. Send them in parts.")
    raise RefusalError(413, f"the body holds more than {MOST_MESSAGES:,} batches. Send larger ones.")


def _check_batch(message: bytes, batch: int, most_rows: int) -> int:
    """Return how many rows a batch announces; refuse compression, and columns that are longer than their table may be."""
    if _field(message, batch, 3):
        raise RefusalError(415, "the Arrow buffers are compressed. Write them uncompressed.")
    place = _field(message, batch, 0)
    rows: int = struct.unpack_from("<q", message, place)[0] if place else 0
    nodes = _field(message, batch, 1)
    lengths = [rows]
    if nodes:
        vector = _follow(message, nodes)
        (count,) = struct.unpack_from("<I", message, vector)
        if vector + 4 + 16 * count > len(message):
            raise ValueError("the nodes are longer than the message")
        lengths += [length for length, _ in struct.iter_unpack("<qq", message[vector + 4 : vector + 4 + 16 * count])]
    if min(lengths) < 0:
        raise ValueError("a length is negative")
    if max(lengths) > most_rows:
        raise RefusalError(413, f"the body holds more than {most_rows:,} rows. Send them in parts.")
    return rows


def _root(message: bytes) -> int:
    return int(struct.unpack_from("<I", message, 0)[0])


def _follow(message: bytes, place: int) -> int:
    """Return where an offset points: forwards, from where it stands."""
    if not place:
        raise ValueError("what has to be there is not")
    return place + int(struct.unpack_from("<I", message, place)[0])


def _field(message: bytes, table: int, number: int) -> int:
    """Return where a field of a flatbuffer's table stands, 0 where the table lacks it."""
    vtable = table - int(struct.unpack_from("<i", message, table)[0])
    if not 0 <= vtable <= len(message) - 4:
        raise ValueError("a table has no description")
    size = struct.unpack_from("<H", message, vtable)[0]
    entry = 4 + 2 * number
    if entry + 2 > size:
        return 0
    offset = int(struct.unpack_from("<H", message, vtable + entry)[0])
    return table + offset if offset else 0
