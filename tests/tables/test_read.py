"""read_table and write_table: what a user has on disk, in a database or in memory becomes a frame, or one sentence."""

from __future__ import annotations

import bz2
import csv
import datetime as dt
import decimal
import gzip
import io
import lzma
import os
import sqlite3
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from plainnet.errors import DataWarning, MissingExtraError, RunError, TableError
from plainnet.tables.cells import as_dates, as_number
from plainnet.tables.databases import without_password
from plainnet.tables.read import is_path, read_table, write_table
from plainnet.tables.text import _is_utf8, _quotes_are_regular, _read_irregular, _read_regular, decode, read_text

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def put(tmp_path):
    """Write text or bytes under a name and return the path."""

    def write(content, name="t.csv", encoding="utf-8"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


def columns(frame):
    return {name: (str(frame.schema[name]), frame[name].to_list()) for name in frame.columns}


# ---------------------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("eol", ["\n", "\r\n", "\r"])
def test_every_delimiter_and_line_ending_is_found_out(put, delimiter, eol):
    lines = [["age", "city", "income"], ["31", "Ulm", "1.5"], ["", "Bonn", "-2"]]
    path = put(eol.join(delimiter.join(line) for line in lines) + eol)
    assert columns(read_table(path)) == {
        "age": ("Int64", [31, None]),
        "city": ("String", ["Ulm", "Bonn"]),
        "income": ("Float64", [1.5, -2.0]),
    }


@pytest.mark.parametrize(
    ("encoding", "word"),
    [
        ("utf-8", "Žluťoučký 漢字"),
        ("utf-8-sig", "Žluťoučký 漢字"),
        ("utf-16", "Žluťoučký 漢字"),
        ("utf-32", "Žluťoučký 漢字"),
        ("cp1252", "Köln – 5 €"),
        ("latin-1", "a\x81b é"),
    ],
)
def test_every_encoding_is_found_out(put, encoding, word):
    frame = read_table(put(f"stadt,größe\n{word},1\nx,2\n", encoding=encoding))
    assert columns(frame) == {"stadt": ("String", [word, "x"]), "größe": ("Int64", [1, 2])}


def test_utf_16_in_either_byte_order_is_read_by_its_mark(put):
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        assert read_table(put(mark + "a;b\né;2\n".encode(encoding))).rows() == [("é", 2)]


def test_quoted_cells_keep_delimiters_quotes_and_line_breaks(put):
    frame = read_table(put('name,note\n"Smith, Ann","said ""hi""\nand left"\nBob,"x"\n'))
    assert frame.rows() == [("Smith, Ann", 'said "hi"\nand left'), ("Bob", "x")]


def test_a_stray_quote_is_an_ordinary_character(put):
    assert read_table(put('item,n\n5" pipe,1\n6" pipe,2\nrod 7",3\n')).rows() == [
        ('5" pipe', 1),
        ('6" pipe', 2),
        ('rod 7"', 3),
    ]


def test_a_space_before_a_quote_does_not_matter(put):
    assert read_table(put('a, b\n1, "x, y"\n2, "z"\n')).rows() == [(1, "x, y"), (2, "z")]


@pytest.mark.parametrize(
    "marker", ["", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "  ", " ? ", '""', '" NA "']
)
def test_every_missing_marker_is_null(put, marker):
    frame = read_table(put(f"a,b,c\n1,x,{marker}\n{marker},{marker},2.5\n"))
    assert columns(frame) == {"a": ("Int64", [1, None]), "b": ("String", ["x", None]), "c": ("Float64", [None, 2.5])}


def test_a_marker_inside_of_a_longer_cell_is_text(put):
    assert read_table(put("a\nNAN\nwho?\nnone\n"))["a"].to_list() == ["NAN", "who?", "none"]


def test_cells_and_names_are_stripped(put):
    frame = read_table(put(' a ,"b "\n  1, x \n2 ,"  y"\n'))
    assert columns(frame) == {"a": ("Int64", [1, 2]), "b": ("String", ["x", "y"])}


def test_a_word_in_the_last_of_many_rows_makes_a_column_of_strings(put):
    frame = read_table(put("a,b\n" + "1,1\n" * 20_000 + "x,1.5\n"))
    assert frame.schema == {"a": pl.String, "b": pl.Float64}
    assert frame["a"][-1] == "x"
    assert frame["a"][0] == "1"


@pytest.mark.parametrize(
    ("cells", "dtype", "values"),
    [
        (["1", "-2", "+3", "0"], "Int64", [1, -2, 3, 0]),
        (["1", "2.5", ".5", "1e3"], "Float64", [1.0, 2.5, 0.5, 1000.0]),
        (["inf", "-inf", "1"], "Float64", [float("inf"), float("-inf"), 1.0]),
        (["01234", "98765"], "String", ["01234", "98765"]),
        (["0049123", "5"], "String", ["0049123", "5"]),
        (["0.5", "00.25"], "Float64", [0.5, 0.25]),
        (["9223372036854775808", "1"], "Float64", [2.0**63, 1.0]),
        (["true", "False", "TRUE"], "Boolean", [True, False, True]),
        (["true", "maybe"], "String", ["true", "maybe"]),
        (["2020-01-31", "2021-02-28"], "Date", [dt.date(2020, 1, 31), dt.date(2021, 2, 28)]),
        (["2020-01-31", "2021-02-30"], "String", ["2020-01-31", "2021-02-30"]),
        (["2020-01-31", "soon"], "String", ["2020-01-31", "soon"]),
        (["1_000", "2"], "String", ["1_000", "2"]),
        (["0x10", "2"], "String", ["0x10", "2"]),
        (["12:30:00", "08:00:00"], "String", ["12:30:00", "08:00:00"]),
        (["31.12.2020", "01.02.2021"], "String", ["31.12.2020", "01.02.2021"]),
    ],
)
def test_the_type_of_a_column_is_what_all_its_cells_have(put, cells, dtype, values):
    assert columns(read_table(put("\n".join(["a", *cells]))))["a"] == (dtype, values)


def test_moments_in_all_their_forms_become_datetimes(put):
    frame = read_table(put("a\n2020-01-31T10:00:00\n2020-01-31 11:30\n2020-02-01\n2020-02-01 10:00:00.25\n"))
    assert frame["a"].to_list() == [
        dt.datetime(2020, 1, 31, 10),
        dt.datetime(2020, 1, 31, 11, 30),
        dt.datetime(2020, 2, 1),
        dt.datetime(2020, 2, 1, 10, 0, 0, 250_000),
    ]


def test_moments_with_a_zone_become_utc(put):
    frame = read_table(put("a\n2020-01-31T10:00Z\n2020-01-31T10:00:00+02:00\n2020-01-31 10:00:00.5-0530\n"))
    assert frame.schema["a"] == pl.Datetime("us", "UTC")
    assert [moment.replace(tzinfo=None) for moment in frame["a"]] == [
        dt.datetime(2020, 1, 31, 10),
        dt.datetime(2020, 1, 31, 8),
        dt.datetime(2020, 1, 31, 15, 30, 0, 500_000),
    ]


def test_moments_of_which_only_some_have_a_zone_stay_strings():
    assert as_dates(pl.Series(["2020-01-31T10:00Z", "2020-01-31T10:00"])).dtype == pl.String


# --------------------------------------------------------------------------------------------------- decimal commas


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a;b\n1,5;2,7\n2;,25\n", [(1.5, 2.7), (2.0, 0.25)]),
        ("a;b\n1.000,5;x\n999,25;y\n", [(1000.5, "x"), (999.25, "y")]),
        ("a;b\n1 234,5;x\n1\u00a0000\u202f000,25;y\n", [(1234.5, "x"), (1000000.25, "y")]),
        ("a;b\n1'234,5;x\n-7,1e2;y\n", [(1234.5, "x"), (-710.0, "y")]),
        ('a,b\n"1,5",x\n"2,75",y\n', [(1.5, "x"), (2.75, "y")]),
        ('a,b\n"1,234.5",x\n"1,234,567",y\n', [(1234.5, "x"), (1234567.0, "y")]),
        ('a,b\n"1,234,567",x\n12,y\n', [(1234567, "x"), (12, "y")]),
        ("a\tb\n0,123\tx\n12,345\ty\n", [(0.123, "x"), (12.345, "y")]),
        # another column tells that the comma is decimal; so 1.234.567 is one whole number
        ("a;b\n1,5;1.234.567\n2,25;1.000\n", [(1.5, 1234567), (2.25, 1000)]),
        # another column tells that the point is decimal; so 1,234 is a whole number
        ("a;b\n1.5;1,234\n2.25;7\n", [(1.5, 1234), (2.25, 7)]),
        # another column tells that the comma is decimal; so 1,234 is a little more than 1
        ("a|b\n1,5|1,234\n2,25|7\n", [(1.5, 1.234), (2.25, 7.0)]),
        # addresses, versions and codes are not numbers
        ("a;b\n192.168.100.200;1\n10.100.200.100;2\n", [("192.168.100.200", 1), ("10.100.200.100", 2)]),
        ("a;b\n123 456;1\n789 012;2\n", [("123 456", 1), ("789 012", 2)]),
        ("a;b\n01,5;01234\n2,5;98765\n", [(1.5, "01234"), (2.5, "98765")]),
        ("a;b\n1,2,3;1\n4,5;2\n", [("1,2,3", 1), ("4,5", 2)]),
    ],
)
def test_the_decimal_mark_is_found_out(put, text, expected):
    assert read_table(put(text)).rows() == expected


