"""Groups of rows by a column: each row is in one group."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

from plainnet import TableError
from plainnet.evaluation.groups import rows_by


def sizes(values, **options) -> dict[str, int]:
    groups = rows_by(pl.DataFrame({"c": pl.Series(values, **options)}), "c")
    assert np.array_equal(np.sort(np.concatenate(list(groups.values()))), np.arange(len(values)))
    return {name: len(rows) for name, rows in groups.items()}


def test_categories_come_by_frequency_and_the_rest_is_other() -> None:
    values = [f"t{i:02d}" for i in range(25) for _ in range(30 - i)] + [None] * 2
    found = sizes(values)
    assert list(found)[:2] == ["t00", "t01"]
    assert len(found) == 22
    assert list(found)[-2:] == ["(other)", "(missing)"]
    assert found["(other)"] == sum(30 - i for i in range(20, 25))


def test_few_numbers_are_groups_and_many_are_cut_at_their_quartiles() -> None:
    assert sizes([3, 1, 2, 1, None]) == {"1": 2, "2": 1, "3": 1, "(missing)": 1}
    assert sizes(np.arange(100)) == {"0 … 24": 25, "25 … 49": 25, "50 … 74": 25, "75 … 99": 25}
    assert sizes([0.0] * 80 + list(range(1, 21))) == {"0 … 0": 80, "1 … 20": 20}
    assert sizes([True, False, True]) == {"True": 2, "False": 1}
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=i) for i in range(40)]
    assert next(iter(sizes(days))) == "2024-01-01 … 2024-01-10"


def test_names_that_are_taken_and_a_column_called_count() -> None:
    assert sizes(["(missing)", None]) == {"(missing)": 1, "(missing)'": 1}
    groups = rows_by(pl.DataFrame({"count": ["a", "b", "a"]}), "count")
    assert [rows.tolist() for rows in groups.values()] == [[0, 2], [1]]


def test_columns_to_group_by_that_cannot_be() -> None:
    with pytest.raises(TableError, match="no column 'twon' to group the scores by .did you mean 'town'"):
        rows_by(pl.DataFrame({"town": ["a"]}), "twon")
    with pytest.raises(TableError, match="nothing to group by"):
        rows_by(pl.DataFrame({"c": [[1], [2]]}), "c")


def test_numbers_that_begin_alike_are_groups_of_their_own() -> None:
    few = pl.DataFrame({"x": [1234567.0, 1234568.0, 1234567.0, 0.5]})
    assert {name: rows.tolist() for name, rows in rows_by(few, "x").items()} == {
        "0.5": [3],
        "1234567.0": [0, 2],
        "1234568.0": [1],
    }
    many = pl.DataFrame({"x": 1e9 + np.arange(40.0)})
    assert [len(rows) for rows in rows_by(many, "x").values()] == [10, 10, 10, 10]
