"""Encoded rows on disk  ->  a pack: every member trained on each shard in turn, its optimizer and its rate going on from one to the next.

All members train on a shard side by side while the next one is read. The rows that find the best epoch and the vote are in memory, and
the same for all members: unlike in ``train_pack``, no row is predicted out of fold.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf, nan
from time import perf_counter
from typing import Any

import numpy as np
import torch

from plainnet.engines.job import Epoch, Epochs
from plainnet.packs.jobs import CUTS, Pack, Tools, check_trained, member_trial
from plainnet.packs.members import Member, PackData, Recipe
from plainnet.packs.packs import train_all
from plainnet.packs.shards import Rows, Shards
from plainnet.packs.voting import elect
from plainnet.settings import EarlyStopping, FitSettings
from plainnet.tables.bins import Weight
from plainnet.tables.target import Target
from plainnet.training.history import History
from plainnet.training.many import OnEpochs, Trial
from plainnet.training.progress import count_bar

__all__ = ["Weigh", "train_streamed"]

#: Weights of rows, (n,), by all that is said of them; None: all weigh the same.
Weigh = Callable[[Rows], Weight]


@dataclass
class Runner:
    """A member in training.

    Attributes:
        recipe: what it is to be.
        trial: its network, its optimizer, its schedule.
        epochs: that it came to the end of.
        best: its weights after its best epoch; None: the last are kept.
        history: the newest piece's, for its engine and failure.
        pieces: of the epoch that it is in: rows and loss, and the first piece's rate.
    """

    recipe: Recipe
    trial: Trial
    epochs: Epochs = field(default_factory=Epochs)
    best: dict[str, Any] | None = None
    best_loss: float = inf
    best_index: int = 0
    stopped_by: str = ""
    history: History = field(default_factory=lambda: History("", ""))
    pieces: list[tuple[int, Epoch]] = field(default_factory=list)

    @property
    def is_running(self) -> bool:
        """Whether there is more to train."""
        return not self.stopped_by and not self.history.failure

    def learn(self, history: History, n_rows: int) -> None:
        """Take note of a piece, and let go of it."""
        self.history = history
        for name in ("x", "y", "sample_weight"):
            del self.trial.options[name]
        if len(history):
            self.pieces.append((n_rows, history.epochs[-1]))

    def end_epoch(self, stopping: EarlyStopping | None) -> None:
        """Join the pieces to an epoch; keep the weights where it is the best so far."""
        rows = np.array([n for n, _ in self.pieces], dtype=np.float64)
        loss = float(np.average([epoch.loss for _, epoch in self.pieces], weights=rows))
        first, last = self.pieces[0][1], self.pieces[-1][1]
        index = len(self.epochs)
        seconds = sum(epoch.seconds for _, epoch in self.pieces)
        self.epochs.append(Epoch(index, loss, last.validation_loss, first.learning_rate, seconds))
        self.pieces = []
        if last.validation_loss is None or stopping is None:
            return
        if last.validation_loss < self.best_loss - stopping.min_delta:
            self.best_loss, self.best_index = last.validation_loss, index
            self.best = {name: tensor.clone() for name, tensor in self.trial.model.state_dict().items()}
        elif stopping.is_over(index, self.best_index):
            self.stopped_by = "patience"

    def finished(self, cut: str) -> Member | None:
        """Return the trained member; None where it has learnt nothing."""
        if not self.epochs and self.pieces and not self.history.failure:
            self.end_epoch(None)  # a first epoch that was cut short is better than none
        if not self.epochs:
            return None
        if self.best is not None:
            self.trial.model.load_state_dict(self.best)
        history = History(
            self.history.engine, self.history.engine_reason, self.epochs, self.stopped_by or cut,
            restored_best=self.best is not None, failure=self.history.failure,
        )  # fmt: skip
        return Member(self.trial.model.eval(), np.zeros(0, dtype=np.int64), 0.0, nan, history, self.recipe)


def train_streamed(
    shards: Shards,
    held: Rows | None,
    target: Target,
    recipes: Sequence[Recipe],
    settings: FitSettings,
    tools: Tools,
    weigh: Weigh,
    *,
    progress: bool = False,
    on_epochs: OnEpochs | None = None,
) -> Pack:
    """Train the members, and choose the weights of their vote.

    Args:
        shards: the training rows.
        held: rows that find each member's best epoch, and the vote; None: all members are trained for all epochs, and count the same.
        target: what is learnt.
        recipes: of the members.
        settings: batch size, epochs, patience.
        tools: what they are made and trained with.
        weigh: how much each of some rows counts.
        progress: show a progress bar.
        on_epochs: called after each epoch of all members.

    Raises:
        TrainingError: no member could be trained; the message is the first one's reason.
    """
    nothing = shards.layout.unpack(np.empty(0, dtype=shards.layout.dtype))  # the vote is chosen on the held-out rows
    data = PackData.of((*nothing[:2], None), target, held if held is None else (*held[:2], weigh(held)))
    n_steps = settings.epochs * shards.n_steps(settings.batch_size)
    runners = [Runner(recipe, member_trial(recipe, settings, tools, n_steps, epochs=1)) for recipe in recipes]
    started = perf_counter()
    cut = _run(runners, shards, data, settings, tools, weigh, progress=progress, on_epochs=on_epochs)
    members = [member for runner in runners if (member := runner.finished(cut)) is not None]
    check_trained(members, (runner.history.failure for runner in runners))
    elect(data, members)
    return Pack(members, None, cut, perf_counter() - started)


def _run(
    runners: Sequence[Runner],
    shards: Shards,
    data: PackData,
    settings: FitSettings,
    tools: Tools,
    weigh: Weigh,
    *,
    progress: bool,
    on_epochs: OnEpochs | None,
) -> str:
    """Train the runners epoch by epoch; return what cut them short, '' where nothing did."""
    deadline = perf_counter() + (inf if tools.time_limit is None else tools.time_limit)
    stopping = None if data.validation is None else EarlyStopping(patience=settings.patience)
    n_shards = len(shards.heights)
    n_pieces = settings.epochs * n_shards
    with (
        count_bar(n_pieces, "shard", shown=progress) as done,
        contextlib.closing(shards.in_turn(_order(n_shards, settings.epochs, runners[0].recipe.seed))) as pieces,
    ):
        try:
            for number in range(n_pieces):
                live = [runner for runner in runners if runner.is_running]
                left = deadline - perf_counter()
                if not live or (left <= 0 and number):
                    return "time" if live else ""
                rows = next(pieces)
                weight, n_rows = weigh(rows), len(rows[0])
                is_last = number % n_shards == n_shards - 1
                for runner in live:
                    _give(runner, rows, weight, data, number, is_last=is_last)
                    # All pieces hold the like of the first: what could be wrong with it, or with the held-out rows, was looked for.
                    runner.trial.is_checked = number > 0 and (number >= n_shards or not is_last)
                limit = None if left == inf else max(left, 1e-3)
                histories = train_all([runner.trial for runner in live], tools, limit)
                for runner, history in zip(live, histories, strict=True):
                    runner.learn(history, n_rows)
                del rows  # so that no third shard is in memory while the next but one is read
                cut = next((h.stopped_by for h in histories if h.stopped_by in CUTS), "")
                if cut:
                    return cut
                done()
                if is_last and _end_epoch(runners, stopping, on_epochs):
                    return "on_epoch"
        except KeyboardInterrupt:
            return "interrupt"
    return ""


def _order(n_shards: int, epochs: int, seed: int) -> list[int]:
    """Return the shards in the order in which they are trained on: each once an epoch."""
    rounds = [np.random.RandomState((seed + index) % 2**32).permutation(n_shards) for index in range(epochs)]
    return [int(place) for each in rounds for place in each]


def _end_epoch(runners: Sequence[Runner], stopping: EarlyStopping | None, on_epochs: OnEpochs | None) -> bool:
    """End the epoch of those that are trained; return whether who looks on wants no more."""
    for number, runner in enumerate(runners):
        if runner.is_running:
            runner.end_epoch(stopping)
            newest = Epochs(runner.epochs[-1:])
            if on_epochs is not None and on_epochs(number, runner.trial.model, newest) is True:
                return True
    return False


def _give(runner: Runner, rows: Rows, weight: Weight, data: PackData, number: int, *, is_last: bool) -> None:
    """Give a member its next piece, and after an epoch's last one the rows to be judged on."""
    recipe = runner.recipe
    validation: tuple[Any, ...] | None = None
    if is_last and data.validation is not None:
        valid_x, valid_y, valid_weight = data.validation
        validation = (valid_x, recipe.targets(valid_y, data.target))
        if weight is not None:
            validation = (*validation, np.ones(len(valid_x)) if valid_weight is None else valid_weight)
    runner.trial.options |= {
        "x": torch.from_numpy(rows[0]),
        "y": recipe.targets(torch.from_numpy(rows[1]), data.target),
        "sample_weight": weight,
        "validation": validation,
        "seed": (recipe.seed << 24) + number,  # another shuffle for each piece
    }
