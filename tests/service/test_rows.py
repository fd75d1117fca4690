"""Rows as JSON: every shape, and every way in which they can be wrong."""

import json

import numpy as np
import polars as pl
import pytest

import plainnet
from plainnet.service.cells import example_row
from plainnet.service.guard import RefusalError
from plainnet.service.rows import Intake
from plainnet.tables.read import read_table
from plainnet.tables.rows import RowEncoder
from plainnet.tables.schema import Schema
from tests.helpers import people
from tests.service.conftest import rows_of


@pytest.fixture(scope="module")
def intake():
    return Intake(Schema.learn(people().drop("income", "rich")), most_rows=5)


def refused(intake, body):
    with pytest.raises(RefusalError) as refusal:
        intake.rows_of_json(body if isinstance(body, bytes) else json.dumps(body).encode())
    return refusal.value


def test_all_shapes_of_json_are_the_same_rows(intake):
    rows = rows_of(3)
    lists = {name: [row[name] for row in rows] for name in rows[0]}
    expected = intake.rows_of_json(json.dumps(rows).encode())
    assert intake.rows_of_json(json.dumps({"rows": rows}, indent=2).encode()) == expected
    assert intake.rows_of_json(json.dumps({"columns": lists}).encode()) == expected
    assert intake.rows_of_json(json.dumps(rows[1]).encode()) == expected[1:2]
    assert (
        intake.table_of(expected)
        .drop("joined")
        .equals(pl.DataFrame(rows).select("age", "town", "member").cast({"age": pl.Float64}))
    )


@pytest.mark.parametrize(
    ("change", "row", "column", "text"),
    [
        ({"age": "31"}, 1, "age", "row 1, column 'age': \"31\" is not a number. A missing cell is null."),
        ({"age": True}, 1, "age", "true is not a number"),
        ({"age": 10**400}, 1, "age", "the number is too large"),
        ({"age": [1]}, 1, "age", "an array is not a number"),
        ({"age": float("nan")}, 1, "age", "NaN is no JSON number. Send null"),
        ({"age": float("-inf")}, 1, "age", "-Infinity is no JSON number"),
        ({"town": 5}, 1, "town", "5 is not text of at most 10,000 characters"),
        ({"town": "x" * 10_001}, 1, "town", "… is not text of at most"),
        ({"member": 1}, 1, "member", "1 is not true or false"),
        ({"member": "yes"}, 1, "member", '"yes" is not true or false'),
        ({"joined": "17.01.2020"}, 1, "joined", '"17.01.2020" is not a date written as %Y-%m-%d'),
        ({"joined": 2020}, 1, "joined", "2020 is not a date as text"),
        ({"agee": 3}, 1, "agee", "the model has no such column"),
        ({"person_id": {"a": 1}}, 1, "person_id", "has to be text, a number, true, false or null"),
    ],
)
def test_a_wrong_cell_is_named_with_its_row_and_column(intake, change, row, column, text):
    rows = rows_of(3)
    rows[1] = rows[1] | change
    for body in (rows, {"rows": rows}):
        refusal = refused(intake, body)
        assert (refusal.status, refusal.fields) == (422, {"row": row, "column": column})
        assert text in str(refusal)
    lists = {name: [each.get(name) for each in rows] for name in rows[1]}
    refusal = refused(intake, {"columns": lists})
    assert (refusal.status, refusal.fields.get("column")) == (422, column)


def test_missing_columns_are_named_and_near_names_are_suggested(intake):
    row = rows_of(1)[0]
    row["towns"] = row.pop("town")
    assert "row 0, column 'town': the column is missing (did you mean 'towns'?)" in str(refused(intake, [row]))
    assert "column 'town': the column is missing" in str(refused(intake, {"columns": {"age": [1]}}))
    assert "column 'age': the column is missing" in str(refused(intake, {}))


def test_columns_that_the_model_does_not_use_may_be_there_or_not(intake):
    row = rows_of(1)[0]
    assert {"person_id", "country"} <= row.keys()
    short = {name: cell for name, cell in row.items() if name not in ("person_id", "country")}
    assert intake.rows_of_json(json.dumps(row).encode()) == intake.rows_of_json(json.dumps(short).encode())


