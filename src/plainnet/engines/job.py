"""What an engine is given (a Job) and what it yields (Epochs)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, overload

from plainnet.settings import EarlyStopping

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import Tensor, nn

__all__ = ["Epoch", "Epochs", "Job", "Loss", "Standing", "State"]

#: (prediction, target) -> a scalar tensor; or, where rows have weights, (prediction, target, weight).
Loss = Callable[..., "Tensor"]

#: A training between two epochs, as arrays by name: weights, moments, best weights, counts.
State = dict[str, "npt.NDArray[np.generic]"]


@dataclass(frozen=True, slots=True)
class Epoch:
    """One pass over the training rows, as it was.

    Attributes:
        index: 0 for the first epoch.
        loss: mean training loss of the epoch, each batch measured before its step, as a hand-written loop records it.
        validation_loss: loss on the validation rows after the epoch's last step, None without validation rows.
        learning_rate: of the optimizer's first parameter group, in this epoch's first step.
        seconds: wall time of this epoch.
    """

    index: int
    loss: float
    validation_loss: float | None
    learning_rate: float
    seconds: float


class Epochs(Sequence[Epoch]):
    """A list of epochs, kept as columns: a training of 5 000 epochs takes ten milliseconds, and 5 000 objects as long again.

    Attributes:
        columns: index, loss, validation_loss, learning_rate and seconds of all epochs.

    >>> epochs = Epochs([Epoch(0, 0.25, None, 0.1, 0.001)])
    >>> epochs = epochs.join([1, 2], [0.24, 0.23], [None, None], [0.1, 0.1], [0.001, 0.001])
    >>> len(epochs), epochs[-1].loss
    (3, 0.23)
    """

    def __init__(self, epochs: Iterable[Epoch] = ()) -> None:
        self.columns: tuple[list[Any], ...] = ([], [], [], [], [])
        for epoch in epochs:
            self.append(epoch)

    def append(self, epoch: Epoch) -> None:
        """Add an epoch."""
        values = (epoch.index, epoch.loss, epoch.validation_loss, epoch.learning_rate, epoch.seconds)
        for column, value in zip(self.columns, values, strict=True):
            column.append(value)

    def join(self, *columns: Iterable[Any]) -> Epochs:
        """Add epochs that are given by their columns, such as another list's; return this one."""
        for column, values in zip(self.columns, columns, strict=True):
            column.extend(values)
        return self

    def __len__(self) -> int:
        return len(self.columns[0])

    @overload
    def __getitem__(self, place: int) -> Epoch: ...
    @overload
    def __getitem__(self, place: slice) -> list[Epoch]: ...
    def __getitem__(self, place: int | slice) -> Epoch | list[Epoch]:
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        return Epoch(*(column[place] for column in self.columns))

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Iterable) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Epochs({list(self)!r:.200})"


@dataclass(frozen=True)
class Job:
    """A training that has been checked and can start. All tensors are on the network's device.

    Shapes: N training rows, M validation rows.

    Attributes:
        model: the network, trained in place.
        x: (N, …) inputs.
        y: (N, …) targets.
        loss: (prediction, target) -> scalar, or (prediction, target, weight) where ``weight`` is given.
        optimizer: steps over the network's parameters.
        epochs: how many passes over the rows at most.
        batch_size: rows in a step; N for the full batch.
        shuffle: draw a new order of the rows for each epoch; a full batch is never shuffled.
        drop_last: leave out the last, smaller batch of each epoch.
        seed: of the shuffle.
        weight: (N,) weight of each row, of mean 1 unless the loss is a sum; None: all 1.
        validation: (M, …) inputs, (M, …) targets and (M,) weights or None; None without validation rows.
        scheduler: a ``torch.optim.lr_scheduler``.
        scheduler_every: 'epoch' or 'step': when the scheduler steps.
        stopping: when to stop early, and whether to restore the best weights.
        clip_grad_norm: largest norm of the whole gradient.
        closure: the optimizer wants a closure (LBFGS).
        epoch_by_epoch: the network and the optimizer are up to date at each ``yield``. Without it an engine may be some
            epochs ahead of those it has yielded, and leaving the loop early keeps their weights.
        is_watched: somebody looks on: the network has its weights at each ``yield``, of which there are a hundred or more.
        dropout_seed: of the fused engine's dropout masks; None: drawn from torch's generator.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    loss: Loss
    optimizer: torch.optim.Optimizer
    epochs: int
    batch_size: int
    shuffle: bool = True
    drop_last: bool = False
    seed: int = 0
    weight: Tensor | None = None
    validation: tuple[Tensor, Tensor, Tensor | None] | None = None
    scheduler: Any = None
    scheduler_every: Literal["epoch", "step"] = "epoch"
    stopping: EarlyStopping | None = None
    clip_grad_norm: float | None = None
    closure: bool = False
    epoch_by_epoch: bool = True
    is_watched: bool = False
    dropout_seed: int | None = None

    @property
    def is_full_batch(self) -> bool:
        """Whether one step takes all rows."""
        return self.batch_size >= len(self.x)


@dataclass
class Standing:
    """Where a training stands between two epochs; for who drives an engine chunk by chunk.

    Attributes:
        begin: what the engine is to go on from; None: the beginning.
        now: set by the engine: returns a copy of what it stands at; None where there is nothing to go on from, as the training has
            ended, or where its optimizer or scheduler keeps a state of its own. To be called between two chunks.
    """

    begin: State | None = None
    now: Callable[[], State | None] = lambda: None
