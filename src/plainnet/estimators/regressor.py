"""NetRegressor: a plain network that predicts numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.utils.validation import check_array, column_or_1d
from torch import nn

from plainnet.errors import TableError
from plainnet.estimators.estimators import NetEstimator
from plainnet.estimators.inputs import refuse_dates
from plainnet.tables.target import NumberTarget

__all__ = ["NetRegressor"]


class NetRegressor(RegressorMixin, NetEstimator):  # type: ignore[misc]
    """Predict one or several numbers with plain networks that vote.

    No prediction lies beyond the least and the largest target of the training rows.

    Args:
        effort: 'quick', 'default' or 'best': how many members, and how long each learns.
        members: networks that vote; None: by the effort and the number of rows, 16 for most tables; 1: a single plain network.
        time_limit: seconds for the training, after which it ends with what is there; None: no limit.
        hidden: width of each hidden layer, () for a linear model; None: each group of members has its own.
        activation: 'silu', 'relu', 'leaky_relu', 'elu', 'selu', 'gelu', 'mish', 'tanh' or 'sigmoid'.
        dropout: share of each hidden layer's outputs set to 0 in training, in [0, 1); None: each group's own.
        learning_rate: the highest of the schedule, which rises for the first 5 % of the steps and then falls to 0 along a cosine;
            None: each group's own.
        weight_decay: of AdamW, on weights, not on biases; None: each group's own.
        batch_size: rows in a step; None: 64 … 1 024, by the number of rows.
        epochs: passes over the rows; None: by the number of rows.
        patience: epochs without a new best validation loss before a member stops; None: a third of the epochs, at least 8.
            Each member keeps the weights of its best epoch.
        validation_fraction: share of the rows that each member holds out to find its best epoch; None: an eighth, or 0 for at
            most 64 rows.
        network: your own network, a function of (inputs, outputs), such as
            ``lambda n_in, n_out: nn.Sequential(nn.Linear(n_in, 32), nn.ReLU(), nn.Linear(32, n_out))``.
        loss: your own loss, such as ``nn.HuberLoss()``; None: mean squared error.
        optimizer: your own optimizer, a function of the parameters, such as ``lambda p: torch.optim.SGD(p, lr=0.1)``.
        kinds: kinds of columns that you know better: {'zip': 'category', 'id': 'ignored'}.
        random_state: seed of the weights, the shuffle and the held-out rows. The same seed gives the same network.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        verbose: show a progress bar.

    Attributes:
        members_: the networks, each with the rows it held out, its score on them, its weight in the vote and its history.
        out_of_fold_: (N,) predictions of the training rows, each by members that did not train on it; None without folds.
        network_: the trained ``nn.Module``: encoded features -> the standardised target; an ``nn.Sequential`` where there is
            one member.
        schema_: what each column is, and why.
        target_: mean and scale of the target.
        history_: the loss of every epoch, in squared standard deviations of the target.
        n_features_in_: columns of the table.
        feature_names_in_: their names, where the table had names.

    >>> table = {"side": [1.0, 2.0, 3.0, 4.0] * 5, "area": [1.0, 4.0, 9.0, 16.0] * 5}
    >>> regressor = NetRegressor(hidden=(16,), epochs=300, learning_rate=0.01).fit(table, "area")
    >>> regressor.predict({"side": [2.0]}).round()
    array([4.])
    """

    def predict(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the predicted numbers, shape (N,), or (N, K) where y had K columns."""
        return self._decoded(self._joint(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the R² on a table.

        Args:
            X: N rows, as for ``fit``.
            y: (N,) targets, or the name of their column in X.
            sample_weight: (N,) weight of each row.
        """
        X, y = self._rows_and_y(X, y)
        return float(super().score(X, y, sample_weight))

    def _check_y(self, y: Any) -> npt.NDArray[np.float64]:
        refuse_dates(y)
        values: npt.NDArray[Any] = check_array(y, ensure_2d=False, dtype=None, input_name="y", ensure_min_samples=0)
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise TableError(
                f"the target has to be numbers, and holds {values.ravel().tolist()[0]!r}. For classes use NetClassifier."
            ) from error
        if values.ndim == 2 and values.shape[1] == 1:
            values = column_or_1d(values, warn=True)
        if not np.isfinite(values).all():
            raise TableError("Input y contains NaN or infinity. Drop those rows.")
        return values

    def _learn_target(self, y: npt.NDArray[Any], weight: npt.NDArray[np.float64] | None) -> NumberTarget:
        return NumberTarget.learn(y, weight)

    def _decoded(self, joint: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return self.target_.decode(joint)

    def _loss(self) -> nn.Module:
        return nn.MSELoss()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
