"""What each column is taken for, and why."""

import datetime
import json

import numpy as np
import polars as pl
import pytest

from plainnet import Schema, SettingError, TableError
from plainnet.tables.schema import Column, Spread, level_strings
from tests.helpers import people

N = 100
KINDS = {
    "number": (pl.Series("a", np.arange(N) / 7), "number", "Float64"),
    "running number without a telling name": (pl.Series("a", range(N)), "number", "Int64"),
    "running number called id": (pl.Series("customer_id", range(N)), "identifier", "all 100 values differ"),
    "camel case id": (pl.Series("customerID", range(N)), "identifier", "its name says so"),
    "id that repeats": (pl.Series("shop_id", [i % 50 for i in range(N)]), "number", "Int64"),
    "constant": (pl.Series("a", [7] * N), "constant", "every row holds 7"),
    "all missing": (pl.Series("a", [None] * N, dtype=pl.Float64), "constant", "every cell is missing"),
    "one value or missing": (pl.Series("a", [7.0, None] * 50), "number", "Float64"),
    "true or false": (pl.Series("a", [True, False] * 50), "flag", "true or false"),
    "0 or 1": (pl.Series("a", [0, 1] * 50), "flag", "0 or 1"),
    "two other numbers": (pl.Series("a", [3, 5] * 50), "number", "Int64"),
    "two words": (pl.Series("a", ["no", "yes"] * 50), "flag", "'no', 'yes'"),
    "words": (pl.Series("a", ["x", "y", "z", "w"] * 25), "category", "text of 4 levels"),
    "zip codes": (pl.Series("a", [f"0{i % 9}123" for i in range(N)]), "category", "text of 9 levels"),
    "numbers as text": (pl.Series("a", [str(i / 3) for i in range(N)]), "number", "100.0% are numbers"),
    "numbers and some words": (
        pl.Series("a", [str(i) for i in range(N - 2)] + ["n.b.", "-"]),
        "number",
        "'n.b.', '-' count as missing",
    ),
    "dates": (pl.Series("a", [datetime.date(2024, 1, 1) + datetime.timedelta(i) for i in range(N)]), "date", "Date"),
    "ISO dates as text": (
        pl.Series("a", [f"2024-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(N)]),
        "date",
        "%Y-%m-%d",
    ),
    "German dates": (pl.Series("a", [f"{1 + i % 28:02d}.{1 + i % 12:02d}.2024" for i in range(N)]), "date", "%d.%m.%Y"),
    "American dates": (
        pl.Series("a", [f"{1 + i % 12:02d}/{1 + i % 28:02d}/2024" for i in range(N)]),
        "date",
        "%m/%d/%Y",
    ),
    "compact times": (
        pl.Series("a", [f"2014{1 + i % 12:02d}{1 + i % 28:02d}T000000" for i in range(N)]),
        "date",
        "%Y%m%dT%H%M%S",
    ),
    "all different words": (
        pl.Series("a", [f"user{i}" for i in range(N)]),
        "identifier",
        "100 different values in 100 rows",
    ),
    "sentences": (pl.Series("a", [f"this is remark number {i}" for i in range(N)]), "text", "5 words on average"),
    "lists": (pl.Series("a", [[1, 2]] * N), "ignored", "is no single value"),
}


@pytest.mark.parametrize("case", KINDS)
def test_kind_and_reason(case: str) -> None:
    series, kind, why = KINDS[case]
    schema = Schema.learn(pl.DataFrame({"other": np.arange(N) / 3, series.name: series}))
    column = schema.columns[1]
    assert (column.kind, why in column.why) == (kind, True), column


def test_the_user_knows_better() -> None:
    table = people()
    schema = Schema.learn(table.drop("rich"), kinds={"age": "category", "person_id": "number", "town": "ignored"})
    found = {column.name: (column.kind, column.why) for column in schema.columns}
    assert found["age"] == ("category", "chosen by the user")
    assert found["person_id"][0] == "number"
    assert found["town"][0] == "ignored"


@pytest.mark.parametrize(
    ("kinds", "error", "message"),
    [
        ({"twon": "category"}, SettingError, "lacks.*did you mean 'town'"),
        ({"town": "word"}, SettingError, "cannot be 'word': choose number"),
        ({"town": "number"}, TableError, "cannot be a number: no cell holds one"),
        ({"town": "flag"}, TableError, "cannot be a flag: it has 4 levels"),
        ({"town": "date"}, TableError, "cannot be a date"),
    ],
)
def test_what_a_column_cannot_be(kinds, error, message) -> None:
    with pytest.raises(error, match=message):
        Schema.learn(people(), kinds=kinds)


def test_a_table_without_a_usable_column_says_why() -> None:
    with pytest.raises(TableError, match="no column can be used to predict: a: every row holds 1"):
        Schema.learn(pl.DataFrame({"a": [1, 1, 1]}))


def test_rare_levels_are_merged_and_counted() -> None:
    values = ["a"] * 1000 + ["b"] * 1000 + ["c"] * 3 + ["d"] * 2
    column = Schema.learn(pl.DataFrame({"x": values})).columns[0]
    assert (column.levels, column.other) == (("a", "b"), 5)


def test_most_levels_is_a_limit() -> None:
    column = Schema.learn(pl.DataFrame({"x": [f"level{i % 500}" for i in range(50_000)]})).columns[0]
    assert (len(column.levels), column.other) == (100, 40_000)


def test_it_is_readable_json_and_comes_back() -> None:
    schema = Schema.learn(people())
    again = Schema.from_json(json.loads(json.dumps(schema.to_json())))
    assert again == schema
    assert {column.name for column in schema.left_out} == {"person_id", "country"}


def test_weights_count_like_rows() -> None:
    values, weight = np.array([1.0, 5.0, 9.0, 20.0]), np.array([1.0, 3.0, 2.0, 4.0])
    repeated = np.repeat(values, weight.astype(int))
    assert Spread.of(values, weight) == Spread.of(repeated)
    assert Spread.of(repeated).median == np.sort(repeated)[4]


def test_levels_of_numbers_do_not_depend_on_their_type() -> None:
    assert level_strings(pl.Series([1.0, 2.0, 2.5])).to_list() == ["1", "2", "2.5"]
    assert level_strings(pl.Series([1, 2])).to_list() == ["1", "2"]


def test_a_column_says_whether_it_is_used() -> None:
    assert Column("a", "number", "", "Int64").is_used
    assert not Column("a", "identifier", "", "Int64").is_used
