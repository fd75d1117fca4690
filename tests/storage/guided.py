"""Model files with mistakes in them, led by coverage: what reaches new lines of the reader is changed further.

``pip install atheris``, then ``python -m tests.storage.guided -runs=100000``; the options are libFuzzer's. Anything but our errors ends it,
and the file that did it is kept.
"""

import random
import sys
import tempfile
import warnings
from pathlib import Path

import atheris

SOURCES = Path(__file__).parents[2] / "src/plainnet"
#: Numba reads their bytecode itself.
COMPILED = [f"plainnet.{path.parent.name}.{path.stem}" for path in SOURCES.glob("kernels/*.py")]

with atheris.instrument_imports(include=["plainnet"], exclude=COMPILED):
    from plainnet.errors import PlainnetWarning
    from tests.helpers import people
    from tests.storage.fuzz import GOLDEN, mutated, outcome

    TABLE = people(rows=6)
    warnings.simplefilter("ignore", PlainnetWarning)
    for each in GOLDEN:
        outcome(each, TABLE)  # plainnet imports what it reads with when it reads


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Make mistakes where they are worth something: bytes alone would end at the header's length."""
    return mutated(data, random.Random(seed))[:most]  # noqa: S311 - no secrets


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as corpus:
        for path in GOLDEN:
            (Path(corpus) / path.name).write_bytes(path.read_bytes())
        model = Path(folder) / "model.safetensors"

        def read(data: bytes) -> None:
            model.write_bytes(data)
            outcome(model, TABLE)

        largest = max(path.stat().st_size for path in GOLDEN)
        atheris.Setup([*sys.argv, f"-max_len={2 * largest}", corpus], read, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
