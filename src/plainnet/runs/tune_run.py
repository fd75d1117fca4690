"""From a table to a run whose settings were searched: the default and the best of many trials, both trained and scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch

from plainnet.errors import MissingExtraError, RunError, SettingError, TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.monotone import activation_of
from plainnet.estimators.regressor import NetRegressor
from plainnet.networks.shape import Shape
from plainnet.runs.runs import Run, check_free
from plainnet.runs.train_run import default_folder, keep_run, train_on
from plainnet.runs.trials import Bench, Clock, search, settings_of, space
from plainnet.runs.work import Work, read_work
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
    task: str | None = None,
    test_share: float = 0.2,
    group: str | None = None,
    time: str | None = None,
    kinds: Mapping[str, str] | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: bool = False,
    settings: Mapping[str, Any] | None = None,
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
        query: as for ``train_run``, as the next seven and ``progress``.
        task: as above.
        test_share: as above.
        group: as above.
        time: as above.
        kinds: as above.
        seed: also of the trials: the same seed, the same trials, also where a study was stopped in between.
        overwrite: as above.
        progress: as above.
        settings: for all trials and both trainings; those named here are not searched.

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
    work = read_work(
        source, target, query=query, task=task, test_share=test_share, group=group, time=time, kinds=kinds, seed=seed
    )
    if len(work.parts["train"]) <= TINY_ROWS:
        raise TableError(
            f"{len(work.parts['train'])} training rows are too few to choose settings by: tuning needs more than {TINY_ROWS}. Use "
            "plainnet train."
        )
    kept = _open(study, _about(work, test_share, fixed))
    estimator, facts = train_on(work, fixed, progress=progress)
    default = facts
    found = _Found(default_loss=None, best_loss=None, best={}, number=None, stopped_by=facts["training"]["stopped_by"])
    tried = perf_counter()
    if found.stopped_by != "interrupt":
        found = _search(kept, _bench(work, estimator, fixed), trials, Clock(seconds), progress=progress)
    tried = perf_counter() - tried
    if found.number is not None:
        estimator, facts = train_on(work, {**fixed, **found.best}, progress=progress)
    facts["tuning"] = {
        "kept": "default" if found.number is None else "tuned",
        "settings": {name: plain(value) for name, value in found.best.items()},
        "default_loss": found.default_loss,
        "best_loss": found.best_loss,
        "best_trial": found.number,
        **_counts(kept),
        "default_scores": default["scores"],
        "default_training": default["training"],
        "stopped_by": found.stopped_by,
        "seconds": round(tried, 3),
        "study": None if study is None else str(study),
        "study_name": kept.study_name,
    }
    facts["seconds"] = round(perf_counter() - started, 3)
    return keep_run(out or default_folder(source), work, estimator, facts, overwrite=overwrite)


@dataclass(frozen=True)
class _Found:
    """What the trials brought: losses in the same cross-validation; settings and number of the best trial, if it beats the default."""

    default_loss: float | None
    best_loss: float | None
    best: dict[str, Any]
    number: int | None
    stopped_by: str


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


def _about(work: Work, test_share: float, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a study is of: its trials can be compared only where all this is the same."""
    return {
        "target": work.facts["target"],
        "sha256": work.facts["table"]["sha256"],
        "task": work.task,
        "seed": work.seed,
        "split": f"by {work.facts['split']['by']}, test {test_share:g}",
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
    from sqlalchemy import URL
    from sqlalchemy.exc import SQLAlchemyError

    try:
        url = URL.create("sqlite", database=str(path)).render_as_string()
        storage = optuna.storages.RDBStorage(url)
        for other in optuna.get_all_study_names(storage):
            _compare(path, optuna.load_study(study_name=other, storage=storage).user_attrs.get("plainnet", {}), about)
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


def _compare(path: Path, other: Mapping[str, Any], about: Mapping[str, Any]) -> None:
    """Refuse to mix trials of the same target that cannot be compared."""
    if other.get("target") != about["target"]:
        return
    for key, value in about.items():
        if other.get(key) == value:
            continue
        what = "table, or this table before it changed" if key == "sha256" else key
        raise SettingError(
            f"{str(path)!r} holds trials of {about['target']!r} with another {what} ({other.get(key)!r:.60}, not {value!r:.60}), which "
            "cannot be compared with new ones. Name another file with --study."
        )


def _bench(work: Work, fitted: NetClassifier | NetRegressor, fixed: Mapping[str, Any]) -> Bench:
    """Encode the rows as the default's networks see them."""

    def encoded(part: str) -> tuple[torch.Tensor, torch.Tensor]:
        rows, y = work.of(part)
        x, _ = encode(fitted.schema_, rows)
        return torch.from_numpy(x), torch.from_numpy(fitted.target_.encode(y))

    x, y = encoded("train")
    shape = Shape(
        len(feature_names(fitted.schema_)),
        fitted.target_.n_outputs,
        activation=activation_of(fitted),
        bins=position_bins(fitted.schema_),
    )
    validation = encoded("validation") if "validation" in work.scored else None
    return Bench(x, y, validation, shape, fitted.target_, fixed, work.seed)


def _search(study: Study, bench: Bench, n_trials: int, clock: Clock, *, progress: bool) -> _Found:
    """Measure the default settings, then try others."""
    default = study.user_attrs.get("default_loss")
    try:
        if default is None:
            attempts = bench.begin([{}])
            if not all(bench.go_on(attempts, rung, clock) for rung in bench.rungs):
                return _Found(None, None, {}, None, clock.stopped_by)
            default = attempts[0].loss if isfinite(attempts[0].loss) else None
            study.set_user_attr("default_loss", default)
        done = _counts(study)["trials"]
        with count_bar(max(n_trials, done), "trial", shown=progress, done=done) as advance:
            search(study, bench, n_trials, clock, lambda: advance(_so_far(study, default)))
    except KeyboardInterrupt:
        clock.stopped_by = "interrupt"
    best = _best(study)
    if best is None:
        return _Found(default, None, {}, None, clock.stopped_by)
    loss, number, params = best
    is_better = default is None or loss < default
    return _Found(
        default, loss, settings_of(params) if is_better else {}, number if is_better else None, clock.stopped_by
    )


def _so_far(study: Study, default: float | None) -> str:
    best = _best(study)
    known = [f"default {default:.5g}"] if default is not None else []
    return "loss: " + ", ".join(known + ([f"best {best[0]:.5g}"] if best else []))


def _best(study: Study) -> tuple[float, int, dict[str, Any]] | None:
    """Return the loss, the number and the parameters of the best trial that was trained to its end; None without such."""
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    ranked = [(float(trial.value), trial.number, dict(trial.params)) for trial in complete if trial.value is not None]
    return min(ranked, key=lambda each: each[:2], default=None)


def _counts(study: Study) -> dict[str, int]:
    """Return how many trials came to their end, and how many of them before the last epoch."""
    from optuna.trial import TrialState

    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return {"trials": len(ended), "ended_early": sum(trial.state == TrialState.PRUNED for trial in ended)}
