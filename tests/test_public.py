"""The public names are a promise: surface.txt has all of them, and changes only on purpose."""

import subprocess
import sys
from pathlib import Path

import pytest

import plainnet
from tests import surface

NAMES = plainnet.__all__


def test_the_public_surface_is_what_was_promised() -> None:
    promised = surface.SNAPSHOT.read_text(encoding="utf-8").splitlines()
    now = surface.surface().splitlines()
    assert now == promised, "docs/reference/stability.md says what may change; then run: python -m tests.surface"


def test_the_version_is_said_once_and_quoted_right() -> None:
    root = Path(__file__).parents[1]
    assert f"\nversion: {plainnet.__version__}\n" in (root / "CITATION.cff").read_text(encoding="utf-8")
    assert 'path = "src/plainnet/__init__.py"' in (root / "pyproject.toml").read_text(encoding="utf-8")


def test_every_public_name_says_what_it_is() -> None:
    for name in NAMES:
        assert getattr(plainnet, name).__doc__, name


def test_no_public_name_is_a_stage_but_the_one_that_is_a_module_of_functions() -> None:
    from tests.test_layout import STAGES

    assert set(NAMES) & set(STAGES) == {"cluster"}


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
