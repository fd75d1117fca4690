"""Small made-up tables that show how a network learns: two inputs that can be drawn, and the first tutorial's random rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from sklearn.datasets import make_circles, make_moons

from plainnet.errors import SettingError
from plainnet.tables.write import write_table

__all__ = ["EXAMPLES", "make_example"]

#: Rows of a table with two inputs.
ROWS = 600

#: Small networks, trained for long: what is learnt here is to be seen, not used. ``seconds``: so long the training is stretched.
TWO_INPUTS: dict[str, Any] = {
    "effort": "quick", "hidden": [16, 16], "activation": "tanh", "epochs": 150, "learning_rate": 0.02, "seconds": 16.0,
}  # fmt: skip


def _two_inputs(x: npt.NDArray[np.float64], y: npt.NDArray[Any]) -> pl.DataFrame:
    return pl.DataFrame({"x": x[:, 0].round(4), "y": x[:, 1].round(4), "colour": np.where(y == 1, "orange", "blue")})


def spirals() -> pl.DataFrame:
    """Two arms of a spiral, 1½ turns each: hard for a small network."""
    random = np.random.RandomState(0)
    arm = np.arange(ROWS) % 2
    turn = np.sqrt(random.uniform(0.04, 1, ROWS)) * 3 * np.pi
    angle = turn + arm * np.pi
    x = np.stack([turn * np.cos(angle), turn * np.sin(angle)], axis=1) / 10 + random.normal(0, 0.03, (ROWS, 2))
    return _two_inputs(x, arm)


def tutorial() -> pl.DataFrame:
    """The rows of the first PyTorch tutorial: 10 random numbers each, and a target thrown like a coin. There is nothing to learn."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(100, 10, generator=random).numpy()
    y = (torch.rand(100, generator=random) < 0.5).int().numpy()
    return pl.DataFrame({f"x{i}": x[:, i] for i in range(10)} | {"y": y})


#: Each example's function, target and settings. Moons and circles are scikit-learn's: half circles that reach into each other, and a
#: ring around a disc.
EXAMPLES: dict[str, tuple[Callable[[], pl.DataFrame], str, dict[str, Any]]] = {
    "moons": (lambda: _two_inputs(*make_moons(ROWS, noise=0.18, random_state=0)), "colour", TWO_INPUTS),
    "circles": (lambda: _two_inputs(*make_circles(ROWS, noise=0.1, factor=0.45, random_state=0)), "colour", TWO_INPUTS),
    "spirals": (spirals, "colour", TWO_INPUTS | {"hidden": [32, 32], "epochs": 400}),
    "tutorial": (
        tutorial, "y",
        {"effort": "quick", "hidden": [15], "activation": "relu", "epochs": 100, "learning_rate": 0.01, "seconds": 8.0},
    ),
}  # fmt: skip


def make_example(folder: Path, name: str) -> Path:
    """Write an example to a folder, if it is not there yet.

    Raises:
        SettingError: there is no such example.
    """
    if name not in EXAMPLES:
        raise SettingError(f"an example is one of {', '.join(EXAMPLES)}, not {name[:40]!r}.")
    path = folder / f"example-{name}.csv"
    if not path.exists():
        write_table(EXAMPLES[name][0](), path)
    return path
