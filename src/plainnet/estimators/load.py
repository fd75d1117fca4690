"""``load``: a model file  ->  the estimator that was saved."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from plainnet.errors import ModelFileError, PlainnetError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.networks.networks import Shape
from plainnet.storage.storage import read_model
from plainnet.tables.encode import feature_names
from plainnet.tables.schema import Schema
from plainnet.tables.target import ClassTarget, target_from_json

__all__ = ["load"]

ESTIMATORS: dict[str, type[NetClassifier | NetRegressor]] = {
    "NetClassifier": NetClassifier,
    "NetRegressor": NetRegressor,
}


def load(path: str | Path) -> NetClassifier | NetRegressor:
    """Read a model file that ``save`` wrote, or the model of a run folder.

    Args:
        path: the .safetensors file, or the folder of a run.

    Returns:
        The fitted estimator. Its history is not in the file; a run keeps it beside.

    Raises:
        ModelFileError: the file is missing, is no plainnet model, is damaged, or was written by a newer version.
    """
    path = Path(path)
    if (path / "model.safetensors").is_file():
        path = path / "model.safetensors"
    content, tensors = read_model(path)
    try:
        estimator = _rebuilt(content, tensors)
    except (PlainnetError, KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ModelFileError(
            f"{str(path)!r} is damaged: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}."
        ) from error
    return estimator


def _rebuilt(content: dict[str, Any], tensors: dict[str, Tensor]) -> NetClassifier | NetRegressor:
    settings = dict(content["settings"]) | {"hidden": tuple(content["settings"]["hidden"])}
    for name in ("kinds", "class_weight"):
        if isinstance(settings.get(name), list):
            settings[name] = dict(settings[name])
    estimator = ESTIMATORS[content["estimator"]](**settings)
    estimator.schema_ = Schema.from_json(content["schema"])
    estimator.target_ = target_from_json(content["target"])
    estimator.shape_ = Shape.from_json(content["network"])
    if isinstance(estimator.target_, ClassTarget) is not isinstance(estimator, NetClassifier):
        raise ValueError("its target is not what its estimator predicts")
    if (
        estimator.shape_.n_in != len(feature_names(estimator.schema_))
        or estimator.shape_.n_out != estimator.target_.n_outputs
    ):
        raise ValueError("its network does not fit its schema or its target")
    # Compared before the network is built: a header cannot make us allocate what the file does not hold.
    if sum(tensor.numel() for tensor in tensors.values()) != _n_weights(estimator.shape_):
        raise ValueError("its weights do not fit its network")
    estimator.network_ = estimator.shape_.build()
    estimator.network_.load_state_dict(tensors)
    estimator.network_.eval()
    names = [column.name for column in estimator.schema_.columns]
    estimator.n_features_in_ = len(names)
    if content["has_column_names"]:
        estimator.feature_names_in_ = np.array(names, dtype=object)
    return estimator


def _n_weights(shape: Shape) -> int:
    widths = (shape.n_in, *shape.hidden, shape.n_out)
    return sum((n_in + 1) * n_out for n_in, n_out in pairwise(widths))
