"""Layers and losses that torch does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as PyTorch's own documentation spells it

from plainnet.errors import SettingError

__all__ = ["GaussianLoss", "PiecewiseLinearEncoding", "QuantileLoss", "Scale"]


class Scale(nn.Module):
    """Multiply each feature by a learnt weight, 1 at first: a soft choice of features (RealMLP's first layer, arXiv:2407.04491).

    Shapes: (N, features) to (N, features).

    Args:
        features: of a row.

    >>> Scale(3)(torch.ones(2, 3)).shape
    torch.Size([2, 3])
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        """Return x · weight."""
        return x * self.weight

    def extra_repr(self) -> str:
        """Show the number of features."""
        return str(len(self.weight))


class PiecewiseLinearEncoding(nn.Module):
    """Code numbers so that a linear layer over the codes is a spline of each: a straight line in each of its bins.

    The number's position in its column, p in [0, 1], is cut in B bins of the same width. The codes of the bins below it are 1,
    that of its own bin is how far through it is, those above are 0 (Gorishniy, Rubachev and Babenko, "On Embeddings for
    Numerical Features in Tabular Deep Learning", 2022, arXiv:2203.05556). Where positions are quantiles, the bins are of about
    the same number of rows each. There is nothing to learn in it.

    Shapes: (N, plain + numbers) to (N, plain + Σ bins).

    Args:
        plain: features that are passed on as they are; they come first.
        bins: of each number, at least 1.
        scale: what the codes are multiplied by: the smaller, the slower they are learnt.

    Raises:
        SettingError: a number of bins is below 1.

    >>> PiecewiseLinearEncoding(1, [4])(torch.tensor([[7.0, 0.625]]))
    tensor([[7.0000, 1.0000, 1.0000, 0.5000, 0.0000]])
    """

    lower: Tensor
    repeats: Tensor

    def __init__(self, plain: int, bins: Sequence[int], scale: float = 1.0) -> None:
        super().__init__()
        if plain < 0 or not all(n >= 1 for n in bins):
            raise SettingError(f"bins are whole numbers from 1, and plain from 0, not {list(bins)!r} and {plain!r}.")
        self.plain, self.bins, self.scale = plain, tuple(int(n) for n in bins), float(scale)
        whole = [float(j) for n in self.bins for j in range(n)]
        self.register_buffer("lower", torch.tensor(whole), persistent=False)
        self.register_buffer("repeats", torch.tensor(self.bins, dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features, and the codes."""
        places = x[:, self.plain :] * self.repeats
        codes = (places.repeat_interleave(self.repeats, dim=1) - self.lower).clamp(0, 1) * self.scale
        return torch.cat([x[:, : self.plain], codes], dim=1)

    def extra_repr(self) -> str:
        """Show the features passed on, and the bins."""
        return f"plain={self.plain}, bins={list(self.bins)}, scale={self.scale:g}"


class _Loss(nn.Module):
    """A loss with a reduction: 'mean', 'sum', or 'none' for the loss of each number."""

    def __init__(self, reduction: Literal["mean", "sum", "none"]) -> None:
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise SettingError(f"reduction is 'mean', 'sum' or 'none', not {reduction!r}.")
        self.reduction = reduction

    def _reduce(self, losses: Tensor) -> Tensor:
        return losses.mean() if self.reduction == "mean" else losses.sum() if self.reduction == "sum" else losses


class QuantileLoss(_Loss):
    """Pinball loss: the prediction that minimises it is the target's quantile (Koenker and Bassett 1978, doi:10.2307/1913643).

    Shapes: predictions (N, Q), one for each quantile; targets (N, 1).

    Args:
        quantiles: Q numbers between 0 and 1.
        reduction: 'mean' over the N · Q losses, 'sum', or 'none' for shape (N, Q).

    Raises:
        SettingError: a quantile is not between 0 and 1.

    >>> QuantileLoss([0.9])(torch.tensor([[1.0]]), torch.tensor([[2.0]]))
    tensor(0.9000)
    """

    quantiles: Tensor

    def __init__(self, quantiles: Sequence[float], reduction: Literal["mean", "sum", "none"] = "mean") -> None:
        super().__init__(reduction)
        if not len(quantiles) or not all(0 < q < 1 for q in quantiles):
            raise SettingError(f"quantiles are numbers between 0 and 1, such as [0.1, 0.5, 0.9], not {quantiles!r}.")
        self.register_buffer("quantiles", torch.tensor([float(q) for q in quantiles]))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        away = target - prediction
        quantiles = self.quantiles.to(prediction)
        return self._reduce(torch.maximum(quantiles * away, (quantiles - 1) * away))


class GaussianLoss(_Loss):
    """Negative log-likelihood of a normal distribution whose mean and variance are both predicted.

    It is ``nn.GaussianNLLLoss`` for a network of 2 F outputs: F means, then F logarithms of variances, so that any number is
    allowed (Nix and Weigend 1994, doi:10.1109/ICNN.1994.374138).

    Shapes: predictions (N, 2 F), targets (N, F).

    Args:
        full: add the constant term log(2π) / 2.
        eps: smallest variance.
        reduction: 'mean' over the N · F losses, 'sum', or 'none' for shape (N, F).
    """

    def __init__(
        self, *, full: bool = False, eps: float = 1e-6, reduction: Literal["mean", "sum", "none"] = "mean"
    ) -> None:
        super().__init__(reduction)
        self.full, self.eps = full, eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Return the loss."""
        mean, log_variance = prediction.chunk(2, dim=1)
        variance = log_variance.exp()
        return F.gaussian_nll_loss(mean, target, variance, full=self.full, eps=self.eps, reduction=self.reduction)
