"""How long ``import plainnet`` and ``plainnet --help`` take: medians of 11 fresh processes, beside ``import torch``."""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

HERE = Path(__file__).parent
COMMANDS = {
    "`python -c pass`": ["-c", "pass"],
    "`import plainnet`": ["-c", "import plainnet"],
    "`plainnet --help`": ["-m", "plainnet", "--help"],
    "`import torch`": ["-c", "import torch"],
}


def seconds(arguments):
    started = perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return perf_counter() - started


FIRST_STEP = """
import sys, time, torch
from torch import nn
model = nn.Sequential(nn.Linear(10, 15), nn.ReLU(), nn.Linear(15, 1), nn.Sigmoid())
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)  # here torch imports a second's worth of its own
started = time.perf_counter()
import plainnet
plainnet.train(model, torch.randn(100, 10), torch.rand(100, 1), loss=nn.MSELoss(), optimizer=optimizer, epochs=1, engine="fused")
print(time.perf_counter() - started)
"""


def steps():
    """Time from `import plainnet` to the end of the first fused step, with no machine code kept, and with it."""
    with tempfile.TemporaryDirectory() as folder:

        def first_step():
            environment = os.environ | {"PLAINNET_CACHE_DIR": folder}
            command = [sys.executable, "-c", FIRST_STEP]
            return float(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)

        cold = first_step()
        warm = median(first_step() for _ in range(5))
    what = "from `import plainnet` to the first fused step, torch being there: compiling it (once a machine; one run)"
    return [f"| {what} | {1000 * cold:.0f} |", f"| the same with the machine code kept | {1000 * warm:.0f} |"]


def main():
    lines = []
    for name, arguments in COMMANDS.items():
        seconds(arguments)  # the first fills the disk cache
        lines.append(f"| {name} | {1000 * median(seconds(arguments) for _ in range(11)):.0f} |")
        print(lines[-1], flush=True)
    first_steps = steps()
    text = f"""# Start-up

Written by `make bench`. Whole process, median of 11. {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.

| command | ms |
|---|---|
""" + "\n".join([*lines, *first_steps])
    (HERE / "results.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
