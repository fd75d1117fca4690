"""Tuning: the same seed gives the same trials, halving saves epochs, a study goes on, and the default is never lost."""

import importlib.util
import json
import os
import signal
from math import inf

import numpy as np
import pytest
from sqlalchemy import NullPool

import plainnet
from plainnet import MissingExtraError, RunError, SettingError, TableError
from plainnet.runs import trials
from plainnet.runs.runs import read_run
from plainnet.runs.train_run import train_on, train_run
from plainnet.runs.trials import Bench, Clock, settings_of, space
from plainnet.runs.tune_run import tune_run
from plainnet.runs.work import read_work
from tests.helpers import people

optuna = pytest.importorskip("optuna")

#: The fixed settings of all these runs: the widths are not searched, so that the networks stay small.
SMALL = {"hidden": (8,), "epochs": 9, "members": 2}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("tune") / "people.csv"
    people(220).write_csv(path)
    return path


@pytest.fixture(autouse=True)
def small_batches(monkeypatch) -> None:
    monkeypatch.setattr(trials, "BATCH", 3)
    monkeypatch.setattr(trials, "RANDOM_TRIALS", 3)


@pytest.fixture(scope="module")
def tuned(source, tmp_path_factory):
    """A run of six trials, and its study."""
    folder = tmp_path_factory.mktemp("tuned")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trials, "BATCH", 3)
        patch.setattr(trials, "RANDOM_TRIALS", 3)
        return tune_run(source, "rich", folder / "run", trials=6, study=folder / "s.sqlite3", settings=SMALL)


def trials_of(path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"poolclass": NullPool})
    study = optuna.load_study(study_name=None, storage=storage)  # the only one
    return [(t.state.name, t.params, t.intermediate_values) for t in study.get_trials() if t.state.name != "FAIL"]


def test_a_tuned_run_is_a_run_folder_that_tells_of_its_trials(tuned, source) -> None:
    run = read_run(tuned.path)
    tuning = run.facts["tuning"]
    assert (tuning["trials"], tuning["stopped_by"]) == (6, "")
    study = trials_of(tuning["study"])
    assert tuning["ended_early"] == sum(state == "PRUNED" for state, _, _ in study) > 0
    best = min((values[9], number) for number, (state, _, values) in enumerate(study) if state == "COMPLETE")
    assert tuning["best_loss"] == best[0]
    if tuning["kept"] == "tuned":
        assert best[0] < tuning["default_loss"]
        assert tuning["best_trial"] == best[1]
        assert tuning["settings"] == settings_of(study[best[1]][1])
        for name, value in tuning["settings"].items():
            assert run.facts["settings"][name] == value
    untuned = train_run(source, "rich", run.path.parent / "untuned", settings=SMALL)
    assert tuning["default_scores"] == untuned.facts["scores"]
    assert plainnet.load(run.path).predict(people(5)).shape == (5,)


def test_trials_end_at_rungs_and_the_best_third_goes_on(tuned) -> None:
    study = trials_of(tuned.facts["tuning"]["study"])
    assert all(list(values) in ([1], [1, 3], [1, 3, 9]) for _, _, values in study)
    first = [values[1] for _, _, values in study[:3]]
    assert [len(values) > 1 for _, _, values in study[:3]] == [loss == min(first) for loss in first]
    assert sum(max(values) for _, _, values in study) < 6 * 9 / 2  # less than half the epochs of all trials


def test_the_same_seed_gives_the_same_trials_and_a_study_goes_on_as_if_it_had_not_stopped(
    tuned, source, tmp_path
) -> None:
    study = tmp_path / "s.sqlite3"
    tune_run(source, "rich", tmp_path / "a", trials=3, study=study, settings=SMALL)
    assert len(trials_of(study)) == 3
    again = tune_run(source, "rich", tmp_path / "b", trials=6, study=study, settings=SMALL)
    assert trials_of(study) == trials_of(tuned.facts["tuning"]["study"])
    assert again.facts["scores"] == tuned.facts["scores"]
    assert again.facts["tuning"]["default_loss"] == tuned.facts["tuning"]["default_loss"]
    more = tune_run(source, "rich", tmp_path / "c", trials=6, study=study, settings=SMALL)  # nothing is left to try
    assert more.facts["tuning"]["trials"] == 6


def test_ctrl_c_keeps_the_trials_and_writes_the_best_run(source, tmp_path, monkeypatch) -> None:
    go_on, calls = Bench.go_on, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 8:  # 3 rungs of the default, 3 of the first batch, then in the second
            os.kill(os.getpid(), signal.SIGINT)
        return go_on(*arguments)

    monkeypatch.setattr(Bench, "go_on", interrupted)
    study = tmp_path / "s.sqlite3"
    run = tune_run(source, "rich", tmp_path / "run", trials=6, study=study, settings=SMALL)
    assert (run.facts["tuning"]["stopped_by"], run.facts["tuning"]["trials"]) == ("interrupt", 3)
    assert run.facts["tuning"]["best_loss"] is not None
    assert len(trials_of(study)) == 3
    monkeypatch.setattr(Bench, "go_on", go_on)
    tune_run(source, "rich", tmp_path / "again", trials=6, study=study, settings=SMALL)
    assert len(trials_of(study)) == 6


def test_a_time_too_short_for_a_trial_leaves_the_default(source, tmp_path) -> None:
    run = tune_run(source, "rich", tmp_path / "run", trials=6, seconds=1e-6, settings=SMALL)
    tuning = run.facts["tuning"]
    assert (tuning["kept"], tuning["trials"], tuning["stopped_by"]) == ("default", 0, "time")
    assert run.facts["scores"] == tuning["default_scores"]


