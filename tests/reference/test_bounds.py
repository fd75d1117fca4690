"""Weights kept between bounds: the fused engine projects as torch's hook does, after every optimizer's step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn, optim

from plainnet.networks.monotone import Monotone, WeightBounds
from plainnet.networks.shape import Shape
from tests.reference.test_fused import Trained, both, table

OPTIMIZERS: list[tuple[type[optim.Optimizer], dict[str, Any]]] = [
    (optim.SGD, {"lr": 0.05}),
    (optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (optim.Adam, {"lr": 0.01, "amsgrad": True}),
    (optim.AdamW, {"lr": 0.01, "weight_decay": 0.1}),
    (optim.NAdam, {"lr": 0.01}),
    (optim.RAdam, {"lr": 0.01}),
    (optim.RMSprop, {"lr": 0.01, "centered": True, "momentum": 0.5}),
    (optim.Adagrad, {"lr": 0.05}),
    (optim.Adamax, {"lr": 0.01}),
    (optim.ASGD, {"lr": 0.05}),  # without a kernel: torch takes its steps
]


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def bounded(kind: Any, options: dict[str, Any]) -> Callable[[Any], optim.Optimizer]:
    """Make an optimizer that keeps every second weight above -0.05 and every third below 0.1; biases are free."""

    def make(parameters: Any) -> optim.Optimizer:
        parameters = list(parameters)
        optimizer = kind(parameters, **options)
        optimizer.register_step_post_hook(WeightBounds(bounds_of_weights(parameters)))
        return optimizer

    return make


def bounds_of_weights(parameters: Any) -> list[tuple[Any, torch.Tensor, torch.Tensor]]:
    rows = []
    for weight in parameters:
        if weight.ndim > 1:
            number = torch.arange(weight.numel()).reshape(weight.shape)
            least = torch.where(number % 2 == 0, -0.05, -torch.inf)
            rows.append((weight, least.to(weight), torch.where(number % 3 == 0, 0.1, torch.inf).to(weight)))
    return rows


def check_bounds(trained: Trained) -> None:
    rows = bounds_of_weights(trained.model.parameters())
    assert WeightBounds(rows).hold()
    assert any(bool((weight == least).any()) for weight, least, _ in rows)  # some were brought back
    assert any(bool((weight == largest).any()) for weight, _, largest in rows)


@pytest.mark.parametrize("batch_size", [None, 20, 4], ids=["full batch", "batches", "few rows"])
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=[f"{k.__name__}{[*o]}" for k, o in OPTIMIZERS])
def test_each_optimizer_keeps_the_bounds(kind: Any, options: dict[str, Any], batch_size: int | None) -> None:
    for each in both(
        network, bounded(kind, options), *table(), loss=nn.MSELoss(), batch_size=batch_size, validation=0.2
    ):
        check_bounds(each)


def test_float64_clipping_groups_and_a_frozen_layer() -> None:
    def make(parameters: Any) -> optim.Optimizer:
        first, first_bias, last, last_bias = parameters
        first_bias.requires_grad_(False)
        groups = [{"params": [last, last_bias], "lr": 0.02}, {"params": [first, first_bias]}]
        optimizer = optim.AdamW(groups, lr=0.01)
        optimizer.register_step_post_hook(WeightBounds(bounds_of_weights([last])))
        optimizer.register_step_post_hook(WeightBounds(bounds_of_weights([first])))
        return optimizer

    options: dict[str, Any] = {"loss": nn.MSELoss(), "batch_size": 20, "clip_grad_norm": 0.5, "rtol": 1e-10}
    x, y = table(dtype=torch.float64)
    for each in both(lambda: network().double(), make, x, y, **options):
        check_bounds(each)


def test_a_step_that_threads_share() -> None:
    def wide() -> nn.Module:
        return nn.Sequential(nn.Linear(20, 150), nn.ReLU(), nn.Linear(150, 120), nn.ReLU(), nn.Linear(120, 2))

    x, y = table(n=1500, features=20, outputs=2)
    for each in both(wide, bounded(optim.Adam, {"lr": 0.003}), x, y, loss=nn.MSELoss(), epochs=4):
        check_bounds(each)


@pytest.mark.parametrize("bins", [(), (5, 7)], ids=["plain", "coded"])
def test_a_monotone_network(bins: tuple[int, ...]) -> None:
    directions = Monotone((1, 0, -1, 0, 1, 0), (1, 1, -1))

    shape = Shape(6, 3, (9,), "elu", bins=bins)

    def build() -> nn.Module:
        built = shape.build()
        directions.begin(built, shape)
        models.append(built)
        return built

    def make(parameters: Any) -> optim.Optimizer:
        optimizer = optim.AdamW(parameters, lr=0.02)
        optimizer.register_step_post_hook(directions.bounds(models[-1], shape))
        return optimizer

    models: list[nn.Module] = []
    x, y = table()
    x[:, 4:].sigmoid_()
    both(build, make, x, y, loss=nn.MSELoss(), batch_size=20, validation=0.2)
    assert all(directions.bounds(model, shape).hold() for model in models)
