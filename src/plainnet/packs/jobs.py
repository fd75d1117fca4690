"""A pack that can be trained: its networks made, its rows dealt, each member's training with all that is its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from plainnet.engines.fused import draw_dropout_seed
from plainnet.engines.job import Loss
from plainnet.errors import TrainingError
from plainnet.packs.members import Member, PackData, Recipe, Rows
from plainnet.packs.voting import elect
from plainnet.settings import EarlyStopping, FitSettings
from plainnet.training.history import History
from plainnet.training.many import Trial
from plainnet.training.schedules import warmup_cosine

__all__ = [
    "CUTS", "Pack", "PackJob", "Tools", "bounded", "check_trained", "fold_of_rows", "make_pack_job", "member_trial",
]  # fmt: skip

Array = npt.NDArray[np.float64]

#: What ends the members that still train, and those that have not begun.
CUTS = ("interrupt", "time", "on_epoch")


@dataclass(frozen=True)
class Pack:
    """A trained pack.

    Attributes:
        members: those that could be trained.
        out_of_fold: (N, C) joint predictions of the training rows, each by members that did not train on it: probabilities or
            standardised numbers; None where no member held rows out.
        stopped_by: 'interrupt', 'time' or 'on_epoch' where not all members were trained to their end; else ''.
        seconds: wall time of the training.
    """

    members: list[Member]
    out_of_fold: Array | None
    stopped_by: str
    seconds: float


def fold_of_rows(y: npt.NDArray[Any], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Deal the rows to folds of the same size, and of the same share of each class.

    Args:
        y: (N,) classes; or (N, C) numbers, whose rows are dealt at random.
        folds: F.
        seed: of the deal.

    Returns:
        (N,) the fold of each row, 0 … F - 1.

    >>> np.bincount(fold_of_rows(np.array([0] * 6 + [1] * 3), 3, seed=0))
    array([3, 3, 3])
    """
    order = np.random.RandomState(seed).permutation(len(y))  # its numbers are frozen: the same rows for ever
    if y.ndim == 1:
        order = order[np.argsort(y[order], kind="stable")]
    fold = np.empty(len(y), dtype=np.int64)
    fold[order] = np.arange(len(y)) % folds
    return fold


@dataclass(frozen=True)
class Tools:
    """What the members of a pack are made and trained with.

    Attributes:
        loss: of all members.
        build: makes a member's network.
        optimize: makes its optimizer.
        device: where they are trained; all but the CPU trains one after the other.
        engine: on the CPU.
        time_limit: seconds for the training; on a GPU looked at between two members.
    """

    loss: Loss
    build: Callable[[Recipe], nn.Module]
    optimize: Callable[[nn.Module, Recipe], torch.optim.Optimizer]
    device: str
    engine: Literal["auto", "fused"]
    time_limit: float | None


@dataclass(frozen=True)
class PackJob:
    """A pack that can be trained: its networks are made, its rows are dealt.

    Attributes:
        data: the rows.
        recipes: of the members.
        settings: batch size, epochs, patience, folds.
        trials: the members' trainings, each with all that is its own.
        held_out: the rows that each member holds out.
        tools: what they are trained with.
        generator: state of torch's generator when all was made: what the user's own parts draw later, they draw from there.
    """

    data: PackData
    recipes: Sequence[Recipe]
    settings: FitSettings
    trials: Sequence[Trial]
    held_out: Sequence[Rows]
    tools: Tools
    generator: torch.Tensor

    def finished(self, histories: Sequence[History], seconds: float) -> Pack:
        """Return what the trainings came to: the members, their vote, and predictions of the rows that each held out.

        Raises:
            TrainingError: no member could be trained; the message is the first one's reason.
            KeyboardInterrupt: Ctrl-C came before there was anything to keep.
        """
        members = [
            Member(trial.model.eval(), held, 0.0, float("nan"), history, recipe)
            for trial, held, history, recipe in zip(self.trials, self.held_out, histories, self.recipes, strict=True)
            if len(history)
        ]
        check_trained(members, (history.failure for history in histories))
        cut = next((history.stopped_by for history in histories if history.stopped_by in CUTS), "")
        return Pack(members, elect(self.data, members), cut, seconds)


