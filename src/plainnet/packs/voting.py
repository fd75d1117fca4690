"""The vote of a pack: who counts how much, what comes of it, and the whole as one torch module."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from plainnet.engines.job import Epoch, Epochs
from plainnet.packs.members import Member, PackData
from plainnet.packs.selection import vote_weights
from plainnet.tables.target import ClassTarget, CountTarget, LabelsTarget, NumberTarget, Target
from plainnet.training.history import History

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["elect", "join_histories", "predict_members", "vote_of"]

Array = npt.NDArray[np.float64]

#: Rows from which the members predict on threads of their own.
THREAD_ROWS = 500


def predict_members(members: Sequence[Member], x: npt.NDArray[np.float32], target: Target) -> Array:
    """Return the vote of the members on rows x, (N, features): (N, C): the weighted mean of their opinions."""
    voters = [member for member in members if member.weight > 0]
    if len(x) < THREAD_ROWS or len(voters) < 2:
        # All at once: each small array costs as much as sixty rows.
        outputs = np.concatenate([member.outputs(x, target) for member in voters])
        return _mean(voters, np.split(target.opinions(outputs), len(voters)))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:  # a member a thread: compiled code runs without Python's lock
        return _mean(voters, pool.map(lambda member: member.opinions(x, target, threads=1), voters))


def _mean(voters: Sequence[Member], opinions: Iterable[Array]) -> Array:
    """Return the weighted mean of opinions, added in the members' order: the same to the last bit each time."""
    return reduce(add, (member.weight * own for member, own in zip(voters, opinions, strict=True)))


def vote_of(members: Sequence[Member], target: Target) -> nn.Module:
    """Return the members as one module, whose outputs are those of ``predict_members`` before they are decoded; one is itself."""
    from plainnet.networks.networks import Vote

    if len(members) == 1:
        return members[0].network
    kinds = {ClassTarget: "classes", LabelsTarget: "labels", CountTarget: "counts", NumberTarget: "numbers"}
    bounds, logs = None, None
    if isinstance(target, CountTarget):
        most = np.log(target.encoded_most)
        bounds = np.stack([np.full(len(most), -np.inf), most])
    if isinstance(target, NumberTarget):
        bounds = target.encoded_bounds
        if target.logs is not None:
            unit, mean, scale = target.logs
            c = unit / float(target.scale[0])
            logs = (scale, mean, c, -c - float(target.mean[0] / target.scale[0]))
    return Vote(
        [member.network for member in members], [member.weight for member in members],
        kind=kinds[type(target)], bounds=bounds, logs=logs, is_log=[member.recipe.is_log for member in members],
    )  # fmt: skip


def elect(data: PackData, members: list[Member]) -> Array | None:
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
        own = [_judged(member, data.validation, data.target) for member in members]
        of_groups = [[view for view, m in zip(own, members, strict=True) if m.recipe.group == g] for g in groups]
        means = np.stack([np.mean(part, axis=0) for part in of_groups])
        _, y, weight = data.validation
        shares = vote_weights(means, y.numpy(), data.target.row_losses, weight)
    for member in members:
        group = member.recipe.group
        size = sum(other.recipe.group == group for other in members)
        member.weight = float(shares[groups.index(group)]) / size
    return joint


def _out_of_fold(data: PackData, members: list[Member], groups: list[int]) -> Array:
    """Return each group's predictions of the rows that its members held out, (G, N, C); NaN where none did."""
    own = [_judged(member, data.part(member.held_out), data.target) for member in members]
    views = np.full((len(groups), len(data.x), own[0].shape[1]), np.nan)
    for member, view in zip(members, own, strict=True):
        views[groups.index(member.recipe.group)][member.held_out] = view
    return views


def _judged(member: Member, rows: tuple[Tensor, Tensor, Array | None], target: Target) -> Array:
    """Return a member's opinions of rows it did not train on, and set its score on them."""
    x, y, weight = rows
    own = member.opinions(x.numpy(), target)
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
    stopped_by = stopped_by or first.stopped_by
    if len(histories) == 1:
        return replace(first, stopped_by=stopped_by)

    def padded(values: Sequence[Array], beyond: float = np.nan) -> Array:
        return np.stack([np.pad(own, (0, len(first) - len(own)), constant_values=beyond) for own in values])

    known = [own.validation_losses for own in histories if own.validation_losses is not None]
    all_known = len(known) == len(histories)
    own = padded([own.seconds for own in histories], 0.0).sum(axis=0)
    columns = (
        range(len(first)), np.nanmean(padded([own.losses for own in histories]), axis=0).tolist(),
        np.nanmean(padded(known), axis=0).tolist() if all_known else [None] * len(first), first.learning_rates.tolist(),
        (own if seconds is None else own * (seconds / own.sum())).tolist(),
    )  # fmt: skip
    epochs = Epochs(map(Epoch, *columns))
    return History(first.engine, first.engine_reason, epochs, stopped_by, restored_best=first.restored_best)
