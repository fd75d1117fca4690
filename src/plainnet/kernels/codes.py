"""A linear layer over piecewise linear codes, without the codes: a look-up in a table for each number.

The codes of a number at position t, in whole bins and a rest, are 1 for each bin below its own, the rest for its own, 0 above.
So W code(t) is a sum of columns of W that only depends on the bin, plus the rest times one more column: both are looked up.
Back, each row adds its gradient to the entry of its bin, and a running sum down the bins gives the gradient of all columns.
Fifty multiplications become two, whatever the number of bins.

Rows of the tables, and of a block of rows, are outputs side by side, rounded up to whole vectors: ``width`` numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic, register_jitable

from plainnet.kernels.kernels import WIDE, number, numbers_at, shift
from plainnet.kernels.linear import add_sums
from plainnet.kernels.products import WORD, call_tile, lanes_in, lanes_of, transpose_block
from plainnet.kernels.state import COLUMNS, FIXED, GOES_ON, LEAD, ROWS, SCRATCH

__all__ = ["coded_linear", "coded_linear_weights"]

#: Vectors of outputs that are summed in registers.
VECTORS = 8 if WIDE else 4
_WORD = types.int64


def _look_up_tile(code: Any, arguments: Any, vectors: int, lanes: int) -> None:
    """Sum the entries of a row's numbers. Arguments: to, begins, widths, places, rests, lead, numbers."""
    to, begins, widths, places, rests, lead, count = arguments
    builder = code.builder
    sums = code.slots(vectors, lanes)
    with code.loop(WORD(0), count, 1) as index:
        place = builder.fptosi(builder.load(code.at(places, (index, lead))), WORD)
        rest = code.spread(builder.load(code.at(rests, (index, lead))), lanes)
        for j in range(vectors):
            begin = code.load(code.at(begins, place, WORD(j * lanes)), lanes)
            builder.store(builder.fadd(builder.load(sums[j]), begin), sums[j])
            code.add_product(rest, code.load(code.at(widths, place, WORD(j * lanes)), lanes), sums[j])
    for j in range(vectors):
        code.store(builder.load(sums[j]), code.at(to, WORD(j * lanes)))
    builder.ret_void()


def _give_back_tile(code: Any, arguments: Any, vectors: int, lanes: int) -> None:
    """Add a row's gradient to the entries of its numbers. Arguments: from, above, within, places, rests, lead, numbers."""
    source, above, within, places, rests, lead, count = arguments
    builder = code.builder
    values = [code.load(code.at(source, WORD(j * lanes)), lanes) for j in range(vectors)]
    slot = code.slots(1, lanes)[0]
    with code.loop(WORD(0), count, 1) as index:
        place = builder.fptosi(builder.load(code.at(places, (index, lead))), WORD)
        rest = code.spread(builder.load(code.at(rests, (index, lead))), lanes)
        for j, value in enumerate(values):
            entry = code.at(above, place, WORD(j * lanes))
            code.store(builder.fadd(code.load(entry, lanes), value), entry)
            entry = code.at(within, place, WORD(j * lanes))
            builder.store(code.load(entry, lanes), slot)
            code.add_product(rest, value, slot)
            code.store(builder.load(slot), entry)
    builder.ret_void()


def _sum_up_tile(code: Any, arguments: Any, vectors: int, lanes: int) -> None:
    """Running sums. Arguments: to, from, step, first, count, down.

    ``down`` 0: to[t] = first + from[0] + … + from[t - 1]. Else to[t] += from[t + 1] + … + from[count - 1].
    """
    to, source, step, first, count, down = arguments
    builder = code.builder
    sums = code.slots(vectors, lanes)
    going_down = builder.icmp_signed("!=", down, WORD(0))
    with builder.if_then(builder.not_(going_down)):
        for j in range(vectors):
            builder.store(code.load(code.at(first, WORD(j * lanes)), lanes), sums[j])
    with code.loop(WORD(0), count, 1) as index:
        row = builder.select(going_down, builder.sub(builder.sub(count, WORD(1)), index), index)
        for j in range(vectors):
            place = code.at(to, (row, step), WORD(j * lanes))
            before = builder.select(going_down, code.load(place, lanes), code.zero(lanes))
            code.store(builder.fadd(before, builder.load(sums[j])), place)
            more = code.load(code.at(source, (row, step), WORD(j * lanes)), lanes)
            builder.store(builder.fadd(builder.load(sums[j]), more), sums[j])
    builder.ret_void()


