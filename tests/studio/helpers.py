"""What the studio's tests share: a client that is let in, a server for the browser."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx

from plainnet.studio.state import Studio
from plainnet.studio.studio import app_of

PORT = 8420
HOST = f"127.0.0.1:{PORT}"


class Client:
    """Asks the app without a port; each call is one request."""

    def __init__(self, work: Path) -> None:
        self.studio = Studio(work)
        self.app = app_of(self.studio, "127.0.0.1", PORT)
        self.cookies = {f"plainnet_studio_{PORT}": self.studio.key}

    def ask(self, method: str, path: str, *, host: str = HOST, let_in: bool = True, **options: Any) -> httpx.Response:
        async def asked() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(
                transport=transport, base_url=f"http://{host}", cookies=self.cookies if let_in else None
            ) as client:
                return await client.request(method, path, **options)

        return asyncio.run(asked())

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)

    def train(self, **order: Any) -> str:
        """Train, wait, and return the run's name."""
        answer = self.post("/api/train", json=order)
        assert answer.status_code == 200, answer.text
        session = self.studio.session
        session.join(120)
        assert session.phase == "done", session.error
        return session.run_name


def until(condition: Any, seconds: float = 60) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.03)
