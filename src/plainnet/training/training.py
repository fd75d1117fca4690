"""``train``: the hand-written loop of a first PyTorch tutorial, in one call, with the same numbers."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from plainnet.engines.engines import Engine, choose_engine
from plainnet.engines.job import Epoch, Job, Loss
from plainnet.engines.losses import RowWeightedLoss, setting_of
from plainnet.errors import LossDivergedError, TrainingError
from plainnet.settings import EarlyStopping
from plainnet.training.checks import (
    check_first_batch,
    check_kinds,
    check_last_batch,
    check_number,
    check_optimizer,
    check_seed,
    check_validation,
)
from plainnet.training.devices import choose_device, on_device
from plainnet.training.history import History
from plainnet.training.progress import progress_bar, say

__all__ = ["train"]


def train(
    model: nn.Module,
    x: Tensor | np.ndarray[Any, Any],
    y: Tensor | np.ndarray[Any, Any],
    *,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    batch_size: int | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    validation: tuple[Any, ...] | float | None = None,
    scheduler: Any = None,
    scheduler_every: Literal["epoch", "step"] = "epoch",
    stopping: EarlyStopping | None = None,
    sample_weight: Any = None,
    clip_grad_norm: float | None = None,
    device: str | torch.device = "auto",
    engine: Literal["auto", "eager", "fused"] = "auto",
    seed: int = 0,
    progress: bool = True,
    on_epoch: Callable[[Epoch], object] | None = None,
) -> History:
    """Train a network: the loop of forward, loss, zero the gradients, backward, step.

    The losses are those of the hand-written loop, step for step. Afterwards ``model`` and ``optimizer`` hold the
    trained state, on the device they came from, ready for plain PyTorch.

    Args:
        model: any ``nn.Module`` of one input. It stays in the mode (training or evaluation) it is in.
        x: (N, …) inputs, of the network's dtype.
        y: (N, …) targets, as the loss wants them.
        loss: any ``torch.nn`` loss, or a function (prediction, target) -> scalar tensor.
        optimizer: any ``torch.optim`` optimizer over the model's parameters, LBFGS included.
        epochs: passes over the rows, at least 1.
        batch_size: rows in a step; None: all N in one.
        shuffle: draw a new order for each epoch from ``torch.Generator().manual_seed(seed)``. A full batch keeps its
            order, as the sum over its rows does not depend on it.
        drop_last: leave out the last batch of an epoch where it is smaller.
        validation: (inputs, targets) whose loss is measured after each epoch, or the share of rows, in (0, 1), to
            hold out for it, drawn with ``seed``. A third entry is the rows' weights, used where sample_weight is.
        scheduler: any ``torch.optim.lr_scheduler`` of the optimizer.
        scheduler_every: 'epoch', or 'step' for schedules made for single steps, such as ``OneCycleLR``.
        stopping: when to stop early; None: train all epochs and keep the last weights.
        sample_weight: (N,) weight of each row, not negative; a weight of 2 counts like a row that is there twice.
        clip_grad_norm: largest norm of the whole gradient; a larger gradient is scaled down to it.
        device: 'auto' (where the network is; if that is the CPU: CUDA or MPS where there is one), or a torch device.
        engine: 'eager', the plain loop; 'fused', whole epochs in compiled code on the CPU, with the same losses to 1e-5 and a
            network and an optimizer that are up to date when ``train`` returns, or at each epoch where ``on_epoch`` is
            given; 'auto', the fused engine where it can and is ready. ``History.engine_reason`` says which, and why.
        seed: of the shuffle and the held-out rows. Initial weights and dropout come from torch's own generator.
        progress: show a progress bar on an interactive terminal.
        on_epoch: called with each Epoch; returning True stops the training.

    Returns:
        The history of all epochs. Ctrl-C ends the training and returns the history so far.

    Raises:
        TrainingError: network, data, loss and optimizer do not fit together; raised before the first step.
        SettingError: a number among the settings is outside its range.
        LossDivergedError: the loss became NaN or infinite. It carries the ``history``; the network has the weights of
            the last good epoch.

    >>> import torch
    >>> from torch import nn
    >>> _ = torch.manual_seed(0)
    >>> model = nn.Sequential(nn.Linear(10, 15), nn.ReLU(), nn.Linear(15, 1), nn.Sigmoid())
    >>> x, y = torch.randn(100, 10), torch.randint(0, 2, (100, 1)).float()
    >>> history = train(model, x, y, loss=nn.MSELoss(), optimizer=torch.optim.SGD(model.parameters(), lr=0.01), epochs=9, engine='fused')
    >>> len(history.losses), history.engine
    (9, 'fused')
    """
    check_number("epochs", epochs, whole=True, least=1, optional=False)
    check_number("batch_size", batch_size, whole=True, least=1)
    check_number("clip_grad_norm", clip_grad_norm, above=0)
    seed = check_seed(seed)
    check_kinds(model, loss, optimizer)
    x, y = _tensor("x", x), _tensor("y", y)
    is_sum = setting_of(loss, "reduction", "mean") == "sum"
    weight = None if sample_weight is None else _row_weights(sample_weight, len(x), scaled=not is_sum)
    check_optimizer(model, optimizer, scheduler, scheduler_every)
    (x, y, weight), held_out = _hold_out(x, y, weight, validation, seed, scaled=not is_sum)
    size = min(batch_size or len(x), max(len(x), 1))

    with on_device(model, optimizer, choose_device(device, model, x)) as target_device:
        x, y = x.to(target_device), y.to(target_device)
        check_first_batch(model, x, y, loss, size)
        check_last_batch(model, x, size, drop_last=drop_last)
        weight, held_out = _move(weight, target_device), _move(held_out, target_device)
        if held_out is not None:
            if x.shape[1:] != held_out[0].shape[1:] or y.shape[1:] != held_out[1].shape[1:]:
                raise TrainingError(
                    f"validation rows have the shapes {tuple(held_out[0].shape)} and {tuple(held_out[1].shape)}, training "
                    f"rows {tuple(x.shape)} and {tuple(y.shape)}: all but the first number have to agree."
                )
            check_validation(model, held_out[0], held_out[1], loss)
        job = Job(
            model=model,
            x=x,
            y=y,
            loss=loss if weight is None else RowWeightedLoss(loss),
            optimizer=optimizer,
            epochs=epochs,
            batch_size=size,
            shuffle=shuffle,
            drop_last=drop_last,
            seed=seed,
            weight=weight,
            validation=held_out,
            scheduler=scheduler,
            scheduler_every=scheduler_every,
            stopping=stopping,
            clip_grad_norm=clip_grad_norm,
            closure=_needs_closure(optimizer),
            epoch_by_epoch=on_epoch is not None,
        )
        return _record(job, choose_engine(job, engine), progress=progress, on_epoch=on_epoch)


def _record(job: Job, engine: Engine, *, progress: bool, on_epoch: Callable[[Epoch], object] | None) -> History:
    """Drive the engine and write down what it yields."""
    history = History(engine=engine.name, engine_reason=engine.reason)
    if engine.note and progress:
        say(engine.note)
    # Closed at once, however the loop is left: closing restores the best weights.
    with contextlib.closing(engine.run(job)) as epochs, progress_bar(job.epochs, shown=progress) as show:  # type: ignore[type-var]
        try:
            for epoch in epochs:
                history.epochs.append(epoch)
                show(epoch)
                if on_epoch is not None and on_epoch(epoch) is True:
                    history.stopped_by = "on_epoch"
                    break
        except KeyboardInterrupt:
            history.stopped_by = "interrupt"
        except LossDivergedError as error:
            history.stopped_by = "divergence"
            error.history = history
            raise
    if history.stopped_by == "" and len(history.epochs) < job.epochs:
        history.stopped_by = "patience"
    history.restored_best = job.stopping is not None and job.stopping.restore_best and bool(history.epochs)
    return history


def _tensor(name: str, values: Any) -> Tensor:
    """Return inputs or targets as a tensor; what torch cannot hold of NumPy's is converted."""
    tensor = None
    if isinstance(values, Tensor):
        tensor = values.detach().clone() if values.is_inference() else values.detach()
    elif isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        native = np.float64 if values.dtype == np.longdouble else values.dtype.newbyteorder("=")
        array = np.ascontiguousarray(values, dtype=native)
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy()).reshape(values.shape)
    if tensor is not None and tensor.layout != torch.strided:
        raise TrainingError(
            f"{name} is a sparse tensor, which the loop cannot cut into batches: pass {name}.to_dense()."
        )
    if tensor is not None and tensor.ndim == 0:
        raise TrainingError(f"{name} is a single number, {tensor.item():g}; its first dimension has to be the rows.")
    if tensor is not None:
        return tensor
    what = f"a NumPy array of {values.dtype}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
    advice = "Pass its .toarray()." if hasattr(values, "toarray") else "For a table use NetClassifier or NetRegressor."
    raise TrainingError(f"{name} is a torch tensor or a NumPy array of numbers, not {what}. {advice}")


