"""Checkpoints of a network of one's own: the same call, made again, goes on to the same numbers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from plainnet import EarlyStopping, LossDivergedError, RunError, SettingError, TrainingError, train

X = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randn(120, 1, generator=torch.Generator().manual_seed(1))
OPTIONS = {"loss": nn.MSELoss(), "epochs": 300, "batch_size": 16, "progress": False, "engine": "fused"}


def trained(seed: int = 0, kind: type[torch.optim.Optimizer] = torch.optim.AdamW, **options):
    """Train a network with all that a state is made of; return it, its optimizer and its history."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 1))
    optimizer = kind(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 50)
    given = {"x": X, "y": Y, "validation": 0.2, "stopping": EarlyStopping(patience=250), "scheduler": scheduler}
    history = train(model, optimizer=optimizer, **(OPTIONS | given | options))
    return model, optimizer, history


def interrupt_at(epoch: int):
    def look(found):
        if found.index == epoch:
            raise KeyboardInterrupt

    return look


def test_a_training_that_was_stopped_goes_on_to_the_numbers_of_one(tmp_path) -> None:
    whole, whole_optimizer, once = trained()
    folder = tmp_path / "kept"
    for epoch in (20, 40, 150):
        *_, history = trained(checkpoint=folder, checkpoint_every=1e-6, on_epoch=interrupt_at(epoch))
        assert history.stopped_by == "interrupt"
        assert epoch - 5 < len(history) <= epoch + 1
        assert folder.is_dir()
    own, optimizer, history = trained(checkpoint=folder)
    assert history.losses.tolist() == once.losses.tolist()
    assert history.validation_losses.tolist() == once.validation_losses.tolist()
    assert history.learning_rates.tolist() == once.learning_rates.tolist()
    assert (history.stopped_by, history.restored_best) == (once.stopped_by, once.restored_best)
    for p, q in zip(own.state_dict().values(), whole.state_dict().values(), strict=True):
        assert torch.equal(p, q)
    for state, other in zip(optimizer.state.values(), whole_optimizer.state.values(), strict=True):
        assert all(torch.equal(state[name], other[name]) for name in other)
    assert not folder.exists()


KILLED = """
import sys, torch
from tests.training.test_keeping import trained
trained(checkpoint=sys.argv[1], checkpoint_every=0.01, epochs=10**6, stopping=None, scheduler=None)
"""


def test_a_training_that_is_killed_goes_on(tmp_path) -> None:
    folder = tmp_path / "kept"
    command = [sys.executable, "-c", KILLED, str(folder)]
    killed = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 120
    while len(list(folder.glob("checkpoint-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    with pytest.raises(RunError, match=f"is under way by another process, number {killed.pid}"):
        trained(checkpoint=folder, epochs=10**6, stopping=None, scheduler=None)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    seen = []
    trained(
        checkpoint=folder,
        epochs=10**6,
        stopping=None,
        scheduler=None,
        on_epoch=lambda epoch: seen.append(epoch) or True,
    )
    assert seen[0].index > 0
    assert not folder.exists()


@pytest.mark.parametrize("other", [{"seed": 1}, {"epochs": 301}, {"y": -Y}, {"batch_size": 8}, {"loss": nn.L1Loss()}])
def test_another_training_is_not_taken_for_it(tmp_path, other) -> None:
    trained(checkpoint=tmp_path / "kept", on_epoch=interrupt_at(9))
    with pytest.raises(RunError, match="is of another training"):
        trained(checkpoint=tmp_path / "kept", **other)


def test_what_cannot_be_kept_is_said(tmp_path) -> None:
    with pytest.raises(SettingError, match="leave out engine='eager'"):
        trained(checkpoint=tmp_path / "kept", engine="eager")
    with pytest.raises(SettingError, match="checkpoint_every is a number above 0, not 0"):
        trained(checkpoint=tmp_path / "kept", checkpoint_every=0)
    with pytest.raises(SettingError, match="checkpoints do not hold what Rprop keeps"):
        trained(checkpoint=tmp_path / "kept", kind=torch.optim.Rprop)
    with pytest.raises(TrainingError, match="engine='fused' cannot train this: the loss <lambda>"):
        trained(checkpoint=tmp_path / "kept", loss=lambda p, y: ((p - y) ** 2).mean())
    assert not (tmp_path / "kept").exists()


def test_a_loss_that_diverges_leaves_nothing_to_go_on_from(tmp_path) -> None:
    with pytest.raises(LossDivergedError):
        trained(checkpoint=tmp_path / "kept", x=X * 1e30, kind=torch.optim.SGD)
    assert not (tmp_path / "kept").exists()
