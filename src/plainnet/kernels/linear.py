"""The linear layer: y = W x + b, forward, back to its input, and the gradient of its weights."""

from __future__ import annotations

from numba.extending import register_jitable

from plainnet.kernels.kernels import number, numbers_at, shift
from plainnet.kernels.layers import strides
from plainnet.kernels.products import multiply_dots, multiply_rows
from plainnet.kernels.state import BATCH_MEMORY, COLUMNS, FEW, GOES_ON, LEAD, OWN_COUNT, OWN_FIRST, ROWS

__all__ = ["FORWARD", "INPUT", "STEP_OF_SGD", "WEIGHTS", "linear"]

# Which way a linear layer is gone through.
FORWARD, INPUT, WEIGHTS, STEP_OF_SGD = range(4)

#: Rows whose products are added up at once for the gradient of weights: a few hundred inputs of them fit the cache.
DOTS_BLOCK = 512


def linear(m, p, g, a, c, s, d):
    """y = W x + b, and back.

    a: x, y, inputs, outputs, W, b or -1, gradient of x, gradient of y, which way, –, numbers in a row of W that are no inputs, 1 to
    add to y.

    All are one kernel, with one call of either product, since those take longest to compile. STEP_OF_SGD is a step of plain SGD
    that never writes its gradient down, a[9] being 1 to maximise and c the settings of the group: with few rows, fetching and
    storing weights is what takes the time.
    """
    way, few, lead = a[8], s[FEW] == 1, s[LEAD]
    if way == STEP_OF_SGD:
        m = numbers_at(m, s[BATCH_MEMORY])
    n_in, n_out, rows, stride = a[2], a[3], s[ROWS], a[2] + a[10]
    x, y, dx, dy = shift(m, a[0]), shift(m, a[1]), shift(m, a[6]), shift(m, a[7])
    weight, bias = shift(p, a[4]), shift(p, a[5])
    has_bias = a[5] >= 0
    # The product: C = A B, of (n, k) and (k, width); or, by dots, C = A Bᵀ, of (n, k) and (width, k), k cut in blocks.
    by_dots, begin = False, 0
    to, to_step, left, step_i, step_k, right, right_step = y, lead, weight, stride, 1, x, lead
    n, width, k = n_out, s[COLUMNS], n_in
    if way == FORWARD and not few:
        begin = 1 if a[11] == 1 else 2 if has_bias else 0
    elif way == FORWARD:
        for row in range(rows if has_bias else 0):
            for i in range(n_out):
                y[row * n_out + i] = bias[i]
        by_dots, begin = True, 1 if has_bias else 0
        to_step, left, step_i, right, right_step, n, width = n_out, x, n_in, weight, n_in, rows, n_out
    elif way == INPUT:
        to, left, step_i, step_k, right, n, k = dx, weight, 1, n_in, dy, n_in, n_out
        if few:
            to_step, left, step_i, step_k, right, right_step, n, width = n_in, dy, n_out, 1, weight, n_in, rows, n_in
    else:
        first = 0 if way == STEP_OF_SGD else s[OWN_FIRST]
        n = n_out if way == STEP_OF_SGD else min(s[OWN_COUNT], n_out - first)
        to, to_step, width, right, begin = shift(g, a[4] + first * stride), stride, n_in, x, s[GOES_ON]
        if few:
            left, step_i, step_k, right_step, k = shift(dy, first), 1, n_out, n_in, rows
        else:
            by_dots, left, step_i, k = True, shift(dy, first * lead), lead, s[COLUMNS]
        if way == STEP_OF_SGD:
            rate = number(m, c[0] if a[9] == 1 else -c[0])
            for i in range(rows * n_out):
                dy[i] *= rate
            to, begin = weight, 1
            for row in range(rows if has_bias else 0):
                for i in range(n_out):
                    bias[i] += dy[row * n_out + i]
        elif has_bias:
            add_sums(m, g, a[7], a[5], n_out, first, n, s)
    if not by_dots:
        multiply_rows(to, to_step, left, step_i, step_k, right, right_step, n, width, k, begin, bias)
        return
    block = k if way == FORWARD else DOTS_BLOCK
    for start in range(0, k, block):
        part = min(block, k - start)
        goes_on = 1 if start > 0 else begin
        multiply_dots(to, to_step, shift(left, start), step_i, shift(right, start), right_step, n, width, part, goes_on)


@register_jitable
def add_sums(m, g, value, place, features, first, count, s):
    """Add the sums over the rows of some features to the gradients at ``place``."""
    step, across, rows = strides(features, s)
    for f in range(first, first + count):
        total = number(m, 0.0)
        for b in range(rows):
            total += m[value + f * step + b * across]
        g[place + f] = g[place + f] + total if s[GOES_ON] == 1 else total
