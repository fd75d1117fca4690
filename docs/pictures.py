"""Draw the loss curves of docs/how-to/loss-curves.md: the trainings are the page's own, and real.

Run it as ``python docs/pictures.py``; ``make docs`` does. The same seeds give the same pictures, up to the machine's rounding.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from torch import nn

import plainnet

DOCS = Path(__file__).parent


def data(rows: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows of 8 numbers, of which two decide the target, and the target."""
    torch.manual_seed(0)
    x = torch.randn(rows, 8)
    return x, torch.sin(2 * x[:, :1]) + 0.5 * x[:, 1:2] + noise * torch.randn(rows, 1)


def train(
    *, rows: int = 600, noise: float = 0.3, rate: float, epochs: int = 100, scale: float = 1.0
) -> plainnet.History:
    """Train one network of two layers by SGD, with a third of the rows held out."""
    x, y = data(rows, noise)
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(scale)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    try:
        return plainnet.train(
            model, x, y, loss=nn.MSELoss(), optimizer=optimizer, epochs=epochs, batch_size=40, validation=1 / 3, progress=False
        )  # fmt: skip
    except plainnet.LossDivergedError as error:
        return error.history


def good(ax: Axes) -> None:
    train(rows=3000, rate=0.01, epochs=40).plot(ax)


def overfitting(ax: Axes) -> None:
    train(rows=300, noise=0.8, rate=0.01, epochs=200).plot(ax)


def rate_too_low(ax: Axes) -> None:
    train(rate=0.0001).plot(ax)


def rate_too_high(ax: Axes) -> None:
    train(rate=0.17).plot(ax)


def plateau(ax: Axes) -> None:
    train(rate=0.003, epochs=150, scale=0.05).plot(ax)


PICTURES = (good, overfitting, rate_too_low, rate_too_high, plateau)


def draw(folder: Path) -> list[Path]:
    """Write each picture into a folder, and return the files."""
    written = []
    for picture in PICTURES:
        figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
        picture(ax)
        ax.set_ylim(bottom=0)
        path = folder / f"curve-{picture.__name__.replace('_', '-')}.png"
        figure.savefig(path, dpi=110, metadata={"Software": None})
        plt.close(figure)
        written.append(path)
    return written


if __name__ == "__main__":
    plt.switch_backend("Agg")
    for path in draw(DOCS / "how-to"):
        print(f"wrote {path}")
