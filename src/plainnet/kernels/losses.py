"""Losses: the sum over a batch's rows, and the gradient of the prediction, as torch defines them.

Each kernel adds the rows' losses, times their weights, to ``d[LOSS]``, and writes the gradient of ``SCALE · sum``; the
driver sets SCALE to 1 / (rows · features) for a mean, to 1 for a sum. With no place for a gradient (-1) it only measures.
"""

from __future__ import annotations

import math
from typing import Any

from numba.extending import register_jitable

from plainnet.kernels.activations import Kernel, scalar
from plainnet.kernels.elementary import exp, log, log1p, sigmoid
from plainnet.kernels.kernels import number, numbers_at, words_at
from plainnet.kernels.layers import log_sums, strides
from plainnet.kernels.state import FEW, FIRST, FIXED, LEAD, LOSS, ORDER, ROWS, SCALE, WEIGHT, Y

__all__ = ["VALUE_LOSSES", "class_scale", "cross_entropy", "cross_entropy_shares", "gaussian", "nll", "quantile"]


def _kernel(name: str, value: Any, slope: Any) -> Kernel:
    """Make the kernel of a loss that compares number with number.

    a: prediction, features, its gradient or -1, target, weights of the rows or -1, weights of the features or -1; c: two constants.
    """

    def kernel(m, p, g, a, c, s, d):
        features = a[1]
        fixed = numbers_at(m, s[FIXED])
        step, across, columns = strides(features, s)
        c0, c1, scale, one = number(m, c[0]), number(m, c[1]), number(m, d[SCALE]), number(m, 1.0)
        total = 0.0
        for f in range(features):
            own = fixed[a[5] + f] if a[5] >= 0 else one
            for b in range(s[ROWS]):
                place = f * step + b * across
                weight = m[a[4] + b] if a[4] >= 0 else one
                total += value(m[a[0] + place], m[a[3] + place], c0, c1, own) * weight
            if a[2] >= 0:
                for b in range(s[ROWS]):
                    place = f * step + b * across
                    weight = m[a[4] + b] if a[4] >= 0 else one
                    m[a[2] + place] = slope(m[a[0] + place], m[a[3] + place], c0, c1, own) * (weight * scale)
        d[LOSS] += total
        if a[2] >= 0:
            clear(m, a[2], features, s)

    value, slope = scalar(value), scalar(slope)
    kernel.__qualname__ = name
    return kernel


@register_jitable
def clear(m, gradient, features, s):
    """Set the gradient of the rows that only fill up the last vector to 0."""
    if s[FEW] == 0:
        step, _, columns = strides(features, s)
        for f in range(features):
            for b in range(s[ROWS], columns):
                m[gradient + f * step + b] = number(m, 0.0)


@scalar
def _sign(x: Any) -> Any:
    zero, one = number(x, 0.0), number(x, 1.0)
    return one if x > zero else (-one if x < zero else zero)


