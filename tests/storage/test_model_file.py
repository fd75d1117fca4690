"""A model file is read whole, or refused with the reason: it comes from strangers."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load, save

import plainnet
from plainnet.errors import ModelFileError
from plainnet.storage.storage import MOST_HEADER_BYTES
from tests.helpers import people
from tests.storage.fuzz import tried

GOOD = Path(__file__).parents[1] / "golden" / "format-2-classifier.safetensors"


def changed(path: Path, change) -> Path:
    """Write the good file with another content of its header."""
    data = GOOD.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    content = json.loads(header["__metadata__"]["plainnet"])
    change(content)
    header["__metadata__"]["plainnet"] = json.dumps(content)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    return path


def refused(path: Path, match: str) -> None:
    with pytest.raises(ModelFileError, match=match):
        plainnet.load(path)


def test_the_good_file_is_read(tmp_path) -> None:
    assert len(plainnet.load(changed(tmp_path / "m.safetensors", lambda _: None)).predict(people())) == 300


def test_what_is_no_plain_file_is_refused_at_once(tmp_path) -> None:
    refused(tmp_path / "missing.safetensors", "cannot be read: No such file")
    (tmp_path / "folder.safetensors").mkdir()
    refused(tmp_path / "folder.safetensors", "is a folder; name the model file in it")
    os.mkfifo(tmp_path / "pipe.safetensors")
    refused(tmp_path / "pipe.safetensors", "a pipe or a device")
    (tmp_path / "one.safetensors").write_bytes(GOOD.read_bytes())
    os.link(tmp_path / "one.safetensors", tmp_path / "other.safetensors")
    refused(tmp_path / "one.safetensors", "has 2 names .hard links.")
    (tmp_path / "link.safetensors").symlink_to(GOOD)
    assert plainnet.load(tmp_path / "link.safetensors").classes_.tolist() == ["no", "yes"]


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "truncated: it has 0 bytes"),
        (b"\x01\x00", "truncated: it has 2 bytes"),
        (GOOD.read_bytes()[:-4], "damaged or no model file"),
        (GOOD.read_bytes() + b"more", "damaged or no model file"),
        (
            (MOST_HEADER_BYTES + 1).to_bytes(8, "little") + b" " * (MOST_HEADER_BYTES + 1),
            "announces a header of 16,777,217",
        ),
        ((2).to_bytes(8, "little") + b"{}", "not one that plainnet wrote"),
        ((4).to_bytes(8, "little") + b"[[]]", "damaged or no model file"),
        (save({"a": np.zeros(2, dtype=np.float32)}, {"plainnet": "[" * 100_000}), "damaged or no model file"),
        (save({"a": np.zeros(2, dtype=np.float32)}, {"plainnet": "{}"}), "no format number"),
        (save({"a": np.zeros(2, dtype=np.float32)}, {"plainnet": '{"format": 99}'}), "pip install --upgrade plainnet"),
    ],
    ids=range(10),
)
def test_bytes_that_are_no_model_are_refused(data: bytes, match: str, tmp_path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    refused(path, match)


def put(*keys, value):
    def change(content) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda c: c.pop("schema"), "it lacks schema"),
        (put("code", value="import os"), "it has an unknown entry 'code'"),
        (put("settings", "colour", value=1), "unexpected keyword argument 'colour'"),
        (put("settings", "learning_rate", value=-1), "learning_rate is a number above 0, not -1"),
        (put("schema", "columns", 1, "spread", "median", value=1e9), "column 'age': its spread is in no order"),
        (put("schema", "columns", 1, "spread", "knots", value=[1, 1]), "column 'age': its spread is in no order"),
        (put("schema", "columns", 1, "spread", "median", value=float("nan")), "median is nan"),
        (put("schema", "columns", 1, "kind", value="colour"), "column 'age': kind is 'colour'"),
        (put("schema", "columns", 1, "missing", value=-3), "missing is -3"),
        (put("schema", "columns", 1, "shoe_size", value=3), "columns: 1: it has an unknown entry 'shoe_size'"),
        (put("schema", "columns", 3, "levels", value=["Ulm", "Ulm"]), "column 'town': its levels are"),
        (put("members", 0, "network", "hidden", value=[10**6, 10**6]), "would have more than"),
        (put("members", 0, "network", "hidden", value=[9]), "its weights do not fit its networks"),
        (put("members", 0, "network", "n_in", value=30), "do not fit its schema"),
        (put("members", 0, "network", "scale", value=1e308), r"scale is above 0 and at most 1000, not 1e\+308"),
        (put("members", 0, "weight", value=5), "are not shares of 1"),
        (put("target", "classes", value=["one"]), "less than two classes"),
        (put("target", value={"kind": "fate"}), "kind is 'fate'"),
        (put("estimator", value="NetOracle"), "KeyError: 'NetOracle'"),
    ],
    ids=range(19),
)
def test_a_header_that_does_not_fit_is_refused_with_its_place(change, match: str, tmp_path) -> None:
    refused(changed(tmp_path / "m.safetensors", change), match)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda weights: weights.astype(np.float64), "is damaged: its weights '.*' are F64, not float32"),
        (lambda weights: np.full_like(weights, np.nan), "its weights are not finite float32 numbers"),
    ],
)
def test_weights_that_are_none(change, match: str, tmp_path) -> None:
    tensors, metadata = load(GOOD.read_bytes()), safe_open(GOOD, "np").metadata()
    path = tmp_path / "m.safetensors"
    path.write_bytes(save({name: change(tensor) for name, tensor in tensors.items()}, metadata))
    refused(path, match)


def test_files_with_mistakes_are_read_or_refused() -> None:
    outcomes = list(tried(400, seed=7))
    assert set(outcomes) == {"read", "refused"}
