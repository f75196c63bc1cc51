"""A database as a newer release of the same minor series leaves it: with columns, a table and an index of its own.

Such a release only adds, so that this one goes on beside it, and again after a way back.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from provisor.storage.migrate import OLDEST_PROGRAM
from provisor.storage.sqlite import SQLiteStore
from support.coroutines import finish
from support.postgres import Cluster, shared_cluster
from support.postgres_store import AnyLoopStore

_TABLES: Final = (
    *("meta", "issuers", "certificates", "revocations", "tokens", "events", "receipts", "crls", "jobs"),
    *("log_tiles", "log_heads", "terms", "expired_certificates", "sealing_keys"),
)


def newer_file(path: Path) -> SQLiteStore:
    """This release's store on a file that the next one had."""
    finish(SQLiteStore.open(path).close())
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for table in (*_TABLES, "provisioners"):
            connection.execute(f"ALTER TABLE {table} ADD COLUMN added_later TEXT NOT NULL DEFAULT 'later'")
        connection.execute("CREATE TABLE added_later (key TEXT NOT NULL PRIMARY KEY, value TEXT) STRICT")
        connection.execute("CREATE INDEX added_index ON certificates (not_after)")
        connection.execute(f"PRAGMA user_version = {version + 1}")
        metas = [("schema_version", str(version + 1)), ("oldest_program", OLDEST_PROGRAM)]
        connection.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", metas)
    return SQLiteStore.open(path)


@contextlib.contextmanager
def newer_server() -> Iterator[AnyLoopStore]:
    """This release's store on a PostgreSQL database that the next one has."""
    cluster = shared_cluster()
    database = cluster.create_database()
    asyncio.run(AnyLoopStore(cluster.target(database)).close())
    _expand(cluster, database)
    opened = AnyLoopStore(cluster.target(database))
    try:
        yield opened
    finally:
        asyncio.run(opened.close())
        cluster.drop_database(database)


def _expand(cluster: Cluster, database: str) -> None:
    statements = [
        f"ALTER TABLE provisor.{table} ADD COLUMN added_later text NOT NULL DEFAULT 'later'"
        for table in (*_TABLES, "log_entries", "unsequenced", "clock")
    ]
    statements += [
        "CREATE TABLE provisor.added_later (key text NOT NULL PRIMARY KEY, value text)",
        "CREATE INDEX added_index ON provisor.certificates (not_after)",
        "UPDATE provisor.meta SET value = (value::integer + 1)::text WHERE key = 'schema_version'",
    ]
    body = "; ".join(statements)
    cluster.query(f"DO $do$ BEGIN {body}; END $do$", database=database)
