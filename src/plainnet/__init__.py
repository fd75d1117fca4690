"""plainnet: plain neural networks on tables.

    plainnet.train(model, x, y, loss=…, optimizer=…, epochs=…)     a hand-written PyTorch loop, in one call
    plainnet.NetClassifier().fit(table, "column")                   classes from a table
    plainnet.NetRegressor().fit(table, "column")                    numbers from a table

A row of data walks through the folders in this order: ``tables``, ``networks``, ``engines``, ``training``,
``packs``, ``storage``, ``estimators``, ``evaluation``, ``export``, ``runs``, ``cluster``, ``service``, ``studio``, ``cli``. The file
that bears its folder's name is the one to read first.

Names are imported when they are first used: ``import plainnet`` itself takes milliseconds, torch comes with the first
network.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from plainnet import cluster
    from plainnet.engines.job import Epoch
    from plainnet.errors import (
        ColumnsChangedError,
        DataWarning,
        LossDivergedError,
        MissingExtraError,
        ModelFileError,
        PlainnetError,
        PlainnetWarning,
        RunError,
        SettingError,
        TableError,
        TrainingError,
    )
    from plainnet.estimators.classifier import NetClassifier
    from plainnet.estimators.load import load
    from plainnet.estimators.regressor import NetRegressor
    from plainnet.export.export import export_model
    from plainnet.export.onnx_model import onnx_inputs
    from plainnet.samples.samples import load_adult
    from plainnet.settings import EarlyStopping
    from plainnet.tables.read import read_table
    from plainnet.tables.scan import scan_table
    from plainnet.tables.schema import Schema
    from plainnet.training.history import History
    from plainnet.training.training import train

#: Where each public name lives.
_HOMES = {
    name: home
    for home, names in {
        "engines.job": ["Epoch"],
        "errors": [
            "ColumnsChangedError", "DataWarning", "LossDivergedError", "MissingExtraError", "ModelFileError", "PlainnetError",
            "PlainnetWarning", "RunError", "SettingError", "TableError", "TrainingError",
        ],
        "estimators.classifier": ["NetClassifier"],
        "estimators.load": ["load"],
        "estimators.regressor": ["NetRegressor"],
        "export.export": ["export_model"],
        "export.onnx_model": ["onnx_inputs"],
        "networks.layers": ["GaussianLoss", "PiecewiseLinearEncoding", "QuantileLoss", "Scale"],
        "samples.samples": ["load_adult"],
        "settings": ["EarlyStopping"],
        "tables.read": ["read_table"],
        "tables.scan": ["scan_table"],
        "tables.schema": ["Schema"],
        "training.history": ["History"],
        "training.many": ["Trial", "train_many"],
        "training.training": ["train"],
    }.items()
    for name in names
}  # fmt: skip

__all__ = [
    "ColumnsChangedError", "DataWarning", "EarlyStopping", "Epoch", "GaussianLoss", "History", "LossDivergedError", "MissingExtraError",
    "ModelFileError", "NetClassifier", "NetRegressor", "PiecewiseLinearEncoding", "PlainnetError", "PlainnetWarning", "QuantileLoss",
    "RunError", "Scale", "Schema", "SettingError", "TableError", "TrainingError", "Trial", "cluster", "export_model", "load", "load_adult",
    "onnx_inputs", "read_table", "scan_table", "train", "train_many",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "cluster":
        return importlib.import_module("plainnet.cluster")
    if name not in _HOMES:
        raise AttributeError(f"module 'plainnet' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"plainnet.{_HOMES[name]}"), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
