"""A plain network: ``Linear → activation → Dropout``, for each hidden layer, then ``Linear``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from plainnet.errors import SettingError
from plainnet.networks.layers import PiecewiseLinearEncoding

__all__ = ["ACTIVATIONS", "Shape", "Vote", "parameter_groups"]

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "mish": nn.Mish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}

#: Weights of one layer at most, 1 GiB of float32: a larger one is a mistake, or a model file that lies.
MOST_WEIGHTS = 2**28


@dataclass(frozen=True)
class Shape:
    """What is needed to build a network again.

    Attributes:
        n_in: features, the positions of coded numbers included, which come last.
        n_out: classes, or numbers to predict.
        hidden: width of each hidden layer; empty: a linear model.
        activation: a key of ``ACTIVATIONS``.
        dropout: share of each hidden layer's outputs set to 0 in training, in [0, 1).
        bins: of each coded number; empty: none is coded.
        scale: of the codes.

    Raises:
        SettingError: a value is outside its range.

    >>> Shape(n_in=10, n_out=1, hidden=(15,), activation="relu").build()
    Sequential(
      (0): Linear(in_features=10, out_features=15, bias=True)
      (1): ReLU()
      (2): Linear(in_features=15, out_features=1, bias=True)
    )
    """

    n_in: int
    n_out: int
    hidden: tuple[int, ...] = (256, 256, 256)
    activation: str = "silu"
    dropout: float = 0.0
    bins: tuple[int, ...] = ()
    scale: float = 1.0

    def __post_init__(self) -> None:
        widths = (self.n_in, *self.hidden, self.n_out)
        if not all(type(width) is int and width >= 1 for width in widths):
            raise SettingError(
                f"hidden holds the widths of the hidden layers, whole numbers from 1, not {self.hidden!r}."
            )
        if len(self.bins) > self.n_in or not all(type(n) is int and n >= 1 for n in self.bins):
            raise SettingError(f"bins holds whole numbers from 1, of at most {self.n_in} features, not {self.bins!r}.")
        widths = (self.n_coded, *widths[1:])
        if any(a * b > MOST_WEIGHTS for a, b in pairwise(widths)):
            raise SettingError(f"a layer of the widths {widths} would have more than {MOST_WEIGHTS:,} weights.")
        if self.activation not in ACTIVATIONS:
            raise SettingError(f"activation is one of {', '.join(ACTIVATIONS)}, not {self.activation!r}.")
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout is at least 0 and below 1, not {self.dropout!r}.")

    @property
    def n_coded(self) -> int:
        """Inputs of the first linear layer."""
        return self.n_in - len(self.bins) + sum(self.bins)

    def build(self, network: Callable[[int, int], nn.Module] | None = None) -> nn.Sequential:
        """Return the network, its weights drawn from U(-√3/√n_in, √3/√n_in), n_in the inputs of the layer.

        Their variance is 1/n_in, so that what goes through a hidden layer neither shrinks nor grows (LeCun, Bottou, Orr and
        Müller, "Efficient BackProp", 1998); torch's default is a third of that. The last layer keeps it: predictions start small.

        Args:
            network: what to build after the encoding, from (inputs, outputs), instead of the layers described here.
        """
        layers: list[nn.Module] = []
        if self.bins:
            layers.append(PiecewiseLinearEncoding(self.n_in - len(self.bins), self.bins, self.scale))
        width = self.n_coded
        if network is not None:
            return nn.Sequential(*layers, network(width, self.n_out))
        for next_width in self.hidden:
            linear = nn.Linear(width, next_width)
            with torch.no_grad():
                linear.weight.mul_(3**0.5)
            layers += [linear, ACTIVATIONS[self.activation]()]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = next_width
        layers.append(nn.Linear(width, self.n_out))
        return nn.Sequential(*layers)

    def to_json(self) -> dict[str, Any]:
        """Return the shape as plain values."""
        return asdict(self) | {"hidden": list(self.hidden), "bins": list(self.bins)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Shape:
        """Return the shape that ``to_json`` wrote."""
        return cls(**(dict(content) | {name: tuple(content.get(name, ())) for name in ("hidden", "bins")}))


class Vote(nn.Module):
    """Networks that vote: the weighted mean of what their outputs say.

    Shapes: (N, features) to (N, outputs). Logits of classes or labels become those of the mean probabilities, logarithms of counts that
    of the mean count; numbers are averaged as they are.

    Args:
        networks: K of them.
        weights: (K,) that sum to 1.
        kind: of the outputs: 'classes' (logits), 'labels' (a logit each), 'counts' (logarithms), 'numbers' (standardised).
        bounds: (2, outputs) least and largest number that a network may say; None: any.
        logs: of numbers: (a, b, c, d), where a network that learnt logarithms says c exp(a output + b) + d; None: none did.
        is_log: (K,) which networks did.
    """

    weights: Tensor
    bounds: Tensor | None

    def __init__(
        self,
        networks: Sequence[nn.Module],
        weights: Sequence[float],
        *,
        kind: str,
        bounds: Any = None,
        logs: tuple[float, float, float, float] | None = None,
        is_log: Sequence[bool] = (),
    ) -> None:
        super().__init__()
        self.networks, self.kind, self.logs = nn.ModuleList(networks), kind, logs
        self.is_log = tuple(is_log) or (False,) * len(networks)
        self.register_buffer("weights", torch.tensor(list(weights)))
        self.register_buffer("bounds", None if bounds is None else torch.as_tensor(bounds, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of the vote."""
        said = [self._said(network(x), is_log) for network, is_log in zip(self.networks, self.is_log, strict=True)]
        outputs = torch.stack(said)  # (K, N, outputs)
        weights = self.weights[:, None, None]
        if self.kind == "classes":
            return torch.logsumexp(outputs.log_softmax(dim=2) + weights.log(), dim=0)
        if self.kind == "labels":
            return torch.logit((weights * outputs.sigmoid()).sum(dim=0), eps=1e-7)
        if self.kind == "counts":
            return torch.logsumexp(outputs + weights.log(), dim=0)
        return (weights * outputs).sum(dim=0)

    def _said(self, outputs: Tensor, is_log: bool) -> Tensor:
        if is_log and self.logs is not None:
            a, b, c, d = self.logs
            outputs = c * torch.exp(a * outputs + b) + d
        return outputs if self.bounds is None else outputs.clamp(self.bounds[0], self.bounds[1])


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the optimizer's parameter groups: weights decay, biases do not, as a bias cannot overfit by being large."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    biases = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": biases, "weight_decay": 0.0}]
