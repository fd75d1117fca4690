"""plainnet against the hand-written loop: the same numbers."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

import plainnet
from tests.helpers import first_network

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))


def test_all_5000_losses_and_the_final_weights_of_the_two_examples_agree() -> None:
    import first_network as with_plainnet
    import first_network_by_hand as by_hand

    losses, model = by_hand.main()
    kept: list[nn.Module] = []
    original = plainnet.train

    def spy(network: nn.Module, *args: object, **kwargs: object) -> plainnet.History:
        kept.append(network)
        return original(network, *args, **kwargs)

    plainnet.train = spy
    try:
        history = with_plainnet.main()
    finally:
        plainnet.train = original
    assert len(losses) == len(history.losses) == 5000
    np.testing.assert_allclose(history.losses, losses, rtol=1e-6)
    for ours, theirs in zip(kept[0].parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


class OnePermutationAnEpoch(Sampler[int]):
    """torch's RandomSampler draws a second permutation an epoch, and throws it away."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self.generator = rows, torch.Generator().manual_seed(seed)

    def __iter__(self):
        yield from torch.randperm(self.rows, generator=self.generator).tolist()

    def __len__(self) -> int:
        return self.rows


def by_hand(model, loader, loss, optimizer, epochs, scheduler=None, clip=None):
    losses = []
    for _ in range(epochs):
        total, rows = 0.0, 0
        for x, y in loader:
            optimizer.zero_grad()
            value = loss(model(x), y)
            value.backward()
            if clip:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            total, rows = total + value.item() * len(x), rows + len(x)
        losses.append(total / rows)
        if scheduler:
            scheduler.step()
    return losses


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "RAdam", "Adamax"])
def test_mini_batches_are_those_of_a_data_loader(optimizer: str, drop_last: bool) -> None:
    def make(model):
        return getattr(torch.optim, optimizer)(model.parameters(), lr=0.01)

    model, x, y = first_network()
    data = TensorDataset(x, y)
    loader = DataLoader(data, batch_size=32, sampler=OnePermutationAnEpoch(100, seed=7), drop_last=drop_last)
    expected = by_hand(model, loader, nn.MSELoss(), make(model), epochs=20)
    twin, x, y = first_network()
    history = plainnet.train(
        twin, x, y, loss=nn.MSELoss(), optimizer=make(twin), epochs=20, batch_size=32, seed=7, drop_last=drop_last
    )
    np.testing.assert_allclose(history.losses, expected, rtol=1e-6)
    for ours, theirs in zip(twin.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_schedule_clipping_and_parameter_groups_are_as_by_hand() -> None:
    def make(model):
        optimizer = torch.optim.SGD(
            [{"params": model[0].parameters(), "lr": 0.5}, {"params": model[2].parameters()}], lr=0.1, momentum=0.9
        )
        return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, step_size=5, gamma=0.5)

    model, x, y = first_network()
    optimizer, scheduler = make(model)
    expected = by_hand(model, [(x, y)], nn.MSELoss(), optimizer, 20, scheduler, clip=0.05)
    twin, x, y = first_network()
    optimizer, scheduler = make(twin)
    history = plainnet.train(
        twin, x, y, loss=nn.MSELoss(), optimizer=optimizer, epochs=20, scheduler=scheduler, clip_grad_norm=0.05
    )
    np.testing.assert_allclose(history.losses, expected, rtol=1e-6)
    np.testing.assert_allclose(history.learning_rates, [0.5 * 0.5 ** (epoch // 5) for epoch in range(20)])


def test_one_cycle_steps_after_each_batch() -> None:
    def make(model):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=40)

    model, x, y = first_network()
    optimizer, scheduler = make(model)
    expected = []
    for _ in range(10):
        total = 0.0
        for start in range(0, 100, 25):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x[start : start + 25]), y[start : start + 25])
            loss.backward()
            optimizer.step()
            scheduler.step()
            total += loss.item() / 4
        expected.append(total)
    twin, x, y = first_network()
    optimizer, scheduler = make(twin)
    history = plainnet.train(
        twin, x, y, loss=nn.functional.mse_loss, optimizer=optimizer, epochs=10, batch_size=25, shuffle=False,
        scheduler=scheduler, scheduler_every="step",
    )  # fmt: skip
    np.testing.assert_allclose(history.losses, expected, rtol=1e-6)


def test_lbfgs_gets_its_closure() -> None:
    model, x, y = first_network()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=5)
    expected = []
    for _ in range(5):

        def closure():
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x), y)
            loss.backward()
            return loss

        expected.append(optimizer.step(closure).item())
    twin, x, y = first_network()
    history = plainnet.train(
        twin, x, y, loss=nn.MSELoss(), optimizer=torch.optim.LBFGS(twin.parameters(), max_iter=5), epochs=5
    )
    np.testing.assert_allclose(history.losses, expected, rtol=1e-6)


def test_plateau_scheduler_is_told_the_validation_loss() -> None:
    model, x, y = first_network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-12)  # nothing moves: every epoch is a plateau
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2, factor=0.1)
    history = plainnet.train(
        model, x, y, loss=nn.MSELoss(), optimizer=optimizer, epochs=5, scheduler=scheduler, validation=(x, y)
    )
    assert history.learning_rates[0] == 1e-12
    assert history.learning_rates[-1] < 1e-12 or scheduler.num_bad_epochs > 0


def test_going_on_after_a_first_training_is_one_uninterrupted_training() -> None:
    def trained(*parts: int) -> list[float]:
        model, x, y = first_network()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        return [
            loss
            for epochs in parts
            for loss in plainnet.train(model, x, y, loss=nn.MSELoss(), optimizer=optimizer, epochs=epochs).losses
        ]

    np.testing.assert_allclose(trained(10, 20), trained(30), rtol=1e-7)


def test_a_step_worked_by_hand() -> None:
    """y = w x + b, one row (2, 1), w = 0.5, b = 0: prediction 1, loss (1 - 0)² = 1, dw = 2·1·2 = 4, db = 2."""
    model = nn.Linear(1, 1)
    with torch.no_grad():
        model.weight.fill_(0.5)
        model.bias.fill_(0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    history = plainnet.train(
        model, torch.tensor([[2.0]]), torch.tensor([[0.0]]), loss=nn.MSELoss(), optimizer=optimizer, epochs=1
    )
    assert history.losses.tolist() == [1.0]
    assert model.weight.item() == pytest.approx(0.5 - 0.1 * 4)
    assert model.bias.item() == pytest.approx(-0.1 * 2)
