"""Does an exported ONNX file predict what its estimator does? On real tables, with cells that training never saw.

    python benchmarks/quality/onnx_equality.py --data FOLDER [--only adult wine_quality] [--rows 3000]

Each table's network is fitted on some rows and compared on others, twice: as they are, and with a tenth of the cells of each
column missing, infinite, far out, or of an unseen level. Printed is the largest difference: of probabilities, or of numbers in
standard deviations of the target.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl
from datasets import TABLES, find, load

from plainnet import NetClassifier, NetRegressor
from plainnet.export.onnx_model import onnx_inputs, onnx_model


def spoiled(table: pl.DataFrame, rng: np.random.RandomState) -> pl.DataFrame:
    """The rows with a tenth of the cells of each column replaced."""
    columns = []
    for column in table:
        strange = [None]
        if column.dtype == pl.String:
            strange += ["", "never seen before"]
        elif column.dtype.is_float():
            strange += [float("inf"), float("-inf"), 1e300, -1e-300]
        elif column.dtype.is_integer():
            strange += [np.iinfo(np.int32).max, -1]
        cells = column.cast(pl.Int64).to_list() if column.dtype.is_integer() else column.to_list()
        for row in np.flatnonzero(rng.rand(len(cells)) < 0.1):
            cells[row] = strange[rng.randint(len(strange))]
        dtype = pl.Int64 if column.dtype.is_integer() else column.dtype
        columns.append(pl.Series(column.name, cells, dtype=dtype))
    return pl.DataFrame(columns)


def difference(
    estimator: NetClassifier | NetRegressor, session: onnxruntime.InferenceSession, table: pl.DataFrame
) -> float:
    answers = session.run(None, onnx_inputs(estimator, table))
    if isinstance(estimator, NetClassifier):
        assert answers[1].tolist() == estimator.predict(table).tolist(), "labels differ"
        return float(np.abs(answers[0] - estimator.predict_proba(table)).max())
    return float((np.abs(answers[0] - estimator.predict(table)) / estimator.target_.scale).max())


def compare(name: str, path: Path, n_rows: int) -> None:
    table = TABLES[name]
    X, y = load(table, path)
    rows = np.random.RandomState(0).permutation(len(y))
    train, test = rows[: min(n_rows, len(rows) // 2)], rows[-min(n_rows, len(rows) // 2) :]
    kinds = dict.fromkeys(table.categories, "category")
    make = NetRegressor if table.task == "regression" else NetClassifier
    estimator = make(effort="quick", time_limit=60, kinds=kinds).fit(X[train], y[train])
    model = onnx_model(estimator)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    seen = difference(estimator, session, X[test])
    unseen = difference(estimator, session, spoiled(X[test], np.random.RandomState(1)))
    began = time.perf_counter()
    session.run(None, onnx_inputs(estimator, X[test]))
    seconds = time.perf_counter() - began
    size = model.ByteSize() / 2**20
    print(
        f"{name:20} {len(train):6,} rows fitted, {len(test):6,} compared: {seen:.1e} as they are, {unseen:.1e} spoiled; "
        f"{size:5.1f} MiB, {len(model.graph.node)} nodes, {seconds:.2f} s",
        flush=True,
    )
    assert max(seen, unseen) <= 1e-5, name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=list(TABLES))
    parser.add_argument("--rows", type=int, default=3000)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in arguments.only:
        if path := find(name, arguments.data):
            compare(name, path, arguments.rows)


if __name__ == "__main__":
    main()
