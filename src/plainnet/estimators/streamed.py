"""``fit`` on a table that is read piece by piece: two passes over its files, then epochs over the encoded rows on disk."""
# ruff: noqa: SLF001 - it is the part of NetEstimator.fit for such tables, in a file of its own

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_class_weight

from plainnet.errors import DataWarning, SettingError, TableError
from plainnet.estimators.inputs import row_weights
from plainnet.packs.shards import Dealt, Layout, Rows, ShardWriter, writing
from plainnet.tables.ahead import ahead
from plainnet.tables.bins import Weight
from plainnet.tables.encode import encode
from plainnet.tables.folders import is_pattern
from plainnet.tables.read import is_path
from plainnet.tables.scan import Scan, TrainingRows, row_shares, scan_table
from plainnet.tables.sketch import Sketch, TargetTally, sketch
from plainnet.tables.tables import check_column, target_array
from plainnet.tables.target import ClassTarget, CountTarget, NumberTarget, Target
from plainnet.training.elsewhere import SCANS
from plainnet.training.progress import count_bar

if TYPE_CHECKING:
    from plainnet.estimators.estimators import NetEstimator
    from plainnet.packs.streamed import Weigh
    from plainnet.training.many import OnEpochs

__all__ = ["MOST_BYTES", "asked_scan", "fit_scan", "scan_of"]

#: Bytes, at 8 a cell, above which Parquet files are read piece by piece.
MOST_BYTES = 2 * 2**30

#: Threads that encode: each has some tens of megabytes in hand.
MOST_ENCODERS = 4

#: Share of the rows that are held out, where that is fewer than ``ScanSettings.held_out_rows``.
DEFAULT_SHARE = 1 / 6

Told = Callable[[], None]
#: Some rows, (n,), the chance that decides where each goes, and their weights.
Part = tuple[pl.DataFrame, npt.NDArray[np.float64], Weight]
Estimator = TypeVar("Estimator", bound="NetEstimator")


def scan_of(X: Any, *, stream: bool = False) -> Scan | None:
    """Return the table as a scan where it is one, or is named by Parquet files that are too large to be read at once.

    Args:
        X: what a user calls a table.
        stream: read it piece by piece, however large it is.
    """
    if isinstance(X, Scan):
        return X
    if stream:
        return scan_table(X)
    if not is_path(X) or not (os.fspath(X).lower().endswith(".parquet") or is_pattern(os.fspath(X))):
        return None
    try:
        scan = scan_table(X)
    except TableError:  # other formats, or a mistake that the reader of whole tables says as well
        return None
    return scan if scan.n_bytes > MOST_BYTES else None


def asked_scan(X: Any, y: Any, sample_weight: Any, validation: Any) -> Scan | None:
    """Return the table as a scan where ``fit`` is to read it so: unasked only where all arguments go with that."""
    if isinstance(X, Scan):
        return X
    return scan_of(X) if isinstance(y, str) and sample_weight is None and validation is None else None


