"""Products of matrices in registers: the two tiles that every layer's forward and backward pass is made of.

Numba's own loops reach a third of a core's arithmetic here; these tiles, written as LLVM vectors, most of it. Both keep up
to 4 × 4 vectors of sums in registers while they walk along the common dimension k:

- ``multiply_rows``: C[i, j] = Σ_k A[i, k] B[k, j]. The vectors lie along j: each step loads a piece of a row of B and
  multiplies it by single numbers of A, which may lie at any stride (so A may be transposed for nothing).
- ``multiply_dots``: C[i, j] = Σ_k A[i, k] B[j, k]. The vectors lie along k: each sum is added up across its lanes at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from plainnet.kernels.kernels import VECTOR_BYTES, WIDE, shift

__all__ = ["WORD", "call_tile", "lanes_in", "lanes_of", "multiply_dots", "multiply_rows", "transpose_block"]

#: Rows and columns of a tile: 16 sums, 4 loads and a multiplier fit 32 registers; 12 and 3 and one fit 16.
ROWS, COLUMNS = 4, 4 if WIDE else 3

WORD = ir.IntType(64)


class _Code:
    """A tile being written: an LLVM function, and the few instructions it needs."""

    def __init__(self, function: Any, number: Any) -> None:
        self.builder = ir.IRBuilder(function.append_basic_block("entry"))
        self.number = number

    def vector(self, lanes: int) -> Any:
        return ir.VectorType(self.number, lanes) if lanes > 1 else self.number

    def zero(self, lanes: int) -> Any:
        return ir.Constant(self.vector(lanes), [0.0] * lanes if lanes > 1 else 0.0)

    def at(self, pointer: Any, *products: tuple[Any, Any] | Any) -> Any:
        """``pointer + Σ products``, a product being a word or a pair of words to multiply."""
        for part in products:
            offset = self.builder.mul(*part) if isinstance(part, tuple) else part
            pointer = self.builder.gep(pointer, [offset], inbounds=True)
        return pointer

    def load(self, pointer: Any, lanes: int) -> Any:
        loaded = self.builder.load(self.builder.bitcast(pointer, self.vector(lanes).as_pointer()))
        loaded.align = 4 if isinstance(self.number, ir.FloatType) else 8
        return loaded

    def store(self, value: Any, pointer: Any) -> None:
        stored = self.builder.store(value, self.builder.bitcast(pointer, value.type.as_pointer()))
        stored.align = 4 if isinstance(self.number, ir.FloatType) else 8

    def spread(self, number: Any, lanes: int) -> Any:
        """The number in every lane."""
        if lanes == 1:
            return number
        one = self.builder.insert_element(ir.Constant(self.vector(lanes), ir.Undefined), number, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
        return self.builder.shuffle_vector(one, ir.Constant(self.vector(lanes), ir.Undefined), zeros)

    def total(self, value: Any, lanes: int) -> Any:
        """The sum over the lanes, by halves: always in the same order."""
        while lanes > 1:
            lanes //= 2
            value = self.builder.fadd(self.pick(value, range(lanes)), self.pick(value, range(lanes, 2 * lanes)))
        is_vector = isinstance(value.type, ir.VectorType)
        return self.builder.extract_element(value, ir.IntType(32)(0)) if is_vector else value

    def totals(self, values: list[Any], lanes: int) -> list[Any]:
        """The sum over the lanes of each vector. Four at once: as a transposition, a third of the instructions."""
        if len(values) < 3 or lanes < 4:
            return [self.total(value, lanes) for value in values]
        a, b, c, d = [*values, values[-1]][:4]
        pairs = [self.join(a, b, 1), self.join(c, d, 1)]  # a0+a1 b0+b1 a2+a3 …, and of c and d
        fours = self.join(*pairs, 2)  # in each run of 4 lanes: a sum of a, of b, of c, of d
        while lanes > 4:
            lanes //= 2
            fours = self.builder.fadd(self.pick(fours, range(lanes)), self.pick(fours, range(lanes, 2 * lanes)))
        return [self.builder.extract_element(fours, ir.IntType(32)(j)) for j in range(len(values))]

    def pick(self, value: Any, lanes: Any, other: Any = None) -> Any:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
        other = ir.Constant(value.type, ir.Undefined) if other is None else other
        return self.builder.shuffle_vector(value, other, mask)

    def join(self, a: Any, b: Any, width: int) -> Any:
        """Add neighbouring runs of ``width`` lanes of a and of b; the sums of a and b take turns."""
        n = a.type.count
        low, high = [], []
        for first in range(0, n, 2 * width):
            low += [*range(first, first + width), *range(n + first, n + first + width)]
            high += [*range(first + width, first + 2 * width), *range(n + first + width, n + first + 2 * width)]
        return self.builder.fadd(self.pick(a, low, b), self.pick(a, high, b))

    def add_product(self, a: Any, b: Any, slot: Any) -> None:
        """``slot += a * b``, rounded once."""
        kind = a.type
        size = "f32" if isinstance(self.number, ir.FloatType) else "f64"
        name = f"llvm.fma.v{kind.count}{size}" if isinstance(kind, ir.VectorType) else f"llvm.fma.{size}"
        fma = cgutils.get_or_insert_function(self.builder.module, ir.FunctionType(kind, [kind] * 3), name)
        self.builder.store(self.builder.call(fma, [a, b, self.builder.load(slot)]), slot)

    def slots(self, count: int, lanes: int) -> list[Any]:
        """Sums that start at 0, which LLVM keeps in registers."""
        slots = [self.builder.alloca(self.vector(lanes)) for _ in range(count)]
        for slot in slots:
            self.builder.store(self.zero(lanes), slot)
        return slots

    @contextmanager
    def loop(self, start: Any, stop: Any, step: int) -> Iterator[Any]:
        """``for index in range(start, stop, step)``; the block's value is the index."""
        block = self.builder.function.append_basic_block
        head, body, end = block("head"), block("body"), block("end")
        entry = self.builder.block
        self.builder.branch(head)
        self.builder.position_at_end(head)
        index = self.builder.phi(WORD)
        index.add_incoming(start, entry)
        self.builder.cbranch(self.builder.icmp_signed("<", index, stop), body, end)
        self.builder.position_at_end(body)
        yield index
        index.add_incoming(self.builder.add(index, WORD(step)), self.builder.block)
        self.builder.branch(head)
        self.builder.position_at_end(end)