def _row_weights(sample_weight: Any, n_rows: int, *, scaled: bool) -> Tensor:
    """Check the weights and, for a loss that is a mean, scale them to mean 1."""
    try:
        is_tensor = isinstance(sample_weight, Tensor)
        weight = sample_weight if is_tensor else torch.from_numpy(np.array(sample_weight, dtype=np.float64))
        weight = weight.detach().cpu().double()
    except (TypeError, ValueError) as error:
        raise TrainingError(
            f"sample_weight is {sample_weight!r:.60}, and has to be a number for each of the {n_rows} rows."
        ) from error
    if weight.shape != (n_rows,):
        raise TrainingError(
            f"sample_weight has shape {tuple(weight.shape)}, and x has {n_rows} rows: pass shape ({n_rows},)."
        )
    if not bool((weight >= 0).all()) or not bool(weight.isfinite().all()) or float(weight.sum()) <= 0:
        raise TrainingError("sample_weight holds a negative, NaN or infinite weight, or only zeros.")
    return (weight / weight.mean() if scaled else weight).float()


def _hold_out(
    x: Tensor, y: Tensor, weight: Tensor | None, validation: Any, seed: int, *, scaled: bool
) -> tuple[tuple[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor, Tensor | None] | None]:
    """Return the training rows and the validation rows, each (x, y, weight)."""
    if len(x) != len(y):
        raise TrainingError(f"x has {len(x)} rows and y has {len(y)}: each row of x needs its target.")
    if validation is None:
        return (x, y, weight), None
    if isinstance(validation, tuple | list) and len(validation) in (2, 3):
        valid_x, valid_y = _tensor("the validation x", validation[0]), _tensor("the validation y", validation[1])
        if len(valid_x) != len(valid_y) or len(valid_x) == 0:
            raise TrainingError(f"the validation x has {len(valid_x)} rows and the validation y has {len(valid_y)}.")
        valid_weight = (
            torch.ones(len(valid_x))
            if len(validation) == 2
            else _row_weights(validation[2], len(valid_x), scaled=scaled)
        )
        return (x, y, weight), (valid_x, valid_y, None if weight is None else valid_weight)
    if isinstance(validation, Real) and 0 < float(validation) < 1:
        n_held_out = max(1, round(float(validation) * len(x)))
        if n_held_out >= len(x):
            raise TrainingError(f"validation={validation} of {len(x)} rows leaves none to train on.")
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
        kept, held = order[n_held_out:].sort().values, order[:n_held_out].sort().values
        parts = [
            (x[rows], y[rows], None if weight is None else weight[rows.to(weight.device)]) for rows in (kept, held)
        ]
        return parts[0], parts[1]
    raise TrainingError(
        f"validation is a pair (x, y), or the share of rows to hold out, in (0, 1), not {validation!r:.80}."
    )


def _move(parts: Any, device: torch.device) -> Any:
    if parts is None:
        return None
    return parts.to(device) if isinstance(parts, Tensor) else tuple(_move(part, device) for part in parts)


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether ``optimizer.step`` cannot be called without a closure, as LBFGS's."""
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return isinstance(optimizer, torch.optim.LBFGS) or (
        closure is not None and closure.default is inspect.Parameter.empty
    )
