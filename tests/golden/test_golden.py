"""A model file of every format there ever was is read for ever, and predicts what it did."""

import json
from pathlib import Path

import numpy as np
import pytest

import plainnet
from plainnet.storage.storage import FORMAT
from tests.helpers import people

HERE = Path(__file__).parent


@pytest.mark.parametrize("number", range(1, FORMAT + 1))
@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_a_file_of_each_format_predicts_what_it_did(kind: str, number: int, tmp_path: Path) -> None:
    expected = json.loads((HERE / f"format-{number}.json").read_text())[kind]
    model = plainnet.load(HERE / f"format-{number}-{kind}.safetensors")
    table = people().head(20)

    def predicted(model) -> np.ndarray:
        return model.predict_proba(table)[:, 1] if kind == "classifier" else model.predict(table)

    np.testing.assert_allclose(predicted(model), expected, rtol=1e-4, atol=1e-4)
    model.save(tmp_path / "today.safetensors")  # in today's format
    np.testing.assert_array_equal(predicted(plainnet.load(tmp_path / "today.safetensors")), predicted(model))
