"""A program being written: memory laid out, operations listed forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from plainnet.kernels.kernels import VECTOR_BYTES, compiled
from plainnet.kernels.state import CONSTANTS, OPERATION

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Codes", "NotFusible", "Operation", "Program", "Value", "cut", "fitting", "table"]

#: Numbers in the memory of a part of a batch: 1 MiB of float32, about what a core's own cache holds.
PART_SIZE = 2**18
#: Rows of a part at least, however wide the network: below, the products of narrower pieces are slower.
LEAST_PART = 64
#: Vectors of rows that a part is a multiple of.
PIECE_VECTORS = 4
#: Numbers between the starts of two values are a multiple of this: a cache line of float32.
ALIGNMENT = 16


class NotFusible(Exception):  # noqa: N818 - says no, and why; nothing went wrong
    """A network, loss or optimizer has no fused form; the message is the reason, shown to the user."""


@dataclass(frozen=True)
class Operation:
    """A kernel with its words and constants."""

    kernel: Callable[..., None]
    words: tuple[int, ...]
    constants: tuple[float, ...] = ()


@dataclass
class Value:
    """What a layer reads or writes: (features, rows).

    Attributes:
        place: where it lies in the memory of a batch.
        features: of a row.
        gradient: where its gradient lies; -1: nothing below needs one.
        source: the entry of ``Program.backward`` of the layer that wrote it; -1: x.
        n_readers: layers that read it so far.
    """

    place: int
    features: int
    gradient: int = -1
    source: int = -1
    n_readers: int = 0


@dataclass
class Codes(Value):
    """Piecewise linear codes that are never written down: the next linear layer looks them up.

    Attributes:
        plain: features passed on.
        bins: of each coded number.
        scale: what a code of 1 is.
    """

    plain: int = 0
    bins: tuple[int, ...] = ()
    scale: float = 1.0


@dataclass
class Program:
    """The operations for one part of a batch, and the memory they need.

    Attributes:
        lead: numbers from one feature to the next: rows of the largest part, rounded up.
        parameters: place of each parameter and buffer in the flat arrays, by ``id``.
        trainable: ``id`` of the parameters that need a gradient.
        dropout_seed: seed of the dropout masks.
        evaluates: layers are as in evaluation mode.
        size: numbers of memory reserved so far.
        fixed_size: those of them that are the same for any number of rows.
        needs_whole_batch: a layer looks at all rows of a batch at once.
        by_features: a layer wants the rows of a feature as neighbours, however few they are.
        splits: rows can be passed through in pieces by several threads: no layer looks at several at once.
        fixed: constant numbers that kernels read.
        forward: operations in running order.
        backward: for each layer, its backward operations in running order; layers in forward order.
        weights: for each layer with weights, the operation for their gradient, and its outputs.
    """

    lead: int
    parameters: dict[int, int]
    trainable: set[int]
    dropout_seed: int = 0
    evaluates: bool = False
    size: int = 0
    fixed_size: int = 0
    needs_whole_batch: bool = False
    by_features: bool = False
    n_layers: int = 0
    splits: bool = True
    fixed: list[float] = field(default_factory=list)
    forward: list[Operation] = field(default_factory=list)
    backward: list[list[Operation]] = field(default_factory=list)
    weights: list[tuple[Operation, int]] = field(default_factory=list)

    def memory(self, count: int) -> int:
        """Reserve numbers; return their place."""
        place, self.size = self.size, self.size + -(-count // ALIGNMENT) * ALIGNMENT
        return place

    def table(self, count: int) -> int:
        """Reserve numbers that do not grow with the rows; return their place."""
        self.fixed_size += -(-count // ALIGNMENT) * ALIGNMENT
        return self.memory(count)

    def constant(self, values: Tensor | Sequence[float]) -> int:
        """Note constant numbers; return their place."""
        place = len(self.fixed)
        numbers = values if isinstance(values, Sequence) else values.detach()
        self.fixed += np.asarray(numbers, dtype=np.float64).reshape(-1).tolist()
        return place

    def fixed_numbers(self, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return the constant numbers as kernels read them; never empty."""
        return np.array([*self.fixed, 0.0], dtype=dtype)

    def value(self, features: int, *, needs_gradient: bool) -> Value:
        """Reserve a value, written by the layer whose backward pass is the next entry of ``backward``."""
        gradient = self.memory(features * self.lead) if needs_gradient else -1
        return Value(self.memory(features * self.lead), features, gradient, len(self.backward))

    def place(self, tensor: Tensor | None) -> int:
        """Return the place of a parameter or buffer in the flat arrays; -1 for None."""
        return -1 if tensor is None else self.parameters[id(tensor)]

    def needs(self, *tensors: Tensor | None) -> bool:
        """Whether one of them needs a gradient."""
        return any(tensor is not None and id(tensor) in self.trainable for tensor in tensors)

    def read(self, value: Value) -> Value:
        """Return the value for one more reader: each has its own gradient, and they are summed before they go on."""
        from plainnet.kernels.layers import add_forward

        value.n_readers += 1
        if value.n_readers == 1 or value.gradient < 0:
            return value
        other = Value(value.place, value.features, self.memory(value.features * self.lead), value.source)
        meet = Operation(add_forward, (value.gradient, other.gradient, value.gradient, value.features))
        self.backward[value.source].insert(0, meet)
        return other

    def layer(self, forward: Operation, *backward: Operation) -> None:
        """List a layer: its forward operation, and the backward ones in the order they are to run."""
        self.forward.append(forward)
        self.backward.append(list(backward))
        self.n_layers += 1

    def operations(self) -> list[Operation]:
        """Return forward and backward, in running order, but for ``weights``. The loss stands last in ``forward``."""
        return [*self.forward, *(operation for entry in reversed(self.backward) for operation in entry)]


def table(operations: Sequence[Operation], dtype: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return operations as the driver reads them: words (n, OPERATION), constants (n, CONSTANTS)."""
    words = np.zeros((max(len(operations), 1), OPERATION), dtype=np.int64)
    constants = np.zeros((max(len(operations), 1), CONSTANTS), dtype=np.float64)
    for i, operation in enumerate(operations):
        words[i, 0] = compiled(operation.kernel, dtype).address
        words[i, 1 : 1 + len(operation.words)] = operation.words
        constants[i, : len(operation.constants)] = operation.constants
    return words, constants


def fitting(program: Program, numbers: int, itemsize: int) -> int:
    """Return the rows of the largest part that fits into so many numbers, ``program`` being that of a single row."""
    piece = PIECE_VECTORS * VECTOR_BYTES // itemsize
    return max(LEAST_PART, numbers // max(program.size - program.fixed_size, 1) // piece * piece)


def cut(rows: int, most: int, itemsize: int) -> tuple[int, int]:
    """Cut rows into parts of about the same size.

    Args:
        rows: to be cut.
        most: rows of a part at most.
        itemsize: bytes of a number.

    Returns:
        The rows of a part, and the numbers from one feature to the next.
    """
    lanes = VECTOR_BYTES // itemsize
    n_parts, piece = -(-rows // most), PIECE_VECTORS * lanes
    part = rows if n_parts == 1 else -(-rows // n_parts // piece) * piece
    lead = -(-part // lanes) * lanes
    # A distance of many whole cache lines between features would put them all in the same few sets of the cache.
    return part, lead + (lanes if lead * itemsize % 512 == 0 else 0)
