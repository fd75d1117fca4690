"""The fused engine against the eager one: the same losses, weights and optimizer state, for everything it covers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st
from torch import nn, optim

import plainnet
from plainnet.engines.prediction import predict
from plainnet.networks.layers import GaussianLoss, PiecewiseLinearEncoding, QuantileLoss, Scale


class Trained:
    """A network after training by one engine."""

    def __init__(
        self, engine: str, build: Callable[[], nn.Module], make_optimizer: Any, x: Any, y: Any, **options: Any
    ) -> None:
        torch.manual_seed(7)
        self.model = build()
        self.optimizer = make_optimizer(self.model.parameters())
        if "scheduler" in options:
            options["scheduler"] = options["scheduler"](self.optimizer)
        self.history = plainnet.train(
            self.model, x, y, optimizer=self.optimizer, engine=engine, progress=False, **{"epochs": 12, **options}
        )


def both(
    build: Any, make_optimizer: Any, x: Any, y: Any, rtol: float = 1e-4, **options: Any
) -> tuple[Trained, Trained]:
    """Train by both engines and compare everything."""
    eager = Trained("eager", build, make_optimizer, x, y, **options)
    fused = Trained("fused", build, make_optimizer, x, y, **options)
    assert fused.history.engine == "fused"
    assert len(eager.history) == len(fused.history)
    scale = np.abs(eager.history.losses).max()
    np.testing.assert_allclose(fused.history.losses, eager.history.losses, rtol=rtol, atol=rtol * 1e-2 * scale)
    np.testing.assert_array_equal(fused.history.learning_rates, eager.history.learning_rates)
    if eager.history.validation_losses is not None:
        np.testing.assert_allclose(fused.history.validation_losses, eager.history.validation_losses, rtol=rtol)
    assert fused.history.stopped_by == eager.history.stopped_by
    compare_states(eager, fused, rtol)
    return eager, fused


def compare_states(eager: Trained, fused: Trained, rtol: float) -> None:
    for (name, a), (_, b) in zip(eager.model.state_dict().items(), fused.model.state_dict().items(), strict=True):
        torch.testing.assert_close(b, a, rtol=10 * rtol, atol=rtol, msg=lambda m, name=name: f"{name}: {m}")
    ours, theirs = fused.optimizer.state_dict()["state"], eager.optimizer.state_dict()["state"]
    assert ours.keys() == theirs.keys()
    for key, kept in theirs.items():
        entries = {name: value for name, value in kept.items() if value is not None}
        assert {n for n, v in ours[key].items() if v is not None} == entries.keys()
        for name, value in entries.items():
            assert ours[key][name].dtype == value.dtype
            torch.testing.assert_close(
                ours[key][name], value, rtol=10 * rtol, atol=rtol, msg=lambda m, name=name: f"{name}: {m}"
            )


def table(
    n: int = 57, features: int = 6, outputs: int = 3, dtype: Any = torch.float32
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n, features, generator=generator, dtype=torch.float64).to(dtype)
    return x, torch.randn(n, outputs, generator=generator, dtype=torch.float64).to(dtype)


def sgd(parameters: Any) -> optim.Optimizer:
    return optim.SGD(parameters, lr=0.05)


def adam(parameters: Any) -> optim.Optimizer:
    return optim.Adam(parameters, lr=0.01)


ACTIVATIONS = [
    nn.Identity(), nn.ReLU(), nn.LeakyReLU(0.1), nn.ELU(0.7), nn.SELU(), nn.SiLU(), nn.GELU(), nn.GELU(approximate="tanh"), nn.Mish(),
    nn.Tanh(), nn.Sigmoid(), nn.Hardtanh(-0.5, 0.8), nn.Softplus(), nn.Softplus(2.0, 1.0), nn.Softmax(dim=1), nn.LogSoftmax(dim=-1),
    nn.Dropout(0.0), nn.Dropout(0.5).eval(), nn.AlphaDropout(0.5).eval(), nn.LayerNorm(5), nn.LayerNorm(5, elementwise_affine=False),
    nn.LayerNorm(5, bias=False), nn.BatchNorm1d(5), nn.BatchNorm1d(5, affine=False), nn.BatchNorm1d(5, momentum=None),
    nn.BatchNorm1d(5, track_running_stats=False), nn.BatchNorm1d(5).eval(), Scale(5),
]  # fmt: skip


@pytest.mark.parametrize("batch_size", [None, 20, 4], ids=["full batch", "batches", "few rows"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("module", ACTIVATIONS, ids=str)
def test_each_module(module: nn.Module, batch_size: int | None, dtype: torch.dtype) -> None:
    import copy

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 5), copy.deepcopy(module), nn.Linear(5, 3, bias=False)).to(dtype)

    x, y = table(dtype=dtype)
    both(
        build,
        sgd,
        x,
        y,
        loss=nn.MSELoss(),
        batch_size=batch_size,
        validation=0.2,
        rtol=1e-4 if dtype == torch.float32 else 1e-10,
    )


@pytest.mark.parametrize("batch_size", [None, 20, 4], ids=["full batch", "batches", "few rows"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(
    ("plain", "bins", "width", "bias"),
    [(2, (24, 3, 1, 48), 20, True), (0, (5, 7), 3, False), (3, (2,), 150, True)],
)
def test_piecewise_linear_codes(
    plain: int, bins: tuple[int, ...], width: int, bias: bool, dtype: torch.dtype, batch_size: int | None
) -> None:
    """A linear layer over codes, looked up rather than multiplied, is that over the codes themselves."""

    def build() -> nn.Module:
        encoding = PiecewiseLinearEncoding(plain, bins, scale=0.5 if bias else 1.0)
        first = nn.Linear(plain + sum(bins), width, bias=bias)
        return nn.Sequential(encoding, first, nn.Tanh(), nn.Linear(width, 3)).to(dtype)

    _, y = table(dtype=dtype)
    generator = torch.Generator().manual_seed(3)
    x = torch.cat([torch.randn(57, plain, generator=generator), torch.rand(57, len(bins), generator=generator)], 1).to(
        dtype
    )
    x[0, plain:], x[1, plain:] = 0.0, 1.0
    _, fused = both(
        build, adam, x, y, loss=nn.MSELoss(), batch_size=batch_size, validation=0.2,
        rtol=1e-4 if dtype == torch.float32 else 1e-10,
    )  # fmt: skip
    fused.model.eval()
    with torch.no_grad():
        expected = fused.model(x).numpy()
    np.testing.assert_allclose(predict(fused.model, x), expected, rtol=1e-4, atol=1e-5)


def test_piecewise_linear_codes_without_a_linear_layer_are_left_to_pytorch() -> None:
    x, y = torch.rand(30, 2), torch.rand(30, 1)
    model = nn.Sequential(PiecewiseLinearEncoding(1, [4]), nn.Tanh(), nn.Linear(5, 1))
    history = plainnet.train(model, x, y, loss=nn.MSELoss(), optimizer=sgd(model.parameters()), epochs=2)
    assert history.engine == "eager"
    assert "PiecewiseLinearEncoding is fused only with an nn.Linear" in history.engine_reason


def classes(outputs: int) -> torch.Tensor:
    return torch.randint(0, outputs, (57,), generator=torch.Generator().manual_seed(2))


def shares(outputs: int) -> torch.Tensor:
    return torch.rand(57, outputs, generator=torch.Generator().manual_seed(2)).softmax(dim=1)


def zeros_and_ones(outputs: int) -> torch.Tensor:
    return classes(2 * outputs)[:, None].repeat(1, outputs).remainder(2).float()


def counts(outputs: int) -> torch.Tensor:
    return torch.randint(0, 9, (57, outputs), generator=torch.Generator().manual_seed(2)).float()


WEIGHT = torch.tensor([0.5, 1.0, 3.0])
LOSSES: list[tuple[Callable[..., nn.Module], dict[str, Any], Any, Any]] = [
    (nn.MSELoss, {}, None, nn.Identity),
    (nn.L1Loss, {}, None, nn.Identity),
    (nn.SmoothL1Loss, {}, None, nn.Identity),
    (nn.SmoothL1Loss, {"beta": 0.3}, None, nn.Identity),
    (nn.SmoothL1Loss, {"beta": 0.0}, None, nn.Identity),
    (nn.HuberLoss, {"delta": 0.4}, None, nn.Identity),
    (nn.BCELoss, {}, zeros_and_ones, nn.Sigmoid),
    (nn.BCEWithLogitsLoss, {}, zeros_and_ones, nn.Identity),
    (nn.BCEWithLogitsLoss, {"pos_weight": WEIGHT}, zeros_and_ones, nn.Identity),
    (nn.CrossEntropyLoss, {}, classes, nn.Identity),
    (nn.CrossEntropyLoss, {"weight": WEIGHT}, classes, nn.Identity),
    (nn.CrossEntropyLoss, {"label_smoothing": 0.1}, classes, nn.Identity),
    (nn.CrossEntropyLoss, {"weight": WEIGHT, "label_smoothing": 0.1}, classes, nn.Identity),
    (nn.CrossEntropyLoss, {"ignore_index": 1}, classes, nn.Identity),
    (nn.CrossEntropyLoss, {"ignore_index": 1, "weight": WEIGHT, "label_smoothing": 0.2}, classes, nn.Identity),
    (nn.CrossEntropyLoss, {}, shares, nn.Identity),
    (nn.CrossEntropyLoss, {"weight": WEIGHT, "label_smoothing": 0.1}, shares, nn.Identity),
    (nn.NLLLoss, {}, classes, lambda: nn.LogSoftmax(dim=1)),
    (nn.NLLLoss, {"weight": WEIGHT, "ignore_index": 2}, classes, lambda: nn.LogSoftmax(dim=1)),
    (nn.PoissonNLLLoss, {}, counts, nn.Identity),
    (nn.PoissonNLLLoss, {"full": True}, counts, nn.Identity),
    (nn.PoissonNLLLoss, {"log_input": False, "eps": 1e-3}, counts, nn.Softplus),
    (QuantileLoss, {"quantiles": [0.1, 0.5, 0.9]}, lambda _: table(outputs=1)[1], nn.Identity),
    (GaussianLoss, {}, lambda _: table(outputs=2)[1], nn.Identity),
    (GaussianLoss, {"full": True, "eps": 0.5}, lambda _: table(outputs=2)[1], nn.Identity),
]


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "sample weights"])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("loss", "options", "targets", "last"),
    LOSSES,
    ids=[f"{row[0].__name__}{[*row[1]]}{i}" for i, row in enumerate(LOSSES)],
)
def test_each_loss(loss: Any, options: Any, targets: Any, last: Any, reduction: str, weighted: bool) -> None:
    x, y = table()
    outputs = 4 if loss is GaussianLoss else 3
    y = y if targets is None else targets(outputs)
    weight = torch.rand(57, generator=torch.Generator().manual_seed(3)) if weighted else None
    rate = 0.02 if reduction == "mean" else 0.001
    for batch_size in (None, 25, 7):
        both(
            lambda: nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, outputs), last()),
            lambda p: optim.SGD(p, lr=rate),
            x, y, loss=loss(**options, reduction=reduction), batch_size=batch_size, sample_weight=weight, validation=0.2,
        )  # fmt: skip


OPTIMIZERS: list[tuple[Any, dict[str, Any]]] = [
    (optim.SGD, {"lr": 0.05}),
    (optim.SGD, {"lr": 0.05, "weight_decay": 0.1, "maximize": True}),
    (optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
    (optim.SGD, {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "maximize": False}),
    (optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    (optim.Adam, {"lr": 0.01}),
    (optim.Adam, {"lr": 0.01, "betas": (0.8, 0.95), "weight_decay": 0.1, "eps": 1e-4}),
    (optim.Adam, {"lr": 0.01, "amsgrad": True, "maximize": True}),
    (optim.AdamW, {"lr": 0.01, "weight_decay": 0.3}),
    (optim.AdamW, {"lr": 0.01, "weight_decay": 0.3, "amsgrad": True}),
    (optim.NAdam, {"lr": 0.01}),
    (optim.NAdam, {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True, "momentum_decay": 0.01}),
    (optim.RAdam, {"lr": 0.01}),
    (optim.RAdam, {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    (optim.RMSprop, {"lr": 0.005}),
    (optim.RMSprop, {"lr": 0.005, "centered": True, "momentum": 0.5, "weight_decay": 0.1}),
    (optim.Adagrad, {"lr": 0.05}),
    (optim.Adagrad, {"lr": 0.05, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    (optim.Adamax, {"lr": 0.01}),
    (optim.Adamax, {"lr": 0.01, "weight_decay": 0.1, "maximize": True}),
]


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 9), nn.SiLU(), nn.Linear(9, 3))


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=[f"{k.__name__}{[*o]}" for k, o in OPTIMIZERS])
def test_each_optimizer_alone_and_going_on_by_either_engine(kind: Any, options: Any) -> None:
    x, y = table()
    arguments: dict[str, Any] = {"loss": nn.MSELoss(), "batch_size": 20, "clip_grad_norm": 1.0}
    eager, fused = both(network, lambda p: kind(p, **options), x, y, **arguments)
    for trained in (eager, fused):  # each goes on by the other engine
        other = "fused" if trained is eager else "eager"
        plainnet.train(
            trained.model,
            x,
            y,
            optimizer=trained.optimizer,
            engine=other,
            progress=False,
            epochs=8,
            seed=3,
            **arguments,
        )
    compare_states(eager, fused, 2e-4)


def test_groups_of_parameters_with_settings_of_their_own_and_frozen_ones() -> None:
    def groups(parameters: Any) -> optim.Optimizer:
        tensors = list(parameters)
        tensors[4].requires_grad_(False)
        return optim.AdamW(
            [
                {"params": tensors[1::2], "weight_decay": 0.0, "lr": 0.003},
                {"params": [tensors[0], tensors[4]], "betas": (0.5, 0.9)},
            ],
            lr=0.01,
        )

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 3))

    both(build, groups, *table(), loss=nn.MSELoss(), batch_size=20)


SCHEDULERS: list[tuple[str, Any]] = [
    ("epoch", lambda o: optim.lr_scheduler.StepLR(o, 3, 0.5)),
    ("epoch", lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 12)),
    ("epoch", lambda o: optim.lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.5)),
    ("step", lambda o: optim.lr_scheduler.OneCycleLR(o, 0.1, total_steps=36)),
    ("step", lambda o: optim.lr_scheduler.LambdaLR(o, lambda step: 0.97**step)),
    (
        "epoch",
        lambda o: optim.lr_scheduler.SequentialLR(
            o, [optim.lr_scheduler.ConstantLR(o, 0.1, 3), optim.lr_scheduler.ExponentialLR(o, 0.9)], [3]
        ),
    ),
]


@pytest.mark.filterwarnings("ignore:The epoch parameter in")
@pytest.mark.parametrize(
    ("every", "scheduler"), SCHEDULERS, ids=["step", "cosine", "plateau", "one cycle", "lambda", "sequential"]
)
def test_schedules_and_where_they_stand_after_an_early_stop(every: str, scheduler: Any) -> None:
    options: dict[str, Any] = {"loss": nn.MSELoss(), "batch_size": 20, "scheduler": scheduler, "scheduler_every": every}
    stopping = plainnet.EarlyStopping(patience=2, min_delta=0.05)
    for extra in ({}, {"stopping": stopping, "validation": 0.3}):
        eager, fused = both(network, lambda p: optim.SGD(p, lr=0.05, momentum=0.9), *table(), **options, **extra)
        for a, b in zip(eager.optimizer.param_groups, fused.optimizer.param_groups, strict=True):
            assert {k: v for k, v in a.items() if k != "params"} == {k: v for k, v in b.items() if k != "params"}


@pytest.mark.parametrize("options", [
    {"batch_size": 20, "drop_last": True}, {"batch_size": 20, "shuffle": False}, {"batch_size": 1}, {"batch_size": 56},
    {"validation": 0.3, "stopping": plainnet.EarlyStopping(patience=3, min_delta=0.02)},
    {"stopping": plainnet.EarlyStopping(patience=3, min_delta=0.05)},
    {"batch_size": 20, "stopping": plainnet.EarlyStopping(patience=1, min_delta=1.0)},
    {"stopping": plainnet.EarlyStopping(patience=None, restore_best=False)}, {"clip_grad_norm": 0.01, "batch_size": 20},
], ids=str)  # fmt: skip
def test_options_of_train(options: Any) -> None:
    both(network, adam, *table(), loss=nn.MSELoss(), **{"epochs": 40, **options})


def test_a_batch_larger_than_the_cache_in_parts() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 700), nn.ReLU(), nn.Linear(700, 300), nn.LayerNorm(300), nn.Linear(300, 3))

    x, y = table(n=700)
    both(build, sgd, x, y, loss=nn.MSELoss(), epochs=3, validation=0.2)
    both(build, sgd, x, classes(3).repeat(13)[:700], loss=nn.CrossEntropyLoss(weight=WEIGHT), epochs=3, batch_size=300)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.relu(self.first(x))
        x = x + nn.functional.silu(self.second(x)) + x
        return self.last(x)


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(6, 8), nn.ReLU()), nn.Linear(8, 3))

    def forward(self, x):
        return self.net(x)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.extra, self.layer = nn.Linear(4, 4), nn.Linear(6, 3)

    def forward(self, x):
        return self.layer(x)


def test_layers_that_are_never_called_are_left_alone_by_decay_too() -> None:
    both(Unused, lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.5), *table(), loss=nn.MSELoss(), batch_size=20)
    both(Unused, lambda p: optim.SGD(p, lr=0.01), *table(), loss=nn.MSELoss(), batch_size=3)


def test_residual_blocks_nested_sequentials_and_modules_of_ones_own() -> None:
    x, y = table()
    both(Residual, adam, x, y, loss=nn.MSELoss(), batch_size=20, validation=0.2)
    both(Wrapped, adam, x, y, loss=nn.MSELoss(), batch_size=20)
    both(Wrapped, adam, x.reshape(57, 2, 3), y, loss=nn.MSELoss(), batch_size=20, validation=0.2)


def test_the_tutorials_5000_epochs_within_1e_5() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(10, 15), nn.ReLU(), nn.Linear(15, 1), nn.Sigmoid())

    x = torch.randn(100, 10, generator=torch.Generator().manual_seed(0))
    y = torch.randint(0, 2, (100, 1), generator=torch.Generator().manual_seed(0)).float()
    eager = Trained("eager", build, lambda p: optim.SGD(p, lr=0.01), x, y, loss=nn.MSELoss(), epochs=5000)
    fused = Trained("fused", build, lambda p: optim.SGD(p, lr=0.01), x, y, loss=nn.MSELoss(), epochs=5000)
    np.testing.assert_allclose(fused.history.losses, eager.history.losses, rtol=1e-5)


def test_1000_steps_of_mini_batches_within_1e_4() -> None:
    x, y = table(n=500)
    options: dict[str, Any] = {"loss": nn.MSELoss(), "batch_size": 50, "epochs": 100}
    eager, fused = (Trained(engine, network, sgd, x, y, **options) for engine in ("eager", "fused"))
    np.testing.assert_allclose(fused.history.losses, eager.history.losses, rtol=1e-4)


@pytest.mark.parametrize("kind", [nn.Dropout, nn.AlphaDropout])
def test_dropout_drops_its_share_and_keeps_the_mean(kind: Any) -> None:
    """One linear layer without bias on ones: the loss is the mean output, whose gradient counts what was kept."""

    class Mean(nn.MSELoss):
        pass

    n, features, share = 400, 50, 0.3
    model = nn.Sequential(kind(share), nn.Linear(features, 1, bias=False))
    with torch.no_grad():
        model[1].weight.fill_(1.0)
    x, y = torch.full((n, features), 0.5), torch.zeros(n, 1)
    optimizer = optim.SGD(model.parameters(), lr=1e-12)
    torch.manual_seed(0)
    losses = plainnet.train(model, x, y, loss=nn.L1Loss(), optimizer=optimizer, epochs=30, engine="fused").losses
    torch.manual_seed(1)
    others = plainnet.train(model, x, y, loss=nn.L1Loss(), optimizer=optimizer, epochs=30, engine="fused").losses
    assert len(set(losses)) > 20  # a new draw at every step
    assert set(losses) != set(others)  # from torch's generator
    expected = [float((kind(share)(x)).sum(dim=1).abs().mean()) for _ in range(30)]
    spread = np.std(expected)
    assert abs(np.mean(losses) - np.mean(expected)) < 4 * spread / np.sqrt(30) * np.sqrt(2)
    assert 0.4 < np.std(losses) / spread < 2.5


def test_dropouts_backward_pass_uses_the_same_mask() -> None:
    """With one step of a tiny rate, the change of the loss is the squared gradient: a wrong mask would break it."""
    torch.manual_seed(0)
    first = nn.Linear(6, 40)
    model = nn.Sequential(first, nn.Dropout(0.5), nn.Linear(40, 1))
    x, y = torch.randn(64, 6), torch.randn(64, 1)
    with (
        torch.no_grad()
    ):  # hidden outputs do not depend on x: each bias's gradient is 0 exactly where all rows dropped it
        first.weight.zero_()
        first.bias.fill_(1.0)
    before = first.bias.clone()
    plainnet.train(
        model,
        x[:1],
        y[:1],
        loss=nn.MSELoss(),
        optimizer=optim.SGD(model.parameters(), lr=0.1),
        epochs=1,
        engine="fused",
    )
    moved = (first.bias != before).float().mean()
    still = (model[2].weight.grad is None) and 0.2 < float(moved) < 0.8
    assert still


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_combination(data: st.DataObject) -> None:
    import copy

    draw = data.draw
    n, features, outputs = draw(st.integers(1, 40)), draw(st.integers(1, 19)), draw(st.integers(1, 5))
    widths = draw(st.lists(st.integers(1, 37), max_size=3))
    batch_size = draw(st.sampled_from([None, 1, 2, 7, 8, 9, 16, 17]))
    modules: list[nn.Module] = []
    width = features
    for next_width in widths:
        modules += [nn.Linear(width, next_width, bias=draw(st.booleans()))]
        width = next_width
        kind = draw(
            st.sampled_from(
                [
                    nn.ReLU,
                    nn.SiLU,
                    nn.GELU,
                    nn.Tanh,
                    nn.ELU,
                    nn.Mish,
                    nn.Softplus,
                    "scale",
                    *(["norm"] if width > 1 else []),
                ]
            )
        )
        modules.append(nn.LayerNorm(width) if kind == "norm" else Scale(width) if kind == "scale" else kind())
    modules.append(nn.Linear(width, outputs))
    kind, options = draw(st.sampled_from(OPTIMIZERS))
    x, y = table(n, features, outputs, torch.float64)
    loss = draw(st.sampled_from([nn.MSELoss(), nn.HuberLoss(), nn.MSELoss(reduction="sum")]))
    model = nn.Sequential(*modules).double()
    settings_of = {**options, "maximize": False} if "maximize" in options else options
    clip = draw(st.sampled_from([None, 0.5]))
    try:
        both(
            lambda: copy.deepcopy(model), lambda p: kind(p, **settings_of), x, y, loss=loss, batch_size=batch_size, epochs=5,
            clip_grad_norm=clip, rtol=1e-7,
        )  # fmt: skip
    except plainnet.LossDivergedError:
        with pytest.raises(plainnet.LossDivergedError):  # the rate is too high: then for both
            Trained("fused", lambda: copy.deepcopy(model), lambda p: kind(p, **settings_of), x, y, loss=loss,
                    batch_size=batch_size, epochs=5, clip_grad_norm=clip)  # fmt: skip
        with pytest.raises(plainnet.LossDivergedError):
            Trained("eager", lambda: copy.deepcopy(model), lambda p: kind(p, **settings_of), x, y, loss=loss,
                    batch_size=batch_size, epochs=5, clip_grad_norm=clip)  # fmt: skip
