"""The checkpoint folder beside a run that is being made: RUN.checkpoint. One process at a time writes it, or goes on from it."""

from __future__ import annotations

import contextlib
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping
from numbers import Real
from pathlib import Path
from typing import Any

from plainnet.errors import DataWarning, RunError, SettingError, TrainingError
from plainnet.files import locked, sweep
from plainnet.runs.runs import read_run
from plainnet.runs.work import Reading
from plainnet.settings import check_number
from plainnet.training.checkpoints import Checkpoints, read_checkpoint
from plainnet.training.progress import say
from plainnet.versions import versions

__all__ = ["SUFFIX", "beginning", "check_unlocked", "checkpoint_folder", "going_on"]

SUFFIX = ".checkpoint"
#: What a checkpoint says of how the table was read and split.
READING = {"query", *Reading.__annotations__}


def checkpoint_folder(out: Path) -> Path:
    """Return the folder that holds the checkpoints of a run.

    >>> checkpoint_folder(Path("runs/houses-1"))
    PosixPath('runs/houses-1.checkpoint')
    """
    return out.with_name(out.name + SUFFIX)


def check_unlocked(out: Path | None) -> None:
    """Check that no other process trains the run ``out`` with checkpoints.

    Raises:
        RunError: one does.
    """
    if out is not None and checkpoint_folder(out).is_dir():
        with locked(checkpoint_folder(out), _under_way(out)):
            pass


def _under_way(out: Path) -> str:
    return f"the run {str(out)!r} is being trained"


@contextlib.contextmanager
def _held(out: Path) -> Iterator[Path]:
    """Be the only process with a run's checkpoint folder. It goes where there is nothing to go on from; Ctrl-C is told where there is."""
    folder = checkpoint_folder(out)
    with locked(folder, _under_way(out)):
        try:
            yield folder
        except (TrainingError, SettingError):
            shutil.rmtree(folder, ignore_errors=True)  # it would fail in the same way again
            raise
        except KeyboardInterrupt as error:
            if list(folder.glob("checkpoint-*")):
                raise KeyboardInterrupt(f"go on with: plainnet train --resume {out}") from error
            raise
        finally:
            if not list(folder.glob("checkpoint-*")):
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def beginning(
    out: Path, every: float, asked: Mapping[str, Any], *, overwrite: bool, progress: bool
) -> Iterator[Checkpoints]:
    """Yield checkpoints for a new training of the run ``out``.

    Args:
        out: the run folder that is to be written.
        every: seconds between two checkpoints.
        asked: what was asked for, to begin with again.
        overwrite: an older checkpoint of the run may go.
        progress: say where they are.

    Raises:
        RunError: another process trains this run, or one was stopped; or the disk refuses.
        SettingError: ``every`` is no time, or what was asked for cannot be written down.
    """
    check_number("checkpoint_every", every, above=0, optional=False)
    settings = _written(asked)
    with _held(out) as folder:
        if list(folder.glob("checkpoint-*")):
            if not overwrite:
                raise RunError(
                    f"{str(folder)!r} holds the checkpoint of a training that was stopped. Go on: plainnet train --resume {out}; "
                    "or begin anew with --overwrite."
                )
            for old in folder.glob("checkpoint-*"):
                old.unlink()
        if progress:
            say(f"checkpoints: {folder}; should this be killed, go on with: plainnet train --resume {out}")
        yield Checkpoints(folder, every, {**settings, "every": every, "versions": versions()})


@contextlib.contextmanager
def going_on(path: str | Path, every: float | None, *, progress: bool) -> Iterator[tuple[Path, Checkpoints]]:
    """Yield the run folder that was to be written, and the checkpoints to go on from.

    Args:
        path: the run folder, or its checkpoint folder.
        every: seconds between two checkpoints; None: as before.
        progress: say how far the training had come.

    Raises:
        RunError: there is nothing to go on from, another process does, or another version of plainnet wrote it.
    """
    check_number("checkpoint_every", every, above=0)
    path = Path(path)
    out = path.with_name(path.name.removesuffix(SUFFIX)) if path.name.endswith(SUFFIX) else path
    folder = checkpoint_folder(out)
    if not folder.is_dir():
        there = f"The run {str(out)!r} is complete. " if (out / "run.json").is_file() else ""
        raise RunError(
            f"there is no checkpoint folder {str(folder)!r}. {there}plainnet train --checkpoint-every 30s makes one."
        )
    with _held(out):
        if not list(folder.glob("checkpoint-*")):
            raise RunError(
                f"the training of {str(out)!r} ended before its first checkpoint: there is nothing to go on from. Train anew."
            )
        found = read_checkpoint(folder)
        _check_facts(folder, found.facts)
        _check_versions(folder, found.facts)
        _check_run(out, found.facts)
        for left in folder.glob(".checkpoint-*"):  # of a process that was killed while it wrote
            left.unlink()
        done = sum(kept.ending is not None for kept in found.members.values())
        if progress:
            say(f"going on: {done} networks are trained, {len(found.members) - done} under way")
        yield out, Checkpoints(folder, found.facts["every"] if every is None else every, found.facts, found)
        sweep(out)  # only now: the old run that was to be replaced may be there


def _written(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked for as JSON holds it.

    Raises:
        SettingError: it cannot.
    """

    def listed(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: listed(each) for name, each in value.items()}
        return [listed(each) for each in value] if isinstance(value, list | tuple) else value

    for name, value in asked["settings"].items():
        fits = False
        with contextlib.suppress(TypeError, ValueError):
            fits = json.loads(json.dumps(value)) == listed(value)
        if not fits:
            raise SettingError(
                f"checkpoints keep the settings as JSON, and it cannot hold {name}={value!r:.60}: leave that out, or "
                "train without checkpoints."
            )
    return dict(listed(asked))


def _check_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Check that a checkpoint is one of a run."""
    wanted = {
        "source": str, "target": str, "folds": int | None, "settings": dict, "overwrite": bool, "every": Real, "versions": dict,
        "sha256": str, "reading": dict,
    }  # fmt: skip
    wrong = [name for name, kind in wanted.items() if not isinstance(facts.get(name), kind)]
    if wrong or set(facts["reading"]) != READING:
        raise RunError(
            f"the checkpoint in {str(folder)!r} is not of a run: its {wrong[0] if wrong else 'reading'} is none of ours. Train anew."
        )


def _check_versions(folder: Path, facts: Mapping[str, Any]) -> None:
    for name, now in versions().items():
        before = facts["versions"].get(name)
        if before == now:
            continue
        if name == "plainnet":
            raise RunError(
                f"the checkpoint in {str(folder)!r} is of plainnet {before}, and this is {now}: take that version, or train anew."
            )
        message = (
            f"the checkpoint is of {name} {before}, and this is {now}: the model may differ from that of one training"
        )
        warnings.warn(message, DataWarning, stacklevel=4)


def _check_run(out: Path, facts: Mapping[str, Any]) -> None:
    """Check that a run which is there already is of this very training, or was to be overwritten.

    Raises:
        RunError: it is another.
    """
    if facts["overwrite"] or not out.exists():
        return
    run = read_run(out).facts
    own = (facts.get("sha256"), facts["target"], facts["reading"]["seed"])
    if (run["table"]["sha256"], run["target"], run["seed"]) != own:
        raise RunError(
            f"{str(out)!r} is there, and is the run of another training: move it away, or remove {str(checkpoint_folder(out))!r}."
        )
