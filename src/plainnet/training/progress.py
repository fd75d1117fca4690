"""The progress bar: loss, validation loss, epochs per second, time left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from plainnet.engines.job import Epoch

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["count_bar", "progress_bar", "say"]

#: Seconds between two drawings: the eye sees no more, and an epoch of the tutorial takes a quarter of a millisecond.
REDRAW_SECONDS = 0.1


def say(note: str) -> None:
    """Print a line on standard error, where that is a terminal."""
    if (console := _terminal()) is not None:
        console.print(note)


def _terminal() -> Console | None:
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_terminal or console.is_jupyter else None


@contextlib.contextmanager
def _bar(what: str, total: int, done: int, *, shown: bool, **options: Any) -> Iterator[Callable[..., None] | None]:
    """Show a bar; yield what updates it, or None where nothing is shown."""
    console = _terminal() if shown else None
    if console is None:
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    note = TextColumn("{task.fields[note]}")
    columns = (TextColumn(what), MofNCompleteColumn(), BarColumn(), note, TimeRemainingColumn())
    with Progress(*columns, console=console, **options) as progress:
        yield partial(progress.update, progress.add_task(what, total=total, completed=done, note=""))


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
    with _bar(what, total, done, shown=shown) as update:
        yield lambda note="": None if update is None else update(advance=1, note=note)


@contextlib.contextmanager
def progress_bar(epochs: int, *, shown: bool = True) -> Iterator[Callable[[Epoch], None]]:
    """Show a progress bar on standard error while the block runs.

    Args:
        epochs: how many epochs there are at most.
        shown: False shows nothing; nor is anything shown where standard error is no terminal.

    Yields:
        The function to call with each epoch.
    """
    with _bar("epoch", epochs, 0, shown=shown, auto_refresh=False) as update:
        if update is None:
            yield lambda _: None
            return
        started = drawn = monotonic()
        last: Epoch | None = None

        def draw(epoch: Epoch) -> None:
            rate = (epoch.index + 1) / max(monotonic() - started, 1e-9)
            validation = "" if epoch.validation_loss is None else f"  validation loss {epoch.validation_loss:.4f}"
            text = f"loss {epoch.loss:.4f}{validation}  {rate:,.{0 if rate >= 10 else 1}f} epochs/s"
            update(completed=epoch.index + 1, note=text, refresh=True)

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
