"""One process of a training that several share: a Ray actor with its own rows."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor, distributed, nn

from plainnet.engines.engines import Engine, each_alone
from plainnet.engines.job import Epoch, Epochs, Job, Standing, State
from plainnet.engines.losses import RowWeightedLoss
from plainnet.engines.plan import make_plan
from plainnet.engines.shared import Share, run_eager, run_fused
from plainnet.errors import LossDivergedError
from plainnet.training.devices import on_device
from plainnet.training.history import History
from plainnet.training.training import record

__all__ = ["Dealt", "Ended", "Rows", "Task", "Worker", "hooks_of"]

#: Rows of a worker, as NumPy arrays: x, y, weights or None, and the same of its validation rows or None.
Rows = tuple[Any, Any, Any, tuple[Any, Any, Any] | None]
#: Seconds after which a process that has not answered counts as lost.
LOST_SECONDS = 300
#: Between the dropout seeds of two workers: an odd number whose multiples differ in all bits.
STRIDE = 0x9E3779B97F4A7C15


def hooks_of(optimizer: torch.optim.Optimizer) -> tuple[Any, ...]:
    """Return what an optimizer calls after each step: a copy of it, also one for another process, has none of it."""
    return tuple(optimizer._optimizer_step_post_hooks.values())  # noqa: SLF001 - torch has no name for it


@dataclass(frozen=True)
class Task:
    """What all workers are told.

    Attributes:
        job: the training, without rows.
        n_rows, n_valid: of all workers.
        engine: 'fused' or 'eager', and why.
        reason: as above.
        device: 'cpu' or 'cuda'.
        dropout_seed: of the first worker.
        every: seconds between two states that are kept.
        hooks: of the optimizer, after each step: its copy has none.
        targets: makes of a worker's targets what this network learns; None: it learns them as they are.
        weight_scale: what the rows' weights are multiplied by.
    """

    job: Job
    n_rows: int
    n_valid: int
    engine: str
    reason: str
    device: str
    dropout_seed: int
    every: float
    hooks: tuple[Any, ...] = ()
    targets: Callable[[Tensor], Tensor] | None = None
    weight_scale: float = 1.0


@dataclass(frozen=True)
class Dealt:
    """What a worker has of an encoded table: how many training rows, its held ones, the sum of the weights, and a few rows."""

    n_rows: int
    held: tuple[Any, Any, Any]
    weight: float | None
    sample: tuple[Any, Any]


@dataclass(frozen=True)
class Ended:
    """How a training ended in a worker.

    Attributes:
        is_lost: another worker was lost, and this one can go on.
        history: of the epochs since the last beginning.
        diverged: what a LossDivergedError said; '' where there was none.
        states: of the network, the optimizer and the scheduler; empty but for the first worker.
    """

    is_lost: bool = False
    history: History | None = None
    diverged: str = ""
    states: tuple[Any, ...] = ()


class Worker:
    """Holds rows, and trains on them together with others. Ray runs its methods side by side, on threads."""

    def __init__(self, rank: int, n_workers: int) -> None:
        self.rank, self.n_workers = rank, n_workers
        self._listener: socket.socket | None = None
        self._rows: Rows | None = None
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._epochs = Epochs()
        self._kept: State | None = None
        torch.set_num_threads(max(1, int(os.environ.get("OMP_NUM_THREADS", "1"))))

    def take(self, rows: Rows) -> None:
        """Keep rows, copied out of Ray's store."""

        def own(array: Any) -> Any:
            return None if array is None else np.array(array)

        x, y, weight, held = rows
        self._rows = own(x), own(y), own(weight), None if held is None else (own(held[0]), own(held[1]), own(held[2]))

    def take_encoded(self, weigh: Callable[[Any], Any], *parts: Mapping[str, Any]) -> Dealt:
        """Keep the rows of an encoded table; those of them that find the best epoch are marked as held.

        Args:
            weigh: how much each of some rows counts, as for ``train_streamed``.
            parts: arrays by name: x, y and held.
        """
        x, y, held = (np.concatenate([part[name] for part in parts]) for name in ("x", "y", "held"))
        kept = ~held
        weight, held_weight = weigh((x[kept], y[kept], None)), weigh((x[held], y[held], None))
        own, of_held = (None if each is None else each.astype(np.float32) for each in (weight, held_weight))
        total = None if weight is None else float(weight.sum())
        self._rows = x[kept], y[kept], own, (x[held], y[held], of_held)
        return Dealt(int(kept.sum()), (x[held], y[held], held_weight), total, (x[:8], y[:8]))

    def listen(self) -> tuple[str, int]:
        """Open the door where the workers meet, on the address by which Ray knows this machine; return it."""
        host = ray.util.get_node_ip_address()
        self._listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        return host, self._listener.getsockname()[1]

    def news(self) -> tuple[Epochs, State | None]:
        """Return the epochs since it was last asked, and its newest state, if there is a newer one."""
        with self._lock:
            told, self._epochs = (self._epochs, self._kept), Epochs()
            self._kept = None
        return told

    def stop(self) -> None:
        """Have all workers end the training at the next step."""
        self._stop.set()

    def train(self, task: Task, first: int, meeting: tuple[str, int], begin: State | None) -> Ended:
        """Train with the others, from the beginning or from a state, to the end.

        Args:
            task: what all are told.
            first: number of this worker's first row.
            meeting: what ``listen`` of the first worker returned.
            begin: the state to go on from.
        """
        self._stop.clear()
        self._epochs, self._kept = Epochs(), None
        device = torch.device(task.device)
        model, optimizer = task.job.model, task.job.optimizer
        for hook in task.hooks:
            optimizer.register_step_post_hook(hook)
        with self._together(meeting, device) as add:
            share = Share(first, task.n_rows, task.n_valid, add, self._stop.is_set)
            diverged = ""
            try:
                with on_device(model, optimizer, device):
                    history = self._train(task, self._job(task, device), share, begin)
            except LossDivergedError as error:
                history, diverged = error.history or History(task.engine, task.reason), str(error)
            except (RuntimeError, distributed.DistError) as error:
                if isinstance(error, distributed.DistError) or _is_of_others(error):
                    return Ended(is_lost=True)
                raise
        return Ended(history=history, diverged=diverged, states=self._states(task.job))

    def _train(self, task: Task, job: Job, share: Share, begin: State | None) -> History:
        standing, copied = Standing(begin), perf_counter()

        def note(epoch: Epoch) -> None:
            nonlocal copied
            if self.rank != 0:
                return
            state = None
            if perf_counter() - copied >= task.every:
                state, copied = standing.now(), perf_counter()
            with self._lock:
                self._epochs.append(epoch)
                if state is not None:
                    self._kept = state

        torch.manual_seed((task.dropout_seed + self.rank * STRIDE) % 2**62)
        if task.engine == "fused":
            plan = make_plan(job, (task.dropout_seed + self.rank * STRIDE) % 2**62)
            run: Callable[..., Iterator[Epochs]] = partial(run_fused, plan=plan, share=share, standing=standing)
        else:
            run = each_alone(partial(run_eager, share=share))
        history = record(job, Engine(task.engine, task.reason, run), on_epoch=note)
        if history.stopped_by == "patience" and begin is not None and not len(history):
            history.stopped_by = ""
        return history

    def _job(self, task: Task, device: torch.device) -> Job:
        """Return the training with the rows of this worker, all on the device."""
        assert self._rows is not None  # noqa: S101 - they are taken first
        x, y, weight, held = self._rows

        def tensor(array: Any) -> Any:
            return None if array is None else torch.from_numpy(array).to(device)

        if weight is not None and task.weight_scale != 1.0:
            weight = weight * np.float32(task.weight_scale)
        if task.n_valid == 0:
            held = None
        learnt = task.targets or (lambda targets: targets)
        job = task.job
        return replace(
            job, x=tensor(x), y=learnt(tensor(y)), weight=tensor(weight), loss=_moved(job.loss, device),
            validation=None if held is None else (tensor(held[0]), learnt(tensor(held[1])), tensor(held[2])),
        )  # fmt: skip

    def _states(self, job: Job) -> tuple[Any, ...]:
        if self.rank != 0:
            return ()
        scheduler = job.scheduler.state_dict() if hasattr(job.scheduler, "state_dict") else None
        return job.model.state_dict(), job.optimizer.state_dict(), scheduler

    @contextlib.contextmanager
    def _together(self, meeting: tuple[str, int], device: torch.device) -> Iterator[Callable[[Tensor], None]]:
        """Meet the other workers; yield what adds up their tensors."""
        if self.n_workers == 1:
            if self._listener is not None:
                self._listener.close()
            yield lambda _: None
            return
        host, port = meeting
        wait = timedelta(seconds=LOST_SECONDS)
        own: dict[str, Any] = {"timeout": wait, "wait_for_workers": False}
        if self.rank == 0:
            assert self._listener is not None  # noqa: S101 - the first worker listens first
            # of its own, torch's store would listen on all interfaces
            own["master_listen_fd"] = self._listener.detach()
        if host.startswith("127."):
            os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        store = distributed.TCPStore(host, port, self.n_workers, self.rank == 0, **own)  # type: ignore[attr-defined]
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, store=store, rank=self.rank, world_size=self.n_workers, timeout=wait)
        try:
            yield distributed.all_reduce
        finally:
            with contextlib.suppress(RuntimeError):
                distributed.destroy_process_group()


def _moved(loss: Any, device: torch.device) -> Any:
    if isinstance(loss, RowWeightedLoss):
        return RowWeightedLoss(_moved(loss.loss, device))
    return loss.to(device) if isinstance(loss, nn.Module) else loss


def _is_of_others(error: RuntimeError) -> bool:
    """Whether an error says that another worker is gone: gloo has no class for it."""
    words = ("connection", "gloo", "peer", "timed out", "timeout", "nccl", "broken pipe", "socket")
    return any(word in str(error).lower() for word in words)
