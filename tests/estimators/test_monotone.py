"""``monotone``: predictions that never fall, or never rise, with a column, whatever else a row holds."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import plainnet
from plainnet import ModelFileError, NetClassifier, NetRegressor, SettingError
from plainnet.storage.storage import read_model, write_model
from tests.helpers import people

SMALL: dict[str, Any] = {"effort": "quick", "epochs": 8, "hidden": (16, 16)}
BOTH = {"a": 1, "b": -1}
#: Within the training rows' range, at its ends, and far beyond.
GRID = np.unique(np.concatenate([np.linspace(-4, 4, 401), np.linspace(-60, 60, 61), [-1e30, -1e9, 1e9, 1e30]]))


def noisy(rows: int = 500, seed: int = 0) -> pl.DataFrame:
    """Waves along a and b, on slopes as wide as the noise; a's cells are missing here and there, c and kind are free."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.uniform(-3, 3, (3, rows))
    kind = rng.choice(["x", "y", "z"], rows)
    y = 0.5 * a + np.sin(4 * a) - 0.5 * b - np.cos(3 * b) + np.sin(2 * c) * (kind == "x") + rng.normal(0, 0.4, rows)
    table = pl.DataFrame({"a": a, "b": b, "c": c, "kind": kind, "flag": rng.random(rows) < 0.5, "y": y})
    return table.with_columns(pl.when(pl.int_range(rows) % 9 == 0).then(None).otherwise(pl.col("a")).alias("a"))


def least_step(predict: Any, table: pl.DataFrame, column: str, direction: int, grid: Any = GRID) -> float:
    """The least change, in the direction, from one value of a column to the next, over rows; in units of the largest size."""
    rows = [table.head(12).with_columns(pl.lit(value).alias(column)) for value in grid]
    found = predict(pl.concat(rows))
    found = found.reshape(len(grid), 12, -1)
    assert np.ptp(found, axis=0).max() > 0  # it depends on the column
    return float((direction * np.diff(found, axis=0)).min() / np.abs(found).max())


def check(predict: Any, table: pl.DataFrame, directions: dict[str, int], tolerance: float = 1e-6) -> None:
    for column, direction in directions.items():
        assert least_step(predict, table, column, direction) >= -tolerance, column


@pytest.fixture(scope="module")
def regressor() -> NetRegressor:
    return NetRegressor(monotone=BOTH, **SMALL).fit(noisy(), "y")


@pytest.fixture(scope="module")
def classifier() -> NetClassifier:
    table = noisy().with_columns(pl.when(pl.col("y") > 0).then(pl.lit("yes")).otherwise(pl.lit("no")).alias("y"))
    return NetClassifier(monotone=BOTH, **SMALL).fit(table, "y")


def test_without_monotone_the_same_fit_falls_and_rises() -> None:
    free = NetRegressor(activation="relu", **SMALL).fit(noisy(), "y")
    assert least_step(free.predict, noisy(), "a", 1) < -1e-3
    assert least_step(free.predict, noisy(), "b", -1) < -1e-3


def test_numbers_of_every_member_and_of_the_vote(regressor) -> None:
    check(regressor.predict, noisy(), BOTH)
    assert {bool(member.recipe.shape.bins) for member in regressor.members_} == {True, False}
    for member in regressor.members_:
        alone = copy.copy(regressor)
        alone.members_ = [copy.copy(member)]
        alone.members_[0].weight = 1.0
        check(alone.predict, noisy(), BOTH)
    assert regressor.score(noisy(seed=1), "y") > 0.3  # and it has learnt


def test_the_probability_of_the_second_of_two_classes(classifier) -> None:
    check(lambda table: classifier.predict_proba(table)[:, 1], noisy(), BOTH)
    check(lambda table: -classifier.predict_proba(table)[:, 0], noisy(), BOTH)


def test_the_exported_module_is_monotone_too(regressor) -> None:
    x = torch.zeros(401, regressor.members_[0].recipe.shape.n_in)
    x[:, 0] = torch.linspace(-3, 3, 401)  # a, scaled
    with torch.no_grad():
        assert regressor.network_(x).diff(dim=0).min() >= -1e-6


@pytest.mark.parametrize(
    ("settings", "target"),
    [
        ({}, pl.col("y").mul(1.2).exp()),  # skewed: every second group learns logarithms
        ({"loss": "poisson"}, pl.col("y").clip(0).round()),
        ({"quantiles": [0.1, 0.5, 0.9]}, pl.col("y")),
        ({"hidden": (), "loss": torch.nn.HuberLoss()}, pl.col("y")),
        ({"optimizer": lambda p: torch.optim.SGD(p, lr=0.05), "activation": "tanh"}, pl.col("y")),
        ({"dropout": 0.2, "activation": "relu"}, pl.col("y")),
    ],
    ids=["skewed", "counts", "quantiles", "linear", "optimizer", "dropout"],
)
def test_other_targets_losses_and_optimizers(settings, target) -> None:
    table = noisy().with_columns(target.alias("y"))
    net = NetRegressor(monotone=BOTH, **(SMALL | settings)).fit(table, "y")
    if not settings:
        assert {member.recipe.is_log for member in net.members_} == {True, False}
    check(net.predict, table, BOTH)


