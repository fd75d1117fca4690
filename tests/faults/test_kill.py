"""A training that is killed goes on, and ends in the model of one that was not."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.faults.kill import kill_and_go_on, reference
from tests.helpers import people

pytestmark = pytest.mark.slow


def test_killed_trainings_give_the_bytes_of_one_training(tmp_path) -> None:
    whole = reference(tmp_path)
    kills = int(os.environ.get("PLAINNET_KILLS", "4"))
    fell, model = kill_and_go_on(tmp_path, kills, random.Random(3))  # noqa: S311 - no secret
    assert fell
    assert model == whole, fell


def test_sigterm_keeps_the_best_so_far_and_a_second_process_is_refused(tmp_path) -> None:
    people(600).write_csv(tmp_path / "people.csv")
    options = [
        "--target",
        "rich",
        "--out",
        "run",
        "--members",
        "2",
        "--hidden",
        "128,128",
        "--epochs",
        "50000",
        "--patience",
        "50000",
    ]
    command = [sys.executable, "-m", "plainnet", "train", "people.csv", *options, "--checkpoint-every", "0.1s"]
    training = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 100
        while len(list((tmp_path / "run.checkpoint").glob("checkpoint-*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        second = [sys.executable, "-m", "plainnet", "train", "--resume", "run"]
        found = subprocess.run(second, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
        assert found.returncode == 1
        assert f"is being trained by another process, number {training.pid}" in found.stderr
        training.send_signal(signal.SIGTERM)
        _, said = training.communicate(timeout=100)
    finally:
        training.kill()
        training.communicate()
    assert training.returncode == 143
    assert "Stopped by SIGTERM after" in said
    assert "Go on with: plainnet train --resume run" in said
    assert (tmp_path / "run" / "model.safetensors").exists()
    assert (tmp_path / "run.checkpoint").is_dir()
