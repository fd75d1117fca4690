"""The model file: tensors as safetensors, everything else as readable JSON in its header.

A safetensors file is 8 bytes (the header's length, little endian), the header (JSON: name -> dtype, shape, place), then
the numbers. Our JSON stands in the header under ``__metadata__`` / ``plainnet`` and begins with the format's number. It
holds data and never code, so that reading a file from a stranger can do no more than fail.
Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from plainnet.errors import ModelFileError
from plainnet.files import replacing

__all__ = ["FORMAT", "plain", "read_model", "write_model"]

Numbers = npt.NDArray[np.float32]

#: Grows by one with every change that older versions cannot read.
FORMAT = 2

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
    from safetensors.numpy import save_file

    header = json.dumps({"format": FORMAT, **content}, ensure_ascii=False, allow_nan=False)
    contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    with replacing(path) as temporary:
        # One entry: safetensors writes several in no fixed order.
        save_file(contiguous, temporary, metadata={"plainnet": header})


def read_model(path: str | Path) -> tuple[dict[str, Any], dict[str, Numbers]]:
    """Read a model file that ``write_model`` wrote.

    Raises:
        ModelFileError: the file is missing, is no plainnet model, is damaged, or was written by a newer version.
    """
    path = Path(path)
    check_header(path)
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
            if "plainnet" not in metadata:
                raise ModelFileError(f"{str(path)!r} is a safetensors file, but not one that plainnet wrote.")
            content = json.loads(metadata["plainnet"])
            if not isinstance(content, dict) or not isinstance(content.get("format"), int):
                raise ModelFileError(f"{str(path)!r} is damaged: its plainnet header has no format number.")
            if content["format"] > FORMAT:
                raise ModelFileError(
                    f"{str(path)!r} has format {content['format']}, and this version of plainnet reads up to {FORMAT}. "
                    "Run: pip install --upgrade plainnet"
                )
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{str(path)!r} is damaged or no model file: {error}.") from error
    if any(tensor.dtype != np.float32 or not np.isfinite(tensor).all() for tensor in tensors.values()):
        raise ModelFileError(f"{str(path)!r} is damaged: its weights are not finite float32 numbers.")
    return content, tensors


def check_header(path: Path) -> None:
    """Check the file's first 8 bytes against its size, before anything is read into memory.

    Raises:
        ModelFileError: the file is missing, a folder, too short, or announces a header that cannot be.
    """
    try:
        if path.is_dir():
            raise ModelFileError(f"{str(path)!r} is a folder; name the model file in it.")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            n_bytes = int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise ModelFileError(f"the model file {str(path)!r} cannot be read: {error.strerror or error}.") from error
    if size < 8 or n_bytes > size - 8:
        raise ModelFileError(f"{str(path)!r} is no plainnet model, or it is truncated: it has {size} bytes.")
    if n_bytes > MOST_HEADER_BYTES:
        raise ModelFileError(
            f"{str(path)!r} announces a header of {n_bytes:,} bytes; at most {MOST_HEADER_BYTES:,} are read."
        )


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
