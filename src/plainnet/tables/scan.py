"""A table with more rows than memory: Parquet files, read piece by piece, and drawn from by the numbers of their rows.

A row is known by its number: the files one after the other, in the order of their names. Which rows test, validate or are sampled is
decided by a hash of that number, so that no list of rows is held, and every pass gives the same answer whatever the pieces are.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.errors import SettingError, TableError
from plainnet.settings import ScanSettings
from plainnet.tables.ahead import ahead
from plainnet.tables.folders import common_types, expand, is_pattern
from plainnet.tables.frames import plain_types
from plainnet.tables.tables import rows_with_target

__all__ = ["Scan", "TrainingRows", "row_shares", "scan_table"]

#: 2⁶⁴ divided by the golden ratio, and the other two numbers of SplitMix64.
GOLDEN, MIX_1, MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@dataclass(frozen=True)
class Scan:
    """A table that is read piece by piece; ``scan_table`` makes it.

    Attributes:
        source: what was scanned, as it was named.
        files: its Parquet files, in the order of their names.
        stamps: size in bytes and time of the last change of each, as they were at first.
        heights: rows of each.
        types: of the columns.
        settings: how many rows are read, sampled, and held at once.
        cuts: which of the rows belong to it: those whose share by each (salt) is from the lower bound to below the upper one.
    """

    source: str
    files: tuple[Path, ...]
    stamps: tuple[tuple[int, int], ...] = field(repr=False)
    heights: tuple[int, ...] = field(repr=False)
    types: Mapping[str, pl.DataType] = field(repr=False)
    settings: ScanSettings = field(default_factory=ScanSettings, repr=False)
    cuts: tuple[tuple[int, float, float], ...] = field(default=(), repr=False)

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return list(self.types)

    @property
    def n_rows(self) -> int:
        """Rows: exact where all the files' rows belong to it, else as many as are expected."""
        return round(sum(self.heights) * prod(high - low for _, low, high in self.cuts))

    @property
    def n_pieces(self) -> int:
        """Pieces in which all files are read."""
        return sum(-(-height // self.settings.piece_rows) for height in self.heights)

    @property
    def n_bytes(self) -> int:
        """What the table would take in memory, at 8 bytes a cell: a rough guess, as text takes more and flags less."""
        return 8 * len(self.types) * sum(self.heights)

    def split(self, share: float, salt: int) -> tuple[Scan, Scan]:
        """Split the rows in two by a hash of their numbers.

        Args:
            share: of the rows, in the second part.
            salt: of the hash: another one splits in another way.
        """
        first, second = (replace(self, cuts=(*self.cuts, (salt, *cut))) for cut in ((share, 1.0), (0.0, share)))
        return first, second

    def pieces(self, columns: Sequence[str] | None = None) -> Iterator[tuple[npt.NDArray[np.uint64], pl.DataFrame]]:
        """Read the table from its first row to its last, each piece while the caller works on the one before.

        Args:
            columns: to read; None: all.

        Yields:
            The numbers of some rows, (n,), and the rows; at most ``settings.piece_rows`` of them, and at least one.

        Raises:
            TableError: a file cannot be read, or has changed since it was scanned.
        """
        parts = ahead(lambda place: self.piece(place, columns), range(self.n_pieces))
        with contextlib.closing(parts):
            yield from (part for part in parts if part[1].height)

    def piece(self, place: int, columns: Sequence[str] | None = None) -> tuple[npt.NDArray[np.uint64], pl.DataFrame]:
        """Read one of the ``n_pieces`` pieces, as ``pieces`` yields them; it may have no rows."""
        names = self.columns if columns is None else list(columns)
        size, begin, number = self.settings.piece_rows, 0, 0
        while place >= -(-self.heights[number] // size):
            place -= -(-self.heights[number] // size)
            begin += self.heights[number]
            number += 1
        path, first = self.files[number], place * size
        piece = _read(path, names, first, min(size, self.heights[number] - first))
        stat = path.stat()
        if (stat.st_size, stat.st_mtime_ns) != self.stamps[number]:
            raise _changed(path)
        numbers = np.arange(begin + first, begin + first + piece.height, dtype=np.uint64)
        piece = plain_types(piece).select(pl.col(name).cast(self.types[name]) for name in names)
        kept = np.ones(piece.height, dtype=bool)
        for salt, low, high in self.cuts:
            share = row_shares(numbers, salt)
            kept &= (share >= low) & (share < high)
        return (numbers, piece) if kept.all() else (numbers[kept], piece.filter(kept))


@dataclass(frozen=True)
class TrainingRows:
    """What of a table is learnt from: the rows that have a target, and a weight above 0.

    Attributes:
        scan: the table.
        target: name of the column to predict.
        weight: (N,) of each row of the files, not negative, or the name of the column that holds it; None: all weigh the same.
    """

    scan: Scan
    target: str
    weight: npt.NDArray[np.float64] | str | None = None

    @property
    def columns(self) -> list[str]:
        """The names of the columns that may tell something of the target."""
        others = {self.target, self.weight if isinstance(self.weight, str) else self.target}
        return [name for name in self.scan.columns if name not in others]

    def pieces(self) -> Iterator[tuple[npt.NDArray[np.uint64], pl.DataFrame, npt.NDArray[np.float64] | None, int]]:
        """Read the rows as ``Scan.pieces`` does.

        Yields:
            The numbers of some rows, the rows, their weights, and how many besides have a weight, and no target.

        Raises:
            TableError, SettingError: as for ``Scan.pieces``; or there is no such column, or it holds what is no weight.
        """
        for numbers, piece in self.scan.pieces():
            known, there = rows_with_target(piece, self.target), np.ones(len(piece), dtype=bool)
            weight = self._weights(numbers, piece)
            if weight is not None:
                there = weight > 0
                weight = weight[known & there]
            rows = piece.filter(known & there).select(self.target, *self.columns)
            yield numbers[known & there], rows, weight, int((there & ~known).sum())

    def _weights(self, numbers: npt.NDArray[np.uint64], piece: pl.DataFrame) -> npt.NDArray[np.float64] | None:
        if self.weight is None or not isinstance(self.weight, str):
            return None if self.weight is None else self.weight[numbers]
        weight = piece[self.weight].cast(pl.Float64).fill_null(np.nan).to_numpy()
        wrong = np.flatnonzero(~np.isfinite(weight) | (weight < 0))
        if len(wrong):
            raise SettingError(
                f"the column {self.weight!r} of sample_weight holds {piece[self.weight][int(wrong[0])]} in row {numbers[wrong[0]]:,}, "
                "counted from 0: a weight is a number from 0."
            )
        return weight


def scan_table(source: str | os.PathLike[str], **settings: int) -> Scan:
    """Take note of Parquet files, to be read piece by piece: a table that may have more rows than memory.

    Args:
        source: a file, a folder, or a pattern such as 'sales/*.parquet'.
        settings: those of ``ScanSettings``, such as ``sample_rows``.

    Returns:
        What ``NetClassifier`` and ``NetRegressor`` fit, with the name of the target, as they fit a table in memory.

    Raises:
        TableError: there is no such file, one is no Parquet file, is damaged or empty, or has other columns than the first.
        SettingError: a setting is out of its range.
    """
    try:
        dials = ScanSettings(**settings)
    except TypeError as error:
        known = ", ".join(vars(ScanSettings()))
        raise SettingError(f"scan_table has no setting {sorted(settings)[0]!r}: it has {known}.") from error
    name = os.fspath(source)
    files = tuple(expand(name)) if is_pattern(name) else (Path(name).expanduser(),)
    stamps, heights, types = [], [], []
    for path in files:
        if path.suffix.lower() != ".parquet":
            raise TableError(
                f"{path} is not Parquet, and only Parquet files are read piece by piece. Convert it once, in little memory: "
                f"polars.scan_csv({str(path)!r}).sink_parquet({str(path.with_suffix('.parquet'))!r})."
            )
        try:
            stat = path.stat()
            stamps.append((stat.st_size, stat.st_mtime_ns))
            lazy = pl.scan_parquet(path, glob=False)
            schema = lazy.collect_schema()
            heights.append(int(lazy.select(pl.len()).collect().item()))
        except FileNotFoundError as error:
            raise TableError(f"{path} does not exist (looked in {path.parent.resolve()}).") from error
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise _damaged(path, error) from error
        if not heights[-1] or not schema:
            raise TableError(f"{path} has no rows. Write it again, or leave it out.")
        plain = plain_types(pl.DataFrame(schema=schema)).schema
        types.append({name: pl.Null() if schema[name] == pl.Null else plain[name] for name in schema})
    common = {name: pl.String() if t == pl.Null else t for name, t in common_types(types, files).items()}
    return Scan(name, files, tuple(stamps), tuple(heights), common, dials)


def row_shares(numbers: npt.NDArray[np.uint64], salt: int) -> npt.NDArray[np.float64]:
    """Return a number from 0 to below 1 for each row, (n,), as if drawn evenly: a hash of the row's number.

    It is the last step of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014,
    doi:10.1145/2660193.2660195).

    >>> bool(abs(row_shares(np.arange(10_000, dtype=np.uint64), salt=7).mean() - 0.5) < 0.01)
    True
    """
    start = _mixed(np.array([salt % 2**64], dtype=np.uint64))
    return np.asarray((_mixed(numbers + start) >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    z = (values + np.uint64(1)) * np.uint64(GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX_1)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX_2)
    return np.asarray(z ^ (z >> np.uint64(31)), dtype=np.uint64)


def _read(path: Path, columns: Sequence[str], first: int, n_rows: int) -> pl.DataFrame:
    """Read some rows of one file."""
    try:
        piece = pl.scan_parquet(path, glob=False).select(columns).slice(first, n_rows).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _damaged(path, error) from error
    if piece.height != n_rows:
        raise _changed(path)
    return piece


def _changed(path: Path) -> TableError:
    return TableError(f"{path} has changed since it was first looked at. Begin again when its writer is done.")


def _damaged(path: Path, error: BaseException) -> TableError:
    reason = str(error).partition("\n")[0]
    return TableError(f"{path} is not a parquet file, or it is damaged: {reason}. Write it again.")
