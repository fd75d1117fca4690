"""A folder or a pattern of files  ->  the files, in order, and the one table that their parts make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from glob import glob
from pathlib import Path

import polars as pl

from plainnet.errors import TableError
from plainnet.tables.unpack import COMPRESSED
from plainnet.tables.wording import listed

__all__ = ["common_types", "expand", "is_pattern", "joined"]

#: What a pattern is known by.
MARKS = "*?["


def is_pattern(source: str) -> bool:
    """Tell whether a path names several files: a folder, or a pattern that is no file itself.

    >>> is_pattern("data/*.parquet"), is_pattern("data/one.parquet")
    (True, False)
    """
    if not source or "\n" in source:
        return False
    try:
        path = Path(source).expanduser()
        return path.is_dir() or (any(mark in source for mark in MARKS) and not path.exists() and "://" not in source)
    except (OSError, RuntimeError, ValueError):  # no name of a file at all, which the reader says better
        return False


def expand(source: str) -> list[Path]:
    """Return the files of a folder or a pattern, ordered by name.

    Files whose names begin with a dot or an underscore are left out, as other programs leave notes there (``_SUCCESS``).

    Raises:
        TableError: there is none, or they are of several formats.
    """
    path = Path(source).expanduser()
    try:
        # Path.glob takes no pattern that begins at the root.
        names = [str(each) for each in path.iterdir()] if path.is_dir() else glob(str(path))  # noqa: PTH207
        found = [Path(name) for name in sorted(names)]
        inner = [each for each in found if each.is_dir() and each.name[0] not in "._"]
        files = [each for each in found if each.is_file() and each.name[0] not in "._"]
    except OSError as error:
        raise TableError(f"{source} cannot be read: {error.strerror or error}.") from error
    if not files:
        hint = f" It holds the folders {listed([each.name for each in inner])}: name one." if inner else ""
        raise TableError(
            f"{source} is a folder without a table in it.{hint}"
            if path.is_dir()
            else f"{source} fits no file (looked from {Path.cwd()})."
        )
    formats = {_format(file): file.name for file in reversed(files)}
    if len(formats) > 1:
        raise TableError(
            f"{source} holds files of several formats, such as {listed(sorted(formats.values()))}. Name those of one, such as "
            f"{(path if path.is_dir() else path.parent) / '*'}{min(formats)}."
        )
    return files


def _format(file: Path) -> str:
    suffix = file.suffix.lower()
    return Path(file.stem).suffix.lower() if suffix in COMPRESSED else suffix


def common_types(types: Sequence[Mapping[str, pl.DataType]], files: Sequence[Path]) -> dict[str, pl.DataType]:
    """Return the type of each column of all parts, in the order of the first.

    Whole numbers and numbers with decimals go together, and a column without any value goes with all.

    Raises:
        TableError: a file has other columns than the first, or a column of another type; the message names it.
    """
    first, common = types[0], dict(types[0])
    for file, own in zip(files[1:], types[1:], strict=True):
        lacking, further = [name for name in first if name not in own], [name for name in own if name not in first]
        if lacking or further:
            parts = [f"lacks {listed(lacking)}"] * bool(lacking) + [f"has {listed(further)} besides"] * bool(further)
            raise TableError(
                f"{file} does not have the columns of {files[0]}: it {' and '.join(parts)}. Files of one table have the "
                "same columns: mend it, or leave it out."
            )
        for name, dtype in own.items():
            known = common[name]
            if dtype == pl.Null or dtype == known:
                continue
            if known == pl.Null:
                common[name] = dtype
            elif known.is_numeric() and dtype.is_numeric():
                common[name] = pl.Float64() if known.is_float() or dtype.is_float() else pl.Int64()
            else:
                raise TableError(
                    f"{file}: column {name!r} is {dtype}, and {known} in {files[0]}. Convert it, or leave the file out."
                )
    return common


def joined(parts: Sequence[pl.DataFrame], files: Sequence[Path]) -> pl.DataFrame:
    """Put the parts of a table below each other, in the order of the files.

    Raises:
        TableError: as ``common_types``.
    """
    # A part whose column has no value at all says nothing of its type.
    known = [
        {name: pl.Null() if part[name].null_count() == part.height else part[name].dtype for name in part.columns}
        for part in parts
    ]
    common = common_types(known, files)
    types = pl.Schema((name, pl.String() if dtype == pl.Null else dtype) for name, dtype in common.items())
    return pl.concat([part.select(types.names()).cast(types) for part in parts], rechunk=True)
