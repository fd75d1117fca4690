"""A plain network: ``Linear → activation → Dropout``, for each hidden layer, then ``Linear``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from torch import nn

from plainnet.errors import SettingError

__all__ = ["ACTIVATIONS", "Shape", "parameter_groups"]

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
        n_in: features.
        n_out: classes, or numbers to predict.
        hidden: width of each hidden layer; empty: a linear model.
        activation: a key of ``ACTIVATIONS``.
        dropout: share of each hidden layer's outputs set to 0 in training, in [0, 1).

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

    def __post_init__(self) -> None:
        widths = (self.n_in, *self.hidden, self.n_out)
        if not all(type(width) is int and width >= 1 for width in widths):
            raise SettingError(
                f"hidden holds the widths of the hidden layers, whole numbers from 1, not {self.hidden!r}."
            )
        if any(a * b > MOST_WEIGHTS for a, b in pairwise(widths)):
            raise SettingError(f"a layer of the widths {widths} would have more than {MOST_WEIGHTS:,} weights.")
        if self.activation not in ACTIVATIONS:
            raise SettingError(f"activation is one of {', '.join(ACTIVATIONS)}, not {self.activation!r}.")
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout is at least 0 and below 1, not {self.dropout!r}.")

    def build(self) -> nn.Sequential:
        """Return the network, its weights drawn by torch's default: U(-1/√n_in, 1/√n_in) for each layer."""
        layers: list[nn.Module] = []
        width = self.n_in
        for next_width in self.hidden:
            layers += [nn.Linear(width, next_width), ACTIVATIONS[self.activation]()]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
            width = next_width
        layers.append(nn.Linear(width, self.n_out))
        return nn.Sequential(*layers)

    def to_json(self) -> dict[str, Any]:
        """Return the shape as plain values."""
        return asdict(self) | {"hidden": list(self.hidden)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Shape:
        """Return the shape that ``to_json`` wrote."""
        return cls(**(dict(content) | {"hidden": tuple(content["hidden"])}))


def parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the optimizer's parameter groups: weights decay, biases do not, as a bias cannot overfit by being large."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    biases = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [{"params": weights, "weight_decay": weight_decay}, {"params": biases, "weight_decay": 0.0}]
