"""The metrics of classes and of labels: probabilities  ->  AUC, accuracy, F1, log-loss, calibration error."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import metrics

from plainnet.evaluation.bootstrap import Measure, mean_over_rows, sums_by

__all__ = ["BINS", "calibration_error", "choose_threshold", "claims", "class_measures", "label_measures"]

Array = npt.NDArray[Any]
Codes = npt.NDArray[np.int64]

#: Bins of the calibration error, all as wide.
BINS = 10
#: Classes from which it counts, beside being right, to have the class among the first few, and how many those are.
TOP_CLASSES, TOP = 6, 3
#: Least probability that a log-loss sees, as in scikit-learn.
LEAST = float(np.finfo(np.float64).eps)


def class_measures(codes: Codes, n_classes: int, threshold: float | Array | None = None) -> list[Measure]:
    """Return the metrics that rows of these classes can be measured with.

    Args:
        codes: (N,) the class of each row, 0 … C - 1.
        n_classes: C.
        threshold: of two classes, the probability of the second from which F1 says it, one or (N,); None: 0.5.

    Returns:
        Measures of (N, C) probabilities.
    """
    labels = np.arange(n_classes)
    present = np.unique(codes)
    is_whole, is_binary = len(present) == n_classes, n_classes == 2

    def hits(p: Array) -> Array:
        return np.asarray(p.argmax(axis=1) == codes)

    def auc(p: Array) -> float:
        return float(metrics.roc_auc_score(codes, p[:, 1] if is_binary else p, multi_class="ovr", labels=labels))

    def balanced(p: Array) -> float:
        return float(metrics.recall_score(codes, p.argmax(axis=1), labels=present, average="macro"))

    def aucs(p: Array, counts: Array) -> Array:  # of two classes exactly, of more the mean of each against the rest
        return _on_curves(p[:, 1], codes, counts, _area_under) if is_binary else _mean_aucs(p, codes, counts)

    def recalls(p: Array, counts: Array) -> Array:
        with np.errstate(invalid="ignore"):
            own = sums_by(codes, n_classes, counts, hits(p)) / sums_by(codes, n_classes, counts)
        return np.asarray(np.nanmean(own[:, present], axis=1))

    def log_losses(p: Array) -> Array:
        return np.asarray(-np.log(np.clip(p[np.arange(len(codes)), codes], LEAST, 1 - LEAST)))

    def brier(p: Array) -> float:
        return float(metrics.brier_score_loss(codes, p[:, 1] if is_binary else p, labels=labels))

    def squares(p: Array) -> Array:
        return np.asarray(((p - np.eye(n_classes)[codes]) ** 2).sum(axis=1) / (2 if is_binary else 1))

    found = []
    if is_whole:
        found.append(Measure("AUC", auc, aucs))
    if is_whole and is_binary:
        found.append(Measure(
            "average precision", lambda p: float(metrics.average_precision_score(codes, p[:, 1])),
            lambda p, counts: _on_curves(p[:, 1], codes, counts, _precision_under),
        ))  # fmt: skip
    return [
        *found,
        Measure("accuracy", lambda p: float(metrics.accuracy_score(codes, p.argmax(axis=1))), mean_over_rows(hits)),
        Measure("balanced accuracy", balanced, recalls),
        *_f1_measures(codes, n_classes, threshold),
        *([_top_measure(codes, labels)] if n_classes >= TOP_CLASSES else []),
        Measure("log-loss", lambda p: float(metrics.log_loss(codes, p, labels=labels)), mean_over_rows(log_losses), False),
        Measure("Brier score", brier, mean_over_rows(squares), False),
        Measure(
            "calibration error", lambda p: calibration_error(*claims(p, codes)),
            lambda p, counts: _calibration_errors(*claims(p, codes), counts), False,
        ),
    ]  # fmt: skip


def _f1_measures(codes: Codes, n_classes: int, threshold: float | Array | None) -> list[Measure]:
    """Return F1 of the second of two classes, where the rows hold both; of more classes the mean of each class's."""

    def said(p: Array) -> Codes:
        at = 0.5 if threshold is None else threshold
        return np.asarray(p[:, 1] >= at if n_classes == 2 else p.argmax(axis=1)).astype(np.int64)

    def f1s(p: Array, counts: Array) -> Array:
        """(B, C) twice what was right of all that was said to be of the class or is; NaN where nothing is."""
        right = sums_by(codes, n_classes, counts, said(p) == codes)
        with np.errstate(invalid="ignore"):
            return np.asarray(2 * right / (sums_by(codes, n_classes, counts) + sums_by(said(p), n_classes, counts)))

    def f1(own: Codes) -> float:
        average = "binary" if n_classes == 2 else "macro"
        return float(metrics.f1_score(codes, own, average=average, zero_division=0))

    if n_classes > 2:
        return [Measure("macro F1", lambda p: f1(said(p)), lambda p, counts: np.nanmean(f1s(p, counts), axis=1))]
    if len(np.unique(codes)) < 2:
        return []
    # A threshold that is chosen for the highest F1, without a column to look at, says the second class always.
    always = None if threshold is None else f1(np.ones_like(codes))
    name = "F1 at 0.5" if threshold is None else "F1"
    return [Measure(name, lambda p: f1(said(p)), lambda p, counts: f1s(p, counts)[:, 1], baseline=always)]


