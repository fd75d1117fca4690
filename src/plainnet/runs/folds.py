"""Cross-validation: every row is predicted once by networks that were trained without its fold.

The folds are trained one after the other: a pack already trains on all cores, and Ctrl-C and a time limit reach one training at a time
(docs/decisions/0007-evaluation.md).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import clone
from sklearn.model_selection import GroupKFold

from plainnet.errors import DataWarning, SettingError, TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.evaluation.evaluation import Score, baseline_of, predictions_of, reach_of, score
from plainnet.packs.packs import fold_of_rows
from plainnet.runs.parts import LEAST_ROWS, fit_parts, group_names, of_known_classes, split_parts
from plainnet.training.progress import count_bar

__all__ = ["CrossValidation", "Fold", "cross_validate", "deal_folds"]

Array = npt.NDArray[Any]

#: Folds at most: each is a whole training.
MOST_FOLDS = 100


@dataclass(frozen=True)
class Fold:
    """One fold: what networks that were trained on the other rows reach on its rows.

    Attributes:
        rows: its rows' numbers, those that are scored, ascending.
        train_rows: how many rows the networks were trained on, validation rows included.
        not_scored: its rows of classes that no other fold has.
        scores: on its rows, beside the baseline of the training rows.
        seconds: of the training.
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
    estimator: NetClassifier | NetRegressor,
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
    with count_bar(folds, "fold", shown=progress) as advance:
        try:
            for number in range(folds):
                fold = _fold(estimator, table, y, fold_of == number, group, seed)
                if fold is None:
                    stopped_by = "interrupt"
                    break
                done.append(fold)
                advance()
        except KeyboardInterrupt:
            stopped_by = "interrupt"
    return CrossValidation(done, _pooled(estimator, y, done) if done else [], stopped_by)


def _fold(
    estimator: NetClassifier | NetRegressor,
    table: pl.DataFrame,
    y: Array,
    is_held: npt.NDArray[np.bool_],
    group: str | None,
    seed: int,
) -> Fold | None:
    """Train without a fold and score it; None: Ctrl-C ended the training."""
    own = clone(estimator).set_params(verbose=False)
    if group is not None:
        own.set_params(kinds={group: "ignored", **(own.kinds or {})})
    is_class = isinstance(own, NetClassifier)
    train, test = np.flatnonzero(~is_held), np.flatnonzero(is_held)
    inner = split_parts(
        table[train], y[train], "classes" if is_class else "numbers", test_share=0, group=group, time=None, seed=seed
    )
    parts = {name: train[rows] for name, rows in inner.items()} | {"held-out": test}
    scored = of_known_classes(parts, y) if is_class else parts
    started = perf_counter()
    threshold = fit_parts(own, table, y, {name: rows for name, rows in scored.items() if name != "held-out"})
    seconds = perf_counter() - started
    if own.history_.stopped_by == "interrupt":
        return None
    rows = scored["held-out"]
    if not len(rows):
        raise TableError(
            "every row of a fold is of a class that no other fold has: pass fewer folds, or another --group."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # levels that are in one fold alone are nothing to worry about
        predictions = predictions_of(own, table[rows])
    scores = score(own, predictions, y[rows], baseline_of(own, y[parts["train"]]), threshold=threshold)
    if is_class:  # a class that this training did not see has a probability of 0
        aligned = np.zeros((len(rows), len(estimator.classes_)), dtype=predictions.dtype)
        aligned[:, np.searchsorted(estimator.classes_, own.classes_)] = predictions
        predictions = aligned
    return Fold(
        rows, len(train), len(test) - len(rows), scores, seconds, predictions, threshold, reach_of(own, len(rows))
    )


def _pooled(estimator: NetClassifier | NetRegressor, y: Array, folds: Sequence[Fold]) -> list[Score]:
    """Score the predictions of all folds together, each at its own threshold and with its own intervals."""
    rows = np.concatenate([fold.rows for fold in folds])
    thresholds = [np.full(len(fold.rows), np.nan if fold.threshold is None else fold.threshold) for fold in folds]
    reaches = [fold.reach for fold in folds if fold.reach is not None]
    threshold = np.concatenate(thresholds)
    return score(
        estimator,
        np.concatenate([fold.predictions for fold in folds]),
        y[rows],
        baseline_of(estimator, y),
        threshold=None if np.isnan(threshold).any() else threshold,
        reach=np.concatenate(reaches) if len(reaches) == len(folds) else None,
    )
