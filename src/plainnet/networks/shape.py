"""What a plain network is, in numbers: enough to build it again. It needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

from plainnet.errors import SettingError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import nn

__all__ = ["ACTIVATIONS", "Shape"]

ACTIVATIONS = ("relu", "leaky_relu", "elu", "selu", "silu", "gelu", "mish", "tanh", "sigmoid")

#: Weights of one layer at most, 1 GiB of float32: a larger one is a mistake, or a model file that lies.
MOST_WEIGHTS = 2**28
#: Largest scale of the codes: beyond, float32 would overflow.
MOST_SCALE = 1000.0


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
        scale: of the codes, in (0, 1000].

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
            raise SettingError(f"hidden holds widths of the hidden layers, whole numbers from 1, not {self.hidden!r}.")
        if len(self.bins) > self.n_in or not all(type(n) is int and n >= 1 for n in self.bins):
            raise SettingError(f"bins holds whole numbers from 1, of at most {self.n_in} features, not {self.bins!r}.")
        widths = (self.n_coded, *widths[1:])
        if any(a * b > MOST_WEIGHTS for a, b in pairwise(widths)):
            raise SettingError(
                f"a layer of the widths {widths} would have more than {MOST_WEIGHTS:,} weights: choose narrower ones."
            )
        if self.activation not in ACTIVATIONS:
            raise SettingError(f"activation is one of {', '.join(ACTIVATIONS)}, not {self.activation!r}.")
        if not 0 <= self.dropout < 1:
            raise SettingError(f"dropout is at least 0 and below 1, not {self.dropout!r}.")
        if not 0 < self.scale <= MOST_SCALE:
            raise SettingError(f"scale is above 0 and at most {MOST_SCALE:g}, not {self.scale!r}.")

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
        # Not above: torch takes a second to import, and a prediction does without.
        from plainnet.networks.networks import build_network

        return build_network(self, network)

    @property
    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The name and the shape of each tensor of the network, in its ``state_dict``'s order: weights (outputs, inputs), biases."""
        place = 1 if self.bins else 0
        widths = (self.n_coded, *self.hidden, self.n_out)
        for n_in, n_out in pairwise(widths):
            yield f"{place}.weight", (n_out, n_in)
            yield f"{place}.bias", (n_out,)
            place += 3 if self.dropout else 2

    def named(self, values: npt.NDArray[np.float32]) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
        """Yield the tensors by name, as views of one array of all weights, (weights,)."""
        start = 0
        for name, shape in self.tensors:
            size = prod(shape)
            yield name, values[start : start + size].reshape(shape)
            start += size

    def to_json(self) -> dict[str, Any]:
        """Return the shape as plain values."""
        return asdict(self) | {"hidden": list(self.hidden), "bins": list(self.bins)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Shape:
        """Return the shape that ``to_json`` wrote."""
        return cls(**(dict(content) | {name: tuple(content.get(name, ())) for name in ("hidden", "bins")}))
