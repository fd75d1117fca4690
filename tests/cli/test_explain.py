"""``plainnet explain`` and ``plainnet report`` as a user meets them."""

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

import plainnet
from plainnet.runs.train_run import train_run
from tests.helpers import people

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("explain")
    people().write_csv(folder / "people.csv")
    settings = {"hidden": (8,), "epochs": 5, "members": 2}
    train_run(folder / "people.csv", "rich", folder / "run", settings=settings)
    train_run(folder / "people.csv", "income", folder / "numbers", settings=settings, test_share=0)
    return folder


@pytest.fixture
def run_cli(monkeypatch, command_line, tmp_path, finished):
    """Run the command line in a copy of the folder: arguments -> (exit code, output, errors)."""
    shutil.copytree(finished, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return command_line


def test_the_columns_of_a_run_are_explained_on_its_test_rows(run_cli) -> None:
    code, out, err = run_cli("explain", "run")
    assert (code, "Shuffling the columns of the test rows" in err) == (0, True)
    assert "log-loss" in out
    assert "on 60 rows (the test rows), 10 shuffles each" in out
    lines = out.splitlines()
    assert lines[3].split()[0] in ("income", "age")
    assert len(lines) == 3 + 5  # person_id and country are left out
    found = json.loads(run_cli("explain", "run", "--json")[1])
    assert (found["rows"], found["rows_of"], found["metric"]) == (60, "the test rows", "log-loss")
    assert [each["column"] for each in found["columns"]] == [line.split()[0] for line in lines[3:]]


def test_another_table_is_explained_with_a_picture(run_cli) -> None:
    people(100, seed=4).write_csv("new.csv")
    code, out, err = run_cli("explain", "run", "new.csv", "--plot", "columns.png")
    assert (code, "on 100 rows (new.csv)" in out) == (0, True)
    assert "Picture written to columns.png" in err
    assert Path("columns.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_without_held_out_rows_says_so(run_cli) -> None:
    code, out, err = run_cli("explain", "numbers")
    assert (code, "RMSE" in out) == (0, True)
    assert "Note: the run held out no rows" in err


def test_a_row_is_explained(run_cli) -> None:
    code, out, _ = run_cli("explain", "run", "--row", "3", "--plot", "row.svg")
    assert code == 0
    table = plainnet.read_table("people.csv")
    estimator = plainnet.load("run")
    likely = estimator.predict(table[2:3])[0]
    assert f"Row 3: probability of {likely} {estimator.predict_proba(table[2:3]).max():.4f}"[:-1] in out
    assert f"(in the table: {table['rich'][2]})" in out
    assert str(table["income"][2]) in out
    assert "<svg" in Path("row.svg").read_text()
    found = json.loads(run_cli("explain", "run", "--row", "3", "--class", "no", "--json")[1])
    assert (found["output"], found["row"], found["target"]) == ("no", 3, table["rich"][2])
    total = found["base"] + sum(each["value"] for each in found["contributions"])
    assert total == pytest.approx(found["prediction"], rel=1e-9)
    assert found["prediction"] == pytest.approx(float(estimator.predict_proba(table[2:3])[0, 0]), abs=1e-6)


def test_a_row_of_a_table_without_the_target(run_cli) -> None:
    people(20, seed=4).drop("income").with_columns(joined=pl.col("joined").str.to_date()).write_parquet("new.parquet")
    code, out, _ = run_cli("explain", "numbers", "new.parquet", "--row", "20")
    assert (code, "Row 20: income" in out, "in the table" in out) == (0, True, False)
    assert json.loads(run_cli("explain", "numbers", "new.parquet", "--row", "1", "--json")[1])["output"] == "prediction"


def test_a_report_is_written_again(run_cli) -> None:
    Path("run/report.html").unlink()
    code, _, err = run_cli("report", "run")
    assert (code, "Report written to run/report.html" in err) == (0, True)
    assert Path("run/report.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "nope"], "there is no run folder 'nope'"),
        (["explain", "run", "--row", "0"], "--row is the number of a row from 1 to 300, not 0"),
        (["explain", "run", "--row", "301"], "--row is the number of a row from 1 to 300, not 301"),
        (
            ["explain", "run", "--row", "1", "--class", "maybe"],
            "there is no output 'maybe' to explain. There are: 'no', 'yes'",
        ),
        (["explain", "run", "--plot", "x.doc"], "a picture is saved as .png, .svg or .pdf"),
        (["explain", "run", "small.csv"], "the table has no column 'rich'"),
        (["explain", "run", "small.csv", "--row", "1"], "missing  income"),
        (["report", "nope"], "there is no run folder"),
        (["report", "run", "small.csv"], "is not what the run was trained on"),
        (["report", "run", "nope.csv"], "the table of the run, 'nope.csv', cannot be read"),
    ],
)
def test_mistakes_are_explained(run_cli, arguments, message) -> None:
    people(10).select("age", "town").write_csv("small.csv")
    code, _, err = run_cli(*arguments)
    assert (code, message in err) == (1, True), err


def test_a_run_whose_table_changed_asks_for_one(run_cli, finished) -> None:
    facts = json.loads(Path("run/run.json").read_text())
    facts["table"]["source"] = "people.csv"
    Path("run/run.json").write_text(json.dumps(facts))
    people(299).write_csv("people.csv")
    for verb in ("explain", "report"):
        code, _, err = run_cli(verb, "run")
        assert (code, "Name the table" in err) == (1, True), err
    assert run_cli("explain", "run", "people.csv")[0] == 0
