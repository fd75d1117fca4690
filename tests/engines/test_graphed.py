"""The graphed engine: its bookkeeping on the CPU, with a recording that runs; on CUDA where there is one."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import plainnet
from plainnet import PlainnetWarning, TrainingError
from plainnet.engines import eager, graphed
from plainnet.engines.job import Job
from plainnet.networks.monotone import WeightBounds

X = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
Y = torch.randn(50, 1, generator=torch.Generator().manual_seed(1))


class Again:
    """A recording that does the work again. Like CUDA's, making it steps nothing, and it always writes the same gradients."""

    def __init__(self, work, model, holds_step) -> None:
        self.work, self.model, self.times = work, model, 0
        if not holds_step:
            work()
        self.gradients = [parameter.grad for parameter in model.parameters()]

    def replay(self) -> None:
        self.times += 1
        self.work()
        for parameter, gradient in zip(self.model.parameters(), self.gradients, strict=True):
            if gradient is not None:
                gradient.copy_(parameter.grad)


def job(optimizer, scheduler=None, **options) -> Job:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    made = optimizer(model.parameters())
    made_scheduler = scheduler(made) if scheduler else None
    return Job(model, X, Y, nn.MSELoss(), made, 6, **{"batch_size": 16, "scheduler": made_scheduler, **options})


@pytest.mark.parametrize(
    "scheduler", [None, lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.1)], ids=["none", "StepLR"]
)
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.Adagrad])
def test_the_loop_gives_the_eager_losses_with_a_smaller_last_batch(kind, scheduler) -> None:
    def optimizer(parameters):
        return kind(parameters, lr=0.05)

    expected = [(e.loss, e.learning_rate) for e in eager.run(job(optimizer, scheduler, clip_grad_norm=0.5))]
    recordings = []

    def record(work):
        recordings.append(Again(work, ours.model, step._holds_step))
        return recordings[-1]

    ours = job(optimizer, scheduler, clip_grad_norm=0.5)
    step = graphed.GraphedStep(ours, record)
    found = [(e.loss, e.learning_rate) for e in eager.run(ours, step)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert [recording.times for recording in recordings] == [
        6 * 3 - graphed.WARM_STEPS
    ]  # 50 rows: 16, 16, 16, and 2 by themselves


def test_weights_stay_between_their_bounds() -> None:
    def optimizer(parameters):
        first, *_ = parameters = list(parameters)
        made = torch.optim.SGD(parameters, lr=0.5)
        made.register_step_post_hook(
            WeightBounds([(first, torch.full_like(first, -0.05), torch.full_like(first, torch.inf))])
        )
        return made

    expected = [e.loss for e in eager.run(job(optimizer))]
    ours = job(optimizer)
    step = graphed.GraphedStep(ours, lambda work: Again(work, ours.model, step._holds_step))
    np.testing.assert_allclose([e.loss for e in eager.run(ours, step)], expected, rtol=1e-6)
    assert ours.model[0].weight.min().item() == pytest.approx(-0.05)


def test_a_step_that_cannot_be_recorded_is_taken_piece_by_piece_and_said_once() -> None:
    def refuse(work):
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    ours = job(lambda p: torch.optim.SGD(p, lr=0.05))
    expected = [e.loss for e in eager.run(job(lambda p: torch.optim.SGD(p, lr=0.05)))]
    with pytest.warns(PlainnetWarning, match="cannot be recorded as a CUDA graph.*is capturing") as caught:
        found = [e.loss for e in eager.run(ours, graphed.GraphedStep(ours, refuse))]
    assert found == expected
    assert len(caught) == 1


def test_optimizers_count_on_the_device_only_while_they_are_recorded() -> None:
    ours = job(lambda p: torch.optim.Adam(p, lr=0.05))
    for _ in eager.run(copy.copy(ours)):
        pass
    with graphed._capturable(ours.optimizer, wanted=True):
        assert ours.optimizer.param_groups[0]["capturable"] is True
    assert ours.optimizer.param_groups[0]["capturable"] is False
    assert all(state["step"].device.type == "cpu" for state in ours.optimizer.state.values())


def test_on_the_cpu_it_is_an_error() -> None:
    model = nn.Linear(4, 1)
    with pytest.raises(TrainingError, match="engine='graphed' runs on CUDA, and the network is on cpu"):
        plainnet.train(
            model,
            X,
            Y,
            loss=nn.MSELoss(),
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            epochs=1,
            engine="graphed",
            device="cpu",
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam])
def test_on_cuda_it_gives_the_eager_losses(kind) -> None:
    losses = []
    for engine in ("eager", "graphed"):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        optimizer = kind(model.parameters(), lr=0.01)
        history = plainnet.train(
            model, X, Y, loss=nn.MSELoss(), optimizer=optimizer, epochs=50, batch_size=16, engine=engine, device="cuda"
        )
        assert history.engine == engine
        losses.append(history.losses)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
