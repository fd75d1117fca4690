"""What is told of the rows that come, beside counting by hand."""

import numpy as np
import polars as pl
import pytest

from plainnet.service.drift import Drift, count_cells, expected_shares
from plainnet.service.rows import Intake
from plainnet.tables.schema import Schema


@pytest.fixture(scope="module")
def table():
    rng = np.random.RandomState(0)
    return pl.DataFrame(
        {
            "smooth": rng.randn(4000),
            "heaped": np.where(rng.rand(4000) < 0.5, 40.0, rng.randint(1, 99, 4000)),
            "few": rng.choice([1.0, 2.0, 3.0], 4000),
            "town": rng.choice(["Ulm", "Bonn", "Köln"], 4000, p=[0.7, 0.2, 0.1]),
            "day": pl.Series(rng.randint(0, 4000, 4000)).cast(pl.Date),
        }
    ).with_columns(pl.when(pl.int_range(4000) % 10 == 0).then(None).otherwise(pl.col("town")).alias("town"))


def drift_of(table):
    schema = Schema.learn(table)
    return Drift(schema, Intake(schema, 10_000).table_of)


def test_rows_are_counted_as_their_table_is(table):
    one, other = drift_of(table), drift_of(table)
    one.add(table)
    one.add(table.head(5))
    other.add(table.with_columns(pl.col("day").cast(pl.Datetime)).rows())
    other.add(table.head(5))
    one.count()
    other.count()
    for name, seen in one.totals.items():
        assert np.array_equal(seen.groups, other.totals[name].groups), name
        assert seen.rows == 4005


def test_the_training_rows_do_not_drift_from_themselves(table):
    drift = drift_of(table)
    drift.add(table)
    drift.count()
    for column in drift.schema.used:
        seen = drift.recent()[column.name]
        assert drift.psi(column, seen) < 0.01, column.name
        assert (seen.unseen, seen.beyond, seen.rows) == (0, 0, 4000)


def test_the_groups_of_a_number_hold_the_same_share_where_the_schema_knows_it(table):
    schema = {column.name: column for column in Schema.learn(table).columns}
    for name, groups in {"smooth": 8, "day": 8, "heaped": 1, "few": 1}.items():
        column = schema[name]
        seen = count_cells(column, table[name])
        assert len(seen.groups) == groups + 1, name
        assert np.allclose(seen.groups[:-1] / 4000, 1 / groups, atol=0.02), name
    assert np.allclose(expected_shares(schema["town"], 4000), [0.9, 0, 0.1])


def test_a_shift_is_seen_and_is_what_the_formula_says(table):
    drift = drift_of(table)
    moved = table.head(1000).with_columns(
        pl.col("smooth") + 1, pl.lit("Atlantis").alias("town"), pl.col("day").dt.offset_by("20y")
    )
    drift.add(moved)
    drift.count()
    recent, columns = drift.recent(), {column.name: column for column in drift.schema.used}
    shares = (
        np.histogram(moved["smooth"], [-np.inf, *np.quantile(table["smooth"], np.arange(1, 8) / 8), np.inf])[0] / 1000
    )
    by_hand = ((shares - 1 / 8) * np.log(shares * 8)).sum()
    assert drift.psi(columns["smooth"], recent["smooth"]) == pytest.approx(by_hand, rel=0.1)
    assert by_hand > 0.25
    assert drift.psi(columns["town"], recent["town"]) > 1
    assert recent["town"].unseen == 1000
    assert recent["day"].beyond > 900
    assert drift.psi(columns["few"], recent["few"]) < 0.01


def test_the_window_forgets_and_the_totals_do_not(table):
    drift = drift_of(table)
    drift.add(table.with_columns(pl.lit("Atlantis").alias("town")))
    for _ in range(4):
        drift.add(table)
    assert drift.totals["town"].unseen == 4000
    assert drift.recent()["town"].unseen == 0
    assert 10_000 <= drift.recent()["town"].rows <= 14_000
    assert drift.psi(drift.schema.used[0], count_cells(drift.schema.used[0], table["smooth"].head(10))) is None
