"""Fixtures that every test gets."""

import os
from collections.abc import Iterator

os.environ["SCIPY_ARRAY_API"] = "1"  # before scipy is imported: scikit-learn's array checks run too

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
