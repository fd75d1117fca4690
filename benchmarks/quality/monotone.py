"""What ``monotone`` costs, and which networks keep it best: errors on held-out rows of development tables, and of functions that rise.

    python benchmarks/quality/monotone.py --data ~/tables --seeds 0,1,2

It prints docs/decisions/0006-monotone.md's table: errors (RMSE, or log-loss) in percent of the same fit's without ``monotone``, the
geometric mean over the seeds.
"""

import argparse
import os
import warnings
from pathlib import Path

os.environ["POLARS_MAX_THREADS"] = "2"
import numpy as np
import polars as pl
from datasets import TABLES, Split, find, load, split
from sklearn.metrics import log_loss

from plainnet import NetClassifier, NetRegressor
from plainnet.errors import DataWarning
from plainnet.networks import monotone

DIRECTIONS = {
    "california_housing": {"median_income": 1},
    "telco_churn": {"tenure": -1, "MonthlyCharges": 1},
    "adult": {"education_num": 1, "capital_gain": 1},
    "wine_quality": {"alcohol": 1, "volatile_acidity": -1},
}
#: Networks: activation and the units' directions, where some features are free and where all are bound.
VARIANTS = {
    "relu": ("relu", monotone.SOME_FREE, monotone.ALL_BOUND),
    "leaky_relu": ("leaky_relu", monotone.SOME_FREE, monotone.ALL_BOUND),
    "elu": ("elu", monotone.SOME_FREE, monotone.ALL_BOUND),
    "selu": ("selu", monotone.SOME_FREE, monotone.ALL_BOUND),
    "tanh": ("tanh", monotone.SOME_FREE, monotone.ALL_BOUND),
    "elu, half the units free": ("elu", (1, -1, 0, 0), (1, -1)),
    "elu, no unit free": ("elu", (1, -1), (1, -1)),
    "elu, no falling unit": ("elu", (1, 0), (1,)),
    "elu, rising units alone": ("elu", (1,), (1,)),
}


def least_of_three(seed: int) -> Split:
    """The least of three numbers, concave in them together, on a wave of a fourth."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (4000, 4))
    y = x[:, :3].min(axis=1) + np.sin(3 * x[:, 3]) + rng.normal(0, 0.1, len(x))
    table = pl.DataFrame(x, schema=["a", "b", "c", "d"])
    return Split(table[:2000], y[:2000], table[2000:], y[2000:])


def stairs(seed: int) -> Split:
    """Two steps of the sum of three numbers, all of them bound."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, (4000, 3))
    total = x.sum(axis=1)
    y = np.tanh(6 * (total + 0.8)) + np.tanh(6 * (total - 0.8)) + rng.normal(0, 0.1, len(x))
    table = pl.DataFrame(x, schema=["a", "b", "c"])
    return Split(table[:2000], y[:2000], table[2000:], y[2000:])


MADE = {"least of three": least_of_three, "stairs": stairs}


def error(data, *, is_class, directions, activation, effort):
    """Fit, and return the error on the test rows."""
    kind = NetClassifier if is_class else NetRegressor
    model = kind(effort=effort, monotone=directions, activation=activation).fit(data.X_train, data.y_train)
    if is_class:
        return log_loss(data.y_test, model.predict_proba(data.X_test))
    return float(np.sqrt(np.mean((model.predict(data.X_test) - data.y_test) ** 2)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("PLAINNET_DATA"), help="folder of the tables")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--effort", default="quick")
    parser.add_argument("--variants", default=";".join(VARIANTS))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", DataWarning)
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    variants = arguments.variants.split(";")
    print(f"| | without | {' | '.join(variants)} |\n|---|{'---|' * (len(variants) + 1)}")
    paths = {name: find(name, arguments.data) for name in DIRECTIONS}
    for name in [*(name for name in DIRECTIONS if paths[name]), *MADE]:
        if name in MADE:
            parts = [MADE[name](seed) for seed in seeds]
        else:
            X, y = load(TABLES[name], paths[name])
            parts = [split(TABLES[name], X, y, seed, capped=True) for seed in seeds]
        is_class = name not in MADE and TABLES[name].task == "binary"
        directions = {"a": 1, "b": 1, "c": 1} if name in MADE else DIRECTIONS[name]
        fixed = {"is_class": is_class, "effort": arguments.effort}
        free = [error(part, directions=None, activation=None, **fixed) for part in parts]
        cells = [f"{np.mean(free):.4g}"]
        for variant in variants:
            activation, monotone.SOME_FREE, monotone.ALL_BOUND = VARIANTS[variant]
            bound = [error(part, directions=directions, activation=activation, **fixed) for part in parts]
            cells.append(f"{100 * np.exp(np.mean(np.log(np.divide(bound, free)))):.1f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