@pytest.mark.parametrize(
    ("text", "expected", "reading"),
    [
        ("a;b\n1,234;x\n5,678;y\n", [1.234, 5.678], r"the mark in 1,234 .* read as 1\.234\."),
        ('a,b\n"1,234",x\n"5,678",y\n', [1234, 5678], r"the mark in 1,234 .* read as 1234\."),
        ("a;b\n1.234;1,5\n5.678;2,5\n", [1234, 5678], r"the mark in 1\.234 .* read as 1234\."),
    ],
)
def test_a_mark_that_nothing_explains_is_read_with_a_warning(put, text, expected, reading):
    with pytest.warns(DataWarning, match=r"t\.csv, column 'a': " + reading):
        assert read_table(put(text))["a"].to_list() == expected


# ------------------------------------------------------------------------------------------------------------- header


def test_names_that_are_empty_or_there_twice_are_replaced_with_a_warning(put):
    with pytest.warns(DataWarning, match="were given the names 'a_3', 'column_3'"):
        frame = read_table(put("a,a,,a_2\n1,2,3,4\n"))
    assert frame.columns == ["a", "a_3", "column_3", "a_2"]


def test_a_header_of_numbers_is_kept_with_a_warning(put):
    with pytest.warns(DataWarning, match=r"the first row \('5.1', '3'\) is all numbers and was taken as the header"):
        frame = read_table(put("5.1,3\n4.9,2\n"))
    assert frame.columns == ["5.1", "3"]
    assert frame.rows() == [(4.9, 2)]


def test_a_warning_points_at_the_line_that_reads_the_table(put):
    with pytest.warns(DataWarning) as caught:
        read_table(put("a;a\n1,234;x\n"))
    assert [warning.filename for warning in caught] == [__file__, __file__]


def test_the_separator_line_of_excel_is_obeyed(put):
    assert read_table(put("sep=|\na,b|c\n1,5|2\n")).rows() == [(1.5, 2)]


def test_a_semicolon_at_one_place_of_every_row_beats_a_comma(put):
    assert read_table(put("a, b;c\n1,5;2\n2,5;3\n")).columns == ["a, b", "c"]


def test_a_file_of_one_column_needs_no_delimiter(put):
    assert columns(read_table(put("word\nx\ny; z\n"))) == {"word": ("String", ["x", "y; z"])}


def test_blank_lines_are_skipped_wherever_they_stand(put):
    assert read_table(put("\n\na,b\n1,2\n\n  \n3,4\n\n\n")).rows() == [(1, 2), (3, 4)]
    assert read_table(put("a\n1\n\n3\n\n\n")).rows() == [(1,), (3,)]


def test_a_row_of_missing_cells_is_a_row(put):
    assert read_table(put("a,b\n1,2\n,\n")).rows() == [(1, 2), (None, None)]


# ------------------------------------------------------------------------------------------------------- broken text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"t\.csv is empty\. A table needs a header line"),
        ("\n \n", r"t\.csv is empty"),
        ("\ufeff", r"t\.csv is empty"),
        ("a,b\n", r"t\.csv has a header \('a', 'b'\) but no rows"),
        ("a,b", r"t\.csv has a header \('a', 'b'\) but no rows"),
        ("a,b\n1,2\n3\n", r"t\.csv, line 3: 1 cell, but the header has 2\. The delimiter found is ','"),
        ("a,b\n1,2\n3,4,5\n", r"t\.csv, line 3: 3 cells, but the header has 2.*put quotes around"),
        ("a\tb\n1\t2\n\n3\n", r"t\.csv, line 4: 1 cell, but the header has 2\. The delimiter found is 'tab'"),
        ('a,b\n"x\ny",2\n\n3,4,5\n', r"t\.csv, line 5: 3 cells"),
        ("a,b\n1,2,3\n4,5,6\n", r"t\.csv, line 2: 3 cells, but the header has 2"),
        ("text\nHello, world\n", r"t\.csv, line 2: 2 cells, but the header has 1"),
        ('a,b\n1,2\n"x,3\n4,5\n', r"t\.csv, line 3: a quote is opened but never closed"),
        (
            'a,b\n1,2\n"x' + "y,1\n" * 50_000,
            r"t\.csv, line 3: field larger than field limit .*Is there a quote that is never closed",
        ),
        (bytes(range(256)), r"t\.csv is not text: it holds NUL or other control"),
        (b"\x01\x02\x03abc" * 9, r"t\.csv is not text: it holds NUL or other control"),
        ("a,b\n1,2\n".encode("utf-16-le"), r"UTF-16 without a byte order mark"),
        (b"\xff\xfea\x00b", r"t\.csv begins as UTF-16 text but is damaged"),
        (b"\x1f\x8b\x08rest", r"t\.csv is not text: it begins like gzip \(\.gz\)"),
        (b"PK\x03\x04rest", r"begins like a zip archive or an Excel file"),
        (b"PAR1rest", r"begins like Parquet"),
    ],
)
def test_broken_text_is_refused_with_its_place(put, content, message):
    with pytest.raises(TableError, match=message):
        read_table(put(content))


