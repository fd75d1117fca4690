"""The last part of an exported script: answers, and the command line. It is copied from the line below on."""

from __future__ import annotations

import csv
import sys
from typing import Any

import numpy as np

from plainnet.export.script_encode import COLUMNS, level_name, moment_of, number_of
from plainnet.export.script_numpy import TARGET, joint

# ---- Answers ---------------------------------------------------------------------------------------------------------


def predict_proba(rows: dict[str, list[Any]]) -> np.ndarray:
    """Return the probability of each class or label: {column: N cells} -> float32 (N, classes)."""
    if TARGET["kind"] not in ("classes", "labels"):
        raise SystemExit("This model predicts numbers: call predict.")
    return joint(rows).astype(np.float32)


def predict(rows: dict[str, list[Any]]) -> list[Any]:
    """Return what is predicted of each row: {column: N cells} -> N answers."""
    return answers_of(joint(rows))


def answers_of(said: np.ndarray) -> list[Any]:
    """Turn what the pack says, (N, outputs), into N answers."""
    if TARGET["kind"] == "classes":  # the most probable class
        answers = [TARGET["classes"][best] for best in said.argmax(axis=1)]
    elif TARGET["kind"] == "labels":  # 1 for each label that is more probable than not
        answers = (said > 0.5).astype(int).tolist()
    else:  # back from the target's own unit
        values = said * np.array(TARGET.get("scale", TARGET["mean"]))
        if "scale" in TARGET:
            values = values + np.array(TARGET["mean"])
        is_single = TARGET["is_1d"] and "quantiles" not in TARGET
        answers = (values[:, 0] if is_single else values).tolist()
    return answers


# ---- The command line: a CSV file -> predictions ---------------------------------------------------------------------

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")


def read_rows(path: str) -> dict[str, list[Any]]:
    """Read a CSV file with a header line, its cells parted by commas, semicolons or tabs, numbers written as 1234.5."""
    with open(path, newline="", encoding="utf-8-sig") as file:  # noqa: PTH123
        first = file.readline()
        file.seek(0)
        table = list(csv.reader(file, delimiter=max(",;\t", key=first.count)))
    header, lines = [name.strip() for name in table[0]] if table else [], [line for line in table[1:] if line]
    if not lines or any(len(line) != len(header) for line in lines):
        raise SystemExit(f"{path} has no rows, or a row with more or fewer cells than its header.")
    cells = {name: [line[k].strip() for line in lines] for k, name in enumerate(header)}
    kinds = {column["name"]: column["read_as"] for column in COLUMNS}
    return {name: [read_cell(cell, kinds.get(name, "")) for cell in column] for name, column in cells.items()}


def read_cell(cell: str, read_as: str) -> Any:
    """Return a cell as it was read in training: numbers and true or false are not text there."""
    if cell in MISSING:
        return None
    if read_as == "Boolean" and cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    if read_as.startswith(("Int", "UInt", "Float")):
        try:
            return int(cell) if cell.lstrip("+-").isdigit() else float(cell)
        except ValueError:
            return cell
    return cell


def note_strange_cells(rows: dict[str, list[Any]]) -> None:
    """Say on the error output how many cells are nothing that the training rows held, or held often enough to learn from."""
    for column in COLUMNS:
        cells = [cell for cell in rows[column["name"]] if cell is not None]
        if column["kind"] == "number":
            strange = [cell for cell in cells if not np.isfinite(number_of(cell))]
        elif column["kind"] == "date":
            strange = [cell for cell in cells if moment_of(cell, column["date_format"]) is None]
        else:
            strange = [cell for cell in cells if level_name(cell) not in column["levels"]]
        if strange:
            told = f"{len(strange)} cells of {column['name']!r}, such as {strange[0]!r}, count as rare or missing"
            sys.stderr.write(f"Note: {told}: training held no such {column['kind']}, or few.\n")


def main() -> None:
    """Print the predictions for the rows of a CSV file, as CSV."""
    if len(sys.argv) != 2:
        raise SystemExit(f"Usage: python {sys.argv[0]} rows.csv")
    rows = read_rows(sys.argv[1])
    out = csv.writer(sys.stdout, lineterminator="\n")
    said = joint(rows)
    note_strange_cells(rows)
    answers = answers_of(said)
    if TARGET["kind"] == "classes":
        out.writerow(["prediction", *(f"probability {name}" for name in TARGET["classes"])])
        out.writerows([answer, *line] for answer, line in zip(answers, said.astype(np.float32).tolist(), strict=True))
    elif TARGET["kind"] == "labels":
        out.writerow([f"{what} {k}" for what in ("label", "probability") for k in range(TARGET["labels"])])
        out.writerows([*answer, *line] for answer, line in zip(answers, said.astype(np.float32).tolist(), strict=True))
    else:
        lines = [answer if isinstance(answer, list) else [answer] for answer in answers]
        names = [f"quantile {share:g}" for share in TARGET.get("quantiles", ())]
        names = names or ["prediction"] * (len(lines[0]) == 1) or [f"prediction {k}" for k in range(len(lines[0]))]
        out.writerow(names)
        out.writerows(lines)


if __name__ == "__main__":
    main()
