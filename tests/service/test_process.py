"""A real ``plainnet serve``: over a port, with slow, broken and many clients, new files under load, and signals."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from plainnet.cli.cli import main
from tests.service.conftest import rows_of


@pytest.fixture(scope="module")
def server(paths, tmp_path_factory):
    """A running server: (process, port, the model's file)."""
    path = tmp_path_factory.mktemp("served") / "rich.safetensors"
    shutil.copy(paths["rich"], path)
    command = [
        sys.executable,
        "-m",
        "plainnet",
        "serve",
        str(path),
        "--port",
        "0",
        "--max-seconds",
        "5",
        "--max-body",
        "0.1",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    )
    line = process.stdout.readline()
    assert line.startswith("Serving rich at http://127.0.0.1:"), line + process.stderr.read()
    yield process, int(line.split("127.0.0.1:")[1].split()[0]), path
    process.kill()
    process.wait()
    process.stdout.close()
    process.stderr.close()


def ask(port, method="POST", path="/predict", body=None, connection=None):
    """One request: (status, JSON, headers)."""
    own = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    own.request(method, path, json.dumps(rows_of(1)) if body is None and method == "POST" else body)
    reply = own.getresponse()
    content = reply.read()
    if connection is None:
        own.close()
    return reply.status, json.loads(content), dict(reply.getheaders())


def test_it_predicts_and_does_not_say_what_it_is(server):
    _, port, _ = server
    status, answer, headers = ask(port)
    assert (status, len(answer["predictions"])) == (200, 1)
    assert "server" not in {name.lower() for name in headers}
    assert headers["x-content-type-options"] == "nosniff"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(b"GET /health HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 421")


def test_slow_and_broken_clients_do_not_stop_the_others(server):
    _, port, _ = server
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 1000\r\n" % port
    with contextlib.ExitStack() as open_ones:
        slow = []
        for beginning in (b"", b"POST /pre", head, head + b"\r\n", head + b"\r\n[{", b"\x16\x03\x01" * 9, b"\r\n" * 50):
            raw = open_ones.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
            raw.sendall(beginning)
            slow.append(raw)
        assert ask(port)[0] == 200
        for _ in range(3):  # half a body, and gone
            with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
                raw.sendall(head + b"\r\n[{")
        assert ask(port)[0] == 200
        assert b"408" in slow[4].recv(1000)  # after --max-seconds
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 200000\r\n\r\n" % port)
        assert b"413" in raw.recv(1000)
    assert ask(port)[0] == 200


def open_files(process):
    """How many files and connections a process has open; 0 where the system does not tell."""
    folder = Path(f"/proc/{process.pid}/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def test_ten_thousand_connections_in_turn_do_not_stop_the_others(server):
    process, port, _ = server
    before = open_files(process)
    head = b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 1000\r\n" % port
    other = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for number in range(10_000):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
            raw.sendall((b"", b"POST /pre", head, head + b"\r\n[{")[number % 4])
        if number % 500 == 0:
            assert ask(port, connection=other)[0] == 200
    assert ask(port, connection=other)[0] == 200
    other.close()
    assert ask(port)[0] == 200
    deadline = time.monotonic() + 20
    while open_files(process) > before + 20:
        assert time.monotonic() < deadline, "connections are left open"
        time.sleep(0.1)


def test_the_page_predicts(server):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium")
    _, port, _ = server
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page, troubles = browser.new_page(), []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.goto(f"http://127.0.0.1:{port}/docs")
        page.click("section button")
        page.wait_for_selector("section pre:has-text('predictions')")
        assert page.inner_text("section pre >> nth=0").startswith("200")
        assert "town" in page.inner_text("section table")
        assert f"curl http://127.0.0.1:{port}/models/rich/predict" in page.inner_text("section pre >> nth=1")
        browser.close()
    assert troubles == []


def test_a_model_is_replaced_under_load_without_a_failed_request(server, paths):
    process, port, path = server
    statuses, ends = [], threading.Event()

    def load():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while not ends.is_set():
            statuses.append(ask(port, connection=connection)[0])
        connection.close()

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        process.send_signal(signal.SIGHUP)
        wait_for_reloads(port, 1)
        fresh = path.with_suffix(".new")
        shutil.copy(paths["rich"], fresh)
        fresh.replace(path)  # seen without a signal
        wait_for_reloads(port, 2)
    finally:
        ends.set()
        for thread in threads:
            thread.join()
    assert len(statuses) > 10
    assert set(statuses) == {200}


def wait_for_reloads(port, n):
    line = 'plainnet_model_reloads_total{model="rich",result="replaced"}'
    for _ in range(200):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        found = [each for each in text.splitlines() if each.startswith(line)]
        if found and float(found[0].split()[-1]) >= n:
            return
        time.sleep(0.1)
    raise AssertionError(text)


def test_sigterm_ends_it_well(server):
    process, port, _ = server
    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    assert ask(port, connection=idle)[0] == 200  # kept open: it does not hold up the end
    begun = socket.create_connection(("127.0.0.1", port), timeout=20)
    body = json.dumps(rows_of(1)).encode()
    begun.sendall(
        b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %d\r\n\r\n" % (port, len(body)) + body[:9]
    )
    time.sleep(0.3)
    process.terminate()
    time.sleep(0.3)
    begun.sendall(body[9:])  # what has begun is finished
    assert begun.recv(10_000).startswith(b"HTTP/1.1 200")
    begun.close()
    idle.close()
    assert process.wait(30) == 0
    assert "Traceback" not in process.stderr.read()


def test_what_cannot_be_served_is_one_sentence(monkeypatch, capsys, tmp_path, paths):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["plainnet", "serve", *arguments])
        monkeypatch.delenv("PLAINNET_TOKEN", raising=False)
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code, capsys.readouterr().err

    (tmp_path / "bad.safetensors").write_bytes(b"no model, and long enough")
    assert run(str(tmp_path / "bad.safetensors"), "--port", "0")[0] == 1
    code, text = run(str(paths["rich"]), "--host", "0.0.0.0", "--port", "0")  # noqa: S104 - it is refused
    assert (code, "needs a token: PLAINNET_TOKEN=" in text) == (1, True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, text = run(str(paths["rich"]), "--port", str(taken.getsockname()[1]))
    assert (code, "is taken by another program. Choose another with --port" in text) == (1, True)
    assert "no model to serve" in run()[1]
