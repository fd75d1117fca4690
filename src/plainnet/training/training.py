"""``train``: the hand-written loop of a first PyTorch tutorial, in one call, with the same numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from plainnet.engines.engines import Engine, choose_engine
from plainnet.engines.job import Epoch, Job, Loss
from plainnet.errors import LossDivergedError, SettingError
from plainnet.settings import EarlyStopping
from plainnet.training.history import History
from plainnet.training.keeping import record_kept
from plainnet.training.prepare import prepared
from plainnet.training.progress import progress_bar, say

__all__ = ["record", "train"]


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
    device: str | torch.device = "auto",
    engine: Literal["auto", "eager", "fused", "graphed"] = "auto",
    seed: int = 0,
    progress: bool = True,
    on_epoch: Callable[[Epoch], object] | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: float = 60.0,
) -> History:
    """Train a network: the loop of forward, loss, zero the gradients, backward, step.

    The losses are those of the hand-written loop, step for step. Afterwards ``model`` and ``optimizer`` hold the
    trained state, on the device they came from, ready for plain PyTorch.

    Args:
        model: any ``nn.Module`` of one input. It stays in the mode (training or evaluation) it is in.
        x: (N, …) inputs, of the network's dtype.
        y: (N, …) targets, as the loss wants them.
        loss: any ``torch.nn`` loss, or a function (prediction, target) -> scalar tensor.
        optimizer: any ``torch.optim`` optimizer over the model's parameters, LBFGS included.
        epochs: passes over the rows, at least 1.
        batch_size: rows in a step; None: all N in one.
        shuffle: draw a new order for each epoch from ``torch.Generator().manual_seed(seed)``. A full batch keeps its
            order, as the sum over its rows does not depend on it.
        drop_last: leave out the last batch of an epoch where it is smaller.
        validation: (inputs, targets) whose loss is measured after each epoch, or the share of rows, in (0, 1), to
            hold out for it, drawn with ``seed``. A third entry is the rows' weights, used where sample_weight is.
        scheduler: any ``torch.optim.lr_scheduler`` of the optimizer.
        scheduler_every: 'epoch', or 'step' for schedules made for single steps, such as ``OneCycleLR``.
        stopping: when to stop early; None: train all epochs and keep the last weights.
        sample_weight: (N,) weight of each row, not negative; a weight of 2 counts like a row that is there twice.
        clip_grad_norm: largest norm of the whole gradient; a larger gradient is scaled down to it.
        device: 'auto' (where the network is; if that is the CPU: CUDA or MPS where there is one), or a torch device.
        engine: 'eager', the plain loop; 'fused', whole epochs in compiled code on the CPU, with the same losses to 1e-5 and a
            network and an optimizer that are up to date when ``train`` returns, or at each epoch where ``on_epoch`` is
            given; 'graphed', the plain loop on CUDA with each step one CUDA graph; 'auto', the fused engine where it can and
            is compiled or worth compiling, else the plain loop. ``History.engine_reason`` says which, and why.
        seed: of the shuffle and the held-out rows. Initial weights and dropout come from torch's own generator.
        progress: show a progress bar on an interactive terminal.
        on_epoch: called with each Epoch; returning True stops the training.
        checkpoint: a folder that holds the state of the training while it lasts, so that the same call, made again after a crash or
            Ctrl-C, goes on from there, to the same numbers; it is removed at the end. The first weights have to be the same again
            (``torch.manual_seed``). For what the fused engine trains; None: no checkpoints.
        checkpoint_every: seconds between two of them.

    Returns:
        The history of all epochs. Ctrl-C ends the training and returns the history so far.

    Raises:
        TrainingError: network, data, loss and optimizer do not fit together; raised before the first step.
        SettingError: a number among the settings is outside its range, or there can be no checkpoints.
        RunError: the checkpoints are of another training, another process has them, or the disk refuses.
        LossDivergedError: the loss became NaN or infinite. It carries the ``history``; the network has the weights of
            the last good epoch.

    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(10, 15), nn.ReLU(), nn.Linear(15, 1), nn.Sigmoid())
    >>> x, y = torch.randn(100, 10), torch.randint(0, 2, (100, 1)).float()
    >>> history = train(model, x, y, loss=nn.MSELoss(), optimizer=torch.optim.SGD(model.parameters(), lr=0.01), epochs=9, engine='fused')
    >>> len(history.losses), history.engine
    (9, 'fused')
    """
    with prepared(
        model, x, y, loss=loss, optimizer=optimizer, epochs=epochs, batch_size=batch_size, shuffle=shuffle, drop_last=drop_last,
        validation=validation, scheduler=scheduler, scheduler_every=scheduler_every, stopping=stopping,
        sample_weight=sample_weight, clip_grad_norm=clip_grad_norm, device=device, seed=seed,
        epoch_by_epoch=on_epoch is not None,
    ) as job:  # fmt: skip
        recorded = partial(record, progress=progress, on_epoch=on_epoch)
        if checkpoint is None:
            return recorded(job, choose_engine(job, engine))
        from plainnet.engines.fused import draw_dropout_seed

        if engine not in ("auto", "fused"):
            raise SettingError(f"checkpoints are kept by the fused engine alone: leave out engine={engine!r}.")
        seeded = replace(job, dropout_seed=draw_dropout_seed(job.model))  # now, so that it can be compared
        return record_kept(seeded, choose_engine(seeded, "fused"), checkpoint, checkpoint_every, recorded)


def record(
    job: Job, engine: Engine, *, progress: bool = False, on_epoch: Callable[[Epoch], object] | None = None
) -> History:
    """Drive the engine and write down what it yields.

    Args:
        job: what is trained.
        engine: what trains it.
        progress: show a progress bar.
        on_epoch: as for ``train``.
    """
    history = History(engine=engine.name, engine_reason=engine.reason)
    if engine.note and progress:
        say(engine.note)
    # Closed at once, however the loop is left: closing restores the best weights.
    with contextlib.closing(engine.run(job)) as chunks, progress_bar(job.epochs, shown=progress) as show:  # type: ignore[type-var]
        try:
            for chunk in chunks:
                history.epochs.join(*chunk.columns)
                show(chunk[-1])
                if on_epoch is not None and on_epoch(chunk[-1]) is True:
                    history.stopped_by = "on_epoch"
                    break
        except KeyboardInterrupt:
            history.stopped_by = "interrupt"
        except LossDivergedError as error:
            history.stopped_by = "divergence"
            error.history = history
            raise
    if history.stopped_by == "" and len(history.epochs) < job.epochs:
        history.stopped_by = "patience"
    history.restored_best = job.stopping is not None and job.stopping.restore_best and bool(history.epochs)
    return history
