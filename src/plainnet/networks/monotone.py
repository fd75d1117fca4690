"""Networks that never fall, or never rise, with a feature: signs of weights, kept after every step.

A network is monotone by construction where its activations never fall and its weights have the right signs, whatever the input
(Archer and Wang, "Application of the Back Propagation Neural Network Algorithm with Monotonicity Constraints for Two-Group
Classification Problems", 1993, doi:10.1111/j.1540-5915.1993.tb00462.x). With weights of one sign only and an activation that
bends one way it could only bend that way. So each unit here has a direction of its own: it rises with the function, falls with it, or sees
free features only. A unit that falls, and is then subtracted, bends the other way: the two kinds are the convex and the concave units of
Runje and Shankaranarayana ("Constrained Monotonic Neural Networks", ICML 2023, arXiv:2205.11775), without another activation.
Activations that saturate on alternating sides approximate every monotone function (Sartor, Sinigaglia and Susto, 2025,
arXiv:2505.02537).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from plainnet.networks.shape import Shape

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["MONOTONE_ACTIVATIONS", "Monotone", "WeightBounds"]

#: Activations that never fall; the first is the default of monotone networks.
MONOTONE_ACTIVATIONS = ("relu", "leaky_relu", "elu", "selu", "tanh", "sigmoid")
#: Directions of the units of a hidden layer, in turns, where some features are free, and where all are bound.
SOME_FREE, ALL_BOUND = (1, -1, 0), (1, -1)


@dataclass(frozen=True)
class Monotone:
    """In which direction the outputs of a network go with its features.

    Attributes:
        features: (n_in,) of each: 1 where outputs of direction 1 never fall with it, -1 where they never rise, 0 where it is free.
        outputs: (n_out,) 1, or -1 for an output that does the opposite.

    >>> import torch
    >>> shape = Shape(2, 1, hidden=(4,), activation="elu")
    >>> network = shape.build()
    >>> Monotone(features=(1, 0), outputs=(1,)).begin(network, shape)
    >>> network(torch.tensor([[5.0, 0.3]])) >= network(torch.tensor([[-5.0, 0.3]]))
    tensor([[True]])
    """

    features: tuple[int, ...]
    outputs: tuple[int, ...]

    def signs(self, shape: Shape) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]]:
        """Return (the sign each weight has to have or 0 for any, whether it has to be 0), of each linear layer."""
        plain = shape.n_in - len(shape.bins)
        before = np.array(self.features)
        # a code never falls with its number
        before = np.concatenate([before[:plain], before[plain:].repeat(shape.bins)])
        pattern = SOME_FREE if 0 in self.features else ALL_BOUND
        found = []
        for number, width in enumerate((*shape.hidden, shape.n_out)):
            is_last = number == len(shape.hidden)
            own = np.array(self.outputs if is_last else [pattern[i % len(pattern)] for i in range(width)])
            found.append((own[:, None] * before, (own[:, None] == 0) & (before != 0)))
            before = own
        return found

    def begin(self, network: nn.Module, shape: Shape) -> None:
        """Give freshly drawn weights their signs.

        Half the weights of a unit are then positive, half negative, as is usual: activations neither drift nor grow.
        """
        import torch

        with torch.no_grad():
            for weight, (signs, is_none) in zip(_weights(network), self.signs(shape), strict=True):
                sign, none = torch.from_numpy(signs), torch.from_numpy(is_none)
                weight.copy_(torch.where(sign == 0, weight, weight.abs() * sign).masked_fill(none, 0.0))

    def bounds(self, network: nn.Module, shape: Shape) -> WeightBounds:
        """Return what keeps the signs: register it with ``optimizer.register_step_post_hook``."""
        import torch

        rows = []
        for weight, (signs, is_none) in zip(_weights(network), self.signs(shape), strict=True):
            least = torch.from_numpy(np.where((signs > 0) | is_none, 0.0, -np.inf))
            largest = torch.from_numpy(np.where((signs < 0) | is_none, 0.0, np.inf))
            rows.append((weight, least.to(weight.dtype), largest.to(weight.dtype)))
        return WeightBounds(rows)

    def hold(self, shape: Shape, values: npt.NDArray[np.float32]) -> bool:
        """Whether the weights of a network, (weights,) in the order of ``Shape.tensors``, have their signs."""
        weights = [tensor for _, tensor in shape.named(values) if tensor.ndim == 2]
        return all(
            bool((weight * signs >= 0).all()) and not bool(weight[is_none].any())
            for weight, (signs, is_none) in zip(weights, self.signs(shape), strict=True)
        )


def _weights(network: nn.Module) -> list[Tensor]:
    """Return the weights of the linear layers."""
    return [parameter for parameter in network.parameters() if parameter.ndim == 2]


class WeightBounds:
    """Keep weights between bounds: called by an optimizer after each of its steps, it projects them back.

    The fused engine knows it, and does the same in compiled code.

    Args:
        bounds: (parameter, least, largest), the bounds as large as the parameter, -inf and inf where there are none.

    >>> import torch
    >>> layer = torch.nn.Linear(1, 1)
    >>> optimizer = torch.optim.SGD(layer.parameters(), lr=9.0)
    >>> hook = optimizer.register_step_post_hook(WeightBounds([(layer.weight, torch.zeros(1, 1), torch.full((1, 1), torch.inf))]))
    >>> layer(torch.ones(1, 1)).sum().backward()
    >>> optimizer.step()
    >>> layer.weight.item()
    0.0
    """

    def __init__(self, bounds: Iterable[tuple[Tensor, Tensor, Tensor]]) -> None:
        self.bounds = list(bounds)

    def __call__(self, *_: Any) -> None:
        """Project; the arguments are those of a hook."""
        import torch

        if any(least.device != parameter.device for parameter, least, _ in self.bounds):
            self.bounds = [(p, least.to(p.device), largest.to(p.device)) for p, least, largest in self.bounds]
        with torch.no_grad():
            for parameter, least, largest in self.bounds:
                parameter.clamp_(least, largest)

    def hold(self) -> bool:
        """Whether all parameters are within their bounds now."""
        return all(bool(((p >= least) & (p <= largest)).all()) for p, least, largest in self.bounds)
