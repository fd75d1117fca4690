"""Bad and odd input files, made from code: how each is written, and what becomes of it."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

N = 40
#: A good table: a number, a word, and a target that follows from both.
ROWS = [(f"{i / 4}", "north" if i % 3 else "south", "yes" if i >= 20 else "no") for i in range(N)]
HEADER = ("size", "place", "y")

Writer = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """A file, and what is expected.

    Attributes:
        name: of the case.
        write: writes the file.
        file: its name.
        train: how the table is trained on: the number of its rows, or what the error says.
        note: what is said of left-out rows or doubtful cells; "": nothing may be said.
        score: what scoring the file ends in, by its own model or, where there is none, by a good one: "works", or what the error says;
            None: the same as the training.
        predict: as above.
    """

    name: str
    write: Writer
    train: int | str
    file: str = "t.csv"
    note: str = ""
    score: str | None = None
    predict: str | None = None


def lines(rows=ROWS, header=HEADER, separator: str = ",", end: str = "\n") -> str:
    return end.join(separator.join(map(str, row)) for row in (header, *rows)) + end


def text(content: str, encoding: str = "utf-8") -> Writer:
    return lambda path: path.write_bytes(content.encode(encoding))


def data(content: bytes) -> Writer:
    return lambda path: path.write_bytes(content)


def column(values, name: str = "size") -> Writer:
    """The good table with other cells in one column."""
    place = HEADER.index(name)
    rows = [[*row[:place], value, *row[place + 1 :]] for row, value in zip(ROWS, values, strict=True)]
    return text(lines(rows))


def cycled(*values: str) -> list[str]:
    return [values[i % len(values)] for i in range(N)]


def changed(line: int, content: str) -> Writer:
    """The good table with another line; the header is line 1."""
    whole = lines().splitlines()
    whole[line - 1] = content
    return text("\n".join(whole) + "\n")


def frame() -> pl.DataFrame:
    return pl.DataFrame(ROWS, schema=list(HEADER), orient="row").with_columns(pl.col("size").cast(pl.Float64))


def cut(write: Callable[[pl.DataFrame, Path], object], share: float = 0.6) -> Writer:
    def write_and_cut(path: Path) -> None:
        write(frame(), path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return write_and_cut


def database(*statements: str) -> Writer:
    def write(path: Path) -> None:
        base = sqlite3.connect(path)
        for statement in statements:
            base.execute(statement)
        base.commit()
        base.close()

    return write


def linked(path: Path) -> None:
    (path.parent / "real.csv").write_text(lines())
    path.symlink_to("real.csv")


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("t.csv", lines())


def json_lines(rows) -> Writer:
    return text("\n".join(json.dumps(row) for row in rows) + "\n")


def objects() -> list[dict[str, object]]:
    return [dict(zip(HEADER, row, strict=True)) | {"size": float(row[0])} for row in ROWS]


def renamed(*header: str) -> Writer:
    return text(lines(header=header))


def wide(path: Path) -> None:
    """A hundred columns tell something, the others are constant: what is tried is reading, not training."""
    names = [f"c{j}" for j in range(10_000)]
    path.write_text(
        lines(
            [[*(i % (j + 2) for j in range(100)), *"0" * 9_900, y] for i, (_, _, y) in enumerate(ROWS)], [*names, "y"]
        )
    )


def levels(path: Path) -> None:
    path.write_text(lines([(i % 7, f"level {i}", "yes" if i % 3 else "no") for i in range(100_000)]))


UMLAUTS = lines([(a, {"north": "Köln", "south": "Zürich"}[b], y) for a, b, y in ROWS])
WORDS = lines([(a, {"north": "“café” 5 €", "south": "naïve…"}[b], y) for a, b, y in ROWS])

PAGE = "<!DOCTYPE html>\n<html><body>\n<p>Sorry, page 3, section 4</p>\n</body></html>\n"
DEEP = 100_000

ENCODINGS = [
    Case("utf-8 with a mark", text(UMLAUTS, "utf-8-sig"), N),
    Case("utf-16 with a mark", text(UMLAUTS, "utf-16"), N),
    Case(
        "utf-16 little endian without a mark",
        text(UMLAUTS, "utf-16-le"),
        "NUL .*line 1.*UTF-16 without a byte order mark",
    ),
    Case(
        "utf-16 big endian without a mark", text(UMLAUTS, "utf-16-be"), "NUL .*line 1.*UTF-16 without a byte order mark"
    ),
    Case("utf-32 with a mark", text(UMLAUTS, "utf-32"), N),
    Case("latin-1", text(UMLAUTS, "latin-1"), N),
    Case("cp1252 with curly quotes and a euro", text(WORDS, "cp1252"), N),
    Case("a broken byte in utf-8", data(UMLAUTS.encode().replace(b"yes", b"y\xffs", 1)), N),
    Case(
        "utf-8 with marks of two files joined",
        data(b"\xef\xbb\xbf" + lines().encode() + b"\xef\xbb\xbf"),
        "line 42: 1 cell, but the header has 3",
    ),
    Case(
        "NUL bytes",
        data(lines().encode().replace(b"north", b"nor\0th", 1)),
        "holds NUL or other control characters .the first in line 3.",
    ),
    Case("an odd number of utf-16 bytes", data(UMLAUTS.encode("utf-16")[:-1]), "begins as UTF-16 text but is damaged"),
    Case("emoji and Hebrew", text(lines([(a, b + "🙂שלום", y) for a, b, y in ROWS])), N),
    Case(
        "control characters",
        text(lines([(a, b + "\x1b[31m\x07", y) for a, b, y in ROWS])),
        "control characters .the first in line 2.",
    ),
]
SHAPES = [
    Case("a row too short", changed(7, "1.5,north"), "line 7: 2 cells, but the header has 3"),
    Case("a row too long", changed(9, "1.5,north,yes,more"), "line 9: 4 cells, but the header has 3"),
    Case(
        "a delimiter too many in each row",
        text(lines([(*row, "") for row in ROWS])),
        "line 2: 4 cells, but the header has 3",
    ),
    Case(
        "a delimiter too many in each line",
        text(lines([(*row, "") for row in ROWS], (*HEADER, ""))),
        N,
        note="were given the names 'column_4'",
    ),
    Case("a quote never closed", changed(5, '1.5,"north,yes'), "line 5: a quote is opened but never closed"),
    Case("a stray quote", changed(5, '1.5,nor"th,yes'), N),
    Case("a line break in a cell", changed(5, '1.5,"nor\nth",yes'), N),
    Case("an empty name", renamed("size", "", "y"), N, note="were given the names 'column_2'"),
    Case("the same name twice", renamed("size", "size", "y"), N, note="were given the names 'size_2'"),
    Case("the target's name twice", renamed("size", "y", "y"), N, note="were given the names 'y_2'"),
    Case(
        "no names but numbers",
        text(lines()[len("size,place,y\n") :]),
        "no column 'y'. It has: 0.0, south, no",
        predict="missing  size",
        score="no column 'y'",
    ),
    Case("a header alone", text("size,place,y\n"), "no rows"),
    Case("no bytes", data(b""), "empty"),
    Case("blanks alone", text(" \n\t\n  \n"), "empty"),
    Case("one row", text(lines(ROWS[:1])), "1 row cannot be split in two", score="works", predict="works"),
    Case(
        "two rows", text(lines([ROWS[0], ROWS[-1]])), "leaves 1 of 2 rows to train on", score="works", predict="works"
    ),
    Case("one column", text("y\n" + "yes\nno\n" * 20), "only the target column 'y'", predict="missing  size"),
    Case("blank lines", text(lines().replace("\n", "\n\n")), N),
    Case("carriage returns alone", text(lines(end="\r")), N),
    Case("line ends of three kinds", data(lines().encode().replace(b"\n", b"\r\n", 3).replace(b"no\n", b"no\r", 2)), N),
    Case("no line end at the end", text(lines().rstrip("\n")), N),
    Case(
        "a comment above the header", text("# exported on Monday\n" + lines()), "line 2: 3 cells, but the header has 1"
    ),
    Case("spaces around names and cells", text(lines(separator=" , ")), N),
    Case("the target in capitals", renamed("size", "place", "Y"), "no column 'y'.*did you mean 'Y'", predict="works"),
    Case("a name of 100 000 letters", renamed("s" * 100_000, "place", "y"), N),
    Case("names that look alike", renamed("plаce", "place", "y"), N),  # the first а is Cyrillic
    Case("a name with a line break", renamed('"si\nze"', "place", "y"), N),
    Case("a name like a prediction's", renamed("prediction", "place", "y"), N),
    Case("10 000 columns", wide, N),
    Case("100 000 levels", levels, 100_000),
]
NONFINITE = ("inf", "-inf", "Infinity", "INF", "+inf", "NaN", "nan", "NAN")
CELLS = [
    Case("a column without a value", column(cycled("")), N),
    Case(
        "every feature missing",
        text(lines([("", "NA", row[2]) for row in ROWS])),
        "no column can be used to predict: size: every cell is missing",
        score="works",
        predict="works",
    ),
    Case(
        "every feature constant",
        text(lines([("1", "north", row[2]) for row in ROWS])),
        "no column can be used to predict: size: every row holds 1",
        score="works",
        predict="works",
    ),
    Case(
        "whole numbers beyond 2**63",
        column([str(2**63 + i) for i in range(N)]),
        N,
        note="column 'size': whole numbers as long as 9223372036854775808 .*40 different ones became 1",
    ),
    Case("numbers beyond the largest", column(cycled("1e400", "2", "3")), N),
    Case("inf and nan spelt eight ways", column(cycled(*NONFINITE, "1", "2")), N),
    Case("numbers and words mixed", column(cycled("1", "two", "3.5", "true")), N),
    Case("decimal commas", text(lines([(a.replace(".", ","), b, y) for a, b, y in ROWS], separator=";")), N),
    Case(
        "decimal commas and thousands",
        text(lines([(f"1.{i:03d},5", b, y) for i, (_, b, y) in enumerate(ROWS)], separator=";")),
        N,
    ),
    Case(
        "a doubtful comma",
        text(lines([(f'"1,{i + 100}"', b, y) for i, (_, b, y) in enumerate(ROWS)])),
        N,
        note="column 'size': the mark in 1,100 could part thousands",
    ),
    Case("percent and currency signs", column(cycled("5 %", "$7", "3 €")), N),
    Case("leading zeros", column(cycled("01234", "00501", "10115")), N),
    Case("formulas", column(cycled("=cmd|' /C calc'!A0", "@SUM(1)", "+1"), "place"), N),
    Case("a cell of 1 MB", column(["w" * 2**20, *cycled("a", "b")[1:]], "place"), N),
    Case("dates as ISO", column([f"2026-01-{i % 28 + 1:02d}" for i in range(N)]), N),
    Case("dates with a time zone", column([f"2026-01-{i % 28 + 1:02d}T10:00:00+02:00" for i in range(N)]), N),
    Case("dates as in Germany", column([f"{i % 28 + 1:02d}.01.2026" for i in range(N)]), N),
    Case("dates as in the USA", column([f"01/{i % 28 + 1:02d}/2026" for i in range(N)]), N),
    Case("dates with names of months", column([f"{i % 28 + 1} Jan 2026" for i in range(N)]), N),
    Case("dates of two kinds", column(cycled("2026-01-02", "03.01.2026")), N),
    Case("a day that is none", column(["2026-02-30", *(f"2026-01-{i % 28 + 1:02d}" for i in range(1, N))]), N),
]
TARGETS = [
    Case(
        "a target without a value",
        column(cycled(""), "y"),
        "no row has a value in the target column 'y'",
        predict="works",
    ),
    Case(
        "a target with some missing",
        column(cycled("yes", "", "no"), "y"),
        N,
        note="13 rows without a value in 'y' are left out",
    ),
    Case("a constant number as target", column(cycled("5"), "y"), N),
    Case("one class", column(cycled("yes"), "y"), "one class", predict="works", score="works"),
    Case("a class of one row", column(["rare", *cycled("yes", "no")[1:]], "y"), N),
    Case(
        "every row a class of its own",
        column([f"class {i}" for i in range(N)], "y"),
        N,
        note="1 of 1 test rows are of classes without a training row",
        score="holds classes the training rows did not have",
        predict="works",
    ),
    Case(
        "a target of inf and nan spelt eight ways",
        column(cycled(*NONFINITE, "1", "2"), "y"),
        "column 'y' holds infinity in 20 rows",
        predict="works",
    ),
    Case(
        "a target beyond 2**63",
        column([str(2**63 + i) for i in range(N)], "y"),
        N,
        note="column 'y': whole numbers as long as .*40 different ones became 1",
    ),
    Case("a target of numbers and words", column(cycled("1", "two"), "y"), N),
    Case(
        "a target of dates",
        column([f"2026-01-{i % 28 + 1:02d}" for i in range(N)], "y"),
        "column 'y' is Date; it has to be text, numbers",
        predict="works",
    ),
    Case("a target of 1 and 0", column(cycled("1", "0"), "y"), N),
    Case("a target of true and false", column(cycled("true", "false"), "y"), N),
    Case(
        "huge numbers as target",
        column([f"{i}e300" for i in range(N)], "y"),
        "the target's numbers go up to 3.9e.301, too large to square",
        predict="works",
        score="holds classes the training rows did not have",
    ),
    Case("tiny numbers as target", column([f"{i}e-310" for i in range(N)], "y"), N),
    Case("classes that are formulas", column(cycled("=1+1", "@x"), "y"), N),
]
FILES = [
    Case("a link", linked, N),
    Case("a link that leads nowhere", lambda path: path.symlink_to("nowhere.csv"), "is a link that leads nowhere, to nowhere.csv"),
    Case("a link to itself", lambda path: path.symlink_to(path.name), "is a link that leads nowhere, to t.csv"),
    Case("a folder", lambda path: path.mkdir(), "is a folder"),
    Case("a device", lambda path: path.symlink_to("/dev/null"), "not a regular file"),
    Case("no file", lambda path: None, "does not exist"),
    Case("no suffix", text(lines()), "no suffix that is known", file="table"),
    Case("another suffix", text(lines()), "no suffix that is known", file="t.dat"),
    Case("a cut gzip file", data(gzip.compress(lines().encode())[:-20]), "damaged or cut short", file="t.csv.gz"),
    Case("text called gzip", text(lines()), "damaged or cut short", file="t.csv.gz"),
    Case("gzip called text", data(gzip.compress(lines().encode())), r"begins like gzip \(.gz\)"),
    Case("a bomb", data(gzip.compress(b"size,y\n" + b"0,1\n" * 2**20)), "becomes larger than 1,048,576 bytes", file="t.csv.gz"),
    Case("a cut Parquet file", cut(pl.DataFrame.write_parquet), "damaged", file="t.parquet"),
    Case("a cut Arrow file", cut(pl.DataFrame.write_ipc), "is not an arrow file, or it is damaged", file="t.arrow"),
    Case("a cut Excel file", cut(pl.DataFrame.write_excel), "damaged", file="t.xlsx"),
    Case("Parquet called text", lambda path: frame().write_parquet(path), "begins like Parquet"),
    Case("text called Parquet", text(lines()), "damaged", file="t.parquet"),
    Case("text called Excel", text(lines()), "damaged", file="t.xlsx"),
    Case("a zip archive called text", zipped, "zip archive"),
    Case("a web page called text", text(PAGE), "line 3: 3 cells, but the header has 1"),
    Case("JSON called text", json_lines(objects()), "no column 'y'. It has: .*size", predict="missing  size"),
    Case("JSON lines", json_lines(objects()), N, file="t.jsonl"),
    Case("JSON lines with a broken one", text("\n".join([*map(json.dumps, objects()[:5]), '{"size": }'])), "line 6", file="t.jsonl"),
    Case("JSON lines of numbers", text("1\n2\n"), "not an object", file="t.jsonl"),
    Case("JSON lines that lack keys", json_lines([*objects(), {"y": "no"}]), N + 1, file="t.jsonl"),
    Case("JSON lines with nested objects", json_lines([row | {"more": {"a": [1]}} for row in objects()]), N, file="t.jsonl"),
    Case("JSON nested deeper than any", text('[{"a":' + "[" * DEEP + "]" * DEEP + "}]"), "line 1, column 1: .*recursion", file="t.json"),
    Case("a Parquet file without rows", lambda path: frame().head(0).write_parquet(path), "no rows", file="t.parquet"),
    Case("a Parquet file with lists", lambda path: frame().with_columns(more=pl.lit([1, 2])).write_parquet(path), N, file="t.parquet"),
    Case("a database without tables", database(), "holds no tables", file="t.sqlite"),
    Case("a database of two tables", database("create table a (x)", "create table b (x)"), "holds 2 tables: 'a', 'b'", file="t.sqlite"),
    Case("garbage called a database", data(bytes(range(1, 256)) * 16), "file is not a database", file="t.sqlite"),
]  # fmt: skip
CASES = [*ENCODINGS, *SHAPES, *CELLS, *TARGETS, *FILES]
