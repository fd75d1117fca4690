"""plainnet and its peers: each a function that learns from a table and returns a function that predicts.

Every ``fit_…`` takes the training rows (plainnet a polars frame, the others the same as pandas), the target (classes are
numbers from 0), the ``Table`` and a seed. What it returns gives probabilities (rows, classes) or values (rows,).

All at their defaults, but where these would be unfair. The neural peers of pytabkit stop on accuracy and smooth their labels
unless told otherwise, which AUC and log-loss would punish: they get what their authors advise for these errors. TabM gets the
settings under which it is rated in TabArena. Peers that cannot take dates, missing cells or text get them as numbers.
"""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.metadata import version
from unittest.mock import patch

import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import plainnet

THREADS = 2
MISSING = "(missing)"
MODULES = {"scikit-learn": "sklearn", "pytabkit": "pytabkit.models.sklearn.sklearn_interfaces"}
TABM = {
    "arch_type": "tabm-mini",
    "num_emb_type": "pwl",
    "num_emb_n_bins": 48,
    "d_embedding": 16,
    "weight_decay": 3e-4,
    "gradient_clipping_norm": 1.0,
    "share_training_batches": False,
    "batch_size": "auto",
}


class Columns:
    """What the training rows say about the columns: which are numbers and which categories, and of what levels."""

    def __init__(self, X, table):
        X = dates_as_numbers(X)
        text = [name for name in X if not pd.api.types.is_numeric_dtype(X[name])]
        self.categories = [name for name in X if name in (*text, *table.categories)]
        self.numbers = [name for name in X if name not in self.categories]
        self.levels = {name: sorted(as_text(X[name]).dropna().unique()) for name in self.categories}
        self.incomplete = [name for name in self.numbers if X[name].isna().any()]
        self.means = X[self.numbers].astype(float).mean()

    def plain(self, X):
        """Return numbers as floats, NaN where they are missing, and categories as text, None where they are missing."""
        X = dates_as_numbers(X)
        numbers = X[self.numbers].astype(float)
        texts = {name: as_text(X[name]) for name in self.categories}
        return pd.concat([numbers, pd.DataFrame(texts, index=X.index)], axis=1)

    def categorical(self, X):
        """Return categories as pandas categories of the known levels; others are missing."""
        X = self.plain(X)
        for name, levels in self.levels.items():
            X[name] = pd.Categorical(X[name].where(X[name].isin(levels)), categories=levels)
        return X

    def named(self, X):
        """Return categories as text in which missing is a level."""
        X = self.plain(X)
        for name in self.categories:
            X[name] = X[name].fillna(MISSING)
        return X

    def filled(self, X):
        """Return numbers with their mean where they are missing and a column that says so; categories as text."""
        X = self.named(X)
        for name in self.incomplete:
            X[f"{name} is missing"] = X[name].isna().astype(float)
        X[self.numbers] = X[self.numbers].fillna(self.means)
        return X


def as_text(column):
    return column.map(str, na_action="ignore").astype(object).where(column.notna(), None)


def dates_as_numbers(X):
    """Replace each column of dates by six of numbers."""
    columns = {}
    for name in X:
        if not pd.api.types.is_datetime64_any_dtype(X[name]):
            columns[name] = X[name]
            continue
        dates = X[name].dt
        columns[f"{name} days"] = (X[name] - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
        for part in ("year", "month", "day", "weekday", "hour"):
            columns[f"{name} {part}"] = getattr(dates, part)
    return pd.DataFrame(columns)


def predictor(model, table, prepare):
    """Return the function from a table to probabilities or values."""
    return lambda X: (model.predict if table.task == "regression" else model.predict_proba)(prepare(X))


def fit_catboost(X, y, table, seed):
    from catboost import CatBoostClassifier, CatBoostRegressor

    columns = Columns(X, table)
    kind = CatBoostRegressor if table.task == "regression" else CatBoostClassifier
    model = kind(
        thread_count=THREADS,
        cat_features=columns.categories,
        random_seed=seed,
        verbose=0,
        allow_writing_files=False,
    )
    return predictor(model.fit(columns.named(X), y), table, columns.named)


def fit_lightgbm(X, y, table, seed):
    from lightgbm import LGBMClassifier, LGBMRegressor

    columns = Columns(X, table)
    kind = LGBMRegressor if table.task == "regression" else LGBMClassifier
    model = kind(n_jobs=THREADS, random_state=seed, verbose=-1)
    return predictor(model.fit(columns.categorical(X), y), table, columns.categorical)


def fit_xgboost(X, y, table, seed):
    from xgboost import XGBClassifier, XGBRegressor

    columns = Columns(X, table)
    kind = XGBRegressor if table.task == "regression" else XGBClassifier
    model = kind(n_jobs=THREADS, random_state=seed, enable_categorical=True, tree_method="hist")
    return predictor(model.fit(columns.categorical(X), y), table, columns.categorical)


def fit_random_forest(X, y, table, seed):
    columns = Columns(X, table)
    prepare = make_column_transformer(
        (SimpleImputer(strategy="median", add_indicator=True), columns.numbers),
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), columns.categories),
    )
    kind = RandomForestRegressor if table.task == "regression" else RandomForestClassifier
    model = make_pipeline(prepare, kind(n_jobs=THREADS, random_state=seed))
    return predictor(model.fit(columns.named(X), y), table, columns.named)


