"""Optimizers: one step over a run of parameters, as torch.optim defines them.

a: place, count, steps taken before this training, 1 to maximise, two options, then the places of the moments in ``m``.
c: the group's settings in this step: learning rate, weight decay, then the optimizer's own.
"""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable

from plainnet.kernels.activations import Kernel
from plainnet.kernels.kernels import call, number, shift
from plainnet.kernels.state import STEP

__all__ = ["OPTIMIZERS", "within_bounds"]


@register_jitable
def _begin(m, p, g, a, c, s, decoupled):
    """Return (step, from 1; sign of the gradient; decay to add to the gradient), decoupled decay being done at once."""
    decay = number(m, 0.0 if decoupled else c[1])
    if decoupled and c[1] != 0.0:
        kept = number(m, 1.0 - c[0] * c[1])
        for i in range(a[0], a[0] + a[1]):
            p[i] *= kept
    return a[2] + s[STEP] + 1, number(m, -1.0 if a[3] == 1 else 1.0), decay


def sgd(m, p, g, a, c, s, d):
    """c: rate, decay, momentum, dampening. Options: nesterov. Moments: momentum buffer."""
    step, sign, decay = _begin(m, p, g, a, c, s, False)
    rate, momentum = number(m, c[0]), number(m, c[2])
    if c[2] == 0.0:
        for i in range(a[0], a[0] + a[1]):
            p[i] -= rate * (sign * g[i] + decay * p[i])
        return
    fresh = number(m, 1.0 if step == 1 else 1.0 - c[3])
    kept, nesterov = number(m, 0.0) if step == 1 else momentum, a[4] == 1
    for i in range(a[1]):
        place = a[0] + i
        gradient = sign * g[place] + decay * p[place]
        buffer = kept * m[a[6] + i] + fresh * gradient
        new = p[place] - rate * (gradient + momentum * buffer if nesterov else buffer)
        m[a[6] + i] = buffer
        p[place] = new


def adam(m, p, g, a, c, s, d):
    """c: rate, decay, β₁, β₂, ε. Options: amsgrad, decoupled decay (AdamW). Moments: first, second, largest second."""
    step, sign, decay = _begin(m, p, g, a, c, s, a[5] == 1)
    b1, b2, rest1, rest2 = number(m, c[2]), number(m, c[3]), number(m, 1.0 - c[2]), number(m, 1.0 - c[3])
    eps, size = number(m, c[4]), number(m, c[0] / (1.0 - c[2] ** step))
    inverse = number(m, 1.0 / math.sqrt(1.0 - c[3] ** step))
    first, second, largest, place = a[6], a[7], a[8], a[0]
    if a[4] == 1:
        for i in range(a[1]):
            gradient = sign * g[place + i] + decay * p[place + i]
            m1 = b1 * m[first + i] + rest1 * gradient
            m2 = b2 * m[second + i] + rest2 * gradient * gradient
            top = max(m[largest + i], m2)
            new = p[place + i] - size * m1 / (math.sqrt(top) * inverse + eps)
            m[first + i], m[second + i], m[largest + i], p[place + i] = m1, m2, top, new
        return
    for i in range(a[1]):
        gradient = sign * g[place + i] + decay * p[place + i]
        m1 = b1 * m[first + i] + rest1 * gradient
        m2 = b2 * m[second + i] + rest2 * gradient * gradient
        new = p[place + i] - size * m1 / (math.sqrt(m2) * inverse + eps)
        m[first + i], m[second + i], p[place + i] = m1, m2, new


def nadam(m, p, g, a, c, s, d):
    """c: rate, decay, β₁, β₂, ε, momentum decay. Options: -, decoupled decay. Moments: first, second, product of the momenta."""
    step, sign, decay = _begin(m, p, g, a, c, s, a[5] == 1)
    b1, b2, rest1, rest2 = number(m, c[2]), number(m, c[3]), number(m, 1.0 - c[2]), number(m, 1.0 - c[3])
    now = c[2] * (1.0 - 0.5 * 0.96 ** (step * c[5]))
    soon = c[2] * (1.0 - 0.5 * 0.96 ** ((step + 1) * c[5]))
    # torch keeps it in float32, whatever the parameters are
    m[a[8]] = np.float32(np.float32(m[a[8]]) * np.float32(now))
    product = float(m[a[8]])
    own, moved = number(m, c[0] * (1.0 - now) / (1.0 - product)), number(m, c[0] * soon / (1.0 - product * soon))
    eps, inverse = number(m, c[4]), number(m, 1.0 / math.sqrt(1.0 - c[3] ** step))
    first, second, place = a[6], a[7], a[0]
    for i in range(a[1]):
        gradient = sign * g[place + i] + decay * p[place + i]
        m1 = b1 * m[first + i] + rest1 * gradient
        m2 = b2 * m[second + i] + rest2 * gradient * gradient
        new = p[place + i] - (own * gradient + moved * m1) / (math.sqrt(m2) * inverse + eps)
        m[first + i], m[second + i], p[place + i] = m1, m2, new


