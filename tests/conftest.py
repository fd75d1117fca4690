"""Fixtures that every test gets."""

from collections.abc import Iterator

import matplotlib
import numpy as np
import pytest
import torch

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def fixed_seeds() -> Iterator[None]:
    """Seeds are fixed, and pyplot's figures closed, for every test."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - what scikit-learn falls back to
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
