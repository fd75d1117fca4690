"""Parameters, buffers and the optimizer's state as flat arrays, read from torch's tensors and written back to them.

The tensors stay the user's own: they are read before the first step and written, in place, after the last.
"""

from __future__ import annotations

from itertools import accumulate, groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from plainnet.engines.planned_optimizers import Spelling, bounds_of, initial
from plainnet.engines.program import NotFusible, Operation, Program
from plainnet.engines.trace import Call
from plainnet.kernels.kernels import compiled
from plainnet.kernels.linear import STEP_OF_SGD, linear
from plainnet.kernels.optimizers import OPTIMIZERS, within_bounds

__all__ = ["FlatOptimizer", "FlatTensors"]


class FlatTensors:
    """A network's tensors in one array: parameters in the order of the optimizer's groups, frozen ones, buffers.

    Attributes:
        tensors: the tensors, in the array's order.
        places: where each begins, by ``id``.
        values: the array.
        n_trainable: numbers of parameters with a gradient, which come first.
        n_parameters: with frozen ones.
    """

    def __init__(self, model: nn.Module, calls: list[Call], groups: list[dict[str, Any]], dtype: str) -> None:
        named = list(model.named_parameters(remove_duplicate=False))
        parameters = list(model.parameters())
        layers = [call.module for call in calls if isinstance(call.module, nn.Module)]
        with_parameters = [id(layer) for layer in layers if next(layer.parameters(), None) is not None]
        used = {id(parameter) for layer in layers for parameter in layer.parameters() if parameter.requires_grad}
        if len(named) != len(parameters) or len(set(with_parameters)) != len(with_parameters):
            raise NotFusible("two layers share a parameter")
        in_groups = [parameter for group in groups for parameter in group["params"] if id(parameter) in used]
        held = {id(parameter) for parameter in in_groups}
        others = [parameter for parameter in parameters if id(parameter) not in held]
        trainable = [*in_groups, *(parameter for parameter in others if id(parameter) in used)]
        # What no layer of the forward pass reads has no gradient, and torch's optimizers then leave it alone.
        frozen = [parameter for parameter in others if id(parameter) not in used]
        norms = [call.module for call in calls if isinstance(call.module, nn.BatchNorm1d)]
        buffers = [buffer for norm in norms for buffer in norm.buffers(recurse=False)]
        self.tensors: list[Tensor] = [*trainable, *frozen, *buffers]
        self.trainable = {id(parameter) for parameter in trainable}
        *firsts, size = accumulate((tensor.numel() for tensor in self.tensors), initial=0)
        self.places = dict(zip(map(id, self.tensors), firsts, strict=True))
        self.n_trainable = sum(parameter.numel() for parameter in trainable)
        self.n_parameters = self.n_trainable + sum(parameter.numel() for parameter in frozen)
        self.values: npt.NDArray[Any] = np.zeros(size, dtype=dtype)
        self._views = [self._view(tensor, self.values) for tensor in self.tensors]
        self.read()

    def _view(self, tensor: Tensor, flat: npt.NDArray[Any]) -> Tensor:
        """Return a tensor's place in an array as a tensor."""
        return torch.from_numpy(flat)[self.places[id(tensor)] :][: tensor.numel()].view(tensor.shape)

    def read(self) -> None:
        """Copy the tensors into the array."""
        for view, tensor in zip(self._views, self.tensors, strict=True):
            view.copy_(tensor.detach())

    def write(self) -> None:
        """Copy the array into the tensors, in place."""
        with torch.no_grad():
            for view, tensor in zip(self._views, self.tensors, strict=True):
                tensor.copy_(view)

    def gradients(self, flat: npt.NDArray[Any]) -> list[tuple[Tensor, Tensor]]:
        """Return (parameter, its part of the gradients as a tensor) for each parameter that has one."""
        return [(tensor, self._view(tensor, flat)) for tensor in self.tensors if id(tensor) in self.trainable]


