"""The fused engine: whole epochs in one compiled call, with the losses of the eager engine.

A chunk of epochs is prepared (orders of the rows, settings of the optimizer), run in compiled code for about a twentieth of a
second, and its epochs are yielded. Epochs longer than that are run in pieces. Between two calls Python sees Ctrl-C.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from math import isfinite
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from plainnet.engines.eager import diverged, schedule
from plainnet.engines.job import Epochs, Job, Standing, State
from plainnet.engines.load import LoadedPlan
from plainnet.engines.plan import Plan
from plainnet.engines.planned_optimizers import settings
from plainnet.errors import LossDivergedError, TrainingError
from plainnet.kernels import driver as k, kernels
from plainnet.kernels.optimizers import OPTIMIZERS, within_bounds
from plainnet.kernels.state import SETTINGS

__all__ = ["FusedTraining", "draw_dropout_seed", "dropout_seed_of", "kernels_of", "run"]

#: Seconds of one compiled call: Ctrl-C and the progress bar answer within a few of them.
CALL_SECONDS = 0.04
#: Numbers in the tables of one chunk (orders, settings, losses) at most.
TABLE_SIZE = 2**22


def run(job: Job, plan: Plan, *, alone: bool = True, standing: Standing | None = None) -> Iterator[Epochs]:
    """Train, as ``eager.run`` does, yielding the epochs of each compiled call together.

    Args:
        job: a checked training that can be fused; its model and optimizer are changed in place, at the end, or after each epoch
            where the job says ``epoch_by_epoch``.
        plan: of this very job.
        alone: a large step may take all of torch's threads; False: other trainings have them.
        standing: what to go on from, and how to ask where the training stands; None: neither is wanted.

    Yields:
        The records of some epochs.

    Raises:
        LossDivergedError: the loss became NaN or infinite; the network has the weights of the last good epoch.
    """
    yield from FusedTraining(job, plan, alone=alone).run(standing)


def dropout_seed_of(job: Job) -> int:
    """Return the job's seed of dropout masks, or draw it."""
    return draw_dropout_seed(job.model) if job.dropout_seed is None else job.dropout_seed


def draw_dropout_seed(model: torch.nn.Module) -> int:
    """Draw the seed of the dropout masks from torch's generator, where eager dropout comes from; 0 without dropout."""
    kinds = torch.nn.Dropout | torch.nn.AlphaDropout
    has_dropout = any(isinstance(module, kinds) and module.training for module in model.modules())
    return int(torch.randint(2**62, ())) if has_dropout else 0


def kernels_of(plan: Plan) -> list[Callable[..., Any]]:
    """Return the kernels that a training needs compiled."""
    operations = [*plan.train.operations, *(plan.valid.operations if plan.valid else [])]
    operations += [operation for operation, _ in plan.train.program.weights]
    operations += [part.scale for part in (plan.train, plan.valid) if part is not None and part.scale is not None]
    found = [operation.kernel for operation in operations]
    found += [] if plan.spelling is None else [OPTIMIZERS[plan.spelling.kernel]]
    found += [within_bounds] if plan.has_bounds and plan.spelling is not None else []
    return [*dict.fromkeys(found), k.train_epochs]


