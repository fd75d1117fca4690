"""A table that is read piece by piece, on a cluster: encoded by Ray Data, each network trained by all workers."""

import numpy as np
import polars as pl
import pytest

import plainnet
from plainnet.runs.train_run import train_run

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]


def fitted(scan, settings):
    with pytest.warns(plainnet.DataWarning, match="24 rows without a value in 'dear' are left out"):
        return plainnet.NetClassifier(**settings).fit(scan, "dear")


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
    with plainnet.cluster.spread(workers=3):
        run = train_run(tmp_path / "rows", "dear", tmp_path / "run", stream=True, settings=settings)
    assert run.facts["training"]["engine_reason"].endswith("on 3 workers of a Ray cluster")
    assert run.facts["streamed"]
    accuracy = next(each for each in run.facts["scores"]["test"] if each["metric"] == "accuracy")
    assert accuracy["value"] > 0.9 > accuracy["baseline"]

    scan = plainnet.scan_table(tmp_path / "rows", piece_rows=300)
    own = fitted(scan, settings)
    with plainnet.cluster.spread(workers=1):
        one = fitted(scan, settings)
    with plainnet.cluster.spread(workers=2):
        two = fitted(scan, settings)
    for a, b, local in zip(one.members_, two.members_, own.members_, strict=True):
        np.testing.assert_allclose(a.history.losses, b.history.losses, rtol=1e-4)
        np.testing.assert_allclose(a.history.validation_losses, b.history.validation_losses, rtol=1e-4)
        # In one process the rows come in other batches, but they are the same rows, from the same first weights.
        np.testing.assert_allclose(a.history.losses, local.history.losses, rtol=0.3)
    np.testing.assert_allclose(one.predict_proba(table.head(20)), two.predict_proba(table.head(20)), atol=1e-3)
