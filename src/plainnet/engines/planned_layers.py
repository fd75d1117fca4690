"""How each torch module is spelt as operations: one entry in ``LAYERS`` for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from plainnet.engines.plain_layers import lay_activation, lay_linear, lay_plain
from plainnet.engines.program import Codes, NotFusible, Operation, Program, Value
from plainnet.engines.trace import ADD, Call
from plainnet.kernels import layers as kernels
from plainnet.kernels.activations import SELU_ALPHA, SELU_SCALE
from plainnet.networks.layers import PiecewiseLinearEncoding, Scale

__all__ = ["LAYERS", "lay"]

Planner = Callable[[Program, Value, Any], Value]


def lay(program: Program, calls: list[Call], x: Value) -> Value:
    """List the operations of all steps; return the network's output."""
    values = [x]
    for call in calls:
        inputs = [values[i] for i in call.inputs]
        if type(call.module) is not nn.Linear and any(isinstance(value, Codes) for value in inputs):
            raise NotFusible("PiecewiseLinearEncoding is fused only with an nn.Linear that follows it")
        if call.module == ADD:
            values.append(_add(program, *inputs))
            continue
        assert isinstance(call.module, nn.Module)  # noqa: S101 - for the type checker: ADD is the only string
        planner = LAYERS.get(type(call.module))
        if planner is None:
            raise NotFusible(f"{_name(call.module)} has no fused kernel")
        values.append(planner(program, inputs[0], call.module))
    if isinstance(values[-1], Codes):
        raise NotFusible("PiecewiseLinearEncoding is fused only with an nn.Linear that follows it")
    return values[-1]


def _name(module: nn.Module) -> str:
    is_torchs = type(module).__module__.startswith("torch.nn")
    return f"{'nn.' if is_torchs else ''}{type(module).__name__}"


def _add(program: Program, a: Value, b: Value) -> Value:
    if a.features != b.features:
        raise NotFusible(f"a sum of {a.features} and {b.features} features is a broadcast")
    a, b = program.read(a), program.read(b)
    out = program.value(a.features, needs_gradient=a.gradient >= 0 or b.gradient >= 0)
    to = (part.gradient for part in (a, b) if part.gradient >= 0)
    copies = [Operation(kernels.copy, (out.gradient, each, a.features)) for each in to]
    program.layer(Operation(kernels.add_forward, (a.place, b.place, out.place, a.features)), *copies)
    return out


def _unchanged(program: Program, x: Value, module: nn.Module) -> Value:  # noqa: ARG001 - every planner is called alike
    return x


def _flatten(program: Program, x: Value, module: nn.Flatten) -> Value:  # noqa: ARG001 - as above
    if (module.start_dim, module.end_dim) != (1, -1):
        raise NotFusible(f"nn.Flatten(start_dim={module.start_dim}, end_dim={module.end_dim}) has no fused kernel")
    return x


def _encoding(program: Program, x: Value, module: PiecewiseLinearEncoding) -> Value:  # noqa: ARG001 - as above
    if x.features != module.plain + len(module.bins):
        what = f"{module.plain} + {len(module.bins)} features"
        raise NotFusible(f"PiecewiseLinearEncoding of {what} reads {x.features} features")
    if not module.bins:
        return x
    if x.gradient >= 0:
        raise NotFusible("PiecewiseLinearEncoding has a layer with weights before it")
    return Codes(x.place, module.plain + sum(module.bins), plain=module.plain, bins=module.bins, scale=module.scale)


def _linear(program: Program, x: Value, module: nn.Linear) -> Value:
    if x.features != module.in_features:
        raise NotFusible(f"nn.Linear({module.in_features}, …) reads {x.features} features")
    weight, bias = program.place(module.weight), program.place(module.bias)
    needs_gradient = program.needs(module.weight, module.bias)
    return lay_linear(program, x, module.out_features, weight, bias, needs_gradient=needs_gradient)


def _activation(name: str, constants: Callable[[Any], tuple[float, ...]] = lambda _: ()) -> Planner:
    def plan(program: Program, x: Value, module: nn.Module) -> Value:
        return lay_activation(program, x, name, constants(module))

    return plan


def _gelu(program: Program, x: Value, module: nn.GELU) -> Value:
    return _activation("gelu" if module.approximate == "none" else "gelu_tanh")(program, x, module)


def _softmax(name: str) -> Planner:
    forward, backward = getattr(kernels, f"{name}_forward"), getattr(kernels, f"{name}_backward")

    def plan(program: Program, x: Value, module: Any) -> Value:
        if module.dim not in (1, -1):
            raise NotFusible(f"{_name(module)}(dim={module.dim}) is not over the features: write dim=1")
        return lay_plain(program, x, forward, backward, (), program.memory(2 * program.lead))

    return plan


