"""Everything of a SQLite file into an empty PostgreSQL database, in one transaction, compared at the end.

Both sides hash every row; the sums of the hashes have to be the same, whatever the order.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from provisor.errors import ConfigError
from provisor.storage.backup import Progress, open_reading, read_position
from provisor.storage.judging import HIGH_WATER, INDEXED
from provisor.storage.migrate import find_pending
from provisor.storage.postgresql.connect import FAULTS, connect_or_create
from provisor.storage.postgresql.dsn import Target
from provisor.storage.postgresql.migrate import prepare
from provisor.storage.postgresql.partitions import DAY, event_partition, token_partition

_BATCH: Final = 2000
_FOR_EVER: Final = 2**63 - 1
_DAYS: Final = 45
_MODULUS: Final = 2**256
_OF_THE_STORE: Final = frozenset({HIGH_WATER, INDEXED, "schema_version", "oldest_program", "backup_at"})

Row = tuple[Any, ...]


class _Move(Struct, frozen=True):
    """A table: what to read of the file, and the columns it becomes. `{size}` is the size of the log's tree."""

    table: str
    columns: tuple[str, ...]
    query: str


def _same(table: str, *columns: str) -> _Move:
    return _Move(table, columns, f"SELECT {', '.join(columns)} FROM {table}")


_NAMED: Final = "p.id, p.name, p.kind"
_BY_NAME: Final = ("provisioner_id", "provisioner_name", "provisioner_kind")
_PLACE: Final = ("issuer_n", "serial")

_MOVES: Final = (
    _Move("issuers", ("n", "id", "certificate", "state"), "SELECT n, id, certificate, state FROM issuers"),
    _Move(
        "certificates",
        (*_PLACE, "lineage", "predecessor", "not_before", "not_after", *_BY_NAME, "csr_digest", "crl_shard", "der"),
        "SELECT issuer_n, serial, lineage, predecessor, not_before, not_after,"
        f" {_NAMED}, csr_digest, crl_shard, der FROM certificates c JOIN provisioners p ON p.n = c.provisioner_n",
    ),
    _Move(
        "expired_certificates",
        (*_PLACE, "lineage", "predecessor", "not_before", "not_after", *_BY_NAME, "csr_digest", "fingerprint"),
        f"SELECT issuer_n, serial, lineage, predecessor, 0, not_after, {_NAMED}, x'', fingerprint"
        " FROM expired_certificates c JOIN provisioners p ON p.n = c.provisioner_n",
    ),
    _Move(
        "revocations",
        (*_PLACE, "reason_code", "reason", "revoked_at", "expires", "provisioner_id", "token_id", "mtls"),
        "SELECT issuer_n, serial, reason_code, reason, revoked_at, expires, provisioner_id, token_id, mtls"
        " FROM revocations",
    ),
    _Move(
        "tokens",
        ("key", "expires", "outcome", "digest"),
        f"SELECT key, ifnull(expires, {_FOR_EVER}), outcome, digest FROM spent_tokens",
    ),
    _same("events", "id", "issuer_n", "serial", "body"),
    _Move("log_entries", ("n", "id"), "SELECT n, id FROM events WHERE n <= {size}"),
    _Move("unsequenced", ("id",), "SELECT id FROM events WHERE n > {size}"),
    _same("receipts", "id"),
    _same("crls", "issuer_n", "number", "this_update", "next_update", "der"),
    _same("jobs", "kind", "key", "due", "leased_until", "fence", "woken"),
    _same("sealing_keys", "id", "wrapped", "created_at"),
    _Move("log_tiles", ("level", "tile", "hashes"), "SELECT level, tile, hashes FROM log_tiles"),
    _same("log_heads", "size", "at", "text", "signature"),
    # Places behind the tree are given anew: the index is made again from there.
    _Move("terms", ("term", "n"), "SELECT term, n FROM terms WHERE n <= {size}"),
)


class Moved(Struct, frozen=True):
    """How many rows each table has now; `digest` is over all of them, and the same on both sides."""

    rows: dict[str, int]
    digest: str
    target: str


async def copy_to_server(source: Path, target: Target, *, progress: Progress | None = None) -> Moved:
    """The caller holds the lock of the file. Raises `ConfigError`; then the database on the server is as it was."""
    try:
        with contextlib.closing(open_reading(source)) as reading:
            reading.execute("BEGIN")
            if find_pending(reading) is not None:
                raise ConfigError(str(source), "is of an older version: run `provisor db migrate` first")
            return await _copy(reading, target, progress)
    except (sqlite3.Error, *FAULTS) as error:
        raise ConfigError(target.shown, f"not copied: {error}") from error


async def _copy(reading: sqlite3.Connection, target: Target, progress: Progress | None) -> Moved:
    writing: Any = await connect_or_create(target, name="provisor copy")
    try:
        await writing.execute("SET statement_timeout = 0")
        await prepare(writing, where=target.shown)
        async with writing.transaction():
            await _check_empty(writing, target)
            return await _move_all(reading, writing, target, progress)
    finally:
        await writing.close()