def _codegen(write: Callable[..., None], name: str) -> Callable[..., Any]:
    """Make what calls a tile of as many vectors as the first argument says."""

    def codegen(context, builder, signature, arguments):
        lanes = lanes_in(arguments[1].type.pointee)
        call_tile(write, {j: (j, lanes) for j in range(1, VECTORS + 1)}, builder, arguments, name)
        return context.get_dummy_value()

    return codegen


@intrinsic
def _look_up(typingctx, vectors, to, begins, widths, places, rests, lead, count):
    return types.void(_WORD, *[to] * 5, _WORD, _WORD), _codegen(_look_up_tile, "look_up")


@intrinsic
def _give_back(typingctx, vectors, source, above, within, places, rests, lead, count):
    return types.void(_WORD, *[source] * 5, _WORD, _WORD), _codegen(_give_back_tile, "give_back")


@intrinsic
def _sum_up(typingctx, vectors, to, source, step, first, count, down):
    return types.void(_WORD, to, to, _WORD, to, _WORD, _WORD), _codegen(_sum_up_tile, "sum_up")


@register_jitable
def _turn(to, to_step, source, source_step, height, width, s):
    """``to[j, i] = source[i, j]``, source of (height, width) numbers, rows to_step and source_step apart."""
    lanes = lanes_of(to)
    offsets = shift(s, SCRATCH)
    for i in range(0, height, lanes):
        n = min(lanes, height - i)
        whole = width // lanes * lanes if n == lanes else 0
        for r in range(n):
            offsets[r] = (i + r) * source_step
        for j in range(0, whole, lanes):
            transpose_block(shift(to, j * to_step + i), to_step, shift(source, j), offsets)
        for r in range(n):
            for j in range(whole, width):
                to[j * to_step + i + r] = source[(i + r) * source_step + j]


