"""Threads that share the work of a step: atomic counters, and how units of work are given out.

The driver publishes a phase (a kind of work and a number of units), takes units itself, and goes on when all are done. Helpers
take units, too, whenever they run: one that the system has put to sleep holds nobody up, unless in the middle of a unit. What
a unit computes never depends on who computes it, so results are the same to the last bit for any number of threads.
"""

from __future__ import annotations

import ctypes
import os

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, register_jitable

from plainnet.kernels.kernels import VECTOR_BYTES

__all__ = ["add", "get", "pause", "publish", "put", "take", "yield_address"]

# Places in the crew's words: the ticket (phase number · 2³² + next unit), units done, then for each of the last phases its
# number, its kind, its units. Each on a cache line of its own.
TICKET, DONE_UNITS, PHASES = 0, 8, 16
N_PHASES = 8
N_CREW_WORDS = PHASES + 8 * N_PHASES

_UNIT = 2**32


def yield_address() -> int:
    """Return the address of the system's function that lets another thread run; 0 where it is not found."""
    name, library = ("SwitchToThread", "kernel32") if os.name == "nt" else ("sched_yield", None)
    try:
        return ctypes.cast(getattr(ctypes.CDLL(library), name), ctypes.c_void_p).value or 0
    except (OSError, AttributeError):
        return 0


_IS_X86 = VECTOR_BYTES >= 32  # pause is an instruction of x86; AVX tells


@intrinsic
def add(typingctx, words, place, amount):
    """``words[place] += amount`` at once, seen by all threads; returns the value before."""

    def codegen(context, builder, signature, arguments):
        pointer = builder.gep(arguments[0], [arguments[1]])
        return builder.atomic_rmw("add", pointer, arguments[2], "seq_cst")

    return types.int64(words, types.int64, types.int64), codegen


@intrinsic
def get(typingctx, words, place):
    """``words[place]``, as the other threads left it, with all they wrote before."""

    def codegen(context, builder, signature, arguments):
        return builder.load_atomic(builder.gep(arguments[0], [arguments[1]]), "acquire", 8)

    return types.int64(words, types.int64), codegen


@intrinsic
def put(typingctx, words, place, value):
    """``words[place] = value``, seen by the other threads after all that was written before."""

    def codegen(context, builder, signature, arguments):
        builder.store_atomic(arguments[2], builder.gep(arguments[0], [arguments[1]]), "release", 8)
        return context.get_dummy_value()

    return types.void(words, types.int64, types.int64), codegen


@intrinsic
def pause(typingctx, yield_address, turns):
    """Wait a moment; after many turns, let the system run another thread, by its function at ``yield_address`` (0: none)."""

    def codegen(context, builder, signature, arguments):
        word = ir.IntType(64)
        if _IS_X86:
            function = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"
            )
            builder.call(function, [])
        long = builder.icmp_signed(">", arguments[1], word(2000))
        known = builder.icmp_signed("!=", arguments[0], word(0))
        with builder.if_then(builder.and_(long, known)):
            kind = ir.FunctionType(ir.IntType(32), [])
            builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@register_jitable
def publish(crew, kind, units):
    """Begin a phase; return its number."""
    phase = get(crew, TICKET) // _UNIT + 1
    slot = PHASES + 8 * (phase % N_PHASES)
    put(crew, slot, -1)  # who still holds the number of eight phases ago must not read a mixture
    put(crew, slot + 1, kind)
    put(crew, slot + 2, units)
    put(crew, slot, phase)
    put(crew, DONE_UNITS, 0)
    put(crew, TICKET, phase * _UNIT)
    return phase


@register_jitable
def take(crew):
    """Take a unit of the current phase; return (its kind, its number), or a number of -1 where there is none."""
    ticket = get(crew, TICKET)
    slot = PHASES + 8 * ((ticket // _UNIT) % N_PHASES)
    if ticket % _UNIT >= get(crew, slot + 2):
        return 0, -1
    ticket = add(crew, TICKET, 1)
    phase, unit = ticket // _UNIT, ticket % _UNIT
    slot = PHASES + 8 * (phase % N_PHASES)
    kind, units = get(crew, slot + 1), get(crew, slot + 2)
    if get(crew, slot) != phase or unit >= units:
        return 0, -1
    return kind, unit
