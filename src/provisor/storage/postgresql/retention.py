"""Old events that lie in no month's partition: rows of `events_other`, forgotten one by one as in SQLite.

Months themselves are dropped whole (partitions.py).
"""

from __future__ import annotations

from typing import Final

from provisor.ports import DropEvents, DropExpired
from provisor.storage.postgresql.connect import Connection
from provisor.storage.postgresql.partitions import EVENTS_DROPPED, KNOWN

EVENTS_SWEPT: Final = "events_swept"
"""Meta: up to this id, in hex, the rows of `events_other` were looked at."""

_OLD: Final = f"""
SELECT id FROM provisor.events_other
    WHERE id > coalesce((SELECT decode(value, 'hex') FROM provisor.meta WHERE key = '{EVENTS_SWEPT}'), '')
        AND id < $1 ORDER BY id LIMIT $2
"""
_PLACES: Final = f"SELECT id, n FROM provisor.log_entries WHERE id = ANY($1::bytea[]) AND n <= {KNOWN}"
_UNUSED: Final = (
    "NOT EXISTS (SELECT FROM provisor.certificates c WHERE c.issuer_n = e.issuer_n AND c.serial = e.serial)"
)
_DROP: Final = f"DELETE FROM provisor.events_other e WHERE e.id = ANY($1::bytea[]) AND {_UNUSED}"
_ADVANCE: Final = f"""
INSERT INTO provisor.meta AS m (key, value) VALUES ('{EVENTS_DROPPED}', $1)
    ON CONFLICT (key) DO UPDATE SET value = greatest(m.value::bigint, excluded.value::bigint)::text
"""
_SWEEP: Final = f"""
INSERT INTO provisor.meta (key, value) VALUES ('{EVENTS_SWEPT}', $1)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
_DROP_AT: Final = f"""
DELETE FROM provisor.events_other e USING provisor.log_entries l
    WHERE l.n = ANY($1::bigint[]) AND e.id = l.id AND e.id < $2 AND {_UNUSED}
        AND l.n <= coalesce((SELECT value::bigint FROM provisor.meta WHERE key = '{EVENTS_DROPPED}'), 0)
"""


def first_id(at: int) -> bytes:
    """The least id of an entry of that time (unix seconds)."""
    return max(0, at * 1000).to_bytes(6, "big")


async def drop_events(connection: Connection, write: DropEvents) -> None:
    """Rows of before `before`, unless their certificate is still there; at most `limit` are looked at."""
    old = await _find_old(connection, write.before, write.limit)
    if old:
        await connection.execute(_DROP, list(old))
        await connection.execute(_ADVANCE, str(max(old.values())))
        await connection.execute(_SWEEP, max(old).hex())


async def drop_events_of(connection: Connection, write: DropExpired) -> None:
    """The rows that were kept for certificates which go now, if the rows around them went already."""
    if write.events_before is not None:
        places = [place for _, place in write.certificates]
        await connection.execute(_DROP_AT, places, first_id(write.events_before))


async def has_old_events(connection: Connection, before: int) -> bool:
    """Whether `drop_events` would find any to look at."""
    return bool(await _find_old(connection, before, 1))


async def _find_old(connection: Connection, before: int, limit: int) -> dict[bytes, int]:
    """Ids and places of those behind the last time's, up to the first that is not in the signed log and the index."""
    ids = [row["id"] for row in await connection.fetch(_OLD, first_id(before), max(0, limit))]
    places = {row["id"]: row["n"] for row in await connection.fetch(_PLACES, ids)}
    found: dict[bytes, int] = {}
    for entry in ids:
        if entry not in places:
            break
        found[entry] = places[entry]
    return found