# ------------------------------------------------------------------------------------------------------------- paths


def test_a_missing_file_names_the_nearest_one(put, tmp_path):
    put("a\n1\n", "adult.csv")
    with pytest.raises(TableError, match=r"adlut\.csv does not exist.*did you mean 'adult\.csv'\?"):
        read_table(tmp_path / "adlut.csv")
    with pytest.raises(TableError, match=r"zzz\.parquet does not exist \(looked in "):
        read_table(tmp_path / "zzz.parquet")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere/t.csv", r"there is no folder .*nowhere \(looked from "),
        ("*.csv", r"\*\.csv fits no file"),
        (".", "is a folder without a table in it"),
        ("x" * 5000 + ".csv", "is not the name of a file: .*too long"),
    ],
)
def test_a_path_that_is_no_file_is_refused(tmp_path, name, message):
    with pytest.raises(TableError, match=message):
        read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "'' is not the name of a file"),
        ("a,b\n1,2\n", "is not the name of a file. Pass a path; rows may come as a list of dicts"),
        ("a\0b", "is not the name of a file"),
        ("https://user:hunter2@host/t.csv?token=hunter2", r"^https://host/t\.csv: tables are not read from https://"),
        ("s3://bucket/t.parquet", "Download the file first"),
        ("mysql://ann:hunter2@host/db", r"^mysql://host/db: .*databases: sqlite:/// and postgresql://"),
        ("sqlite://t.db", "sqlite://t.db names no file. Write sqlite:///relative.db"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////no/such/folder/t.db", "there is no folder"),
    ],
)
def test_a_text_that_is_no_file_is_refused_without_its_secrets(source, message):
    with pytest.raises(TableError, match=message) as caught:
        read_table(source)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", ["t", "t.dat", "t.csv.zip", "t.parquet.gz", "t.gz"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(put, name):
    with pytest.raises(TableError, match=r"no suffix that is known. Known are \.csv \.tsv"):
        read_table(put("a\n1\n", name))


def test_a_pipe_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(TableError, match="is not a regular file"):
        read_table(tmp_path / "t.csv")


def test_a_file_without_permission_is_refused(put, monkeypatch):
    path = put("a\n1\n")

    def refuse(_):
        raise PermissionError(13, "Permission denied")  # root may read everything, so chmod would not do

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(TableError, match=r"t\.csv cannot be read: no permission"):
        read_table(path)


def test_a_path_may_start_at_home_and_have_a_suffix_in_capitals(put, tmp_path, monkeypatch):
    put("a,b\n1,2\n", "T.CSV")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_table("~/T.CSV").rows() == [(1, 2)]


def test_strings_and_paths_are_paths_and_tables_are_not():
    assert is_path("t.csv")
    assert is_path(Path("t.csv"))
    assert is_path("postgresql://host/db")
    assert not any(is_path(source) for source in ({"a": [1]}, [{"a": 1}], pl.DataFrame({"a": [1]}), b"t.csv", None))


# -------------------------------------------------------------------------------------------------------- compression


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": pa.Codec("zstd").compress}


def packed(data, suffix):
    result = PACKERS[suffix](data)
    return bytes(result)


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.jsonl", "t.ndjson", "t.json"])
def test_packed_text_is_unpacked(put, name, suffix):
    text = b'{"a": 1, "b": "x"}\n' if "json" in name else b"a,b\n1,x\n"
    assert read_table(put(packed(text, suffix), name + suffix)).rows() == [(1, "x")]


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_packed_file_that_is_cut_short_or_damaged_is_refused(put, suffix):
    whole = packed(("a,b\n" + "".join(f"{i * i},{i}\n" for i in range(5000))).encode(), suffix)
    for content in (whole[: len(whole) // 2], b"garbage " * 9):
        with pytest.raises(TableError, match=r"is damaged or cut short: .*Download or pack it again"):
            read_table(put(content, "t.csv" + suffix))


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_bomb_is_stopped_at_the_limit(put, suffix):
    path = put(packed(b"0" * 30_000_000, suffix), "t.csv" + suffix)
    assert path.stat().st_size < 100_000
    with pytest.raises(TableError, match=r"becomes larger than 5,000,000 bytes when it is unpacked.*raise limit_bytes"):
        read_table(path, limit_bytes=5_000_000)


def test_an_excel_bomb_is_stopped_at_the_limit(tmp_path):
    with zipfile.ZipFile(tmp_path / "t.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 30_000_000)
    with pytest.raises(TableError, match=r"becomes larger than 5,000,000 bytes"):
        read_table(tmp_path / "t.xlsx", limit_bytes=5_000_000)


def test_zstd_without_a_library_names_the_extra(put, monkeypatch):
    path = put(packed(b"a\n1\n", ".zst"), "t.csv.zst")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "compression", None)
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    with pytest.raises(MissingExtraError, match=r"Reading .zst files before .* pip install 'plainnet\[sql\]'"):
        read_table(path)


# ------------------------------------------------------------------------------------------------------- other files


TYPED = pl.DataFrame(
    {
        "whole": [1, None, 3],
        "real": [0.1, 2.5, None],
        "text": ["x", None, 'ü, "q"'],
        "yes": [True, False, None],
        "day": [dt.date(2020, 1, 1), None, dt.date(2026, 11, 24)],
        "moment": [dt.datetime(2020, 1, 1, 10, 30), None, dt.datetime(2026, 11, 24, 0, 0, 0, 5)],
    }
)


@pytest.mark.parametrize(
    "name",
    [
        *("t.csv", "t.tsv", "t.txt", "T.CSV", "t.csv.gz", "t.tsv.zst", "t.json", "t.jsonl", "t.ndjson", "t.jsonl.gz"),
        *("t.ndjson.zst", "t.parquet", "t.arrow", "t.feather", "t.ipc"),
    ],
)
def test_what_is_written_is_read_back_equal(tmp_path, name):
    write_table(TYPED, tmp_path / name)
    assert read_table(tmp_path / name).equals(TYPED)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_what_is_written_to_excel_is_read_back_equal(tmp_path):
    plain = TYPED.drop("moment").with_columns(pl.col("day").cast(pl.Datetime("ms")))
    write_table(plain, tmp_path / "t.xlsx")
    assert read_table(str(tmp_path / "t.xlsx")).equals(plain)


def test_a_missing_cell_of_a_single_column_survives_writing(tmp_path):
    write_table(pl.DataFrame({"a": ["x", None, "y", None]}), tmp_path / "t.csv")
    assert read_table(tmp_path / "t.csv")["a"].to_list() == ["x", None, "y", None]


def test_an_arrow_stream_is_read_like_an_arrow_file(tmp_path):
    TYPED.write_ipc_stream(tmp_path / "t.arrow")
    assert read_table(tmp_path / "t.arrow").equals(TYPED)


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "t.feather", "t.ipc", "t.xlsx", "t.xls", "t.ods", "t.db"])
def test_a_binary_file_that_is_something_else_is_refused(put, name):
    with pytest.raises(TableError, match=r"t\.\w+( is not an? .*damaged|: SQLite says: file is not a database)"):
        read_table(put(b"something else entirely " * 99, name))


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow", "t.xlsx"])
def test_a_binary_file_of_no_bytes_or_no_rows_is_refused(tmp_path, put, name):
    with pytest.raises(TableError, match=r"is empty \(0 bytes\)"):
        read_table(put(b"", name))
    write_table(TYPED.clear(), tmp_path / name)
    with pytest.raises(TableError, match=r"has columns but no rows"):
        read_table(tmp_path / name)


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
def test_a_binary_file_that_is_cut_short_is_refused(tmp_path, name):
    write_table(TYPED, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for n in (8, len(whole) // 3, len(whole) - 5):
        (tmp_path / name).write_bytes(whole[:n])
        with pytest.raises(TableError, match="or it is damaged"):
            read_table(tmp_path / name)


def test_a_path_with_pattern_signs_is_taken_literally(tmp_path):
    for name in ("a[1].parquet", "a[1].arrow", "a[1].csv"):
        write_table(TYPED, tmp_path / name)
        assert read_table(tmp_path / name).equals(TYPED)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[{"a": 1, "b": "x"}, {"a": 2.5}]', {"a": ("Float64", [1.0, 2.5]), "b": ("String", ["x", None])}),
        ('\n{"a": 1}\n\n{"a": null, "b": true}\n', {"a": ("Int64", [1, None]), "b": ("Boolean", [None, True])}),
        ('{"a": 1}\n{"a": "x"}\n', {"a": ("String", ["1", "x"])}),
        ('{"a": true}\n{"a": 7}\n', {"a": ("Int64", [1, 7])}),
        ('{"a": {"b": 1}}\n{"a": 7}\n', {"a": ("String", ["{'b': 1}", "7"])}),
        ('{"a": 1.5}\n{"a": NaN}\n', {"a": ("Float64", [1.5, None])}),
        ('{"a": "2020-01-31"}\n', {"a": ("Date", [dt.date(2020, 1, 31)])}),
        (
            '{"a": 1}\n' * 2000 + '{"a": 2, "late": 3}',
            {"a": ("Int64", [1] * 2000 + [2]), "late": ("Int64", [None] * 2000 + [3])},
        ),
    ],
)
def test_json_is_an_array_or_lines_of_objects(put, text, expected):
    for name in ("t.json", "t.jsonl"):
        assert columns(read_table(put(text, name))) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"t\.json is empty"),
        ("[]", r"t\.json has no columns"),
        ("{}", r"t\.json has no columns"),
        ('{"a": 1}\n{"a":\n{"a": 3}\n', r"t\.json, line 2, column 6: Expecting value"),
        ('[{"a": 1},\n{"a": 2', r"t\.json, line 2, column 8: Expecting ',' delimiter"),
        ("[1, 2]", r"t\.json, line 1: '1' is not an object"),
        ('{"a": 1}\nfoo', r"t\.json, line 2, column 1: Expecting value"),
        ('{"a": 1}\n7', r"t\.json, line 2: '7' is not an object"),
        ('{"a":' * 9999 + "1" + "}" * 9999, r"t\.json, line 1, column 1: maximum recursion"),
    ],
)
def test_broken_json_is_refused_with_its_place(put, text, message):
    with pytest.raises(TableError, match=message):
        read_table(put(text, "t.json"))