def _rows_tile(code: _Code, arguments: Any, rows: int, vectors: int, lanes: int) -> None:
    c, ldc, a, step_i, step_k, b, ldb, k, begin, bias = arguments
    builder = code.builder
    sums = code.slots(rows * vectors, lanes)
    with builder.if_then(builder.icmp_signed("==", begin, WORD(1))):  # go on from C
        for i in range(rows):
            for j in range(vectors):
                value = code.load(code.at(c, (WORD(i), ldc), WORD(j * lanes)), lanes)
                builder.store(value, sums[i * vectors + j])
    with builder.if_then(builder.icmp_signed("==", begin, WORD(2))):  # begin with the bias of the row
        for i in range(rows):
            value = code.spread(builder.load(code.at(bias, WORD(i))), lanes)
            for j in range(vectors):
                builder.store(value, sums[i * vectors + j])
    starts = [code.at(a, (WORD(i), step_i)) for i in range(rows)]
    with code.loop(WORD(0), k, 1) as index:
        row = code.at(b, (index, ldb))
        pieces = [code.load(code.at(row, WORD(j * lanes)), lanes) for j in range(vectors)]
        for i in range(rows):
            factor = code.spread(builder.load(code.at(starts[i], (index, step_k))), lanes)
            for j in range(vectors):
                code.add_product(factor, pieces[j], sums[i * vectors + j])
    for i in range(rows):
        for j in range(vectors):
            code.store(builder.load(sums[i * vectors + j]), code.at(c, (WORD(i), ldc), WORD(j * lanes)))
    builder.ret_void()


