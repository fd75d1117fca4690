"""Which rows train and which are held out.

The same rows for the same seed on every machine: scikit-learn's splitters draw from ``RandomState``, whose numbers
NumPy has frozen.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import GroupShuffleSplit, train_test_split

from plainnet.errors import SettingError, TableError

__all__ = ["split_rows"]

Rows = npt.NDArray[np.int64]
Keys = npt.NDArray[Any] | None


def split_rows(
    n_rows: int, share: float, *, seed: int = 0, stratify: Keys = None, groups: Keys = None, time: Keys = None
) -> tuple[Rows, Rows]:
    """Split rows in two.

    Args:
        n_rows: N.
        share: of the rows to hold out, in (0, 1).
        seed: of the draw.
        stratify: (N,) classes, of which both sides get their share; classes of a single row go to the training side.
        groups: (N,) all rows of a group go to one side.
        time: (N,) the latest rows are held out; rows of one time go to one side. No draw.

    Returns:
        The numbers of the training rows and of the held-out rows, each ascending.

    Raises:
        SettingError: ``share`` is not in (0, 1), or both groups and time are given.
        TableError: a side would be empty.

    >>> split_rows(6, 0.34, time=np.array([3, 1, 2, 6, 5, 4]))
    (array([0, 1, 2, 5]), array([3, 4]))
    """
    if not 0 < share < 1:
        raise SettingError(f"the share of rows to hold out is above 0 and below 1, not {share}.")
    if groups is not None and time is not None:
        raise SettingError("rows are split by group or by time, not by both.")
    if n_rows < 2:
        raise TableError(
            f"{n_rows} row{'' if n_rows == 1 else 's'} cannot be split in two: at least 2 are needed, one to train on and one to "
            "hold out."
        )
    if time is not None:
        return _by_time(time, share)
    if groups is not None:
        return _by_group(groups, share, seed)
    n_held_out = min(max(round(share * n_rows), 1), n_rows - 1)
    rows = np.arange(n_rows)
    if stratify is None:
        kept, held_out = train_test_split(rows, test_size=n_held_out, random_state=seed)
    else:
        kept, held_out = _stratified(rows, n_held_out, stratify, seed)
    return np.sort(kept), np.sort(held_out)


def _stratified(rows: Rows, n_held_out: int, classes: npt.NDArray[Any], seed: int) -> tuple[Rows, Rows]:
    _, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    alone = counts[codes] < 2
    n_held_out = min(n_held_out, int((~alone).sum()) - 1)
    n_classes = int((counts >= 2).sum())
    if n_held_out < n_classes or (~alone).sum() - n_held_out < n_classes:
        kept, held_out = train_test_split(rows, test_size=max(n_held_out, 1), random_state=seed)
        return kept, held_out
    kept, held_out = train_test_split(rows[~alone], test_size=n_held_out, random_state=seed, stratify=codes[~alone])
    return np.concatenate([kept, rows[alone]]), held_out


def _by_group(groups: npt.NDArray[Any], share: float, seed: int) -> tuple[Rows, Rows]:
    _, codes = np.unique(groups, return_inverse=True)
    n_groups = int(codes.max()) + 1
    if n_groups < 2:
        raise TableError("the rows are all of one group and cannot be split by it: name another column, or none.")
    n_held_out = min(max(round(share * n_groups), 1), n_groups - 1)
    splitter = GroupShuffleSplit(n_splits=1, test_size=n_held_out, random_state=seed)
    kept, held_out = next(splitter.split(codes, groups=codes))
    return np.sort(kept), np.sort(held_out)


def _by_time(time: npt.NDArray[Any], share: float) -> tuple[Rows, Rows]:
    _, codes = np.unique(time, return_inverse=True)
    n_rows = len(codes)
    first = np.sort(codes)[min(max(n_rows - round(share * n_rows), 1), n_rows - 1)]
    held_out = codes >= max(first, 1)  # so many rows may share the first time that the cut falls on it
    if not held_out.any():
        raise TableError("the rows are all of one time and cannot be split by it: name another column, or none.")
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