# -------------------------------------------------------------------------------------------------------------- Excel


def excel(path, *rows):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.create_sheet("second").append(["not", "this"])
    book.save(path)
    return path


def test_the_first_sheet_of_an_excel_file_is_read_like_a_csv_file(tmp_path):
    path = excel(
        tmp_path / "t.xlsx",
        ["id", "price", " mixed ", "zip", "when", "ok", "n"],
        [1, 2.5, 7, "01234", dt.datetime(2020, 1, 2), True, "5"],
        [2, None, "x", "98765", None, False, "?"],
        [None] * 7,
        [3, "NA", None, "00001", dt.datetime(2020, 1, 3), None, 6],
    )
    assert columns(read_table(path)) == {
        "id": ("Int64", [1, 2, 3]),
        "price": ("Float64", [2.5, None, None]),
        "mixed": ("String", ["7", "x", None]),
        "zip": ("String", ["01234", "98765", "00001"]),
        "when": ("Datetime(time_unit='ms', time_zone=None)", [dt.datetime(2020, 1, 2), None, dt.datetime(2020, 1, 3)]),
        "ok": ("Boolean", [True, False, None]),
        "n": ("Int64", [5, None, 6]),
    }


def test_excel_names_that_are_empty_or_there_twice_are_replaced_with_a_warning(tmp_path):
    path = excel(tmp_path / "t.xlsx", ["a", "a", None, None, "b"], [1, 2, 3, None, None], [4, 5, 6, None, None])
    with pytest.warns(DataWarning, match="were given the names 'a_2', 'column_3'"):
        frame = read_table(path)
    assert frame.columns == ["a", "a_2", "column_3", "b"]
    assert frame["column_3"].to_list() == [3, 6]


def test_an_excel_file_without_a_table_is_refused(tmp_path):
    with pytest.raises(TableError, match=r"the first sheet, 'Sheet', is empty"):
        read_table(excel(tmp_path / "t.xlsx"))
    with pytest.raises(TableError, match="has columns but no rows"):
        read_table(excel(tmp_path / "t.xlsx", ["a", "b"]))


def test_an_open_document_sheet_is_read(tmp_path):
    cell = '<table:table-cell office:value-type="{}" {}><text:p>{}</text:p></table:table-cell>'
    number = [cell.format("float", f'office:value="{n}"', n) for n in (1, 2.5)]
    text = [cell.format("string", "", word) for word in ("a", "b", "x", "y")]
    rows = "".join(
        f"<table:table-row>{first}{second}</table:table-row>"
        for first, second in ((text[0], text[1]), (number[0], text[2]), (number[1], text[3]))
    )
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    manifest = (
        '<?xml version="1.0"?><m:manifest xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        '<m:file-entry m:full-path="/" m:media-type="application/vnd.oasis.opendocument.spreadsheet"/></m:manifest>'
    )
    with zipfile.ZipFile(tmp_path / "t.ods", "w") as archive:
        archive.writestr("META-INF/manifest.xml", manifest)
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr(
            "content.xml",
            f'<?xml version="1.0"?><office:document-content {spaces}><office:body><office:spreadsheet>'
            f'<table:table table:name="S">{rows}</table:table></office:spreadsheet></office:body>'
            "</office:document-content>",
        )
    assert columns(read_table(tmp_path / "t.ods")) == {"a": ("Float64", [1.0, 2.5]), "b": ("String", ["x", "y"])}


