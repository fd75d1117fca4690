"""The networks and their vote as an ONNX graph: features  ->  probabilities, or numbers.

The networks compute in float32, as they were trained; their opinions, the vote, and what is made of it in float64, as
``packs.voting`` and ``tables.target`` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from plainnet.export.graph import DOUBLE, FLOAT, INT64, Graph
from plainnet.networks.layers import PiecewiseLinearEncoding
from plainnet.packs.members import Member
from plainnet.tables.target import ClassTarget, CountTarget, LabelsTarget, NumberTarget, Target

__all__ = ["class_type", "decode_vote", "vote"]

#: Activations that are one ONNX operator; the constants are torch's defaults.
OPERATORS: dict[type[nn.Module], tuple[str, dict[str, Any]]] = {
    nn.ReLU: ("Relu", {}),
    nn.LeakyReLU: ("LeakyRelu", {"alpha": 0.01}),
    nn.ELU: ("Elu", {"alpha": 1.0}),
    nn.SELU: ("Selu", {}),
    nn.Tanh: ("Tanh", {}),
    nn.Sigmoid: ("Sigmoid", {}),
}


def vote(graph: Graph, members: Sequence[Member], target: Target, plain: str, positions: str) -> str:
    """Add the networks and their vote.

    Args:
        graph: to add to.
        members: of the pack.
        target: what they predict.
        plain: name of the features without positions, (N, features).
        positions: name of the positions, (N, numbers); '' where no number is coded.

    Returns:
        The name of the joint opinion, float64 (N, outputs): probabilities, or encoded numbers.
    """
    coded: dict[object, str] = {}
    opinions = []
    for number, member in enumerate(members):
        if member.weight <= 0:
            continue
        outputs = _network(graph, member.network, number, plain, positions, coded)
        own = _opinion(graph, outputs, target, is_log=member.recipe.is_log)
        if member.weight != 1:
            own = graph.add("Mul", own, np.float64(member.weight), out=f"{number}: share of the vote")
        opinions.append(own)
    return opinions[0] if len(opinions) == 1 else graph.add("Sum", *opinions, out="vote")


def _network(
    graph: Graph, network: nn.Module, number: int, plain: str, positions: str, coded: dict[object, str]
) -> str:
    """Add one network; ``coded`` keeps the inputs that several networks share."""
    layers = list(network.children())
    coding = layers[0] if layers and isinstance(layers[0], PiecewiseLinearEncoding) else None
    key = (coding.bins, coding.scale) if coding else None
    if key not in coded:
        codes = positions if coding is None else _codes(graph, coding, positions)
        coded[key] = graph.concat([name for name in (plain, codes) if name], "inputs of networks")
    x = coded[key]
    for place, layer in enumerate(layers):
        name = f"{number}.{place}"
        if isinstance(layer, nn.Linear):
            state = layer.state_dict().items()
            weights = [
                graph.constant(values.detach().cpu().float().numpy(), f"{name}.{part}") for part, values in state
            ]
            x = graph.add("Gemm", x, *weights, out=f"{name} linear", transB=1)
        elif not isinstance(layer, PiecewiseLinearEncoding | nn.Dropout):
            x = _activation(graph, layer, x, name)
    return x


def _codes(graph: Graph, coding: PiecewiseLinearEncoding, positions: str) -> str:
    """Code positions piecewise linearly: how far through each bin the number is."""
    bins = np.array(coding.bins)
    places = graph.add("Mul", positions, bins[None].astype(np.float32))
    of_bins = graph.add("Gather", places, np.repeat(np.arange(len(bins)), bins), out="numbers of bins", axis=1)
    lower = np.concatenate([np.arange(n, dtype=np.float32) for n in coding.bins])
    codes = graph.add("Clip", graph.add("Sub", of_bins, lower[None]), np.float32(0), np.float32(1), out="codes")
    return codes if coding.scale == 1 else graph.add("Mul", codes, np.float32(coding.scale))


def _activation(graph: Graph, layer: nn.Module, x: str, name: str) -> str:
    kind = type(layer)
    out = f"{name} {kind.__name__}"
    if kind is nn.SiLU:
        return graph.add("Mul", x, graph.add("Sigmoid", x), out=out)
    if kind is nn.Mish:
        return graph.add("Mul", x, graph.add("Tanh", graph.add("Softplus", x)), out=out)
    if kind is nn.GELU:
        share = graph.add("Erf", graph.add("Mul", x, np.float32(0.5**0.5)))
        half = graph.add("Mul", x, np.float32(0.5))
        return graph.add("Mul", half, graph.add("Add", share, np.float32(1)), out=out)
    operator, attributes = OPERATORS[kind]
    return graph.add(operator, x, out=out, **attributes)


def _opinion(graph: Graph, outputs: str, target: Target, *, is_log: bool) -> str:
    """Add what a network votes with, as the target's ``opinions`` does."""
    own = graph.add("Cast", outputs, to=DOUBLE)
    if isinstance(target, ClassTarget):
        return graph.add("Softmax", own, axis=1)
    if isinstance(target, LabelsTarget):
        return graph.add("Sigmoid", own)
    if isinstance(target, CountTarget):
        return graph.add(
            "Exp", graph.add("Min", own, np.log(target.encoded_most)[None], out="at most the largest count")
        )
    if is_log and target.logs is not None:
        unit, mean, scale = map(np.float64, target.logs)
        own = graph.add("Add", graph.add("Mul", own, scale), mean)
        own = graph.add("Sub", graph.add("Exp", graph.add("Min", own, np.float64(700))), np.float64(1))
        own = graph.add("Sub", graph.add("Mul", own, unit), target.mean[None])
        own = graph.add("Div", own, target.scale[None])
    if target.quantiles:  # those that cross are put in order
        own = graph.add("TopK", own, np.array([len(target.quantiles)]), axis=1, largest=0, sorted=1)
    if target.encoded_bounds is not None:
        least, most = target.encoded_bounds
        own = graph.add("Min", graph.add("Max", own, least[None]), most[None], out="within the training rows")
    return own


