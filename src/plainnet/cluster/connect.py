"""Connecting to a Ray cluster: one that is there, or one on this machine that ends with the block.

What is begun here listens on 127.0.0.1 alone, wants a token of everyone, and has no dashboard. Ray's processes run what they are sent, so
whoever may speak to them may do anything that their user may: docs/decisions/0017-cluster.md.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from plainnet.errors import MissingExtraError, RunError, SettingError
from plainnet.settings import check_number

__all__ = ["MOST_WORKERS", "connected"]

#: More is a slip of the keyboard: docs/cluster.md says what 64 bring.
MOST_WORKERS = 1024
#: Seconds to wait for an answer at an address; Ray itself would try for many minutes.
ANSWER_SECONDS = 5
#: Has Ray listen on the loopback interface alone. It is there for systems whose firewall asks about everything that listens.
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


@contextlib.contextmanager
def connected(address: str = "auto", workers: int | None = None) -> Iterator[int]:
    """Be connected to a Ray cluster inside the block.

    Where the program is connected already (``ray.init``), that cluster is used, and stays connected.

    Args:
        address: HOST:PORT of a cluster; 'local': begin one on this machine; 'auto': the one that the environment variable RAY_ADDRESS
            names or that runs on this machine, or else as 'local'.
        workers: processes that are wanted; None: one a CPU of the cluster.

    Yields:
        How many workers there are to be.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingError: ``workers`` or ``address`` is none, or the cluster has too few CPUs.
        RunError: there is no such cluster, or it wants another token.
    """
    check_number("workers", workers, whole=True, least=1)
    if workers is not None and workers > MOST_WORKERS:
        raise SettingError(f"workers is a whole number from 1 to {MOST_WORKERS:,}, not {workers:,}.")
    _check_address(address)
    if find_spec("ray") is None:
        raise MissingExtraError("Ray", "ray", "training on a cluster")
    is_own = _connect(address, workers)
    import ray

    try:
        n_cpus = int(ray.cluster_resources().get("CPU", 0))
        if (workers or 1) > n_cpus:
            raise SettingError(
                f"the cluster has {n_cpus} CPUs, and {workers or 1} workers need one each: ask for fewer, or start further nodes."
            )
        yield workers or n_cpus
    finally:
        if is_own:
            ray.shutdown()


def _check_address(address: str) -> None:
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16 or "/" in host:
        raise SettingError(
            f"the address of a cluster is HOST:PORT, such as 10.0.0.7:6379, or 'auto' or 'local', not {address!r}."
        )


def _connect(address: str, workers: int | None) -> bool:
    """Connect; return whether the connection is this block's own."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it tells its makers
    if "ray" not in sys.modules:  # once imported it reads this no more; a cluster that it begins wants tokens anyhow
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the coming default, which it else announces
    address = _running() if address == "auto" else address
    is_on_loopback = address == "local" or address.rpartition(":")[0] in ("127.0.0.1", "localhost")
    if is_on_loopback:
        os.environ.setdefault(LOOPBACK, "0")
    if address == "local" and not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray

    if ray.is_initialized():
        return False
    if address == "local":
        cpus = max(workers or 1, os.cpu_count() or 1)
        _init(address="local", num_cpus=cpus, include_dashboard=False)
        _check_loopback()
        return True
    if not _answers(address):
        raise RunError(
            f"nothing answers at {address}. Start a cluster there: ray start --head --port {address.rpartition(':')[2]}; or take 'local'."
        )
    try:
        _init(address=address)
    except (ConnectionError, RuntimeError) as error:
        raise RunError(
            f"the Ray cluster at {address} did not let us in: {str(error).partition('. ')[0]}. Its token has to be in RAY_AUTH_TOKEN, or "
            "in a file that RAY_AUTH_TOKEN_PATH names; for a cluster without tokens set RAY_AUTH_MODE=disabled."
        ) from error
    return True


def _init(**options: Any) -> None:
    import ray

    before = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Ray's own parts
            try:
                ray.init(log_to_driver=False, logging_level=logging.ERROR, configure_logging=True, **options)
            except ray.exceptions.RayError as error:  # no token, or another
                raise ConnectionError(str(error)) from error
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGTERM, before)  # Ray's own would end the process, and nothing be kept


def _running() -> str:
    """Return the address of the cluster that is meant by 'auto', or 'local'."""
    named = os.environ.get("RAY_ADDRESS", "")
    if named and named not in ("auto", "local"):
        return named
    # In another process: Ray reads where to listen when it is imported, and that is not decided yet.
    script = "from ray._private.services import find_gcs_addresses; print(*sorted(find_gcs_addresses()))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    return next(filter(_answers, found.stdout.split()), "local")


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS):
            return True
    except (OSError, ValueError):
        return False


def _check_loopback() -> None:
    """Check that Ray listens on the loopback interface alone: it reads its settings when it is first imported."""
    import ray

    found = ray.util.get_node_ip_address()
    if os.environ.get(LOOPBACK) == "0" and not found.startswith("127."):
        ray.shutdown()
        raise RunError(
            f"Ray was imported before plainnet could tell it to listen on this machine alone, and listens on {found}: set the "
            f"environment variable {LOOPBACK}=0 before the program begins."
        )
