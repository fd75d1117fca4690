"""Monotone networks: which weights have which sign, and what follows from it."""

import pytest
import torch
from torch import nn

from plainnet.networks.monotone import MONOTONE_ACTIVATIONS, Monotone
from plainnet.networks.networks import MODULES as ACTIVATIONS
from plainnet.networks.shape import Shape


def sweep(network: nn.Module, x: torch.Tensor, feature: int, values: torch.Tensor) -> torch.Tensor:
    """Outputs of each row for each value of a feature: (values, rows, outputs)."""
    with torch.no_grad():
        rows = x.repeat(len(values), 1, 1)
        rows[:, :, feature] = values[:, None]
        return network(rows.reshape(-1, x.shape[1])).reshape(len(values), len(x), -1)


@pytest.mark.parametrize("hidden", [(), (1,), (2, 2), (7, 8, 9)], ids=str)
@pytest.mark.parametrize("activation", MONOTONE_ACTIVATIONS)
def test_outputs_go_where_they_have_to(activation: str, hidden: tuple[int, ...]) -> None:
    """Of features a (never falls), b (free), c and d (never rises, d coded), all in float64, far beyond any range."""
    shape = Shape(4, 2, hidden, activation, bins=(6,))
    directions = Monotone((1, 0, -1, -1), (-1, 1))
    network = shape.build().double()
    directions.begin(network, shape)
    x = torch.randn(50, 4, dtype=torch.float64)
    for feature, direction, values in (
        (0, 1, torch.linspace(-50, 50, 201)),
        (2, -1, torch.linspace(-50, 50, 201)),
        (3, -1, torch.linspace(-1, 2, 201)),
    ):
        steps = sweep(network, x, feature, values.double()).diff(dim=0) * direction
        assert steps[..., 1].min() >= -1e-12
        assert steps[..., 0].max() <= 1e-12
        assert steps.abs().max() > 1e-6  # it does depend on it


def test_a_free_feature_may_rise_and_fall() -> None:
    shape = Shape(2, 1, (30, 30), "elu")
    network = shape.build()
    Monotone((1, 0), (1,)).begin(network, shape)
    steps = sweep(network, torch.randn(50, 2), 1, torch.linspace(-5, 5, 101)).diff(dim=0)
    assert steps.min() < -1e-3
    assert steps.max() > 1e-3


def test_units_of_free_features_see_no_others() -> None:
    shape = Shape(3, 1, (6, 6), "elu")
    network = shape.build()
    Monotone((1, 0, 0), (1,)).begin(network, shape)
    first, second, last = (layer.weight for layer in network if isinstance(layer, nn.Linear))
    free = [2, 5]  # of the units + - 0 + - 0
    assert (first[free, 0] == 0).all()
    assert (second[free][:, [0, 1, 3, 4]] == 0).all()
    assert (second[free][:, free] != 0).all()
    assert (last[0, [0, 3]] > 0).all()
    assert (last[0, [1, 4]] < 0).all()


def test_activations_that_never_fall_are_those_of_the_list() -> None:
    values = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    never_fall = {name for name, kind in ACTIVATIONS.items() if kind()(values).diff().min() >= 0}
    assert never_fall == set(MONOTONE_ACTIVATIONS)
