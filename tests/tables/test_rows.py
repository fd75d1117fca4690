"""A few rows are encoded cell by cell to the numbers that whole tables are encoded to."""

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from plainnet.tables.encode import encode
from plainnet.tables.rows import MOST_CELLS, RowEncoder
from plainnet.tables.schema import Schema

DAY = datetime(2024, 1, 31, 22, 15, 7, 123456)


def every_kind(rows: int = 300) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    number = rng.lognormal(size=rows)
    return pl.DataFrame(
        {
            "number": number,
            "holey": np.where(rng.random(rows) < 0.2, None, rng.integers(0, 5, rows)).tolist(),
            "count": rng.integers(0, 10**6, rows),
            "two": rng.choice([0.5, 7.0], rows),
            "flag": rng.random(rows) < 0.3,
            "holey flag": np.where(rng.random(rows) < 0.2, None, rng.choice(["no", "yes"], rows)).tolist(),
            "town": np.where(rng.random(rows) < 0.1, None, rng.choice(["Ulm", "Bonn", "Köln", "1"], rows)).tolist(),
            "rare": [f"level {k}" if k < 6 else "usual" if k % 2 else "common" for k in range(rows)],
            "whole": rng.choice([1.0, 2.0, 40.0], rows),
            "day": [date(2020, 1, 1) + timedelta(days=int(k)) for k in rng.integers(0, 900, rows)],
            "instant": [None if k % 9 == 0 else DAY + timedelta(seconds=int(k) * 9999) for k in range(rows)],
            "same": ["x"] * rows,
        },
        schema_overrides={"holey": pl.Int64, "holey flag": pl.String, "town": pl.String},
    )


TABLE = every_kind()
SCHEMA = Schema.learn(TABLE, kinds={"whole": "category"})
ENCODER = RowEncoder(SCHEMA)


def same(table: pl.DataFrame) -> None:
    found = ENCODER.encode({name: table[name].to_list() for name in table.columns})
    assert found is not None
    x, unseen = encode(SCHEMA, table)
    assert found[0].tobytes() == x.tobytes()
    assert found[1] == unseen


def test_every_row_and_every_handful_is_encoded_alike() -> None:
    for row in range(0, TABLE.height, 7):
        same(TABLE[row : row + 1])
    same(TABLE[:100])


CELLS = {
    "number": st.one_of(st.none(), st.floats(width=64), st.sampled_from(TABLE["number"].to_list())),
    "holey": st.one_of(st.none(), st.integers(-(2**62), 2**62)),
    "count": st.integers(-5, 10**7),
    "two": st.sampled_from([0.5, 7.0, 1e300, -1e300]),
    "flag": st.one_of(st.none(), st.booleans()),
    "holey flag": st.sampled_from([None, "no", "yes", "perhaps", ""]),
    "town": st.sampled_from([None, "Ulm", "Bonn", "1", "Atlantis"]),
    "rare": st.sampled_from([None, "usual", "common", "level 2", "never"]),
    "whole": st.sampled_from([1.0, 2.0, -0.0, 41.0, None, float("nan")]),
    "day": st.one_of(st.none(), st.dates(date(1, 1, 1), date(9999, 12, 31))),
    "instant": st.one_of(st.none(), st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))),
    "same": st.none(),
}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.fixed_dictionaries(CELLS), min_size=1, max_size=4))
def test_any_cells_are_encoded_alike(rows: list[dict[str, object]]) -> None:
    dtypes = {name: TABLE[name].dtype for name in CELLS}
    whole = pl.DataFrame(rows, schema=dtypes, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))
    found = ENCODER.encode({name: whole[name].to_list() for name in whole.columns})
    if found is not None:  # text that should be a number is looked at by ``encode``
        x, unseen = encode(SCHEMA, whole)
        assert found[0].tobytes() == x.tobytes()
        assert found[1] == unseen


@pytest.mark.parametrize(
    "change",
    [
        {"number": ["12"]},
        {"town": [2.5]},
        {"town": [date(2020, 1, 1)]},
        {"flag": [object()]},
        {"day": ["2020-01-01"]},
        {"instant": [datetime.fromisoformat("2020-01-01T00:00:00+01:00")]},
        {"count": [10**400]},
    ],
    ids=str,
)
def test_what_is_not_plainly_a_number_a_level_or_a_date_is_left_to_encode(change) -> None:
    cells = {name: TABLE[name][:1].to_list() for name in TABLE.columns}
    assert ENCODER.encode(cells) is not None
    assert ENCODER.encode(cells | change) is None


def test_types_that_are_mixed_in_a_column_are_left_to_encode() -> None:
    cells = {name: TABLE[name][:2].to_list() for name in TABLE.columns}
    assert ENCODER.encode(cells | {"town": ["Ulm", 1]}) is None
    assert ENCODER.encode(cells | {"town": [True, 1]}) is None
    assert ENCODER.encode(cells | {"day": [date(2020, 1, 1), datetime(2020, 1, 1)]}) is None
    assert ENCODER.encode(cells | {"town": [1, 2.0]}) is not None


def test_missing_columns_columns_of_other_lengths_and_many_rows_are_left_to_encode() -> None:
    cells = {name: TABLE[name][:2].to_list() for name in TABLE.columns}
    assert ENCODER.encode({name: cells[name] for name in cells if name != "town"}) is None
    assert ENCODER.encode(cells | {"town": ["Ulm"]}) is None
    assert ENCODER.encode({name: column * MOST_CELLS for name, column in cells.items()}) is None
    assert ENCODER.encode({name: [] for name in cells}) is None


def test_arrays_of_numbers_are_encoded_alike() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 5))
    x[rng.random(200) < 0.2, 3] = np.nan
    x[:, 4] = 1  # a constant, which is left out
    names = [f"x{k}" for k in range(5)]
    schema = Schema.learn(pl.DataFrame(x, schema=names).with_columns(pl.all().fill_nan(None)))
    x[0, 1] = 1e308
    for few in (x[:1], x[:9], -x[:9]):
        found = RowEncoder(schema).encode_array(few)
        whole = pl.DataFrame(few, schema=names).with_columns(pl.all().fill_nan(None))
        assert found is not None
        assert found[0].tobytes() == encode(schema, whole)[0].tobytes()
    assert RowEncoder(schema).encode_array(np.full((1, 5), np.inf)) is None
