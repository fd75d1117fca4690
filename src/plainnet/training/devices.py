"""Moving a network to the device it trains on, once, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from plainnet.errors import TrainingError

__all__ = ["choose_device", "on_device"]


def choose_device(wanted: str | torch.device, model: nn.Module | None = None, x: Tensor | None = None) -> torch.device:
    """Return the device to train on.

    Args:
        wanted: 'auto' or a torch device. 'auto' is where the network or x already is, if that is not the CPU; else
            CUDA or MPS where there is one.
        model: the network.
        x: the inputs.

    Raises:
        TrainingError: there is no such device.
    """
    if wanted == "auto":
        for tensor in (None if model is None else next(model.parameters()), x):
            if tensor is not None and tensor.device.type != "cpu":
                return tensor.device
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    # Torch raises AssertionError where it is built without CUDA, and ImportError where a device's package is missing.
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        raise TrainingError(
            f"device {str(wanted)!r} cannot be used: {str(error).splitlines()[0]}. Try 'auto' or 'cpu'."
        ) from error
    if device.type == "meta":
        raise TrainingError(
            "device 'meta' cannot be used: its tensors have shapes and no numbers. Try 'auto' or 'cpu'."
        )
    return device


@contextlib.contextmanager
def on_device(model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> Iterator[torch.device]:
    """Keep the network and the optimizer's state on a device, and take both back afterwards."""
    home = next(model.parameters()).device
    if home == device:
        yield device
        return
    try:
        model.to(device)  # changes the parameters in place: the optimizer still holds the same ones
        _move_state(optimizer, device)
        yield device
    finally:
        model.to(home)
        _move_state(optimizer, home)


def _move_state(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    on_device_steps = any(group.get("capturable") or group.get("fused") for group in optimizer.param_groups)
    for state in optimizer.state.values():
        for key, value in state.items():
            if key != "step" or on_device_steps:  # the count of steps stays on the CPU, as torch keeps it
                state[key] = _moved(value, device)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    return [_moved(part, device) for part in value] if isinstance(value, list) else value  # LBFGS keeps lists
