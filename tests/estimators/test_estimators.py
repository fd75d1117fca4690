"""NetClassifier and NetRegressor on tables: what comes in, what comes out, saving, scikit-learn's tools."""

import io
import json
import warnings

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import plainnet
from plainnet import (
    ColumnsChangedError,
    DataWarning,
    ModelFileError,
    NetClassifier,
    NetRegressor,
    SettingError,
    TableError,
)
from tests.helpers import people

SMALL = {"hidden": (16,), "epochs": 15}


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return people()


@pytest.fixture(scope="module")
def classifier(table) -> NetClassifier:
    return NetClassifier(**SMALL).fit(table, "rich")


@pytest.fixture(scope="module")
def regressor(table) -> NetRegressor:
    return NetRegressor(hidden=(32,), epochs=60).fit(table.drop("rich"), "income")


def test_it_learns(table, classifier, regressor) -> None:
    assert classifier.score(table, "rich") > 0.9
    assert regressor.score(table, "income") > 0.9
    assert classifier.classes_.tolist() == ["no", "yes"]
    np.testing.assert_allclose(classifier.predict_proba(table).sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("members", [1, None])
def test_the_network_is_a_plain_module_that_can_be_used_alone(table, members) -> None:
    from plainnet.tables.encode import encode

    classifier = NetClassifier(members=members, **SMALL).fit(table, "rich")
    assert (type(classifier.network_) is torch.nn.Sequential) is (members == 1)
    assert all(type(member.network) is torch.nn.Sequential for member in classifier.members_)
    x, _ = encode(classifier.schema_, table)
    with torch.no_grad():
        expected = classifier.network_.eval()(torch.from_numpy(x)).softmax(dim=1)
    np.testing.assert_allclose(classifier.predict_proba(table), expected, rtol=1e-4, atol=1e-6)


def test_every_kind_of_table_gives_the_same_predictions(table, classifier, tmp_path) -> None:
    expected = classifier.predict_proba(table)
    path = tmp_path / "people.parquet"
    table.write_parquet(path)
    tables = {
        "pandas": table.to_pandas(),
        "arrow": table.to_arrow(),
        "dict": table.to_dict(as_series=False),
        "path": path,
        "text": str(path),
        "lazy": table.lazy(),
        "rows": table.to_dicts(),
    }
    for name, each in tables.items():
        np.testing.assert_array_equal(classifier.predict_proba(each), expected, err_msg=name)
    for each in (table.to_pandas(), path):
        fitted = NetClassifier(**SMALL).fit(each, "rich")
        np.testing.assert_array_equal(fitted.predict_proba(table), expected)
    fitted = NetClassifier(**SMALL).fit(table.drop("rich"), table["rich"].to_pandas())
    np.testing.assert_array_equal(fitted.predict_proba(table), expected)


@pytest.mark.parametrize(
    "y", [np.array([True, False]), np.array([3, 7]), np.array(["a", "b"]), np.array(["a", "b"], dtype=object)]
)
def test_classes_come_back_as_they_were(y) -> None:
    X = np.repeat([[0.0], [1.0]], 20, axis=0)
    fitted = NetClassifier(hidden=(4,), epochs=60, learning_rate=0.05).fit(X, np.repeat(y, 20))
    assert fitted.predict([[0.0], [1.0]]).tolist() == y.tolist()
    assert fitted.predict([[0.0]]).dtype == np.repeat(y, 20).dtype


def test_several_targets_at_once() -> None:
    X = np.random.RandomState(0).randn(400, 3)
    y = np.stack([X[:, 0], 1000 - 50 * X[:, 1]], axis=1)
    fitted = NetRegressor(hidden=(64,), epochs=60).fit(X, y)
    assert fitted.predict(X).shape == (400, 2)
    assert fitted.score(X, y) > 0.95


def test_class_weight_moves_the_border(table) -> None:
    def share(class_weight):
        return (
            NetClassifier(**SMALL, class_weight=class_weight).fit(table.drop("income"), "rich").predict(table) == "yes"
        ).mean()

    assert share({"no": 1, "yes": 30}) > share(None) > share({"no": 30, "yes": 1})


def test_rows_of_weight_zero_are_as_if_not_there(table) -> None:
    weight = np.ones(len(table))
    weight[200:] = 0
    a = NetClassifier(**SMALL).fit(table.drop("rich"), table["rich"].to_numpy(), sample_weight=weight)
    b = NetClassifier(**SMALL).fit(table.drop("rich")[:200], table["rich"].to_numpy()[:200], sample_weight=weight[:200])
    np.testing.assert_array_equal(a.predict_proba(table), b.predict_proba(table))


def test_the_same_seed_gives_the_same_network_and_another_seed_another(table, classifier) -> None:
    torch.manual_seed(99)  # torch's own generator has no say
    again = NetClassifier(**SMALL).fit(table, "rich")
    np.testing.assert_array_equal(again.predict_proba(table), classifier.predict_proba(table))
    other = NetClassifier(**SMALL, random_state=1).fit(table, "rich")
    assert not np.array_equal(other.predict_proba(table), classifier.predict_proba(table))


def test_torchs_own_generator_is_left_alone(table) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    NetClassifier(**SMALL).fit(table, "rich")
    assert torch.equal(torch.rand(3), expected)


def test_rows_without_a_target_are_left_out_and_counted(table) -> None:
    holes = table.with_columns(pl.when(pl.int_range(len(table)) < 7).then(None).otherwise(pl.col("rich")).alias("rich"))
    with pytest.warns(DataWarning, match="7 rows without a value in 'rich'"):
        NetClassifier(**SMALL).fit(holes, "rich")


def test_levels_never_seen_are_counted_in_a_warning(table, classifier) -> None:
    with pytest.warns(DataWarning, match="never held: 2 in 'town'"):
        classifier.predict(table[:2].with_columns(pl.lit("Rom").alias("town")))


def test_partial_fit_goes_on(table) -> None:
    X, y = table.drop("rich"), table["rich"].to_numpy()
    net = NetClassifier(hidden=(16,), learning_rate=0.01)
    for _ in range(12):
        net.partial_fit(X, y, classes=["no", "yes"])
    assert len(net.history_) == 12
    assert [epoch.index for epoch in net.history_.epochs] == list(range(12))
    assert net.history_.losses[-1] < net.history_.losses[0]
    assert net.score(X, y) > 0.85


def test_partial_fit_knows_classes_that_come_later(table) -> None:
    net = NetClassifier(hidden=(4,)).partial_fit(
        table.drop("rich"), table["rich"].to_numpy(), classes=["maybe", "no", "yes"]
    )
    assert net.classes_.tolist() == ["maybe", "no", "yes"]


def test_validation_rows_can_be_given(table) -> None:
    net = NetClassifier(**SMALL).fit(table[:200], "rich", validation=(table[200:], "rich"))
    assert net.schema_.n_rows == 200
    assert net.history_.validation_losses is not None


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"hidden": (0,)}, SettingError, "hidden holds widths"),
        ({"hidden": (10**9, 10**9)}, SettingError, "more than 268,435,456 weights"),
        ({"activation": "magic"}, SettingError, "activation is one of"),
        ({"dropout": 1.0}, SettingError, "dropout is at least 0"),
        ({"learning_rate": -1}, SettingError, "learning_rate is a number above 0"),
        ({"epochs": 0}, SettingError, "epochs is a whole number from 1"),
        ({"batch_size": 1.5}, SettingError, "batch_size is a whole number"),
        ({"patience": 0}, SettingError, "patience is a whole number from 1"),
        ({"validation_fraction": 1.0}, SettingError, "validation_fraction is at least 0"),
        ({"kinds": {"nope": "number"}}, SettingError, "kinds names the column 'nope'"),
    ],
)
def test_settings_outside_their_range(table, settings, error, message) -> None:
    with pytest.raises(error, match=message):
        NetClassifier(**(SMALL | settings)).fit(table, "rich")


