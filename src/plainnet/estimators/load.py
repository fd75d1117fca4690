"""``load``: a model file  ->  the estimator that was saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from plainnet.errors import ModelFileError, PlainnetError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.monotone import monotone_of
from plainnet.estimators.options import check_options
from plainnet.estimators.regressor import NetRegressor
from plainnet.networks.monotone import MONOTONE_ACTIVATIONS
from plainnet.networks.shape import Shape
from plainnet.packs.members import DECAY, Member, Recipe, default_rate
from plainnet.storage.storage import OTHER_COPY, read_model
from plainnet.tables.encode import feature_names, position_bins
from plainnet.tables.schema import Schema
from plainnet.tables.target import ClassTarget, LabelsTarget, target_from_json
from plainnet.training.history import History

__all__ = ["load"]

ESTIMATORS: dict[str, type[NetClassifier | NetRegressor]] = {
    each.__name__: each for each in (NetClassifier, NetRegressor)
}

#: Settings of format 1 that are there still.
FORMAT_1_SETTINGS = (
    "hidden", "activation", "dropout", "learning_rate", "weight_decay", "batch_size", "epochs", "patience", "validation_fraction", "kinds",
    "class_weight", "device",
)  # fmt: skip


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
            f"{str(path)!r} is damaged: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}. {OTHER_COPY}"
        ) from error
    return estimator


def _rebuilt(content: dict[str, Any], tensors: dict[str, npt.NDArray[np.float32]]) -> NetClassifier | NetRegressor:
    if content["format"] == 1:  # one network, whose numbers were not coded in bins
        shape = Shape.from_json(content["network"])
        settings = {name: value for name, value in content["settings"].items() if name in FORMAT_1_SETTINGS}
        entries = [{"network": shape.to_json(), "weight": 1.0, "score": None}]
        tensors = {f"0.{name}": tensor for name, tensor in tensors.items()}
    else:
        settings, entries = dict(content["settings"]), content["members"]
    if settings["hidden"] is not None:
        settings["hidden"] = tuple(settings["hidden"])
    for name in ("kinds", "class_weight", "monotone"):
        if isinstance(settings.get(name), list):
            settings[name] = dict(settings[name])
    estimator = ESTIMATORS[content["estimator"]](**settings)
    check_options(estimator)
    estimator.schema_ = Schema.from_json(content["schema"])
    estimator.target_ = target_from_json(content["target"])
    if isinstance(estimator.target_, ClassTarget | LabelsTarget) is not isinstance(estimator, NetClassifier):
        raise ValueError("its target is not what its estimator predicts")
    estimator.keep_members(_members(entries, tensors, estimator))
    estimator.out_of_fold_ = None
    if isinstance(estimator, NetRegressor):
        estimator.residuals_ = content.get("residuals")
    names = [column.name for column in estimator.schema_.columns]
    estimator.n_features_in_ = len(names)
    if content["has_column_names"]:
        estimator.feature_names_in_ = np.array(names, dtype=object)
    return estimator


def _members(
    entries: list[dict[str, Any]], tensors: dict[str, npt.NDArray[np.float32]], estimator: NetClassifier | NetRegressor
) -> list[Member]:
    """Build the networks, after everything the file says of them has been compared with what it holds."""
    shapes = [Shape.from_json(entry["network"]) for entry in entries]
    weights = [float(entry["weight"]) for entry in entries]
    if not shapes or not all(weight >= 0 for weight in weights) or abs(sum(weights) - 1) > 1e-6:
        raise ValueError("the weights of its vote are not shares of 1")
    n_in, bins = len(feature_names(estimator.schema_)), position_bins(estimator.schema_)
    for shape in shapes:
        fits = shape.n_in == n_in and shape.n_out == estimator.target_.n_outputs
        if not fits or (shape.bins and len(shape.bins) != len(bins)):
            raise ValueError("its networks do not fit its schema or its target")
    wanted = {f"{number}.{name}": size for number, shape in enumerate(shapes) for name, size in shape.tensors}
    if {name: tensor.shape for name, tensor in tensors.items()} != wanted:
        raise ValueError("its weights do not fit its networks")
    if any(entry.get("is_log", False) for entry in entries) and getattr(estimator.target_, "logs", None) is None:
        raise ValueError("a network of it predicts logarithms of a target that has none")
    members = []
    rate = default_rate(shapes[0], is_class=isinstance(estimator, NetClassifier))
    rate = rate if estimator.learning_rate is None else estimator.learning_rate
    decay = DECAY if estimator.weight_decay is None else estimator.weight_decay
    monotone = monotone_of(estimator.monotone, estimator.schema_, estimator.target_)
    for number, (shape, weight, entry) in enumerate(zip(shapes, weights, entries, strict=True)):
        values = np.concatenate([tensors[f"{number}.{name}"].ravel() for name, _ in shape.tensors])
        score = float("nan") if entry["score"] is None else float(entry["score"])
        recipe = Recipe(shape, rate, decay, number, -1, 0, bool(entry.get("is_log", False)), monotone)
        if monotone is not None and not (shape.activation in MONOTONE_ACTIVATIONS and monotone.hold(shape, values)):
            raise ValueError("its networks are not monotone, as it says they are")
        nobody = np.zeros(0, dtype=np.int64)
        members.append(Member(values, nobody, weight, score, History("", "read from a file"), recipe))
    return members
