"""A run folder: what one training left behind. It is complete or absent, never half-written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plainnet.errors import RunError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.load import load
from plainnet.estimators.regressor import NetRegressor
from plainnet.files import replacing, replacing_folder
from plainnet.training.history import History

__all__ = ["Run", "check_free", "draw_losses", "free_name", "list_runs", "read_run", "write_run"]

#: Largest run.json that is read, in bytes.
MOST_BYTES = 64 * 2**20


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

    def history(self) -> History:
        """Read the history of the training."""
        return History.load(self.path / "history.csv")

    def estimator(self) -> NetClassifier | NetRegressor:
        """Read the model."""
        return load(self.path / "model.safetensors")


def write_run(
    path: Path, estimator: NetClassifier | NetRegressor, facts: Mapping[str, Any], *, overwrite: bool = False
) -> Run:
    """Write a run folder.

    Raises:
        RunError: the folder is already there and ``overwrite`` is False, or the disk refuses.
    """
    check_free(path, overwrite=overwrite)
    with replacing_folder(path, overwrite=overwrite) as folder:
        estimator.save(folder / "model.safetensors")
        estimator.history_.save(folder / "history.csv")
        draw_losses(estimator.history_, folder / "loss.png")
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
    known = {"model.safetensors", "run.json", "history.csv", "loss.png"}
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
        others = ", ".join(str(run.path) for run in list_runs(path.parent)) if path.parent.is_dir() else ""
        raise RunError(
            f"there is no run folder {str(path)!r}. {f'Runs beside it: {others}.' if others else 'plainnet train makes one.'}"
        )
    missing = [name for name in ("model.safetensors", "run.json", "history.csv") if not (path / name).is_file()]
    if missing:
        raise RunError(f"{str(path)!r} is no complete run: it lacks {', '.join(missing)}.")
    try:
        if (path / "run.json").stat().st_size > MOST_BYTES:
            raise RunError(
                f"{str(path / 'run.json')!r} is larger than {MOST_BYTES:,} bytes: it is no run.json of ours."
            )
        facts = json.loads((path / "run.json").read_text(encoding="utf-8"))
        lacking = [key for key in ("target", "task", "baseline", "scores", "table") if key not in facts]
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise RunError(f"{str(path / 'run.json')!r} cannot be read: {error}.") from error
    if lacking:
        raise RunError(f"{str(path / 'run.json')!r} is damaged: it lacks {', '.join(lacking)}.")
    return Run(path, facts)


def list_runs(folder: str | Path) -> list[Run]:
    """Read all complete runs in a folder, oldest first; what is no run is passed over."""
    runs = []
    for path in Path(folder).glob("*/run.json"):
        try:
            runs.append(read_run(path.parent))
        except RunError:
            continue
    return sorted(runs, key=lambda run: (str(run.facts.get("created", "")), str(run.path)))


def free_name(folder: Path, stem: str) -> Path:
    """Return the first of STEM-1, STEM-2, … that is not there yet."""
    number = 1
    while (folder / f"{stem}-{number}").exists():
        number += 1
    return folder / f"{stem}-{number}"


def draw_losses(history: History, path: Path) -> None:
    """Draw the loss curve to a picture file, complete or not at all.

    Raises:
        RunError: matplotlib knows no such format, or the file cannot be written.
    """
    from matplotlib.figure import Figure  # not pyplot: no window, no global list of figures

    figure = Figure(figsize=(7, 4), layout="constrained")
    history.plot(figure.subplots())
    with replacing(path) as temporary:
        try:
            figure.savefig(temporary, dpi=120)
        except ValueError as error:
            raise RunError(f"a picture is saved as .png, .svg or .pdf, not as {path.name!r}.") from error