def _top_measure(codes: Codes, labels: Codes) -> Measure:
    def value(p: Array) -> float:
        return float(metrics.top_k_accuracy_score(codes, p, k=TOP, labels=labels))

    def hits(p: Array) -> Array:
        first = np.argsort(p, axis=1, kind="stable")[:, : -TOP - 1 : -1]
        return np.asarray((first == codes[:, None]).any(axis=1))

    return Measure(f"top-{TOP} accuracy", value, mean_over_rows(hits))


def label_measures(y: npt.NDArray[np.int64]) -> list[Measure]:
    """Return the metrics of rows that have several labels, (N, L) of 0 and 1: measures of (N, L) probabilities."""
    both = [label for label in range(y.shape[1]) if 0 < y[:, label].mean() < 1]

    def auc(p: Array) -> float:
        return float(metrics.roc_auc_score(y[:, both], p[:, both], average="macro"))

    def aucs(p: Array, counts: Array) -> Array:
        return np.asarray(np.mean([_on_curves(p[:, k], y[:, k], counts, _area_under) for k in both], axis=0))

    def log_loss(p: Array) -> float:
        each = [metrics.log_loss(own, said, labels=[0, 1]) for own, said in zip(y.T, p.T, strict=True)]
        return float(np.mean(each))

    def log_losses(p: Array) -> Array:
        return np.asarray(-np.log(np.clip(np.where(y > 0, p, 1 - p), LEAST, 1 - LEAST)).mean(axis=1))

    def all_right(p: Array) -> Array:
        return np.asarray(((p > 0.5) == y).all(axis=1))

    return [
        *([Measure("macro AUC", auc, aucs)] if both else []),
        Measure("subset accuracy", lambda p: float(all_right(p).mean()), mean_over_rows(all_right)),
        Measure("log-loss", log_loss, mean_over_rows(log_losses), higher_is_better=False),
    ]


def choose_threshold(p: Array, codes: Codes) -> float | None:
    """Return the probability of the second of two classes from which to say it, for the highest F1.

    Args:
        p: (N,) probabilities of the second class, of rows that the networks did not train on.
        codes: (N,) of 0 and 1.

    Returns:
        A number between two probabilities of the rows; None where the rows hold one class only.

    >>> choose_threshold(np.array([0.1, 0.2, 0.4, 0.8]), np.array([0, 0, 1, 1]))
    0.3
    """
    if len(np.unique(codes)) < 2:
        return None
    precision, recall, thresholds = metrics.precision_recall_curve(codes, p.astype(np.float64))
    best = int((precision * recall / np.maximum(precision + recall, LEAST))[:-1].argmax())
    below = thresholds[best - 1] if best else 0.0
    return round(float(below + thresholds[best]) / 2, 9)


def claims(p: Array, codes: Codes) -> tuple[Array, Array]:
    """Return what is claimed with which probability, and whether it is so: the second of two classes; of more, the likeliest."""
    if p.shape[1] == 2:
        return p[:, 1], codes == 1
    return p.max(axis=1), p.argmax(axis=1) == codes


