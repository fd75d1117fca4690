"""NetRegressor: a plain network that predicts numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.metrics import d2_pinball_score
from sklearn.utils.validation import check_array, check_is_fitted, column_or_1d

from plainnet.errors import SettingError, TableError
from plainnet.estimators.estimators import NetEstimator
from plainnet.estimators.inputs import refuse_dates
from plainnet.settings import TINY_ROWS
from plainnet.tables.tables import take_target
from plainnet.tables.target import CountTarget, NumberTarget

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NetRegressor"]

#: Quantiles of the out-of-fold errors that are kept: intervals are right to a 500th.
RESIDUALS = 501


@dataclass(kw_only=True, eq=False, repr=False)
class NetRegressor(RegressorMixin, NetEstimator):  # type: ignore[misc]
    """Predict one or several numbers with plain networks that vote.

    No prediction lies beyond the least and the largest target of the training rows.

    Args:
        effort: 'quick', 'default' or 'best': how many members, and how long each learns.
        members: networks that vote; None: by the effort and the number of rows, 18 for most tables; 1: a single plain network.
        time_limit: seconds for the training, after which it ends with what is there; None: no limit.
        hidden: width of each hidden layer, () for a linear model; None: each group of members has its own.
        activation: 'silu', 'relu', 'leaky_relu', 'elu', 'selu', 'gelu', 'mish', 'tanh' or 'sigmoid'; None: 'silu',
            or 'relu' with ``monotone``, which needs one that never falls.
        dropout: share of each hidden layer's outputs set to 0 in training, in [0, 1); None: each group's own, 0 or 0.1.
        learning_rate: the highest of the schedule, which rises for the first 5 % of the steps and then falls to 0 along a cosine;
            None: 0.003 for two classes, 0.008 for more, 0.015 for numbers.
        weight_decay: of AdamW, on weights, not on biases; None: 0.02.
        batch_size: rows in a step; None: 64 … 1 024, by the number of rows.
        epochs: passes over the rows; None: by the number of rows.
        patience: epochs without a new best validation loss before a member stops; None: a third of the epochs, at least 8.
            Each member keeps the weights of its best epoch.
        validation_fraction: share of the rows that each member holds out to find its best epoch; None: a sixth, or 0 for at
            most 64 rows.
        network: your own network, a function of (inputs, outputs), such as
            ``lambda n_in, n_out: nn.Sequential(nn.Linear(n_in, 32), nn.ReLU(), nn.Linear(32, n_out))``.
        loss: your own loss, such as ``nn.HuberLoss()``; 'poisson' for counts; None: mean squared error.
        optimizer: your own optimizer, a function of the parameters, such as ``lambda p: torch.optim.SGD(p, lr=0.1)``.
        kinds: kinds of columns that you know better: {'zip': 'category', 'id': 'ignored'}.
        monotone: numbers or flags with which the prediction never falls (1) or never rises (-1), all else the
            same: {'rooms': 1, 'age': -1}. scikit-learn calls it ``monotonic_cst``.
        quantiles: such as [0.1, 0.5, 0.9], predicted instead of the mean; None: the mean.
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

    quantiles: Sequence[float] | None = None
    random_state: int | np.random.RandomState | None = 0
    device: str = "auto"
    verbose: bool = False

    loss_names: ClassVar[tuple[str, ...]] = ("poisson",)

    def predict(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the predicted numbers, shape (N,), or (N, K) where y had K columns; (N, Q) of Q quantiles, ascending."""
        return self._decoded(self._joint(X))

    def predict_interval(self, X: Any, coverage: float = 0.9) -> npt.NDArray[np.float64]:
        """Return an interval for each row that holds its target with a probability of at least ``coverage``.

        The interval is the prediction ± the ``coverage`` quantile of the training rows' absolute out-of-fold errors, for new rows
        drawn as the training rows were (cross-conformal prediction; Vovk 2015, doi:10.1007/s10472-013-9368-4). It is as wide
        for every row: for rows that differ, fit ``quantiles``.

        Args:
            X: N rows, as for ``fit``.
            coverage: in (0, 1).

        Returns:
            (N, 2) lower and upper bounds.

        Raises:
            SettingError: coverage is outside its range, or this fit has no out-of-fold errors of a single number.
        """
        check_is_fitted(self)
        if not 0 < coverage < 1:
            raise SettingError(f"coverage is a probability between 0 and 1, such as 0.9, not {coverage!r}.")
        if self.residuals_ is None:
            raise SettingError(
                "prediction intervals come from the errors of out-of-fold predictions of a single number, and this fit has none: "
                f"fit a pack (members=None) on more than {TINY_ROWS} rows, without validation=, to the mean of one number."
            )
        predicted = self.predict(X)
        width = np.interp(coverage, np.linspace(0, 1, len(self.residuals_)), self.residuals_)
        return np.stack([predicted - width, predicted + width], axis=1)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the R² on a table; of quantiles the mean of their D², the share of the pinball loss that is explained.

        Args:
            X: N rows, as for ``fit``.
            y: (N,) targets, or the name of their column in X.
            sample_weight: (N,) weight of each row.
        """
        X, y = take_target(X, y)[:2] if isinstance(y, str) else (X, y)
        if self.quantiles is None:
            return float(super().score(X, y, sample_weight))
        y, predicted = self.check_y(y), self.predict(X)
        shares = self.target_.quantiles  # type: ignore[union-attr]  # which are a NumberTarget's
        explained = [
            d2_pinball_score(y, predicted[:, k], sample_weight=sample_weight, alpha=share)
            for k, share in enumerate(shares)
        ]
        return float(np.mean(explained))

    def check_y(self, y: Any) -> npt.NDArray[np.float64]:
        """Check the targets, and return them as an array."""
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

    def _learn_target(self, y: npt.NDArray[Any], weight: npt.NDArray[np.float64] | None) -> NumberTarget | CountTarget:
        shares = None if self.quantiles is None else self._shares(y)
        if self.loss == "poisson":
            return CountTarget.learn(y, weight)
        target = NumberTarget.learn(y, weight)
        return target if shares is None else replace(target, quantiles=shares)

    def _shares(self, y: npt.NDArray[Any]) -> tuple[float, ...]:
        """Return the quantiles, checked."""
        try:
            shares = tuple(float(share) for share in np.atleast_1d(np.asarray(self.quantiles, dtype=np.float64)))
        except (TypeError, ValueError):
            shares = ()
        if not shares or not all(0 < share < 1 for share in shares) or list(shares) != sorted(set(shares)):
            raise SettingError(
                f"quantiles are numbers between 0 and 1, ascending, such as [0.1, 0.5, 0.9], not {self.quantiles!r}."
            )
        if self.loss is not None or y.ndim > 1:
            raise SettingError(
                "quantiles are those of one number, learnt by a loss of their own: leave loss= out, or pass one target."
            )
        return shares

    def _decoded(self, joint: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(self.target_.decode(joint))

    def _learn_residuals(self, y: npt.NDArray[Any], out_of_fold: npt.NDArray[np.float64] | None) -> None:
        self.residuals_ = None
        if out_of_fold is None or y.ndim > 1 or self.quantiles is not None:
            return
        errors = np.abs(y - self._decoded(out_of_fold))
        errors = np.sort(errors[np.isfinite(errors)])
        # The k-th smallest of n errors covers k / (n + 1); beyond the largest nothing is known.
        ranks = np.ceil(np.linspace(0, 1, RESIDUALS) * (len(errors) + 1)).astype(int)
        self.residuals_ = errors[np.clip(ranks - 1, 0, len(errors) - 1)].tolist()

    def _loss(self) -> nn.Module:
        from torch import nn

        from plainnet.networks.layers import QuantileLoss

        if self.quantiles is not None:
            return QuantileLoss(self.target_.quantiles)  # type: ignore[union-attr]  # which are a NumberTarget's
        return nn.PoissonNLLLoss(log_input=True) if self.loss == "poisson" else nn.MSELoss()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
