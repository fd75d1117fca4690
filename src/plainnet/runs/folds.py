"""Cross-validation: every row is predicted once by networks that were trained without its fold; the folds are trained at once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import clone
from sklearn.model_selection import GroupKFold

from plainnet.errors import DataWarning, SettingError, TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.estimators import BegunFit
from plainnet.evaluation.evaluation import Array, Estimator, Score, baseline_of, predictions_of, reach_of, score
from plainnet.packs.jobs import Pack, PackJob, fold_of_rows
from plainnet.packs.packs import train_pack, train_packs
from plainnet.runs.parts import (
    LEAST_ROWS,
    Rows,
    group_names,
    of_known_classes,
    own_threshold,
    split_parts,
    validation_of,
)
from plainnet.training.progress import say

__all__ = ["CrossValidation", "Fold", "cross_validate", "deal_folds"]

#: Folds at most: each is a whole training.
MOST_FOLDS = 100
#: Of the rows that members of folds hold while they are trained at once: each has its own copy.
MOST_BYTES = 2**30


@dataclass(frozen=True)
class Fold:
    """One fold: what networks that were trained on the other rows reach on its rows.

    Attributes:
        rows: its rows' numbers, those that are scored, ascending.
        train_rows: how many rows the networks were trained on, validation rows included.
        not_scored: its rows of classes that no other fold has.
        scores: on its rows, beside the baseline of the training rows.
        seconds: of the training; its share where folds were trained at once.
        predictions: of its rows, as ``predictions_of`` gives them for the estimator of all rows.
        threshold: of F1, chosen within the training rows.
        reach: half the width of its 90 % intervals; None: there are none.
    """

    rows: npt.NDArray[np.int64]
    train_rows: int
    not_scored: int
    scores: list[Score]
    seconds: float
    predictions: Array
    threshold: float | None
    reach: Array | None


@dataclass(frozen=True)
class CrossValidation:
    """What cross-validation found.

    Attributes:
        folds: those that were trained: all, unless Ctrl-C ended it.
        pooled: the scores of all out-of-fold predictions together.
        stopped_by: 'interrupt' after Ctrl-C; else ''.
    """

    folds: list[Fold]
    pooled: list[Score]
    stopped_by: str = ""

    def spread(self, metric: str) -> tuple[float, float] | None:
        """Return mean and standard deviation (n - 1) of a metric over the folds; None where fewer than two folds have it."""
        values = [each.value for fold in self.folds for each in fold.scores if each.metric == metric]
        return (float(np.mean(values)), float(np.std(values, ddof=1))) if len(values) > 1 else None

    def to_json(self) -> list[dict[str, Any]]:
        """Return the pooled scores as plain values, each with the folds' ``mean`` and ``deviation``, null where there are none."""
        content = []
        for each in self.pooled:
            mean, deviation = self.spread(each.metric) or (None, None)
            content.append({**each.to_json(), "mean": mean, "deviation": deviation})
        return content


def deal_folds(
    y: Array, folds: int, *, is_class: bool, seed: int = 0, groups: Array | None = None
) -> npt.NDArray[np.int64]:
    """Deal rows to folds: each has its share of every class, or whole groups.

    Args:
        y: (N,) targets.
        folds: F.
        is_class: whether they are classes; numbers are dealt at random.
        seed: of the deal; groups are dealt by their size, without a draw.
        groups: (N,) all rows of a group go to one fold.

    Returns:
        (N,) the fold of each row, 0 … F - 1.

    Raises:
        SettingError: fewer than 2 folds, or more than 100.
        TableError: there are fewer rows or groups than folds.

    >>> np.bincount(deal_folds(np.array(["a"] * 6 + ["b"] * 3), 3, is_class=True)).tolist()
    [3, 3, 3]
    """
    if not 2 <= folds <= MOST_FOLDS:
        raise SettingError(f"the number of folds is a whole number from 2 to {MOST_FOLDS}, not {folds}.")
    if groups is not None:
        _, codes = np.unique(groups, return_inverse=True)
        if codes.max() + 1 < folds:
            raise TableError(f"{codes.max() + 1} groups cannot be dealt to {folds} folds: pass fewer folds.")
        fold = np.empty(len(y), dtype=np.int64)
        for number, (_, rows) in enumerate(GroupKFold(folds).split(codes, groups=codes)):
            fold[rows] = number
        return fold
    if len(y) < folds + 1:
        raise TableError(
            f"{len(y)} rows cannot be dealt to {folds} folds, of which each leaves {LEAST_ROWS} rows to train on: pass fewer folds."
        )
    return fold_of_rows(np.unique(y, return_inverse=True)[1] if is_class else y.reshape(-1, 1), folds, seed)


