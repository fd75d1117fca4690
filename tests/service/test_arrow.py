"""Arrow from strangers: what is damaged, packed or announces too much never gets as far as memory."""

import contextlib
import io
import struct

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import ipc

from plainnet.service.arrow import read_arrow
from plainnet.service.guard import RefusalError

TABLE = pl.DataFrame(
    {"a": [1.5, None, 3.0], "b": ["x", None, "a longer text than twelve"], "c": [True, None, False]},
).with_columns(d=pl.col("b").cast(pl.Categorical))


def bodies():
    """The table as polars and pyarrow write it, streams and files."""
    found, arrow = {}, TABLE.to_arrow()
    for name, write in {
        "polars stream": TABLE.write_ipc_stream,
        "polars file": lambda buffer: TABLE.write_ipc(buffer, compression="uncompressed"),
        "pyarrow stream": lambda buffer: _write(ipc.new_stream, buffer, arrow),
        "pyarrow file": lambda buffer: _write(ipc.new_file, buffer, arrow),
    }.items():
        buffer = io.BytesIO()
        write(buffer)
        found[name] = buffer.getvalue()
    return found


def _write(new, buffer, table, **options):
    with new(buffer, table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=2 if table.num_rows < 10 else None)


@pytest.mark.parametrize("name", bodies())
def test_what_polars_and_pyarrow_write_is_read(name):
    assert read_arrow(bodies()[name], 3).cast(TABLE.schema).equals(TABLE)
    with pytest.raises(RefusalError, match="more than 2 rows") as refusal:
        read_arrow(bodies()[name], 2)
    assert refusal.value.status == 413


@pytest.mark.parametrize("new", [ipc.new_stream, ipc.new_file])
@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_packed_buffers_are_refused(new, compression):
    buffer = io.BytesIO()
    _write(new, buffer, pa.table({"a": np.zeros(100_000)}), compression=compression)
    with pytest.raises(RefusalError, match="the Arrow buffers are compressed") as refusal:
        read_arrow(buffer.getvalue(), 100_000)
    assert refusal.value.status == 415


def test_rows_that_need_no_memory_are_counted_too():
    for table in (pa.table({"a": pa.nulls(10_000)}), pa.table({"a": pa.array([[None] * 10_000])})):
        buffer = io.BytesIO()
        _write(ipc.new_stream, buffer, table)
        with pytest.raises(RefusalError, match="more than 100 rows"):
            read_arrow(buffer.getvalue(), 100)


@pytest.mark.parametrize(
    "body", [b"", b"ARROW1\0\0", b"ARROW1", b"\xff" * 40, b"\xff\xff\xff\xff" + struct.pack("<I", 2**31)]
)
def test_what_is_no_arrow_is_refused(body):
    if body:
        with pytest.raises(RefusalError, match="no Arrow IPC stream or file, or it is damaged"):
            read_arrow(body, 10)
    else:
        with pytest.raises(RefusalError, match="damaged"):
            read_arrow(body, 10)


@pytest.mark.parametrize("name", bodies())
def test_damaged_bytes_are_refused_or_read_and_nothing_else_happens(name):
    whole, rng = bodies()[name], np.random.RandomState(0)
    for _ in range(300):
        body = bytearray(whole)
        for place in rng.randint(0, len(body), rng.randint(1, 4)):
            body[place] = rng.randint(256)
        if rng.rand() < 0.1:
            del body[rng.randint(len(body)) :]
        with contextlib.suppress(RefusalError):
            assert read_arrow(bytes(body), 100).height <= 100
