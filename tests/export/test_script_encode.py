"""The encoding that scripts carry is that of ``tables.encode``, cell by cell."""

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest

from plainnet.export import script_encode, script_main
from plainnet.export.scripts import _column
from plainnet.tables.dates import FORMATS
from plainnet.tables.encode import encode, feature_names
from plainnet.tables.kinds import numbers_of
from plainnet.tables.read import read_table
from plainnet.tables.schema import Schema, level_strings
from tests.export.tables import everything, strange


def encoded(schema: Schema, rows: dict, monkeypatch) -> np.ndarray:
    monkeypatch.setattr(script_encode, "COLUMNS", [_column(column) for column in schema.used])
    return script_encode.encode(rows)


def test_every_kind_of_column_is_encoded_the_same(monkeypatch) -> None:
    table = everything()
    schema = Schema.learn(table)
    for rows in (table, strange(table)):
        own = encoded(schema, rows.to_dict(as_series=False), monkeypatch)
        assert own.dtype == np.float32
        assert own.shape == (rows.height, len(feature_names(schema)))
        np.testing.assert_array_equal(own, encode(schema, rows)[0])


def test_rows_may_come_from_pandas(monkeypatch) -> None:
    table = everything()
    schema = Schema.learn(table)
    own = encoded(schema, table.to_pandas().to_dict("list"), monkeypatch)
    np.testing.assert_array_equal(own, encode(schema, read_table(table.to_pandas()))[0])


@pytest.mark.parametrize("date_format", FORMATS)
def test_dates_are_read_in_every_format(date_format: str, monkeypatch) -> None:
    start = datetime(2023, 12, 24, 22, 10, 30, 250_000)
    moments = pl.Series([start + timedelta(hours=31 * k, milliseconds=k) for k in range(150)])
    texts = moments.dt.strftime(date_format).to_list()
    table = pl.DataFrame({"when": [*texts[:-2], "soon", None]})
    schema = Schema.learn(table)
    assert schema.columns[0].kind == "date"
    own = encoded(schema, table.to_dict(as_series=False), monkeypatch)
    np.testing.assert_array_equal(own, encode(schema, table)[0])


def test_dates_with_a_time_zone_are_read_in_utc(monkeypatch) -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    moments = [datetime(2024, 1, 1 + k % 28, k % 24, tzinfo=zone) for k in range(60)]
    schema = Schema.learn(read_table({"when": moments}))
    expected, _ = encode(schema, read_table({"when": moments}))
    for rows in (moments, [each.astimezone(UTC) for each in moments], [each.isoformat() for each in moments]):
        np.testing.assert_array_equal(encoded(schema, {"when": rows}, monkeypatch), expected)
    days = [date(2024, 1, 1 + k % 28) for k in range(60)]
    schema = Schema.learn(read_table({"when": days}))
    np.testing.assert_array_equal(
        encoded(schema, {"when": days}, monkeypatch), encode(schema, read_table({"when": days}))[0]
    )


def test_levels_of_numbers_have_the_same_names() -> None:
    numbers = [
        1.0,
        -0.0,
        2.5,
        1e-7,
        0.0001,
        1e-5,
        -1.25e-5,
        9.9e-6,
        1.5e17,
        1e16,
        2.0**53,
        -1e300,
        123456789.125,
        1 / 3,
        float("inf"),
        None,
    ]
    names = [script_encode.level_name(number) for number in numbers]
    assert names == level_strings(pl.Series(numbers)).to_list()
    assert [script_encode.level_name(cell) for cell in (7, True, False, "x", np.float32(0.1), np.int64(3))] == [
        "7", "true", "false", "x", "0.1", "3",
    ]  # fmt: skip


def test_texts_are_the_same_numbers() -> None:
    texts = [
        "1.5",
        " 7 ",
        "x",
        "01234",
        "0.5",
        "-.5",
        "5.",
        "+3",
        "1e5",
        "1E-3",
        "1_000",
        "nan",
        "inf",
        "",
        "00",
        "-0",
        "1e999",
    ]
    expected = numbers_of(pl.Series(texts)).to_list()
    own = [script_encode.number_of(text) for text in texts]
    assert [None if not np.isfinite(number) else number for number in own] == expected


def test_cells_of_a_csv_file_are_read_as_in_training(tmp_path, monkeypatch) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a;b;c;d\n1;True;x ;2.0\nNA;false;?;3\n-7;;007;1e3\n")
    table = pl.DataFrame({"a": [1, 2, 3], "b": [True, False, None], "c": ["x", "y", "z"], "d": [2.0, 3.5, 4.5]})
    schema = Schema.learn(table, kinds={"a": "category", "d": "category", "c": "category"})
    monkeypatch.setattr(script_main, "COLUMNS", [_column(column) for column in schema.used])
    assert script_main.read_rows(str(path)) == {
        "a": [1, None, -7], "b": [True, False, None], "c": ["x", None, "007"], "d": [2.0, 3, 1000.0],
    }  # fmt: skip
