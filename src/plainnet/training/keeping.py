"""A network's part of checkpoints; and the checkpoints of ``train``, which trains a single one."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from plainnet.engines.engines import Engine
from plainnet.engines.job import Epochs, Job, Standing
from plainnet.engines.losses import RowWeightedLoss
from plainnet.engines.planned_optimizers import check_optimizer
from plainnet.errors import LossDivergedError, SettingError
from plainnet.files import locked
from plainnet.settings import check_number
from plainnet.training.checkpoints import Checkpoints, read_checkpoint
from plainnet.training.history import History
from plainnet.versions import versions

__all__ = ["Keeper", "record_kept"]


class Keeper:
    """One network's part of checkpoints; None: there are none."""

    def __init__(self, checkpoints: Checkpoints | None, i: int, model: nn.Module) -> None:
        self._checkpoints, self._i, self._model = checkpoints, i, model
        self._kept = None if checkpoints is None else checkpoints.kept(i)
        self._epochs = Epochs()
        is_under_way = self._kept is not None and self._kept.ending is None
        self.standing = Standing(dict(self._kept.arrays) if self._kept is not None and is_under_way else None)

    def followed(self, parts: Iterator[Epochs]) -> Iterator[Epochs]:
        """Yield chunks, the first of them after the epochs that are kept, noting each."""
        if self._checkpoints is None:
            yield from parts
        earlier = Epochs() if self._kept is None or self.standing.begin is None else self._kept.epochs
        diverged = None
        try:
            for part in parts:
                news, earlier = Epochs().join(*earlier.columns).join(*part.columns), Epochs()
                self._epochs.join(*news.columns)
                self.look()
                yield news
        except LossDivergedError as error:
            diverged = error
        if earlier:
            yield earlier
        if diverged is not None:
            raise diverged

    def look(self, *, now: bool = False) -> None:
        """Copy the network's state if it is time, or ``now``."""
        if self._checkpoints is not None:
            self._checkpoints.look(self._i, self._epochs, self.standing, now=now)

    def restored(self) -> History | None:
        """Return what became of the network, which gets its weights, where it is trained."""
        return None if self._kept is None else self._kept.history(self._model)

    def done(self, history: History) -> History:
        """Keep the network as trained, unless it was stopped and can go on."""
        if self._checkpoints is not None and history.stopped_by not in ("interrupt", "on_epoch"):
            self._checkpoints.done(self._i, self._model, history)
        return history


def record_kept(
    job: Job, engine: Engine, folder: str | Path, every: float, recorded: Callable[[Job, Engine], History]
) -> History:
    """Train a network with checkpoints, going on from those that are there; the folder is removed once it is trained.

    Args:
        job: what is trained; its ``dropout_seed`` is drawn.
        engine: what trains it: the fused one.
        folder: holds the last two checkpoints, and is nobody else's.
        every: seconds between two.
        recorded: drives the engine, and writes down what it yields.

    Raises:
        SettingError: ``every`` is no time, or the optimizer or scheduler keeps what is not written down.
        RunError: the checkpoints are of another training, another process has them, or the disk refuses.
    """
    check_number("checkpoint_every", every, above=0, optional=False)
    parameters = {id(parameter) for parameter in job.model.parameters()}
    for part, is_own in (
        (job.optimizer, check_optimizer(job.optimizer, parameters) is None),
        (job.scheduler, isinstance(job.scheduler, ReduceLROnPlateau)),
    ):
        if is_own:
            name = type(part).__name__
            raise SettingError(f"checkpoints do not hold what {name} keeps: take another, or leave checkpoint out.")
    folder = Path(folder)
    with locked(folder, f"the training with the checkpoints in {str(folder)!r} is under way"):
        found = read_checkpoint(folder) if list(folder.glob("checkpoint-*")) else None
        checkpoints = Checkpoints(folder, every, {}, found)
        checkpoints.begin(_identity(job))
        keeper = Keeper(checkpoints, 0, job.model)

        def run(job: Job) -> Iterator[Epochs]:
            with contextlib.closing(engine.run(job, standing=keeper.standing)) as parts:  # type: ignore[type-var]
                for part in keeper.followed(parts):
                    yield part
                    checkpoints.write_if_due()

        try:
            history = recorded(job, replace(engine, run=run))
        except LossDivergedError:
            checkpoints.remove()  # it would again
            raise
        if history.stopped_by == "interrupt":
            checkpoints.write()
        else:
            checkpoints.remove()
        return history


def _identity(job: Job) -> str:
    """Return a text that is the same for the same training alone: of all that its numbers follow from."""
    loss = job.loss.loss if isinstance(job.loss, RowWeightedLoss) else job.loss
    told = (
        versions(), repr(job.model), repr(loss) if isinstance(loss, nn.Module) else getattr(loss, "__qualname__", type(loss).__name__),
        job.epochs, job.batch_size, job.shuffle, job.drop_last, job.seed, job.dropout_seed, job.scheduler_every, job.stopping,
        job.clip_grad_norm, type(job.optimizer).__name__, type(job.scheduler).__name__,
    )  # fmt: skip
    digest = hashlib.sha256(repr(told).encode())
    schedule = job.scheduler.state_dict() if hasattr(job.scheduler, "state_dict") else {}
    held = (job.x, job.y, job.weight, job.validation, job.model.state_dict(), job.optimizer.state_dict(), schedule)
    _add(digest, held)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    """Add numbers, text and tensors to a digest, however they are nested; functions and the like are left out."""
    if isinstance(value, Tensor):
        digest.update(np.ascontiguousarray(value.detach()).data)
    elif isinstance(value, dict):
        for name, each in value.items():
            digest.update(repr(name).encode())
            _add(digest, each)
    elif isinstance(value, list | tuple):
        for each in value:
            _add(digest, each)
    elif isinstance(value, int | float | str | None):
        digest.update(repr(value).encode())
