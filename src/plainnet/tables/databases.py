"""A database URL -> a frame: SQLite by the standard library, PostgreSQL by polars and connectorx.

Nothing is ever written: SQLite files are opened read-only, PostgreSQL is told so, and only SELECT is passed on. A
password in a URL is kept out of every message.
"""

from __future__ import annotations

import re
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import polars as pl

from plainnet.errors import MissingExtraError, TableError
from plainnet.tables.cells import as_dates
from plainnet.tables.frames import column_of
from plainnet.tables.wording import did_you_mean, listed

__all__ = ["read_postgres", "read_sqlite", "without_password"]

SQLITE_TABLES = (
    "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT GLOB 'sqlite_*' ORDER BY name"
)
POSTGRES_TABLES = """
    SELECT CASE table_schema WHEN 'public' THEN '' ELSE table_schema || '.' END || table_name AS name,
           quote_ident(table_schema) || '.' || quote_ident(table_name) AS quoted
    FROM information_schema.tables
    WHERE table_schema NOT IN ('pg_catalog', 'information_schema')
    ORDER BY name
"""


def read_sqlite(path: Path, query: str | None) -> pl.DataFrame:
    """Read a table of an SQLite file, or the answer to a query.

    Args:
        path: the file, which exists.
        query: a SELECT, the name of a table, or None for the only table.

    Returns:
        The rows. SQLite types single cells, not columns: a column of numbers and strings becomes strings, and one of
        ISO dates becomes dates.

    Raises:
        TableError: not an SQLite file, a query that fails, or no table chosen among several.
    """
    try:
        # Read-only, so that neither a missing file nor a query can create anything.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            names = [name for (name,) in connection.execute(SQLITE_TABLES)]
            quoted = {name: '"' + name.replace('"', '""') + '"' for name in names}
            cursor = connection.execute(_select(query, lambda: quoted, str(path)))
            titles = [column[0] for column in cursor.description or ()]
            rows = cursor.fetchall()
    except (sqlite3.Error, sqlite3.Warning, UnicodeError) as error:
        raise TableError(f"{path}: SQLite says: {error}. Is it an SQLite file, and does the query fit it?") from error
    twice = sorted({title for title in titles if titles.count(title) > 1})
    if twice:
        raise TableError(f"{path}: the query has more than one column named {listed(twice)}. Name them with AS.")
    # pl.read_database would turn numbers among blobs into nulls in silence.
    columns = [column_of(title, [row[i] for row in rows]) for i, title in enumerate(titles)]
    return pl.DataFrame([as_dates(column) for column in columns])


def read_postgres(url: str, query: str | None) -> pl.DataFrame:
    """Read a table of a PostgreSQL database, or the answer to a query.

    Args:
        url: postgresql://user:password@host:port/database
        query: a SELECT, the name of a table (with its schema where that is not public), or None for the only table.

    Returns:
        The rows, with the types of the database.

    Raises:
        TableError: no connection, a query that fails, or no table chosen among several.
        MissingExtraError: connectorx or pyarrow is not installed.
    """
    for package in ("connectorx", "pyarrow"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "sql", "Reading from PostgreSQL")
    _knock(url)
    select = _select(query, lambda: dict(_ask_postgres(url, POSTGRES_TABLES).rows()), without_password(url))
    return _ask_postgres(url, select)


def without_password(url: str) -> str:
    """Shorten a URL to what may be shown: no user name, no password, no parameters.

    >>> without_password("postgresql://ann:pass@word@host/sales?sslpassword=x")
    'postgresql://host/sales'
    """
    # Up to the last @, since a password may hold one (and a slash, and a question mark) where it was not encoded.
    return re.sub(r"://.*@", "://", url, flags=re.DOTALL).partition("?")[0]


def _select(query: str | None, tables: Callable[[], dict[str, str]], where: str) -> str:
    """Turn what the user asked for into one SELECT; `tables` gives the quoted name of each table."""
    if query is not None and re.match(r"\s*(select|with)\s", query, flags=re.IGNORECASE):
        return query.rstrip("; \t\r\n")
    known = tables()
    if query is None and len(known) == 1:
        return f"SELECT * FROM {next(iter(known.values()))}"  # noqa: S608 - quoted
    if query in known:
        return f"SELECT * FROM {known[query]}"  # noqa: S608 - quoted
    if not known:
        raise TableError(f"{where} holds no tables: name another database.")
    names = listed(known, most=30)
    advice = f"Pass query='SELECT * FROM {next(iter(known.values()))}', or the name of one table as query."  # noqa: S608
    if query is None:
        raise TableError(f"{where} holds {len(known)} tables: {names}. {advice}")
    hint = did_you_mean(query, known)
    raise TableError(f"{where}: the query {query!r} is neither a SELECT nor one of the tables {names}{hint}. {advice}")


def _knock(url: str) -> None:
    """Find out in seconds that no server answers; connectorx tries for half a minute and logs each try."""
    try:
        address = urlsplit(url)
        host, port = address.hostname, address.port or 5432
        if host and "," not in host:
            socket.create_connection((host, port), timeout=10).close()
    except (OSError, ValueError) as error:
        reason = error.strerror or "timed out" if isinstance(error, OSError) else "the port is not a number"
    else:
        return
    # The parts of the address stay out: after a slash that is not encoded, they are parts of the password.
    raise TableError(
        f"{without_password(url)}: no database answers there: {reason}. Check the address, and that @ : / in a user "
        "name or password are written %40 %3A %2F."
    )


def _ask_postgres(url: str, query: str) -> pl.DataFrame:
    try:
        only_reading = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"
        return pl.read_database_uri(query, url, engine="connectorx", pre_execution_query=only_reading)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - connectorx panics on some column types, and a panic is no Exception
        reason = _scrubbed(str(error), url)
    # Not inside the handler and without a cause, since the driver's own message may show the whole URL.
    raise TableError(
        f"{without_password(url)}: the database says: {reason}. Check the address, the user and the query; a column of "
        "an unusual type can be read as text: SELECT name::text."
    )


def _scrubbed(message: str, url: str) -> str:
    """Take the URL, the password and any address with a password out of a message."""
    secrets = {url, *re.findall(r"://[^/]*?:(.*)@", url), *re.findall(r"password=([^&]*)", url)}
    secrets |= {unquote(secret) for secret in secrets}
    for secret in sorted(secrets - {""}, key=len, reverse=True):
        message = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", message)
    return re.sub(r"://\S*@", "://***@", message).strip().rstrip(".")
