"""docs/benchmarks.md and its pictures, from training.json and results.md."""

from pathlib import Path

import matplotlib.pyplot as plt

WHAT = {
    "rows": "rows of the table",
    "width": "width of two hidden layers",
    "depth": "hidden layers of 64",
    "batch": "rows in a batch",
}
QUALITY = """## How good that is

![Errors of all as multiples of CatBoost's, table by table](benchmarks-quality.png)

[Every table, its peers, log-losses and calibration](../benchmarks/quality/results.md), written by `make bench-quality`.

## What is repeated how

| figures | command | written to |
|---|---|---|
| trainings, start-up, one row | `make bench` | this page, `benchmarks/speed/` |
| start-up and one row alone | `make bench-startup` | `benchmarks/speed/results.md` |
| quality on real tables | `make bench-quality`, with their folder in `PLAINNET_DATA` | `benchmarks/quality/results.md` |
| exported ONNX files beside their models | `make bench-onnx`, as above | the screen |
| tables larger than memory | `python benchmarks/scan/scan.py` | `benchmarks/scan/results.md` |
| predictions over HTTP, beside other servers | `python benchmarks/service/serve.py` | the screen |
"""
BLUE, ORANGE = "#0072b2", "#d55e00"


def write(results, docs):
    """Write the page and its pictures."""
    bars(results, docs / "benchmarks-works.png")
    growth(results, docs / "benchmarks-growth.png")
    (docs / "benchmarks.md").write_text(page(results), encoding="utf-8")


def page(results):
    startup = (Path(__file__).parent / "results.md").read_text(encoding="utf-8").splitlines()
    startup = ["## Start-up and one row", "", *startup[startup.index("") + 1 :], ""]
    return "\n".join([*trainings(results), "", *startup, QUALITY])


def trainings(results):
    mm = results["mm"]
    lines = [
        "# Benchmarks", "",
        "Written by `make bench`. What else is measured, and how it is repeated, stands at the end.", "",
        "## How fast it trains", "",
        "`benchmarks/speed/training.py` measures, in one process and in turns, and asserts that all end at",
        "the same loss (peers that draw their own first weights: at about the same). The figure is the median of five rounds.", "",
        f"Machine: {results['machine']}.", "",
        "![Times of the peers as multiples of plainnet's](benchmarks-works.png)", "",
        "| work | who | seconds | × plainnet |", "|---|---|---|---|",
    ]  # fmt: skip
    for result in results["works"]:
        threads = f"{result['threads']} thread{'s' if result['threads'] > 1 else ''}"
        ours = result["seconds"]["plainnet"]
        for i, (who, seconds) in enumerate(result["seconds"].items()):
            name = f"{result['work']} ({threads})" if i == 0 else ""
            few = result["rounds"].get(who, 5)
            note = " (1 round)" if few == 1 else ""
            lines.append(
                f"| {name} | {who}{note} | {seconds:.4f} | {'' if who == 'plainnet' else f'{seconds / ours:.1f}'} |"
            )
    lines += [
        "", "How close it is to the machine: the matrix products alone, in GFLOP/s, beside `torch.mm` at its best size",
        f"({mm['1']:.0f} with one thread, {mm['2']:.0f} with two).", "",
        "| work | µs a step | GFLOP/s |", "|---|---|---|",
    ]  # fmt: skip
    for result in results["works"]:
        step = result["seconds"]["plainnet"] / result["steps"] * 1e6
        lines.append(f"| {result['work']} | {step:.1f} | {result['gflops']:.1f} |")
    if not results["compiler"]:
        lines += ["", "`torch.compile` needs a C++ compiler, and this machine had none."]
    lines += ["", "How the time of a step grows (two threads; Adam; the plain loop with torch's fused Adam and rows put in order once an",
              "epoch):", "", "![Time of a step against rows, width, depth and batch](benchmarks-growth.png)", "",
              "| what grows | value | plainnet, µs a step | the loop | × |", "|---|---|---|---|---|"]  # fmt: skip
    for what, value, ours, theirs in results["growth"]:
        lines.append(f"| {WHAT[what]} | {value:,} | {ours:.1f} | {theirs:.1f} | {theirs / ours:.1f} |")
    return lines


def bars(results, path: Path):
    rows = [
        (f"{result['work']}: {who}", seconds / result["seconds"]["plainnet"])
        for result in results["works"]
        for who, seconds in result["seconds"].items()
        if who != "plainnet"
    ]
    figure, ax = plt.subplots(figsize=(9, 0.34 * len(rows) + 1))
    ax.barh([name for name, _ in rows], [ratio for _, ratio in rows], color=BLUE)
    for i, (_, ratio) in enumerate(rows):
        ax.text(ratio * 1.05, i, f"{ratio:.1f} ×", va="center", fontsize=8)
    ax.axvline(1, color="black", linewidth=1)
    ax.set(xscale="log", xlabel="time, plainnet = 1", xlim=(0.5, max(ratio for _, ratio in rows) * 2))
    ax.invert_yaxis()
    ax.tick_params(axis="y", labelsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def growth(results, path: Path):
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.5))
    for ax, what in zip(axes.flat, WHAT, strict=True):
        points = [row[1:] for row in results["growth"] if row[0] == what]
        ax.loglog([p[0] for p in points], [p[2] for p in points], "s--", color=ORANGE, label="the plain loop")
        ax.loglog([p[0] for p in points], [p[1] for p in points], "o-", color=BLUE, label="plainnet, fused")
        ax.set(xlabel=WHAT[what], ylabel="µs a step")
        ax.grid(visible=True, alpha=0.3)
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
