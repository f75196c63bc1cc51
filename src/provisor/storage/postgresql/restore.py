"""A dump of pg_dump into a database, by pg_restore, and what has to change in it before a CA may go on with it.

The schema that is there is renamed, not dropped: it is the old database, set aside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from asyncpg import exceptions  # type: ignore[import-untyped]
from msgspec import Struct
from msgspec.structs import replace

from provisor.errors import ConfigError
from provisor.ports import EntryID, LogFork
from provisor.storage.archive_log import FORKS
from provisor.storage.backup import Position
from provisor.storage.encoding import decode_serial
from provisor.storage.postgresql.connect import MAINTENANCE_DATABASE, connect, connect_or_create
from provisor.storage.postgresql.dsn import Target
from provisor.storage.postgresql.dump import bring_back
from provisor.storage.postgresql.migrate import prepare
from provisor.storage.postgresql.partitions import make_ahead
from provisor.storage.restore import LEEWAY, STEP, Changes

NAME: Final = "provisor restore"

_IN_USE: Final = (
    "SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    f" AND application_name LIKE 'provisor%' AND application_name <> '{NAME}' LIMIT 1"
)
_POSITION: Final = """
SELECT coalesce((SELECT value FROM {schema}.meta WHERE key = 'authority_id'), ''),
    coalesce((SELECT value::integer FROM {schema}.meta WHERE key = 'schema_version'), 0),
    coalesce((SELECT max(at) FROM {schema}.clock), 0),
    coalesce((SELECT value::bigint FROM {schema}.meta WHERE key = 'epoch'), 0),
    coalesce((SELECT max(n) FROM {schema}.log_entries), 0) + (SELECT count(*) FROM {schema}.unsequenced),
    coalesce((SELECT max(size) FROM {schema}.log_heads), 0)