def decode_vote(graph: Graph, joint: str, target: Target, outputs: Sequence[str]) -> None:
    """Add what is made of the joint opinion.

    Args:
        graph: to add to.
        joint: name of the joint opinion, (N, outputs).
        target: what is predicted.
        outputs: names of the graph's outputs: probabilities and label, or the prediction.
    """
    if isinstance(target, ClassTarget):
        kind, classes = class_type(target), target.classes.tolist()
        said: npt.NDArray[Any] = np.array([str(each) for each in classes] if kind is object else classes, dtype=kind)
        best = graph.add("ArgMax", joint, axis=1, keepdims=0)
        graph.add("Cast", joint, last=outputs[0], to=FLOAT)
        graph.add("Gather", said, best, last=outputs[1])
    elif isinstance(target, LabelsTarget):
        is_there = graph.add("Greater", joint, np.float64(0.5))
        graph.add("Cast", joint, last=outputs[0], to=FLOAT)
        graph.add("Cast", is_there, last=outputs[1], to=INT64)
    else:
        is_flat = target.is_1d and not getattr(target, "quantiles", ())
        unit = target.scale if isinstance(target, NumberTarget) else target.mean
        values = graph.add("Mul", joint, unit[None], out="in the unit of the target")
        if isinstance(target, NumberTarget):
            values = graph.add("Add", values, target.mean[None])
        graph.add("Reshape", values, np.array([-1] if is_flat else [0, -1]), last=outputs[0])


def class_type(target: ClassTarget) -> type:
    """Return the NumPy type in which an ONNX model says a class: object stands for text."""
    kind = target.classes.dtype.kind
    if kind == "O" and all(type(each) is int for each in target.classes.tolist()):
        return np.int64
    if kind == "u":
        return np.int64 if int(target.classes.max()) < 2**63 else np.uint64
    return {"b": np.bool_, "i": np.int64, "f": np.float64}.get(kind, object)
