"""``report.html``: a run as one page that opens from disk: no script, no request, everything in one file.

Its model card follows Mitchell and others, "Model Cards for Model Reporting", FAT* 2019 (arXiv:1810.03993).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jinja2 import Environment, StrictUndefined

from plainnet.errors import DataWarning
from plainnet.estimators.classifier import NetClassifier
from plainnet.evaluation.bootstrap import draw_rows
from plainnet.evaluation.evaluation import Array, Estimator, predictions_of
from plainnet.evaluation.explain import Importance, permutation_importance
from plainnet.files import write_text
from plainnet.runs.parts import known_rows
from plainnet.runs.pictures import Picture, class_pictures, importance_picture, loss_picture, number_pictures
from plainnet.runs.reproduce import command_of, why_not_the_same
from plainnet.runs.runs import Run
from plainnet.runs.work import Work
from plainnet.tables.schema import Schema, describe_kinds, describe_values
from plainnet.tables.target import NumberTarget

__all__ = ["Evidence", "gather", "write_report"]


#: Rows that pictures are drawn of at most.
MOST_ROWS = 10_000
#: The importance of a report costs at most so many predictions of single networks, about a second. Where that is not enough for the least
#: rows, there are too many columns for a report.
IMPORTANCE_WORK, IMPORTANCE_REPEATS, MOST_IMPORTANCE_ROWS, LEAST_IMPORTANCE_ROWS = 1_000_000, 3, 1000, 50
#: Columns, classes and members that the page lists, and letters of a text of the user's.
MOST_COLUMNS, MOST_CLASSES, MOST_MEMBERS, MOST_LETTERS = 1000, 50, 200, 200
#: Columns from which their table is folded up.
FOLDED = 50
#: A class of fewer training rows is named as hardly known.
FEW_ROWS = 50


@dataclass(frozen=True)
class Evidence:
    """Rows that the pictures and the importance of a report show.

    Attributes:
        part: of the run's rows: 'test', 'validation', or 'out of fold' (training rows, predicted by networks that did not see them).
        table: (N, columns).
        y: (N,) the targets.
        predictions: (N, C) probabilities, or (N,) numbers, or (N, Q) quantiles.
        n_rows: of the part; where they are more than N, rows were drawn from them.
    """

    part: str
    table: pl.DataFrame
    y: Array
    predictions: Array
    n_rows: int


def gather(estimator: Estimator, work: Work) -> Evidence | None:
    """Choose the rows of a report: test rows, else validation rows, else the training rows out of fold; None: there are none of these.

    Args:
        estimator: fitted.
        work: the table and its parts.
    """
    part = next((part for part in ("test", "validation") if len(work.scored.get(part, ()))), "out of fold")
    rows, predictions = work.scored.get(part, work.scored["train"]), None
    if part == "out of fold":
        if estimator.out_of_fold_ is None:
            return None
        predictions, rows = known_rows(estimator.out_of_fold_, rows)
    if not len(rows):
        return None
    drawn = draw_rows(len(rows), MOST_ROWS, np.random.RandomState(0))
    chosen, y = work.table[rows[drawn]], work.y[rows[drawn]]
    if predictions is not None:
        return Evidence(part, chosen, y, predictions[drawn], len(rows))
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        # unseen levels were counted when the run was scored
        return Evidence(part, chosen, y, predictions_of(estimator, chosen), len(rows))


def write_report(run: Run, estimator: Estimator, evidence: Evidence | None) -> Path:
    """Write the report of a run into its folder, complete or not at all.

    Args:
        run: that was written.
        estimator: its model; as it was fitted rather than read, the losses of its members are drawn too.
        evidence: rows to show; None: the page has neither pictures of predictions nor importance, and says so.

    Raises:
        RunError: the file cannot be written.
    """
    importance = None if evidence is None else _importance(estimator, evidence)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"short": _short, "number": "{:.5g}".format, "share": "{:.1%}".format}
    page = environment.from_string(Path(__file__).with_name("report.html.jinja").read_text(encoding="utf-8"))
    path = run.path / "report.html"
    write_text(path, page.render(_content(run, estimator, evidence, importance)))
    return path


def _short(value: object) -> str:
    """Return a text of the user's in one line, without letters that cannot be seen, and not too long."""
    text = "".join(each if each.isprintable() else " " for each in str(value)[: 2 * MOST_LETTERS])
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"


def _importance(estimator: Estimator, evidence: Evidence) -> Importance | None:
    """Measure on as many rows as a report has time for; None where these are too few, or there are fewer than two."""
    voters = sum(member.weight > 0 for member in estimator.members_)
    rows = IMPORTANCE_WORK // (IMPORTANCE_REPEATS * voters * len(estimator.schema_.used))
    if len(evidence.y) < 2 or rows < LEAST_IMPORTANCE_ROWS:
        return None
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        return permutation_importance(
            estimator, evidence.table, evidence.y, n_repeats=IMPORTANCE_REPEATS,
            max_samples=min(rows, MOST_IMPORTANCE_ROWS),
        )  # fmt: skip