async def _check_empty(writing: Any, target: Target) -> None:
    for table in ("issuers", "certificates", "events", "tokens", "revocations", "jobs"):
        await writing.execute(f"LOCK TABLE provisor.{table} IN ACCESS EXCLUSIVE MODE")
        if await writing.fetchval(f"SELECT EXISTS (SELECT FROM provisor.{table})"):
            raise ConfigError(target.shown, f"is not empty: there are {table}")


async def _move_all(reading: sqlite3.Connection, writing: Any, target: Target, progress: Progress | None) -> Moved:
    (size,) = reading.execute(
        "SELECT ifnull((SELECT tile * 256 + length(hashes) / 32 FROM log_tiles WHERE level = 0"
        " ORDER BY tile DESC LIMIT 1), 0)"
    ).fetchone()
    await _make_partitions(reading, writing)
    rows: dict[str, int] = {}
    total = 0
    for number, move in enumerate(_MOVES):
        count, there = await _move(reading, writing, move, size)
        back, here = await _read_back(writing, move)
        if (count, there) != (back, here):
            raise ConfigError(target.shown, f"not copied: {move.table} differ ({count} rows here, {back} there)")
        rows[move.table] = count
        total = (total + there) % _MODULUS
        if progress is not None:
            progress(number + 1, len(_MOVES))
    await _move_meta(reading, writing, size)
    return Moved(rows, f"{total:064x}", target.shown)


async def _make_partitions(reading: sqlite3.Connection, writing: Any) -> None:
    """Of the months that have events, and the days that have tokens: behind the default ones none could be made."""
    first, last = reading.execute("SELECT min(id), max(id) FROM events").fetchone()
    if first is not None:
        year, month = _month(first)
        while (year, month) <= _month(last):
            await _partition(writing, "events", event_partition(year, month))
            year, month = year + month // 12, month % 12 + 1
    now = read_position(reading).high_water // DAY
    days = reading.execute(
        f"SELECT DISTINCT expires / {DAY} FROM spent_tokens WHERE expires / {DAY} BETWEEN ? AND ?",
        (now - _DAYS, now + _DAYS),
    )
    for (day,) in days.fetchall():
        await _partition(writing, "tokens", token_partition(day))


def _month(entry: bytes) -> tuple[int, int]:
    moment = datetime.fromtimestamp(int.from_bytes(entry[:6], "big") / 1000, UTC)
    return moment.year, moment.month


async def _partition(writing: Any, table: str, partition: tuple[str, str, str]) -> None:
    name, low, high = partition
    await writing.execute(
        f"CREATE TABLE IF NOT EXISTS provisor.{name} PARTITION OF provisor.{table} FOR VALUES FROM ({low}) TO ({high})"
    )


async def _move(reading: sqlite3.Connection, writing: Any, move: _Move, size: int) -> tuple[int, int]:
    count = total = 0
    cursor = reading.execute(move.query.format(size=size))
    while rows := cursor.fetchmany(_BATCH):
        values = [_converted(move, row) for row in rows]
        await writing.copy_records_to_table(
            move.table, schema_name="provisor", columns=list(move.columns), records=values
        )
        count += len(values)
        total = (total + sum(map(_hash, values))) % _MODULUS
    return count, total


def _converted(move: _Move, row: Row) -> Row:
    return (*row[:-1], bool(row[-1])) if move.table == "revocations" else row


async def _read_back(writing: Any, move: _Move) -> tuple[int, int]:
    count = total = 0
    query = f"SELECT {', '.join(move.columns)} FROM provisor.{move.table}"
    async for row in writing.cursor(query, prefetch=_BATCH):
        count += 1
        total = (total + _hash(tuple(row))) % _MODULUS
    return count, total


def _hash(row: Row) -> int:
    """Of the values with their kinds and lengths, so that no two rows read alike."""
    digest = hashlib.sha256()
    for value in row:
        octets = value if isinstance(value, bytes) else str(value).encode()
        digest.update(b"%s %d " % (type(value).__name__.encode(), len(octets)))
        digest.update(octets)
    return int.from_bytes(digest.digest(), "big")


_PUT_META: Final = (
    "INSERT INTO provisor.meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
)


async def _move_meta(reading: sqlite3.Connection, writing: Any, size: int) -> None:
    """What the stores say of themselves differs; the rest, the authority's id among it, is the same CA's."""
    meta = dict(reading.execute("SELECT key, value FROM meta"))
    kept = [(key, value) for key, value in meta.items() if key not in _OF_THE_STORE]
    kept.append((INDEXED, str(min(size, int(meta.get(INDEXED, "0"))))))
    for key, value in kept:
        await writing.execute(_PUT_META, key, value)
    await writing.execute(
        "INSERT INTO provisor.clock (slot, at) VALUES (0, $1)"
        " ON CONFLICT (slot) DO UPDATE SET at = greatest(clock.at, excluded.at)",
        int(meta.get(HIGH_WATER, "0")),
    )
