"""A Ray cluster of several processes on this machine, on the loopback interface, with a token: one for all tests."""

import os
import secrets
import signal
from pathlib import Path

import pytest

#: Before Ray is imported, as for every process that these tests start.
os.environ.update(
    RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
)  # fmt: skip


@pytest.fixture(scope="session")
def ray_cluster():
    """Be connected to a cluster of four CPUs, whatever the machine has."""
    pytest.importorskip("ray")
    from plainnet.cluster.connect import connected

    with connected("local", 4):
        yield


def processes(name):
    """Return the numbers of the processes whose command begins with a name."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(name.encode()):
                found.append(int(path.parent.name))
        except OSError:
            continue
    return sorted(found)


def kill_one(name):
    """Kill one process of a name, as the system does for want of memory."""
    os.kill(processes(name)[-1], signal.SIGKILL)
