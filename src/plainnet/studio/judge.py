"""How good a run is: its scores, what its predictions of the test rows look like, and which columns it rests on."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from sklearn.metrics import confusion_matrix

from plainnet.errors import DataWarning, PlainnetError
from plainnet.estimators.classifier import NetClassifier
from plainnet.estimators.regressor import NetRegressor
from plainnet.evaluation.bootstrap import draw_rows
from plainnet.evaluation.evaluation import Estimator
from plainnet.evaluation.explain import permutation_importance
from plainnet.runs.again import test_rows_of
from plainnet.runs.runs import Run, read_run
from plainnet.studio.tables import remembered

__all__ = ["importance", "judge", "listed_run"]

#: Classes of a confusion matrix that is drawn.
MOST_CLASSES = 20
#: Points of predicted against true.
POINTS = 1500
#: Rows and columns of the worst errors.
WORST, WORST_COLUMNS = 10, 12
#: Bins of the calibration.
BINS = 10

#: Columns whose importance is shown, test rows that are shuffled for it at most, and how often.
SHOWN, ROWS, SHUFFLES = 15, 500, 3


def listed_run(run: Run) -> dict[str, Any]:
    """Return what the list of runs shows of one."""
    facts = run.facts
    part = "test" if "test" in facts["scores"] else next(iter(facts["scores"]), "")
    return {
        "name": run.path.name, "created": str(facts.get("created", "")), "table": Path(facts["table"]["source"]).name,
        "rows": facts["table"]["rows"], "target": run.target, "task": facts["task"], "members": facts["training"].get("members", 1),
        "seconds": facts["training"]["seconds"], "part": part, "scores": facts["scores"].get(part, []),
    }  # fmt: skip


@remembered(8)
def judge(path: Path) -> dict[str, Any]:
    """Return a run's scores, and pictures of its errors on the test rows.

    Returns:
        ``scores`` by part, ``training``, ``task`` and, where the table is still there, of classes ``confusion`` and
        ``calibration``, of numbers ``residuals``; and ``worst`` rows. Where it is not, ``unseen`` says why.

    Raises:
        RunError: it is no run.
    """
    run = read_run(path)
    facts = run.facts
    found: dict[str, Any] = {
        **listed_run(run),
        "scores": facts["scores"], "training": facts["training"], "split": facts["split"], "seed": facts["seed"],
        "has_report": (path / "report.html").is_file(),
    }  # fmt: skip
    try:
        table, y, rows = test_rows_of(run)
    except PlainnetError as error:
        return found | {"unseen": str(error)}
    estimator = run.estimator()
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        is_class = isinstance(estimator, NetClassifier)
        more, worst, told = _classes(estimator, table, y) if is_class else _numbers(estimator, table, y)
    used = [column.name for column in estimator.schema_.used]
    names, headings = used[:WORST_COLUMNS], list(told)
    shown = [["" if cell is None else str(cell)[:60] for cell in row] for row in table[worst].select(names).rows()]
    more["worst"] = {
        "headings": [*headings, *names], "told": len(headings), "left_out": len(used) - len(names),
        "rows": [[*own, *row] for *own, row in zip(*told.values(), shown, strict=True)], "numbers": (rows[worst] + 1).tolist(),
    }  # fmt: skip
    return found | more


#: What is drawn, the numbers of the worst rows, and what is told of each of those, by heading.
Seen = tuple[dict[str, Any], npt.NDArray[np.int64], dict[str, list[str]]]


def _classes(estimator: NetClassifier, table: pl.DataFrame, y: npt.NDArray[Any]) -> Seen:
    said = np.asarray(estimator.predict_proba(table), dtype=np.float64)
    codes, predicted = np.searchsorted(estimator.classes_, y), said.argmax(axis=1)
    names = [str(each)[:60] for each in estimator.classes_.tolist()]
    found: dict[str, Any] = {"classes": names[:MOST_CLASSES], "n_classes": len(names)}
    if len(names) <= MOST_CLASSES:
        found["confusion"] = confusion_matrix(codes, predicted, labels=np.arange(len(names))).tolist()
    sure, is_right = (said[:, 1], codes == 1) if len(names) == 2 else (said.max(axis=1), predicted == codes)
    # Of tenths of the rows, from the least to the most probable: mean said, share that came true, rows.
    parts = [part for part in np.array_split(np.argsort(sure, kind="stable"), BINS) if len(part)]
    found["calibration"] = {
        "of": f"the probability of {names[1]}" if len(names) == 2 else "the probability of the predicted class",
        "bins": [[float(sure[part].mean()), float(is_right[part].mean()), len(part)] for part in parts],
    }
    of_truth = said[np.arange(len(y)), codes]
    worst = np.argsort(of_truth, kind="stable")[:WORST]
    return found, worst, {
        "is": [names[code] for code in codes[worst]], "predicted": [names[code] for code in predicted[worst]],
        "probability of what it is": [f"{share:.1%}" for share in of_truth[worst]],
    }  # fmt: skip


def _numbers(estimator: NetRegressor, table: pl.DataFrame, y: npt.NDArray[Any]) -> Seen:
    truth = y.astype(np.float64)
    said = np.asarray(estimator.predict(table), dtype=np.float64).reshape(len(y), -1)[:, 0]
    errors = said - truth
    drawn = draw_rows(len(y), POINTS, np.random.RandomState(0))
    counts, edges = np.histogram(np.clip(errors, *np.quantile(errors, [0.01, 0.99])), bins=25)
    found = {
        "points": np.stack([truth[drawn], said[drawn]], axis=1).tolist(), "rows": len(y),
        "bars": counts.tolist(), "low": float(edges[0]), "high": float(edges[-1]),
    }  # fmt: skip
    worst = np.argsort(-np.abs(errors), kind="stable")[:WORST]
    return {"residuals": found}, worst, {
        "is": [f"{each:.6g}" for each in truth[worst]], "predicted": [f"{each:.6g}" for each in said[worst]],
        "error": [f"{each:+.5g}" for each in errors[worst]],
    }  # fmt: skip


def importance(path: Path, estimator: Estimator) -> dict[str, Any]:
    """Return by how much the loss on the test rows grows when a column is shuffled, the most important columns first.

    Raises:
        RunError: the run had no test rows, or its table is not the one it was.
    """
    table, y, _ = test_rows_of(read_run(path))
    with warnings.catch_warnings(action="ignore", category=DataWarning):
        found = permutation_importance(estimator, table, y, n_repeats=SHUFFLES, max_samples=ROWS).to_json()
    return found | {"columns": found["columns"][:SHOWN], "left_out": max(0, len(found["columns"]) - SHOWN)}
