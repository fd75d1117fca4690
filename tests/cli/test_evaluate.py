"""``plainnet evaluate``, ``compare`` and ``train --folds`` as a user meets them."""

import json
from pathlib import Path

import polars as pl
import pytest

from plainnet.runs.train_run import train_run
from tests.helpers import people

QUICK = {"hidden": (8,), "epochs": 3, "members": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two runs and a table that they did not see."""
    folder = tmp_path_factory.mktemp("cli")
    people().write_csv(folder / "people.csv")
    people(200, seed=7).write_csv(folder / "fresh.csv")
    train_run(folder / "people.csv", "rich", folder / "a", settings=QUICK)
    train_run(folder / "people.csv", "rich", folder / "b", settings=QUICK | {"epochs": 9})
    train_run(folder / "people.csv", "rich", folder / "c", settings=QUICK, seed=3)
    return folder


@pytest.fixture
def run_cli(monkeypatch, command_line, folder):
    """Run the command line in that folder: arguments -> (exit code, output, errors)."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "140")
    return command_line


def test_scores_have_intervals_and_the_threshold_is_named(run_cli) -> None:
    code, out, _ = run_cli("evaluate", "a", "fresh.csv")
    assert code == 0
    assert "fresh.csv (200 rows)" in out
    line = next(line for line in out.splitlines() if line.startswith("AUC"))
    assert "[0." in line
    assert line.split()[-1] == "higher"
    assert "F1 is at the run's threshold of 0." in out


def test_groups_stand_side_by_side(run_cli) -> None:
    code, out, _ = run_cli("evaluate", "a", "fresh.csv", "--by", "town")
    assert code == 0
    assert "By town" in out
    assert all(any(line.startswith(town) for line in out.splitlines()) for town in ("Ulm", "Bonn", "Köln", "Jena"))
    found = json.loads(run_cli("evaluate", "a", "fresh.csv", "--by", "income", "--json")[1])
    assert sum(group["rows"] for group in found["groups"]) == 200
    assert len(found["groups"]) == 4
    # In the lowest quarter of incomes nobody is rich: what cannot be measured is left out.
    assert "AUC" not in {score["metric"] for score in found["groups"][0]["scores"]}
    code, out, _ = run_cli("evaluate", "a", "fresh.csv", "--by", "income")
    assert (code, "–" in out) == (0, True)
    code, _, err = run_cli("evaluate", "a", "fresh.csv", "--by", "twon")
    assert (code, "did you mean 'town'?" in err) == (1, True)


def test_tables_of_one_row_or_one_class(run_cli, folder) -> None:
    fresh = pl.read_csv(folder / "fresh.csv")
    fresh[:1].write_csv(folder / "one.csv")
    fresh.filter(pl.col("rich") == "no").write_csv(folder / "no.csv")
    code, out, err = run_cli("evaluate", "a", "one.csv")
    assert (code, "log-loss" in out) == (0, True)
    assert "there are no intervals, as 1 row is too few to stand for others" in err
    code, out, err = run_cli("evaluate", "a", "no.csv")
    assert (code, "AUC" in out) == (0, False)
    assert "AUC, average precision and F1 are left out, as the rows are all of the class no" in err
    fresh.with_columns(rich=pl.lit("who knows")).write_csv(folder / "unseen.csv")
    code, _, err = run_cli("evaluate", "a", "unseen.csv")
    assert (code, "classes the training rows did not have: ['who knows']" in err) == (1, True)


def test_runs_are_compared(run_cli) -> None:
    code, out, err = run_cli("compare", "a", "b")
    assert (code, "cannot be compared" in out) == (0, False)
    assert [line.split() for line in out.splitlines() if line.startswith("epochs")] == [["epochs", "3", "9"]]
    assert "Scores: test" in out
    assert "--table TABLE scores all of them" in err
    code, out, _ = run_cli("compare", "a", "c")
    assert (code, "These scores cannot be compared: their test rows are not the same" in out) == (0, True)
    found = json.loads(run_cli("compare", "a", "c", "--json")[1])
    assert (found["comparable"], found["settings"]) == (False, {"seed": [0, 3]})


def test_runs_are_compared_on_a_table(run_cli) -> None:
    code, out, _ = run_cli("compare", "a", "b", "--table", "fresh.csv")
    assert code == 0
    assert "Differences to a" in out
    assert any(line.startswith("b ") and line.rstrip().endswith("better") for line in out.splitlines())
    found = json.loads(run_cli("compare", "a", "b", "--table", "fresh.csv", "--json")[1])
    loss = next(each for each in found["differences"] if each["metric"] == "log-loss")
    assert (loss["run"], loss["is_better"]) == ("b", True)
    assert loss["high"] < 0
    code, _, err = run_cli("compare", "a", "b", "--table", "people.csv")
    assert (code, "a was trained on rows of this very table" in err) == (0, True)
    code, _, err = run_cli("compare", "a")
    assert (code, "two runs or more are compared" in err) == (1, True)


def test_folds_are_trained_from_the_command_line(run_cli) -> None:
    options = ("--target", "rich", "--members", "1", "--hidden", "8", "--epochs", "2", "--folds", "3")
    code, out, _ = run_cli("train", "people.csv", *options, "--out", "folds")
    assert code == 0
    assert "cross-validation (300 rows)" in out
    assert "±" in next(line for line in out.splitlines() if line.startswith("AUC"))
    code, out, _ = run_cli("runs", ".")
    assert "(cross-validation)" in out
    code, _, err = run_cli("train", "people.csv", *options, "--time", "joined", "--out", "x")
    assert (code, "leave out --folds, or --time" in err) == (1, True)
