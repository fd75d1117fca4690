"""How long ``import plainnet`` and ``plainnet --help`` take: medians of 11 fresh processes, beside ``import torch``."""

import os
import platform
import subprocess
import sys
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


def main():
    lines = []
    for name, arguments in COMMANDS.items():
        seconds(arguments)  # the first fills the disk cache
        lines.append(f"| {name} | {1000 * median(seconds(arguments) for _ in range(11)):.0f} |")
        print(lines[-1], flush=True)
    text = f"""# Start-up

Written by `make bench`. Whole process, median of 11. {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}.

| command | ms |
|---|---|
""" + "\n".join(lines)
    (HERE / "results.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
