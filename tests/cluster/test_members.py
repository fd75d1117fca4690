"""``cluster.spread``: packs, folds and tuning as tasks of a Ray cluster, with the bytes of this process."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

import plainnet
from plainnet.runs.train_run import train_run
from plainnet.runs.tune_run import tune_run
from tests.cluster.conftest import kill_one, processes

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def houses():
    random = np.random.default_rng(0)
    rooms, place = random.integers(1, 8, 300), random.choice(["north", "south"], 300)
    price = rooms * 50.0 + np.where(place == "south", 80, 0) + random.normal(0, 10, 300)
    return pl.DataFrame({"rooms": rooms, "place": place, "price": price})


def regressor(**options):
    return plainnet.NetRegressor(effort="quick", members=4, epochs=6, dropout=0.1, monotone={"rooms": 1}, **options)


def test_a_pack_on_a_cluster_has_the_bytes_of_one_process(ray_cluster, houses, tmp_path) -> None:
    regressor().fit(houses, "price").save(tmp_path / "own.safetensors")
    told = []
    with plainnet.cluster.spread(workers=3) as workers:
        assert workers == 3
        fitted = regressor().fit(houses, "price", on_epochs=lambda i, network, epochs: told.append((i, len(epochs))))
    fitted.save(tmp_path / "shared.safetensors")
    assert (tmp_path / "own.safetensors").read_bytes() == (tmp_path / "shared.safetensors").read_bytes()
    assert sorted(i for i, _ in told) == [0, 1, 2, 3]
    assert [len(member.history) for member in fitted.members_] == [n for _, n in sorted(told)]


def test_a_network_whose_process_is_killed_is_trained_again(ray_cluster, houses) -> None:
    x, y = torch.randn(2000, 10), torch.randn(2000, 1)

    def trials():
        torch.manual_seed(0)
        networks = [nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 1)) for _ in range(3)]
        return [plainnet.Trial(each, torch.optim.Adam(each.parameters()), seed=i) for i, each in enumerate(networks)]

    options = {"loss": nn.MSELoss(), "epochs": 400, "batch_size": 20, "engine": "fused", "progress": False}
    torch.manual_seed(1)
    own = trials()
    alone = plainnet.train_many(own, x, y, **options)
    killed = []

    def kill():
        while not processes("ray::_train_one"):
            time.sleep(0.02)
        kill_one("ray::_train_one")
        killed.append(True)

    torch.manual_seed(1)
    shared = trials()
    with plainnet.cluster.spread(workers=2):
        killer = threading.Thread(target=kill)
        killer.start()
        found = plainnet.train_many(shared, x, y, **options)
        killer.join()
    assert killed
    for a, b, one, other in zip(alone, found, own, shared, strict=True):
        assert a.losses.tolist() == b.losses.tolist()
        assert all(torch.equal(p, q) for p, q in zip(one.model.parameters(), other.model.parameters(), strict=True))
        state, same = one.optimizer.state_dict()["state"], other.optimizer.state_dict()["state"]
        assert all(torch.equal(state[i]["exp_avg"], same[i]["exp_avg"]) for i in state)


def test_tuning_on_a_cluster_finds_what_one_process_finds(ray_cluster, houses, tmp_path) -> None:
    houses.write_csv(tmp_path / "houses.csv")
    options = {"trials": 3, "settings": {"effort": "quick", "members": 4, "epochs": 9}}
    own = tune_run(tmp_path / "houses.csv", "price", tmp_path / "own", **options)
    with plainnet.cluster.spread(workers=2):
        shared = tune_run(tmp_path / "houses.csv", "price", tmp_path / "shared", **options)
    same = ("kept", "settings", "default_loss", "best_loss", "best_trial", "trials", "ended_early", "default_scores")
    assert {name: own.facts["tuning"][name] for name in same} == {name: shared.facts["tuning"][name] for name in same}
    assert own.facts["scores"] == shared.facts["scores"]
    model = "model.safetensors"
    assert (own.path / model).read_bytes() == (shared.path / model).read_bytes()


def test_ctrl_c_ends_the_tasks_and_keeps_what_is_there(ray_cluster, houses, tmp_path) -> None:
    def interrupt():
        while not processes("ray::_train_one"):
            time.sleep(0.02)
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGINT)

    houses.write_csv(tmp_path / "houses.csv")
    thread = threading.Thread(target=interrupt)
    with plainnet.cluster.spread(workers=2), warnings.catch_warnings():
        thread.start()
        settings = {"members": 4, "epochs": 10**6, "patience": 10**6}
        run = train_run(tmp_path / "houses.csv", "price", tmp_path / "run", settings=settings)
    thread.join()
    assert run.facts["training"]["stopped_by"] == "interrupt"
    assert run.facts["training"]["members"] == 2
    assert not processes("ray::_train_one")


@pytest.fixture
def started(tmp_path):
    """A cluster that ``ray start`` has begun, as on a host of its own; its address."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ray = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]
    start = [
        *ray, "start", "--head", f"--port={port}", "--num-cpus=4", "--include-dashboard=false", "--disable-usage-stats",
        "--node-ip-address=127.0.0.1", "--block",
    ]  # fmt: skip
    head = subprocess.Popen(start, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()
        head.wait(60)


def test_the_command_line_joins_a_cluster_that_runs(started, houses, tmp_path) -> None:
    houses.write_csv(tmp_path / "houses.csv")
    train = [
        sys.executable, "-m", "plainnet", "train", "houses.csv", "--target", "price", "--members", "4", "--epochs", "5", "--json", "--out",
    ]  # fmt: skip

    def run(*more, **environment):
        done = subprocess.run(
            [*train, *more], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, **environment},
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return done

    own, shared = run("own"), run("shared", "--cluster", started, "--workers", "4")
    assert (own.returncode, shared.returncode) == (0, 0), shared.stderr
    assert json.loads(own.stdout)["scores"] == json.loads(shared.stdout)["scores"]
    model = "model.safetensors"
    assert (tmp_path / "own" / model).read_bytes() == (tmp_path / "shared" / model).read_bytes()
    refused = run("refused", "--cluster", started, RAY_AUTH_TOKEN="0" * 64)
    assert refused.returncode == 1
    assert f"the Ray cluster at {started} did not let us in" in refused.stderr.replace("\n", " ")
    assert not (tmp_path / "refused").exists()


def test_workers_without_a_cluster_are_refused(command_line) -> None:
    code, _, err = command_line("train", "houses.csv", "--target", "price", "--workers", "2")
    assert code == 1
    assert "--workers are processes of a cluster, and none is named: add --cluster auto." in err
