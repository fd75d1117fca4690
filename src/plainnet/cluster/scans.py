"""A table that is read piece by piece, on a cluster: Ray Data reads, encodes and deals it; each network is trained by all workers."""
# ruff: noqa: SLF001 - it is the part of NetEstimator.fit for such tables, in a stage of its own

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from math import inf, nan
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from plainnet.cluster.data_parallel import Crew, engine_of_workers, train_together
from plainnet.cluster.pieces import encode_piece
from plainnet.cluster.worker import Dealt, Task, hooks_of
from plainnet.engines.fused import draw_dropout_seed
from plainnet.engines.job import Epoch, Epochs, Job
from plainnet.engines.losses import RowWeightedLoss
from plainnet.engines.shared import check_shared
from plainnet.errors import LossDivergedError, TableError
from plainnet.packs.jobs import CUTS, Pack, bounded, check_trained
from plainnet.packs.members import Member, PackData, Recipe
from plainnet.packs.voting import elect
from plainnet.settings import EarlyStopping, FitSettings
from plainnet.tables.scan import Scan
from plainnet.training.history import History
from plainnet.training.many import OnEpochs
from plainnet.training.schedules import warmup_cosine

if TYPE_CHECKING:
    from plainnet.estimators.estimators import NetEstimator
    from plainnet.packs.streamed import Weigh

__all__ = ["train_scan"]

#: Seconds between two states from which a training goes on where a worker is lost.
STATE_SECONDS = 10.0


def train_scan(
    n_workers: int,
    estimator: NetEstimator,
    scan: Scan,
    target: str,
    settings: FitSettings,
    seed: int,
    share: float,
    weigh: Weigh,
    on_epochs: OnEpochs | None,
) -> Pack:
    """Encode a table on the workers, train each member of the estimator's pack on all of them together, and choose the vote.

    Args:
        n_workers: how many processes.
        estimator: that has learnt the columns and the target.
        scan: the table.
        target: the target's column.
        settings: batch size, epochs, patience.
        seed: of the held-out rows and the networks.
        share: of the rows that is held out, to find the best epochs and the vote.
        weigh: how much each of some rows counts, as for ``train_streamed``.
        on_epochs: as for ``train_many``; the networks it is shown have their first weights, until they are trained.

    Raises:
        TableError: the table cannot be read, or has too few rows.
        TrainingError: no member could be trained.
    """
    with contextlib.closing(Crew(n_workers)) as crew:
        encode = partial(encode_piece, scan, target, estimator.schema_, estimator.target_, seed, share)
        _deal(crew, _encoded(scan, encode), weigh)
        dealt: list[Dealt] = crew.dealt
        if share and not all(len(each.held[0]) for each in dealt):
            raise TableError(
                f"{n_workers} workers hold out at least one row each, and the table is too short: ask for fewer."
            )
        held = tuple(_joined([each.held[place] for each in dealt]) for place in range(3))
        x, y = dealt[0].sample
        data = PackData.of((np.array(x[:0]), np.array(y[:0]), None), estimator.target_, held if len(held[0]) else None)
        with estimator._seeded(seed):
            pack = _train_pack(crew, estimator, data, settings, seed, on_epochs)
    elect(data, pack.members)
    return pack


