"""Cross-validation: every row is tested once, by networks that did not see it."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score
from torch import nn

from plainnet import DataWarning, NetClassifier, NetRegressor, SettingError, TableError
from plainnet.runs import folds as folds_file
from plainnet.runs.folds import cross_validate, deal_folds
from plainnet.runs.runs import read_run
from plainnet.runs.train_run import train_run
from tests.helpers import people

QUICK = {"hidden": (8,), "epochs": 2, "members": 1}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    people().write_csv(path)
    return path


@pytest.fixture(scope="module")
def classifier() -> NetClassifier:
    return NetClassifier(**QUICK).fit(people(), "rich")


def test_rows_are_dealt_by_class_and_groups_stay_whole() -> None:
    y = np.array(["a"] * 40 + ["b"] * 10)
    fold = deal_folds(y, 5, is_class=True)
    assert np.bincount(fold).tolist() == [10] * 5
    assert np.bincount(fold[y == "b"]).tolist() == [2] * 5
    assert not np.array_equal(fold, deal_folds(y, 5, is_class=True, seed=1))
    groups = np.arange(50) // 3
    by_group = deal_folds(y, 4, is_class=True, groups=groups)
    assert all(len(set(by_group[groups == group])) == 1 for group in groups)
    assert set(by_group) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("folds", "groups", "error", "message"),
    [
        (1, None, SettingError, "the number of folds is a whole number from 2 to 100, not 1"),
        (9, None, TableError, "8 rows cannot be dealt to 9 folds"),
        (3, [0, 0, 0, 0, 1, 1, 1, 1], TableError, "2 groups cannot be dealt to 3 folds"),
    ],
)
def test_folds_that_cannot_be_dealt(folds, groups, error, message) -> None:
    with pytest.raises(error, match=message):
        deal_folds(np.arange(8.0), folds, is_class=False, groups=None if groups is None else np.array(groups))


def test_a_fold_is_what_a_fit_without_its_rows_predicts(classifier) -> None:
    table = people().drop("rich")
    y = people()["rich"].to_numpy().astype(str)
    found = cross_validate(classifier, table, y, folds=3)
    assert np.array_equal(np.sort(np.concatenate([fold.rows for fold in found.folds])), np.arange(300))
    second = found.folds[1]
    kept = np.setdiff1d(np.arange(300), second.rows)
    alone = NetClassifier(**QUICK).fit(table[kept], y[kept])
    assert np.array_equal(alone.predict_proba(table[second.rows]), second.predictions)
    joint = np.empty(300)
    for fold in found.folds:
        joint[fold.rows] = fold.predictions[:, 1]
    assert found.pooled[0].metric == "AUC"
    assert found.pooled[0].value == pytest.approx(roc_auc_score(y == "yes", joint), rel=1e-6)
    values = [fold.scores[0].value for fold in found.folds]
    assert found.spread("AUC") == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert found.spread("poetry") is None


def test_the_run_holds_a_model_of_all_rows_and_the_scores_of_the_folds(source, tmp_path) -> None:
    run = train_run(source, "rich", tmp_path / "run", folds=3, settings=QUICK)
    again = read_run(run.path)
    assert again.facts == json.loads(json.dumps(run.facts))
    assert again.facts["split"] == {"by": "seed, stratified", "train": 300, "validation": 0, "test": 0}
    assert again.facts["test_share"] == 0.0
    assert next(iter(again.facts["scores"])) == "cross-validation"
    auc = again.facts["scores"]["cross-validation"][0]
    assert (auc["metric"], auc["rows"]) == ("AUC", 300)
    assert auc["low"] < auc["value"] < auc["high"]
    folds = again.facts["folds"]["each"]
    assert [(fold["train"], fold["rows"]) for fold in folds] == [(200, 100)] * 3
    assert auc["mean"] == pytest.approx(np.mean([fold["scores"][0]["value"] for fold in folds]))
    whole = NetClassifier(**QUICK, kinds={}).fit(people().drop("rich"), people()["rich"])
    assert np.array_equal(again.estimator().predict_proba(people()[:9]), whole.predict_proba(people()[:9].drop("rich")))
    assert 0 < again.threshold < 1


def test_numbers_and_groups(source, tmp_path) -> None:
    run = train_run(source, "income", tmp_path / "run", folds=2, group="town", settings=QUICK)
    assert run.facts["folds"]["by"] == "group town"
    assert {score["metric"] for score in run.facts["scores"]["cross-validation"]} >= {"RMSE", "R²"}
    found = cross_validate(
        run.estimator(), people().drop("income"), people()["income"].to_numpy(), folds=2, group="town"
    )
    towns = people()["town"].to_numpy()
    assert not set(towns[found.folds[0].rows]) & set(towns[found.folds[1].rows])


def test_what_does_not_go_with_folds(source, tmp_path) -> None:
    with pytest.raises(SettingError, match="a split by time keeps their order: leave out --folds, or --time"):
        train_run(source, "rich", tmp_path / "run", folds=3, time="joined", settings=QUICK)
    with pytest.raises(SettingError, match="leave out --test, or --folds"):
        train_run(source, "rich", tmp_path / "run", folds=3, test_share=0.3, settings=QUICK)
    with pytest.raises(TableError, match="4 groups cannot be dealt to 5 folds"):
        train_run(source, "rich", tmp_path / "run", folds=5, group="town", settings=QUICK)
    assert not (tmp_path / "run").exists()


def test_a_class_of_one_row_is_not_scored_and_said(tmp_path) -> None:
    table = pl.DataFrame({"x": np.arange(60.0)})
    y = np.array(["a", "b"] * 29 + ["a", "new"])
    classifier = NetClassifier(**QUICK).fit(table, y)
    with pytest.warns(DataWarning, match="1 of 20 held-out rows are of classes without a training row.*'new'"):
        found = cross_validate(classifier, table, y, folds=3)
    assert sum(fold.not_scored for fold in found.folds) == 1
    assert found.pooled[0].rows == 59
    assert all(np.isfinite(fold.predictions).all() and fold.predictions.shape[1] == 3 for fold in found.folds)


def test_intervals_and_thresholds_of_the_folds_are_their_own() -> None:
    table, y = people().drop("income"), people()["income"].to_numpy()
    regressor = NetRegressor(hidden=(8,), epochs=2, members=2).fit(table, y)
    found = cross_validate(regressor, table, y, folds=2)
    width = next(score for score in found.pooled if score.metric == "90 % interval width")
    assert width.value == pytest.approx(np.mean([2 * fold.reach.mean() for fold in found.folds]))
    assert width.low < width.high
    classifier = NetClassifier(hidden=(8,), epochs=2, members=2).fit(people(), "rich")
    found = cross_validate(classifier, people().drop("rich"), people()["rich"].to_numpy().astype(str), folds=2)
    assert all(fold.threshold is not None for fold in found.folds)
    assert "F1" in {score.metric for score in found.pooled}


@pytest.mark.parametrize("settings", [QUICK, QUICK | {"members": 3, "dropout": 0.2}])
def test_folds_at_once_are_those_in_turn(monkeypatch, settings) -> None:
    table, y = people().drop("rich"), people()["rich"].to_numpy()
    classifier = NetClassifier(**settings).fit(table, y)
    at_once = cross_validate(classifier, table, y, folds=4)
    monkeypatch.setattr(folds_file, "MOST_BYTES", 1)
    in_turn = cross_validate(classifier, table, y, folds=4)
    for one, other in zip(at_once.folds, in_turn.folds, strict=True):
        np.testing.assert_array_equal(one.predictions, other.predictions)
        assert one.threshold == other.threshold


def test_folds_of_networks_of_ones_own_and_with_a_time_limit_are_in_turn() -> None:
    table, y = people().drop("rich"), people()["rich"].to_numpy()
    for settings in ({"network": lambda n_in, n_out: nn.Linear(n_in, n_out)}, {"time_limit": 60.0}):
        classifier = NetClassifier(epochs=2, members=1, **settings).fit(table, y)
        assert [len(fold.rows) for fold in cross_validate(classifier, table, y, folds=3).folds] == [100] * 3


def test_ctrl_c_keeps_the_folds_that_are_done(source, tmp_path, monkeypatch) -> None:
    real, calls = folds_file._scored, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(folds_file, "_scored", interrupted)
    run = train_run(source, "rich", tmp_path / "run", folds=4, settings=QUICK)
    assert run.facts["folds"]["stopped_by"] == "interrupt"
    assert len(run.facts["folds"]["each"]) == 2
    assert run.facts["scores"]["cross-validation"][0]["rows"] == 150
    assert read_run(run.path).estimator().predict(people()).shape == (300,)


def test_ctrl_c_while_folds_train_at_once_keeps_those_that_are_done(monkeypatch) -> None:
    """Each fold has one network: with a thread for one alone, the first two are done when the third is interrupted."""
    from plainnet.packs import packs

    table, y = people().drop("rich"), people()["rich"].to_numpy()
    classifier = NetClassifier(**QUICK).fit(table, y)
    begun = []

    def press(number, *_):
        begun.append(number)
        if number == 2 and begun.count(2) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        if number > 2:
            time.sleep(0.05)  # time for the main thread to see it, however busy the machine is

    real = packs.train_many
    monkeypatch.setattr(
        packs, "train_many", lambda *args, **options: real(*args, **options | {"threads": 1, "on_epochs": press})
    )
    classifier.set_params(epochs=200)
    found = cross_validate(classifier, table, y, folds=5)
    assert found.stopped_by == "interrupt"
    assert len(found.folds) in (2, 3)  # the third, if it was trained before the signal came
    assert len(found.pooled[0].metric) > 0


def test_runs_of_quantiles_and_of_counts_are_scored_by_their_own_losses(source, tmp_path) -> None:
    quantiles = QUICK | {"quantiles": [0.1, 0.9]}
    run = train_run(source, "income", tmp_path / "quantiles", folds=2, kinds={"rich": "ignored"}, settings=quantiles)
    scores = run.facts["scores"]["cross-validation"]
    assert [score["metric"] for score in scores] == ["pinball loss", "80 % interval coverage"]
    assert scores[1]["aim"] == 0.8
    assert run.baseline.tolist() == pytest.approx(np.quantile(people()["income"], [0.1, 0.9]).tolist())
    with pytest.warns(DataWarning, match="28 rows without a value in 'age' are left out"):
        run = train_run(source, "age", tmp_path / "counts", settings=QUICK | {"loss": "poisson"})
    assert "Poisson deviance" in {score["metric"] for score in run.facts["scores"]["test"]}
