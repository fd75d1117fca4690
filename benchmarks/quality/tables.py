"""Score the defaults on real tables: the bundled one, and those in a folder named by PLAINNET_DATA.

    PLAINNET_DATA=~/tables python benchmarks/quality/tables.py

Each table: 20 % test rows (seed 0), the defaults, beside scikit-learn's MLP on the same encoded rows, in the same run.
"""

import os
import platform
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier, MLPRegressor

import plainnet
from plainnet.samples.samples import ADULT_PATH
from plainnet.tables.encode import encode
from plainnet.tables.split import split_rows
from plainnet.tables.tables import take_target
from plainnet.versions import versions

HERE = Path(__file__).parent
TABLES = {
    "adult": ("income", True),
    "california_housing": ("median_house_value", False),
    "german_credit": ("credit_risk", True),
    "telco_churn": ("Churn", True),
    "kin8nm": ("y", False),
    "bike_hourly": ("cnt", False),
    "wine_quality": ("quality", False),
}


def error(is_class, y, predicted):
    """1 - AUC, or RMSE / σ of the test rows."""
    if is_class:
        return 1 - roc_auc_score(y, predicted[:, 1])
    return float(np.sqrt(np.mean((predicted - y) ** 2)) / np.std(y))


def row(name, path, target, is_class):
    X, y, _ = take_target(path, target)
    train, test = split_rows(len(y), 0.2, seed=0, stratify=y if is_class else None)
    net = plainnet.NetClassifier() if is_class else plainnet.NetRegressor()
    started = perf_counter()
    net.fit(X[train], y[train])
    seconds = perf_counter() - started
    ours = error(is_class, y[test], net.predict_proba(X[test]) if is_class else net.predict(X[test]))

    x_train, x_test = encode(net.schema_, X[train])[0], encode(net.schema_, X[test])[0]
    started = perf_counter()
    if is_class:
        peer = MLPClassifier(random_state=0, early_stopping=True).fit(x_train, y[train])
        theirs = error(True, y[test], peer.predict_proba(x_test))
    else:
        mean, scale = y[train].mean(), y[train].std()
        peer = MLPRegressor(random_state=0, early_stopping=True).fit(x_train, (y[train] - mean) / scale)
        theirs = error(False, y[test], peer.predict(x_test) * scale + mean)
    peer_seconds = perf_counter() - started
    measure = "1 - AUC" if is_class else "RMSE / σ"
    line = f"| {name} | {len(train):,} | {measure} | {ours:.4f} | {seconds:.1f} | {theirs:.4f} | {peer_seconds:.1f} |"
    print(line, flush=True)
    return line


def main():
    data = Path(os.environ.get("PLAINNET_DATA", "data")).expanduser()
    lines = []
    for name, (target, is_class) in TABLES.items():
        found = (
            [ADULT_PATH]
            if name == "adult"
            else [path for end in (".csv.gz", ".csv") if (path := data / f"{name}{end}").is_file()]
        )
        if found:
            lines.append(row(name, found[0], target, is_class))
        else:
            print(f"{name}: not in {data}, left out", file=sys.stderr)
    facts = ", ".join(f"{package} {version}" for package, version in versions().items())
    text = f"""# Quality of the defaults

Written by `make bench`. Errors on 20 % test rows, lower is better; scikit-learn's MLP (early stopping) on the same encoded rows, same run.
{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads; {facts}.

| table | training rows | error | plainnet | seconds | scikit-learn MLP | seconds |
|---|---|---|---|---|---|---|
""" + "\n".join(lines)
    (HERE / "results.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
