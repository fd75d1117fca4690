"""``plainnet predict``."""

from __future__ import annotations

from pathlib import Path

import typer

from plainnet.cli.options import Query, RunOrModel, argument, option

__all__ = ["predict"]


def predict(
    run: RunOrModel,
    table: str = argument("Rows to predict: any table that `plainnet train` takes.", default=...),
    out: Path | None = option(
        "File to write: .csv, .tsv, .parquet, .arrow, .jsonl or .xlsx.  [default: CSV to the screen]", "--out", "-o"
    ),
    query: Query = None,
    with_input: bool = typer.Option(
        False, "--with-input", help="Write the table's own columns before the predictions."
    ),
    stream: bool = typer.Option(
        False, "--stream", help="Read and write piece by piece, in little memory: Parquet; large tables always."
    ),
) -> None:
    """Predict each row of a table: the class and the probability of every class, or the number.

    [bold]Examples[/bold]

    plainnet predict runs/adult-1 people.csv

    plainnet predict runs/adult-1 people.parquet --with-input --out predictions.parquet

    plainnet predict runs/adult-1 'people/*.parquet' --stream --out predictions.parquet
    """
    from plainnet.errors import SettingError
    from plainnet.estimators.predictions import predict_pieces, prediction_frame, write_predictions
    from plainnet.estimators.streamed import scan_of
    from plainnet.runs.runs import read_model_of
    from plainnet.tables.read import read_table
    from plainnet.tables.write import write_table

    if stream and query is not None:
        raise SettingError("--query is for databases, and --stream for Parquet files: leave one out.")
    estimator = read_model_of(run)
    scan = None if query is not None else scan_of(table, stream=stream)
    if scan is not None and out is not None:
        n_rows = write_predictions(estimator, scan, out, with_input=with_input)
    elif scan is not None:
        for number, piece in enumerate(predict_pieces(estimator, scan, with_input=with_input)):
            typer.echo(piece.write_csv(include_header=number == 0), nl=False)
    else:
        result = prediction_frame(estimator, read_table(table, query=query), with_input=with_input)
        n_rows = result.height
        if out is None:
            typer.echo(result.write_csv(), nl=False)
        else:
            write_table(result, out)
    if out is not None:
        typer.echo(f"{n_rows:,} predictions written to {out}", err=True)
