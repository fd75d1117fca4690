"""What a client sends  ->  rows of one model's columns, or a sentence that names the row and the column.

JSON is decoded by msgspec into a type made from the schema, which checks every cell on the way at the cost of no second pass.
What it refuses is looked at again, slowly, for the sentence. CSV is read as ``read_table`` reads files.
"""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from plainnet.errors import TableError
from plainnet.service.cells import JSON_TYPES, POLARS_TYPES, WORDS, about, cell_type, checked, read_dates, short
from plainnet.service.guard import RefusalError
from plainnet.tables.frames import plain_types
from plainnet.tables.rows import MOST_CELLS
from plainnet.tables.schema import Column, Schema
from plainnet.tables.text import read_text
from plainnet.tables.wording import did_you_mean

__all__ = ["Intake", "Row"]

#: The cells of one row, in the order of the model's columns.
Row = tuple[Any, ...]

#: Names that are compared for a suggestion: each takes microseconds.
MOST_COMPARED = 100
#: Delimiters in a line of CSV beyond those of the schema's columns: each may become a column, which takes a kilobyte.
MOST_DELIMITERS = 1000

LISTS = {name: types.GenericAlias(list, (each,)) for name, each in JSON_TYPES.items()}

#: The beginning of ``{"rows": [`` and ``{"columns": {``: a row's cells are never an array or an object.
WRAPPED = re.compile(rb'\s*\{\s*"(?:(rows)"\s*:\s*\[|(columns)"\s*:\s*\{)')


