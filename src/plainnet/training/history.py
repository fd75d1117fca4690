"""History: a list of Epoch records, and what one does with it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from plainnet.engines.job import Epoch, Epochs
from plainnet.errors import RunError
from plainnet.files import write_text

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes

__all__ = ["History"]

FIELDS = ("epoch", "loss", "validation_loss", "learning_rate", "seconds")


@dataclass(repr=False)
class History:
    """What happened in a training, epoch by epoch.

    Attributes:
        engine: the engine that ran: 'fused' or 'eager'.
        engine_reason: why that engine, in words.
        epochs: the record of each epoch.
        stopped_by: why the training ended before its last epoch: 'patience', 'interrupt' (Ctrl-C), 'time', 'on_epoch' (what
            looks on said so) or 'divergence'; '' where it did not.
        failure: why this network could not be trained, or not to the end; '' where it was (``train_many``).
        restored_best: whether the network was left with the weights of ``best_epoch`` rather than the last.
    """

    engine: str
    engine_reason: str
    epochs: Epochs = field(default_factory=Epochs)
    stopped_by: str = ""
    restored_best: bool = False
    failure: str = ""

    @property
    def losses(self) -> npt.NDArray[np.float64]:
        """Training loss of each epoch, each batch measured before its step, shape (epochs,)."""
        return np.array(self.epochs.columns[1], dtype=np.float64)

    @property
    def validation_losses(self) -> npt.NDArray[np.float64] | None:
        """Validation loss after each epoch, shape (epochs,); None without validation rows."""
        if not self.epochs or self.epochs[0].validation_loss is None:
            return None
        return np.array(self.epochs.columns[2], dtype=np.float64)

    @property
    def learning_rates(self) -> npt.NDArray[np.float64]:
        """Learning rate of each epoch, shape (epochs,)."""
        return np.array(self.epochs.columns[3], dtype=np.float64)

    @property
    def seconds(self) -> npt.NDArray[np.float64]:
        """Wall time of each epoch in seconds, shape (epochs,)."""
        return np.array(self.epochs.columns[4], dtype=np.float64)

    @property
    def best_epoch(self) -> int | None:
        """Index of the epoch with the lowest validation loss, or training loss without validation rows; None if empty."""
        watched = self.losses if self.validation_losses is None else self.validation_losses
        return int(np.argmin(watched)) if len(watched) else None

    def __len__(self) -> int:
        return len(self.epochs)

    def __repr__(self) -> str:
        if not self.epochs:
            return f"History(no epochs, engine={self.engine!r})"
        last = self.epochs[-1]
        validation = "" if last.validation_loss is None else f", validation_loss={last.validation_loss:.6g}"
        return f"History({len(self)} epochs, loss={last.loss:.6g}{validation}, engine={self.engine!r})"

    def to_frame(self) -> pl.DataFrame:
        """Return a polars data frame of one row an epoch: epoch, loss, validation_loss, learning_rate, seconds."""
        import polars as pl

        types = [pl.Int64, *[pl.Float64] * 4]
        rows = list(zip(*self.epochs.columns, strict=True))
        return pl.DataFrame(rows, schema=dict(zip(FIELDS, types, strict=True)), orient="row")

    def save(self, path: str | Path) -> None:
        """Write the history to a file, complete or not at all.

        Args:
            path: ending in .csv (one line an epoch, for spreadsheets) or .json (everything, the engine and why the
                training ended included).

        Raises:
            RunError: another ending, or the file cannot be written.
        """
        path = Path(path)
        if path.suffix == ".json":
            content = json.dumps(vars(self) | {"epochs": [asdict(epoch) for epoch in self.epochs]}, indent=1) + "\n"
        elif path.suffix == ".csv":
            lines = io.StringIO()
            writer = csv.writer(lines, lineterminator="\n")
            writer.writerow(FIELDS)
            writer.writerows(zip(*self.epochs.columns, strict=True))
            content = lines.getvalue()
        else:
            raise RunError(f"a history is saved as .csv or .json, not as {path.name!r}.")
        write_text(path, content)

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Read a history that ``save`` wrote.

        Args:
            path: the .csv or .json file. A .csv does not say which engine ran: ``engine`` is then ''.

        Raises:
            RunError: the file is missing or is no history.
        """
        path = Path(path)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(
                f"the history {str(path)!r} cannot be read: {error}. Name the file that History.save, or a run, wrote."
            ) from error
        try:
            if path.suffix == ".json":
                content: dict[str, Any] = json.loads(text)
                return cls(**(content | {"epochs": Epochs(Epoch(**epoch) for epoch in content["epochs"])}))
            reader = csv.DictReader(io.StringIO(text))
            if tuple(reader.fieldnames or ()) != FIELDS:
                raise ValueError(f"its first line has to be {','.join(FIELDS)}")
            return cls("", "", Epochs(map(_epoch, reader)))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunError(
                f"{str(path)!r} is no history that plainnet saved: {error!r}. Pass a file that History.save or a run wrote."
            ) from error

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the loss curve.

        Args:
            ax: matplotlib Axes to draw on; None: a new figure.

        Returns:
            The Axes: ylabel 'loss', xlabel 'epoch', and the learning rate as title. With validation rows both curves,
            a legend, and the best epoch marked.
        """
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots()
        epochs = np.arange(len(self))
        validation = self.validation_losses
        ax.plot(epochs, self.losses, label="training loss")
        if validation is not None and self.best_epoch is not None:
            best = self.best_epoch
            ax.plot(epochs, validation, label="validation loss")
            ax.plot(best, validation[best], "o", color="black", label=f"best epoch: {best}")
            ax.axvline(best, color="black", linewidth=0.8, linestyle=":")
            ax.legend()
        ax.set(xlabel="epoch", ylabel="loss", title=self._title())
        return ax

    def _title(self) -> str:
        rates = self.learning_rates
        if not len(rates):
            return "no epochs"
        low, high = float(rates.min()), float(rates.max())
        return f"Learning rate {high:f}" if low == high else f"Learning rate {high:f} … {low:f}"


def _epoch(row: dict[str, str]) -> Epoch:
    index, loss, validation, rate, seconds = (row[name] for name in FIELDS)
    return Epoch(int(index), float(loss), float(validation) if validation else None, float(rate), float(seconds))
