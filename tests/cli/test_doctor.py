"""``plainnet doctor``: what it finds on a good installation, and that it says what is broken."""

import json
import tomllib
from pathlib import Path

import pytest

import plainnet
from plainnet.cli.doctor import EXTRAS
from plainnet.versions import version_of

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture
def quick(monkeypatch) -> None:
    """The parts that train have their own test."""
    for name in ("_engine", "_training"):
        monkeypatch.setattr(f"plainnet.cli.doctor.{name}", lambda: "works")


def test_a_working_installation(command_line) -> None:
    code, out, _ = command_line("doctor", "--json")
    facts = json.loads(out)
    assert (code, facts["problems"], facts["training"], facts["plainnet"]) == (0, [], "works", plainnet.__version__)
    assert facts["engine"].startswith("works: three steps in compiled code end within")
    assert facts["packages"]["torch"] == version_of("torch")
    assert "MB" in facts["caches"]["machine code"]


def test_every_extra_says_what_it_is_for() -> None:
    assert set(EXTRAS) == set(PROJECT["optional-dependencies"]) - {"all"}


def test_packages_that_are_missing_or_too_old(command_line, quick, monkeypatch) -> None:
    found = {"numba": None, "polars": "1.9"}
    monkeypatch.setattr("plainnet.versions.version_of", lambda name: found.get(name, version_of(name)))
    code, out, err = command_line("doctor")
    assert code == 1
    assert "Broken: numba: not installed, needed is >=0.68" in err
    assert "Broken: polars: 1.9, needed is >=2.1" in err
    assert "not installed, needed is >=0.68" in out


def test_an_extra_that_is_missing_is_no_fault_and_names_its_command(command_line, quick, monkeypatch) -> None:
    monkeypatch.setattr("plainnet.versions.version_of", lambda name: None if name == "optuna" else version_of(name))
    code, out, _ = command_line("doctor", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["extras"]["tune"] == (
        "plainnet tune; optuna not installed, needed is >=4.3. Run: pip install 'plainnet[tune]'"
    )
    assert "Run:" not in facts["extras"]["onnx"]


def test_a_library_that_cannot_be_loaded_and_arithmetic_that_is_wrong(command_line, monkeypatch) -> None:
    def broken(*_, **__):
        raise OSError("libllvm.so cannot be loaded")

    monkeypatch.setattr("plainnet.training.training.train", broken)
    monkeypatch.setattr("plainnet.cli.doctor._training", lambda: "learns badly: a line is missed by 9.00")
    code, _, err = command_line("doctor")
    assert code == 1
    assert "Broken: engine: fails: OSError: libllvm.so cannot be loaded" in err
    assert "Broken: training: learns badly" in err


def test_no_place_to_keep_machine_code_is_said_and_no_fault(command_line, quick, monkeypatch) -> None:
    monkeypatch.setattr("plainnet.kernels.kernels.cache_folder", lambda: None)
    code, out, _ = command_line("doctor", "--json")
    assert code == 0
    assert "set PLAINNET_CACHE_DIR" in json.loads(out)["caches"]["machine code"]
