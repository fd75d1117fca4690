"""A table that is read piece by piece, on a cluster: encoded by Ray Data, each network trained by all workers."""

from functools import partial

import numpy as np
import polars as pl
import pytest

import plainnet
from plainnet.cluster.pieces import encode_piece
from plainnet.runs.train_run import train_run

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]


def test_a_scan_is_encoded_by_tasks_and_trained_by_all_workers(ray_cluster, tmp_path) -> None:
    random = np.random.default_rng(0)
    n_rows = 1200
    rooms, place = random.integers(1, 8, n_rows), random.choice(["north", "south"], n_rows)
    price = rooms * 50.0 + np.where(place == "south", 80, 0) + random.normal(0, 10, n_rows)
    table = pl.DataFrame({"rooms": rooms, "place": place, "dear": np.where(price > 300, "yes", "no")})
    table = table.with_columns(pl.when(pl.int_range(n_rows) % 50 == 0).then(None).otherwise("dear").alias("dear"))
    (tmp_path / "rows").mkdir()
    for number, part in enumerate(table.iter_slices(400)):
        part.write_parquet(tmp_path / "rows" / f"{number}.parquet")
    settings = {"members": 2, "epochs": 4, "class_weight": "balanced"}
    runs = {}
    for workers in (1, 2):
        with (
            plainnet.cluster.spread(workers=workers),
            pytest.warns(plainnet.DataWarning, match="rows without a value in 'dear'"),
        ):
            runs[workers] = train_run(
                tmp_path / "rows", "dear", tmp_path / f"run{workers}", stream=True, settings=settings
            )
    own = train_run(tmp_path / "rows", "dear", tmp_path / "own", stream=True, settings=settings)
    assert runs[2].facts["training"]["engine_reason"].endswith("on 2 workers of a Ray cluster")
    assert runs[2].facts["split"] == own.facts["split"]
    accuracy = next(each for each in runs[2].facts["scores"]["test"] if each["metric"] == "accuracy")
    assert accuracy["value"] > 0.9 > accuracy["baseline"]
    one, two = (plainnet.load(runs[workers].path / "model.safetensors") for workers in (1, 2))
    np.testing.assert_allclose(one.predict_proba(table.head(50)), two.predict_proba(table.head(50)), atol=1e-3)
    for a, b in zip(one.members_, two.members_, strict=True):
        np.testing.assert_allclose(a.score, b.score, rtol=1e-3)
        for name, weights in a.tensors().items():
            np.testing.assert_allclose(weights, b.tensors()[name], atol=2e-3)


def test_a_piece_that_cannot_be_read_is_told(ray_cluster, tmp_path) -> None:
    from plainnet.cluster.scans import _encoded

    pl.DataFrame({"x": [1.0, 2.0, 3.0], "y": [0.0, 1.0, 2.0]}).write_parquet(tmp_path / "rows.parquet")
    scan = plainnet.scan_table(tmp_path / "rows.parquet")
    (tmp_path / "rows.parquet").unlink()
    with pytest.raises(
        plainnet.TableError, match=r"a worker cannot read the table: .*rows\.parquet is not a parquet file, or it is"
    ):
        _encoded(scan, partial(encode_piece, scan, "y", None, None, 0, 0.0))
