"""Activations: for each, its value f(x) and its derivative, from x and y = f(x), as torch defines them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.extending import register_jitable

from plainnet.kernels.elementary import erf, exp, expm1, log1p, sigmoid, tanh
from plainnet.kernels.kernels import FAST, number
from plainnet.kernels.state import COLUMNS, FEW, LEAD, ROWS

__all__ = ["ACTIVATIONS", "Kernel", "plane", "scalar"]

Kernel = Callable[..., None]
scalar = register_jitable(fastmath=FAST, forceinline=True, error_model="numpy")

SQRT_HALF = 0.7071067811865476
SQRT_2_OVER_PI = 0.7978845608028654
INVERSE_SQRT_2_PI = 0.3989422804014327
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


@register_jitable
def plane(features, s):
    """Return (runs, numbers in a run, from one run to the next) of a value with this many features."""
    if s[FEW] == 1:
        return 1, features * s[ROWS], 0
    if s[LEAD] == s[COLUMNS]:
        return 1, features * s[COLUMNS], 0
    return features, s[COLUMNS], s[LEAD]


def _kernels(name: str, value: Any, slope: Any) -> tuple[Kernel, Kernel]:
    """Make the forward and the backward kernel of an activation. a: x, y, features, gradient of x, of y; c: two constants."""

    def forward(m, p, g, a, c, s, d):
        c0, c1 = number(m, c[0]), number(m, c[1])
        runs, length, step = plane(a[2], s)
        for run in range(runs):
            x, y = a[0] + run * step, a[1] + run * step
            for i in range(length):
                m[y + i] = value(m[x + i], c0, c1)

    def backward(m, p, g, a, c, s, d):
        c0, c1 = number(m, c[0]), number(m, c[1])
        runs, length, step = plane(a[2], s)
        for run in range(runs):
            x, y, dx, dy = a[0] + run * step, a[1] + run * step, a[3] + run * step, a[4] + run * step
            for i in range(length):
                m[dx + i] = m[dy + i] * slope(m[x + i], m[y + i], c0, c1)

    value, slope = scalar(value), scalar(slope)
    forward.__qualname__, backward.__qualname__ = f"{name}_forward", f"{name}_backward"
    return forward, backward


def _relu(x: Any, c0: Any, c1: Any) -> Any:
    zero = number(x, 0.0)
    return zero if x < zero else x  # in this order NaN stays NaN


def _relu_slope(x: Any, y: Any, c0: Any, c1: Any) -> Any:
    return number(x, 0.0) if x <= number(x, 0.0) else number(x, 1.0)


def _leaky_relu(x: Any, c0: Any, c1: Any) -> Any:
    return x * c0 if x <= number(x, 0.0) else x


def _leaky_relu_slope(x: Any, y: Any, c0: Any, c1: Any) -> Any:
    return c0 if x <= number(x, 0.0) else number(x, 1.0)


def _elu(x: Any, c0: Any, c1: Any) -> Any:
    """c0: alpha times scale, c1: scale; so SELU too."""
    return c0 * expm1(x) if x <= number(x, 0.0) else c1 * x


def _elu_slope(x: Any, y: Any, c0: Any, c1: Any) -> Any:
    return y + c0 if x <= number(x, 0.0) else c1


def _silu(x: Any, c0: Any, c1: Any) -> Any:
    return x * sigmoid(x)


def _silu_slope(x: Any, y: Any, c0: Any, c1: Any) -> Any:
    one = number(x, 1.0)
    share = sigmoid(x)
    return share * (one + x * (one - share))


def _gelu(x: Any, c0: Any, c1: Any) -> Any:
    return x * (number(x, 0.5) * (number(x, 1.0) + erf(x * number(x, SQRT_HALF))))


def _gelu_slope(x: Any, y: Any, c0: Any, c1: Any) -> Any:
    half = number(x, 0.5)
    share = half * (number(x, 1.0) + erf(x * number(x, SQRT_HALF)))
    return share + x * number(x, INVERSE_SQRT_2_PI) * exp(-half * x * x)


def _gelu_tanh(x: Any, c0: Any, c1: Any) -> Any:
    inner = number(x, SQRT_2_OVER_PI) * (x + number(x, 0.044715) * x * x * x)
    return number(x, 0.5) * x * (number(x, 1.0) + tanh(inner))


def _gelu_tanh_slope(x: Any, y: Any, c0: Any, c1: Any) -> Any:
    one, half, factor = number(x, 1.0), number(x, 0.5), number(x, 0.044715)
    t = tanh(number(x, SQRT_2_OVER_PI) * (x + factor * x * x * x))
    inner_slope = number(x, SQRT_2_OVER_PI) * (one + number(x, 3.0) * factor * x * x)
    return half * (one + t) + half * x * (one - t * t) * inner_slope


@scalar
def _mish_share(x: Any) -> Any:
    """tanh(softplus(x)) = (e² + 2e) / (e² + 2e + 2) with e = eˣ; from 20 on it rounds to 1."""
    limit, two = number(x, 20.0), number(x, 2.0)
    e = exp(limit if x > limit else x)
    grown = e * (e + two)
    return grown / (grown + two)


def _mish(x: Any, c0: Any, c1: Any) -> Any:
    return x * _mish_share(x)


def _mish_slope(x: Any, y: Any, c0: Any, c1: Any) -> Any:
    share = _mish_share(x)
    return share + x * sigmoid(x) * (number(x, 1.0) - share * share)


def _tanh(x: Any, c0: Any, c1: Any) -> Any:
    return tanh(x)


def _tanh_slope(x: Any, y: Any, c0: Any, c1: Any) -> Any:
    return number(x, 1.0) - y * y


def _sigmoid(x: Any, c0: Any, c1: Any) -> Any:
    return sigmoid(x)


def _sigmoid_slope(x: Any, y: Any, c0: Any, c1: Any) -> Any:
    return y * (number(x, 1.0) - y)


def _hardtanh(x: Any, c0: Any, c1: Any) -> Any:
    raised = c0 if x < c0 else x
    return c1 if raised > c1 else raised


def _hardtanh_slope(x: Any, y: Any, c0: Any, c1: Any) -> Any:
    return number(x, 0.0) if x <= c0 or x >= c1 else number(x, 1.0)


def _softplus(x: Any, c0: Any, c1: Any) -> Any:
    """c0: beta, c1: threshold."""
    scaled = x * c0
    return x if scaled > c1 else log1p(exp(scaled)) / c0


def _softplus_slope(x: Any, y: Any, c0: Any, c1: Any) -> Any:
    scaled = x * c0
    return number(x, 1.0) if scaled > c1 else sigmoid(scaled)


#: Name: (forward, backward).
ACTIVATIONS: dict[str, tuple[Kernel, Kernel]] = {
    "relu": _kernels("relu", _relu, _relu_slope),
    "leaky_relu": _kernels("leaky_relu", _leaky_relu, _leaky_relu_slope),
    "elu": _kernels("elu", _elu, _elu_slope),
    "silu": _kernels("silu", _silu, _silu_slope),
    "gelu": _kernels("gelu", _gelu, _gelu_slope),
    "gelu_tanh": _kernels("gelu_tanh", _gelu_tanh, _gelu_tanh_slope),
    "mish": _kernels("mish", _mish, _mish_slope),
    "tanh": _kernels("tanh", _tanh, _tanh_slope),
    "sigmoid": _kernels("sigmoid", _sigmoid, _sigmoid_slope),
    "hardtanh": _kernels("hardtanh", _hardtanh, _hardtanh_slope),
    "softplus": _kernels("softplus", _softplus, _softplus_slope),
}
