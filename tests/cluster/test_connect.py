"""Connecting to a cluster: what is refused, what listens, who is let in."""

import os
import re
import subprocess
import sys

import pytest

from plainnet.cluster import connect
from plainnet.cluster.connect import connected
from plainnet.errors import MissingExtraError, SettingError


def enter(*arguments):
    with connected(*arguments):
        pass


@pytest.mark.parametrize(
    "address", ["", "here", "10.0.0.7", "10.0.0.7:0", "10.0.0.7:70000", "http://host:1", "ray://host:1", "a:b"]
)
def test_an_address_that_is_none_is_told(address) -> None:
    with pytest.raises(
        SettingError, match=f"such as 10.0.0.7:6379, or 'auto' or 'local', not {re.escape(repr(address))}"
    ):
        enter(address)


@pytest.mark.parametrize("workers", [0, -1, 1.5, 5000, True])
def test_a_number_of_workers_outside_its_range_is_told(workers) -> None:
    with pytest.raises(SettingError, match="workers is a whole number from 1"):
        enter("local", workers)


def test_without_ray_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setattr(connect, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtraError,
        match=re.escape("training on a cluster needs Ray, which is not installed. Run: pip install 'plainnet[ray]'"),
    ):
        enter("local")


@pytest.mark.cluster
def test_an_address_where_nothing_answers_is_told_at_once() -> None:
    code = "from plainnet.cluster.connect import connected\nwith connected('127.0.0.1:1'): pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "RunError: nothing answers at 127.0.0.1:1. Start a cluster there: ray start --head --port 1" in done.stderr


@pytest.mark.cluster
@pytest.mark.filterwarnings("default")
def test_all_that_listens_listens_on_the_loopback_interface(ray_cluster) -> None:
    import ray
    from ray._private.services import psutil

    here = psutil.Process()
    family = [here, *here.children(recursive=True)]
    listening = [c.laddr.ip for process in family for c in process.net_connections(kind="inet") if c.status == "LISTEN"]
    assert listening
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    assert (
        not ray.get_runtime_context().worker.node.webui_url
        if hasattr(ray.get_runtime_context().worker, "node")
        else True
    )


@pytest.mark.cluster
def test_auto_begins_a_cluster_on_the_loopback_interface_where_none_runs() -> None:
    """In a process without any of Ray's settings, as a user's: the cluster of these tests, which has a token, is not to be seen."""
    code = (
        "from plainnet.cluster import connect\n"
        "connect._answers = lambda address: False\n"
        "with connect.connected('auto', 1) as workers:\n"
        "    import ray\n"
        "    print(workers, ray.util.get_node_ip_address())"
    )
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=bare, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["1", "127.0.0.1"], done.stderr
