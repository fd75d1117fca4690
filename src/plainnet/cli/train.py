"""``plainnet train``."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from plainnet.cli import options, stop
from plainnet.cli.options import argument, kinds_of, on_cluster, option
from plainnet.cli.output import print_json, print_note, print_scores, seconds_of
from plainnet.errors import PlainnetError, SettingError

if TYPE_CHECKING:
    from plainnet.runs.runs import Run

__all__ = ["train"]

EXAMPLES = """[bold]Examples[/bold]

plainnet train                                    the bundled table: who earned more than 50K a year?

plainnet train houses.csv --target price          numbers: found out from the column

plainnet train houses.csv --target price --effort best --time-limit 300

plainnet train churn.parquet --target Churn --out runs/churn --category zip --ignore customerID

plainnet train sales.csv --target sold --time day      the latest rows test

plainnet train churn.csv --target Churn --folds 5       cross-validation

plainnet train flats.csv --target rent --increasing rooms --decreasing distance      rent never falls with rooms

plainnet train houses.csv --target price --out runs/houses --checkpoint-every 30s

plainnet train --resume runs/houses                     after a crash: goes on, to the same model

plainnet train 'sales/*.parquet' --target returned --stream      more rows than memory

plainnet train houses.csv --target price --cluster auto --workers 4     networks on a Ray cluster

plainnet train sqlite:///shop.db --query orders --target returned

plainnet train houses.csv --target price --track mlflow --track-to sqlite:///mlflow.db"""


#: What --resume leaves to be said: all else is in the checkpoint.
WITH_RESUME = ("table", "resume", "cluster", "workers", "checkpoint_every", "tracker", "track_to", "as_json")


