"""``plainnet predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["predict"]


def predict(
    run: Annotated[Path, typer.Argument(help="Run folder, or model file.", show_default=False)],
    table: Annotated[
        str, typer.Argument(help="Rows to predict: any table that `plainnet train` takes.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File to write: .csv, .tsv, .parquet, .arrow, .jsonl or .xlsx.  [default: CSV to the screen]",
            show_default=False,
        ),
    ] = None,
    query: Annotated[
        str | None, typer.Option(help="Of a database: a SELECT, or a table's name.", show_default=False)
    ] = None,
    with_input: Annotated[
        bool, typer.Option("--with-input", help="Write the table's own columns before the predictions.")
    ] = False,
) -> None:
    """Predict each row of a table: the class and the probability of every class, or the number.

    [bold]Examples[/bold]

    plainnet predict runs/adult-1 people.csv

    plainnet predict runs/adult-1 people.parquet --with-input --out predictions.parquet
    """
    import polars as pl

    from plainnet.errors import TableError
    from plainnet.estimators.predictions import prediction_columns
    from plainnet.runs.runs import read_model_of
    from plainnet.tables.read import read_table
    from plainnet.tables.wording import listed
    from plainnet.tables.write import write_table

    estimator = read_model_of(run)
    rows = read_table(table, query=query)
    columns = prediction_columns(estimator, rows)
    result = pl.DataFrame({name: pl.Series(values.tolist()) for name, values in columns.items()})
    if with_input:
        taken = [name for name in rows.columns if name in result.columns]
        if taken:
            raise TableError(
                f"the table already has a column {listed(taken)}, where --with-input puts its predictions beside the table's own "
                "columns: rename it, or leave out --with-input."
            )
        result = pl.concat([rows, result], how="horizontal")
    if out is None:
        typer.echo(result.write_csv(), nl=False)
    else:
        write_table(result, out)
        typer.echo(f"{result.height:,} predictions written to {out}", err=True)
