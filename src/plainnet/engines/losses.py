"""A loss with one weight for each row.

With weights w of mean 1 over all training rows, a batch of B rows has the loss ``sum(w * l) / B``: its mean over an
epoch is the weighted mean ``sum(w * l) / sum(w)``, and a batch whose weights are all 0 is no division by 0.
"""

from __future__ import annotations

import copy
import functools
import inspect

from torch import Tensor, nn

from plainnet.engines.job import Loss
from plainnet.errors import TrainingError

__all__ = ["RowWeightedLoss"]


class RowWeightedLoss:
    """A torch loss, called with a third argument: the weight of each row.

    Args:
        loss: a ``torch.nn`` loss with reduction 'mean' or 'sum', or a function that takes ``reduction='none'``.

    Raises:
        TrainingError: the loss cannot be had row by row.
    """

    def __init__(self, loss: Loss) -> None:
        self.reduction: str = getattr(loss, "reduction", "mean")
        self._class_weight = (
            getattr(loss, "weight", None) if isinstance(loss, nn.CrossEntropyLoss | nn.NLLLoss) else None
        )
        self._ignore_index: int | None = getattr(loss, "ignore_index", None)
        self._each = _without_reduction(loss)

    def __call__(self, prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted loss, a scalar. Shapes: (B, …), (B, …), (B,)."""
        values = self._each(prediction, target)
        values = values.reshape(len(values), -1)
        if self.reduction == "sum":
            return (values * weight[:, None]).sum()
        return (values.mean(dim=1) * weight).sum() / self._denominator(target, weight)

    def _denominator(self, target: Tensor, weight: Tensor) -> Tensor | int:
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
