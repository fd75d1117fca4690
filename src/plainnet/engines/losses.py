"""A loss with one weight for each row.

With weights w of mean 1 over all training rows, a batch of B rows has the loss ``sum(w * l) / B``: its mean over an
epoch is the weighted mean ``sum(w * l) / sum(w)``, and a batch whose weights are all 0 is no division by 0. A summed
loss is ``sum(w * l)`` with the weights as they were given.
"""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as PyTorch's own documentation spells it

from plainnet.engines.job import Loss
from plainnet.errors import TrainingError

__all__ = ["SAME_AS", "RowWeightedLoss", "is_sum", "setting_of"]

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


def setting_of(loss: Loss, name: str, default: Any) -> Any:
    """Return a loss's setting: a module's attribute, or a keyword of ``functools.partial``.

    >>> setting_of(functools.partial(F.cross_entropy, ignore_index=2), "ignore_index", -100)
    2
    """
    if isinstance(loss, functools.partial):
        return loss.keywords.get(name, setting_of(loss.func, name, default))
    return getattr(loss, name, default)


def is_sum(loss: Loss) -> bool:
    """Whether a loss sums up the losses of its rows, rather than taking their mean."""
    return bool(setting_of(loss, "reduction", "mean") == "sum")


class RowWeightedLoss:
    """A torch loss, called with a third argument: the weight of each row.

    Args:
        loss: a ``torch.nn`` loss with reduction 'mean', 'batchmean' or 'sum', or a function that takes
            ``reduction='none'``, also as ``functools.partial`` of one.

    Attributes:
        loss: as it was given.
        reduction: its reduction.

    Raises:
        TrainingError: the loss cannot be had row by row.
    """

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.reduction: str = setting_of(loss, "reduction", "mean")
        function = loss.func if isinstance(loss, functools.partial) else loss
        is_of_classes = isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) or function in (F.cross_entropy, F.nll_loss)
        self._class_weight: Tensor | None = setting_of(loss, "weight", None) if is_of_classes else None
        self._ignore_index: int | None = setting_of(loss, "ignore_index", -100) if is_of_classes else None
        self._each = _without_reduction(loss)

    def __call__(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted loss, a scalar. Shapes: (B, …), (B, …), (B,)."""
        values = self._each(prediction, target)
        values = values.reshape(len(values), -1)
        if self.reduction == "sum":
            return (values * weight[:, None]).sum()
        if self.reduction == "batchmean":  # of KLDivLoss: the sum over the columns, the mean over the rows
            return (values.sum(dim=1) * weight).sum() / len(weight)
        return (values.mean(dim=1) * weight).sum() / self.denominator(target, weight)

    def denominator(self, target: Tensor, weight: Tensor) -> Tensor | int:
        """B; where classes have weights or an index is ignored, what torch divides by, row weights included."""
        if target.is_floating_point() or self._ignore_index is None:
            return len(weight)
        factors = (target != self._ignore_index).to(weight.dtype)
        if self._class_weight is not None:
            factors = factors * self._class_weight[target.clamp_min(0)]
        elif bool(factors.all()):
            return len(weight)
        per_row = factors.reshape(len(weight), -1).mean(dim=1)
        return (per_row * weight).sum().clamp_min(1e-12)


def _without_reduction(loss: Loss) -> Loss:
    if isinstance(loss, nn.Module) and hasattr(loss, "reduction"):
        each = copy.copy(loss)
        each.reduction = "none"  # type: ignore[assignment]
        return each
    try:
        takes_reduction = "reduction" in inspect.signature(loss).parameters
    except (TypeError, ValueError):
        takes_reduction = False
    if takes_reduction:
        return functools.partial(loss, reduction="none")
    name = getattr(loss, "__name__", type(loss).__name__)
    raise TrainingError(
        f"sample_weight needs the loss of each row, and {name} gives only their mean. Pass a torch.nn loss, or a "
        "function with the keyword reduction that returns shape (B,) for reduction='none'."
    )
