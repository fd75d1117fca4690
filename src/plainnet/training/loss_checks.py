"""Whether a loss, a prediction and its targets fit together: shapes, dtypes, class numbers, the network's last operation.

Losses of torch's own are known by name, so that a message can say what to pass. A loss of the user's own is called on
the trial's rows: on a copy, and with torch's random numbers put back, so that it does not know.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from plainnet.engines.job import Loss
from plainnet.engines.losses import SAME_AS, setting_of
from plainnet.errors import TrainingError
from plainnet.training.trial import same_random_numbers

__all__ = ["check_targets", "is_own"]

ROW_BY_ROW = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss, nn.PoissonNLLLoss)
#: What a loss raises that cannot take what it is given.
REFUSALS = (RuntimeError, ValueError, TypeError, IndexError)


def kind_of(loss: Loss) -> type:
    """Return the class of a loss; of a function that stands for a torch loss, that loss's class.

    >>> kind_of(functools.partial(nn.functional.cross_entropy, ignore_index=2)).__name__
    'CrossEntropyLoss'
    """
    function = loss.func if isinstance(loss, functools.partial) else loss
    return next((kind for each, kind in SAME_AS.items() if each is function), type(loss))


def is_own(loss: Loss) -> bool:
    """Whether a loss is the user's own and not torch's; it may then take what torch's losses cannot, such as NaN."""
    function: Any = loss.func if isinstance(loss, functools.partial) else loss
    module = type(function).__module__ if isinstance(function, nn.Module) else getattr(function, "__module__", "")
    return str(module).partition(".")[0] != "torch"


def check_targets(loss: Loss, prediction: Tensor, y: Tensor, *, evaluating: bool = False) -> None:
    """Check that a loss can compare predictions with targets.

    Args:
        loss: the loss as the user gave it.
        prediction: (rows, …) of the trial.
        y: (N, …) all targets, the trial's rows first.
        evaluating: the network predicted in evaluation mode, and may then end in a sigmoid or softmax of its own.

    Raises:
        TrainingError: it cannot; the message says what to do.
    """
    kind, rows = kind_of(loss), y[: len(prediction)]
    if is_own(loss):
        check_own_loss(loss, prediction, rows)
        return
    if issubclass(kind, ROW_BY_ROW):
        check_same_shape(kind.__name__, prediction, y)
        check_target_dtype(kind.__name__, prediction, y)
    elif issubclass(kind, nn.CrossEntropyLoss | nn.NLLLoss):
        check_class_targets(kind.__name__, prediction, y, setting_of(loss, "ignore_index", -100))
    if not evaluating:
        check_last_operation(kind.__name__, prediction)
    check_is_number(_tried(loss, prediction, rows))


def check_same_shape(loss: str, prediction: Tensor, y: Tensor) -> None:
    """Refuse the trap torch only warns of: (N,) against (N, 1) is broadcast to (N, N)."""
    if prediction.shape[1:] == y.shape[1:]:
        return
    n_rows = len(y)
    predicted, target = (n_rows, *prediction.shape[1:]), tuple(y.shape)
    if y.numel() == n_rows * prediction[0].numel():
        advice = f"pass y.reshape({', '.join(map(str, (-1, *predicted[1:])))})"
    elif y.ndim == 1 and not y.is_floating_point():
        advice = f"for classes use nn.CrossEntropyLoss, which takes class numbers of shape ({n_rows},)"
    else:
        advice = f"give the network's last layer {y[0].numel()} outputs, or y {prediction[0].numel()} columns"
    raise TrainingError(
        f"{loss} compares value with value, but the network's predictions have shape {predicted} and y has {target}; "
        f"torch would broadcast them to each other: {advice}."
    )


