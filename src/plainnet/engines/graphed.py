"""The graphed engine: the eager loop on a GPU, its step recorded once as a CUDA graph and replayed.

A small network's step is a few dozen kernels of microseconds each, and launching them from Python takes longer than running
them. A CUDA graph launches all of them at once (https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs). The loop
is the eager engine's own: only ``step`` is another. The first steps run as they are, which also warms up what CUDA sets up
lazily; the last, smaller batch of an epoch always does.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from plainnet.engines import eager
from plainnet.engines.job import Epoch, Job
from plainnet.errors import PlainnetWarning

__all__ = ["GraphedStep", "run"]

#: Steps that run as they are before one is recorded: torch asks for some, for what is set up at first use.
WARM_STEPS = 3


def record_on_cuda(work: Callable[[], None]) -> torch.cuda.CUDAGraph:
    """Record what work launches, as a CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph


def run(job: Job) -> Iterator[Epoch]:
    """Train, as ``eager.run`` does, on a CUDA device.

    Args:
        job: a checked training on a CUDA device.

    Yields:
        The record of each epoch.

    Raises:
        LossDivergedError: the loss became NaN or infinite; the network has the weights of the last good epoch.
    """
    with _capturable(job.optimizer, wanted=job.scheduler is None):
        yield from eager.run(job, GraphedStep(job))


class GraphedStep:
    """A step that is recorded once and then replayed on new rows.

    Without a scheduler the recording holds the optimizer's step, too. With one, whose rates a recording could not follow, the
    optimizer steps by itself on the recorded gradient; so does an optimizer that cannot be recorded.

    Args:
        job: the training.
        record: makes the recording, whose ``replay`` does the work again; another than ``record_on_cuda`` for tests.
    """

    def __init__(self, job: Job, record: Callable[[Callable[[], None]], Any] = record_on_cuda) -> None:
        self._record = record
        self._steps = 0
        self._recording: Any = None
        self._rows: tuple[Tensor | None, ...] = ()
        self._loss = torch.zeros(())
        self._gradients: list[tuple[Tensor, Tensor | None]] = []
        are_capturable = all(group.get("capturable") for group in job.optimizer.param_groups)
        self._holds_step = job.scheduler is None and (type(job.optimizer) is torch.optim.SGD or are_capturable)

    def __call__(self, job: Job, x: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
        """Take one step on one batch and return the loss before it."""
        self._steps += 1
        if self._recording is None and self._steps > WARM_STEPS and len(x) == job.batch_size and not job.closure:
            self._start(job, x, y, weight)
        if self._recording is None or len(x) != job.batch_size:
            return eager.step(job, x, y, weight)
        for own, new in zip(self._rows, (x, y, weight), strict=True):
            if own is not None and new is not None:
                own.copy_(new)
        self._recording.replay()
        if not self._holds_step:
            for parameter, gradient in self._gradients:
                parameter.grad = gradient  # a smaller batch has put its own there
            job.optimizer.step()
        return self._loss.clone()

    def _start(self, job: Job, x: Tensor, y: Tensor, weight: Tensor | None) -> None:
        """Record a step on rows of our own."""
        self._rows = (x.clone(), y.clone(), None if weight is None else weight.clone())
        rows: Any = self._rows

        def work() -> None:
            self._loss = eager.gradient(job, *rows)
            if self._holds_step:
                job.optimizer.step()

        job.optimizer.zero_grad()
        try:
            self._recording = self._record(work)
        except RuntimeError as error:
            self._steps = -(2**62)  # not again
            why = str(error).splitlines()[0]
            text = f"the step cannot be recorded as a CUDA graph, and is launched piece by piece: {why}"
            warnings.warn(text, PlainnetWarning, stacklevel=2)
        self._gradients = [(parameter, parameter.grad) for parameter in job.model.parameters()]


@contextlib.contextmanager
def _capturable(optimizer: torch.optim.Optimizer, *, wanted: bool) -> Iterator[None]:
    """Have an optimizer that can be recorded count its steps on the device, and on the CPU again afterwards."""
    groups = [group for group in optimizer.param_groups if group.get("capturable") is False] if wanted else []

    def count(*, on_device: bool) -> None:
        for group in groups:
            group["capturable"] = on_device
            for parameter in group["params"]:
                state = optimizer.state.get(parameter, {})
                for name in ("step", "mu_product"):
                    if isinstance(state.get(name), Tensor):
                        state[name] = state[name].to(parameter.device if on_device else "cpu")

    count(on_device=True)
    try:
        yield
    finally:
        count(on_device=False)
