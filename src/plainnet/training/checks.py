"""The classic traps of a first network, caught before the first step.

One forward pass over a few rows, without a trace in the network or torch's random numbers, tells what the network
predicts: its shape, its dtype, and, by the name of the operation that made it, whether it ends in a sigmoid or softmax.
Each trap is an error that says what was found and what to do instead.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as PyTorch's own documentation spells it
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau

from plainnet.engines.eager import Weights
from plainnet.engines.job import Loss
from plainnet.errors import SettingError, TrainingError

__all__ = [
    "check_finite",
    "check_first_batch",
    "check_input_dtype",
    "check_last_batch",
    "check_number",
    "check_optimizer",
]

#: Rows of the trial forward pass: enough to see values outside [0, 1], few enough to cost nothing.
TRIAL_ROWS = 256

#: Functions that stand for a loss module.
SAME_AS: dict[Any, type[nn.Module]] = {
    F.mse_loss: nn.MSELoss,
    F.l1_loss: nn.L1Loss,
    F.smooth_l1_loss: nn.SmoothL1Loss,
    F.huber_loss: nn.HuberLoss,
    F.binary_cross_entropy: nn.BCELoss,
    F.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    F.cross_entropy: nn.CrossEntropyLoss,
    F.nll_loss: nn.NLLLoss,
    F.poisson_nll_loss: nn.PoissonNLLLoss,
}
ROW_BY_ROW = (
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
    nn.BCELoss,
    nn.BCEWithLogitsLoss,
    nn.PoissonNLLLoss,
)


def check_number(
    name: str, value: Any, *, whole: bool = False, least: float | None = None, above: float | None = None
) -> None:
    """Check a number that may be None.

    Raises:
        SettingError: it is no number, not whole, below ``least``, or not above ``above``.
    """
    if value is None:
        return
    kind = "a whole number" if whole else "a number"
    bound = f" from {least:g}" if least is not None else f" above {above:g}" if above is not None else ""
    is_number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    if not is_number or (least is not None and value < least) or (above is not None and not value > above):
        raise SettingError(f"{name} is {kind}{bound}, not {value!r}.")


def check_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, scheduler: Any, scheduler_every: str) -> None:
    """Check that the optimizer steps over this network, and the scheduler over this optimizer.

    Raises:
        TrainingError: they do not belong together.
    """
    own = {id(parameter) for parameter in model.parameters()}
    if not own:
        raise TrainingError("the network has no parameters: there is nothing to train.")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError(
            "every parameter of the network is frozen (requires_grad=False): there is nothing to train."
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
        raise TrainingError("x has no rows: there is nothing to train on.")
    check_input_dtype(model, x)
    check_finite("x", x)
    check_finite("y", y)
    rows = min(len(x), batch_size, TRIAL_ROWS)
    prediction = trial(model, x[:rows])
    if not isinstance(prediction, Tensor) or prediction.ndim == 0 or len(prediction) != rows:
        what = (
            f"shape {tuple(prediction.shape)}" if isinstance(prediction, Tensor) else f"a {type(prediction).__name__}"
        )
        raise TrainingError(f"the network's output for {rows} rows is {what}: it has to be a tensor of {rows} rows.")
    if not prediction.requires_grad:
        raise TrainingError(
            "the network's output does not depend on its trainable parameters: no gradient can reach them."
        )
    if getattr(loss, "reduction", "mean") == "none":
        raise TrainingError(
            "the loss has reduction='none', a loss for each row; it has to give one number: 'mean' or 'sum'."
        )
    kind = SAME_AS.get(loss, type(loss)) if callable(loss) and not isinstance(loss, nn.Module) else type(loss)
    if issubclass(kind, ROW_BY_ROW):
        check_same_shape(kind.__name__, prediction, y)
        check_target_dtype(kind.__name__, prediction, y)
    elif issubclass(kind, nn.CrossEntropyLoss | nn.NLLLoss):
        check_class_targets(kind.__name__, prediction, y, getattr(loss, "ignore_index", -100))
    elif not isinstance(loss, nn.modules.loss._Loss):  # noqa: SLF001 - torch has no public name for "a loss of torch's"
        check_own_loss(loss, prediction, y[:rows])
    check_last_operation(kind.__name__, prediction)


def check_last_batch(model: nn.Module, x: Tensor, batch_size: int, *, drop_last: bool) -> None:
    """Refuse a batch of one row for BatchNorm, which cannot normalise over it.

    Raises:
        TrainingError: the last batch, or every batch, has one row.
    """
    n_rows = len(x)
    rows = n_rows % batch_size or batch_size
    if (
        rows > 1 or x.ndim > 2 or (drop_last and batch_size > 1)
    ):  # a sequence of (1, C, L) has L values to normalise over
        return
    if any(isinstance(module, nn.BatchNorm1d) and module.training for module in model.modules()):
        advice = "pass drop_last=True or another batch_size" if batch_size > 1 else "pass a larger batch_size"
        raise TrainingError(
            f"BatchNorm1d cannot normalise over a batch of one row, and {n_rows} rows in batches of {batch_size} make one: {advice}."
        )


def trial(model: nn.Module, x: Tensor) -> Any:
    """Predict a few rows in evaluation mode, with gradients, and leave no trace: modes, buffers, random numbers."""
    modes = [(module, module.training) for module in model.modules()]
    weights = Weights(model)  # buffers included: some modules count their calls
    devices = [x.device] if x.device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), torch.enable_grad():
            model.eval()
            return model(x)
    except (RuntimeError, ValueError, IndexError) as error:
        raise TrainingError(
            f"the network cannot take x of shape (N, {', '.join(map(str, x.shape[1:]))}) and dtype {x.dtype}: "
            f"{str(error).splitlines()[0]}. x has to be (rows, features) with the features of the first layer."
        ) from error
    finally:
        weights.restore()
        for module, was_training in modes:
            module.training = was_training


def check_input_dtype(model: nn.Module, x: Tensor, name: str = "x") -> None:
    """Refuse float64 or whole-number inputs for a float32 network; Embedding layers may have whole numbers."""
    first = next((m for m in model.modules() if next(m.parameters(recurse=False), None) is not None), None)
    if first is None or isinstance(first, nn.Embedding | nn.EmbeddingBag):
        return
    wanted = next(first.parameters(recurse=False)).dtype
    if wanted.is_floating_point and x.dtype != wanted:
        short = str(wanted).removeprefix("torch.")
        raise TrainingError(
            f"{name} is {str(x.dtype).removeprefix('torch.')} and the network's weights are {short}: "
            f"pass x.to(torch.{short}) (a tensor) or x.astype(np.{short}) (a NumPy array)."
        )


def check_finite(name: str, values: Tensor) -> None:
    """Refuse NaN and infinity, saying how many there are and where the first is.

    Raises:
        TrainingError: a value is not finite.
    """
    if not values.is_floating_point():
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
    if y.is_floating_point():
        if loss == "CrossEntropyLoss" and y.shape[1:] == prediction.shape[1:]:
            return  # class probabilities
        raise TrainingError(
            f"{loss} wants class numbers 0 … {n_classes - 1} as int64, and y is {y.dtype}: pass y.long().reshape(-1)."
        )
    if y.dtype not in (torch.int64, torch.uint8):
        raise TrainingError(f"{loss} wants class numbers as int64, and y is {y.dtype}: pass y.long().")
    if y.shape[1:] != prediction.shape[2:]:
        raise TrainingError(
            f"{loss} wants y of shape ({', '.join(map(str, (len(y), *prediction.shape[2:])))}{',' if prediction.ndim == 2 else ''}), "
            f"and y has {tuple(y.shape)}: pass y.reshape(-1)."
        )
    counted = y[y != ignore_index]
    if len(counted) and (int(counted.min()) < 0 or int(counted.max()) >= n_classes):
        raise TrainingError(
            f"y holds the class numbers {int(counted.min())} … {int(counted.max())}, and the network's {n_classes} outputs "
            f"stand for 0 … {n_classes - 1}: count classes from 0, or give the last layer more outputs."
        )


def check_own_loss(loss: Callable[..., Any], prediction: Tensor, y: Tensor) -> None:
    """Check a loss function of the user's own: a scalar, and no broadcast of (N,) against (N, 1)."""
    try:
        value = loss(prediction, y)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise TrainingError(
            f"the loss cannot take predictions of shape {tuple(prediction.shape)} and y of shape {tuple(y.shape)}: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}."
        ) from error
    if not isinstance(value, Tensor) or value.numel() != 1:
        what = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise TrainingError(
            f"the loss gives {what}; it has to give one number, a scalar tensor: take .mean() or .sum() of it."
        )
    if prediction.shape != y.shape and prediction.numel() == y.numel() and _is_broadcast(loss, prediction[:8], y[:8]):
        check_same_shape(getattr(loss, "__name__", type(loss).__name__), prediction, y)


def _is_broadcast(loss: Callable[..., Any], prediction: Tensor, y: Tensor) -> bool:
    """Whether a loss of the user's own joins its rows only once y has the predictions' shape.

    One row alone cannot be broadcast, so the mean or the sum of the rows' own losses is what was meant.
    """
    try:
        alone = torch.stack([loss(prediction[i : i + 1], y[i : i + 1]).detach().reshape(()) for i in range(len(y))])
        given = loss(prediction, y).detach().reshape(())
        shaped = loss(prediction, y.reshape(prediction.shape)).detach().reshape(())
    except (RuntimeError, ValueError, TypeError, IndexError):
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
