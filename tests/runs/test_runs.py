"""Run folders: complete or absent; what is in run.json; which rows; classes or numbers."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

import plainnet
from plainnet import DataWarning, ModelFileError, RunError, SettingError, TableError
from plainnet.files import replacing, replacing_folder
from plainnet.runs.runs import list_runs, read_model_of, read_run
from plainnet.runs.train_run import train_run
from plainnet.runs.work import choose_task
from tests.helpers import people

QUICK = {"hidden": (8,), "epochs": 3}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    people().write_csv(path)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """One run for all tests that only read it."""
    folder = tmp_path_factory.mktemp("finished")
    people().write_csv(folder / "people.csv")
    return train_run(folder / "people.csv", "rich", folder / "run", settings=QUICK).path


def test_a_run_is_complete_and_comes_back(source, tmp_path) -> None:
    run = train_run(source, "rich", tmp_path / "run", settings=QUICK)
    assert sorted(path.name for path in run.path.iterdir()) == [
        "history.csv",
        "loss.png",
        "model.safetensors",
        "report.html",
        "run.json",
    ]
    again = read_run(run.path)
    assert again.facts == json.loads(json.dumps(run.facts))
    split = again.facts["split"]
    assert (split["train"], split["validation"], split["test"]) == (240, 0, 60)
    assert list(again.facts["scores"]) == ["train", "out of fold", "test"]
    assert again.facts["scores"]["out of fold"][0]["rows"] == 240
    assert again.facts["training"]["members"] == len(again.estimator().members_) > 1
    assert again.facts["scores"]["test"][0]["rows"] == 60
    assert len(again.history()) == 3
    assert again.estimator().classes_.tolist() == ["no", "yes"]
    assert plainnet.load(run.path).classes_.tolist() == ["no", "yes"]
    assert [found.path for found in list_runs(tmp_path)] == [run.path]


def test_the_scores_are_those_of_the_rows_they_name(source, tmp_path) -> None:
    from sklearn.metrics import accuracy_score

    from plainnet.tables.split import split_rows

    run = train_run(source, "rich", tmp_path / "run", settings=QUICK)
    table = plainnet.read_table(source)
    y = np.array(table["rich"].to_list())
    _, test = split_rows(len(y), 0.2, seed=0, stratify=y)
    scores = {score["metric"]: score for score in run.facts["scores"]["test"]}
    assert scores["accuracy"]["value"] == pytest.approx(accuracy_score(y[test], run.estimator().predict(table[test])))
    assert scores["accuracy"]["baseline"] == pytest.approx(np.mean(y[test] == "no"))


def test_the_same_seed_gives_the_same_model_file(source, tmp_path) -> None:
    a = train_run(source, "rich", tmp_path / "a", settings=QUICK)
    b = train_run(source, "rich", tmp_path / "b", settings=QUICK)
    assert (a.path / "model.safetensors").read_bytes() == (b.path / "model.safetensors").read_bytes()


def test_numbers_get_numbers_scores(source, tmp_path) -> None:
    run = train_run(source, "income", tmp_path / "run", settings=QUICK, kinds={"rich": "ignored"})
    assert [score["metric"] for score in run.facts["scores"]["test"]][:3] == ["RMSE", "MAE", "R²"]
    assert run.facts["task_reason"].startswith("the target holds")


def test_group_and_time_splits(source, tmp_path) -> None:
    run = train_run(source, "rich", tmp_path / "group", group="town", settings=QUICK, test_share=0.3)
    assert run.facts["split"]["by"] == "group town"
    assert run.estimator().schema_.columns[3].kind == "ignored"
    run = train_run(source, "rich", tmp_path / "time", time="joined", settings=QUICK)
    assert run.facts["split"]["by"] == "time joined"
    with pytest.raises(TableError, match="no column 'twon' to split by .did you mean 'town'"):
        train_run(source, "rich", tmp_path / "x", group="twon")
    with pytest.raises(TableError, match="no time to split by"):
        train_run(source, "rich", tmp_path / "x", time="town")


def test_a_run_that_is_there_is_not_lost(source, tmp_path) -> None:
    train_run(source, "rich", tmp_path / "run", settings=QUICK)
    before = (tmp_path / "run" / "run.json").read_text()
    with pytest.raises(RunError, match="is already there.*--overwrite"):
        train_run(source, "rich", tmp_path / "run", settings=QUICK)
    assert (tmp_path / "run" / "run.json").read_text() == before
    train_run(source, "rich", tmp_path / "run", settings=QUICK, seed=1, overwrite=True)
    assert read_run(tmp_path / "run").facts["seed"] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["people.csv", "run"]


def test_runs_are_named_after_the_table(source, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert [train_run(source, "rich", settings=QUICK).path for _ in range(2)] == [
        Path("runs/people-1"),
        Path("runs/people-2"),
    ]


def test_ctrl_c_keeps_the_network_so_far(source, tmp_path, monkeypatch) -> None:
    from plainnet.training import many

    real = many.choose_engine

    def interrupting(job, wanted):
        engine = real(job, "eager")

        def run(job, **options):
            for epochs in engine.run(job, **options):
                yield epochs
                if epochs[-1].index == 1:
                    signal.raise_signal(signal.SIGINT)

        return type(engine)(engine.name, engine.reason, run)

    monkeypatch.setattr(many, "choose_engine", interrupting)
    run = train_run(source, "rich", tmp_path / "run", settings=QUICK | {"epochs": 50})
    assert run.facts["training"]["stopped_by"] == "interrupt"
    assert run.facts["training"]["epochs"] == 2
    assert run.estimator().predict(people()).shape == (300,)


def test_nothing_is_left_behind_by_a_failure(source, tmp_path) -> None:
    with pytest.raises(RuntimeError, match="disk on fire"), replacing_folder(tmp_path / "run") as folder:
        (folder / "model.safetensors").write_text("half")
        raise RuntimeError("disk on fire")
    with pytest.raises(RuntimeError, match="disk on fire"), replacing(tmp_path / "file.txt") as path:
        path.write_text("half")
        raise RuntimeError("disk on fire")
    assert [path.name for path in tmp_path.iterdir()] == ["people.csv"]


def test_folders_that_are_no_runs(tmp_path) -> None:
    with pytest.raises(RunError, match="there is no run folder"):
        read_run(tmp_path / "nope")
    with pytest.raises(RunError, match=r"lacks model.safetensors, run.json, history.csv"):
        read_run(tmp_path)
    for name in ("model.safetensors", "history.csv"):
        (tmp_path / name).write_text("")
    for content, message in (
        ("{", "cannot be read"),
        ("3", "is damaged: it holds 3"),
        ("{}", "is damaged: it lacks target"),
    ):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(RunError, match=message):
            read_run(tmp_path)
    assert list_runs(tmp_path.parent) == []


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (["a", "b", "c"], "classes"),
        ([True, False], "classes"),
        ([0, 1, 1], "classes"),
        ([1, 2, 3], "numbers"),
        ([0.5, 1.5, 2.0], "numbers"),
    ],
)
def test_classes_or_numbers(y, task) -> None:
    assert choose_task(np.array(y))[0] == task


def test_tasks_that_cannot_be() -> None:
    with pytest.raises(SettingError, match="the task is one of classes, numbers"):
        choose_task(np.array([1]), "poetry")
    with pytest.raises(SettingError, match="holds 'a', which is no number: choose --task classes"):
        choose_task(np.array(["a"]), "numbers")


def test_only_runs_are_ever_overwritten(source, tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for path in (tmp_path / "mine", source):
        with pytest.raises(RunError, match="is not overwritten"):
            train_run(source, "rich", path, settings=QUICK, overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "empty").mkdir()
    assert train_run(source, "rich", tmp_path / "empty", settings=QUICK, overwrite=True).history().epochs


def test_too_few_groups_to_split_by(source, tmp_path) -> None:
    with pytest.raises(TableError, match="'member' has 2 different values.*needs at least 3"):
        train_run(source, "rich", tmp_path / "run", group="member", settings=QUICK)


def test_targets_and_seeds_that_cannot_be(source, tmp_path) -> None:
    assert choose_task(np.array([0.5, 1.5]))[0] == "numbers"
    with pytest.raises(SettingError, match="numbers with decimals"):
        choose_task(np.array([0.5, 1.5, 2.5]), "classes")
    with pytest.raises(SettingError, match="the seed is a whole number from 0"):
        train_run(source, "rich", tmp_path / "run", seed=-1)
    (tmp_path / "inf.csv").write_text("a,y\n" + "".join(f"{i},{'inf' if i == 3 else i / 7}\n" for i in range(50)))
    with pytest.raises(TableError, match="'y' holds infinity in 1 rows"):
        train_run(tmp_path / "inf.csv", "y", tmp_path / "run")


def test_test_rows_of_unknown_classes_are_counted_and_not_lost_silently(tmp_path) -> None:
    rows = [(day, "new" if day >= 95 else "ab"[day % 2]) for day in range(100)]
    (tmp_path / "t.csv").write_text("day,size,y\n" + "".join(f"{day},{day % 7},{y}\n" for day, y in rows))
    with pytest.warns(
        DataWarning, match="5 of 20 test rows are of classes without a training row, and not scored: 'new'"
    ):
        run = train_run(tmp_path / "t.csv", "y", tmp_path / "run", time="day", settings=QUICK)
    assert run.facts["not_scored"] == {"train": 0, "validation": 0, "test": 5}
    assert (run.facts["split"]["test"], run.facts["scores"]["test"][0]["rows"]) == (20, 15)


def test_validation_rows_of_unknown_classes_alone_are_refused(tmp_path) -> None:
    rows = [(day, "new" if day >= 68 else "ab"[day % 2]) for day in range(100)]
    (tmp_path / "t.csv").write_text("day,size,y\n" + "".join(f"{day},{day % 7},{y}\n" for day, y in rows))
    with pytest.raises(TableError, match="every validation row is of a class without a training row .'new'."):
        train_run(tmp_path / "t.csv", "y", tmp_path / "run", time="day", settings=QUICK)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda facts: facts.pop("seed"), "is damaged: it lacks seed"),
        (lambda facts: facts["table"].pop("sha256"), "is damaged: it lacks table: sha256"),
        (lambda facts: facts.update(settings=[]), r"is damaged: settings is \[\]"),
        (lambda facts: facts.update(training=3), "is damaged: training is 3"),
        (lambda facts: facts.update(target=["y"]), r"is damaged: target is \['y'\]"),
        (lambda facts: facts["scores"].update(test=[]), "is damaged: scores holds a part without a score"),
        (lambda facts: facts["scores"].update(test=7), "is damaged: scores: test is 7"),
        (lambda facts: facts["scores"]["test"][0].pop("value"), "is damaged: it lacks scores: test: 0: value"),
        (lambda facts: facts.update(baseline=["a"]), "is damaged: baseline: 0 is 'a'"),
        (lambda facts: facts.update(format=2), "has format 2, and this version of plainnet reads up to 1"),
    ],
)
def test_a_damaged_run_is_explained_and_hides_no_other(finished, tmp_path, change, message) -> None:
    shutil.copytree(finished, tmp_path / "good")
    shutil.copytree(finished, tmp_path / "bad")
    facts = json.loads((tmp_path / "bad" / "run.json").read_text())
    change(facts)
    (tmp_path / "bad" / "run.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match=message):
        read_run(tmp_path / "bad")
    assert [run.path.name for run in list_runs(tmp_path)] == ["good"]


def test_the_target_is_no_column_to_split_by_or_leave_out(source, tmp_path) -> None:
    for options in ({"group": "rich"}, {"time": "rich"}, {"kinds": {"rich": "ignored"}}):
        with pytest.raises(SettingError, match="'rich' is the target"):
            train_run(source, "rich", tmp_path / "run", **options)


def test_tables_too_small_to_train_on(tmp_path) -> None:
    people()[:30].write_csv(tmp_path / "small.csv")
    with pytest.raises(TableError, match="0.99 test rows leaves 1 of 30 rows to train on.*pass a smaller --test"):
        train_run(tmp_path / "small.csv", "rich", tmp_path / "run", test_share=0.99)
    people().select("rich").write_csv(tmp_path / "only.csv")
    with pytest.raises(TableError, match="only the target column 'rich'"):
        train_run(tmp_path / "only.csv", "rich", tmp_path / "run")


def test_a_model_that_was_swapped_for_another_is_not_read_with_its_scores(source, tmp_path) -> None:
    settings = {"members": 1, "epochs": 1}
    one, other = (train_run(source, "rich", tmp_path / f"run{seed}", seed=seed, settings=settings) for seed in (1, 2))
    shutil.copy(other.path / "model.safetensors", one.path / "model.safetensors")
    for read in (read_run(one.path).estimator, lambda: read_model_of(one.path)):
        with pytest.raises(ModelFileError, match="is not the model that was written with the run's run.json"):
            read()
    assert read_model_of(one.path / "model.safetensors").classes_.tolist() == ["no", "yes"]
