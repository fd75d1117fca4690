"""The guard: who may ask, how much, how slowly."""

import asyncio
import json
import socket

import pytest

from plainnet.errors import SettingError
from plainnet.service.guard import Guard, allowed_hosts
from plainnet.service.listen import listen

OWN = allowed_hosts("127.0.0.1", 8000)


async def echo(scope, receive, send):
    """Answer with the body's length."""
    n, more = 0, True
    while more:
        message = await receive()
        n, more = n + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(n).encode()})


async def careless(scope, receive, send):
    """Answer an error in reading the body by an error of its own, as FastAPI does."""
    try:
        await echo(scope, receive, send)
    except Exception:  # noqa: BLE001 - carelessness is what it shows
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b"careless"})


async def buggy(scope, receive, send):
    raise RuntimeError("/secret/path")


def ask(app, method="POST", path="/x", headers=(), parts=(b"",), delay=0.0, host=b"127.0.0.1:8000"):
    """Send one request to an ASGI app: status, headers, body."""
    sent, left = [], list(parts)

    async def receive():
        await asyncio.sleep(delay)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message):
        sent.append(message)

    own = [] if host is None else [(b"host", host)]
    scope = {"type": "http", "method": method, "path": path, "headers": [*own, *headers]}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent)


@pytest.mark.parametrize("host", [b"127.0.0.1:8000", b"LOCALHOST:8000", b"[::1]:8000"])
def test_our_own_hosts_are_answered(host):
    assert ask(Guard(echo, hosts=OWN), parts=(b"ab", b"c"), host=host)[::2] == (200, b"3")


@pytest.mark.parametrize("host", [b"evil.example:8000", b"127.0.0.1", b"127.0.0.1:8001", b"127.0.0.1:8000.evil", None])
def test_other_hosts_are_not(host):
    status, _, body = ask(Guard(echo, hosts=OWN), method="GET", host=host)
    assert status == 421
    assert "Host header names no host" in json.loads(body)["error"]


def test_two_host_headers_are_refused():
    assert ask(Guard(echo, hosts=OWN), headers=[(b"host", b"127.0.0.1:8000")])[0] == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"origin", b"http://127.0.0.1:8000")], 200),
        ([(b"origin", b"http://evil.example")], 403),
        ([(b"origin", b"http://127.0.0.1:9000")], 403),
        ([(b"origin", b"null")], 403),
        ([(b"sec-fetch-site", b"cross-site")], 403),
        ([(b"sec-fetch-site", b"same-origin")], 200),
    ],
)
def test_a_page_of_another_origin_cannot_change_anything(headers, status):
    app = Guard(echo, hosts=OWN)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert ask(app, method=method, headers=headers)[0] == status
    assert ask(app, method="GET", headers=headers)[0] == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([], 401),
        ([(b"authorization", b"Bearer right")], 200),
        ([(b"authorization", b"bearer right")], 200),
        ([(b"authorization", b"Bearer wrong")], 401),
        ([(b"authorization", "Bearer ü".encode())], 401),
        ([(b"authorization", b"Basic right")], 401),
        ([(b"cookie", b"other=1; plainnet=right")], 200),
        ([(b"cookie", b"other=right; plainnet=wrong")], 401),
        ([(b"cookie", b"xplainnet=right")], 401),
    ],
)
def test_the_token_comes_as_a_bearer_or_a_cookie(headers, status):
    app = Guard(echo, hosts=OWN, token="right", cookie="plainnet", open_paths=["/health"])
    assert ask(app, headers=headers)[0] == status
    assert ask(app, path="/health", headers=headers)[0] == 200


def test_the_cookie_counts_only_where_there_is_one():
    assert ask(Guard(echo, hosts=OWN, token="right"), headers=[(b"cookie", b"None=right; plainnet=right")])[0] == 401


def test_any_host_needs_a_token_and_no_token_is_empty():
    assert allowed_hosts("0.0.0.0", 8000) is None  # noqa: S104 - nothing is bound
    with pytest.raises(SettingError, match="every address reaches needs a token"):
        Guard(echo, hosts=None)
    with pytest.raises(SettingError, match="token is empty"):
        Guard(echo, hosts=OWN, token=" ")
    right = [(b"authorization", b"Bearer t")]
    assert ask(Guard(echo, hosts=None, token="t"), headers=right, host=b"anything")[0] == 200


@pytest.mark.parametrize("app", [echo, careless])
def test_a_body_that_is_too_large_is_refused_announced_or_not(app):
    app = Guard(app, hosts=OWN, most_body_bytes=5)
    assert ask(app, parts=(b"123", b"45"))[0] == 200
    assert ask(app, parts=(b"123", b"456", b""))[0] == 413
    assert ask(app, headers=[(b"content-length", b"6")])[0] == 413
    assert ask(app, headers=[(b"content-length", b"9" * 5000)])[0] == 413
    assert ask(app, headers=[(b"content-length", b"-1")])[0] == 413


@pytest.mark.parametrize("app", [echo, careless])
def test_a_body_that_takes_too_long_is_refused(app):
    status, headers, body = ask(Guard(app, hosts=OWN, body_seconds=0.05), parts=(b"1",) * 50, delay=0.02)
    assert (status, headers[b"connection"]) == (408, b"close")
    assert "did not arrive within 0.05 seconds" in json.loads(body)["error"]


def test_a_packed_body_is_refused():
    assert ask(Guard(echo, hosts=OWN), headers=[(b"content-encoding", b"gzip")])[0] == 415
    assert ask(Guard(echo, hosts=OWN), headers=[(b"content-encoding", b"identity")])[0] == 200


def test_a_bug_is_one_sentence_that_tells_nothing(caplog):
    status, _, body = ask(Guard(buggy, hosts=OWN))
    assert (status, json.loads(body)) == (500, {"error": "an internal error; the server's log has it."})
    assert "/secret/path" in caplog.text


def test_every_answer_has_the_headers_of_safety():
    for app, headers in ((echo, []), (buggy, []), (echo, [(b"origin", b"null")])):
        found = ask(Guard(app, hosts=OWN), headers=headers)[1]
        assert found[b"content-security-policy"].startswith(b"default-src 'self'; base-uri 'none'; form-action 'self'")
        assert found[b"x-content-type-options"] == b"nosniff"
        assert found[b"referrer-policy"] == b"no-referrer"


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=f"port {port} is taken by another program.*--port"):
            listen("127.0.0.1", port)
    with listen("127.0.0.1", 0) as sock:
        assert sock.getsockname()[1] > 0
    with pytest.raises(SettingError, match="port 70000 is none"):
        listen("127.0.0.1", 70000)
    with pytest.raises(SettingError, match=r"'192\.0\.2\.1' cannot be listened on"):
        listen("192.0.2.1", 0)