class FlatOptimizer:
    """An optimizer's moments in one array, and the operations of its step.

    Attributes:
        values: the moments: one stretch of ``n_trainable`` numbers for each, then single numbers; then, where parameters have
            bounds, a stretch of the least and one of the largest values.
        operations: one for each run of neighbouring parameters, the group's number its first word; a run longer than
            ``longest`` has several.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, spelling: Spelling, flat: FlatTensors, *, longest: int | None = None
    ) -> None:
        self._optimizer, self._spelling, self._flat = optimizer, spelling, flat
        runs = self._runs()
        longest = None if spelling.kernel == "nadam" else longest  # its product of momenta grows once a step
        self._bounds = bounds_of(optimizer)
        self._first_bound = 3 * flat.n_trainable + len(runs)
        size = self._first_bound + (2 * flat.n_trainable if self._bounds else 0)
        self.values: npt.NDArray[Any] = np.zeros(size, dtype=flat.values.dtype)
        if self._bounds:
            self._write_bounds()
        self.operations: list[Operation] = []
        self._entries: list[tuple[Tensor, str, slice, dict[str, Any]]] = []
        self._steps = [(parameter, steps) for _, steps, parameters in runs for parameter in parameters]
        for number, (group_number, steps, parameters) in enumerate(runs):
            group = optimizer.param_groups[group_number]
            first = flat.places[id(parameters[0])]
            count = sum(parameter.numel() for parameter in parameters)
            moments = []
            for j, name in enumerate(spelling.moments(group)):
                is_single = name == "mu_product"
                base = 3 * flat.n_trainable + number if is_single else j * flat.n_trainable
                moments.append(base if is_single else base + first)
                for parameter in parameters if name is not None else []:
                    start = base if is_single else base + flat.places[id(parameter)]
                    length = 1 if is_single else parameter.numel()
                    self._entries.append((parameter, str(name), slice(start, start + length), group))
            flags = (int(group["maximize"]), *map(int, spelling.options(group)))
            has_bounds = any(id(parameter) in self._bounds for parameter in parameters)
            for start in range(0, count, longest or count):
                size = min(longest or count, count - start)
                places = [moment + start for moment in moments]
                words = (group_number, first + start, size, steps, *flags, *places)
                step = Operation(OPTIMIZERS[spelling.kernel], words)
                self.operations.append(self._bounded(step) if has_bounds else step)
        self.read()

    def _write_bounds(self) -> None:
        bounds = self.values[self._first_bound :].reshape(2, -1)
        bounds[:] = np.array([[-np.inf], [np.inf]])
        for parameter in self._flat.tensors:
            if id(parameter) in self._bounds:
                first = self._flat.places[id(parameter)]
                for row, own in zip(bounds, self._bounds[id(parameter)], strict=True):
                    row[first : first + parameter.numel()] = own.reshape(-1).numpy()

    def _bounded(self, step: Operation) -> Operation:
        """Return the operation that steps, and then brings the parameters back between their bounds."""
        address = compiled(step.kernel, str(self.values.dtype)).address
        least = self._first_bound + step.words[1]
        words = (*step.words, 0, 0, 0)[:10]  # an optimizer has up to three moments
        return Operation(within_bounds, (*words, address, least, least + self._flat.n_trainable))

    def step_at_once(self, program: Program) -> bool:
        """Have each linear layer step as its gradient is computed, where plain SGD allows it; return whether it does."""
        groups, steps = self._optimizer.param_groups, [operation for operation, _ in program.weights]
        group_of = {self._flat.places[id(parameter)]: number for number, parameter in self._stepped()}
        is_sgd = self._spelling.kernel == "sgd" and all(step.kernel is linear for step in steps)
        is_plain = is_sgd and not any(groups[i]["momentum"] or groups[i]["weight_decay"] for i in group_of.values())
        if not is_plain or self._bounds:
            return False
        pairs = [step.words[4:6] for step in steps]  # of weights and biases
        agree = all(bias < 0 or group_of.get(weight) == group_of.get(bias) for weight, bias in pairs)
        if not agree or sorted(place for pair in pairs for place in pair if place >= 0) != sorted(group_of):
            return False
        self.operations = []
        for step, (weight, _) in zip(steps, pairs, strict=True):
            number = group_of[weight]
            words = (number, *step.words[:8], STEP_OF_SGD, int(groups[number]["maximize"]))
            self.operations.append(Operation(step.kernel, words))
        return True

    def _stepped(self) -> list[tuple[int, Tensor]]:
        """Return the parameters that the optimizer steps, each with the number of its group."""
        groups = enumerate(self._optimizer.param_groups)
        return [(i, each) for i, group in groups for each in group["params"] if id(each) in self._flat.trainable]

    def _runs(self) -> list[tuple[int, int, list[Tensor]]]:
        """Return neighbouring parameters that one operation steps: (group, steps taken, parameters)."""
        rows = [(number, *self._begun(parameter), parameter) for number, parameter in self._stepped()]
        runs = groupby(rows, key=lambda row: row[:3])
        return [(group, steps, [row[3] for row in of_key]) for (group, steps, _), of_key in runs]

    def _begun(self, parameter: Tensor) -> tuple[int, float]:
        """How many steps this parameter has seen, and its product of momenta (NAdam's)."""
        state = self._optimizer.state.get(parameter, {})
        if not self._spelling.counts:
            return (0 if state.get("momentum_buffer") is None else 1), 1.0
        return int(state.get("step", 0)), float(state.get("mu_product", 1.0))

    def read(self) -> None:
        """Copy the optimizer's state into the array."""
        for parameter, name, place, group in self._entries:
            entry = self._optimizer.state.get(parameter, {}).get(name)
            value = initial(name, group) if entry is None else torch.as_tensor(entry).detach().reshape(-1).numpy()
            self.values[place] = value

    def write(self, steps: int) -> None:
        """Copy the array into the optimizer's state, in place where there is one, after so many more steps."""
        if not steps:
            return
        for parameter, name, place, group in self._entries:
            if name == "momentum_buffer" and group["momentum"] == 0:
                continue
            state = self._optimizer.state[parameter]
            content = torch.from_numpy(self.values[place])
            if not isinstance(state.get(name), Tensor):
                like = torch.empty_like(parameter, memory_format=torch.preserve_format, requires_grad=False)
                state[name] = torch.ones((), dtype=torch.float32) if name == "mu_product" else like
            with torch.no_grad():
                state[name].copy_(content.view(state[name].shape))
        if self._spelling.counts:
            for parameter, before in self._steps:
                state = self._optimizer.state[parameter]
                if isinstance(state.get("step"), Tensor):
                    state["step"].fill_(float(before + steps))
                else:
                    state["step"] = torch.tensor(float(before + steps), dtype=torch.float32)
