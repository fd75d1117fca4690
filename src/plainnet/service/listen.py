"""A port, and uvicorn set up to listen there without telling who it is, or waiting for ever."""

from __future__ import annotations

import asyncio
import errno
import signal
import socket

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from plainnet.errors import SettingError

__all__ = ["listen", "run", "server_of"]

#: Seconds in which the headers of a request have to be complete.
HEADER_SECONDS = 10.0
#: Bytes of them.
MOST_HEADER_BYTES = 64 * 2**10
#: Connections at once, idle ones included; uvicorn answers 503 beyond them.
MOST_CONNECTIONS = 1000
#: Seconds that a connection may idle between two requests.
IDLE_SECONDS = 30
#: Seconds for the requests under way when the server is told to end.
GRACE_SECONDS = 30


def listen(host: str, port: int) -> socket.socket:
    """Bind a port, before anything else is done.

    Args:
        host: an address or a name of this machine.
        port: 0 … 65535; 0: any free one, which ``sock.getsockname()[1]`` tells.

    Raises:
        SettingError: the port is taken, not allowed, or no port; the host is none of this machine.
    """
    if not 0 <= port <= 65535:
        raise SettingError(f"port {port} is none: choose --port 1024 … 65535, or 0 for any that is free.")
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host.strip("[]") or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        both = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        sock = socket.create_server(address, family=family, backlog=2048, dualstack_ipv6=both)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            advice = "Choose another with --port, or --port 0 for any that is free."
            raise SettingError(f"port {port} is taken by another program. {advice}") from error
        if error.errno == errno.EACCES:
            raise SettingError(f"port {port} is not allowed for this user. Choose --port 1024 or higher.") from error
        raise SettingError(f"--host {host!r} cannot be listened on: {error.strerror or error}.") from error
    sock.setblocking(False)
    return sock


class _Patient(HttpToolsProtocol):
    """uvicorn has no limit until a request's headers are complete: connections and memory could be held for nothing."""

    _too_late: asyncio.TimerHandle | None = None
    _n_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._too_late = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        is_waiting = self.cycle is before and (before is None or before.response_complete)
        if is_waiting:  # a part of the next request's headers
            self._n_bytes += len(data)
            if self._n_bytes > MOST_HEADER_BYTES:
                self.transport.close()
            elif self._too_late is None:
                self._too_late = self.loop.call_later(HEADER_SECONDS, self.transport.close)
        elif self._too_late is not None:
            self._too_late.cancel()
            self._too_late, self._n_bytes = None, 0

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._too_late is not None:
            self._too_late.cancel()


def server_of(app: ASGIApp, host: str, port: int) -> uvicorn.Server:
    """Return uvicorn for a guarded app: no ``server`` header, no access log (it would hold what is in URLs), limits on
    connections, on idling and on how slowly headers arrive. ``run`` starts it on the socket that ``listen`` gave.
    """  # noqa: D205
    return uvicorn.Server(uvicorn.Config(
        app, host=host, port=port, http=_Patient, ws="none", log_level="warning", access_log=False,
        proxy_headers=False, server_header=False, limit_concurrency=MOST_CONNECTIONS, timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    ))  # fmt: skip


def run(server: uvicorn.Server, sock: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; requests under way are finished first."""
    # uvicorn raises the signal again, for the handlers that were there before its own, once it has ended: by then there
    # is nothing left to do, and to end well is no error.
    before = {each: signal.signal(each, lambda *_: None) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[sock])
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
