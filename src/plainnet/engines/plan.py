"""What can be fused, as a program; or the sentence why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from plainnet.engines.eager import evaluating
from plainnet.engines.flat import FlatTensors
from plainnet.engines.job import Job
from plainnet.engines.planned_layers import LAYERS, lay
from plainnet.engines.planned_losses import Targets, lay_loss, plan_loss
from plainnet.engines.planned_optimizers import Spelling, bounds_of, check_optimizer
from plainnet.engines.program import PART_SIZE, PIECE_VECTORS, NotFusible, Operation, Program, cut, fitting
from plainnet.engines.trace import Call, trace
from plainnet.kernels import data
from plainnet.kernels.kernels import VECTOR_BYTES
from plainnet.kernels.state import X

__all__ = ["Part", "Plan", "make_plan", "part_of", "steps_of"]

#: The same where pieces of a part fit the cache, and threads share them: 8 MiB of float32.
SHARED_SIZE = 2**21
#: Multiplications of a forward pass from which a step is shared: a fifth of a millisecond in all.
SHARED_WORK = 3 * 10**6
#: Multiplications in a unit of the gradient of weights: some twenty microseconds.
UNIT_WORK = 2**20
#: Batches of fewer rows are kept row by row: the vectors would be mostly empty.
FEW_ROWS = 8


@dataclass(frozen=True)
class Part:
    """A program for part of a batch, and how large a part is.

    Attributes:
        operations: fetch the data, forward, loss, backward.
        n_fetches: how many of them fetch.
        scale: the operation that finds the loss's scale, or None.
        program: where things lie.
        outputs: of the network.
        rows: of a part.
        lead: numbers from one feature to the next.
        is_few: features of a row are neighbours.
        piece: rows of a unit of work that threads share; 0: the step is one thread's.
        units: of the gradient of weights: (which of ``program.weights``, first output, outputs).
    """

    operations: list[Operation]
    n_fetches: int
    scale: Operation | None
    program: Program
    outputs: int
    rows: int = 0
    lead: int = 0
    is_few: bool = False
    piece: int = 0
    units: Sequence[tuple[int, int, int]] = ()


@dataclass(frozen=True)
class Plan:
    """A training that can be fused.

    Attributes:
        dtype: 'float32' or 'float64'.
        flat: the network's tensors.
        train, valid: programs for training and for validation rows (None without).
        targets: what the loss reads.
        spelling: the optimizer's kernel; None: torch takes the steps.
        has_bounds: parameters are kept between bounds.
    """

    dtype: str
    flat: FlatTensors
    train: Part
    valid: Part | None
    targets: Targets
    spelling: Spelling | None
    has_bounds: bool = False


def make_plan(job: Job, dropout_seed: int = 0) -> Plan:
    """Plan a training.

    Raises:
        NotFusible: it cannot be fused; the message says why.
    """
    if job.closure:
        raise NotFusible(f"{type(job.optimizer).__name__} measures the loss several times in a step")
    parameters = list(job.model.parameters())
    dtype = check_tensors(parameters, job.x)
    if job.y.is_floating_point() and job.y.dtype != job.x.dtype:
        raise NotFusible(f"y is {job.y.dtype} and x is {job.x.dtype}")
    spelling = check_optimizer(job.optimizer, {id(parameter) for parameter in parameters})
    bounds = bounds_of(job.optimizer)
    calls = steps_of(job.model)
    held = {id(parameter) for group in job.optimizer.param_groups for parameter in group["params"]}
    if job.clip_grad_norm is not None and any(p.requires_grad and id(p) not in held for p in parameters):
        raise NotFusible(
            "the gradient that is clipped has parts that the optimizer does not hold, and sums them up step by step"
        )
    flat = FlatTensors(job.model, calls, job.optimizer.param_groups, dtype)
    if not bounds.keys() <= flat.trainable:
        raise NotFusible("WeightBounds keep parameters that have no gradient")
    features = job.x[0].numel()
    check_flattened(calls, job.x)
    targets = plan_loss(job.loss, job.y, _lay(calls, flat, features, 1, None, None).outputs)
    train = part_of(calls, flat, features, min(job.batch_size, len(job.x)), targets, dropout_seed)
    valid = None
    if job.validation is not None:
        judged = steps_of(job.model, evaluates=True)
        valid = part_of(judged, flat, features, len(job.validation[0]), targets)
    return Plan(dtype, flat, train, valid, targets, spelling, bool(bounds))


def check_tensors(parameters: list[nn.Parameter], x: Tensor) -> str:
    """Return the common number type of parameters and x."""
    dtype = parameters[0].dtype
    if dtype not in (torch.float32, torch.float64):
        raise NotFusible(f"the network's weights are {str(dtype).removeprefix('torch.')}")
    for tensor in (*parameters, x):
        if tensor.device.type != "cpu":
            raise NotFusible(f"the network is on {tensor.device.type}")
        if tensor.dtype != dtype or tensor.layout is not torch.strided:
            raise NotFusible("the network's weights and x are not all of one type")
    return str(dtype).removeprefix("torch.")


def check_flattened(calls: list[Call], x: Tensor) -> None:
    """Refuse x of more than two dimensions where the network does not flatten it first."""
    if x.ndim != 2 and not (x.ndim > 2 and calls and isinstance(calls[0].module, nn.Flatten)):
        raise NotFusible(f"x has shape {tuple(x.shape)}, not (rows, features)")


def steps_of(model: nn.Module, *, evaluates: bool = False) -> list[Call]:
    """Trace a network, as it is or in evaluation mode."""
    if not evaluates:
        return trace(model, tuple(LAYERS))
    with evaluating(model):
        return trace(model, tuple(LAYERS))


def part_of(
    calls: list[Call], flat: FlatTensors, features: int, rows: int, targets: Targets | None, seed: int | None = None
) -> Part:
    """Lay out the program for batches of ``rows`` rows.

    It trains with ``seed``, that of dropout; without one it measures the loss, and without targets it predicts.

    Where a batch is too large for the cache, it is cut: into pieces of rows that threads share, or, where a layer has to see
    more than a piece, into parts whose gradients are added.
    """
    trains = seed is not None
    per_row = _lay(calls, flat, features, 1, targets, seed).program
    # Predictions are the same to the last bit however many rows are predicted together.
    is_few = trains and rows < FEW_ROWS and not per_row.by_features
    piece = PIECE_VECTORS * VECTOR_BYTES // flat.values.itemsize
    shares = trains and not is_few and per_row.splits and rows > piece and rows * len(flat.values) >= SHARED_WORK
    most = fitting(per_row, SHARED_SIZE if shares else PART_SIZE, flat.values.itemsize)
    most = rows if per_row.needs_whole_batch else most
    part, lead = (rows, rows) if is_few else cut(rows, most, flat.values.itemsize)
    laid = _lay(calls, flat, features, lead, targets, seed)
    units = [
        (number, first, size)
        for number, (operation, outputs) in enumerate(laid.program.weights)
        for size in [max(1, -(-UNIT_WORK // (operation.words[2] * part * 4))) * 4]
        for first in range(0, outputs, size)
    ]
    return replace(laid, rows=part, lead=lead, is_few=is_few, piece=piece if shares else 0, units=units)


def _lay(
    calls: list[Call], flat: FlatTensors, features: int, lead: int, targets: Targets | None, seed: int | None
) -> Part:
    """Lay out the program; how large a part is, is not said yet."""
    program = Program(lead, flat.places, set() if seed is None else flat.trainable, seed or 0, evaluates=seed is None)
    x = program.value(features, needs_gradient=False)
    fetches = [Operation(data.gather, (x.place, features, X))]
    prediction = lay(program, calls, x)
    scale = None
    if targets is None:
        program.forward.append(Operation(data.emit, (prediction.place, prediction.features)))
    else:
        more, scale = lay_loss(program, targets, prediction)
        fetches += more
    return Part([*fetches, *program.operations()], len(fetches), scale, program, prediction.features)
