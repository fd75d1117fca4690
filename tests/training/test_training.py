"""Validation, stopping, divergence, Ctrl-C, callbacks, and the history."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import plainnet
from plainnet import EarlyStopping, History, LossDivergedError, RunError, SettingError
from tests.helpers import first_network


def fit(epochs: int = 30, lr: float = 0.01, **options):
    model, x, y = first_network()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return model, x, y, plainnet.train(model, x, y, loss=nn.MSELoss(), optimizer=optimizer, epochs=epochs, **options)


def loss_of(model, x, y) -> float:
    with torch.no_grad():
        return float(nn.functional.mse_loss(model(x), y))


def test_validation_losses_are_measured_after_each_epoch() -> None:
    model, x, y, history = fit(validation=(torch.ones(7, 10), torch.ones(7, 1)))
    assert history.validation_losses is not None
    assert history.validation_losses.shape == (30,)
    assert history.validation_losses[-1] == pytest.approx(loss_of(model, torch.ones(7, 10), torch.ones(7, 1)), rel=1e-6)


def test_a_share_of_the_rows_is_held_out_and_not_trained_on() -> None:
    _, _, _, history = fit(validation=0.25, epochs=1)
    model, x, y = first_network()
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    kept = order[25:].sort().values
    assert history.losses[0] == pytest.approx(loss_of(model, x[kept], y[kept]), rel=1e-6)


def test_early_stopping_restores_the_best_weights() -> None:
    x = torch.randn(30, 10, generator=torch.Generator().manual_seed(5))
    y = (torch.rand(30, 1, generator=torch.Generator().manual_seed(6)) < 0.5).float()
    model, _, _, history = fit(epochs=3000, lr=0.5, validation=(x, y), stopping=EarlyStopping(patience=15))
    assert history.stopped_by == "patience"
    assert history.restored_best
    assert history.best_epoch == len(history) - 16
    assert history.validation_losses is not None
    assert loss_of(model, x, y) == pytest.approx(history.validation_losses.min(), rel=1e-6)


def test_without_validation_the_best_training_loss_is_restored() -> None:
    model, x, y, history = fit(epochs=40, lr=80.0, stopping=EarlyStopping(patience=None))
    assert loss_of(model, x, y) == pytest.approx(history.losses.min(), rel=1e-6)


def test_without_stopping_the_last_weights_stay() -> None:
    model, x, y, history = fit(epochs=5)
    twin, x, y, again = fit(epochs=6)
    assert loss_of(model, x, y) == pytest.approx(again.losses[5], rel=1e-6)


@pytest.mark.parametrize("values", [{"patience": 0}, {"min_delta": -1.0}])
def test_stopping_outside_its_range(values) -> None:
    with pytest.raises(SettingError, match="patience is|min_delta is"):
        EarlyStopping(**values)


@pytest.mark.parametrize("batch_size", [None, 32])
def test_a_loss_that_turns_nan_stops_with_the_last_good_weights(batch_size) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 15), nn.ReLU(), nn.Linear(15, 1))
    x, y = torch.randn(100, 10), torch.randn(100, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=5.0)
    with pytest.raises(
        LossDivergedError, match=r"became (nan|inf) in epoch \d+ at learning rate 5.*Try a learning rate of 0.5"
    ) as caught:
        plainnet.train(model, x, y, loss=nn.MSELoss(), optimizer=optimizer, epochs=1000, batch_size=batch_size)
    assert caught.value.history is not None
    assert caught.value.history.stopped_by == "divergence"
    assert all(math.isfinite(loss) for loss in caught.value.history.losses)
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    assert math.isfinite(loss_of(model, x, y))


def test_ctrl_c_returns_the_history_so_far() -> None:
    def interrupt(epoch: plainnet.Epoch) -> None:
        if epoch.index == 4:
            raise KeyboardInterrupt

    _, _, _, history = fit(on_epoch=interrupt)
    assert history.stopped_by == "interrupt"
    assert len(history) == 5


def test_on_epoch_stops_by_returning_true() -> None:
    _, _, _, history = fit(on_epoch=lambda epoch: epoch.index == 2)
    assert (len(history), history.stopped_by) == (3, "on_epoch")


def test_modes_and_gradients_are_the_callers_inside_the_loop() -> None:
    seen = []

    def look(_: plainnet.Epoch) -> None:
        seen.append((model.training, frozen.training, torch.is_grad_enabled()))

    frozen = nn.BatchNorm1d(10).eval()
    model = nn.Sequential(frozen, nn.Linear(10, 1))
    frozen.eval()
    x, y = torch.randn(20, 10), torch.randn(20, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    plainnet.train(model, x, y, loss=nn.MSELoss(), optimizer=optimizer, epochs=3, validation=0.2, on_epoch=look)
    assert seen == [(True, False, True)] * 3
    assert torch.equal(frozen.running_mean, torch.zeros(10))


def test_numpy_arrays_are_taken() -> None:
    model, x, y = first_network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    history = plainnet.train(model, x.numpy(), y.numpy(), loss=nn.MSELoss(), optimizer=optimizer, epochs=3)
    assert history.losses == pytest.approx(fit(epochs=3)[3].losses)


def test_history_says_what_ran() -> None:
    history = fit(epochs=3, engine="eager")[3]
    assert (history.engine, len(history), history.stopped_by) == ("eager", 3, "")
    assert "plain PyTorch loop" in history.engine_reason
    assert history.seconds.shape == history.learning_rates.shape == (3,)
    assert "3 epochs" in repr(history)
    frame = history.to_frame()
    assert frame.columns == ["epoch", "loss", "validation_loss", "learning_rate", "seconds"]
    assert frame["loss"].to_numpy() == pytest.approx(history.losses)


@pytest.mark.parametrize("validation", [None, 0.2])
def test_history_is_saved_and_loaded(tmp_path, validation) -> None:
    history = fit(epochs=3, validation=validation)[3]
    history.save(tmp_path / "h.json")
    assert History.load(tmp_path / "h.json") == history
    history.save(tmp_path / "h.csv")
    assert History.load(tmp_path / "h.csv").epochs == history.epochs


def test_history_files_that_cannot_be(tmp_path) -> None:
    history = fit(epochs=1)[3]
    with pytest.raises(RunError, match="saved as .csv or .json"):
        history.save(tmp_path / "h.pickle")
    with pytest.raises(RunError, match="cannot be written"):
        history.save(tmp_path / "no" / "h.csv")
    with pytest.raises(RunError, match="cannot be read"):
        History.load(tmp_path / "missing.csv")
    for name, content in (("a.json", "[]"), ("b.json", "{"), ("c.csv", "a,b\n1,2\n"), ("d.json", '{"epochs": 3}')):
        (tmp_path / name).write_text(content)
        with pytest.raises(RunError, match="is no history"):
            History.load(tmp_path / name)


def test_plot_is_the_tutorials() -> None:
    history = fit(epochs=5)[3]
    axes = history.plot()
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("epoch", "loss", "Learning rate 0.010000")
    np.testing.assert_allclose(axes.lines[0].get_ydata(), history.losses)


def test_plot_with_validation_marks_the_best_epoch() -> None:
    history = fit(epochs=5, validation=0.2)[3]
    axes = history.plot()
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["training loss", "validation loss", f"best epoch: {history.best_epoch}"]


def test_progress_is_silent_where_no_terminal_is(capsys) -> None:
    fit(epochs=2, progress=True)
    assert capsys.readouterr() == ("", "")


def test_the_bar_shows_losses_and_speed(monkeypatch, capsys) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    monkeypatch.setenv("COLUMNS", "200")
    fit(epochs=3, progress=True, validation=0.2)
    shown = capsys.readouterr().err
    assert "validation loss" in shown
    assert "epochs/s" in shown
    assert "3/3" in shown
