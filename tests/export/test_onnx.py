"""An ONNX file predicts what its estimator does, to 1e-5, whatever the cells hold."""

import json
import warnings

import numpy as np
import onnx
import onnxruntime
import polars as pl
import pytest

from plainnet import NetClassifier, NetRegressor
from plainnet.errors import MissingExtraError, SettingError
from plainnet.export.onnx_model import onnx_inputs, onnx_model, write_onnx
from plainnet.export.onnx_vote import class_type
from plainnet.networks.shape import ACTIVATIONS
from plainnet.tables.dates import DATE_PARTS
from plainnet.tables.target import ClassTarget
from tests.export.tables import estimators, everything, strange, targets

ALL = estimators()


def check_equal(estimator, model: onnx.ModelProto, table) -> dict[str, np.ndarray]:
    """Compare an ONNX model's answers with its estimator's; return the answers."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    answers = dict(zip(names, session.run(None, onnx_inputs(estimator, table)), strict=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of unseen cells
        predicted = estimator.predict(table)
        if isinstance(estimator, NetClassifier):
            np.testing.assert_allclose(answers[names[0]], estimator.predict_proba(table), rtol=0, atol=1e-5)
            assert answers[names[1]].tolist() == predicted.tolist()
            assert answers[names[1]].shape == predicted.shape
        else:
            scale = getattr(estimator.target_, "scale", estimator.target_.mean)
            assert answers[names[0]].shape == predicted.shape
            assert (np.abs(answers[names[0]] - predicted) <= 1e-5 * scale).all()
    return answers


@pytest.mark.parametrize("name", ALL)
def test_every_estimator_predicts_the_same_under_onnx_runtime(name: str) -> None:
    table = everything()
    estimator, target = ALL[name]
    estimator.fit(table, targets(table)[target])
    model = onnx_model(estimator)
    check_equal(estimator, model, table)
    check_equal(estimator, model, strange(table))
    check_equal(estimator, model, table.head(1))


def test_the_estimators_of_these_tests_are_every_kind_there_is() -> None:
    assert set(ACTIVATIONS) <= set(ALL)
    table = everything()
    estimator = NetClassifier(members=1, epochs=1, hidden=(2,)).fit(table, targets(table)["text"])
    kinds = {column.name: column.kind for column in estimator.schema_.columns}
    assert set(kinds.values()) == {"number", "category", "flag", "date", "text", "constant"}
    by_name = {column.name: column for column in estimator.schema_.columns}
    assert set(by_name["moment"].parts) == set(DATE_PARTS)
    assert by_name["rare"].other > 0
    assert by_name["text number"].dtype == "String"


@pytest.fixture(scope="module")
def classifier() -> NetClassifier:
    table = everything()
    return NetClassifier(members=2, epochs=2, hidden=(8,)).fit(table, targets(table)["text"])


def test_the_reference_implementation_agrees(classifier) -> None:
    from onnx.reference import ReferenceEvaluator

    table = everything()
    rows = pl.concat([table.head(40), strange(table)])
    answers = ReferenceEvaluator(onnx_model(classifier)).run(None, onnx_inputs(classifier, rows))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(answers[0], classifier.predict_proba(rows), rtol=0, atol=1e-5)
        assert answers[1].tolist() == classifier.predict(rows).tolist()


def test_no_rows_give_no_predictions(classifier) -> None:
    session = onnxruntime.InferenceSession(onnx_model(classifier).SerializeToString())
    inputs = {name: values[:0] for name, values in onnx_inputs(classifier, everything().head(1)).items()}
    assert [answer.shape for answer in session.run(None, inputs)] == [(0, 3), (0,)]


def test_every_day_and_hour_from_1900_to_2100_has_the_same_parts() -> None:
    days = pl.datetime_range(pl.datetime(1899, 12, 25), pl.datetime(2100, 3, 5), "25h", eager=True)
    y = np.arange(len(days)) % 7 + days.dt.month().to_numpy()
    regressor = NetRegressor(members=1, epochs=1, hidden=(4,), time_limit=20).fit({"when": days}, y)
    check_equal(regressor, onnx_model(regressor), {"when": days})


def test_columns_of_numbers_alone_and_of_texts_alone() -> None:
    rng = np.random.RandomState(0)
    array = rng.randn(100, 3)
    array[0, 1] = np.nan
    y = (array[:, 0] > 0).astype(int)
    of_array = NetClassifier(members=2, epochs=2, hidden=(4,)).fit(array, y)
    check_equal(of_array, onnx_model(of_array), array)
    texts = pl.DataFrame({"town": rng.choice(["Ulm", "Bonn", "Köln"], 100), "yes": rng.choice(["y", "n"], 100)})
    of_texts = NetClassifier(members=6, epochs=2, hidden=(4,)).fit(texts, y)
    assert of_texts.members_[0].recipe.shape.bins == ()  # no number is coded
    check_equal(of_texts, onnx_model(of_texts), texts)


def test_columns_without_a_cell_that_the_user_chose_to_keep() -> None:
    rng = np.random.RandomState(0)
    table = pl.DataFrame({"size": rng.randn(80), "flag": [None] * 80, "town": [None] * 80}).cast(
        {"flag": pl.String, "town": pl.String}
    )
    kinds = {"flag": "flag", "town": "category"}
    regressor = NetRegressor(members=1, epochs=1, hidden=(4,), kinds=kinds).fit(table, rng.randn(80))
    model = onnx_model(regressor)
    check_equal(regressor, model, table)
    check_equal(regressor, model, table.with_columns(pl.lit("new").alias("flag"), pl.lit("new").alias("town")))


def test_numbers_of_any_size() -> None:
    rng = np.random.RandomState(0)
    table = pl.DataFrame(
        {
            "huge": np.where(rng.rand(100) < 0.5, 1.7e308, -1.7e308) * rng.rand(100),
            "tiny": rng.randn(100) * 1e-300,
            "few": rng.choice([0, 1, 5], 100),
            "two": rng.choice([3, 4], 100),
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        regressor = NetRegressor(members=2, epochs=2, hidden=(4,)).fit(table, table["few"].to_numpy() * 2.0)
        check_equal(regressor, onnx_model(regressor), table)


def test_an_empty_text_that_is_a_level_is_not_a_missing_cell() -> None:
    rng = np.random.RandomState(0)
    town = pl.Series(rng.choice(["", "Ulm", "Bonn", "(missing)", None], 300).tolist(), dtype=pl.String)
    table = pl.DataFrame({"town": town, "size": rng.randn(300)})
    classifier = NetClassifier(members=1, epochs=5, hidden=(4,)).fit(table, (town == "").fill_null(False).to_numpy())
    column = classifier.schema_.columns[0]
    assert set(column.levels) == {"", "Ulm", "Bonn", "(missing)"}
    model = onnx_model(classifier)
    check_equal(classifier, model, table)
    metadata = json.loads(model.metadata_props[0].value)
    assert metadata["inputs"][0]["missing"] == "(missing)'"
    sneaky = table.with_columns(pl.lit("(missing)'").alias("town")).head(5)  # unseen, not missing
    check_equal(classifier, model, sneaky)


def test_columns_may_be_called_as_the_outputs_are_or_as_nodes_are() -> None:
    rng = np.random.RandomState(0)
    names = ["label", "probabilities", "prediction", "numbers", "", "Gather", "0.1.weight", "classes"]
    table = pl.DataFrame({name: rng.randn(80) for name in names})
    y = rng.choice(["a", "b"], 80)
    classifier = NetClassifier(members=2, epochs=1, hidden=(4,)).fit(table, y)
    model = onnx_model(classifier)
    assert set(check_equal(classifier, model, table)) == {"label_2", "probabilities_2"}
    assert [each.name for each in model.graph.input][4] == "column"


def test_the_metadata_says_what_the_inputs_are(classifier) -> None:
    model = onnx_model(classifier)
    metadata = json.loads({each.key: each.value for each in model.metadata_props}["plainnet"])
    by_column = {each["column"]: each for each in metadata["inputs"]}
    assert metadata["classes"] == ["maybe", "no", "yes"]
    assert by_column["size"] == {
        "name": "size", "column": "size", "kind": "number", "type": "double", "shape": ["N", 1], "read_as": "Float64", "missing": "NaN",
    }  # fmt: skip
    assert by_column["day"]["date_format"] == "%d.%m.%Y"
    assert by_column["day"]["missing"] == -(2**63)
    assert by_column["label"]["levels"] == list(classifier.schema_.columns[-1].levels)
    assert "same" not in by_column
    assert "'maybe', 'no', 'yes'" in model.doc_string
    assert "size (number)" in model.doc_string
    assert all(each.doc_string for each in model.graph.input)


@pytest.mark.parametrize(
    ("classes", "dtype"),
    [
        (np.array([1, 2], dtype=object), np.int64),
        (np.array(["a", "b"], dtype=object), object),
        (np.array(["a", "b"]), object),
        (np.array([1, 2**63], dtype=np.uint64), np.uint64),
        (np.array([1, 2], dtype=np.uint16), np.int64),
        (np.array([False, True]), np.bool_),
        (np.array([1.0, 2.0], dtype=np.float32), np.float64),
    ],
)
def test_classes_keep_their_kind_of_type(classes: np.ndarray, dtype: type) -> None:
    assert class_type(ClassTarget(classes)) is dtype


def test_the_file_holds_no_constant_twice(classifier) -> None:
    model = onnx_model(classifier)
    contents = [
        (each.data_type, tuple(each.dims), each.raw_data or repr(each.string_data)) for each in model.graph.initializer
    ]
    assert len(set(contents)) == len(contents)
    weights = sum(p.numel() for p in classifier.network_.parameters()) * 4
    assert model.ByteSize() < weights + 100_000


def test_the_file_computes_nothing_in_vain() -> None:
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 28), eager=True).to_list() * 4
    rows = {"day": days, "size": np.arange(112.0)}
    regressor = NetRegressor(members=1, epochs=1, hidden=(3,)).fit(rows, np.arange(112.0))
    assert "month sine" not in regressor.schema_.columns[0].parts
    model = onnx_model(regressor)
    used = {name for node in model.graph.node for name in node.input} | {each.name for each in model.graph.output}
    assert all(used.intersection(node.output) for node in model.graph.node)
    assert all(constant.name in used for constant in model.graph.initializer)
    check_equal(regressor, model, rows)


def test_the_inputs_take_any_table_that_predict_takes(classifier) -> None:
    table = everything().head(5)
    for other in (table.to_pandas(), table.to_dicts(), table.to_dict(as_series=False)):
        for name, values in onnx_inputs(classifier, other).items():
            expected = onnx_inputs(classifier.schema_, table)[name]
            assert values.dtype == expected.dtype
            np.testing.assert_array_equal(values, expected)


def test_a_network_of_ones_own_and_a_missing_library_are_explained(classifier, monkeypatch, tmp_path) -> None:
    from torch import nn

    table = everything()
    own = NetRegressor(network=lambda n_in, n_out: nn.Linear(n_in, n_out), members=1, epochs=1)
    own.fit(table, targets(table)["number"])
    with pytest.raises(SettingError, match="only plain networks are exported"):
        write_onnx(own, tmp_path / "own.onnx")
    monkeypatch.setattr("plainnet.export.onnx_model.MOST_BYTES", 100)
    with pytest.raises(SettingError, match=r"have [\d,]+ bytes of weights, and an ONNX file holds 100"):
        write_onnx(classifier, tmp_path / "model.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"Writing an ONNX file needs onnx.*pip install 'plainnet\[onnx\]'"):
        write_onnx(classifier, tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
