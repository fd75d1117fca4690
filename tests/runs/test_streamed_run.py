"""A run of a table that is read piece by piece: what is in its folder, and what can be done with it afterwards."""

import json

import numpy as np
import polars as pl
import pytest

import plainnet
from plainnet.errors import RunError, SettingError, TableError
from plainnet.runs.again import find_table, report_again
from plainnet.runs.reproduce import command_of
from plainnet.runs.runs import read_run
from plainnet.runs.streamed import work_of_scan
from plainnet.runs.train_run import train_run

QUICK = {"members": 1, "epochs": 10, "hidden": [8], "learning_rate": 0.02}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sales")
    rng = np.random.RandomState(0)
    for k in range(4):
        x = rng.randn(600)
        table = pl.DataFrame(
            {"x": x, "shop": rng.choice(["a", "b", "c"], 600), "y": np.where(x + rng.randn(600) > 0, "yes", "no")}
        )
        table.write_parquet(path / f"{k}.parquet")
    return path


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return train_run(str(folder), "y", tmp_path_factory.mktemp("runs") / "r", settings=QUICK, stream=True)


def test_the_run_says_on_which_rows_it_was_scored(run):
    facts = json.loads((run.path / "run.json").read_text())
    assert facts["streamed"] is True
    assert (facts["table"]["rows"], facts["table"]["columns"]) == (2400, 3)
    split = facts["split"]
    assert split["train"] + split["test"] == 2400
    assert 380 < split["test"] < 580
    assert split["by"] == "seed, a hash of each row's number"
    by_metric = {score["metric"]: score for score in facts["scores"]["test"]}
    assert by_metric["accuracy"]["rows"] == split["test"]
    assert by_metric["accuracy"]["value"] > 0.65
    assert (run.path / "report.html").is_file()


def test_no_test_row_was_trained_on_and_the_sample_is_found_again(run, folder):
    _, own = find_table(read_run(run.path))
    facts = read_run(run.path).facts
    assert {part: len(rows) for part, rows in own.scored.items()} == {
        part: facts["split"][part] for part in ("train", "test")
    }
    assert run.estimator().schema_.n_rows == facts["split"]["train"]
    train, test = (set(own.of(part)[0]["x"].to_list()) for part in ("train", "test"))
    assert not train & test
    report_again(read_run(run.path))


def test_the_command_that_repeats_it_streams_too(run, folder):
    assert command_of(run.facts).endswith("--seed 0 --stream")


def test_what_is_scored_is_a_sample_where_there_are_more_rows(folder, tmp_path):
    scan = plainnet.scan_table(folder, score_rows=200)
    work, _ = work_of_scan(scan, "y", None, 0.5, None, 3, QUICK, None, progress=False)
    assert 150 < len(work.parts["test"]) < 250
    assert work.facts["split"]["train"] + work.facts["split"]["test"] == 2400


def test_what_needs_all_rows_is_refused(folder, tmp_path):
    with pytest.raises(SettingError, match="--folds needs all rows in memory"):
        train_run(str(folder), "y", tmp_path / "r", folds=3, stream=True)
    with pytest.raises(SettingError, match="--time needs all rows in memory"):
        train_run(str(folder), "y", tmp_path / "r", time="x", stream=True)
    with pytest.raises(TableError, match="no column 'z'"):
        train_run(str(folder), "z", tmp_path / "r", stream=True)


def test_a_table_that_has_changed_is_not_taken_for_the_same(run, folder):
    path = folder / "3.parquet"
    content = path.read_bytes()
    pl.read_parquet(path)[:-1].write_parquet(path)
    try:
        with pytest.raises(RunError, match="is not what the run was trained on"):
            find_table(read_run(run.path))
    finally:
        path.write_bytes(content)


def test_large_tables_are_streamed_unasked_and_others_are_not(folder, tmp_path, monkeypatch):
    assert "streamed" not in train_run(str(folder / "*.parquet"), "y", tmp_path / "a", settings=QUICK).facts
    monkeypatch.setattr("plainnet.estimators.streamed.MOST_BYTES", 1000)
    assert train_run(str(folder / "*.parquet"), "y", tmp_path / "b", settings=QUICK).facts["streamed"]
    by_time = train_run(str(folder / "*.parquet"), "y", tmp_path / "c", time="x", settings=QUICK)
    assert "streamed" not in by_time.facts  # needs all rows, and is asked for