def _content(
    run: Run, estimator: Estimator, evidence: Evidence | None, importance: Importance | None
) -> dict[str, Any]:
    """Return what the page's template fills in."""
    facts, schema = run.facts, estimator.schema_
    history = estimator.history_ if len(estimator.history_) else run.history()
    members = [member.history for member in estimator.members_ if len(member.history)]
    return {
        "facts": facts, "name": run.path.name, "about": describe_kinds(schema.used), "parts": _parts(facts),
        "losses": [loss_picture(history, members if len(estimator.members_) > 1 else [])] if len(history) else [],
        "pictures": _pictures(run, estimator, evidence),
        "evidence": evidence,
        "importance": importance,
        "importance_picture": None if importance is None else importance_picture(importance),
        "schema": schema, "is_folded": len(schema.columns) > FOLDED,
        "columns": [(each, describe_values(each)) for each in schema.columns[:MOST_COLUMNS]],
        "members": _members(estimator)[:MOST_MEMBERS], "n_members": len(estimator.members_),
        "classes": _classes(facts, estimator),
        "limits": _limits(facts, estimator),
        "command": command_of(facts), "not_the_same": why_not_the_same(facts),
    }  # fmt: skip


def _parts(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of the rows with their scores, and what each says."""
    meanings = {
        "test": "rows that nothing was learnt or chosen on",
        "cross-validation": "each predicted by networks that were trained without its fold, as others are by the model that is kept",
        "out of fold": "the training rows, each predicted by networks that did not see it",
        "validation": "rows that chose the best epoch: a little too good",
        "train": "rows the networks learnt from: too good to be true",
    }
    scores = facts["scores"]
    return [
        {"part": part, "meaning": said, "scores": scores[part]} for part, said in meanings.items() if part in scores
    ]


def _pictures(run: Run, estimator: Estimator, evidence: Evidence | None) -> list[Picture]:
    if evidence is None:
        return []
    if isinstance(estimator, NetClassifier):
        return class_pictures(estimator.classes_, estimator.target_.encode(evidence.y), evidence.predictions)
    predicted = evidence.predictions
    if isinstance(estimator.target_, NumberTarget) and estimator.target_.quantiles:
        nearest = np.argmin(np.abs(np.array(estimator.target_.quantiles) - 0.5))  # to the median
        predicted = predicted.T[nearest]
    return number_pictures(evidence.y.astype(np.float64), predicted, run.target)


def _members(estimator: Estimator) -> list[dict[str, Any]]:
    """Return what the page says of each network."""
    members = [(member, member.recipe, member.recipe.shape) for member in estimator.members_]
    return [
        {
            "number": number, "weight": member.weight, "score": None if isnan(member.score) else member.score,
            "shape": " → ".join(map(str, (shape.n_coded, *shape.hidden, shape.n_out))), "activation": shape.activation,
            "bins": max(shape.bins, default=0), "dropout": shape.dropout, "is_log": recipe.is_log,
            "parameters": sum(parameter.numel() for parameter in member.network.parameters()),
        }
        for number, (member, recipe, shape) in enumerate(members)
    ]  # fmt: skip


def _classes(facts: Mapping[str, Any], estimator: Estimator) -> list[tuple[str, float, int]]:
    """Return each class with its share and number of training rows, the most frequent first."""
    if not isinstance(estimator, NetClassifier):
        return []
    rows = facts["split"].get("train", estimator.schema_.n_rows)
    found = [
        (str(name), float(share), round(share * rows))
        for name, share in zip(estimator.classes_.tolist(), facts["baseline"], strict=True)
    ]
    return sorted(found, key=lambda each: -each[1])[:MOST_CLASSES]


def _limits(facts: Mapping[str, Any], estimator: Estimator) -> list[str]:
    """Return sentences on what the model cannot know, from what the training rows were."""
    schema: Schema = estimator.schema_
    limits = [
        f"It learnt from {schema.n_rows:,} rows. On rows of another kind, place or time it may be worse than the scores say."
    ]
    few = [name for name, _, rows in _classes(facts, estimator) if rows < FEW_ROWS]
    if few:
        limits.append(f"Classes with fewer than {FEW_ROWS} training rows are hardly known: {_listed(few)}.")
    if isinstance(estimator.target_, NumberTarget) and estimator.target_.bounds is not None:
        low, high = estimator.target_.bounds.T[0]
        limits.append(f"It predicts no number below {low:.5g} or above {high:.5g}, the range of the training rows.")
    gaps = [each.name for each in schema.used if each.missing > 0.2 * schema.n_rows]
    if gaps:
        limits.append(f"More than a fifth of the training rows had no value in: {_listed(gaps)}.")
    unaware = [each.name for each in schema.used if not each.missing]
    if unaware:
        limits.append(
            f"A missing cell counts as the median or as no level where no training row lacked one: {_listed(unaware)}."
        )
    if schema.left_out:
        limits.append(f"It does not look at: {_listed([each.name for each in schema.left_out])}.")
    not_scored = sum(facts.get("not_scored", {}).values())
    if not_scored:
        limits.append(f"{not_scored:,} held-out rows are of classes without a training row, and in no score.")
    limits.append(
        "Nothing was measured on single groups of people: compare the scores of each before they are treated by it."
    )
    return limits


def _listed(names: list[str]) -> str:
    shown = ", ".join(_short(name) for name in names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
