"""The command line as a user meets it: output, files, exit codes, errors without tracebacks."""

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import plainnet
from plainnet import NetClassifier, NetRegressor
from plainnet.cli import tune
from plainnet.cli.cli import app
from plainnet.cli.output import print_scores
from tests.helpers import people

DOCS = Path(__file__).parents[2] / "docs"
VERBS = tuple(command.callback.__name__ for command in app.registered_commands)


@pytest.fixture
def run_cli(monkeypatch, command_line, tmp_path):
    """Run the command line in a folder of its own: arguments -> (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)
    return command_line


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "people.csv"
    people().write_csv(path)
    return path


def trained(run_cli, table, *more) -> tuple[int, str, str]:
    return run_cli("train", table, "--target", "rich", "--out", "run", "--epochs", "4", "--hidden", "8", *more)


def test_columns_with_which_the_prediction_rises_or_falls(run_cli, table, tmp_path) -> None:
    code, _, _ = trained(run_cli, table, "--increasing", "income", "--decreasing", "age", "--members", "1")
    assert code == 0
    assert plainnet.load(tmp_path / "run").monotone == {"income": 1, "age": -1}
    assert json.loads((tmp_path / "run" / "run.json").read_text())["settings"]["monotone"] == [
        ["income", 1],
        ["age", -1],
    ]
    code, _, err = trained(run_cli, table, "--increasing", "income", "--decreasing", "income", "--overwrite")
    assert (code, "'income' is named by --increasing and by --decreasing" in err) == (1, True)
    code, _, err = trained(run_cli, table, "--increasing", "incom", "--overwrite")
    assert (code, "lacks (did you mean 'income'?)" in err) == (1, True)


@pytest.mark.filterwarnings("default")
def test_from_a_csv_to_predictions(run_cli, table, tmp_path) -> None:
    code, out, _ = trained(run_cli, table)
    assert code == 0
    assert "test (60 rows)" in out
    assert "baseline" in out
    assert "classes, as the target is text" in out

    code, out, _ = run_cli("predict", "run", table)
    assert code == 0
    assert out.splitlines()[0] == "prediction,probability no,probability yes"
    assert len(out.splitlines()) == 301

    code, _, err = run_cli("predict", "run", table, "--with-input", "--out", "p.parquet")
    assert (code, "300 predictions written to p.parquet" in err) == (0, True)
    written = pl.read_parquet(tmp_path / "p.parquet")
    assert written["prediction"].to_list() == plainnet.load("run").predict(people()).tolist()
    assert "income" in written.columns

    code, out, _ = run_cli("evaluate", "run", table)
    assert (code, "AUC" in out) == (0, True)
    code, out, _ = run_cli("evaluate", "run", table, "--json")
    assert json.loads(out)["scores"][0]["rows"] == 300

    code, out, _ = run_cli("show", "run")
    assert code == 0
    assert "person_id" in out
    assert "identifier" in out
    assert "Sequential(" in out
    code, out, _ = run_cli("show", "run", "--json")
    assert json.loads(out)["schema"]["n_rows"] == 240

    code, _, _ = run_cli("plot", "run", "--out", "loss.svg")
    assert (tmp_path / "loss.svg").read_text().startswith("<?xml")
    code, out, _ = run_cli("runs", ".")
    assert (code, "AUC" in out) == (0, True)
    assert json.loads(run_cli("runs", ".", "--json")[1])[0]["target"] == "rich"


@pytest.mark.filterwarnings("default")
def test_numbers_json_and_overrides(run_cli, table) -> None:
    code, out, _ = run_cli(
        "train", table, "-t", "income", "--out", "run", "--epochs", "3", "--json", "--category", "age", "--ignore", "rich",
        "--seed", "3", "--test", "0.3", "--batch-size", "32", "--learning-rate", "0.01", "--patience", "2",
    )  # fmt: skip
    facts = json.loads(out)
    assert code == 0
    assert (facts["task"], facts["seed"], facts["split"]["test"]) == ("numbers", 3, 90)
    schema = json.loads(run_cli("show", "run", "--json")[1])["schema"]
    kinds = {column["name"]: column["kind"] for column in schema["columns"]}
    assert (kinds["age"], kinds["rich"]) == ("category", "ignored")
    assert run_cli("predict", "run", table)[1].splitlines()[0] == "prediction"


@pytest.mark.filterwarnings("default")
def test_a_database_table_is_named_with_query(run_cli, tmp_path) -> None:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(tmp_path / "shop.db")) as base:
        frame = people()
        base.execute(f"create table people ({', '.join(frame.columns)})")
        base.executemany(f"insert into people values ({', '.join('?' * frame.width)})", frame.rows())
        base.execute("create table other (a)")
        base.commit()
    code, _, err = run_cli("train", "sqlite:///shop.db", "--target", "rich", "--epochs", "2")
    assert (code, "people" in err) == (1, True)
    code, _, _ = run_cli(
        "train", "sqlite:///shop.db", "--query", "people", "--target", "rich", "--epochs", "2", "--out", "run"
    )
    assert code == 0


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["train", "nope.csv", "--target", "x"], 1, "nope.csv"),
        (["train", "people.csv"], 1, "--target is missing"),
        (["train", "people.csv", "--target", "ritch"], 1, "did you mean 'rich'"),
        (["train", "people.csv", "--target", "rich", "--hidden", "a,b"], 1, "--hidden holds whole numbers"),
        (["train", "people.csv", "--target", "rich", "--task", "poetry"], 1, "the task is one of"),
        (["train", "people.csv", "--target", "rich", "--test", "2"], 1, "share of test rows"),
        (["train", "people.csv", "--target", "rich", "--category", "nope"], 1, "kinds names the column 'nope'"),
        (["train", "people.csv", "--target", "rich", "--learning-rate", "-1"], 1, "learning_rate is a number above 0"),
        (["train", "people.csv", "--target", "rich", "--device", "abacus"], 1, "device 'abacus' cannot be used"),
        (["train", "people.csv", "--epochs", "many"], 2, "Invalid value"),
        (["train", "people.csv", "--target", "rich", "--learning-rate", "inf"], 1, "learning_rate is a number above 0"),
        (["train", "people.csv", "--target", "rich", "--device", "meta"], 1, "device 'meta' cannot be used"),
        (["predict", "nope", "people.csv"], 1, "there is no run folder or model file 'nope'"),
        (["predict", "people.csv", "people.csv"], 1, "no plainnet model"),
        (["show", "nope"], 1, "nope"),
        (["evaluate", "nope", "people.csv"], 1, "there is no run folder"),
        (["plot", "nope"], 1, "there is no run folder"),
        (["fly"], 2, "No such command"),
    ],
)
def test_mistakes_are_explained(run_cli, table, arguments, code, message) -> None:
    found, _, err = run_cli(*arguments)
    assert (found, message in err) == (code, True), err


@pytest.mark.filterwarnings("default")
def test_a_table_that_changed_is_answered_by_the_difference(run_cli, table, tmp_path) -> None:
    trained(run_cli, table)
    people().rename({"income": "Income_EUR"}).write_csv(tmp_path / "new.csv")
    code, _, err = run_cli("predict", "run", "new.csv")
    assert code == 1
    assert "missing  income (did you mean 'Income_EUR'?)" in err


@pytest.mark.filterwarnings("default")
def test_a_run_is_overwritten_only_when_asked(run_cli, table) -> None:
    assert trained(run_cli, table)[0] == 0
    code, _, err = trained(run_cli, table)
    assert (code, "is already there" in err) == (1, True)
    assert trained(run_cli, table, "--overwrite")[0] == 0


def test_the_tutorial_shows_its_steps(run_cli, tmp_path) -> None:
    code, out, _ = run_cli("tutorial", "--epochs", "50")
    assert code == 0
    for shown in (
        "x: (100, 10)   y: (100, 1)",
        "Linear(in_features=10, out_features=15",
        "epoch    49",
        ">>> history.plot()",
        "engine ",
    ):
        assert shown in out
    assert (tmp_path / "tutorial_loss.png").stat().st_size > 5000


def test_version_and_no_runs(run_cli) -> None:
    assert run_cli("--version")[1].strip() == f"plainnet {plainnet.__version__}"
    assert "No runs in runs" in run_cli("runs")[1]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(run_cli, verb) -> None:
    code, out, _ = run_cli(verb, "--help")
    assert code == 0
    assert f"plainnet {verb}" in out.split("Usage", 1)[1].split("\n", 1)[1]


@pytest.mark.skipif(
    f"typer=={version('typer')}\n" not in (DOCS.parent / "constraints.txt").read_text(),
    reason="other versions of Typer draw help otherwise than docs/cli.md",
)
def test_the_documented_help_is_the_real_one() -> None:
    script = "import sys; sys.path.insert(0, 'docs'); import make_docs; print(make_docs.cli_page(), end='')"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=DOCS.parent, check=True)
    assert found.stdout == (DOCS / "cli.md").read_text(), "docs/cli.md is out of date: run make docs"


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; sys.argv = ['plainnet', '--help']\nfrom plainnet.cli.cli import app, main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print([name for name in ('torch', 'matplotlib', 'polars', 'sklearn', 'numpy') if name in sys.modules], file=sys.stderr)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stderr.strip() == "[]"


@pytest.mark.filterwarnings("default")
def test_a_bug_is_a_sentence_too(run_cli, table, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh no")

    monkeypatch.setattr("plainnet.runs.train_run.train_run", broken)
    code, _, err = trained(run_cli, table)
    assert (code, "ZeroDivisionError: oh no" in err, "plainnet doctor" in err) == (70, True, True)


@pytest.mark.filterwarnings("default")
def test_a_column_of_the_predictions_name_is_not_lost(run_cli, table, tmp_path) -> None:
    trained(run_cli, table)
    people().rename({"person_id": "prediction"}).write_csv(tmp_path / "new.csv")
    code, out, err = run_cli("predict", "run", "new.csv", "--with-input")
    assert (code, out, "already has a column 'prediction'" in err) == (1, "", True)
    assert run_cli("predict", "run", "new.csv")[0] == 0


@pytest.mark.filterwarnings("default")
def test_runs_that_are_not_there_or_incomplete_are_answered_by_those_that_are(run_cli, table, tmp_path) -> None:
    for name in ("a", "b"):
        code, _, _ = run_cli("train", table, "-t", "rich", "--out", f"runs/{name}", "--epochs", "1", "--hidden", "4")
        assert code == 0
    for verb in (["predict", "nope", table], ["show", "runs/nope"], ["evaluate", "nope", table], ["show", "runs"]):
        code, _, err = run_cli(*verb)
        assert (code, "Runs that are there: runs/a, runs/b." in err) == (1, True), err
    code, _, err = run_cli("predict", "runs/a", table, "--out", ".")
    assert (code, ". is a folder. Name the file to write in it, such as predictions.csv" in err) == (1, True), err
    (tmp_path / "runs" / "a" / "model.safetensors").unlink()
    code, _, err = run_cli("predict", "runs/a", table)
    assert (code, "'runs/a' is no complete run: it lacks model.safetensors" in err) == (1, True), err
    history = tmp_path / "runs" / "b" / "history.csv"
    for content, message in (
        ("", "its first line has to be epoch,loss"),
        (history.read_text()[:50], "holds no epochs"),
    ):
        history.write_text(content.split("\n")[0])
        code, _, err = run_cli("plot", "runs/b")
        assert (code, message in err) == (1, True), err


def test_scores_of_any_size_are_readable(capsys) -> None:
    score = {"metric": "RMSE", "rows": 3, "value": 1.5e100, "baseline": 2.25e-200, "higher_is_better": False}
    print_scores({"test": [score]})
    shown = capsys.readouterr().out
    assert "1.5e+100" in shown
    assert "2.25e-200" in shown


@pytest.mark.parametrize(
    ("estimator", "target", "columns"),
    [
        (
            NetRegressor(quantiles=[0.1, 0.9], epochs=2),
            lambda people: people["income"],
            ["quantile 0.1", "quantile 0.9"],
        ),
        (
            NetRegressor(epochs=2),
            lambda people: people.select("age", "income").fill_null(0),
            ["prediction 0", "prediction 1"],
        ),
        (
            NetClassifier(epochs=2),
            lambda people: np.stack(
                [people["age"].fill_null(0) > 40, people["income"].fill_null(0) > 6000], axis=1
            ).astype(int),
            ["label 0", "label 1", "probability 0", "probability 1"],
        ),
    ],
    ids=["quantiles", "two numbers", "labels"],
)
def test_several_predictions_a_row_each_have_a_column(run_cli, table, tmp_path, estimator, target, columns) -> None:
    people = plainnet.read_table(table)
    estimator.fit(people.select("town", "joined"), target(people)).save(tmp_path / "m.safetensors")
    code, out, _ = run_cli("predict", "m.safetensors", table)
    assert code == 0
    assert out.splitlines()[0].split(",") == columns
    assert len(out.splitlines()) == 301


@pytest.mark.filterwarnings("default")
def test_runs_are_chosen_sorted_and_tracked(run_cli, table, tmp_path) -> None:
    code, _, err = trained(run_cli, table, "--members", "1", "--track", "tensorboard", "--track-to", "logs")
    assert (code, "tensorboard --logdir logs" in err) == (0, True)
    assert list((tmp_path / "logs" / "run").glob("events.*"))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    code, out, err = run_cli("runs", ".", "--sort", "score", "--where", "settings.members=1", "--json")
    assert (code, [each["run"] for each in json.loads(out)]) == (0, ["run"])
    assert "Note: 1 of 2 runs cannot be listed: 'bad' is no complete run" in err
    code, out, _ = run_cli("runs", ".", "--target", "poor")
    assert (code, out) == (0, "None of the 1 runs in . fits.\n")
    code, _, err = run_cli("track", "run", "tensorboard", "--to", "logs")
    assert (code, "is already there" in err) == (1, True)


@pytest.mark.filterwarnings("default")
def test_a_tracker_that_fails_is_a_note_and_one_that_is_unknown_stops_before_the_training(
    run_cli, table, tmp_path
) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = trained(run_cli, table, "--members", "1", "--track", "tensorboard", "--track-to", "file")
    assert (code, "Note: 'run' could not be written to tensorboard" in err) == (0, True)
    assert (tmp_path / "run" / "run.json").exists()
    code, _, err = run_cli("train", table, "--target", "rich", "--out", "two", "--track", "wandb")
    assert (code, "tracked by tensorboard or mlflow, not by 'wandb'" in err) == (1, True)
    code, _, err = run_cli("train", table, "--target", "rich", "--out", "two", "--track-to", "logs")
    assert (code, "add --track tensorboard or --track mlflow" in err) == (1, True)
    assert not (tmp_path / "two").exists()


@pytest.mark.filterwarnings("default")
def test_tune_says_of_a_coverage_that_it_is_to_be_near_its_aim(capsys) -> None:
    score = {
        "metric": "90 % interval coverage",
        "value": 0.88,
        "baseline": 0.9,
        "rows": 100,
        "higher_is_better": True,
        "aim": 0.9,
    }
    tuning = {
        "trials": 2,
        "ended_early": 0,
        "seconds": 1.0,
        "default_loss": 2.0,
        "best_loss": 1.0,
        "best_trial": 1,
        "kept": "tuned",
    }
    tune._tell(tuning | {"settings": {"dropout": 0.1}, "default_scores": {"test": [score]}}, {"test": [score]})
    assert "near 0.9" in capsys.readouterr().out


def test_tune_shows_the_default_beside_the_best(run_cli, table, tmp_path) -> None:
    options = ("--target", "rich", "--trials", "2", "--epochs", "2", "--effort", "quick", "--time", "1h")
    code, out, _ = run_cli("tune", table, *options, "--out", "run")
    assert code == 0
    assert "2 trials, 0 of them ended early" in out or "2 trials, 1 of them ended early" in out
    tuning = json.loads((tmp_path / "run" / "run.json").read_text())["tuning"]
    assert ("tuned  default  baseline" in out) == (tuning["kept"] == "tuned")
    assert ("this is the run of the default settings" in out) == (tuning["kept"] == "default")


@pytest.mark.parametrize("time", ["10", "m", "0s", "-3m", "8d", "200h", "ten minutes"])
def test_times_that_are_none(run_cli, table, time) -> None:
    code, _, err = run_cli("tune", table, "--target", "rich", f"--time={time}")
    assert (code, "--time is a time above 0 and up to a week, such as 90s, 10m or 2h, not" in err) == (1, True)
