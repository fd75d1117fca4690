"""Which engine runs, and the reason it gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import plainnet
from plainnet import SettingError, TrainingError
from plainnet.networks.monotone import WeightBounds

X, Y = torch.randn(20, 4), torch.randn(20, 1)


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x):
        return self.layer(x) if x.sum() > 0 else -self.layer(x)


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.calls = nn.Linear(4, 1), 0

    def forward(self, x):
        self.calls += 1
        return self.layer(x)


class Drawing(Counting):
    def forward(self, x):
        return self.layer(x) if torch.rand(()) < 2 else x


class Detached(Counting):
    def forward(self, x):
        return self.layer(torch.exp(x))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 1)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.out(self.b(self.a(x)))


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(4, 4), nn.Linear(4, 1)

    def forward(self, x):
        return self.out(self.a(self.a(x)))


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 1))
    model[0].register_forward_hook(lambda *_: None)
    return model


def parameter_hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 1))
    model[0].weight.register_hook(lambda gradient: gradient)
    return model


MODELS = [
    (lambda: nn.Sequential(nn.Linear(4, 3), nn.PReLU(), nn.Linear(3, 1)), "nn.PReLU has no fused kernel"),
    (lambda: nn.Sequential(nn.Linear(4, 1), nn.Softmax(dim=0)), r"nn.Softmax\(dim=0\) is not over the features"),
    (lambda: nn.Linear(4, 1).to(torch.bfloat16), "weights are bfloat16"),
    (hooked, "has a hook"),
    (parameter_hooked, "a parameter has a hook"),
    (Branching, "forward of Branching is more than a list of layers"),
    (Counting, "forward of Counting changes the network"),
    (Drawing, "more than a list of layers|draws random numbers"),
    (Detached, "forward of Detached uses exp"),
    (Tied, "two layers share a parameter"),
    (Twice, "two layers share a parameter"),
]


def run(model, engine="fused", loss=None, optimizer=None, x=X, y=Y, **options):
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.01)
    return plainnet.train(
        model, x, y, loss=loss or nn.MSELoss(), optimizer=optimizer, **{"epochs": 2, **options}, engine=engine
    )


@pytest.mark.parametrize(("build", "reason"), MODELS, ids=[row[1] for row in MODELS])
def test_what_cannot_be_fused_says_why_and_trains_eagerly(build, reason) -> None:
    x, y = (X.bfloat16(), Y.bfloat16()) if "bfloat16" in reason else (X, Y)
    with pytest.raises(
        TrainingError, match=f"engine='fused' cannot train this: .*({reason}).*Pass engine='auto' or 'eager'"
    ):
        run(build(), x=x, y=y)
    history = run(build(), "auto", x=x, y=y)
    assert history.engine == "eager"
    assert len(history) == 2


def test_losses_and_optimizers_without_a_kernel() -> None:
    model = nn.Linear(4, 1)
    for loss, reason in (
        (lambda p, t: (p - t).abs().mean(), "the loss <lambda>"),
        (nn.SoftMarginLoss(), "SoftMarginLoss has no"),
    ):
        with pytest.raises(TrainingError, match=reason):
            run(model, loss=loss)
    with pytest.raises(TrainingError, match="LBFGS measures the loss several times"):
        run(model, optimizer=torch.optim.LBFGS(model.parameters()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    optimizer.register_step_post_hook(lambda *_: None)
    with pytest.raises(TrainingError, match="SGD has a hook"):
        run(model, optimizer=optimizer)
    optimizer = torch.optim.SGD([model.weight], lr=0.01)
    optimizer.register_step_post_hook(WeightBounds([(model.bias, torch.zeros(1), torch.ones(1))]))
    with pytest.raises(TrainingError, match="SGD has WeightBounds of parameters that it does not step"):
        run(model, optimizer=optimizer)

    class Own(torch.optim.SGD):
        pass

    with pytest.raises(TrainingError, match="the optimizer Own has no fused kernel"):
        run(model, optimizer=Own(model.parameters(), lr=0.1))


def test_a_wrong_name_and_the_reasons_of_history() -> None:
    with pytest.raises(SettingError, match="engine is 'auto', 'eager', 'fused' or 'graphed', not 'fast'"):
        run(nn.Linear(4, 1), "fast")
    assert run(nn.Linear(4, 1), "eager").engine_reason == "the plain PyTorch loop, on cpu: it was asked for"
    assert run(nn.Linear(4, 1)).engine_reason == "whole epochs in compiled code, on cpu"


@pytest.mark.parametrize("kind", ["Muon", "Adafactor"])
def test_optimizers_that_take_their_own_step_on_the_fused_gradient(kind) -> None:
    if not hasattr(torch.optim, kind):
        pytest.skip(f"this torch has no {kind}")
    states = []
    for engine in ("eager", "fused"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 6, bias=False), nn.Tanh(), nn.Linear(6, 1, bias=False))
        optimizer = getattr(torch.optim, kind)(model.parameters(), lr=0.01)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        history = run(
            model,
            engine,
            optimizer=optimizer,
            epochs=6,
            batch_size=7,
            scheduler=scheduler,
            validation=0.2,
            clip_grad_norm=1.0,
        )
        states.append((history, model.state_dict()))
    (eager, a), (fused, b) = states
    assert fused.engine == "fused"
    # Muon rounds to bfloat16, which turns a last bit of the gradient into a hundredth of a step.
    assert fused.losses == pytest.approx(eager.losses, rel=1e-3)
    assert fused.learning_rates.tolist() == eager.learning_rates.tolist()
    for name in a:
        torch.testing.assert_close(b[name], a[name], rtol=2e-2, atol=2e-3)


SCRIPT = """
import sys, torch, plainnet
from torch import nn
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
for _ in range(int(sys.argv[2])):
    history = plainnet.train(model, torch.ones(8, 4), torch.ones(8, 1), loss=nn.MSELoss(), optimizer=optimizer, epochs=int(sys.argv[3]),
                             engine=sys.argv[1])
    print(history.engine, history.engine_reason)
