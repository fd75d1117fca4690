"""The pictures of a report: inline SVG with text that can be selected, in the colours of the page around it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from sklearn import metrics

from plainnet.evaluation.classes import claims
from plainnet.evaluation.explain import Importance
from plainnet.evaluation.plots import COLOURS, ImportanceDisplay, LossDisplay, ReliabilityDisplay, as_label
from plainnet.training.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Picture", "class_pictures", "importance_picture", "loss_picture", "number_pictures"]

Array = npt.NDArray[Any]

#: Stands for the page's own text colour, which is dark or light.
INK = "#010203"
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10, "legend.frameon": False, "axes.spines.top": False,
    "axes.spines.right": False, "path.simplify": True, "savefig.transparent": True,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}  # fmt: skip
#: Classes that have curves of their own, the most frequent first, and classes of a confusion matrix.
MOST_CURVES, MOST_CONFUSED = len(COLOURS), 20
#: Points of a scatter plot, which is a small PNG inside its SVG.
MOST_POINTS, FEW_POINTS = 2000, 500


@dataclass(frozen=True)
class Picture:
    """A picture of a report.

    Attributes:
        title: what it shows.
        alt: the same in words, for those who do not see it.
        svg: the SVG element, in which matplotlib has escaped the texts.
    """

    title: str
    alt: str
    svg: Markup


def loss_picture(history: History, members: list[History]) -> Picture:
    """Draw the losses of a pack and of its members."""
    best = history.best_epoch or 0
    watched = history.losses if history.validation_losses is None else history.validation_losses
    alt = f"Loss over {len(history)} epochs: from {watched[0]:.4g} in the first to {watched[best]:.4g} in the best, epoch {best}."
    return _picture("Loss", alt, lambda ax: LossDisplay(history, members).plot(ax=ax), width=5.6)


def importance_picture(importance: Importance) -> Picture:
    """Draw the importance of the columns."""
    first = importance.columns[0]
    alt = f"Bars of the {importance.metric}'s growth; the longest is {first.column}: {first.value:.4g}."
    height = 1.0 + 0.24 * min(20, len(importance.columns))
    return _picture("Importance", alt, lambda ax: ImportanceDisplay(importance).plot(ax=ax), width=5.6, height=height)


def class_pictures(classes: Array, codes: Array, probabilities: Array) -> list[Picture]:
    """Draw ROC and precision-recall curves, the confusion matrix and the reliability.

    Args:
        classes: (C,) names.
        codes: (N,) the number of each row's class.
        probabilities: (N, C) predicted.
    """
    is_binary = len(classes) == 2
    frequent = np.argsort(-np.bincount(codes, minlength=len(classes)), kind="stable")
    shown = [1] if is_binary else [int(code) for code in frequent[:MOST_CURVES]]
    # A curve of a class needs rows of it and rows of others.
    shown = [code for code in shown if 0 < (codes == code).sum() < len(codes)]

    def draw_curves(is_roc: bool, ax: Axes) -> None:
        display: Any = metrics.RocCurveDisplay if is_roc else metrics.PrecisionRecallDisplay
        for colour, code in zip(COLOURS, shown, strict=False):
            display.from_predictions(
                codes == code, probabilities[:, code], name=as_label(classes[code], 16), drop_intermediate=True,
                curve_kwargs={"color": colour}, ax=ax,
            )  # fmt: skip
        if is_roc:
            ax.plot([0, 1], [0, 1], color=COLOURS[-1], linestyle=":", linewidth=1)
            ax.set(xlabel="false positive rate", ylabel="true positive rate", aspect="auto")
        else:
            ax.set(xlabel="recall", ylabel="precision", aspect="auto", xlim=(-0.02, 1.02), ylim=(-0.02, 1.04))
        ax.legend(loc="lower right" if is_roc else "lower left", fontsize=9)

    def draw_confusion(ax: Axes) -> None:
        metrics.ConfusionMatrixDisplay.from_predictions(
            codes, probabilities.argmax(axis=1), labels=np.arange(len(classes)), display_labels=[as_label(each, 14) for each in classes],
            cmap="cividis", colorbar=False, ax=ax, text_kw={"fontsize": 10 if len(classes) < 8 else 7}, values_format="d",
            xticks_rotation=0 if len(classes) < 5 else 90,
        )  # fmt: skip
        ax.set(xlabel="predicted", ylabel="true")

    pictures = []
    for title, words, metric, is_roc in (
        ("ROC curve", "ROC curve, AUC", metrics.roc_auc_score, True),
        ("Precision and recall", "Precision-recall curve, average precision", metrics.average_precision_score, False),
    ):
        values = [f"{classes[code]} {metric(codes == code, probabilities[:, code]):.3f}" for code in shown]
        if shown:
            pictures.append(_picture(title, f"{words}: {', '.join(values)}.", partial(draw_curves, is_roc)))
    if len(classes) <= MOST_CONFUSED:
        hits = float((probabilities.argmax(axis=1) == codes).mean())
        alt = f"Confusion matrix of {len(classes)} classes: {hits:.1%} of {len(codes):,} rows are on the diagonal, which is right."
        pictures.append(_picture("Confusion matrix", alt, draw_confusion))
    given, event = claims(probabilities, codes)
    name = str(classes[1]) if is_binary else "the predicted class"
    alt = f"Reliability of the probability of {name}: on average {given.mean():.1%} was predicted, and {event.mean():.1%} came true."
    draw = partial(ReliabilityDisplay.from_predictions, event, given, name=name)
    return [*pictures, _picture("Calibration", alt, lambda ax: draw(ax=ax))]


def number_pictures(y: Array, predicted: Array, target: str) -> list[Picture]:
    """Draw predictions against the truth, and residuals against predictions, (N,) each."""
    from sklearn.metrics import PredictionErrorDisplay

    alpha = 0.7 if len(y) < FEW_POINTS else 0.35
    options = {
        "subsample": min(MOST_POINTS, len(y)), "random_state": 0, "line_kwargs": {"color": COLOURS[1], "alpha": 1},
        "scatter_kwargs": {"rasterized": True, "alpha": alpha, "s": 12, "color": COLOURS[0], "linewidths": 0},
    }  # fmt: skip

    def draw(ax: Axes, kind: str, x: str, y_label: str) -> None:
        PredictionErrorDisplay.from_predictions(y, predicted, kind=kind, ax=ax, **options)
        ax.set(xlabel=x, ylabel=y_label)

    name = as_label(target)
    away = y - predicted
    spread = f"half of them lie between {np.quantile(away, 0.25):.4g} and {np.quantile(away, 0.75):.4g}"
    return [
        _picture("Predicted and true", f"Scatter plot of {target}, true against predicted; differences: {spread}.",
            lambda ax: draw(ax, "actual_vs_predicted", f"predicted {name}", f"true {name}")),
        _picture("Residuals", f"Scatter plot of the differences, true minus predicted {target}: {spread}.",
            lambda ax: draw(ax, "residual_vs_predicted", f"predicted {name}", "true minus predicted")),
    ]  # fmt: skip


def _picture(title: str, alt: str, draw: Callable[[Axes], Any], *, width: float = 4.8, height: float = 3.6) -> Picture:
    """Draw a picture in the colours of the page."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE | {"svg.hashsalt": title}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the reader's fonts draw the text, not matplotlib's
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    svg = _inline(drawn.getvalue(), title.lower().replace(" ", "-"))
    return Picture(title, alt, Markup(svg))  # noqa: S704 - as said there


def _inline(svg: str, prefix: str) -> str:
    """Return what can stand in a page: the element alone, ids that no other picture has, the page's own text colour."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)

    def own(tag: re.Match[str]) -> str:
        named = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{prefix}-", tag.group())
        return named.replace(f": {INK}", ": currentColor")

    # Only inside of tags: a text that looks like an id is the user's. Values hold no '>': matplotlib writes '&gt;'.
    first, end, rest = re.sub(r"<[^!][^>]*>", own, svg).partition(">")
    return re.sub(r' (?:width|height)="[^"]*"', "", first) + ' aria-hidden="true" focusable="false"' + end + rest
