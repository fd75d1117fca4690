"""Numbers to draw while a network learns: what it says over a plane of two inputs, and its layers and weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import nn

from plainnet.engines.prediction import predict
from plainnet.estimators.classifier import NetClassifier
from plainnet.evaluation.evaluation import Estimator
from plainnet.tables.encode import encode, feature_names
from plainnet.tables.target import ClassTarget, NumberTarget

__all__ = ["Plane", "drawing_of", "is_coded", "plane_of"]

#: Points of the plane, each way.
SIDE = 60
#: Rows that are drawn on it.
POINTS = 500
#: Nodes of a layer that are drawn; of a wider one the first.
NODES = 16


@dataclass(frozen=True)
class Plane:
    """Two numeric inputs, and a grid of points over them.

    Attributes:
        names: of the two columns: across, and up.
        bounds: (left, right, bottom, top), in the columns' units.
        grid: SIDE² rows, from the bottom left, row by row.
        points: of training rows: (x, y, class or number).
        classes: names of the classes, as text; [] for numbers.
    """

    names: tuple[str, str]
    bounds: tuple[float, float, float, float]
    grid: pl.DataFrame
    points: list[tuple[float, float, float]]
    classes: list[str]

    def values(self, estimator: Estimator, network: nn.Module) -> npt.NDArray[np.float64]:
        """Return what one network says at each point: (SIDE², outputs) probabilities, or (SIDE², 1) standardised numbers."""
        x, _ = encode(estimator.schema_, self.grid)
        said = predict(network, torch.from_numpy(x), threads=1)
        return np.asarray(estimator.target_.opinions(said), dtype=np.float64)

    def voted(self, estimator: Estimator) -> npt.NDArray[np.float64]:
        """Return what the whole pack says at each point, in the same units."""
        if isinstance(estimator, NetClassifier):
            return np.asarray(estimator.predict_proba(self.grid), dtype=np.float64)
        assert isinstance(estimator.target_, NumberTarget)  # noqa: S101 - plane_of has looked
        numbers = np.asarray(estimator.predict(self.grid), dtype=np.float64).reshape(-1, 1)
        return (numbers - estimator.target_.mean) / estimator.target_.scale

    def to_json(self) -> dict[str, Any]:
        """Return what does not change while the network learns."""
        names = ("names", "bounds", "points", "classes")
        return {name: getattr(self, name) for name in names} | {"side": SIDE}


def plane_of(estimator: Estimator, read: Callable[[], pl.DataFrame], target: str) -> Plane | None:
    """Return the plane of an estimator that sees two numbers and nothing else, None for any other.

    Args:
        estimator: whose columns and target are learnt, though not its networks.
        read: reads the rows, the target among the columns; only called where there is a plane.
        target: its name.
    """
    used = estimator.schema_.used
    learnt = estimator.target_
    is_number = isinstance(learnt, NumberTarget) and learnt.logs is None and len(learnt.scale) == 1
    are_two = [column.kind for column in used] == ["number", "number"]
    if not are_two or not (is_number or isinstance(learnt, ClassTarget)):
        return None
    across, up = used
    known = read().drop_nulls([across.name, up.name, target])
    drawn = known if known.height <= POINTS else known.sample(POINTS, seed=0)
    values = [drawn[column.name].cast(pl.Float64, strict=False).to_numpy() for column in used]
    bounds: list[float] = []
    for column in used:
        assert column.spread is not None  # noqa: S101 - every number has one
        margin = (column.spread.maximum - column.spread.minimum) * 0.08 or 1.0
        bounds += [column.spread.minimum - margin, column.spread.maximum + margin]
    x, y = np.linspace(bounds[0], bounds[1], SIDE), np.linspace(bounds[2], bounds[3], SIDE)
    grid = pl.DataFrame({across.name: np.tile(x, SIDE), up.name: np.repeat(y, SIDE)})
    if isinstance(learnt, ClassTarget):
        names = [str(each) for each in learnt.classes.tolist()]
        places = {each: place for place, each in enumerate(learnt.classes.tolist())}
        said = [places.get(each, -1) for each in drawn[target].to_list()]
    else:
        assert isinstance(learnt, NumberTarget)  # noqa: S101 - as above
        names = []
        said = ((drawn[target].cast(pl.Float64).to_numpy() - learnt.mean[0]) / learnt.scale[0]).tolist()
    points = [(float(a), float(b), float(c)) for a, b, c in zip(*values, said, strict=True) if c >= 0 or not names]
    return Plane((across.name, up.name), (bounds[0], bounds[1], bounds[2], bounds[3]), grid, points, names)


def is_coded(network: nn.Module) -> bool:
    """Whether a network codes its numbers before its first layer, so that its first weights are not those of the columns."""
    return not isinstance(next(network.children(), None), nn.Linear)


def drawing_of(estimator: Estimator, network: nn.Module) -> dict[str, Any]:
    """Return a network's layers: the ``widths`` of all, and of each Linear the ``weights`` between its first nodes.

    ``inputs`` and ``outputs`` are their names; wide layers, and inputs that are coded, have none.
    """
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    widths = [layer.in_features for layer in layers[:1]] + [layer.out_features for layer in layers]
    weights = [layer.weight.detach()[:NODES, :NODES].round(decimals=3).tolist() for layer in layers]
    inputs = feature_names(estimator.schema_) if not is_coded(network) and widths[0] <= NODES else []
    outputs = [str(each) for each in estimator.classes_.tolist()] if isinstance(estimator, NetClassifier) else []
    return {
        "widths": widths, "weights": weights, "most": NODES, "coded": is_coded(network),
        "inputs": inputs, "outputs": outputs if len(outputs) == widths[-1] <= NODES else [],
    }  # fmt: skip
