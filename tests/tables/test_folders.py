"""A folder or a pattern of files is one table."""

import polars as pl
import pytest

from plainnet.errors import TableError
from plainnet.tables.read import read_table


@pytest.fixture
def put(tmp_path):
    def write(name, **columns):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        frame = pl.DataFrame(columns)
        frame.write_csv(path) if path.suffix == ".csv" else frame.write_parquet(path)
        return path

    return write


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path, put):
    put("b.parquet", x=[3], town=["Ulm"])
    put("a.parquet", x=[1, 2], town=["Bonn", None])
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".hidden.csv").touch()
    assert read_table(tmp_path).rows() == [(1, "Bonn"), (2, None), (3, "Ulm")]
    assert read_table(str(tmp_path / "?.parquet")).equals(read_table(tmp_path))


def test_columns_are_put_in_order_and_numbers_and_empty_columns_go_together(tmp_path, put):
    put("1.csv", x=[1, 2], note=[None, None])
    put("2.csv", note=["a", "b"], x=[0.5, 1.5])
    assert read_table(tmp_path).rows() == [(1.0, None), (2.0, None), (0.5, "a"), (1.5, "b")]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1]}, r"2\.parquet does not have the columns of .*1\.parquet: it lacks 'town'\."),
        ({"x": [1], "town": ["a"], "z": [1]}, r"2\.parquet does not .*: it has 'z' besides\."),
        (
            {"x": ["much"], "town": ["a"]},
            r"2\.parquet: column 'x' is String, and Int64 in .*1\.parquet. Convert it, or leave the file out",
        ),
    ],
)
def test_a_file_of_another_table_is_named(tmp_path, put, columns, message):
    put("1.parquet", x=[1], town=["Ulm"])
    put("2.parquet", **columns)
    with pytest.raises(TableError, match=message):
        read_table(tmp_path)


def test_a_damaged_file_and_an_empty_one_are_named(tmp_path, put):
    put("1.parquet", x=[1])
    (tmp_path / "2.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(TableError, match=r"2\.parquet is not a parquet file, or it is damaged"):
        read_table(tmp_path)
    (tmp_path / "2.parquet").write_bytes(b"")
    with pytest.raises(TableError, match=r"2\.parquet is empty"):
        read_table(tmp_path)


def test_files_of_several_formats_and_folders_of_folders_are_refused(tmp_path, put):
    put("a.csv", x=[1])
    put("b.parquet", x=[1])
    with pytest.raises(TableError, match=r"several formats, such as 'a\.csv', 'b\.parquet'"):
        read_table(tmp_path)
    put("deep/a.csv", x=[1])
    assert read_table(tmp_path / "deep").rows() == [(1,)]
    (tmp_path / "outer" / "year=2024").mkdir(parents=True)
    with pytest.raises(TableError, match="It holds the folders 'year=2024': name one"):
        read_table(tmp_path / "outer")