def _dropout(program: Program, x: Value, module: nn.Dropout | nn.AlphaDropout) -> Value:
    if program.evaluates or not module.training or module.p == 0:
        return x
    if module.p >= 1:
        raise NotFusible(f"{_name(module)}(p={module.p}) drops everything")
    x = program.read(x)
    out = program.value(x.features, needs_gradient=x.gradient >= 0)
    common, share = (x.features, program.dropout_seed, program.n_layers), float(module.p)
    if isinstance(module, nn.AlphaDropout):
        scale = ((1 - share) * (1 + share * kernels.ALPHA**2)) ** -0.5
        kernel, moves = kernels.alpha_dropout, (scale * kernels.ALPHA * share, -kernels.ALPHA)
    else:
        scale, kernel, moves = 1 / (1 - share), kernels.dropout, (0.0, 0.0)
    back = [Operation(kernel, (out.gradient, x.gradient, *common), (share, scale))] if x.gradient >= 0 else []
    program.layer(Operation(kernel, (x.place, out.place, *common), (share, scale, *moves)), *back)
    return out


def _batch_norm(program: Program, x: Value, module: nn.BatchNorm1d) -> Value:
    if x.features != module.num_features:
        raise NotFusible(f"nn.BatchNorm1d({module.num_features}) reads {x.features} features")
    trains = module.training and not program.evaluates
    by_batch = trains or module.running_mean is None
    tracks = trains and module.track_running_stats and module.running_mean is not None
    x = program.read(x)
    out = program.value(x.features, needs_gradient=x.gradient >= 0 or program.needs(module.weight, module.bias))
    words = (
        x.place, out.place, x.features, program.place(module.weight), program.place(module.bias), x.gradient, out.gradient,
        program.memory(2 * x.features),
        program.place(module.running_mean) if tracks or not by_batch else -1,
        program.place(module.running_var) if tracks or not by_batch else -1,
        program.place(module.num_batches_tracked) if tracks else -1,
        int(by_batch),
    )  # fmt: skip
    constants = (module.eps, -1.0 if module.momentum is None else module.momentum)
    back = [Operation(kernels.batch_norm_backward, words, constants)] if out.gradient >= 0 else []
    program.layer(Operation(kernels.batch_norm_forward, words, constants), *back)
    program.needs_whole_batch = program.needs_whole_batch or by_batch
    program.splits = False
    return out


def _layer_norm(program: Program, x: Value, module: nn.LayerNorm) -> Value:
    if tuple(module.normalized_shape) != (x.features,):
        raise NotFusible(f"nn.LayerNorm({tuple(module.normalized_shape)}) is not over the {x.features} features")
    x = program.read(x)
    out = program.value(x.features, needs_gradient=x.gradient >= 0 or program.needs(module.weight, module.bias))
    words = (
        x.place, out.place, x.features, program.place(module.weight), program.place(module.bias), x.gradient, out.gradient,
        program.memory(4 * program.lead),
    )  # fmt: skip
    back = [Operation(kernels.layer_norm_backward, words, (module.eps,))] if x.gradient >= 0 else []
    if program.needs(module.weight, module.bias):
        program.weights.append((Operation(kernels.layer_norm_weights, words), x.features))
    program.layer(Operation(kernels.layer_norm_forward, words, (module.eps,)), *back)
    return out


def _scale(program: Program, x: Value, module: Scale) -> Value:
    if module.weight.shape != (x.features,):
        raise NotFusible(f"Scale({len(module.weight)}) reads {x.features} features")
    x = program.read(x)
    out = program.value(x.features, needs_gradient=x.gradient >= 0 or program.needs(module.weight))
    more = (x.features, program.place(module.weight))
    back = [Operation(kernels.scale, (out.gradient, x.gradient, *more))] if x.gradient >= 0 else []
    if program.needs(module.weight):
        program.weights.append((Operation(kernels.scale_weights, (x.place, out.gradient, *more)), x.features))
    program.layer(Operation(kernels.scale, (x.place, out.place, *more)), *back)
    return out


LAYERS: dict[type[nn.Module], Planner] = {
    nn.Linear: _linear,
    nn.Identity: _unchanged,
    nn.Flatten: _flatten,
    nn.ReLU: _activation("relu"),
    nn.LeakyReLU: _activation("leaky_relu", lambda m: (m.negative_slope,)),
    nn.ELU: _activation("elu", lambda m: (m.alpha, 1.0)),
    nn.SELU: _activation("elu", lambda _: (SELU_ALPHA * SELU_SCALE, SELU_SCALE)),
    nn.SiLU: _activation("silu"),
    nn.GELU: _gelu,
    nn.Mish: _activation("mish"),
    nn.Tanh: _activation("tanh"),
    nn.Sigmoid: _activation("sigmoid"),
    nn.Hardtanh: _activation("hardtanh", lambda m: (m.min_val, m.max_val)),
    nn.Softplus: _activation("softplus", lambda m: (m.beta, m.threshold)),
    nn.Softmax: _softmax("softmax"),
    nn.LogSoftmax: _softmax("log_softmax"),
    nn.Dropout: _dropout,
    nn.AlphaDropout: _dropout,
    nn.BatchNorm1d: _batch_norm,
    nn.LayerNorm: _layer_norm,
    PiecewiseLinearEncoding: _encoding,
    Scale: _scale,
}
