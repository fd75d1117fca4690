"""A training that several processes share: each has some of the rows, and all take the same steps.

A batch is the batch of a training in one process: the same rows in the same order. Each process computes the gradient of those of them
that are its own, the gradients are added, each counted by its rows, and all take the same step on the sum. So the losses are those of
one process, but for rounding, however many share the work, and a state between two epochs is that of any number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plainnet.engines import eager
from plainnet.engines.fused import FusedTraining
from plainnet.engines.job import Epoch, Epochs, Job, Standing
from plainnet.engines.losses import RowWeightedLoss, is_sum
from plainnet.engines.plan import Plan
from plainnet.errors import TrainingError
from plainnet.kernels import driver as k
from plainnet.kernels.state import LOSS, SCALE, STEP

__all__ = ["Share", "check_shared", "run_eager", "run_fused"]


@dataclass(frozen=True)
class Share:
    """What one process has of a training.

    Attributes:
        first: number of its first row among all rows; they follow one another.
        n_rows: training rows of all processes.
        n_valid: validation rows of all processes.
        add: adds up the tensors that all processes pass, in place.
        is_told_to_stop: asked before each step; where it is true in one process, all end the training there, by a KeyboardInterrupt.
    """

    first: int
    n_rows: int
    n_valid: int
    add: Callable[[Tensor], None]
    is_told_to_stop: Callable[[], bool] = lambda: False


def check_shared(job: Job, processes: int) -> None:
    """Check that processes can share a training.

    Raises:
        TrainingError: a layer sees all rows of a batch at once, or the optimizer measures the loss several times in a step.
    """
    if processes == 1:
        return
    for module in job.model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:  # noqa: SLF001 - torch's own common base
            raise TrainingError(
                f"{type(module).__name__} normalises over all rows of a batch, and {processes} workers have some of them each: use "
                "LayerNorm, or one worker."
            )
    if job.closure:
        raise TrainingError(
            f"{type(job.optimizer).__name__} measures the loss several times in a step, which workers cannot share: use one worker."
        )
    for name, n_rows in (
        ("training", len(job.x)),
        ("validation", processes if job.validation is None else len(job.validation[0])),
    ):
        if n_rows < processes:
            raise TrainingError(f"{processes} workers have at least one row each, and there are {n_rows} {name} rows.")


def run_fused(job: Job, plan: Plan, share: Share, standing: Standing | None = None) -> Iterator[Epochs]:
    """Take part in a training by the fused engine.

    Args:
        job: the training, with the rows of this process; its ``batch_size`` is that of all.
        plan: of this job.
        share: what this process has.
        standing: as for ``fused.run``.

    Yields:
        The records of each epoch.
    """
    yield from _Fused(job, plan, share).run(standing)


class _Fused(FusedTraining):
    """The fused engine, whose gradient is completed by the other processes."""

    may_step_at_once = False

    def __init__(self, job: Job, plan: Plan, share: Share) -> None:
        super().__init__(job, plan)
        words = self.words
        self.share, self.n_rows = share, share.n_rows
        self.batch = min(job.batch_size, share.n_rows)
        words[k.N_BATCHES] = share.n_rows // self.batch if job.drop_last else -(-share.n_rows // self.batch)
        words[k.N_ROWS], words[k.BATCH], words[k.VALID_ROWS] = share.n_rows, self.batch, share.n_valid
        words[k.CLIPS] = words[k.KEEPS_DATA] = 0
        self.count = plan.flat.n_trainable
        # The gradient, the sum of the losses, what both are divided by, and whether to stop: one sum of all processes a step.
        self.sums = np.zeros(self.count + 3, dtype=plan.dtype)
        self.losses: list[float] = []

    def _epochs_of_chunk(self) -> int:
        return 1

    def _train(self, n_epochs: int) -> int:  # noqa: ARG002 - it is always one
        self.losses = []
        if self.optimizer is None:
            return self._train_with_torch(int(self.words[k.N_BATCHES]))
        self._begin_epoch()
        for position in range(int(self.words[k.N_BATCHES])):
            self._gradient(position)
            self._call(k.update, position)
        return self._finish()

    def _own_rows(self, position: int) -> npt.NDArray[np.int64]:
        """Return the places of a batch's rows among those of this process."""
        first, stop = position * self.batch, min((position + 1) * self.batch, self.n_rows)
        own_first, n_own = self.share.first, len(self.job.x)
        if not self._shuffles:
            return np.arange(max(first, own_first), min(stop, own_first + n_own), dtype=np.int64) - own_first
        places = self.held[k.ORDERS].reshape(-1)[first:stop] - own_first
        return places[(places >= 0) & (places < n_own)]

    def _gradient(self, position: int) -> None:
        words, sums, reals = self.words, self.sums, self.held[k.STATE_REALS]
        sums[:-1], sums[-1] = 0, self.share.is_told_to_stop()
        self.held[k.STATE][STEP] = words[k.STEP_NOW]  # which the optimizer reads, also where no row is its own
        own = self._own_rows(position)
        if len(own):
            orders = words[k.ORDERS]
            words[k.ORDERS], words[k.N_ROWS], words[k.BATCH] = own.ctypes.data, len(own), len(own)
            self._call(k.gradient, 0)
            words[k.ORDERS], words[k.N_ROWS], words[k.BATCH] = orders, self.n_rows, self.batch
            if np.isfinite(reals[SCALE]):  # else all its rows are ignored ones
                divisor = 1.0 / reals[SCALE]
                np.multiply(self.gradients[: self.count], sums.dtype.type(divisor), out=sums[: self.count])
                sums[self.count : -1] = reals[LOSS], divisor
        self.share.add(torch.from_numpy(sums))
        if sums[-1]:
            raise KeyboardInterrupt
        divisor = 1.0 if words[k.SUMS] else float(sums[-2])
        with np.errstate(divide="ignore", invalid="ignore"):
            np.divide(sums[: self.count], sums.dtype.type(divisor), out=self.gradients[: self.count])
            self.losses.append(float(np.float64(sums[-3]) / divisor))
        if self.job.clip_grad_norm is not None:
            _clip(self.gradients[: self.count], self.job.clip_grad_norm)

    def _finish(self) -> int:
        words, reals = self.words, self.held[k.STATE_REALS]
        self.held[k.LOSSES][:] = self.losses
        if self.job.validation is not None:
            sums, n_own = np.zeros(2), len(self.job.validation[0])
            for first in range(0, n_own, k.EVALUATION_BLOCK):
                self._call(k.evaluate, first, min(first + k.EVALUATION_BLOCK, n_own))
                sums += (reals[LOSS], 1.0 / reals[SCALE]) if np.isfinite(reals[SCALE]) else 0.0
            self.share.add(torch.from_numpy(sums))
            self.reals[k.VALID_TOTAL] = sums[0] if words[k.SUMS] else sums[0] / sums[1] * self.share.n_valid
        return self._call(k.finish_epoch, 0)


