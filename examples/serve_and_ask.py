"""Train, serve the model over HTTP, and ask it: the client needs nothing but Python's standard library."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import plainnet


def ask(url: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Send rows, and return the service's answer."""
    body = json.dumps({"rows": rows}).encode()
    request = Request(f"{url}/predict", body, {"Content-Type": "application/json"})  # noqa: S310 - our own service
    with urlopen(request, timeout=30) as reply:  # noqa: S310 - as above
        answer: dict[str, Any] = json.load(reply)
    return answer


def main(rows: int = 5000, effort: str = "quick") -> dict[str, Any]:
    """Return the answer for five people."""
    adult = plainnet.load_adult()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "income.safetensors"
        plainnet.NetClassifier(effort=effort).fit(adult.head(rows), "income").save(model)
        # In a shell: plainnet serve income.safetensors. Port 0 is any that is free; the first line says which.
        command = [sys.executable, "-m", "plainnet", "serve", str(model), "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                url = server.stdout.readline().split(" at ")[1].split()[0]
                answer = ask(url, adult.tail(5).drop("income").to_dicts())
            finally:
                server.terminate()
    for label, (_, over) in zip(answer["predictions"], answer["probabilities"], strict=True):
        print(f"{label:6} (more than 50K with a probability of {over:.2f})")
    return answer


if __name__ == "__main__":
    main()
