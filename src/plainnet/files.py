"""Files and folders that are complete or absent: written beside, then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from plainnet.errors import RunError

__all__ = ["replacing", "replacing_folder", "sha256_of", "write_text"]


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes the name of ``path`` if the block ends well, else it is removed.

    Raises:
        RunError: the folder is missing or cannot be written to, or the disk is full.
    """
    path = Path(path)
    if path.is_dir():
        raise RunError(f"{str(path)!r} is a folder; name a file in it.")
    temporary: Path | None = None
    try:
        # The ending stays last: writers choose the format by it.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        temporary = Path(name)
        os.close(handle)
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes it readable for its owner alone
        temporary.replace(path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; it takes the name of ``path`` if the block ends well, else it is removed.

    Args:
        path: the folder to make; folders above it are made as needed.
        overwrite: replace a folder that is already there.

    Raises:
        RunError: there is such a folder already and ``overwrite`` is False, or the disk refuses.
    """
    path = Path(path)
    if path.exists() and not (overwrite and path.is_dir()):
        raise RunError(f"{str(path)!r} is already there, and is not overwritten. Name another folder.")
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        if path.exists():
            # A folder cannot be replaced in one step: the old one steps aside, and is removed last.
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-old-")) / path.name
            path.rename(old)
            temporary.rename(path)
            shutil.rmtree(old.parent)
        else:
            temporary.rename(path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, content: str) -> None:
    """Write a UTF-8 text file, complete or not at all.

    Raises:
        RunError: the file cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_text(content, encoding="utf-8", newline="\n")


def sha256_of(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _refused(path: Path, error: OSError) -> RunError:
    reason = error.strerror or str(error)
    return RunError(f"{str(path)!r} cannot be written: {reason}. Choose another place with --out, or free this one.")
