"""Runs with checkpoints: stopped or killed, they go on to the same model; what does not fit is refused in words."""

import errno
import json
import os
import random
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from plainnet import DataWarning, PlainnetWarning, RunError, SettingError, TrainingError
from plainnet.files import locked, sweep
from plainnet.runs.runs import read_run
from plainnet.runs.train_run import resume_run, train_run
from plainnet.storage.storage import read_model, write_model
from tests.helpers import people

SETTINGS = {"members": 2, "epochs": 1500, "patience": 1500, "hidden": (8,), "monotone": {"age": 1}}


@pytest.fixture(autouse=True)
def cheap(monkeypatch) -> None:
    """No pictures and no report."""
    monkeypatch.setattr("plainnet.runs.runs.draw_losses", lambda history, path: path.write_bytes(b""))
    monkeypatch.setattr("plainnet.runs.train_run._report", lambda *_: None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a table, the run of an uninterrupted training, and the checkpoint that a killed one left."""
    folder = tmp_path_factory.mktemp("resume")
    people().write_csv(folder / "people.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plainnet.runs.runs.draw_losses", lambda history, path: path.write_bytes(b""))
        patch.setattr("plainnet.runs.train_run._report", lambda *_: None)
        train_run(folder / "people.csv", "rich", folder / "whole", settings=SETTINGS)
        watch = after(12, lambda: shutil.copytree(folder / "a.checkpoint", folder / "killed.checkpoint"))
        train_run(
            folder / "people.csv", "rich", folder / "a", settings=SETTINGS, checkpoint_every=0.01, on_epochs=watch
        )
    return folder


@pytest.fixture
def killed(folder, tmp_path) -> Path:
    """The run folder that a killed training was to write; its table and its checkpoint are beside it."""
    shutil.copytree(folder / "killed.checkpoint", tmp_path / "run.checkpoint")
    return tmp_path / "run"


def after(looks: int, act: Callable[[], object]) -> Callable[..., None]:
    """Return what looks on, and acts once, after so many looks."""
    count = 0

    def look(*_: object) -> None:
        nonlocal count
        count += 1
        if count == looks:
            act()

    return look


def model(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


@contextmanager
def small_files(most: int) -> Iterator[None]:
    """Files cannot grow beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_checkpoints_leave_the_model_as_it_is_and_go_with_the_run(folder) -> None:
    assert model(folder / "a") == model(folder / "whole")
    assert not (folder / "a.checkpoint").exists()


def test_a_killed_training_goes_on_to_the_same_model(folder, killed) -> None:
    run = resume_run(killed)
    assert model(killed) == model(folder / "whole")
    whole = read_run(folder / "whole").facts
    for key in ("table", "target", "settings", "seed", "scores", "split", "threshold"):
        assert run.facts[key] == whole[key], key
    assert not Path(f"{killed}.checkpoint").exists()
    with pytest.raises(RunError, match=r"there is no checkpoint folder .*run' is complete"):
        resume_run(killed)


def test_a_stopped_training_keeps_the_best_and_goes_on(folder, tmp_path) -> None:
    stop = after(12, lambda: signal.raise_signal(signal.SIGINT))
    source, out = folder / "people.csv", tmp_path / "run"
    run = train_run(source, "rich", out, settings=SETTINGS, checkpoint_every=5, on_epochs=stop)
    assert run.facts["training"]["stopped_by"] == "interrupt"
    resume_run(f"{out}.checkpoint")
    assert model(out) == model(folder / "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_table_that_changed_or_vanished_is_refused(folder, killed, tmp_path) -> None:
    moved = tmp_path / "moved.csv"
    text = (folder / "people.csv").read_text()
    moved.write_text(text.replace("Ulm", "Bonn"))
    with pytest.raises(RunError, match=r"moved.csv' has changed since the training began: its SHA-256 is .* --resume"):
        resume_run(killed, str(moved))
    moved.unlink()
    with pytest.raises(RunError, match=r"moved.csv', cannot be read as it was: .*plainnet train TABLE --resume"):
        resume_run(killed, str(moved))
    moved.write_text(text)
    resume_run(killed, str(moved))
    assert model(killed) == model(folder / "whole")


@pytest.mark.parametrize(("act", "became"), [("change", "changed"), ("remove", "gone"), ("touch", "")])
def test_a_table_that_changes_while_it_is_learnt_is_noted(folder, tmp_path, act, became, recwarn) -> None:
    source = tmp_path / "people.csv"
    shutil.copy(folder / "people.csv", source)
    acts = {
        "change": lambda: source.write_text("nothing"), "remove": source.unlink, "touch": lambda: os.utime(source, (1, 1)),
    }  # fmt: skip
    run = train_run(source, "rich", tmp_path / "run", settings=SETTINGS, on_epochs=after(5, acts[act]))
    assert read_run(run.path).facts["table"].get("since", "") == became
    said = [str(each.message) for each in recwarn if issubclass(each.category, DataWarning)]
    assert any(f"people.csv' is {became} since the training read it" in each for each in said) == bool(became)
    assert model(run.path) == model(folder / "whole")


def test_a_clock_that_jumps_changes_nothing(folder, tmp_path, monkeypatch) -> None:
    dice = random.Random(0)  # noqa: S311 - no secret
    monkeypatch.setattr(time, "time", lambda: dice.uniform(-1e9, 1e10))
    written = []
    watch = after(24, lambda: written.extend((tmp_path / "run.checkpoint").glob("checkpoint-*")))
    train_run(
        folder / "people.csv", "rich", tmp_path / "run", settings=SETTINGS, checkpoint_every=0.01, on_epochs=watch
    )
    assert 1 <= len(written) <= 2  # how many there are by then depends on the machine
    assert model(tmp_path / "run") == model(folder / "whole")


def test_one_process_at_a_time(folder, killed) -> None:
    message = rf"is being trained by another process, number {os.getpid()}: .* Wait for its end, or end it"
    with locked(f"{killed}.checkpoint", "it is being trained"), pytest.raises(RunError, match=message):
        resume_run(killed)
    with locked(f"{killed}.checkpoint", "it is being trained"), pytest.raises(RunError, match=message):
        train_run(folder / "people.csv", "rich", killed, settings=SETTINGS)
    pid = os.fork()  # a process that dies with the lock leaves none
    if pid == 0:
        try:
            with locked(f"{killed}.checkpoint", ""):
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    with locked(f"{killed}.checkpoint", ""):
        pass


def test_a_new_training_does_not_lose_a_checkpoint(folder, killed, tmp_path) -> None:
    source = folder / "people.csv"
    with pytest.raises(RunError, match=r"holds the checkpoint of a training that was stopped. Go on: .*--overwrite"):
        train_run(source, "rich", killed, settings=SETTINGS, checkpoint_every=5)
    assert list(Path(f"{killed}.checkpoint").glob("checkpoint-*"))
    train_run(source, "rich", killed, settings=SETTINGS | {"epochs": 2}, checkpoint_every=5, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_run_of_another_training_is_not_overwritten(folder, killed) -> None:
    train_run(folder / "people.csv", "rich", killed, settings=SETTINGS | {"epochs": 1}, seed=1)
    before = model(killed)
    with pytest.raises(RunError, match="is there, and is the run of another training: move it away"):
        resume_run(killed)
    assert model(killed) == before


def test_a_checkpoint_of_another_version_is_refused(killed, monkeypatch) -> None:
    monkeypatch.setattr("plainnet.runs.resume.versions", lambda: {"plainnet": "99.0"})
    with pytest.raises(RunError, match=r"is of plainnet .*, and this is 99.0: take that version, or train anew"):
        resume_run(killed)


def test_folders_without_a_checkpoint(folder, tmp_path) -> None:
    with pytest.raises(RunError, match=r"no checkpoint folder .*nope.checkpoint'. plainnet train --checkpoint-every"):
        resume_run(tmp_path / "nope")
    (tmp_path / "run.checkpoint").mkdir()
    with pytest.raises(RunError, match="ended before its first checkpoint: there is nothing to go on from. Train anew"):
        resume_run(tmp_path / "run")
    assert not (tmp_path / "run.checkpoint").exists()
    with pytest.warns(PlainnetWarning), pytest.raises(TrainingError, match="no network could be trained"):
        train_run(
            folder / "people.csv", "rich", tmp_path / "run", checkpoint_every=5,
            settings={"members": 1, "epochs": 2, "batch_size": 8, "learning_rate": 1e38},
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"loss": lambda p, y: ((p - y) ** 2).mean()},
            "checkpoints keep the settings as JSON, and it cannot hold loss=",
        ),
        ({"class_weight": {True: 2.0}}, "cannot hold class_weight="),
    ],
)
def test_settings_that_json_cannot_hold(folder, tmp_path, settings, message) -> None:
    with pytest.raises(SettingError, match=message):
        train_run(folder / "people.csv", "rich", tmp_path / "run", settings=settings, checkpoint_every=5)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_at_the_end_loses_nothing(folder, killed) -> None:
    checkpoint = Path(f"{killed}.checkpoint")
    size = max(path.stat().st_size for path in checkpoint.iterdir())
    with (
        small_files(size // 8),
        pytest.warns(DataWarning, match="a checkpoint could not be written, .*File too large"),
        pytest.raises(RunError, match="cannot be written: File too large"),
    ):
        resume_run(killed)
    assert not killed.exists()
    resume_run(killed)
    assert model(killed) == model(folder / "whole")


def test_a_model_file_survives_a_full_disk(folder, tmp_path, monkeypatch) -> None:
    path = tmp_path / "model.safetensors"
    shutil.copy(folder / "whole" / "model.safetensors", path)
    content, _ = read_model(path)
    before = path.read_bytes()
    with small_files(5000), pytest.raises(RunError, match="cannot be written: File too large"):
        write_model(path, content, {"x": np.zeros(10_000, dtype=np.float32)})

    def full(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(RunError, match="cannot be written: Read-only file system"):
        write_model(path, content, {"x": np.zeros(10, dtype=np.float32)})
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["model.safetensors"]


def test_what_a_killed_write_left_is_swept_and_nothing_else(tmp_path) -> None:
    for name in (
        ".run-abcd1234",
        ".run-old-abcd1234/run",
        ".run-2-abcd1234",
        ".run-old-abcd1235/other",
        ".other-abcd1234",
    ):
        (tmp_path / name).mkdir(parents=True)
    sweep(tmp_path / "run")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".other-abcd1234",
        ".run-2-abcd1234",
        ".run-old-abcd1235",
    ]


def test_the_checkpoint_says_what_was_asked_for_and_no_password(folder) -> None:
    data = next((folder / "killed.checkpoint").glob("checkpoint-*")).read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    facts = json.loads(json.loads(header["__metadata__"]["plainnet"])["content"])["facts"]
    assert facts["source"] == str(folder / "people.csv")
    assert facts["settings"]["hidden"] == [8]
    assert facts["reading"]["seed"] == 0