def check_target_dtype(loss: str, prediction: Tensor, y: Tensor) -> None:
    """Refuse class numbers and other dtypes for losses of values, and targets of BCE outside [0, 1]."""
    is_binary = loss in ("BCELoss", "BCEWithLogitsLoss")
    if is_binary and (float(y.min()) < 0 or float(y.max()) > 1):
        raise TrainingError(
            f"{loss} takes targets in [0, 1], and y holds {float(y.min()):g} … {float(y.max()):g}. For class numbers "
            "0 … C-1 use nn.CrossEntropyLoss with C outputs and no softmax."
        )
    if y.dtype != prediction.dtype:
        short = str(prediction.dtype).removeprefix("torch.")
        raise TrainingError(
            f"y is {str(y.dtype).removeprefix('torch.')} and the network predicts {short}; {loss} wants both alike: "
            f"pass y.to(torch.{short}) (a tensor) or y.astype(np.{short}) (a NumPy array)."
        )


def check_class_targets(loss: str, prediction: Tensor, y: Tensor, ignore_index: int) -> None:
    """Check class numbers, or class probabilities, against the network's C outputs."""
    n_classes = prediction.shape[1] if prediction.ndim > 1 else 1
    if prediction.ndim < 2 or n_classes < 2:
        raise TrainingError(
            f"{loss} wants one output for each class, and the network has {n_classes}. Use 2 outputs, or "
            "nn.BCEWithLogitsLoss with targets 0.0 and 1.0."
        )
    if loss == "CrossEntropyLoss" and not y.is_floating_point() and y.ndim > 1 and y.shape[1:] == prediction.shape[1:]:
        raise TrainingError(
            f"{loss} wants class numbers of shape ({len(y)},), or class probabilities as floats, and y is {y.dtype} of "
            f"shape {tuple(y.shape)}: pass y.argmax(dim=1) where each row marks its class with a 1, else y.float()."
        )
    if y.is_floating_point():
        if loss == "CrossEntropyLoss" and y.shape[1:] == prediction.shape[1:]:
            return  # class probabilities
        raise TrainingError(
            f"{loss} wants class numbers 0 … {n_classes - 1} as int64, and y is {y.dtype}: pass y.long().reshape(-1)."
        )
    is_rows = prediction.ndim == 2
    if y.dtype != torch.int64 and not (
        y.dtype == torch.uint8 and is_rows
    ):  # torch takes uint8 for rows, not for pixels
        raise TrainingError(f"{loss} wants class numbers as int64, and y is {y.dtype}: pass y.long().")
    if y.shape[1:] != prediction.shape[2:]:
        raise TrainingError(
            f"{loss} wants y of shape ({', '.join(map(str, (len(y), *prediction.shape[2:])))}{',' if is_rows else ''}), "
            f"and y has {tuple(y.shape)}: pass y.reshape(-1)."
        )
    counted = y[y != ignore_index]
    if len(counted) and (int(counted.min()) < 0 or int(counted.max()) >= n_classes):
        raise TrainingError(
            f"y holds the class numbers {int(counted.min())} … {int(counted.max())}, and the network's {n_classes} outputs "
            f"stand for 0 … {n_classes - 1}: count classes from 0, or give the last layer more outputs."
        )


def check_own_loss(loss: Loss, prediction: Tensor, y: Tensor) -> None:
    """Check a loss function of the user's own: a scalar, and no broadcast of (N,) against (N, 1).

    It is called on a copy, so that one which counts its calls does not know; one that cannot be copied is not checked.
    """
    try:
        twin = copy.deepcopy(loss)
    except Exception:  # noqa: BLE001 - whatever the user's own class raises
        return
    check_is_number(_tried(twin, prediction, y))
    is_reshaped = prediction.shape != y.shape and prediction.numel() == y.numel()
    with same_random_numbers(y.device):
        if is_reshaped and _is_broadcast(twin, prediction[:8], y[:8]):
            check_same_shape(_name_of(loss), prediction, y)