@register_jitable
def _sum_all(to, source, first, bins, step, down):
    """Running sums of one number's bins, all outputs."""
    lanes = lanes_of(to)
    for o in range(0, step, VECTORS * lanes):
        _sum_up(min(VECTORS, (step - o) // lanes), shift(to, o), shift(source, o), step, shift(first, o), bins, down)


@register_jitable
def _bins(m, a, s, i):
    """Return (first code, bins) of a number."""
    fixed = numbers_at(m, s[FIXED])
    return int(fixed[a[8] + 2 * i + 1]), int(fixed[a[8] + 2 * i])


@register_jitable
def _write_tables(m, p, begins, widths, block, width, a, c, s):
    """Fill the tables of ``coded_linear`` from its weights."""
    n_in, n_out, plain = a[2], a[3], a[6]
    _turn(widths, width, shift(p, a[4] + plain), n_in, n_out, n_in - plain, s)
    if c[0] != 1.0:
        for i in range((n_in - plain) * width):
            widths[i] *= number(m, c[0])
    bias = shift(block, lanes_of(m) * width)
    for o in range(2 * width):
        bias[o] = number(m, 0.0)
    for o in range(n_out if a[5] >= 0 else 0):
        bias[o] = p[a[5] + o]
    for i in range(a[7]):
        first, bins = _bins(m, a, s, i)
        start = bias if i == 0 else shift(bias, width)
        _sum_all(shift(begins, first * width), shift(widths, first * width), start, bins, width, 0)


def coded_linear(m, p, g, a, c, s, d):
    """y = W code(x) + b, looked up. What plain features add to y is left to ``linear``.

    a: x, y, inputs of W, outputs, W, b or -1, plain features, coded numbers, bins of each, tables, block, places, rests, gradient of y;
    c: what a code of 1 is, 1 where the network is only evaluated.

    The bins and the first code of each number are constants. The tables are (codes, width) twice: what a bin begins with, and what
    it adds along its width; going back, what all above and what the bin itself gathered. The block has room for a vector of
    rows and two more, (lanes + 2, width). Places and rests of the numbers are (numbers, lead), kept for the way back.
    """
    n_in, n_out, plain, count, lead, lanes = a[2], a[3], a[6], a[7], s[LEAD], lanes_of(m)
    codes, width = n_in - plain, (n_out + lanes - 1) // lanes * lanes
    begins, widths, block = shift(m, a[9]), shift(m, a[9] + codes * width), shift(m, a[10])
    places, rests = shift(m, a[11]), shift(m, a[12])
    if c[1] == 0.0 or s[GOES_ON] == 0:  # while a network is evaluated, its tables stay as they are
        _write_tables(m, p, begins, widths, block, width, a, c, s)
    for i in range(count):
        first, bins = _bins(m, a, s, i)
        x, own_places, own_rests = shift(m, a[0] + (plain + i) * lead), shift(places, i * lead), shift(rests, i * lead)
        n, last = number(m, float(bins)), number(m, float(bins - 1))
        for b in range(s[COLUMNS]):
            t = x[b] * n
            own = min(max(number(m, float(int(t))), number(m, 0.0)), last)
            own_places[b] = (own + number(m, float(first))) * number(m, float(width))
            own_rests[b] = t - own
    y = shift(m, a[1])
    for start in range(0, s[COLUMNS], lanes):
        for b in range(lanes):
            for o in range(0, width, VECTORS * lanes):
                vectors = min(VECTORS, (width - o) // lanes)
                row = start + b
                _look_up(
                    vectors, shift(block, b * width + o), shift(begins, o), shift(widths, o), shift(places, row),
                    shift(rests, row), lead, count,
                )  # fmt: skip
        _turn(shift(y, start), lead, block, width, lanes, n_out, s)


def coded_linear_weights(m, p, g, a, c, s, d):
    """dW, but for plain features, and db. As ``coded_linear``."""
    n_in, n_out, plain, count, lead, lanes = a[2], a[3], a[6], a[7], s[LEAD], lanes_of(m)
    codes, width = n_in - plain, (n_out + lanes - 1) // lanes * lanes
    above, within, block = shift(m, a[9]), shift(m, a[9] + codes * width), shift(m, a[10])
    places, rests, dy, dw = shift(m, a[11]), shift(m, a[12]), shift(m, a[13]), shift(g, a[4])
    for i in range(2 * codes * width):
        above[i] = number(m, 0.0)
    for start in range(0, s[ROWS], lanes):
        _turn(block, width, shift(dy, start), lead, n_out, lanes, s)
        for b in range(min(lanes, s[ROWS] - start)):
            for o in range(0, width, VECTORS * lanes):
                vectors = min(VECTORS, (width - o) // lanes)
                row = start + b
                _give_back(
                    vectors, shift(block, b * width + o), shift(above, o), shift(within, o), shift(places, row),
                    shift(rests, row), lead, count,
                )  # fmt: skip
    for i in range(count):
        first, bins = _bins(m, a, s, i)
        _sum_all(shift(within, first * width), shift(above, first * width), block, bins, width, 1)
    if c[0] != 1.0:
        for i in range(codes * width):
            within[i] *= number(m, c[0])
    if s[GOES_ON] == 1:
        for t in range(codes):
            for o in range(n_out):
                dw[o * n_in + plain + t] += within[t * width + o]
    else:
        _turn(shift(dw, plain), n_in, within, width, codes, n_out, s)
    if a[5] >= 0:
        add_sums(m, g, a[13], a[5], n_out, 0, n_out, s)
