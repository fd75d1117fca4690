"""Each bad or odd file ends in a model, scores and predictions, or in one sentence that names the place: never in another error."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from plainnet.cli.cli import main
from plainnet.studio import tables
from plainnet.studio.tables import list_tables
from plainnet.tables.read import read_table
from tests.faults.cases import CASES, Case, lines
from tests.studio.helpers import Client

#: What no browser uploads.
NO_FILES = {"a link that leads nowhere", "a link to itself", "a folder", "a device", "no file"}
SMALL = ("--members", "1", "--epochs", "2", "--hidden", "4")

pytestmark = [
    pytest.mark.filterwarnings(
        "default::plainnet.errors.PlainnetWarning"
    ),  # any other is an error, and so exit code 70
    pytest.mark.filterwarnings("ignore:The number of unique classes is greater than 50%:UserWarning"),
]


@pytest.fixture(autouse=True)
def cheap(monkeypatch) -> None:
    """No pictures, and a low limit for what unpacks."""
    monkeypatch.setattr("plainnet.runs.runs.draw_losses", lambda history, path: path.write_bytes(b""))
    monkeypatch.setitem(read_table.__kwdefaults__, "limit_bytes", 2**20)


@pytest.fixture
def run_cli(monkeypatch, capsys):
    """Run the command line: arguments -> (exit code, output, errors)."""
    monkeypatch.setattr("warnings.showwarning", None)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["plainnet", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
            raise SystemExit(0)
        return int(stopped.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """A run on the good table."""
    from plainnet.runs.train_run import train_run

    folder = tmp_path_factory.mktemp("good")
    (folder / "good.csv").write_text(lines())
    settings = {"members": 1, "epochs": 2, "hidden": (4,)}
    return train_run(folder / "good.csv", "y", folder / "run", settings=settings).path


def refused(code: int, err: str, message: str, case: Case) -> None:
    """The exit code is that of an explained error, whose text is the one expected and names the file, a column or rows."""
    assert code == 1, err
    assert re.search(message, err, re.DOTALL), err
    assert case.file in err or re.search(r"'y'|size|place|rows?\b|target", err), err


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_and_odd_files(case, good, run_cli, tmp_path) -> None:
    path, run = tmp_path / case.file, tmp_path / "run"
    case.write(path)
    code, out, err = run_cli("train", path, "--target", "y", "--out", run, "--json", *SMALL)
    works = isinstance(case.train, int)
    if works:
        assert code == 0, err
        facts = json.loads(out)
        assert facts["table"]["rows"] == case.train
        assert re.search(case.note, err) if case.note else "Note:" not in err, err
    else:
        refused(code, err, case.train, case)
        assert not run.exists()
    otherwise = "works" if works else case.train
    for verb, wanted in (("predict", case.predict or otherwise), ("evaluate", case.score or otherwise)):
        more = ("--out", tmp_path / "out.parquet") if verb == "predict" else ("--json",)
        code, out, err = run_cli(verb, run if works else good, path, *more)
        if wanted != "works":
            refused(code, err, wanted, case)
            continue
        assert code == 0, err
        if verb == "predict":
            predicted = pl.read_parquet(tmp_path / "out.parquet")
            assert predicted.height == (case.train if works else len(read_table(path)))
            assert predicted.null_count().sum_horizontal().item() == 0
            for column in predicted.select(pl.selectors.float()):
                assert column.is_finite().all()
        else:
            assert all(score["rows"] > 0 for score in json.loads(out)["scores"])


@pytest.fixture(scope="module")
def studio(tmp_path_factory) -> Client:
    return Client(tmp_path_factory.mktemp("studio"))


@pytest.mark.parametrize("case", [case for case in CASES if case.name not in NO_FILES], ids=lambda case: case.name)
def test_bad_and_odd_files_in_the_studio(case, studio, tmp_path) -> None:
    """Uploaded, described, and where that works though nothing can be learnt, refused by the training; kept only if it can be read."""
    case.write(tmp_path / case.file)
    before = list_tables(studio.studio.work)
    answer = studio.post("/api/tables", params={"name": case.file}, content=(tmp_path / case.file).read_bytes())
    if not any(suffix in tables.SUFFIXES for suffix in Path(case.file).suffixes):
        assert "is of no kind that is read here" in answer.json()["error"]
    elif answer.status_code == 200:
        kept = answer.json()["name"]
        columns = studio.post("/api/columns", json={"table": kept})
        if isinstance(case.train, int):
            assert columns.json()["rows"] == case.train
            return
        assert columns.status_code in (200, 422)
        studio.post("/api/train", json={"table": kept, "target": "y", "members": 1, "epochs": 2})
        session = studio.studio.session
        session.join(60)
        assert session.phase == "failed"
        assert re.search(case.train, session.error, re.DOTALL), session.error
        return
    else:
        assert re.search(str(case.train), answer.json()["error"], re.DOTALL), answer.json()
    assert answer.status_code == 422
    assert list_tables(studio.studio.work) == before


def test_there_are_cases_enough_and_each_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("verb", ["train", "predict"])
def test_a_pipe_does_not_hang(verb, good, tmp_path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    arguments = ["train", "t.csv", "--target", "y"] if verb == "train" else ["predict", str(good), "t.csv"]
    command = [sys.executable, "-m", "plainnet", *arguments]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, "t.csv is not a regular file" in ended.stderr) == (1, True)
