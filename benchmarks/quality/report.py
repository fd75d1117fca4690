"""results.md and a picture, from the rows of fits.csv: `python benchmarks/quality/report.py [PICTURE]`."""

import csv
import sys
from math import exp, log
from pathlib import Path
from statistics import mean, median

import matplotlib.pyplot as plt
from datasets import TABLES

HERE = Path(__file__).parent
PICTURE = HERE.parents[1] / "docs" / "benchmarks-quality.png"
HALVES = {"development": ("development",), "exam": ("exam",), "all": ("development", "exam")}
MEASURES = {"binary": "1 − AUC", "multiclass": "wrong classes", "regression": "RMSE / σ"}
OURS = ("plainnet", "plainnet_quick", "plainnet_best")
REFERENCE = "catboost"
FIVE_THOUSAND = 1_000  # test rows of a table of 5 000
# Okabe and Ito's colours, and a shape each, so that colours are not needed.
MARKS = {
    "plainnet": ("o", "#0072b2"),
    "plainnet_best": ("*", "#0072b2"),
    "lightgbm": ("s", "#009e73"),
    "xgboost": ("^", "#e69f00"),
    "random_forest": ("v", "#999999"),
    "sklearn_mlp": ("X", "#000000"),
    "realmlp_td": ("D", "#d55e00"),
    "realmlp_td_cv5": ("d", "#d55e00"),
    "realmlp_td_s": ("P", "#cc79a7"),
    "tabm": ("p", "#56b4e9"),
}


class Fits:
    """The newest fit of each table, peer and seed."""

    def __init__(self, rows):
        self.rows = {(row["table"], row["peer"], row["seed"]): row for row in rows}
        present = {peer for _, peer, _ in self.rows}
        self.peers = [peer for peer in (*OURS, REFERENCE, *MARKS) if peer in present]
        self.peers = list(dict.fromkeys(self.peers))
        self.tables = [name for name in TABLES if any(table == name for table, _, _ in self.rows)]

    def seeds(self, table, *peers):
        """Return the seeds that all these peers have for a table."""
        each = [{seed for name, who, seed in self.rows if (name, who) == (table, peer)} for peer in peers]
        return sorted(set.intersection(*each))

    def mean(self, table, peer, measure, seeds=None):
        """Return the mean of a measure over seeds (None: all of the peer's), None if there is none."""
        seeds = self.seeds(table, peer) if seeds is None else seeds
        values = [self.rows[table, peer, seed][measure] for seed in seeds]
        return mean(map(float, values)) if values and "" not in values else None

    def ratios(self, ours, peer, measure, halves):
        """Return, for each table of these halves that both have, the ratio of the means over the seeds that both have."""
        ratios = {}
        for table in self.tables:
            seeds = self.seeds(table, ours, peer)
            if TABLES[table].half in halves and seeds:
                mine, theirs = (self.mean(table, who, measure, seeds) for who in (ours, peer))
                if mine and theirs:  # neither without the measure nor without an error
                    ratios[table] = mine / theirs
        return ratios


def table_of(header, rows):
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)]
    return [*lines, ""]


def number(value, digits=4):
    return "" if value is None else f"{value:.{digits}f}"


def errors(fits, measure):
    """Return a line a table: the mean over seeds of each peer, the best in bold, † where the seeds are fewer than others'."""
    rows = []
    for table in fits.tables:
        values = {peer: fits.mean(table, peer, measure) for peer in fits.peers}
        seeds = {peer: len(fits.seeds(table, peer)) for peer in fits.peers}
        full = [value for peer, value in values.items() if value is not None and seeds[peer] == max(seeds.values())]
        if full:
            what = "log-loss" if measure == "log_loss" else MEASURES[TABLES[table].task]
            cells = []
            for peer, value in values.items():
                mark = "†" if value is not None and seeds[peer] < max(seeds.values()) else ""
                cells.append(f"**{value:.4f}**" if value == min(full) and not mark else f"{number(value)}{mark}")
            rows.append([table, TABLES[table].half, what, *cells])
    return table_of(["table", "half", "error", *fits.peers], rows)


