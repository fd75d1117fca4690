"""Checkpoints: where the networks of ``train_many`` stand, on disk, so that a training that was killed goes on to the same bytes.

A checkpoint is one safetensors file: JSON under ``__metadata__`` / ``plainnet`` (whose training it is, what has become of each network),
and the numbers: the weights of networks that are trained; weights, moments, best weights, counts and the shuffle's generator of those
under way. It is written beside, synced and renamed, and the last two are kept: what kills the training leaves one that is whole.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import nn

from plainnet.engines.job import Epochs, Standing, State
from plainnet.errors import DataWarning, RunError
from plainnet.files import replacing
from plainnet.training.history import History

__all__ = ["FORMAT", "Checkpoints", "Kept", "read_checkpoint"]

#: Grows by one with every change that older versions cannot read.
FORMAT = 1
#: Checkpoints that are kept: the newest, and the one before, in case the newest cannot be read.
KEPT = 2
#: Largest file that is read, in bytes.
MOST_BYTES = 16 * 2**30
NAME = re.compile(r"checkpoint-(\d{6,})\.safetensors")
#: Of the time between two checkpoints, after which a network's state is copied anew; a copy takes about a millisecond.
COPY_SHARE = 0.25


@dataclass(frozen=True)
class Kept:
    """What is kept of one network.

    Attributes:
        epochs: those it was trained for.
        arrays: its state between two epochs; or, where it is trained, its tensors by name.
        ending: what else its history says, where it is trained; None: it is under way.
    """

    epochs: Epochs
    arrays: Mapping[str, npt.NDArray[Any]]
    ending: Mapping[str, Any] | None = None

    def history(self, model: nn.Module) -> History | None:
        """Give a trained network its weights, and return its history; None where it is under way."""
        if self.ending is None:
            return None
        model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in self.arrays.items()})
        return History(epochs=self.epochs, **self.ending)


class Checkpoints:
    """Keeps the networks of one call of ``train_many``, and writes them down from time to time.

    Args:
        folder: where the files go; it is there, and nobody else writes into it.
        every: seconds between two.
        facts: plain values that say whose training it is: kept in each file, and read by nobody here.
        found: what ``read_checkpoint`` found, to go on from; None: a beginning.

    Attributes:
        seconds: that the training had taken before this beginning.
    """

    def __init__(
        self, folder: str | Path, every: float, facts: Mapping[str, Any] | None = None, found: _Found | None = None
    ) -> None:
        self.folder, self.every, self.facts = Path(folder), every, dict(facts or {})
        found = found or _Found({}, "", 0.0, {})
        self.seconds, self._identity, self._members = found.seconds, found.identity, dict(found.members)
        self._copied: dict[int, float] = {}
        self._started = self._written = perf_counter()
        self._number = max(_numbers(self.folder), default=0)
        self._said = ""

    def begin(self, identity: str) -> None:
        """Say which training begins, as a text that is the same only for the very same training, and write a first checkpoint.

        Raises:
            RunError: what was found is of another training.
        """
        if self._identity not in ("", identity):
            raise RunError(
                f"the checkpoint in {str(self.folder)!r} is of another training: the rows, the settings or the first weights "
                "differ. Take the versions of plainnet, torch and NumPy that wrote it, or train anew."
            )
        self._identity = identity
        self.write()

    def kept(self, i: int) -> Kept | None:
        """Return what is kept of network i."""
        return self._members.get(i)

    def look(self, i: int, epochs: Epochs, standing: Standing, *, now: bool = False) -> None:
        """Copy the state of network i if it is time, or ``now``; on the thread that trains it, between two of its epochs."""
        if not now and perf_counter() - self._copied.get(i, 0.0) < COPY_SHARE * self.every:
            return
        state = standing.now()
        if state is not None:
            # at once: the thread that writes sees the old or the new
            self._members[i] = Kept(Epochs().join(*epochs.columns), state)
            self._copied[i] = perf_counter()

    def done(self, i: int, model: nn.Module, history: History) -> None:
        """Keep network i as trained."""
        ending = {name: value for name, value in vars(history).items() if name != "epochs"}
        tensors = {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}
        self._members[i] = Kept(history.epochs, tensors, ending)

    def write_if_due(self) -> None:
        """Write a checkpoint where the last is older than ``every``."""
        if perf_counter() - self._written >= self.every:
            self.write()

    def write(self) -> None:
        """Write a checkpoint now. Where the disk refuses, that is said in a DataWarning, and the training goes on in memory."""
        seconds = self.seconds + perf_counter() - self._started
        try:
            self._write(self._number + 1, self._members.copy(), seconds)
        except (RunError, OSError) as error:
            if str(error) != self._said:  # not again every few seconds
                self._said = str(error)
                message = f"a checkpoint could not be written, and the training goes on without: {error}"
                warnings.warn(message, DataWarning, stacklevel=2)
        else:
            self._number, self._said = self._number + 1, ""
        self._written = perf_counter()

    def remove(self) -> None:
        """Remove the folder: the training is complete, and kept elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _write(self, number: int, members: Mapping[int, Kept], seconds: float) -> None:
        arrays: State = {}
        told = {}
        for i, kept in sorted(members.items()):
            index, losses, validation, rates, times = kept.epochs.columns
            validates = bool(index) and validation[0] is not None
            columns = (losses, validation if validates else [np.nan] * len(index), rates, times)
            arrays[f"{i}.epochs"] = np.array(columns, dtype=np.float64)
            arrays |= {f"{i}.state.{name}": np.ascontiguousarray(array) for name, array in kept.arrays.items()}
            told[str(i)] = {"validates": validates, "ending": None if kept.ending is None else dict(kept.ending)}
        content = {"facts": self.facts, "identity": self._identity, "seconds": seconds, "members": told}
        told_as_text = json.dumps(content, ensure_ascii=False, allow_nan=False)
        header = {"format": FORMAT, "digest": _digest(arrays, told_as_text), "content": told_as_text}
        data = save(arrays, metadata={"plainnet": json.dumps(header, ensure_ascii=False)})
        with replacing(self.folder / f"checkpoint-{number:06}.safetensors") as temporary:
            temporary.write_bytes(data)
        for old in sorted(_numbers(self.folder))[:-KEPT]:
            (self.folder / f"checkpoint-{old:06}.safetensors").unlink(missing_ok=True)


