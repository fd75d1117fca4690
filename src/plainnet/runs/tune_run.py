"""From a table to a run whose settings were searched: the default and the best of many trials, both trained and scored."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Unpack

import torch

from plainnet.errors import MissingExtraError, RunError, SettingError, TableError
from plainnet.estimators.monotone import activation_of
from plainnet.evaluation.evaluation import Estimator
from plainnet.networks.shape import Shape
from plainnet.runs.runs import Run, check_free
from plainnet.runs.train_run import default_folder, keep_run, train_on
from plainnet.runs.trials import Bench, Clock, search, settings_of, space
from plainnet.runs.work import Reading, Work, read_work
from plainnet.settings import TINY_ROWS
from plainnet.storage.storage import plain
from plainnet.tables.encode import encode, feature_names, position_bins
from plainnet.training.progress import count_bar

if TYPE_CHECKING:
    from optuna import Study

__all__ = ["MOST_TRIALS", "tune_run"]

MOST_TRIALS = 10_000
#: Settings that a user may choose for all trials; those that are searched are then left as they are.
FIXABLE = (
    "effort", "members", "epochs", "patience", "hidden", "activation", "dropout", "learning_rate", "weight_decay", "batch_size",
)  # fmt: skip


def tune_run(
    source: str | Path,
    target: str,
    out: Path | None = None,
    *,
    trials: int = 50,
    seconds: float | None = None,
    study: Path | None = None,
    query: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
    settings: Mapping[str, Any] | None = None,
    **reading: Unpack[Reading],
) -> Run:
    """Search for settings, train with the best, and write the run folder.

    The default settings are trained first, as ``train_run`` does. Settings are then tried on the training rows alone, by Optuna's TPE
    sampler (Bergstra and others, NeurIPS 2011) and successive halving; the best are trained as a full run. The run's ``facts['tuning']``
    say how many trials there were, the loss of the default and of the best in the same cross-validation, and the scores of both on
    the test rows, which no trial has seen.

    Args:
        source: the table's file or database.
        target: name of the column to predict.
        out: the run folder; None: the first free of runs/NAME-1, runs/NAME-2, …
        trials: settings to try, 1 … 10 000; those that ``study`` has already count.
        seconds: for the trials, at most; the two full trainings come on top. None: no limit.
        study: SQLite file that keeps the trials, to go on from; None: they are forgotten.
        query: as for ``train_run``, as are ``overwrite`` and ``progress``.
        overwrite: as above.
        progress: as above.
        settings: for all trials and both trainings; those named here are not searched.
        reading: ``task``, ``test_share`` (0.2), ``group``, ``time``, ``kinds`` and ``seed``, as for ``train_run``. The seed is
            also that of the trials: the same seed, the same trials, also where a study was stopped in between.

    Returns:
        The run: of the best trial, or of the default settings where no trial was better. Ctrl-C ends the trials and keeps the best so far.

    Raises:
        MissingExtraError: Optuna is not installed.
        SettingError: an argument is outside its range, or the study is of other rows or settings.
        PlainnetError: the table, a setting, the study file or the folder cannot be used.
    """
    fixed = {name: value for name, value in (settings or {}).items() if value is not None}
    _check(trials, seconds, fixed)
    if out is not None:
        check_free(out, overwrite=overwrite)
    started = perf_counter()
    work = read_work(source, target, query=query, **reading)
    if len(work.parts["train"]) <= TINY_ROWS:
        raise TableError(
            f"{len(work.parts['train'])} training rows are too few to choose settings by: tuning needs more than {TINY_ROWS}. Use "
            "plainnet train."
        )
    kept = _open(study, _about(work, fixed))
    estimator, facts = train_on(work, fixed, progress=progress)
    default, tried, clock = facts, perf_counter(), Clock(seconds)
    default_loss, best = None, None
    if default["training"]["stopped_by"] == "interrupt":
        clock.stopped_by = "interrupt"
    else:
        default_loss, best = _search(kept, _bench(work, estimator, fixed), trials, clock, progress=progress)
    tried = perf_counter() - tried
    tuned = best if best is not None and (default_loss is None or best[0] < default_loss) else None
    found = {} if tuned is None else settings_of(tuned[2])
    if tuned is not None:
        estimator, facts = train_on(work, {**fixed, **found}, progress=progress)
    facts["tuning"] = {
        "kept": "default" if tuned is None else "tuned",
        "settings": {name: plain(value) for name, value in found.items()},
        "default_loss": default_loss,
        "best_loss": None if best is None else best[0],
        "best_trial": None if tuned is None else tuned[1],
        **_counts(kept),
        "default_scores": default["scores"],
        "default_training": default["training"],
        "stopped_by": clock.stopped_by,
        "seconds": round(tried, 3),
        "study": None if study is None else str(study),
        "study_name": kept.study_name,
    }
    facts["seconds"] = round(perf_counter() - started, 3)
    return keep_run(out or default_folder(source), work, estimator, facts, overwrite=overwrite)


def _check(trials: int, seconds: float | None, fixed: Mapping[str, Any]) -> None:
    if find_spec("optuna") is None:
        raise MissingExtraError("optuna", "tune", "Searching for settings")
    if not 1 <= trials <= MOST_TRIALS:
        raise SettingError(f"the number of trials is from 1 to {MOST_TRIALS:,}, not {trials:,}.")
    if seconds is not None and not seconds > 0:
        raise SettingError(f"the time for the trials is above 0 seconds, not {seconds:g}.")
    for name in fixed:
        if name not in FIXABLE:
            raise SettingError(
                f"{name!r} is no setting that trials can have in common; there are {', '.join(FIXABLE)}."
            )
    if not space(1, fixed):
        raise SettingError("there is nothing to search for: every setting is chosen already. Use plainnet train.")


def _about(work: Work, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a study is of: its trials can be compared only where all this is the same."""
    return {
        "target": work.facts["target"],
        "sha256": work.facts["table"]["sha256"],
        "task": work.task,
        "seed": work.seed,
        "split": f"by {work.facts['split']['by']}, test {work.facts['test_share']:g}",
        "kinds": {name: work.kinds[name] for name in sorted(work.kinds)},
        "settings": {name: plain(fixed[name]) for name in sorted(fixed)},
    }


