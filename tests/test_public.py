"""The public names are a promise: this list changes only on purpose."""

import subprocess
import sys

import pytest

import plainnet

NAMES = [
    "ColumnsChangedError", "DataWarning", "EarlyStopping", "Epoch", "GaussianLoss", "History", "LossDivergedError",
    "MissingExtraError", "ModelFileError", "NetClassifier", "NetRegressor", "PiecewiseLinearEncoding", "PlainnetError",
    "PlainnetWarning", "QuantileLoss", "RunError", "Scale", "Schema", "SettingError", "TableError", "TrainingError", "Trial",
    "export_model", "load", "load_adult", "onnx_inputs", "read_table", "scan_table", "train", "train_many",
]  # fmt: skip


def test_the_public_names_are_these() -> None:
    assert plainnet.__all__ == NAMES
    for name in NAMES:
        assert getattr(plainnet, name).__doc__, name


def test_no_public_name_is_a_stage() -> None:
    from tests.test_layout import STAGES

    assert not set(NAMES) & set(STAGES)


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = plainnet.trian


def test_importing_plainnet_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "polars", "sklearn", "matplotlib", "rich", "typer")
    script = f"import sys, plainnet; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_every_error_is_one_of_ours() -> None:
    for name in NAMES:
        if name.endswith("Error"):
            assert issubclass(getattr(plainnet, name), plainnet.PlainnetError)
        if name.endswith("Warning"):
            assert issubclass(getattr(plainnet, name), plainnet.PlainnetWarning)


def test_a_missing_extra_names_the_command_that_installs_it() -> None:
    error = plainnet.MissingExtraError("fastexcel", "excel", "reading Excel files")
    assert (
        str(error) == "reading Excel files needs fastexcel, which is not installed. Run: pip install 'plainnet[excel]'"
    )
