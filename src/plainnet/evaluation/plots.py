"""Displays that scikit-learn lacks, after its convention: ``from_estimator`` or ``from_predictions``, then ``plot``, ``ax_``, ``figure_``.

What scikit-learn has works with plainnet's estimators as it is, and is not written again here: ``RocCurveDisplay``,
``PrecisionRecallDisplay``, ``ConfusionMatrixDisplay``, ``CalibrationDisplay``, ``PredictionErrorDisplay`` (also of residuals) and, on
pandas data frames without missing cells, ``PartialDependenceDisplay``.

The colours are those of Okabe and Ito, "Color Universal Design", 2008 (https://jfly.uni-koeln.de/color/), which people of every kind
of colour vision tell apart.

Without ``ax`` a display draws on a new figure of pyplot, as scikit-learn's do; ``plt.close`` forgets it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from plainnet.errors import RunError, SettingError, TableError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.estimators import NetEstimator
from plainnet.evaluation.evaluation import Array, Estimator
from plainnet.evaluation.explain import Z95, Dependence, Importance, partial_dependence, permutation_importance
from plainnet.evaluation.shapley import RowExplanation, explain_row
from plainnet.files import replacing
from plainnet.tables.tables import take_target
from plainnet.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS", "ContributionsDisplay", "DependenceDisplay", "ImportanceDisplay", "LossDisplay", "ReliabilityDisplay", "as_label",
    "save_drawn", "save_figure",
]  # fmt: skip

#: Okabe and Ito's, the strongest contrasts first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
#: Columns of a table that are drawn; the rest is in the numbers.
MOST_COLUMNS = 20
#: Lines of single rows that can still be told apart.
MOST_LINES = 100


def as_label(value: object, most: int = 28) -> str:
    r"""Return a text of the user's as a label: in one line, not too long, and never taken for matplotlib's formulas.

    >>> print(as_label("cost in $"))
    cost in \$
    """
    text = " ".join("".join(each if each.isprintable() else " " for each in str(value)).split())
    return (text if len(text) <= most else text[: most - 1] + "…").replace("$", r"\$")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure to a picture file, complete or not at all.

    Raises:
        RunError: matplotlib knows no such format, or the file cannot be written.
    """
    with replacing(path) as temporary:
        try:
            figure.savefig(temporary, dpi=120)
        except ValueError as error:
            raise RunError(f"a picture is saved as .png, .svg or .pdf, not as {path.name!r}.") from error


def save_drawn(draw: Callable[[Axes], object], path: Path) -> None:
    """Draw on a figure of its own, and save it as ``save_figure`` does."""
    from matplotlib.figure import Figure  # not pyplot: no window, no global list of figures

    figure = Figure(figsize=(7, 4), layout="constrained")
    draw(figure.subplots())
    save_figure(figure, path)


