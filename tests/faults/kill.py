"""Kill -9 a training again and again, go on from its checkpoints, and compare the model with that of one training.

python -m tests.faults.kill 50        50 kills; prints where they fell, and fails where a byte differs
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from plainnet.runs.train_run import train_run
from tests.helpers import people

#: Some seconds of training, so that several kills find it at work.
SETTINGS = {"members": 3, "epochs": 4000, "patience": 4000, "hidden": (32, 32)}
OPTIONS = ("--members", "3", "--epochs", "4000", "--patience", "4000", "--hidden", "32,32")
#: Seconds after which a process that has written no checkpoint is given up.
PATIENCE = 120

#: Runs the command line, and kills itself in the n-th write of a checkpoint: half way, before the rename, or right after it.
IN_THE_WRITE = """
import os, pathlib, signal, sys
place, n = sys.argv.pop(1), int(sys.argv.pop(1))
write, replace, count = pathlib.Path.write_bytes, pathlib.Path.replace, 0
def die():
    os.kill(os.getpid(), signal.SIGKILL)
def write_bytes(self, data):
    global count
    count += self.name.startswith(".checkpoint-")
    if place == "half" and count == n:
        write(self, data[:len(data) // 2])
        die()
    return write(self, data)
def replaced(self, target):
    if count == n and place == "before":
        die()
    replace(self, target)
    if count == n:
        die()
pathlib.Path.write_bytes, pathlib.Path.replace = write_bytes, replaced
from plainnet.cli.cli import main
main()
"""


def reference(folder: Path) -> bytes:
    """Write the table, train on it without a stop, and return the model file."""
    people(1200).write_csv(folder / "people.csv")
    run = train_run(folder / "people.csv", "rich", folder / "whole", settings=SETTINGS)
    return (run.path / "model.safetensors").read_bytes()


def kill_and_go_on(folder: Path, kills: int, dice: random.Random) -> tuple[list[str], bytes]:
    """Train with so many kills on the way, fewer where the training is sooner at its end.

    Returns:
        Where each kill fell, and the model file.
    """
    out, fell = folder / f"killed-{dice.randrange(10**9)}", []
    arguments = ["train", str(folder / "people.csv"), "--target", "rich", "--out", str(out), *OPTIONS]
    arguments += ["--checkpoint-every", "0.2s"]
    for _ in range(kills):
        place = dice.choice(("anywhere", "anywhere", "half", "before", "after"))
        if place == "anywhere":
            delay = dice.uniform(0, 0.4)
            ended = _kill_later(arguments, Path(f"{out}.checkpoint"), delay)
            place = f"{delay:.3f} s after a checkpoint"
        else:
            command = [sys.executable, "-c", IN_THE_WRITE, place, str(dice.randint(2, 4)), *arguments]
            ended = subprocess.run(command, capture_output=True, check=False, timeout=PATIENCE).returncode
            place = f"{place} a write"
        if ended == 0:
            break
        assert ended == -signal.SIGKILL, ended
        assert not out.exists()  # complete or absent
        fell.append(place)
        arguments = ["train", "--resume", str(out)]
    if not out.exists():
        command = [sys.executable, "-m", "plainnet", *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
    assert not Path(f"{out}.checkpoint").exists()
    assert not list(folder.glob(".*"))  # nothing half-written is left
    return fell, (out / "model.safetensors").read_bytes()


def _kill_later(arguments: list[str], checkpoints: Path, delay: float) -> int:
    """Start a training, and kill it some time after its next checkpoint; return how it ended: 0 where it was at its end."""
    before = {path.name for path in checkpoints.glob("checkpoint-*")}
    training = subprocess.Popen(
        [sys.executable, "-m", "plainnet", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + PATIENCE
    while training.poll() is None and {path.name for path in checkpoints.glob("checkpoint-*")} <= before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(delay)
    if training.poll() is None:
        os.kill(training.pid, signal.SIGKILL)
    return training.wait()


def main(kills: int, seed: int = 0) -> None:
    """Kill so many times, in trainings of up to four kills each."""
    dice, count, trainings = random.Random(seed), 0, 0  # noqa: S311 - no secret
    with tempfile.TemporaryDirectory() as name:
        whole = reference(Path(name))
        while count < kills:
            fell, model = kill_and_go_on(Path(name), min(4, kills - count), dice)
            assert model == whole, fell
            count, trainings = count + len(fell), trainings + 1
            print(f"{count} kills: {'; '.join(fell)}", flush=True)  # noqa: T201 - a script
    print(f"{count} kills in {trainings} trainings: each model has the bytes of one training")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
