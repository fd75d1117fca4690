"""The progress bar: loss, validation loss, epochs per second, time left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from time import monotonic

from plainnet.engines.job import Epoch

__all__ = ["count_bar", "progress_bar", "say"]

#: Seconds between two drawings: the eye sees no more, and an epoch of the tutorial takes a quarter of a millisecond.
REDRAW_SECONDS = 0.1


def say(note: str) -> None:
    """Print a line on standard error, where that is a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal or console.is_jupyter:
        console.print(note)


@contextlib.contextmanager
def count_bar(total: int, what: str, *, shown: bool = True, done: int = 0) -> Iterator[Callable[..., None]]:
    """Show a progress bar of things done, where standard error is a terminal.

    Args:
        total: how many there are.
        what: one of them.
        shown: False shows nothing.
        done: how many are done already.

    Yields:
        The function to call for each that is done, with a note to show beside the bar where there is one.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not shown or not (console.is_terminal or console.is_jupyter):
        yield lambda *_: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(
        TextColumn(what),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        task = progress.add_task(what, total=total, completed=done, note="")
        yield lambda note="": progress.update(task, advance=1, note=note)


@contextlib.contextmanager
def progress_bar(epochs: int, *, shown: bool = True) -> Iterator[Callable[[Epoch], None]]:
    """Show a progress bar on standard error while the block runs.

    Args:
        epochs: how many epochs there are at most.
        shown: False shows nothing; nor is anything shown where standard error is no terminal.

    Yields:
        The function to call with each epoch.
    """
    if not shown:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal and not console.is_jupyter:
        yield lambda _: None
        return
    columns = (
        TextColumn("epoch"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.fields[losses]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, auto_refresh=False) as progress:
        task = progress.add_task("epoch", total=epochs, losses="")
        started = drawn = monotonic()
        last: Epoch | None = None

        def draw(epoch: Epoch) -> None:
            rate = (epoch.index + 1) / max(monotonic() - started, 1e-9)
            validation = "" if epoch.validation_loss is None else f"  validation loss {epoch.validation_loss:.4f}"
            text = f"loss {epoch.loss:.4f}{validation}  {rate:,.{0 if rate >= 10 else 1}f} epochs/s"
            progress.update(task, completed=epoch.index + 1, losses=text, refresh=True)

        def show(epoch: Epoch) -> None:
            nonlocal drawn, last
            last = epoch
            if monotonic() - drawn >= REDRAW_SECONDS or epoch.index == 0:
                drawn = monotonic()
                draw(epoch)

        try:
            yield show
        finally:
            if last is not None:
                draw(last)
