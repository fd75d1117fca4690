"""Small texts that several messages share."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean", "listed"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known name nearest to a wrong one, in brackets; "" if none is near.

    >>> did_you_mean("incom", ["age", "income"])
    " (did you mean 'income'?)"
    """
    by_lower = {each.lower(): each for each in known}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f" (did you mean {by_lower[near[0]]!r}?)" if near else ""


def listed(values: Iterable[object], most: int = 5) -> str:
    """List some values, and how many more there are.

    >>> listed("abcdefg", most=3)
    "'a', 'b', 'c' and 4 more"
    """
    values = list(values)
    shown = ", ".join(repr(value) for value in values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"
