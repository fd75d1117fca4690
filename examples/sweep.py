"""Which learning rate, which width? Train a network for each pair and seed, all at once, and look at the best three."""

import itertools

import torch
from torch import nn

import plainnet


def main(rows: int = 1000, epochs: int = 200, seeds: int = 3) -> dict[tuple[int, float], float]:
    """Train all, and return the mean over the seeds of the lowest validation loss of each width and rate."""
    torch.manual_seed(0)
    x = torch.randn(rows, 6)
    y = torch.sin(2 * x[:, :1]) + x[:, 1:2] ** 2 + 0.1 * torch.randn(rows, 1)

    pairs = list(itertools.product((4, 16, 64), (0.001, 0.003, 0.01, 0.03)))
    trials = []
    for (width, rate), seed in itertools.product(pairs, range(seeds)):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(6, width), nn.Tanh(), nn.Linear(width, 1))
        trials.append(plainnet.Trial(model, torch.optim.Adam(model.parameters(), lr=rate)))
    histories = plainnet.train_many(trials, x, y, loss=nn.MSELoss(), epochs=epochs, batch_size=50, validation=0.25)

    lowest = [float(history.validation_losses.min()) for history in histories]  # in the trials' order
    found = {pair: sum(lowest[i * seeds : (i + 1) * seeds]) / seeds for i, pair in enumerate(pairs)}
    for (width, rate), loss in sorted(found.items(), key=lambda each: each[1])[:3]:
        print(f"width {width:2}, rate {rate:5}: validation loss {loss:.4f}, the mean of {seeds} seeds")
    return found


if __name__ == "__main__":
    main()
