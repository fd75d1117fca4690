"""Encoding against values computed here by other means."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from plainnet import ColumnsChangedError, Schema
from plainnet.tables.bins import find_knots
from plainnet.tables.encode import encode, feature_names, position_bins
from tests.helpers import people


def test_numbers_are_scaled_by_median_and_quartiles_and_clipped() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 1e6])
    schema = Schema.learn(pl.DataFrame({"x": values}))
    x, _ = encode(schema, pl.DataFrame({"x": values}))
    z = (values - 3) / (4 - 2)
    np.testing.assert_allclose(x[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-6)
    assert x.dtype == np.float32
    assert x.max() <= 3


def test_a_missing_number_is_the_median_and_says_so() -> None:
    schema = Schema.learn(pl.DataFrame({"x": [1.0, 2.0, None, 4.0]}))
    x, unseen = encode(schema, pl.DataFrame({"x": [2.0, None]}))
    assert feature_names(schema) == ["x", "x (missing)", "x: position"]
    assert x.tolist() == [[0, 0, 0.5], [0, 1, 0.5]]
    assert unseen == {}


def test_a_number_missing_only_at_prediction_is_the_median() -> None:
    schema = Schema.learn(pl.DataFrame({"x": [1.0, 2.0, 3.0]}))
    assert encode(schema, pl.DataFrame({"x": [None, 2.0]}, schema={"x": pl.Float64}))[0].tolist() == [
        [0, 0.5],
        [0, 0.5],
    ]


def test_positions_count_bins_of_about_the_same_number_of_rows_none_of_them_one_value() -> None:
    rng = np.random.default_rng(0)
    gain = np.where(rng.random(5000) < 0.9, 0.0, rng.exponential(1000, 5000))
    schema = Schema.learn(pl.DataFrame({"gain": gain, "flag": rng.integers(0, 2, 5000)}))
    knots = np.array(schema.columns[0].spread.knots)
    assert position_bins(schema) == (64,)
    assert np.count_nonzero(knots == 0) == 1
    rows = np.histogram(gain[gain > 0], knots[1:])[0]
    assert rows.max() <= 3 * np.median(rows)
    places = encode(schema, pl.DataFrame({"gain": [-5.0, 0.0, knots[32], 1e9, None], "flag": [0] * 5}))[0][:, -1]
    np.testing.assert_allclose(places, [0, 0, 0.5, 1, 0], atol=1e-6)


def test_rows_that_weigh_twice_move_the_knots_like_rows_that_are_there_twice() -> None:
    values = np.random.default_rng(1).normal(size=300)
    weight = np.where(values > 0, 2.0, 1.0)
    assert find_knots(values, weight) == pytest.approx(find_knots(np.repeat(values, weight.astype(int))))


def test_categories_are_one_hot_and_unseen_levels_are_counted() -> None:
    schema = Schema.learn(pl.DataFrame({"x": ["a", "b", "c", "a", None]}))
    assert feature_names(schema) == ["x=a", "x=b", "x=c", "x (missing)"]
    x, unseen = encode(schema, pl.DataFrame({"x": ["b", None, "z"]}))
    assert x.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    assert unseen == {"x": 1}


def test_an_unseen_level_counts_as_rare_where_rare_levels_were_merged() -> None:
    schema = Schema.learn(pl.DataFrame({"x": ["a"] * 1000 + ["b"] * 1000 + ["c"]}))
    x, unseen = encode(schema, pl.DataFrame({"x": ["c", "z", "a"]}))
    assert feature_names(schema) == ["x=a", "x=b", "x=(other)"]
    assert x.tolist() == [[0, 0, 1], [0, 0, 1], [1, 0, 0]]
    assert unseen == {}


def test_flags_are_minus_one_and_one() -> None:
    schema = Schema.learn(pl.DataFrame({"x": ["no", "yes", "no"]}))
    assert encode(schema, pl.DataFrame({"x": ["yes", "no", None, "perhaps"]}))[0][:, 0].tolist() == [1, -1, 0, 0]


def test_true_false_flags_read_text_and_numbers_alike() -> None:
    schema = Schema.learn(pl.DataFrame({"x": [0, 1, 0]}))
    for values in ([1, 0], [1.0, 0.0], ["1", "0"]):
        assert encode(schema, pl.DataFrame({"x": values}))[0][:, 0].tolist() == [1, -1]


def test_dates_become_parts() -> None:
    days = ["2024-01-01", "2024-04-01", "2024-07-01", "2024-10-01"]
    schema = Schema.learn(pl.DataFrame({"d": days}), kinds={"d": "date"})
    names = feature_names(schema)
    assert "d: days" in names
    assert "d: month sine" in names
    assert not any("hour" in name for name in names)  # every hour is 0
    as_text, _ = encode(schema, pl.DataFrame({"d": days}))
    as_dates, _ = encode(schema, pl.DataFrame({"d": pl.Series(days).str.to_date()}))
    np.testing.assert_array_equal(as_text, as_dates)


def test_column_order_and_further_columns_do_not_matter() -> None:
    table = people()
    schema = Schema.learn(table.drop("rich"))
    shuffled = table.select(reversed(table.columns))
    np.testing.assert_array_equal(encode(schema, table)[0], encode(schema, shuffled)[0])


def test_a_changed_table_is_answered_column_by_column() -> None:
    table = people()
    schema = Schema.learn(table.drop("rich"))
    changed = table.rename({"age": "Age"}).with_columns(pl.lit("much").alias("income"), pl.lit("soon").alias("joined"))
    with pytest.raises(ColumnsChangedError) as caught:
        encode(schema, changed)
    text = str(caught.value)
    assert "missing  age (did you mean 'Age'?)" in text
    assert "changed  income: fitted as a number, now String such as 'much', 'much'" in text
    assert "changed  joined: fitted as a date, now text such as 'soon'" in text
    assert "unknown  Age" in text


def test_numbers_come_as_text_too() -> None:
    schema = Schema.learn(pl.DataFrame({"x": [1.0, 2.0, 3.0]}))
    x, unseen = encode(schema, pl.DataFrame({"x": ["2", "3", "?!"]}))
    np.testing.assert_array_equal(x, encode(schema, pl.DataFrame({"x": [2.0, 3.0, 2.0]}))[0])
    assert unseen == {"x": 1}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(width=64)), min_size=3, max_size=40))
def test_any_numbers_give_finite_features_within_three(values) -> None:
    frame = pl.DataFrame({"x": pl.Series(values, dtype=pl.Float64).fill_nan(None), "y": np.arange(len(values)) / 3})
    schema = Schema.learn(
        frame, kinds={"x": "number"} if any(v is not None and np.isfinite(v) for v in values) else {"x": "ignored"}
    )
    x, _ = encode(schema, frame)
    assert np.isfinite(x).all()
    assert np.abs(x).max() <= 3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=1, max_size=40))
def test_any_text_is_encoded_with_at_most_one_level_a_row(values) -> None:
    frame = pl.DataFrame(
        {"x": pl.Series(values, dtype=pl.String), "y": np.arange(len(values)) / 3 if len(values) > 1 else [1.0]}
    )
    kinds = {"x": "category"} if any(v is not None for v in values) else {"x": "ignored"}
    schema = Schema.learn(frame, kinds=kinds | {"y": "number"})
    x, unseen = encode(schema, frame)
    assert unseen == {}
    levels = x[:, : -1 - len(position_bins(schema))]
    assert np.isin(levels, (0, 1)).all()
    assert (levels.sum(axis=1) <= 1).all()