"""
_HEAD: Final = "SELECT text FROM {schema}.log_heads ORDER BY size DESC LIMIT 1"
_ISSUED: Final = (
    "SELECT c.serial FROM {schema}.certificates c LEFT JOIN provisor.certificates b"
    " ON b.issuer_n = c.issuer_n AND b.serial = c.serial WHERE b.serial IS NULL AND substr(c.serial, 2, 6) >= $1"
)
_REVOKED: Final = (
    "SELECT i.id, r.serial, r.reason_code, r.revoked_at FROM {schema}.revocations r"
    " JOIN {schema}.issuers i ON i.n = r.issuer_n WHERE r.revoked_at >= $1 ORDER BY r.revoked_at"
)
_PUT_META: Final = (
    "INSERT INTO provisor.meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)
_MISSING_LISTS: Final = (
    "INSERT INTO provisor.crls (issuer_n, number, this_update, next_update, der)"
    " SELECT n, 0, 0, 0, '' FROM provisor.issuers WHERE n NOT IN (SELECT issuer_n FROM provisor.crls)"
)
_JUMP_LISTS: Final = (
    "UPDATE provisor.crls c SET number = number + $1 FROM provisor.issuers i WHERE i.n = c.issuer_n"
    " RETURNING i.id, c.number"
)


class Lost(Struct, frozen=True):
    """What the schema that was set aside has beyond the dump. Revocations: issuer, serial, reason, time."""

    serials: tuple[int, ...]
    revocations: tuple[tuple[bytes, int, int, int], ...]


@asynccontextmanager
async def temporary_database(target: Target, name: str) -> AsyncIterator[Target]:
    """An empty database on the same server, for this block only. Raises `ConfigError` if the role may make none."""
    maker: Any = await connect(replace(target, database=MAINTENANCE_DATABASE), name=NAME)
    try:
        await maker.execute("SET statement_timeout = 0")
        try:
            await maker.execute(f"CREATE DATABASE {name} ENCODING 'UTF8' TEMPLATE template0")
        except exceptions.InsufficientPrivilegeError as error:
            raise ConfigError(
                target.shown,
                "a dump is looked at in a database of its own, and this role may not create one: an administrator"
                f' runs ALTER ROLE "{target.user}" CREATEDB, or name a server where it may',
            ) from error
        try:
            yield replace(target, database=name)
        finally:
            await _drop(maker, name)
    finally:
        maker.terminate()


async def _drop(connection: Any, name: str) -> None:
    """Whoever is still connected to it is ours, and has let go."""
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()", name
    )
    await connection.execute(f"DROP DATABASE IF EXISTS {name}")


class Restoring:
    """One restoration, step by step. Raises `ConfigError`, `FAULTS`."""

    def __init__(self, target: Target, connection: Any) -> None:
        self._target = target
        self._connection = connection
        self._aside = ""

    @classmethod
    async def begin(cls, target: Target) -> Restoring:
        connection: Any = await connect_or_create(target, name=NAME)
        await connection.execute("SET statement_timeout = 0")
        return cls(target, connection)

    async def refuse_in_use(self) -> None:
        name = await self._connection.fetchval(_IN_USE)
        if name is not None:
            raise ConfigError(self._target.shown, f"in use by {name}")

    async def find_there(self) -> Position | None:
        """Where the database stands that is there; None if there is none."""
        if await self._connection.fetchval("SELECT to_regclass('provisor.meta')") is None:
            return None
        return await self._position("provisor")

    async def bring_back(self, dump: Path, now: int) -> str:
        """The dump in the place of what is there; the name of the schema that has it now, "" if nothing was there."""
        if await self._connection.fetchval("SELECT to_regnamespace('provisor')") is not None:
            self._aside = f"provisor_before_restore_{now}"
            await self._connection.execute(f"ALTER SCHEMA provisor RENAME TO {self._aside}")
        try:
            bring_back(self._target, dump)
            await prepare(self._connection, where=self._target.shown, upgrade=True)
        except BaseException:
            await self.undo()
            raise
        return self._aside

    async def undo(self) -> None:
        """What was there is there again."""
        await self._connection.execute("DROP SCHEMA IF EXISTS provisor CASCADE")
        if self._aside:
            await self._connection.execute(f"ALTER SCHEMA {self._aside} RENAME TO provisor")

    async def position(self) -> Position:
        return await self._position("provisor")

    async def _position(self, schema: str) -> Position:
        row = await self._connection.fetchrow(_POSITION.format(schema=schema))
        head = await self._connection.fetchval(_HEAD.format(schema=schema))
        authority, version, high_water, epoch, end, size = row
        return Position(authority, version, high_water, epoch, end, size, (head or b"").decode("ascii", "replace"))

    async def find_lost(self, since: int) -> Lost:
        """What the schema that was set aside knows of the time since then (unix seconds)."""
        if not self._aside:
            return Lost((), ())
        first = max(0, since * 1000).to_bytes(6, "big")
        serials = await self._connection.fetch(_ISSUED.format(schema=self._aside), first)
        revoked = await self._connection.fetch(_REVOKED.format(schema=self._aside), since)
        return Lost(
            tuple(sorted(decode_serial(row[0]) for row in serials)),
            tuple((issuer, decode_serial(serial), code, at) for issuer, serial, code, at in revoked),
        )

    async def go_on(self, position: Position, *, now: int, entry: EntryID, event: bytes) -> Changes:
        """See `storage.restore.go_on`."""
        await make_ahead(self._connection, now)
        async with self._connection.transaction():
            return await self._change(position, now, entry, event)

    async def _change(self, position: Position, now: int, entry: EntryID, event: bytes) -> Changes:
        passed = max(0, now - position.high_water) + STEP
        fork = LogFork(position.log_end, now, position.high_water)
        not_before = max(now, position.high_water) + LEEWAY
        await self._connection.execute(_MISSING_LISTS)
        jumped = await self._connection.fetch(_JUMP_LISTS, passed)
        numbers = {issuer.hex(): number for issuer, number in jumped}
        known = await self._connection.fetchval(f"SELECT value FROM provisor.meta WHERE key = '{FORKS}'")
        forks = msgspec.json.decode(known or "[]", type=list[LogFork])
        metas = {
            "tokens_not_before": str(not_before),
            "epoch": str(position.epoch + passed),
            FORKS: msgspec.json.encode([*forks, fork]).decode(),
            **{f"crl-number-{issuer}": str(number) for issuer, number in numbers.items()},
        }
        for key, value in metas.items():
            await self._connection.execute(_PUT_META, key, value)
        free = "UPDATE provisor.jobs SET leased_until = 0, fence = fence + $1, woken = NULL"
        await self._connection.execute(free, passed)
        await self._connection.execute("UPDATE provisor.jobs SET due = least(due, $1) WHERE kind = 'crl'", now)
        await self._connection.execute("INSERT INTO provisor.events (id, body) VALUES ($1, $2)", entry, event)
        await self._connection.execute("INSERT INTO provisor.unsequenced (id) VALUES ($1)", entry)
        return Changes(not_before, position.epoch + passed, numbers, fork)

    async def close(self) -> None:
        await self._connection.close()
