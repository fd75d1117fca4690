"""``plainnet tutorial``: the five steps of a first network, each beside the few lines of Python that it is."""

from __future__ import annotations

from pathlib import Path

import typer

from plainnet.cli import stop

__all__ = ["tutorial"]


def tutorial(
    out: Path = typer.Option(Path("tutorial_loss.png"), "--out", "-o", help="Picture of the loss curve to write."),
    epochs: int = typer.Option(5000, help="Passes over the 100 rows.", min=1),
    seed: int = typer.Option(0, help="Of the data and the first weights."),
) -> None:
    """Walk through a first neural network: data, network, loss and optimizer, training, the loss curve.

    [bold]Example[/bold]

    plainnet tutorial
    """
    import torch
    from torch import nn

    from plainnet.runs.runs import draw_losses
    from plainnet.training.training import train

    torch.manual_seed(seed)
    _step(
        1, "Data: 100 random rows of 10 numbers, and a target of 0 or 1 for each",
        "x = torch.randn(100, 10)", "y = (torch.rand(100, 1) < 0.5).float()",
    )  # fmt: skip
    x = torch.randn(100, 10)
    y = (torch.rand(100, 1) < 0.5).float()
    typer.echo(f"x: {tuple(x.shape)}   y: {tuple(y.shape)}, of which {int(y.sum())} are 1")

    _step(
        2, "Network: a hidden layer of 15, and one output between 0 and 1",
        "model = nn.Sequential(nn.Linear(10, 15), nn.ReLU(), nn.Linear(15, 1), nn.Sigmoid())", "print(model)",
    )  # fmt: skip
    model = nn.Sequential(nn.Linear(10, 15), nn.ReLU(), nn.Linear(15, 1), nn.Sigmoid())
    typer.echo(f"{model}")

    _step(
        3, "Loss and optimizer: what to make small, and how to step there",
        "loss = nn.MSELoss()", "optimizer = torch.optim.SGD(model.parameters(), lr=0.01)",
    )  # fmt: skip
    loss = nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    typer.echo(f"{loss}, {sum(p.numel() for p in model.parameters())} weights to learn, learning rate 0.01")

    _step(
        4, f"Training: forward, loss, zero the gradients, backward, step; {epochs:,} times",
        f"history = plainnet.train(model, x, y, loss=loss, optimizer=optimizer, epochs={epochs})",
    )  # fmt: skip
    history = train(model, x, y, loss=loss, optimizer=optimizer, epochs=epochs)
    shown = [0, *(round(len(history) * share) - 1 for share in (0.25, 0.5, 0.75, 1))] if len(history) else []
    for index in dict.fromkeys(max(0, index) for index in shown):
        typer.echo(f"epoch {index:>5,}   loss {history.losses[index]:.6f}")
    if history.stopped_by == "interrupt":
        typer.echo(f"Stopped by {stop.name()}; the network keeps what it has learnt so far.", err=True)
        raise typer.Exit(stop.exit_code())
    typer.echo(f"{history.seconds.sum():.2f} s, engine {history.engine}: {history.engine_reason}")

    _step(5, "The loss curve", "history.plot()")
    draw_losses(history, out)
    typer.echo(f"Written to {out}. Next: plainnet train")


def _step(number: int, what: str, *lines: str) -> None:
    typer.secho(f"\n{number}. {what}", bold=True)
    for line in lines:
        typer.secho(f"   >>> {line}", fg="cyan")
