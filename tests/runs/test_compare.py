"""Runs side by side: comparable or not, and the differences on one table."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plainnet import RunError, TableError
from plainnet.runs.compare import compare_on, compare_runs, differences_of, evaluate_run
from plainnet.runs.runs import Run, read_run
from plainnet.runs.source import fingerprint
from plainnet.runs.train_run import train_run
from tests.helpers import people

QUICK = {"hidden": (8,), "epochs": 3, "members": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Runs of one table: the same split twice, another seed, another target, folds."""
    folder = tmp_path_factory.mktemp("runs")
    source = folder / "people.csv"
    people().write_csv(source)
    train_run(source, "rich", folder / "a", settings=QUICK)
    train_run(source, "rich", folder / "b", settings=QUICK | {"epochs": 12, "hidden": (16,)})
    train_run(source, "rich", folder / "seed", settings=QUICK, seed=5)
    train_run(source, "income", folder / "income", settings=QUICK)
    train_run(source, "rich", folder / "folds", settings=QUICK, folds=2)
    return folder


def runs(folder: Path, *names: str) -> list[Run]:
    return [read_run(folder / name) for name in names]


def test_runs_of_the_same_rows_are_compared_and_what_differs_is_named(folder) -> None:
    found = compare_runs(runs(folder, "a", "b"))
    assert (found.part, found.reasons) == ("test", [])
    assert differences_of(runs(folder, "a", "b")) == {"epochs": [3, 12], "hidden": [[8], [16]]}
    assert [each[0]["metric"] for each in found.scores] == ["AUC", "AUC"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("a", "seed"), "their test rows are not the same: their seed differ"),
        (("a", "income"), r"they predict different things: 'rich' .classes., 'income' .numbers."),
        (("a", "folds"), "their out of fold rows are not the same: their train rows and test rows differ"),
    ],
)
def test_what_cannot_be_compared_says_why(folder, names, reason) -> None:
    assert any(re.search(reason, each) for each in compare_runs(runs(folder, *names)).reasons)


def test_other_tables_cannot_be_compared(folder, tmp_path) -> None:
    shutil.copytree(folder / "a", tmp_path / "other")
    facts = json.loads((tmp_path / "other" / "run.json").read_text())
    facts["table"]["sha256"] = "0" * 64
    (tmp_path / "other" / "run.json").write_text(json.dumps(facts))
    found = compare_runs([read_run(folder / "a"), read_run(tmp_path / "other")])
    assert found.reasons == [
        "they were trained on different tables, or on different versions of one (their sha256 differ)"
    ]


def test_folds_of_one_table_are_of_the_same_rows_whatever_the_seed(folder, tmp_path) -> None:
    other = train_run(folder / "people.csv", "rich", tmp_path / "run", settings=QUICK, folds=3, seed=3)
    found = compare_runs([read_run(folder / "folds"), other])
    assert (found.part, found.reasons) == ("cross-validation", [])


def test_on_one_table_differences_are_paired(folder) -> None:
    fresh = people(500, seed=9)
    found = compare_on(runs(folder, "a", "b", "a"), fresh, "fresh")
    same = [each for each in found.differences if each.run == 2]
    assert all((each.value, each.low, each.high, each.is_clear) == (0, 0, 0, False) for each in same)
    auc = next(each for each in found.differences if each.metric == "AUC")
    first, second = (by_run[0] for by_run in found.scores[:2])
    assert auc.value == pytest.approx(second["value"] - first["value"])
    assert auc.low < auc.value < auc.high
    assert auc.is_clear is (auc.low > 0 or auc.high < 0)
    # What makes rows hard is hard for both: the difference is known better than two independent scores would tell.
    apart = np.hypot(second["high"] - second["low"], first["high"] - first["low"])
    assert auc.high - auc.low < apart
    loss = next(each for each in found.differences if each.metric == "log-loss")
    assert (loss.value < 0, loss.is_clear, loss.is_better) == (True, True, True)


def test_a_table_that_a_run_was_trained_on_is_named(folder) -> None:
    table = pl.read_csv(folder / "people.csv")
    found = compare_on(runs(folder, "a", "b"), table, "people.csv", sha256=fingerprint(folder / "people.csv", table))
    assert sum("was trained on rows of this very table" in note for note in found.notes) == 2


def test_runs_that_cannot_be_put_side_by_side(folder) -> None:
    with pytest.raises(RunError, match="two runs or more are compared, and one was named"):
        compare_runs(runs(folder, "a"))
    with pytest.raises(RunError, match="runs that predict different things cannot be scored on one table"):
        compare_on(runs(folder, "a", "income"), people(), "people")
    with pytest.raises(TableError, match="classes the training rows did not have"):
        compare_on(runs(folder, "a", "b"), people().with_columns(rich=pl.lit("maybe")), "people")


def test_a_run_scores_a_table_and_its_groups_at_its_own_threshold(folder) -> None:
    run = read_run(folder / "a")
    fresh = people(200, seed=4).with_columns(rich=pl.when(pl.int_range(200) < 3).then(None).otherwise(pl.col("rich")))
    found = evaluate_run(run, fresh, {"first": np.arange(5), "second": np.arange(5, 197)})
    assert found.notes == ["3 rows without a value in 'rich' are left out"]
    assert found.scores[0].rows == 197
    assert [own[0].rows for own in found.groups.values()] == [5, 192]
    assert 0 < run.threshold < 1
    says = run.estimator().predict_proba(fresh[3:])[:, 1] >= run.threshold
    is_rich = fresh["rich"][3:].to_numpy() == "yes"
    f1 = next(score for score in found.scores if score.metric == "F1")
    assert f1.value == pytest.approx(2 * (says & is_rich).sum() / (says.sum() + is_rich.sum()))
    assert found.groups["first"][-1].low is None


def test_runs_of_older_versions_are_read(folder, tmp_path) -> None:
    shutil.copytree(folder / "a", tmp_path / "old")
    facts = json.loads((tmp_path / "old" / "run.json").read_text())
    del facts["threshold"], facts["folds"]
    for scores in facts["scores"].values():
        for score in scores:
            del score["low"], score["high"], score["aim"]
    (tmp_path / "old" / "run.json").write_text(json.dumps(facts))
    old = read_run(tmp_path / "old")
    assert old.threshold is None
    assert "F1 at 0.5" in {score.metric for score in evaluate_run(old, people()).scores}
    assert compare_runs([old, read_run(folder / "a")]).reasons == []
    facts["scores"]["test"][0]["low"] = "small"
    (tmp_path / "old" / "run.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="scores: test: 0: low is 'small'"):
        read_run(tmp_path / "old")
