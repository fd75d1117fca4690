"""train_many: as train alone, whatever the threads; failures stay with their own."""

import copy
import os
import signal
from time import perf_counter

import numpy as np
import pytest
import torch
from torch import nn

import plainnet
from plainnet import EarlyStopping, PlainnetWarning, SettingError, Trial, train_many

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randn(60, 1, generator=torch.Generator().manual_seed(1))


def trial(seed: int, width: int = 8, rate: float = 0.05, **options) -> Trial:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, 1))
    return Trial(model, torch.optim.Adam(model.parameters(), lr=rate), seed=seed, **options)


def some() -> list[Trial]:
    return [
        trial(i, width=3 + i, rate=0.01 * (i + 1), rows=np.arange(i, 60), held_out=range(i)) if i else trial(i)
        for i in range(6)
    ]


@pytest.mark.parametrize("engine", ["fused", "eager"])
def test_each_network_is_trained_as_alone_whatever_the_number_of_threads(engine) -> None:
    found = []
    for threads in (1, 2, 5):
        trials = some()
        torch.manual_seed(9)
        histories = train_many(
            trials, X, Y, loss=nn.MSELoss(), epochs=20, batch_size=16, threads=threads, engine=engine
        )
        found.append((histories, trials))
    for histories, trials in found:
        for a, b, s, t in zip(histories, found[0][0], trials, found[0][1], strict=True):
            assert a.losses.tolist() == b.losses.tolist()
            for p, q in zip(s.model.parameters(), t.model.parameters(), strict=True):
                assert torch.equal(p, q)
    alone = trial(0)
    torch.manual_seed(9)
    history = plainnet.train(
        alone.model,
        X,
        Y,
        loss=nn.MSELoss(),
        optimizer=alone.optimizer,
        epochs=20,
        batch_size=16,
        seed=0,
        engine=engine,
        device="cpu",
    )
    if engine == "fused":  # where dropout's seed is drawn once, before
        assert found[0][0][0].losses.tolist() == history.losses.tolist()
    assert all(history.engine == engine for history in found[0][0])
    assert found[0][0][3].validation_losses is not None


def test_a_network_that_fails_leaves_the_others_and_is_named() -> None:
    trials = [trial(0), trial(1, rate=1e30), trial(2), trial(3, batch_size=0)]
    trials.append(Trial(nn.Linear(7, 1), torch.optim.SGD(nn.Linear(7, 1).parameters(), lr=0.1)))
    with pytest.warns(
        PlainnetWarning, match="3 of 5 trials failed: trial 1: the loss became.*trial 3: batch_size.*trial 4"
    ):
        histories = train_many(trials, X, Y, loss=nn.MSELoss(), epochs=50)
    assert [bool(history.failure) for history in histories] == [False, True, False, True, True]
    assert len(histories[0]) == len(histories[2]) == 50
    assert histories[1].stopped_by == "divergence"
    assert all(bool(torch.isfinite(p).all()) for p in trials[1].model.parameters())


def test_what_the_fused_engine_cannot_train_is_trained_too() -> None:
    model = nn.Sequential(nn.Linear(4, 2), nn.PReLU(), nn.Linear(2, 1))
    trials = [trial(0), Trial(model, torch.optim.SGD(model.parameters(), lr=0.1))]
    histories = train_many(trials, X, Y, loss=nn.MSELoss(), epochs=3, engine="auto")
    assert [len(history) for history in histories] == [3, 3]
    assert histories[1].engine == "eager"
    assert "nn.PReLU has no fused kernel" in histories[1].engine_reason


def test_options_of_the_call_and_of_a_trial() -> None:
    trials = [
        trial(0),
        trial(1, epochs=7, loss=nn.L1Loss(), y=Y * 2, stopping=EarlyStopping(patience=1, min_delta=9.0)),
    ]
    histories = train_many(trials, X, Y, loss=nn.MSELoss(), epochs=5)
    assert len(histories[0]) == 5
    assert (len(histories[1]), histories[1].stopped_by) == (2, "patience")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "cpu"}, "train_many has no device"),
        ({"threads": 0}, "threads is a whole number from 1"),
        ({"trials": [1]}, "trials holds a int at 0"),
        ({"trials": [trial(0), trial(1, progress=True)]}, "trial 1 has its own progress"),
        ({"epoch": 3}, r"train_many has no option 'epoch' \(did you mean 'epochs'\?\)"),
        (
            {"trials": [trial(0, batchsize=8)]},
            r"trial 0 has an unknown option 'batchsize' \(did you mean 'batch_size'\?\)",
        ),
        ({"trials": [Trial(t := trial(0).model, 1), Trial(t, 2)]}, "two trials share a model"),
    ],
)
def test_what_cannot_be_is_explained_before_anything_starts(change, message) -> None:
    arguments = {"trials": [trial(0)], "loss": nn.MSELoss(), "epochs": 3} | change
    with pytest.raises(SettingError, match=message):
        train_many(arguments.pop("trials"), X, Y, **arguments)


def test_missing_data_and_options_are_the_trials_failures() -> None:
    with pytest.warns(PlainnetWarning, match="there is no x or no y"):
        train_many([trial(0)], loss=nn.MSELoss(), epochs=3)
    with pytest.warns(PlainnetWarning, match="epochs is missing: pass it to train_many"):
        train_many([trial(0)], X, Y, loss=nn.MSELoss())


def test_ctrl_c_ends_all_and_keeps_what_they_reached() -> None:
    n_epochs = 0

    def press(number, _, epochs):
        nonlocal n_epochs
        n_epochs += len(epochs) * (number == 0)
        if n_epochs > 100 and number == 0:
            n_epochs = -(10**9)
            os.kill(os.getpid(), signal.SIGINT)

    trials = [trial(i) for i in range(40)]
    before = copy.deepcopy(trials[0].model.state_dict())
    histories = train_many(trials, X, Y, loss=nn.MSELoss(), epochs=5_000_000, engine="fused", on_epochs=press)
    assert {history.stopped_by for history in histories} == {"interrupt"}
    assert len(histories[0]) > 100
    assert len(histories[-1]) == 0
    assert not torch.equal(before["0.weight"], trials[0].model[0].weight)


def test_a_time_limit_ends_all_and_says_so() -> None:
    x, y = torch.randn(2000, 20), torch.randn(2000, 1)
    trials = []
    for seed in range(4):
        model = nn.Sequential(nn.Linear(20, 64), nn.Tanh(), nn.Linear(64, 1))
        trials.append(Trial(model, torch.optim.Adam(model.parameters()), seed=seed))
    started = perf_counter()
    histories = train_many(
        trials, x, y, loss=nn.MSELoss(), epochs=10**6, batch_size=10, threads=2, time_limit=1.0, progress=False,
        engine="fused",
    )  # fmt: skip
    assert perf_counter() - started < 60
    assert [history.stopped_by for history in histories] == ["time"] * 4
    assert [len(history) > 0 for history in histories] == [True, True, False, False]
    with pytest.raises(SettingError, match="time_limit"):
        train_many(trials, x, y, loss=nn.MSELoss(), epochs=1, time_limit=0)
