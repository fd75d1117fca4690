"""How long trainings take, beside the peers a user would otherwise take: `make bench-speed`.

Every peer does the same work in the same process and in turns; the figure is the median of the rounds, the ratio that of the
medians. Writes training.json beside this file, and docs/benchmarks.md with its pictures from it (`--pictures` only does that).
"""

import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=true"
import peers
import torch
from peers import Work
from torch import nn

HERE = Path(__file__).parent
ROUNDS = 5


def timed(function, work):
    """Return (seconds, loss); a contestant in a process of its own returns both itself."""
    started = perf_counter()
    loss = function(work)
    return loss if isinstance(loss, tuple) else (perf_counter() - started, loss)


def measure(name, work, contestants, *, rounds=None, threads=2, tolerance=1e-3, loose=()):
    """Time contestants in turns. All have to reach plainnet's final loss, those in ``loose`` (own first weights) about it."""
    torch.set_num_threads(threads)
    rounds = rounds or {}
    seconds, losses = {who: [] for who in contestants}, {}
    for who, function in contestants.items():
        if who not in rounds:
            timed(function, work)  # warm
    for turn in range(ROUNDS):
        for who, function in contestants.items():
            if turn < rounds.get(who, ROUNDS):
                taken, losses[who] = timed(function, work)
                seconds[who].append(taken)
    ours = losses["plainnet"]
    for who, loss in losses.items():
        allowed = 0.5 if who in loose else tolerance
        assert abs(loss / ours - 1) < allowed, f"{name}: {who} ends at {loss}, plainnet at {ours}"
    medians = {who: median(values) for who, values in seconds.items()}
    rate = work.flops / medians["plainnet"] / 1e9
    for who, value in medians.items():
        print(f"{name}: {who} {value:.4f} s, {value / medians['plainnet']:.2f} ×", flush=True)
    return {"work": name, "threads": threads, "seconds": medians, "losses": losses, "gflops": rate, "steps": work.steps,
            "rounds": {who: len(values) for who, values in seconds.items()}}  # fmt: skip


def tutorial():
    return Work((10, 15, 1), 100, 100, 5000, "sgd", 0.01, last=nn.Sigmoid, classes=False)


def works():
    """Yield the results, one work at a time."""
    work = tutorial()
    contestants = {
        "plainnet": peers.fused,
        "the loop by hand": peers.loop_by_hand,
        "JAX, lax.scan": peers.jax_program(work),
    }
    if has_compiler():
        contestants["the loop, torch.compile"] = peers.compiled_step
        contestants["C++ for this one network"] = peers.cpp_program(HERE / "tutorial.cpp")
    yield measure("the tutorial, 5 000 epochs", work, contestants, threads=1)

    work = Work((100, 100, 2), 50_000, 200, 2)
    yield measure("50 000 × 100, hidden 100, batch 200, Adam", work, {
        "plainnet": peers.fused, "scikit-learn MLPClassifier": peers.sklearn_mlp, "loop with DataLoader": peers.data_loader_loop,
        "loop, fused Adam, slices": peers.best_eager, "skorch": peers.skorch, "JAX": peers.jax_program(work),
    }, loose=("scikit-learn MLPClassifier", "loop with DataLoader", "skorch"))  # fmt: skip

    for batch, rows in ((256, 49_920), (1024, 50_176)):
        work = Work((54, 256, 256, 7), rows, batch, 1)
        yield measure(f"50 000 × 54, hidden 256-256, batch {batch:,}", work, {
            "plainnet": peers.fused, "loop, fused Adam, slices": peers.best_eager, "scikit-learn MLPClassifier": peers.sklearn_mlp,
            "JAX": peers.jax_program(work),
        }, loose=("scikit-learn MLPClassifier",))  # fmt: skip

    work = Work((784, 200, 10), 5000, 1, 1, "sgd", 0.1, nn.Sigmoid, nn.Sigmoid, classes=False)
    yield measure("784-200-10, batch 1, SGD", work, {
        "plainnet": peers.fused, "NumPy": peers.numpy_online, "the loop by hand": peers.loop_by_hand,
    })  # fmt: skip

    work, count = tutorial(), 256
    result = measure(f"{count} tutorial networks", work, {
        "plainnet": lambda w: peers.many_networks(w, count), "JAX, vmap": peers.jax_vmap_program(work, count),
    }, rounds={"JAX, vmap": 1})  # fmt: skip
    result["seconds"]["the loop by hand, once × 256"] = count * median(
        timed(peers.loop_by_hand, work)[0] for _ in range(3)
    )
    result["gflops"] *= count
    yield result


def growth():
    """Yield (what grows, value, microseconds a step of plainnet, of the plain loop)."""
    torch.set_num_threads(2)
    base = {"rows": 10_000, "width": 64, "depth": 2, "batch": 128}
    ranges = {"rows": (1000, 10_000, 100_000, 1_000_000), "width": (8, 16, 32, 64, 128, 256, 512, 1024), "depth": (1, 2, 4, 8),
              "batch": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)}  # fmt: skip
    for what, values in ranges.items():
        for value in values:
            now = base | {what: value}
            rows = max(now["rows"], 32 * now["batch"]) if what == "rows" else 200 * now["batch"]
            rows = min(rows, max(32 * now["batch"], 10_000)) if what == "batch" else rows
            work = Work((20, *[now["width"]] * now["depth"], 2), rows, now["batch"], 1)
            timed(peers.fused, work)
            ours = min(timed(peers.fused, work)[0] for _ in range(3)) / work.steps * 1e6
            theirs = min(timed(peers.best_eager, work)[0] for _ in range(1 if rows > 10**5 else 2)) / work.steps * 1e6
            print(f"{what} {value}: {ours:.1f} µs a step, the loop {theirs:.1f}", flush=True)
            yield [what, value, ours, theirs]


def best_mm():
    """GFLOP/s of torch.mm at its best size, with one and with two threads."""
    found = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        rates = []
        for n in (256, 512, 1024, 2048):
            a, b, c = torch.randn(n, n), torch.randn(n, n), torch.empty(n, n)
            seconds = min(timed(lambda _, a=a, b=b, c=c: torch.mm(a, b, out=c), None)[0] for _ in range(8))
            rates.append(2 * n**3 / seconds / 1e9)
        found[str(threads)] = max(rates)
    return found


def has_compiler():
    from shutil import which

    return which("g++") is not None


def machine():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    names = ("torch", "numba", "numpy", "scikit-learn", "jax", "skorch")
    return f"{cpu}, {os.cpu_count()} cores; Python {platform.python_version()}, " + ", ".join(
        f"{n} {version(n)}" for n in names
    )


def main():
    path = HERE / "training.json"
    if "--pictures" not in sys.argv:
        results = {
            "machine": machine(),
            "compiler": has_compiler(),
            "works": list(works()),
            "growth": list(growth()),
            "mm": best_mm(),
        }
        path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    import pages

    pages.write(json.loads(path.read_text(encoding="utf-8")), HERE.parents[1] / "docs")


if __name__ == "__main__":
    main()
