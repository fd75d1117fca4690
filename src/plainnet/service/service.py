"""The front room: models  ->  an ASGI app that predicts.

    service_of(models, limits, …)      the app: measured(guarded(routes))
    serve(models, host, port, …)       the app on a port, until SIGTERM

Every path is known when the service starts, so that a request is looked up in a dict: no web framework stands between the
bytes and the prediction. What a request goes through: metrics -> guard -> its route -> rows -> batches or bulk -> answers.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from plainnet.errors import SettingError
from plainnet.service import protocol
from plainnet.service.guard import App, Receive, RefusalError, Scope, Send, allowed_hosts, guarded, is_local
from plainnet.service.metrics import CONTENT_TYPE, measured
from plainnet.service.models import Model, follow, read
from plainnet.service.requests import Handler, Limits, Reply, Service

__all__ = ["Limits", "Service", "read_models", "serve", "service_of"]

#: Paths that tell nothing, and need no token.
OPEN_PATHS = ("/health", "/v2/health/live", "/v2/health/ready", "/docs", "/docs.js", "/docs.css")

_encode = msgspec.json.Encoder().encode


def _routes(service: Service) -> dict[str, dict[str, Handler]]:
    """Return what each path answers, by method."""

    def fixed(body: Any) -> dict[str, Handler]:
        reply = Reply(_encode(body))
        return _get(lambda: reply)

    def page(name: str, media: str) -> dict[str, Handler]:
        reply = Reply(resources.files("plainnet.service").joinpath(name).read_bytes(), f"{media}; charset=utf-8")
        return _get(lambda: reply)

    async def metrics(_: Scope, __: Receive) -> Reply:
        return Reply(await asyncio.to_thread(service.metrics.page), CONTENT_TYPE)

    routes: dict[str, dict[str, Handler]] = {
        "/": _get(lambda: Reply(b"", "text/plain", 307, ((b"location", b"/docs"),))),
        "/docs": page("docs.html", "text/html"),
        "/docs.js": page("docs.js", "text/javascript"),
        "/docs.css": page("docs.css", "text/css"),
        "/health": fixed({"status": "ok"}),
        "/metrics": {"GET": metrics},
        "/openapi.json": _get(lambda: Reply(service.description())),
        "/v2": fixed(protocol.server_metadata()),
        "/v2/health/live": fixed({"live": True}),
        "/v2/health/ready": fixed({"ready": True}),
    }
    for name in service.models:
        routes |= {
            f"/models/{name}/predict": {"POST": partial(service.predict, name)},
            f"/v2/models/{name}": _get(partial(_described, service, name)),
            f"/v2/models/{name}/ready": fixed({"name": name, "ready": True}),
            f"/v2/models/{name}/infer": {"POST": partial(service.infer, name)},
        }
    routes["/predict"] = routes[f"/models/{next(iter(service.models))}/predict"]
    return routes


def _get(reply: Callable[[], Reply]) -> dict[str, Handler]:
    """Answer GET with what is there at once."""

    async def handler(_: Scope, __: Receive) -> Reply:
        return reply()

    return {"GET": handler}


def _described(service: Service, name: str) -> Reply:
    return Reply(_encode(protocol.model_metadata(service.models[name])))


def service_of(
    service: Service,
    *,
    hosts: Collection[str] | None,
    token: str | None = None,
    lifespan: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> App:
    """Return the ASGI app of a service.

    Args:
        service: the models and the limits.
        hosts: the Host headers that are ours, of ``allowed_hosts``; None: any, which needs a token.
        token: what clients have to send; None: nothing.
        lifespan: an asynchronous context manager around all requests.

    Raises:
        SettingError: any host without a token.
    """
    routes = _routes(service)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()
            async with lifespan():
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        methods = routes.get(scope["path"])
        if methods is None:
            raise RefusalError(404, "there is nothing at this path; /docs lists what there is.")
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        if method not in methods:
            allowed = ", ".join([*methods, *(["HEAD"] if "GET" in methods else [])])
            raise RefusalError(405, f"this path takes {allowed}.", headers=[(b"allow", allowed.encode())])
        reply = await methods[method](scope, receive)
        headers = [
            (b"content-type", reply.media.encode()),
            (b"content-length", b"%d" % len(reply.body)),
            (b"cache-control", b"no-store"),
            *reply.headers,
        ]
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    guard = guarded(
        app, hosts=hosts, token=token, open_paths=OPEN_PATHS, most_body_bytes=service.limits.body_bytes,
        body_seconds=service.limits.body_seconds,
    )  # fmt: skip
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
    from plainnet.service.listen import listen, run, server_of

    limits = limits or Limits()
    if not is_local(host) and token is None:
        raise SettingError(
            f"--host {host} is reached from other machines, and needs a token: PLAINNET_TOKEN=$(openssl rand -hex 32), or --token."
        )
    with listen(host, port) as sock:
        port = sock.getsockname()[1]
        service = Service(read_models(paths, limits), limits, needs_token=token is not None)

        @asynccontextmanager
        async def following() -> AsyncIterator[None]:
            wake = asyncio.Event()
            is_main = threading.current_thread() is threading.main_thread()
            if is_main and hasattr(signal, "SIGHUP"):  # not on Windows: there only changes of the files are followed
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, wake.set)
            task = asyncio.create_task(follow(service.models, wake, limits.rows, service.replaced))
            ready(f"http://{'[' + host + ']' if ':' in host else host}:{port}")
            yield
            task.cancel()

        app = service_of(service, hosts=allowed_hosts(host, port, also_hosts), token=token, lifespan=following)
        try:
            run(server_of(app, host, port), sock)
        finally:
            service.close()
