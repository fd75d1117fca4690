"""Layers with more to them than one number in, one number out: forward and backward of each in one file.

A value of F features and B rows lies feature by feature, (F, B), so that a row of a batch is a vector lane; or, for batches
of a few rows, row by row, (B, F). ``strides`` gives the steps from feature to feature and from row to row.
"""

from __future__ import annotations

import math
from typing import Any

from numba.extending import register_jitable

from plainnet.kernels.activations import Kernel, plane, scalar
from plainnet.kernels.elementary import exp, hash_uniform, log
from plainnet.kernels.kernels import number, shift
from plainnet.kernels.state import COLUMNS, FEW, FIRST, GOES_ON, LEAD, OWN_COUNT, OWN_FIRST, ROWS, STEP

__all__ = [
    "add_forward", "alpha_dropout", "batch_norm_backward", "batch_norm_forward", "copy", "dropout", "layer_norm_backward",
    "layer_norm_forward", "layer_norm_weights", "log_softmax_backward", "log_softmax_forward", "scale", "scale_weights",
    "softmax_backward", "softmax_forward", "strides",
]  # fmt: skip

ALPHA = 1.7580993408473766  # SELU's alpha × scale: what alpha dropout sets dropped values to, negated


@register_jitable
def strides(features, s):
    """Return (from feature to feature, from row to row, rows to go through)."""
    if s[FEW] == 1:
        return 1, features, s[ROWS]
    return s[LEAD], 1, s[COLUMNS]


def scale(m, p, g, a, c, s, d):
    """y = w x, feature by feature, and back, dx = w dy. a: x, y, features, w."""
    step, across, rows = strides(a[2], s)
    for f in range(a[2]):
        for b in range(rows):
            m[a[1] + f * step + b * across] = p[a[3] + f] * m[a[0] + f * step + b * across]


def scale_weights(m, p, g, a, c, s, d):
    """dw = Σ x dy over the rows, of some features. a: x, gradient of y, features, w."""
    step, across, rows = strides(a[2], s)
    for f in range(s[OWN_FIRST], min(s[OWN_FIRST] + s[OWN_COUNT], a[2])):
        total = number(m, 0.0)
        for b in range(rows):
            total += m[a[0] + f * step + b * across] * m[a[1] + f * step + b * across]
        g[a[3] + f] = g[a[3] + f] + total if s[GOES_ON] == 1 else total


def add_forward(m, p, g, a, c, s, d):
    """y = x + z, also for gradients that meet where a value was used twice. a: x, z, y, features."""
    runs, length, step = plane(a[3], s)
    for run in range(runs):
        for i in range(length):
            m[a[2] + run * step + i] = m[a[0] + run * step + i] + m[a[1] + run * step + i]


def copy(m, p, g, a, c, s, d):
    """y = x. a: x, y, features."""
    runs, length, step = plane(a[2], s)
    for run in range(runs):
        for i in range(length):
            m[a[1] + run * step + i] = m[a[0] + run * step + i]


@register_jitable
def _key(seed, step, layer):
    """A key for each seed, step and layer: splitmix64's mixer."""
    key = seed + (step * 1_000_003 + layer + 1) * -7046029254386353131
    key = (key ^ ((key >> 30) & 0x3FFFFFFFF)) * -4658895280553007687
    key = (key ^ ((key >> 27) & 0x1FFFFFFFFF)) * -7723592293110705685
    return key ^ ((key >> 31) & 0x1FFFFFFFF)


def _dropout(name: str, value: Any) -> Kernel:
    """Make a kernel that drops a share of the numbers, or goes back: the same numbers, drawn again.

    a: from, to, features, seed, layer; c: share, three constants.
    """

    def kernel(m, p, g, a, c, s, d):
        step, across, rows = strides(a[2], s)
        key, share, first, features = _key(a[3], s[STEP], a[4]), number(m, c[0]), s[FIRST], a[2]
        c0, c1, c2 = number(m, c[1]), number(m, c[2]), number(m, c[3])
        for f in range(features):
            source, to = shift(m, a[0] + f * step), shift(m, a[1] + f * step)
            if across == 1:  # as neighbours, which LLVM makes vectors of
                for b in range(rows):
                    kept = hash_uniform(m, (first + b) * features + f, key) >= share
                    to[b] = value(source[b], kept, c0, c1, c2)
            else:
                for b in range(rows):
                    kept = hash_uniform(m, (first + b) * features + f, key) >= share
                    to[b * across] = value(source[b * across], kept, c0, c1, c2)

    value = scalar(value)
    kernel.__qualname__ = name
    return kernel


def _dropped(x, kept, scale, c1, c2):
    return x * (scale if kept else number(x, 0.0))


def _alpha_dropped(x, kept, scale, move, low):
    """Keeps SELU's mean and variance; arXiv:1706.02515."""
    return scale * (x if kept else low) + move