def _bins_of(confidence: Array) -> Codes:
    return np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence).astype(np.int64)


def calibration_error(confidence: Array, is_right: Array) -> float:
    """Return the expected calibration error: by how much probabilities are off.

    In each of 10 bins of the same width, how far the share of the rows that were right lies from their mean probability; of these the
    mean over the rows (Naeini, Cooper and Hauskrecht 2015, AAAI; Guo and others 2017, arXiv:1706.04599).

    Args:
        confidence: (N,) probabilities.
        is_right: (N,) whether it came so.

    >>> round(calibration_error(np.array([0.8, 0.8, 0.8, 0.8]), np.array([1, 1, 0, 0])), 9)
    0.3
    """
    gaps = np.bincount(_bins_of(confidence), weights=is_right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _calibration_errors(confidence: Array, is_right: Array, counts: Array) -> Array:
    """Resample the calibration error; each resample adds its own noise to the bins' absolute gaps, whose mean is taken off again."""
    gaps = sums_by(_bins_of(confidence), BINS, counts, is_right - confidence)
    errors = np.abs(gaps).sum(axis=1) / len(confidence)
    return np.asarray(np.maximum(errors - errors.mean() + calibration_error(confidence, is_right), 0.0))


def _on_curves(p: Array, codes: Codes, counts: Array, under: Any) -> Array:
    """Measure below each resample's curve, on one sorting of the rows for all of them."""
    order = np.argsort(-p, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(p[order])), len(p) - 1)  # the last row of each probability
    is_1 = codes[order].astype(np.float64)
    found = np.full(len(counts), np.nan)
    for i, own in enumerate(counts):
        drawn = own[order]
        n_true = np.cumsum(drawn * is_1)[ends]
        n_all = np.cumsum(drawn)[ends]
        if 0 < n_true[-1] < n_all[-1]:
            found[i] = under(n_true, n_all)
    return found


def _area_under(n_true: Array, n_all: Array) -> float:
    """Return the area under the ROC curve through these points, by trapezia."""
    n_false = n_all - n_true
    heights = n_true + np.append(0.0, n_true[:-1])
    return float((np.diff(n_false, prepend=0.0) @ heights) / (2 * n_true[-1] * n_false[-1]))


def _precision_under(n_true: Array, n_all: Array) -> float:
    """Return the average precision of these points."""
    return float(np.diff(n_true, prepend=0.0) @ (n_true / np.maximum(n_all, 1)) / n_true[-1])


def _mean_aucs(p: Array, codes: Codes, counts: Array) -> Array:
    """Resample the mean of each class's AUC against the rest, to first order: one matrix product for all classes and resamples.

    Each row's share in the AUC is the part of the other side's rows that it is on the right side of; what resampling both sides at once
    adds is of order 1 / N (DeLong, DeLong and Clarke-Pearson 1988, doi:10.2307/2531595).
    """
    n_rows, n_classes = p.shape
    parts = np.empty((n_rows, 3, n_classes))
    for c in range(n_classes):
        is_c = codes == c
        ranks, n_in = _ranks(p[:, c]), int(is_c.sum())
        share = np.empty(n_rows)
        share[is_c] = (ranks[is_c] - _ranks(p[is_c, c])) / (n_rows - n_in)
        share[~is_c] = 1 - (ranks[~is_c] - _ranks(p[~is_c, c])) / n_in
        parts[:, :, c] = np.stack([is_c * share, is_c, ~is_c * share], axis=1)
    value = parts[:, 0].sum(axis=0) / parts[:, 1].sum(axis=0)
    inside, n_own, outside = (counts @ parts.reshape(n_rows, -1)).reshape(len(counts), 3, n_classes).swapaxes(0, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.clip((inside / n_own + outside / (n_rows - n_own) - value).mean(axis=1), 0.0, 1.0))


def _ranks(values: Array) -> Array:
    """Return the rank of each value, from 1; equal ones share the mean of theirs."""
    _, which, n_equal = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(n_equal) - (n_equal - 1) / 2)[which])
