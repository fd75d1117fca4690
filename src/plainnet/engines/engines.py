"""Which engine runs a job, and why, in words.

Every engine is a function ``run(job) -> Iterator[Epochs]``. The eager engine is the specification: any other engine
has to give its numbers. The fused engine needs Numba, whose import takes a third of a second: it is looked at only where the
network is on the CPU.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from plainnet.engines import eager, graphed
from plainnet.engines.job import Epoch, Epochs, Job
from plainnet.errors import SettingError, TrainingError

if TYPE_CHECKING:
    from plainnet.engines.plan import Plan

__all__ = ["Engine", "choose_engine", "each_alone"]

#: Seconds to compile the kernels of a usual network, and of a step of the eager loop: the loop itself and each layer.
COMPILE_SECONDS = 6.0
STEP_SECONDS, LAYER_SECONDS = 1e-4, 2e-5

#: Parameters, and parameters × rows of a batch, from which PyTorch's threads are sooner. With BatchNorm a step is one thread's:
#: 1 024 rows through 256-256 take 6.4 ms fused, 6.2 ms eager; 2 048 through 512-512 45 and 27 ms. With LayerNorm 29 and 24 ms.
WIDE_BATCH_NORM, WIDE_LAYER_NORM = (50_000, 5e7), (200_000, 3e8)


@dataclass(frozen=True)
class Engine:
    """An engine that was chosen for a job.

    Attributes:
        name: the engine's name, as ``History.engine`` shows it.
        reason: why this engine, in words.
        run: starts the job; each ``next`` trains one epoch, or those of a compiled call. It takes ``alone`` and ``standing``, too, as
            ``fused.run`` does, which is the only one to heed them.
        note: what is to be said before it starts, as starting takes seconds; '' for nothing.
    """

    name: str
    reason: str
    run: Callable[..., Iterator[Epochs]]
    note: str = ""


def each_alone(run: Callable[[Job], Iterator[Epoch]]) -> Callable[..., Iterator[Epochs]]:
    """Return what yields each epoch as a list of one, closing the engine's own generator with its own."""

    def each(job: Job, **_: Any) -> Iterator[Epochs]:
        with contextlib.closing(run(job)) as epochs:  # type: ignore[type-var]
            for epoch in epochs:
                yield Epochs([epoch])

    return each


def choose_engine(job: Job, wanted: Literal["auto", "eager", "fused", "graphed"] = "auto") -> Engine:
    """Choose the engine for a job.

    Args:
        job: what is to be trained.
        wanted: an engine's name, or 'auto': the fastest that can.

    Returns:
        The engine.

    Raises:
        SettingError: there is no such engine.
        TrainingError: the engine that is wanted cannot run the job; the message says why.
    """
    if wanted not in ("auto", "eager", "fused", "graphed"):
        raise SettingError(f"engine is 'auto', 'eager', 'fused' or 'graphed', not {wanted!r}.")
    device = next(job.model.parameters()).device.type

    def plain(why: str) -> Engine:
        return Engine("eager", f"the plain PyTorch loop, on {device}{why}", each_alone(eager.run))

    if wanted == "eager":
        return plain(": it was asked for")
    if wanted == "graphed":
        if device != "cuda":
            raise TrainingError(f"engine='graphed' runs on CUDA, and the network is on {device}: pass engine='auto'.")
        return Engine("graphed", "the plain PyTorch loop, each step one CUDA graph", each_alone(graphed.run))
    if device != "cpu":
        if wanted == "fused":
            raise TrainingError(f"engine='fused' runs on the CPU, and the network is on {device}: pass device='cpu'.")
        return plain("")
    from plainnet.engines import fused
    from plainnet.engines.plan import make_plan
    from plainnet.engines.program import NotFusible
    from plainnet.kernels import kernels

    try:
        plan = make_plan(job, fused.dropout_seed_of(job))
    except NotFusible as no:
        if wanted == "fused":
            raise TrainingError(f"engine='fused' cannot train this: {no}. Pass engine='auto' or 'eager'.") from no
        return plain(f": {no}")
    if wanted == "auto" and torch.get_num_threads() > 1 and _is_sooner_in_torch(job, plan):
        return plain(": its threads are sooner done with normalisations this wide")
    is_compiled = all(kernels.is_cached(kernel, plan.dtype) for kernel in fused.kernels_of(plan))
    if not is_compiled and wanted == "auto" and kernels.waits(_eager_seconds(job), COMPILE_SECONDS):
        return plain(": sooner done than the fused engine is compiled, which is done once")
    note = "" if is_compiled else "compiling the engine for this CPU, once"
    return Engine("fused", "whole epochs in compiled code, on cpu", partial(fused.run, plan=plan), note)


def _eager_seconds(job: Job) -> float:
    """About how long the eager engine takes at least."""
    n_steps = job.epochs * -(-len(job.x) // job.batch_size)
    n_layers = sum(1 for _ in job.model.modules())
    n_products = 6 * sum(parameter.numel() for parameter in job.model.parameters()) * min(job.batch_size, len(job.x))
    return n_steps * (STEP_SECONDS + LAYER_SECONDS * n_layers + n_products / 1e11)


def _is_sooner_in_torch(job: Job, plan: Plan) -> bool:
    """Whether PyTorch's threads beat the fused engine on a step, as measured for ``WIDE_BATCH_NORM`` and ``WIDE_LAYER_NORM``."""
    modules = [type(module) for module in job.model.modules()]
    size = len(plan.flat.values)
    wide = ((nn.BatchNorm1d, WIDE_BATCH_NORM), (nn.LayerNorm, WIDE_LAYER_NORM))
    limits = [limit for kind, limit in wide if kind in modules]
    return any(size >= least and size * min(job.batch_size, len(job.x)) >= work for least, work in limits)
