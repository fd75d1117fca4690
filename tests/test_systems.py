"""Other systems than this one: what Windows and macOS lack has a substitute, shown here by taking it away."""

import ast
import asyncio
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from plainnet import RunError, files
from plainnet.kernels import crew, kernels
from plainnet.service import service
from tests.helpers import people

SOURCE = Path(__file__).parents[1] / "src" / "plainnet"
#: Modules and names that Python does not have on every system.
LACKING = {
    "fcntl", "grp", "msvcrt", "pty", "pwd", "resource", "termios", "tty", "uvloop",
    "os.O_BINARY", "os.O_NOFOLLOW", "os.O_NONBLOCK", "os.chown", "os.fork", "os.geteuid", "os.getuid", "os.kill", "os.killpg",
    "os.link", "os.mkfifo", "os.mknod", "os.nice", "os.posix_fadvise", "os.sched_getaffinity", "os.setsid", "os.symlink", "os.sync",
    "os.uname", "signal.SIGALRM", "signal.SIGHUP", "signal.SIGKILL", "signal.SIGUSR1", "signal.alarm", "signal.pause", "time.tzset",
}  # fmt: skip
#: Where they stand with a substitute beside them; the tests below take each away.
WITH_SUBSTITUTE = {
    ("files.py", "fcntl"),
    ("files.py", "msvcrt"),
    ("kernels.py", "os.getuid"),
    ("service.py", "signal.SIGHUP"),
}


def names_in(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(f"{node.value.id}.{node.attr}")
    return found


def test_what_other_systems_lack_is_used_only_where_it_has_a_substitute() -> None:
    found = {(path.name, name) for path in SOURCE.rglob("*.py") for name in names_in(path) & LACKING}
    assert found == WITH_SUBSTITUTE


def locking(handle: int, mode: int, n_bytes: int) -> None:
    """Windows' lock, as far as a system without it can: at a place of the file, refused as PermissionError."""
    assert (mode, n_bytes) == (2, 1)
    assert os.lseek(handle, 0, os.SEEK_CUR) > 20  # the number of the process can be read by others
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise PermissionError(13, "Permission denied") from error


def test_a_folder_is_locked_without_fcntl(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(files, "_HAS_FLOCK", False)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    folder = tmp_path / "run.checkpoint"
    message = rf"it is trained by another process, number {os.getpid()}: .*Wait"
    with files.locked(folder, "it is trained"):
        with pytest.raises(RunError, match=message), files.locked(folder, "it is trained"):
            pass
        (folder / "checkpoint-1").write_text("")
    with files.locked(folder, "it is trained"):
        (folder / "checkpoint-1").unlink()  # Windows leaves the open lock of a folder that is removed
    assert not folder.exists()


def test_a_server_runs_without_sighup(tmp_path, monkeypatch) -> None:
    from plainnet import NetClassifier

    NetClassifier(members=1, hidden=(4,), epochs=1).fit(people(60), "rich").save(tmp_path / "rich.safetensors")
    monkeypatch.delattr(signal, "SIGHUP")
    said = []

    def up_and_down(server, sock) -> None:
        events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive():
            return next(events)

        async def send(message) -> None:
            said.append(message["type"])

        asyncio.run(server.config.app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send))

    monkeypatch.setattr(service, "run", up_and_down)
    service.serve({"rich": tmp_path / "rich.safetensors"}, port=0, ready=said.append)
    assert said[0].startswith("http://127.0.0.1:")
    assert said[1:] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_machine_code_is_kept_where_users_have_no_numbers(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PLAINNET_CACHE_DIR", str(tmp_path))
    monkeypatch.delattr(os, "getuid")
    assert kernels.cache_folder.__wrapped__().parent == tmp_path


def test_threads_share_work_where_none_can_be_told_to_wait(monkeypatch) -> None:
    assert crew.yield_address() > 0
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert crew.yield_address() == 0


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_pipe_is_given_utf8_whatever_the_system_says(tmp_path, encoding) -> None:
    (tmp_path / "t.csv").write_text("größe,ort\n1,東京\n2,Köln\n" * 10, encoding="utf-8")
    script = """
import sys
from plainnet.cli import cli
cli.app.command("say")(lambda: cli.typer.echo("größe → 東京"))
sys.argv = ["plainnet", "say"]
cli.main()
"""
    env = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=env, check=True)
    assert done.stdout.decode("utf-8").strip() == "größe → 東京"