class _Display:
    """What the displays share: where they draw."""

    ax_: Axes
    figure_: Figure

    def _start(self, ax: Axes | None) -> Axes:
        if ax is None:
            import matplotlib.pyplot as plt

            _, ax = plt.subplots(figsize=(7, 4), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure  # type: ignore[assignment]  # or a part of a figure
        return ax

    def _bars(self, ax: Axes | None, labels: Sequence[str], values: Array, **style: Any) -> Axes:
        """Draw a bar for each label, from the top down."""
        ax = self._start(ax)
        places = np.arange(len(labels))
        ax.barh(places, values, **style)
        ax.set_yticks(places, labels)
        ax.invert_yaxis()
        ax.axvline(0, color=COLOURS[-1], linewidth=0.8)
        return ax


class LossDisplay(_Display):
    """The loss of every epoch: that of the pack bold, those of its members faint.

    Args:
        history: of the pack, or of one network.
        members: histories of the members; () where only the pack's is known, as for a run that was read.
    """

    def __init__(self, history: History, members: Sequence[History] = ()) -> None:
        self.history, self.members = history, members

    @classmethod
    def from_estimator(cls, estimator: NetEstimator, *, ax: Axes | None = None) -> Self:
        """Draw the histories of a fitted estimator.

        Raises:
            SettingError: the estimator was read from a file, which holds no history.
        """
        check_is_fitted(estimator)
        if not len(estimator.history_):
            raise SettingError(
                "the estimator was read from a model file, which holds no history: draw History.load('RUN/history.csv')."
            )
        members = [member.history for member in estimator.members_] if len(estimator.members_) > 1 else []
        return cls(estimator.history_, members).plot(ax=ax)

    @classmethod
    def from_history(cls, history: History, *, ax: Axes | None = None) -> Self:
        """Draw one history."""
        return cls(history).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on ``ax``, or on a new figure."""
        ax = self._start(ax)
        parts = [("training loss", COLOURS[0], "losses"), ("validation loss", COLOURS[1], "validation_losses")]
        mean = f", mean of {len(self.members)} networks" if self.members else ""
        for name, colour, attribute in parts:
            for member in self.members:
                values = getattr(member, attribute)
                if values is not None:
                    ax.plot(np.arange(len(values)), values, color=colour, linewidth=0.6, alpha=0.3)
            values = getattr(self.history, attribute)
            if values is not None:
                ax.plot(np.arange(len(values)), values, color=colour, linewidth=2, label=name + mean)
        best = self.history.best_epoch
        if best is not None and self.history.validation_losses is not None:
            ax.axvline(best, color=COLOURS[-1], linewidth=1, linestyle=":", label=f"best epoch: {best}")
        from matplotlib.ticker import MaxNLocator

        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(xlabel="epoch", ylabel="loss")
        ax.legend()
        return self


class ReliabilityDisplay(_Display):
    """How often what is predicted with a probability comes true, with 95 % intervals and the rows behind each point.

    The intervals are Wilson's ("Probable Inference", JASA 22, 1927, doi:10.1080/01621459.1927.10502953). For points alone there is
    scikit-learn's ``CalibrationDisplay``.

    Args:
        predicted: (B,) mean probability of each bin that has rows.
        observed: (B,) share of its rows where the event came true.
        counts: (B,) its rows.
        name: of the event.
    """

    def __init__(self, predicted: Array, observed: Array, counts: Array, name: str = "event") -> None:
        self.predicted, self.observed, self.counts, self.name = predicted, observed, counts, name

    @classmethod
    def from_predictions(
        cls, y_true: Any, y_prob: Any, *, n_bins: int = 10, name: str = "event", ax: Axes | None = None
    ) -> Self:
        """Draw the reliability of probabilities.

        Args:
            y_true: (N,) whether the event came true.
            y_prob: (N,) the probability it was given.
            n_bins: bins of equal width.
            name: of the event, for the axis.
            ax: matplotlib Axes to draw on; None: a new figure.
        """
        happened, given = np.asarray(y_true, dtype=np.float64), np.asarray(y_prob, dtype=np.float64)
        check_consistent_length(happened, given)
        if not len(given):
            raise TableError("there are no rows to draw a reliability of: pass one at least.")
        bins = np.clip((given * n_bins).astype(np.int64), 0, n_bins - 1)
        counts = np.bincount(bins, minlength=n_bins)
        there = counts > 0
        sums = [
            np.bincount(bins, weights=values, minlength=n_bins)[there] / counts[there] for values in (given, happened)
        ]
        return cls(sums[0], sums[1], counts[there], name).plot(ax=ax)

    @classmethod
    def from_estimator(
        cls, estimator: NetClassifier, X: Any, y: Any, *, n_bins: int = 10, ax: Axes | None = None
    ) -> Self:
        """Draw the reliability of a classifier: of the second of two classes, or of whichever class is the most probable.

        Args:
            estimator: fitted.
            X: N rows, as for ``fit``.
            y: (N,) the classes, or the name of their column in X.
            n_bins: bins of equal width.
            ax: matplotlib Axes to draw on; None: a new figure.
        """
        if isinstance(y, str):
            X, y, _ = take_target(X, y)
        probabilities, classes = estimator.predict_proba(X), estimator.classes_
        if len(classes) == 2:
            event, given = np.asarray(y) == classes[1], probabilities[:, 1]
            return cls.from_predictions(event, given, n_bins=n_bins, name=str(classes[1]), ax=ax)
        event = np.asarray(y) == classes[probabilities.argmax(axis=1)]
        return cls.from_predictions(event, probabilities.max(axis=1), n_bins=n_bins, name="the predicted class", ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on ``ax``, or on a new figure."""
        ax = self._start(ax)
        ax.plot([0, 1], [0, 1], color=COLOURS[-1], linestyle=":", linewidth=1, label="as predicted")
        low, high = self.intervals()
        ax.errorbar(
            self.predicted, self.observed, yerr=[self.observed - low, high - self.observed], fmt="o-", color=COLOURS[0],
            capsize=3, linewidth=1.5, markersize=5, label="observed, 95 % interval",
        )  # fmt: skip
        for x, y, count in zip(self.predicted, high, self.counts, strict=True):
            ax.annotate(f"{count:,}", (x, y), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8)
        ax.set(xlabel=f"probability of {as_label(self.name)}", ylabel="share of rows where it came true")
        ax.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.12))
        ax.legend(loc="lower right")
        return self

    def intervals(self) -> tuple[Array, Array]:
        """Return the lower and the upper ends of the intervals, (B,) each."""
        n, p = self.counts, self.observed
        middle = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
        width = Z95 * np.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2)) / (1 + Z95**2 / n)
        return np.minimum(middle - width, p), np.maximum(middle + width, p)


