"""``plainnet evaluate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer

from plainnet.cli.options import AsJson, Query, RunFolder, argument, option
from plainnet.cli.output import interval_text, print_json, print_note, print_scores, print_table

__all__ = ["evaluate"]

#: Scores that stand beside each other for each group; --json has all.
SHOWN = 3


def evaluate(
    run: RunFolder,
    table: str = argument("Table with the target column: any table that `plainnet train` takes.", default=...),
    query: Query = None,
    by: str | None = option("Column whose groups are scored too: each value, or quarters of numbers."),
    as_json: AsJson = False,
) -> None:
    """Score a run on rows it has not seen, beside a baseline that always says the majority or the mean.

    Each score has its 95 % interval: docs/evaluation.md explains all of them.

    [bold]Examples[/bold]

    plainnet evaluate runs/adult-1 new_people.csv

    plainnet evaluate runs/adult-1 new_people.csv --by sex
    """
    from plainnet.evaluation.evaluation import to_json
    from plainnet.evaluation.groups import rows_by
    from plainnet.runs.compare import evaluate_run
    from plainnet.runs.runs import read_run
    from plainnet.tables.read import read_table
    from plainnet.tables.tables import rows_with_target

    found = read_run(run)
    whole = read_table(table, query=query)
    known = whole.filter(rows_with_target(whole, found.target))
    groups = {} if by is None else rows_by(known, by)
    result = evaluate_run(found, whole, groups)
    scores = to_json(result.scores)
    if as_json:
        of_groups = [
            {"group": name, "rows": len(groups[name]), "scores": to_json(own)} for name, own in result.groups.items()
        ]
        print_json({
            "run": str(run), "table": table, "rows_without_target": whole.height - known.height, "threshold": found.threshold,
            "notes": result.notes, "scores": scores, **({"by": by, "groups": of_groups} if by else {}),
        })  # fmt: skip
        return
    for note in result.notes:
        print_note(note)
    print_scores({table: scores})
    if any(score["metric"] == "F1" for score in scores):
        typer.echo(f"F1 is at the run's threshold of {found.threshold:.4g}.")
    if by is not None:
        typer.echo()
        _print_groups(by, scores, result.groups)


def _print_groups(by: str, scores: Sequence[Mapping[str, Any]], groups: Mapping[str, Sequence[Any]]) -> None:
    """Print the chief scores of each group, a group a line."""
    names = [score["metric"] for score in scores[:SHOWN]]
    rows = []
    for group, own in groups.items():
        by_name = {each.metric: each.to_json() for each in own}
        cells = [
            f"{by_name[name]['value']:.4g} {interval_text(by_name[name])}" if name in by_name else "–" for name in names
        ]
        rows.append((group, f"{own[0].rows:,}", *cells))
    print_table(f"By {by}", (by, "rows", *names), rows, numbers=(1,))
