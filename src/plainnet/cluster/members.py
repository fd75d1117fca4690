"""The networks of ``train_many``, and so of packs, folds and tuning, as tasks of a Ray cluster.

A network is one task, trained as ``train_many`` trains it in this process, to the last bit on the same kind of CPU. A task whose process
is lost is done again, by Ray.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from math import inf
from time import perf_counter
from typing import Any

import ray
import torch
from torch import Tensor

from plainnet.cluster.data_parallel import cannot_train
from plainnet.cluster.worker import hooks_of
from plainnet.engines.fused import draw_dropout_seed
from plainnet.training.checkpoints import Checkpoints
from plainnet.training.ctrl_c import noted_ctrl_c
from plainnet.training.history import History
from plainnet.training.keeping import Keeper
from plainnet.training.many import OnEpochs, Trial, train_many
from plainnet.training.progress import count_bar

__all__ = ["train_members"]

#: How often a task is begun anew whose process was lost.
MOST_LOSSES = 5
#: Seconds between two looks at Ctrl-C, and that tasks have to end after it.
LOOK_SECONDS, END_SECONDS = 0.1, 30.0
#: What a trial has of its own that may be large, and that trials share: it is put into Ray's store once.
ARRAYS = ("x", "y", "sample_weight", "validation")


class _Store:
    """Puts arrays into Ray's store, each once."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[Any, Any]] = {}

    def put(self, value: Any) -> Any:
        """Return a reference to an array's copy in the store."""
        if id(value) not in self._kept:
            fits = isinstance(value, Tensor) and value.device.type == "cpu" and value.dtype != torch.bfloat16
            self._kept[id(value)] = (value, ray.put(value.detach().numpy() if fits else value))
        return self._kept[id(value)][1]


def _sent(trial: Trial, x: Any, y: Any, dropout_seed: int | None, store: _Store) -> tuple[Any, list[Any]]:
    """Return a trial as one parcel, whose parts stay one another's, and references to its arrays."""
    options, places, arrays = dict(trial.options) | {"dropout_seed": dropout_seed}, [], []
    given = {"x": x, "y": y} | {name: options.pop(name) for name in ARRAYS if options.get(name) is not None}
    for name, value in given.items():
        is_tuple = isinstance(value, tuple)
        for part in value if is_tuple else (value,):
            places.append((name, is_tuple))
            arrays.append(store.put(part))
    parcel = (trial.model, trial.optimizer, trial.rows, trial.held_out, options, hooks_of(trial.optimizer), places)
    return parcel, arrays


def _dropout_seed(trial: Trial, engine: str) -> int | None:
    """Return the seed of a trial's dropout masks: of trials in their order, as this process would draw them."""
    own: int | None = trial.options.get("dropout_seed")
    return draw_dropout_seed(trial.model) if own is None and engine == "fused" else own


