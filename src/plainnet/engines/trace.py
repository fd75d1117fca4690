"""A network as a list of steps: which module reads which values.

A ``Sequential`` is its list. Any other module is traced once by torch.fx, which runs its ``forward`` on stand-ins. The trace
is made on a copy, and trusted only if it left no mark: no attribute of the copy changed, no random number was drawn.
"""

from __future__ import annotations

import copy
import operator
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as PyTorch's own documentation spells it

from plainnet.engines.program import NotFusible

__all__ = ["ADD", "Call", "trace"]

#: Stands for the sum of two values.
ADD = "add"


@dataclass(frozen=True)
class Call:
    """One step: ``module`` (or ``ADD``) reads the values ``inputs``; value 0 is x, value i + 1 the result of call i."""

    module: nn.Module | str
    inputs: tuple[int, ...]


#: Functions and tensor methods that stand for a module, called with the value alone.
_FUNCTIONS: dict[Any, Callable[[], nn.Module]] = {
    **dict.fromkeys((torch.relu, F.relu, "relu"), nn.ReLU),
    **dict.fromkeys((torch.sigmoid, F.sigmoid, "sigmoid"), nn.Sigmoid),
    **dict.fromkeys((torch.tanh, F.tanh, "tanh"), nn.Tanh),
    F.leaky_relu: nn.LeakyReLU, F.elu: nn.ELU, F.selu: nn.SELU, torch.selu: nn.SELU, F.silu: nn.SiLU, F.gelu: nn.GELU,
    F.mish: nn.Mish, F.hardtanh: nn.Hardtanh, F.softplus: nn.Softplus,
}  # fmt: skip


def trace(model: nn.Module, leaves: tuple[type[nn.Module], ...]) -> list[Call]:
    """Return the steps of a network.

    Args:
        model: the network, in the mode it is to be traced in.
        leaves: types of modules that are one step.

    Raises:
        NotFusible: it is no list of such steps.
    """
    for module in model.modules():
        _refuse_hooks(module)
    if type(model) in (nn.Sequential, *leaves):
        return [Call(part, (i,)) for i, part in enumerate(_parts(model))]
    return _trace_forward(model, leaves)


def _parts(module: nn.Module) -> list[nn.Module]:
    """Return the layers of a Sequential, of those within it, too."""
    return [each for part in module for each in _parts(part)] if type(module) is nn.Sequential else [module]


def _refuse_hooks(module: nn.Module) -> None:
    hooks = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks", "forward_hooks_with_kwargs")
    if any(getattr(module, f"_{name}", None) for name in hooks):
        raise NotFusible(f"{type(module).__name__} has a hook, which wants to be called at every step")
    if "forward" in vars(module):
        raise NotFusible(f"the forward of {type(module).__name__} was replaced")
    for parameter in module.parameters(recurse=False):
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):  # noqa: SLF001 - torch has no public way to ask
            raise NotFusible("a parameter has a hook, which wants to be called at every step")


def _trace_forward(model: nn.Module, leaves: tuple[type[nn.Module], ...]) -> list[Call]:
    from torch import fx

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            is_own = type(m) is not nn.Sequential and super().is_leaf_module(m, module_qualified_name)
            return type(m) in leaves or is_own

    name = type(model).__name__
    try:
        twin = copy.deepcopy(model)  # what a forward writes down, it writes there
    except Exception as error:
        raise NotFusible(f"{name} cannot be copied") from error
    before = _marks(twin)
    try:
        graph = Tracer().trace(twin)
    except Exception as error:  # a forward may do anything, and raise anything, when run on stand-ins
        raise NotFusible(f"the forward of {name} is more than a list of layers") from error
    finally:
        after = _marks(twin)
        torch.set_rng_state(before[1])
        random.setstate(before[2])
        np.random.set_state(before[3])  # noqa: NPY002 - what a forward may draw from
    if not _same(before, after):
        raise NotFusible(f"the forward of {name} changes the network or draws random numbers")
    modules = dict(model.named_modules())
    places: dict[Any, int] = {}
    calls: list[Call] = []
    for node in graph.nodes:
        if node.op == "placeholder":
            if places:
                raise NotFusible(f"{name} takes several inputs")
            places[node] = 0
        elif node.op == "output":
            if node.args[0] not in places:
                raise NotFusible(f"{name} returns more than one tensor")
            if places[node.args[0]] != len(calls):
                raise NotFusible(f"{name} computes what it does not return")
        else:
            step, inputs = _step(node, modules, name)
            if any(value not in places for value in inputs):
                raise NotFusible(f"the forward of {name} is more than a list of layers")
            calls.append(Call(step, tuple(places[value] for value in inputs)))
            places[node] = len(calls)
    return calls


def _step(node: Any, modules: dict[str, nn.Module], name: str) -> tuple[nn.Module | str, tuple[Any, ...]]:
    if node.op == "call_module" and len(node.args) == 1 and not node.kwargs:
        return modules[node.target], node.args
    defaults = {"inplace": False, "training": False, "approximate": "none", "alpha": 1}
    kwargs = {key: value for key, value in node.kwargs.items() if key not in defaults or value != defaults[key]}
    is_plain = node.op in ("call_function", "call_method") and not kwargs
    if is_plain and len(node.args) == 1 and node.target in _FUNCTIONS:
        return _FUNCTIONS[node.target](), node.args
    if is_plain and node.target in (operator.add, torch.add, "add") and len(node.args) == 2:
        return ADD, node.args
    if is_plain and node.target in (torch.flatten, "flatten") and node.args[1:] == (1,):
        return nn.Flatten(), node.args[:1]
    what = getattr(node.target, "__name__", node.target)
    raise NotFusible(f"the forward of {name} uses {what}, which has no fused kernel")


def _marks(model: nn.Module) -> tuple[Any, ...]:
    every = (item for module in model.modules() for item in vars(module).items())
    attributes = [(key, value) for key, value in every if not isinstance(value, dict)]
    lists = [len(value) for _, value in attributes if isinstance(value, list | set)]
    numpys: Any = np.random.get_state(legacy=True)  # noqa: NPY002 - what a forward may draw from
    return [*attributes, ("lists", lists)], torch.get_rng_state(), random.getstate(), numpys


def _same(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    def equal(old: Any, new: Any) -> bool:
        return old is new or (type(old) is type(new) and not isinstance(old, Tensor) and bool(old == new))

    is_unchanged = len(a[0]) == len(b[0]) and all(
        k == j and equal(v, w) for (k, v), (j, w) in zip(a[0], b[0], strict=True)
    )
    of_numpy = np.array_equal(a[3][1], b[3][1]) and a[3][2] == b[3][2]
    return is_unchanged and torch.equal(a[1], b[1]) and a[2] == b[2] and of_numpy