def cross_validate(
    estimator: Estimator,
    table: pl.DataFrame,
    y: Array,
    *,
    folds: int = 5,
    group: str | None = None,
    seed: int = 0,
    progress: bool = False,
) -> CrossValidation:
    """Train a network anew without each fold, with the settings of a fitted one, and score it on the fold.

    Args:
        estimator: fitted on all these rows; it is not changed.
        table: N rows, without the target.
        y: (N,) targets.
        folds: how many.
        group: name of a column whose groups are never torn apart: neither by the folds, nor by the validation rows of each.
        seed: of the deal.
        progress: show a progress bar.

    Returns:
        Each fold's scores, and those of all out-of-fold predictions together. Ctrl-C ends it and returns the folds that are done.

    Raises:
        SettingError, TableError: the rows cannot be dealt to so many folds.

    >>> table = pl.DataFrame({"x": np.arange(60.0)})
    >>> y = np.array(["low", "high"]).repeat(30)
    >>> classifier = NetClassifier(members=1, hidden=(4,), epochs=2).fit(table, y)
    >>> [len(fold.rows) for fold in cross_validate(classifier, table, y, folds=3).folds]
    [20, 20, 20]
    """
    is_class = isinstance(estimator, NetClassifier)
    fold_of = deal_folds(y, folds, is_class=is_class, seed=seed, groups=group_names(table, group))
    done: list[Fold] = []
    stopped_by = ""
    try:
        for some in _together(estimator, table, folds):
            if progress and len(some) < folds:
                say(f"folds {some[0] + 1} to {some[-1] + 1} of {folds}")
            begun = [_begin(estimator, table, y, fold_of == number, group, seed) for number in some]
            packs = _packs_of([fit.job for _, fit, _, _ in begun], progress=progress)
            for each, pack in zip(begun, packs, strict=True):
                if pack is None or pack.stopped_by == "interrupt":
                    raise KeyboardInterrupt  # caught below: what is done is kept
                done.append(_scored(each, pack, estimator, table, y))
    except KeyboardInterrupt:
        stopped_by = "interrupt"
    return CrossValidation(done, _pooled(estimator, y, done) if done else [], stopped_by)


def _together(estimator: Estimator, table: pl.DataFrame, folds: int) -> list[range]:
    """Return which folds are trained at once: as many as fit in ``MOST_BYTES``; with a time limit, which is each fold's own, one."""
    a_row = 4 * estimator.members_[0].recipe.shape.n_in * max(len(estimator.members_), 1)
    at_once = 1 if estimator.time_limit is not None else max(1, MOST_BYTES // (a_row * table.height))
    return [range(first, min(first + at_once, folds)) for first in range(0, folds, at_once)]


def _packs_of(jobs: Sequence[PackJob], *, progress: bool) -> list[Pack | None]:
    """Train packs: at once where each member's numbers are its own, which are those of the fused engine."""
    if len(jobs) > 1 and all(job.tools.engine == "fused" and job.tools.device == "cpu" for job in jobs):
        return train_packs(jobs, progress=progress)
    return [train_pack(job, progress=progress) for job in jobs]


#: A fold whose networks wait to be trained on the other rows: its estimator, the fit, all parts, and those that are scored.
Begun = tuple[Estimator, BegunFit, dict[str, Rows], dict[str, Rows]]


def _begin(
    estimator: Estimator, table: pl.DataFrame, y: Array, is_held: npt.NDArray[np.bool_], group: str | None, seed: int
) -> Begun:
    """Split the rows that are not held out, and begin a fit on them."""
    own = clone(estimator).set_params(verbose=False)
    if group is not None:
        own.set_params(kinds={group: "ignored", **(own.kinds or {})})
    is_class, train = isinstance(own, NetClassifier), np.flatnonzero(~is_held)
    task = "classes" if is_class else "numbers"
    inner = split_parts(table[train], y[train], task, test_share=0, group=group, time=None, seed=seed)
    parts = {name: train[rows] for name, rows in inner.items()} | {"held-out": np.flatnonzero(is_held)}
    scored = of_known_classes(parts, y) if is_class else parts
    if not len(scored["held-out"]):
        raise TableError(
            "every row of a fold is of a class that no other fold has: pass fewer folds, or another --group."
        )
    rows = scored["train"]
    return own, own.begin_fit(table[rows], y[rows], validation=validation_of(table, y, scored)), parts, scored


def _scored(begun: Begun, pack: Pack, estimator: Estimator, table: pl.DataFrame, y: Array) -> Fold:
    """Score a fold's networks on its rows."""
    own, fit, parts, scored = begun
    rows, held = scored["held-out"], parts["held-out"]
    own.end_fit(fit, pack)
    threshold = own_threshold(own, table, y, scored)
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        # levels of one fold alone are nothing to worry about
        predictions = predictions_of(own, table[rows])
    scores = score(own, predictions, y[rows], baseline_of(own, y[parts["train"]]), threshold=threshold)
    if isinstance(own, NetClassifier):  # a class that this training did not see has a probability of 0
        aligned = np.zeros((len(rows), len(estimator.classes_)), dtype=predictions.dtype)
        aligned[:, np.searchsorted(estimator.classes_, own.classes_)] = predictions
        predictions = aligned
    n_train, reach = len(y) - len(held), reach_of(own, len(rows))
    return Fold(rows, n_train, len(held) - len(rows), scores, pack.seconds, predictions, threshold, reach)


def _pooled(estimator: Estimator, y: Array, folds: Sequence[Fold]) -> list[Score]:
    """Score the predictions of all folds together, each at its own threshold and with its own intervals."""
    thresholds = [np.full(len(fold.rows), np.nan if fold.threshold is None else fold.threshold) for fold in folds]
    threshold, reaches = np.concatenate(thresholds), [fold.reach for fold in folds if fold.reach is not None]
    return score(
        estimator, np.concatenate([fold.predictions for fold in folds]), y[np.concatenate([fold.rows for fold in folds])],
        baseline_of(estimator, y), threshold=None if np.isnan(threshold).any() else threshold,
        reach=np.concatenate(reaches) if len(reaches) == len(folds) else None,
    )  # fmt: skip
