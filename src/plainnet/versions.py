"""The versions that a model file, a run and a bug report name."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import plainnet

__all__ = ["version_of", "versions"]


def versions() -> dict[str, str]:
    """Return the versions that decide the numbers: plainnet's, Python's, torch's, NumPy's."""
    numbers = {name: version_of(name) or "" for name in ("torch", "numpy")}
    return {"plainnet": plainnet.__version__, "python": platform.python_version(), **numbers}


def version_of(package: str) -> str | None:
    """Return the installed version of a package without importing it, None if it is not installed.

    >>> version_of("no-such-package") is None
    True
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return None