def fit_scan(
    estimator: Estimator, scan: Scan, y: Any, sample_weight: Any, validation: Any, on_epochs: OnEpochs | None
) -> Estimator:
    """Fit an estimator; the arguments are those of ``fit``. It has no out-of-fold predictions.

    Raises:
        TableError: the table cannot be used; the message says why.
        SettingError: an argument does not go with such a table.
    """
    from plainnet.packs.streamed import train_streamed

    training = _check(scan, y, sample_weight, validation)
    seed = int(check_random_state(estimator.random_state).randint(2**31 - 1))
    bar = partial(count_bar, scan.n_pieces, shown=estimator.verbose)
    with bar("piece, to learn the columns") as done:
        found = sketch(training, kinds=estimator.kinds, salt=seed, told=done)
    tally = found.target
    if tally.without:
        message = f"{tally.without:,} rows without a value in {y!r} are left out"
        warnings.warn(message, DataWarning, stacklevel=3)
    settings = estimator._settings(tally.rows, 0.0)
    estimator.n_features_in_ = len(training.columns)
    estimator.feature_names_in_ = np.array(training.columns, dtype=object)
    estimator.schema_ = found.schema
    estimator.target_ = _learn_target(estimator, found)
    share = estimator.validation_fraction
    share = (0.0 if settings.is_tiny else DEFAULT_SHARE) if share is None else share
    first = estimator.target_.encode(estimator.check_y(found.y[:1]))
    layout = Layout.of(estimator.schema_, first, weighs=training.weight is not None)
    shard_rows = max(1, scan.settings.shard_bytes // (4 * layout.n_features))
    share = min(share, min(scan.settings.held_out_rows, shard_rows) / tally.rows)
    weigh = _weigher(estimator, tally)
    if (trainer := SCANS.get()) is not None:
        if training.weight is not None:
            raise SettingError(
                "a table that is read piece by piece on a cluster has no sample_weight: leave it out, or train here."
            )
        pack = trainer(estimator, scan, training.target, settings, seed, share, weigh, on_epochs)
    else:
        with writing(layout, tally.rows, scan.settings.shard_bytes) as writer, bar("piece, encoded") as done:
            held = _write(estimator, training, writer, seed, share, done)
            shards = writer.shards()
            if not shards.heights:
                raise TableError("there are too few rows to hold some out: read the table as a whole.")
            with estimator._seeded(seed):
                recipes = estimator._recipes(settings, seed)
                pack = train_streamed(
                    shards, held, estimator.target_, recipes, settings, estimator._tools(), weigh,
                    progress=estimator.verbose, on_epochs=on_epochs,
                )  # fmt: skip
    estimator.keep_members(pack.members, pack.stopped_by, pack.seconds)
    estimator._learn_residuals(found.y, None)
    estimator.out_of_fold_ = None
    return estimator


def _check(scan: Scan, y: Any, sample_weight: Any, validation: Any) -> TrainingRows:
    """Check what came with a scan; return what is learnt from."""
    if not isinstance(y, str):
        raise TableError("a table that is read piece by piece holds its target: name the column, fit(scan, 'column').")
    if validation is not None:
        raise SettingError("validation does not go with a table that is read piece by piece: leave it out.")
    is_named = isinstance(sample_weight, str)
    if sample_weight is not None and not is_named:
        sample_weight = row_weights(sample_weight, sum(scan.heights))
    for name in (y, sample_weight) if is_named else (y,):
        check_column(name, scan.columns)
    if is_named and not scan.types[sample_weight].is_numeric():
        dtype = scan.types[sample_weight]
        raise SettingError(f"sample_weight names the column {sample_weight!r}, which is {dtype}: weights are numbers.")
    return TrainingRows(scan, y, sample_weight)


def _learn_target(estimator: NetEstimator, found: Sketch) -> Target:
    """Learn the target from a sample, and put in what was counted on all rows."""
    y, tally = estimator.check_y(found.y), found.target
    if not is_classifier(estimator):
        target = estimator._learn_target(y, found.weight)
        ends = np.array([[tally.minimum], [tally.maximum]])
        if isinstance(target, NumberTarget):
            return replace(target, bounds=ends, logs=target.logs if tally.minimum >= 0 else None)
        assert isinstance(target, CountTarget)  # noqa: S101 - the regressor has no other
        estimator._learn_target(ends[:, 0], None)  # which refuses a negative one
        return replace(target, most=ends[1])
    if tally.classes is None:
        raise TableError(
            "the target has too many different values for classes: for numbers use NetRegressor (--task numbers), or raise "
            "most_levels of scan_table."
        )
    known = np.array(list(tally.classes), dtype=None if y.dtype.kind == "U" else y.dtype)
    return estimator._learn_target(estimator.check_y(known), None)


def _weigher(estimator: NetEstimator, tally: TargetTally) -> Weigh:
    """Return what weighs rows by their class and their own weight: the weights of classes are those of all rows, not of a piece."""
    target = estimator.target_
    class_weight = getattr(estimator, "class_weight", None)  # a regressor has none
    if class_weight is None or not isinstance(target, ClassTarget):
        return lambda rows: rows[2]
    assert tally.classes is not None  # noqa: S101 - the target was learnt from them
    classes = target.classes
    counts = np.array([tally.classes[each] for each in classes.tolist()], dtype=np.float64)
    of_class = compute_class_weight(class_weight, classes=classes, y=classes, sample_weight=counts)

    def weigh(rows: Rows) -> npt.NDArray[np.float64]:
        own = np.asarray(of_class[rows[1]], dtype=np.float64)
        return own if rows[2] is None else own * rows[2]

    return weigh


def _write(
    estimator: NetEstimator, training: TrainingRows, writer: ShardWriter, seed: int, held_share: float, told: Told
) -> Rows | None:
    """Write the training rows, encoded ahead in other threads; return the rows to hold out, None where there are none."""
    # Few at once: features of many levels take much more room than the cells.
    n_rows = max(1, training.scan.settings.shard_bytes // (32 * writer.layout.n_features))

    def parts() -> Iterator[Part]:
        for numbers, piece, weight, _ in training.pieces():
            chances = row_shares(numbers, seed + 1)
            for first in range(0, len(piece), n_rows):
                own = slice(first, first + n_rows)
                yield piece[own], chances[own], None if weight is None else weight[own]
            told()

    def encoded(part: Part) -> tuple[Rows, Dealt]:
        piece, chance, weight = part
        x, _ = encode(estimator.schema_, piece)
        y = estimator.target_.encode(target_array(piece[training.target]))
        left = chance >= held_share
        own, others = ((x[each], y[each], None if weight is None else weight[each]) for each in (~left, left))
        return own, writer.deal(others, (chance[left] - held_share) / (1 - held_share))

    held = []
    with contextlib.closing(ahead(encoded, parts(), threads=min(os.cpu_count() or 1, MOST_ENCODERS))) as dealt:
        for own, records in dealt:
            held.append(own)
            writer.add(records)
    x, y = (np.concatenate([rows[part] for rows in held]) for part in (0, 1))
    if not len(x):
        return None
    return x, y, np.concatenate([rows[2] for rows in held]) if writer.layout.weighs else None