def test_targets_that_cannot_be(table) -> None:
    X = table.drop("rich")
    with pytest.raises(TableError, match="has no column 'ritch' .did you mean 'rich'"):
        NetClassifier(**SMALL).fit(table, "ritch")
    with pytest.raises(TableError, match="one class only"):
        NetClassifier(**SMALL).fit(X, ["yes"] * len(X))
    with pytest.raises(TableError, match="For classes use NetClassifier"):
        NetRegressor(**SMALL).fit(table, "rich")
    with pytest.raises(TableError, match="target y is None"):
        NetRegressor(**SMALL).fit(X)
    with pytest.raises(TableError, match="without column names"):
        NetRegressor(**SMALL).fit(np.ones((5, 2)), "a")
    with pytest.raises(SettingError, match="sample_weight has shape"):
        NetClassifier(**SMALL).fit(X, table["rich"].to_numpy(), sample_weight=[1.0])


def test_a_table_that_changed_is_answered_by_the_difference(table, classifier) -> None:
    with pytest.raises(ColumnsChangedError, match=r"differs from the one the network was fitted on\.\n.*missing  age"):
        classifier.predict(table.drop("age"))
    with pytest.raises(TableError, match="fitted on an array"):
        NetRegressor(**SMALL).fit(np.random.rand(50, 2), np.random.rand(50)).predict(table)  # noqa: NPY002


