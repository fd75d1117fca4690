"""The tables of the benchmark, and the rows of each that train and test.

They come in two halves: those of `development` are looked at while the defaults are chosen, those of `exam` only to see
whether the choice holds elsewhere.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.model_selection import train_test_split

from plainnet.samples.samples import ADULT_PATH
from plainnet.tables.tables import take_target

MAX_TRAIN, MAX_TEST = 10_000, 50_000
MIN_CLASS = 10  # rows: classes with fewer cannot be on both sides of every split


@dataclass(frozen=True)
class Table:
    """A table of the benchmark; ``categories`` are columns of numbers that its documentation calls categories."""

    name: str
    half: str
    target: str
    task: str
    categories: tuple[str, ...] = ()


TABLES = {
    table.name: table
    for table in (
        Table("adult", "development", "income", "binary"),
        Table("california_housing", "development", "median_house_value", "regression"),
        Table("german_credit", "development", "credit_risk", "binary"),
        Table("telco_churn", "development", "Churn", "binary"),
        Table("kin8nm", "development", "y", "regression"),
        Table("bike_hourly", "development", "cnt", "regression", ("season", "weathersit")),
        Table("wine_quality", "development", "quality", "regression"),
        Table("covertype_15k", "development", "Cover_Type", "multiclass"),
        Table("satimage", "development", "Class", "multiclass"),
        Table("bank_marketing", "exam", "deposit", "binary"),
        Table("beijing_air", "exam", "PM2_5", "regression"),
        Table("electricity", "exam", "class", "binary"),
        Table("diamonds", "exam", "price", "regression"),
        Table("king_county_houses", "exam", "price", "regression", ("zipcode",)),
        Table("letter", "exam", "lettr", "multiclass"),
        Table("spambase", "exam", "type", "binary"),
        Table("titanic", "exam", "survived", "binary"),
        Table("kddcup99_10pct", "size", "label", "multiclass"),  # 70 % of its rows are repeated: for speed only
    )
}


@dataclass(frozen=True)
class Split:
    """The training and test rows of a table for a seed: classes are numbers from 0 in ``y``."""

    X_train: pl.DataFrame
    y_train: np.ndarray
    X_test: pl.DataFrame
    y_test: np.ndarray


def find(name: str, folder: Path) -> Path | None:
    """Return the file of a table, None if the folder has none. Adult comes with the package."""
    if name == "adult":
        return ADULT_PATH
    paths = (folder / f"{name}{suffix}" for suffix in (".csv.gz", ".csv"))
    return next((path for path in paths if path.is_file()), None)


def load(table: Table, path: Path) -> tuple[pl.DataFrame, np.ndarray]:
    """Read a table: its columns without the target, and the target as numbers."""
    X, y, _ = take_target(path, table.target)
    if table.task == "regression":
        return X, y.astype(np.float64)
    _, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    common = counts[codes] >= MIN_CLASS
    return X.filter(pl.Series(common)), np.unique(codes[common], return_inverse=True)[1]


def split(table: Table, X: pl.DataFrame, y: np.ndarray, seed: int, *, capped: bool) -> Split:
    """Hold out 20 % of the rows for the test, at most MAX_TEST; train on the others, if ``capped`` on at most MAX_TRAIN."""

    def draw(rows, **size):
        stratify = None if table.task == "regression" else y[rows]
        return train_test_split(rows, random_state=seed, stratify=stratify, **size)

    train, test = draw(np.arange(len(y)), test_size=0.2)
    if len(test) > MAX_TEST:
        test, _ = draw(test, train_size=MAX_TEST)
    if capped and len(train) > MAX_TRAIN:
        train, _ = draw(train, train_size=MAX_TRAIN)
    return Split(X[train], y[train], X[test], y[test])
