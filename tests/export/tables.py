"""Rows of every kind of cell that an exported model may meet."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl

from plainnet import NetClassifier, NetRegressor


def everything(rows: int = 260, seed: int = 0) -> pl.DataFrame:
    """A table with each kind of column, and with cells missing in most."""
    rng = np.random.RandomState(seed)
    size = rng.randn(rows) * 10
    weight = np.exp(rng.randn(rows))
    start = datetime(1965, 2, 27, 22, 30)
    moments = [start + timedelta(hours=float(hours)) for hours in rng.randint(0, 400_000, rows)]
    town = rng.choice(["Ulm", "Bonn", "Köln", "Jena", "a b", "=1"], rows)
    rare = np.where(rng.rand(rows) < 0.02, [f"rare {k}" for k in range(rows)], town)
    frame = pl.DataFrame(
        {
            "size": size,
            "weight": weight,
            "stamp": 1_700_000_000_000 + rng.randint(0, 10**6, rows),
            "text number": [f"{value:.2f}" for value in rng.rand(rows)],
            "town": town,
            "rare": rare,
            "code": rng.choice([1.0, 2.0, 2.5], rows),
            "flag": rng.rand(rows) < 0.5,
            "zero or one": rng.randint(0, 2, rows),
            "moment": moments,
            "day": [f"{moment:%d.%m.%Y}" for moment in moments[::-1]],
            "same": ["x"] * rows,
            "note": [f"note {k} says nothing at all" for k in range(rows)],
            "label": rng.choice(["a", "b", "c"], rows),
        }
    )
    holes = {"weight": 7, "rare": 11, "flag": 13, "zero or one": 17, "moment": 19, "day": 23, "label": 9}
    return frame.with_columns(
        pl.when(pl.int_range(rows) % every == 0).then(None).otherwise(pl.col(name)).alias(name)
        for name, every in holes.items()
    )


def strange(table: pl.DataFrame) -> pl.DataFrame:
    """The same rows with cells that training never saw: each in a row of its own, all in the last."""
    cells = {
        "size": [None, float("inf"), float("-inf"), 1e308, -1e308, 0.0],
        "weight": [None, float("inf"), 1e-300],
        "stamp": [None, -1, 2**53],
        "text number": [None, "x", " 0.5 ", "007", "1e3"],
        "town": [None, "", "Paris", "ulm"],
        "rare": [None, "", "Paris", "rare 0"],
        "code": [None, 3.0, 2.0],
        "flag": [None],
        "zero or one": [None, 7],
        "moment": [None, datetime(1, 1, 1), datetime(1969, 12, 31, 23, 59, 59), datetime(2400, 2, 29), datetime(9999, 12, 31)],
        "day": [None, "29.02.2000", "31.12.1899", "never"],
        "label": [None, "", "d"],
    }  # fmt: skip
    rows = table.head(sum(map(len, cells.values())) + 1).to_dicts()
    number = 0
    for name, values in cells.items():
        for value in values:
            rows[number][name] = rows[-1][name] = value
            number += 1
    return pl.DataFrame(rows, schema=table.schema)


def targets(table: pl.DataFrame, seed: int = 0) -> dict[str, np.ndarray]:
    """Targets of every kind, which depend on the table."""
    rng = np.random.RandomState(seed)
    number = table["size"].to_numpy() / 5 + (table["town"] == "Ulm").to_numpy() + rng.randn(len(table)) * 0.3
    three = np.digitize(number, [-1, 1])
    return {
        "text": np.array(["no", "yes", "maybe"])[three],
        "whole": three * 10 - 5,
        "unsigned": three.astype(np.uint8),
        "bool": number > 0,
        "float": three.astype(float),
        "object": np.array(["no", "yes", "maybe"], dtype=object)[three],
        "labels": np.stack([number > 0, number > 1, rng.rand(len(table)) < 0.5], axis=1).astype(int),
        "number": number * 1000 + 5,
        "numbers": np.stack([number, -1e6 * number], axis=1),
        "skewed": np.exp(2 * number),
        "counts": rng.poisson(np.exp(number / 3)),
    }


CLASSES = ("text", "whole", "unsigned", "bool", "float", "object", "labels")
ACTIVATIONS = ("relu", "leaky_relu", "elu", "selu", "silu", "gelu", "mish", "tanh", "sigmoid")


def estimators() -> dict[str, tuple[NetClassifier | NetRegressor, str]]:
    """Unfitted estimators of every kind, each with the name of its target."""
    quick = {"epochs": 3, "members": 3, "hidden": (8, 6)}
    one = quick | {"members": 1}
    return (
        {name: (NetClassifier(**quick), name) for name in CLASSES}
        | {name: (NetRegressor(**quick), name) for name in ("number", "numbers")}
        | {activation: (NetClassifier(**one, activation=activation), "text") for activation in ACTIVATIONS}
        | {
            "pack": (NetClassifier(members=13, epochs=2), "text"),
            "linear": (NetRegressor(members=1, hidden=(), epochs=3), "number"),
            "logs": (NetRegressor(members=9, epochs=2), "skewed"),
            "quantiles": (NetRegressor(**quick, quantiles=[0.1, 0.5, 0.9]), "number"),
            "one label": (NetClassifier(**one), "labels"),
            "counts": (NetRegressor(**quick, loss="poisson"), "counts"),
            "quick": (NetRegressor(effort="quick"), "number"),
        }
    )
