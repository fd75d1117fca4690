"""Encoded rows on disk: nothing is rounded or lost, and no more of them are in memory than said."""

import contextlib
import weakref

import numpy as np
import polars as pl
import pytest

from plainnet import NetClassifier, scan_table
from plainnet.packs.shards import Layout, Shards, writing
from plainnet.tables.encode import encode
from plainnet.tables.schema import Schema
from plainnet.training import checks


@pytest.fixture(scope="module")
def table():
    rng = np.random.RandomState(0)
    return pl.DataFrame(
        {
            "size": np.where(rng.rand(900) < 0.1, np.nan, rng.exponential(size=900)),
            "town": pl.Series(rng.choice(["Ulm", "Bonn", "Kiel"], 900)).replace("Kiel", None),
            "member": rng.rand(900) < 0.5,
            "since": pl.Series(rng.randint(0, 2000, 900)).cast(pl.Date),
            "y": rng.choice(["yes", "no"], 900),
        }
    )


@pytest.fixture
def rows(table):
    """Encoded rows, and their numbers as targets."""
    schema = Schema.learn(table.drop("y"))
    x, _ = encode(schema, table.drop("y"))
    y = np.arange(len(x))
    return x, y, y / 7, Layout.of(schema, y, weighs=True)


def test_each_row_is_in_one_shard_to_the_bit(rows):
    x, y, weight, layout = rows
    chance = np.random.RandomState(1).rand(len(x))
    with writing(layout, len(x), shard_bytes=x.nbytes // 4 + 1) as writer:
        for part in np.split(np.arange(len(x)), [100, 101, 700]):
            writer.add(writer.deal((x[part], y[part], weight[part]), chance[part]))
        shards = writer.shards()
        read = [shards.read(place) for place in range(len(shards.heights))]
    assert shards.heights == tuple(len(own) for own, *_ in read)
    assert len(read) == 4
    assert sorted(np.concatenate([numbers for _, numbers, _ in read])) == list(range(len(x)))
    for place, (own, numbers, weights) in enumerate(read):
        assert np.array_equal(own, x[numbers])
        assert np.array_equal(weights, weight[numbers])
        assert np.array_equal(np.floor(chance[numbers] * 4), np.full(len(numbers), place))


def test_shards_are_read_ahead_each_once_and_never_three_are_held(monkeypatch):
    begun, there = [], weakref.WeakSet()

    class Held:
        pass

    def read(self, place):
        begun.append(place)
        assert len(there) < 2
        own = Held()
        there.add(own)
        return own, place

    monkeypatch.setattr(Shards, "read", read)
    shards = Shards((), (), None)
    order, seen = [2, 0, 1, 1, 1, 0, 2], []
    with contextlib.closing(shards.in_turn(order)) as pieces:
        for _ in order:
            x, y = next(pieces)
            seen.append(y)
            del x, y
    assert seen == order
    assert begun == [2, 0, 1, 0, 2]


def test_a_training_is_checked_on_its_first_piece_and_the_first_rows_it_is_judged_on(table, tmp_path, monkeypatch):
    checked = []
    for name in ("check_first_batch", "check_validation"):
        check = getattr(checks, name)
        monkeypatch.setattr(checks, name, lambda *args, name=name, check=check: (checked.append(name), check(*args)))
    table.write_parquet(tmp_path / "t.parquet")
    scan = scan_table(tmp_path / "t.parquet", shard_bytes=5000)
    NetClassifier(members=2, epochs=3, hidden=(4,)).fit(scan, "y")
    assert sorted(checked) == ["check_first_batch"] * 4 + ["check_validation"] * 2
