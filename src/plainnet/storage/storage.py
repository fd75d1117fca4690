"""The model file: tensors as safetensors, everything else as readable JSON in its header.

A safetensors file is 8 bytes (the header's length, little endian), the header (JSON: name -> dtype, shape, place), then
the numbers. Our JSON stands in the header under ``__metadata__`` / ``plainnet`` and begins with the format's number. It
holds data and never code, so that reading a file from a stranger can do no more than fail.
Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, deserialize

from plainnet.errors import ModelFileError
from plainnet.files import replacing
from plainnet.storage.content import problem_of

__all__ = ["FORMAT", "OTHER_COPY", "plain", "read_model", "write_model"]

Numbers = npt.NDArray[np.float32]

#: Grows by one with every change that older versions cannot read.
FORMAT = 2

#: What helps where a file is damaged.
OTHER_COPY = "Take it from a copy, or train again."

#: Largest header that is read, in bytes: a schema of 10 000 columns is about a tenth of it.
MOST_HEADER_BYTES = 16 * 2**20


def write_model(path: str | Path, content: Mapping[str, Any], tensors: Mapping[str, Numbers]) -> None:
    """Write a model file, complete or not at all. The same content gives the same bytes.

    Args:
        path: the file to write.
        content: plain values: what JSON can hold.
        tensors: by name.

    Raises:
        RunError: the file cannot be written.
    """
    from safetensors.numpy import save

    header = json.dumps({"format": FORMAT, **content}, ensure_ascii=False, allow_nan=False)
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        # One entry: safetensors writes several in no fixed order.
        temporary.write_bytes(save(contiguous, metadata={"plainnet": header}))


def read_model(path: str | Path) -> tuple[dict[str, Any], dict[str, Numbers]]:
    """Read a model file that ``write_model`` wrote.

    Raises:
        ModelFileError: the file is missing, is no plainnet model, is damaged, or was written by a newer version.
    """
    path = Path(path)
    data = _read_whole(path)
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        found = deserialize(data)  # type: ignore[no-untyped-call]  # it refuses tensors that overlap, leave gaps, or lie outside the file
        metadata = header.get("__metadata__") or {}
        if "plainnet" not in metadata:
            raise ModelFileError(
                f"{str(path)!r} is a safetensors file, but not one that plainnet wrote. Name a model file, or a run folder."
            )
        content = json.loads(metadata["plainnet"])
    except (SafetensorError, ValueError, RecursionError, AttributeError) as error:
        raise ModelFileError(
            f"{str(path)!r} is damaged or no model file: {str(error) or 'nested too deep'}. {OTHER_COPY}"
        ) from error
    number = content.get("format") if isinstance(content, dict) else None
    if type(number) is not int or number < 1:
        raise ModelFileError(f"{str(path)!r} is damaged: its plainnet header has no format number. {OTHER_COPY}")
    if number > FORMAT:
        raise ModelFileError(
            f"{str(path)!r} has format {number}, and this version of plainnet reads up to {FORMAT}. "
            "Run: pip install --upgrade plainnet"
        )
    if wrong := problem_of(content):
        raise ModelFileError(f"{str(path)!r} is damaged: {wrong}. {OTHER_COPY}")
    tensors = {}
    for name, entry in found:
        if entry["dtype"] != "F32":
            raise ModelFileError(
                f"{str(path)!r} is damaged: its weights {name!r:.40} are {entry['dtype']}, not float32. {OTHER_COPY}"
            )
        tensors[name] = np.frombuffer(entry["data"], dtype="<f4").reshape(entry["shape"])
    if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ModelFileError(f"{str(path)!r} is damaged: its weights are not finite float32 numbers. {OTHER_COPY}")
    return content, tensors


def _read_whole(path: Path) -> bytes:
    """Read a model file, opened once, so that it cannot become another between two looks; its header's length is checked first.

    Raises:
        ModelFileError: the file is missing, no plain file, has a second name, is too short, or announces a header that cannot be.
    """
    try:
        # Not to wait for somebody to write where the path is a named pipe.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise ModelFileError(f"{str(path)!r} is no file but a pipe or a device; copy the model to a file.")
            if facts.st_nlink > 1:
                raise ModelFileError(
                    f"{str(path)!r} has {facts.st_nlink} names (hard links), and could be changed by any of them: read a copy."
                )
            start = file.read(8)
            n_bytes = int.from_bytes(start, "little")
            if facts.st_size < 8 or n_bytes > facts.st_size - 8:
                raise ModelFileError(
                    f"{str(path)!r} is no plainnet model, or it is truncated: it has {facts.st_size} bytes. {OTHER_COPY}"
                )
            if n_bytes > MOST_HEADER_BYTES:
                raise ModelFileError(
                    f"{str(path)!r} announces a header of {n_bytes:,} bytes; at most {MOST_HEADER_BYTES:,} are read. {OTHER_COPY}"
                )
            return start + file.read()
    except OSError as error:
        reason = "it is a folder; name the model file in it" if path.is_dir() else error.strerror or error
        raise ModelFileError(f"the model file {str(path)!r} cannot be read: {reason}.") from error


def plain(value: Any) -> Any:
    """Return a setting as JSON can hold it: NumPy's numbers as Python's, a dict as pairs, since JSON's keys are text.

    >>> plain({np.int64(0): 1, "b": np.float32(0.5)})
    [[0, 1], ['b', 0.5]]
    """
    if isinstance(value, Mapping):
        return [[plain(key), plain(each)] for key, each in value.items()]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(each) for each in value]
    return value.item() if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 else value
