"""Optimizers: one step over a run of parameters, as torch.optim defines them.

a: place, count, steps taken before this training, 1 to maximise, two options, then the places of the moments in ``m``.
c: the group's settings in this step: learning rate, weight decay, then the optimizer's own.
"""

from __future__ import annotations

import math

import numpy as np
from numba.extending import register_jitable

from plainnet.kernels.activations import Kernel
from plainnet.kernels.kernels import number
from plainnet.kernels.state import STEP

__all__ = ["OPTIMIZERS"]


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
    kept = number(m, 0.0) if step == 1 else momentum
    for i in range(a[1]):
        place = a[0] + i
        gradient = sign * g[place] + decay * p[place]
        m[a[6] + i] = kept * m[a[6] + i] + fresh * gradient
        p[place] -= rate * (gradient + momentum * m[a[6] + i] if a[4] == 1 else m[a[6] + i])


def adam(m, p, g, a, c, s, d):
    """c: rate, decay, β₁, β₂, ε. Options: amsgrad, decoupled decay (AdamW). Moments: first, second, largest second."""
    step, sign, decay = _begin(m, p, g, a, c, s, a[5] == 1)
    b1, b2, rest1, rest2 = number(m, c[2]), number(m, c[3]), number(m, 1.0 - c[2]), number(m, 1.0 - c[3])
    eps, size = number(m, c[4]), number(m, c[0] / (1.0 - c[2] ** step))
    inverse = number(m, 1.0 / math.sqrt(1.0 - c[3] ** step))
    first, second, largest = a[6], a[7], a[8]
    if a[4] == 1:
        for i in range(a[1]):
            gradient = sign * g[a[0] + i] + decay * p[a[0] + i]
            m[first + i] = b1 * m[first + i] + rest1 * gradient
            m[second + i] = b2 * m[second + i] + rest2 * gradient * gradient
            m[largest + i] = max(m[largest + i], m[second + i])
            p[a[0] + i] -= size * m[first + i] / (math.sqrt(m[largest + i]) * inverse + eps)
        return
    for i in range(a[1]):
        gradient = sign * g[a[0] + i] + decay * p[a[0] + i]
        m[first + i] = b1 * m[first + i] + rest1 * gradient
        m[second + i] = b2 * m[second + i] + rest2 * gradient * gradient
        p[a[0] + i] -= size * m[first + i] / (math.sqrt(m[second + i]) * inverse + eps)


def nadam(m, p, g, a, c, s, d):
    """c: rate, decay, β₁, β₂, ε, momentum decay. Options: -, decoupled decay. Moments: first, second, product of the momenta."""
    step, sign, decay = _begin(m, p, g, a, c, s, a[5] == 1)
    b1, b2, rest1, rest2 = number(m, c[2]), number(m, c[3]), number(m, 1.0 - c[2]), number(m, 1.0 - c[3])
    now = c[2] * (1.0 - 0.5 * 0.96 ** (step * c[5]))
    soon = c[2] * (1.0 - 0.5 * 0.96 ** ((step + 1) * c[5]))
    m[a[8]] = np.float32(
        np.float32(m[a[8]]) * np.float32(now)
    )  # torch keeps it in float32, whatever the parameters are
    product = float(m[a[8]])
    own, moved = number(m, c[0] * (1.0 - now) / (1.0 - product)), number(m, c[0] * soon / (1.0 - product * soon))
    eps, inverse = number(m, c[4]), number(m, 1.0 / math.sqrt(1.0 - c[3] ** step))
    first, second = a[6], a[7]
    for i in range(a[1]):
        gradient = sign * g[a[0] + i] + decay * p[a[0] + i]
        m[first + i] = b1 * m[first + i] + rest1 * gradient
        m[second + i] = b2 * m[second + i] + rest2 * gradient * gradient
        p[a[0] + i] -= (own * gradient + moved * m[first + i]) / (math.sqrt(m[second + i]) * inverse + eps)


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
    first, second = a[6], a[7]
    for i in range(a[1]):
        gradient = sign * g[a[0] + i] + decay * p[a[0] + i]
        m[first + i] = b1 * m[first + i] + rest1 * gradient
        m[second + i] = b2 * m[second + i] + rest2 * gradient * gradient
        step_of_it = rate * m[first + i]
        p[a[0] + i] -= step_of_it / (math.sqrt(m[second + i]) + eps) if rectified else step_of_it


def rmsprop(m, p, g, a, c, s, d):
    """c: rate, decay, momentum, α, ε. Options: centered. Moments: second, momentum buffer, first."""
    step, sign, decay = _begin(m, p, g, a, c, s, False)
    kept, rest, eps, rate, momentum = (
        number(m, c[3]),
        number(m, 1.0 - c[3]),
        number(m, c[4]),
        number(m, c[0]),
        number(m, c[2]),
    )
    second, buffer, first = a[6], a[7], a[8]
    has_momentum = c[2] > 0.0
    for i in range(a[1]):
        gradient = sign * g[a[0] + i] + decay * p[a[0] + i]
        m[second + i] = kept * m[second + i] + rest * gradient * gradient
        spread = m[second + i]
        if a[4] == 1:
            m[first + i] = kept * m[first + i] + rest * gradient
            spread -= m[first + i] * m[first + i]
        move = gradient / (math.sqrt(spread) + eps)
        if has_momentum:
            m[buffer + i] = momentum * m[buffer + i] + move
            move = m[buffer + i]
        p[a[0] + i] -= rate * move


def adagrad(m, p, g, a, c, s, d):
    """c: rate, decay, -, rate decay, ε. Moments: sum of squares."""
    step, sign, decay = _begin(m, p, g, a, c, s, False)
    rate, eps = number(m, c[0] / (1.0 + (step - 1) * c[3])), number(m, c[4])
    for i in range(a[1]):
        gradient = sign * g[a[0] + i] + decay * p[a[0] + i]
        m[a[6] + i] += gradient * gradient
        p[a[0] + i] -= rate * gradient / (math.sqrt(m[a[6] + i]) + eps)


def adamax(m, p, g, a, c, s, d):
    """c: rate, decay, β₁, β₂, ε. Moments: first, largest size."""
    step, sign, decay = _begin(m, p, g, a, c, s, False)
    b1, b2, rest1, eps = number(m, c[2]), number(m, c[3]), number(m, 1.0 - c[2]), number(m, c[4])
    rate = number(m, c[0] / (1.0 - c[2] ** step))
    first, largest = a[6], a[7]
    for i in range(a[1]):
        gradient = sign * g[a[0] + i] + decay * p[a[0] + i]
        m[first + i] = b1 * m[first + i] + rest1 * gradient
        m[largest + i] = max(b2 * m[largest + i], abs(gradient) + eps)
        p[a[0] + i] -= rate * m[first + i] / m[largest + i]


#: Name: kernel.
OPTIMIZERS: dict[str, Kernel] = {
    "sgd": sgd, "adam": adam, "nadam": nadam, "radam": radam, "rmsprop": rmsprop, "adagrad": adagrad, "adamax": adamax,
}  # fmt: skip
