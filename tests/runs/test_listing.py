"""The list of runs: which fit, in what order, and what is said of those that cannot be read."""

import json
import shutil

import pytest

from plainnet import SettingError
from plainnet.runs.listing import select_runs
from plainnet.runs.runs import find_runs
from plainnet.runs.train_run import train_run
from tests.helpers import people

#: Name, target, task, effort, first metric, its value, whether higher is better, rows, seconds.
RUNS = [
    ("a", "rich", "classes", "best", "AUC", 0.91, True, 300, 9.0),
    ("b", "rich", "classes", "quick", "AUC", 0.95, True, 100, 1.0),
    ("c", "age", "numbers", "best", "RMSE", 7.5, False, 200, 4.0),
    ("d", "age", "numbers", "quick", "RMSE", 6.5, False, 200, 2.0),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four runs, made of one by other numbers in run.json; and two damaged ones."""
    place = tmp_path_factory.mktemp("listing")
    people(100).write_csv(place / "people.csv")
    first = train_run(
        place / "people.csv", "rich", place / "first", settings={"hidden": (4,), "epochs": 1, "members": 1}
    )
    for day, (name, target, task, effort, metric, value, higher, rows, seconds) in enumerate(RUNS):
        shutil.copytree(first.path, place / "runs" / name)
        facts = json.loads(json.dumps(first.facts))
        facts |= {"target": target, "task": task, "created": f"2026-01-0{day + 1}T00:00:00+00:00"}
        facts["settings"]["effort"] = effort
        facts["table"]["rows"], facts["training"]["seconds"] = rows, seconds
        score = {"metric": metric, "value": value, "baseline": 0.5, "rows": 20, "higher_is_better": higher}
        facts["scores"] = {
            "train": [score | {"value": value / 2}],
            "test": [score, score | {"metric": "other", "value": day}],
        }
        (place / "runs" / name / "run.json").write_text(json.dumps(facts))
    for name, content in (("bad", "{"), ("worse", "{}")):
        shutil.copytree(first.path, place / "runs" / name)
        (place / "runs" / name / "run.json").write_text(content)
    return place / "runs"


def names(folder, **options) -> str:
    return "".join(run.path.name for run in select_runs(find_runs(folder)[0], **options))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "abcd"),
        ({"sort": "score"}, "badc"),
        ({"sort": "rows"}, "bcda"),
        ({"sort": "seconds"}, "bdca"),
        ({"sort": "score", "metric": "other"}, "bacd"),
        ({"sort": "score", "metric": "AUC"}, "bacd"),
        ({"target": "age"}, "cd"),
        ({"task": "classes"}, "ab"),
        ({"last": 3}, "bcd"),
        ({"last": 1, "target": "rich"}, "b"),
        ({"where": ["settings.effort=best"]}, "ac"),
        ({"where": ["settings.effort != best"]}, "bd"),
        ({"where": ["scores.test.AUC>0.92"]}, "b"),
        ({"where": ["scores.test.AUC>=0.91", "settings.effort=best"]}, "a"),
        ({"where": ["table.rows<=200", "training.seconds<4"]}, "bd"),
        ({"where": ["created>=2026-01-03"]}, "cd"),
        ({"where": ["settings.verbose=false"]}, "abcd"),
        ({"where": ["settings.time_limit=null"]}, "abcd"),
        ({"where": ["table.rows=200.0"]}, "cd"),
    ],
)
def test_which_runs_are_listed_and_in_what_order(folder, options, expected) -> None:
    assert names(folder, **options) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sort": "fame"}, "runs are sorted by created, score, rows, seconds, not by 'fame'"),
        ({"sort": "score", "metric": "AUCC"}, r"no run has the score 'AUCC' \(did you mean 'AUC'\?\)"),
        ({"where": ["effort"]}, "--where is a key, one of .*, not 'effort'"),
        ({"where": ["=best"]}, "--where is a key"),
        ({"where": ["settings.effort="]}, "--where is a key"),
        ({"where": ["settings.effrt=best"]}, "no run has 'settings.effrt' in its run.json"),
        ({"where": ["scores.test>0.9"]}, "no run has 'scores.test'"),
        ({"where": ["settings=3"]}, "no run has 'settings'"),
        ({"last": 0}, "a whole number from 1, not 0"),
    ],
)
def test_what_cannot_be_listed_is_explained(folder, options, message) -> None:
    with pytest.raises(SettingError, match=message):
        names(folder, **options)


def test_damaged_runs_are_named_with_the_reason(folder) -> None:
    runs, damaged = find_runs(folder)
    assert len(runs) == 4
    assert sorted(path.name for path in damaged) == ["bad", "worse"]
    assert "cannot be read" in damaged[folder / "bad"]
    assert "is damaged: it lacks target" in damaged[folder / "worse"]
    assert find_runs(folder / "nowhere") == ([], {})