class ImportanceDisplay(_Display):
    """Importance of the columns as bars with 95 % intervals, the largest on top.

    Args:
        importance: what ``permutation_importance`` found.
    """

    def __init__(self, importance: Importance) -> None:
        self.importance = importance

    @classmethod
    def from_estimator(cls, estimator: Estimator, X: Any, y: Any, *, ax: Axes | None = None, **options: Any) -> Self:
        """Measure and draw; the arguments are those of ``permutation_importance``."""
        return cls(permutation_importance(estimator, X, y, **options)).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the 20 largest on ``ax``, or on a new figure."""
        shown = self.importance.columns[:MOST_COLUMNS]
        values = np.array([each.value for each in shown])
        ends = np.array([[each.low, each.high] for each in shown])
        labels = [as_label(each.column) for each in shown]
        style = {"color": COLOURS[0], "ecolor": COLOURS[-1], "capsize": 2}
        ax = self._bars(ax, labels, values, xerr=np.abs(ends.T - values), **style)
        ax.set(xlabel=f"growth of the {self.importance.metric} when shuffled")
        return self


class DependenceDisplay(_Display):
    """Partial dependence bold, single rows faint: a line for numbers and dates, points for categories.

    Args:
        dependence: what ``partial_dependence`` found.
    """

    def __init__(self, dependence: Dependence) -> None:
        self.dependence = dependence

    @classmethod
    def from_estimator(
        cls, estimator: Estimator, X: Any, column: str, *, ax: Axes | None = None, **options: Any
    ) -> Self:
        """Measure and draw; the arguments are those of ``partial_dependence``."""
        display = cls(partial_dependence(estimator, X, column, **options))
        display.is_probability = isinstance(estimator, NetClassifier)
        return display.plot(ax=ax)

    is_probability = False

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw on ``ax``, or on a new figure."""
        ax = self._start(ax)
        found = self.dependence
        is_line = found.kind in ("number", "date") and not isinstance(found.grid[0], str)
        places = np.array(found.grid) if is_line else np.arange(len(found.grid))
        lines = found.individual[:MOST_LINES]
        ax.plot(places, lines.T, color=COLOURS[5], linewidth=0.5, alpha=0.4)
        style = "o-" if is_line else "o"
        ax.plot(places, found.average, style, color=COLOURS[0], linewidth=2, markersize=4, label="mean of the rows")
        if not is_line:
            ax.set_xticks(places, [as_label(each, 16) for each in found.grid], rotation=30, ha="right")
        said = as_label(found.output)
        ax.set(xlabel=as_label(found.column), ylabel=f"probability of {said}" if self.is_probability else said)
        ax.plot([], [], color=COLOURS[5], linewidth=1, label=f"{len(lines)} single rows")
        ax.legend()
        return self


class ContributionsDisplay(_Display):
    """What each column adds to the prediction of one row, the largest on top.

    Args:
        explanation: what ``explain_row`` found.
    """

    def __init__(self, explanation: RowExplanation) -> None:
        self.explanation = explanation

    @classmethod
    def from_estimator(
        cls, estimator: Estimator, row: Any, background: Any, *, ax: Axes | None = None, **options: Any
    ) -> Self:
        """Measure and draw; the arguments are those of ``explain_row``."""
        return cls(explain_row(estimator, row, background, **options)).plot(ax=ax)

    def plot(self, ax: Axes | None = None) -> Self:
        """Draw the 20 largest on ``ax``, or on a new figure."""
        found = self.explanation
        shown = found.contributions[:MOST_COLUMNS]
        values = np.array([each.value for each in shown])
        labels = [f"{as_label(each.column)} = {as_label(each.cell, 16)}" for each in shown]
        ax = self._bars(ax, labels, values, color=[COLOURS[0] if value >= 0 else COLOURS[1] for value in values])
        title = f"{found.base:.4g} on average, {found.prediction:.4g} for this row"
        ax.set(xlabel=f"adds to {as_label(found.output)}", title=title)
        return self
