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
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plainnet.errors import SettingError

__all__ = ["Guard", "RefusalError", "allowed_hosts", "is_local"]

LOGGER = logging.getLogger("plainnet.service")

#: Methods that change nothing: they need no Origin of ours.
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

#: Of every answer. Scripts, styles and pictures come from here only, and no other page may frame ours.
SAFETY = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
]

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
        self, status: int, message: str, fields: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.fields, self.headers = status, dict(fields or {}), headers or {}


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


@dataclass(frozen=True)
class Guard:
    """An ASGI app that stands before another. It answers no WebSockets.

    Attributes:
        app: any ASGI app.
        hosts: the ``Host`` headers that are ours (``allowed_hosts``); None: any, for which a token is demanded.
        token: what ``Authorization: Bearer …`` has to hold; None: nothing is asked.
        cookie: name of a cookie that may hold the token instead, for browsers. Set it with ``HttpOnly; SameSite=Strict``.
        open_paths: paths that need no token, such as those a load balancer asks.
        most_body_bytes: of a request; 413 beyond it.
        body_seconds: in which a body has to arrive; 408 after it.

    Raises:
        SettingError: any host without a token, or an empty token.
    """

    app: ASGIApp
    hosts: Collection[str] | None
    token: str | None = None
    cookie: str | None = None
    open_paths: Collection[str] = ()
    most_body_bytes: int = 16 * 2**20
    body_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.token is not None and not self.token.strip():
            raise SettingError("the token is empty. Choose a long one, such as: openssl rand -hex 32")
        if self.hosts is None and self.token is None:
            raise SettingError("a server that every address reaches needs a token. Pass token='…'.")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse the request, or hand it on."""
        if scope["type"] != "http":
            return
        body = _Body(receive, self)
        started = False

        async def send_safely(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                if body.refusal is not None:
                    raise body.refusal  # the app made an answer of its own of our error
                started = True
                message["headers"] = [*message.get("headers", ()), *SAFETY]
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, body.receive, send_safely)
        except Exception as error:
            refusal = body.refusal or (error if isinstance(error, RefusalError) else None)
            if refusal is None:
                LOGGER.exception("a bug in answering %s: %s", scope["method"], type(error).__name__)
            if started and refusal is None:
                raise  # half an answer cannot be taken back: the server closes the connection
            if not started:
                answer = _answer_of(refusal or RefusalError(500, "an internal error; the server's log has it."))
                # A body that was not read to its end cannot be told from the next request.
                answer.raw_headers += SAFETY if body.is_complete else [*SAFETY, (b"connection", b"close")]
                await answer(scope, receive, send)

    def too_large(self) -> RefusalError:
        """Make the error for a body that is."""
        return RefusalError(413, f"the body is larger than {self.most_body_bytes:,} bytes. Send it in parts.")

    def _check(self, scope: Scope) -> None:
        """Look at the headers, once."""
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name == b"host" and name in headers:
                raise RefusalError(400, "the request has two Host headers.")
            headers[name] = headers[name] + b"; " + value if name in headers else value
        host, origin = headers.get(b"host", b"").lower(), headers.get(b"origin", b"").lower()
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise RefusalError(415, "the body is packed (Content-Encoding). Send it as it is.")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:20]) > self.most_body_bytes:
            raise self.too_large()
        if b"host" not in headers or (self.hosts is not None and host.decode("latin-1") not in self.hosts):
            raise RefusalError(421, "the Host header names no host of this server.")
        is_foreign = (origin and origin.partition(b"://")[2] != host) or (
            headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site")
        )
        if is_foreign and scope["method"] not in SAFE_METHODS:
            raise RefusalError(403, "the request comes from a page of another origin.")
        if self.token is not None and scope["path"] not in self.open_paths:
            bearer = headers.get(b"authorization", b"")
            given = bearer[7:].strip() if bearer[:7].lower() == b"bearer " else b""
            if not given and self.cookie is not None:
                cookies = cookie_parser(headers.get(b"cookie", b"").decode("latin-1"))
                given = cookies.get(self.cookie, "").encode()
            if not hmac.compare_digest(given, self.token.encode()):
                raise RefusalError(401, "the token is missing or wrong. Send it as: Authorization: Bearer TOKEN")


class _Body:
    """The body of one request as it arrives: counted, and against the clock."""

    def __init__(self, raw: Receive, guard: Guard) -> None:
        self.raw, self.guard, self.left = raw, guard, guard.most_body_bytes
        self.deadline = asyncio.get_running_loop().time() + guard.body_seconds
        self.is_complete = False
        self.refusal: RefusalError | None = None

    async def receive(self) -> Message:
        if self.is_complete:  # what comes next is the end of the connection, which has time
            return await self.raw()
        if self.refusal is not None:
            raise self.refusal
        try:
            async with asyncio.timeout_at(self.deadline):
                message = await self.raw()
        except TimeoutError:
            self.refusal = RefusalError(408, f"the body did not arrive within {self.guard.body_seconds:g} seconds.")
            raise self.refusal from None
        self.left -= len(message.get("body", b""))
        if self.left < 0:
            self.refusal = self.guard.too_large()
            raise self.refusal
        self.is_complete = not message.get("more_body", False)
        return message


def _answer_of(refusal: RefusalError) -> Response:
    body = json.dumps({"error": str(refusal), **refusal.fields}, ensure_ascii=False).encode("utf-8", "replace")
    login = {"www-authenticate": "Bearer"} if refusal.status == 401 else {}
    return Response(body, refusal.status, {**refusal.headers, **login}, "application/json")
