"""The classic traps of a first network, caught before the first step.

One forward pass over a few rows (``trial``) tells what the network predicts: its shape, its dtype, and, by the name of
the operation that made it, whether it ends in a sigmoid or softmax (``loss_checks``).
Each trap is an error that says what was found and what to do instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from plainnet.engines.job import Loss
from plainnet.engines.losses import setting_of
from plainnet.errors import SettingError, TrainingError
from plainnet.settings import check_number
from plainnet.training.loss_checks import check_targets, is_own
from plainnet.training.trial import trial

__all__ = ["check_first_batch", "check_kinds", "check_last_batch", "check_optimizer", "check_seed", "check_validation"]

#: Rows of the trial forward pass: enough to see values outside [0, 1], few enough to cost nothing.
TRIAL_ROWS = 256


def check_seed(seed: Any) -> int:
    """Return a seed as Python's own whole number, which is all that torch takes.

    Raises:
        SettingError: it is no whole number, or outside torch's range.
    """
    check_number("seed", seed, whole=True, optional=False)
    if not -(2**63) <= seed < 2**64:
        raise SettingError(f"seed is a whole number from -2**63 to 2**64 - 1, not {seed!r}.")
    return int(seed)


def check_kinds(model: Any, loss: Any, optimizer: Any) -> None:
    """Check that each is what its name says, and an object rather than its class.

    Raises:
        TrainingError: one is not; or the network has weights without a size (``LazyLinear``) or without numbers (meta).
    """
    for name, given, fits, example in (
        ("model", model, isinstance(model, nn.Module), "nn.Sequential(nn.Linear(10, 1))"),
        ("loss", loss, callable(loss), "nn.MSELoss()"),
        ("optimizer", optimizer, hasattr(optimizer, "param_groups"), "torch.optim.SGD(model.parameters(), lr=0.01)"),
    ):
        if isinstance(given, type):
            raise TrainingError(f"{name} is the class {given.__name__}: pass an object of it, {given.__name__}(…).")
        if not fits:
            raise TrainingError(f"{name} is {given!r:.60}: pass one such as {example}.")
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        raise TrainingError(
            "the network has layers that learn their size from their first input, such as LazyLinear. Show them some rows, "
            "model(x[:2]), and build the optimizer after that."
        )
    if any(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())):
        raise TrainingError(
            "the network is on the device 'meta', whose tensors have shapes and no numbers: build it on the device 'cpu'."
        )


def check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any, scheduler_every: str) -> None:
    """Check that the optimizer steps over this network, and the scheduler over this optimizer.

    Raises:
        TrainingError: they do not belong together.
    """
    own = {id(parameter) for parameter in model.parameters()}
    if not own:
        raise TrainingError(
            "the network has no parameters: there is nothing to train. Give it a layer such as nn.Linear(n_inputs, 1)."
        )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError(
            "every parameter of the network is frozen (requires_grad=False): there is nothing to train. Set it on "
            "those of one layer at least."
        )
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not held & own:
        raise TrainingError(
            "the optimizer holds parameters of another network. Build it after the network: "
            f"{type(optimizer).__name__}(model.parameters(), lr=…)."
        )
    if scheduler_every not in ("epoch", "step"):
        raise SettingError(f"scheduler_every is 'epoch' or 'step', not {scheduler_every!r}.")
    if scheduler is None:
        return
    if isinstance(scheduler, type) or not hasattr(scheduler, "step"):
        raise TrainingError(
            f"scheduler is {scheduler!r:.60}: pass one built from the optimizer, such as "
            "torch.optim.lr_scheduler.StepLR(optimizer, 10), or None."
        )
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise TrainingError(
            f"the scheduler {type(scheduler).__name__} belongs to another optimizer: build it from this one."
        )
    if scheduler_every == "step" and isinstance(scheduler, ReduceLROnPlateau):
        raise TrainingError("ReduceLROnPlateau watches the loss of an epoch: pass scheduler_every='epoch'.")
    if scheduler_every == "epoch" and isinstance(scheduler, OneCycleLR):
        raise TrainingError("OneCycleLR is made for single steps: pass scheduler_every='step'.")


def check_first_batch(model: nn.Module, x: Tensor, y: Tensor, loss: Loss, batch_size: int) -> None:
    """Check that the data, the network and the loss fit together, before the first step.

    Args:
        model: the network, on the device of x and y.
        x: (N, …) inputs.
        y: (N, …) targets.
        loss: the loss as the user gave it.
        batch_size: rows in a step.

    Raises:
        TrainingError: they do not; the message says what to do.
    """
    if len(x) == 0:
        raise TrainingError("x has no rows: there is nothing to train on. Pass one at least.")
    check_finite("x", x)
    if not is_own(loss):  # a loss of the user's own may mask missing targets
        check_finite("y", y)
    rows = min(len(x), batch_size, TRIAL_ROWS)
    prediction = trial(model, x[:rows])
    check_prediction(prediction, rows)
    if not prediction.requires_grad:
        raise TrainingError(
            "the network's output does not depend on its trainable parameters: no gradient can reach them. Take "
            "detach(), .item() and torch.no_grad() out of its forward."
        )
    if setting_of(loss, "reduction", "mean") == "none":
        raise TrainingError(
            "the loss has reduction='none', a loss for each row; it has to give one number: 'mean' or 'sum'."
        )
    check_targets(loss, prediction, y)


def check_prediction(prediction: Any, rows: int) -> None:
    """Check that the network's output is a tensor of so many rows."""
    if isinstance(prediction, Tensor) and prediction.ndim and len(prediction) == rows:
        return
    what = f"shape {tuple(prediction.shape)}" if isinstance(prediction, Tensor) else f"a {type(prediction).__name__}"
    raise TrainingError(f"the network's output for {rows} rows is {what}: it has to be a tensor of {rows} rows.")


