"""What several verbs print: tables of scores, numbers, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer

__all__ = ["print_json", "print_scores", "print_table"]


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
    """Print scores by part of the rows, the baseline beside each."""
    rows = [
        (
            f"{part} ({score['rows']:,} rows)",
            score["metric"],
            f"{score['value']:.5g}",
            f"{score['baseline']:.5g}",
            "higher" if score["higher_is_better"] else "lower",
        )
        for part, of_part in scores.items()
        for score in of_part
    ]
    print_table("", ("rows", "score", "network", "baseline", "better is"), rows, numbers=(2, 3))
