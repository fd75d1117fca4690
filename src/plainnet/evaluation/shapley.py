"""What made the prediction of one row: Shapley values by sampling."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from plainnet.errors import TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.evaluation.bootstrap import draw_rows
from plainnet.evaluation.encoded import Features, batch_rows, encoded, feature_blocks, output_of, outputs, seen_table
from plainnet.evaluation.evaluation import Estimator
from plainnet.settings import check_number

__all__ = ["Contribution", "RowExplanation", "explain_row"]

#: Rows of a background at most.
MOST_BACKGROUND = 100


@dataclass(frozen=True)
class Contribution:
    """What one column adds to the prediction of a row.

    Attributes:
        column: its name.
        cell: what the row holds there.
        value: the contribution (Shapley value), in the prediction's unit.
        error: its standard error, from the sampling.
    """

    column: str
    cell: Any
    value: float
    error: float


@dataclass(frozen=True)
class RowExplanation:
    """Why a row is predicted as it is: ``base`` and all contributions add up to ``prediction``.

    Attributes:
        output: what is predicted: a class, whose probability it is, or 'prediction'.
        prediction: of the row.
        base: mean prediction of the background.
        contributions: of each column, the largest in size first.
        background_rows: rows of the background.
        n_permutations: orders in which the columns were put in.
    """

    output: Any
    prediction: float
    base: float
    contributions: tuple[Contribution, ...]
    background_rows: int
    n_permutations: int

    def to_json(self) -> dict[str, Any]:
        """Return the explanation as plain values; dates as text."""
        content = asdict(self)
        for each in content["contributions"]:
            each["cell"] = each["cell"] if isinstance(each["cell"], str | int | float | None) else str(each["cell"])
        return content


def explain_row(
    estimator: Estimator,
    row: Any,
    background: Any,
    *,
    output: Any = None,
    n_permutations: int = 200,
    random_state: int = 0,
) -> RowExplanation:
    """Share out the difference between a row's prediction and the background's mean prediction among the columns.

    Shapley values by sampling: Štrumbelj and Kononenko, "Explaining prediction models and individual predictions with feature
    contributions", Knowledge and Information Systems 41, 2014 (doi:10.1007/s10115-013-0679-x). A row of the background becomes the row,
    column by column, in a drawn order and in its reverse (antithetic permutations: their errors cancel in part); what the prediction
    changes by at a column is its contribution in this order. Each background row serves equally often, and the changes of an order
    add up, so that the contributions sum to prediction - base, but for rounding, however few orders are drawn.

    Columns are taken as if they were independent, as in ``permutation_importance``: what correlated columns say together is shared out
    among them.

    Args:
        estimator: fitted.
        row: a table of one row.
        background: rows to compare with, such as the training rows; of more than 100, 100 are drawn.
        output: the class whose probability is explained, or the number where several are predicted; None: the row's most probable
            class, or the first number.
        n_permutations: orders at least; each background row gets a pair of them, or several.
        random_state: seed of the draws.

    Raises:
        TableError: ``row`` is not one row, or a table cannot be used.
        SettingError: there is no such output, or ``n_permutations`` is out of range.
    """
    check_number("n_permutations", n_permutations, whole=True, least=1, optional=False)
    rng = np.random.RandomState(random_state)
    table, others = seen_table(estimator, row), seen_table(estimator, background)
    if table.height != 1:
        raise TableError(f"one row is explained at a time, and this table has {table.height}: pass table[i : i + 1].")
    own = encoded(estimator, table)
    drawn = encoded(estimator, others[draw_rows(others.height, MOST_BACKGROUND, rng)])
    said = outputs(estimator, np.concatenate([own, drawn]))
    sizes = said[0] if isinstance(estimator, NetClassifier) else -np.arange(said.shape[1])
    index, name = output_of(estimator, output, sizes)
    blocks = feature_blocks(estimator.schema_)
    pairs = np.repeat(np.arange(len(drawn)), -(-n_permutations // (2 * len(drawn))))
    at_once = max(1, batch_rows(own.shape[1]) // (2 * (len(blocks) + 1)))
    parts = (drawn[pairs[first : first + at_once]] for first in range(0, len(pairs), at_once))
    changes = np.concatenate([_changes(estimator, own[0], part, index, rng) for part in parts])  # (pairs, columns)
    values = changes.mean(axis=0)
    unknown = np.full(len(values), np.nan)
    errors = np.std(changes, axis=0, ddof=1) / np.sqrt(len(changes)) if len(changes) > 1 else unknown
    cells = table.row(0, named=True)
    found = [
        Contribution(column, cells[column], float(value), float(error))
        for column, value, error in zip(blocks, values, errors, strict=True)
    ]
    found.sort(key=lambda each: -abs(each.value))
    return RowExplanation(
        name, float(said[0, index]), float(said[1:, index].mean()), tuple(found), len(drawn), 2 * len(pairs)
    )


def _changes(
    estimator: Estimator, own: Features, others: Features, index: int, rng: np.random.RandomState
) -> npt.NDArray[np.float64]:
    """Return the mean change at each column, (B, columns), of an order and its reverse for each of B background rows."""
    blocks = list(feature_blocks(estimator.schema_).values())
    column_of = np.zeros(len(own), dtype=np.int64)
    for number, block in enumerate(blocks):
        column_of[block] = number
    ranks = np.stack([rng.permutation(len(blocks)) for _ in others])
    ranks = np.stack([ranks, len(blocks) - 1 - ranks], axis=1)  # (B, 2, columns)
    steps = np.arange(len(blocks) + 1)[:, None]
    # (B, 2, columns + 1, features): at step k the first k columns are the row's
    is_own = ranks[:, :, None, column_of] < steps
    rows = np.where(is_own, own, others[:, None, None, :])
    said = outputs(estimator, rows.reshape(-1, len(own)))[:, index]
    jumps = np.diff(said.reshape(len(others), 2, -1), axis=2)
    return np.asarray(np.take_along_axis(jumps, ranks, axis=2).mean(axis=1))
