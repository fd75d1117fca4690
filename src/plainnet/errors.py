"""Every exception and warning of plainnet, in one place.

    PlainnetError                     any error that is ours; the command line prints it as one sentence, exit code 1
    ├── TableError                    a table that cannot be read or used (also a ValueError)
    │   └── ColumnsChangedError       a table at prediction that differs from the fitted one, column by column
    ├── SettingError                  a setting outside its range (also a ValueError)
    ├── TrainingError                 a training that cannot start: shapes, dtypes, loss and network that do not fit (also a ValueError)
    ├── LossDivergedError             a loss that became NaN or infinite during training (also an ArithmeticError)
    ├── ModelFileError                a file that is not a model of ours, is damaged, or is newer than this version (also a ValueError)
    ├── RunError                      a run folder that is missing, incomplete, or already there
    └── MissingExtraError             an optional dependency that is not installed (also an ImportError)

    PlainnetWarning                   any warning of ours (a UserWarning)
    └── DataWarning                   rows or columns left out, levels never seen in training

A message says what is wrong, where, the value, and what to do. The text is part of the interface: tests match it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plainnet.training.history import History

__all__ = [
    "ColumnsChangedError", "DataWarning", "LossDivergedError", "MissingExtraError", "ModelFileError", "PlainnetError", "PlainnetWarning",
    "RunError", "SettingError", "TableError", "TrainingError",
]  # fmt: skip


class PlainnetError(Exception):
    """Base of every error that plainnet raises on purpose."""


class TableError(PlainnetError, ValueError):
    """A table cannot be read or cannot be used as asked."""


class ColumnsChangedError(TableError):
    """A table at prediction lacks columns, or has a column of another type, than the fitted one."""


class SettingError(PlainnetError, ValueError):
    """A setting is outside its range."""


class TrainingError(PlainnetError, ValueError):
    """A training cannot start: its data, network, loss or optimizer do not fit together."""


class LossDivergedError(PlainnetError, ArithmeticError):
    """The loss became NaN or infinite. The network keeps the weights of the last good epoch.

    Attributes:
        history: the epochs before the loss diverged, or None where the engine was used directly.
    """

    history: History | None = None


class ModelFileError(PlainnetError, ValueError):
    """A file is not a plainnet model, is damaged, or was written by a newer version."""


class RunError(PlainnetError):
    """A run folder is missing, incomplete, or already there."""


class MissingExtraError(PlainnetError, ImportError):
    """An optional dependency is not installed; the message holds the command that installs it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed. Run: pip install 'plainnet[{extra}]'")


class PlainnetWarning(UserWarning):
    """Base of every warning that plainnet gives."""


class DataWarning(PlainnetWarning):
    """Rows or columns were left out, or cells hold levels never seen in training."""
