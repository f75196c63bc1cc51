"""Spent tokens of SQLite: a table for each day on which some expire, so that a day is forgotten as a whole.

`tokens` has those that never expire, or on a day that is too far away for a table of its own. The view
`spent_tokens` shows all of them; it is made again in the transaction that makes or drops a table, so that every
reader sees every token. A key is spent once in all tables together, whatever the tokens say of their end.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from provisor.storage.judging import Row

DAY: Final = 24 * 3600
ALL: Final = "spent_tokens"
LASTING: Final = "tokens"

_PREFIX: Final = f"{LASTING}_"
_BEHIND: Final = 2 * DAY
_AHEAD: Final = 40 * DAY
"""Tokens that ended longer ago, or end later, have no table of their own day: there are never many tables."""

_COLUMNS: Final = "key, expires, outcome, digest"
_SPENT: Final = f"SELECT 1 FROM {ALL} WHERE key = ?"
_NAMES: Final = f"SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB '{_PREFIX}[0-9]*' ORDER BY name"


def has_token(connection: sqlite3.Connection, key: bytes) -> bool:
    """`key` as `hash_token_key` makes it."""
    return connection.execute(_SPENT, (key,)).fetchone() is not None


def day_tables(connection: sqlite3.Connection) -> Sequence[str]:
    """The tables of days, the oldest first."""
    return [name for (name,) in connection.execute(_NAMES)]


def day_end(table: str) -> int:
    """When the last token of a day's table is over (unix seconds)."""
    return int(datetime.strptime(table.removeprefix(_PREFIX), "%Y%m%d").replace(tzinfo=UTC).timestamp()) + DAY


def table_for(expires: object, now: int) -> str:
    """Where a token is kept that expires then (unix seconds, None: never) and is spent now."""
    if isinstance(expires, int) and now - _BEHIND <= expires <= now + _AHEAD:
        return _table_of_day(expires // DAY)
    return LASTING


@lru_cache(maxsize=64)
def _table_of_day(day: int) -> str:
    return _PREFIX + datetime.fromtimestamp(day * DAY, UTC).strftime("%Y%m%d")


def insert_tokens(connection: sqlite3.Connection, rows: Mapping[bytes, Row], now: int) -> None:
    """Rows of key, expires, outcome and digest. Raises `sqlite3.IntegrityError` for a key that is spent already."""
    by_table: dict[str, list[Row]] = {}
    for key in sorted(rows):
        row = rows[key]
        by_table.setdefault(table_for(row[1], now), []).append(row)
    tables = {LASTING, *day_tables(connection)}
    for table, some in by_table.items():
        if table not in tables:
            _create(connection, table)
            tables.add(table)
        inserted = connection.executemany(_insertion(table, tuple(sorted(tables - {table}))), some).rowcount
        if inserted != len(some):
            raise sqlite3.IntegrityError("a token is spent already")


@lru_cache(maxsize=64)
def _insertion(table: str, others: tuple[str, ...]) -> str:
    """The table's own key tells of the tokens in it."""
    elsewhere = " AND ".join(f"NOT EXISTS (SELECT 1 FROM {other} WHERE key = ?1)" for other in others) or "1"
    return f"INSERT INTO {table} ({_COLUMNS}) SELECT ?1, ?2, ?3, ?4 WHERE {elsewhere}"


def _create(connection: sqlite3.Connection, table: str) -> None:
    connection.execute(
        f"CREATE TABLE {table} (key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 32), expires INTEGER NOT NULL,"
        " outcome TEXT NOT NULL, digest BLOB NOT NULL) STRICT, WITHOUT ROWID"
    )
    _show(connection, day_tables(connection))


def _show(connection: sqlite3.Connection, days: Iterable[str]) -> None:
    parts = " UNION ALL ".join(f"SELECT {_COLUMNS} FROM {table}" for table in (LASTING, *days))
    connection.execute(f"DROP VIEW IF EXISTS {ALL}")
    connection.execute(f"CREATE VIEW {ALL} ({_COLUMNS}) AS {parts}")


# -- forgetting -------------------------------------------------------------------------------------


def drop_tokens(connection: sqlite3.Connection, before: int, limit: int) -> None:
    """Forget about `limit` tokens: of days that ended before `before` (unix seconds), and of those without a day.

    Dropping a table takes time for every page of it. So a large one is emptied first, neighbours
    together, which frees its pages without looking for the rows one by one.
    """
    if limit <= 0:
        return
    query = f"DELETE FROM {LASTING} WHERE key IN (SELECT key FROM {LASTING} WHERE expires < ? ORDER BY expires LIMIT ?)"
    limit -= connection.execute(query, (before, limit)).rowcount
    for table in _over(connection, before):
        if limit <= 0:
            return
        last = connection.execute(f"SELECT key FROM {table} ORDER BY key LIMIT 1 OFFSET ?", (limit - 1,)).fetchone()
        if last is not None:
            connection.execute(f"DELETE FROM {table} WHERE key <= ?", last)
            return
        limit -= connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] + 1
        connection.execute(f"DROP VIEW IF EXISTS {ALL}")
        connection.execute(f"DROP TABLE {table}")
        _show(connection, day_tables(connection))


def has_tokens_over(connection: sqlite3.Connection, before: int) -> bool:
    """Whether `drop_tokens` would find anything."""
    if next(iter(_over(connection, before)), None) is not None:
        return True
    return connection.execute(f"SELECT 1 FROM {LASTING} WHERE expires < ? LIMIT 1", (before,)).fetchone() is not None


def _over(connection: sqlite3.Connection, before: int) -> Iterable[str]:
    return [table for table in day_tables(connection) if day_end(table) <= before]
