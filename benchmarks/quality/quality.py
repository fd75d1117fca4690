"""Fit plainnet and its peers at their defaults to the tables of the benchmark, and note how well each predicts.

    python benchmarks/quality/quality.py --data ~/tables --peers plainnet,lightgbm --tables adult,titanic --seeds 0

Every fit adds a row to fits.csv beside this file; fits that are there already are not repeated. report.py turns the rows into
results.md and a picture.
"""

import argparse
import csv
import os
import platform
import sys
import traceback
from datetime import date
from pathlib import Path
from time import perf_counter

os.environ.update({f"{name}_NUM_THREADS": "2" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "NUMBA")})
os.environ["POLARS_MAX_THREADS"] = "2"
import numpy as np
import torch
from datasets import TABLES, find, load, split
from peers import PEERS, THREADS
from sklearn.metrics import log_loss, roc_auc_score

FITS = Path(__file__).with_name("fits.csv")
KEY = ("table", "seed", "capped", "peer", "version")
FIELDS = (
    "table", "half", "task", "peer", "seed", "n_train", "n_test", "capped", "error", "log_loss", "calibration_error",
    "fit_seconds", "predict_seconds", "version", "threads", "machine", "date",
)  # fmt: skip
WARM_ROWS = 200


def read_fits(path=FITS):
    """Return the rows so far, as dicts of text."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_fits(rows, path=FITS):
    """Write all rows anew."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def add_fit(row, path=FITS):
    """Append a row."""
    if not path.is_file():
        write_fits([], path)
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.DictWriter(file, FIELDS, lineterminator="\n").writerow(row)


def calibration_error(y, p, bins=15):
    """Expected calibration error of the probabilities of class 1, in bins of equal width.

    >>> calibration_error(np.array([0, 1]), np.array([0.25, 0.75]))
    0.25
    """
    bin_of = np.minimum((p * bins).astype(int), bins - 1)
    gaps = np.bincount(bin_of, p - y, minlength=bins)
    return float(np.abs(gaps).sum() / len(y))


def errors(task, y, predicted):
    """Return error, log-loss and calibration error, "" where the task has none.

    The error is 1 - AUC, the share of wrong classes, or RMSE / σ of the test rows.
    """
    predicted = np.asarray(predicted, dtype=np.float64).reshape(len(y), -1)
    if not np.isfinite(predicted).all():
        raise ValueError("predictions are not finite")
    if task == "regression":
        return np.sqrt(np.mean((predicted[:, 0] - y) ** 2)) / np.std(y), "", ""
    predicted /= predicted.sum(axis=1, keepdims=True)
    loss = log_loss(y, predicted, labels=np.arange(predicted.shape[1]))
    if task == "binary":
        return 1 - roc_auc_score(y, predicted[:, 1]), loss, calibration_error(y, predicted[:, 1])
    return np.mean(predicted.argmax(axis=1) != y), loss, ""


def measure(peer, table, rows, seed):
    """Fit one peer and predict the test rows: the columns of fits.csv that are measured."""
    X_train, X_test = rows.X_train, rows.X_test
    if not peer.is_ours:
        X_train, X_test = X_train.to_pandas(), X_test.to_pandas()
    torch.set_num_threads(THREADS)
    started = perf_counter()
    predict = peer.fit(X_train, rows.y_train, table, seed)
    fitted = perf_counter()
    predicted = predict(X_test)
    done = perf_counter()
    names = ("error", "log_loss", "calibration_error", "fit_seconds", "predict_seconds")
    values = (*errors(table.task, rows.y_test, predicted), fitted - started, done - fitted)
    return {name: value if value == "" else f"{value:.6g}" for name, value in zip(names, values, strict=True)}


def warm(peer, table, rows):
    """Let plainnet compile its kernels, which it does once a machine, and other peers import what they import."""
    peer.load()
    if peer.is_ours:
        peer.fit(rows.X_train[:WARM_ROWS], rows.y_train[:WARM_ROWS], table, 0)


def machine():
    """Name the processor and its number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model} with {os.cpu_count()} cores"


def described(table, name, rows, seed, *, capped):
    """Return the columns of fits.csv that are known before the fit."""
    return {
        "table": table.name, "half": table.half, "task": table.task, "peer": name, "seed": str(seed),
        "n_train": len(rows.y_train), "n_test": len(rows.y_test), "capped": str(int(capped)),
        "version": PEERS[name].version, "threads": THREADS, "machine": machine(), "date": date.today().isoformat(),
    }  # fmt: skip


def is_there(row, path):
    """Whether a fit of the same table, seed, cap, peer and version is in the file."""
    return any(all(row[field] == done[field] for field in KEY) for done in read_fits(path))


def run(tables, peers, seeds, *, capped, folder, path=FITS):
    """Fit what is not yet in fits.csv, table by table. A peer that fails is named and left out."""
    warmed = set()
    for table in tables:
        source = find(table.name, folder)
        if source is None:
            print(f"{table.name}: not in {folder}, left out", file=sys.stderr)
            continue
        X, y = load(table, source)
        for seed in seeds:
            rows = split(table, X, y, seed, capped=capped)
            for name, peer in peers.items():
                row = described(table, name, rows, seed, capped=capped)
                if is_there(row, path):
                    continue
                fit = f"{table.name}, {name}, seed {seed}"
                try:
                    if (name, table.task) not in warmed:
                        warm(peer, table, rows)
                        warmed.add((name, table.task))
                    row |= measure(peer, table, rows, seed)
                except Exception:  # noqa: BLE001 - whatever a peer raises, the others go on
                    print(f"{fit}: failed\n{traceback.format_exc()}", file=sys.stderr, flush=True)
                    continue
                add_fit(row, path)
                print(f"{fit}: {row['error']} in {row['fit_seconds']} s", flush=True)


def chosen(known, names, what):
    """Return the entries of a dict that an option names."""
    for name in names:
        if name not in known:
            raise SystemExit(f"no {what} is called {name!r}; there are {', '.join(known)}.")
    return {name: known[name] for name in names}


def listed(text):
    """Return the entries of a comma-separated option."""
    return text.split(",")


def main():
    example = "example: python benchmarks/quality/quality.py --data ~/tables --peers plainnet,lightgbm --seeds 0"
    parser = argparse.ArgumentParser(description="Fit plainnet and its peers to real tables.", epilog=example)
    folder = os.environ.get("PLAINNET_DATA", "data")
    tables = [name for name, table in TABLES.items() if table.half != "size"]
    add = parser.add_argument
    add("--data", default=folder, help="folder of the tables (default: $PLAINNET_DATA)")
    add("--peers", type=listed, default=["plainnet"], help=f"of {', '.join(PEERS)}; or all (default: plainnet)")
    add("--tables", type=listed, default=tables, help=f"of {', '.join(TABLES)} (default: all but the last)")
    add("--seeds", type=listed, default=["0", "1", "2"], help="of the splits and fits (default: 0,1,2)")
    add("--uncapped", action="store_true", help="train on all training rows, not on at most 10 000")
    add("--again", metavar="PEER", action="append", default=[], help="forget the fits of this peer first")
    options = parser.parse_args()
    if options.again:
        chosen(PEERS, options.again, "peer")
        write_fits([row for row in read_fits() if row["peer"] not in options.again])
    run(
        chosen(TABLES, options.tables, "table").values(),
        chosen(PEERS, PEERS if options.peers == ["all"] else options.peers, "peer"),
        [int(seed) for seed in options.seeds],
        capped=not options.uncapped,
        folder=Path(options.data).expanduser(),
    )


if __name__ == "__main__":
    main()
