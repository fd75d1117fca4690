"""An encoded table  ->  many plain networks, trained at once, voting.

One network is good; some that hold out different rows, start elsewhere and see numbers in different bins are better together,
as their errors differ (Hansen and Salamon, "Neural Network Ensembles", 1990, doi:10.1109/34.58871). Each member is kept at
the epoch that is best on the rows it holds out, so that all rows are trained on and all are predicted by networks that never
saw them: these out-of-fold predictions choose the weights of the vote, and are an honest score that costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from time import perf_counter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plainnet.engines.job import Epochs, Loss
from plainnet.errors import TrainingError
from plainnet.networks.networks import Vote, parameter_groups
from plainnet.packs.members import Member, Recipe, Rows
from plainnet.packs.selection import vote_weights
from plainnet.settings import EarlyStopping, FitSettings
from plainnet.tables.target import ClassTarget, CountTarget, LabelsTarget, NumberTarget, Target
from plainnet.training.history import History
from plainnet.training.many import Trial, train_many
from plainnet.training.schedules import warmup_cosine
from plainnet.training.training import train

__all__ = [
    "Pack",
    "PackData",
    "adamw",
    "fold_of_rows",
    "join_histories",
    "pass_over",
    "predict_members",
    "train_pack",
    "vote_of",
]

Array = npt.NDArray[np.float64]

#: Rows from which the members predict on threads of their own.
THREAD_ROWS = 500


@dataclass(frozen=True)
class PackData:
    """What the members learn from.

    Shapes: N training rows, M validation rows, F features, C outputs.

    Attributes:
        x: (N, F) features.
        y: (N,) classes, or (N, C) standardised numbers.
        target: what the members vote with, and how a vote is judged.
        weight: (N,) of each row; None: all 1.
        validation: ((M, F), targets, (M,) weights or None) that find the best epoch of every member; None: each holds out a fold.
    """

    x: Tensor
    y: Tensor
    target: Target
    weight: Array | None = None
    validation: tuple[Tensor, Tensor, Array | None] | None = None


@dataclass(frozen=True)
class Pack:
    """A trained pack.

    Attributes:
        members: those that could be trained.
        out_of_fold: (N, C) joint predictions of the training rows, each by members that did not train on it: probabilities or
            standardised numbers; None where no member held rows out.
        stopped_by: 'interrupt' or 'time' where not all members were trained to their end; else ''.
        seconds: wall time of the training.
    """

    members: list[Member]
    out_of_fold: Array | None
    stopped_by: str
    seconds: float


def fold_of_rows(y: npt.NDArray[Any], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Deal the rows to folds of the same size, and of the same share of each class.

    Args:
        y: (N,) classes; or (N, C) numbers, whose rows are dealt at random.
        folds: F.
        seed: of the deal.

    Returns:
        (N,) the fold of each row, 0 … F - 1.

    >>> np.bincount(fold_of_rows(np.array([0] * 6 + [1] * 3), 3, seed=0))
    array([3, 3, 3])
    """
    order = np.random.RandomState(seed).permutation(len(y))  # its numbers are frozen: the same rows for ever
    if y.ndim == 1:
        order = order[np.argsort(y[order], kind="stable")]
    fold = np.empty(len(y), dtype=np.int64)
    fold[order] = np.arange(len(y)) % folds
    return fold


def train_pack(
    data: PackData,
    recipes: Sequence[Recipe],
    settings: FitSettings,
    *,
    loss: Loss,
    build: Callable[[Recipe], nn.Module],
    optimize: Callable[[nn.Module, Recipe], torch.optim.Optimizer],
    device: str = "cpu",
    engine: Literal["auto", "fused"] = "fused",
    time_limit: float | None = None,
    progress: bool = False,
) -> Pack:
    """Train the members, choose the weights of their vote, and predict the rows that each held out.

    Args:
        data: the rows.
        recipes: of the members; they share torch's random generator, in their order.
        settings: batch size, epochs, patience, folds.
        loss: of all members.
        build: makes a member's network.
        optimize: makes its optimizer.
        device: where they are trained; all but the CPU trains one after the other.
        engine: on the CPU.
        time_limit: seconds for the training; on a GPU looked at between two members.
        progress: show a progress bar.

    Raises:
        TrainingError: no member could be trained; the message is the first one's reason.
    """
    held_out, trials = [], []
    folds: dict[int, npt.NDArray[np.int64]] = {}
    for recipe in recipes:
        kept = np.arange(len(data.x))
        held = kept[:0]
        if recipe.fold >= 0:
            if recipe.group not in folds:
                folds[recipe.group] = fold_of_rows(data.y.numpy(), settings.folds, recipes[0].seed + recipe.group)
            kept, held = kept[folds[recipe.group] != recipe.fold], kept[folds[recipe.group] == recipe.fold]
        held_out.append(held)
        network = build(recipe)
        trials.append(_trial(network, optimize(network, recipe), data, kept, held, settings, recipe))
    started = perf_counter()
    if device == "cpu":
        histories = train_many(trials, loss=loss, engine=engine, time_limit=time_limit, progress=progress)
    else:
        histories = _train_in_turn(trials, loss, device, time_limit, progress=progress)
    seconds = perf_counter() - started
    members = [
        Member(trial.model.eval(), held, 0.0, float("nan"), history, recipe)
        for trial, held, history, recipe in zip(trials, held_out, histories, recipes, strict=True)
        if len(history)
    ]
    if not members:
        reasons = [history.failure for history in histories if history.failure]
        if not reasons:
            raise KeyboardInterrupt  # stopped before there was anything to keep
        raise TrainingError(f"no network could be trained: {reasons[0]}")
    cut = next((history.stopped_by for history in histories if history.stopped_by in ("interrupt", "time")), "")
    return Pack(members, _vote(data, members), cut, seconds)


