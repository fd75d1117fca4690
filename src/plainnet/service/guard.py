"""What stands before every page and every answer: who may ask, how much, and for how long.

Pure ASGI (https://asgi.readthedocs.io/en/latest/specs/www.html), so that it costs microseconds and holds for whatever app
stands behind it. The threats it is made for:

- a foreign page in the user's browser that talks to 127.0.0.1: by *DNS rebinding* its own name points here, so the ``Host``
  header has to be one of ours; by a form or ``fetch`` it names itself in ``Origin``, which has to be the host asked;
- someone on the network: a token, compared in constant time;
- bodies that are too large, packed (a gzip bomb), or arrive a byte at a time;
- answers that tell too much: an error is one JSON sentence, without traceback, path or version.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

from plainnet.errors import SettingError

__all__ = ["App", "Receive", "RefusalError", "Scope", "Send", "allowed_hosts", "guarded", "is_local"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOGGER = logging.getLogger("plainnet.service")

#: Methods that change nothing: they need no Origin of ours.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

#: Scripts, styles and pictures from here only, and no other page may frame ours.
CONTENT_SECURITY_POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

#: Addresses that mean every address of the machine: no ``Host`` can be told to be ours.
EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - only compared


class RefusalError(Exception):
    """A request that is answered by an error; an app behind the guard may raise it, and the guard answers.

    Attributes:
        status: of HTTP.
        fields: what the JSON holds beside ``error``.
        headers: of the answer, beside those that every answer has.
    """

    def __init__(
        self, status: int, message: str, fields: Mapping[str, Any] | None = None, headers: Collection[tuple[bytes, bytes]] = ()
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.fields, self.headers = status, dict(fields or {}), tuple(headers)


def is_local(host: str) -> bool:
    """Whether only programs of this machine reach a server there.

    >>> is_local("127.0.0.1"), is_local("::1"), is_local("0.0.0.0")
    (True, True, False)
    """
    return host in ("localhost", "::1", "[::1]") or (host.startswith("127.") and host.replace(".", "").isdigit())


def allowed_hosts(host: str, port: int, also: Collection[str] = ()) -> frozenset[str] | None:
    """Return the ``Host`` headers that are ours.

    Args:
        host: where the server listens; of every address (0.0.0.0, ::) any ``Host`` is ours, and only a token protects.
        port: where the server listens.
        also: further names, such as the one a proxy is asked by; with a port where it is not 80 or 443.

    Returns:
        The headers in small letters, or None: any.

    >>> sorted(allowed_hosts("127.0.0.1", 8000))
    ['127.0.0.1:8000', '[::1]:8000', 'localhost:8000']
    """
    if host in EVERYWHERE:
        return None
    own = f"[{host}]" if ":" in host and not host.startswith("[") else host
    names = {"127.0.0.1", "localhost", "[::1]", own.lower()}
    hosts = {f"{name}:{port}" for name in names} | (names if port == 80 else set())
    return frozenset(hosts | {name.lower() for name in also})


def guarded(
    app: App,
    *,
    hosts: Collection[str] | None,
    token: str | None = None,
    cookie: str | None = None,
    open_paths: Collection[str] = (),
    most_body_bytes: int = 16 * 2**20,
    body_seconds: float = 30.0,
    content_security_policy: str = CONTENT_SECURITY_POLICY,
) -> App:
    """Put the guard before an app.

    Args:
        app: any ASGI app.
        hosts: the ``Host`` headers that are ours (``allowed_hosts``); None: any, for which a token is demanded.
        token: what ``Authorization: Bearer …`` has to hold; None: nothing is asked.
        cookie: name of a cookie that may hold the token instead, for browsers. Set it with ``HttpOnly; SameSite=Strict``.
        open_paths: paths that need no token, such as those a load balancer asks.
        most_body_bytes: of a request; 413 beyond it.
        body_seconds: in which a body has to arrive; 408 after it.
        content_security_policy: of every answer.

    Returns:
        An ASGI app. It refuses WebSockets.

    Raises:
        SettingError: any host without a token, or an empty token.
    """
    if token is not None and not token.strip():
        raise SettingError("the token is empty. Choose a long one, such as: openssl rand -hex 32")
    if hosts is None and token is None:
        raise SettingError("a server that every address reaches needs a token. Pass token='…'.")
    ours = None if hosts is None else frozenset(host.lower().encode("latin-1") for host in hosts)
    secret, of_cookie = None if token is None else token.encode(), None if cookie is None else f"{cookie}=".encode()
    rules = _Rules(ours, secret, of_cookie, frozenset(open_paths), most_body_bytes, body_seconds)
    safety = [
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"content-security-policy", content_security_policy.encode("latin-1")),
        (b"cross-origin-resource-policy", b"same-origin"),
    ]

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        body = _Body(receive, rules)
        started = False

        async def send_safely(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                if body.refusal is not None:
                    raise body.refusal  # the app made an answer of its own of our error
                started = True
                message["headers"] = [*message.get("headers", ()), *safety]
            await send(message)

        try:
            _check(scope, rules)
            await app(scope, body.receive, send_safely)
        except Exception as error:
            refusal = body.refusal or (error if isinstance(error, RefusalError) else None)
            if refusal is None:
                LOGGER.exception("a bug in answering %s: %s", scope["method"], type(error).__name__)
            if started and refusal is None:
                raise  # half an answer cannot be taken back: the server closes the connection
            if not started:
                refusal = refusal or RefusalError(500, "an internal error; the server's log has it.")
                # A body that was not read to its end cannot be told from the next request.
                closing = [] if body.is_complete else [(b"connection", b"close")]
                await _send_error(send, refusal, [*safety, *closing])

    return guard


@dataclass(frozen=True)
class _Rules:
    """What ``guarded`` was told, as the headers spell it."""

    hosts: frozenset[bytes] | None
    secret: bytes | None
    cookie: bytes | None
    open_paths: frozenset[str]
    most_body_bytes: int
    body_seconds: float

    @property
    def too_large(self) -> RefusalError:
        return RefusalError(413, f"the body is larger than {self.most_body_bytes:,} bytes. Send it in parts.")


class _Body:
    """The body of one request as it arrives: counted, and against the clock."""

    __slots__ = ("deadline", "is_complete", "left", "raw", "refusal", "rules")

    def __init__(self, raw: Receive, rules: _Rules) -> None:
        self.raw = raw
        self.rules = rules
        self.left = rules.most_body_bytes
        self.deadline = 0.0
        self.is_complete = False
        self.refusal: RefusalError | None = None

    async def receive(self) -> Message:
        if self.is_complete:  # what comes next is the end of the connection, which has time
            return await self.raw()
        if self.refusal is not None:
            raise self.refusal
        self.deadline = self.deadline or asyncio.get_running_loop().time() + self.rules.body_seconds
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self.raw()
        except TimeoutError:
            self.refusal = RefusalError(408, f"the body did not arrive within {self.rules.body_seconds:g} seconds.")
            raise self.refusal from None
        self.left -= len(message.get("body", b""))
        if self.left < 0:
            self.refusal = self.rules.too_large
            raise self.refusal
        self.is_complete = not message.get("more_body", False)
        return message


def _check(scope: Scope, rules: _Rules) -> None:
    """Look at the headers, once."""
    host: bytes | None = None
    origin = site = authorization = cookies = b""
    for name, value in scope["headers"]:
        if name == b"host":
            if host is not None:
                raise RefusalError(400, "the request has two Host headers.")
            host = value.lower()
        elif name == b"origin":
            origin = value.lower()
        elif name == b"sec-fetch-site":
            site = value
        elif name == b"authorization":
            authorization = value
        elif name == b"cookie":
            cookies += value + b";"
        elif name == b"content-encoding" and value.lower() != b"identity":
            raise RefusalError(415, "the body is packed (Content-Encoding). Send it as it is.")
        elif name == b"content-length" and (not value.isdigit() or int(value[:20]) > rules.most_body_bytes):
            raise rules.too_large
    if host is None or (rules.hosts is not None and host not in rules.hosts):
        raise RefusalError(421, "the Host header names no host of this server.")
    is_foreign = (origin and origin.partition(b"://")[2] != host) or site in (b"cross-site", b"same-site")
    if is_foreign and scope["method"] not in SAFE_METHODS:
        raise RefusalError(403, "the request comes from a page of another origin.")
    if rules.secret is not None and scope["path"] not in rules.open_paths:
        given = authorization[7:].strip() if authorization[:7].lower() == b"bearer " else b""
        if not given and rules.cookie is not None:
            parts = (part.strip() for part in cookies.split(b";"))
            given = next((part[len(rules.cookie) :] for part in parts if part.startswith(rules.cookie)), b"")
        if not hmac.compare_digest(given, rules.secret):
            raise RefusalError(401, "the token is missing or wrong. Send it as: Authorization: Bearer TOKEN")


async def _send_error(send: Send, refusal: RefusalError, headers: list[tuple[bytes, bytes]]) -> None:
    body = json.dumps({"error": str(refusal), **refusal.fields}, ensure_ascii=False).encode("utf-8", "replace")
    own = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *refusal.headers]
    if refusal.status == 401:
        own.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": [*own, *headers]})
    await send({"type": "http.response.body", "body": body})
