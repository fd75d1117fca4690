"""The eager engine: the loop of the tutorial, and nothing that changes its numbers.

Read ``run`` with a finger: for each epoch, for each batch, one step (forward, loss, zero the gradients, backward,
step), then the validation loss, the schedule, the record. The caller drives it: to stop is to leave the ``for``.

Two rules keep a generator safe. It never yields inside ``torch.no_grad()`` or in evaluation mode, since the caller's
own code would then run so; and the best weights are restored in ``finally``, so that closing it early leaves a good
network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf, isfinite
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from plainnet.engines.job import Epoch, Job
from plainnet.engines.losses import is_sum
from plainnet.errors import LossDivergedError

__all__ = ["Weights", "run", "validation_loss"]

#: (job, x, y, weight) -> the loss before the step.
Step = Callable[[Job, Tensor, Tensor, Tensor | None], Tensor]

#: Rows of one forward pass where no gradients are kept: bounds memory, and is far above where larger is faster.
EVALUATION_ROWS = 65_536


def run(
    job: Job, take_step: Step | None = None, measure: Callable[[Job], float | None] | None = None
) -> Iterator[Epoch]:
    """Train, one epoch at each ``next``.

    Args:
        job: a checked training; its model and optimizer are changed in place.
        take_step: another way to take the same step, as the graphed engine has.
        measure: another way to measure the loss on the validation rows.

    Yields:
        The record of each epoch.

    Raises:
        LossDivergedError: the loss became NaN or infinite; the network has the weights of the last good epoch.
    """
    take_step, measure = take_step or step, measure or validation_loss
    shuffler = torch.Generator().manual_seed(job.seed)
    before, earlier = Weights(job.model), Weights(job.model)  # at the start of this epoch, and of the one before
    best, best_loss, best_index = Weights(job.model), inf, 0
    try:
        for index in range(job.epochs):
            started = perf_counter()
            before, earlier = earlier, before
            before.take()
            learning_rate = float(job.optimizer.param_groups[0]["lr"])

            losses, rows = [], []
            for x, y, weight in batches(job, shuffler):
                losses.append(take_step(job, x, y, weight))
                rows.append(len(x))
                if job.scheduler is not None and job.scheduler_every == "step":
                    job.scheduler.step()

            values = torch.stack(losses).tolist()  # one wait for the device an epoch, not one a step
            if not all(map(isfinite, values)):
                # A first batch that is not finite condemns the weights this epoch began with, a later one does not.
                (before if isfinite(values[0]) else earlier).restore()
                raise LossDivergedError(diverged(index, next(v for v in values if not isfinite(v)), learning_rate))
            loss = epoch_loss(job, values, rows)
            validation = measure(job)
            watched = loss if validation is None else validation
            schedule(job, watched)

            if job.stopping is not None and watched < best_loss - job.stopping.min_delta:
                best_loss, best_index = watched, index
                # A full batch's own loss is that of the weights before its step; every other, of those after.
                best.take(before if validation is None and job.is_full_batch else None)
            yield Epoch(index, loss, validation, learning_rate, perf_counter() - started)
            if job.stopping is not None and job.stopping.is_over(index, best_index):
                break
    finally:
        if job.stopping is not None and job.stopping.restore_best and best_loss < inf:
            best.restore()


def step(job: Job, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Take one step on one batch and return the loss before it, a scalar without gradient."""
    if job.closure:  # LBFGS measures the loss several times in one step
        closure: Any = partial(gradient, job, x, y, weight)  # torch says it returns a float
        return torch.as_tensor(job.optimizer.step(closure)).detach()
    loss = gradient(job, x, y, weight)
    job.optimizer.step()
    return loss


def gradient(job: Job, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """Compute the loss of one batch, a scalar, and leave its gradient in the parameters: forward, zero, backward, clip."""
    prediction = job.model(x)
    loss = job.loss(prediction, y) if weight is None else job.loss(prediction, y, weight)
    job.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if job.clip_grad_norm is not None:
        nn.utils.clip_grad_norm_(job.model.parameters(), job.clip_grad_norm)
    return loss.reshape(()).detach()  # a loss of shape (1,) is a number too


def batches(job: Job, shuffler: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
    """Yield the batches of one epoch: (x, y, weight or None).

    The order of an epoch is ``torch.randperm(N, generator=shuffler)``, one draw an epoch, in every engine.
    """
    n_rows = len(job.x)
    if job.is_full_batch:
        yield job.x, job.y, job.weight
        return
    order = torch.randperm(n_rows, generator=shuffler).to(job.x.device) if job.shuffle else None
    for start in range(0, n_rows, job.batch_size):
        stop = min(start + job.batch_size, n_rows)
        if job.drop_last and stop - start < job.batch_size:
            return
        rows = slice(start, stop) if order is None else order[start:stop]
        yield job.x[rows], job.y[rows], None if job.weight is None else job.weight[rows]


def epoch_loss(job: Job, losses: list[float], rows: list[int]) -> float:
    """Join the losses of an epoch's batches: their sum for a summed loss, else their mean over the rows."""
    if is_sum(job.loss):
        return sum(losses)
    if len(losses) == 1:
        return losses[0]
    return sum(loss * n for loss, n in zip(losses, rows, strict=True)) / sum(rows)


def validation_loss(job: Job) -> float | None:
    """Measure the loss on the validation rows, in evaluation mode; None without validation rows."""
    if job.validation is None:
        return None
    x, y, weight = job.validation
    losses, rows = [], []
    with evaluating(job.model), torch.no_grad():
        for start in range(0, len(x), EVALUATION_ROWS):
            part = slice(start, start + EVALUATION_ROWS)
            prediction = job.model(x[part])
            of_rows = () if weight is None else (weight[part],)
            losses.append(job.loss(prediction, y[part], *of_rows))
            rows.append(len(prediction))
    return epoch_loss(job, torch.stack([loss.reshape(()) for loss in losses]).tolist(), rows)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Have a network in evaluation mode inside the block, and as it was after it."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, was_training in modes:  # module by module: a frozen BatchNorm stays frozen
            module.training = was_training


def schedule(job: Job, watched: float) -> None:
    """Step a scheduler that steps once an epoch; ReduceLROnPlateau is told the watched loss."""
    if job.scheduler is not None and job.scheduler_every == "epoch":
        job.scheduler.step(*([watched] if isinstance(job.scheduler, ReduceLROnPlateau) else []))


def diverged(index: int, value: float, learning_rate: float) -> str:
    """Say what happened, where, and what helps."""
    return (
        f"the loss became {value} in epoch {index} at learning rate {learning_rate:g}; the network has the weights of "
        f"the last good epoch. Try a learning rate of {learning_rate / 10:g} and a new optimizer, "
        "clip_grad_norm=1.0, or inputs scaled to about -3 … 3."
    )


class Weights:
    """A copy of a network's parameters and buffers, taken and put back in place."""

    def __init__(self, model: nn.Module) -> None:
        self._live = [tensor.detach() for tensor in (*model.parameters(), *model.buffers())]
        self._copy = [tensor.clone() for tensor in self._live]

    def take(self, other: Weights | None = None) -> None:
        """Copy the network's tensors as they are now, or those that ``other`` holds."""
        self._write(self._copy, self._live if other is None else other._copy)  # noqa: SLF001 - another of its own kind

    def restore(self) -> None:
        """Put the copy back into the network."""
        self._write(self._live, self._copy)

    @staticmethod
    def _write(to: list[Tensor], source: list[Tensor]) -> None:
        if to:
            with torch.no_grad():
                torch._foreach_copy_(to, source)