class FusedTraining(LoadedPlan):
    """A training under way: chunk after chunk through the driver."""

    def __init__(self, job: Job, plan: Plan, *, alone: bool = True) -> None:
        super().__init__(job, plan)
        self.shuffler = torch.Generator().manual_seed(job.seed)
        self.n_rows = len(job.x)
        self.seconds_a_step, self.ending = 0.0, k.DONE
        self.n_helpers = min(torch.get_num_threads(), self.n_units) - 1 if alone and self.n_units else 0
        self.helpers = ThreadPoolExecutor(max(self.n_helpers, 1), "plainnet")
        self.looks_back = isinstance(job.scheduler, ReduceLROnPlateau)

    def run(self, standing: Standing | None = None) -> Iterator[Epochs]:
        """Train to the end, yielding some epochs at a time."""
        try:
            if standing is not None:
                standing.now = self.state
                if standing.begin is not None:
                    self.go_on(standing.begin)
            while self.ending == k.DONE and self.words[k.EPOCH] < self.job.epochs:
                yield from self._chunk()
        finally:
            self._end()

    def _chunk(self) -> Iterator[Epochs]:
        """Train some epochs, and yield them."""
        job, words = self.job, self.words
        first = int(words[k.EPOCH])
        n_epochs = self._epochs_of_chunk()
        rates, follow = self._prepare(n_epochs)
        started, interrupted = perf_counter(), False
        try:
            self.ending = self._train(n_epochs)
        except KeyboardInterrupt:
            interrupted, self.ending = True, k.OVER
        n_done = int(words[k.EPOCH]) - first
        seconds = (perf_counter() - started) / max(n_done, 1)
        self.seconds_a_step = seconds / int(words[k.N_BATCHES])
        follow(n_done)
        losses = self.held[k.EPOCH_LOSSES][:n_done].tolist()
        valid = self.held[k.VALID_LOSSES][:n_done].tolist() if words[k.VALIDATES] else [None] * n_done
        if self.looks_back and n_done:
            schedule(job, losses[0] if valid[0] is None else valid[0])  # it has chunks of one epoch
        if n_done:
            if job.epoch_by_epoch:
                self.write()
            elif job.is_watched:
                self.plan.flat.write()
            yield Epochs().join(range(first, first + n_done), losses, valid, rates[:n_done], [seconds] * n_done)
            if job.epoch_by_epoch:
                self.plan.flat.read()
        if interrupted:
            raise KeyboardInterrupt
        if self.ending == k.DIVERGED:
            value = float(self.held[k.LOSSES][words[k.BAD_STEP]])
            raise LossDivergedError(diverged(first + n_done, value, rates[n_done]))

    def _epochs_of_chunk(self) -> int:
        job, n_batches = self.job, int(self.words[k.N_BATCHES])
        left = job.epochs - int(self.words[k.EPOCH])
        if job.epoch_by_epoch or self.optimizer is None or not self.seconds_a_step:
            return 1
        cannot_go_back = job.scheduler is not None and not hasattr(job.scheduler, "state_dict")
        if cannot_go_back or self.looks_back:
            return 1
        fit = int(CALL_SECONDS / (self.seconds_a_step * n_batches))
        fit = min(fit, job.epochs // 100) if job.is_watched else fit
        a_epoch = max(len(job.x) if self._shuffles else 1, n_batches * SETTINGS * int(self.words[k.N_GROUPS]))
        return max(1, min(left, fit, TABLE_SIZE // a_epoch))

    @property
    def _shuffles(self) -> bool:
        return self.job.shuffle and self.job.batch_size < self.n_rows

    def _prepare(self, n_epochs: int) -> tuple[list[float], Callable[[int], None]]:
        """Write the orders and settings of a chunk; return each epoch's rate, and what to call after so many epochs."""
        job, words = self.job, self.words
        n_batches = int(words[k.N_BATCHES])
        if self._shuffles:
            orders = np.empty((n_epochs, self.n_rows), dtype=np.int64)
            for row in orders:
                row[:] = torch.randperm(self.n_rows, generator=self.shuffler).numpy()
            self.hold(k.ORDERS, orders)
            words[k.ORDER_SIZE] = self.n_rows
        self.hold(k.LOSSES, np.zeros(n_epochs * n_batches))
        self.hold(k.EPOCH_LOSSES, np.zeros(n_epochs))
        self.hold(k.VALID_LOSSES, np.zeros(n_epochs))
        if self.plan.spelling is None:
            return [self._rate()], lambda _: None
        if job.scheduler is None or self.looks_back:
            words[k.STEPS_A_SETTING] = 2**62
            self.hold(k.SETTINGS_TABLE, np.array(self._settings()))
            return [self._rate()] * n_epochs, lambda _: None
        return self._run_ahead(n_epochs, n_batches)

    def _run_ahead(self, n_epochs: int, n_batches: int) -> tuple[list[float], Callable[[int], None]]:
        """Step the scheduler through the chunk, noting the settings; where the chunk ends early, step it again, less far."""
        job = self.job
        job.optimizer._opt_called = True  # type: ignore[attr-defined]  # noqa: SLF001 - a scheduler warns unless the optimizer stepped first
        by_step = job.scheduler_every == "step"
        before = copy.deepcopy(job.scheduler.state_dict()) if hasattr(job.scheduler, "state_dict") else None
        groups = [{key: own for key, own in group.items() if key != "params"} for group in job.optimizer.param_groups]
        rows, rates = [], []
        count = n_epochs * n_batches if by_step else n_epochs
        for i in range(count):
            if i % (n_batches if by_step else 1) == 0:
                rates.append(self._rate())
            rows.append(self._settings())
            job.scheduler.step()
        self.hold(k.SETTINGS_TABLE, np.array(rows))
        self.words[k.STEPS_A_SETTING] = 1 if by_step else n_batches

        def follow(n_done: int) -> None:
            taken = int(self.words[k.STEP_NOW]) - started
            wanted = taken if by_step else n_done
            if wanted == count or before is None:
                return
            job.scheduler.load_state_dict(before)
            for group, old in zip(job.optimizer.param_groups, groups, strict=True):
                group.update(old)
            for _ in range(wanted):
                job.scheduler.step()

        started = int(self.words[k.STEP_NOW])
        return rates, follow

    def _settings(self) -> list[list[float]]:
        assert self.plan.spelling is not None  # noqa: S101 - for the type checker: asked only where there is one
        return settings(self.plan.spelling, self.job.optimizer.param_groups, SETTINGS)

    def _rate(self) -> float:
        return float(self.job.optimizer.param_groups[0]["lr"])

    def _call(self, function: Callable[..., Any], first: int, stop: int = 0) -> int:
        arguments = (self.plan.dtype, self.words, self.reals)
        self.words[k.QUIT] = 0
        help_out = [self.helpers.submit(kernels.run, k.help_out, *arguments, 0) for _ in range(self.n_helpers)]
        try:
            return kernels.run(function, *arguments, first, stop)
        finally:
            self.words[k.QUIT] = 1
            for helper in help_out:
                helper.result()

    def _train(self, n_epochs: int) -> int:
        n_batches = int(self.words[k.N_BATCHES])
        if self.optimizer is None:
            return self._train_with_torch(n_batches)
        if self.seconds_a_step and self.seconds_a_step * n_batches < CALL_SECONDS:
            return self._call(k.train_epochs, n_epochs)
        step, piece = 0, 1 if not self.seconds_a_step else max(1, int(CALL_SECONDS / self.seconds_a_step))
        while step < n_batches:  # one long epoch, or the first: in pieces, whose size follows the time they take
            stop, started = min(step + piece, n_batches), perf_counter()
            self._call(k.train_steps, step, stop)
            seconds = perf_counter() - started
            piece = max(1, min(4 * piece, int(piece * CALL_SECONDS / max(seconds, 1e-9))))
            step = stop
        return self._finish()

    def _finish(self) -> int:
        for first in range(0, int(self.words[k.VALID_ROWS]), k.EVALUATION_BLOCK):
            self._call(k.evaluate, first, min(first + k.EVALUATION_BLOCK, int(self.words[k.VALID_ROWS])))
        return self._call(k.finish_epoch, 0)

    def _train_with_torch(self, n_batches: int) -> int:
        """Train one epoch on gradients of ours and steps of torch's own: for optimizers without a kernel."""
        job, flat, words = self.job, self.plan.flat, self.words
        self._begin_epoch()
        pairs = flat.gradients(self.gradients)
        for position in range(n_batches):
            self._gradient(position)
            for parameter, gradient in pairs:
                parameter.grad = gradient.clone()
            flat.write()
            job.optimizer.step()
            flat.read()
            words[k.STEP_NOW] += 1
            if job.scheduler is not None and job.scheduler_every == "step":
                job.scheduler.step()
        ending = self._finish()
        if ending != k.DIVERGED and not self.looks_back:
            schedule(job, 0.0)
        return ending

    def _begin_epoch(self) -> None:
        """Keep the weights an epoch begins with, in turns with those of the epoch before; the driver does it for whole epochs."""
        words = self.words
        words[k.BEFORE], words[k.EARLIER] = words[k.EARLIER], words[k.BEFORE]
        self._before()[:] = self.plan.flat.values

    def _before(self) -> npt.NDArray[Any]:
        first = self.held[k.BEFORE]
        return first if first.ctypes.data == self.words[k.BEFORE] else self.held[k.EARLIER]

    def _gradient(self, position: int) -> None:
        """Compute the loss of a batch, and its gradient."""
        self._call(k.gradient, position, position)

    # Standing between two epochs.

    def state(self) -> State | None:
        """Return a copy of all that the next epoch depends on; None as ``Standing.now`` says."""
        words, held = self.words, self.held
        if self.ending != k.DONE or self.optimizer is None or self.looks_back:
            return None
        return {
            "weights": self.plan.flat.values.copy(),
            "moments": self.optimizer.values.copy(),
            "best": held[k.BEST].copy(),
            "before": self._before().copy(),
            "shuffle": self.shuffler.get_state().numpy(),
            "counts": np.array([words[k.EPOCH], words[k.BEST_EPOCH]]),
            "best_loss": np.array([self.reals[k.BEST_LOSS]]),
        }

    def go_on(self, state: State) -> None:
        """Stand where ``state`` was taken from the same job.

        Raises:
            TrainingError: it is the state of another job.
        """
        words, held = self.words, self.held
        wanted = {"weights": self.plan.flat.values, "best": held[k.BEST], "before": held[k.BEFORE]}
        if self.optimizer is not None:
            wanted["moments"] = self.optimizer.values
        epoch, best_epoch = map(int, state["counts"])
        fits = all(state[name].shape == array.shape for name, array in wanted.items())
        if not fits or not 0 <= best_epoch <= epoch <= self.job.epochs:
            raise TrainingError(
                "the checkpoint that this training is to go on from is that of another training: train anew."
            )
        for name, array in wanted.items():
            array[:] = state[name]
        self.shuffler.set_state(torch.from_numpy(state["shuffle"].copy()))
        words[k.EPOCH], words[k.BEST_EPOCH] = epoch, best_epoch
        words[k.STEP_NOW] = epoch * words[k.N_BATCHES]
        words[k.KEEPS_DATA] = 0  # the first step has to fetch them, and a word tells all steps
        self.reals[k.BEST_LOSS] = state["best_loss"][0]
        if self.job.scheduler is not None:
            self.job.optimizer._opt_called = True  # type: ignore[attr-defined]  # noqa: SLF001 - as in _run_ahead
            for _ in range(int(words[k.STEP_NOW]) if self.job.scheduler_every == "step" else epoch):
                self.job.scheduler.step()

    # Ending.

    def write(self) -> None:
        """Give the network and the optimizer the state reached so far."""
        self.plan.flat.write()
        if self.optimizer is not None:
            self.optimizer.write(int(self.words[k.STEP_NOW]))

    def _end(self) -> None:
        """Restore the best weights if that is wanted, and give back the state."""
        stopping = self.job.stopping
        if stopping is not None and stopping.restore_best and isfinite(self.reals[k.BEST_LOSS]):
            self.plan.flat.values[:] = self.held[k.BEST]
        self.write()
        self.helpers.shutdown()
