"""Tables that are read piece by piece: what is read, what is learnt, and which rows are drawn."""

import os
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from plainnet.errors import SettingError, TableError
from plainnet.tables.scan import TrainingRows, row_shares, scan_table
from plainnet.tables.schema import Schema
from plainnet.tables.sketch import sketch


def made(n_rows):
    rng = np.random.RandomState(3)
    return pl.DataFrame(
        {
            "size": np.where(rng.rand(n_rows) < 0.1, np.nan, rng.exponential(size=n_rows)),
            "rooms": rng.randint(1, 6, n_rows),
            "seldom": (np.arange(n_rows) == n_rows - 7) * 5.0,
            "town": pl.Series(rng.choice(["Ulm", "Bonn", "Kiel", "Jena"], n_rows, p=[0.6, 0.2, 0.1997, 0.0003])),
            "code": pl.Series(rng.randint(0, 9, n_rows)).cast(pl.String),
            "built": pl.Series(rng.randint(0, 20_000, n_rows)).cast(pl.Date),
            "sold": np.where(np.arange(n_rows) % 2 == 0, None, True).tolist(),
            "id": np.arange(n_rows),
            "y": rng.randn(n_rows),
        }
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    table = made(5000)
    for k, part in enumerate(table.iter_slices(1250)):
        part.write_parquet(folder / f"{k}.parquet", row_group_size=500)
    return folder


def test_all_rows_come_in_order_in_pieces_of_any_size(files):
    for piece_rows in (99, 777, 10_000):
        scan = scan_table(files, piece_rows=piece_rows)
        parts = list(scan.pieces())
        whole = pl.concat([piece for _, piece in parts])
        assert whole.equals(
            pl.concat([pl.read_parquet(path) for path in scan.files]).with_columns(pl.col("size").fill_nan(None))
        )
        assert np.concatenate([numbers for numbers, _ in parts]).tolist() == list(range(scan.n_rows))


def test_the_schema_of_a_table_below_the_limits_is_that_of_the_whole_table(files):
    found = sketch(TrainingRows(scan_table(files, piece_rows=700), "y"), kinds={"rooms": "category"})
    assert found.schema == Schema.learn(
        made(5000).with_columns(pl.col("size").fill_nan(None)).drop("y"), kinds={"rooms": "category"}
    )
    assert (found.target.rows, len(found.y)) == (5000, 5000)


def test_weights_are_those_of_the_whole_table_and_rows_of_weight_0_are_as_if_not_there(files):
    weight = np.random.RandomState(1).randint(0, 4, 5000).astype(float) * 1.5
    whole = made(5000).with_columns(pl.col("size").fill_nan(None)).drop("y")
    found = sketch(TrainingRows(scan_table(files, piece_rows=700), "y", weight), kinds={"rooms": "category"})
    assert found.schema == Schema.learn(
        whole.filter(weight > 0), kinds={"rooms": "category"}, weight=weight[weight > 0]
    )
    assert found.weight.tolist() == weight[weight > 0].tolist()


def test_above_the_limits_what_a_sample_could_miss_is_exact(files):
    whole = made(5000).with_columns(pl.col("size").fill_nan(None))
    exact = {column.name: column for column in Schema.learn(whole.drop("y"), kinds={"rooms": "category"}).columns}
    found = sketch(TrainingRows(scan_table(files, piece_rows=700, sample_rows=1000), "y"), kinds={"rooms": "category"})
    assert 850 < len(found.y) < 1150
    assert found.schema.n_rows == 5000
    for column in found.schema.columns:
        assert (column.kind, column.missing) == (exact[column.name].kind, exact[column.name].missing), column.name
    learnt = {column.name: column for column in found.schema.columns}
    assert learnt["town"] == exact["town"]  # Jena's one or two rows included
    assert learnt["rooms"] == exact["rooms"]
    for name in ("size", "seldom"):
        assert learnt[name].spread.minimum == exact[name].spread.minimum
        assert learnt[name].spread.maximum == exact[name].spread.maximum
    # Dvoretzky, Kiefer and Wolfowitz: with 850 rows, no quantile is off by more than 6.7 % of the rows, but once in a thousand.
    below = (whole["size"].drop_nulls() < learnt["size"].spread.median).mean()
    assert abs(below - 0.5) < 0.067
    assert (found.target.minimum, found.target.maximum) == (whole["y"].min(), whole["y"].max())


def test_more_levels_than_are_counted_are_judged_by_the_sample(files):
    found = sketch(TrainingRows(scan_table(files, most_levels=2), "y"))
    kinds = {column.name: column.kind for column in found.schema.columns}
    assert kinds["town"] == "category"
    assert found.target.classes is None


def test_a_split_is_even_the_same_for_all_pieces_and_leaves_no_row_out(files):
    scan = scan_table(files, piece_rows=700)
    rest, held = scan.split(0.2, salt=5)
    again = replace(scan, settings=scan_table(files, piece_rows=41).settings).split(0.2, salt=5)[1]
    numbers = [np.concatenate([numbers for numbers, _ in part.pieces()]) for part in (rest, held, again)]
    assert sorted([*numbers[0], *numbers[1]]) == list(range(5000))
    assert numbers[1].tolist() == numbers[2].tolist()
    assert 850 < len(numbers[1]) < 1150
    other = np.concatenate([numbers for numbers, _ in scan.split(0.2, salt=6)[1].pieces()])
    assert 120 < len(set(other) & set(numbers[1])) < 280  # a fifth of a fifth: independent of the first


def test_row_shares_are_even_and_of_other_salts_independent():
    rows = np.arange(200_000, dtype=np.uint64)
    one, two = row_shares(rows, 1), row_shares(rows, 2)
    counts = np.histogram2d(one, two, bins=10)[0]
    assert (
        (counts - 2000) ** 2 / 2000
    ).sum() < 150  # chi-squared with 99 degrees of freedom: beyond it once in a thousand
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 0.01


def test_a_file_that_changes_meanwhile_is_noticed(files, tmp_path):
    path = tmp_path / "t.parquet"
    made(600).write_parquet(path)
    scan = scan_table(path, piece_rows=100)
    pieces = scan.pieces()
    next(pieces)
    os.utime(path, ns=(0, 0))
    with pytest.raises(TableError, match=r"t\.parquet has changed since it was first looked at"):
        list(pieces)  # the next one may have been read by then
    path.unlink()
    with pytest.raises(TableError, match=r"t\.parquet"):
        next(scan.pieces())


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("2.csv", lambda path: path.write_text("x\n1\n"), "several formats"),
        (
            "2.parquet",
            lambda path: path.write_bytes(b"PAR1, cut short"),
            r"2\.parquet is not a parquet file, or it is damaged",
        ),
        ("2.parquet", lambda path: path.write_bytes(b""), r"2\.parquet is not a parquet file, or it is damaged"),
        ("2.parquet", lambda path: made(9)[:0].write_parquet(path), r"2\.parquet has no rows"),
        (
            "2.parquet",
            lambda path: made(9).drop("town").write_parquet(path),
            r"2\.parquet does not have .*lacks 'town'",
        ),
        (
            "2.parquet",
            lambda path: made(9).with_columns(pl.col("built").cast(pl.String)).write_parquet(path),
            r"2\.parquet: column 'built' is String, and Date in .*1\.parquet",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, name, write, message):
    made(9).write_parquet(tmp_path / "1.parquet")
    write(tmp_path / name)
    with pytest.raises(TableError, match=message):
        scan_table(tmp_path)


def test_what_is_not_parquet_is_answered_with_how_to_convert_it(tmp_path):
    (tmp_path / "t.csv").write_text("x\n1\n")
    with pytest.raises(TableError, match=r"only Parquet files are read piece by piece.*sink_parquet\('.*t\.parquet'\)"):
        scan_table(tmp_path / "t.csv")
    with pytest.raises(TableError, match=r"nothing\.parquet does not exist"):
        scan_table(tmp_path / "nothing.parquet")


def test_an_unknown_setting_and_one_out_of_range_are_refused(files):
    with pytest.raises(SettingError, match="no setting 'rows': it has piece_rows, sample_rows"):
        scan_table(files, rows=3)
    with pytest.raises(SettingError, match="piece_rows is a whole number from 1, not 0"):
        scan_table(files, piece_rows=0)
