"""The front room: models  ->  an ASGI app that predicts.

    service_of(models, limits, …)      the app: measured(Guard(routes))
    serve(models, host, port, …)       the app on a port, until SIGTERM

Every path is known when the service starts, so that a request is looked up in a dict: no web framework stands between the
bytes and the prediction. What a request goes through: metrics -> guard -> its route -> rows -> batches or bulk -> answers.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from plainnet.errors import SettingError
from plainnet.service import protocol
from plainnet.service.guard import Guard, RefusalError, allowed_hosts, is_local
from plainnet.service.listen import listen, run, server_of
from plainnet.service.metrics import CONTENT_TYPE, measured
from plainnet.service.models import Model, follow, read
from plainnet.service.requests import Handler, Limits, Service, reply

__all__ = ["Limits", "Service", "read_models", "serve", "service_of"]

#: Paths that tell nothing, and need no token.
OPEN_PATHS = ("/health", "/v2/health/live", "/v2/health/ready", "/docs", "/docs.js", "/docs.css")


def _routes(service: Service) -> dict[str, tuple[str, Handler]]:
    """Return the method and what it does, by path."""

    def fixed(content: Any) -> tuple[str, Handler]:
        return get(partial(reply, msgspec.json.encode(content)))

    def get(answer: Callable[[], Response]) -> tuple[str, Handler]:
        async def handler(_: Scope, __: Receive) -> Response:
            return answer()

        return "GET", handler

    def page(name: str, media: str) -> tuple[str, Handler]:
        body = resources.files("plainnet.service").joinpath(name).read_bytes()
        return get(partial(reply, body, f"{media}; charset=utf-8"))

    def described(name: str) -> Response:
        return reply(msgspec.json.encode(protocol.model_metadata(service.models[name])))

    async def metrics(_: Scope, __: Receive) -> Response:
        return reply(await asyncio.to_thread(service.metrics.page), CONTENT_TYPE)

    routes: dict[str, tuple[str, Handler]] = {
        "/": get(lambda: reply(b"", "text/plain", 307, [(b"location", b"/docs")])),
        "/docs": page("docs.html", "text/html"),
        "/docs.js": page("docs.js", "text/javascript"),
        "/docs.css": page("docs.css", "text/css"),
        "/health": fixed({"status": "ok"}),
        "/metrics": ("GET", metrics),
        "/openapi.json": get(lambda: reply(service.description())),
        "/v2": fixed(protocol.SERVER),
        "/v2/health/live": fixed({"live": True}),
        "/v2/health/ready": fixed({"ready": True}),
    }
    for name in service.models:
        routes |= {
            f"/models/{name}/predict": ("POST", partial(service.predict, name)),
            f"/v2/models/{name}": get(partial(described, name)),
            f"/v2/models/{name}/ready": fixed({"name": name, "ready": True}),
            f"/v2/models/{name}/infer": ("POST", partial(service.infer, name)),
        }
    routes["/predict"] = routes[f"/models/{next(iter(service.models))}/predict"]
    return routes


def service_of(service: Service, *, hosts: Collection[str] | None, token: str | None = None) -> ASGIApp:
    """Return the ASGI app of a service.

    Args:
        service: the models and the limits.
        hosts: the Host headers that are ours, of ``allowed_hosts``; None: any, which needs a token.
        token: what clients have to send; None: nothing.

    Raises:
        SettingError: any host without a token.
    """
    routes = _routes(service)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] not in routes:
            raise RefusalError(404, "there is nothing at this path; /docs lists what there is.")
        method, handler = routes[scope["path"]]
        allowed = ("GET", "HEAD") if method == "GET" else (method,)
        if scope["method"] not in allowed:
            taken = ", ".join(allowed)
            raise RefusalError(405, f"this path takes {taken}.", headers={"allow": taken})
        response = await handler(scope, receive)
        await response(scope, receive, send)

    limits = service.limits
    guard = Guard(app, hosts, token, None, OPEN_PATHS, limits.body_bytes, limits.body_seconds)
    return measured(guard, service.metrics, routes)


def read_models(paths: dict[str, Path], limits: Limits) -> dict[str, Model]:
    """Read models by their names.

    Raises:
        RunError, ModelFileError: one is missing, damaged, or cannot predict.
    """
    return {name: read(name, path, limits.rows) for name, path in paths.items()}


def serve(
    paths: dict[str, Path],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    also_hosts: Collection[str] = (),
    limits: Limits | None = None,
    ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve models until SIGTERM or Ctrl-C; SIGHUP has their files read anew.

    Args:
        paths: run folders or model files, by the name in the URL; ``/predict`` asks the first.
        host: where to listen. Beyond this machine only with a token.
        port: 0 for any that is free.
        token: what clients have to send as ``Authorization: Bearer``.
        also_hosts: further names by which clients call this server.
        limits: of a request.
        ready: told the URL, once the models are read and before the first request is answered.

    Raises:
        SettingError: a host beyond this machine without a token, or a port that is taken.
        RunError, ModelFileError: a model cannot be served.
    """
    limits = limits or Limits()
    if not is_local(host) and token is None:
        raise SettingError(
            f"--host {host} is reached from other machines, and needs a token: PLAINNET_TOKEN=$(openssl rand -hex 32), or --token."
        )
    with listen(host, port) as sock:
        port = sock.getsockname()[1]
        service = Service(read_models(paths, limits), limits, needs_token=token is not None)

        @asynccontextmanager
        async def following(_: object) -> AsyncIterator[None]:
            wake = asyncio.Event()
            if hasattr(signal, "SIGHUP"):  # not on Windows: there only changes of the files are followed
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, wake.set)
            task = asyncio.create_task(follow(service.models, wake, limits.rows, service.replaced))
            ready(f"http://{'[' + host + ']' if ':' in host else host}:{port}")
            yield
            task.cancel()

        answering = service_of(service, hosts=allowed_hosts(host, port, also_hosts), token=token)
        lifespan = Router(lifespan=following).lifespan

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await (lifespan if scope["type"] == "lifespan" else answering)(scope, receive, send)

        try:
            run(server_of(app, host, port), sock)
        finally:
            service.close()