def comparison(fits, ours, measure):
    """Return a line a peer: in each half the geometric mean of the ratios, and how often plainnet is the better one."""
    rows = []
    for peer in fits.peers:
        cells = []
        for halves in HALVES.values():
            ratios = [] if peer == ours else list(fits.ratios(ours, peer, measure, halves).values())
            if ratios:
                wins = sum(ratio < 1 for ratio in ratios)
                cells += [f"{exp(mean(map(log, ratios))):.3f}", f"{wins} of {len(ratios)}"]
            else:
                cells += ["", ""]
        if any(cells):
            rows.append([peer, *cells])
    header = [f"{ours} to", *(cell for half in HALVES for cell in (half, "better on"))]
    return table_of(header, rows) if rows else []


def costs(fits):
    """Return a line a peer: seconds, speed of predictions, calibration."""
    rows = []
    for peer in fits.peers:
        tables = [table for table in fits.tables if fits.seeds(table, peer)]
        seconds = [fits.mean(table, peer, "fit_seconds") for table in tables]
        speed = ""
        if "adult" in tables:
            row = fits.rows["adult", peer, fits.seeds("adult", peer)[0]]
            speed = f"{int(row['n_test']) / fits.mean('adult', peer, 'predict_seconds'):,.0f}"
        gaps = [
            fits.mean(table, peer, "calibration_error")
            for table in tables
            if TABLES[table].task == "binary"
            and int(fits.rows[table, peer, fits.seeds(table, peer)[0]]["n_test"]) >= FIVE_THOUSAND
        ]
        gap = [f"{mean(gaps):.4f}", f"{max(gaps):.4f}"] if gaps else ["", ""]
        rows.append([peer, str(len(tables)), f"{median(seconds):.2f}", f"{max(seconds):.1f}", speed, *gap])
    header = [
        "",
        "tables",
        "fit, median s",
        "fit, longest s",
        "predicted rows/s, adult",
        "calibration error",
        "largest",
    ]
    return table_of(header, rows)


def uncapped(fits):
    """Return a line a table and peer fitted to all training rows."""
    rows = []
    for table in fits.tables:
        for peer in fits.peers:
            if seeds := fits.seeds(table, peer):
                n_train = int(fits.rows[table, peer, seeds[0]]["n_train"])
                error, loss, seconds = (fits.mean(table, peer, what) for what in ("error", "log_loss", "fit_seconds"))
                what = MEASURES[TABLES[table].task]
                line = [peer, what, number(error), number(loss), f"{seconds:.1f}", ", ".join(seeds)]
                rows.append([table, f"{n_train:,}", *line])
    return table_of(["table", "training rows", "peer", "error", "value", "log-loss", "fit s", "seeds"], rows)


def facts(rows, fits):
    """Return the seeds of each peer, the versions and the machines of the rows shown."""
    seeds = {
        peer: "/".join(sorted({str(len(fits.seeds(table, peer))) for table in fits.tables} - {"0"}))
        for peer in fits.peers
    }
    versions = sorted({f"{row['peer']} {row['version']}" for row in rows})
    machines = sorted({f"{row['machine']}, {row['threads']} threads" for row in rows})
    dates = sorted({row["date"] for row in rows})
    return [
        f"Seeds a table: {', '.join(f'{peer} {count}' for peer, count in seeds.items())}.",
        f"Machine: {'; '.join(machines)}; {dates[0]} to {dates[-1]}.",
        f"Versions: {', '.join(versions)}.",
    ]


