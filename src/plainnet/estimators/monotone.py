"""The argument ``monotone`` of an estimator: checked, and turned to directions of features and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

from plainnet.errors import SettingError
from plainnet.networks.monotone import MONOTONE_ACTIVATIONS, Monotone
from plainnet.tables.encode import features_of
from plainnet.tables.schema import Schema
from plainnet.tables.target import ClassTarget, LabelsTarget, Target
from plainnet.tables.wording import did_you_mean

if TYPE_CHECKING:
    from plainnet.estimators.estimators import NetEstimator

__all__ = ["activation_of", "check_monotone", "monotone_of"]


def check_monotone(estimator: NetEstimator) -> None:
    """Refuse a ``monotone`` that no table could suit.

    Raises:
        SettingError: it is no dict of columns and directions, or another argument does not go with it.
    """
    directions: Any = estimator.monotone  # whatever the user passed
    if directions is None:
        return
    if not isinstance(directions, Mapping):
        raise SettingError(
            f"monotone is a dict of columns and directions, such as {{'rooms': 1, 'age': -1}}, not {directions!r}."
        )
    for name, direction in directions.items():
        if isinstance(direction, bool) or not isinstance(direction, Real) or direction not in (1, -1):
            raise SettingError(
                f"monotone[{name!r}] is 1, where predictions never fall with it, or -1, where they never rise, not {direction!r}."
            )
    if directions and estimator.network is not None:
        raise SettingError("monotone is for networks of plainnet's own: leave network= out, or monotone=.")
    if directions and activation_of(estimator) not in MONOTONE_ACTIVATIONS:
        raise SettingError(
            f"monotone needs an activation that never falls, one of {', '.join(MONOTONE_ACTIVATIONS)}, not {estimator.activation!r}."
        )


def activation_of(estimator: NetEstimator) -> str:
    """Return the activation: the user's, or the default."""
    return estimator.activation or (MONOTONE_ACTIVATIONS[0] if estimator.monotone else "silu")


def monotone_of(directions: Mapping[str, int] | None, schema: Schema, target: Target) -> Monotone | None:
    """Return the directions of the features and outputs of a network; None where there are none.

    Raises:
        SettingError: a column is not in the table, or is no number, or the target has no direction.
    """
    if not directions:
        return None
    columns = {column.name: column for column in schema.columns}
    for name in directions:
        if name not in columns:
            raise SettingError(
                f"monotone names the column {name!r}, which the table lacks{did_you_mean(str(name), columns)}."
            )
        column = columns[name]
        if not column.is_used:
            raise SettingError(
                f"monotone names the column {name!r}, which is left out as {column.kind}: {column.why}. Name another, or "
                f"pass kinds={{{name!r}: 'number'}}."
            )
        if column.kind not in ("number", "flag"):
            raise SettingError(
                f"monotone names the column {name!r}, which is a {column.kind} ({column.why}), and only numbers and flags rise: if "
                f"its cells are numbers, pass kinds={{{name!r}: 'number'}}."
            )
    if isinstance(target, LabelsTarget):
        raise SettingError(
            "monotone is for numbers or two classes, and the target holds several labels a row: leave monotone= out."
        )
    if isinstance(target, ClassTarget) and target.n_outputs > 2:
        raise SettingError(
            f"monotone is for numbers or two classes, and the target holds {target.n_outputs} classes: more of one is less "
            "of which other? Leave monotone= out."
        )
    features = tuple(0 if name is None else int(directions.get(name, 0)) for name in features_of(schema))
    return Monotone(features, (-1, 1) if isinstance(target, ClassTarget) else (1,) * target.n_outputs)
