"""The whole flow in seconds: a table in, a trained network out, saved, loaded, predicting."""

import numpy as np

import plainnet
from tests.helpers import people


def test_the_whole_way(tmp_path) -> None:
    table = people()
    table.write_csv(tmp_path / "people.csv")
    net = plainnet.NetClassifier(hidden=(16,), epochs=15).fit(tmp_path / "people.csv", "rich")
    net.save(tmp_path / "m.safetensors")
    loaded = plainnet.load(tmp_path / "m.safetensors")
    assert np.mean(loaded.predict(tmp_path / "people.csv") == table["rich"].to_numpy()) > 0.9
