"""A run folder: what one training left behind. It is complete or absent, never half-written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from plainnet.errors import ModelFileError, RunError
from plainnet.estimators.load import load
from plainnet.evaluation.evaluation import Estimator
from plainnet.evaluation.plots import save_drawn
from plainnet.files import replacing_folder, sha256_of
from plainnet.storage.misfit import Wanted, misfit
from plainnet.training.history import History

__all__ = [
    "FORMAT", "Run", "check_free", "draw_losses", "find_runs", "free_name", "list_runs", "read_model_of", "read_run", "write_run",
]  # fmt: skip

#: Grows by one with every change of run.json that older versions cannot read.
FORMAT = 1

#: Largest run.json that is read, in bytes.
MOST_BYTES = 64 * 2**20

#: What run.json holds, so far as it is read: by key, a type or a further object. docs/format.md has all of it.
#: A key that ends in '?' is one that older versions did not write. Scores may be NaN, which ``Real`` would not let pass.
NUMBER = float | int
SCORE: Wanted = {
    "metric": str, "value": NUMBER, "baseline": NUMBER, "rows": int, "higher_is_better": bool, str: object,
    **dict.fromkeys(("low?", "high?", "aim?", "mean?", "deviation?"), NUMBER | None),
}  # fmt: skip
CONTENT: Wanted = {
    "target": str, "task": str, "task_reason": str, "seed": int, "table": {"source": str, "rows": int, "sha256": str, str: object},
    "split": {"by": str, str: object}, "settings": dict, "versions": dict, "baseline": [NUMBER], "scores": {str: [SCORE]},
    "training": {"epochs": int, "best_epoch": int, "seconds": NUMBER, "engine": str, "engine_reason": str, str: object},
    "format": int, "threshold?": NUMBER | None, "folds?": dict | None, "model_sha256?": str | None, str: object,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A run folder that was read.

    Attributes:
        path: the folder.
        facts: run.json: settings, seeds, versions, the data's fingerprint, scores and the rows they were measured on.
    """

    path: Path
    facts: Mapping[str, Any]

    @property
    def target(self) -> str:
        """The column that is predicted."""
        return str(self.facts["target"])

    @property
    def baseline(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Shares of the classes, or the mean, of the training rows."""
        return np.array(self.facts["baseline"], dtype=np.float64)

    @property
    def threshold(self) -> float | None:
        """The probability of the second of two classes from which F1 says it; None: there is none, or an older version wrote the run."""
        threshold = self.facts.get("threshold")
        return None if threshold is None else float(threshold)

    def history(self) -> History:
        """Read the history of the training."""
        return History.load(self.path / "history.csv")

    def estimator(self) -> Estimator:
        """Read the model.

        Raises:
            ModelFileError: it is damaged, or not the one that was written with run.json.
        """
        wanted, path = self.facts.get("model_sha256"), self.path / "model.safetensors"  # older runs do not say
        if wanted is not None and path.is_file() and sha256_of(path) != wanted:
            raise ModelFileError(
                f"{str(path)!r} is not the model that was written with the run's run.json: it was swapped or damaged. Take both from one "
                "copy, or pass the model file itself, whose scores nobody knows."
            )
        return load(path)


def write_run(path: Path, estimator: Estimator, facts: Mapping[str, Any], *, overwrite: bool = False) -> Run:
    """Write a run folder.

    Raises:
        RunError: the folder is already there and ``overwrite`` is False, or the disk refuses.
    """
    check_free(path, overwrite=overwrite)
    with replacing_folder(path, overwrite=overwrite) as folder:
        estimator.save(folder / "model.safetensors")
        estimator.history_.save(folder / "history.csv")
        draw_losses(estimator.history_, folder / "loss.png")
        facts = {**facts, "model_sha256": sha256_of(folder / "model.safetensors")}
        (folder / "run.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return Run(path, facts)


def check_free(path: Path, *, overwrite: bool) -> None:
    """Check that a run can be written there: nothing is, or an older run or an empty folder that may be overwritten.

    Raises:
        RunError: something else is there, which is never overwritten, or ``overwrite`` is False.
    """
    if not path.exists():
        return
    if not overwrite:
        raise RunError(
            f"{str(path)!r} is already there. Name another folder with --out, or overwrite it with --overwrite."
        )
    known = {"model.safetensors", "run.json", "history.csv", "loss.png", "report.html"}
    if not path.is_dir() or not {file.name for file in path.iterdir()} <= known:
        raise RunError(
            f"{str(path)!r} is no run folder, or holds other files too, and is not overwritten. Name another folder with --out."
        )


def read_run(path: str | Path) -> Run:
    """Read a run folder.

    Raises:
        RunError: it is missing, or is no complete run.
    """
    path = Path(path)
    if not path.is_dir():
        raise RunError(f"there is no run folder {str(path)!r}. {_others(path.parent)}")
    missing = [name for name in ("model.safetensors", "run.json", "history.csv") if not (path / name).is_file()]
    if missing:
        raise RunError(
            f"{str(path)!r} is no complete run: it lacks {', '.join(missing)}. Take the whole folder from a copy, or train again."
        )
    file = path / "run.json"
    try:
        if file.stat().st_size > MOST_BYTES:
            raise RunError(
                f"{str(file)!r} is larger than {MOST_BYTES:,} bytes: it is no run.json of ours. Take it from a copy, or train again."
            )
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{str(file)!r} cannot be read: {error}. Take it from a copy, or train again.") from error
    if isinstance(facts, dict) and isinstance(facts.get("format"), int) and facts["format"] > FORMAT:
        raise RunError(
            f"{str(file)!r} has format {facts['format']}, and this version of plainnet reads up to {FORMAT}. "
            "Run: pip install --upgrade plainnet"
        )
    wrong = misfit(facts, CONTENT)
    if not wrong and not all(facts["scores"].values()):
        wrong = "scores holds a part without a score"
    if wrong:
        raise RunError(f"{str(file)!r} is damaged: {wrong}. Train again, or take the file from a copy.")
    return Run(path, facts)


def read_model_of(path: str | Path) -> Estimator:
    """Read the model of a run folder, or a model file.

    Raises:
        RunError: there is neither, or a folder without a model.
        ModelFileError: the model is damaged, or was written by a newer version.
    """
    path = Path(path)
    if path.is_dir() and not (path / "model.safetensors").is_file():
        raise RunError(f"{str(path)!r} is no complete run: it lacks model.safetensors. {_others(path)}")
    if not path.exists():
        raise RunError(f"there is no run folder or model file {str(path)!r}. {_others(path.parent)}")
    return read_run(path).estimator() if (path / "run.json").is_file() else load(path)


def _others(folder: Path) -> str:
    """Name the runs in a folder, or in the folder where runs are by default."""
    found = list_runs(folder) or list_runs("runs")
    return (
        f"Runs that are there: {', '.join(str(run.path) for run in found)}." if found else "plainnet train makes one."
    )


def list_runs(folder: str | Path) -> list[Run]:
    """Read all complete runs in a folder, oldest first; what is no run is passed over."""
    return find_runs(folder)[0]


def find_runs(folder: str | Path) -> tuple[list[Run], dict[Path, str]]:
    """Read the runs in a folder.

    Returns:
        The complete ones, oldest first; and the folders with a run.json that cannot be read, with what is wrong with each.
    """
    runs, damaged = [], {}
    for path in sorted(Path(folder).glob("*/run.json")):
        try:
            runs.append(read_run(path.parent))
        except RunError as error:
            damaged[path.parent] = str(error)
    return sorted(runs, key=lambda run: (str(run.facts.get("created", "")), str(run.path))), damaged


def free_name(folder: Path, stem: str) -> Path:
    """Return the first of STEM-1, STEM-2, … that is not there yet, and that no checkpoint is of."""
    names = (folder / f"{stem}-{number}" for number in count(1))
    return next(path for path in names if not path.exists() and not path.with_name(path.name + ".checkpoint").exists())


def draw_losses(history: History, path: Path) -> None:
    """Draw the loss curve to a picture file, complete or not at all.

    Raises:
        RunError: matplotlib knows no such format, or the file cannot be written.
    """
    save_drawn(history.plot, path)
