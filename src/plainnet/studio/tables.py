"""Tables in the work folder: how they come in, under which names they lie there, how they are read, and what is shown of their columns."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from functools import lru_cache
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl

from plainnet.errors import DataWarning, TableError
from plainnet.files import replacing
from plainnet.runs.source import stamp
from plainnet.samples.samples import ADULT_PATH, ADULT_TARGET
from plainnet.tables.dates import parse_dates
from plainnet.tables.kinds import numbers_of
from plainnet.tables.read import read_table
from plainnet.tables.schema import Column, Schema, level_strings
from plainnet.tables.wording import did_you_mean

__all__ = [
    "MOST_BYTES", "describe", "list_tables", "load_table", "receive", "remembered", "safe_name", "table_path",
]  # fmt: skip

#: Of an uploaded file.
MOST_BYTES = 2 * 2**30
#: What the page takes: databases and Excel files stay with the command line.
SUFFIXES = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather", ".ipc")
COMPRESSED = (".gz", ".zst", ".bz2", ".xz")
#: The bundled table's name on the page.
ADULT = "adult.csv.gz"
#: What Windows takes for a device, whatever follows the dot.
DEVICES = r"con|prn|aux|nul|com\d|lpt\d"
#: Characters of a file's name at most, its suffixes included.
MOST_CHARACTERS = 80
#: Rows that are looked at to describe columns, of a larger table a random draw; bars of a histogram; levels that are shown.
MOST_ROWS, BARS, LEVELS = 50_000, 20, 6

T = TypeVar("T")


def remembered(most: int) -> Callable[[Callable[[Path], T]], Callable[[Path], T]]:
    """Keep what a function says of the last files, or run folders, until they are written anew. Two tabs that ask at once wait for one."""

    def of(work: Callable[[Path], T]) -> Callable[[Path], T]:
        lock, kept = threading.Lock(), lru_cache(most)(lambda path, _: work(path))

        def ask(path: Path) -> T:
            with lock:
                return kept(path, stamp(path / "run.json" if path.is_dir() else path))

        return ask

    return of


def safe_name(name: str) -> str:
    """Return the name under which an uploaded file is kept: letters, digits and ``. _ -``, never a path, never hidden.

    Raises:
        TableError: its suffix is none that the page reads.

    >>> safe_name("../../etc/My houses (1).CSV")
    'My_houses_1_.csv'
    """
    bare = re.split(r"[/\\]", name)[-1]
    bare = re.sub(r"[^\w.-]+", "_", bare, flags=re.ASCII).lstrip("._-")
    path = Path(bare.lower())
    compression = path.suffix if path.suffix in COMPRESSED else ""
    suffix = Path(path.stem).suffix if compression else path.suffix
    ending = suffix + compression
    if suffix not in SUFFIXES or (compression and suffix in (".parquet", ".arrow", ".feather", ".ipc")):
        raise TableError(
            f"the file {name[-60:]!r} is of no kind that is read here. Save it as .csv or .parquet (also: {' '.join(SUFFIXES)}; text "
            f"also with {' '.join(COMPRESSED)} after it)."
        )
    stem = bare[: len(bare) - len(ending)].rstrip(".")[: MOST_CHARACTERS - len(ending)]
    is_device = re.fullmatch(DEVICES, stem.partition(".")[0], re.IGNORECASE)
    is_taken = stem.startswith("example-") or stem + ending == ADULT or is_device
    return f"{'my-' if is_taken else ''}{stem or 'table'}{ending}"


def free_path(folder: Path, name: str) -> Path:
    """Return the path of a name in a folder; where it is taken, that of NAME-2, and so on."""
    stem, dot, ending = name.partition(".")
    others = (folder / f"{stem}-{number}{dot}{ending}" for number in count(2))
    return next(path for path in chain([folder / name], others) if not path.exists())


async def receive(parts: AsyncIterator[bytes], folder: Path, name: str) -> Path:
    """Write an uploaded file to a folder as it arrives, complete or not at all.

    Args:
        parts: of its content.
        folder: where it is kept.
        name: as the browser says; only its letters count.

    Returns:
        Its path. Nothing has looked at the content yet.

    Raises:
        TableError: it is larger than ``MOST_BYTES``, empty, or of no kind that is read.
    """
    path = free_path(folder, safe_name(name))
    size = 0
    with replacing(path) as unfinished, unfinished.open("wb") as file:
        async for part in parts:
            size += len(part)
            if size > MOST_BYTES:
                raise TableError(
                    f"the file is larger than {MOST_BYTES / 2**30:g} GiB, the most that is uploaded. Use `plainnet train {name}`."
                )
            file.write(part)
        if not size:
            raise TableError(f"the file {name[-60:]!r} is empty: choose another.")
    return path


def table_path(work: Path, name: str) -> Path:
    """Return the path of a table by its name on the page.

    Raises:
        TableError: there is none of that name.
    """
    if name == ADULT:
        return ADULT_PATH
    known = {path.name: path for path in _files(work)}
    if name not in known:
        raise TableError(f"there is no table {name[:60]!r} in the work folder{did_you_mean(name, list(known))}.")
    return known[name]


def list_tables(work: Path) -> list[dict[str, Any]]:
    """Return the tables that can be chosen, the newest first, the bundled one last."""
    files = sorted(_files(work), key=lambda path: path.stat().st_mtime, reverse=True)
    own = [{"name": path.name, "bytes": path.stat().st_size, "target": None} for path in files]
    return [*own, {"name": ADULT, "bytes": ADULT_PATH.stat().st_size, "target": ADULT_TARGET}]


def _files(work: Path) -> list[Path]:
    folder = work / "tables"
    found = folder.iterdir() if folder.is_dir() else iter(())
    return [path for path in found if path.is_file() and not path.name.startswith(".")]


@remembered(2)
def load_table(path: Path) -> tuple[pl.DataFrame, list[str]]:
    """Read a table; return it, and what reading it warned of, as the page says it.

    Raises:
        TableError: it cannot be read.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        table = read_table(path)
    notes = []
    for each in caught:
        text = str(each.message)
        if str(path) in text:
            notes.append(text.replace(str(path), path.name))
        else:  # of another thread: all threads share one list of them
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return table, notes


