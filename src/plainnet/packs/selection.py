"""How much each group of members counts in the vote: chosen on predictions of rows that their members never saw."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["vote_weights"]

Array = npt.NDArray[np.float64]

#: Votes that each group has before the first is given out, and votes given out.
FIRST_VOTES, ROUNDS = 1, 24
#: A group with less than this share of the votes is left out: it would cost more time to predict with than it brings.
LEAST_SHARE = 0.1
#: Rows that are looked at, at most.
MOST_ROWS = 20_000


def vote_weights(
    predictions: Array,
    y: npt.NDArray[np.generic],
    row_losses: Callable[[Array, npt.NDArray[np.generic]], Array],
    weight: Array | None = None,
) -> Array:
    """Give out votes one by one, each to the group that lowers the loss of the joint prediction most.

    It is the ensemble selection of Caruana and others ("Ensemble Selection from Libraries of Models", ICML 2004,
    doi:10.1145/1015330.1015432), begun from an equal vote.

    Args:
        predictions: (G, N, outputs) of G groups, of rows that their members did not train on.
        y: (N, …) the targets.
        row_losses: from (N, outputs) predictions and targets to the loss of each row, (N,).
        weight: (N,) of each row.

    Returns:
        (G,) weights that sum to 1; 0 for a group that is left out.

    >>> y = np.array([[0.0], [1.0], [2.0]])
    >>> vote_weights(np.stack([y, y + 9]), y, lambda joint, y: ((joint - y) ** 2).mean(axis=1)).round(2)
    array([1., 0.])
    """
    votes = np.full(len(predictions), float(FIRST_VOTES))
    if len(predictions) < 2:
        return np.asarray(votes / votes.sum())
    step = -(-len(y) // MOST_ROWS)
    predictions, y, weight = predictions[:, ::step], y[::step], None if weight is None else weight[::step]
    joint: Array = np.tensordot(votes, predictions, axes=1)
    for _ in range(ROUNDS):
        candidates = (joint + predictions) / (votes.sum() + 1)
        losses = [np.average(row_losses(candidate, y), weights=weight) for candidate in candidates]
        best = int(np.argmin(losses))
        votes[best] += 1
        joint = joint + predictions[best]
    votes[votes < LEAST_SHARE * votes.sum()] = 0
    return np.asarray(votes / votes.sum())
