"""Functions to machine code: compiled when first used, once for each number type, and kept in the user's cache folder.

Every kernel has the same signature, ``kernel(m, p, g, a, c, s, d)``:

- ``m``: memory of one batch, activations and their gradients; for an optimizer, its moments.
- ``p``, ``g``: all parameters and all their gradients, flat.
- ``a``, ``c``: the operation's own words (offsets, sizes) and real constants.
- ``s``, ``d``: the state of the batch, words and reals; ``state.py`` names their places.

m, p and g point to numbers of the network's type, float32 or float64; words are int64, reals float64.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from platformdirs import user_cache_path

from plainnet.files import write_text

__all__ = [
    "FAST", "VECTOR_BYTES", "WIDE", "cache_folder", "call", "callable_of", "compiled", "is_cached", "number", "numbers_at", "reals_at",
    "run", "shift", "waits", "words_at",
]  # fmt: skip

#: What LLVM may do to sums of kernels: change their order, fuse a product with its sum. Never assume that NaN cannot be.
FAST = {"reassoc", "contract", "nsz", "arcp"}

_FEATURES = llvm.get_host_cpu_features()
#: 32 vector registers (AVX-512, ARM), or 16.
WIDE = bool(_FEATURES.get("avx512f") or _FEATURES.get("neon"))
VECTOR_BYTES = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16


def _cache_name() -> str:
    """A name that changes with everything the machine code depends on, but the CPU, which Numba looks at itself."""
    digest = hashlib.sha256(f"{numba.__version__} {os.environ.get('NUMBA_CPU_NAME', '')}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return f"kernels-{digest.hexdigest()[:16]}"


@functools.cache
def cache_folder() -> Path | None:
    """Return the folder that keeps the machine code, made if need be; None where none can be written."""
    base = os.environ.get("PLAINNET_CACHE_DIR")
    folder = (Path(base) if base else user_cache_path("plainnet", appauthor=False)) / _cache_name()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_own = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()  # machine code of others is not run
    except OSError:
        return None
    return folder if is_own and os.access(folder, os.W_OK) else None


@contextmanager
def _caching() -> Iterator[dict[str, bool]]:
    """Have Numba keep what is declared in the block in our folder, and leave its own setting as it was."""
    folder, before = cache_folder(), numba.config.CACHE_DIR
    if folder is None:
        yield {}
        return
    numba.config.CACHE_DIR = str(folder)
    try:
        yield {"cache": True}
    finally:
        numba.config.CACHE_DIR = before


def _signature(kernel: Callable[..., Any], dtype: str) -> Any:
    numbers = types.CPointer(types.float32 if dtype == "float32" else types.float64)
    words, reals = types.CPointer(types.int64), types.CPointer(types.float64)
    if kernel.__module__.endswith(".driver"):
        return types.int64(numbers, words, reals, types.int64, types.int64)
    return types.void(numbers, numbers, numbers, words, reals, words, reals)


_kept: dict[tuple[Callable[..., Any], str], Any] = {}
_lock = threading.Lock()


def compiled(kernel: Callable[..., Any], dtype: str) -> Any:
    """Compile a kernel, or a function of the driver, for numbers of a type, 'float32' or 'float64'.

    Returns:
        Numba's function object: its ``address`` is what a program is made of.
    """
    found = _kept.get((kernel, dtype))
    if found is None:
        with _lock:
            try:
                found = _compile(kernel, dtype)
            except Exception:  # noqa: BLE001 - a damaged cache file raises whatever its bytes lead to; a faulty kernel raises again
                for path in cached_files(kernel):
                    path.unlink(missing_ok=True)
                found = _compile(kernel, dtype)
            _kept[kernel, dtype] = found
    return found


def _compile(kernel: Callable[..., Any], dtype: str) -> Any:
    fast = set() if kernel.__module__.endswith(".driver") else FAST  # the driver looks for NaN
    with _caching() as options:
        decorate = numba.cfunc(_signature(kernel, dtype), nopython=True, error_model="numpy", fastmath=fast, **options)
        return decorate(kernel)


def cached_files(kernel: Callable[..., Any]) -> list[Path]:
    """Return the files that hold a kernel's machine code."""
    folder = cache_folder()
    patterns = (f"*.{kernel.__qualname__}-*.{end}" for end in ("nb[ic]", "nbc.*"))
    return [] if folder is None else [path for pattern in patterns for path in folder.rglob(pattern)]


_PROTOTYPE = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 2)


def callable_of(function: Callable[..., Any], dtype: str) -> Callable[..., int]:
    """Return a function of the driver as ctypes calls it, with (None, address of words, address of reals, a, b), without Python's lock."""
    return _PROTOTYPE(compiled(function, dtype).address)


def run(
    function: Callable[..., Any], dtype: str, words: npt.NDArray[Any], reals: npt.NDArray[Any], a: int, b: int = 0
) -> int:
    """Call a function of the driver on its words and reals. Other Python threads run meanwhile."""
    return int(callable_of(function, dtype)(None, words.ctypes.data, reals.ctypes.data, a, b))


def is_cached(kernel: Callable[..., Any], dtype: str) -> bool:
    """Whether a kernel's machine code is loaded or in the cache folder, so that using it costs milliseconds."""
    return (kernel, dtype) in _kept or bool(cached_files(kernel))


def waits(seconds: float, compile_seconds: float) -> bool:
    """Whether to do without compiling once more, for work that takes ``seconds`` without it.

    Each such piece of work alone may be shorter than compiling; when all so far together are longer, it is time to compile,
    and at most twice the best is lost, whatever comes. The sum is kept beside the machine code.
    """
    folder = cache_folder()
    if folder is None or seconds >= compile_seconds:
        return False
    path = folder / "seconds-without"
    try:
        so_far = float(path.read_text())
    except (OSError, ValueError):
        so_far = 0.0
    if so_far + seconds >= compile_seconds:
        return False
    with contextlib.suppress(OSError):
        write_text(path, f"{so_far + seconds}")
    return True


@intrinsic
def number(typingctx, like, value):
    """``value`` as a number of the type of ``like``, a number or a pointer to numbers: literals are float64 otherwise."""
    kind = like.dtype if isinstance(like, types.CPointer) else like

    def codegen(context, builder, signature, arguments):
        return context.cast(builder, arguments[1], signature.args[1], kind)

    return kind(like, value), codegen


@intrinsic
def shift(typingctx, pointer, offset):
    """``pointer + offset``, in numbers."""

    def codegen(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return pointer(pointer, types.int64), codegen


def _pointer(kind: Any) -> Any:
    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[-1], context.get_value_type(kind))

    return codegen


@intrinsic
def numbers_at(typingctx, like, word):
    """The numbers, of the type that ``like`` points to, at an address."""
    return like(like, types.int64), _pointer(like)


@intrinsic
def words_at(typingctx, word):
    """The words at an address."""
    kind = types.CPointer(types.int64)
    return kind(types.int64), _pointer(kind)


@intrinsic
def reals_at(typingctx, word):
    """The reals at an address."""
    kind = types.CPointer(types.float64)
    return kind(types.int64), _pointer(kind)


@intrinsic
def call(typingctx, kernel, m, p, g, a, c, s, d):
    """Call the kernel at an address."""
    signature = types.void(types.int64, m, p, g, a, c, s, d)

    def codegen(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments[1:]])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return signature, codegen