def page(rows):
    capped = Fits([row for row in rows if row["capped"] == "1" and row["half"] != "size"])
    whole = Fits([row for row in rows if row["capped"] == "0"])
    shown = [*capped.rows.values(), *whole.rows.values()]
    ours = [peer for peer in OURS if peer in capped.peers]
    lines = [
        "# Quality of the defaults", "",
        "Written by `make bench-quality`. 20 % test rows, at most 10 000 training rows, everyone at their defaults on the same rows",
        "([peers.py](peers.py) has the exceptions). Lower is better. `development` tables were used to choose plainnet's",
        "defaults, `exam` tables were not.", "",
        *facts(shown, capped), "",
        "![Errors as multiples of CatBoost's](../../docs/benchmarks-quality.png)", "",
        "## plainnet beside each peer", "",
    ]  # fmt: skip
    if ours:
        lines += [
            "The geometric mean of the ratios of errors, tables weighing the same: below 1, plainnet errs less.",
            "",
        ]
        for measure, title in (("error", "Errors"), ("log_loss", "Log-loss")):
            lines += [f"### {title}", ""]
            for who in ours:
                lines += comparison(capped, who, measure)
    else:
        lines += ["plainnet has no fits yet.", ""]
    lines += [
        "## Errors",
        "",
        "† over fewer seeds than the others: not to be compared across; the ratios above take the seeds both have.",
        "",
    ]
    lines += [*errors(capped, "error"), "## Log-loss", "", *errors(capped, "log_loss")]
    lines += ["## Time and calibration", "",
              "Seconds include each peer's own preprocessing. Calibration: expected calibration error on the binary tables of at",
              "least 5 000 rows, 15 bins.", "", *costs(capped)]  # fmt: skip
    if whole.tables:
        lines += ["## All training rows", "", *uncapped(whole)]
    return "\n".join(lines).rstrip() + "\n"


def picture(fits, path):
    """Draw the errors as multiples of CatBoost's: a row a table, a mark a peer."""
    tables = [table for half in HALVES["all"] for table in fits.tables if TABLES[table].half == half]
    peers = [peer for peer in MARKS if peer in fits.peers]
    figure, ax = plt.subplots(figsize=(9, 0.42 * len(tables) + 1.6))
    for i, peer in enumerate(peers):
        ratios = fits.ratios(peer, REFERENCE, "error", HALVES["all"])
        places = [tables.index(table) + 0.64 * ((i + 0.5) / len(peers) - 0.5) for table in ratios]
        marker, color = MARKS[peer]
        look = {
            "s": 80 if peer in OURS else 46,
            "zorder": 4 if peer in OURS else 3,
            "edgecolors": "white",
            "linewidths": 0.5,
        }
        ax.scatter(list(ratios.values()), places, marker=marker, color=color, label=peer, **look)
    for i in range(0, len(tables), 2):
        ax.axhspan(i - 0.5, i + 0.5, color="#f2f2f2", zorder=0)
    n_first = sum(TABLES[table].half == "development" for table in tables)
    ax.axhline(n_first - 0.5, color="#555555", linewidth=0.8)
    for first, half in ((0, "development"), (n_first, "exam")):
        ax.text(1.01, first - 0.4, half, rotation=270, va="top", transform=ax.get_yaxis_transform(), fontsize=8)
    ax.axvline(1, color="black", linewidth=1)
    ax.set(xscale="log", xlabel="error, CatBoost = 1 (left is better)", ylim=(len(tables) - 0.5, -0.5))
    ax.set_yticks(range(len(tables)), tables)
    ticks = [
        tick for tick in (0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 5) if ax.get_xlim()[0] < tick < ax.get_xlim()[1]
    ]
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.grid(axis="x", alpha=0.3)
    figure.legend(loc="upper center", ncols=5, fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0, 1, 1 - 0.5 / figure.get_figheight()))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    with (HERE / "fits.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    path = Path(sys.argv[1]) if sys.argv[1:] else PICTURE
    (HERE / "results.md").write_text(page(rows), encoding="utf-8")
    picture(Fits([row for row in rows if row["capped"] == "1" and row["half"] != "size"]), path)


if __name__ == "__main__":
    main()