def _dots_tile(code: _Code, arguments: Any, rows: int, columns: int, lanes: int) -> None:
    c, ldc, a, lda, b, ldb, k, begin = arguments
    builder = code.builder
    sums = code.slots(rows * columns, lanes)
    a_rows = [code.at(a, (WORD(i), lda)) for i in range(rows)]
    b_rows = [code.at(b, (WORD(j), ldb)) for j in range(columns)]

    def add(index: Any, lanes: int, slots: list[Any]) -> None:
        pieces = [code.load(code.at(row, index), lanes) for row in b_rows]
        for i, row in enumerate(a_rows):
            factor = code.load(code.at(row, index), lanes)
            for j in range(columns):
                code.add_product(factor, pieces[j], slots[i * columns + j])

    whole = builder.and_(k, WORD(-lanes))
    with code.loop(WORD(0), whole, lanes) as index:
        add(index, lanes, sums)
    rests = code.slots(rows * columns, 1)
    for i in range(rows):
        values = [builder.load(slot) for slot in sums[i * columns : (i + 1) * columns]]
        for j, value in enumerate(code.totals(values, lanes)):
            builder.store(value, rests[i * columns + j])
    with code.loop(whole, k, 1) as index:
        add(index, 1, rests)
    goes_on = builder.icmp_signed("==", begin, WORD(1))
    for i in range(rows):
        for j in range(columns):
            place = code.at(c, (WORD(i), ldc), WORD(j))
            rest = rests[i * columns + j]
            with builder.if_then(goes_on):
                builder.store(builder.fadd(builder.load(rest), builder.load(place)), rest)
            builder.store(builder.load(rest), place)
    builder.ret_void()


def _call(write: Callable[..., None], shape: tuple[int, ...], builder: Any, operands: Any, name: str) -> None:
    """Call the function that ``write`` writes for a shape, once a module."""
    number = operands[0].type.pointee
    full_name = f"plainnet.{name}.{number}." + ".".join(map(str, shape))
    function = builder.module.globals.get(full_name)
    if function is None:
        signature = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
        function = ir.Function(builder.module, signature, full_name)
        function.linkage = "linkonce_odr"
        write(_Code(function, number), function.args, *shape)
    builder.call(function, operands)


def call_tile(
    write: Callable[..., None], kinds: dict[int, tuple[int, ...]], builder: Any, arguments: Any, name: str
) -> None:
    """Call the tile whose number is the first argument; ``kinds`` maps it to the shape to write it for."""
    kind, *operands = arguments
    end = builder.append_basic_block("tile.end")
    switch = builder.switch(kind, end)
    for key, shape in kinds.items():
        block = builder.append_basic_block("tile")
        switch.add_case(kind.type(key), block)
        builder.position_at_end(block)
        _call(write, shape, builder, operands, name)
        builder.branch(end)
    builder.position_at_end(end)


@intrinsic
def transpose_block(typingctx, to, lead, source, offsets):
    """Copy a square block, as many rows as a vector has lanes, turned: ``to[f lead + b] = source[offsets[b] + f]``."""

    def codegen(context, builder, signature, arguments):
        _call(_write_transposition, (lanes_in(arguments[0].type.pointee),), builder, arguments, "turn")
        return context.get_dummy_value()

    words = types.CPointer(types.int64)
    return types.void(to, types.int64, to, words), codegen