def test_excel_without_fastexcel_names_the_extra(put, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    with pytest.raises(MissingExtraError, match=r"Reading Excel files needs fastexcel.*'plainnet\[excel\]'"):
        read_table(put(b"x", "t.xlsx"))


# ---------------------------------------------------------------------------------------------------------- databases


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "sales.db"
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        CREATE TABLE "odd ""name" (a INTEGER, b, day TEXT);
        INSERT INTO "odd ""name" VALUES (1, 2.5, '2020-01-01'), (2, 'x', NULL), (NULL, x'00ff', '2020-01-02');
        """
    )
    connection.close()
    return path


ODD = {
    "a": ("Int64", [1, 2, None]),
    "b": ("String", ["2.5", "x", "b'\\x00\\xff'"]),
    "day": ("Date", [dt.date(2020, 1, 1), None, dt.date(2020, 1, 2)]),
}


def test_the_only_table_of_an_sqlite_file_is_read_whole(database, monkeypatch):
    monkeypatch.chdir(database.parent)
    for source in (f"sqlite:///{database}", "sqlite:///sales.db", "SQLite:///sales.db", database, "sales.db"):
        assert columns(read_table(source)) == ODD


def test_a_table_of_an_sqlite_file_is_chosen_by_name_or_select(database):
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE VIEW small AS SELECT 1 AS n")
    connection.close()
    with pytest.raises(TableError, match=r"holds 2 tables: 'odd \"name', 'small'\. Pass query='SELECT \* FROM"):
        read_table(database)
    assert columns(read_table(database, query='odd "name')) == ODD
    assert read_table(database, query="small").rows() == [(1,)]
    assert read_table(database, query=" select n + 1 as m from small;\n").rows() == [(2,)]
    assert read_table(database, query="WITH q AS (SELECT 5 AS z) SELECT z FROM q").rows() == [(5,)]
    with pytest.raises(TableError, match=r"'smal' is neither a SELECT nor one of the tables .*did you mean 'small'\?"):
        read_table(database, query="smal")


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("DROP TABLE x", "is neither a SELECT nor one of the tables"),
        ("", "is neither a SELECT nor one of the tables"),
        ("SELECT nope", "SQLite says: no such column: nope. Is it an SQLite file"),
        ("SELECT 1; SELECT 2", "SQLite says: You can only execute one statement"),
        ('SELECT a, a FROM "odd ""name"', "more than one column named 'a'. Name them with AS"),
        ('SELECT a FROM "odd ""name" WHERE a > 9', "has columns but no rows"),
        ('WITH q AS (SELECT 1) DELETE FROM "odd ""name"', "SQLite says: attempt to write a readonly database"),
    ],
)
def test_a_query_that_cannot_be_answered_is_refused(database, query, message):
    before = database.read_bytes()
    with pytest.raises(TableError, match=message):
        read_table(database, query=query)
    assert database.read_bytes() == before


def test_a_missing_sqlite_file_is_not_created(tmp_path):
    with pytest.raises(TableError, match=r"sales\.db does not exist"):
        read_table(f"sqlite:///{tmp_path}/sales.db")
    assert not list(tmp_path.iterdir())


def test_an_sqlite_file_without_tables_is_refused(tmp_path):
    sqlite3.connect(tmp_path / "t.sqlite").close()
    (tmp_path / "t.sqlite").touch()
    with pytest.raises(TableError, match="holds no tables"):
        read_table(tmp_path / "t.sqlite")


def test_a_query_for_anything_but_a_database_is_refused(put):
    with pytest.raises(TableError, match=r"query='x' is for databases, and .*t\.csv is none"):
        read_table(put("a\n1\n"), query="x")
    with pytest.raises(TableError, match="query='x' is for databases; a dict cannot be asked"):
        read_table({"a": [1]}, query="x")


def test_a_postgresql_server_that_is_not_there_is_said_at_once_and_without_the_password():
    for password in ("hunter2", "hun/ter2", "h@unter2", "h?unter2"):
        with pytest.raises(TableError, match="no database answers there") as caught:
            read_table(f"postgresql://ann:{password}@127.0.0.1:9/sales")
        shown = "".join(str(error) for error in (caught.value, caught.value.__cause__, caught.value.__context__))
        assert "unter2" not in shown
        assert "ter2" not in shown


def test_postgresql_without_connectorx_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "connectorx", None)
    with pytest.raises(MissingExtraError, match=r"Reading from PostgreSQL needs connectorx.*'plainnet\[sql\]'"):
        read_table("postgresql://ann:hunter2@127.0.0.1:9/sales", query="SELECT 1")


def test_what_the_driver_says_is_shown_without_the_password(monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("cannot use postgresql://ann:hunter2@host/db?sslpassword=s3cret, password hunter2 or s3cret")

    monkeypatch.setattr("polars.read_database_uri", fail)
    monkeypatch.setattr("plainnet.tables.databases._knock", lambda _: None)
    with pytest.raises(TableError, match=r"^postgresql://host/db: the database says: cannot use \*\*\*") as caught:
        read_table("postgresql://ann:hunter2@host/db?sslpassword=s3cret", query="SELECT 1")
    assert "hunter2" not in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.skipif("PLAINNET_TEST_POSTGRES" not in os.environ, reason="PLAINNET_TEST_POSTGRES holds no URL")
def test_a_real_postgresql_database_is_read_and_not_written():
    url = os.environ["PLAINNET_TEST_POSTGRES"]
    query = """SELECT n AS a, n / 4.0 AS b, 'x' || n AS c, DATE '2020-01-01' + n AS d, NULLIF(n, 2)::real AS e
               FROM generate_series(1, 2) AS n;"""
    assert columns(read_table(url, query=query)) == {
        "a": ("Int32", [1, 2]),
        "b": ("Float64", [0.25, 0.5]),
        "c": ("String", ["x1", "x2"]),
        "d": ("Date", [dt.date(2020, 1, 2), dt.date(2020, 1, 3)]),
        "e": ("Float32", [1.0, None]),
    }
    with pytest.raises(TableError, match=r"the database says: .*nope.*does not exist"):
        read_table(url, query="SELECT nope")
    with pytest.raises(TableError, match=r"is neither a SELECT nor one of the tables|holds no tables"):
        read_table(url, query="no such table")
    delete = "WITH q AS (DELETE FROM information_schema.sql_features WHERE false RETURNING 1 AS n) SELECT n FROM q"
    with pytest.raises(TableError, match="read-only transaction"):
        read_table(url, query=delete)


def test_a_url_is_shown_without_user_password_and_parameters():
    assert without_password("postgresql://ann:p@ss/w?rd@host:5/db?a=b") == "postgresql://host:5/db"


# ---------------------------------------------------------------------------------------------------------- in memory


SMALL = {"a": ("Int64", [1, 2]), "b": ("String", ["x", None])}


@pytest.mark.parametrize(
    "source",
    [
        pl.DataFrame({"a": [1, 2], "b": ["x", None]}),
        pl.LazyFrame({"a": [1, 2], "b": ["x", None]}),
        pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=[7, 8]),
        pa.table({"a": [1, 2], "b": ["x", None]}),
        pa.RecordBatch.from_pydict({"a": [1, 2], "b": ["x", None]}),
        nw.from_native(pl.DataFrame({"a": [1, 2], "b": ["x", None]})),
        nw.from_native(pl.LazyFrame({"a": [1, 2], "b": ["x", None]})),
        nw.from_native(pd.DataFrame({"a": [1, 2], "b": ["x", None]})),
        {"a": [1, 2], "b": ["x", None]},
        {"a": (1, 2), "b": np.array(["x", None], dtype=object)},
        {"a": np.array([1, 2]), "b": pd.Series(["x", None], index=[5, 6])},
        {"a": range(1, 3), "b": pl.Series(["x", None])},
        {"a": pa.array([1, 2]), "b": nw.from_native(pl.Series(["x", None]), series_only=True)},
        {"a": pd.Index([1, 2]), "b": pd.Categorical(["x", None])},
        [{"a": 1, "b": "x"}, {"a": 2}],
        ({"a": 1, "b": "x"}, {"a": 2, "b": float("nan")}),
    ],
    ids=lambda source: type(source).__module__.partition(".")[0] + "-" + type(source).__name__,
)
def test_every_kind_of_table_in_memory_is_taken(source):
    assert columns(read_table(source)) == SMALL


def test_a_matrix_gets_names_and_keeps_its_type():
    for dtype in ("float16", "float32", "float64", "int8", "uint64", "bool"):
        frame = read_table(np.array([[0, 1, 0], [1, 0, 1]], dtype=dtype))
        assert frame.columns == ["x0", "x1", "x2"]
        assert {str(kind).lower().replace("boolean", "bool") for kind in frame.dtypes} == {dtype}
        assert frame.rows() == [(0, 1, 0), (1, 0, 1)]


def test_a_matrix_may_be_transposed_reversed_or_of_foreign_byte_order():
    matrix = np.arange(6.0).reshape(2, 3)
    assert read_table(matrix.T).rows() == [(0, 3), (1, 4), (2, 5)]
    assert read_table(matrix[::-1, ::2]).rows() == [(3, 5), (0, 2)]
    assert read_table(matrix.astype(">f8")).rows() == [(0, 1, 2), (3, 4, 5)]
    assert read_table(matrix.astype(np.longdouble)).schema == dict.fromkeys(("x0", "x1", "x2"), pl.Float64)


def test_a_matrix_of_objects_or_words_is_typed_column_by_column():
    mixed = np.array([[1, "a", 1.5], [2, None, np.nan]], dtype=object)
    assert columns(read_table(mixed)) == {
        "x0": ("Int64", [1, 2]),
        "x1": ("String", ["a", None]),
        "x2": ("Float64", [1.5, None]),
    }
    assert read_table(np.array([["a", "b"]])).rows() == [("a", "b")]


def test_a_structured_array_brings_its_names():
    array = np.array([(1, 2.5, "x"), (2, np.nan, "y")], dtype=[("a", "i4"), ("b", "f4"), ("c", "U1")])
    expected = {"a": ("Int32", [1, 2]), "b": ("Float32", [2.5, None]), "c": ("String", ["x", "y"])}
    assert columns(read_table(array)) == expected
    assert columns(read_table(array.view(np.recarray))) == expected


def test_times_of_every_unit_are_read_from_numpy():
    for unit in ("D", "h", "s", "ms", "us", "ns"):
        frame = read_table({"t": np.array(["2020-01-02", "NaT"], dtype=f"M8[{unit}]")})
        assert str(frame["t"].cast(pl.Datetime("us"))[0]) == "2020-01-02 00:00:00"
        assert frame["t"][1] is None
    for unit in ("D", "h", "s", "ms", "us", "ns"):
        span = np.array([1, "NaT"], dtype=f"m8[{unit}]")
        assert read_table({"t": span})["t"].to_list() == [span[0] / np.timedelta64(1, "s"), None]


def test_a_tensor_is_read_like_its_matrix():
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([[1.0, float("nan")], [3.0, 4.0]], requires_grad=True)
    assert columns(read_table(tensor)) == {"x0": ("Float32", [1.0, 3.0]), "x1": ("Float32", [None, 4.0])}
    assert columns(read_table(torch.nn.Parameter(tensor.detach())))["x0"] == ("Float32", [1.0, 3.0])
    assert read_table(tensor.detach().to(torch.bfloat16)).schema == {"x0": pl.Float32, "x1": pl.Float32}
    assert read_table({"a": torch.tensor([1, 2])}).schema == {"a": pl.Int64}
    with pytest.raises(TableError, match=r"array.reshape\(-1, 1\)"):
        read_table(torch.ones(3))
    with pytest.raises(TableError, match=r"Pass tensor.to_dense\(\)"):
        read_table(torch.eye(2).to_sparse())
    with pytest.raises(TableError, match=r"is not a table\. Pass a path or URL"):
        read_table(torch.nn.Linear(1, 1))


def test_every_pandas_type_is_read():
    frame = pd.DataFrame(
        {
            "int": pd.array([1, None], dtype="Int64"),
            "float": pd.array([1.5, None], dtype="Float32"),
            "bool": pd.array([True, None], dtype="boolean"),
            "string": pd.array(["x", None], dtype="string"),
            "category": pd.Categorical(["b", None], categories=["a", "b"]),
            "numbers": pd.Categorical([10, None]),
            "arrow": pd.array([1, None], dtype="int64[pyarrow]"),
            "zone": pd.to_datetime(["2020-01-01 10:00+02:00", None], utc=True).tz_convert("Europe/Berlin"),
            "naive": pd.to_datetime(["2020-01-01", None]),
            "span": pd.to_timedelta(["1min", None]),
            "nan": [np.nan, 2.5],
            "mixed": [1, "x"],
            "mixed_missing": ["x", pd.NA],
            "mixed_nat": [pd.NaT, 3],
            "decimal": [decimal.Decimal("1.25"), None],
            "period": pd.period_range("2020-01", periods=2, freq="M"),
            "sparse": pd.arrays.SparseArray([0, 5]),
            7: [1, 2],
        }
    )
    read = columns(read_table(frame))
    zone = read.pop("zone")
    assert zone[0].startswith("Datetime")
    assert "Europe/Berlin" in zone[0]
    assert zone[1][0] == dt.datetime(2020, 1, 1, 8, tzinfo=dt.UTC)
    naive = read.pop("naive")
    assert naive[1] == [dt.datetime(2020, 1, 1), None]
    assert read == {
        "int": ("Int64", [1, None]),
        "float": ("Float32", [1.5, None]),
        "bool": ("Boolean", [True, None]),
        "string": ("String", ["x", None]),
        "category": ("String", ["b", None]),
        "numbers": ("Int64", [10, None]),
        "arrow": ("Int64", [1, None]),
        "span": ("Float64", [60.0, None]),
        "nan": ("Float64", [None, 2.5]),
        "mixed": ("String", ["1", "x"]),
        "mixed_missing": ("String", ["x", None]),
        "mixed_nat": ("Int64", [None, 3]),
        "decimal": ("Float64", [1.25, None]),
        "period": ("String", ["2020-01", "2020-02"]),
        "sparse": ("Int64", [0, 5]),
        "7": ("Int64", [1, 2]),
    }


def test_pandas_is_read_without_pyarrow():
    """In a process of its own, since pandas decides at its import whether there is pyarrow."""
    code = """
import sys
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *rest):
        return None if name.partition(".")[0] == "pyarrow" else self.finder.find_spec(name, *rest)
