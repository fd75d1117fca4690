"""Arrow IPC from a stranger  ->  a table. What it announces is read before anything is allocated for it.

A few kilobytes can announce terabytes: by compressed buffers, or by a column of a type that needs no buffers. So the messages'
own headers are looked at first (they are flatbuffers: https://flatbuffers.dev/internals/ and
https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc); pyarrow has checked by
then that every place in them is within their bytes. Then pyarrow reads the table, and looks at every offset in the buffers: polars'
own reader ends the process where a buffer announces more than there is memory.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import polars as pl

from plainnet.service.guard import RefusalError

__all__ = ["read_arrow"]

#: How a file begins, and, but for the zeros, how it ends.
MAGIC = b"ARROW1\0\0"
#: Of a body: batches of one row are no way to send a table.
MOST_MESSAGES = 10_000


def read_arrow(data: bytes, most_rows: int) -> pl.DataFrame:
    """Read an Arrow IPC stream or file.

    Raises:
        RefusalError: it is damaged, compressed, or holds more rows.
    """
    try:
        pa, ipc = import_module("pyarrow"), import_module("pyarrow.ipc")
    except ImportError:
        raise RefusalError(415, "this server lacks pyarrow, which reads Arrow. Send JSON or CSV.") from None
    buffer, is_file = pa.py_buffer(data), data.startswith(MAGIC)
    try:
        reader = (ipc.open_file if is_file else ipc.open_stream)(buffer)
        places = _places(data) if is_file else ()
        messages = map(ipc.read_message, (buffer[place:] for place in places))
        _check(messages if is_file else ipc.MessageReader.open_stream(buffer), most_rows)
        table = reader.read_all()
        table.validate(full=True)
        frame = pl.from_arrow(table)
    except (RefusalError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # polars can panic, and a panic is no Exception  # noqa: BLE001
        raise RefusalError(400, "the body is no Arrow IPC stream or file, or it is damaged.") from None
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - of a table
    return frame


def _places(data: bytes) -> Iterator[int]:
    """Yield where the messages begin that a file's footer names, the dictionaries and then the batches of rows."""
    (size,) = struct.unpack_from("<I", data, len(data) - 10)
    footer = data[len(data) - 10 - size : -10]
    for number in (2, 3):
        if place := _field(footer, _follow(footer, 0), number):
            vector = _follow(footer, place)
            (count,) = struct.unpack_from("<I", footer, vector)
            yield from (
                place for place, _, _ in struct.iter_unpack("<qqq", footer[vector + 4 : vector + 4 + 24 * count])
            )


def _check(messages: Iterable[Any], most_rows: int) -> None:
    """Refuse compression, and columns that are longer than their table may be."""
    rows = 0
    for number, message in enumerate(messages):
        if number == MOST_MESSAGES:
            raise RefusalError(413, f"the body holds more than {MOST_MESSAGES:,} batches. Send larger ones.")
        if message.type not in ("record batch", "dictionary"):
            continue
        fields = bytes(message.metadata)
        batch = _follow(fields, _field(fields, _follow(fields, 0), 2))
        is_rows = message.type == "record batch"
        batch = batch if is_rows else _follow(fields, _field(fields, batch, 1))
        if _field(fields, batch, 3):
            raise RefusalError(415, "the Arrow buffers are compressed. Write them uncompressed.")
        lengths = [0]
        if place := _field(fields, batch, 0):
            lengths += struct.unpack_from("<q", fields, place)
        rows += lengths[-1] if is_rows else 0
        if place := _field(fields, batch, 1):
            vector = _follow(fields, place)
            (count,) = struct.unpack_from("<I", fields, vector)
            lengths += [length for length, _ in struct.iter_unpack("<qq", fields[vector + 4 : vector + 4 + 16 * count])]
        if min(lengths) < 0:
            raise ValueError("a length is negative")
        if max(*lengths, rows) > most_rows:
            raise RefusalError(413, f"the body holds more than {most_rows:,} rows. Send them in parts.")


def _follow(message: bytes, place: int) -> int:
    """Return where an offset points: forwards, from where it stands."""
    return place + int(struct.unpack_from("<I", message, place)[0])


def _field(message: bytes, table: int, number: int) -> int:
    """Return where a field of a flatbuffer's table stands, 0 where the table lacks it."""
    vtable = table - int(struct.unpack_from("<i", message, table)[0])
    entry = 4 + 2 * number
    if entry + 2 > struct.unpack_from("<H", message, vtable)[0]:
        return 0
    offset = int(struct.unpack_from("<H", message, vtable + entry)[0])
    return table + offset if offset else 0
