"""The forward pass of a network as compiled code, and plain networks that need no torch for it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from plainnet.engines.plain_layers import lay_activation, lay_linear
from plainnet.engines.program import PART_SIZE, Codes, Operation, Program, Value, cut, fitting, table
from plainnet.kernels import data, driver as k, kernels
from plainnet.kernels.activations import SELU_ALPHA, SELU_SCALE
from plainnet.kernels.state import N_STATE_REALS, N_STATE_WORDS, X
from plainnet.networks.shape import Shape

__all__ = ["FlatNetwork", "Forward"]

#: Rows of the piece of work that one thread takes.
ROWS = 65_536
#: Multiplications below which a second thread costs more than it saves.
THREAD_WORK = 20_000_000
#: Rows up to which a program of its own, whose memory is small, predicts.
FEW_ROWS = (16, 64)

#: The kernel of each activation of a plain network, with torch's default constants.
CONSTANTS: dict[str, tuple[str, tuple[float, ...]]] = {
    "leaky_relu": ("leaky_relu", (0.01,)),
    "elu": ("elu", (1.0, 1.0)),
    "selu": ("elu", (SELU_ALPHA * SELU_SCALE, SELU_SCALE)),
}


class _Place(threading.local):
    """What a thread predicts in, used again by its next prediction: fresh memory costs more than the arithmetic of a row."""

    def __init__(self) -> None:
        self.memory = np.zeros(0, dtype=np.uint8)
        self.words, self.reals = np.zeros(k.N_WORDS, dtype=np.int64), np.zeros(k.N_REALS)
        self.state, self.state_reals = np.zeros(N_STATE_WORDS, dtype=np.int64), np.zeros(N_STATE_REALS)
        self.addresses = [each.ctypes.data for each in (self.words, self.reals, self.state, self.state_reals)]
        self.memory_address = 0

    def reserve(self, n_bytes: int) -> None:
        """Have at least so much memory, on a cache line's boundary."""
        if len(self.memory) < n_bytes:
            memory = np.zeros(n_bytes + 64, dtype=np.uint8)
            self.memory = memory[-memory.ctypes.data % 64 :]
            self.memory_address = self.memory.ctypes.data


_place = _Place()


