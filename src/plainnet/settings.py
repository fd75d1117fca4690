"""Every dial with its unit, range, default and the reason for the default."""

from __future__ import annotations

from dataclasses import dataclass

from plainnet.errors import SettingError

__all__ = ["EarlyStopping"]


@dataclass(frozen=True, kw_only=True)
class EarlyStopping:
    """When to stop before the last epoch, and which weights to keep.

    The watched loss is the validation loss where there are validation rows, else the training loss.

    Attributes:
        patience: epochs without a new best loss before the training stops, at least 1. None: never stop early, only
            keep the best. The default of 20 is long enough for the plateaus of small networks.
        min_delta: by how much a loss has to be lower to count as a new best, in the loss's own unit, at least 0.
        restore_best: leave the network with the weights of the best epoch rather than the last.

    Raises:
        SettingError: a value is outside its range.
    """

    patience: int | None = 20
    min_delta: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise SettingError(f"patience is a number of epochs from 1, or None for no early stop, not {self.patience}")
        if not self.min_delta >= 0:
            raise SettingError(f"min_delta is at least 0, not {self.min_delta}")

    def is_over(self, index: int, best_index: int) -> bool:
        """Whether epoch ``index`` was the last, given the best epoch so far.

        >>> EarlyStopping(patience=2).is_over(index=5, best_index=3)
        True
        """
        return self.patience is not None and index - best_index >= self.patience


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """The dials of one fit, derived from the size of the table where the user left them at None.

    The values were chosen on real tables, as docs/log.md tells.

    Attributes:
        batch_size: rows in a step. 64 … 1 024, growing with the table: small tables need many steps, large ones speed.
            A tiny table is one batch.
        epochs: passes over the rows.
        patience: epochs without a new best before stopping: a third of all, so that a network which has long begun to
            learn by heart is not trained to the end, and one on a plateau still is.
        validation_share: of the rows, held out to find the best epoch. 0 for a tiny table, where so few rows would
            say nothing: its network is trained for all epochs.
        is_tiny: whether the table has at most ``TINY_ROWS`` rows.
    """

    batch_size: int
    epochs: int
    patience: int
    validation_share: float
    is_tiny: bool

    @classmethod
    def derive(
        cls,
        n_rows: int,
        *,
        batch_size: int | None = None,
        epochs: int | None = None,
        patience: int | None = None,
        validation_share: float | None = None,
    ) -> FitSettings:
        """Fill in what was left at None.

        >>> FitSettings.derive(40_000).batch_size
        512
        """
        is_tiny = n_rows <= TINY_ROWS
        if validation_share is None:
            validation_share = 0.0 if is_tiny else VALIDATION_SHARE
        if batch_size is None:
            steps = (TINY_ROWS, 1024, 8192, 30_000, 100_000)
            sizes = (TINY_ROWS, 64, 128, 256, 512, 1024)
            batch_size = next((size for most, size in zip(steps, sizes, strict=False) if n_rows <= most), sizes[-1])
        if epochs is None:
            steps_an_epoch = max(1, round(n_rows * (1 - validation_share) / batch_size))
            epochs = min(max(round(STEPS / steps_an_epoch), LEAST_EPOCHS), MOST_EPOCHS)
        return cls(
            batch_size=batch_size,
            epochs=epochs,
            patience=patience or max(LEAST_PATIENCE, epochs // 3),
            validation_share=validation_share,
            is_tiny=is_tiny,
        )


#: Rows up to which a table is trained as one batch, without validation rows.
TINY_ROWS = 64
#: Share of the rows held out to find the best epoch.
VALIDATION_SHARE = 0.15
#: Steps of a fit, and the bounds of its epochs.
STEPS = 4000
LEAST_EPOCHS = 8
MOST_EPOCHS = 200
LEAST_PATIENCE = 16
