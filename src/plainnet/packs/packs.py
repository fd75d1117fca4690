"""An encoded table  ->  many plain networks, trained at once, voting.

One network is good; some that hold out different rows, start elsewhere and see numbers in different bins are better together,
as their errors differ (Hansen and Salamon, "Neural Network Ensembles", 1990, doi:10.1109/34.58871). Each member is kept at
the epoch that is best on the rows it holds out, so that all rows are trained on and all are predicted by networks that never
saw them: these out-of-fold predictions choose the weights of the vote, and are an honest score that costs nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from time import perf_counter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from plainnet.engines.job import Epoch, Epochs, Loss
from plainnet.errors import SettingError, TrainingError
from plainnet.networks.networks import parameter_groups
from plainnet.packs.members import Member, PackData, Recipe, Rows
from plainnet.packs.voting import elect
from plainnet.settings import EarlyStopping, FitSettings
from plainnet.training.checkpoints import Checkpoints
from plainnet.training.history import History
from plainnet.training.many import OnEpochs, Trial, train_many
from plainnet.training.schedules import warmup_cosine
from plainnet.training.training import train

__all__ = ["CUTS", "Pack", "adamw", "bounded", "fold_of_rows", "pass_over", "train_all", "train_pack"]

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


def train_pack(
    data: PackData,
    recipes: Sequence[Recipe],
    settings: FitSettings,
    *,
    loss: Loss,
    build: Callable[[Recipe], nn.Module],
    optimize: Callable[[nn.Module, Recipe], torch.optim.Optimizer],
    device: str = "cpu",
    engine: Literal["auto", "fused"] = "fused",
    time_limit: float | None = None,
    progress: bool = False,
    on_epochs: OnEpochs | None = None,
    checkpoints: Checkpoints | None = None,
) -> Pack:
    """Train the members, choose the weights of their vote, and predict the rows that each held out.

    Args:
        data: the rows.
        recipes: of the members; they share torch's random generator, in their order.
        settings: batch size, epochs, patience, folds.
        loss: of all members.
        build: makes a member's network.
        optimize: makes its optimizer.
        device: where they are trained; all but the CPU trains one after the other.
        engine: on the CPU.
        time_limit: seconds for the training; on a GPU looked at between two members.
        progress: show a progress bar.
        on_epochs: as for ``train_many``; the number is the member's.
        checkpoints: as for ``train_many``, on the CPU alone; the time they have seen counts for the limit.

    Raises:
        TrainingError: no member could be trained; the message is the first one's reason.
        SettingError: checkpoints are asked for, and it is not the fused engine on the CPU that trains.
        RunError: the checkpoints are of another training.
    """
    held_out, trials, signs = [], [], contextlib.ExitStack()
    folds: dict[int, npt.NDArray[np.int64]] = {}
    for recipe in recipes:
        kept = np.arange(len(data.x))
        held = kept[:0]
        if recipe.fold >= 0:
            if recipe.group not in folds:
                folds[recipe.group] = fold_of_rows(data.y.numpy(), settings.folds, recipes[0].seed + recipe.group)
            kept, held = kept[folds[recipe.group] != recipe.fold], kept[folds[recipe.group] == recipe.fold]
        held_out.append(held)
        network = build(recipe)
        optimizer = optimize(network, recipe)
        signs.enter_context(bounded(optimizer, network, recipe))
        trials.append(_trial(network, optimizer, data, kept, held, settings, recipe))
    if checkpoints is not None:
        _begin(checkpoints, data, recipes, settings, trials, device)
        if time_limit is not None:
            time_limit = max(time_limit - checkpoints.seconds, 1e-9)
    started = perf_counter() - (0.0 if checkpoints is None else checkpoints.seconds)
    with signs:
        histories = train_all(
            trials, loss, device, engine, time_limit, progress=progress, on_epochs=on_epochs, checkpoints=checkpoints
        )
    seconds = perf_counter() - started
    members = [
        Member(trial.model.eval(), held, 0.0, float("nan"), history, recipe)
        for trial, held, history, recipe in zip(trials, held_out, histories, recipes, strict=True)
        if len(history)
    ]
    if not members:
        reasons = [history.failure for history in histories if history.failure]
        if not reasons:
            raise KeyboardInterrupt  # stopped before there was anything to keep
        raise TrainingError(f"no network could be trained: {reasons[0]}")
    cut = next((history.stopped_by for history in histories if history.stopped_by in CUTS), "")
    return Pack(members, elect(data, members), cut, seconds)


def _begin(
    checkpoints: Checkpoints,
    data: PackData,
    recipes: Sequence[Recipe],
    settings: FitSettings,
    trials: Sequence[Trial],
    device: str,
) -> None:
    """Tell checkpoints which training begins, by all that its numbers follow from: the rows, the recipes, the first weights."""
    if device != "cpu":
        raise SettingError(
            f"checkpoints are kept of networks that train on the CPU, and these train on {device}: pass device='cpu', or keep none."
        )
    digest = hashlib.sha256(repr((settings, list(recipes))).encode())
    held = () if data.validation is None else data.validation
    tensors = [data.x, data.y, data.weight, *held]
    tensors += [tensor for trial in trials for tensor in trial.model.state_dict().values()]
    for tensor in tensors:
        if tensor is not None:
            digest.update(np.ascontiguousarray(tensor).data)
    checkpoints.begin(digest.hexdigest())


def train_all(
    trials: Sequence[Trial],
    loss: Loss,
    device: str,
    engine: Literal["auto", "fused"],
    time_limit: float | None,
    *,
    progress: bool = False,
    on_epochs: OnEpochs | None = None,
    checkpoints: Checkpoints | None = None,
) -> list[History]:
    """Train networks: at once on the CPU, one after the other elsewhere. The arguments are those of ``train_pack``."""
    if device == "cpu":
        return train_many(
            trials, loss=loss, engine=engine, time_limit=time_limit, progress=progress, on_epochs=on_epochs,
            checkpoints=checkpoints,
        )  # fmt: skip
    return _train_in_turn(trials, loss, device, time_limit, progress=progress, on_epochs=on_epochs)


def _train_in_turn(
    trials: Sequence[Trial],
    loss: Loss,
    device: str,
    time_limit: float | None,
    *,
    progress: bool,
    on_epochs: OnEpochs | None = None,
) -> list[History]:
    """Train one after the other on a GPU, until Ctrl-C or, between two of them, the time limit ends it."""
    histories: list[History] = []
    deadline = perf_counter() + (time_limit or inf)
    for number, trial in enumerate(trials):
        last = histories[-1].stopped_by if histories else ""
        stopped_by = last if last in ("interrupt", "on_epoch") else ""
        stopped_by = stopped_by or ("time" if histories and perf_counter() > deadline else "")
        histories.append(
            History("", "", stopped_by=stopped_by)
            if stopped_by
            else train(
                trial.model,
                optimizer=trial.optimizer,
                loss=loss,
                device=device,
                progress=progress,
                on_epoch=None if on_epochs is None else _each_of(on_epochs, number, trial.model),
                **trial.options,
            )
        )
    return histories


def _each_of(on_epochs: OnEpochs, number: int, model: nn.Module) -> Callable[[Epoch], object]:
    return lambda epoch: on_epochs(number, model, Epochs([epoch]))


def pass_over(
    member: Member,
    optimizer: torch.optim.Optimizer,
    data: PackData,
    *,
    loss: Loss,
    batch_size: int,
    seed: int,
    **options: Any,
) -> None:
    """Train a member for one pass over rows, at the optimizer's rate, and add the epoch to its history.

    Args:
        member: what is trained.
        optimizer: over its parameters.
        data: the rows.
        loss: to minimise.
        batch_size: rows in a step.
        seed: of the shuffle.
        options: further ones of ``train``: device, engine, progress.
    """
    with bounded(optimizer, member.network, member.recipe):
        history = train(
            member.network, data.x, member.recipe.targets(data.y, data.target), loss=loss, optimizer=optimizer, epochs=1,
            batch_size=batch_size, sample_weight=data.weight, clip_grad_norm=1.0, seed=seed + len(member.history), **options,
        )  # fmt: skip
    member.network.eval()
    passed = len(member.history)
    news = [replace(epoch, index=epoch.index + passed) for epoch in history.epochs]
    history.epochs = Epochs([*member.history.epochs, *news])
    member.history = history


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
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: PackData,
    kept: Rows,
    held: Rows,
    settings: FitSettings,
    recipe: Recipe,
) -> Trial:
    weight = data.weight

    validation: tuple[Any, ...] | None = None
    if len(held):
        validation = (data.x[held], recipe.targets(data.y[held], data.target), None if weight is None else weight[held])
    elif data.validation is not None:
        validation = (data.validation[0], recipe.targets(data.validation[1], data.target), data.validation[2])
    if validation is not None and validation[2] is None:
        validation = validation[:2]
    n_steps = settings.epochs * -(-len(kept) // min(settings.batch_size, len(kept)))
    everything = len(kept) == len(data.x)
    return Trial(
        network,
        optimizer,
        x=data.x if everything else data.x[kept],
        y=recipe.targets(data.y if everything else data.y[kept], data.target),
        sample_weight=None if weight is None else weight[kept],
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        validation=validation,
        scheduler=torch.optim.lr_scheduler.LambdaLR(optimizer, partial(warmup_cosine, n_steps=n_steps)),
        scheduler_every="step",
        stopping=EarlyStopping(patience=settings.patience) if validation is not None else None,
        clip_grad_norm=1.0,
        seed=recipe.seed,
    )


def adamw(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return a member's default optimizer.

    β₂ = 0.95: with 0.999 RealMLP's error is 2 % (classes) to 23 % (numbers) higher; arXiv:2407.04491, table B.1.
    """
    groups = parameter_groups(network, recipe.weight_decay)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95))