dropout, alpha_dropout = _dropout("dropout", _dropped), _dropout("alpha_dropout", _alpha_dropped)


def softmax_forward(m, p, g, a, c, s, d):
    """y = eˣ / Σ eˣ over the features. a: x, y, features, gradient of x, of y, two numbers for each row."""
    step, across, rows = strides(a[2], s)
    top, total = a[5], a[5] + s[LEAD]
    log_sums(m, a[0], a[2], top, total, s)
    for f in range(a[2]):
        for b in range(rows):
            m[a[1] + f * step + b * across] = exp(m[a[0] + f * step + b * across] - m[top + b]) / m[total + b]


@register_jitable
def log_sums(m, x, features, top, total, s):
    """For each row: the largest feature to ``top``, the sum of e to the others' distance from it to ``total``."""
    step, across, rows = strides(features, s)
    for b in range(rows):
        m[top + b] = m[x + b * across]
        m[total + b] = number(m, 0.0)
    for f in range(1, features):
        for b in range(rows):
            value = m[x + f * step + b * across]
            m[top + b] = m[top + b] if value < m[top + b] else value
    for f in range(features):
        for b in range(rows):
            m[total + b] += exp(m[x + f * step + b * across] - m[top + b])


def softmax_backward(m, p, g, a, c, s, d):
    """dx = y (dy - Σ y dy)."""
    step, across, rows = strides(a[2], s)
    for b in range(rows):
        m[a[5] + b] = number(m, 0.0)
    for f in range(a[2]):
        for b in range(rows):
            m[a[5] + b] += m[a[1] + f * step + b * across] * m[a[4] + f * step + b * across]
    for f in range(a[2]):
        for b in range(rows):
            place = f * step + b * across
            m[a[3] + place] = m[a[1] + place] * (m[a[4] + place] - m[a[5] + b])


def log_softmax_forward(m, p, g, a, c, s, d):
    """y = x - log Σ eˣ. As ``softmax_forward``."""
    step, across, rows = strides(a[2], s)
    top, total = a[5], a[5] + s[LEAD]
    log_sums(m, a[0], a[2], top, total, s)
    for b in range(rows):
        m[total + b] = log(m[total + b])
    for f in range(a[2]):
        for b in range(rows):
            m[a[1] + f * step + b * across] = (m[a[0] + f * step + b * across] - m[top + b]) - m[total + b]


def log_softmax_backward(m, p, g, a, c, s, d):
    """dx = dy - eʸ Σ dy."""
    step, across, rows = strides(a[2], s)
    for b in range(rows):
        m[a[5] + b] = number(m, 0.0)
    for f in range(a[2]):
        for b in range(rows):
            m[a[5] + b] += m[a[4] + f * step + b * across]
    for f in range(a[2]):
        for b in range(rows):
            place = f * step + b * across
            m[a[3] + place] = m[a[4] + place] - exp(m[a[1] + place]) * m[a[5] + b]


def layer_norm_forward(m, p, g, a, c, s, d):
    """y = w (x - mean) / √(variance + ε) + b over the features; arXiv:1607.06450.

    a: x, y, features, w or -1, b or -1, gradient of x or -1, of y, two numbers for each row; c: ε.
    """
    step, across, rows = strides(a[2], s)
    mean, inverse = a[7], a[7] + s[LEAD]
    zero, one, share = number(m, 0.0), number(m, 1.0), number(m, 1.0 / a[2])
    for b in range(rows):
        m[mean + b] = zero
        m[inverse + b] = zero
    for f in range(a[2]):
        for b in range(rows):
            m[mean + b] += m[a[0] + f * step + b * across] * share
    for f in range(a[2]):
        for b in range(rows):
            away = m[a[0] + f * step + b * across] - m[mean + b]
            m[inverse + b] += away * away * share
    for b in range(rows):
        m[inverse + b] = one / math.sqrt(m[inverse + b] + number(m, c[0]))
    for f in range(a[2]):
        w = p[a[3] + f] if a[3] >= 0 else one
        bias = p[a[4] + f] if a[4] >= 0 else zero
        for b in range(rows):
            place = f * step + b * across
            m[a[1] + place] = (m[a[0] + place] - m[mean + b]) * m[inverse + b] * w + bias


def layer_norm_backward(m, p, g, a, c, s, d):
    """With h = (x - mean) / √…: dx = (w dy - mean(w dy) - h mean(w dy h)) / √…; two more numbers for each row."""
    step, across, rows = strides(a[2], s)
    lead = s[LEAD]
    mean, inverse, plain, turned = a[7], a[7] + lead, a[7] + 2 * lead, a[7] + 3 * lead
    zero, one, share = number(m, 0.0), number(m, 1.0), number(m, 1.0 / a[2])
    for b in range(rows):
        m[plain + b] = zero
        m[turned + b] = zero
    for f in range(a[2]):
        w = p[a[3] + f] if a[3] >= 0 else one
        for b in range(rows):
            place = f * step + b * across
            h = (m[a[0] + place] - m[mean + b]) * m[inverse + b]
            m[plain + b] += w * m[a[6] + place] * share
            m[turned + b] += w * m[a[6] + place] * h * share
    for f in range(a[2]):
        w = p[a[3] + f] if a[3] >= 0 else one
        for b in range(rows):
            place = f * step + b * across
            h = (m[a[0] + place] - m[mean + b]) * m[inverse + b]
            m[a[5] + place] = (w * m[a[6] + place] - m[plain + b] - h * m[turned + b]) * m[inverse + b]


