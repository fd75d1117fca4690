"""Which columns a network's predictions rest on, and how they follow one column; ``shapley`` tells what made one row's.

Everything is told of the table's own columns, never of the features they are encoded as: a table is encoded once, and the
features of a column then change together.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from plainnet.errors import SettingError, TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.evaluation.bootstrap import draw_rows
from plainnet.evaluation.encoded import (
    Judge,
    batch_rows,
    encoded,
    feature_blocks,
    judge,
    output_of,
    outputs,
    seen_table,
    table_and_y,
    vote,
)
from plainnet.evaluation.evaluation import Array, Estimator
from plainnet.settings import check_number
from plainnet.tables.dates import parse_dates
from plainnet.tables.kinds import numbers_of
from plainnet.tables.schema import Column
from plainnet.tables.wording import did_you_mean, listed

__all__ = ["ColumnImportance", "Dependence", "Importance", "partial_dependence", "permutation_importance"]

#: Rows that an importance is measured on where the caller does not say: of a single network, and of a pack, which takes as many
#: times as long as it has members.
MOST_ROWS, MOST_PACK_ROWS = 10_000, 1_000
#: Rows of a partial dependence at most.
MOST_DEPENDENCE_ROWS = 500
#: Half the width of a 95 % interval, in standard errors.
Z95 = 1.959964


@dataclass(frozen=True)
class ColumnImportance:
    """By how much the loss grows when a column is shuffled.

    Attributes:
        column: its name.
        value: the growth, in the loss's own unit; about 0 for a column that nothing rests on, and below by chance.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    column: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Importance:
    """Importance of all columns that the network sees, the largest first.

    Attributes:
        metric: the loss: 'log-loss', 'RMSE', 'pinball loss', or 'RMSE of the standardised targets' of several numbers a row.
        loss: of the rows as they are.
        rows: that it was measured on.
        rows_given: of the table; where they are more, rows were drawn from them.
        n_repeats: shuffles of each column.
        columns: of each column.
    """

    metric: str
    loss: float
    rows: int
    rows_given: int
    n_repeats: int
    columns: tuple[ColumnImportance, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the importance as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Dependence:
    """How predictions follow one column: G values of it in N rows.

    Attributes:
        column: its name.
        kind: of the column: 'number', 'category', 'flag' or 'date'.
        output: what is predicted: a class, whose probability it is, or 'prediction'.
        grid: (G,) values of the column, as the table has them.
        average: (G,) mean prediction of all rows if their cell held this value (partial dependence).
        individual: (N, G) the prediction of each row (individual conditional expectation).
    """

    column: str
    kind: str
    output: Any
    grid: list[Any]
    average: npt.NDArray[np.float64]
    individual: npt.NDArray[np.float64]


def permutation_importance(
    estimator: Estimator, X: Any, y: Any, *, n_repeats: int = 10, max_samples: int | None = None, random_state: int = 0
) -> Importance:
    """Measure by how much the loss grows when a column's cells are shuffled among the rows, and so say nothing any more.

    Breiman, "Random Forests", Machine Learning 45, 2001 (doi:10.1023/A:1010933404324); as a property of any model Fisher, Rudin and
    Dominici, "All Models are Wrong, but Many are Useful", JMLR 20, 2019 (arXiv:1801.01489). The loss of classes is the log-loss, that
    of numbers the RMSE in the target's unit: the log-loss, unlike AUC or accuracy, notices probabilities that get worse while their
    order stays, is the same for any number of classes, and is a mean over rows. So the intervals are those of a mean, from how much
    the rows differ: what other rows like these would give. Measure on rows that the network was not trained on.

    Correlated columns share what they say: shuffling one leaves the other, so that both may look unimportant, and makes rows that
    cannot be (a child with a pension). Look at the correlated ones together, or leave one out and fit again.

    Args:
        estimator: fitted.
        X: N rows, as for ``fit``.
        y: (N,) the targets, or the name of their column in X.
        n_repeats: shuffles of each column.
        max_samples: rows that are used at most, drawn from X; None: 10 000, or 1 000 of a pack of more than two voters.
        random_state: seed of the draw and of the shuffles.

    Returns:
        The importance of each column that the network sees.

    Raises:
        TableError: X or y cannot be used: other columns, unknown classes, fewer than two rows.
        SettingError: ``n_repeats`` or ``max_samples`` is out of range.
    """
    check_number("n_repeats", n_repeats, whole=True, least=1, optional=False)
    check_number("max_samples", max_samples, whole=True, least=2)
    table, y = table_and_y(X, y)
    if table.height < 2:
        raise TableError(f"importance is measured on rows, and the table has {table.height} with a target: pass more.")
    rng = np.random.RandomState(random_state)
    if max_samples is None:
        voters = sum(member.weight > 0 for member in estimator.members_)
        max_samples = MOST_ROWS if voters <= 2 else MOST_PACK_ROWS
    rows = draw_rows(table.height, max_samples, rng)
    x = encoded(estimator, table[rows])
    judged = judge(estimator, y[rows])
    before = judged.losses(vote(estimator, x), 1)
    orders = np.stack([rng.permutation(len(x)) for _ in range(n_repeats)])
    # Shuffles whose predictions are made in one call.
    at_once = min(n_repeats, max(1, batch_rows(x.shape[1]) // len(x)))
    copies = np.tile(x, (at_once, 1))
    found = []
    for name, block in feature_blocks(estimator.schema_).items():
        after, kept = np.zeros(len(x)), copies[:, block]
        for first in range(0, n_repeats, at_once):
            part = orders[first : first + at_once]
            copies[: part.size, block] = kept[part.ravel()]
            losses = judged.losses(vote(estimator, copies[: part.size]), len(part))
            after += losses.reshape(len(part), -1).sum(axis=0)
        copies[:, block] = kept
        found.append(_importance_of(name, before, after / n_repeats, judged))
    found.sort(key=lambda each: -each.value)
    loss = judged.unit * float(np.sqrt(before.mean()) if judged.is_root else before.mean())
    return Importance(judged.metric, loss, len(x), table.height, n_repeats, tuple(found))


def _importance_of(name: str, before: Array, after: Array, judged: Judge) -> ColumnImportance:
    """Return the growth of the mean loss, or of its root, with an interval from the spread over the rows."""
    if judged.is_root:
        roots = np.sqrt(after.mean()), np.sqrt(before.mean())
        value = roots[0] - roots[1]
        of_rows = np.zeros(len(before))  # the delta method: what each row moves the roots by
        for sign, losses, root in zip((1, -1), (after, before), roots, strict=True):
            if root > 0:
                of_rows += sign * losses / (2 * root)
    else:
        of_rows = after - before
        value = of_rows.mean()
    width = Z95 * float(np.std(of_rows, ddof=1)) / np.sqrt(len(before))
    return ColumnImportance(name, *(judged.unit * float(end) for end in (value, value - width, value + width)))


def partial_dependence(
    estimator: Estimator,
    X: Any,
    column: str,
    *,
    output: Any = None,
    grid_resolution: int = 20,
    max_samples: int = MOST_DEPENDENCE_ROWS,
    random_state: int = 0,
) -> Dependence:
    """Predict the rows of a table as if all held the same value in a column, for values from its whole range.

    The mean over the rows is the partial dependence of Friedman, "Greedy Function Approximation", Annals of Statistics 29, 2001
    (doi:10.1214/aos/1013203451); the single rows are the individual conditional expectations of Goldstein and others, "Peeking Inside
    the Black Box", 2015 (arXiv:1309.6392). As with shuffled columns, a value that never occurs together with a row's other cells asks
    the network for what it has not learnt.

    Args:
        estimator: fitted.
        X: rows, as for ``fit``.
        column: one that the network sees.
        output: the class whose probability is predicted, or the number where it predicts several; None: the second of two classes, or
            the one predicted most.
        grid_resolution: values at most: equally many rows lie between those of numbers and dates, from the 2nd to the 98th percentile;
            of categories the most frequent levels.
        max_samples: rows that are used at most, drawn from X.
        random_state: seed of the draw.

    Raises:
        TableError: X cannot be used, or no row has a value in the column.
        SettingError: the network does not see such a column, there is no such output, or a number is out of range.
    """
    check_number("grid_resolution", grid_resolution, whole=True, least=2, optional=False)
    check_number("max_samples", max_samples, whole=True, least=1, optional=False)
    table = seen_table(estimator, X)
    blocks = feature_blocks(estimator.schema_)
    if column not in blocks:
        raise SettingError(
            f"the network sees no column {column!r}{did_you_mean(column, blocks)}. It sees: {listed(blocks, most=20)}."
        )
    kind = next(each for each in estimator.schema_.used if each.name == column)
    cells = _grid(kind, table[column], grid_resolution)
    values = encoded(estimator, table[cells])[:, blocks[column]]
    x = encoded(estimator, table[draw_rows(table.height, max_samples, np.random.RandomState(random_state))])
    predicted = []
    for value in values:
        x[:, blocks[column]] = value
        predicted.append(outputs(estimator, x))
    every = np.stack(predicted, axis=1)  # (N, G, outputs)
    is_binary = isinstance(estimator, NetClassifier) and every.shape[2] == 2
    index, name = output_of(estimator, output, np.arange(2) if is_binary else every.mean(axis=(0, 1)))
    individual = every[:, :, index]
    grid = table[column][cells].to_list()
    return Dependence(column, kind.kind, name, grid, individual.mean(axis=0), individual)


def _grid(column: Column, series: pl.Series, resolution: int) -> npt.NDArray[np.int64]:
    """Return rows whose cells are the values to look at: quantiles of numbers and dates, the most frequent levels of categories."""
    if column.kind in ("category", "flag"):
        rows = pl.DataFrame({"level": series, "row": np.arange(len(series))}).drop_nulls("level")
        counts = (
            rows.group_by("level").agg(pl.len(), pl.col("row").min()).sort(["len", "row"], descending=[True, False])
        )
        found = counts["row"].head(resolution).to_numpy()
    else:
        if column.kind == "date":
            dates, _ = parse_dates(series, column.date_format)
            numbers = dates.dt.epoch("us") if dates is not None else series.cast(pl.Int64, strict=False)
        else:
            numbers = numbers_of(series)
        values = numbers.cast(pl.Float64).to_numpy().astype(np.float64)
        known = np.flatnonzero(np.isfinite(values))
        ordered = known[np.argsort(values[known], kind="stable")]
        places = np.rint(np.linspace(0.02, 0.98, resolution) * max(len(ordered) - 1, 0)).astype(np.int64)
        chosen = ordered[places] if len(ordered) else ordered
        found = chosen[np.unique(values[chosen], return_index=True)[1]]
    if not len(found):
        raise TableError(
            f"no row has a value in the column {column.name!r}: there is nothing to follow. Choose another column."
        )
    return np.asarray(found, dtype=np.int64)
