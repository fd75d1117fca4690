"""Data in and predictions out: the rows of a batch, taken by the order of the epoch and turned feature by feature."""

from __future__ import annotations

from plainnet.kernels.kernels import number, numbers_at, shift, words_at
from plainnet.kernels.products import lanes_of, transpose_block
from plainnet.kernels.state import COLUMNS, FEW, FIRST, LEAD, ORDER, OUT, ROWS, SCRATCH, Y

__all__ = ["emit", "gather", "gather_classes"]


def gather(m, p, g, a, c, s, d):
    """Inputs, targets that are numbers, or weights. a: to, features, which word of ``s`` is their address."""
    to, features, source = a[0], a[1], numbers_at(m, s[a[2]])
    order, first, rows, lead = words_at(s[ORDER]), s[FIRST], s[ROWS], s[LEAD]
    if s[FEW] == 1:
        for b in range(rows):
            row = (order[first + b] if s[ORDER] != 0 else first + b) * features
            for f in range(features):
                m[to + b * features + f] = source[row + f]
        return
    lanes = lanes_of(m)
    offsets = shift(s, SCRATCH)
    for start in range(0, rows, lanes):
        stop = min(start + lanes, rows)
        for b in range(start, stop):
            offsets[b - start] = (order[first + b] if s[ORDER] != 0 else first + b) * features
        turned = features // lanes * lanes if stop - start == lanes else 0
        for f in range(0, turned, lanes):
            transpose_block(shift(m, to + f * lead + start), lead, shift(source, f), offsets)
        for b in range(start, stop):
            row = offsets[b - start]
            for f in range(turned, features):
                m[to + f * lead + b] = source[row + f]
    for f in range(features):
        for b in range(rows, s[COLUMNS]):
            m[to + f * lead + b] = number(m, 0.0)


def gather_classes(m, p, g, a, c, s, d):
    """Targets that are class numbers, kept as numbers (exact up to 2²⁴). a: to."""
    y, order, first = words_at(s[Y]), words_at(s[ORDER]), s[FIRST]
    for b in range(s[ROWS]):
        m[a[0] + b] = number(m, float(y[order[first + b] if s[ORDER] != 0 else first + b]))


def emit(m, p, g, a, c, s, d):
    """Predictions, row by row. a: from, features."""
    out, first, features, lead = numbers_at(m, s[OUT]), s[FIRST], a[1], s[LEAD]
    for b in range(s[ROWS]):
        for f in range(features):
            out[(first + b) * features + f] = m[a[0] + b * features + f] if s[FEW] == 1 else m[a[0] + f * lead + b]
