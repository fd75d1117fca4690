"""What several verbs print: tables of scores, numbers, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

__all__ = ["better", "interval_text", "print_json", "print_scores", "print_table", "spread_text"]


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
        rows = [
            (
                score["metric"],
                f"{score['value']:.5g}",
                interval_text(score),
                *([spread_text(score)] if with_folds else []),
                f"{score['baseline']:.5g}",
                better(score),
            )
            for score in of_part
        ]
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
