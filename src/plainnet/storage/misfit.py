"""Where JSON from a file is not what it has to be."""

from __future__ import annotations

from math import isfinite
from numbers import Real
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
    if isinstance(wanted, list):
        if not isinstance(value, list):
            return _wrong(place, value)
        return next(filter(None, (misfit(each, wanted[0], f"{place}{k}: ") for k, each in enumerate(value))), "")
    if isinstance(wanted, dict):
        return _object_misfit(value, wanted, place)
    if wanted is None:
        return "" if value is None else _wrong(place, value)
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if wanted is Real:
        fits = is_number and _is_finite(value)
    elif wanted is int:
        fits = is_number and isinstance(value, int) and 0 <= value < 2**53
    else:
        fits = isinstance(value, wanted)
    return "" if fits else _wrong(place, value)


def _object_misfit(value: Any, wanted: dict[Any, Wanted], place: str) -> str:
    if not isinstance(value, dict):
        return _wrong(place, value)
    for key, each in wanted.items():
        name = key.removesuffix("?") if isinstance(key, str) else None
        if name is None:
            continue
        if name not in value:
            if name == key:
                return f"it lacks {place}{key}"
        elif problem := misfit(value[name], each, f"{place}{name}: "):
            return problem
    named = {key.removesuffix("?") for key in wanted if isinstance(key, str)}
    rest = {key: each for key, each in value.items() if key not in named}
    if rest and str not in wanted:
        return f"{place}it has an unknown entry {next(iter(rest))!r:.40}"
    return next(filter(None, (misfit(each, wanted[str], f"{place}{key}: ") for key, each in rest.items())), "")


def _wrong(place: str, value: Any) -> str:
    return f"{place.removesuffix(': ')} is {value!r:.40}" if place else f"it holds {value!r:.40}"


def _is_finite(value: Any) -> bool:
    try:
        return isfinite(float(value))
    except OverflowError:
        return False