@pytest.mark.parametrize("which", ["classifier", "regressor"])
def test_saved_and_loaded_it_predicts_the_same(which, request, table, tmp_path) -> None:
    estimator = request.getfixturevalue(which)
    estimator.save(tmp_path / "m.safetensors")
    loaded = plainnet.load(tmp_path / "m.safetensors")
    assert type(loaded) is type(estimator)
    np.testing.assert_array_equal(loaded.predict(table), estimator.predict(table))
    assert loaded.schema_ == estimator.schema_
    assert loaded.feature_names_in_.tolist() == estimator.feature_names_in_.tolist()
    loaded.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()


def test_fitted_on_an_array_and_loaded(tmp_path) -> None:
    X = np.random.RandomState(0).randn(80, 3)
    net = NetRegressor(**SMALL).fit(X, X[:, 0])
    net.save(tmp_path / "m.safetensors")
    loaded = plainnet.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    with pytest.raises(ValueError, match="X has 2 features"):
        loaded.predict(X[:, :2])


def test_the_same_training_gives_the_same_bytes(table, tmp_path) -> None:
    for name in ("a", "b"):
        NetClassifier(**SMALL).fit(table, "rich").save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_header_is_readable_json(classifier, tmp_path) -> None:
    classifier.save(tmp_path / "m")
    data = (tmp_path / "m").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    content = json.loads(header["__metadata__"]["plainnet"])
    assert content["format"] == 2
    assert content["target"]["classes"] == ["no", "yes"]


def damaged(data: bytes, change: dict) -> bytes:
    """The file with a changed header of ours."""
    n_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n_bytes])
    content = json.loads(header["__metadata__"]["plainnet"])
    for path, value in change.items():
        place = content
        *parents, last = path.split(".")
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[last] = value
    header["__metadata__"]["plainnet"] = json.dumps(content)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + n_bytes :]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda data: b"", "no plainnet model, or it is truncated"),
        (lambda data: data[:100], "truncated"),
        (lambda data: data[:-50], "damaged"),
        (lambda data: b"PK\x03\x04" + data, "truncated|announces|damaged"),
        (lambda data: (2**40).to_bytes(8, "little") + data[8:], "truncated"),
        (
            lambda data: (20 * 2**20).to_bytes(8, "little") + b"{" * (21 * 2**20),
            "announces a header of 20,971,520 bytes",
        ),
        (lambda data: damaged(data, {"format": 99}), "has format 99.*pip install --upgrade plainnet"),
        (lambda data: damaged(data, {"format": "one"}), "no format number"),
        (lambda data: damaged(data, {"members.0.network.hidden": [16, 16]}), "weights do not fit"),
        (lambda data: damaged(data, {"members.0.network.hidden": [10**9]}), "more than 268,435,456 weights"),
        (lambda data: damaged(data, {"members.0.network.n_in": 30}), "do not fit its schema"),
        (lambda data: damaged(data, {"members.0.weight": 3.0}), "not shares of 1"),
        (lambda data: damaged(data, {"members": []}), "not shares of 1"),
        (lambda data: damaged(data, {"members.0.network.bins": [10**9]}), "more than 268,435,456 weights|do not fit"),
        (lambda data: damaged(data, {"estimator": "os.system"}), "damaged"),
        (lambda data: damaged(data, {"schema": []}), "damaged"),
        (
            lambda data: damaged(data, {"target": {"kind": "numbers", "mean": [0], "scale": [1], "is_1d": True}}),
            "not what its estimator predicts",
        ),
        (lambda data: damaged(data, {"settings.shoe_size": 43}), "damaged"),
    ],
)
def test_a_file_that_is_no_model_of_ours(classifier, tmp_path, make, message) -> None:
    classifier.save(tmp_path / "good")
    (tmp_path / "bad").write_bytes(make((tmp_path / "good").read_bytes()))
    with pytest.raises(ModelFileError, match=message):
        plainnet.load(tmp_path / "bad")


