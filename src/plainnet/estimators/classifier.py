"""NetClassifier: a plain network that predicts classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import column_or_1d

from plainnet.errors import TableError
from plainnet.estimators.estimators import NetEstimator
from plainnet.estimators.inputs import columns_of, refuse_dates
from plainnet.tables.tables import take_target
from plainnet.tables.target import ClassTarget, LabelsTarget, Target

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NetClassifier"]


@dataclass(kw_only=True, eq=False, repr=False)
class NetClassifier(ClassifierMixin, NetEstimator):  # type: ignore[misc]
    """Predict classes of any number and type with plain networks that vote.

    Where y has several columns of 0 and 1, each is a label that a row may have beside others.

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
        loss: your own loss, such as ``nn.HuberLoss()``; None: cross-entropy.
        optimizer: your own optimizer, a function of the parameters, such as ``lambda p: torch.optim.SGD(p, lr=0.1)``.
        kinds: kinds of columns that you know better: {'zip': 'category', 'id': 'ignored'}.
        monotone: numbers or flags with which the probability of ``classes_[1]`` never falls (1) or never rises (-1), all else the
            same, of two classes: {'rooms': 1, 'age': -1}. scikit-learn calls it ``monotonic_cst``.
        class_weight: None, 'balanced', or {class: weight}.
        random_state: seed of the weights, the shuffle and the held-out rows. The same seed gives the same network.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        verbose: show a progress bar.

    Attributes:
        classes_: (C,) the classes, sorted, of the type they came in.
        members_: the networks, each with the rows it held out, its score on them, its weight in the vote and its history.
        out_of_fold_: (N, C) probabilities of the training rows, each by members that did not train on it; None without folds.
        network_: the trained ``nn.Module``: encoded features -> C logits; an ``nn.Sequential`` where there is one member.
        schema_: what each column is, and why.
        history_: the loss of every epoch, the mean of the members'.
        n_features_in_: columns of the table.
        feature_names_in_: their names, where the table had names.

    >>> import plainnet
    >>> table = {"size": [1.0, 2.0, 3.0, 4.0] * 5, "kind": ["tree", "tree", "house", "house"] * 5}
    >>> classifier = NetClassifier(hidden=(8,)).fit(table, "kind")
    >>> classifier.predict({"size": [1.5, 3.5]})
    array(['tree', 'house'], dtype='<U5')
    """

    class_weight: Mapping[Any, float] | str | None = None
    random_state: int | np.random.RandomState | None = 0
    device: str = "auto"
    verbose: bool = False

    loss_names: ClassVar[tuple[str, ...]] = ()

    @property
    def classes_(self) -> npt.NDArray[Any]:
        """The classes, sorted, (C,); of several labels a row their numbers."""
        return self.target_.classes  # type: ignore[union-attr]

    def partial_fit(  # type: ignore[override]  # scikit-learn's classifiers take the classes here
        self, X: Any, y: Any = None, classes: Any = None, sample_weight: Any = None
    ) -> Self:
        """Go on training with one pass over further rows, at a constant learning rate.

        Args:
            X: N rows, as for ``fit``.
            y: (N,) classes, or the name of their column in X.
            classes: all classes that will ever come, needed where the first call's rows do not hold them all.
            sample_weight: (N,) weight of each row.

        Returns:
            The estimator itself.
        """
        self._all_classes = None if classes is None else np.unique(np.asarray(classes))
        try:
            return super().partial_fit(X, y, sample_weight)
        finally:
            del self._all_classes

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Return the most probable class of each row, (N,), of the type of ``classes_``; or its labels, (N, L) of 0 and 1."""
        joint = self._joint(X)  # first, as it says what is not fitted
        return self.target_.decode(joint)

    def predict_proba(self, X: Any) -> npt.NDArray[np.float32]:
        """Return the probability of each class, or of each label, float32 of shape (N, C), in the order of ``classes_``."""
        return self._joint(X).astype(np.float32)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy on a table.

        Args:
            X: N rows, as for ``fit``.
            y: (N,) targets, or the name of their column in X.
            sample_weight: (N,) weight of each row.
        """
        X, y = take_target(X, y)[:2] if isinstance(y, str) else (X, y)
        return float(super().score(X, y, sample_weight))

    def check_y(self, y: Any) -> npt.NDArray[Any]:
        """Check the targets, and return them as an array."""
        refuse_dates(y)
        if columns_of(y) > 1 and type_of_target(y) == "multilabel-indicator":
            return np.asarray(y.toarray() if hasattr(y, "toarray") else y).astype(np.int64)
        classes: npt.NDArray[Any] = np.asarray(column_or_1d(y, warn=True))
        if classes.dtype == np.longdouble:  # JSON has no such numbers
            classes = classes.astype(np.float64)
        if classes.dtype.kind == "O" and any(value is None or value != value for value in classes):
            raise TableError("y holds missing values: Input y contains NaN. Drop those rows.")
        if classes.dtype.kind == "f" and not np.isfinite(classes).all():
            raise TableError("Input y contains NaN or infinity. Drop those rows.")
        if classes.dtype.kind == "f" and not np.array_equal(classes, np.rint(classes)):
            raise TableError(
                f"Unknown label type: y holds numbers with decimals, such as {classes[classes != np.rint(classes)][0]:g}, which "
                "are no classes. For numbers use NetRegressor."
            )
        check_classification_targets(classes)
        return classes

    def _learn_target(self, y: npt.NDArray[Any], weight: npt.NDArray[np.float64] | None) -> Target:  # noqa: ARG002 - the regressor's mean needs it
        if y.ndim == 2:
            return LabelsTarget(np.arange(y.shape[1]))
        classes = getattr(self, "_all_classes", None)
        target = ClassTarget.learn(y if classes is None else classes)
        if target.n_outputs < 2:
            raise TableError(
                f"the target holds one class only, {target.classes.tolist()}: a classifier needs at least 2 classes. "
                "Pass rows of another one too."
            )
        return target

    def _decoded(self, joint: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return joint

    def _loss(self) -> nn.Module:
        from torch import nn

        return nn.BCEWithLogitsLoss() if isinstance(self.target_, LabelsTarget) else nn.CrossEntropyLoss()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = True
        tags.classifier_tags.multi_label = True
        return tags