def describe(table: pl.DataFrame, kinds: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Describe all columns, the target among them.

    Args:
        table: of any size.
        kinds: kinds that the user knows better, by column.

    Returns:
        ``rows``, ``looked_at`` (how many of them were) and ``columns``: for each ``name``, ``kind``, ``why``, ``dtype``,
        ``missing`` (share), and ``bars`` (with ``low`` and ``high``) or ``levels`` (with their shares), or neither.

    Raises:
        TableError, SettingError: a column cannot be what ``kinds`` says, or no column can be used.
    """
    part = table if table.height <= MOST_ROWS else table.sample(MOST_ROWS, seed=0)
    schema = Schema.learn(part, kinds=kinds)
    columns = [_described(column, part[column.name]) for column in schema.columns]
    return {"rows": table.height, "looked_at": part.height, "columns": columns}


def _described(column: Column, series: pl.Series) -> dict[str, Any]:
    facts = {
        "name": column.name, "kind": column.kind, "why": column.why, "dtype": column.dtype, "missing": series.null_count() / len(series),
    }  # fmt: skip
    if column.kind == "number":
        return facts | {"missing": column.missing / len(series)} | _bars(numbers_of(series))
    if column.kind == "date":
        dates, _ = parse_dates(series)
        if dates is not None:
            return facts | _bars(dates.dt.epoch("s").cast(pl.Float64)) | {"unit": "date"}
    if column.kind in ("category", "flag"):
        counts = level_strings(series).drop_nulls().value_counts(sort=True).head(LEVELS)
        shares = (counts["count"] / len(series)).to_list()
        levels = [[level[:60], share] for level, share in zip(counts[series.name], shares, strict=True)]
        return facts | {"levels": levels}
    return facts


def _bars(numbers: pl.Series) -> dict[str, Any]:
    """Count the values in bins between the 1st and the 99th percentile; what lies beyond is in the outermost."""
    values = numbers.drop_nulls().to_numpy().astype(np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return {}
    low, high = (float(each) for each in np.quantile(values, [0.01, 0.99]))
    if low == high:
        low, high = float(values.min()), float(values.max())
    counts, _ = np.histogram(np.clip(values, low, high), bins=BARS, range=(low, high if high > low else low + 1))
    return {"bars": counts.tolist(), "low": low, "high": high}