def fit_sklearn_mlp(X, y, table, seed):
    columns = Columns(X, table)
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), columns.numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), columns.categories),
    )
    is_number = table.task == "regression"
    mean, scale = (y.mean(), y.std()) if is_number else (0, 1)
    model = make_pipeline(prepare, (MLPRegressor if is_number else MLPClassifier)(random_state=seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its 200 epochs are its default
        model.fit(columns.named(X), (y - mean) / scale if is_number else y)
    predict = predictor(model, table, columns.named)
    return lambda X: predict(X) * scale + mean


def mended_tabm():
    """Let pytabkit's TabM stop at its lowest cross-entropy.

    Its version 1.7.3 hands probabilities to a metric that takes logits, which chooses epochs far too late.
    """
    from pytabkit.models.alg_interfaces import tabm_interface

    class Metrics(tabm_interface.Metrics):
        @classmethod
        def apply(cls, y_pred, y, metric_name):
            y_pred = (y_pred + 1e-30).log() if metric_name == "cross_entropy" else y_pred
            return super().apply(y_pred, y, metric_name)

    return patch.object(tabm_interface, "Metrics", Metrics)


def fit_pytabkit(X, y, table, seed, *, model, settings):
    from pytabkit.models.sklearn import sklearn_interfaces

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    columns = Columns(X, table)
    is_number = table.task == "regression"
    if is_number:
        settings = settings | {"val_metric_name": "rmse"}
    else:
        settings = settings | {"val_metric_name": "cross_entropy"} | ({} if "TabM" in model else {"use_ls": False})
    kind = getattr(sklearn_interfaces, f"{model}_{'Regressor' if is_number else 'Classifier'}")
    estimator = kind(device="cpu", n_threads=THREADS, random_state=seed, **settings)
    with mended_tabm():
        estimator.fit(columns.filled(X), y, cat_col_names=columns.categories)
    return predictor(estimator, table, columns.filled)


def fit_plainnet(X, y, table, seed, **settings):
    kind = plainnet.NetRegressor if table.task == "regression" else plainnet.NetClassifier
    kinds = dict.fromkeys(table.categories, "category")
    return predictor(kind(random_state=seed, kinds=kinds, **settings).fit(X, y), table, lambda X: X)


@dataclass(frozen=True)
class Peer:
    """A peer: the package it comes from, and how it learns."""

    package: str
    fit: Callable

    @property
    def is_ours(self):
        """Whether it is plainnet itself."""
        return self.package == "plainnet"

    @property
    def version(self):
        """The version of its package."""
        return plainnet.__version__ if self.is_ours else version(self.package)

    def load(self):
        """Import what fitting imports, so that it is not timed."""
        import_module(MODULES.get(self.package, self.package))


PEERS = {
    "plainnet": Peer("plainnet", fit_plainnet),
    "plainnet_quick": Peer("plainnet", partial(fit_plainnet, effort="quick")),
    "plainnet_best": Peer("plainnet", partial(fit_plainnet, effort="best")),
    "catboost": Peer("catboost", fit_catboost),
    "lightgbm": Peer("lightgbm", fit_lightgbm),
    "xgboost": Peer("xgboost", fit_xgboost),
    "random_forest": Peer("scikit-learn", fit_random_forest),
    "sklearn_mlp": Peer("scikit-learn", fit_sklearn_mlp),
    "realmlp_td": Peer("pytabkit", partial(fit_pytabkit, model="RealMLP_TD", settings={})),
    "realmlp_td_cv5": Peer("pytabkit", partial(fit_pytabkit, model="RealMLP_TD", settings={"n_cv": 5})),
    "realmlp_td_s": Peer("pytabkit", partial(fit_pytabkit, model="RealMLP_TD_S", settings={})),
    "tabm": Peer("pytabkit", partial(fit_pytabkit, model="TabM_D", settings=TABM)),
}