def radam(m, p, g, a, c, s, d):
    """c: rate, decay, β₁, β₂, ε. Options: -, decoupled decay. Moments: first, second."""
    step, sign, decay = _begin(m, p, g, a, c, s, a[5] == 1)
    b1, b2, rest1, rest2 = number(m, c[2]), number(m, c[3]), number(m, 1.0 - c[2]), number(m, 1.0 - c[3])
    size, correction = c[0] / (1.0 - c[2] ** step), 1.0 - c[3] ** step
    longest = 2.0 / (1.0 - c[3]) - 1.0
    length = longest - 2.0 * step * c[3] ** step / correction
    rectified = length > 5.0
    if rectified:
        share = (length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)
        size *= math.sqrt(share) * math.sqrt(correction)
    rate, eps = number(m, size), number(m, c[4])
    first, second, place = a[6], a[7], a[0]
    for i in range(a[1]):
        gradient = sign * g[place + i] + decay * p[place + i]
        m1 = b1 * m[first + i] + rest1 * gradient
        m2 = b2 * m[second + i] + rest2 * gradient * gradient
        move = rate * m1 / (math.sqrt(m2) + eps) if rectified else rate * m1
        new = p[place + i] - move
        m[first + i], m[second + i], p[place + i] = m1, m2, new


def rmsprop(m, p, g, a, c, s, d):
    """c: rate, decay, momentum, α, ε. Options: centered. Moments: second, momentum buffer, first."""
    step, sign, decay = _begin(m, p, g, a, c, s, False)
    kept, rest, eps = number(m, c[3]), number(m, 1.0 - c[3]), number(m, c[4])
    rate, momentum = number(m, c[0]), number(m, c[2])
    second, buffer, first, place = a[6], a[7], a[8], a[0]
    centered, has_momentum = a[4] == 1, c[2] > 0.0
    for i in range(a[1]):
        gradient = sign * g[place + i] + decay * p[place + i]
        m2 = kept * m[second + i] + rest * gradient * gradient
        spread = m2
        if centered:
            m1 = kept * m[first + i] + rest * gradient
            spread -= m1 * m1
            m[first + i] = m1
        move = gradient / (math.sqrt(spread) + eps)
        if has_momentum:
            move += momentum * m[buffer + i]
            m[buffer + i] = move
        new = p[place + i] - rate * move
        m[second + i], p[place + i] = m2, new


def adagrad(m, p, g, a, c, s, d):
    """c: rate, decay, -, rate decay, ε. Moments: sum of squares."""
    step, sign, decay = _begin(m, p, g, a, c, s, False)
    rate, eps, place = number(m, c[0] / (1.0 + (step - 1) * c[3])), number(m, c[4]), a[0]
    for i in range(a[1]):
        gradient = sign * g[place + i] + decay * p[place + i]
        total = m[a[6] + i] + gradient * gradient
        new = p[place + i] - rate * gradient / (math.sqrt(total) + eps)
        m[a[6] + i], p[place + i] = total, new


def adamax(m, p, g, a, c, s, d):
    """c: rate, decay, β₁, β₂, ε. Moments: first, largest size."""
    step, sign, decay = _begin(m, p, g, a, c, s, False)
    b1, b2, rest1, eps = number(m, c[2]), number(m, c[3]), number(m, 1.0 - c[2]), number(m, c[4])
    rate = number(m, c[0] / (1.0 - c[2] ** step))
    first, largest, place = a[6], a[7], a[0]
    for i in range(a[1]):
        gradient = sign * g[place + i] + decay * p[place + i]
        m1 = b1 * m[first + i] + rest1 * gradient
        top = max(b2 * m[largest + i], abs(gradient) + eps)
        new = p[place + i] - rate * m1 / top
        m[first + i], m[largest + i], p[place + i] = m1, top, new


def within_bounds(m, p, g, a, c, s, d):
    """Step by another kernel, whose address a[9] is, then bring the parameters back between the bounds at a[10] and a[11] in ``m``."""
    call(a[9], m, p, g, a, c, s, d)
    least, largest = shift(m, a[10]), shift(m, a[11])
    for i in range(a[1]):
        value = p[a[0] + i]
        value = least[i] if value < least[i] else value
        p[a[0] + i] = largest[i] if value > largest[i] else value  # NaN stays NaN


#: Name: kernel.
OPTIMIZERS: dict[str, Kernel] = {
    "sgd": sgd, "adam": adam, "nadam": nadam, "radam": radam, "rmsprop": rmsprop, "adagrad": adagrad, "adamax": adamax,
}  # fmt: skip