def _mse(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    return (x - t) * (x - t)


def _mse_slope(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    return number(x, 2.0) * (x - t)


def _l1(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    return abs(x - t)


def _l1_slope(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    return _sign(x - t)


def _huber(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    """c0: from where it is linear, c1: factor; Huber's loss has factor 1, the smooth L1 loss 1 / c0."""
    size, half = abs(x - t), number(x, 0.5)
    return c1 * (half * size * size if size < c0 else c0 * (size - half * c0))


def _huber_slope(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    away = x - t
    return c1 * (away if abs(away) < c0 else c0 * _sign(away))


def _bce(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    one, least = number(x, 1.0), number(x, -100.0)
    yes, no = log(x), log(one - x)
    yes = least if yes < least else yes
    no = least if no < least else no
    return (t - one) * no - t * yes


def _bce_slope(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    spread, least = (number(x, 1.0) - x) * x, number(x, 1e-12)
    return (x - t) / (least if spread < least else spread)


def _bce_logits(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    """own: the feature's pos_weight."""
    one, zero = number(x, 1.0), number(x, 0.0)
    factor = one + (own - one) * t
    return (one - t) * x + factor * (log1p(exp(-abs(x))) + (-x if x < zero else zero))


def _bce_logits_slope(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    one = number(x, 1.0)
    factor = one + (own - one) * t
    return (one - t) + factor * (sigmoid(x) - one)


@scalar
def _stirling(t: Any, full: Any) -> Any:
    one, half = number(t, 1.0), number(t, 0.5)
    safe = t if t > one else one
    value = t * log(safe) - t + half * log(number(t, 2 * math.pi) * safe)
    return value if full > number(t, 0.0) and t > one else number(t, 0.0)


def _poisson_log(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    """c0: ε, c1: 1 for the full loss, Stirling's term included."""
    return exp(x) - t * x + _stirling(t, c1)


def _poisson_log_slope(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    return exp(x) - t


def _poisson(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    return x - t * log(x + c0) + _stirling(t, c1)


def _poisson_slope(x: Any, t: Any, c0: Any, c1: Any, own: Any) -> Any:
    return number(x, 1.0) - t / (x + c0)


#: Name: kernel.
VALUE_LOSSES: dict[str, Kernel] = {
    "mse": _kernel("mse", _mse, _mse_slope),
    "l1": _kernel("l1", _l1, _l1_slope),
    "huber": _kernel("huber", _huber, _huber_slope),
    "bce": _kernel("bce", _bce, _bce_slope),
    "bce_logits": _kernel("bce_logits", _bce_logits, _bce_logits_slope),
    "poisson_log": _kernel("poisson_log", _poisson_log, _poisson_log_slope),
    "poisson": _kernel("poisson", _poisson, _poisson_slope),
}


def quantile(m, p, g, a, c, s, d):
    """Pinball loss: feature f is the prediction of quantile a[5] + f of the constants, the target one number. As ``_kernel``."""
    features = a[1]
    fixed = numbers_at(m, s[FIXED])
    step, across, columns = strides(features, s)
    scale, one, zero = number(m, d[SCALE]), number(m, 1.0), number(m, 0.0)
    total = 0.0
    for f in range(features):
        q = fixed[a[5] + f]
        for b in range(s[ROWS]):
            weight = m[a[4] + b] if a[4] >= 0 else one
            away = m[a[3] + b] - m[a[0] + f * step + b * across]
            total += weight * (q * away if away > zero else (q - one) * away)
            if a[2] >= 0:
                slope = -q if away > zero else (one - q if away < zero else zero)
                m[a[2] + f * step + b * across] = slope * (weight * scale)
    d[LOSS] += total
    if a[2] >= 0:
        clear(m, a[2], features, s)


def gaussian(m, p, g, a, c, s, d):
    """Negative log-likelihood of a normal distribution: features are means, then logarithms of variances.

    As ``_kernel``, a[1] counting both; c: smallest variance, constant term.
    """
    targets = a[1] // 2
    step, across, columns = strides(a[1], s)
    one, half, scale, least = number(m, 1.0), number(m, 0.5), number(m, d[SCALE]), number(m, c[0])
    t_across = targets if s[FEW] == 1 else 1
    total = 0.0
    for f in range(targets):
        for b in range(s[ROWS]):
            mean, log_variance = f * step + b * across, (targets + f) * step + b * across
            weight = m[a[4] + b] if a[4] >= 0 else one
            raw = exp(m[a[0] + log_variance])
            variance = least if raw < least else raw
            away = m[a[0] + mean] - m[a[3] + f * (1 if s[FEW] == 1 else step) + b * t_across]
            total += weight * (half * (log(variance) + away * away / variance) + number(m, c[1]))
            if a[2] >= 0:
                m[a[2] + mean] = weight * scale * away / variance
                # torch clamps the variance without a trace in the gradient: the slope goes on below the smallest one.
                m[a[2] + log_variance] = (
                    weight * scale * half * (one / variance - away * away / (variance * variance)) * raw
                )
    d[LOSS] += total
    if a[2] >= 0:
        clear(m, a[2], a[1], s)


def cross_entropy(m, p, g, a, c, s, d):
    """Of logits against class numbers.

    a: as ``_kernel``, a[5] being class weights or -1, then two numbers for each row, ignore_index; c: label smoothing, sum of
    the class weights.
    """
    classes, weights, ignored = a[1], a[5], a[7]
    fixed = numbers_at(m, s[FIXED])
    step, across, columns = strides(classes, s)
    top, total = a[6], a[6] + s[LEAD]
    zero, one = number(m, 0.0), number(m, 1.0)
    smooth, sharp, all_weights = number(m, c[0] / classes), number(m, 1.0 - c[0]), number(m, c[1])
    log_sums(m, a[0], classes, top, total, s)
    loss = 0.0
    for b in range(columns):
        m[top + b] += log(m[total + b])
    if c[0] > 0.0:
        for b in range(s[ROWS]):
            row = all_weights * m[top + b]
            for f in range(classes):
                row -= (fixed[weights + f] if weights >= 0 else one) * m[a[0] + f * step + b * across]
            m[total + b] = smooth * row
    for b in range(s[ROWS]):
        target = int(m[a[3] + b])
        weight = m[a[4] + b] if a[4] >= 0 else one
        if target == ignored:
            m[total + b] = zero
            continue
        own = fixed[weights + target] if weights >= 0 else one
        row = sharp * own * (m[top + b] - m[a[0] + target * step + b * across])
        loss += weight * (row + m[total + b] if c[0] > 0.0 else row)
        m[total + b] = weight * number(m, d[SCALE])  # from here on: the factor of the row's gradient
    d[LOSS] += loss
    if a[2] < 0:
        return
    for f in range(classes):
        own = fixed[weights + f] if weights >= 0 else one
        for b in range(s[ROWS]):
            share = exp(m[a[0] + f * step + b * across] - m[top + b])
            m[a[2] + f * step + b * across] = m[total + b] * smooth * (all_weights * share - own)
            if weights < 0:
                m[a[2] + f * step + b * across] += m[total + b] * sharp * share
            else:
                target = int(m[a[3] + b])
                if target != ignored:
                    m[a[2] + f * step + b * across] += m[total + b] * sharp * share * fixed[weights + target]
    for b in range(s[ROWS]):
        target = int(m[a[3] + b])
        if target != ignored:
            own = fixed[weights + target] if weights >= 0 else one
            m[a[2] + target * step + b * across] -= m[total + b] * sharp * own
    clear(m, a[2], classes, s)


def cross_entropy_shares(m, p, g, a, c, s, d):
    """Of logits against probabilities of the classes. As ``cross_entropy``."""
    classes, weights = a[1], a[5]
    fixed = numbers_at(m, s[FIXED])
    step, across, columns = strides(classes, s)
    top, total = a[6], a[6] + s[LEAD]
    zero, one = number(m, 0.0), number(m, 1.0)
    smooth, sharp = number(m, c[0] / classes), number(m, 1.0 - c[0])
    log_sums(m, a[0], classes, top, total, s)
    for b in range(columns):
        m[top + b] += log(m[total + b])
        m[total + b] = zero
    loss = 0.0
    for f in range(classes):
        own = fixed[weights + f] if weights >= 0 else one
        for b in range(s[ROWS]):
            place = f * step + b * across
            weight = m[a[4] + b] if a[4] >= 0 else one
            share = own * (sharp * m[a[3] + place] + smooth)
            m[total + b] += share
            loss += weight * share * (m[top + b] - m[a[0] + place])
    d[LOSS] += loss
    if a[2] < 0:
        return
    scale = number(m, d[SCALE])
    for f in range(classes):
        own = fixed[weights + f] if weights >= 0 else one
        for b in range(s[ROWS]):
            place = f * step + b * across
            weight = m[a[4] + b] if a[4] >= 0 else one
            share = own * (sharp * m[a[3] + place] + smooth)
            m[a[2] + place] = weight * scale * (m[total + b] * exp(m[a[0] + place] - m[top + b]) - share)
    clear(m, a[2], classes, s)


def nll(m, p, g, a, c, s, d):
    """Of log-probabilities against class numbers. As ``cross_entropy``."""
    classes, weights, ignored = a[1], a[5], a[7]
    fixed = numbers_at(m, s[FIXED])
    step, across, columns = strides(classes, s)
    if a[2] >= 0:
        for f in range(classes):
            for b in range(columns):
                m[a[2] + f * step + b * across] = number(m, 0.0)
    loss = 0.0
    for b in range(s[ROWS]):
        target = int(m[a[3] + b])
        if target == ignored:
            continue
        own = fixed[weights + target] if weights >= 0 else number(m, 1.0)
        weight = m[a[4] + b] if a[4] >= 0 else number(m, 1.0)
        loss -= weight * own * m[a[0] + target * step + b * across]
        if a[2] >= 0:
            m[a[2] + target * step + b * across] = -(weight * own * number(m, d[SCALE]))
    d[LOSS] += loss


def class_scale(m, p, g, a, c, s, d):
    """SCALE of a mean over classes with weights, or with a class to ignore: 1 / the sum of the rows' class weights.

    s[ROWS] and s[FIRST] are the whole batch's here. a: as ``cross_entropy``.
    """
    y, order = words_at(s[Y]), words_at(s[ORDER])
    weights, fixed = numbers_at(m, s[WEIGHT]), numbers_at(m, s[FIXED])
    total, n_ignored = 0.0, 0
    for b in range(s[FIRST], s[FIRST] + s[ROWS]):
        row = order[b] if s[ORDER] != 0 else b
        if y[row] == a[7]:
            n_ignored += 1
            continue
        own = float(fixed[a[5] + y[row]]) if a[5] >= 0 else 1.0
        total += own * (float(weights[row]) if a[4] >= 0 else 1.0)
    if a[4] >= 0:
        if a[5] < 0 and n_ignored == 0:
            total = 1.0 * s[ROWS]  # the rows' weights have the mean 1 over all batches, not over this one
        total = max(total, 1e-12)
    d[SCALE] = 1.0 / total