def _clip(gradient: npt.NDArray[Any], max_norm: float) -> None:
    """Scale a gradient down to a norm, as torch does."""
    factor = max_norm / (float(np.linalg.norm(gradient)) + 1e-6)
    if factor < 1.0:
        gradient *= gradient.dtype.type(factor)


def run_eager(job: Job, share: Share) -> Iterator[Epoch]:
    """Take part in a training by the plain PyTorch loop, on any device; the arguments are those of ``run_fused``."""
    numbers = torch.arange(share.n_rows, device=job.x.device)
    # The loop draws batches of row numbers, as it would of the rows themselves.
    numbered = replace(job, x=numbers, y=numbers, weight=None)
    yield from eager.run(numbered, partial(_step, job, share), partial(_measure, job, share))


def _step(job: Job, share: Share, _: Job, numbers: Tensor, *__: Any) -> Tensor:
    """Take a step with the other processes; return the loss of the whole batch."""
    own = numbers[(numbers >= share.first) & (numbers < share.first + len(job.x))] - share.first
    parameters = [each for group in job.optimizer.param_groups for each in group["params"] if each.requires_grad]
    job.optimizer.zero_grad(set_to_none=False)
    like = parameters[0]
    tail = torch.zeros(3, dtype=like.dtype, device=like.device)  # the sum of the losses, its divisor, whether to stop
    if len(own):
        loss, divisor = _loss(job, job.x[own], job.y[own], None if job.weight is None else job.weight[own])
        loss.backward()  # type: ignore[no-untyped-call]
        tail[0], tail[1] = loss.detach(), divisor
    tail[2] = float(share.is_told_to_stop())
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    sums = torch.cat([*(each.reshape(-1) for each in gradients), tail])
    share.add(sums)
    if sums[-1]:
        raise KeyboardInterrupt
    if not is_sum(job.loss):
        sums[:-2] /= sums[-2].clone()
    parts = torch.split(sums[:-3], [each.numel() for each in parameters])
    for each, total in zip(parameters, parts, strict=True):
        each.grad = total.view(each.shape).clone()
    if job.clip_grad_norm is not None:
        nn.utils.clip_grad_norm_(parameters, job.clip_grad_norm)
    job.optimizer.step()
    return sums[-3].clone()


def _measure(job: Job, share: Share, _: Job) -> float | None:
    """Measure the loss on the validation rows of all processes."""
    if job.validation is None:
        return None
    x, y, weight = job.validation
    sums = torch.zeros(2, dtype=torch.float64)
    with eager.evaluating(job.model), torch.no_grad():
        for start in range(0, len(x), eager.EVALUATION_ROWS):
            part = slice(start, start + eager.EVALUATION_ROWS)
            loss, divisor = _loss(job, x[part], y[part], None if weight is None else weight[part])
            sums += torch.tensor([float(loss), float(divisor)], dtype=torch.float64)
    share.add(sums)
    return float(sums[0]) if is_sum(job.loss) else float(sums[0] / sums[1])


def _loss(job: Job, x: Tensor, y: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor | float]:
    """Return the sum of the losses of some rows, and what makes a mean of such sums: their number, unless classes have weights."""
    prediction, loss = job.model(x), job.loss
    weights = () if weight is None else (weight,)
    if isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) and not is_sum(loss):
        # of rows that are all ignored, its mean is NaN
        loss, weights = RowWeightedLoss(loss), (torch.ones(len(x), dtype=x.dtype, device=x.device),)
    found = loss(prediction, y, *weights).reshape(())
    if is_sum(job.loss):
        return found, float(len(x))
    divisor = loss.denominator(y, *weights) if isinstance(loss, RowWeightedLoss) else float(len(x))
    return found * divisor, divisor
