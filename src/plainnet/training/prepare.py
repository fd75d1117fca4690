"""From what the user handed in to a Job: read, checked, on one device."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator
from numbers import Real
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from plainnet.engines.job import Job, Loss
from plainnet.engines.losses import RowWeightedLoss, is_sum
from plainnet.errors import TrainingError
from plainnet.settings import check_number
from plainnet.training import checks
from plainnet.training.devices import choose_device, on_device

__all__ = ["prepared"]

#: x, y and weight of some rows.
Rows = tuple[Tensor, Tensor, Tensor | None]


@contextlib.contextmanager
def prepared(
    model: nn.Module,
    x: Any,
    y: Any,
    *,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    epochs: int,
    batch_size: int | None = None,
    drop_last: bool = False,
    validation: Any = None,
    scheduler: Any = None,
    scheduler_every: Literal["epoch", "step"] = "epoch",
    sample_weight: Any = None,
    clip_grad_norm: float | None = None,
    device: str | torch.device = "auto",
    seed: int = 0,
    is_checked: bool = False,
    **others: Any,
) -> Iterator[Job]:
    """Check a training and make it a Job; the network is on the job's device inside the block.

    The arguments are those of ``plainnet.train``; ``is_checked``: the same training has been checked on other rows that are like these
    in all but their number; and what else a Job has.

    Raises:
        TrainingError: network, data, loss and optimizer do not fit together.
        SettingError: a setting is outside its range.
    """
    check_number("epochs", epochs, whole=True, least=1, optional=False)
    check_number("batch_size", batch_size, whole=True, least=1)
    check_number("clip_grad_norm", clip_grad_norm, above=0)
    seed = checks.check_seed(seed)
    checks.check_kinds(model, loss, optimizer)
    x, y = _tensor("x", x), _tensor("y", y)
    scaled = not is_sum(loss)
    weight = None if sample_weight is None else _row_weights(sample_weight, len(x), scaled=scaled)
    checks.check_optimizer(model, optimizer, scheduler, scheduler_every)
    (x, y, weight), held_out = _hold_out(x, y, weight, validation, seed, scaled=scaled)
    size = min(batch_size or len(x), max(len(x), 1))

    with on_device(model, optimizer, choose_device(device, model, x)) as target_device:
        x, y = x.to(target_device), y.to(target_device)
        if not is_checked:
            checks.check_first_batch(model, x, y, loss, size)
        checks.check_last_batch(model, x, size, drop_last=drop_last)
        weight, held_out = _move(weight, target_device), _move(held_out, target_device)
        if held_out is not None:
            if x.shape[1:] != held_out[0].shape[1:] or y.shape[1:] != held_out[1].shape[1:]:
                raise TrainingError(
                    f"validation rows have the shapes {tuple(held_out[0].shape)} and {tuple(held_out[1].shape)}, training "
                    f"rows {tuple(x.shape)} and {tuple(y.shape)}: all but the first number have to agree."
                )
            if not is_checked:
                checks.check_validation(model, held_out[0], held_out[1], loss)
        yield Job(
            model, x, y, loss if weight is None else RowWeightedLoss(loss), optimizer, epochs, size, drop_last=drop_last, seed=seed,
            weight=weight, validation=held_out, scheduler=scheduler, scheduler_every=scheduler_every, clip_grad_norm=clip_grad_norm,
            closure=_needs_closure(optimizer), **others,
        )  # fmt: skip


def _tensor(name: str, values: Any) -> Tensor:
    """Return inputs or targets as a tensor; what torch cannot hold of NumPy's is converted."""
    tensor = None
    if isinstance(values, Tensor):
        tensor = values.detach().clone() if values.is_inference() else values.detach()
    elif isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        native = np.float64 if values.dtype == np.longdouble else values.dtype.newbyteorder("=")
        array = np.ascontiguousarray(values, dtype=native)
        tensor = torch.from_numpy(array if array.flags.writeable else array.copy()).reshape(values.shape)
    if tensor is not None:
        if tensor.layout != torch.strided:
            raise TrainingError(
                f"{name} is a sparse tensor, which the loop cannot cut into batches: pass {name}.to_dense()."
            )
        if tensor.ndim == 0:
            raise TrainingError(
                f"{name} is a single number, {tensor.item():g}; its first dimension has to be the rows."
            )
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
        raise TrainingError(
            "sample_weight holds a negative, NaN or infinite weight, or only zeros: weights are numbers from 0, one at least above."
        )
    return (weight / weight.mean() if scaled else weight).float()


def _hold_out(
    x: Tensor, y: Tensor, weight: Tensor | None, validation: Any, seed: int, *, scaled: bool
) -> tuple[Rows, Rows | None]:
    """Return the training rows and the validation rows, each (x, y, weight)."""
    if len(x) != len(y):
        raise TrainingError(f"x has {len(x)} rows and y has {len(y)}: each row of x needs its target.")
    if validation is None:
        return (x, y, weight), None
    if isinstance(validation, tuple | list) and len(validation) in (2, 3):
        valid_x, valid_y, *given = validation
        valid_x, valid_y = _tensor("the validation x", valid_x), _tensor("the validation y", valid_y)
        if len(valid_x) != len(valid_y) or len(valid_x) == 0:
            raise TrainingError(
                f"the validation x has {len(valid_x)} rows and the validation y has {len(valid_y)}: each row of x needs its target."
            )
        valid_weight = _row_weights(given[0], len(valid_x), scaled=scaled) if given else torch.ones(len(valid_x))
        return (x, y, weight), (valid_x, valid_y, None if weight is None else valid_weight)
    if isinstance(validation, Real) and 0 < float(validation) < 1:
        n_held_out = max(1, round(float(validation) * len(x)))
        if n_held_out >= len(x):
            raise TrainingError(
                f"validation={validation} of {len(x)} rows leaves none to train on: pass a smaller share."
            )
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)

        def taken(rows: Tensor) -> Rows:
            return x[rows], y[rows], None if weight is None else weight[rows.to(weight.device)]

        return taken(order[n_held_out:].sort().values), taken(order[:n_held_out].sort().values)
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