def _write_transposition(code: _Code, arguments: Any, n: int) -> None:
    to, lead, source, offsets = arguments
    rows = [code.load(code.at(source, code.builder.load(code.at(offsets, WORD(i)))), n) for i in range(n)]
    half = n // 2
    while half:  # swap the off-diagonal blocks of each square of 2 · half rows
        for i in (i for i in range(n) if not i & half):
            a, b = rows[i], rows[i + half]
            rows[i] = code.pick(a, [j if not j & half else n + j - half for j in range(n)], b)
            rows[i + half] = code.pick(a, [j + half if not j & half else n + j for j in range(n)], b)
        half //= 2
    for i, row in enumerate(rows):
        code.store(row, code.at(to, (WORD(i), lead)))
    code.builder.ret_void()


def lanes_in(number: Any) -> int:
    """Numbers of an LLVM type in a vector."""
    return VECTOR_BYTES // (4 if isinstance(number, ir.FloatType) else 8)


@intrinsic
def lanes_of(typingctx, pointer):
    """Numbers of the pointed-to type in a vector."""

    def codegen(context, builder, signature, arguments):
        return WORD(lanes_in(arguments[0].type.pointee))

    return types.int64(pointer), codegen


@intrinsic
def _tile_rows(typingctx, kind, c, ldc, a, step_i, step_k, b, ldb, k, begin, bias):
    words = [types.int64] * 4
    signature = types.void(words[0], c, words[0], c, *words[:2], c, *words[:3], c)

    def codegen(context, builder, signature, arguments):
        lanes = lanes_in(arguments[1].type.pointee)
        kinds = {100 * lanes + 10 * i + j: (i, j, lanes) for i in range(1, ROWS + 1) for j in range(1, COLUMNS + 1)}
        while lanes > 1:  # what is left of a row of C, by halves
            lanes //= 2
            kinds |= {100 * lanes + 10 * i + 1: (i, 1, lanes) for i in range(1, ROWS + 1)}
        call_tile(_rows_tile, kinds, builder, arguments, "rows")
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _tile_dots(typingctx, kind, c, ldc, a, lda, b, ldb, k, begin):
    words = [types.int64] * 3
    signature = types.void(words[0], c, words[0], c, words[0], c, *words)

    def codegen(context, builder, signature, arguments):
        lanes = lanes_in(arguments[1].type.pointee)
        kinds = {10 * i + j: (i, j, lanes) for i in range(1, ROWS + 1) for j in range(1, COLUMNS + 1)}
        call_tile(_dots_tile, kinds, builder, arguments, "dots")
        return context.get_dummy_value()

    return signature, codegen


@register_jitable(error_model="numpy")
def multiply_rows(c, ldc, a, step_i, step_k, b, ldb, m, n, k, begin, bias):
    """C (m, n) = A (m, k) B (k, n). A's numbers lie step_i and step_k apart; rows of B and C are contiguous.

    ``begin`` 0: from zero; 1: added to C; 2: from the bias of the row, ``bias`` (m,).
    """
    lanes = lanes_of(c)
    j = 0
    while j < n:
        vectors = min((n - j) // lanes, COLUMNS)
        width = lanes
        if vectors == 0:
            vectors = 1
            while width > n - j:
                width //= 2
        for i in range(0, m, ROWS):
            kind = 100 * width + 10 * min(ROWS, m - i) + vectors
            to, left = shift(c, i * ldc + j), shift(a, i * step_i)
            _tile_rows(kind, to, ldc, left, step_i, step_k, shift(b, j), ldb, k, begin, shift(bias, i))
        j += vectors * width


@register_jitable(error_model="numpy")
def multiply_dots(c, ldc, a, lda, b, ldb, m, n, k, begin):
    """C (m, n) = A (m, k) B (n, k)ᵀ; rows are contiguous. ``begin`` 0: from zero; 1: added to C."""
    for i in range(0, m, ROWS):
        for j in range(0, n, COLUMNS):
            kind = 10 * min(ROWS, m - i) + min(COLUMNS, n - j)
            _tile_dots(kind, shift(c, i * ldc + j), ldc, shift(a, i * lda), lda, shift(b, j * ldb), ldb, k, begin)
