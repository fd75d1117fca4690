"""How each optimizer is spelt as operations, and how its state comes in and goes out: one entry in ``OPTIMIZERS`` for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, optim

from plainnet.engines.program import NotFusible
from plainnet.networks.monotone import WeightBounds

__all__ = ["OPTIMIZERS", "Spelling", "bounds_of", "check_optimizer", "initial", "settings"]


@dataclass(frozen=True)
class Spelling:
    """An optimizer as the kernels know it.

    Attributes:
        kernel: its name in ``kernels.optimizers.OPTIMIZERS``.
        settings: group -> learning rate, weight decay, and the kernel's own.
        options: group -> two flags.
        moments: group -> the entries of ``optimizer.state`` that are as large as the parameter, in the kernel's order; None:
            a place that is not used.
        counts: whether the state holds the number of steps.
    """

    kernel: str
    settings: Callable[[dict[str, Any]], tuple[float, ...]]
    options: Callable[[dict[str, Any]], tuple[bool, bool]]
    moments: Callable[[dict[str, Any]], tuple[str | None, ...]]
    counts: bool = True


def _betas(group: dict[str, Any]) -> tuple[float, ...]:
    return (group["lr"], group["weight_decay"], *group["betas"], group["eps"])


def _decoupled(group: dict[str, Any]) -> bool:
    return bool(group.get("decoupled_weight_decay"))


_ADAM = Spelling(
    "adam", _betas, lambda g: (g["amsgrad"], _decoupled(g)),
    lambda g: ("exp_avg", "exp_avg_sq", "max_exp_avg_sq" if g["amsgrad"] else None),
)  # fmt: skip

OPTIMIZERS: dict[type[optim.Optimizer], Spelling] = {
    optim.SGD: Spelling(
        "sgd", lambda g: (g["lr"], g["weight_decay"], g["momentum"], g["dampening"]), lambda g: (g["nesterov"], False),
        lambda _: ("momentum_buffer",), counts=False,
    ),
    optim.Adam: _ADAM,
    optim.AdamW: Spelling(_ADAM.kernel, _betas, lambda g: (g["amsgrad"], True), _ADAM.moments),
    optim.NAdam: Spelling(
        "nadam", lambda g: (*_betas(g), g["momentum_decay"]), lambda g: (False, _decoupled(g)),
        lambda _: ("exp_avg", "exp_avg_sq", "mu_product"),
    ),
    optim.RAdam: Spelling("radam", _betas, lambda g: (False, _decoupled(g)), lambda _: ("exp_avg", "exp_avg_sq")),
    optim.RMSprop: Spelling(
        "rmsprop", lambda g: (g["lr"], g["weight_decay"], g["momentum"], g["alpha"], g["eps"]), lambda g: (g["centered"], False),
        lambda g: ("square_avg", "momentum_buffer", "grad_avg" if g["centered"] else None),
    ),
    optim.Adagrad: Spelling(
        "adagrad", lambda g: (g["lr"], g["weight_decay"], 0.0, g["lr_decay"], g["eps"]), lambda _: (False, False), lambda _: ("sum",),
    ),
    optim.Adamax: Spelling("adamax", _betas, lambda _: (False, False), lambda _: ("exp_avg", "exp_inf")),
}  # fmt: skip


def check_optimizer(optimizer: optim.Optimizer, parameters: set[int]) -> Spelling | None:
    """Look whether an optimizer has kernels; None: torch has to take its steps, on gradients of ours.

    Raises:
        NotFusible: not even that is possible.
    """
    name = type(optimizer).__name__
    step = vars(optimizer).get("step")
    if step is not None and not getattr(step, "_wrapped_by_lr_sched", False):
        raise NotFusible(f"the step of {name} was replaced")
    hooks = optimizer._optimizer_step_post_hooks.values()  # noqa: SLF001 - torch has no public way to ask
    if optimizer._optimizer_step_pre_hooks or any(type(hook) is not WeightBounds for hook in hooks):  # noqa: SLF001 - as above
        raise NotFusible(f"{name} has a hook, which wants to be called at every step")
    for group in optimizer.param_groups:
        if any(id(parameter) not in parameters for parameter in group["params"]):
            raise NotFusible(f"{name} holds parameters of another network too")
        if group.get("differentiable") or group.get("capturable"):
            raise NotFusible(f"{name} is differentiable or capturable")
        if group.get("betas") is not None and any(isinstance(beta, Tensor) for beta in group["betas"]):
            raise NotFusible(f"{name} has betas that are tensors")
    spelling = OPTIMIZERS.get(type(optimizer))
    if spelling is None and type(optimizer).__module__.split(".")[0] != "torch":
        raise NotFusible(f"the optimizer {name} has no fused kernel")
    return spelling


def bounds_of(optimizer: optim.Optimizer) -> dict[int, tuple[Tensor, Tensor]]:
    """Return the least and largest values that parameters are kept between after each step, by ``id``.

    Raises:
        NotFusible: a parameter has bounds twice, or is not stepped by the optimizer.
    """
    hooks = optimizer._optimizer_step_post_hooks.values()  # noqa: SLF001 - as above
    rows = [row for hook in hooks if isinstance(hook, WeightBounds) for row in hook.bounds]
    bounds = {id(parameter): (least, largest) for parameter, least, largest in rows}
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if len(bounds) < len(rows) or not bounds.keys() <= held:
        raise NotFusible(
            f"{type(optimizer).__name__} has WeightBounds of parameters that it does not step, or twice of one"
        )
    return bounds


def settings(spelling: Spelling, groups: list[dict[str, Any]], width: int) -> list[list[float]]:
    """Return the groups' settings as they are now, each padded to ``width`` reals."""
    rows = [[float(value) for value in spelling.settings(group)] for group in groups]
    return [row + [0.0] * (width - len(row)) for row in rows]


def initial(name: str, group: dict[str, Any]) -> float:
    """Return what an entry of the state is before the first step."""
    if name == "sum":
        return float(group["initial_accumulator_value"])
    return 1.0 if name == "mu_product" else 0.0
