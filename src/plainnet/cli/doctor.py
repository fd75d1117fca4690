"""``plainnet doctor``."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, requires
from typing import Any, Literal

import typer

from plainnet.cli.options import AsJson
from plainnet.cli.output import print_json, print_table

__all__ = ["EXTRAS", "doctor"]

#: What each extra is for.
EXTRAS = {
    "excel": "reads and writes Excel files",
    "sql": "reads PostgreSQL databases, and .zst files",
    "onnx": "plainnet export --to onnx",
    "ray": "--cluster, and plainnet.cluster",
    "track": "plainnet track, and plainnet train --track",
    "tune": "plainnet tune",
    "web": "plainnet serve and plainnet studio",
}
WORKS = "works"


def doctor(as_json: AsJson = False) -> None:
    """Check the installation, and print what a bug report needs. The exit code is 1 where something needed is broken.

    [bold]Example[/bold]

    plainnet doctor
    """
    checks: dict[str, Callable[[], Any]] = {
        "packages": partial(_found, ""), "extras": _extras, "devices": _devices, "caches": _caches, "engine": _engine,
        "training": _training,
    }  # fmt: skip
    facts: dict[str, Any] = _system() | {name: _tried(check) for name, check in checks.items()}
    facts["problems"] = _problems(facts)
    if as_json:
        print_json(facts)
    else:
        print_table("", ("what", "found"), _rows(facts))
        for problem in facts["problems"]:
            typer.secho(f"Broken: {problem}", fg="red", err=True)
    if facts["problems"]:
        raise typer.Exit(1)


def _tried(check: Callable[[], Any]) -> Any:
    """Return what a check finds, or in words how it failed: a broken installation raises whatever it likes."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - as above
        return f"fails: {type(error).__name__}: {error}"


def _rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    shown = {
        name: value if isinstance(value, dict) else {"": value} for name, value in facts.items() if name != "problems"
    }
    return [(f"{name}  {part}".strip(), str(found)) for name, parts in shown.items() for part, found in parts.items()]


def _problems(facts: Mapping[str, Any]) -> list[str]:
    found = [f"{name}: {facts[name]}" for name in ("packages", "devices", "caches") if isinstance(facts[name], str)]
    if isinstance(facts["packages"], dict):
        found += [f"{name}: {of_it}" for name, of_it in facts["packages"].items() if "needed is" in of_it]
    return found + [f"{name}: {facts[name]}" for name in ("engine", "training") if not facts[name].startswith(WORKS)]


def _system() -> dict[str, str]:
    from plainnet.versions import versions

    return {
        "plainnet": versions()["plainnet"],
        "python": f"{platform.python_version()} {platform.python_implementation()}, {sys.executable}",
        "system": f"{platform.platform()}, {platform.machine()}",
    }


def _found(extra: str) -> dict[str, str]:
    """Return the version of each package that an extra needs ('': plainnet itself), and what is needed where that is not there."""
    from packaging.requirements import Requirement

    from plainnet.versions import version_of

    try:
        lines = requires("plainnet") or []
    except PackageNotFoundError:  # run from its source
        return {}
    found = {}
    for needed in map(Requirement, lines):
        marker = needed.marker
        is_of_extra = marker is not None and not marker.evaluate({"extra": ""})
        if is_of_extra != bool(extra) or (marker is not None and not marker.evaluate({"extra": extra})):
            continue
        version = version_of(needed.name)
        if version is None:
            found[needed.name] = f"not installed, needed is {needed.specifier}"
        elif not needed.specifier.contains(version, prereleases=True):
            found[needed.name] = f"{version}, needed is {needed.specifier}"
        else:
            found[needed.name] = version
    return found


def _extras() -> dict[str, str]:
    shown = {}
    for extra, purpose in EXTRAS.items():
        found = _found(extra)
        listed = ", ".join(f"{name} {version}" for name, version in found.items())
        lacks = any("needed is" in version for version in found.values())
        shown[extra] = f"{purpose}; {listed}" + (f". Run: pip install 'plainnet[{extra}]'" if lacks else "")
    return shown


def _devices() -> dict[str, str]:
    import torch

    from plainnet.kernels.kernels import VECTOR_BYTES

    dials = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    threads = [f"{name}={os.environ[name]}" for name in dials if name in os.environ]
    return {
        "cpu": f"{os.cpu_count()} cores, vectors of {8 * VECTOR_BYTES} bits",
        "threads": ", ".join([f"torch {torch.get_num_threads()}", *threads]),
        "cuda": f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}" if torch.cuda.is_available() else "none",
        "mps": "available" if torch.backends.mps.is_available() else "none",
    }  # fmt: skip


def _caches() -> dict[str, str]:
    import shutil
    import tempfile

    from plainnet.kernels.kernels import cache_folder

    folder, temporary = cache_folder(), tempfile.gettempdir()
    kept = "nowhere: its folder cannot be written, or is another user's. Each process compiles it again: set PLAINNET_CACHE_DIR"
    if folder is not None:
        # One folder for each version of the kernels: older ones can be removed.
        sizes = [
            sum(file.stat().st_size for file in each.rglob("*") if file.is_file()) for each in (folder, folder.parent)
        ]
        kept = f"{folder}, {sizes[0] / 1e6:.1f} MB; all in {folder.parent}: {sizes[1] / 1e6:.1f} MB"
    return {
        "machine code": kept,
        "temporary files": f"{temporary}, {shutil.disk_usage(temporary).free / 1e9:.1f} GB free",
    }


def _engine() -> str:
    """Take the same steps in compiled code and in the plain loop, and compare the weights."""
    from copy import deepcopy
    from time import perf_counter

    import torch
    from torch import nn

    from plainnet.training.training import train

    draw = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 4, generator=draw), torch.randn(20, 1, generator=draw)
    networks = [nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))]
    networks.append(deepcopy(networks[0]))
    started = perf_counter()
    engines: list[Literal["fused", "eager"]] = ["fused", "eager"]
    for network, engine in zip(networks, engines, strict=True):
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        train(
            network, x, y, loss=nn.MSELoss(), optimizer=optimizer, epochs=3, device="cpu", engine=engine, progress=False
        )
    pairs = zip(networks[0].parameters(), networks[1].parameters(), strict=True)
    worst = max(float((one - other).detach().abs().max()) for one, other in pairs)
    if not worst < 1e-5:
        return f"computes wrongly: after three steps a weight is {worst:.1e} from the plain loop's"
    return f"{WORKS}: three steps in compiled code end within {worst:.0e} of the plain loop, in {perf_counter() - started:.2f} s"


def _training() -> str:
    """Train a tiny network on a line."""
    from plainnet.estimators.regressor import NetRegressor

    table = {"x": [float(i) for i in range(20)]}
    predicted = NetRegressor(hidden=(8,), epochs=200, learning_rate=0.02).fit(table, table["x"]).predict(table)
    worst = float(abs(predicted - table["x"]).max())
    return WORKS if worst < 5 else f"learns badly: a line is missed by {worst:.2f}"
