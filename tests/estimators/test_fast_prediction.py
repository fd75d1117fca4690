"""Predictions come from one array of weights; the torch modules, where someone asks for them, are views of it."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import plainnet
from plainnet.engines import forward
from plainnet.tables.encode import encode

RNG = np.random.default_rng(0)
TABLE = pl.DataFrame({"a": RNG.normal(size=150), "b": RNG.choice(["x", "y", "z"], 150), "c": RNG.integers(0, 9, 150)})
Y = (TABLE["a"].to_numpy() > 0) & (TABLE["b"].to_numpy() != "x")


@pytest.fixture(params=[1, 4])
def classifier(request) -> plainnet.NetClassifier:
    return plainnet.NetClassifier(members=request.param, epochs=3, validation_fraction=0.25).fit(TABLE, Y)


def by_torch(classifier: plainnet.NetClassifier) -> np.ndarray:
    x, _ = encode(classifier.schema_, TABLE)
    with torch.no_grad():
        return classifier.network_(torch.from_numpy(x)).softmax(dim=1).numpy()


def test_one_row_is_predicted_to_the_last_bit_as_among_others(classifier) -> None:
    together = classifier.predict_proba(TABLE)
    for rows in (1, 3, 17, 70):
        assert classifier.predict_proba(TABLE[:rows]).tobytes() == together[:rows].tobytes()
    pandas = TABLE[:3].to_pandas()
    assert classifier.predict_proba(pandas).tobytes() == together[:3].tobytes()
    assert classifier.predict_proba(TABLE[:3].to_dict(as_series=False)).tobytes() == together[:3].tobytes()


def test_what_is_changed_in_the_module_counts_in_the_prediction(classifier) -> None:
    np.testing.assert_allclose(classifier.predict_proba(TABLE), by_torch(classifier), atol=2e-6)
    members = [member.network for member in classifier.members_]
    with torch.no_grad():
        for network in members:
            network[-1].weight.mul_(-2)  # in place
    np.testing.assert_allclose(classifier.predict_proba(TABLE), by_torch(classifier), atol=2e-6)
    for network in members:
        network[-1].bias = nn.Parameter(torch.tensor([1.0, -1.0]))  # another tensor
    np.testing.assert_allclose(classifier.predict_proba(TABLE), by_torch(classifier), atol=2e-6)
    for network in members:
        network[-1] = nn.Sequential(nn.Linear(network[-1].in_features, 2), nn.Tanh())  # another architecture
    np.testing.assert_allclose(classifier.predict_proba(TABLE), by_torch(classifier), atol=2e-6)
    assert (
        classifier.members_[0]
        .tensors()["0.weight" if not classifier.members_[0].recipe.shape.bins else "1.weight"]
        .ndim
        == 2
    )


def test_copies_and_pickles_predict_alike_and_share_nothing(classifier) -> None:
    expected = classifier.predict_proba(TABLE)
    for touched in (False, True):
        if touched:
            assert isinstance(classifier.network_, nn.Module)
        for other in (copy.deepcopy(classifier), pickle.loads(pickle.dumps(classifier))):  # noqa: S301 - our own bytes
            assert other.predict_proba(TABLE).tobytes() == expected.tobytes()
            with torch.no_grad():
                other.members_[0].network[-1].bias.add_(torch.tensor([5.0, 0.0]))
            assert other.predict_proba(TABLE).tobytes() != expected.tobytes()
    assert classifier.predict_proba(TABLE).tobytes() == expected.tobytes()


def test_memory_that_was_used_before_changes_nothing(classifier) -> None:
    expected = classifier.predict_proba(TABLE)
    forward._place.reserve(2**22)
    forward._place.memory[: 2**22].view(np.float32).fill(np.nan)
    assert classifier.predict_proba(TABLE).tobytes() == expected.tobytes()
    assert classifier.predict_proba(TABLE[:2]).tobytes() == expected[:2].tobytes()


def test_partial_fit_goes_on_with_a_network_that_was_read_from_a_file(tmp_path) -> None:
    one = plainnet.NetClassifier(members=1, epochs=3).fit(TABLE, Y)
    one.save(tmp_path / "m.safetensors")
    read = plainnet.load(tmp_path / "m.safetensors")
    before = read.predict_proba(TABLE)
    ours, theirs = (each.partial_fit(TABLE, Y).predict_proba(TABLE) for each in (one, read))
    assert ours.tobytes() == theirs.tobytes() != before.tobytes()


def test_a_model_is_read_and_predicts_without_torch(classifier, tmp_path) -> None:
    path = tmp_path / "m.safetensors"
    classifier.save(path)
    script = f"""
import sys, plainnet
model = plainnet.load({str(path)!r})
print(model.predict_proba({{"a": [0.5, None], "b": ["x", "new"], "c": [1, 2]}}).tolist())
assert not [name for name in ("torch", "matplotlib") if name in sys.modules]
"""
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    with pytest.warns(plainnet.DataWarning, match="never held"):
        expected = classifier.predict_proba({"a": [0.5, None], "b": ["x", "new"], "c": [1, 2]})
    assert ran.stdout.strip() == str(expected.tolist())
