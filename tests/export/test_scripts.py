"""Exported scripts predict what their estimator does, to 1e-5, in a Python that has no plainnet."""

import ast
import csv
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plainnet import NetClassifier, NetRegressor, export_model
from plainnet.errors import SettingError
from plainnet.export.scripts import FEW_WEIGHTS
from tests.export.tables import estimators, everything, strange, targets

WRITERS = ("python", "torch")
ALL = estimators()
TARGETS = {name: ALL[name] for name in ("text", "labels", "numbers", "quantiles", "counts", "logs", "linear", "selu")}

#: Runs a script without plainnet (and, for NumPy, without torch): rows as JSON in, predictions as JSON out.
DRIVER = """
import json, sys
for name in json.loads(sys.argv[2]):
    sys.modules[name] = None
sys.path.insert(0, sys.argv[1])
import model
from datetime import datetime
rows = json.load(sys.stdin)
for column in ("moment",):
    if column in rows:
        rows[column] = [None if cell is None else datetime.fromisoformat(cell) for cell in rows[column]]
answer = {"predict": model.predict(rows)}
if sys.argv[3] == "classes":
    answer["predict_proba"] = model.predict_proba(rows).tolist()
print(json.dumps(answer))
"""


def answers_of(folder: Path, writer: str, table: pl.DataFrame, *, is_class: bool) -> dict:
    """Run a script on the rows of a table, in a process of its own."""
    rows = {
        name: [cell.isoformat() if hasattr(cell, "isoformat") else cell for cell in cells]
        for name, cells in table.to_dict(as_series=False).items()
    }
    absent = ["plainnet", "polars", "sklearn", *(["torch", "safetensors"] if writer == "python" else [])]
    kind = "classes" if is_class else "numbers"
    command = [sys.executable, "-I", "-c", DRIVER, str(folder), json.dumps(absent), kind]
    done = subprocess.run(command, input=json.dumps(rows), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def names_of(path: Path) -> dict:
    """Run a script in this process, which is quicker where torch has to be imported; return what it defines."""
    names: dict = {"__name__": "model", "__file__": str(path)}
    exec(compile(path.read_text(), path, "exec"), names)  # noqa: S102 - what was just written
    return names


def check_equal(estimator, folder: Path, writer: str, table: pl.DataFrame, *, apart: bool = True) -> None:
    is_class = isinstance(estimator, NetClassifier)
    if apart:
        answers = answers_of(folder, writer, table, is_class=is_class)
    else:
        names, rows = names_of(folder / "model.py"), table.to_dict(as_series=False)
        answers = {"predict": names["predict"](rows)}
        answers |= {"predict_proba": names["predict_proba"](rows).tolist()} if is_class else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unseen cells
        predicted = estimator.predict(table)
        if is_class:
            assert answers["predict"] == predicted.tolist()
            np.testing.assert_allclose(answers["predict_proba"], estimator.predict_proba(table), rtol=0, atol=1e-5)
        else:
            scale = getattr(estimator.target_, "scale", estimator.target_.mean)
            assert np.shape(answers["predict"]) == predicted.shape
            assert (np.abs(answers["predict"] - predicted) <= 1e-5 * scale).all()


@pytest.fixture(scope="module", params=TARGETS)
def fitted(request):
    table = everything()
    estimator, target = TARGETS[request.param]
    return estimator.fit(table, targets(table)[target])


@pytest.mark.parametrize("writer", WRITERS)
def test_a_script_predicts_the_same_without_plainnet(fitted, writer: str, tmp_path: Path) -> None:
    files = export_model(fitted, tmp_path / "model.py", writer)
    assert {file.name for file in files} == {file.name for file in tmp_path.iterdir()}
    table = everything()
    rows = pl.concat([table.head(60), strange(table)])
    apart = writer == "python" or fitted.target_.to_json()["kind"] == "labels"  # one with torch is enough
    check_equal(fitted, tmp_path, writer, rows, apart=apart)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "elu", "gelu", "mish", "tanh", "sigmoid"])
def test_each_activation_is_the_same_in_numpy(activation: str, tmp_path: Path) -> None:
    table = everything(80)
    estimator = NetClassifier(members=1, epochs=2, hidden=(5,), activation=activation)
    estimator.fit(table, targets(table)["text"])
    path, *_ = export_model(estimator, tmp_path / "model.py", "python")
    names = names_of(path)
    rows = table.to_dict(as_series=False)
    np.testing.assert_allclose(names["predict_proba"](rows), estimator.predict_proba(table), rtol=0, atol=1e-5)
    text = path.read_text()
    assert "ACTIVATION ==" not in text
    assert ("from math import erf" in text) == (activation == "gelu")


