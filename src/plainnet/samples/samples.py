"""The bundled table: UCI Adult, the question whether a person of the 1994 census earned more than 50 000 $ a year."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ADULT_PATH", "ADULT_TARGET", "load_adult"]

ADULT_PATH = Path(__file__).with_name("adult.csv.gz")
ADULT_TARGET = "income"


def load_adult() -> pl.DataFrame:
    """Return the Adult table: 48 842 rows, 14 columns and the target ``income`` ('<=50K' or '>50K').

    Source: B. Becker and R. Kohavi, "Adult", UCI Machine Learning Repository, 1996, https://doi.org/10.24432/C5XW20,
    licence CC BY 4.0. The repository's training and test files joined, unknown cells empty.
    """
    from plainnet.tables.read import read_table

    return read_table(ADULT_PATH)
