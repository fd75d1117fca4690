"""``plainnet tune``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from plainnet.cli import options, stop
from plainnet.cli.options import argument, kinds_of, on_cluster, option
from plainnet.cli.output import better, print_json, print_scores, print_table, seconds_of

__all__ = ["tune"]

EXAMPLES = """[bold]Examples[/bold]

plainnet tune houses.csv --target price

plainnet tune houses.csv --target price --trials 200 --time 10m --study houses.sqlite3      again: goes on

plainnet tune churn.parquet --target Churn --ignore customerID --effort quick --out runs/churn

plainnet tune churn.parquet --target Churn --cluster 10.0.0.7:6379      trials on a Ray cluster"""


def tune(
    table: str = argument("Any table that `plainnet train` takes.", default=...),
    target: str = option("Column to predict.", "--target", "-t", default=...),
    trials: int = typer.Option(50, help="Settings to try, 1 to 10 000; those that --study has already count."),
    time: str | None = option("For the trials at most, such as 90s, 10m or 2h; the two full trainings come on top."),
    study: Path | None = option("SQLite file that keeps the trials, to go on from."),
    out: options.RunOut = None,
    overwrite: options.Overwrite = False,
    query: options.Query = None,
    task: options.Task = None,
    test: float = typer.Option(0.2, help="Share of the rows held out for the test scores; no trial sees them."),
    group: options.Group = None,
    split_time: options.SplitTime = None,
    number: options.Number = None,
    category: options.Category = None,
    date: options.Date = None,
    ignore: options.Ignore = None,
    effort: str = typer.Option("default", help="quick, default or best: of the two full trainings."),
    epochs: options.Epochs = None,
    seed: int = typer.Option(0, help="Of the splits, the trials, the weights and the shuffle."),
    cluster: options.Cluster = None,
    workers: options.Workers = None,
    as_json: bool = typer.Option(False, "--json", help="Print run.json instead of the tables."),
) -> None:
    """Search for better settings, and write a run folder of the best, with the untuned default's scores beside its own.

    Ctrl-C ends the search and trains with the best settings so far.
    """
    from plainnet.runs.tune_run import tune_run

    kinds = kinds_of(number, category, date, ignore)
    seconds = None if time is None else seconds_of(time, "--time")
    with on_cluster(cluster, workers):
        run = tune_run(
            table, target, out, trials=trials, seconds=seconds, study=study, query=query, task=task, test_share=test, group=group,
            time=split_time, kinds=kinds, seed=seed, overwrite=overwrite, progress=True,
            settings={"effort": effort, "epochs": epochs},
        )  # fmt: skip
    tuning = run.facts["tuning"]
    if as_json:
        print_json({"run": str(run.path), **run.facts})
    else:
        _tell(tuning, run.facts["scores"])
        typer.echo(f"\nRun: {run.path}   (plainnet show {run.path} · plainnet predict {run.path} TABLE)")
    if tuning["stopped_by"] == "time":
        typer.echo(f"The time of {time} was over before {trials} trials.", err=True)
    if "interrupt" in (tuning["stopped_by"], run.facts["training"]["stopped_by"]):
        again = f"; the same command goes on from {tuning['study']}" if tuning["study"] else ""
        typer.echo(f"Stopped by {stop.name()}; the best so far is kept{again}.", err=True)
        raise typer.Exit(stop.exit_code())


def _tell(tuning: Mapping[str, Any], scores: Mapping[str, Any]) -> None:
    """Say what the search brought: the settings, and every score of rows not trained on beside the default's."""
    typer.echo(f"{tuning['trials']} trials, {tuning['ended_early']} of them ended early, in {tuning['seconds']:.1f} s.")
    default, best = tuning["default_loss"], tuning["best_loss"]
    if tuning["kept"] == "default":
        reason = (
            "No trial came to its end"
            if best is None
            else f"The best trial's cross-validated loss, {best:.5g}, is not below the default's, {default:.5g}"
        )
        typer.echo(f"{reason}: this is the run of the default settings.\n")
        print_scores(scores)
        return
    beaten = "" if default is None else f", the default's {default:.5g}"
    typer.echo(f"Cross-validated loss of the best, trial {tuning['best_trial']}: {best:.5g}{beaten}. Its settings:\n")
    print_table("", ("setting", "value"), [(name, _text(value)) for name, value in tuning["settings"].items()])
    typer.echo()
    rows = []
    for part, of_part in scores.items():
        for score, untuned in zip(of_part, tuning["default_scores"][part], strict=True) if part != "train" else ():
            values = (f"{value:.5g}" for value in (score["value"], untuned["value"], score["baseline"]))
            rows.append((f"{part} ({score['rows']:,} rows)", score["metric"], *values, better(score)))
    print_table("", ("rows", "score", "tuned", "default", "baseline", "better is"), rows, numbers=(2, 3, 4))


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


tune.__doc__ = f"{inspect.getdoc(tune)}\n\n{EXAMPLES}"  # dedented, as Python 3.13 does by itself
