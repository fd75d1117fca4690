"""What it costs to be watched: the bundled table, learnt with and without a page that looks on, in turn.

    python benchmarks/speed/watched.py [ROUNDS]

Prints the seconds of each round, and the ratio of the medians. The studio promises at most 1.03.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch

import plainnet
from plainnet.samples.samples import ADULT_PATH, ADULT_TARGET
from plainnet.studio.session import Order, Session

ROUNDS = 5


def seconds(on_epochs) -> float:
    """Fit once; the table is encoded anew each time, as it is in a run."""
    adult = plainnet.load_adult()
    started = perf_counter()
    plainnet.NetClassifier(effort="quick").fit(adult, ADULT_TARGET, on_epochs=on_epochs)
    return perf_counter() - started


def watched(folder: Path) -> float:
    """Fit once, with a session that looks on."""
    session = Session(Order(table="adult.csv.gz", target=ADULT_TARGET, effort="quick"), ADULT_PATH, folder, 1)
    classifier = plainnet.NetClassifier(effort="quick")
    adult = plainnet.load_adult()
    started = perf_counter()
    classifier.fit(adult, ADULT_TARGET, on_epochs=lambda *news: session.look(classifier, *news))
    return perf_counter() - started


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    seconds(None)  # compiles
    with TemporaryDirectory() as folder:
        pairs = [(seconds(None), watched(Path(folder))) for _ in range(rounds)]
    for alone, seen in pairs:
        print(f"alone {alone:.3f} s   watched {seen:.3f} s")
    print(f"ratio of the medians {statistics.median(b for _, b in pairs) / statistics.median(a for a, _ in pairs):.3f}")


if __name__ == "__main__":
    main()
