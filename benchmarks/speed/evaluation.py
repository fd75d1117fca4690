"""How long it takes to score N rows with all metrics and their intervals: medians of 5, predictions given.

Prints a table; run it on a quiet machine: ``python benchmarks/speed/evaluation.py``.
"""

from statistics import median
from time import perf_counter

import numpy as np
import polars as pl

from plainnet import NetClassifier, NetRegressor
from plainnet.evaluation.evaluation import score


def seconds(*arguments):
    times = []
    for _ in range(5):
        started = perf_counter()
        score(*arguments)
        times.append(perf_counter() - started)
    return median(times)


def classes(n_rows, n_classes):
    classifier = NetClassifier(members=1, hidden=(), epochs=1)
    classifier.fit(pl.DataFrame({"x": np.arange(3.0 * n_classes)}), np.arange(n_classes).repeat(3))
    random = np.random.RandomState(0)
    codes = random.randint(0, n_classes, n_rows)
    powers = np.exp(np.eye(n_classes)[codes] + random.randn(n_rows, n_classes))
    return classifier, powers / powers.sum(axis=1, keepdims=True), codes, np.full(n_classes, 1 / n_classes)


def numbers(n_rows):
    regressor = NetRegressor(members=1, hidden=(), epochs=1).fit(pl.DataFrame({"x": np.arange(30.0)}), np.arange(30.0))
    random = np.random.RandomState(0)
    y = random.rand(n_rows) + 1
    return regressor, y + random.randn(n_rows), y, np.array([1.5])


if __name__ == "__main__":
    print("| rows | 2 classes | 10 classes | 100 classes | numbers |\n|---|---|---|---|---|")
    for n_rows in (1_000, 10_000, 100_000):
        works = (classes(n_rows, 2), classes(n_rows, 10), classes(n_rows, 100), numbers(n_rows))
        print(f"| {n_rows:,} | " + " | ".join(f"{seconds(*work):.3f} s" for work in works) + " |")
