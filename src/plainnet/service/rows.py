"""What a client sends  ->  rows of one model's columns, or a sentence that names the row and the column.

JSON is decoded by msgspec into a type made from the schema, which checks every cell on the way at the cost of no second pass.
What it refuses is looked at again, slowly, for the sentence. CSV is read as ``read_table`` reads files.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
import polars as pl

from plainnet.errors import TableError
from plainnet.service.cells import (
    JSON_TYPES,
    LARGEST,
    POLARS_TYPES,
    about,
    cell_type,
    checked,
    read_dates,
    short,
    strange,
)
from plainnet.service.guard import RefusalError
from plainnet.tables.frames import plain_types
from plainnet.tables.rows import MOST_CELLS
from plainnet.tables.schema import Schema
from plainnet.tables.text import read_text
from plainnet.tables.wording import did_you_mean

__all__ = ["Intake", "Row"]

#: The cells of one row, in the order of the model's columns.
Row = tuple[Any, ...]

#: Names that are compared for a suggestion: each takes microseconds.
MOST_COMPARED = 100
#: Delimiters in a line of CSV beyond those of the schema's columns: each may become a column, which takes a kilobyte.
MOST_DELIMITERS = 1000

#: The beginning of ``[``, ``{"rows": [`` and ``{"columns": {``: a row's cells are never an array or an object.
FORM = re.compile(rb'\s*(?:(?P<many>\[)|\{\s*"(?:(?P<rows>rows)"\s*:\s*\[|(?P<columns>columns)"\s*:\s*\{))')
#: What a cell of a column may be that is not read.
UNREAD = str | float | bool | None


class Intake:
    """Reads rows of one schema.

    Args:
        schema: of the model.
        most_rows: of a request.

    Attributes:
        columns: those that the network sees.
        left_out: names of the schema's other columns: they may be there, and are not read.
        types: of the cells of each column, as in ``cell_type``.

    >>> from plainnet.tables.schema import Column
    >>> column = Column("hours-per-week", "number", "Int64", "Int64")
    >>> intake = Intake(Schema((column,), 10), most_rows=2)
    >>> intake.rows_of_json(b'[{"hours-per-week": 40}, {"hours-per-week": null}]')
    [(40.0,), (None,)]
    """

    def __init__(self, schema: Schema, most_rows: int) -> None:
        self.columns, self.most_rows = schema.used, most_rows
        self.left_out = frozenset(column.name for column in schema.left_out)
        self.types = tuple(map(cell_type, self.columns))
        names = {f"c{k}": column.name for k, column in enumerate(self.columns)}
        unread = {f"i{k}": name for k, name in enumerate(sorted(self.left_out))}
        settings: dict[str, Any] = {"forbid_unknown_fields": True, "frozen": True, "gc": False}

        def row_of(cell: Callable[[Any], Any]) -> Any:
            fields: list[Any] = [(field, cell(JSON_TYPES[each])) for field, each in zip(names, self.types, strict=True)]
            fields += [(field, cell(UNREAD), None) for field in unread]
            return msgspec.defstruct("Row", fields, rename=names | unread, **settings)

        row, lists = row_of(lambda cell: cell), row_of(list.__class_getitem__)
        many = list.__class_getitem__(row)
        rows = msgspec.defstruct("Rows", [("rows", many)], **settings)
        columns = msgspec.defstruct("Columns", [("columns", lists)], **settings)
        types = {"one": row, "many": many, "rows": rows, "columns": columns}
        self._decoders = {form: msgspec.json.Decoder(kind) for form, kind in types.items()}

    def rows_of_json(self, body: bytes) -> list[Row]:
        """Read ``{…}``, ``[{…}, …]``, ``{"rows": [{…}, …]}`` or ``{"columns": {"name": […], …}}``.

        Raises:
            RefusalError: 400 where it is no JSON, 422 where it is not rows of these columns, 413 where they are too many.
        """
        found = FORM.match(body)
        form, names = str(found.lastgroup) if found else "one", len(self.columns)
        try:
            decoded = self._decoders[form].decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise self._explained(body) from None
        rows: list[Row]
        if form == "columns":
            lists = msgspec.structs.astuple(decoded.columns)[:names]
            if len(set(map(len, lists))) > 1:
                raise self._explained(body)
            rows = list(zip(*lists, strict=True))
        else:
            structs = decoded.rows if form == "rows" else decoded if form == "many" else [decoded]
            rows = [msgspec.structs.astuple(struct)[:names] for struct in structs]
        colons = names * (1 if form == "columns" else len(rows)) + (form in ("rows", "columns"))
        if body.count(b":") > colons:  # in a text, in a column that is not read, or of a key that is there twice
            _parsed(body)  # which refuses the last
        self._check_number(len(rows))
        if "date" in self.types:
            cells = zip(self.columns, self.types, zip(*rows, strict=True), strict=True)
            dated = [read_dates(column, own) if each == "date" else own for column, each, own in cells]
            rows = list(zip(*dated, strict=True))
        return rows

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

    def table_of_lists(self, lists: Mapping[str, Sequence[Any]]) -> pl.DataFrame:
        """Return columns that were decoded already, each a list of cells, as a table; the errors are those of ``rows_of_json``."""
        return self.table_of(self.rows_of_json(msgspec.json.encode({"columns": lists})))

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
        self._check_number(table.height)
        if problem := self._strange_names(table.columns):
            raise problem
        table = plain_types(table.select(column.name for column in self.columns))
        return pl.DataFrame([checked(c, each, table[c.name]) for c, each in zip(self.columns, self.types, strict=True)])

    def _check_number(self, n_rows: int) -> None:
        if n_rows == 0:
            raise RefusalError(422, "the request holds no rows. Send at least one.")
        if n_rows > self.most_rows:
            what = f"the request holds {n_rows:,} rows; at most {self.most_rows:,} are taken. Send it in parts."
            raise RefusalError(413, what)

    # What was wrong, found slowly.

    def _explained(self, body: bytes) -> RefusalError:
        content = _parsed(body)
        if isinstance(content, dict) and len(content) == 1 and isinstance(content.get("columns"), dict):
            lists = content["columns"]
            for name, cells in lists.items():
                if not isinstance(cells, list):
                    return about(f"{short(cells)} is no list of cells.", None, name)
            if problem := self._strange_names(lists):
                return problem
            first = self.columns[0].name
            for name, cells in lists.items():
                if len(cells) != len(lists[first]):
                    return about(f"it has {len(cells):,} cells, and {first!r} has {len(lists[first]):,}.", None, name)
            content = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
        if isinstance(content, dict) and isinstance(content.get("rows"), list):
            if more := [name for name in content if name != "rows"]:
                return RefusalError(422, f'beside "rows" stands {more[0]!r:.80}, which is not known.')
            content = content["rows"]
        problems = (self._strange_row(*each) for each in enumerate(content if isinstance(content, list) else [content]))
        return next(filter(None, problems), RefusalError(422, "the rows do not fit the model's columns."))

    def _strange_row(self, number: int, row: Any) -> RefusalError | None:
        if not isinstance(row, dict):
            return about(f"{short(row)} is no object of columns and cells.", number, None)
        if problem := self._strange_names(row, number):
            return problem
        for column, each in zip(self.columns, self.types, strict=True):
            if what := strange(each, row[column.name]):
                return about(what, number, column.name)
        for name in self.left_out & row.keys():
            cell = row[name]
            if not (cell is None or isinstance(cell, str) or (isinstance(cell, float | int) and abs(cell) <= LARGEST)):
                return about("the cell has to be text, a number, true, false or null.", number, name)
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


def _parsed(body: bytes) -> Any:
    """Parse JSON as Python does, for the sake of what it says about it; NaN and infinities, which JSON lacks, become Decimals."""
    try:
        return json.loads(
            body.decode(),
            parse_constant=Decimal,
            parse_int=lambda digits: int(digits[:400]),  # a longer one is refused as too large all the same
            object_pairs_hook=_without_repeated_keys,
        )
    except UnicodeDecodeError as error:
        raise RefusalError(400, f"the body is not UTF-8, from byte {error.start}.") from None
    except RecursionError:
        raise RefusalError(400, "the body is nested too deeply.") from None
    except ValueError as error:
        reason = f"{error.msg} at character {error.pos}" if isinstance(error, json.JSONDecodeError) else "unreadable"
        raise RefusalError(400, f"the body is no JSON: {reason}.") from None


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise about("the key is there twice.", None, name)
    return content
