"""A trial: what the network predicts for a few rows, and nothing of it stays.

The network's weights and buffers, the attributes of its modules (some count their calls), its modes and torch's random
numbers are afterwards as they were, so that a training gives the numbers of the loop written by hand.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from plainnet.engines.eager import Weights
from plainnet.errors import TrainingError

__all__ = ["same_random_numbers", "trial"]

#: How torch says that BatchNorm has one value to normalise over.
ONE_VALUE = "more than 1 value per channel"


def trial(model: nn.Module, x: Tensor, name: str = "x", *, evaluating: bool = False) -> Any:
    """Predict a few rows, in the network's own mode and with gradients, and leave no trace.

    Args:
        model: the network.
        x: (rows, …) inputs.
        name: of the inputs, in messages.
        evaluating: predict in evaluation mode and without gradients, as validation rows are.

    Raises:
        TrainingError: the network cannot take x; the message says why, and what to pass.
    """
    try:
        return _predicted(model, x, evaluating=evaluating)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        raise TrainingError(_refusal(model, x, name, error, evaluating=evaluating)) from error


@contextlib.contextmanager
def same_random_numbers(device: torch.device) -> Iterator[None]:
    """Put torch's random numbers back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _predicted(model: nn.Module, x: Tensor, *, evaluating: bool) -> Any:
    weights, attributes = Weights(model), [_Attributes(module) for module in model.modules()]
    try:
        with same_random_numbers(x.device), torch.set_grad_enabled(not evaluating):
            if evaluating:
                model.eval()
            return model(x)
    finally:
        for each in attributes:
            each.restore()
        weights.restore()


class _Attributes:
    """A copy of a module's attributes, its mode among them, and of what its lists, dicts and sets hold."""

    def __init__(self, module: nn.Module) -> None:
        self._live = vars(module)
        self._copy = dict(self._live)
        self._held = [(each, each.copy()) for each in self._live.values() if isinstance(each, list | dict | set)]
        tensors = [each for each in self._live.values() if isinstance(each, Tensor)]
        self._tensors = [(each, each.detach().clone()) for each in tensors if each.layout == torch.strided]

    def restore(self) -> None:
        """Put the copy back into the module; its lists, dicts, sets and tensors are the same objects as before."""
        self._live.clear()
        self._live.update(self._copy)
        for container, held in self._held:
            container.clear()
            container.extend(held) if isinstance(container, list) else container.update(held)
        for tensor, values in self._tensors:
            if not torch.equal(tensor, values):  # one that shares its memory, by expand, cannot be written and was not
                tensor.detach().copy_(values)


def _refusal(model: nn.Module, x: Tensor, name: str, error: Exception, *, evaluating: bool) -> str:
    """Say why the network cannot take x, and what to pass: what would have helped is tried."""

    def works(other: Tensor) -> bool:
        with contextlib.suppress(Exception):
            _predicted(model, other, evaluating=evaluating)
            return True
        return False

    why = str(error).splitlines()[0] if str(error) else type(error).__name__
    if ONE_VALUE in why and len(x) == 1:
        return "BatchNorm cannot normalise over a batch of one row: pass more rows, or a larger batch_size."
    inputs = _inputs(model)
    if isinstance(error, TypeError) and len(inputs) > 1:
        return (
            f"the network's forward takes {len(inputs)} inputs ({', '.join(inputs)}), and train passes one, x: let forward "
            "take one tensor and split it, such as x[:, :3] and x[:, 3:]."
        )
    own = str(x.dtype).removeprefix("torch.")
    weights = next((parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()), None)
    if weights is not None and weights != x.dtype and not x.is_complex() and works(x.to(weights)):
        short = str(weights).removeprefix("torch.")
        return (
            f"{name} is {own} and the network's weights are {short}: "
            f"pass x.to(torch.{short}) (a tensor) or x.astype(np.{short}) (a NumPy array)."
        )
    if x.is_floating_point() and works(x.long()):
        return f"{name} is {own} and the network, such as its Embedding, takes whole numbers: pass x.long()."
    if x.ndim == 1 and works(x[:, None]):
        return f"{name} has shape (N,), and the network takes rows of features: pass x.reshape(-1, 1)."
    shape = f"(N, {', '.join(map(str, x.shape[1:]))})" if x.ndim > 1 else "(N,)"
    return (
        f"the network cannot take {name} of shape {shape} and dtype {x.dtype}: {why.rstrip('.')}. "
        f"{name} has to be (rows, features) with the features of the first layer."
    )


def _inputs(model: nn.Module) -> list[str]:
    """Name the inputs that the network's forward cannot do without."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    places = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [each.name for each in parameters if each.kind in places and each.default is inspect.Parameter.empty]
