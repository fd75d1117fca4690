"""What several verbs print: tables of scores, numbers, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

from plainnet.errors import SettingError

__all__ = [
    "better", "interval_text", "print_json", "print_note", "print_scores", "print_table", "seconds_of", "spread_text",
]  # fmt: skip


UNITS = {"s": 1, "m": 60, "h": 3600}
#: A week: a longer time is a slip of the keyboard.
MOST_SECONDS = 7 * 24 * 3600


def seconds_of(text: str, option: str) -> float:
    """Return a time such as 90s, 10m or 2h in seconds; ``option`` asked for it.

    >>> seconds_of("1.5h", "--time")
    5400.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", text.strip())
    seconds = float(match[1]) * UNITS[match[2]] if match else 0.0
    if not 0 < seconds <= MOST_SECONDS:
        raise SettingError(f"{option} is a time above 0 and up to a week, such as 90s, 10m or 2h, not {text!r}.")
    return seconds


def print_note(text: object) -> None:
    """Say on the error output what is to be known, though nothing went wrong."""
    typer.secho(f"Note: {text}", fg="yellow", err=True)


def print_json(content: Any) -> None:
    """Print plain values as JSON, for machines."""
    typer.echo(json.dumps(content, indent=1, ensure_ascii=False))


def print_table(
    title: str, headings: Iterable[str], rows: Iterable[Iterable[str]], *, numbers: Iterable[int] = ()
) -> None:
    """Print a table; the columns whose index is in ``numbers`` are set flush right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    right = set(numbers)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: a '[' in the user's data is no markup
    Console().print(table)


def print_scores(scores: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Print scores by part of the rows, the interval and the baseline beside each, and the spread over folds where there are any."""
    for part, of_part in scores.items():
        with_folds = any(score.get("mean") is not None for score in of_part)
        rows = []
        for score in of_part:
            beside = [interval_text(score), *([spread_text(score)] if with_folds else [])]
            rows.append((score["metric"], f"{score['value']:.5g}", *beside, f"{score['baseline']:.5g}", better(score)))
        headings = ("score", "network", "95 % interval", *(["folds"] if with_folds else []), "baseline", "better is")
        title = f"{part} ({of_part[0]['rows']:,} rows)"
        print_table(title, headings, rows, numbers=(1, 4 if with_folds else 3))


def interval_text(score: Mapping[str, Any]) -> str:
    """Return a score's interval in brackets; "" where there is none.

    >>> interval_text({"low": 0.81234567, "high": 0.9})
    '[0.8123, 0.9]'
    """
    if score.get("low") is None or score.get("high") is None:
        return ""
    return f"[{score['low']:.4g}, {score['high']:.4g}]"


def spread_text(score: Mapping[str, Any]) -> str:
    """Return mean ± standard deviation of a score over the folds; "" where there are none."""
    if score.get("mean") is None or score.get("deviation") is None:
        return ""
    return f"{score['mean']:.4g} ± {score['deviation']:.2g}"


def better(score: Mapping[str, Any]) -> str:
    """Say which way a score is good."""
    if score.get("aim") is not None:
        return f"near {score['aim']:g}"
    return "higher" if score["higher_is_better"] else "lower"
