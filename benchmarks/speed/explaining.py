"""How long explanations and a report take: 50 columns, 10 000 rows, a single network and a pack of 18. Prints a table.

The aims, on two quiet cores: the importance of a single network's columns in 5 s, a report in 3 s.
"""

import os
import platform
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import polars as pl

from plainnet import NetClassifier
from plainnet.evaluation.explain import partial_dependence, permutation_importance
from plainnet.evaluation.shapley import explain_row
from plainnet.runs.again import report_again
from plainnet.runs.train_run import train_run

ROWS, COLUMNS = 10_000, 50


def table():
    rng = np.random.RandomState(0)
    x = {f"c{k}": rng.randn(ROWS) for k in range(COLUMNS)}
    return pl.DataFrame(x | {"y": np.where(x["c0"] + x["c1"] * x["c2"] + rng.randn(ROWS) > 0, "yes", "no")})


def seconds(work, *arguments, repeats=3):
    work(*arguments)
    taken = []
    for _ in range(repeats):
        started = perf_counter()
        work(*arguments)
        taken.append(perf_counter() - started)
    return median(taken)


def main():
    rows = table()
    print(f"{platform.machine()}, {os.cpu_count()} cores, {ROWS:,} rows, {COLUMNS} columns; medians of 3\n")
    print("| work | networks | rows | s |\n|---|---|---|---|")
    for members in (1, None):
        fitted = NetClassifier(members=members, epochs=3).fit(rows, "y")
        n = len(fitted.members_)
        measured = permutation_importance(fitted, rows, "y", n_repeats=1).rows
        print(
            f"| importance, 10 shuffles | {n} | {measured:,} | {seconds(permutation_importance, fitted, rows, 'y'):.2f} |"
        )
        print(f"| partial dependence of a column | {n} | 500 | {seconds(partial_dependence, fitted, rows, 'c0'):.2f} |")
        print(f"| one row, 200 orders | {n} | 100 | {seconds(explain_row, fitted, rows[:1], rows):.2f} |")
    with tempfile.TemporaryDirectory() as folder:
        rows.write_csv(Path(folder) / "table.csv")
        run = train_run(Path(folder) / "table.csv", "y", Path(folder) / "run", settings={"epochs": 3})
        size = (run.path / "report.html").stat().st_size
        print(
            f"| report, {size / 2**10:.0f} KiB, reading the table again included | 18 | 2,000 | {seconds(lambda: report_again(run)):.2f} |"
        )


if __name__ == "__main__":
    main()
