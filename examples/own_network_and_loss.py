"""A network and a loss of one's own, trained in one call: a skip connection, and a loss for which too low costs more."""

import torch
from torch import Tensor, nn

import plainnet


class Skip(nn.Module):
    """Two layers, of which the second adds to the first."""

    def __init__(self, n_in: int, width: int) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(n_in, width), nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return one number a row."""
        h = torch.relu(self.first(x))
        return self.last(h + torch.relu(self.second(h)))


def too_low_costs_more(prediction: Tensor, target: Tensor) -> Tensor:
    """Three for each unit too low, one for each too high: least at the 75 % point."""
    away = target - prediction
    return torch.where(away > 0, 3 * away, -away).mean()


def main(rows: int = 2000, epochs: int = 200) -> tuple[plainnet.History, float]:
    """Train, and return the history and the share of new targets below their prediction."""
    torch.manual_seed(0)
    x = torch.randn(2 * rows, 4)
    y = x[:, :1] * x[:, 1:2] + 0.5 * torch.randn(2 * rows, 1)

    model = Skip(4, 32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    history = plainnet.train(
        model,
        x[:rows],
        y[:rows],
        loss=too_low_costs_more,
        optimizer=optimizer,
        epochs=epochs,
        batch_size=100,
        validation=0.2,
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        stopping=plainnet.EarlyStopping(patience=30),
    )
    with torch.no_grad():
        below = (y[rows:] < model(x[rows:])).float().mean().item()
    print(f"{history} by {history.engine}: {history.engine_reason}")
    print(f"{below:.0%} of the new targets lie below their prediction; 75 % were asked for")
    return history, below


if __name__ == "__main__":
    main()
