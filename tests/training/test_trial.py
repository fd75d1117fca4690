"""What the checks try leaves no trace, and refuses nothing that a hand-written loop would train."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import plainnet
from plainnet import TrainingError

X = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
Y = (torch.rand(20, 1, generator=torch.Generator().manual_seed(1)) < 0.5).float()


def by_hand(model, x, y, loss, epochs: int = 3) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    found = []
    for _ in range(epochs):
        value = loss(model(x), y)
        found.append(value.item())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return found


def by_train(model, x, y, loss, epochs: int = 3, **options) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return list(plainnet.train(model, x, y, loss=loss, optimizer=optimizer, epochs=epochs, **options).losses)


class Noisy(nn.Module):
    """A loss that draws random numbers and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, prediction, target):
        self.calls += 1
        return ((prediction - target + 0.1 * torch.randn(prediction.shape)) ** 2).mean() * self.calls


class Growing(nn.Module):
    """A network that counts its calls in every way there is."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.calls, self.log, self.seen = 0, [], torch.zeros(1)
        self.shared = torch.ones(1).expand(5)
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, x):
        self.calls += 1
        self.log.append(len(x))
        self.seen += 1
        self.steps = self.steps + 1
        return self.layer(x) * (self.calls + len(self.log) + self.seen + self.steps)


@pytest.mark.parametrize(("model", "loss"), [(nn.Linear, Noisy), (Growing, nn.MSELoss)], ids=["loss", "network"])
def test_what_counts_its_calls_trains_as_by_hand(model, loss) -> None:
    found = []
    for loop in (by_hand, by_train):
        torch.manual_seed(5)
        own = loss()
        found.append(loop(model(4, 1) if model is nn.Linear else model(), X, Y, own))
        assert getattr(own, "calls", 3) == 3
    assert found[0] == found[1]


def test_lists_of_the_network_stay_the_same_objects() -> None:
    model = Growing()
    log = model.log
    by_train(model, X, Y, nn.MSELoss())
    assert log is model.log
    assert log == [20, 20, 20]


def test_a_loss_that_cannot_be_copied_is_not_tried() -> None:
    class Locked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lock, self.calls = threading.Lock(), 0

        def forward(self, prediction, target):
            self.calls += 1
            return ((prediction - target) ** 2).mean()

    loss = Locked()
    by_train(nn.Linear(4, 1), X, Y, loss)
    assert loss.calls == 3


class EmbeddingSecond(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 1)
        self.embed = nn.Embedding(5, 3)

    def forward(self, x):
        return self.last(self.embed(x).flatten(1))


class PositionFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.zeros(2, 3))
        self.embed = nn.Embedding(5, 3)

    def forward(self, x):
        return (self.embed(x) + self.position).sum(dim=2)[:, :1]


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, x):
        return self.layer(x.float().flatten(1) / 255)


@pytest.mark.parametrize(
    ("model", "x"),
    [
        (EmbeddingSecond, torch.randint(0, 5, (20, 2))),
        (PositionFirst, torch.randint(0, 5, (20, 2))),
        (Images, torch.randint(0, 256, (20, 2, 2), dtype=torch.uint8)),
    ],
)
def test_whole_numbers_are_for_the_network_to_take(model, x) -> None:
    assert len(by_train(model(), x, Y, nn.MSELoss(), validation=0.2)) == 3


def test_an_embedding_given_decimals_is_explained() -> None:
    with pytest.raises(TrainingError, match=r"x is float32 .*Embedding, takes whole numbers: pass x.long"):
        by_train(EmbeddingSecond(), torch.zeros(20, 2), Y, nn.MSELoss())


class OtherInEvaluation(nn.Module):
    def __init__(self, then) -> None:
        super().__init__()
        self.layer, self.then = nn.Linear(4, 1), then

    def forward(self, x):
        return self.layer(x) if self.training else self.then(self.layer(x))


@pytest.mark.parametrize("then", [torch.sigmoid, lambda z: z.argmax(dim=1), lambda z: z.detach()])
def test_networks_that_predict_otherwise_in_evaluation_mode_train(then) -> None:
    model = OtherInEvaluation(then)
    assert len(by_train(model, X, Y, nn.BCEWithLogitsLoss())) == 3
    assert model.training


def test_validation_rows_that_evaluation_mode_predicts_in_another_shape_are_refused() -> None:
    with pytest.raises(TrainingError, match="validation rows do not fit, predicted in evaluation mode.*shape"):
        by_train(OtherInEvaluation(lambda z: z.argmax(dim=1)), X, Y, nn.BCEWithLogitsLoss(), validation=0.2)


def test_a_loss_of_ones_own_may_mask_missing_targets() -> None:
    def masked(prediction, target):
        known = target.isfinite()
        return F.mse_loss(prediction[known], target[known])

    y = Y.clone()
    y[3] = float("nan")
    assert len(by_train(nn.Linear(4, 1), X, y, masked, validation=(X, y))) == 3
    with pytest.raises(TrainingError, match="y holds 1 values that are NaN"):
        by_train(nn.Linear(4, 1), X, y, nn.MSELoss())
