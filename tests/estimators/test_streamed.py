"""A table that is read piece by piece gives the estimator that the same table in memory gives, or one as good."""

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

import plainnet
from plainnet import NetClassifier, NetRegressor, scan_table
from plainnet.errors import DataWarning, SettingError, TableError
from plainnet.estimators.predictions import prediction_frame, write_predictions
from plainnet.tables import scan as scan_module
from plainnet.tables.write import write_pieces

LIMITS = {"piece_rows": 300, "sample_rows": 1500, "shard_bytes": 20_000, "held_out_rows": 500}


def made(n_rows, seed=0):
    rng = np.random.RandomState(seed)
    age, town = rng.randn(n_rows), rng.choice(["Ulm", "Bonn", "Kiel"], n_rows)
    logit = 2 * age + 2.0 * (town == "Ulm") - 1 + age**2
    return pl.DataFrame(
        {
            "age": np.where(rng.rand(n_rows) < 0.1, np.nan, age),
            "town": town,
            "member": rng.rand(n_rows) < 0.5,
            "since": pl.Series(rng.randint(0, 2000, n_rows)).cast(pl.Date),
            "paid": np.exp(logit),
            "left": np.where(rng.rand(n_rows) < 1 / (1 + np.exp(-logit)), "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows")
    table = made(4000)
    for k in range(4):
        table[1000 * k : 1000 * (k + 1)].write_parquet(path / f"{k}.parquet", row_group_size=400)
    return path


@pytest.fixture(scope="module")
def streamed(folder):
    scan = scan_table(folder, **LIMITS)
    return NetClassifier(members=2, epochs=4, kinds={"paid": "ignored"}).fit(scan, "left")


def test_it_is_as_good_as_one_that_was_trained_in_memory(folder, streamed):
    whole = NetClassifier(members=2, epochs=4, kinds={"paid": "ignored"}).fit(folder, "left")
    new = made(2000, seed=1)
    own, other = (roc_auc_score(new["left"] == "yes", each.predict_proba(new)[:, 1]) for each in (streamed, whole))
    assert other > 0.85
    assert own > other - 0.015
    assert streamed.out_of_fold_ is None
    assert len(streamed.members_) == 2
    assert streamed.schema_.n_rows == 4000


def test_it_is_saved_and_read_as_any_other(streamed, tmp_path):
    streamed.save(tmp_path / "m.safetensors")
    new = made(50, seed=2)
    assert np.array_equal(plainnet.load(tmp_path / "m.safetensors").predict_proba(new), streamed.predict_proba(new))


def test_the_same_seed_gives_the_same_network(folder, streamed):
    again = NetClassifier(members=2, epochs=4, kinds={"paid": "ignored"}).fit(scan_table(folder, **LIMITS), "left")
    new = made(50, seed=2)
    assert np.array_equal(again.predict_proba(new), streamed.predict_proba(new))


def test_the_history_has_every_epoch_and_the_best_weights_are_kept(streamed):
    for member in streamed.members_:
        assert len(member.history) == 4
        assert member.history.restored_best
        assert member.history.validation_losses is not None
        assert member.score == pytest.approx(member.history.validation_losses.min(), abs=1e-5)


def test_no_more_rows_are_read_at_once_than_said(folder, monkeypatch):
    asked, read = [], scan_module._read

    def watched(path, columns, first, n_rows):
        asked.append(n_rows)
        return read(path, columns, first, n_rows)

    monkeypatch.setattr(scan_module, "_read", watched)
    NetRegressor(members=1, epochs=1, hidden=(8,)).fit(scan_table(folder, **LIMITS), "paid")
    assert max(asked) == 300
    assert sum(asked) == 2 * 4000  # two passes


def test_numbers_are_learnt_and_never_predicted_beyond_the_least_and_the_largest(folder):
    regressor = NetRegressor(members=2, epochs=6).fit(scan_table(folder, **LIMITS), "paid")
    whole = pl.read_parquet(folder / "*.parquet")
    assert regressor.target_.bounds.ravel().tolist() == [whole["paid"].min(), whole["paid"].max()]
    predicted = regressor.predict(whole.drop("paid"))
    assert predicted.max() <= whole["paid"].max()
    assert np.corrcoef(np.log(predicted), np.log(whole["paid"].to_numpy()))[0, 1] > 0.6


def test_balanced_classes_are_weighed_by_all_rows(tmp_path):
    rng = np.random.RandomState(0)
    x = rng.randn(3000)
    pl.DataFrame({"x": x, "y": np.where(x + 2 * rng.randn(3000) > 4, "rare", "often")}).write_parquet(
        tmp_path / "t.parquet"
    )
    scan = scan_table(tmp_path / "t.parquet", **LIMITS)
    shares = [
        (NetClassifier(members=1, epochs=3, hidden=(8,), class_weight=weight).fit(scan, "y").predict_proba({"x": [1.0]}))[0, 1]
        for weight in (None, "balanced")
    ]  # fmt: skip
    assert shares[0] < 0.2 < 0.5 < shares[1]


def test_rows_have_weights_by_a_column_or_an_array(tmp_path):
    rng = np.random.RandomState(0)
    x, weight = rng.randn(3000), rng.randint(0, 3, 3000)
    seen = np.where(weight == 0, "never", np.where(rng.rand(3000) < 0.5 + 0.2 * (weight - 1.5), "yes", "no"))
    table = pl.DataFrame({"x": x, "kind": pl.Series(seen).replace({"yes": "a", "no": "b"}), "w": weight, "y": seen})
    table.write_parquet(tmp_path / "t.parquet")
    scan = scan_table(tmp_path / "t.parquet", **LIMITS)
    settings = {"members": 2, "epochs": 3, "hidden": (8,), "kinds": {"kind": "ignored"}}
    by_name = NetClassifier(**settings).fit(scan, "y", "w")
    by_array = NetClassifier(
        **settings,
    ).fit(scan_table(table_without(tmp_path, table), **LIMITS), "y", weight)
    assert by_name.classes_.tolist() == ["no", "yes"]  # rows of weight 0 are as if not there
    assert by_name.feature_names_in_.tolist() == ["x", "kind"]
    assert np.array_equal(by_name.predict_proba(table), by_array.predict_proba(table))
    known = weight > 0
    assert by_name.predict_proba(table)[:, 1].mean() == pytest.approx(
        np.average(seen[known] == "yes", weights=weight[known]), abs=0.02
    )


def table_without(folder, table):
    table.drop("w").write_parquet(folder / "without.parquet")
    return folder / "without.parquet"


def test_rows_without_a_target_are_left_out_and_counted(tmp_path):
    made(600).with_columns(pl.when(pl.int_range(600) >= 20).then("left").alias("left")).write_parquet(
        tmp_path / "t.parquet"
    )
    with pytest.warns(DataWarning, match="20 rows without a value in 'left' are left out"):
        fitted = NetClassifier(members=1, epochs=1).fit(scan_table(tmp_path / "t.parquet", **LIMITS), "left")
    assert fitted.schema_.n_rows == 580


def test_a_time_limit_keeps_what_there_is(folder):
    fitted = NetClassifier(members=2, epochs=500, time_limit=0.5).fit(scan_table(folder, **LIMITS), "left")
    assert fitted.history_.stopped_by == "time"
    assert 0 < len(fitted.history_) < 500


def test_who_looks_on_can_end_it(folder):
    seen = []

    def watch(number, network, epochs):
        seen.append((number, epochs[0].index))
        return len(seen) == 3

    fitted = NetClassifier(members=2, epochs=50).fit(scan_table(folder, **LIMITS), "left", on_epochs=watch)
    assert seen == [(0, 0), (1, 0), (0, 1)]
    assert fitted.history_.stopped_by == "on_epoch"


def test_what_does_not_go_with_a_scan_is_said(folder):
    scan = scan_table(folder)
    with pytest.raises(TableError, match="name the column"):
        NetClassifier().fit(scan, np.zeros(4000))
    with pytest.raises(TableError, match="no column 'lft'.*did you mean 'left'"):
        NetClassifier().fit(scan, "lft")
    with pytest.raises(SettingError, match="validation does not go with a table"):
        NetClassifier().fit(scan, "left", validation=(made(9), "left"))
    with pytest.raises(SettingError, match=r"sample_weight has shape \(3,\), and the table has 4000 rows"):
        NetClassifier().fit(scan, "left", np.ones(3))
    with pytest.raises(TableError, match="no column 'payd'.*did you mean 'paid'"):
        NetClassifier().fit(scan, "left", "payd")
    with pytest.raises(SettingError, match="sample_weight names the column 'town', which is String"):
        NetClassifier().fit(scan, "left", "town")
    with pytest.raises(
        SettingError, match=r"the column 'age' of sample_weight holds (-?[\d.]+|None) in row \d+, counted from 0"
    ):
        NetClassifier().fit(scan, "left", "age")
    with pytest.raises(TableError, match="too many different values for classes"):
        NetClassifier().fit(scan_table(folder, most_levels=1), "left")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".arrow", ".jsonl", ".tsv"])
