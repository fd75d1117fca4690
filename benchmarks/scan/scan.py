"""Training piece by piece beside the same training in memory: peak memory, rows a second, AUC, over growing tables.

Each training runs in a process of its own, on tables of 20 columns that are made in a temporary folder (some 80 MB for each million rows;
TMPDIR names another place). Writes results.md and scan.png beside this file, anew after each training.

    python benchmarks/scan/scan.py                  10^5 … 10^7 rows, 2 networks, 3 epochs: about ten minutes on two cores
    python benchmarks/scan/scan.py --rows 100000 1000000 --members 18 --epochs 10
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import polars as pl

HERE = Path(__file__).parent
FILE_ROWS, TEST_ROWS = 250_000, 200_000
LEVELS = (3, 5, 8, 12, 20, 50, 300, 3000)
#: What a row takes in memory while a table is trained on as a whole, and the share of the machine's memory that may be taken.
ROW_BYTES, MEMORY_SHARE = 4600, 0.6
#: What is asked: MiB beyond the imports, share of the speed in memory, difference of AUC.
MOST_MIB, LEAST_SPEED, MOST_AUC = 1536, 0.7, 0.002


def made(n_rows, seed):
    """Some rows: ten numbers, eight categories, a flag, a date, and a target of two classes that follows from some of them."""
    rng = np.random.RandomState(seed)
    numbers = {f"n{k}": rng.standard_normal(n_rows) if k % 2 else rng.exponential(size=n_rows) for k in range(10)}
    codes = {f"c{k}": (rng.power(0.5, n_rows) * levels).astype(int) for k, levels in enumerate(LEVELS)}
    flag, day = rng.rand(n_rows) < 0.3, rng.randint(15_000, 19_000, n_rows)
    logit = (
        numbers["n0"] * numbers["n1"] + np.sin(3 * numbers["n3"]) + 0.5 * numbers["n5"] ** 2 - 1.2
        + np.cos(codes["c2"]) + 0.8 * np.sin(codes["c5"] * 7.0) + flag * numbers["n7"] + np.sin(day / 58)
    )  # fmt: skip
    numbers["n9"][rng.rand(n_rows) < 0.05] = np.nan
    columns = numbers | {name: pl.Series([f"v{code}" for code in own.tolist()]) for name, own in codes.items()}
    columns |= {"flag": flag, "day": pl.Series(day.astype(np.int32)).cast(pl.Date)}
    y = np.where(rng.rand(n_rows) < 1 / (1 + np.exp(-logit)), "yes", "no")
    return pl.DataFrame(columns | {"y": y})


def write(folder, n_rows):
    folder.mkdir(exist_ok=True)
    for number, first in enumerate(range(0, n_rows, FILE_ROWS)):
        made(min(FILE_ROWS, n_rows - first), seed=number).write_parquet(folder / f"{number:04}.parquet")


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # MiB, on Linux


def measure(folder, mode, settings):
    """Train once; print one line of JSON."""
    from sklearn.metrics import roc_auc_score

    import plainnet
    import plainnet.packs.streamed

    before = peak()
    test = pl.read_parquet(folder.parent / "test.parquet")
    few = made(1000, seed=1)
    plainnet.NetClassifier(**(settings | {"epochs": 1})).fit(few, "y")  # compiles what it needs
    table = plainnet.scan_table(folder) if mode == "streamed" else folder
    used, started = processor(), perf_counter()
    classifier = plainnet.NetClassifier(**settings).fit(table, "y")
    seconds, used = perf_counter() - started, processor() - used
    own = peak() - before
    print(
        json.dumps(
            {
                "mode": mode,
                "rows": classifier.schema_.n_rows,
                "members": len(classifier.members_),
                "epochs": len(classifier.history_),
                "seconds": seconds,
                "processor": used,
                "training": float(classifier.history_.seconds.sum()),
                "visits": sum(len(member.history) for member in classifier.members_) * classifier.schema_.n_rows,
                "mib": own,
                "auc": roc_auc_score(test["y"] == "yes", classifier.predict_proba(test)[:, 1]),
            }
        )
    )


def processor():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def beside(found):
    """Return a line for each size that was trained both ways, and one for a larger one beside the largest of these."""
    streamed, whole = (
        {each["rows"]: each for each in found if each["mode"] == mode} for mode in ("streamed", "memory")
    )
    lines = []
    for rows, own in streamed.items():
        if not whole:
            break
        other = whole.get(rows) or whole[max(whole)]
        speed, work = ((own["visits"] / own[key]) / (other["visits"] / other[key]) for key in ("seconds", "processor"))
        same = f"{own['auc'] - other['auc']:+.4f}" if rows in whole else ""
        asked = f" (±{MOST_AUC})" if same else ""
        lines.append(
            f"| {rows:,} | {other['rows']:,} | {speed:.0%} ({LEAST_SPEED:.0%}) | {work:.0%} | {same}{asked} | "
            f"{own['mib']:,.0f} MiB ({MOST_MIB:,}) |"
        )
    return lines


def report(found, settings, load):
    import plainnet

    arguments = ", ".join(f"{name}={value}" for name, value in settings.items())
    lines = [
        "# Piece by piece, and in memory\n",
        "Written by `python benchmarks/scan/scan.py`. Tables of 20 columns (ten numbers, eight categories of 3 to 3 000 levels,",
        f"a flag, a date), a target of two classes; `NetClassifier({arguments})`, the AUC on {TEST_ROWS:,} further rows. A fit",
        "begins with files and ends with networks. Rows a second are rows times members times epochs, over its seconds, or those",
        "of all processors together. Memory is the peak of the process beyond what it had after its imports. Networks differ by the",
        "rows that they hold out where those are in memory, by how they see numbers and how wide they are where they are streamed.\n",
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, plainnet {plainnet.__version__};",
        f"processes that wanted a core in the minute before: {load:.1f}.\n",
        "| rows | | members, epochs | fit | of it training | processors | rows a second | memory | AUC |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each['rows']:,} | {each['mode']} | {each['members']}, {each['epochs']} | {each['seconds']:.1f} s | {each['training']:.1f} s | "
        f"{each['processor']:.1f} s | {each['visits'] / each['seconds']:,.0f} | {each['mib']:,.0f} MiB | {each['auc']:.4f} |"
        for each in found
    ]
    lines += [
        "\nPiece by piece beside the same in memory, where that fits the machine, else beside the largest that does; in brackets",
        "what is asked for.\n",
        "| rows | in memory | rows a second | per processor second | AUC | memory |",
        "|---|---|---|---|---|---|",
        *beside(found),
    ]
    (HERE / "results.md").write_text("\n".join(lines) + "\n\n![Memory and seconds over rows](scan.png)\n")


def draw(found):
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for ax, key, label in zip(axes, ("mib", "seconds"), ("peak memory, MiB", "fit, seconds"), strict=True):
        for mode in ("streamed", "memory"):
            own = [each for each in found if each["mode"] == mode]
            if own:
                ax.loglog([each["rows"] for each in own], [max(each[key], 1) for each in own], "o-", label=mode)
        ax.set(xlabel="rows", ylabel=label)
    axes[0].axhline(MOST_MIB, color="gray", linestyle=":", label="1.5 GiB")
    last = [each for each in found if each["mode"] == "streamed"][-1]
    rows = np.array([min(each["rows"] for each in found), last["rows"]])
    axes[1].loglog(
        rows, last["seconds"] * rows / last["rows"], color="gray", linestyle=":", label="in proportion to rows"
    )
    for ax in axes:
        ax.legend()
    figure.savefig(HERE / "scan.png", dpi=120)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10**5, 3 * 10**5, 10**6, 3 * 10**6, 10**7])
    parser.add_argument("--members", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=3)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    parser.add_argument(
        "--memory-up-to", type=int, default=int(memory * MEMORY_SHARE / ROW_BYTES),
        help="rows up to which the table is trained in memory, too  [default: what fits this machine]",
    )  # fmt: skip
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)  # a single training: folder and mode
    given = parser.parse_args()
    settings = {"members": given.members, "epochs": given.epochs}
    if given.one:
        return measure(Path(given.one[0]), given.one[1], settings)
    found, load = [], os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name:
        made(TEST_ROWS, seed=10**6).write_parquet(Path(name) / "test.parquet")
        for n_rows in given.rows:
            folder = Path(name) / f"{n_rows}"
            write(folder, n_rows)
            for mode in ("streamed", "memory") if n_rows <= given.memory_up_to else ("streamed",):
                options = [f"--{key}={value}" for key, value in settings.items()]
                command = [sys.executable, __file__, "--one", str(folder), mode, *options]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found.append(json.loads(done.stdout.splitlines()[-1]))
                print(found[-1], flush=True)
                report(found, settings, load)
                draw(found)
            shutil.rmtree(folder)
    return None


if __name__ == "__main__":
    main()
