"""Every dial with its unit, range, default and the reason for the default."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from typing import Any

from plainnet.errors import SettingError

__all__ = ["EarlyStopping", "FitSettings", "ScanSettings", "check_number"]


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
            raise SettingError(
                f"patience is a number of epochs from 1, or None for no early stop, not {self.patience}."
            )
        if not self.min_delta >= 0:
            raise SettingError(f"min_delta is at least 0, not {self.min_delta}.")

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
        members: networks that vote.
        folds: parts of the rows; each member holds one out, to find its best epoch. 0: none is held out.
        batch_size: rows in a step. 64 … 1 024, growing with the table: small tables need many steps, large ones speed.
            A tiny table is one batch.
        epochs: passes over the rows.
        patience: epochs without a new best before a member stops: a third of all, so that a network which has long begun to
            learn by heart is not trained to the end, and one on a plateau still is.
        is_tiny: whether the table has at most ``TINY_ROWS`` rows. So few held-out rows would say nothing: its networks are
            trained on all rows, for all epochs.
    """

    members: int
    folds: int
    batch_size: int
    epochs: int
    patience: int
    is_tiny: bool

    @classmethod
    def derive(
        cls,
        n_rows: int,
        *,
        effort: str = "default",
        members: int | None = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        patience: int | None = None,
        validation_share: float | None = None,
    ) -> FitSettings:
        """Fill in what was left at None.

        Args:
            n_rows: of the table.
            effort: 'quick', 'default' or 'best'.
            members: what the user has chosen, as the next three.
            batch_size: as above.
            epochs: as above.
            patience: as above.
            validation_share: of the rows, that each member holds out; 0: none.

        Raises:
            SettingError: there is no such effort.

        >>> FitSettings.derive(40_000).batch_size
        512
        """
        if effort not in EFFORTS:
            raise SettingError(f"effort is one of {', '.join(map(repr, EFFORTS))}, not {effort!r}.")
        work = EFFORTS[effort]
        is_tiny = n_rows <= TINY_ROWS
        if validation_share is None:
            validation_share = 0.0 if is_tiny else 1 / work.folds
        folds = max(2, round(1 / validation_share)) if validation_share > 0 else 0
        if members is None:
            members = TINY_MEMBERS if is_tiny else work.groups * work.folds
            # Large tables: what a member learns is surer, and takes longer.
            while members > work.folds and members * n_rows > work.most_member_rows:
                members -= work.folds
        elif 4 <= members < folds:
            folds = members  # so that each row is held out by one
        if batch_size is None:
            batch_size = next((size for most, size in BATCH_SIZES if n_rows <= most), LARGEST_BATCH)
        if epochs is None:
            epochs = round(work.visits / n_rows)
            epochs = min(max(epochs, work.least_epochs), work.most_epochs)
        patience = patience or max(LEAST_PATIENCE, epochs // 3)
        return cls(
            members=members, folds=folds, batch_size=batch_size, epochs=epochs, patience=patience, is_tiny=is_tiny
        )


@dataclass(frozen=True, kw_only=True)
class ScanSettings:
    """The dials of a table that is read piece by piece.

    Attributes:
        piece_rows: rows that are read at once, from 1: at 20 columns some 20 MB. Fewer make the reading slower.
        sample_rows: rows, drawn evenly, from which kinds, quantiles and bins are learnt. By the inequality of Dvoretzky, Kiefer and
            Wolfowitz (with Massart's constant, doi:10.1214/aop/1176990746) 200 000 rows put every quantile within 0.44 % of the
            rows, with a probability of 99.9 %: a good quarter of one of 64 bins.
        most_levels: different values of a text column that are counted exactly; one that has more is judged by the sample.
        shard_bytes: of encoded rows that are trained on at once. Two such shards are in memory: one is trained on, one is read.
        held_out_rows: rows at most that no member trains on, to find the best epochs and the vote: 100 000 give an accuracy to 0.3 %.
        score_rows: of each part, rows at most that a run is scored on: 200 000 give an accuracy to 0.2 %.

    Raises:
        SettingError: a value is below 1.
    """

    piece_rows: int = 2**17
    sample_rows: int = 200_000
    most_levels: int = 10_000
    shard_bytes: int = 128 * 2**20
    held_out_rows: int = 100_000
    score_rows: int = 200_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_number(name, value, whole=True, least=1, optional=False)


@dataclass(frozen=True)
class Effort:
    """What a fit may cost.

    Attributes:
        groups: of members; those of a group hold out one fold each.
        folds: in how many the rows are dealt.
        visits: of rows by each member: epochs times rows.
        least_epochs, most_epochs: the bounds of the epochs.
        most_member_rows: rows times members, above which there are fewer groups.
    """

    groups: int
    folds: int
    visits: int
    least_epochs: int
    most_epochs: int
    most_member_rows: int


#: Each member of the default learns from five sixths of the rows; 18 members take about as long as CatBoost at its defaults.
EFFORTS = {
    "quick": Effort(groups=2, folds=4, visits=120_000, least_epochs=5, most_epochs=30, most_member_rows=10**6),
    "default": Effort(groups=3, folds=6, visits=300_000, least_epochs=10, most_epochs=40, most_member_rows=10**6),
    "best": Effort(groups=5, folds=8, visits=500_000, least_epochs=20, most_epochs=60, most_member_rows=10**7),
}
#: Rows up to which a table is trained as one batch, without validation rows, and how many networks then vote.
TINY_ROWS = 64
TINY_MEMBERS = 4
#: (rows up to which, rows of a batch), and the rows of a batch beyond.
BATCH_SIZES = ((TINY_ROWS, TINY_ROWS), (1500, 64), (12_000, 128), (25_000, 256), (100_000, 512))
LARGEST_BATCH = 1024
LEAST_PATIENCE = 8
#: Share of the rows held out by a run whose rows are split by groups or time.
VALIDATION_SHARE = 0.15


def check_number(
    name: str,
    value: Any,
    *,
    whole: bool = False,
    least: float | None = None,
    above: float | None = None,
    optional: bool = True,
) -> None:
    """Check a number; None is left for the caller to fill in where it is ``optional``.

    Raises:
        SettingError: it is no number, not finite, not whole, below ``least``, or not above ``above``.
    """
    if value is None and optional:
        return
    kind = "a whole number" if whole else "a number"
    bound = f" from {least:g}" if least is not None else f" above {above:g}" if above is not None else ""
    is_number = isinstance(value, Integral if whole else Real) and not isinstance(value, bool)
    is_finite = is_number and (isinstance(value, Integral) or isfinite(value))
    if not is_finite or (least is not None and value < least) or (above is not None and not value > above):
        raise SettingError(f"{name} is {kind}{bound}, not {value!r}.")