def _train_in_turn(
    trials: Sequence[Trial], loss: Loss, device: str, time_limit: float | None, *, progress: bool
) -> list[History]:
    """Train one after the other on a GPU, until Ctrl-C or, between two of them, the time limit ends it."""
    histories: list[History] = []
    deadline = perf_counter() + (time_limit or inf)
    for trial in trials:
        stopped_by = "interrupt" if histories and histories[-1].stopped_by == "interrupt" else ""
        stopped_by = stopped_by or ("time" if histories and perf_counter() > deadline else "")
        histories.append(
            History("", "", stopped_by=stopped_by)
            if stopped_by
            else train(
                trial.model, optimizer=trial.optimizer, loss=loss, device=device, progress=progress, **trial.options
            )
        )
    return histories


def pass_over(
    member: Member,
    optimizer: torch.optim.Optimizer,
    data: PackData,
    *,
    loss: Loss,
    batch_size: int,
    seed: int,
    **options: Any,
) -> None:
    """Train a member for one pass over rows, at the optimizer's rate, and add the epoch to its history.

    Args:
        member: what is trained.
        optimizer: over its parameters.
        data: the rows.
        loss: to minimise.
        batch_size: rows in a step.
        seed: of the shuffle.
        options: further ones of ``train``: device, engine, progress.
    """
    history = train(
        member.network, data.x, member.recipe.targets(data.y, data.target), loss=loss, optimizer=optimizer, epochs=1, batch_size=batch_size,
        sample_weight=data.weight, clip_grad_norm=1.0, seed=seed + len(member.history), **options,
    )  # fmt: skip
    member.network.eval()
    passed = len(member.history)
    news = [replace(epoch, index=epoch.index + passed) for epoch in history.epochs]
    history.epochs = Epochs([*member.history.epochs, *news])
    member.history = history


def _trial(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: PackData,
    kept: Rows,
    held: Rows,
    settings: FitSettings,
    recipe: Recipe,
) -> Trial:
    weight = data.weight

    validation: tuple[Any, ...] | None = None
    if len(held):
        validation = (data.x[held], recipe.targets(data.y[held], data.target), None if weight is None else weight[held])
    elif data.validation is not None:
        validation = (data.validation[0], recipe.targets(data.validation[1], data.target), data.validation[2])
    if validation is not None and validation[2] is None:
        validation = validation[:2]
    n_steps = settings.epochs * -(-len(kept) // min(settings.batch_size, len(kept)))
    everything = len(kept) == len(data.x)
    return Trial(
        network,
        optimizer,
        x=data.x if everything else data.x[kept],
        y=recipe.targets(data.y if everything else data.y[kept], data.target),
        sample_weight=None if weight is None else weight[kept],
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        validation=validation,
        scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, partial(warmup_cosine, n_steps=n_steps)),
        scheduler_every="step",
        stopping=EarlyStopping(patience=settings.patience) if validation is not None else None,
        clip_grad_norm=1.0,
        seed=recipe.seed,
    )


