"""Predictions: a network's outputs for many rows, in evaluation mode, without gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plainnet.engines.eager import evaluating
from plainnet.engines.flat import FlatTensors
from plainnet.engines.forward import ROWS, Forward
from plainnet.engines.plan import check_flattened, check_tensors, part_of, steps_of
from plainnet.engines.program import NotFusible

__all__ = ["predict"]


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
        return _fused(model, x, threads)
    except NotFusible:
        with evaluating(model), torch.no_grad():
            return np.concatenate([model(part).cpu().numpy() for part in torch.split(x, ROWS)])


def _fused(model: nn.Module, x: Tensor, threads: int | None) -> npt.NDArray[Any]:
    dtype = check_tensors(list(model.parameters()), x)
    calls = steps_of(model, evaluates=True)
    check_flattened(calls, x)
    flat = FlatTensors(model, calls, [], dtype)
    features = x[0].numel() if len(x) else int(np.prod(x.shape[1:]))
    part = part_of(calls, flat, features, max(len(x), 1), None)
    rows = np.ascontiguousarray(x.detach().numpy().reshape(len(x), features))
    forward = Forward(part.operations, part.program, part.rows, part.outputs, flat.values, is_few=part.is_few)
    return forward.predict(rows, threads)
