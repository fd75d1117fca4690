"""``plainnet compare``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from plainnet.cli.options import Query, argument, option
from plainnet.cli.output import better, interval_text, print_json, print_note, print_table

if TYPE_CHECKING:
    from plainnet.runs.compare import Comparison

__all__ = ["compare"]


def compare(
    runs: list[Path] = argument("Two run folders or more.", default=...),
    table: str | None = option(
        "Score all of them on this table, with the differences to the first run. Any table that `plainnet train` takes."
    ),
    query: Query = None,
    as_json: bool = typer.Option(False, "--json", help="Print JSON instead of tables."),
) -> None:
    """Put runs side by side: the settings that differ, and the scores, if they may be compared.

    [bold]Examples[/bold]

    plainnet compare runs/adult-1 runs/adult-2

    plainnet compare runs/adult-1 runs/adult-2 --table new_people.csv      on the same rows, with the differences
    """
    from plainnet.runs.compare import compare_on, compare_runs, differences_of
    from plainnet.runs.runs import read_run
    from plainnet.runs.source import fingerprint
    from plainnet.tables.read import read_table

    found = [read_run(run) for run in runs]
    changed = differences_of(found)
    if table is None:
        result = compare_runs(found)
    else:
        whole = read_table(table, query=query)
        result = compare_on(found, whole, table, sha256=fingerprint(table, whole))
    names = [str(run.path) for run in found]
    if as_json:
        print_json({
            "runs": names, "settings": changed, "comparable": not result.reasons, "reasons": result.reasons, "notes": result.notes,
            "part": result.part, "scores": result.scores,
            "differences": [{**asdict(each), "run": names[each.run]} for each in result.differences],
        })  # fmt: skip
        return
    _print_settings(names, changed)
    if result.reasons:
        typer.secho(f"\nThese scores cannot be compared: {'; '.join(result.reasons)}.", fg="red")
    if result.part is not None:
        typer.echo()
        _print_side_by_side(f"Scores: {result.part}", names, result.scores)
    if result.differences:
        typer.echo()
        _print_differences(names, result)
    for note in result.notes:
        print_note(note)


def _print_settings(names: Sequence[str], changed: Mapping[str, Sequence[Any]]) -> None:
    if not changed:
        typer.echo("All settings are the same.")
        return
    rows = [
        (name, *("–" if value is None else f"{value!s:.40}" for value in values)) for name, values in changed.items()
    ]
    print_table("What differs", ("setting", *names), rows)


def _print_side_by_side(title: str, names: Sequence[str], scores: Sequence[Sequence[Mapping[str, Any]]]) -> None:
    tables = [{score["metric"]: score for score in of_run} for of_run in scores]
    rows = []
    for metric in dict.fromkeys(metric for table in tables for metric in table):
        found = [table.get(metric) for table in tables]
        cells = ["–" if score is None else f"{score['value']:.5g} {interval_text(score)}" for score in found]
        rows.append((metric, *cells, better(next(score for score in found if score is not None))))
    print_table(title, ("score", *names, "better is"), rows)


def _print_differences(names: Sequence[str], result: Comparison) -> None:
    rows = []
    for each in result.differences:
        verdict = {None: "other" if each.is_clear else "not clear", True: "better", False: "worse"}[each.is_better]
        interval = interval_text({"low": each.low, "high": each.high})
        rows.append((names[each.run], each.metric, f"{each.value:+.4g}", interval, verdict))
    print_table(
        f"Differences to {names[0]}", ("run", "score", "difference", "95 % interval", "verdict"), rows, numbers=(2,)
    )
