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

from tests.helpers import people

OPTIONS = ("--members", "3", "--epochs", "2500", "--patience", "2500", "--hidden", "32,32")
#: Seconds after which a process is given up.
PATIENCE = 300

#: Runs the command line, and says when it has been imported. It kills itself in the n-th write of a checkpoint (half way, before the
#: rename, or right after it), or before or after the rename that makes the run.
TRAIN = """
import os, pathlib, signal, sys
place, n = sys.argv.pop(1), int(sys.argv.pop(1))
write, replace, rename, count = pathlib.Path.write_bytes, pathlib.Path.replace, pathlib.Path.rename, 0
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
    if place == "before" and count == n:
        die()
    replace(self, target)
    if place == "after" and count == n:
        die()
def renamed(self, target):
    if place == "before the run":
        die()
    new = rename(self, target)
    if place == "after the run":
        die()
    return new
pathlib.Path.write_bytes, pathlib.Path.replace, pathlib.Path.rename = write_bytes, replaced, renamed
import plainnet.runs.train_run
from plainnet.cli.cli import main
os.write(1, b"imported")
main()
"""


def reference(folder: Path) -> tuple[bytes, float]:
    """Write the table, and train on it without a stop.

    Returns:
        The model file, and the seconds the training took.
    """
    people(1200).write_csv(folder / "people.csv")
    ended, seconds = run([*_arguments(folder, folder / "whole"), "--checkpoint-every", "1h"])
    assert ended == 0
    return (folder / "whole" / "model.safetensors").read_bytes(), seconds


def kill_and_go_on(folder: Path, kills: int, dice: random.Random, seconds: float) -> tuple[list[str], bytes]:
    """Train with so many kills on the way, fewer where the training is sooner at its end.

    Args:
        folder: where ``reference`` was.
        kills: how many.
        dice: chooses the moments.
        seconds: the kills fall into, from the beginning of a process.

    Returns:
        Where each kill fell, and the model file.
    """
    out, fell = folder / f"killed-{dice.randrange(10**9)}", []
    checkpoints = Path(f"{out}.checkpoint")
    while not out.exists() or checkpoints.exists():
        is_begun = bool(list(checkpoints.glob("checkpoint-*")))
        arguments = (
            ["train", "--resume", str(out)] if is_begun else [*_arguments(folder, out), "--checkpoint-every", "0.1s"]
        )
        if len(fell) == kills:
            assert run(arguments)[0] == 0
            break
        place = dice.choice(
            ("anywhere", "anywhere", "anywhere", "half", "before", "after", "before the run", "after the run")
        )
        n, delay = dice.randint(1, 4), dice.uniform(0, seconds)
        ended, _ = run(arguments, delay, place="never") if place == "anywhere" else run(arguments, place=place, n=n)
        assert ended in (0, -signal.SIGKILL), ended
        if ended:
            there = sorted(path.name for path in out.iterdir()) if out.exists() else []
            assert not there or {"model.safetensors", "run.json", "history.csv", "loss.png"} <= set(there)
            fell.append(
                f"after {delay:.3f} s" if place == "anywhere" else f"{place}{'' if 'run' in place else f' write {n}'}"
            )
    assert not checkpoints.exists()
    assert not list(folder.glob(".*"))  # nothing half-written is left
    return fell, (out / "model.safetensors").read_bytes()


def _arguments(folder: Path, out: Path) -> list[str]:
    return ["train", str(folder / "people.csv"), "--target", "rich", "--out", str(out), *OPTIONS]


def run(arguments: list[str], delay: float | None = None, *, place: str = "never", n: int = 0) -> tuple[int, float]:
    """Run the command line, and kill it so many seconds after it has been imported; return how it ended, and its seconds since."""
    command = [sys.executable, "-c", TRAIN, place, str(n), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as training:
        assert training.stdout is not None
        assert training.stdout.read(8) == b"imported"
        started = time.monotonic()
        try:
            training.communicate(timeout=PATIENCE if delay is None else delay)
        except subprocess.TimeoutExpired:
            assert delay is not None
            os.kill(training.pid, signal.SIGKILL)
        return training.wait(), time.monotonic() - started


def main(kills: int, seed: int = 0) -> None:
    """Kill so many times, in trainings of up to six kills each."""
    dice, count, trainings = random.Random(seed), 0, 0  # noqa: S311 - no secret
    with tempfile.TemporaryDirectory() as name:
        whole, seconds = reference(Path(name))
        while count < kills:
            fell, model = kill_and_go_on(Path(name), min(6, kills - count), dice, seconds)
            assert model == whole, fell
            count, trainings = count + len(fell), trainings + 1
            print(f"{count} kills: {'; '.join(fell)}", flush=True)  # noqa: T201 - a script
    print(f"{count} kills in {trainings} trainings: each model has the bytes of one training")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
