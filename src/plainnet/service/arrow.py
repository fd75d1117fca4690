"""Arrow IPC from a stranger  ->  a table. What it announces is read before anything is allocated for it.

A few kilobytes can announce terabytes: by compressed buffers, or by a column of a type that needs no buffers. So the messages'
own headers are walked through first (they are flatbuffers: https://flatbuffers.dev/internals/ and
https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc), with every place
checked against the end of the bytes. Then pyarrow reads them, and looks at every offset in the buffers: polars' own reader ends the
process where a buffer announces more than there is memory.
"""

from __future__ import annotations

import struct
from importlib import import_module

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
    is_file = data.startswith(MAGIC)
    try:
        _check_file(data, most_rows) if is_file else _check_stream(data, most_rows)
    except (struct.error, IndexError, ValueError):
        raise _damaged() from None
    try:
        pa, ipc = import_module("pyarrow"), import_module("pyarrow.ipc")
    except ImportError:
        raise RefusalError(415, "this server lacks pyarrow, which reads Arrow. Send JSON or CSV.") from None
    try:
        reader = (ipc.open_file if is_file else ipc.open_stream)(pa.BufferReader(data))
        table = reader.read_all()
        table.validate(full=True)
        frame = pl.from_arrow(table)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # polars can panic, and a panic is no Exception  # noqa: BLE001
        raise _damaged() from None
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - of a table
    return frame


def _check_stream(data: bytes, most_rows: int) -> None:
    """Walk through the messages, one behind the other, as the reader will."""
    place, rows = 0, 0
    for _ in range(MOST_MESSAGES):
        if place == len(data):
            return
        place, more = _check_message(data, place, most_rows)
        if place < 0:  # the mark of the end
            return
        rows += more
        if rows > most_rows:
            raise _too_many(most_rows)
    raise RefusalError(413, f"the body holds more than {MOST_MESSAGES:,} batches. Send larger ones.")


def _check_file(data: bytes, most_rows: int) -> None:
    """Go to the messages that the footer names, as the reader will."""
    (size,) = struct.unpack_from("<I", data, len(data) - 10)
    if not data.endswith(MAGIC[:6]) or size > len(data) - 10 - len(MAGIC):
        raise ValueError("the file has no end")
    footer = data[len(data) - 10 - size : len(data) - 10]
    table, rows = _root(footer), 0
    for number in (2, 3):  # the dictionaries, the batches of rows
        place = _field(footer, table, number)
        if not place:
            continue
        vector = _follow(footer, place)
        (count,) = struct.unpack_from("<I", footer, vector)
        if count > MOST_MESSAGES or vector + 4 + 24 * count > len(footer):
            raise ValueError("the footer is shorter than it says")
        for offset, _, _ in struct.iter_unpack("<qqq", footer[vector + 4 : vector + 4 + 24 * count]):
            if not 0 <= offset < len(data):
                raise ValueError("a message is not in the file")
            rows += _check_message(data, offset, most_rows)[1]
        if rows > most_rows:
            raise _too_many(most_rows)


def _check_message(data: bytes, place: int, most_rows: int) -> tuple[int, int]:
    """Check one message: return where the next one begins, -1 at the end, and how many rows it holds."""
    (size,) = struct.unpack_from("<I", data, place)
    place += 4
    if size == CONTINUATION:  # before Arrow 0.15 it was not there
        (size,) = struct.unpack_from("<I", data, place)
        place += 4
    if size == 0:
        return -1, 0
    message = data[place : place + size]
    table = _root(message)
    kind_place, body_place = _field(message, table, 1), _field(message, table, 3)
    kind = message[kind_place] if kind_place else 0
    body = int(struct.unpack_from("<q", message, body_place)[0]) if body_place else 0
    after = place + size + body
    if body < 0 or len(message) < size or after > len(data):
        raise ValueError("a message is longer than the body")
    if kind not in (DICTIONARY_BATCH, RECORD_BATCH):
        return after, 0
    batch = _follow(message, _field(message, table, 2))
    if kind == RECORD_BATCH:
        return after, _check_batch(message, batch, most_rows)
    _check_batch(message, _follow(message, _field(message, batch, 1)), most_rows)
    return after, 0


def _damaged() -> RefusalError:
    return RefusalError(400, "the body is no Arrow IPC stream or file, or it is damaged.")


def _too_many(most_rows: int) -> RefusalError:
    return RefusalError(413, f"the body holds more than {most_rows:,} rows. Send them in parts.")


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
        raise _too_many(most_rows)
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
