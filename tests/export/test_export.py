"""``export_model`` and ``plainnet export``: which files they write, and what they refuse."""

import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from sklearn.exceptions import NotFittedError
from torch import nn

from plainnet import NetClassifier, export_model, load
from plainnet.errors import RunError, SettingError
from tests.cli.test_cli import run_cli
from tests.helpers import people

__all__ = ["run_cli"]


@pytest.fixture(scope="module")
def classifier() -> NetClassifier:
    return NetClassifier(members=2, epochs=2, hidden=(8,)).fit(people(), "rich")


def test_each_kind_of_export_returns_the_files_it_wrote(classifier, tmp_path: Path) -> None:
    files = {
        "onnx": ["model.onnx"],
        "safetensors": ["model.safetensors"],
        "torch": ["model.py", "model_weights.safetensors"],
        "python": ["model.py", "model_weights.npz"],
    }
    for to, names in files.items():
        folder = tmp_path / to
        folder.mkdir()
        assert export_model(classifier, folder / names[0], to) == [folder / name for name in names]
        assert sorted(file.name for file in folder.iterdir()) == names
    classifier.save(tmp_path / "saved.safetensors")
    assert (tmp_path / "safetensors" / "model.safetensors").read_bytes() == (
        tmp_path / "saved.safetensors"
    ).read_bytes()


def test_what_cannot_be_exported_is_explained(classifier, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="to is one of 'onnx', 'torch', 'safetensors', 'python', not 'onyx'"):
        export_model(classifier, tmp_path / "model.onnx", "onyx")
    with pytest.raises(SettingError, match=r"an export to 'torch' is a \.py file, and .*model.onnx' ends otherwise"):
        export_model(classifier, tmp_path / "model.onnx", "torch")
    (tmp_path / "model_weights.npz").write_text("mine")
    with pytest.raises(RunError, match=r"model_weights.npz' is already there.*--overwrite"):
        export_model(classifier, tmp_path / "model.py", "python")
    assert [file.name for file in tmp_path.iterdir()] == ["model_weights.npz"]
    (tmp_path / "model.py").mkdir()
    for to in ("python", "torch"):
        with pytest.raises(RunError, match=r"model.py' is a folder; name a file in it"):
            export_model(classifier, tmp_path / "model.py", to, overwrite=True)
    assert (tmp_path / "model_weights.npz").read_text() == "mine"  # both files, or none
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(RunError, match="cannot be written"):
        export_model(classifier, tmp_path / "nowhere" / "model.onnx")
    with pytest.raises(NotFittedError):
        export_model(NetClassifier(), tmp_path / "model.onnx")


def test_a_network_prints_as_plain_torch_layers(classifier) -> None:
    single = NetClassifier(members=1, hidden=(4,), epochs=1).fit({"x": [0.0, 1.0] * 40, "y": ["a", "b"] * 40}, "y")
    assert type(single.network_) is nn.Sequential
    assert repr(single.network_).startswith("Sequential(\n  (0): Linear(in_features=")
    assert repr(classifier.network_).startswith("Vote(\n  (networks): ModuleList(\n    (0-1): 2 x Sequential(")


def test_from_the_command_line(run_cli, classifier, tmp_path: Path) -> None:
    (tmp_path / "runs" / "rich-1").mkdir(parents=True)
    classifier.save(tmp_path / "runs" / "rich-1" / "model.safetensors")
    code, _, err = run_cli("export", "runs/rich-1", "--to", "onnx")
    assert code == 0
    assert "rich-1.onnx written" in err
    onnx.checker.check_model(tmp_path / "rich-1.onnx")
    code, _, err = run_cli("export", "runs/rich-1", "--to", "onnx")
    assert (code, "already there" in err) == (1, True)
    assert run_cli("export", "runs/rich-1", "--to", "onnx", "--overwrite")[0] == 0
    code, _, err = run_cli("export", "runs/rich-1", "--to", "python")
    assert (code, "rich_1.py written" in err, "rich_1_weights.npz written" in err) == (0, True, True)
    people().write_csv(tmp_path / "people.csv")
    done = subprocess.run(
        [sys.executable, "rich_1.py", "people.csv"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[0] == "prediction,probability no,probability yes"
    code, _, _ = run_cli("export", "runs/rich-1/model.safetensors", "--to", "safetensors", "--out", "copy.safetensors")
    assert code == 0
    assert type(load(tmp_path / "copy.safetensors")) is NetClassifier
    code, _, err = run_cli("export", "runs/none", "--to", "torch")
    assert (code, "there is no run folder or model file" in err) == (1, True)
    assert run_cli("export", "runs/rich-1", "--to", "onyx")[0] == 2
    assert run_cli("export", "runs/rich-1")[0] == 2
