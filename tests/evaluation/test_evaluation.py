"""Scores: what each is measured on, and targets that cannot be scored."""

import numpy as np
import polars as pl
import pytest

from plainnet import NetRegressor, TableError
from plainnet.evaluation.evaluation import baseline_of, evaluate


def test_tiny_numbers_are_scored_like_others() -> None:
    table = pl.DataFrame({"x": np.arange(80) / 80})
    y = table["x"].to_numpy() ** 2
    found = {}
    for size in (1.0, 1e-200):
        regressor = NetRegressor(hidden=(8,), epochs=20).fit(table, y * size)
        found[size] = evaluate(regressor, table, y * size, baseline_of(regressor, y * size))
    for plain, tiny in zip(found[1.0], found[1e-200], strict=True):
        unit = 1.0 if plain.metric in ("R²", "90 % interval coverage") else 1e-200
        assert tiny.value == pytest.approx(plain.value * unit, rel=0.01, abs=0), plain.metric
        assert tiny.baseline == pytest.approx(plain.baseline * unit, rel=0.01, abs=1e-10 * unit), plain.metric


def test_text_is_no_target_of_a_network_of_numbers() -> None:
    table = pl.DataFrame({"x": np.arange(20.0)})
    regressor = NetRegressor(hidden=(4,), epochs=1).fit(table, table["x"])
    with pytest.raises(TableError, match="predicts numbers, and the target column holds 'a', 'b'"):
        evaluate(regressor, table[:2], np.array(["a", "b"]), np.array([1.0]))
