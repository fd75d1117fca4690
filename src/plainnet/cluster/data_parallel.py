"""A training whose rows are spread over workers: started, followed, and gone on with where a worker is lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic
from typing import Any, Literal

import ray

from plainnet.cluster.worker import Ended, Task, Worker
from plainnet.engines.engines import Engine, choose_engine
from plainnet.engines.fused import kernels_of
from plainnet.engines.job import Epoch, Epochs, Job, State
from plainnet.engines.plan import make_plan
from plainnet.errors import LossDivergedError, RunError, SettingError
from plainnet.kernels import driver
from plainnet.kernels.kernels import compiled
from plainnet.training.ctrl_c import noted_ctrl_c
from plainnet.training.history import History
from plainnet.training.progress import progress_bar, say

__all__ = ["Crew", "cannot_train", "engine_of_workers", "train_together"]

#: Seconds between two questions to the first worker.
ASK_SECONDS = 0.1
#: Seconds that workers have to end after Ctrl-C, and to notice that another one is gone.
END_SECONDS = 30
#: Losses of workers without an epoch between them, after which the training is given up.
MOST_LOSSES = 4


class Crew:
    """The workers of a training. One that is lost is replaced by another with the same rows.

    Attributes:
        workers: the actors; None where one was lost.
        dealt: what each said to its rows.
    """

    def __init__(self, n_workers: int, *, gpus: bool = False) -> None:
        options = {"num_cpus": 1, "num_gpus": int(gpus), "max_concurrency": 4}
        self._class = ray.remote(**options)(Worker)
        self._deal: Callable[[Any, int], Any] = lambda _, __: None
        self.dealt: list[Any] = [None] * n_workers
        self.workers: list[Any] = [None] * n_workers

    def hand_out(self, deal: Callable[[Any, int], Any]) -> None:
        """Give each worker its rows, now and whenever one is replaced.

        Args:
            deal: called with a worker and its number, calls a method of the worker; what that returns is kept in ``dealt``.

        Raises:
            RunError: a worker cannot begin.
        """
        self._deal = deal
        try:
            self.fill()
        except ray.exceptions.RayError as error:
            raise cannot_train(error) from error

    def fill(self) -> None:
        """Start the workers that are not there, and wait until they have their rows."""
        missing = [rank for rank, worker in enumerate(self.workers) if worker is None]
        for rank in missing:
            self.workers[rank] = self._class.remote(rank, len(self.workers))
        dealt = [self._deal(self.workers[rank], rank) for rank in missing]
        for rank, found in zip(missing, dealt, strict=True):
            self.dealt[rank] = ray.get(found)

    def dismiss(self, rank: int) -> None:
        """End a worker."""
        if self.workers[rank] is not None:
            ray.kill(self.workers[rank])
            self.workers[rank] = None

    def close(self) -> None:
        """End all workers."""
        for rank in range(len(self.workers)):
            self.dismiss(rank)


class _Follower:
    """What is known of a training that others run: its epochs, and the newest state to go on from."""

    def __init__(self, crew: Crew, history: History, show: Callable[[Epoch], None], on_epoch: Any) -> None:
        self.crew, self.history, self.show, self.on_epoch = crew, history, show, on_epoch
        self.begin: State | None = None
        self.stopped_by = ""

    def learn(self, epochs: Epochs) -> None:
        """Take note of epochs; those that were trained again after a loss are known already."""
        for epoch in epochs:
            if epoch.index >= len(self.history):
                self.history.epochs.append(epoch)
                self.show(epoch)
                if not self.stopped_by and self.on_epoch is not None and self.on_epoch(epoch) is True:
                    self.stop("on_epoch")

    def stop(self, reason: str) -> None:
        """Have the workers end."""
        self.stopped_by = reason
        if self.crew.workers[0] is not None:
            self.crew.workers[0].stop.remote()

    def ask(self) -> None:
        """Ask the first worker for news; where it is lost, there are none."""
        first = self.crew.workers[0]
        if first is None:
            return
        with contextlib.suppress(ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            epochs, state = ray.get(first.news.remote(), timeout=END_SECONDS)
            self.begin = self.begin if state is None else state
            self.learn(epochs)


def train_together(
    crew: Crew,
    task: Task,
    firsts: Sequence[int],
    *,
    progress: bool = False,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> tuple[History, tuple[Any, ...]]:
    """Train with a crew that has its rows.

    Args:
        crew: the workers.
        task: what they are told.
        firsts: number of each worker's first row.
        progress: show a progress bar.
        on_epoch: as for ``train``.

    Returns:
        The history, and the states of the network, the optimizer and the scheduler; no states where Ctrl-C came and nothing answered.

    Raises:
        LossDivergedError: as for ``train``; it carries the history, and the states as ``states``.
        RunError: workers were lost again and again.
    """
    history = History(task.engine, task.reason)
    losses = 0
    with noted_ctrl_c() as came, progress_bar(task.job.epochs, shown=progress) as show:
        follower = _Follower(crew, history, show, on_epoch)
        while True:
            before = len(history)
            ended = _run(follower, task, firsts, came)
            if ended is not None:
                break
            losses = losses + 1 if len(history) == before else 1
            if losses == MOST_LOSSES:
                raise RunError(
                    f"{losses} times in turn a worker was lost before an epoch was over, perhaps for want of memory: try fewer workers "
                    "on each machine, or see Ray's logs in /tmp/ray/session_latest/logs."
                )
            if progress:
                say("a worker was lost, and is replaced: going on from the last checkpoint")
    if ended.history is not None:
        follower.learn(ended.history.epochs)
        history.stopped_by = ended.history.stopped_by
    stopping = task.job.stopping
    history.restored_best = stopping is not None and stopping.restore_best and bool(len(history))
    if follower.stopped_by and len(history) < task.job.epochs:
        history.stopped_by = follower.stopped_by
    if ended.diverged:
        history.stopped_by = "divergence"
        error = LossDivergedError(ended.diverged)
        error.history, error.states = history, ended.states  # type: ignore[attr-defined]
        raise error
    return history, ended.states


def _run(follower: _Follower, task: Task, firsts: Sequence[int], came: Any) -> Ended | None:
    """Train from the newest state to the end; None where a worker was lost on the way, and there is one less."""
    crew, lost = follower.crew, ray.exceptions.RayActorError
    try:
        crew.fill()
        meeting = ray.get(crew.workers[0].listen.remote())
    except lost:
        _look_after(crew)
        return None
    begin = None if follower.begin is None else ray.put(follower.begin)
    results = {
        worker.train.remote(task, first, meeting, begin): rank
        for rank, (worker, first) in enumerate(zip(crew.workers, firsts, strict=True))
    }
    ended: dict[int, Ended] = {}
    deadline = None
    while len(ended) < len(results):
        if came.is_set() and not follower.stopped_by:
            follower.stop("interrupt")
        follower.ask()
        left = [each for each, rank in results.items() if rank not in ended]
        done, _ = ray.wait(left, num_returns=len(left), timeout=ASK_SECONDS)
        for each in done:
            try:
                ended[results[each]] = ray.get(each)
            except lost:
                crew.dismiss(results[each])
                ended[results[each]] = Ended(is_lost=True)
            except ray.exceptions.RayTaskError as error:
                raise cannot_train(error) from error
        if deadline is None and (follower.stopped_by or any(each.is_lost for each in ended.values())):
            deadline = monotonic() + END_SECONDS
        if deadline is not None and monotonic() > deadline:
            for each in left:  # they wait for one that is gone
                crew.dismiss(results[each])
            break
    if len(ended) == len(results) and not any(each.is_lost for each in ended.values()):
        return ended[0]
    if follower.stopped_by:
        raise KeyboardInterrupt  # nothing came back, and there is nothing to keep
    return None


def cannot_train(error: Exception) -> RunError:
    """Return what a worker failed at, as an error of ours."""
    cause = getattr(error, "cause", None) or error
    text = str(cause).strip().rpartition("\n")[2]
    return RunError(
        f"a worker of the cluster cannot train: {type(cause).__name__}: {text}. Every node needs the same plainnet, torch and Python as "
        "this one."
    )


def _look_after(crew: Crew) -> None:
    """Dismiss the workers that do not answer."""
    for rank, worker in enumerate(crew.workers):
        try:
            if worker is not None:
                ray.get(worker.news.remote(), timeout=END_SECONDS)
        except (ray.exceptions.RayActorError, ray.exceptions.GetTimeoutError):
            crew.dismiss(rank)


def engine_of_workers(
    job: Job, wanted: Literal["auto", "eager", "fused"], device: str, n_workers: int, *, progress: bool
) -> Engine:
    """Choose the engine of all workers, 'fused' or 'eager', and have it compiled once, rather than by each of them."""
    if device not in ("cpu", "cuda"):
        raise SettingError(f"device is 'cpu' or 'cuda' on a cluster, not {device!r}.")
    if device == "cuda" and not ray.cluster_resources().get("GPU"):
        raise SettingError("device='cuda' needs a GPU for each worker, and the cluster has none: pass device='cpu'.")
    chosen = choose_engine(job, "eager" if device == "cuda" else wanted)
    if "compiled, which is done once" in chosen.reason:
        chosen = choose_engine(job, "fused")  # not worth compiling for one process alone; the workers come again
    if chosen.name == "fused":
        if chosen.note and progress:
            say(chosen.note)
        plan = make_plan(job)
        for kernel in (*kernels_of(plan), driver.gradient, driver.update, driver.evaluate, driver.finish_epoch):
            compiled(kernel, plan.dtype)
    return replace(chosen, reason=f"{chosen.reason}, on {n_workers} workers of a Ray cluster")