def _open(path: Path | None, about: Mapping[str, Any]) -> Study:
    """Open the study of a table and a target, or begin it.

    Raises:
        SettingError: the file holds a study of the same target, and the table, the split or a setting is another.
        RunError: the file cannot be used.
    """
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    name = f"{about['target']} {about['sha256'][:16]}"
    if path is None:
        return optuna.create_study(study_name=name)
    from sqlalchemy import URL, NullPool
    from sqlalchemy.exc import SQLAlchemyError

    try:
        url = URL.create("sqlite", database=str(path)).render_as_string()
        storage = optuna.storages.RDBStorage(url, engine_kwargs={"poolclass": NullPool})  # a pool is closed by nobody
        for other in optuna.get_all_study_names(storage):
            kept = optuna.load_study(study_name=other, storage=storage).user_attrs.get("plainnet", {})
            changed = (
                [key for key in about if kept.get(key) != about[key]] if kept.get("target") == about["target"] else []
            )
            if changed:
                key, was = changed[0], kept.get(changed[0])
                what = "table, or this table before it changed" if key == "sha256" else key
                raise SettingError(
                    f"{str(path)!r} holds trials of {about['target']!r} with another {what} ({was!r:.60}, not {about[key]!r:.60}), "
                    "which cannot be compared with new ones. Name another file with --study."
                )
        study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
        study.set_user_attr("plainnet", about)
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):  # of a process that was killed
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
        return study
    except (SQLAlchemyError, RuntimeError, ValueError, OSError) as error:
        if isinstance(error, SettingError):
            raise
        reason = str(error).partition("\n")[0]
        raise RunError(
            f"{str(path)!r} cannot be used to keep a study: {reason}. Name another file with --study."
        ) from error


def _bench(work: Work, fitted: Estimator, fixed: Mapping[str, Any]) -> Bench:
    """Encode the rows as the default's networks see them."""

    def encoded(part: str) -> tuple[torch.Tensor, torch.Tensor]:
        rows, y = work.of(part)
        x, _ = encode(fitted.schema_, rows)
        return torch.from_numpy(x), torch.from_numpy(fitted.target_.encode(y))

    x, y = encoded("train")
    n_in, bins = len(feature_names(fitted.schema_)), position_bins(fitted.schema_)
    shape = Shape(n_in, fitted.target_.n_outputs, activation=activation_of(fitted), bins=bins)
    validation = encoded("validation") if "validation" in work.scored else None
    return Bench(x, y, validation, shape, fitted.target_, fixed, work.seed)


#: The loss, the number and the parameters of a trial.
Best = tuple[float, int, dict[str, Any]]


def _search(
    study: Study, bench: Bench, n_trials: int, clock: Clock, *, progress: bool
) -> tuple[float | None, Best | None]:
    """Measure the default settings, then try others; return the default's loss and the best trial, in the same cross-validation."""
    default = study.user_attrs.get("default_loss")
    try:
        if default is None:
            attempts = bench.begin([{}])
            if not all(bench.go_on(attempts, rung, clock) for rung in bench.rungs):
                return None, None
            default = attempts[0].loss if isfinite(attempts[0].loss) else None
            study.set_user_attr("default_loss", default)
        done = _counts(study)["trials"]
        with count_bar(max(n_trials, done), "trial", shown=progress, done=done) as advance:
            search(study, bench, n_trials, clock, lambda: advance(_so_far(study, default)))
    except KeyboardInterrupt:
        clock.stopped_by = "interrupt"
    return default, _best(study)


def _so_far(study: Study, default: float | None) -> str:
    best = _best(study)
    known = [f"default {default:.5g}"] if default is not None else []
    return "loss: " + ", ".join(known + ([f"best {best[0]:.5g}"] if best else []))


def _best(study: Study) -> Best | None:
    """Return the best trial that was trained to its end; None without such."""
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ranked = [(float(trial.value), trial.number, dict(trial.params)) for trial in complete if trial.value is not None]
    return min(ranked, key=lambda each: each[:2], default=None)


def _counts(study: Study) -> dict[str, int]:
    """Return how many trials came to their end, and how many of them before the last epoch."""
    from optuna.trial import TrialState

    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return {"trials": len(ended), "ended_early": sum(trial.state == TrialState.PRUNED for trial in ended)}
