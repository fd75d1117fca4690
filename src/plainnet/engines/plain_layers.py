"""How a linear layer, over numbers or over codes, and an activation are spelt as operations. It needs no torch."""

from __future__ import annotations

import itertools

from plainnet.engines.program import Codes, NotFusible, Operation, Program, Value
from plainnet.kernels.activations import ACTIVATIONS, Kernel
from plainnet.kernels.codes import coded_linear, coded_linear_weights
from plainnet.kernels.linear import FORWARD, INPUT, WEIGHTS, linear

__all__ = ["lay_activation", "lay_linear", "lay_plain"]

#: Numbers in a vector at most, 64 bytes of float32.
MOST_LANES = 16
#: Numbers in a table of codes at most: its places are float32, whole up to here.
MOST_TABLE = 2**24


def lay_linear(
    program: Program, x: Value, n_out: int, weight: int, bias: int, *, needs_gradient: bool = False
) -> Value:
    """List a linear layer.

    Args:
        program: to be added to.
        x: what it reads; ``Codes`` are looked up.
        n_out: its outputs.
        weight: place of its (outputs, inputs) weights.
        bias: place of its biases; -1: none.
        needs_gradient: of its weights or biases.
    """
    if isinstance(x, Codes):
        return _coded_linear(program, x, n_out, weight, bias, needs_gradient=needs_gradient)
    x = program.read(x)
    out = program.value(n_out, needs_gradient=x.gradient >= 0 or needs_gradient)
    words = (x.place, out.place, x.features, n_out, weight, bias, x.gradient, out.gradient)
    back = [Operation(linear, (*words, INPUT))] if x.gradient >= 0 else []
    program.layer(Operation(linear, (*words, FORWARD)), *back)
    if out.gradient >= 0:
        program.weights.append((Operation(linear, (*words, WEIGHTS)), n_out))
    return out


def _coded_linear(program: Program, x: Codes, n_out: int, weight: int, bias: int, *, needs_gradient: bool) -> Value:
    out = program.value(n_out, needs_gradient=needs_gradient)
    firsts = itertools.accumulate(x.bins, initial=0)
    width = -(-n_out // MOST_LANES) * MOST_LANES
    if sum(x.bins) * width > MOST_TABLE:
        raise NotFusible(f"PiecewiseLinearEncoding of {sum(x.bins)} bins is too large for its tables")
    words = (
        x.place, out.place, x.features, n_out, weight, bias, x.plain, len(x.bins),
        program.constant([number for pair in zip(x.bins, firsts, strict=False) for number in pair]),
        program.table(2 * sum(x.bins) * width),
        program.table((MOST_LANES + 2) * width),
        program.memory(len(x.bins) * program.lead),
        program.memory(len(x.bins) * program.lead),
        out.gradient,
    )  # fmt: skip
    program.layer(Operation(coded_linear, words, (x.scale, float(program.evaluates))))
    # What plain features add: a linear layer of its own, whose weights are the first of each row of W.
    plain = (x.place, out.place, x.plain, n_out, weight, -1, -1, out.gradient)
    added = (0, sum(x.bins), 1)
    if x.plain:
        program.layer(Operation(linear, (*plain, FORWARD, *added)))
    if out.gradient >= 0:
        program.weights.append((Operation(coded_linear_weights, words, (x.scale,)), n_out))
        if x.plain:
            program.weights.append((Operation(linear, (*plain, WEIGHTS, *added)), n_out))
    # The tables are one thread's.
    program.splits, program.by_features = False, True
    return out


def lay_activation(program: Program, x: Value, name: str, constants: tuple[float, ...] = ()) -> Value:
    """List an activation of ``kernels.activations`` with its constants."""
    return lay_plain(program, x, *ACTIVATIONS[name], constants)


def lay_plain(
    program: Program, x: Value, forward: Kernel, backward: Kernel, constants: tuple[float, ...] = (), *more: int
) -> Value:
    """List a layer without weights, of as many outputs as inputs; ``more`` are further words of its kernels."""
    x = program.read(x)
    out = program.value(x.features, needs_gradient=x.gradient >= 0)
    words = (x.place, out.place, x.features, x.gradient, out.gradient, *more)
    back = [Operation(backward, words, constants)] if x.gradient >= 0 else []
    program.layer(Operation(forward, words, constants), *back)
    return out
