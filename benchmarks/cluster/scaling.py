"""One network on 1, 2 and 4 workers of this machine, beside what docs/cluster.md says on paper: make bench-cluster.

python benchmarks/cluster/scaling.py            measures, and writes benchmarks/cluster/results.md
python benchmarks/cluster/scaling.py --paper    writes the paper's own table into docs/cluster.md; measures nothing
"""

import os
import platform
import re
import sys
from math import log, sqrt
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "cluster.md"
FEATURES, WIDTH = 100, 256
WEIGHTS = FEATURES * WIDTH + WIDTH + WIDTH * WIDTH + WIDTH + WIDTH + 1
PAPER = {"a_row": 5e-6, "a_message": 30e-6, "bytes_a_second": 1.25e9, "update": 1e-4}
#: Bytes a second between processes of one machine; what is sent is small beside it.
LOOPBACK = 5e9


def share(batch, workers):
    """Return about the largest number of rows of a batch that one worker has by chance."""
    return batch / workers + sqrt(2 * log(workers) * batch / workers) if workers > 1 else batch


def bytes_a_step(workers):
    """Return what a ring all-reduce of the gradient sends from each worker."""
    return 2 * (workers - 1) / workers * 4 * (WEIGHTS + 3)


def step_seconds(batch, workers, *, a_row, a_message, bytes_a_second, update):
    """Return the time of a step, as docs/cluster.md says."""
    exchange = 2 * (workers - 1) * a_message + bytes_a_step(workers) / bytes_a_second
    return a_row * share(batch, workers) + exchange + update


def paper():
    """Return the table of the page."""
    lines = [
        "| workers | MB a step | steps a second, B = 8 192 | efficiency | steps a second, B = 65 536 | efficiency |",
        "|---|---|---|---|---|---|",
    ]
    for workers in (1, 2, 4, 8, 16, 32, 64):
        cells = [f"{workers}", f"{bytes_a_step(workers) / 1e6:.2f}"]
        for batch in (8192, 65_536):
            alone, now = (step_seconds(batch, n, **PAPER) for n in (1, workers))
            cells += [f"{1 / now:,.0f}" if now < 0.1 else f"{1 / now:.1f}", f"{100 * alone / (workers * now):.0f} %"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def measured(workers, *, batch, n_rows, width, features, epochs):
    """Return the seconds of a step: the median over epochs, the first left out."""
    import torch
    from torch import nn

    from plainnet import cluster

    torch.manual_seed(0)
    x = torch.randn(n_rows, features)
    layers = [nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)]
    model = nn.Sequential(*layers)
    history = cluster.train(
        model, x, x[:, :1], loss=nn.MSELoss(), optimizer=torch.optim.AdamW(model.parameters()), epochs=epochs, batch_size=batch,
        engine="fused", workers=workers, progress=False,
    )  # fmt: skip
    return median(history.seconds[1:]) / -(-n_rows // batch)


def main():
    if "--paper" in sys.argv:
        text = PAGE.read_text()
        PAGE.write_text(
            re.sub(r"(<!-- paper[^\n]*-->\n).*?(\n<!-- end -->)", lambda m: m[1] + paper() + m[2], text, flags=re.S)
        )
        return
    import torch

    from plainnet.cluster.connect import connected

    cores = len(os.sched_getaffinity(0))
    with connected("local", 4):
        size = {"n_rows": 65_536, "width": WIDTH, "features": FEATURES, "epochs": 6}
        seconds = {(w, b): measured(w, batch=b, **size) for b in (1024, 8192) for w in (1, 2, 4)}
        import ray  # not before: it reads where to listen when it is imported

        tiny = {w: measured(w, batch=64, n_rows=6400, width=1, features=1, epochs=6) for w in (1, 2, 4)}
    a_row = (seconds[1, 8192] - seconds[1, 1024]) / (8192 - 1024)
    found = {
        "a_row": a_row, "a_message": max(0.0, (tiny[2] - tiny[1]) / 2), "bytes_a_second": LOOPBACK,
        "update": max(0.0, seconds[1, 1024] - 1024 * a_row),
    }  # fmt: skip
    machine = (
        f"Written by `make bench-cluster`. {platform.machine()}, {cores} cores, Python {platform.python_version()}, "
        f"torch {torch.__version__}, Ray {ray.__version__}; {FEATURES}-{WIDTH}-{WIDTH}-1, {size['n_rows']:,} rows, AdamW, the median of "
        f"{size['epochs'] - 1} epochs."
    )
    constants = (
        f"Found on 1 worker, and on 2 with a tiny network: g = {1e6 * a_row:.2f} µs a row, u = {1e3 * found['update']:.2f} ms, "
        f"a = {1e6 * found['a_message']:.0f} µs a message; n = {LOOPBACK / 1e9:g} GB/s is assumed."
    )
    lines = [
        "# One network on several workers of one machine",
        "",
        machine,
        "",
        constants,
        "",
        "| workers | rows in a batch | ms a step | on paper | efficiency | on paper |",
        "|---|---|---|---|---|---|",
    ]
    for (workers, batch), took in seconds.items():
        alone, said = (step_seconds(batch, n, **found) for n in (1, workers))
        own = seconds[1, batch] / (workers * took)
        lines.append(
            f"| {workers} | {batch:,} | {1e3 * took:.2f} | {1e3 * said:.2f} | {100 * own:.0f} % | {100 * alone / (workers * said):.0f} % |"
        )
    if cores < 4:
        lines += [
            "",
            f"This machine has {cores} cores: more workers than cores wait for each other, which the paper does not know.",
        ]
    (HERE / "results.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