@dataclass(frozen=True)
class _Found:
    """A checkpoint that was read: what ``Checkpoints`` holds."""

    facts: Mapping[str, Any]
    identity: str
    seconds: float
    members: Mapping[int, Kept]


def read_checkpoint(folder: str | Path) -> _Found:
    """Read the newest checkpoint in a folder that is whole; where that is not the newest, a DataWarning says so.

    Raises:
        RunError: there is none, or it is of a newer version.
    """
    folder = Path(folder)
    problems = []
    for number in sorted(_numbers(folder), reverse=True):
        path = folder / f"checkpoint-{number:06}.safetensors"
        try:
            found = _read(path)
        except (OSError, SafetensorError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            problems.append(f"{str(path)!r} is damaged ({str(error) or type(error).__name__})")
            continue
        for problem in problems:
            warnings.warn(f"{problem}; the one before is taken", DataWarning, stacklevel=2)
        return found
    raise RunError(
        f"there is no checkpoint to go on from in {str(folder)!r}: {'; '.join(problems) or 'it holds none'}. Train anew."
    )


def _numbers(folder: Path) -> list[int]:
    return [int(match[1]) for path in folder.glob("checkpoint-*") if (match := NAME.fullmatch(path.name))]


def _digest(arrays: State, text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _read(path: Path) -> _Found:
    if not path.is_file():
        raise ValueError("it is no plain file")
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
    data = path.read_bytes()
    arrays: State = load(data)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    told = json.loads(header["__metadata__"]["plainnet"])
    if type(told["format"]) is not int or told["format"] > FORMAT:
        raise RunError(
            f"{str(path)!r} has format {told['format']}, and this version of plainnet reads up to {FORMAT}. "
            "Run: pip install --upgrade plainnet"
        )
    if told["digest"] != _digest(arrays, told["content"]):
        raise ValueError("it does not hold what was written")
    content = json.loads(told["content"])
    members = {}
    for name, kept in content["members"].items():
        losses, validation, rates, times = arrays[f"{name}.epochs"].tolist()
        known = validation if kept["validates"] else [None] * len(losses)
        epochs = Epochs().join(range(len(losses)), losses, known, rates, times)
        start = f"{name}.state."
        own = {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}
        members[int(name)] = Kept(epochs, own, kept["ending"])
    return _Found(dict(content["facts"]), str(content["identity"]), float(content["seconds"]), members)
