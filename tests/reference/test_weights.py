"""Sample weights against rows that are there several times."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import plainnet
from plainnet.engines.losses import RowWeightedLoss

X = torch.randn(12, 3, generator=torch.Generator().manual_seed(1))
WEIGHT = torch.tensor([1, 2, 3, 1, 1, 2, 1, 4, 1, 1, 2, 1])
CLASSES = torch.tensor([0, 1, 2, 1, 0, 2, 2, 1, 0, 0, 1, 2])
NUMBERS = torch.randn(12, 2, generator=torch.Generator().manual_seed(2))
SHARES = NUMBERS.softmax(dim=1)

CASES = [
    ("mse", nn.MSELoss(), 2, NUMBERS),
    ("mse sum", nn.MSELoss(reduction="sum"), 2, NUMBERS),
    ("mse function", F.mse_loss, 2, NUMBERS),
    ("l1", nn.L1Loss(), 2, NUMBERS),
    ("huber", nn.HuberLoss(), 2, NUMBERS),
    ("bce with logits", nn.BCEWithLogitsLoss(), 2, (NUMBERS > 0).float()),
    ("cross entropy", nn.CrossEntropyLoss(), 3, CLASSES),
    ("cross entropy, class weights", nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 5.0])), 3, CLASSES),
    ("cross entropy, label smoothing", nn.CrossEntropyLoss(label_smoothing=0.1), 3, CLASSES),
    ("cross entropy, ignored class", nn.CrossEntropyLoss(ignore_index=2), 3, CLASSES),
    ("cross entropy, probabilities", nn.CrossEntropyLoss(), 2, SHARES),
    ("kl, mean over rows", nn.KLDivLoss(reduction="batchmean"), 2, SHARES),
    ("cross entropy function", F.cross_entropy, 3, CLASSES),
    ("function, class weights", partial(F.cross_entropy, weight=torch.tensor([1.0, 2.0, 5.0])), 3, CLASSES),
    ("function, ignored class", partial(F.cross_entropy, ignore_index=2), 3, CLASSES),
]


def losses(loss, n_out, x, y, weight):
    torch.manual_seed(0)
    model = nn.Linear(3, n_out)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return plainnet.train(model, x, y, loss=loss, optimizer=optimizer, epochs=10, sample_weight=weight).losses


@pytest.mark.parametrize(("loss", "n_out", "y"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_weight_of_two_is_a_row_twice(loss, n_out, y) -> None:
    repeated = losses(loss, n_out, X.repeat_interleave(WEIGHT, dim=0), y.repeat_interleave(WEIGHT, dim=0), None)
    np.testing.assert_allclose(losses(loss, n_out, X, y, WEIGHT), repeated, rtol=1e-5)


@pytest.mark.parametrize(("loss", "n_out", "y"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_equal_weights_change_nothing(loss, n_out, y) -> None:
    np.testing.assert_allclose(losses(loss, n_out, X, y, [1.0] * 12), losses(loss, n_out, X, y, None), rtol=1e-5)


def test_a_loss_without_rows_cannot_be_weighted() -> None:
    with pytest.raises(plainnet.TrainingError, match="sample_weight needs the loss of each row"):
        losses(lambda p, t: ((p - t) ** 2).mean(), 2, X, NUMBERS, WEIGHT)


@pytest.mark.parametrize("weight", [[-1.0] * 12, [0.0] * 12, [float("nan")] * 12])
def test_weights_that_cannot_be(weight) -> None:
    with pytest.raises(plainnet.TrainingError, match="negative, NaN or infinite"):
        losses(nn.MSELoss(), 2, X, NUMBERS, weight)


def test_the_weighted_loss_names_the_loss_it_wraps() -> None:
    loss = nn.MSELoss()
    assert RowWeightedLoss(loss).loss is loss
    assert RowWeightedLoss(partial(F.mse_loss, reduction="sum")).reduction == "sum"
