"""Where a training runs, and how state moves there. Torch's 'meta' device stands in for one that this machine lacks."""

import pytest
import torch
from torch import nn

from plainnet.training.devices import _move_state, choose_device, on_device


def test_auto_is_where_the_network_is_else_the_gpu_else_the_cpu(monkeypatch) -> None:
    model, x = nn.Linear(2, 1), torch.zeros(3, 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto", model, x).type == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto", model, x).type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto", model, x).type == "cuda"
    assert choose_device("auto", nn.Linear(2, 1, device="meta"), x).type == "meta"
    assert choose_device("cpu", model, x).type == "cpu"


def test_the_optimizers_state_moves_and_its_count_of_steps_stays() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    _move_state(optimizer, torch.device("meta"))
    state = optimizer.state[model.weight]
    assert state["exp_avg"].device.type == "meta"
    assert state["step"].device.type == "cpu"


def test_lists_of_tensors_move_too() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.LBFGS(model.parameters())
    optimizer.state[model.weight] = {"old_dirs": [torch.ones(2), torch.ones(2)], "n_iter": 3}
    _move_state(optimizer, torch.device("meta"))
    state = optimizer.state[model.weight]
    assert [each.device.type for each in state["old_dirs"]] == ["meta", "meta"]
    assert state["n_iter"] == 3


def test_the_network_comes_home_also_after_an_error(monkeypatch) -> None:
    model = nn.Linear(2, 1)
    moves = []
    monkeypatch.setattr(model, "to", moves.append)
    with (
        pytest.raises(RuntimeError, match="out of memory"),
        on_device(model, torch.optim.SGD(model.parameters()), torch.device("meta")),
    ):
        raise RuntimeError("out of memory")
    assert [device.type for device in moves] == ["meta", "cpu"]