def test_predictions_are_the_same_chunked_or_whole(folder, streamed, tmp_path, suffix):
    whole = prediction_frame(streamed, plainnet.read_table(folder), with_input=suffix == ".parquet")
    out = tmp_path / f"p{suffix}"
    assert write_predictions(streamed, scan_table(folder, piece_rows=150), out, with_input=suffix == ".parquet") == 4000
    written = plainnet.read_table(out)
    assert written.columns == whole.columns
    assert written["prediction"].to_list() == whole["prediction"].to_list()
    assert np.allclose(written["probability yes"], whole["probability yes"], rtol=0, atol=1e-7)


def test_one_warning_tells_of_unknown_cells_in_many_pieces(streamed, tmp_path):
    made(500).with_columns(town=pl.lit("Rome")).write_parquet(tmp_path / "new.parquet")
    with pytest.warns(DataWarning, match=r"100 in 'town'; .*; 5 pieces have such cells") as said:
        write_predictions(streamed, scan_table(tmp_path / "new.parquet", piece_rows=100), tmp_path / "p.csv")
    assert len(said) == 1


def test_what_goes_wrong_in_a_later_piece_leaves_no_file(folder, streamed, tmp_path):
    table = made(400)
    table.write_parquet(tmp_path / "new.parquet")
    scan = scan_table(tmp_path / "new.parquet", piece_rows=100)

    with pytest.raises(TableError, match="no folder"):
        write_predictions(streamed, scan, tmp_path / "nowhere" / "p.csv")
    with pytest.raises(TableError, match=r"p\.xlsx: a table that is read piece by piece is written as \.csv"):
        write_predictions(streamed, scan, tmp_path / "p.xlsx")

    def broken():
        yield pl.DataFrame({"a": [1]})
        raise TableError("the second piece is damaged")

    with pytest.raises(TableError, match="the second piece is damaged"):
        write_pieces(broken(), tmp_path / "p.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["new.parquet"]


def test_a_scan_is_predicted_as_the_table_is(folder, streamed):
    scan = scan_table(folder, piece_rows=150)
    assert np.allclose(streamed.predict_proba(scan), streamed.predict_proba(plainnet.read_table(folder)), atol=1e-7)
    assert len(streamed.predict(scan)) == 4000
