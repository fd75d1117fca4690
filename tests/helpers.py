"""Small data and networks that several tests share."""

import numpy as np
import polars as pl
import torch
from torch import nn


def first_network(seed: int = 0, rows: int = 100) -> tuple[nn.Sequential, torch.Tensor, torch.Tensor]:
    """The tutorial's network and data."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(10, 15), nn.ReLU(), nn.Linear(15, 1), nn.Sigmoid())
    return model, torch.randn(rows, 10), (torch.rand(rows, 1) < 0.5).float()


def people(rows: int = 300, seed: int = 0) -> pl.DataFrame:
    """A table of every kind of column, whose target depends on some of them."""
    rng = np.random.RandomState(seed)
    age = rng.randint(18, 80, rows)
    town = rng.choice(["Ulm", "Bonn", "Köln", "Jena"], rows)
    member = rng.rand(rows) < 0.5
    income = age * 100.0 + (town == "Köln") * 2000 + member * 1500 + rng.randn(rows) * 200
    frame = pl.DataFrame(
        {
            "person_id": np.arange(rows) + 1000,
            "age": age,
            "income": income,
            "town": town,
            "member": member,
            "joined": [
                f"20{year:02d}-{month:02d}-17"
                for year, month in zip(rng.randint(10, 25, rows), rng.randint(1, 13, rows), strict=True)
            ],
            "country": ["DE"] * rows,
        }
    )
    rich = pl.Series("rich", np.where(income > np.median(income), "yes", "no"))
    return frame.with_columns(
        pl.when(pl.int_range(rows) % 11 == 0).then(None).otherwise(pl.col("age")).alias("age"), rich
    )
