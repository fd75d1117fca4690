"""The part of an exported PyTorch script that predicts. It is copied from the line below on, without the branches of other targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from plainnet.export.script_encode import encode

TARGET: dict[str, Any] = {}
NETWORKS: list[dict[str, Any]] = []
ACTIVATION: type[nn.Module] = nn.SiLU
WEIGHTS_FILE = Path()
# ---- The networks and their vote -------------------------------------------------------------------------------------


class CodePositions(nn.Module):
    """Cut each number's position, 0 to 1, into bins: 1 for those below it, how far it is through its own, 0 for those above.

    The positions are the last features; a straight line in each bin lets a layer learn any curve. Source: arXiv:2203.05556.
    """

    bins: Tensor
    lower: Tensor

    def __init__(self, bins: list[int], scale: float) -> None:
        super().__init__()
        self.register_buffer("bins", torch.tensor(bins), persistent=False)
        self.register_buffer("lower", torch.cat([torch.arange(float(n)) for n in bins]), persistent=False)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """(N, features) -> (N, plain features and codes)."""
        plain, positions = x[:, : -len(self.bins)], x[:, -len(self.bins) :]
        places = (positions * self.bins).repeat_interleave(self.bins, dim=1)
        return torch.cat([plain, (places - self.lower).clamp(0, 1) * self.scale], dim=1)


def build(shape: dict[str, Any]) -> nn.Sequential:
    """Return one network: linear layers with an activation between them."""
    layers: list[nn.Module] = [CodePositions(shape["bins"], shape["code_scale"])] if shape["bins"] else []
    for n_in, n_out in zip(shape["widths"][:-2], shape["widths"][1:-1], strict=True):
        layers += [nn.Linear(n_in, n_out), ACTIVATION()]
    return nn.Sequential(*layers, nn.Linear(*shape["widths"][-2:]))


class Model(nn.Module):
    """Networks that vote: encoded rows (N, features) -> (N, outputs), float64: probabilities, or standardised numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.networks = nn.ModuleList([build(shape) for shape in NETWORKS])

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted mean of the networks' opinions."""
        opinions = [
            shape["share"] * self.opinion(network(x).double(), is_log=shape["is_log"])
            for network, shape in zip(self.networks, NETWORKS, strict=True)
        ]
        return torch.stack(opinions).sum(dim=0)

    def opinion(self, outputs: Tensor, *, is_log: bool) -> Tensor:
        """Turn a network's outputs into what it votes with."""
        if TARGET["kind"] == "classes":  # logits -> probabilities that sum to 1
            said = outputs.softmax(dim=1)
        elif TARGET["kind"] == "labels":  # a logit of each label -> its probability
            said = outputs.sigmoid()
        elif TARGET["kind"] == "counts":  # logarithms of expected counts, which have a largest
            most = (outputs.new_tensor(TARGET["most"]) / outputs.new_tensor(TARGET["mean"])).clamp(min=1e-12)
            said = torch.minimum(outputs, most.log()).exp()
        else:  # standardised numbers, or logarithms of them, kept within the range of the training rows
            mean, scale = outputs.new_tensor(TARGET["mean"]), outputs.new_tensor(TARGET["scale"])
            if is_log:
                unit, log_mean, log_scale = TARGET["logs"]
                outputs = (unit * torch.expm1((outputs * log_scale + log_mean).clamp(max=700)) - mean) / scale
            if "quantiles" in TARGET:
                outputs = outputs.sort(dim=1).values
            said = outputs
            if "bounds" in TARGET:
                least, most = (outputs.new_tensor(TARGET["bounds"]) - mean) / scale
                said = torch.minimum(torch.maximum(outputs, least), most)
        return said


def load() -> Model:
    """Return the trained model, ready to predict; it is an nn.Module like any other, and can be trained on."""
    model = Model()
    model.load_state_dict(load_file(WEIGHTS_FILE))
    return model.eval()


def joint(rows: dict[str, list[Any]]) -> np.ndarray:
    """Return what the pack says of raw rows, (N, outputs): probabilities, or standardised numbers."""
    with torch.no_grad():
        said: np.ndarray = load()(torch.from_numpy(encode(rows))).numpy()
    return said