def check_is_number(value: Any) -> None:
    """Check what a loss returned: a tensor of one number."""
    if isinstance(value, Tensor) and value.numel() == 1:
        return
    what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    raise TrainingError(
        f"the loss gives {what}; it has to give one number, a scalar tensor: take .mean() or .sum() of it."
    )


def _tried(loss: Loss, prediction: Tensor, y: Tensor) -> Any:
    try:
        with same_random_numbers(y.device):
            return loss(prediction.clone(), y.clone())
    except REFUSALS as error:
        raise TrainingError(
            f"the loss cannot take predictions of shape {tuple(prediction.shape)} and y of shape {tuple(y.shape)} "
            f"and dtype {y.dtype}: {str(error).splitlines()[0].rstrip('.') if str(error) else type(error).__name__}."
        ) from error


def _name_of(loss: Loss) -> str:
    function = loss.func if isinstance(loss, functools.partial) else loss
    return str(getattr(function, "__name__", type(function).__name__))


def _is_broadcast(loss: Callable[..., Any], prediction: Tensor, y: Tensor) -> bool:
    """Whether a loss of the user's own joins its rows only once y has the predictions' shape.

    One row alone cannot be broadcast, so the mean or the sum of the rows' own losses is what was meant.
    """
    try:
        alone = torch.stack([loss(prediction[i : i + 1], y[i : i + 1]).detach().reshape(()) for i in range(len(y))])
        given = loss(prediction, y).detach().reshape(())
        shaped = loss(prediction, y.reshape(prediction.shape)).detach().reshape(())
    except REFUSALS:
        return False  # the loss wants just these shapes

    def joins_rows(value: Tensor) -> bool:
        return any(bool(torch.isclose(value, joined, rtol=1e-4)) for joined in (alone.mean(), alone.sum()))

    return joins_rows(shaped) and not joins_rows(given)


def check_last_operation(loss: str, prediction: Tensor) -> None:
    """Refuse logits for BCELoss, and a sigmoid or softmax before a loss that brings its own."""
    last = last_operation(prediction)
    if loss == "BCELoss":
        outside = float(prediction.detach().min()) < 0 or float(prediction.detach().max()) > 1
        if outside or last in ("Addmm", "Mm", "Linear"):
            raise TrainingError(
                "BCELoss takes probabilities in [0, 1], and the network gives logits (any number). End the network with "
                "nn.Sigmoid(), or use nn.BCEWithLogitsLoss."
            )
    if loss == "BCEWithLogitsLoss" and last == "Sigmoid":
        raise TrainingError(
            "BCEWithLogitsLoss applies the sigmoid itself, and the network already ends in one. Remove the network's "
            "sigmoid, or use nn.BCELoss."
        )
    if loss == "CrossEntropyLoss" and last in ("Softmax", "Sigmoid"):
        raise TrainingError(
            f"CrossEntropyLoss applies the softmax itself, and the network already ends in a {last.lower()}. Remove it from "
            "the network; for probabilities apply torch.softmax to the trained network's output."
        )
    if loss == "NLLLoss" and last != "LogSoftmax" and float(prediction.detach().max()) > 0:
        raise TrainingError(
            "NLLLoss takes log-probabilities, and the network gives values above 0. End the network with "
            "nn.LogSoftmax(dim=1), or use nn.CrossEntropyLoss without it."
        )


def last_operation(prediction: Tensor) -> str:
    """Name the operation that made the prediction, looking through changes of shape.

    >>> last_operation(torch.sigmoid(torch.ones(2, 1, requires_grad=True)).squeeze(1))
    'Sigmoid'
    """
    node: Any = prediction.grad_fn
    while node is not None:
        name = type(node).__name__.split("Backward")[0].lstrip("_")
        if name not in ("Squeeze", "Unsqueeze", "View", "UnsafeView", "ReshapeAlias", "Clone", "Alias", "Select", "T"):
            return name
        node = node.next_functions[0][0]
    return ""
