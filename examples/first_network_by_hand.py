"""A first neural network in plain PyTorch: the five steps, written out. Its twin is first_network.py."""

import torch
from torch import nn


def main(epochs: int = 5000) -> tuple[list[float], nn.Module]:
    """Train the network and return the loss of every epoch, and the network."""
    # 1. Data: 100 random rows of 10 numbers, and a target of 0 or 1 for each.
    torch.manual_seed(0)
    x = torch.randn(100, 10)
    y = (torch.rand(100, 1) < 0.5).float()

    # 2. Network: a hidden layer of 15, and one output between 0 and 1.
    model = nn.Sequential(nn.Linear(10, 15), nn.ReLU(), nn.Linear(15, 1), nn.Sigmoid())

    # 3. Loss and optimizer: what to make small, and how to step there.
    loss_function = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    # 4. Training.
    losses = []
    for _ in range(epochs):
        prediction = model(x)  # forward
        loss = loss_function(prediction, y)  # how wrong?
        losses.append(loss.item())
        model.zero_grad()  # forget the last gradients
        loss.backward()  # backward: the gradient of the loss for every weight
        optimizer.step()  # a step downhill
    return losses, model


def plot(losses: list[float]) -> None:
    """5. The loss curve."""
    import matplotlib.pyplot as plt

    plt.plot(losses)
    plt.ylabel("loss")
    plt.xlabel("epoch")
    plt.title(f"Learning rate {0.01:f}")
    plt.show()


if __name__ == "__main__":
    found, _ = main()
    print(f"loss of the first epoch {found[0]:.6f}, of the last {found[-1]:.6f}")
    plot(found)