class Forward:
    """A program that predicts, and what it reads.

    Args:
        operations: of the forward pass.
        program: where things lie.
        rows: of a part.
        outputs: of the network.
        values: the network's weights and buffers.
        is_few: features of a row are neighbours.
    """

    def __init__(
        self, operations: list[Operation], program: Program, rows: int, outputs: int, values: npt.NDArray[Any], *, is_few: bool = False
    ) -> None:  # fmt: skip
        self.rows, self.outputs, self.values = rows, outputs, values
        self._n_bytes, self._dtype = program.size * values.itemsize, str(values.dtype)
        words, constants = table(operations, self._dtype)
        self._predict = kernels.callable_of(k.predict, self._dtype)
        # Kept, as the program holds their addresses.
        self._held = {
            k.PARAMETERS: values, k.OPERATIONS: words, k.OPERATION_CONSTANTS: constants,
            k.VALID_FIXED: program.fixed_numbers(values.dtype),
        }  # fmt: skip
        self._words = np.zeros(k.N_WORDS, dtype=np.int64)
        for word, array in self._held.items():
            self._words[word] = array.ctypes.data
        self._words[k.VALID_STOP], self._words[k.IS_FEW] = len(operations), int(is_few)
        self._words[k.VALID_PART], self._words[k.VALID_LEAD] = rows, program.lead

    def predict(self, x: npt.NDArray[Any], most_threads: int | None = None) -> npt.NDArray[Any]:
        """Return the outputs of rows x, (N, features), contiguous, of the type of the weights: (N, outputs).

        They are the same to the last bit however many threads there are.
        """
        out = np.empty((len(x), self.outputs), dtype=self.values.dtype)
        if len(x) <= self.rows:
            self._run(x, out, 0, len(x))
            return out
        paying = min(-(-len(x) * len(self.values) // THREAD_WORK), -(-len(x) // self.rows))
        threads = min(most_threads or os.cpu_count() or 1, paying)
        size = ROWS
        if threads > 1 and len(x) < ROWS * threads:
            size = -(-len(x) // threads // self.rows) * self.rows
        pieces = [(first, min(first + size, len(x))) for first in range(0, len(x), size)]
        if threads <= 1:
            for first, stop in pieces:
                self._run(x, out, first, stop)
        else:
            with ThreadPoolExecutor(threads) as pool:
                for done in [pool.submit(self._run, x, out, first, stop) for first, stop in pieces]:
                    done.result()
        return out

    def _run(self, x: npt.NDArray[Any], out: npt.NDArray[Any], first: int, stop: int) -> None:
        """Predict rows first … stop in this thread's place."""
        place = _place
        place.reserve(self._n_bytes)
        words = place.words
        words[:], place.state[:], place.state_reals[:] = self._words, 0, 0
        words[k.VALID_MEMORY] = words[k.GRADIENTS] = place.memory_address
        words_address, reals_address, words[k.STATE], words[k.STATE_REALS] = place.addresses
        words[k.VALID_X], words[k.PREDICTIONS] = x.ctypes.data, out.ctypes.data
        self._predict(None, words_address, reals_address, first, stop)


class FlatNetwork:
    """A plain network's weights in one array, and the programs that predict with them.

    Attributes:
        shape: of the network.
        values: (weights,) float32, in the order of ``Shape.tensors``. What is written here counts from the next prediction.

    >>> shape = Shape(n_in=2, n_out=1, hidden=(), activation="relu")
    >>> FlatNetwork(shape, np.array([1, 2, 0.5], dtype=np.float32)).predict(np.ones((1, 2), dtype=np.float32)).tolist()
    [[3.5]]
    """

    def __init__(self, shape: Shape, values: npt.NDArray[np.float32]) -> None:
        self.shape, self.values = shape, values
        self._forwards: dict[int, Forward] = {}

    def predict(self, x: npt.NDArray[np.float32], threads: int | None = None) -> npt.NDArray[np.float32]:
        """Return the outputs of rows x, (N, features): (N, outputs)."""
        few = next((rows for rows in FEW_ROWS if len(x) <= rows), 0)
        if few not in self._forwards:
            self._forwards[few] = self._forward(few)
        return self._forwards[few].predict(np.ascontiguousarray(x), threads)

    def _forward(self, rows: int) -> Forward:
        """Lay out a program for parts of so many rows; 0: as many as fit the cache."""
        if not rows:
            rows = fitting(self._laid(1)[0], PART_SIZE, self.values.itemsize)
        part, lead = cut(rows, rows, self.values.itemsize)
        program, outputs = self._laid(lead)
        return Forward(program.forward, program, part, outputs, self.values)

    def _laid(self, lead: int) -> tuple[Program, int]:
        shape, program = self.shape, Program(lead, {}, set(), evaluates=True)
        x = program.value(shape.n_in, needs_gradient=False)
        program.forward.append(Operation(data.gather, (x.place, shape.n_in, X)))
        places = list(accumulate((prod(tensor) for _, tensor in shape.tensors), initial=0))
        value: Value = x
        if shape.bins:
            plain = shape.n_in - len(shape.bins)
            value = Codes(x.place, shape.n_coded, plain=plain, bins=shape.bins, scale=shape.scale)
        for number, width in enumerate((*shape.hidden, shape.n_out)):
            value = lay_linear(program, value, width, places[2 * number], places[2 * number + 1])
            if number < len(shape.hidden):
                value = lay_activation(program, value, *CONSTANTS.get(shape.activation, (shape.activation, ())))
        program.forward.append(Operation(data.emit, (value.place, value.features)))
        return program, value.features