sys.meta_path = [Without(finder) for finder in sys.meta_path]
import pandas as pd
from plainnet.tables.read import read_table
frame = pd.DataFrame({
    "a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "v"]), "d": pd.array([1, None], dtype="Int64"),
    "e": pd.to_datetime(["2020-01-01 10:00", None], utc=True), "f": [1.5, float("nan")], "g": [True, False],
})
table = read_table(frame)
types = [str(dtype).partition("(")[0] for dtype in table.dtypes]
assert types == ["Int64", "String", "String", "Int64", "Datetime", "Float64", "Boolean"], table
assert table.drop("e").rows() == [(1, "x", "u", 1, 1.5, True), (2, None, "v", None, None, False)], table
"""
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


def test_a_table_in_memory_is_not_changed():
    source = pl.DataFrame({"a": [1.0, float("nan")], "b": pl.Series(["x", "y"], dtype=pl.Categorical)})
    before = source.clone()
    assert read_table(source)["a"].to_list() == [1.0, None]
    assert source.equals(before)
    assert source.schema == before.schema


def test_polars_types_are_made_plain_and_nested_ones_kept():
    frame = read_table(
        pl.DataFrame(
            {
                "decimal": pl.Series(["1.25", None]).cast(pl.Decimal(10, 2)),
                "big": pl.Series([2**70, None], dtype=pl.Int128),
                "enum": pl.Series(["a", None], dtype=pl.Enum(["a"])),
                "span_ms": pl.Series([dt.timedelta(seconds=1.5), None], dtype=pl.Duration("ms")),
                "span_ns": pl.Series([dt.timedelta(days=2), None], dtype=pl.Duration("ns")),
                "time": [dt.time(1, 0, 0, 500_000), None],
                "nothing": [None, None],
                "half": pl.Series([1.5, float("nan")], dtype=pl.Float32),
                "object": pl.Series([{1}, None], dtype=pl.Object),
                "list": [[1], None],
                "struct": [{"a": 1}, None],
                "binary": [b"x", None],
            }
        )
    )
    assert columns(frame) == {
        "decimal": ("Float64", [1.25, None]),
        "big": ("Float64", [2.0**70, None]),
        "enum": ("String", ["a", None]),
        "span_ms": ("Float64", [1.5, None]),
        "span_ns": ("Float64", [172800.0, None]),
        "time": ("Float64", [3600.5, None]),
        "nothing": ("String", [None, None]),
        "half": ("Float32", [1.5, None]),
        "object": ("String", ["{1}", None]),
        "list": ("List(Int64)", [[1], None]),
        "struct": ("Struct({'a': Int64})", [{"a": 1}, None]),
        "binary": ("Binary", [b"x", None]),
    }


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 2.5, None], ("Float64", [1.0, 2.5, None])),
        ([True, 2], ("Int64", [1, 2])),
        ([np.float32(1.5), 2], ("Float64", [1.5, 2.0])),
        ([1, "x", None, 2.5], ("String", ["1", "x", None, "2.5"])),
        ([b"x", "x"], ("String", ["b'x'", "x"])),
        ([2**70, 1], ("Float64", [2.0**70, 1.0])),
        ([2**200, 1], ("String", [str(2**200), "1"])),
        ([{1}, None], ("String", ["{1}", None])),
        ([dt.date(2020, 1, 1), "x"], ("String", ["2020-01-01", "x"])),
        ([np.datetime64("NaT", "D"), np.datetime64("2020-01-01")], ("String", [None, "2020-01-01"])),
        (["x", float("nan")], ("String", ["x", None])),
        ([None, None], ("String", [None, None])),
        ([[1], [2, 3]], ("List(Int64)", [[1], [2, 3]])),
    ],
)
def test_a_list_of_any_things_becomes_one_column(values, expected):
    assert columns(read_table({"a": values}))["a"] == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "A builtins.NoneType is not a table. Pass a path or URL"),
        (7, "A builtins.int is not a table"),
        (b"a,b", "A builtins.bytes is not a table"),
        ([], "An empty list is no table. Pass at least one row"),
        ([1, 2], "Row 0 is a int, not a dict"),
        ([{"a": 1}, [2]], "Row 1 is a list, not a dict"),
        ({}, "The dict has no columns"),
        (pl.DataFrame(), "The DataFrame has no columns"),
        (np.zeros((3, 0)), "The ndarray has no columns"),
        ({"a": 1}, "Column 'a' is a single int, not a list"),
        ({"a": "xyz"}, "Column 'a' is a single str"),
        ({"a": [1, 2], "b": [1]}, "different numbers of values: 'a' 2, 'b' 1"),
        ({"a": np.zeros((2, 2))}, r"Column 'a' is an array of shape \(2, 2\)"),
        ({1: [1], "1": [2]}, "more than one column named '1'"),
        (np.zeros(3), r"shape \(3,\) is one column, not a table. Pass array.reshape\(-1, 1\)"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\) is not a table"),
        (np.array(5), "is not a table"),
        (np.zeros((2, 2), dtype=complex), "Column 'x0' holds complex numbers"),
        (np.zeros((2, 2), dtype="V4"), "which is no column type"),
        (np.ma.masked_array(np.zeros((2, 2)), mask=True), "A masked array cannot be read"),
        (pl.Series([1, 2]), r"One column \(a Series of 2 values\) is no table"),
        (pd.Series([1, 2]), r"One column \(a Series of 2 values\) is no table.*to_frame"),
        (pa.chunked_array([[1]]), "is no table"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "more than one column named 'a'. Rename them"),
        (pa.table([[1], [2]], names=["a", "a"]), "more than one column named 'a'"),
        (pl.LazyFrame({"a": [1]}).select("b"), "The lazy frame could not be computed"),
    ],
)
def test_what_is_no_table_is_refused(source, message):
    with pytest.raises(TableError, match=message):
        read_table(source)


def test_a_sparse_matrix_is_refused_with_the_way_out():
    sparse = pytest.importorskip("scipy.sparse")
    for matrix in (sparse.eye(3).tocsr(), sparse.csr_array(np.eye(3))):
        with pytest.raises(TableError, match=r"sparse matrix of shape \(3, 3\) cannot .* Pass matrix.toarray\(\)"):
            read_table(matrix)


def test_pandas_names_of_several_levels_are_joined():
    frame = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "mean"), ("a", "max")]))
    assert read_table(frame).columns == ["a_mean", "a_max"]


def test_a_table_in_memory_may_have_no_rows():
    assert read_table(pl.DataFrame({"a": []}, schema={"a": pl.Int64})).shape == (0, 1)
    assert read_table(np.zeros((0, 2))).shape == (0, 2)


# ------------------------------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("t", "has no suffix that can be written"),
        ("t.xls", "has no suffix that can be written"),
        ("t.parquet.gz", "has no suffix that can be written"),
        ("no/t.csv", "there is no folder .*no. Make it first"),
        ("folder.csv", "is a folder. Name the file to write in it"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path, name, message):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TableError, match=message):
        write_table(TYPED, tmp_path / name)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(TableError, match=r"Columns a hold lists or bytes: write \.parquet"):
        write_table(pl.DataFrame({"a": [[1]]}), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_without_permission_is_refused(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(RunError, match="cannot be written: Permission denied. Choose another place"):
        write_table(TYPED, tmp_path / "t.csv")
    assert not list(tmp_path.iterdir())


def test_a_written_file_has_the_usual_permissions(tmp_path):
    write_table(TYPED, tmp_path / "t.csv")
    (tmp_path / "other").touch()
    assert stat.S_IMODE((tmp_path / "t.csv").stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_excel_without_xlsxwriter_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "xlsxwriter", None)
    with pytest.raises(MissingExtraError, match="Writing Excel files needs xlsxwriter"):
        write_table(TYPED, tmp_path / "t.xlsx")
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------------------------- anything


def test_importing_the_reader_imports_no_optional_library():
    names = "{'pandas', 'pyarrow', 'torch', 'fastexcel', 'connectorx'}"
    code = f"import sys, plainnet.tables.read; print({names} & set(sys.modules))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout == "set()\n"


WORDS = st.text(st.characters(codec="cp1252", exclude_categories=["Cc"]), min_size=1).map(lambda word: "w" + word + "w")
CELLS = {
    "words": st.lists(st.none() | WORDS, min_size=3, max_size=6),
    "whole": st.lists(st.none() | st.integers(-(2**62), 2**62), min_size=3, max_size=6),
    "real": st.lists(st.none() | st.floats(allow_nan=False, width=32).map(float), min_size=3, max_size=6),
}


@QUICK
@given(
    st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=4).flatmap(
        lambda kinds: st.tuples(*(CELLS[kind] for kind in kinds))
    ),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_whatever_the_csv_module_writes_is_read_back_equal(tmp_path, table, delimiter, quoting, encoding, eol):
    table = [column[: min(map(len, table))] for column in table]
    if len(table) == 1:
        delimiter = ","  # nothing can tell that the comma in the only cell of a row is part of it
    names = [f"name{i}" for i in range(len(table))]
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=delimiter, quoting=quoting, lineterminator=eol)
    writer.writerow(names)
    for row in zip(*table, strict=True):
        writer.writerow(["" if cell is None and len(table) == 1 else cell for cell in row])
    content = buffer.getvalue().encode(encoding)
    # A few letters of Windows-1252 side by side are the bytes of one letter in UTF-8, which is then what they are read as.
    assume(encoding != "cp1252" or content.isascii() or not _is_utf8(content))
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    frame = read_table(path)
    assert frame.columns == names
    assert [frame[name].to_list() for name in names] == table


PIECES = st.sampled_from(["a", "1", "", ",", ",", "\n", "\n", '"', '""', "\r\n", " ", "é", "\r", ";"])


@settings(QUICK, max_examples=400)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_the_fast_reader_agrees_with_the_patient_one_or_stands_back(text):
    fast = _read_regular(text.encode(), ",")
    if fast is not None:
        patient = _read_irregular(text.encode(), ",", "t.csv")
        strip = [[(cell or "").strip() for cell in row] for row in fast.rows()]
        assert strip == [[cell.strip() for cell in row] for row in patient.rows()]


@settings(QUICK, max_examples=200)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_quotes_are_checked_alike_in_one_piece_and_in_many(text):
    whole = _quotes_are_regular(text.encode(), ",")
    assert [_quotes_are_regular(text.encode(), ",", step) for step in (1, 2, 3)] == [whole] * 3


@settings(QUICK, max_examples=200)
@given(
    st.one_of(
        st.binary(max_size=80),
        st.lists(PIECES, max_size=25).map(lambda pieces: "".join(pieces).encode()),
        st.text(max_size=40).map(str.encode),
    ),
    st.sampled_from(["t.csv", "t.tsv", "t.txt", "t.json", "t.jsonl", "t.csv.gz", "t.jsonl.zst", "t.parquet", "t.arrow"])
    | st.sampled_from(["t.xlsx", "t.xls", "t.ods", "t.db", "t.csv.bz2", "t.csv.xz"]),
)
@pytest.mark.filterwarnings("ignore::plainnet.errors.DataWarning")
def test_any_bytes_give_a_table_or_a_table_error(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    try:
        frame = read_table(path)
    except TableError:
        return
    assert frame.width >= 1
    assert frame.height >= 1


# No Parquet here: polars 2.1 ends the whole process on one in a thousand of such files (it asks for 2**61 bytes).
@pytest.mark.parametrize("name", ["t.arrow", "t.xlsx", "t.db", "t.jsonl.gz"])
@pytest.mark.filterwarnings("ignore::plainnet.errors.DataWarning")
def test_a_file_with_flipped_bytes_gives_a_table_or_a_table_error(tmp_path, database, name):
    chance, path = np.random.default_rng(0), tmp_path / name
    write_table(TYPED, path) if name != "t.db" else path.write_bytes(database.read_bytes())
    whole = path.read_bytes()
    for _ in range(40):
        damaged = bytearray(whole)
        for _ in range(chance.integers(1, 5)):
            damaged[chance.integers(len(damaged))] = chance.integers(256)
        path.write_bytes(damaged)
        try:
            read_table(path)
        except TableError:
            continue


@given(st.text(max_size=12))
def test_a_number_is_what_python_takes_for_one(cell):
    read = as_number(pl.Series([cell], dtype=pl.String))
    if read is not None:
        assert read.item() == float(cell) or cell.lower().lstrip("+-") == "nan"


def test_decoding_a_large_file_does_not_split_a_letter():
    text = ("a" + "é" * (1 << 23) + "é").encode()
    assert decode(text, "t.csv") is text


def test_the_sample_may_end_inside_of_a_row():
    rows = "".join(f'{i},{"x" * (i % 700)},"q, {i}"\n' for i in range(2000))
    frame = read_text(("a,b,c\n" + rows).encode(), "t.csv")
    assert frame.shape == (2000, 3)
    assert frame["c"][-1] == "q, 1999"


# ------------------------------------------------------------------------------------------------------------- places


def test_a_link_that_leads_nowhere_is_said_to(tmp_path):
    (tmp_path / "t.csv").symlink_to("gone.csv")
    with pytest.raises(TableError, match=r"t\.csv is a link that leads nowhere, to gone\.csv\. Mend the link"):
        read_table(tmp_path / "t.csv")


def test_the_line_of_the_first_control_character_is_named(put):
    with pytest.raises(TableError, match=r"control characters \(the first in line 3\)"):
        read_table(put(b"a,b\n1,2\n3,\0\n"))
    with pytest.raises(TableError, match=r"control characters \(the first in line 2\)"):
        read_table(put(b"a\n\x01\x02\x03\n"))


@pytest.mark.parametrize("sign", ["", "-", "+"])
def test_whole_numbers_that_a_float_cannot_tell_apart_are_warned_about(put, sign):
    cells = [f"{sign}{2**64 + i}" for i in range(3)]
    with pytest.warns(
        DataWarning, match="column 'b': whole numbers as long as .*keep 16 digits only, and 3 different ones became 1"
    ):
        frame = read_table(put("a,b\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells))))
    assert frame.schema["b"] == pl.Float64


def test_whole_numbers_that_a_float_tells_apart_are_read_in_silence(put):
    frame = read_table(put(f"a,b,c\n1,{2**64},0.12345678901234567\n2,{2**65},0.12345678901234568\n3,,1\n"))
    assert frame["b"].to_list() == [2.0**64, 2.0**65, None]