def _encoded(scan: Scan, encode: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Any:
    """Return the encoded table as a Ray dataset that stands in Ray's store, its rows in their order.

    Raises:
        TableError: a piece cannot be read.
    """
    import ray.data

    context = ray.data.DataContext.get_current()
    # The same rows for the same worker, so that numbers can be had again.
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    places = ray.data.range(scan.n_pieces, override_num_blocks=scan.n_pieces).rename_columns({"id": "place"})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return places.map_batches(encode, batch_size=1, batch_format="numpy").materialize()
    except ray.exceptions.RayTaskError as error:
        # Ray wraps what a task raised in an error of its own, of which the text alone has the first one.
        told = re.findall(r"TableError: (.+)", str(error)) or [str(error.cause).partition("\n")[0]]
        raise TableError(f"a worker cannot read the table: {told[0]}") from error


def _deal(crew: Crew, table: Any, weigh: Weigh) -> None:
    """Give each worker an equal share of the rows, the first ones to the first."""
    n_rows, n_workers = table.count(), len(crew.workers)
    if n_rows < n_workers:
        raise TableError(f"{n_workers} workers have at least one row each, and the table has {n_rows}.")
    cuts = [n_rows * rank // n_workers for rank in range(1, n_workers)]
    shards = [each.to_numpy_refs() for each in (table.split_at_indices(cuts) if cuts else [table])]
    crew.hand_out(lambda worker, rank: worker.take_encoded.remote(weigh, *shards[rank]))


def _joined(arrays: list[Any]) -> Any:
    return None if arrays[0] is None else np.concatenate(arrays)


def _train_pack(
    crew: Crew, estimator: NetEstimator, data: PackData, settings: FitSettings, seed: int, on_epochs: OnEpochs | None
) -> Pack:
    """Train the members one after the other."""
    members: list[Member] = []
    failures: list[str] = []
    started, stopped_by = perf_counter(), ""
    for number, recipe in enumerate(estimator._recipes(settings, seed)):
        left = inf if estimator.time_limit is None else estimator.time_limit - (perf_counter() - started)
        if left <= 0 and members:
            stopped_by = "time"
            break
        watch = _Watch(on_epochs, number, perf_counter() + left)
        member = _train_member(crew, estimator, data, recipe, settings, watch)
        if member.history.failure:
            failures.append(member.history.failure)
            continue
        cut = "time" if watch.is_over else member.history.stopped_by
        if len(member.history):
            members.append(member)
        if cut in CUTS:
            stopped_by = member.history.stopped_by = cut
            break
    check_trained(members, failures)
    return Pack(members, None, stopped_by, perf_counter() - started)


class _Watch:
    """Looks on at a member, and at the clock."""

    def __init__(self, on_epochs: OnEpochs | None, number: int, deadline: float) -> None:
        self._on_epochs, self._number, self._deadline = on_epochs, number, deadline
        self.is_over = False

    def look(self, network: Any, epoch: Epoch) -> bool:
        """Return whether to stop."""
        self.is_over = perf_counter() > self._deadline
        told = self._on_epochs is not None and self._on_epochs(self._number, network, Epochs([epoch])) is True
        return self.is_over or told


def _train_member(
    crew: Crew, estimator: NetEstimator, data: PackData, recipe: Recipe, settings: FitSettings, watch: _Watch
) -> Member:
    """Train one network on all workers."""
    dealt: list[Dealt] = crew.dealt
    n_rows, n_held = sum(each.n_rows for each in dealt), 0 if data.validation is None else len(data.validation[0])
    network = estimator._build(recipe)
    optimizer = estimator._optimize(network, recipe)
    x, y = (torch.from_numpy(np.array(part)) for part in dealt[0].sample)
    weights = [each.weight for each in dealt if each.weight is not None]
    loss = RowWeightedLoss(estimator._own_loss()) if weights else estimator._own_loss()
    batch_size = min(settings.batch_size, n_rows)
    n_steps = settings.epochs * -(-n_rows // batch_size)
    job = Job(
        network, x, recipe.targets(y, data.target), loss, optimizer, settings.epochs, batch_size, seed=recipe.seed,
        weight=torch.ones(len(x)) if weights else None, clip_grad_norm=1.0, epoch_by_epoch=False, scheduler_every="step",
        scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, partial(warmup_cosine, n_steps=n_steps)),
        stopping=EarlyStopping(patience=settings.patience) if n_held else None,
    )  # fmt: skip
    check_shared(job, 1 if len(crew.workers) == 1 else 2)
    engine = engine_of_workers(job, estimator._engine(), "cpu", len(crew.workers), progress=estimator.verbose)
    firsts = np.cumsum([0, *(each.n_rows for each in dealt)]).tolist()
    with bounded(optimizer, network, recipe):
        task = Task(
            job, n_rows, n_held, engine.name, engine.reason, "cpu", draw_dropout_seed(network), STATE_SECONDS,
            hooks_of(optimizer), partial(recipe.targets, target=data.target), n_rows / sum(weights) if weights else 1.0,
        )  # fmt: skip
    try:
        history, states = train_together(
            crew, task, firsts[:-1], progress=estimator.verbose, on_epoch=partial(watch.look, network)
        )
        network.load_state_dict(states[0])
    except LossDivergedError as error:
        history = History(engine.name, engine.reason, failure=str(error))
    return Member(network.eval(), np.zeros(0, dtype=np.int64), 0.0, nan, history, recipe)