@pytest.mark.parametrize("wrap", [b"%s", b"[%s]", b'{"rows": [%s]}'])
def test_a_key_that_is_there_twice_is_refused(intake, wrap):
    body = json.dumps(rows_of(1)[0]).encode().replace(b'"age"', b'"age": 1, "age"')
    refusal = refused(intake, wrap % body)
    assert (refusal.status, str(refusal)) == (422, "column 'age': the key is there twice.")
    with_colons = json.dumps(rows_of(1)[0] | {"town": 'a:b":c'}).encode()
    assert intake.rows_of_json(wrap % with_colons)[0][1] == 'a:b":c'


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", 400, "the body is no JSON: Expecting value at character 0"),
        (b"{", 400, "the body is no JSON"),
        (b"\xff\xfe[", 400, "the body is not UTF-8, from byte 0"),
        (b"[1] 2", 400, "Extra data at character 4"),
        (b"[" * 100_000, 400, "nested too deeply"),
        (b'{"a":' * 100_000, 400, "nested too deeply"),
        (b"[]", 422, "holds no rows"),
        (b'{"rows": []}', 422, "holds no rows"),
        (b"null", 422, "row 0: null is no object"),
        (b"[1]", 422, "row 0: 1 is no object of columns and cells"),
        (b"[NaN]", 422, 'row 0: "NaN" is no object of columns and cells'),
        (b'{"rows": [], "x": 1}', 422, "beside \"rows\" stands 'x'"),
        (b'{"columns": {"age": 1}}', 422, "column 'age': 1 is no list of cells"),
        (b"9" * 5000, 422, "row 0: so large a number is no object"),
    ],
)
def test_what_is_no_rows_is_refused(intake, body, status, text):
    refusal = refused(intake, body)
    assert refusal.status == status
    assert text in str(refusal)


def test_rows_and_lists_have_limits(intake):
    refusal = refused(intake, rows_of(6))
    assert (refusal.status, "6 rows; at most 5" in str(refusal)) == (413, True)
    lists = {name: [cell] * 2 for name, cell in rows_of(1)[0].items()}
    lists["town"] = lists["town"][:1]
    assert "column 'town': it has 1 cells, and 'age' has 2" in str(refused(intake, {"columns": lists}))


def test_every_kind_of_column_is_read_as_it_was_fitted():
    rng = np.random.RandomState(0)
    table = pl.DataFrame(
        {
            "rows": rng.randn(60),  # a column of the name that wraps rows
            "a`b": rng.randint(0, 2, 60),
            "code": rng.choice([1.5, 2.0, 30.0], 60),
            "large": rng.choice([2**60, 2**60 + 1, 5], 60),
            "when": pl.Series([f"2024-01-{1 + k % 28:02d}T10:00:00" for k in range(60)]).str.to_datetime(),
        }
    )
    schema = Schema.learn(table, kinds={"code": "category", "large": "category"})
    intake = Intake(schema, 100)
    assert intake.types == ("number", "number", "number", "whole", "date")
    rows = [row | {"when": row["when"].isoformat()} for row in table.to_dicts()]
    read = intake.table_of(intake.rows_of_json(json.dumps(rows).encode()))
    from plainnet.tables.encode import encode

    assert np.array_equal(encode(schema, read)[0], encode(schema, table)[0])
    assert np.array_equal(encode(schema, intake.checked(table))[0], encode(schema, table)[0])
    few = intake.cells_of(intake.rows_of_json(json.dumps(rows).encode()))
    assert np.array_equal(encode(schema, read_table(few))[0], encode(schema, table)[0])
    known = table.with_columns(code=2.0)  # levels with decimals are left to polars
    known_rows = intake.rows_of_json(json.dumps([row | {"code": 2} for row in rows]).encode())
    assert np.array_equal(RowEncoder(schema).encode(intake.cells_of(known_rows))[0], encode(schema, known)[0])
    zoned = [rows[0] | {"when": "2024-01-01T12:00:00+02:00"}, rows[0] | {"when": "2024-01-01"}]
    assert [str(each[4]) for each in intake.rows_of_json(json.dumps(zoned).encode())] == [
        "2024-01-01 10:00:00",
        "2024-01-01 00:00:00",
    ]
    assert "no date such as 2024-12-31" in str(refused(intake, [rows[0] | {"when": "noon"}]))
    assert intake.rows_of_json(json.dumps(example_row(intake.columns)).encode())


def test_a_model_of_an_array_is_asked_by_the_places_of_its_columns(tmp_path):
    from plainnet.service.models import read

    x = np.random.RandomState(0).randn(60, 2)
    model = plainnet.NetRegressor(members=1, epochs=2, hidden=(4,)).fit(x, x[:, 0])
    model.save(tmp_path / "m.safetensors")
    served = read("m", tmp_path / "m.safetensors", 10)
    names = [column.name for column in served.intake.columns]
    rows = served.intake.rows_of_json(
        json.dumps([dict(zip(names, row, strict=True)) for row in x[:5].tolist()]).encode()
    )
    assert np.array_equal(served.estimator.predict(served.intake.table_of(rows)), model.predict(x[:5]))