def adamw(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return a member's default optimizer.

    β₂ = 0.95: with 0.999 RealMLP's error is 2 % (classes) to 23 % (numbers) higher; arXiv:2407.04491, table B.1.
    """
    groups = parameter_groups(network, recipe.weight_decay)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95))


def predict_members(members: Sequence[Member], x: Tensor, target: Target) -> Array:
    """Return the vote of the members, (N, C): the weighted mean of their opinions."""
    voters = [member for member in members if member.weight > 0]
    if len(x) < THREAD_ROWS or len(voters) < 2:
        opinions: Iterable[Array] = (member.opinions(x, target) for member in voters)
        return _mean(voters, opinions)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # a member a thread: compiled code runs without Python's lock
        return _mean(voters, pool.map(lambda member: member.opinions(x, target, threads=1), voters))


def _mean(voters: Sequence[Member], opinions: Iterable[Array]) -> Array:
    """Return the weighted mean of opinions, added in the members' order: the same to the last bit each time."""
    total: Array | None = None
    for member, own in zip(voters, opinions, strict=True):
        total = member.weight * own if total is None else total + member.weight * own
    assert total is not None  # noqa: S101 - the weights sum to 1
    return total


def vote_of(members: Sequence[Member], target: Target) -> nn.Module:
    """Return the members as one module, whose outputs are those of ``predict_members`` before they are decoded; one is itself."""
    if len(members) == 1:
        return members[0].network
    kinds = {ClassTarget: "classes", LabelsTarget: "labels", CountTarget: "counts", NumberTarget: "numbers"}
    bounds, logs = None, None
    if isinstance(target, CountTarget):
        most = np.log(np.maximum(target.most / target.mean, 1e-12))
        bounds = np.stack([np.full(len(most), -np.inf), most])
    if isinstance(target, NumberTarget):
        own_mean, own_scale = target.mean, target.scale
        bounds = None if target.bounds is None else (target.bounds - own_mean) / own_scale
        if target.logs is not None:
            unit, mean, scale = target.logs
            c = unit / float(own_scale[0])
            logs = (scale, mean, c, -c - float(own_mean[0] / own_scale[0]))
    return Vote(
        [member.network for member in members], [member.weight for member in members],
        kind=kinds[type(target)], bounds=bounds, logs=logs, is_log=[member.recipe.is_log for member in members],
    )  # fmt: skip


def _vote(data: PackData, members: list[Member]) -> Array | None:
    """Set the members' scores and weights; return the out-of-fold predictions."""
    groups = sorted({member.recipe.group for member in members})
    shares = np.full(len(groups), 1 / len(groups))
    holds_out = any(len(member.held_out) for member in members)
    joint = None
    if holds_out:
        views = _out_of_fold(data, members, groups)
        known = np.isfinite(views).all(axis=(0, 2))  # a member that failed leaves its rows without
        if known.any():
            weight = None if data.weight is None else data.weight[known]
            shares = vote_weights(views[:, known], data.y.numpy()[known], data.target.row_losses, weight)
        present = np.isfinite(views).all(axis=2) * shares[:, None]
        with np.errstate(invalid="ignore"):
            joint = np.einsum("gn,gnc->nc", present, np.nan_to_num(views)) / present.sum(axis=0)[:, None]
    elif data.validation is not None:
        x, y, weight = data.validation
        own = [_judged(member, x, y, data.target, weight) for member in members]
        of_groups = [[view for view, m in zip(own, members, strict=True) if m.recipe.group == g] for g in groups]
        means = np.stack([np.mean(part, axis=0) for part in of_groups])
        shares = vote_weights(means, y.numpy(), data.target.row_losses, weight)
    for member in members:
        group = member.recipe.group
        size = sum(other.recipe.group == group for other in members)
        member.weight = float(shares[groups.index(group)]) / size
    return joint


def _out_of_fold(data: PackData, members: list[Member], groups: list[int]) -> Array:
    """Return each group's predictions of the rows that its members held out, (G, N, C); NaN where none did."""
    views: Array | None = None
    for member in members:
        rows = member.held_out
        weight = None if data.weight is None else data.weight[rows]
        own = _judged(member, data.x[rows], data.y[rows], data.target, weight)
        if views is None:
            views = np.full((len(groups), len(data.x), own.shape[1]), np.nan)
        views[groups.index(member.recipe.group)][rows] = own
    assert views is not None  # noqa: S101 - a pack has members
    return views


def _judged(member: Member, x: Tensor, y: Tensor, target: Target, weight: Array | None) -> Array:
    """Return a member's opinions of rows it did not train on, and set its score on them."""
    own = member.opinions(x, target)
    member.score = float(np.average(target.row_losses(own, y.numpy()), weights=weight))
    return own


def join_histories(members: Sequence[Member], stopped_by: str = "", seconds: float | None = None) -> History:
    """Return the mean of the members' losses, epoch by epoch, over those that still trained.

    Args:
        members: of the pack.
        stopped_by: what ended them all; '': each its own.
        seconds: wall time of them all, which is shared out among the epochs; None: the sum of their own.
    """
    histories = [member.history for member in members]
    first = max(histories, key=len)
    if len(histories) == 1:
        return replace(first, stopped_by=stopped_by or first.stopped_by)
    joint = History(first.engine, first.engine_reason, restored_best=first.restored_best)
    joint.stopped_by = stopped_by or first.stopped_by

    def mean(values: Sequence[npt.NDArray[np.float64]]) -> list[float]:
        table = np.full((len(values), len(first)), np.nan)
        for row, own in zip(table, values, strict=True):
            row[: len(own)] = own
        means: list[float] = np.nanmean(table, axis=0).tolist()
        return means

    valid = [h.validation_losses for h in histories]
    known = [v for v in valid if v is not None]
    joint.epochs = Epochs()
    joint.epochs.columns[0].extend(range(len(first)))
    joint.epochs.columns[1].extend(mean([h.losses for h in histories]))
    joint.epochs.columns[2].extend(mean(known) if len(known) == len(valid) else [None] * len(first))
    joint.epochs.columns[3].extend(first.learning_rates.tolist())
    own = np.sum([np.pad(h.seconds, (0, len(first) - len(h))) for h in histories], axis=0)
    joint.epochs.columns[4].extend((own if seconds is None else own * (seconds / own.sum())).tolist())
    return joint
