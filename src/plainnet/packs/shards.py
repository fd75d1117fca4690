"""Encoded rows on disk, in shards that are each an even draw of all rows.

Each row goes to a shard by chance as it is encoded, so that to read the shards one after the other, each shuffled in itself, is to
read all rows shuffled. One-hot features are kept as the number of the level, one byte, and flags as one byte: nothing is rounded.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from plainnet.errors import RunError
from plainnet.tables.ahead import ahead
from plainnet.tables.encode import feature_names, width_of
from plainnet.tables.schema import Schema

__all__ = ["Dealt", "Layout", "Rows", "ShardWriter", "Shards", "writing"]

#: Features, (n, features), encoded targets, (n,) or (n, outputs), and weights, (n,), of some rows; None: all weigh the same.
Rows = tuple[npt.NDArray[np.float32], npt.NDArray[Any], npt.NDArray[np.float64] | None]

#: Records, (n,), in the order of their shards, and how many go to each.
Dealt = tuple[npt.NDArray[Any], npt.NDArray[np.int64]]

#: Files that are open at once, at most.
MOST_SHARDS = 512


@dataclass(frozen=True)
class Layout:
    """Where a row's features stand in a record on disk.

    Attributes:
        n_features: of a row.
        floats: features kept as float32.
        bytes: features that are -1, 0 or 1, kept as one byte.
        groups: (first, last + 1) features of each category: one of them is 1, or none, and its number is kept.
        y_type: of a row's target.
        y_shape: () or (outputs,).
        weighs: each row has a weight.
    """

    n_features: int
    floats: tuple[int, ...]
    bytes: tuple[int, ...]
    groups: tuple[tuple[int, int], ...]
    y_type: str
    y_shape: tuple[int, ...]
    weighs: bool = False

    @classmethod
    def of(cls, schema: Schema, y: npt.NDArray[Any], *, weighs: bool = False) -> Layout:
        """Return the layout of a schema's features, of encoded targets like ``y``, and of a weight where each row has one."""
        floats: list[int] = []
        small: list[int] = []
        groups: list[tuple[int, int]] = []
        at = 0
        for column in schema.used:
            end = at + width_of(column)
            if column.kind == "category":
                groups.append((at, end))
            else:
                missing = end - (column.missing > 0)
                (small if column.kind == "flag" else floats).extend(range(at, missing))
                small.extend(range(missing, end))
            at = end
        n_features = len(feature_names(schema))
        floats += range(at, n_features)  # the positions
        return cls(n_features, tuple(floats), tuple(small), tuple(groups), y.dtype.str, y.shape[1:], weighs)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of a record."""
        return np.dtype([
            ("floats", np.float32, (len(self.floats),)), ("bytes", np.int8, (len(self.bytes),)),
            ("levels", np.uint8, (len(self.groups),)), ("y", self.y_type, self.y_shape),
            ("weight", np.float64, (int(self.weighs),)),
        ])  # fmt: skip

    def pack(self, rows: Rows) -> npt.NDArray[Any]:
        """Return n rows as records, (n,)."""
        x, y, weight = rows
        records = np.empty(len(x), dtype=self.dtype)
        records["floats"] = x[:, self.floats]
        records["bytes"] = x[:, self.bytes]
        every = np.arange(len(x))
        for place, (first, end) in enumerate(self.groups):
            level = x[:, first:end].argmax(axis=1)
            records["levels"][:, place] = np.where(x[every, first + level] != 0, level + 1, 0)
        records["y"] = y
        if weight is not None:
            records["weight"][:, 0] = weight
        return records

    def unpack(self, records: npt.NDArray[Any]) -> Rows:
        """Undo ``pack``."""
        x = np.zeros((len(records), self.n_features), dtype=np.float32)
        x[:, self.floats] = records["floats"]
        x[:, self.bytes] = records["bytes"]
        for place, (first, _) in enumerate(self.groups):
            level = records["levels"][:, place].astype(np.int64)
            rows = np.flatnonzero(level)
            x[rows, first + level[rows] - 1] = 1
        return x, np.ascontiguousarray(records["y"]), records["weight"][:, 0].copy() if self.weighs else None


@dataclass(frozen=True)
class Shards:
    """Encoded rows on disk.

    Attributes:
        paths: of the shards.
        heights: rows of each, at least 1.
        layout: of a row.
    """

    paths: tuple[Path, ...]
    heights: tuple[int, ...]
    layout: Layout

    def n_steps(self, batch_size: int) -> int:
        """Return the steps of a pass over all rows, each shard having its own last batch."""
        return sum(-(-height // min(batch_size, height)) for height in self.heights)

    def read(self, place: int) -> Rows:
        """Read a shard."""
        return self.layout.unpack(np.fromfile(self.paths[place], dtype=self.layout.dtype))

    def in_turn(self, order: Sequence[int]) -> Generator[Rows, None, None]:
        """Read shards one after the other, the next one while the caller works on this one; two neighbours that are the same, once."""
        pieces = ahead(self.read, [place for place, _ in groupby(order)])
        with contextlib.closing(pieces):
            for _, same in groupby(order):
                piece = next(pieces)
                for _ in same:
                    yield piece
                del piece  # so that no third shard is in memory while the next but one is read


class ShardWriter:
    """Takes rows as they come, and puts each into a shard by chance."""

    def __init__(self, folder: Path, layout: Layout, n_shards: int) -> None:
        self.layout = layout
        self._paths = [folder / f"{place}.rows" for place in range(n_shards)]
        self._heights = np.zeros(n_shards, dtype=np.int64)
        self._open = contextlib.ExitStack()
        self._files = [self._open.enter_context(path.open("wb")) for path in self._paths]

    def deal(self, rows: Rows, chance: npt.NDArray[np.float64]) -> Dealt:
        """Deal n rows to the shards; nothing is written yet, so that several threads may do so.

        Args:
            rows: encoded.
            chance: (n,) numbers in [0, 1) that decide the shard of each row.
        """
        place = (chance * len(self._files)).astype(np.int64)
        counts = np.bincount(place, minlength=len(self._files))
        return self.layout.pack(rows)[np.argsort(place, kind="stable")], counts

    def add(self, dealt: Dealt) -> None:
        """Write what was dealt."""
        records, counts = dealt
        ends = np.cumsum(counts)
        for file, end, count in zip(self._files, ends.tolist(), counts.tolist(), strict=True):
            if count:
                file.write(records[end - count : end].data)
        self._heights += counts

    def close(self) -> None:
        """Close the files."""
        self._open.close()

    def shards(self) -> Shards:
        """Return what was written, without shards that no row came to."""
        self.close()
        there = np.flatnonzero(self._heights)
        return Shards(tuple(self._paths[k] for k in there), tuple(self._heights[there].tolist()), self.layout)


@contextlib.contextmanager
def writing(layout: Layout, n_rows: int, shard_bytes: int) -> Iterator[ShardWriter]:
    """Yield a writer of shards in a temporary folder, which is removed after the block.

    Args:
        layout: of a row.
        n_rows: how many rows are expected.
        shard_bytes: of a shard in memory.

    Raises:
        RunError: the disk has no room for the rows.
    """
    n_shards = min(max(1, -(-n_rows * layout.n_features * 4 // shard_bytes)), MOST_SHARDS)
    needed = n_rows * layout.dtype.itemsize
    with tempfile.TemporaryDirectory(prefix="plainnet-") as name:
        free = shutil.disk_usage(name).free
        if needed > free:
            raise RunError(
                f"{n_rows:,} encoded rows take {needed / 1e9:.1f} GB in {tempfile.gettempdir()}, which has {free / 1e9:.1f} GB free. "
                "Free some, or name another folder in the environment variable TMPDIR."
            )
        writer = ShardWriter(Path(name), layout, n_shards)
        try:
            yield writer
        except OSError as error:
            raise RunError(f"encoded rows cannot be kept in {name}: {error.strerror or error}.") from error
        finally:
            writer.close()
