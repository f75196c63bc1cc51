"""`db migrate`: the schema of this version, made before its servers start."""

from __future__ import annotations

import asyncio
from pathlib import Path

from provisor.cli import output
from provisor.cli.audit import SOURCE
from provisor.cli.database import existing_file, find_database
from provisor.cli.grammar import Call, command
from provisor.storage.postgresql.dsn import Target
from provisor.storage.sqlite import SQLiteStore


@command("db migrate", usage="", flags=SOURCE, reads_defaults=False, own=True)
def migrate(call: Call) -> None:
    """bring the database to the schema of this version

    A file is also migrated when a server starts on it, after a copy beside it; replicas on a PostgreSQL server do
    not start before this command has run (or with provisor.database.migrate), and those of the version before go on.
    """
    place = find_database(call)
    if isinstance(place, Target):
        asyncio.run(_migrate_server(place))
        output.done("Migrated", place.shown)
        return
    asyncio.run(_migrate_file(existing_file(place)))
    output.done("Migrated", str(place))


async def _migrate_file(path: Path) -> None:
    await SQLiteStore.open(path).close()


async def _migrate_server(target: Target) -> None:
    from provisor.storage.postgresql.store import PostgreSQLStore

    await (await PostgreSQLStore.open(target, upgrade=True)).close()