def _train_one(parcel: Any, engine: Any, time_limit: float | None, shared: Any, *arrays: Any) -> tuple[History, Any]:
    """Train one network in the process of a task; return its history, and the states of network, optimizer and scheduler."""
    model, optimizer, rows, held_out, options, hooks, places = parcel
    for hook in hooks:
        optimizer.register_step_post_hook(hook)
    given: dict[str, Any] = {}
    for (name, is_tuple), array in zip(places, arrays, strict=True):
        given[name] = (*given.get(name, ()), array) if is_tuple else array
    trial = Trial(model, optimizer, rows=rows, held_out=held_out, **given, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the caller's process says it
        history = train_many([trial], threads=1, engine=engine, time_limit=time_limit, progress=False, **shared)[0]
    return history, tuple(each.state_dict() for each in _parts(trial))


def _parts(trial: Trial) -> list[Any]:
    """Return what of a trial has a state that training changes."""
    scheduler = trial.options.get("scheduler")
    return [trial.model, trial.optimizer, *([scheduler] if hasattr(scheduler, "state_dict") else [])]


def train_members(
    n_workers: int,
    trials: Sequence[Trial],
    x: Any,
    y: Any,
    *,
    engine: Any,
    time_limit: float | None,
    progress: bool,
    on_epochs: OnEpochs | None,
    checkpoints: Checkpoints | None,
    **options: Any,
) -> list[History]:
    """Train as ``train_many``, whose arguments these are, by tasks; ``n_workers`` of them at once."""
    histories = [History("", "") for _ in trials]
    queue = _Queue(trials, x, y, engine, options)
    deadline = perf_counter() + (time_limit or inf)
    stopped_by = ""
    waiting: list[int] = []
    for i, trial in enumerate(trials):
        if (history := Keeper(checkpoints, i, trial.model).restored()) is not None:
            histories[i] = history
        else:
            waiting.insert(0, i)
    with noted_ctrl_c() as came, count_bar(len(trials), "network", shown=progress) as done, contextlib.closing(queue):
        while waiting or queue.running:
            while waiting and len(queue.running) < n_workers and not stopped_by:
                left = deadline - perf_counter()
                if left <= 0 and len(waiting) < len(trials):
                    stopped_by = "time"
                    break
                queue.begin(waiting.pop(), None if left == inf else max(left, 1e-3))
            if came.is_set() and stopped_by != "interrupt":
                stopped_by = "interrupt"
                queue.cancel()
            if stopped_by and not queue.running:
                break
            for i, history in queue.ended():
                histories[i] = Keeper(checkpoints, i, trials[i].model).done(history)
                done()
                if on_epochs is not None and len(history) and on_epochs(i, trials[i].model, history.epochs) is True:
                    stopped_by = stopped_by or "on_epoch"
                    queue.cancel()
            if checkpoints is not None:
                checkpoints.write_if_due()
    for history in histories if stopped_by else ():
        is_left_out = not len(history) and not history.failure
        if is_left_out or history.stopped_by == "interrupt":  # which is how a task is told to end, whatever the reason
            history.stopped_by = stopped_by
    if checkpoints is not None:
        checkpoints.write()
    return histories


class _Queue:
    """Tasks under way."""

    def __init__(self, trials: Sequence[Trial], x: Any, y: Any, engine: Any, options: dict[str, Any]) -> None:
        self._task = ray.remote(num_cpus=1, max_retries=MOST_LOSSES)(_train_one)
        self._trials, self._x, self._y, self._engine = trials, x, y, engine
        self._options, self._store = options, _Store()
        self._seeds = [_dropout_seed(trial, engine) for trial in trials]
        self.running: dict[Any, int] = {}
        self._cancelled = inf

    def close(self) -> None:
        """End all tasks at once."""
        for task in self.running:
            ray.cancel(task, force=True)

    def begin(self, i: int, time_limit: float | None) -> None:
        """Begin with a network."""
        parcel, arrays = _sent(self._trials[i], self._x, self._y, self._seeds[i], self._store)
        self.running[self._task.remote(parcel, self._engine, time_limit, self._options, *arrays)] = i

    def cancel(self) -> None:
        """Have all tasks end soon, with what they have reached."""
        self._cancelled = perf_counter()
        for task in self.running:
            ray.cancel(task)

    def ended(self) -> list[tuple[int, History]]:
        """Return the networks that are trained since the last look, for which it waits a moment; they have their weights."""
        found = []
        done, _ = ray.wait(list(self.running), num_returns=len(self.running), timeout=LOOK_SECONDS)
        for task in done:
            i = self.running.pop(task)
            try:
                history, states = ray.get(task)
            except ray.exceptions.TaskCancelledError:
                found.append((i, History("", "", stopped_by="interrupt")))
                continue
            except ray.exceptions.RayTaskError as error:
                raise cannot_train(error) from error
            except ray.exceptions.RayError as error:
                text = str(error).partition("\n")[0]
                found.append((i, History("", "", failure=f"its worker was lost {MOST_LOSSES + 1} times: {text}")))
                continue
            for part, state in zip(_parts(self._trials[i]), states, strict=True):
                part.load_state_dict(state)
            found.append((i, history))
        if perf_counter() > self._cancelled + END_SECONDS:
            found += [(i, History("", "", stopped_by="interrupt")) for i in self.running.values()]
            self.close()
            self.running = {}
        return found