def test_other_safetensors_missing_files_folders_and_nan(classifier, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    save_file({"a": torch.ones(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ModelFileError, match="not one that plainnet wrote"):
        plainnet.load(tmp_path / "other.safetensors")
    with pytest.raises(ModelFileError, match="cannot be read"):
        plainnet.load(tmp_path / "missing")
    with pytest.raises(ModelFileError, match="is a folder"):
        plainnet.load(tmp_path)
    classifier.save(tmp_path / "m")
    from safetensors import safe_open

    with safe_open(tmp_path / "m", "pt") as file:
        metadata = file.metadata()
    save_file(
        {name: tensor * float("nan") for name, tensor in load_file(tmp_path / "m").items()}, tmp_path / "nan", metadata
    )
    with pytest.raises(ModelFileError, match="not finite"):
        plainnet.load(tmp_path / "nan")


@pytest.mark.parametrize("seed", range(3))
def test_random_damage_is_only_ever_a_model_file_error(classifier, tmp_path, seed) -> None:
    classifier.save(tmp_path / "good")
    data = (tmp_path / "good").read_bytes()
    rng = np.random.RandomState(seed)
    for _ in range(150):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 5)):
            changed[rng.randint(0, min(len(data), 6000))] = rng.randint(0, 256)
        (tmp_path / "bad").write_bytes(changed)
        try:
            plainnet.load(tmp_path / "bad")
        except ModelFileError:
            continue


def test_it_works_with_scikit_learns_tools(table) -> None:
    X = np.random.RandomState(0).randn(120, 4)
    y = (X[:, 0] > 0).astype(int)
    assert cross_val_score(NetClassifier(), X, y, cv=3).mean() > 0.8
    search = GridSearchCV(NetClassifier(epochs=5), {"hidden": [(4,), (8,)]}, cv=2).fit(X, y)
    assert search.best_params_["hidden"] in [(4,), (8,)]
    pipeline = make_pipeline(ColumnTransformer([("numbers", StandardScaler(), [0, 1])]), NetRegressor(**SMALL))
    assert pipeline.fit(X, X[:, 0]).predict(X).shape == (120,)
    assert clone(NetClassifier(hidden=(3,), class_weight="balanced")).get_params()["hidden"] == (3,)


def test_it_survives_joblib(classifier, table) -> None:
    file = io.BytesIO()
    joblib.dump(classifier, file)
    file.seek(0)
    np.testing.assert_array_equal(joblib.load(file).predict_proba(table), classifier.predict_proba(table))


def test_pandas_weights_and_index_do_not_matter(table) -> None:
    frame = table.to_pandas()
    frame.index = frame.index[::-1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        NetClassifier(**SMALL).fit(
            frame.drop(columns="rich"), frame["rich"], sample_weight=pd.Series(np.ones(len(frame)))
        )


@pytest.mark.parametrize("dtype", ["category", "string", "object", "str"])
def test_text_targets_of_any_pandas_type(table, dtype) -> None:
    y = table["rich"].to_pandas().astype(dtype)
    assert NetClassifier(**SMALL).fit(table.drop("rich"), y).classes_.tolist() == ["no", "yes"]


def test_nullable_targets_keep_their_type_and_missing_ones_are_refused(table) -> None:
    X, rich = table.drop("rich"), (table["rich"] == "yes").to_list()
    assert NetClassifier(**SMALL).fit(X, pd.Series(rich, dtype="boolean")).classes_.tolist() == [False, True]
    for missing in (pd.Series([None, *rich[1:]], dtype="boolean"), pl.Series([None, *rich[1:]])):
        with pytest.raises(TableError, match="Input y contains NaN: 1 rows"):
            NetClassifier(**SMALL).fit(X, missing)


def test_numpy_numbers_are_settings_too(table, tmp_path) -> None:
    net = NetClassifier(
        hidden=np.array([8]), epochs=np.int64(2), class_weight={"no": np.int64(1), "yes": 2}, kinds={"age": "number"}
    )
    net.fit(table, "rich").save(tmp_path / "m")
    loaded = plainnet.load(tmp_path / "m")
    assert (loaded.hidden, loaded.epochs, loaded.class_weight, loaded.kinds) == (
        (8,),
        2,
        {"no": 1, "yes": 2},
        {"age": "number"},
    )
    with pytest.raises(SettingError, match=r"such as \(64, 64\), not 8"):
        NetClassifier(hidden=8).fit(table, "rich")


def test_class_weights_of_numbered_classes_survive_saving(tmp_path) -> None:
    X, y = np.random.RandomState(0).randn(80, 2), np.arange(80) % 2
    NetClassifier(**SMALL, class_weight={0: 1, 1: 5}).fit(X, y).save(tmp_path / "m")
    assert plainnet.load(tmp_path / "m").class_weight == {0: 1, 1: 5}


def test_held_out_rows_keep_their_weights() -> None:
    """The best epoch is chosen by the weighted loss, however the weights are given.

    The two networks differ a little, as the weights of rows also weigh the quantiles that numbers are scaled by.
    """
    rng = np.random.RandomState(0)
    X, y = rng.randn(400, 3), rng.choice(["p", "q"], 400)
    settings = {"hidden": (8,), "epochs": 30, "patience": 30, "members": 1}
    by_row = NetClassifier(**settings).fit(X, y, sample_weight=np.where(y == "p", 50.0, 1.0))
    by_class = NetClassifier(**settings, class_weight={"p": 50, "q": 1}).fit(X, y)
    np.testing.assert_allclose(by_row.history_.validation_losses, by_class.history_.validation_losses, rtol=0.02)


def test_decimals_are_no_classes() -> None:
    with pytest.raises(
        TableError, match="numbers with decimals, such as 1.5, which are no classes. For numbers use NetReg"
    ):
        NetClassifier(**SMALL).fit(np.zeros((4, 1)), [1.0, 1.5, 2.5, 3.5])


@pytest.mark.parametrize("estimator", [NetClassifier, NetRegressor])
def test_dates_are_no_targets(estimator) -> None:
    days = np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]")
    for y in (days, days.tolist(), days - days[0]):
        with pytest.raises(TableError, match="the target holds dates or durations, such as"):
            estimator(**SMALL).fit(np.zeros((2, 1)), y)


def test_weights_of_rows_without_a_target_are_dropped_with_them() -> None:
    table = pl.DataFrame({"x": np.arange(20.0), "y": [None, *np.arange(19.0)]})
    weight = np.r_[1e9, np.arange(19.0) % 3]
    with pytest.warns(DataWarning, match="1 rows without a value in 'y'"):
        found = NetRegressor(**SMALL).fit(table, "y", sample_weight=weight)
    expected = NetRegressor(**SMALL).fit(table[1:], "y", sample_weight=weight[1:])
    np.testing.assert_array_equal(found.predict(table), expected.predict(table))
    with pytest.raises(SettingError, match="sample_weight is .'a', 'b'.*a number for each row"):
        NetRegressor(**SMALL).fit(table[1:], "y", sample_weight=["a", "b"])


def test_infinity_is_missing_in_an_array_as_in_a_frame() -> None:
    X = np.random.RandomState(0).rand(30, 2)
    X[4, 0] = np.inf
    y = X[:, 1]
    array = NetRegressor(**SMALL).fit(X, y)
    frame = NetRegressor(**SMALL).fit({"a": X[:, 0], "b": X[:, 1]}, y)
    assert array.schema_.columns[0].missing == frame.schema_.columns[0].missing == 1
    ours, theirs = array.network_.state_dict(), frame.network_.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
