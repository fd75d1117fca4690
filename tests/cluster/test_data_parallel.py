"""``cluster.train`` beside ``plainnet.train``: the same losses, also where workers are killed on the way."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import torch
from torch import nn

import plainnet
from plainnet.errors import LossDivergedError, RunError, SettingError, TrainingError
from plainnet.settings import EarlyStopping
from tests.cluster.conftest import kill_one, processes

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("default"),  # Ray's own, which are its makers' affair
]

EPOCHS = 6


@pytest.fixture
def rows():
    random = np.random.default_rng(0)
    x = random.normal(size=(1500, 10)).astype(np.float32)
    return x, (x[:, :1] * x[:, 1:2] + 0.1 * random.normal(size=(1500, 1))).astype(np.float32)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 32), nn.SiLU(), nn.Linear(32, 1))


def fitted(rows, on_cluster=False, epochs=EPOCHS, **options):
    """Train; return the network, the optimizer and the history."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)
    train = plainnet.cluster.train if on_cluster else plainnet.train
    history = train(
        model, *rows, loss=nn.MSELoss(), optimizer=optimizer, epochs=epochs, batch_size=128, validation=0.2, clip_grad_norm=1.0,
        scheduler=scheduler, stopping=EarlyStopping(patience=500), progress=False, **options,
    )  # fmt: skip
    return model, optimizer, history


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_has_the_losses_of_one_process(ray_cluster, rows, workers) -> None:
    model, optimizer, alone = fitted(rows, engine="fused")
    seen = []
    shared, own, history = fitted(rows, on_cluster=True, workers=workers, on_epoch=seen.append)
    np.testing.assert_allclose(history.losses, alone.losses, rtol=1e-4)
    np.testing.assert_allclose(history.validation_losses, alone.validation_losses, rtol=1e-4)
    np.testing.assert_allclose(history.learning_rates, alone.learning_rates, rtol=1e-12)
    assert [epoch.index for epoch in seen] == list(range(EPOCHS))
    assert (history.stopped_by, history.restored_best) == ("", True)
    assert history.engine_reason.endswith(f"on {workers} workers of a Ray cluster")
    for a, b in zip(model.parameters(), shared.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
        state, other = optimizer.state[a], own.state[b]
        assert state["step"] == other["step"]
        torch.testing.assert_close(state["exp_avg"], other["exp_avg"], rtol=1e-2, atol=1e-5)


def test_a_killed_worker_is_replaced_and_the_numbers_are_the_same(ray_cluster, rows) -> None:
    epochs = 150
    _, _, alone = fitted(rows, engine="fused", epochs=epochs)
    killed = []

    def kill(epoch):
        if (epoch.index >= 3 and not killed) or (epoch.index >= 60 and len(killed) == 1):
            kill_one("ray::Worker", place=-len(killed) - 1)
            killed.append(epoch.index)

    _, _, history = fitted(rows, on_cluster=True, workers=2, on_epoch=kill, checkpoint_every=0, epochs=epochs)
    assert len(killed) == 2
    np.testing.assert_allclose(history.losses, alone.losses, rtol=1e-3)
    np.testing.assert_allclose(history.losses[:20], alone.losses[:20], rtol=1e-4)
    assert [epoch.index for epoch in history.epochs] == list(range(epochs))


def test_ctrl_c_ends_the_workers_and_keeps_what_is_there(ray_cluster, rows) -> None:
    def interrupt():
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

    started = []

    def note(epoch):
        if not started:
            started.append(threading.Thread(target=interrupt))
            started[0].start()

    before = [p.clone() for p in network().parameters()]
    model, _, history = fitted(rows, on_cluster=True, workers=2, epochs=10**6, on_epoch=note)
    started[0].join()
    assert history.stopped_by == "interrupt"
    assert 0 < len(history) < 10**6
    assert not torch.equal(before[0], next(model.parameters()).detach())
    assert wait_for_none("ray::Worker")


def wait_for_none(name):
    for _ in range(100):
        if not processes(name):
            return True
        time.sleep(0.1)
    return False


def test_who_looks_on_can_stop_the_plain_loop(ray_cluster, rows) -> None:
    options = {"epochs": 10**6, "engine": "eager", "on_epoch": lambda epoch: epoch.index >= 2}
    _, _, history = fitted(rows, on_cluster=True, workers=2, **options)
    _, _, alone = fitted(rows, **options)
    assert history.stopped_by == "on_epoch"
    assert history.engine == "eager"
    np.testing.assert_allclose(history.losses[:3], alone.losses[:3], rtol=1e-4)


def test_a_loss_that_diverges_is_told_with_the_last_good_weights(ray_cluster, rows) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e6)
    with pytest.raises(LossDivergedError, match="the loss became") as caught:
        plainnet.cluster.train(
            model, *rows, loss=nn.MSELoss(), optimizer=optimizer, epochs=3, batch_size=64, workers=1, progress=False
        )
    assert caught.value.history.stopped_by == "divergence"
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_what_fails_in_a_worker_alone_is_told_in_one_sentence(ray_cluster, rows) -> None:
    here = os.getpid()

    class Loss(nn.MSELoss):
        def forward(self, prediction, target):
            if os.getpid() != here:
                raise ValueError("only there")
            return super().forward(prediction, target)

    model = network()
    message = "a worker of the cluster cannot train: ValueError: only there. Every node needs the same plainnet, torch and Python"
    with pytest.raises(RunError, match=message):
        plainnet.cluster.train(
            model,
            *rows,
            loss=Loss(),
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            epochs=3,
            workers=1,
            progress=False,
        )


def test_mistakes_are_told_before_a_worker_begins(ray_cluster, rows) -> None:
    with pytest.raises(SettingError, match=r"the cluster has \d+ CPUs, and 500 workers need one each"):
        fitted(rows, on_cluster=True, workers=500)
    with pytest.raises(SettingError, match="device='cuda' needs a GPU for each worker, and the cluster has none"):
        fitted(rows, on_cluster=True, workers=2, device="cuda")
    with pytest.raises(TrainingError, match="2 workers have at least one row each, and there are 1 validation rows"):
        fitted([part[:5] for part in rows], on_cluster=True, workers=2)
    assert wait_for_none("ray::Worker")