print(history.losses[-1])
"""


def start(cache: Path, engine: str, times: int = 1, epochs: int = 20) -> subprocess.Popen[str]:
    environment = os.environ | {"PLAINNET_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", SCRIPT, engine, str(times), str(epochs)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output(process: subprocess.Popen[str]) -> list[str]:
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    assert error == ""
    return out.splitlines()


@pytest.mark.slow
def test_first_runs_side_by_side_a_damaged_cache_and_a_folder_that_cannot_be_written(tmp_path) -> None:
    cache = tmp_path / "cache"
    both = [start(cache, "fused"), start(cache, "fused")]  # at once, both cold
    first, second = (output(process) for process in both)
    assert first == second
    assert len([*cache.rglob("*.nbc")]) > 5
    for path in cache.rglob("*.nbc"):
        path.write_bytes(path.read_bytes()[:100])
    assert output(start(cache, "fused")) == first
    closed = tmp_path / "file"
    closed.write_text("no folder")
    assert output(start(closed, "fused")) == first


@pytest.mark.slow
def test_while_cold_short_trainings_are_eager_until_they_add_up(tmp_path) -> None:
    lines = output(start(tmp_path, "auto", times=3, epochs=15_000))
    assert lines[0].startswith("eager the plain PyTorch loop, on cpu: sooner done than the fused engine is compiled")
    assert lines[2].startswith("fused")


def test_wide_normalisations_are_left_to_pytorchs_threads() -> None:
    threads = torch.get_num_threads()
    model = nn.Sequential(
        nn.Linear(4, 256), nn.BatchNorm1d(256), nn.Linear(256, 256), nn.BatchNorm1d(256), nn.Linear(256, 1)
    )
    x, y = torch.randn(1024, 4), torch.randn(1024, 1)
    try:
        torch.set_num_threads(2)
        history = run(model, "auto", x=x, y=y, epochs=1)
        assert history.engine_reason.endswith("sooner done with normalisations this wide")
        assert run(model, "fused", x=x, y=y, epochs=1).engine == "fused"
    finally:
        torch.set_num_threads(threads)
