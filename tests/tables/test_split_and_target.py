"""Which rows are held out, and what becomes of the target."""

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st

from plainnet import SettingError, TableError
from plainnet.tables.split import split_rows
from plainnet.tables.target import ClassTarget, NumberTarget, target_from_json


@given(st.integers(2, 300), st.floats(0.01, 0.99), st.integers(0, 100))
def test_both_sides_hold_every_row_once(n_rows, share, seed) -> None:
    classes = np.arange(n_rows) % 3
    for options in (
        {},
        {"stratify": classes},
        {"groups": np.arange(n_rows) // 2} if n_rows > 3 else {},
        {"time": np.arange(n_rows)[::-1]},
    ):
        kept, held_out = split_rows(n_rows, share, seed=seed, **options)
        assert sorted([*kept, *held_out]) == list(range(n_rows))
        assert len(kept) > 0
        assert len(held_out) > 0


def test_the_rows_of_a_seed_never_change() -> None:
    """Written down once: RandomState's numbers are frozen."""
    assert split_rows(10, 0.3, seed=0)[1].tolist() == [2, 4, 8]
    assert split_rows(10, 0.4, seed=3, stratify=np.array([0, 1] * 5))[1].tolist() == [0, 1, 4, 9]
    assert split_rows(9, 0.3, seed=1, groups=np.repeat([0, 1, 2], 3))[1].tolist() == [0, 1, 2]


def test_stratified_sides_have_each_class_in_its_share() -> None:
    classes = np.array([0] * 900 + [1] * 100)
    _, held_out = split_rows(1000, 0.2, stratify=classes)
    assert (classes[held_out] == 1).sum() == 20


def test_a_class_of_one_row_trains() -> None:
    classes = np.array([0] * 50 + [1] * 49 + [2])
    kept, _ = split_rows(100, 0.2, stratify=classes)
    assert 99 in kept


def test_groups_are_not_torn_apart() -> None:
    groups = np.repeat(np.arange(20), 5)
    kept, held_out = split_rows(100, 0.25, groups=groups)
    assert set(groups[kept]).isdisjoint(groups[held_out])
    assert len(held_out) == 25


def test_the_latest_rows_are_held_out_and_a_time_is_not_torn_apart() -> None:
    time = np.array([5, 1, 1, 2, 3, 3, 3, 4])
    kept, held_out = split_rows(8, 0.5, time=time)
    assert time[kept].max() < time[held_out].min()


@pytest.mark.parametrize("options", [{"groups": np.zeros(5)}, {"time": np.zeros(5)}])
def test_one_group_or_one_time_cannot_be_split(options) -> None:
    with pytest.raises(TableError, match="all of one"):
        split_rows(5, 0.5, **options)


def test_settings_that_cannot_be() -> None:
    with pytest.raises(SettingError, match="above 0 and below 1"):
        split_rows(5, 1.0)
    with pytest.raises(SettingError, match="not by both"):
        split_rows(5, 0.5, groups=np.arange(5), time=np.arange(5))
    with pytest.raises(TableError, match="1 row cannot be split in two: at least 2 are needed"):
        split_rows(1, 0.5)


@pytest.mark.parametrize(
    "y",
    [
        np.array(["b", "a", "b"]),
        np.array([True, False, True]),
        np.array([3, -1, 3]),
        np.array([1.0, 0.0, 1.0]),
        np.array(["x", "y", "x"], dtype=object),
    ],
)
def test_classes_come_back_as_they_were_also_through_json(y) -> None:
    target = ClassTarget.learn(y)
    again = target_from_json(json.loads(json.dumps(target.to_json())))
    assert isinstance(again, ClassTarget)
    assert again.classes.dtype == target.classes.dtype
    found = again.decode(np.eye(2, dtype=np.float32)[again.encode(y)])
    assert found.tolist() == y.tolist()


def test_a_class_never_seen_is_named() -> None:
    with pytest.raises(TableError, match=r"did not have: \['z'\]"):
        ClassTarget.learn(np.array(["a", "b"])).encode(np.array(["a", "z"]))


@pytest.mark.parametrize("shape", [(50,), (50, 3)])
def test_numbers_are_standardised_and_come_back(shape) -> None:
    y = np.random.RandomState(0).randn(*shape) * 1000 + 5e5
    target = NumberTarget.learn(y)
    encoded = target.encode(y)
    np.testing.assert_allclose(encoded.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(encoded.std(axis=0), 1, rtol=1e-4)
    again = target_from_json(json.loads(json.dumps(target.to_json())))
    np.testing.assert_allclose(again.decode(encoded), y, rtol=1e-6)


def test_a_constant_target_is_no_division_by_zero() -> None:
    target = NumberTarget.learn(np.full(5, 0.1))
    assert target.encode(np.full(5, 0.1)).tolist() == [[0.0]] * 5


def test_numbers_too_large_to_square_are_refused() -> None:
    with pytest.raises(TableError, match="go up to 1e.300, too large to square"):
        NumberTarget.learn(np.array([0.0, 1e300]))


@pytest.mark.parametrize("size", [1e-200, 1e-310, 1e149])
def test_numbers_of_any_size_are_standardised(size) -> None:
    y = np.random.RandomState(0).randn(50) * size
    target = NumberTarget.learn(y)
    np.testing.assert_allclose(target.encode(y).std(), 1, rtol=1e-4)
    np.testing.assert_allclose(target.decode(target.encode(y)), y, rtol=1e-4)