def test_several_numbers_a_row_and_an_array() -> None:
    table = noisy()
    X, y = table.select("a", "b", "c").to_numpy(), table["y"].to_numpy()
    net = NetRegressor(monotone=dict.fromkeys(plainnet.read_table(X).columns[:1], 1), **SMALL).fit(
        X, np.stack([y, 2 * y], 1)
    )
    predict = lambda frame: net.predict(frame.select("a", "b", "c").to_numpy())  # noqa: E731 - as short as it gets
    assert least_step(predict, table, "a", 1) >= -1e-6


def test_flags_and_a_column_all_numbers_of_which_are_bound() -> None:
    table = noisy().select("a", "flag", "y")
    net = NetRegressor(monotone={"a": 1, "flag": -1}, **SMALL).fit(table, "y")
    assert least_step(net.predict, table, "flag", -1, [False, True]) >= 0
    check(net.predict, table, {"a": 1})


def test_going_on_with_partial_fit_also_from_a_file_and_a_pickle(regressor, tmp_path) -> None:
    begun = NetRegressor(monotone=BOTH, hidden=(16,)).partial_fit(noisy(), "y")
    begun = pickle.loads(pickle.dumps(begun))  # noqa: S301 - our own
    regressor.save(tmp_path / "model.safetensors")
    for net in (begun, plainnet.load(tmp_path / "model.safetensors"), copy.deepcopy(regressor)):
        before = net.predict(noisy())
        falling = noisy(seed=2).with_columns(-pl.col("y"))  # all that was learnt is now wrong
        for _ in range(3):
            net.partial_fit(falling, "y")
        assert np.abs(net.predict(noisy()) - before).max() > 1e-3
        rows = pl.concat([noisy().head(12).with_columns(pl.lit(value).alias("a")) for value in GRID])
        assert np.diff(net.predict(rows).reshape(len(GRID), 12), axis=0).min() >= -1e-6


def test_saved_and_loaded_to_the_same_predictions(regressor, classifier, tmp_path) -> None:
    for net in (regressor, classifier):
        net.save(tmp_path / "model.safetensors")
        loaded = plainnet.load(tmp_path / "model.safetensors")
        assert loaded.monotone == BOTH
        assert loaded.activation is None
        np.testing.assert_array_equal(loaded.predict(noisy()), net.predict(noisy()))
        assert loaded.members_[0].recipe.monotone == net.members_[0].recipe.monotone
    assert "monotone" not in read_model(saved(NetRegressor(**SMALL).fit(noisy(), "y"), tmp_path))[0]["settings"]


def saved(net: NetRegressor, folder: Path) -> Path:
    net.save(folder / "free.safetensors")
    return folder / "free.safetensors"


def test_a_file_whose_networks_are_not_monotone_is_refused(regressor, tmp_path) -> None:
    regressor.save(tmp_path / "model.safetensors")
    content, tensors = read_model(tmp_path / "model.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.ndim > 1)
    write_model(tmp_path / "other.safetensors", content, tensors | {name: -tensors[name]})
    with pytest.raises(ModelFileError, match="networks are not monotone"):
        plainnet.load(tmp_path / "other.safetensors")
    for member in content["members"]:
        member["network"]["activation"] = "silu"
    write_model(tmp_path / "other.safetensors", content, tensors)
    with pytest.raises(ModelFileError, match="networks are not monotone"):
        plainnet.load(tmp_path / "other.safetensors")


def test_monotone_set_after_the_fit_is_not_saved(regressor, tmp_path) -> None:
    changed = copy.copy(regressor).set_params(monotone={"a": -1})
    with pytest.raises(SettingError, match="monotone was set to .* after the fit: fit again"):
        changed.save(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("monotone", "settings", "message"),
    [
        ({"incom": 1}, {}, r"'incom', which the table lacks \(did you mean 'income'\?\)"),
        ({"town": 1}, {}, r"'town', which is a category .*pass kinds=\{'town': 'number'\}"),
        ({"joined": 1}, {}, "'joined', which is a date"),
        ({"person_id": 1}, {}, "'person_id', which is left out as identifier"),
        ({"country": 1}, {}, "'country', which is left out as constant"),
        ({"age": 2}, {}, r"monotone\['age'\] is 1, .* or -1, .* not 2"),
        ({"age": True}, {}, "not True"),
        ({"age": "up"}, {}, "not 'up'"),
        ({"age": np.ones(2)}, {}, "not array"),
        ({0: 1}, {}, "names the column 0, which the table lacks"),
        ([1, 0], {}, "monotone is a dict of columns and directions"),
        ({"age": 1}, {"activation": "silu"}, "needs an activation that never falls, one of relu, .* not 'silu'"),
        ({"age": 1}, {"network": torch.nn.Linear}, "leave network= out"),
    ],
)
def test_what_cannot_be_monotone(monotone, settings, message) -> None:
    with pytest.raises(SettingError, match=message):
        NetClassifier(monotone=monotone, **(SMALL | settings)).fit(people(), "rich")


def test_more_classes_and_labels_have_no_direction() -> None:
    table = people()
    with pytest.raises(SettingError, match="two classes, and the target holds 4 classes"):
        NetClassifier(monotone={"age": 1}, **SMALL).fit(table, "town")
    labels = np.random.default_rng(0).integers(0, 2, (300, 3))
    with pytest.raises(SettingError, match="two classes, and the target holds several labels"):
        NetClassifier(monotone={"age": 1}, **SMALL).fit(table, labels)


def test_nothing_named_is_as_without() -> None:
    table = noisy(100)
    plain, empty = (NetRegressor(monotone=m, members=1, epochs=2).fit(table, "y").predict(table) for m in (None, {}))
    np.testing.assert_array_equal(plain, empty)
