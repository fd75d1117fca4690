"""The same training by plainnet and by its peers: same data, same first weights, same order of rows, same steps.

Every function takes a ``Work`` and returns the final epoch's loss; ``training.py`` times them.
"""

import copy
import shutil
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

import plainnet


@dataclass
class Work:
    """A training: sizes of the layers, rows, rows in a step, epochs, the optimizer's name and rate."""

    sizes: tuple
    rows: int
    batch: int
    epochs: int
    optimizer: str = "adam"
    rate: float = 1e-3
    activation: type = nn.ReLU
    last: type | None = None
    classes: bool = True

    def __post_init__(self):
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(self.rows, self.sizes[0], generator=generator)
        if self.classes:
            scores = self.x @ torch.randn(self.sizes[0], self.sizes[-1], generator=generator)
            self.y = (scores + torch.randn(scores.shape, generator=generator)).argmax(dim=1)
        else:
            self.y = torch.randint(0, 2, (self.rows, self.sizes[-1]), generator=generator).float()
        torch.manual_seed(0)
        layers = []
        for n_in, n_out in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            layers += [nn.Linear(n_in, n_out), self.activation()]
        layers = [*layers[:-1], self.last()] if self.last else layers[:-1]
        self.model = nn.Sequential(*layers)
        self.loss = nn.CrossEntropyLoss() if self.classes else nn.MSELoss()

    @property
    def steps(self):
        """Steps in all."""
        return self.epochs * -(-self.rows // self.batch)

    @property
    def flops(self):
        """Multiplications and additions of the products: forward, gradient of weights, and of inputs but for the first layer's."""
        pairs = [a * b for a, b in zip(self.sizes[:-1], self.sizes[1:], strict=True)]
        return 2 * self.epochs * self.rows * (3 * sum(pairs) - pairs[0])

    def network(self):
        """Return a fresh copy of the network."""
        return copy.deepcopy(self.model)

    def torch_optimizer(self, model, **options):
        """Return torch's optimizer for a copy."""
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.SGD
        return kind(model.parameters(), lr=self.rate, **options)

    def orders(self):
        """Yield the order of the rows of each epoch, as plainnet draws it; None for a full batch."""
        generator = torch.Generator().manual_seed(0)
        for _ in range(self.epochs):
            yield None if self.batch >= self.rows else torch.randperm(self.rows, generator=generator)


def fused(work):
    model = work.network()
    history = plainnet.train(
        model, work.x, work.y, loss=work.loss, optimizer=work.torch_optimizer(model), epochs=work.epochs, batch_size=work.batch,
        engine="fused", progress=False,
    )  # fmt: skip
    return history.losses[-1]


def loop_by_hand(work, *, step_of=None, **options):
    """The loop of a first tutorial; for batches, slices of rows that were put in order once an epoch."""
    model = work.network()
    optimizer = work.torch_optimizer(model, **options)
    loss_of = work.loss

    def step(x, y):
        loss = loss_of(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    step = step if step_of is None else step_of(step)
    for order in work.orders():
        if order is None:
            total = step(work.x, work.y).item()
            continue
        x, y, losses = work.x[order], work.y[order], []
        for start in range(0, work.rows, work.batch):
            losses.append(
                step(x[start : start + work.batch], y[start : start + work.batch]) * len(y[start : start + work.batch])
            )
        total = float(torch.stack(losses).sum()) / work.rows
    return total


def best_eager(work):
    """The loop by hand with torch's fused optimizer, its rows put in order once an epoch."""
    return loop_by_hand(work, fused=True)


def compiled_step(work):
    """The loop by hand, its step given to torch.compile."""
    return loop_by_hand(work, step_of=torch.compile)


def data_loader_loop(work):
    """The loop as tutorials write it for mini-batches: DataLoader and TensorDataset."""
    model = work.network()
    optimizer = work.torch_optimizer(model)
    rows = torch.utils.data.TensorDataset(work.x, work.y)
    loader = torch.utils.data.DataLoader(rows, batch_size=work.batch, shuffle=True)
    for _ in range(work.epochs):
        total = 0.0
        for x, y in loader:
            loss = work.loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
    return total / work.rows


def skorch(work):
    from skorch import NeuralNetClassifier

    net = NeuralNetClassifier(
        work.network(), criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=work.rate, batch_size=work.batch,
        max_epochs=work.epochs, train_split=None, iterator_train__shuffle=True, verbose=0,
    )  # fmt: skip
    net.fit(work.x.numpy(), work.y.numpy())
    return net.history[-1, "train_loss"]


def sklearn_mlp(work):
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier(
        work.sizes[1:-1], batch_size=work.batch, learning_rate_init=work.rate, alpha=0.0, max_iter=work.epochs,
        n_iter_no_change=work.epochs + 1, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net.fit(work.x.numpy(), work.y.numpy())
    return net.loss_


def _jax_loss(work):
    activation = {nn.ReLU: jax.nn.relu, nn.Sigmoid: jax.nn.sigmoid}[work.activation]

    def loss(params, x, y):
        for i, (w, b) in enumerate(params):
            x = x @ w.T + b
            if i < len(params) - 1:
                x = activation(x)
            elif work.last is not None:
                x = jax.nn.sigmoid(x)
        if work.classes:
            return -jnp.take_along_axis(jax.nn.log_softmax(x), y[:, None], axis=1).mean()
        return ((x - y) ** 2).mean()

    return loss


def _jax_update(work):
    def sgd(params, grads, state):
        return jax.tree.map(lambda p, g: p - work.rate * g, params, grads), state

    def adam(params, grads, state):
        m, v, t = state
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
        size, root = work.rate / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
        params = jax.tree.map(lambda p, m, v: p - size * m / (jnp.sqrt(v) / root + 1e-8), params, m, v)
        return params, (m, v, t)

    return adam if work.optimizer == "adam" else sgd


def jax_program(work):
    """Return a function that trains once; compiling is done before the clock starts."""
    loss_of, update = _jax_loss(work), _jax_update(work)
    linears = [layer for layer in work.model if isinstance(layer, nn.Linear)]
    params = [
        (jnp.asarray(layer.weight.detach().numpy()), jnp.asarray(layer.bias.detach().numpy())) for layer in linears
    ]
    state = (jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params), jnp.zeros(()))
    x, y = jnp.asarray(work.x.numpy()), jnp.asarray(work.y.numpy())
    whole = work.rows // work.batch * work.batch  # all works here have whole batches
    assert whole == work.rows

    def step(carry, rows):
        params, state = carry
        loss, grads = jax.value_and_grad(loss_of)(params, x[rows], y[rows])
        return update(params, grads, state), loss

    def full_step(carry, _):
        params, state = carry
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        return update(params, grads, state), loss

    if work.batch >= work.rows:
        run = jax.jit(lambda carry: jax.lax.scan(full_step, carry, None, length=work.epochs))
        run((params, state))[1].block_until_ready()
        return lambda _: float(run((params, state))[1][-1])
    epoch = jax.jit(lambda carry, order: jax.lax.scan(step, carry, order.reshape(-1, work.batch)))
    epoch((params, state), jnp.arange(work.rows))[1].block_until_ready()

    def train(_):
        carry = (params, state)
        for order in work.orders():
            carry, losses = epoch(carry, jnp.asarray(order.numpy()))
        return float(losses.mean())

    return train


def cpp_program(source):
    """Compile the tutorial's training in C++; return a function that runs it and returns (seconds, loss)."""
    folder = tempfile.mkdtemp()
    program = Path(folder) / "tutorial"
    flags = ["-O3", "-march=native", "-ffast-math", "-mprefer-vector-width=512"]
    subprocess.run([shutil.which("g++"), *flags, str(source), "-o", str(program)], check=True)

    def train(work):
        linears = [layer for layer in work.model if isinstance(layer, nn.Linear)]
        tensors = [work.x, work.y, *(tensor for layer in linears for tensor in (layer.weight, layer.bias))]
        content = b"".join(tensor.detach().numpy().tobytes() for tensor in tensors)
        output = subprocess.run([str(program)], input=content, check=True, capture_output=True).stdout
        seconds, loss = map(float, output.split())
        return seconds, loss

    return train


def numpy_online(work):
    """One row at a time, in plain NumPy: two layers, sigmoids, mean squared error."""
    linears = [layer for layer in work.model if isinstance(layer, nn.Linear)]
    (w1, b1), (w2, b2) = [
        (layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()) for layer in linears
    ]
    xs, ys = work.x.numpy(), work.y.numpy()
    for order in work.orders():
        total = 0.0
        for row in order.numpy():
            x, y = xs[row], ys[row]
            h = 1 / (1 + np.exp(-(w1 @ x + b1)))
            p = 1 / (1 + np.exp(-(w2 @ h + b2)))
            total += float(((p - y) ** 2).mean())
            d2 = 2 / len(y) * (p - y) * p * (1 - p)
            d1 = (w2.T @ d2) * h * (1 - h)
            w2 -= work.rate * np.outer(d2, h)
            b2 -= work.rate * d2
            w1 -= work.rate * np.outer(d1, x)
            b1 -= work.rate * d1
    return total / work.rows


def many_networks(work, count):
    """plainnet.train_many on copies of the network with other first weights."""
    trials = []
    for seed in range(count):
        model = work.network()
        torch.manual_seed(seed)
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        trials.append(plainnet.Trial(model, work.torch_optimizer(model)))
    histories = plainnet.train_many(
        trials, work.x, work.y, loss=work.loss, epochs=work.epochs, engine="fused", progress=False
    )
    return float(np.mean([history.losses[-1] for history in histories]))


def jax_vmap_program(work, count):
    """The same networks at once by jax.vmap; compiled before the clock starts."""
    loss_of, update = _jax_loss(work), _jax_update(work)
    stacked = []
    for seed in range(count):
        model = work.network()
        torch.manual_seed(seed)
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()
        linears = [layer for layer in model if isinstance(layer, nn.Linear)]
        stacked.append([(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in linears])
    params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *stacked)
    x, y = jnp.asarray(work.x.numpy()), jnp.asarray(work.y.numpy())

    def train_one(params):
        def step(params, _):
            loss, grads = jax.value_and_grad(loss_of)(params, x, y)
            return update(params, grads, None)[0], loss

        return jax.lax.scan(step, params, None, length=work.epochs)[1][-1]

    run = jax.jit(jax.vmap(train_one))
    run(params).block_until_ready()
    return lambda _: float(run(params).mean())
