"""The part of an exported NumPy script that predicts. It is copied from the line below on, without the branches of other targets."""

from __future__ import annotations

from math import erf
from typing import Any

import numpy as np

from plainnet.export.script_encode import encode

TARGET: dict[str, Any] = {}
NETWORKS: list[dict[str, Any]] = []
ACTIVATION = "silu"
WEIGHTS: dict[str, np.ndarray] = {}
# ---- The networks: features -> outputs -------------------------------------------------------------------------------


def network(x: np.ndarray, number: int) -> np.ndarray:
    """Compute one network: (N, features) -> (N, outputs). A layer is a product with its weights, plus its biases, then a bend."""
    shape = NETWORKS[number]
    if shape["bins"]:
        x = code_positions(x, shape["bins"], shape["code_scale"])
    for layer in range(shape["layers"]):
        x = x @ WEIGHTS[f"{number}.{layer}.weight"].T + WEIGHTS[f"{number}.{layer}.bias"]
        if layer < shape["layers"] - 1:  # the last layer stays straight
            x = activation(x)
    return x


def code_positions(x: np.ndarray, bins: list[int], scale: float) -> np.ndarray:
    """Cut each number's position, 0 to 1, into bins: 1 for those below it, how far it is through its own, 0 for those above.

    The positions are the last features; a straight line in each bin lets a layer learn any curve. Source: arXiv:2203.05556.
    """
    plain, positions = x[:, : x.shape[1] - len(bins)], x[:, x.shape[1] - len(bins) :]
    codes = [np.clip(positions[:, [k]] * n - np.arange(n, dtype=np.float32), 0, 1) * scale for k, n in enumerate(bins)]
    return np.concatenate([plain, *codes], axis=1).astype(np.float32)


def activation(x: np.ndarray) -> np.ndarray:
    """Bend the outputs of a hidden layer."""
    bent: np.ndarray
    with np.errstate(over="ignore"):
        if ACTIVATION == "relu":
            bent = np.maximum(x, 0)
        elif ACTIVATION == "leaky_relu":
            bent = np.where(x > 0, x, np.float32(0.01) * x)
        elif ACTIVATION == "elu":
            bent = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
        elif ACTIVATION == "selu":  # its two constants keep mean and variance from layer to layer
            below = np.float32(1.6732632423543772) * np.expm1(np.minimum(x, 0))
            bent = np.float32(1.0507009873554805) * np.where(x > 0, x, below)
        elif ACTIVATION == "silu":  # x times its sigmoid
            bent = x / (1 + np.exp(-x))
        elif ACTIVATION == "gelu":  # x times the share of a normal distribution that lies below it
            share = np.array([erf(value) for value in (x / np.float32(2**0.5)).ravel().tolist()], dtype=np.float32)
            bent = np.float32(0.5) * x * (1 + share.reshape(x.shape))
        elif ACTIVATION == "mish":
            bent = x * np.tanh(np.logaddexp(x, np.float32(0)))
        elif ACTIVATION == "sigmoid":
            bent = 1 / (1 + np.exp(-x))
        else:  # tanh
            bent = np.tanh(x)
    return bent


# ---- The vote: outputs of all networks -> what the pack says ---------------------------------------------------------


def opinion(outputs: np.ndarray, *, is_log: bool) -> np.ndarray:
    """Turn a network's outputs, (N, outputs), into what it votes with."""
    outputs = outputs.astype(np.float64)
    said: np.ndarray
    if TARGET["kind"] == "classes":  # logits -> probabilities that sum to 1: the softmax
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        said = powers / powers.sum(axis=1, keepdims=True)
    elif TARGET["kind"] == "labels":  # a logit of each label -> its probability: the sigmoid
        said = 0.5 + 0.5 * np.tanh(0.5 * outputs)
    elif TARGET["kind"] == "counts":  # logarithms of expected counts, at most the largest count of the training rows
        most = np.maximum(np.array(TARGET["most"]) / np.array(TARGET["mean"]), 1e-12)
        said = np.exp(np.minimum(outputs, np.log(most)))
    else:  # standardised numbers, or logarithms of them, kept within the range of the training rows
        mean, scale = np.array(TARGET["mean"]), np.array(TARGET["scale"])
        if is_log:
            unit, log_mean, log_scale = TARGET["logs"]
            outputs = (unit * np.expm1(np.minimum(outputs * log_scale + log_mean, 700)) - mean) / scale
        if "quantiles" in TARGET:
            outputs = np.sort(outputs, axis=1)
        said = outputs
        if "bounds" in TARGET:
            least, most = (np.array(TARGET["bounds"]) - mean) / scale
            said = np.clip(outputs, least, most)
    return said


def vote(x: np.ndarray) -> np.ndarray:
    """Return the weighted mean of the networks' opinions: encoded rows (N, features) -> (N, outputs)."""
    parts = [
        shape["share"] * opinion(network(x, number), is_log=shape["is_log"]) for number, shape in enumerate(NETWORKS)
    ]
    mean: np.ndarray = np.sum(parts, axis=0)
    return mean


def joint(rows: dict[str, list[Any]]) -> np.ndarray:
    """Return what the pack says of raw rows, (N, outputs): probabilities, or standardised numbers."""
    return vote(encode(rows))
