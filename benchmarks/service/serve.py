"""Requests a second of ``plainnet serve``, beside the same model behind MLflow's server, and FastAPI with scikit-learn.

    python benchmarks/service/serve.py [--requests 20000] [--memory-requests 100000] [--peer] [--write]

The load comes from this process: 64 keep-alive connections, each with one request of one row under way. Rows of the bundled table. Run
it on a quiet machine: the server and the load share its cores.
"""

import argparse
import asyncio
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import plainnet

HERE = Path(__file__).parent
CONNECTIONS = 64


class Connection(asyncio.Protocol):
    """Sends one request after the other, and notes how long each took."""

    def __init__(self, bodies, left, seconds, done):
        self.bodies, self.left, self.seconds, self.done = bodies, left, seconds, done
        self.buffer, self.number = bytearray(), 0

    def connection_made(self, transport):
        """Send the first request."""
        self.transport = transport
        self.send()

    def send(self):
        """Send the next request, or end."""
        if not self.left[0]:
            self.transport.close()
            self.done.set_result(None)
            return
        self.left[0] -= 1
        self.number += 1
        self.began = time.perf_counter()
        self.transport.write(self.bodies[self.left[0] % len(self.bodies)])

    def data_received(self, data):
        """Note the time of a whole answer, and send the next request."""
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self.buffer[:end]).lower()
        size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(self.buffer) < end + 4 + size:
            return
        if not head.startswith(b"http/1.1 200"):
            raise SystemExit(bytes(self.buffer).decode())
        self.seconds.append(time.perf_counter() - self.began)
        self.buffer.clear()
        self.send()


async def load(port, bodies, requests, connections):
    """Send requests; return their seconds, and the seconds of all."""
    loop, left, seconds, ends = asyncio.get_running_loop(), [requests], [], []
    began = time.perf_counter()
    for _ in range(connections):
        done = loop.create_future()
        await loop.create_connection(lambda done=done: Connection(bodies, left, seconds, done), "127.0.0.1", port)
        ends.append(done)
    await asyncio.gather(*ends)
    return np.array(seconds), time.perf_counter() - began


def request(port, media, body, route="/predict"):
    """One request as bytes."""
    head = f"POST {route} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def memory(pid):
    """Resident MiB of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def measure(port, bodies, requests, connections=CONNECTIONS):
    """Requests a second and latencies in milliseconds."""
    asyncio.run(load(port, bodies, min(1000, requests), connections))  # warm
    seconds, whole = asyncio.run(load(port, bodies, requests, connections))
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return {"requests_per_second": round(len(seconds) / whole), "p50_ms": round(p50, 2), "p99_ms": round(p99, 2)}


def start(command, environment=None):
    """Start a server and wait for its first line."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | (environment or {}))
    return process, process.stdout.readline()


def own(folder, table, members):
    """Train a model; return its file."""
    path = folder / "adult.safetensors"
    plainnet.NetClassifier(members=members, epochs=3).fit(table, "income").save(path)
    return path


def peer(folder, table, port):
    """Train and start the peer."""
    import joblib
    from sklearn.compose import make_column_selector, make_column_transformer
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = table.to_pandas()
    encode = make_column_transformer(
        (StandardScaler(), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
    model = make_pipeline(encode, MLPClassifier(max_iter=3)).fit(frame.drop(columns="income"), frame["income"])
    joblib.dump(model, folder / "peer.joblib")
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "peer:app",
        "--app-dir",
        str(HERE),
        "--port",
        str(port),
        "--no-access-log",
    ]
    process = subprocess.Popen(
        command, env=os.environ | {"PEER_MODEL": str(folder / "peer.joblib")}, stderr=subprocess.DEVNULL
    )
    time.sleep(15)
    return process


def mlflow_peer(folder, path, port):
    """Put the same model behind MLflow's scoring server, one process."""
    import mlflow.pyfunc

    saved = folder / "mlflow"
    mlflow.pyfunc.save_model(
        saved, loader_module="mlflow_peer", data_path=str(path), code_paths=[str(HERE / "mlflow_peer.py")],
        conda_env={"dependencies": []},
    )  # fmt: skip
    environment = os.environ | {"__pyfunc_model_path__": str(saved), "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "mlflow.pyfunc.scoring_server.app:app",
        "--port",
        str(port),
        "--no-access-log",
    ]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    time.sleep(20)
    return process


def ours(folder, table, members, arguments):
    """Measure ``plainnet serve`` with a pack of so many members; return the figures, and the model's file."""
    rows, results = table.drop("income").head(2000), {}
    path = own(folder, table.head(5000), members)
    process, line = start([sys.executable, "-m", "plainnet", "serve", str(path), "--port", "0"])
    try:
        port = int(line.split("127.0.0.1:")[1].split("/")[0].split()[0])
        singles = [request(port, "application/json", json.dumps(row).encode()) for row in rows.to_dicts()]
        results["single rows"] = measure(port, singles, arguments.requests)
        buffer = io.BytesIO()
        many = table.drop("income").sample(arguments.bulk_rows, with_replacement=True, seed=0)
        many.write_ipc_stream(buffer)
        body = request(port, "application/vnd.apache.arrow.stream", buffer.getvalue())
        bulk = measure(port, [body], 20, connections=1)
        results["Arrow"] = bulk | {"rows_per_second": round(arguments.bulk_rows / bulk["p50_ms"] * 1000)}
        if arguments.memory_requests:
            before = memory(process.pid)
            asyncio.run(load(port, singles, arguments.memory_requests, CONNECTIONS))
            results["memory_mib"] = {"before": round(before, 1), "after": round(memory(process.pid), 1)}
    finally:
        process.terminate()
        process.wait()
    return results, path


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--memory-requests", type=int, default=100_000)
    parser.add_argument("--bulk-rows", type=int, default=20_000)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    table = plainnet.load_adult()
    records = table.drop("income").head(2000).to_dicts()
    results = {"cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for label, members in (("the default pack", None), ("a single network", 1)):
            results[label], path = ours(folder, table, members, arguments)
        peers = {
            "a single network behind MLflow, single rows": (
                lambda: mlflow_peer(folder, path, 8766), 8766, "/invocations", lambda row: {"dataframe_records": [row]},
            ),
            "FastAPI and scikit-learn, single rows": (
                lambda: peer(folder, table.head(5000), 8765), 8765, "/predict", lambda row: [row],
            ),
        }  # fmt: skip
        for label, (begin, port, route, body) in peers.items() if arguments.peer else ():
            process = begin()
            try:
                singles = [request(port, "application/json", json.dumps(body(row)).encode(), route) for row in records]
                results[label] = measure(port, singles, arguments.requests // 10)
            finally:
                process.terminate()
                process.wait()
    print(json.dumps(results, indent=1))
    if arguments.write:
        (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