@dataclass(frozen=True)
class Intake:
    """Reads rows of one schema.

    Attributes:
        columns: those that the network sees.
        left_out: names of the schema's other columns: they may be there, and are not read.
        types: of the cells of each column, as in ``cell_type``.
        most_rows: of a request.
    """

    columns: tuple[Column, ...]
    left_out: frozenset[str]
    types: tuple[str, ...]
    most_rows: int
    _one: msgspec.json.Decoder[Any]
    _many: msgspec.json.Decoder[Any]
    _rows: msgspec.json.Decoder[Any]
    _columns: msgspec.json.Decoder[Any]

    @classmethod
    def of(cls, schema: Schema, most_rows: int) -> Intake:
        """Make the types that JSON is decoded into.

        >>> column = Column("hours-per-week", "number", "Int64", "Int64")
        >>> intake = Intake.of(Schema((column,), 10), most_rows=2)
        >>> intake.rows_of_json(b'[{"hours-per-week": 40}, {"hours-per-week": null}]')
        [(40.0,), (None,)]
        """
        columns = schema.used
        left_out = frozenset(column.name for column in schema.left_out)
        types = tuple(map(cell_type, columns))
        names = {f"c{k}": column.name for k, column in enumerate(columns)}
        ignored = {f"i{k}": name for k, name in enumerate(sorted(left_out))}
        cells: list[Any] = [(f"c{k}", JSON_TYPES[each]) for k, each in enumerate(types)]
        unread = [(field, str | float | bool | None, None) for field in ignored]
        lists: list[Any] = [(f"c{k}", LISTS[each]) for k, each in enumerate(types)]
        unread_lists = [(field, list[str | float | bool | None], ()) for field in ignored]
        settings: dict[str, Any] = {"forbid_unknown_fields": True, "frozen": True, "gc": False}
        row = msgspec.defstruct("Row", cells + unread, rename=names | ignored, **settings)
        table = msgspec.defstruct("Columns", lists + unread_lists, rename=names | ignored, **settings)
        rows = msgspec.defstruct("Rows", [("rows", list[row])], **settings)  # type: ignore[valid-type]
        wrapped = msgspec.defstruct("Wrapped", [("columns", table)], **settings)
        one, many, of_rows, of_columns = map(msgspec.json.Decoder, (row, list[row], rows, wrapped))  # type: ignore[valid-type]
        return cls(columns, left_out, types, most_rows, one, many, of_rows, of_columns)

    def rows_of_json(self, body: bytes) -> list[Row]:
        """Read ``{…}``, ``[{…}, …]``, ``{"rows": [{…}, …]}`` or ``{"columns": {"name": […], …}}``.

        Raises:
            RefusalError: 400 where it is no JSON, 422 where it is not rows of these columns, 413 where they are too many.
        """
        wrapped = WRAPPED.match(body)
        names = len(self.columns)
        try:
            if wrapped is None and body.lstrip()[:1] == b"[":
                structs = self._many.decode(body)
                colons = names * len(structs)
            elif wrapped is None:
                structs, colons = [self._one.decode(body)], names
            elif wrapped[1]:
                structs = self._rows.decode(body).rows
                colons = names * len(structs) + 1
            else:
                lists = msgspec.structs.astuple(self._columns.decode(body).columns)[:names]
                structs, colons = [], names + 1
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._explained(body) from None
        if body.count(b":") > colons:  # in a text, in a column that is not read, or of a key that is there twice
            _parsed(body)  # which refuses the last
        if structs or wrapped is None or wrapped[1]:
            rows = [msgspec.structs.astuple(struct)[:names] for struct in structs]
        elif len(set(map(len, lists))) > 1:
            raise self._explained(body)
        else:
            rows = list(zip(*lists, strict=True))
        if not 0 < len(rows) <= self.most_rows:
            raise self._wrong_number(len(rows))
        return self._with_dates(rows) if "date" in self.types else rows

    def table_of(self, rows: Sequence[Row]) -> pl.DataFrame:
        """Return rows as a table."""
        cells: Iterable[Row] = zip(*rows, strict=True)
        columns = zip(self.columns, self.types, cells, strict=True)
        return pl.DataFrame([pl.Series(column.name, own, dtype=POLARS_TYPES[each]) for column, each, own in columns])

    def cells_of(self, rows: Sequence[Row]) -> pl.DataFrame | dict[str, list[Any]]:
        """Return rows as the estimators read them soonest: few as a dict of columns, more as a table."""
        if len(rows) * len(self.columns) > MOST_CELLS:
            return self.table_of(rows)
        names = (column.name for column in self.columns)
        return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))

    def table_of_lists(self, lists: dict[str, list[Any]]) -> pl.DataFrame:
        """Check columns that were decoded already, each a list of cells, and return them as a table.

        Raises:
            RefusalError: as ``rows_of_json``.
        """
        if problem := self._strange_columns(lists):
            raise problem
        rows: list[Row] = list(zip(*(lists[column.name] for column in self.columns), strict=True))
        if not 0 < len(rows) <= self.most_rows:
            raise self._wrong_number(len(rows))
        return self.table_of(self._with_dates(rows) if "date" in self.types else rows)

    def table_of_csv(self, body: bytes) -> pl.DataFrame:
        """Read CSV with a header line: any delimiter, as files are read.

        Raises:
            RefusalError: as ``rows_of_json``.
        """
        most = MOST_DELIMITERS + 2 * (len(self.columns) + len(self.left_out))
        if any(line.count(mark) > most for line in body.splitlines() for mark in (b",", b";", b"\t", b"|")):
            what = f"a line holds more than {most:,} delimiters, and the model has {len(self.columns):,} columns."
            raise RefusalError(422, what)
        try:
            table = read_text(body, "the body")
        except TableError as error:
            raise RefusalError(422, str(error)) from None
        return self.checked(table)

    def checked(self, table: pl.DataFrame) -> pl.DataFrame:
        """Bring the columns of a table to the types they were fitted with.

        Raises:
            RefusalError: a column is missing, is none of the model's, or has a cell that is no value of its kind.
        """
        if not 0 < table.height <= self.most_rows:
            raise self._wrong_number(table.height)
        if problem := self._strange_names(table.columns):
            raise problem
        table = plain_types(table.select(column.name for column in self.columns))
        return pl.DataFrame([checked(c, each, table[c.name]) for c, each in zip(self.columns, self.types, strict=True)])

    def _with_dates(self, rows: list[Row]) -> list[Row]:
        cells: list[Any] = list(zip(*rows, strict=True))
        for place, column in enumerate(self.columns):
            if self.types[place] == "date":
                cells[place] = read_dates(column, cells[place])
        return list(zip(*cells, strict=True))

    def _wrong_number(self, n_rows: int) -> RefusalError:
        if n_rows == 0:
            return RefusalError(422, "the request holds no rows. Send at least one.")
        what = f"the request holds {n_rows:,} rows; at most {self.most_rows:,} are taken. Send it in parts."
        return RefusalError(413, what)

    # What was wrong, found slowly.

    def _explained(self, body: bytes) -> RefusalError:
        content = _parsed(body)
        if isinstance(content, dict) and len(content) == 1 and isinstance(content.get("columns"), dict):
            lists = content["columns"]
            for name, cells in lists.items():
                if not isinstance(cells, list):
                    return about(f"{short(cells)} is no list of cells.", None, name)
            return self._strange_columns(lists) or RefusalError(422, "the columns do not fit the model.")
        if isinstance(content, dict) and isinstance(content.get("rows"), list):
            if more := [name for name in content if name != "rows"]:
                return RefusalError(422, f'beside "rows" stands {more[0]!r:.80}, which is not known.')
            content = content["rows"]
        rows = content if isinstance(content, list) else [content]
        for number, row in enumerate(rows):
            if problem := self._strange_row(number, row):
                return problem
        return RefusalError(422, "the rows do not fit the model's columns.")

    def _strange_row(self, number: int, row: Any) -> RefusalError | None:
        if not isinstance(row, dict):
            return about(f"{short(row)} is no object of columns and cells.", number, None)
        if problem := self._strange_names(row, number):
            return problem
        for column, each in zip(self.columns, self.types, strict=True):
            if problem := _strange_cell(column.name, each, number, row[column.name]):
                return problem
        unread = (_strange_unread(name, number, row[name]) for name in self.left_out & row.keys())
        return next(filter(None, unread), None)

    def _strange_columns(self, lists: dict[str, list[Any]]) -> RefusalError | None:
        if problem := self._strange_names(lists):
            return problem
        n_rows = len(lists[self.columns[0].name])
        for name, cells in lists.items():
            if len(cells) != n_rows:
                first = self.columns[0].name
                return about(f"it has {len(cells):,} cells, and {first!r} has {n_rows:,}.", None, name)
        for column, each in zip(self.columns, self.types, strict=True):
            cells = lists[column.name]
            try:
                msgspec.convert(cells, LISTS[each])
            except (msgspec.ValidationError, OverflowError):
                problems = (_strange_cell(column.name, each, number, cell) for number, cell in enumerate(cells))
                return next(filter(None, problems), RefusalError(422, f"column {column.name!r} does not fit."))
        for name in self.left_out & lists.keys():
            for number, cell in enumerate(lists[name]):
                if problem := _strange_unread(name, number, cell):
                    return problem
        return None

    def _strange_names(self, names: Iterable[str], row: int | None = None) -> RefusalError | None:
        """Say which column is missing or none of the model's."""
        given = dict.fromkeys(names)
        known = dict.fromkeys(column.name for column in self.columns)
        unknown = [name for name in given if name not in known and name not in self.left_out]
        missing = [name for name in known if name not in given]
        if missing:
            near = did_you_mean(missing[0], unknown[:MOST_COMPARED])
            return about(f"the column is missing{near}. Send null where a cell is.", row, missing[0])
        if unknown:
            near = did_you_mean(unknown[0], list(known)[:MOST_COMPARED])
            return about(f"the model has no such column{near}.", row, unknown[0])
        return None


def _strange_cell(name: str, each: str, row: int, cell: Any) -> RefusalError | None:
    if isinstance(cell, _Constant):
        return about(f"{cell.name} is no JSON number. Send null where a cell is missing.", row, name)
    if isinstance(cell, float | int) and not _is_finite(cell):
        return about("the number is too large.", row, name)
    try:
        msgspec.convert(cell, JSON_TYPES[each])
    except msgspec.ValidationError:
        return about(f"{short(cell)} is not {WORDS[each]}. A missing cell is null.", row, name)
    return None


def _strange_unread(name: str, row: int, cell: Any) -> RefusalError | None:
    """Check a cell of a column that is not read: it is a single value all the same."""
    if isinstance(cell, str) or cell is None or _is_finite(cell):
        return None
    return about("the cell has to be text, a number, true, false or null.", row, name)


def _is_finite(cell: Any) -> bool:
    try:
        return isinstance(cell, float | int) and math.isfinite(cell)
    except OverflowError:
        return False


@dataclass(frozen=True)
class _Constant:
    """NaN, Infinity or -Infinity, which Python's reader knows and JSON does not."""

    name: str


def _parsed(body: bytes) -> Any:
    """Parse JSON as Python does, for the sake of what it says about it."""
    try:
        return json.loads(
            body.decode(), parse_constant=_Constant, parse_int=_whole, object_pairs_hook=_without_repeated_keys
        )
    except UnicodeDecodeError as error:
        raise RefusalError(400, f"the body is not UTF-8, from byte {error.start}.") from None
    except RecursionError:
        raise RefusalError(400, "the body is nested too deeply.") from None
    except ValueError as error:
        reason = f"{error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else "unreadable"
        raise RefusalError(400, f"the body is no JSON: {reason}.") from None


def _whole(digits: str) -> int:
    return int(digits[:400])  # a longer one is refused as too large all the same


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise about("the key is there twice.", None, name)
    return content
