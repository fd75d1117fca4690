"""``cluster.train`` and ``cluster.spread``: one network, or many, on many processes and machines, with the same numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from plainnet.cluster.connect import connected
from plainnet.engines.fused import dropout_seed_of
from plainnet.engines.job import Epoch, Job, Loss
from plainnet.engines.shared import check_shared
from plainnet.errors import LossDivergedError
from plainnet.settings import EarlyStopping, check_number
from plainnet.training.elsewhere import SCANS, trained_by
from plainnet.training.history import History
from plainnet.training.prepare import prepared

__all__ = ["spread", "train"]


@contextlib.contextmanager
def spread(cluster: str = "auto", workers: int | None = None) -> Iterator[int]:
    """Have a Ray cluster train all that is trained many at a time inside the block, on the CPU.

    That is ``train_many``, the members of ``NetClassifier`` and ``NetRegressor``, the folds of a cross-validation, and the trials of
    ``plainnet tune``. The numbers are those of this process. ``on_epochs`` is called once for each network, when it is trained.

    A table that is read piece by piece is dealt to the workers instead: Ray Data reads and encodes it, and each network is trained by all
    of them together, as ``cluster.train`` does.

    Args:
        cluster: as for ``cluster.train``.
        workers: networks that are trained at once; None: one a CPU of the cluster.

    Yields:
        The number of workers.

    Raises:
        SettingError, RunError, MissingExtraError: as for ``cluster.train``.
    """
    with connected(cluster, workers) as n_workers:
        from plainnet.cluster.members import train_members  # late: Ray is imported once it is told where to listen
        from plainnet.cluster.scans import train_scan

        with trained_by(partial(train_members, n_workers)), trained_by(partial(train_scan, n_workers), SCANS):
            yield n_workers


def train(
    model: nn.Module,
    x: Tensor | np.ndarray[Any, Any],
    y: Tensor | np.ndarray[Any, Any],
    *,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    batch_size: int | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    validation: tuple[Any, ...] | float | None = None,
    scheduler: Any = None,
    scheduler_every: Literal["epoch", "step"] = "epoch",
    stopping: EarlyStopping | None = None,
    sample_weight: Any = None,
    clip_grad_norm: float | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    engine: Literal["auto", "eager", "fused"] = "auto",
    seed: int = 0,
    progress: bool = True,
    on_epoch: Callable[[Epoch], object] | None = None,
    cluster: str = "auto",
    workers: int | None = None,
    checkpoint_every: float = 10.0,
) -> History:
    """Train a network as ``plainnet.train`` does, on the workers of a Ray cluster.

    Each worker has some of the rows. A batch is the batch of ``plainnet.train``, whatever the number of workers: each computes the
    gradient of its own rows of it, one all-reduce adds them up, and all take the same step. So the losses are those of ``plainnet.train``,
    but for the rounding of sums in another order, and the masks of dropout, which each worker draws for itself.

    A worker that is lost is replaced, and the training goes on from the last state between two epochs that the program has of it.

    Args:
        model: as for ``plainnet.train``, as all that is not named here. It has no BatchNorm.
        x: (N, …) inputs.
        y: (N, …) targets.
        loss: as above.
        optimizer: as above, but for LBFGS.
        epochs: as above.
        batch_size: rows in a step, of all workers together.
        shuffle: as above.
        drop_last: as above.
        validation: as above.
        scheduler: as above.
        scheduler_every: as above.
        stopping: as above.
        sample_weight: as above.
        clip_grad_norm: as above: of the whole gradient.
        device: 'cuda': each worker has a GPU of its own, and trains by the plain PyTorch loop.
        engine: as above.
        seed: as above.
        progress: as above.
        on_epoch: called with each Epoch some time after it was trained; returning True stops the training soon.
        cluster: HOST:PORT; 'local': begin one on this machine, for this training; 'auto': the one that RAY_ADDRESS names or that runs on
            this machine, or else as 'local'.
        workers: processes; None: one a CPU of the cluster.
        checkpoint_every: seconds between two states from which a lost training goes on.

    Returns:
        The history. Ctrl-C ends the training within a step, and returns the history so far.

    Raises:
        TrainingError: as for ``plainnet.train``; or workers cannot share this training.
        SettingError: a setting is outside its range, or the cluster has too few CPUs or GPUs.
        RunError: there is no such cluster, it wants another token, or workers were lost again and again.
        MissingExtraError: Ray is not installed.
        LossDivergedError: as for ``plainnet.train``.
    """
    check_number("checkpoint_every", checkpoint_every, least=0, optional=False)
    with (
        prepared(
            model, x, y, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last,
            validation=validation, scheduler=scheduler, scheduler_every=scheduler_every, stopping=stopping,
            sample_weight=sample_weight, clip_grad_norm=clip_grad_norm, device="cpu", seed=seed, epoch_by_epoch=False,
        ) as job,
        connected(cluster, workers) as n_workers,
    ):  # fmt: skip
        check_shared(job, n_workers)
        return _train(job, engine, device, n_workers, checkpoint_every, progress=progress, on_epoch=on_epoch)


def _train(
    job: Job, wanted: Any, device: str, n_workers: int, every: float, *, progress: bool, on_epoch: Any
) -> History:
    """Deal the rows to the workers, train, and give the network, the optimizer and the scheduler what came of it."""
    import ray

    from plainnet.cluster.data_parallel import Crew, engine_of_workers, train_together
    from plainnet.cluster.worker import Task, hooks_of

    engine = engine_of_workers(job, wanted, device, n_workers, progress=progress)
    bare = replace(job, x=job.x[:0], y=job.y[:0], weight=None, validation=None)
    held = 0 if job.validation is None else len(job.validation[0])
    task = Task(
        bare, len(job.x), held, engine.name, engine.reason, device, dropout_seed_of(job), every, hooks_of(job.optimizer)
    )
    firsts = [len(job.x) * rank // n_workers for rank in range(n_workers + 1)]
    with contextlib.closing(Crew(n_workers, gpus=device == "cuda")) as crew:
        rows = [ray.put(_part(job, rank, n_workers)) for rank in range(n_workers)]
        crew.hand_out(lambda worker, rank: worker.take.remote(rows[rank]))
        try:
            history, states = train_together(crew, task, firsts[:-1], progress=progress, on_epoch=on_epoch)
        except LossDivergedError as error:
            _give(job, getattr(error, "states", ()))
            raise
    _give(job, states)
    return history


def _part(job: Job, rank: int, n_workers: int) -> tuple[Any, ...]:
    """Return the rows of one worker."""

    def own(tensor: Tensor | None) -> Any:
        if tensor is None:
            return None
        return tensor[len(tensor) * rank // n_workers : len(tensor) * (rank + 1) // n_workers].numpy()

    held = None if job.validation is None else tuple(own(each) for each in job.validation)
    return own(job.x), own(job.y), own(job.weight), held


def _give(job: Job, states: tuple[Any, ...]) -> None:
    for each, state in zip((job.model, job.optimizer, job.scheduler), states, strict=False):
        if each is not None and state is not None:
            each.load_state_dict(state)
