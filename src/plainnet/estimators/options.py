"""The arguments of an estimator: checked before a fit, and written to a model file with what was fitted."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from plainnet.errors import SettingError
from plainnet.estimators.monotone import activation_of, check_monotone, monotone_of
from plainnet.networks.shape import Shape
from plainnet.settings import check_number
from plainnet.storage.storage import plain
from plainnet.versions import versions

if TYPE_CHECKING:
    import torch
    from torch import nn

    from plainnet.estimators.estimators import NetEstimator

__all__ = ["check_options", "model_content", "module_of", "optimizer_of", "widths"]


def check_options(estimator: NetEstimator) -> None:
    """Refuse arguments outside their range.

    Raises:
        SettingError: an argument is; the message names it.
    """
    for name, bounds in {
        "members": {"whole": True, "least": 1},
        "time_limit": {"above": 0},
        "learning_rate": {"above": 0},
        "weight_decay": {"least": 0},
        "batch_size": {"whole": True, "least": 1},
        "epochs": {"whole": True, "least": 1},
        "patience": {"whole": True, "least": 1},
    }.items():
        check_number(name, getattr(estimator, name), **bounds)  # type: ignore[arg-type]
    if isinstance(estimator.loss, str) and estimator.loss not in estimator.loss_names:
        names = "".join(f"{name!r}, " for name in estimator.loss_names)
        raise SettingError(f"loss is {names}a loss such as nn.HuberLoss(), or None, not {estimator.loss!r}.")
    share = estimator.validation_fraction
    if share is not None and not 0 <= share < 1:
        raise SettingError(f"validation_fraction is at least 0 and below 1, or None, not {share!r}.")
    Shape(1, 1, widths(estimator.hidden) or (), activation_of(estimator), estimator.dropout or 0.0)
    check_monotone(estimator)


def widths(hidden: Sequence[int] | None) -> tuple[int, ...] | None:
    """Return the widths of the hidden layers as Python's own numbers: a search may bring NumPy's. None: not chosen.

    Raises:
        SettingError: they are no whole numbers.
    """
    if hidden is None:
        return None
    try:
        return tuple(operator.index(width) for width in hidden)
    except TypeError as error:
        raise SettingError(f"hidden holds widths of the hidden layers, such as (64, 64), not {hidden!r}.") from error


def module_of(network: Callable[[int, int], nn.Module]) -> Callable[[int, int], nn.Module]:
    """Return the user's function, checked where it is called: it has to make a network.

    Raises:
        SettingError: it makes something else.
    """
    from torch import nn

    def checked(n_in: int, n_out: int) -> nn.Module:
        made = network(n_in, n_out)
        if isinstance(made, nn.Module):
            return made
        raise SettingError(
            f"network is a function of (inputs, outputs) that returns an nn.Module, and this one returned a {type(made).__name__}."
        )

    return checked


def optimizer_of(optimizer: Callable[[Any], torch.optim.Optimizer], network: nn.Module) -> torch.optim.Optimizer:
    """Return the user's optimizer of a network's parameters.

    Raises:
        SettingError: the function makes something else.
    """
    import torch

    made = optimizer(network.parameters())
    if isinstance(made, torch.optim.Optimizer):
        return made
    raise SettingError(
        f"optimizer is a function of the parameters that returns a torch optimizer, and this one returned a {type(made).__name__}: "
        "write lambda p: torch.optim.SGD(p, lr=0.1)."
    )


def model_content(estimator: NetEstimator) -> tuple[Mapping[str, Any], Mapping[str, npt.NDArray[np.float32]]]:
    """Return what a model file holds of a fitted estimator: plain values, and the members' weights by name.

    Raises:
        SettingError: the network is the user's own, which a file cannot describe; or ``monotone`` is not what was fitted.
    """
    if estimator.network is not None:
        raise SettingError(
            "a model file holds plain networks of Linear layers, and this one was built by your own network=: save "
            "estimator.network_.state_dict() with torch, or leave network= out."
        )
    left_out = ["random_state", "verbose", "network", "optimizer"]
    left_out += [] if estimator.loss is None or isinstance(estimator.loss, str) else ["loss"]
    given = estimator.get_params(deep=False) | {"hidden": widths(estimator.hidden)}
    settings = {name: plain(value) for name, value in given.items() if name not in left_out}
    if monotone_of(estimator.monotone, estimator.schema_, estimator.target_) != estimator.members_[0].recipe.monotone:
        raise SettingError(f"monotone was set to {estimator.monotone!r} after the fit: fit again before saving.")
    if settings["monotone"] is None:
        del settings["monotone"]  # so that versions without it read the file
    content = {
        "estimator": type(estimator).__name__,
        "settings": settings,
        "members": [member.to_json() for member in estimator.members_],
        "target": estimator.target_.to_json(),
        "residuals": getattr(estimator, "residuals_", None),
        "has_column_names": hasattr(estimator, "feature_names_in_"),
        "schema": estimator.schema_.to_json(),
        "versions": versions(),
    }
    tensors = {
        f"{number}.{name}": tensor
        for number, member in enumerate(estimator.members_)
        for name, tensor in member.tensors().items()
    }
    return content, tensors