def check_trained(members: Sequence[Member], failures: Iterable[str]) -> None:
    """Check that there are members to vote.

    Args:
        members: those that learnt something.
        failures: why others did not, '' where they were stopped.

    Raises:
        TrainingError: all failed; the message is the first one's reason.
        KeyboardInterrupt: the training was stopped before there was anything to keep.
    """
    if members:
        return
    if reason := next(filter(None, failures), ""):
        raise TrainingError(f"no network could be trained: {reason}")
    raise KeyboardInterrupt


def make_pack_job(data: PackData, recipes: Sequence[Recipe], settings: FitSettings, tools: Tools) -> PackJob:
    """Make the members' networks and optimizers, drawing from torch's generator in their order, and deal the rows.

    The arguments are attributes of ``PackJob``.
    """
    held_out, trials = [], []
    fold_of = cache(lambda group: fold_of_rows(data.y.numpy(), settings.folds, recipes[0].seed + group))
    for recipe in recipes:
        is_held = np.zeros(len(data.x), dtype=bool) if recipe.fold < 0 else fold_of(recipe.group) == recipe.fold
        held_out.append(np.flatnonzero(is_held))
        trials.append(_trial(data, is_held, recipe, settings, tools))
    # Now, so that a member's numbers are its own wherever it is trained.
    for trial in trials if tools.engine == "fused" and tools.device == "cpu" else ():
        trial.options["dropout_seed"] = draw_dropout_seed(trial.model)
    return PackJob(data, recipes, settings, trials, held_out, tools, torch.get_rng_state())


@contextlib.contextmanager
def bounded(optimizer: torch.optim.Optimizer, network: nn.Module, recipe: Recipe) -> Iterator[None]:
    """Have an optimizer keep the signs of a monotone network inside; a copy of an optimizer would not have the hook."""
    if recipe.monotone is None:
        yield
        return
    hook = optimizer.register_step_post_hook(recipe.monotone.bounds(network, recipe.shape))
    try:
        yield
    finally:
        hook.remove()


def _trial(
    data: PackData, is_held: npt.NDArray[np.bool_], recipe: Recipe, settings: FitSettings, tools: Tools
) -> Trial:
    n_held = int(is_held.sum())
    x, y, weight = data.part(np.flatnonzero(~is_held) if n_held else slice(None))  # which copies nothing
    held = data.part(np.flatnonzero(is_held)) if n_held else data.validation
    validation: tuple[Any, ...] | None = None
    if held is not None:
        validation = (held[0], recipe.targets(held[1], data.target), *(() if held[2] is None else held[2:]))
    n_steps = settings.epochs * -(-len(x) // min(settings.batch_size, len(x)))
    return member_trial(
        recipe, settings, tools, n_steps, x=x, y=recipe.targets(y, data.target), sample_weight=weight, epochs=settings.epochs,
        validation=validation, stopping=None if held is None else EarlyStopping(patience=settings.patience), seed=recipe.seed,
    )  # fmt: skip


def member_trial(recipe: Recipe, settings: FitSettings, tools: Tools, n_steps: int, **more: Any) -> Trial:
    """Make a member's network and optimizer; return its training of so many steps, with what all members share."""
    network = tools.build(recipe)
    optimizer = tools.optimize(network, recipe)
    if recipe.monotone is not None:
        optimizer.register_step_post_hook(recipe.monotone.bounds(network, recipe.shape))
    return Trial(
        network, optimizer, loss=tools.loss, batch_size=settings.batch_size, clip_grad_norm=1.0, scheduler_every="step",
        scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, partial(warmup_cosine, n_steps=n_steps)), **more,
    )  # fmt: skip