@pytest.mark.parametrize("writer", WRITERS)
def test_a_script_prints_predictions_of_a_csv_file(writer: str, tmp_path: Path) -> None:
    table = everything().with_columns(pl.col("flag").cast(pl.String), pl.col("moment").cast(pl.String))
    table.write_csv(tmp_path / "rows.csv", null_value="NA")
    from plainnet import read_table

    read = read_table(tmp_path / "rows.csv")
    classifier = NetClassifier(members=2, epochs=2, hidden=(4,)).fit(read, targets(everything())["text"])
    path, *_ = export_model(classifier, tmp_path / "model.py", writer)
    done = subprocess.run(
        [sys.executable, "-I", path, tmp_path / "rows.csv"], capture_output=True, text=True, check=True
    )
    header, *lines = csv.reader(done.stdout.splitlines())
    assert header == ["prediction", "probability maybe", "probability no", "probability yes"]
    assert [line[0] for line in lines] == classifier.predict(read).tolist()
    printed = np.array([line[1:] for line in lines], dtype=float)
    np.testing.assert_allclose(printed, classifier.predict_proba(read), rtol=0, atol=1e-5)

    assert "of 'rare', such as 'rare " in done.stderr
    assert "'size'" not in done.stderr
    if writer == "torch":
        return
    table.head(3).with_columns(pl.lit("1,5").alias("size")).write_csv(tmp_path / "comma.csv")
    done = subprocess.run(
        [sys.executable, "-I", path, tmp_path / "comma.csv"], capture_output=True, text=True, check=True
    )
    assert (
        "Note: 3 cells of 'size', such as '1,5', count as rare or missing: training held no such number" in done.stderr
    )
    (tmp_path / "other.csv").write_text("size;town\n1.5;Ulm\n")
    for arguments, message in (
        ([], "Usage: python"),
        ([tmp_path / "other.csv"], "The rows lack the columns"),
        ([tmp_path / "model.py"], "more or fewer cells than its header"),
    ):
        done = subprocess.run([sys.executable, "-I", path, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_a_small_network_stands_in_the_script_itself(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    table = {"size": rng.randn(90), "town": rng.choice(["Ulm", "Bonn", "Jena"], 90)}
    y = table["size"] * 2 + 5
    small = NetRegressor(members=1, hidden=(3,), epochs=3).fit(table, y)
    assert sum(p.numel() for p in small.network_.parameters()) < FEW_WEIGHTS
    files = export_model(small, tmp_path / "model.py", "python")
    assert [file.name for file in files] == ["model.py"]
    check_equal(small, tmp_path, "python", pl.DataFrame(table))


def test_names_of_a_strangers_table_are_never_code(tmp_path: Path) -> None:
    rng = np.random.RandomState(0)
    bad = '"""\nraise SystemExit("run")\n"""'
    table = {bad: rng.randn(60), "x'": rng.choice([bad, "\\", "# ---- "], 60)}
    y = rng.choice([bad, "'''"], 60)
    classifier = NetClassifier(members=1, hidden=(3,), epochs=1).fit(table, y)
    for writer in WRITERS:
        path, *_ = export_model(classifier, tmp_path / "model.py", writer, overwrite=True)
        check_equal(classifier, tmp_path, writer, pl.DataFrame(table), apart=False)
        calls = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Expr | ast.Raise)]
        assert len(calls) == 1  # the docstring


def test_a_script_has_only_the_branches_of_its_own_target(tmp_path: Path) -> None:
    table = everything(80)
    regressor = NetRegressor(members=2, epochs=1, hidden=(4,)).fit(table, targets(table)["number"])
    for writer in WRITERS:
        text = export_model(regressor, tmp_path / "model.py", writer, overwrite=True)[0].read_text()
        assert 'TARGET["kind"] ==' not in text
        assert "softmax" not in text
        assert "import plainnet" not in text
        assert "from plainnet" not in text
        assert "noqa" not in text
        assert "# standardised numbers" in text


def test_a_network_of_ones_own_is_not_exported(tmp_path: Path) -> None:
    from torch import nn

    table = everything(80)
    own = NetRegressor(network=lambda n_in, n_out: nn.Linear(n_in, n_out), members=1, epochs=1)
    own.fit(table, targets(table)["number"])
    with pytest.raises(SettingError, match="only plain networks are exported"):
        export_model(own, tmp_path / "model.py", "python")
    assert list(tmp_path.iterdir()) == []
