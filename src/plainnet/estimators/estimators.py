"""What NetClassifier and NetRegressor share: from a table to a trained network and back to predictions."""

from __future__ import annotations

import contextlib
import operator
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import narwhals as nw
import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data
from torch import nn

from plainnet.engines.job import Epochs
from plainnet.engines.prediction import predict
from plainnet.errors import DataWarning, SettingError, TableError
from plainnet.estimators.inputs import read_series, row_weights
from plainnet.networks.networks import Shape, parameter_groups
from plainnet.settings import EarlyStopping, FitSettings
from plainnet.storage.storage import plain, write_model
from plainnet.tables.encode import encode
from plainnet.tables.read import read_table
from plainnet.tables.schema import Schema
from plainnet.tables.split import split_rows
from plainnet.tables.tables import is_table, merge_repeated_rows, rows_with_target, take_target
from plainnet.tables.target import ClassTarget, NumberTarget
from plainnet.training.checks import check_number
from plainnet.training.devices import choose_device
from plainnet.training.history import History
from plainnet.training.schedules import warmup_cosine
from plainnet.training.training import train
from plainnet.versions import versions

__all__ = ["NetEstimator"]

Array = npt.NDArray[Any]


class NetEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of NetClassifier and NetRegressor; not made to be used itself."""

    def __init__(
        self,
        *,
        hidden: Sequence[int] = (256, 256, 256),
        activation: str = "silu",
        dropout: float = 0.05,
        learning_rate: float = 3e-3,
        weight_decay: float = 0.02,
        batch_size: int | None = None,
        epochs: int | None = None,
        patience: int | None = None,
        validation_fraction: float | None = None,
        kinds: Mapping[str, str] | None = None,
        random_state: int | np.random.RandomState | None = 0,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.kinds = kinds
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    # What a classifier and a regressor do each in their own way.
    _check_y: Callable[[Any], Array]
    _learn_target: Callable[[Array, Array | None], ClassTarget | NumberTarget]
    _loss: Callable[[], nn.Module]

    # Fitting.

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, validation: tuple[Any, Any] | None = None
    ) -> Self:
        """Learn the columns of a table, build a network for them, and train it.

        Args:
            X: N rows: a pandas, polars or pyarrow data frame, a dict of columns, a NumPy array, or the path of a file.
                Missing cells are fine.
            y: the targets (N,), or the name of the column of X that holds them. Rows of X without a target are then
                left out with a DataWarning.
            sample_weight: (N,) weight of each row of X, not negative, also of those left out.
            validation: (X, y) rows that find the best epoch; None: rows held out from X.

        Returns:
            The estimator itself.

        Raises:
            TableError, SettingError, ValueError: the table or a setting cannot be used; the message says why.
        """
        self._check_settings()
        table, y, weight = self._training_rows(X, y, sample_weight)
        if table.height < 2:
            raise TableError("the table has 1 sample, one row: at least 2 are needed to learn from.")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        settings = FitSettings.derive(
            table.height,
            batch_size=self.batch_size,
            epochs=self.epochs,
            patience=self.patience,
            validation_share=0.0 if validation is not None else self.validation_fraction,
        )
        valid_table, valid_y, valid_weight = None, None, None
        if settings.is_tiny:
            table, y, weight = merge_repeated_rows(table, y, np.ones(len(y)) if weight is None else weight)
        if validation is not None:
            valid_table, valid_y = self._table_and_y(*validation, reset=False)
        elif settings.validation_share > 0:
            stratify = y if self.__sklearn_tags__().classifier_tags is not None else None
            kept, held_out = split_rows(len(y), settings.validation_share, seed=seed, stratify=stratify)
            valid_table, valid_y = table[held_out], y[held_out]
            if weight is not None:
                weight, valid_weight = weight[kept], weight[held_out]
            table, y = table[kept], y[kept]

        self.schema_ = Schema.learn(table, kinds=self.kinds, weight=weight)
        self.target_ = self._learn_target(y, weight)
        x, _ = encode(self.schema_, table)
        held: tuple[torch.Tensor, ...] | None = None
        if valid_table is not None and valid_y is not None:
            valid_x, _ = encode(self.schema_, valid_table)
            held = (torch.from_numpy(valid_x), torch.from_numpy(self.target_.encode(valid_y)))
            joint = self._joint_weight(valid_y, valid_weight)
            if joint is not None:
                held = (*held, torch.from_numpy(joint))
        self._train(x, self.target_.encode(y), self._joint_weight(y, weight), held, settings, seed)
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Go on training with one pass over further rows, at a constant learning rate.

        The columns (their kinds, levels and quantiles) and the target's scale are learnt from the first call's rows, or
        from an earlier ``fit``.

        Args:
            X: N rows, as for ``fit``.
            y: (N,) targets, or the name of their column in X.
            sample_weight: (N,) weight of each row.

        Returns:
            The estimator itself.
        """
        self._check_settings()
        is_first = not hasattr(self, "network_")
        table, y, weight = self._training_rows(X, y, sample_weight, reset=is_first)
        settings = FitSettings.derive(table.height, batch_size=self.batch_size, epochs=1, validation_share=0.0)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if is_first:
            self.schema_ = Schema.learn(table, kinds=self.kinds, weight=weight)
            self.target_ = self._learn_target(y, weight)
        x, _ = encode(self.schema_, table)
        with self._seeded(seed):
            if is_first:
                self._build(x.shape[1])
            if not hasattr(self, "_optimizer"):
                self._optimizer = self._new_optimizer()
                self.history_ = History("", "")
            passed = len(self.history_)
            history = self._run(
                x, self.target_.encode(y), self._joint_weight(y, weight), settings, seed + passed,
                optimizer=self._optimizer,
            )  # fmt: skip
        history.epochs = Epochs(
            [*self.history_.epochs, *(replace(epoch, index=epoch.index + passed) for epoch in history.epochs)]
        )
        self.history_ = history
        return self

    def _train(
        self, x: Array, y: Array, weight: Array | None, held: tuple[Any, ...] | None, settings: FitSettings, seed: int
    ) -> None:
        with self._seeded(seed):
            self._build(x.shape[1])
            optimizer = self._new_optimizer()
            batches = -(-len(x) // min(settings.batch_size, len(x)))
            schedule = partial(warmup_cosine, n_steps=settings.epochs * batches)
            self.history_ = self._run(
                x, y, weight, settings, seed,
                optimizer=optimizer,
                validation=held,
                scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, schedule),
                scheduler_every="step",
                stopping=EarlyStopping(patience=settings.patience) if held is not None else None,
            )  # fmt: skip
        self.__dict__.pop("_optimizer", None)  # a partial_fit that follows starts afresh

    def _run(
        self, x: Array, y: Array, weight: Array | None, settings: FitSettings, seed: int, **options: Any
    ) -> History:
        x_tensor = torch.from_numpy(x)
        on_cpu = choose_device(self.device, self.network_, x_tensor).type == "cpu"
        return train(
            self.network_,
            x_tensor,
            torch.from_numpy(y),
            loss=self._loss(),
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            sample_weight=weight,
            clip_grad_norm=1.0,
            device=self.device,
            # 'auto' is eager until the fused engine is compiled, and the same seed has to give the same network.
            engine="fused" if on_cpu else "auto",
            seed=seed,
            progress=self.verbose,
            **options,
        )

    def _build(self, n_in: int) -> None:
        self.shape_ = Shape(n_in, self.target_.n_outputs, self._widths(), self.activation, self.dropout)
        self.network_ = self.shape_.build()

    def _new_optimizer(self) -> torch.optim.Optimizer:
        # β₂ = 0.95: with 0.999 RealMLP's error is 2 % (classes) to 23 % (numbers) higher; arXiv:2407.04491, table B.1.
        groups = parameter_groups(self.network_, self.weight_decay)
        return torch.optim.AdamW(groups, lr=self.learning_rate, betas=(0.9, 0.95))

    @contextlib.contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        """Draw from a seeded generator inside, and leave torch's own as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield

    # Reading what came in.

    def _training_rows(
        self, X: Any, y: Any, sample_weight: Any, *, reset: bool = True
    ) -> tuple[pl.DataFrame, Array, Array | None]:
        """Read the table, the targets and the weights; rows of weight 0 are as if not there."""
        is_named = isinstance(y, str) and is_table(X)
        X = read_table(X) if is_named else X
        known = rows_with_target(X, y) if is_named else None
        table, y = self._table_and_y(X, y, reset=reset)
        if sample_weight is None:
            return table, y, None
        weight = row_weights(sample_weight, len(y), known)
        there = weight > 0
        return table.filter(there), y[there], weight[there]

    def _table_and_y(self, X: Any, y: Any, *, reset: bool) -> tuple[pl.DataFrame, Array]:
        if y is None:
            raise TableError(
                f"{type(self).__name__} requires y to be passed, but the target y is None. Pass the targets, or the name "
                "of the column that holds them: fit(table, 'column')."
            )
        if isinstance(y, str):
            if not is_table(X):
                raise TableError(
                    f"y names the column {y!r}, and X is a {type(X).__name__} without column names: pass the targets."
                )
            table, target, n_without = take_target(X, y)
            if n_without:
                warnings.warn(f"{n_without:,} rows without a value in {y!r} are left out", DataWarning, stacklevel=4)
            y = target
            self._remember_columns(table, reset=reset)
        else:
            table = self._table(X, reset=reset)
            if nw.dependencies.is_into_series(y):
                y = read_series(y)
        y = self._check_y(y)
        check_consistent_length(table, y)
        if table.height == 0:
            raise TableError("the table has no rows.")
        return table, y

    def _table(self, X: Any, *, reset: bool) -> pl.DataFrame:
        """Read X; an array goes through scikit-learn's own checks. Infinity is missing, as in a data frame."""
        if is_table(X):
            table = read_table(X)
            self._remember_columns(table, reset=reset)
            if table.height == 0:
                raise TableError("the table has no rows.")
            return table
        array = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False)
        table = read_table(np.ascontiguousarray(array))
        if reset or not hasattr(self, "feature_names_in_"):
            return table
        return table.rename(dict(zip(table.columns, self.feature_names_in_, strict=True)))

    def _remember_columns(self, table: pl.DataFrame, *, reset: bool) -> None:
        if reset:
            self.n_features_in_ = table.width
            self.feature_names_in_ = np.array(table.columns, dtype=object)
        elif not hasattr(self, "feature_names_in_"):
            raise TableError(
                f"{type(self).__name__} was fitted on an array of {self.n_features_in_} columns without names, and X names its columns: "
                "pass an array, or fit again on a table."
            )

    def _class_weights(self, y: Array) -> Array | None:
        """(N,) a further weight of each row, None: 1."""
        class_weight = getattr(self, "class_weight", None)  # a regressor has none
        return None if class_weight is None else compute_sample_weight(class_weight, y)

    def _joint_weight(self, y: Array, weight: Array | None) -> Array | None:
        class_weight = self._class_weights(y)
        if weight is None or class_weight is None:
            return class_weight if weight is None else weight
        return weight * class_weight

    def _check_settings(self) -> None:
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("weight_decay", self.weight_decay, least=0)
        check_number("batch_size", self.batch_size, whole=True, least=1)
        check_number("epochs", self.epochs, whole=True, least=1)
        check_number("patience", self.patience, whole=True, least=1)
        share = self.validation_fraction
        if share is not None and not 0 <= share < 1:
            raise SettingError(f"validation_fraction is at least 0 and below 1, or None, not {share!r}.")
        Shape(1, 1, self._widths(), self.activation, self.dropout)

    def _widths(self) -> tuple[int, ...]:
        """Return the widths of the hidden layers as Python's own numbers: a search may bring NumPy's."""
        try:
            return tuple(operator.index(width) for width in self.hidden)
        except TypeError as error:
            raise SettingError(
                f"hidden holds the widths of the hidden layers, such as (64, 64), not {self.hidden!r}."
            ) from error

    # Predicting.

    def _outputs(self, X: Any) -> npt.NDArray[np.float32]:
        """Return the network's outputs, (N, outputs)."""
        check_is_fitted(self)
        x, unseen = encode(self.schema_, self._table(X, reset=False))
        if unseen:
            cells = ", ".join(f"{n:,} in {name!r}" for name, n in unseen.items())
            warnings.warn(
                f"cells that hold what the training rows never held: {cells}; they count as rare or missing",
                DataWarning,
                stacklevel=3,
            )
        return predict(self.network_, torch.from_numpy(x))

    def _rows_and_y(self, X: Any, y: Any) -> tuple[Any, Any]:
        """Take the target out of a table where y names its column."""
        return take_target(X, y)[:2] if isinstance(y, str) else (X, y)

    # Saving.

    def save(self, path: str | Path) -> None:
        """Write everything fitted to one model file, which ``plainnet.load`` reads.

        Args:
            path: by custom ending in .safetensors.

        Raises:
            RunError: the file cannot be written.
        """
        check_is_fitted(self)
        settings = {
            name: plain(value)
            for name, value in self.get_params(deep=False).items()
            if name not in ("random_state", "verbose")
        }
        settings["hidden"] = list(self.shape_.hidden)
        content = {
            "estimator": type(self).__name__,
            "settings": settings,
            "network": self.shape_.to_json(),
            "target": self.target_.to_json(),
            "has_column_names": hasattr(self, "feature_names_in_"),
            "schema": self.schema_.to_json(),
            "versions": versions(),
        }
        write_model(path, content, self.network_.state_dict())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags
