"""The text of a CSV, TSV or TXT file -> a frame of named, typed columns.

Nothing is asked of the user: the encoding, the delimiter and the quoting are found out from the bytes.

There are two readers. The fast one is polars; it is trusted only where the file is regular, which is checked by
counting: quotes stand only at the ends of cells, and there are exactly (columns - 1) delimiters a row outside of the
cells. (polars alone fills short rows up in silence.) Any other file goes through Python's csv module: ten times slower,
forgiving about stray quotes and blank lines, and able to name the line of a row that is too short or too long.

Both read strings only; cells.py finds the types afterwards over all rows, so that row 10 001 cannot contradict a guess
made on the first hundred.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import warnings
from collections.abc import Sequence
from itertools import islice

import numpy as np
import polars as pl

from plainnet.errors import DataWarning, TableError
from plainnet.tables.cells import as_number, find_types
from plainnet.tables.wording import listed

__all__ = ["decode", "read_text", "unique_names"]

# The order decides between delimiters that fit equally well: a tab or a semicolon at the same place of every row is
# hardly ever part of the text, a comma may be (decimal commas, sentences).
DELIMITERS = ("\t", ";", "|", ",")
SAMPLE_BYTES, SAMPLE_ROWS = 256 * 1024, 1000
END = "\0"  # stands for the end of the file; it cannot be in the file, since NUL characters are refused


def read_text(data: bytes, where: str) -> pl.DataFrame:
    """Read the bytes of a delimited text file; the first row is the header.

    Args:
        data: the whole file, decompressed.
        where: the name of the file, for messages.

    Returns:
        One column a header cell, typed; missing cells are null.

    Raises:
        TableError: no text, no rows, rows of different lengths, or a quote that is never closed.
    """
    text = decode(data, where)
    if not text.strip():
        raise TableError(f"{where} is empty. A table needs a header line and at least one row below it.")
    separator, text = _find_separator(text)
    cells = _read_regular(text, separator)
    if cells is None:
        cells = _read_irregular(text, separator, where)
    names = unique_names(cells.row(0), where)
    rows = cells[1:]
    if rows.is_empty():
        raise TableError(f"{where} has a header ({listed(names)}) but no rows. Put at least one row below it.")
    rows.columns = names
    return find_types(rows, where, decimal_comma=separator == ";")


def decode(data: bytes, where: str) -> bytes:
    """Turn the bytes of a text file, in whichever encoding, into UTF-8 without a byte order mark.

    Args:
        data: UTF-8, or UTF-16 or UTF-32 with a byte order mark, or Windows-1252 (else Latin-1).
        where: the name of the file, for messages.

    Returns:
        The same text in UTF-8.

    Raises:
        TableError: the bytes are not text.
    """
    marks = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}
    encoding = next((name for mark, name in marks.items() if data.startswith(mark)), None)
    if encoding is not None:
        try:
            data = data.decode(encoding).encode()
        except UnicodeError as error:
            raise TableError(f"{where} begins as {encoding} text but is damaged: {error}. Save it as UTF-8.") from None
    data = data.removeprefix(codecs.BOM_UTF8)
    head = np.frombuffer(data[:SAMPLE_BYTES], dtype=np.uint8)
    controls = np.flatnonzero((head < 9) | ((head > 13) & (head < 32)))
    nul = data.find(b"\0")
    if nul >= 0 or len(controls) > 0.05 * len(head):
        line = data.count(b"\n", 0, nul if nul >= 0 else int(controls[0])) + 1
        raise TableError(
            f"{where} is not text: it holds NUL or other control characters (the first in line {line}), so it is a binary file, or "
            "UTF-16 without a byte order mark. Give it the suffix of its real format, or save it as UTF-8."
        )
    if _is_utf8(data):
        return data
    try:
        return data.decode("cp1252").encode()
    except UnicodeDecodeError:  # five bytes mean nothing in Windows-1252; in Latin-1 every byte means something
        return data.decode("latin-1").encode()


def unique_names(header: Sequence[str | None], where: str) -> list[str]:
    """Give every column a name of its own, and warn about each that the header did not give.

    Args:
        header: the header cells, None or "" where there is none.
        where: the name of the file, for the warnings.

    Returns:
        ``a, a, None`` -> ``a, a_2, column_3``; surrounding space is stripped.
    """
    given = [(cell or "").strip() for cell in header]
    taken, used = set(given), set[str]()
    names: list[str] = []
    for position, cell in enumerate(given, start=1):
        base, count = cell or f"column_{position}", 1
        name = base
        # A made name must not take one that another header cell bears: a, a, a_2 -> a, a_3, a_2.
        while name in used or (name != cell and name in taken):
            count += 1
            name = f"{base}_{count}"
        used.add(name)
        names.append(name)
    made = [name for name, cell in zip(names, given, strict=True) if name != cell]
    if made:
        message = f"{where}: header cells that are empty or there twice were given the names {listed(made)}."
        warnings.warn(message, DataWarning, stacklevel=6)
    present = pl.Series([cell for cell in given if cell], dtype=pl.String)
    if as_number(present) is not None:
        message = (
            f"{where}: the first row ({listed(given)}) is all numbers and was taken as the header. If it is data, put "
            "a line with column names above it."
        )
        warnings.warn(message, DataWarning, stacklevel=6)
    return names


def _is_utf8(data: bytes) -> bool:
    """Decode piece by piece and throw the text away, so that a large file does not exist twice."""
    step = 1 << 24
    try:
        for _ in codecs.iterdecode((data[start : start + step] for start in range(0, len(data), step)), "utf-8"):
            pass
    except UnicodeDecodeError:
        return False
    return True


def _find_separator(text: bytes) -> tuple[str, bytes]:
    """Find the delimiter: the one that parts most rows of a sample into as many cells as the header has.

    A first line ``sep=;``, which Excel writes and obeys, settles it; that line is emptied.
    """
    told = re.match(rb"sep=(.)\r?\n", text)
    if told:
        return told[1].decode(), text[told.end() - 1 :]
    sample = text[:SAMPLE_BYTES].decode(errors="ignore")
    best, best_score = ",", (0.0, 0.0)
    for separator in DELIMITERS:
        try:
            reader = csv.reader(io.StringIO(sample, newline=""), delimiter=separator, skipinitialspace=True)
            widths = [len(row) for row in islice(reader, SAMPLE_ROWS) if row]
        except csv.Error:  # a cell longer than the csv module takes: a quote that closes nowhere
            continue
        if len(text) > SAMPLE_BYTES and len(widths) > 2:
            widths.pop()  # the row that the end of the sample cut
        header, rows = widths[0], widths[1:] or widths[:1]
        if header > 1:
            score = (sum(n == header for n in rows) / len(rows), sum(n > 1 for n in rows) / len(rows))
            if score > best_score:
                best, best_score = separator, score
    return best, text


def _read_regular(text: bytes, separator: str) -> pl.DataFrame | None:
    """Read all cells as strings with polars; None if the file is not regular (see the top of this file)."""
    if text[:1] in (b"\n", b"\r") or text[-2:] == b"\n\n" or text[-3:] == b"\n\r\n":
        text = text.strip(b"\r\n")
    # Carriage returns alone end lines for the csv module only; a delimiter too many at the very end polars lets pass.
    if text.count(b"\r") != text.count(b"\r\n") or text.endswith(separator.encode()):
        return None
    has_quotes = b'"' in text
    if has_quotes and not _quotes_are_regular(text, separator):
        return None
    try:
        cells = pl.read_csv(
            text, has_header=False, infer_schema=False, separator=separator, quote_char='"' if has_quotes else None
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
    if cells.width == 1 and (b"\n\n" in text or b"\n\r\n" in text or not (cells.item(0, 0) or "").strip()):
        return None  # in a single column, only the csv module tells a blank line from a missing cell
    n_separators = text.count(separator.encode())
    if has_quotes:
        n_separators -= sum(cells.select(pl.all().str.count_matches(separator, literal=True).sum()).row(0))
    return cells if n_separators == (cells.width - 1) * cells.height else None


def _quotes_are_regular(text: bytes, separator: str, step: int = 1 << 26) -> bool:
    """Check that every quote opens a cell, closes one, or is doubled inside of one."""
    characters, quote = np.frombuffer(text, dtype=np.uint8), ord('"')
    before = np.array([ord(separator), ord("\n"), quote], dtype=np.uint8)
    after = np.array([ord(separator), ord("\n"), ord("\r"), quote], dtype=np.uint8)
    n_quotes = 0
    for start in range(0, len(text), step):
        where = np.flatnonzero(characters[start : start + step] == quote) + start
        # Even quotes open and odd ones close; a doubled quote closes a cell and opens it again at once.
        opening, closing = where[n_quotes % 2 :: 2], where[1 - n_quotes % 2 :: 2]
        n_quotes += len(where)
        opening, closing = opening[opening > 0], closing[closing < len(text) - 1]
        if not np.isin(characters[opening - 1], before).all() or not np.isin(characters[closing + 1], after).all():
            return False
    return n_quotes % 2 == 0


def _read_irregular(text: bytes, separator: str, where: str) -> pl.DataFrame:
    """Read all cells as strings with the csv module, skip blank lines, and name the line of what does not fit."""
    lines = io.StringIO(text.decode() + f"\n{END}\n", newline="")
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    rows: list[list[str]] = []
    line = 1
    try:
        for row in reader:
            if row == [END]:
                break
            if row and END in row[-1]:
                raise TableError(f"{where}, line {line}: a quote is opened but never closed. Close it, or delete it.")
            if row and (len(row) > 1 or row[0].strip() or (rows and len(rows[0]) == 1)):
                rows.append(row)
                if len(row) != len(rows[0]):
                    name = "tab" if separator == "\t" else separator
                    raise TableError(
                        f"{where}, line {line}: {len(row)} cell{'s' * (len(row) != 1)}, but the header has {len(rows[0])}. The "
                        f"delimiter found is {name!r}; put quotes around cells that hold it, or complete the row."
                    )
            line = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"{where}, line {line}: {error}. Is there a quote that is never closed?") from None
    if not rows:
        raise TableError(f"{where} is empty. A table needs a header line and at least one row below it.")
    return pl.DataFrame([pl.Series(f"column_{i}", cells, pl.String) for i, cells in enumerate(zip(*rows, strict=True))])
