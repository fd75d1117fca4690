"""The command that trains a run again: run as a user would, it gives the same model file."""

import json
import shlex
import sys
from pathlib import Path

import pytest
from torch import nn

from plainnet.cli.cli import main
from plainnet.runs.reproduce import command_of
from plainnet.runs.runs import read_run
from plainnet.runs.train_run import train_run
from tests.helpers import people

#: Names that a shell, an option parser or Python could stumble over.
HOSTILE = {"age": "-a ge", "income": "$(touch hacked) `id`", "town": 'it\'s "town"; rm *', "rich": "--rich"}


def repeated(command: str, folder: Path, monkeypatch) -> bytes:
    """Run a command in a folder that holds the table; the bytes of its model file."""
    monkeypatch.chdir(folder)
    words = shlex.split(command)
    assert words[0] == "plainnet"
    monkeypatch.setattr(sys, "argv", [*words[:2], "--out", "again", *words[2:]])
    monkeypatch.setattr("warnings.showwarning", None)
    with pytest.raises(SystemExit) as stopped:
        main()
        raise SystemExit(0)
    assert not stopped.value.code
    return (folder / "again" / "model.safetensors").read_bytes()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("people.csv", {"settings": {"epochs": 1, "members": 2}}),
        ("-it's people$.csv", {
            "settings": {"hidden": (8, 4), "epochs": 2, "members": 2, "batch_size": 32, "learning_rate": 0.0123, "patience": 3},
            "task": "classes", "test_share": 0.3, "seed": 7,
            "kinds": {HOSTILE["age"]: "category", HOSTILE["income"]: "number", "joined": "date", "person_id": "ignored"},
        }),
        ("people.csv", {"settings": {"hidden": (), "epochs": 1}, "group": HOSTILE["town"], "test_share": 0}),
        ("-t.csv", {"settings": {"effort": "quick", "epochs": 1, "hidden": [8]}, "time": "joined"}),
    ],
    ids=["few options", "all options", "groups", "time"],
)  # fmt: skip
def test_the_command_gives_the_same_model_file(tmp_path, monkeypatch, name, options) -> None:
    monkeypatch.chdir(tmp_path)
    people(150).rename(HOSTILE).write_csv(tmp_path / name)
    run = train_run(name, HOSTILE["rich"], tmp_path / "run", **options)
    command = command_of(read_run(run.path).facts)
    assert repeated(command, tmp_path, monkeypatch) == (run.path / "model.safetensors").read_bytes()
    assert not (tmp_path / "hacked").exists()


def test_the_command_names_what_differs_from_the_defaults_and_no_more(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    people(150).write_csv("people.csv")
    run = train_run(
        "people.csv",
        "rich",
        tmp_path / "run",
        settings={"epochs": 1, "members": 1, "effort": "default", "hidden": None},
    )
    assert command_of(run.facts) == "plainnet train people.csv --target rich --members 1 --epochs 1 --seed 0"


def test_what_no_option_sets_is_written_as_python(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    people(150).write_csv("people.csv")
    settings = {"epochs": 1, "activation": "relu", "class_weight": {"no": 1.0, "yes": 2.0}, "members": 1}
    run = train_run("people.csv", "rich", tmp_path / "run", settings=settings, kinds={"member": "flag"}, seed=3)
    code = command_of(read_run(run.path).facts)
    assert "class_weight" in code
    names: dict[str, object] = {}
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "report", "exec"), names)  # noqa: S102 - what our own page says
    again = read_run("runs/people-1")
    assert (again.path / "model.safetensors").read_bytes() == (run.path / "model.safetensors").read_bytes()


def test_poisson_and_parts_of_ones_own(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    people(150).write_csv("people.csv")
    run = train_run("people.csv", "person_id", tmp_path / "a", settings={"epochs": 1, "members": 1, "loss": "poisson"})
    assert "'loss': 'poisson'" in command_of(read_run(run.path).facts)
    run = train_run(
        "people.csv", "person_id", tmp_path / "b", settings={"epochs": 1, "members": 1, "loss": nn.HuberLoss()}
    )
    facts = read_run(run.path).facts
    assert facts["settings"]["loss"] == "HuberLoss()"
    assert command_of(facts) == ""
    assert "No command trains this run again" in (run.path / "report.html").read_text()


def test_a_run_of_an_older_version_has_no_command(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    people(150).write_csv("people.csv")
    facts = json.loads(
        json.dumps(train_run("people.csv", "rich", tmp_path / "run", settings={"epochs": 1, "members": 1}).facts)
    )
    del facts["test_share"]
    assert command_of(facts) == ""
