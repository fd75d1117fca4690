"""exp, log, tanh and their kin for float32, written so that LLVM turns a loop of them into vectors.

The C library's functions take one number a call. These are textbook series after the textbook reductions, correct to about
two units in the last place of float32, NaN and infinity included. For float64 they are the C library's.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload, register_jitable

from plainnet.kernels.kernels import number

__all__ = ["erf", "exp", "expm1", "hash_uniform", "log", "log1p", "sigmoid", "tanh"]

#: No change of order here: ``(1 + x) - 1`` is meant.
_EXACT = {"fastmath": {"contract"}, "forceinline": True, "error_model": "numpy"}

# Fitted to erf(x)/x in x² on [0, 1] and to log(erfc(x)) on [1, 4], at Chebyshev nodes in 40 digits: errors below 2e-7, 6e-8.
_ERF_NEAR = (1.12837917, -0.376126269, 0.112835975, -0.0268543288, 0.00518931194, -0.000801885499, 7.8824971e-05)
_ERF_FAR = (
    -0.000756968622, -1.12592595, -0.639093319, -0.10331898, 0.0226219859, -0.0034368676, 0.000317572035, -1.33093904e-05,
)  # fmt: skip


@intrinsic
def _power_of_two(typingctx, n):
    """2ⁿ for a whole float32 n in [-126, 127], put together from its bits."""

    def codegen(context, builder, signature, arguments):
        word = ir.IntType(32)
        exponent = builder.add(builder.fptosi(arguments[0], word), word(127))
        return builder.bitcast(builder.shl(exponent, word(23)), ir.FloatType())

    return types.float32(types.float32), codegen


@intrinsic
def _exponent(typingctx, x):
    """The whole e for which x / 2ᵉ lies in [√½, √2), x positive and normal."""

    def codegen(context, builder, signature, arguments):
        word = ir.IntType(32)
        above = builder.sub(builder.bitcast(arguments[0], word), word(0x3F3504F3))
        return builder.sitofp(builder.ashr(above, word(23)), ir.FloatType())

    return types.float32(types.float32), codegen


@intrinsic
def hash_uniform(typingctx, like, counter, key):
    """A number in [0, 1) for each counter and key: the multiply-and-shift mixer of MurmurHash3, twice."""
    kind = like.dtype if isinstance(like, types.CPointer) else like

    def codegen(context, builder, signature, arguments):
        word = ir.IntType(32)
        low = builder.trunc(arguments[2], word)
        high = builder.trunc(builder.lshr(arguments[2], ir.IntType(64)(32)), word)
        x = builder.trunc(arguments[1], word)
        for salt in (low, high):
            x = builder.add(builder.mul(x, word(0x9E3779B1)), salt)
            for amount, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
                x = builder.mul(builder.xor(x, builder.lshr(x, word(amount))), word(factor))
            x = builder.xor(x, builder.lshr(x, word(16)))
        result = context.get_value_type(kind)
        return builder.fmul(builder.uitofp(builder.lshr(x, word(8)), result), ir.Constant(result, 2.0**-24))

    return kind(like, types.int64, types.int64), codegen


@register_jitable(**_EXACT)
def _reduce(x: Any) -> Any:
    """x = n ln 2 + r with whole n: returns (n, r)."""
    n = np.floor(x * number(x, 1.4426950408889634) + number(x, 0.5))
    return n, (x - n * number(x, 0.693359375)) + n * number(x, 2.12194440e-4)


@register_jitable(**_EXACT)
def _expm1_reduced(r: Any) -> Any:
    """eʳ - 1 for |r| ≤ ln 2 / 2: Taylor's series."""
    s = number(r, 1 / 5040)
    s = s * r + number(r, 1 / 720)
    s = s * r + number(r, 1 / 120)
    s = s * r + number(r, 1 / 24)
    s = s * r + number(r, 1 / 6)
    s = s * r + number(r, 0.5)
    return s * r * r + r


@register_jitable(**_EXACT)
def _exp32(x: Any) -> Any:
    low, high = number(x, -104.0), number(x, 89.0)
    x = low if x < low else x  # comparisons that let NaN pass
    x = high if x > high else x
    n, r = _reduce(x)
    half = np.floor(n * number(x, 0.5))  # in two factors: 2ⁿ alone can overflow or be subnormal
    return (_expm1_reduced(r) + number(x, 1.0)) * _power_of_two(half) * _power_of_two(n - half)


