"""A run folder  ->  the same numbers in an experiment tracker: TensorBoard or MLflow.

The run folder is the record; a tracker gets a copy, written from run.json and history.csv once the folder is complete.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from plainnet.errors import MissingExtraError, RunError, SettingError
from plainnet.runs.runs import Run
from plainnet.tables.wording import did_you_mean

__all__ = ["TRACKERS", "check_tracker", "track"]

#: The tracker, and the package that it needs: its name to import and to install.
TRACKERS = {"tensorboard": ("tensorboard", "tensorboard"), "mlflow": ("mlflow", "mlflow-skinny")}
#: MLflow's limits: metrics in one request, characters of a parameter.
MOST_METRICS, MOST_LETTERS = 1000, 6000


def check_tracker(tracker: str) -> None:
    """Check that runs can be written to a tracker: before a training, rather than after.

    Raises:
        SettingError: there is no such tracker.
        MissingExtraError: its package is not installed.
    """
    if tracker not in TRACKERS:
        raise SettingError(
            f"runs are tracked by {' or '.join(TRACKERS)}, not by {tracker!r}{did_you_mean(tracker, TRACKERS)}."
        )
    module, package = TRACKERS[tracker]
    if find_spec(module) is None:
        raise MissingExtraError(package, "track", f"Writing runs to {tracker}")


def track(run: Run, tracker: str, to: str | None = None) -> str:
    """Write a run to a tracker: its settings, the loss, validation loss and learning rate of each epoch, its scores, its path.

    Args:
        run: that is complete.
        tracker: 'tensorboard' or 'mlflow'.
        to: TensorBoard's log folder, None: ``tensorboard``; MLflow's tracking URI, None: MLFLOW_TRACKING_URI, or MLflow's own default.

    Returns:
        Where it now is, in words.

    Raises:
        SettingError, MissingExtraError: as ``check_tracker``.
        RunError: the tracker refuses, or has this run already. The run folder is untouched.
    """
    check_tracker(tracker)
    try:
        return _to_tensorboard(run, to) if tracker == "tensorboard" else _to_mlflow(run, to)
    except RunError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).partition("\n")[0][:500].rstrip(". ")
        raise RunError(
            f"{str(run.path)!r} could not be written to {tracker}: {reason}. The run folder itself is complete; try again with: "
            f"plainnet track {run.path} {tracker}"
        ) from error


def _to_tensorboard(run: Run, to: str | None) -> str:
    folder = Path(to or "tensorboard") / run.path.resolve().name
    if folder.exists():
        raise RunError(
            f"{str(folder)!r} is already there, and is not written to again. Remove it, or name another folder with --to."
        )
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for name, step, value in _epochs(run):
            writer.add_scalar(name, value, step)
        writer.add_text("run", str(run.path.resolve()))
        # '.': beside the rest, not in a folder of its own
        writer.add_hparams(_settings(run), dict(_scores(run)), run_name=".")
    return f"TensorBoard: {folder} (look at it with: tensorboard --logdir {folder.parent})"


def _to_mlflow(run: Run, to: str | None) -> str:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is sent but to the tracking server named
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param, RunTag

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of each table that it makes in a new database
    client = MlflowClient(tracking_uri=to)
    name = "plainnet"
    experiment = client.get_experiment_by_name(name)
    experiment_id = client.create_experiment(name) if experiment is None else experiment.experiment_id
    created = run.facts.get("created")
    now = round((datetime.fromisoformat(created) if created else datetime.now().astimezone()).timestamp() * 1000)
    kept = client.create_run(experiment_id, start_time=now, run_name=run.path.resolve().name)
    key = kept.info.run_id
    try:
        client.log_batch(
            key,
            params=[Param(name, str(value)[:MOST_LETTERS]) for name, value in _settings(run).items()],
            tags=[
                RunTag("plainnet.run", str(run.path.resolve())),
                RunTag("plainnet.table", run.facts["table"]["source"]),
            ],
        )
        metrics = [Metric(name, value, now, step) for name, step, value in _epochs(run)]
        # MLflow refuses other signs: 'test/90 % interval coverage' is 'test/90 percent interval coverage' there.
        scores = ((re.sub(r"[^\w./: -]", "_", name.replace("%", "percent")), value) for name, value in _scores(run))
        metrics += [Metric(name, value, now, 0) for name, value in scores]
        for first in range(0, len(metrics), MOST_METRICS):
            client.log_batch(key, metrics=metrics[first : first + MOST_METRICS])
    except BaseException:
        client.set_terminated(key, status="FAILED")
        raise
    client.set_terminated(key, end_time=now + round(1000 * run.facts["training"]["seconds"]))
    return f"MLflow: run {key} of the experiment {name!r}"


def _epochs(run: Run) -> Iterator[tuple[str, int, float]]:
    """Yield the name, the epoch and the value of what history.csv holds."""
    for epoch in run.history().epochs:
        yield "loss", epoch.index, epoch.loss
        if epoch.validation_loss is not None:
            yield "validation_loss", epoch.index, epoch.validation_loss
        yield "learning_rate", epoch.index, epoch.learning_rate


def _scores(run: Run) -> Iterator[tuple[str, float]]:
    for part, scores in run.facts["scores"].items():
        for score in scores:
            yield f"{part}/{score['metric']}", float(score["value"])


def _settings(run: Run) -> dict[str, Any]:
    """Return the settings of a run that are set, its target and its seed, as single values."""
    facts = run.facts
    wanted = {"target": run.target, "task": facts["task"], "seed": facts["seed"], **facts.get("settings", {})}
    return {
        name: value if isinstance(value, str | int | float | bool) else json.dumps(value, ensure_ascii=False)
        for name, value in wanted.items()
        if value is not None
    }
