"""Fixtures for tests of every stage."""

import os
import sys
from collections.abc import Iterator

os.environ["SCIPY_ARRAY_API"] = "1"  # before scipy is imported: scikit-learn's array checks run too

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("Agg")

#: A program of its own, whose library is installed by hand.
collect_ignore = ["storage/guided.py"]


@pytest.fixture(autouse=True)
def fixed_seeds() -> Iterator[None]:
    """Seeds are fixed, and pyplot's figures closed, for every test."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - what scikit-learn falls back to
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def command_line(monkeypatch, capsys):
    """Run the command line on a wide, plain terminal: arguments -> (exit code, output, errors)."""
    from plainnet.cli.cli import main

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("warnings.showwarning", None)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["plainnet", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
            raise SystemExit(0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return int(stopped.value.code or 0), out, err

    return run
