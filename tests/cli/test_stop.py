"""Ctrl-C and SIGTERM: what is kept, what is said, and the exit code."""

import os
import re
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from plainnet.cli.cli import main
from plainnet.training import training
from tests.helpers import people

OPTIONS = (
    "--target",
    "rich",
    "--out",
    "run",
    "--members",
    "2",
    "--hidden",
    "32,32",
    "--epochs",
    "50000",
    "--patience",
    "50000",
)

pytestmark = pytest.mark.filterwarnings("default::plainnet.errors.PlainnetWarning")


@pytest.fixture
def run_cli(monkeypatch, capsys, tmp_path):
    """Run the command line in a folder with a table, without pictures and report: arguments -> (exit code, errors)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", None)
    monkeypatch.setattr("plainnet.runs.runs.draw_losses", lambda history, path: path.write_bytes(b""))
    monkeypatch.setattr("plainnet.runs.train_run._report", lambda *_: None)
    people().write_csv("people.csv")

    def run(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["plainnet", *map(str, arguments)])
        before = signal.getsignal(signal.SIGTERM)
        with pytest.raises(SystemExit) as stopped:
            main()
            raise SystemExit(0)
        assert signal.getsignal(signal.SIGTERM) == before
        return int(stopped.value.code or 0), capsys.readouterr().err

    return run


def send(number: int, when) -> threading.Thread:
    """Send this process a signal as soon as ``when()`` holds."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not when() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize(("number", "code", "name"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")])
def test_a_stopped_training_keeps_the_best_so_far_and_says_how_to_go_on(run_cli, number, code, name) -> None:
    sender = send(number, lambda: len(list(Path("run.checkpoint").glob("checkpoint-*"))) == 2)
    found, err = run_cli("train", "people.csv", *OPTIONS, "--checkpoint-every", "0.1s")
    sender.join()
    assert found == code
    assert re.search(
        rf"Stopped by {name} after \d+ epochs; the best networks so far are kept. Go on with: .*--resume run\n", err
    )
    assert Path("run/model.safetensors").exists()
    assert Path("run.checkpoint").is_dir()
    found, err = run_cli("train", "--resume", "run", "--target", "rich")
    assert (found, "--resume takes everything from the checkpoint: leave out --target" in err) == (1, True)


@pytest.mark.parametrize(("number", "code", "name"), [(signal.SIGTERM, 143, "SIGTERM"), (signal.SIGINT, 130, "Ctrl-C")])
def test_a_stopped_tutorial_says_what_stopped_it(run_cli, monkeypatch, number, code, name) -> None:
    train = training.train
    stopped = {"on_epoch": lambda _: signal.raise_signal(number)}
    monkeypatch.setattr(training, "train", lambda *data, **settings: train(*data, **settings, **stopped))
    found, err = run_cli("tutorial")
    assert (found, f"Stopped by {name}; the network keeps" in err) == (code, True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_stopped_before_anything_was_written(run_cli, monkeypatch, number, code) -> None:
    monkeypatch.setattr("plainnet.runs.work.read_table", lambda *_, **__: signal.raise_signal(number))
    assert run_cli("train", "people.csv", *OPTIONS, "--checkpoint-every", "0.1s") == (
        code,
        "Stopped; nothing was written.\n",
    )
    assert [path.name for path in Path().iterdir()] == ["people.csv"]


def test_stopped_after_something_was_written(run_cli, monkeypatch) -> None:
    monkeypatch.setattr("plainnet.runs.train_run._report", lambda *_: signal.raise_signal(signal.SIGTERM))
    quick = ("--target", "rich", "--members", "1", "--epochs", "2", "--hidden", "4")
    code, err = run_cli("train", "people.csv", *quick, "--out", "run")
    assert (code, err) == (143, "Stopped; this was written: run.\n")
    code, err = run_cli("train", "people.csv", *quick, "--out", "two", "--checkpoint-every", "1m")
    assert (code, err) == (143, "Stopped; go on with: plainnet train --resume two\n")


def test_a_time_that_is_none(run_cli) -> None:
    code, err = run_cli("train", "people.csv", *OPTIONS, "--checkpoint-every", "30")
    assert (code, "--checkpoint-every is a time above 0 and up to a week, such as" in err) == (1, True)
