"""``plainnet explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from plainnet.cli.options import AsJson, Query, RunFolder, argument, option
from plainnet.cli.output import print_json, print_note, print_table
from plainnet.errors import TableError

if TYPE_CHECKING:
    import numpy.typing as npt
    import polars as pl

    from plainnet.runs.runs import Run

__all__ = ["explain"]


def explain(
    run: RunFolder,
    table: str | None = argument(
        "Table with rows to explain, and the target for an importance.  [default: the run's own, and its test rows]"
    ),
    row: int | None = option("Explain the prediction of this row of the table; the first is 1."),
    output: str | None = option(
        "With --row: the class whose probability is explained.  [default: the predicted]", "--class"
    ),
    plot: Path | None = option("Picture to write: .png, .svg or .pdf."),
    query: Query = None,
    seed: int = typer.Option(0, help="Of what is drawn: rows, shuffles, orders.", min=0, max=2**32 - 1),
    as_json: AsJson = False,
) -> None:
    """Show which columns the predictions of a run rest on, or with --row what made the prediction of one row.

    The importance of a column is by how much the loss grows when its cells are shuffled.

    [bold]Examples[/bold]

    plainnet explain runs/adult-1

    plainnet explain runs/adult-1 new_people.csv --row 3 --plot row3.png
    """  # fmt: skip
    from plainnet.runs.runs import read_run

    found = read_run(run)
    if row is None:
        _explain_columns(found, table, query, seed, plot, as_json=as_json)
    else:
        _explain_row(found, table, query, seed, plot, row, output, as_json=as_json)


def _explain_columns(
    run: Run, source: str | None, query: str | None, seed: int, plot: Path | None, *, as_json: bool
) -> None:
    from plainnet.evaluation.explain import permutation_importance
    from plainnet.evaluation.plots import ImportanceDisplay

    rows, y, part = _rows(run, source, query)
    typer.echo(f"Shuffling the columns of {part} …", err=True)
    importance = permutation_importance(run.estimator(), rows, y, random_state=seed)
    if plot is not None:
        _draw(ImportanceDisplay(importance), plot)
    if as_json:
        print_json({"run": str(run.path), "rows_of": part, **importance.to_json()})
        return
    drawn = f" of {importance.rows_given:,}" if importance.rows < importance.rows_given else ""
    measured = f"on {importance.rows:,}{drawn} rows ({part}), {importance.n_repeats} shuffles each"
    typer.echo(f"{importance.metric} {importance.loss:.5g} {measured}\n")
    columns = [(each.column, f"{each.value:.4g}", f"{each.low:.4g} … {each.high:.4g}") for each in importance.columns]
    print_table("", ("column", "grows by", "95 % interval"), columns, numbers=(1, 2))


def _rows(run: Run, source: str | None, query: str | None) -> tuple[pl.DataFrame, npt.NDArray[Any], str]:
    """Return rows to measure an importance on, their targets, and what they are."""
    from plainnet.runs.again import find_table
    from plainnet.tables.read import read_table
    from plainnet.tables.tables import take_target

    if source is not None:
        rows, y, n_without = take_target(read_table(source, query=query), run.target)
        if n_without:
            print_note(f"{n_without:,} rows without a value in {run.target!r} are left out")
        return rows, y, source
    _, own = find_table(run, query=query)
    part = next(part for part in ("test", "validation", "train") if len(own.scored.get(part, ())))
    if part == "train":
        print_note(
            "the run held out no rows. On its training rows columns look more important than they are on new ones."
        )
    return *own.of(part), f"the {part} rows"


def _explain_row(
    run: Run,
    source: str | None,
    query: str | None,
    seed: int,
    plot: Path | None,
    row: int,
    output: str | None,
    *,
    as_json: bool,
) -> None:
    from plainnet.evaluation.plots import ContributionsDisplay
    from plainnet.evaluation.shapley import explain_row
    from plainnet.runs.again import find_table
    from plainnet.tables.read import read_table

    if source is None:
        rows, own = find_table(run, query=query)
        background, _ = own.of("train")
    else:
        rows = background = read_table(source, query=query)
    if not 1 <= row <= rows.height:
        raise TableError(f"--row is the number of a row from 1 to {rows.height:,}, not {row}.")
    estimator = run.estimator()
    explanation = explain_row(
        estimator, rows[row - 1 : row], background, output=_class_named(estimator, output), random_state=seed
    )
    if plot is not None:
        _draw(ContributionsDisplay(explanation), plot)
    truth = rows[run.target][row - 1] if run.target in rows.columns else None
    if as_json:
        print_json({"run": str(run.path), "row": row, "target": truth, **explanation.to_json()})
        return
    what = f"probability of {explanation.output}" if run.facts["task"] == "classes" else run.target
    said = "" if truth is None else f" (in the table: {truth})"
    typer.echo(f"Row {row}: {what} {explanation.prediction:.5g}{said}\n")
    shown = [
        ("", f"mean of {explanation.background_rows} rows", f"{explanation.base:.5g}", ""),
        *((each.column, "" if each.cell is None else str(each.cell), f"{each.value:+.4g}", f"{each.error:.2g}")
          for each in explanation.contributions),
        ("", "all together", f"{explanation.prediction:.5g}", ""),
    ]  # fmt: skip
    print_table("", ("column", "holds", "adds", "± error"), shown, numbers=(2, 3))


def _class_named(estimator: Any, name: str | None) -> Any:
    """Return the class that is written so; another text is left for the error that lists the classes."""
    classes = getattr(estimator, "classes_", None)
    known = {} if classes is None else {str(each): each for each in classes.tolist()}
    return None if name is None else known.get(name, name)


def _draw(display: Any, path: Path) -> None:
    """Draw a display to a picture file."""
    from plainnet.evaluation.plots import save_drawn

    save_drawn(display.plot, path)
    typer.echo(f"Picture written to {path}", err=True)
