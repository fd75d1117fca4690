"""Files and folders that are complete or absent: written beside, then renamed."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from plainnet.errors import RunError

__all__ = ["locked", "replacing", "replacing_folder", "sha256_of", "sweep", "write_text", "written"]

#: What this process has written to its end, in order: who is stopped says so.
written: list[Path] = []

_HAS_FLOCK = find_spec("fcntl") is not None  # all but Windows


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
        written.append(path)
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
            try:
                temporary.rename(path)
            except BaseException:
                if not path.exists():
                    old.rename(path)
                raise
            finally:
                shutil.rmtree(old.parent, ignore_errors=True)
        else:
            temporary.rename(path)
        written.append(path)
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
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked(folder: str | Path, what: str) -> Iterator[None]:
    """Be the only process that writes into a folder, inside the block; the folder is made where it is not there.

    The lock is the system's own (flock; LockFile on Windows) on the file ``lock``: it ends with the process, however that ends, so
    that none is left over.

    Args:
        folder: the folder.
        what: is under way there, for the message.

    Raises:
        RunError: another process has it, or the disk refuses.
    """
    folder = Path(folder)
    try:
        handle = _lock(folder, what)
    except OSError as error:
        raise _refused(folder, error) from error
    try:
        yield
    finally:
        _leave(handle, folder)


def _lock(folder: Path, what: str) -> int:
    path = folder / "lock"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(handle)
            # Who had it may have removed the folder since: then this is the lock of a file that is gone.
            if path.exists() and path.stat().st_ino == os.fstat(handle).st_ino:
                os.ftruncate(handle, 0)
                os.write(handle, f"{os.getpid()}\n".encode())
                return handle
        except (BlockingIOError, PermissionError) as error:
            number = os.read(handle, 20).decode(errors="replace").strip()
            os.close(handle)
            raise RunError(
                f"{what} by another process, number {number or 'unknown'}: {str(folder)!r} is its own. "
                "Wait for its end, or end it."
            ) from error
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _take(handle: int) -> None:
    """Have the system lock an open file until it is closed; BlockingIOError or PermissionError where another process has it."""
    if _HAS_FLOCK:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        # Windows keeps others from reading what is locked, and the number of the process is to be read: a byte far behind it is.
        os.lseek(handle, 2**20, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        finally:
            os.lseek(handle, 0, os.SEEK_SET)


def _leave(handle: int, folder: Path) -> None:
    os.close(handle)
    # Windows does not remove what is open: a folder that was removed inside the block still holds the lock.
    if not _HAS_FLOCK and folder.is_dir() and [each.name for each in folder.iterdir()] == ["lock"]:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(path: str | Path) -> None:
    """Remove what processes that were killed while they wrote the folder ``path`` have left beside it."""
    path = Path(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}-*"):
        rest = left.name.removeprefix(f".{path.name}-")
        is_old = re.fullmatch("old-[a-z0-9_]{8}", rest) and [each.name for each in left.iterdir()] in ([], [path.name])
        if is_old or re.fullmatch("[a-z0-9_]{8}", rest):
            shutil.rmtree(left, ignore_errors=True)


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
