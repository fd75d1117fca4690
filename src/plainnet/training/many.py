"""``train_many``: many networks at once, each on a thread of its own, without Python's lock."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from inspect import signature
from math import inf
from time import perf_counter
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from plainnet.engines.engines import Engine, choose_engine
from plainnet.engines.job import Epochs, Job
from plainnet.errors import LossDivergedError, PlainnetError, PlainnetWarning, SettingError, TrainingError
from plainnet.settings import check_number
from plainnet.tables.wording import did_you_mean
from plainnet.training.checkpoints import Checkpoints
from plainnet.training.ctrl_c import noted_ctrl_c
from plainnet.training.elsewhere import NETWORKS
from plainnet.training.history import History
from plainnet.training.keeping import Keeper
from plainnet.training.prepare import prepared
from plainnet.training.progress import count_bar, say
from plainnet.training.training import record, train

__all__ = ["OnEpochs", "Trial", "train_many"]

#: Called with a network's number, the network, and the epochs it has just been trained for.
OnEpochs = Callable[[int, nn.Module, Epochs], object]

#: What ``train`` takes and a trial cannot have of its own: these belong to the whole call.
SHARED = {"device", "engine", "progress", "on_epoch", "on_epochs"}
#: What it can.
OWN = {*signature(train).parameters, "dropout_seed"} - SHARED - {"model", "optimizer", "checkpoint", "checkpoint_every"}


class Trial:
    """One network of many: what it has of its own.

    Args:
        model: the network, on the CPU, trained in place.
        optimizer: over its parameters.
        rows: indices of the rows of ``x`` and ``y`` to train on, such as a fold's; None: all.
        held_out: indices of the rows to measure the validation loss on.
        options: keyword arguments of ``train`` that this trial has of its own: ``seed``, ``batch_size``, ``scheduler``, …, and
            ``x`` and ``y``; and ``dropout_seed``, of the fused engine's dropout masks, which otherwise comes from torch's generator.

    Attributes:
        is_checked: a training on other rows, like these in all but their number, has shown that all its parts fit together.

    >>> model = nn.Linear(2, 1)
    >>> Trial(model, torch.optim.SGD(model.parameters(), lr=0.1), seed=3)
    Trial(Linear(in_features=2, out_features=1, bias=True), SGD, seed=3)
    """

    is_checked = False

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        rows: Any = None,
        held_out: Any = None,
        **options: Any,
    ) -> None:
        self.model, self.optimizer, self.rows, self.held_out, self.options = model, optimizer, rows, held_out, options

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r:.40}" for name, value in self.options.items())
        return f"Trial({self.model!r:.80}, {type(self.optimizer).__name__}{options})"


def train_many(
    trials: Sequence[Trial],
    x: Any = None,
    y: Any = None,
    *,
    threads: int | None = None,
    engine: Literal["auto", "eager", "fused", "graphed"] = "auto",
    time_limit: float | None = None,
    progress: bool = True,
    on_epochs: OnEpochs | None = None,
    checkpoints: Checkpoints | None = None,
    **options: Any,
) -> list[History]:
    """Train many networks at once: other seeds, rates, widths, rows.

    Each is trained as ``train`` would train it alone, to the last bit, whatever the number of threads. What the fused engine
    cannot train is trained one after the other.

    Args:
        trials: the networks, each with its own optimizer and what else is its own.
        x: (N, …) inputs of all trials that have none of their own.
        y: (N, …) targets.
        threads: how many networks are trained at once; None: one a core.
        engine: as for ``train``.
        time_limit: seconds after which trainings end as they are, and those that have not begun, but for the first, are left out: their
            histories say ``stopped_by='time'``. Looked at a few times a second, and between the epochs of the eager engine.
        progress: show a progress bar on an interactive terminal.
        on_epochs: called as on_epochs(number of the trial, its network, its newest epochs), about 25 times a second and network, on the
            thread that trains it, which waits for the answer; True ends all trainings as they are. The network has its weights
            of then, to be looked at.
        checkpoints: write down from time to time where each network stands, and go on from what they hold, with the numbers of a
            training that was never stopped. They are told beforehand which training begins (``Checkpoints.begin``). The optimizers of
            networks that had been trained to their end stay as they are given.
        options: the other keyword arguments of ``train``, for all trials: ``loss``, ``epochs``, ``batch_size``, ….

    Returns:
        A history for each trial, in order. A trial that failed has its reason in ``History.failure``, and what it reached; the
        others are not touched by it. Ctrl-C ends all and returns what they reached.

    Raises:
        SettingError: there is an option that ``train`` does not have, or that a trial cannot have; or checkpoints are asked for, and
            it is not the fused engine that trains.

    Warns:
        PlainnetWarning: trials failed; the first reasons are named.

    >>> x, y = torch.randn(50, 2), torch.randn(50, 1)
    >>> trials = []
    >>> for rate in (0.01, 0.1):
    ...     model = nn.Linear(2, 1)
    ...     trials.append(Trial(model, torch.optim.SGD(model.parameters(), lr=rate)))
    >>> [len(history) for history in train_many(trials, x, y, loss=nn.MSELoss(), epochs=5)]
    [5, 5]
    """
    check_number("threads", threads, whole=True, least=1)
    check_number("time_limit", time_limit, above=0)
    trials = list(trials)
    _check_trials(trials, options)
    if (trainer := NETWORKS.get()) is not None:
        shared = {"progress": progress, "on_epochs": on_epochs, "checkpoints": checkpoints}
        histories: list[History] = trainer(trials, x, y, engine=engine, time_limit=time_limit, **shared, **options)
        _warn_of_failures(histories)
        return histories
    histories = [History("", "") for _ in trials]
    stop = _Stop(time_limit)
    with (
        contextlib.ExitStack() as stack,
        ThreadPoolExecutor(threads or os.cpu_count() or 1, "plainnet") as pool,
        count_bar(len(trials), "network", shown=progress) as done,
    ):
        jobs: dict[int, tuple[Job, Engine]] = {}
        try:
            for i, trial in enumerate(trials):
                try:
                    jobs[i] = _job(trial, x, y, engine, options, stack, is_watched=on_epochs is not None)
                except Exception as error:  # noqa: BLE001 - one member's failure, whatever it is, is not the others'
                    histories[i].failure = _reason(error)
                    done()
                    continue
                if progress and i == 0 and jobs[i][1].note:
                    say(jobs[i][1].note)

            for _, chosen in jobs.values() if checkpoints is not None else ():
                if chosen.name != "fused":
                    raise SettingError(f"checkpoints are kept by the fused engine alone, and this is {chosen.reason}.")

            # Only now: a thread that comes back from compiled code would wait for Python's lock, which the checks hold.
            def train(i: int) -> None:
                watch = None if on_epochs is None else partial(on_epochs, i, trials[i].model)
                keeper = Keeper(checkpoints, i, trials[i].model)
                histories[i] = _train(*jobs[i], stop, watch, keeper, is_first=i == min(jobs))

            fused = [i for i in jobs if jobs[i][1].name == "fused"]
            _train_in_threads(pool, train, fused, checkpoints, done)
            for i in jobs.keys() - set(fused):
                train(i)
                done()
                if histories[i].stopped_by == "interrupt":
                    break
        except KeyboardInterrupt:
            stop.now("interrupt")
            pool.shutdown()  # which waits for what they reached, also where Ctrl-C came before all had been submitted
            for i in jobs:
                if not len(histories[i]):
                    histories[i].stopped_by = "interrupt"
    if checkpoints is not None:
        checkpoints.write()
    _warn_of_failures(histories)
    return histories


def _check_trials(trials: list[Trial], options: dict[str, Any]) -> None:
    for name in options.keys() & SHARED:
        raise SettingError(f"train_many has no {name}: it trains on the CPU and reports once, at the end.")
    for name in options.keys() - OWN:
        raise SettingError(f"train_many has no option {name!r}{did_you_mean(name, OWN)}.")
    for number, trial in enumerate(trials):
        if not isinstance(trial, Trial):
            raise SettingError(f"trials holds a {type(trial).__name__} at {number}: make it a Trial(model, optimizer).")
        for name in trial.options.keys() & SHARED:
            raise SettingError(f"trial {number} has its own {name}, which is the same for all: pass it to train_many.")
        for name in trial.options.keys() - OWN:
            raise SettingError(f"trial {number} has an unknown option {name!r}{did_you_mean(name, OWN)}.")
    for kind in ("model", "optimizer"):
        if len({id(getattr(trial, kind)) for trial in trials}) < len(trials):
            raise SettingError(f"two trials share a {kind}: each needs its own, such as copy.deepcopy(model) gives.")


def _job(
    trial: Trial, x: Any, y: Any, engine: Any, options: dict[str, Any], stack: contextlib.ExitStack, *, is_watched: bool
) -> tuple[Job, Engine]:
    """Check a trial and choose its engine."""
    merged = {"x": x, "y": y, **options, **trial.options}
    x, y = merged.pop("x"), merged.pop("y")
    if x is None or y is None:
        raise TrainingError("there is no x or no y: pass them to train_many, or to the trial.")
    if trial.held_out is not None:
        merged["validation"] = (x[_index(trial.held_out)], y[_index(trial.held_out)])
    if trial.rows is not None:
        x, y = x[_index(trial.rows)], y[_index(trial.rows)]
        if merged.get("sample_weight") is not None and "sample_weight" not in trial.options:
            merged["sample_weight"] = torch.as_tensor(merged["sample_weight"])[_index(trial.rows)]
    for name in ("loss", "epochs"):
        if name not in merged:
            raise SettingError(f"{name} is missing: pass it to train_many, or to the trial.")
    preparing = prepared(
        trial.model, x, y, optimizer=trial.optimizer, device="cpu", epoch_by_epoch=False, is_watched=is_watched,
        is_checked=trial.is_checked, **merged,
    )  # fmt: skip
    job = stack.enter_context(preparing)
    return job, choose_engine(job, engine)


def _index(rows: Any) -> torch.Tensor:
    return torch.as_tensor(np.asarray(rows))


class _Stop:
    """When trainings are to end before their time, and why."""

    def __init__(self, time_limit: float | None) -> None:
        self.reason, self._deadline = "", perf_counter() + (time_limit or inf)

    def now(self, reason: str) -> None:
        self.reason = self.reason or reason

    def is_set(self) -> bool:
        if perf_counter() > self._deadline:
            self.now("time")
        return self.reason != ""


def _train(
    job: Job,
    engine: Engine,
    stop: _Stop,
    watch: Callable[[Epochs], object] | None,
    keeper: Keeper,
    *,
    is_first: bool,
) -> History:
    """Train one network, until ``stop`` is set; the first, and one that goes on, for a chunk at least, however short the time."""
    is_cut = False

    def run(job: Job) -> Iterator[Epochs]:
        nonlocal is_cut
        with contextlib.closing(engine.run(job, alone=False, standing=keeper.standing)) as parts:  # type: ignore[type-var]
            for part in keeper.followed(parts):
                yield part
                if watch is not None and watch(part) is True:
                    stop.now("on_epoch")
                if stop.is_set():
                    is_cut = True
                    keeper.look(now=True)
                    return

    try:
        if (restored := keeper.restored()) is not None:
            return restored
        if stop.is_set() and keeper.standing.begin is None and not (is_first and stop.reason == "time"):
            return History(engine.name, engine.reason, stopped_by=stop.reason)
        try:
            history = record(job, replace(engine, run=run))
        except LossDivergedError as error:
            history = error.history  # type: ignore[assignment]  # record has set it
            history.failure = _reason(error)
        if is_cut and len(history) < job.epochs:
            history.stopped_by = stop.reason
        return keeper.done(history)
    except Exception as error:  # noqa: BLE001 - one member's failure, whatever it is, is not the others'
        return History(engine.name, engine.reason, failure=_reason(error))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, PlainnetError) else f"{type(error).__name__}: {error}"


def _train_in_threads(
    pool: ThreadPoolExecutor, train: Callable[[int], None], which: list[int], checkpoints: Checkpoints | None, done: Any
) -> None:
    """Train in threads, saying as they are done; between, look for Ctrl-C, and for checkpoints that are due.

    Raises:
        KeyboardInterrupt: Ctrl-C came.
    """
    with noted_ctrl_c() as came:
        left = {pool.submit(train, i) for i in which}
        while left:
            if came.is_set():
                raise KeyboardInterrupt
            if checkpoints is not None:
                checkpoints.write_if_due()
            ended, left = wait(left, timeout=0.1, return_when=FIRST_COMPLETED)
            for future in ended:
                future.result()
                done()


def _warn_of_failures(histories: list[History]) -> None:
    failed = [(number, history.failure) for number, history in enumerate(histories) if history.failure]
    if failed:
        named = "; ".join(f"trial {number}: {failure}" for number, failure in failed[:3])
        more = f" (and {len(failed) - 3} more)" if len(failed) > 3 else ""
        warnings.warn(f"{len(failed)} of {len(histories)} trials failed: {named}{more}", PlainnetWarning, stacklevel=3)
