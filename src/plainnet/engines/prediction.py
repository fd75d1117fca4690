"""Predictions: a network's outputs for many rows, in evaluation mode, without gradients."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plainnet.engines.eager import evaluating
from plainnet.engines.flat import FlatTensors
from plainnet.engines.plan import Part, check_flattened, check_tensors, part_of, steps_of
from plainnet.engines.program import table
from plainnet.engines.trace import NotFusible
from plainnet.kernels import driver as k, kernels
from plainnet.kernels.state import N_STATE_REALS, N_STATE_WORDS

__all__ = ["predict"]

#: Rows of one forward pass in PyTorch, and of the piece of work one thread takes: bounds memory.
ROWS = 65_536
#: Multiplications below which a second thread costs more than it saves.
THREAD_WORK = 20_000_000


def predict(model: nn.Module, x: Tensor, *, threads: int | None = None) -> npt.NDArray[Any]:
    """Return a network's outputs, in compiled code where that is possible.

    Args:
        model: the network; its mode is left as it is, its outputs are those of evaluation mode.
        x: (N, …) inputs, on the network's device.
        threads: of the compiled code at most; None: as many as pay. The outputs are the same to the last bit.

    Returns:
        (N, outputs) of the network's number type.
    """
    try:
        return _fused(model, x, threads or os.cpu_count() or 1)
    except NotFusible:
        return _eager(model, x)


def _eager(model: nn.Module, x: Tensor) -> npt.NDArray[Any]:
    with evaluating(model), torch.no_grad():
        return np.concatenate([model(part).cpu().numpy() for part in torch.split(x, ROWS)])


def _fused(model: nn.Module, x: Tensor, most_threads: int) -> npt.NDArray[Any]:
    dtype = check_tensors(list(model.parameters()), x)
    calls = steps_of(model, evaluates=True)
    check_flattened(calls, x)
    flat = FlatTensors(model, calls, [], dtype)
    features = x[0].numel() if len(x) else int(np.prod(x.shape[1:]))
    part = part_of(calls, flat, features, max(len(x), 1), None)
    rows = np.ascontiguousarray(x.detach().numpy().reshape(len(x), features))
    out = np.empty((len(x), part.outputs), dtype=dtype)
    pieces = [(first, min(first + ROWS, len(x))) for first in range(0, len(x), ROWS)]
    threads = min(most_threads, -(-len(x) * len(flat.values) // THREAD_WORK), -(-len(x) // part.rows))
    if threads > 1:
        size = -(-len(x) // threads // part.rows) * part.rows if len(x) < ROWS * threads else ROWS
        pieces = [(first, min(first + size, len(x))) for first in range(0, len(x), size)]
    code = table(part.operations, dtype)
    if threads <= 1:
        for first, stop in pieces:
            _run(part, flat, code, rows, out, first, stop)
    else:
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(_run, part, flat, code, rows, out, first, stop) for first, stop in pieces]:
                done.result()
    return out


def _run(part: Part, flat: FlatTensors, code: Any, x: Any, out: Any, first: int, stop: int) -> None:
    """Predict rows first … stop with a memory of their own."""
    words, reals = np.zeros(k.N_WORDS, dtype=np.int64), np.zeros(k.N_REALS)
    memory = np.zeros(part.program.size, dtype=x.dtype)
    state, state_reals = np.zeros(N_STATE_WORDS, dtype=np.int64), np.zeros(N_STATE_REALS)
    held = {
        k.VALID_MEMORY: memory, k.PARAMETERS: flat.values, k.GRADIENTS: memory, k.OPERATIONS: code[0],
        k.OPERATION_CONSTANTS: code[1], k.STATE: state, k.STATE_REALS: state_reals, k.VALID_X: x, k.PREDICTIONS: out,
        k.VALID_FIXED: part.program.fixed_numbers(x.dtype),
    }  # fmt: skip
    for word, array in held.items():
        words[word] = array.ctypes.data
    words[k.VALID_STOP], words[k.IS_FEW] = len(part.operations), int(part.is_few)
    words[k.VALID_PART], words[k.VALID_LEAD] = part.rows, part.lead
    kernels.run(k.predict, str(x.dtype), words, reals, first, stop)