def test_numbers_split_by_groups_are_tuned_on_the_validation_rows(source, tmp_path) -> None:
    run = tune_run(source, "income", tmp_path / "run", trials=3, group="town", kinds={"age": "ignored"}, settings=SMALL)
    assert run.facts["task"] == "numbers"
    assert run.facts["tuning"]["trials"] == 3
    assert np.isfinite(run.facts["tuning"]["default_loss"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, r"trials of 'rich' with another seed \(0, not 1\)"),
        ({"test_share": 0.3}, "with another split"),
        ({"kinds": {"age": "ignored"}}, "with another kinds"),
        ({"settings": SMALL | {"epochs": 8}}, "with another settings"),
    ],
)
def test_trials_that_cannot_be_compared_are_not_mixed(tuned, source, tmp_path, change, message) -> None:
    options = {"trials": 6, "study": tuned.facts["tuning"]["study"], "settings": SMALL} | change
    with pytest.raises(SettingError, match=message):
        tune_run(source, "rich", tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_table_that_changed_is_refused(tuned, tmp_path) -> None:
    people(221).write_csv(tmp_path / "people.csv")
    with pytest.raises(
        SettingError, match="another table, or this table before it changed .* Name another file with --study"
    ):
        tune_run(
            tmp_path / "people.csv", "rich", tmp_path / "run", study=tuned.facts["tuning"]["study"], settings=SMALL
        )


def test_files_that_are_no_studies(source, tmp_path) -> None:
    for path, content in ((tmp_path / "text", b"hello " * 1000), (tmp_path / "no" / "folder.sqlite3", None)):
        if content:
            path.write_bytes(content)
        with pytest.raises(RunError, match="cannot be used to keep a study: .*Name another file with --study"):
            tune_run(source, "rich", tmp_path / "run", study=path, settings=SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "from 1 to 10,000, not 0"),
        ({"trials": 10_001}, "from 1 to 10,000, not 10,001"),
        ({"seconds": 0}, "above 0 seconds, not 0"),
        ({"seconds": float("nan")}, "above 0 seconds"),
        ({"settings": {"verbose": True}}, "'verbose' is no setting that trials can have in common"),
        ({"settings": dict.fromkeys(space(1, {}), 1) | {"hidden": (8,)}}, "'layers' is no setting"),
    ],
)
def test_limits(source, tmp_path, options, message) -> None:
    with pytest.raises(SettingError, match=message):
        tune_run(source, "rich", tmp_path / "run", **options)


def test_nothing_to_search_and_too_few_rows(source, tmp_path) -> None:
    chosen = {"learning_rate": 0.01, "weight_decay": 0.0, "dropout": 0.0, "activation": "relu", "batch_size": 32}
    with pytest.raises(SettingError, match="nothing to search for: every setting is chosen already"):
        tune_run(source, "rich", tmp_path / "run", settings=chosen | {"hidden": (8,)})
    people(70).write_csv(tmp_path / "few.csv")
    with pytest.raises(
        TableError, match="56 training rows are too few to choose settings by: tuning needs more than 64"
    ):
        tune_run(tmp_path / "few.csv", "rich", tmp_path / "run")


def test_optuna_is_an_extra(source, tmp_path, monkeypatch) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr("plainnet.runs.tune_run.find_spec", lambda name: None if name == "optuna" else find_spec(name))
    with pytest.raises(
        MissingExtraError, match=r"Searching for settings needs optuna, .* pip install 'plainnet\[tune\]'"
    ):
        tune_run(source, "rich", tmp_path / "run")


def bench_of(source, **fixed) -> Bench:
    from plainnet.runs.tune_run import _bench

    work = read_work(source, "rich")
    estimator, _ = train_on(work, {"epochs": 1, "members": 1})
    return _bench(work, estimator, fixed)


def test_a_schedule_goes_on_where_it_was_and_ends_at_zero(source) -> None:
    bench = bench_of(source, epochs=9, hidden=(4,))
    (attempt,) = bench.begin([{"learning_rate": 0.1}])
    rates = []
    for rung in bench.rungs:
        assert bench.go_on([attempt], rung, Clock(None))
        rates.append(attempt.networks[0].optimizer.param_groups[0]["lr"])
    assert bench.rungs == [1, 3, 9]
    assert rates[0] > rates[1] > rates[2] == pytest.approx(0, abs=1e-9)


def test_a_setting_that_diverges_loses_and_harms_no_other(source) -> None:
    bench = bench_of(source, epochs=3, hidden=(4,), dropout=0.0)  # dropout depends on the place in the batch
    wild, tame = bench.begin([{"learning_rate": 1e30}, {"learning_rate": 0.01}])
    alone = bench.begin([{"learning_rate": 0.01}])[0]
    assert bench.go_on([wild, tame], 3, Clock(None))
    assert bench.go_on([alone], 3, Clock(None))
    assert wild.loss == inf or wild.loss > tame.loss
    assert tame.lowest == alone.lowest


def test_every_row_judges_once(source) -> None:
    bench = bench_of(source)
    parts = bench._parts()
    assert sum(len(held[0]) for _, _, held in parts) == len(bench.x)
    assert all(len(x) + len(held[0]) == len(bench.x) for x, _, held in parts)


def test_the_study_is_plain_json_in_the_run(tuned) -> None:
    text = (tuned.path / "run.json").read_text()
    assert "Infinity" not in text
    assert json.loads(text)["tuning"]["study_name"].startswith("rich ")
