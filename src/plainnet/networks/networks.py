"""A plain network: ``Linear → activation → Dropout``, for each hidden layer, then ``Linear``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plainnet.networks.layers import PiecewiseLinearEncoding
from plainnet.networks.shape import Shape

__all__ = ["MODULES", "Vote", "build_network", "flattened", "network_of_values", "parameter_groups"]

#: The module of each of ``networks.shape.ACTIVATIONS``.
MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU, "elu": nn.ELU, "selu": nn.SELU, "silu": nn.SiLU, "gelu": nn.GELU, "mish": nn.Mish,
    "tanh": nn.Tanh, "sigmoid": nn.Sigmoid,
}  # fmt: skip


def build_network(shape: Shape, network: Callable[[int, int], nn.Module] | None = None) -> nn.Sequential:
    """Return a network of a shape, with fresh weights; the arguments are those of ``Shape.build``."""
    layers: list[nn.Module] = []
    if shape.bins:
        layers.append(PiecewiseLinearEncoding(shape.n_in - len(shape.bins), shape.bins, shape.scale))
    width = shape.n_coded
    if network is not None:
        return nn.Sequential(*layers, network(width, shape.n_out))
    for next_width in shape.hidden:
        linear = nn.Linear(width, next_width)
        with torch.no_grad():
            linear.weight.mul_(3**0.5)
        layers += [linear, MODULES[shape.activation]()]
        if shape.dropout:
            layers.append(nn.Dropout(shape.dropout))
        width = next_width
    layers.append(nn.Linear(width, shape.n_out))
    return nn.Sequential(*layers)


def network_of_values(shape: Shape, values: npt.NDArray[np.float32]) -> nn.Sequential:
    """Return a network whose parameters are views of an array of all weights, (weights,), in the order of ``Shape.tensors``."""
    with torch.device("meta"):
        network = shape.build()
    if shape.bins:  # its constants are no parameters
        network[0] = PiecewiseLinearEncoding(shape.n_in - len(shape.bins), shape.bins, shape.scale)
    tensors = {name: torch.from_numpy(tensor) for name, tensor in shape.named(values)}
    network.load_state_dict(tensors, assign=True)
    return network.eval()


def flattened(
    network: nn.Module, shape: Shape, before: npt.NDArray[np.float32] | None
) -> npt.NDArray[np.float32] | None:
    """Return a network's weights as one array, of which its parameters are made views.

    Args:
        network: any.
        shape: that it may have.
        before: the array of which they were made views earlier, which is returned if they are still.

    Returns:
        (weights,) in the order of ``Shape.tensors``; None where the network is another, or not on the CPU in float32.
    """
    hidden = [nn.Linear, MODULES[shape.activation], *([nn.Dropout] if shape.dropout else [])]
    types = [*([PiecewiseLinearEncoding] if shape.bins else []), *(hidden * len(shape.hidden)), nn.Linear]
    if type(network) is not nn.Sequential or [type(layer) for layer in network] != types:
        return None
    linears = [layer for layer in network if type(layer) is nn.Linear]
    tensors = [layer._parameters.get(name) for layer in linears for name in ("weight", "bias")]  # noqa: SLF001 - a lookup by name costs ten times as much
    address = None if before is None else before.ctypes.data
    is_same = address is not None
    for tensor, (_, wanted) in zip(tensors, shape.tensors, strict=True):
        if tensor is None or tensor.shape != wanted or tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            return None
        is_same = is_same and tensor.data_ptr() == address and tensor.is_contiguous()
        address = None if address is None else address + 4 * tensor.numel()
    if is_same:
        return before
    values = np.empty(sum(prod(size) for _, size in shape.tensors), dtype=np.float32)
    with torch.no_grad():
        for tensor, (_, view) in zip(tensors, shape.named(values), strict=True):
            view[...] = tensor.numpy()  # type: ignore[union-attr]  # none is missing
            tensor.data = torch.from_numpy(view)  # type: ignore[union-attr]  # as above
    return values


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