@register_jitable(**_EXACT)
def _expm1_32(x: Any) -> Any:
    low, high = number(x, -40.0), number(x, 89.0)  # e⁻⁴⁰ - 1 rounds to -1
    x = low if x < low else x
    x = high if x > high else x
    n, r = _reduce(x)
    half = np.floor(n * number(x, 0.5))
    power = _power_of_two(half) * _power_of_two(n - half)
    return _power_of_two(half) * (_expm1_reduced(r) * _power_of_two(n - half)) + (power - number(x, 1.0))


@register_jitable(**_EXACT)
def _tanh32(x: Any) -> Any:
    one, limit = number(x, 1.0), number(x, 10.0)  # tanh(10) rounds to 1
    size = abs(x)
    size = limit if size > limit else size
    n, r = _reduce(size + size)
    power = _power_of_two(n)
    grown = power * _expm1_reduced(r) + (power - one)  # e²ˣ - 1
    result = grown / (grown + number(x, 2.0))
    return -result if x < number(x, 0.0) else result


@register_jitable(**_EXACT)
def _log32(x: Any) -> Any:
    one, zero = number(x, 1.0), number(x, 0.0)
    tiny = x < number(x, 1.17549435e-38)
    value = x * number(x, 33554432.0) if tiny else x  # 2²⁵, out of the subnormal numbers
    e = _exponent(value)
    half = np.floor(e * number(x, 0.5))
    m = value * _power_of_two(-half) * _power_of_two(half - e)
    e = e - number(x, 25.0) if tiny else e
    s = (m - one) / (m + one)
    z = s * s
    series = number(x, 1 / 9)
    series = series * z + number(x, 1 / 7)
    series = series * z + number(x, 1 / 5)
    series = series * z + number(x, 1 / 3)
    result = (s + s) * (series * z) - e * number(x, 2.12194440e-4) + (s + s) + e * number(x, 0.693359375)
    result = result if x < number(x, math.inf) else x  # infinity and NaN
    result = number(x, -math.inf) if x == zero else result
    return number(x, math.nan) if x < zero else result


@register_jitable(**_EXACT)
def _log1p32(x: Any) -> Any:
    one = number(x, 1.0)
    grown = one + x
    lost = grown - one  # what of x is left in 1 + x; the quotient makes up for the rest
    quotient = _log32(grown) * (x / (one if lost == number(x, 0.0) else lost))
    result = x if lost == number(x, 0.0) else quotient
    return x if x == number(x, math.inf) else result


@register_jitable(**_EXACT)
def _erf32(x: Any) -> Any:
    one = number(x, 1.0)
    size = abs(x)
    limit = number(x, 4.0)
    size = limit if size > limit else size
    z = size * size
    near = number(x, 0.0)
    for factor in _ERF_NEAR[::-1]:
        near = near * z + number(x, factor)
    far = number(x, 0.0)
    for factor in _ERF_FAR[::-1]:
        far = far * size + number(x, factor)
    result = near * size if size < one else one - _exp32(far)
    return -result if x < number(x, 0.0) else result


@register_jitable(**_EXACT)
def _log64(x: Any) -> Any:
    return math.log(x) if x > 0.0 else (-math.inf if x == 0.0 else math.nan)


def _either(single: Any, double: Any) -> Any:
    """Make the function that is ``single`` of a float32, ``double`` of a float64."""

    def function(x):
        return double(x)

    @overload(function, jit_options=_EXACT)
    def _(x):
        return (lambda x: single(x)) if x == types.float32 else (lambda x: double(x))

    return function


exp = _either(_exp32, math.exp)
expm1 = _either(_expm1_32, math.expm1)  # exact for small x
log = _either(_log32, _log64)  # -inf of 0, NaN of less
log1p = _either(_log1p32, math.log1p)  # exact for small x, x ≥ 0
tanh = _either(_tanh32, math.tanh)
erf = _either(_erf32, math.erf)


@register_jitable(**_EXACT)
def sigmoid(x: Any) -> Any:
    """1 / (1 + e⁻ˣ)."""
    return number(x, 1.0) / (number(x, 1.0) + exp(-x))