def layer_norm_weights(m, p, g, a, c, s, d):
    """dw = Σ h dy and db = Σ dy over the rows, of some features. As ``layer_norm_backward``."""
    step, across, rows = strides(a[2], s)
    mean, inverse = a[7], a[7] + s[LEAD]
    for f in range(s[OWN_FIRST], min(s[OWN_FIRST] + s[OWN_COUNT], a[2])):
        dw, db = number(m, 0.0), number(m, 0.0)
        for b in range(rows):
            place = f * step + b * across
            dw += m[a[6] + place] * (m[a[0] + place] - m[mean + b]) * m[inverse + b]
            db += m[a[6] + place]
        if a[3] >= 0:
            g[a[3] + f] = g[a[3] + f] + dw if s[GOES_ON] == 1 else dw
        if a[4] >= 0:
            g[a[4] + f] = g[a[4] + f] + db if s[GOES_ON] == 1 else db


def batch_norm_forward(m, p, g, a, c, s, d):
    """y = w (x - mean) / √(variance + ε) + b over the rows; arXiv:1502.03167.

    a: x, y, features, w or -1, b or -1, gradient of x or -1, of y, two numbers for each feature, running mean or -1,
    running variance, count of batches, 1 to normalise by the batch's own; c: ε, momentum (negative: the mean of all batches).
    """
    features, mean, inverse = a[2], a[7], a[7] + a[2]
    step, across, _ = strides(features, s)
    rows = s[ROWS]
    one, share = number(m, 1.0), number(m, 1.0 / rows)
    momentum = c[1]
    if a[11] == 1 and a[8] >= 0:
        p[a[10]] += one
        if momentum < 0.0:
            momentum = 1.0 / p[a[10]]
    for f in range(features):
        center, spread = number(m, 0.0), number(m, 0.0)
        if a[11] == 1:
            for b in range(rows):
                center += m[a[0] + f * step + b * across]
            center *= share
            for b in range(rows):
                away = m[a[0] + f * step + b * across] - center
                spread += away * away
            spread *= share
            if a[8] >= 0:
                new, kept = number(m, momentum), number(m, 1.0 - momentum)
                p[a[8] + f] = kept * p[a[8] + f] + new * center
                p[a[9] + f] = kept * p[a[9] + f] + new * (spread * number(m, rows / max(rows - 1, 1)))
        else:
            center, spread = p[a[8] + f], p[a[9] + f]
        m[mean + f] = center
        m[inverse + f] = one / math.sqrt(spread + number(m, c[0]))
        w = (p[a[3] + f] if a[3] >= 0 else one) * m[inverse + f]
        bias = p[a[4] + f] if a[4] >= 0 else number(m, 0.0)
        for b in range(s[COLUMNS] if s[FEW] == 0 else rows):
            place = f * step + b * across
            m[a[1] + place] = (m[a[0] + place] - center) * w + bias


def batch_norm_backward(m, p, g, a, c, s, d):
    """As ``layer_norm_backward``, over the rows; where the running averages were used, these are constants."""
    features, mean, inverse = a[2], a[7], a[7] + a[2]
    step, across, _ = strides(features, s)
    rows = s[ROWS]
    zero, one, share = number(m, 0.0), number(m, 1.0), number(m, 1.0 / rows)
    for f in range(features):
        dw, db = zero, zero
        for b in range(rows):
            place = f * step + b * across
            dy = m[a[6] + place]
            dw += dy * (m[a[0] + place] - m[mean + f]) * m[inverse + f]
            db += dy
        if a[3] >= 0:
            g[a[3] + f] = g[a[3] + f] + dw if s[GOES_ON] == 1 else dw
        if a[4] >= 0:
            g[a[4] + f] = g[a[4] + f] + db if s[GOES_ON] == 1 else db
        if a[5] < 0:
            continue
        w = (p[a[3] + f] if a[3] >= 0 else one) * m[inverse + f]
        if a[11] == 1:
            dw, db = dw * share, db * share
        else:
            dw, db = zero, zero
        for b in range(rows):
            place = f * step + b * across
            h = (m[a[0] + place] - m[mean + f]) * m[inverse + f]
            m[a[5] + place] = w * (m[a[6] + place] - db - h * dw)
        if s[FEW] == 0:
            for b in range(rows, s[COLUMNS]):
                m[a[5] + f * step + b] = zero
