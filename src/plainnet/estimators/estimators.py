"""What NetClassifier and NetRegressor share: from a table to a trained network and back to predictions."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from plainnet.engines.job import Loss
from plainnet.errors import TableError
from plainnet.estimators import pretrained
from plainnet.estimators.inputs import aligned, encode_few, warn_of_unseen
from plainnet.estimators.monotone import activation_of, monotone_of
from plainnet.estimators.options import check_options, model_content, module_of, optimizer_of, widths
from plainnet.estimators.reading import table_and_y, table_of, training_rows
from plainnet.estimators.streamed import asked_scan, fit_scan
from plainnet.networks.shape import Shape
from plainnet.packs.members import Member, PackData, Recipe, draw_recipes
from plainnet.packs.shards import Rows
from plainnet.packs.voting import join_histories, predict_members, vote_of
from plainnet.settings import FitSettings
from plainnet.storage.storage import write_model
from plainnet.tables.encode import encode, feature_names, position_bins
from plainnet.tables.rows import RowEncoder
from plainnet.tables.scan import Scan
from plainnet.tables.schema import Schema
from plainnet.tables.tables import merge_repeated_rows
from plainnet.tables.target import CountTarget, NumberTarget, Target
from plainnet.training.history import History

if TYPE_CHECKING:
    import torch
    from torch import nn

    from plainnet.packs.jobs import Pack, PackJob, Tools
    from plainnet.training.checkpoints import Checkpoints
    from plainnet.training.many import OnEpochs

__all__ = ["BegunFit", "NetEstimator"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class BegunFit:
    """A fit whose networks wait to be trained.

    Attributes:
        job: the networks and their rows.
        y: targets of the training rows.
        there: which rows of the table are training rows, None: all.
    """

    job: PackJob
    y: Array
    there: npt.NDArray[np.bool_] | None


@dataclass(kw_only=True, eq=False, repr=False)
class NetEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of NetClassifier and NetRegressor; not made to be used itself."""

    effort: str = "default"
    members: int | None = None
    time_limit: float | None = None
    hidden: Sequence[int] | None = None
    activation: str | None = None
    dropout: float | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    patience: int | None = None
    validation_fraction: float | None = None
    network: Callable[[int, int], nn.Module] | None = None
    loss: Loss | str | None = None
    optimizer: Callable[[Any], torch.optim.Optimizer] | None = None
    kinds: Mapping[str, str] | None = None
    monotone: Mapping[str, int] | None = None
    if TYPE_CHECKING:  # last in each constructor
        random_state: int | np.random.RandomState | None = 0
        device: str = "auto"
        verbose: bool = False

    # What a classifier and a regressor do each in their own way.
    loss_names: ClassVar[tuple[str, ...]]
    check_y: ClassVar[Callable[[Any, Any], Array]]
    _learn_target: ClassVar[Callable[[Any, Array, Array | None], Target]]
    _loss: ClassVar[Callable[[Any], nn.Module]]
    _decoded: ClassVar[Callable[[Any, npt.NDArray[np.float64]], Array]]

    # Fitting.

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *,
        validation: tuple[Any, Any] | None = None, on_epochs: OnEpochs | None = None, checkpoints: Checkpoints | None = None,
    ) -> Self:  # fmt: skip
        """Learn the columns of a table, build a network for them, and train it.

        Args:
            X: N rows: a pandas, polars or pyarrow data frame, a dict of columns, a NumPy array, the path of a file or a folder,
                or what ``scan_table`` gives. Missing cells are fine.
            y: the targets (N,), or the name of the column of X that holds them. Rows of X without a target are then
                left out with a DataWarning.
            sample_weight: (N,) weight of each row of X, not negative, also of those left out; of what ``scan_table`` gives also the name
                of the column that holds it.
            validation: (X, y) rows that find the best epoch; None: rows held out from X.
            on_epochs: looks on while the members are trained, as ``train_many`` says; True ends it, and the best so far is kept.
            checkpoints: where the networks' states are kept, to go on from; ``train_run`` makes them.

        Returns:
            The estimator itself.

        Raises:
            TableError, SettingError, ValueError: the table or a setting cannot be used; the message says why.
        """
        from plainnet.packs.packs import train_pack

        if (scan := asked_scan(X, y, sample_weight, validation)) is not None:
            check_options(self)
            return fit_scan(self, scan, y, sample_weight, validation, on_epochs)
        begun = self.begin_fit(X, y, sample_weight, validation=validation)
        pack = train_pack(begun.job, progress=self.verbose, on_epochs=on_epochs, checkpoints=checkpoints)
        return self.end_fit(begun, pack)

    def begin_fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, *, validation: tuple[Any, Any] | None = None
    ) -> BegunFit:
        """Do what ``fit`` does before the training; for who trains several fits at once. The arguments are those of ``fit``."""
        from plainnet.packs.jobs import make_pack_job

        check_options(self)
        table, y, weight, there = training_rows(self, X, y, sample_weight)
        settings = self._settings(table.height, 0.0 if validation is not None else self.validation_fraction)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if settings.is_tiny:
            table, y, weight = merge_repeated_rows(table, y, np.ones(len(y)) if weight is None else weight)
        self.schema_ = Schema.learn(table, kinds=self.kinds, weight=weight)
        self.target_ = self._learn_target(y, weight)
        held = None if validation is None else self._rows(*table_and_y(self, *validation, reset=False), None)
        data = PackData.of(self._rows(table, y, weight), self.target_, held)
        with self._seeded(seed):
            job = make_pack_job(data, self._recipes(settings, seed), settings, self._tools())
        return BegunFit(job, y, there)

    def end_fit(self, begun: BegunFit, pack: Pack) -> Self:
        """Do what ``fit`` does after the training."""
        self.keep_members(pack.members, pack.stopped_by, pack.seconds)
        self._learn_residuals(begun.y, pack.out_of_fold)
        self.out_of_fold_ = None if pack.out_of_fold is None else aligned(self._decoded(pack.out_of_fold), begun.there)
        return self

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Go on training with one pass over further rows, at a constant learning rate.

        The columns (their kinds, levels and quantiles) and the target's scale are learnt from the first call's rows, or
        from an earlier ``fit``. What begins here is one network; a pack that ``fit`` trained goes on with all its members.

        Args:
            X: N rows, as for ``fit``.
            y: (N,) targets, or the name of their column in X.
            sample_weight: (N,) weight of each row.

        Returns:
            The estimator itself.
        """
        from plainnet.packs.packs import pass_over

        check_options(self)
        is_first = not hasattr(self, "members_")
        table, y, weight, _ = training_rows(self, X, y, sample_weight, reset=is_first)
        dials = FitSettings.derive(table.height, members=1, batch_size=self.batch_size, epochs=1, validation_share=0.0)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        if is_first:
            self.schema_ = Schema.learn(table, kinds=self.kinds, weight=weight)
            self.target_ = self._learn_target(y, weight)
        with self._seeded(seed):
            if is_first:
                recipe = self._recipes(dials, seed)[0]
                empty = np.zeros(0, dtype=np.int64)
                self.keep_members([Member(self._build(recipe), empty, 1.0, float("nan"), History("", ""), recipe)])
            if not hasattr(self, "_optimizers"):
                self._optimizers = [self._optimize(member.network, member.recipe) for member in self.members_]
                for member in self.members_:
                    member.history = History("", "")
            data, tools = PackData.of(self._rows(table, y, weight), self.target_, None), self._tools()
            options = {"batch_size": dials.batch_size, "progress": self.verbose}
            for member, optimizer in zip(self.members_, self._optimizers, strict=True):
                pass_over(member, optimizer, data, tools, seed, **options)
        self.out_of_fold_ = None
        self.history_ = join_histories(self.members_)
        return self

    def _settings(self, n_rows: int, share: float | None) -> FitSettings:
        """Return the dials for a table; ``share`` of its rows is held out by each member."""
        if n_rows < 2:
            raise TableError("the table has 1 sample, one row: at least 2 are needed to learn from. Pass more rows.")
        return FitSettings.derive(
            n_rows, effort=self.effort, members=self.members, batch_size=self.batch_size, epochs=self.epochs,
            patience=self.patience, validation_share=share,
        )  # fmt: skip

    def _learn_residuals(self, y: Array, out_of_fold: Array | None) -> None:
        """Keep what prediction intervals need; a classifier has none."""

    def _rows(self, table: pl.DataFrame, y: Array, weight: Array | None) -> Rows:
        x, _ = encode(self.schema_, table)
        return x, self.target_.encode(y), self._joint_weight(y, weight)

    def _own_loss(self) -> Loss:
        return self._loss() if self.loss is None or isinstance(self.loss, str) else self.loss

    def _tools(self) -> Tools:
        from plainnet.packs.jobs import Tools

        return Tools(self._own_loss(), self._build, self._optimize, self._device(), self._engine(), self.time_limit)

    @property
    def _is_own(self) -> bool:
        """Whether a part is the user's own: then the fused engine may not know it."""
        own_loss = self.loss is not None and not isinstance(self.loss, str)
        return self.network is not None or own_loss or self.optimizer is not None

    def _recipes(self, settings: FitSettings, seed: int) -> list[Recipe]:
        n_in, target = len(feature_names(self.schema_)), self.target_
        shape = Shape(n_in, target.n_outputs, activation=activation_of(self), bins=position_bins(self.schema_))
        # Members of a loss of one's own are not told to learn the logarithm.
        logs = target.logs if isinstance(target, NumberTarget) and not target.quantiles and self.loss is None else None
        return draw_recipes(
            settings, shape, is_class=not isinstance(target, NumberTarget | CountTarget), has_logs=logs is not None, seed=seed,
            hidden=widths(self.hidden), dropout=self.dropout, learning_rate=self.learning_rate, weight_decay=self.weight_decay,
            monotone=monotone_of(self.monotone, self.schema_, target),
        )  # fmt: skip

    def _build(self, recipe: Recipe) -> nn.Module:
        return recipe.build(None if self.network is None else module_of(self.network))

    def _optimize(self, network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
        from plainnet.packs.packs import adamw

        return adamw(network, recipe) if self.optimizer is None else optimizer_of(self.optimizer, network)

    def _engine(self) -> Literal["auto", "fused"]:
        """Return the engine: 'auto' is eager until the fused one is compiled, and the same seed has to give the same network."""
        return "auto" if self._is_own or self._device() != "cpu" else "fused"

    def _device(self) -> str:
        """Return where to train. 'auto' is the CPU, where the fused engine trains all members at once."""
        from plainnet.training.devices import choose_device

        return "cpu" if self.device == "auto" and not self._is_own else str(choose_device(self.device))

    def keep_members(self, members: list[Member], stopped_by: str = "", seconds: float | None = None) -> None:
        """Make networks the fitted ones: for readers of model files."""
        self.members_, self._row_encoder = members, RowEncoder(self.schema_)
        self.__dict__.pop("network_", None)
        self.history_ = join_histories(members, stopped_by, seconds)
        self.__dict__.pop("_optimizers", None)  # a partial_fit that follows starts afresh

    @cached_property
    def network_(self) -> nn.Module:
        """The trained network, or all members and their vote as one module."""
        check_is_fitted(self, "members_")
        return vote_of(self.members_, self.target_)

    @contextlib.contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        """Draw from a seeded generator inside, and leave torch's own as it was."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield

    # Weights.

    def _joint_weight(self, y: Array, weight: Array | None) -> Array | None:
        class_weight = getattr(self, "class_weight", None)  # a regressor has none
        if class_weight is None:
            return weight
        of_class: Array = compute_sample_weight(class_weight, y)
        return of_class if weight is None else weight * of_class

    # Predicting.

    def _joint(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the vote of the members, (N, outputs): probabilities, or standardised numbers."""
        if not hasattr(self, "members_"):
            check_is_fitted(self)  # which takes as long as a row's prediction, and says it well
        if isinstance(X, Scan):
            return np.concatenate([self._joint(piece) for _, piece in X.pieces()])
        found = encode_few(self._row_encoder, X, has_names=hasattr(self, "feature_names_in_"))
        x, unseen = encode(self.schema_, table_of(self, X, reset=False)) if found is None else found
        warn_of_unseen(unseen)
        return predict_members(self.members_, x, self.target_)

    # Saving.

    def save(self, path: str | Path) -> None:
        """Write everything fitted to one model file, which ``plainnet.load`` reads.

        Args:
            path: by custom ending in .safetensors.

        Raises:
            RunError: the file cannot be written.
            SettingError: the network is one of your own.
        """
        check_is_fitted(self)
        write_model(path, *model_content(self))

    save_pretrained = pretrained.save_pretrained

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read the estimator from a folder on this machine that ``save_pretrained`` wrote; ModelFileError where there is none."""
        return pretrained.from_pretrained(cls, folder)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        return tags