def check_validation(model: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> None:
    """Check validation rows as ``check_first_batch`` does training rows; the network predicts them in evaluation mode.

    Args:
        model: the network, on the device of x and y.
        x: (M, …) inputs, M ≥ 1.
        y: (M, …) targets.
        loss: the loss as the user gave it.

    Raises:
        TrainingError: they do not fit; the message says what to do.
    """
    check_finite("the validation x", x)
    if not is_own(loss):
        check_finite("the validation y", y)
    rows = min(len(x), TRIAL_ROWS)
    prediction = trial(model, x[:rows], "the validation x", evaluating=True)
    try:
        check_prediction(prediction, rows)
        check_targets(loss, prediction, y, evaluating=True)
    except TrainingError as error:
        raise TrainingError(f"the validation rows do not fit, predicted in evaluation mode: {error}") from error


def check_last_batch(model: nn.Module, x: Tensor, batch_size: int, *, drop_last: bool) -> None:
    """Refuse a batch of one row for BatchNorm, where it cannot normalise over it.

    Raises:
        TrainingError: the last batch has one row, and the network cannot take it in its own mode.
    """
    n_rows = len(x)
    if n_rows % batch_size != 1 or drop_last:
        return
    try:
        trial(model, x[:1])
    except TrainingError as error:
        raise TrainingError(
            f"the last of {n_rows} rows in batches of {batch_size} is a batch of one row, which the network cannot take: "
            f"{error} Pass drop_last=True or another batch_size."
        ) from error


def check_finite(name: str, values: Tensor) -> None:
    """Refuse NaN and infinity, saying how many there are and where the first is.

    Raises:
        TrainingError: a value is not finite.
    """
    if not values.is_floating_point():
        return
    if bool(values.sum().isfinite()):  # one pass; only where the sum is not finite does it matter which value is not
        return
    finite = values.isfinite()
    if bool(finite.all()):
        return
    where = (~finite).nonzero()
    first = tuple(where[0].tolist())
    raise TrainingError(
        f"{name} holds {len(where)} values that are NaN or infinite, the first at index {list(first)}: "
        f"{float(values[first])}. Fill them or drop their rows; NetClassifier and NetRegressor fill missing cells."
    )
