"""A plan loaded for the driver: all that a training reads and writes, in arrays whose addresses the driver is given."""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from plainnet.engines.flat import FlatOptimizer
from plainnet.engines.job import Job
from plainnet.engines.plan import Part, Plan
from plainnet.engines.program import Operation, table
from plainnet.kernels import driver as k
from plainnet.kernels.crew import N_CREW_WORDS, yield_address
from plainnet.kernels.state import N_STATE_REALS, N_STATE_WORDS

__all__ = ["LoadedPlan"]

#: Parameters that one unit of shared work steps over.
RUN_SIZE = 2**14


class LoadedPlan:
    """The words and reals of the driver for one training, and the arrays they point to.

    Attributes:
        words, reals: what the driver is called with; ``kernels.driver`` names their places.
        optimizer: the moments; None where torch takes the steps.
        gradients: of all parameters, flat.
        n_units: units of work of a step that threads can share; 0: it is one thread's.
        may_step_at_once: plain SGD on few rows may step as the gradient is computed.
    """

    may_step_at_once = True

    def __init__(self, job: Job, plan: Plan) -> None:
        self.job, self.plan = job, plan
        flat = plan.flat
        self.gradients = np.zeros(max(flat.n_parameters, 1), dtype=plan.dtype)
        self.optimizer: FlatOptimizer | None = None
        if plan.spelling is not None:
            longest = RUN_SIZE if plan.train.piece else None
            self.optimizer = FlatOptimizer(job.optimizer, plan.spelling, flat, longest=longest)
        program, is_clipped = plan.train.program, job.clip_grad_norm is not None
        can_step_at_once = (
            self.may_step_at_once and plan.train.is_few and not is_clipped and not program.needs_whole_batch
        )
        self.steps_at_once = can_step_at_once and self.optimizer is not None and self.optimizer.step_at_once(program)
        self.words, self.reals = np.zeros(k.N_WORDS, dtype=np.int64), np.zeros(k.N_REALS)
        self.held: dict[int, npt.NDArray[Any]] = {}  # what the words point to stays alive as long as they do
        self.n_units = 0
        self._write_program()
        self._write_data()
        self._write_validation()

    def hold(self, word: int, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Give the driver the address of an array, and keep the array alive."""
        self.held[word] = array
        self.words[word] = array.ctypes.data
        return array

    def _memory(self, word: int, fixed_word: int, part: Part) -> None:
        self.hold(word, np.zeros(part.program.size, dtype=self.plan.dtype))
        self.hold(fixed_word, part.program.fixed_numbers(self.plan.dtype))

    def _write_program(self) -> None:
        plan, words = self.plan, self.words
        operations: list[Operation] = [*plan.train.operations]
        words[k.TRAIN_FIRST], words[k.TRAIN_STOP] = 0, len(operations)
        operations += [] if self.steps_at_once else [operation for operation, _ in plan.train.program.weights]
        words[k.GRADIENT_STOP] = words[k.VALID_FIRST] = len(operations)
        operations += plan.valid.operations if plan.valid else []
        words[k.VALID_STOP] = len(operations)
        words[k.UPDATE_FIRST] = len(operations)
        operations += self.optimizer.operations if self.optimizer else []
        words[k.UPDATE_STOP] = len(operations)
        for word, part in ((k.SCALER, plan.train), (k.VALID_SCALER, plan.valid)):
            words[word] = -1
            if part is not None and part.scale is not None:
                words[word] = len(operations)
                operations.append(part.scale)
        code, constants = table(operations, plan.dtype)
        self.hold(k.OPERATIONS, code)
        self.hold(k.OPERATION_CONSTANTS, constants)
        self.hold(k.STATE, np.zeros(N_STATE_WORDS, dtype=np.int64))
        self.hold(k.STATE_REALS, np.zeros(N_STATE_REALS))
        self.hold(k.PARAMETERS, plan.flat.values)
        self.hold(k.GRADIENTS, self.gradients)
        self.hold(k.MOMENTS, self.optimizer.values if self.optimizer else np.zeros(1, dtype=plan.dtype))
        for word in (k.BEFORE, k.EARLIER, k.BEST):
            self.hold(word, plan.flat.values.copy())
        words[k.N_TRAINABLE], words[k.N_ALL] = plan.flat.n_trainable, len(plan.flat.values)
        words[k.PER_VALUE], words[k.SUMS] = plan.targets.per_value, int(plan.targets.is_sum)
        self._memory(k.MEMORY, k.FIXED_NUMBERS, plan.train)
        if plan.valid is not None:
            self._memory(k.VALID_MEMORY, k.VALID_FIXED, plan.valid)
        self._write_sharing()

    def _write_sharing(self) -> None:
        """Write down the units of work that threads share."""
        part, words = self.plan.train, self.words
        words[k.PIECE] = part.piece
        if not part.piece:
            return
        first = int(words[k.TRAIN_STOP])
        units = [(first + number, output, outputs) for number, output, outputs in part.units]
        words[k.N_WEIGHT_UNITS] = len(units)
        self.hold(k.WEIGHT_UNITS, np.array(units, dtype=np.int64))
        n_states = max(len(units), -(-part.rows // part.piece))
        self.hold(k.UNIT_STATES, np.zeros((n_states, N_STATE_WORDS), dtype=np.int64))
        self.hold(k.UNIT_REALS, np.zeros((n_states, N_STATE_REALS)))
        self.hold(k.CREW, np.zeros(N_CREW_WORDS, dtype=np.int64))
        words[k.YIELD] = yield_address()
        self.n_units = n_states

    def _write_data(self) -> None:
        job, words, part = self.job, self.words, self.plan.train
        n_rows, batch = len(job.x), min(job.batch_size, len(job.x))
        words[k.N_ROWS], words[k.BATCH], words[k.PART], words[k.PART_LEAD] = n_rows, batch, part.rows, part.lead
        words[k.IS_FEW] = int(part.is_few)
        words[k.N_BATCHES] = n_rows // batch if job.drop_last else -(-n_rows // batch)
        words[k.KEEPS_DATA] = part.n_fetches if batch == n_rows == part.rows else 0
        self._hold_rows((k.DATA_X, k.DATA_Y, k.DATA_WEIGHT), job.x, job.y, job.weight)
        if job.clip_grad_norm is not None:
            words[k.CLIPS], self.reals[k.MAX_NORM] = 1, job.clip_grad_norm
        words[k.N_GROUPS] = len(job.optimizer.param_groups)

    def _write_validation(self) -> None:
        job, words = self.job, self.words
        self.reals[k.BEST_LOSS], words[k.PATIENCE] = inf, -1
        if job.stopping is not None:
            words[k.STOPS], self.reals[k.MIN_DELTA] = 1, job.stopping.min_delta
            words[k.PATIENCE] = -1 if job.stopping.patience is None else job.stopping.patience
        if job.validation is None or self.plan.valid is None:
            return
        x, y, weight = job.validation
        words[k.VALIDATES], words[k.VALID_ROWS] = 1, len(x)
        words[k.VALID_PART], words[k.VALID_LEAD] = self.plan.valid.rows, self.plan.valid.lead
        self._hold_rows((k.VALID_X, k.VALID_Y, k.VALID_WEIGHT), x, y, weight)

    def _hold_rows(self, words: tuple[int, ...], x: Tensor, y: Tensor, weight: Tensor | None) -> None:
        for word, tensor in zip(words, (x.reshape(len(x), -1), y, weight), strict=True):
            if tensor is not None:
                dtype = getattr(torch, self.plan.dtype) if tensor.is_floating_point() else tensor.dtype
                self.hold(word, np.ascontiguousarray(tensor.to(dtype).detach().numpy()))
