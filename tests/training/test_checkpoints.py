"""Checkpoints of train_many: cut anywhere, it goes on with the same numbers."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from plainnet import (
    DataWarning,
    EarlyStopping,
    Epoch,
    LossDivergedError,
    PlainnetWarning,
    RunError,
    SettingError,
    Trial,
    train_many,
)  # fmt: skip
from plainnet.engines.job import Epochs
from plainnet.training.checkpoints import Checkpoints, Kept, read_checkpoint
from plainnet.training.keeping import Keeper

X = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randn(120, 1, generator=torch.Generator().manual_seed(1))
OPTIONS = {"loss": nn.MSELoss(), "epochs": 120, "batch_size": 16, "engine": "fused", "progress": False, "threads": 2}


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 1))


def trials(full_batch: bool = False) -> list[Trial]:
    """Networks with dropout, normalisation, early stopping, schedules of steps and of epochs, and other optimizers."""
    found = []
    kinds = (torch.optim.AdamW, torch.optim.NAdam, torch.optim.SGD)
    for seed, kind in enumerate(kinds):
        model = network(seed)
        optimizer = kind(model.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.999**step)
        found.append(
            Trial(
                model, optimizer, rows=np.arange(20, 120), held_out=range(20), seed=seed, scheduler=schedule,
                scheduler_every="epoch" if seed else "step", stopping=EarlyStopping(patience=40),
                **({"batch_size": None} if full_batch else {}),
            )
        )  # fmt: skip
    torch.manual_seed(9)
    return found


def cut_and_go_on(folder: Path, make, looks: int, **options):
    """Train with a stop after each so many looks; return the trials and histories at the end, and how many stops there were."""
    for stops in range(200):
        found = read_checkpoint(folder) if stops else None
        checkpoints = Checkpoints(folder, 0.001, {}, found)
        checkpoints.begin("the same")
        count = 0

        def look(number, model, epochs):
            nonlocal count
            count += 1
            return count >= looks

        own = make()
        histories = train_many(own, X, Y, **(OPTIONS | options), on_epochs=look, checkpoints=checkpoints)
        if not any(history.stopped_by == "on_epoch" for history in histories):
            return own, histories, stops
    raise AssertionError("it comes to no end")


def same(a, b) -> None:
    """Two calls of train_many gave the same networks and histories, to the last bit."""
    for s, t, h, g in zip(a[0], b[0], a[1], b[1], strict=True):
        assert h.losses.tolist() == g.losses.tolist()
        assert (h.validation_losses is None) == (g.validation_losses is None)
        if h.validation_losses is not None:
            assert h.validation_losses.tolist() == g.validation_losses.tolist()
        assert h.learning_rates.tolist() == g.learning_rates.tolist()
        assert (h.stopped_by, h.failure, h.restored_best) == (g.stopped_by, g.failure, g.restored_best)
        for p, q in zip(s.model.state_dict().values(), t.model.state_dict().values(), strict=True):
            assert torch.equal(p, q)


@pytest.mark.parametrize("full_batch", [False, True], ids=["batches", "one batch"])
def test_a_training_that_is_stopped_many_times_gives_the_numbers_of_one(tmp_path, full_batch) -> None:
    whole = trials(full_batch)
    histories = train_many(whole, X, Y, **OPTIONS)
    own, again, stops = cut_and_go_on(tmp_path, lambda: trials(full_batch), 30)
    assert stops > 3
    same((whole, histories), (own, again))
    assert len(list(tmp_path.iterdir())) == 2  # the last two are kept


def test_a_loss_that_becomes_nan_in_the_middle_does_so_again(tmp_path) -> None:
    def make() -> list[Trial]:
        found = trials()[:1]
        model = network(5)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        explodes = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0 if epoch < 60 else 1e38)
        found.append(Trial(model, optimizer, scheduler=explodes))
        torch.manual_seed(9)
        return found

    whole = make()
    with pytest.warns(PlainnetWarning, match="1 of 2 trials failed: trial 1: the loss became"):
        histories = train_many(whole, X, Y, **OPTIONS)
    assert 60 <= len(histories[1]) < 120
    with pytest.warns(PlainnetWarning, match="1 of 2 trials failed: trial 1: the loss became"):
        own, again, stops = cut_and_go_on(tmp_path, make, 20)
    assert stops > 2
    same((whole, histories), (own, again))


def test_epochs_that_are_kept_stay_where_the_next_one_diverges(tmp_path) -> None:
    def parts():
        raise LossDivergedError("the loss became nan")
        yield

    checkpoints = Checkpoints(tmp_path, 1.0)
    checkpoints._members[0] = Kept(Epochs([Epoch(0, 0.5, None, 0.1, 0.0)]), {})
    followed = Keeper(checkpoints, 0, network(5)).followed(parts())
    assert len(next(followed)) == 1
    with pytest.raises(LossDivergedError):
        next(followed)


def test_a_checkpoint_of_another_training_is_refused(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path, 1.0)
    checkpoints.begin("one")
    with pytest.raises(RunError, match="is of another training: the rows, the settings or the first weights differ"):
        Checkpoints(tmp_path, 1.0, {}, read_checkpoint(tmp_path)).begin("two")


def test_a_damaged_checkpoint_is_passed_over(tmp_path) -> None:
    checkpoints = Checkpoints(tmp_path, 1.0, {"a": 1})
    checkpoints.begin("one")
    train_many(trials(), X, Y, **(OPTIONS | {"epochs": 3}), checkpoints=checkpoints)
    newest = tmp_path / "checkpoint-000002.safetensors"
    data = bytearray(newest.read_bytes())
    for change in (slice(-3, -2), slice(100, 101)):  # a number, and the text
        damaged = data.copy()
        damaged[change] = bytes([damaged[change][0] ^ 1])
        newest.write_bytes(damaged)
        with pytest.warns(DataWarning, match=r"checkpoint-000002.safetensors' is damaged .*; the one before is taken"):
            assert read_checkpoint(tmp_path).members == {}
    newest.write_bytes(data[:50])
    (tmp_path / "checkpoint-000001.safetensors").unlink()
    with pytest.raises(RunError, match=r"no checkpoint to go on from .*damaged"):
        read_checkpoint(tmp_path)


def test_a_full_disk_is_a_note_once_and_the_last_good_file_stays(tmp_path, monkeypatch) -> None:
    checkpoints = Checkpoints(tmp_path, 0.001)
    checkpoints.begin("one")
    good = (tmp_path / "checkpoint-000001.safetensors").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        message = "could not be written, and the training goes on without.*No space"
        with pytest.warns(DataWarning, match=message) as said:
            histories = train_many(trials(), X, Y, **(OPTIONS | {"epochs": 500}), checkpoints=checkpoints)
    assert len(said) == 1
    assert all(len(history) for history in histories)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000001.safetensors"]
    assert (tmp_path / "checkpoint-000001.safetensors").read_bytes() == good


def test_what_the_fused_engine_does_not_train_has_no_checkpoints(tmp_path) -> None:
    with pytest.raises(
        SettingError, match=r"checkpoints are kept by the fused engine alone, and this is the plain PyTorch loop"
    ):
        train_many(trials(), X, Y, **(OPTIONS | {"engine": "eager"}), checkpoints=Checkpoints(tmp_path, 1.0))
