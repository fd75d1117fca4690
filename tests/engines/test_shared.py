"""A training that several processes share, beside the same training in one: here the processes are threads."""

import copy
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from plainnet.engines import shared
from plainnet.engines.job import Standing
from plainnet.engines.plan import make_plan
from plainnet.engines.shared import Share, check_shared
from plainnet.errors import TrainingError
from plainnet.settings import EarlyStopping
from plainnet.training.prepare import prepared
from plainnet.training.training import train

EPOCHS = 4


class Together:
    """Adds up the tensors of some threads."""

    def __init__(self, n):
        self.barrier, self.parts, self.n = threading.Barrier(n), [None] * n, n

    def add(self, i, tensor):
        self.parts[i] = tensor.clone()
        self.barrier.wait(20)
        total = sum(self.parts[1:], self.parts[0])
        self.barrier.wait(20)
        tensor.copy_(total)


def network(*, dropout=0.0):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.SiLU(), nn.Dropout(dropout), nn.Linear(16, 3)).double()


def case(name):
    """Return the arguments of a training."""
    random = np.random.default_rng(0)
    x = torch.from_numpy(random.normal(size=(203, 5)))
    classes = torch.from_numpy(random.integers(0, 3, 203))
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    options = {
        "x": x,
        "y": classes,
        "loss": nn.CrossEntropyLoss(),
        "batch_size": 32,
        "validation": 0.2,
        "clip_grad_norm": 0.5,
    }
    if name == "weights":
        weight = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
        options |= {"loss": nn.CrossEntropyLoss(weight=weight), "sample_weight": random.random(203), "drop_last": True}
    if name == "ignored":
        classes[64:70] = -100  # a batch of which one process has ignored rows alone
        options |= {"batch_size": 8, "shuffle": False, "validation": None}
    if name == "sum, full batch":
        options |= {"loss": nn.MSELoss(reduction="sum"), "y": x[:, :3] * 0.5, "batch_size": None}
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    if name == "few rows, plain SGD":
        options |= {"batch_size": 5, "clip_grad_norm": None, "loss": nn.MSELoss(), "y": x[:, :3] * 0.5}
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    if name == "torch's own steps":
        optimizer = torch.optim.Adafactor(model.parameters(), lr=0.01)
    return model, optimizer, options


def shares_of(job, n, together, told=lambda: False):
    """Return the jobs and shares of n processes."""
    found = []
    n_valid = 0 if job.validation is None else len(job.validation[0])
    for i in range(n):
        model, optimizer = copy.deepcopy((job.model, job.optimizer))
        first, stop = len(job.x) * i // n, len(job.x) * (i + 1) // n
        held = slice(n_valid * i // n, n_valid * (i + 1) // n)
        own = {
            "x": job.x[first:stop], "y": job.y[first:stop], "weight": None if job.weight is None else job.weight[first:stop],
            "validation": None if job.validation is None else tuple(None if a is None else a[held] for a in job.validation),
        }  # fmt: skip
        share = Share(first, len(job.x), n_valid, lambda tensor, i=i: together.add(i, tensor), told)
        found.append((replace(job, model=model, optimizer=optimizer, **own), share))
    return found


def together(job, n, start):
    """Run ``start(job, share)`` in n threads; return what each gave."""
    sums, results = Together(n), [None] * n
    pairs = shares_of(job, n, sums)

    def run(i):
        try:
            results[i] = list(start(*pairs[i]))
        except Exception as error:  # noqa: BLE001 - the test looks at it
            results[i] = error
            sums.barrier.abort()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results, [job for job, _ in pairs]


def fused(job, share):
    for part in shared.run_fused(job, make_plan(job), share):
        yield from part


CASES = ["plain", "weights", "ignored", "sum, full batch", "few rows, plain SGD", "torch's own steps"]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("processes", [1, 3])
@pytest.mark.parametrize("start", [fused, shared.run_eager], ids=["fused", "eager"])
def test_processes_that_share_a_training_have_the_losses_of_one(name, processes, start) -> None:
    model, optimizer, options = case(name)
    alone, own = copy.deepcopy((model, optimizer))
    with prepared(model, optimizer=optimizer, epochs=EPOCHS, device="cpu", **options) as job:
        results, jobs = together(job, processes, start)
    history = train(alone, optimizer=own, epochs=EPOCHS, device="cpu", engine="eager", progress=False, **options)
    for found in results:
        assert isinstance(found, list), found
        np.testing.assert_allclose([epoch.loss for epoch in found], history.losses, rtol=1e-8)
        if history.validation_losses is not None:
            np.testing.assert_allclose([e.validation_loss for e in found], history.validation_losses, rtol=1e-8)
    for one in jobs:  # all have the very same weights
        for a, b, c in zip(one.model.parameters(), jobs[0].model.parameters(), alone.parameters(), strict=True):
            assert torch.equal(a, b)
            torch.testing.assert_close(a, c, rtol=1e-6, atol=1e-8)


def test_a_state_of_three_processes_is_one_of_two() -> None:
    model, optimizer, options = case("plain")
    options["stopping"] = EarlyStopping(patience=3)
    states = []

    def first(job, share):
        standing = Standing()
        for part in shared.run_fused(job, make_plan(job), share, standing):
            if part[-1].index == 1:
                states.append(standing.now())
            yield from part

    with prepared(model, optimizer=optimizer, epochs=EPOCHS, device="cpu", **options) as job:
        whole, _ = together(job, 3, first)

        def second(job, share):
            for part in shared.run_fused(job, make_plan(job), share, Standing(states[0])):
                yield from part

        rest, _ = together(job, 2, second)
    assert [epoch.index for epoch in rest[0]] == [2, 3]
    np.testing.assert_allclose([e.loss for e in rest[0]], [e.loss for e in whole[0][2:]], rtol=1e-8)


@pytest.mark.parametrize("start", [fused, shared.run_eager], ids=["fused", "eager"])
def test_all_processes_stop_at_the_same_step(start) -> None:
    model, optimizer, options = case("plain")
    steps = []

    def told():
        steps.append(1)
        return len(steps) > 10

    with prepared(model, optimizer=optimizer, epochs=EPOCHS, device="cpu", **options) as job:
        sums = Together(2)
        pairs = shares_of(job, 2, sums)
        pairs[0] = (pairs[0][0], replace(pairs[0][1], is_told_to_stop=told))
        ended = [None, None]

        def run(i):
            try:
                list(start(*pairs[i]))
            except KeyboardInterrupt:
                ended[i] = "stopped"

        threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert ended == ["stopped", "stopped"]


def test_what_cannot_be_shared_is_refused() -> None:
    x, y = torch.randn(20, 2), torch.randn(20, 1)
    model = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with prepared(model, x, y, loss=nn.MSELoss(), optimizer=optimizer, epochs=1, device="cpu") as job:
        check_shared(job, 1)
        with pytest.raises(
            TrainingError, match="BatchNorm1d normalises over all rows of a batch, and 2 workers have some"
        ):
            check_shared(job, 2)
    model = nn.Linear(2, 1)
    with (
        prepared(
            model, x, y, loss=nn.MSELoss(), optimizer=torch.optim.LBFGS(model.parameters()), epochs=1, device="cpu"
        ) as job,
        pytest.raises(TrainingError, match="LBFGS measures the loss several times in a step"),
    ):
        check_shared(job, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        prepared(model, x, y, loss=nn.MSELoss(), optimizer=optimizer, epochs=1, device="cpu", validation=0.1) as job,
        pytest.raises(TrainingError, match="4 workers have at least one row each, and there are 2 validation rows"),
    ):
        check_shared(job, 4)
