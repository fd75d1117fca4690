"""Who looks on at a training sees its epochs and its weights, may end it, and changes nothing."""

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import plainnet
from plainnet import Trial, train_many
from plainnet.errors import RunError
from plainnet.runs.again import test_rows_of as rows_tested_by
from plainnet.runs.runs import Run
from plainnet.runs.train_run import train_run

EPOCHS = {"fused": 300, "eager": 20}


def trials(count: int = 2) -> list[Trial]:
    torch.manual_seed(0)
    models = [nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)) for _ in range(count)]
    return [Trial(model, torch.optim.SGD(model.parameters(), lr=0.05)) for model in models]


@pytest.fixture(scope="module")
def rows() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(60, 3, generator=torch.Generator().manual_seed(1))
    return x, x[:, :1] * x[:, 1:2]


@pytest.mark.parametrize("engine", ["fused", "eager"])
def test_a_watched_training_gives_the_same_numbers_and_its_weights_are_there_to_see(rows, engine) -> None:
    seen: dict[int, list[float]] = {0: [], 1: []}

    def look(number: int, model: nn.Module, epochs) -> None:
        seen[number] += [epoch.loss for epoch in epochs]
        if epochs[-1].index < EPOCHS[engine] - 1:
            with torch.no_grad():
                loss = nn.functional.mse_loss(model(rows[0]), rows[1])
            following.setdefault((number, epochs[-1].index + 1), float(loss))

    following: dict[tuple[int, int], float] = {}
    options = {"loss": nn.MSELoss(), "epochs": EPOCHS[engine], "engine": engine}
    plain, watched = trials(), trials()
    histories = train_many(plain, *rows, **options)
    again = train_many(watched, *rows, on_epochs=look, **options)
    for number, (history, other) in enumerate(zip(histories, again, strict=True)):
        assert history.losses.tolist() == other.losses.tolist() == seen[number]
        for ours, theirs in zip(plain[number].model.parameters(), watched[number].model.parameters(), strict=True):
            assert torch.equal(ours, theirs)
    assert len(following) >= EPOCHS[engine] / 2  # some hundred looks at each network
    for (number, epoch), loss in following.items():  # a full batch: the next epoch's loss is that of the weights seen
        assert loss == pytest.approx(histories[number].losses[epoch], abs=1e-5)


def test_who_looks_on_may_end_all(rows) -> None:
    histories = train_many(
        trials(6), *rows, loss=nn.MSELoss(), epochs=50_000, threads=2, on_epochs=lambda number, model, epochs: True
    )
    assert {history.stopped_by for history in histories} == {"on_epoch"}
    assert any(0 < len(history) < 50_000 for history in histories)
    assert any(not len(history) for history in histories)


def test_a_trial_has_no_watcher_of_its_own(rows) -> None:
    trial = trials(1)[0]
    trial.options["on_epochs"] = print
    with pytest.raises(plainnet.SettingError, match="has its own on_epochs"):
        train_many([trial], *rows, loss=nn.MSELoss(), epochs=1)


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    x = np.random.default_rng(0).normal(size=(300, 2))
    return pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "kind": np.where(x[:, 0] * x[:, 1] > 0, "same", "other")})


def test_a_fit_that_is_ended_keeps_the_best_so_far(table) -> None:
    looks = []

    def look(number: int, model: nn.Module, epochs) -> bool:
        looks.append(number)
        return len(looks) >= 5

    classifier = plainnet.NetClassifier(effort="quick", epochs=500, patience=500).fit(table, "kind", on_epochs=look)
    assert classifier.history_.stopped_by == "on_epoch"
    assert 1 <= len(classifier.members_) < 8
    assert classifier.predict(table).shape == (300,)


def test_the_rows_of_a_run_s_test_are_found_again(table, tmp_path) -> None:
    path, seen = tmp_path / "t.csv", []
    table.write_csv(path)
    run = train_run(
        path, "kind", tmp_path / "run", settings={"members": 1, "epochs": 3},
        on_epochs=lambda estimator, member, network, epochs: seen.append((estimator.schema_.n_rows, member, len(epochs))),
    )  # fmt: skip
    assert seen[0][:2] == (240, 0)
    assert sum(count for _, _, count in seen) == 3
    x, y, numbers = rows_tested_by(run)
    assert (len(x), len(y), numbers.tolist()) == (60, 60, sorted(numbers.tolist()))
    score = next(each for each in run.facts["scores"]["test"] if each["metric"] == "accuracy")
    assert (run.estimator().predict(x) == y).mean() == pytest.approx(score["value"])
    older = {key: value for key, value in run.facts.items() if key != "test_share"}
    with pytest.raises(RunError, match="does not say how many rows were held out: train again"):
        rows_tested_by(Run(run.path, older))
    table.head(290).write_csv(path)
    with pytest.raises(RunError, match="is not what the run was trained on"):
        rows_tested_by(run)
