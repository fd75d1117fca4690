"""A first neural network with plainnet: the same five steps, and the same numbers, as first_network_by_hand.py."""

import torch
from torch import nn

import plainnet


def main(epochs: int = 5000) -> plainnet.History:
    """Train the network and return its history."""
    # 1. Data: 100 random rows of 10 numbers, and a target of 0 or 1 for each.
    torch.manual_seed(0)
    x = torch.randn(100, 10)
    y = (torch.rand(100, 1) < 0.5).float()

    # 2. Network: a hidden layer of 15, and one output between 0 and 1.
    model = nn.Sequential(nn.Linear(10, 15), nn.ReLU(), nn.Linear(15, 1), nn.Sigmoid())

    # 3. Loss and optimizer: what to make small, and how to step there.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    # 4. Training.
    return plainnet.train(model, x, y, loss=nn.MSELoss(), optimizer=optimizer, epochs=epochs)


if __name__ == "__main__":
    import matplotlib.pyplot as plt

    history = main()
    print(f"loss of the first epoch {history.losses[0]:.6f}, of the last {history.losses[-1]:.6f}")
    history.plot()  # 5. The loss curve
    plt.show()
