"""Model files with mistakes in them: each is read, or refused by a ModelFileError, and what is read predicts or says why not.

``python -m tests.storage.fuzz 100000`` tries as many, with at most 256 MiB more memory than the libraries take.
"""

import copy
import json
import random
import resource
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import plainnet
from plainnet.errors import PlainnetError, PlainnetWarning
from tests.helpers import people

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.safetensors"))
JUNK: list[Any] = [
    None, True, False, -1, 0, 1, 2, 7, 2**31, 2**53, 2**70, -(2**63), 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "x", "number",
    "category", "NetRegressor", "x" * 300, [], [0], [None], [1.0, 1.0], [[]], {}, {"x": 1}, {"a": {"b": []}},
]  # fmt: skip


def mutated(original: bytes, draw: random.Random) -> bytes:
    """Return a model file with one to three mistakes: in its bytes, in its tensors' entries, or in its JSON."""
    data = original
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        way = draw.random()
        data = _bytes_changed(data, draw) if way < 0.3 else _header_changed(data, draw, deep=way < 0.9)
    return data


def _bytes_changed(data: bytes, draw: random.Random) -> bytes:
    content, way = bytearray(data), draw.randrange(6)
    place = draw.randrange(len(content)) if content else 0
    if way == 0:
        return data[:place]
    if way == 1:
        return data[:place] + draw.randbytes(draw.randrange(1, 40)) + data[place:]
    if way == 2:
        return data[:place] + data[place + draw.randrange(1, 40) :]
    if way == 3 and len(content) >= 8:
        content[:8] = draw.choice((0, 1, 7, len(content), 2**24, 2**24 + 1, 2**40, 2**63, 2**64 - 1)).to_bytes(
            8, "little"
        )
        return bytes(content)
    for _ in range(draw.choice((1, 1, 4, 50))):
        if content:
            content[draw.randrange(min(len(content), draw.choice((16, 4000, len(content)))))] = draw.randrange(256)
    return bytes(content)


def _header_changed(data: bytes, draw: random.Random, *, deep: bool) -> bytes:
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size])
        content = json.loads(header["__metadata__"]["plainnet"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return data
    for _ in range(draw.choice((1, 1, 2))):
        _change(content if deep else header, draw)
    if deep:
        header["__metadata__"]["plainnet"] = json.dumps(content)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _change(content: Any, draw: random.Random) -> None:
    """Put a mistake somewhere in nested lists and objects."""
    while isinstance(content, dict | list) and content:
        key = draw.choice(list(content) if isinstance(content, dict) else range(len(content)))
        inner = content[key]
        if isinstance(inner, dict | list) and inner and draw.random() < 0.85:
            content = inner
            continue
        way = draw.randrange(5)
        if way == 0:
            del content[key]
        elif way == 1 and isinstance(content, dict):
            content[draw.choice(("x", "kind", "name", "weight"))] = copy.deepcopy(draw.choice(JUNK))
        elif way == 2 and isinstance(content, list):
            content.append(copy.deepcopy(draw.choice(content)))
        elif way == 3 and isinstance(inner, int | float):
            content[key] = inner * draw.choice((-1, 2, 1e9, 1e-9, 1.0))
        else:
            content[key] = copy.deepcopy(draw.choice(JUNK))
        return


def tried(count: int, seed: int) -> Iterator[str]:
    """Try ``count`` files; yield what became of each: 'read', or 'refused'. Anything but our errors goes through."""
    draw, table = random.Random(seed), people(rows=6)  # noqa: S311 - no secrets
    originals = [path.read_bytes() for path in GOLDEN]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", PlainnetWarning)
        path = Path(folder) / "model.safetensors"
        for _ in range(count):
            path.write_bytes(mutated(draw.choice(originals), draw))
            try:
                yield outcome(path, table)
            except PlainnetError:
                raise
            except Exception as error:
                kept = Path(tempfile.gettempdir()) / "plainnet-fuzz.safetensors"
                kept.write_bytes(path.read_bytes())
                raise AssertionError(f"{type(error).__name__} from {kept}") from error


def outcome(path: Path, table: pl.DataFrame) -> str:
    """Read a file and predict: 'read', or 'refused'."""
    try:
        model = plainnet.load(path)
    except plainnet.ModelFileError:
        return "refused"
    try:
        predicted = model.predict(table)
    except (plainnet.ColumnsChangedError, plainnet.TableError):
        return "read"
    assert len(predicted) == table.height
    assert predicted.dtype.kind in "US" or predicted.dtype.kind == "O" or np.isfinite(predicted.astype(float)).all()
    return "read"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    for _ in tried(50, seed=1):  # everything is loaded and compiled
        pass
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 256 * 2**20, resource.RLIM_INFINITY))
    outcomes = list(tried(count, seed=0))
    print({each: outcomes.count(each) for each in set(outcomes)})  # noqa: T201


if __name__ == "__main__":
    main()
