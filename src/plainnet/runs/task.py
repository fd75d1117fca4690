"""Are classes to be predicted, or numbers?"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from plainnet.errors import SettingError

__all__ = ["TASKS", "choose_task"]

TASKS = ("classes", "numbers")


def choose_task(y: npt.NDArray[Any], wanted: str | None = None) -> tuple[str, str]:
    """Return 'classes' or 'numbers', and why.

    Args:
        y: (N,) the target.
        wanted: the user's choice; None: found out.

    Raises:
        SettingError: ``wanted`` is no task, or the target cannot be predicted that way.

    >>> choose_task(np.array(["yes", "no"]))
    ('classes', 'the target is text')
    >>> choose_task(np.array([1.5, 2.5, 3.5]))
    ('numbers', 'the target holds 3 different numbers')
    """
    if wanted is not None and wanted not in TASKS:
        raise SettingError(f"the task is one of {', '.join(TASKS)}, not {wanted!r}.")
    if wanted == "numbers" and y.dtype.kind not in "fiu":
        raise SettingError(f"the target holds {y[:1].tolist()[0]!r}, which is no number: choose --task classes.")
    if wanted == "classes" and y.dtype.kind == "f" and not np.array_equal(y, np.rint(y)):
        raise SettingError("the target holds numbers with decimals, which are no classes: choose --task numbers.")
    if wanted is not None:
        return wanted, "chosen by the user"
    if y.dtype.kind == "b":
        return "classes", "the target is true or false"
    if y.dtype.kind not in "fiu":
        return "classes", "the target is text"
    n_different = len(np.unique(y))
    if n_different == 2 and np.array_equal(y, np.rint(y)):
        return "classes", "the target holds two different whole numbers"
    return "numbers", f"the target holds {n_different:,} different numbers"