def train(
    context: typer.Context,
    table: str | None = argument(
        "CSV, TSV, Parquet, Arrow, JSON lines, Excel, a folder or 'pattern*' of files, sqlite:///FILE or postgresql://…; "
        "without one, the bundled Adult table."
    ),
    target: str | None = option("Column to predict.", "--target", "-t"),
    out: options.RunOut = None,
    overwrite: options.Overwrite = False,
    query: options.Query = None,
    task: options.Task = None,
    test: float | None = option("Share of the rows held out for the test scores.  [default: 0.2; 0 with --folds]"),
    folds: int | None = option(
        "Cross-validation: test on each of so many folds, trained on the others; the model kept learns from all rows."
    ),
    group: options.Group = None,
    time: options.SplitTime = None,
    number: options.Number = None,
    category: options.Category = None,
    date: options.Date = None,
    ignore: options.Ignore = None,
    increasing: list[str] | None = option(
        "Number with which the prediction never falls, all else the same; of two classes the later one's probability. Repeatable."
    ),
    decreasing: list[str] | None = option("Number with which it never rises. Repeatable."),
    effort: str = typer.Option("default", help="quick, default or best: how many networks, and how long."),
    members: int | None = option("Networks that vote; 1: a single plain network.  [default: by effort and rows]"),
    time_limit: float | None = option("Seconds of training at most."),
    hidden: str | None = option("Widths of the hidden layers, such as 64,64.  [default: each network's own]"),
    epochs: options.Epochs = None,
    batch_size: int | None = option("Rows in a step.  [default: by the number of rows]"),
    learning_rate: float | None = option("Highest learning rate of the schedule.  [default: by the kind of target]"),
    patience: int | None = option("Stop after so many epochs without a new best.  [default: a third of all]"),
    device: str = typer.Option("auto", help="auto, cpu, cuda or mps."),
    seed: int = typer.Option(0, help="Of the splits, the weights and the shuffle: the same seed, the same model."),
    checkpoint_every: str | None = option(
        "Write down the networks' state as often, such as 30s or 5m, in OUT.checkpoint; not that of folds."
    ),
    resume: Path | None = option(
        "Go on with the training of this run from its last checkpoint, which knows the table and all settings."
    ),
    stream: bool = typer.Option(
        False,
        "--stream",
        help="Read the table piece by piece, in little memory: Parquet. Tables of more than 2 GiB always are.",
    ),
    cluster: options.Cluster = None,
    workers: options.Workers = None,
    tracker: str | None = option("tensorboard or mlflow: write the run there too.", "--track"),
    track_to: str | None = option("TensorBoard's log folder, or MLflow's tracking URI."),
    as_json: bool = typer.Option(False, "--json", help="Print run.json instead of the tables."),
) -> None:
    """Train networks on a table, and write a run folder: the model, its scores, its loss curve.

    Ctrl-C and SIGTERM stop the training and keep the best networks so far.
    With --checkpoint-every a training that was stopped or killed goes on with --resume, to the same model file.
    """
    from plainnet.runs.resume import checkpoint_folder
    from plainnet.runs.track import check_tracker
    from plainnet.runs.train_run import resume_run, train_run
    from plainnet.samples.samples import ADULT_PATH, ADULT_TARGET

    every = None if checkpoint_every is None else seconds_of(checkpoint_every, "--checkpoint-every")
    if resume is not None:
        _check_alone(context)
    elif table is None:
        table, target = str(ADULT_PATH), target or ADULT_TARGET
        typer.echo("No table named: training on the bundled one, UCI Adult.", err=True)
    if tracker is not None:
        check_tracker(tracker)
    elif track_to is not None:
        raise SettingError("--track-to says where, and --track by what: add --track tensorboard or --track mlflow.")
    if target is None and resume is None:
        raise SettingError("--target is missing: the column to predict, such as --target price.")
    settings: dict[str, Any] = {
        "effort": effort, "members": members, "time_limit": time_limit, "epochs": epochs, "batch_size": batch_size,
        "learning_rate": learning_rate, "patience": patience, "device": device,
    }  # fmt: skip
    if hidden is not None:
        settings["hidden"] = _widths(hidden)
    if increasing or decreasing:
        settings["monotone"] = _directions(increasing or [], decreasing or [])
    kinds = kinds_of(number, category, date, ignore)
    with on_cluster(cluster, workers):
        if resume is not None:
            run = resume_run(resume, table, checkpoint_every=every, progress=True)
        else:
            run = train_run(
                table or "", target or "", out, query=query, task=task, test_share=test, folds=folds, group=group, time=time,
                kinds=kinds, seed=seed, overwrite=overwrite, progress=True, settings=settings, checkpoint_every=every, stream=stream,
            )  # fmt: skip
    training = run.facts["training"]
    if as_json:
        print_json({"run": str(run.path), **run.facts})
    else:
        reason = run.facts["task_reason"]
        task_and_why = run.facts["task"] + ("" if reason == "chosen by the user" else f", as {reason}")
        typer.echo(f"Predicting {run.target} ({task_and_why}) from {run.facts['table']['rows']:,} rows.")
        networks = f"{training['members']} networks, " if training["members"] > 1 else ""
        took = f"{networks}up to {training['epochs']} epochs" if networks else f"{training['epochs']} epochs"
        best = "" if networks else f"; best epoch {training['best_epoch']}"
        typer.echo(f"{took} in {training['seconds']:.1f} s, engine {training['engine']}{best}.\n")
        print_scores(run.facts["scores"])
        typer.echo(f"\nRun: {run.path}   (plainnet show {run.path} · plainnet predict {run.path} TABLE)")
        if (run.path / "report.html").is_file():  # unless Ctrl-C stopped it
            typer.echo(f"Report: {run.path / 'report.html'}")
    if tracker is not None:
        _tell(run, tracker, track_to)
    if training["stopped_by"] == "time":
        limit = run.facts["settings"]["time_limit"]
        typer.echo(f"Stopped by the time limit of {limit:g} s; the best networks so far are kept.", err=True)
    go_on = f" Go on with: plainnet train --resume {run.path}" if checkpoint_folder(run.path).is_dir() else ""
    crossed = run.facts["folds"]
    if training["stopped_by"] == "interrupt":
        done = f" after {training['epochs']} epochs; the best networks so far are kept."
    elif crossed is not None and crossed["stopped_by"]:
        done = f": {len(crossed['each'])} of {folds or 'the'} folds are done, and scored."
    else:
        return
    typer.echo(f"Stopped by {stop.name()}{done}{go_on}", err=True)
    raise typer.Exit(stop.exit_code())


def _check_alone(context: typer.Context) -> None:
    """Refuse what a checkpoint has already."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in WITH_RESUME and source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise SettingError(f"--resume takes everything from the checkpoint: leave out {option}.")


def _directions(increasing: list[str], decreasing: list[str]) -> dict[str, int]:
    for name in increasing:
        if name in decreasing:
            raise SettingError(f"{name!r} is named by --increasing and by --decreasing: choose one, or leave it out.")
    return dict.fromkeys(increasing, 1) | dict.fromkeys(decreasing, -1)


def _tell(run: Run, tracker: str, to: str | None) -> None:
    """Write the run to a tracker; what goes wrong there is a note, as the run folder is complete."""
    from plainnet.runs.track import track

    try:
        typer.echo(track(run, tracker, to), err=True)
    except PlainnetError as error:
        print_note(f"{error}")


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in text.split(",") if width.strip())
    except ValueError as error:
        raise SettingError(
            f"--hidden holds whole numbers with commas between them, such as 64,64, not {text!r}."
        ) from error


train.__doc__ = f"{inspect.getdoc(train)}\n\n{EXAMPLES}"  # dedented, as Python 3.13 does by itself
