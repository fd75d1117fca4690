"""A training under way, on a thread of its own, and what the page shows of it: it outlives every tab that looks at it."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta
from torch import nn

from plainnet.engines.job import Epochs
from plainnet.errors import PlainnetError
from plainnet.evaluation.evaluation import Estimator
from plainnet.runs.runs import free_name
from plainnet.runs.train_run import train_run
from plainnet.settings import FitSettings
from plainnet.studio.pictures import Plane, drawing_of, is_coded, plane_of
from plainnet.studio.tables import load_table

__all__ = ["Order", "Session"]

LOGGER = logging.getLogger("plainnet.studio")

#: Points of a member's curve at most.
CURVE_POINTS = 1000
#: Seconds between two drawings of a member's share of the plane, and of the network.
PICTURE_SECONDS = 0.3

Width = Annotated[int, Meta(ge=1, le=4096)]


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be trained.

    Attributes:
        table: its name on the page.
        target: the column to predict.
        kinds: of columns that the user knows better.
        effort, members, hidden, activation, epochs, learning_rate, time_limit: as for ``NetClassifier``.
        seed: of the splits, the weights and the shuffle.
        seconds: stretch the training of small tables over so many seconds, to be watched; 0: as fast as it goes.
    """

    table: str
    target: str
    kinds: dict[str, str] = {}
    effort: str = "default"
    members: Annotated[int, Meta(ge=1, le=200)] | None = None
    hidden: Annotated[list[Width], Meta(max_length=20)] | None = None
    activation: str = "silu"
    epochs: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    learning_rate: Annotated[float, Meta(gt=0, le=100)] | None = None
    time_limit: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**31)] = 0
    seconds: Annotated[float, Meta(ge=0, le=600)] = 0.0

    @property
    def settings(self) -> dict[str, Any]:
        """The estimator's arguments."""
        names = ("effort", "members", "hidden", "activation", "epochs", "learning_rate", "time_limit")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class Session(threading.Thread):
    """One training, from its start to its run folder.

    Attributes:
        number: 1 for the first of this server.
        phase: 'reading', 'training', 'scoring', 'done' or 'failed'.
        version: grows with every change that the page is to show.
        run_name: the run folder's, once it is written.
        error: why it failed.
    """

    def __init__(self, order: Order, source: Path, runs: Path, number: int) -> None:
        super().__init__(name="plainnet-training", daemon=True)
        self.order, self.number, self._source, self._runs = order, number, source, runs
        self.phase, self.error, self.version = "reading", "", 0
        self.run_name: str | None = None
        self.curves: dict[int, tuple[list[float], list[float | None]]] = {}
        self.plane: Plane | None = None
        self.drawing: dict[str, Any] | None = None
        self.surface: list[int] | None = None
        self._shares: dict[int, npt.NDArray[np.float64]] = {}
        self._drawn_at: dict[int, float] = {}
        self._drawn_member: int | None = None
        self._members = self._epochs = 1  # until they are planned
        self._passed: dict[int, int] = {}
        self._trained_at = perf_counter()
        self._trained_for = self._paused_for = 0.0
        self._lock = threading.Lock()
        self._go_on, self._ends = threading.Event(), threading.Event()
        self._go_on.set()

    def steer(self, word: str) -> None:
        """Do as the page says: 'pause', after the epochs under way; 'resume'; or 'stop', and keep the best so far."""
        if word == "stop":
            self._ends.set()
        (self._go_on.clear if word == "pause" else self._go_on.set)()
        self.version += 1

    @property
    def is_over(self) -> bool:
        """Whether a next training may begin."""
        return self.phase in ("done", "failed")

    # The training's thread.

    def run(self) -> None:
        """Train, and note what became of it."""
        order = self.order
        try:
            run = train_run(
                self._source, order.target, free_name(self._runs, self._source.name.partition(".")[0]), kinds=order.kinds,
                seed=order.seed, settings=order.settings, on_epochs=self.look,
            )  # fmt: skip
            if (
                self.plane is not None
            ):  # what the pack says that was kept: its members are of their best epochs, and some count more
                self.surface = _flat(self.plane.voted(run.estimator()), is_class=bool(self.plane.classes))
            self.run_name, self.phase = run.path.name, "done"
        except PlainnetError as error:
            self.error, self.phase = str(error), "failed"
        except Exception as error:  # a thread's error would be seen by nobody
            LOGGER.exception("a training failed")
            self.error = f"{type(error).__name__}: {error}. This is a bug in plainnet; its log says where."
            self.phase = "failed"
        except KeyboardInterrupt:
            self.error, self.phase = "the training ended before there was anything to keep.", "failed"
        self.version += 1

    def look(self, estimator: Estimator, member: int, network: nn.Module, epochs: Epochs) -> bool:
        """Note a member's newest epochs; wait in a pause; True: it is to end. Called on the members' threads."""
        order = self.order
        with self._lock:
            if not self._passed:
                n_rows = estimator.schema_.n_rows
                plan = FitSettings.derive(n_rows, effort=order.effort, members=order.members, epochs=order.epochs)
                self._members, self._epochs = plan.members, plan.epochs
                self.plane = plane_of(estimator, lambda: load_table(self._source)[0], order.target)
                self._trained_at, self.phase = perf_counter(), "training"
            losses, valid = self.curves.setdefault(member, ([], []))
            indices, news, held = epochs.columns[:3]
            for index, loss, other in zip(indices, news, held, strict=True):
                if index % self.stride == 0:
                    losses.append(loss)
                    valid.append(other)
            self._passed[member] = indices[-1] + 1
            now = perf_counter()
            self._trained_for = now - self._trained_at
            is_last = self._passed[member] >= self._epochs
            if is_last or now - self._drawn_at.get(member, 0.0) > PICTURE_SECONDS:
                self._drawn_at[member] = now
                self._draw(estimator, member, network)
            self.version += 1
        if order.seconds and not self._ends.is_set():
            self._ends.wait(order.seconds * len(epochs) / self._epochs * self._together / self._members)
        if not self._go_on.is_set():
            paused = perf_counter()
            self._go_on.wait()
            with self._lock:
                self._paused_for += (perf_counter() - paused) / self._together
        return self._ends.is_set()

    def _draw(self, estimator: Estimator, member: int, network: nn.Module) -> None:
        if self._drawn_member is None or (not is_coded(network) and (self.drawing or {}).get("coded")):
            self._drawn_member = member  # one whose first weights are those of the columns, once there is one
        if member == self._drawn_member:
            self.drawing = drawing_of(estimator, network) | {"member": member}
        if self.plane is not None:
            self._shares[member] = self.plane.values(estimator, network)
            self.surface = _flat(np.mean(list(self._shares.values()), axis=0), is_class=bool(self.plane.classes))

    # What the page shows.

    @property
    def _together(self) -> int:
        """How many networks are trained at once."""
        return max(1, min(self._members, os.cpu_count() or 1))

    @property
    def stride(self) -> int:
        """Epochs from one point of a curve to the next."""
        return -(-self._epochs // CURVE_POINTS)

    def facts(self) -> dict[str, Any]:
        """Return what is small: phase, counts, speed, seconds left at most."""
        with self._lock:
            passed, planned = sum(self._passed.values()), self._members * self._epochs
            is_training, is_stopping = self.phase == "training", self._ends.is_set()
            spent = max(self._trained_for - self._paused_for, 1e-9)
            rate = passed / spent
            return {
                "number": self.number,
                "phase": "scoring" if is_training and (is_stopping or passed >= planned) else self.phase,
                "paused": is_training and not self._go_on.is_set(),
                "stopping": is_stopping,
                "table": self.order.table, "target": self.order.target, "effort": self.order.effort,
                "members": self._members, "begun": len(self._passed), "epochs": self._epochs, "stride": self.stride,
                "share": min(1.0, passed / planned), "epochs_a_second": rate, "seconds": spent if passed else 0.0,
                "seconds_left": max(planned - passed, 0) / rate if rate else None,
                "run": self.run_name, "error": self.error,
            }  # fmt: skip

    def news(self, sent: dict[int, int]) -> list[list[Any]]:
        """Return the points of the curves that were not sent yet: [member, first, losses, validation losses]; note them as sent."""
        with self._lock:
            found = []
            for member, (losses, valid) in self.curves.items():
                first = sent.get(member, 0)
                if first < len(losses):
                    found.append([member, first, _plain(losses[first:]), _plain(valid[first:])])
                    sent[member] = len(losses)
            return found


def _plain(values: list[Any]) -> list[float | None]:
    """Round to what can be seen; what is not finite is None."""
    return [float(f"{value:.5g}") if value is not None and np.isfinite(value) else None for value in values]


def _flat(said: npt.NDArray[np.float64], *, is_class: bool) -> list[int]:
    """Pack what is said at each point into a whole number: 100 times the class and how sure it is in percent, or 50 ± 20 deviations."""
    best, level = (said.argmax(axis=1), said.max(axis=1) * 99) if is_class else (0, 50 + 20 * said[:, 0])
    flat: list[int] = (best * 100 + np.clip(np.rint(level), 0, 99)).astype(np.int64).tolist()
    return flat
