"""Where JSON from a file is not what it has to be."""

from __future__ import annotations

from numbers import Real
from sys import float_info
from typing import Any

__all__ = ["Wanted", "misfit"]

#: A type; ``Real``, finite; None; a tuple of which one holds; a list of one kind; an object by its keys, of which those ending in
#: '?' may be missing and others are unknown; or ``{str: kind}`` for any keys.
Wanted = Any


def misfit(value: Any, wanted: Wanted, place: str = "") -> str:
    """Say where a value is not as wanted, '' if it is.

    >>> misfit({"size": 3, "name": None}, {"size": int, "name": str})
    'name is None'
    """
    if isinstance(wanted, tuple):
        return min((misfit(value, each, place) for each in wanted), key=len)
    if isinstance(wanted, list) and isinstance(value, list):
        return next(filter(None, (misfit(each, wanted[0], f"{place}{k}: ") for k, each in enumerate(value))), "")
    if isinstance(wanted, dict) and isinstance(value, dict):
        return _object_misfit(value, wanted, place)
    if wanted is Real:
        fits = type(value) in (int, float) and abs(value) <= float_info.max  # which NaN is not
    elif wanted is int:
        fits = type(value) is int and 0 <= value < 2**53
    else:
        fits = value is None if wanted is None else not isinstance(wanted, dict | list) and isinstance(value, wanted)
    return "" if fits else f"{place.removesuffix(': ')} is {value!r:.40}" if place else f"it holds {value!r:.40}"


def _object_misfit(value: dict[str, Any], wanted: dict[Any, Wanted], place: str) -> str:
    named = {key.removesuffix("?"): key for key in wanted if isinstance(key, str)}
    for name, key in named.items():
        if name in value:
            if problem := misfit(value[name], wanted[key], f"{place}{name}: "):
                return problem
        elif name == key:
            return f"it lacks {place}{key}"
    rest = {key: each for key, each in value.items() if key not in named}
    if rest and str not in wanted:
        return f"{place}it has an unknown entry {next(iter(rest))!r:.40}"
    return next(filter(None, (misfit(each, wanted[str], f"{place}{key}: ") for key, each in rest.items())), "")
