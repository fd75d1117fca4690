"""How each loss is spelt as operations: one entry in ``LOSSES`` for each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from plainnet.engines.job import Loss
from plainnet.engines.losses import SAME_AS, RowWeightedLoss
from plainnet.engines.program import NotFusible, Operation, Program, Value
from plainnet.kernels import data, losses as kernels
from plainnet.kernels.state import WEIGHT, Y
from plainnet.networks.layers import GaussianLoss, QuantileLoss

__all__ = ["Targets", "lay_loss", "plan_loss"]


@dataclass(frozen=True)
class Targets:
    """What a loss reads, and how the rows' losses become one.

    Attributes:
        loss: the loss as a module.
        columns: numbers of a row's target; 0: a class number.
        per_value: the loss of a row is a mean of so many numbers.
        is_sum: the losses are summed, not averaged.
        has_weight: rows have weights.
        is_scaled_by_class: a mean divides by the rows' class weights, ignored rows counting nothing.
    """

    loss: Any
    columns: int
    per_value: int
    is_sum: bool
    has_weight: bool
    is_scaled_by_class: bool


def plan_loss(loss: Loss, y: Tensor, outputs: int) -> Targets:
    """Look whether a loss has a kernel for these targets and so many outputs.

    Raises:
        NotFusible: it has none.
    """
    has_weight = isinstance(loss, RowWeightedLoss)
    inner: Any = loss.loss if isinstance(loss, RowWeightedLoss) else loss
    kind = next((kind for function, kind in SAME_AS.items() if function is inner), None)
    module: Any = kind() if kind is not None else inner
    name = getattr(inner, "__name__", type(inner).__name__)
    if type(module) not in (*_VALUES, *_CLASSES, QuantileLoss, GaussianLoss):
        raise NotFusible(f"the loss {name} has no fused kernel")
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):  # noqa: SLF001 - torch has no public way to ask
        raise NotFusible(f"the loss {name} has a hook")
    if module.reduction not in ("mean", "sum"):
        raise NotFusible(f"the loss {name} has reduction {module.reduction!r}")
    is_sum = module.reduction == "sum"
    if isinstance(module, tuple(_CLASSES)):
        return _class_targets(module, y, outputs, is_sum=is_sum, has_weight=has_weight)
    if isinstance(module, QuantileLoss) and len(module.quantiles) != outputs:
        raise NotFusible(f"{len(module.quantiles)} quantiles and {outputs} outputs are broadcast")
    wanted = {QuantileLoss: 1, GaussianLoss: outputs // 2}.get(type(module), outputs)
    if y.ndim != 2 or y.shape[1] != wanted:
        raise NotFusible(f"y of shape {tuple(y.shape)} is broadcast to the {outputs} outputs")
    if isinstance(module, nn.BCELoss | nn.BCEWithLogitsLoss) and module.weight is not None:
        raise NotFusible(f"{name}(weight=…) has no fused kernel")
    pos_weight = getattr(module, "pos_weight", None)
    if pos_weight is not None and pos_weight.numel() not in (1, outputs):
        raise NotFusible(f"pos_weight of shape {tuple(pos_weight.shape)} has no fused kernel")
    per_value = wanted if isinstance(module, GaussianLoss) else outputs
    return Targets(module, wanted, per_value, is_sum, has_weight, is_scaled_by_class=False)


def _class_targets(module: Any, y: Tensor, outputs: int, *, is_sum: bool, has_weight: bool) -> Targets:
    name = type(module).__name__
    if y.is_floating_point():
        if y.shape[1:] != (outputs,) or isinstance(module, nn.NLLLoss):
            raise NotFusible(f"{name} has no fused kernel for y of shape {tuple(y.shape)}")
        return Targets(module, outputs, 1, is_sum, has_weight, is_scaled_by_class=False)
    if y.dtype != torch.int64 or y.ndim != 1:
        raise NotFusible(f"{name} has a fused kernel for int64 targets of shape (N,)")
    if outputs >= 2**24:
        raise NotFusible("classes are counted up to 2²⁴")
    by_class = module.weight is not None or bool((y == module.ignore_index).any())
    return Targets(module, 0, 1, is_sum, has_weight, is_scaled_by_class=by_class and not is_sum)


def lay_loss(program: Program, targets: Targets, prediction: Value) -> tuple[list[Operation], Operation | None]:
    """List the loss last in the program; return the operations that fetch its targets, and its scale or None."""
    module = targets.loss
    prediction = program.read(prediction)
    y = program.memory(max(targets.columns, 1) * program.lead)
    fetch = [
        Operation(data.gather, (y, targets.columns, Y)) if targets.columns else Operation(data.gather_classes, (y,))
    ]
    weight = program.memory(program.lead) if targets.has_weight else -1
    if targets.has_weight:
        fetch.append(Operation(data.gather, (weight, 1, WEIGHT)))
    words: tuple[int, ...] = (prediction.place, prediction.features, prediction.gradient, y, weight)
    if type(module) in _VALUES:
        kernel, constants, own = _VALUES[type(module)](module)
        place = -1 if own is None else program.constant(own.reshape(-1).expand(prediction.features))
        program.forward.append(Operation(kernels.VALUE_LOSSES[kernel], (*words, place), constants))
        return fetch, None
    if isinstance(module, QuantileLoss):
        program.forward.append(Operation(kernels.quantile, (*words, program.constant(module.quantiles))))
        return fetch, None
    if isinstance(module, GaussianLoss):
        constant = 0.5 * math.log(2 * math.pi) if module.full else 0.0
        program.forward.append(Operation(kernels.gaussian, words, (module.eps, constant)))
        return fetch, None
    return fetch, _lay_class_loss(program, targets, words)


def _lay_class_loss(program: Program, targets: Targets, words: tuple[int, ...]) -> Operation | None:
    module = targets.loss
    weights = -1 if module.weight is None else program.constant(module.weight)
    total = float(words[1]) if module.weight is None else float(module.weight.sum())
    words = (*words, weights, program.memory(2 * program.lead), module.ignore_index)
    if isinstance(module, nn.NLLLoss):
        kernel, smoothing = kernels.nll, 0.0
    else:
        kernel = kernels.cross_entropy_shares if targets.columns else kernels.cross_entropy
        smoothing = module.label_smoothing
    program.forward.append(Operation(kernel, words, (smoothing, total)))
    return Operation(kernels.class_scale, words, (smoothing, total)) if targets.is_scaled_by_class else None


#: Losses of numbers: the kernel's name, its constants, a weight for each feature.
_VALUES: dict[type[nn.Module], Callable[[Any], tuple[str, tuple[float, ...], Tensor | None]]] = {
    nn.MSELoss: lambda _: ("mse", (), None),
    nn.L1Loss: lambda _: ("l1", (), None),
    nn.SmoothL1Loss: lambda m: ("huber", (m.beta, 1 / m.beta), None) if m.beta else ("l1", (), None),
    nn.HuberLoss: lambda m: ("huber", (m.delta, 1.0), None),
    nn.BCELoss: lambda _: ("bce", (), None),
    nn.BCEWithLogitsLoss: lambda m: ("bce_logits", (), m.pos_weight),
    nn.PoissonNLLLoss: lambda m: ("poisson_log" if m.log_input else "poisson", (m.eps, float(m.full)), None),
}
_CLASSES: tuple[type[nn.Module], ...] = (nn.CrossEntropyLoss, nn.NLLLoss)
