"""Writes of background work, carried out one by one in the transaction of their entry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

from provisor.ports import (
    AppendLog,
    DropEvents,
    DropExpired,
    DropHeads,
    DropReceipts,
    DropSpentTokens,
    EntryID,
    IssuerID,
    PutHead,
)
from provisor.storage.archive_log import GAPS
from provisor.storage.encoding import encode_serial
from provisor.storage.postgresql.connect import Connection
from provisor.storage.postgresql.facts import Step
from provisor.storage.postgresql.retention import drop_events, drop_events_of, first_id

_DROP_TOKENS: Final = """
DELETE FROM provisor.tokens_other WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM provisor.tokens_other WHERE expires < $1 ORDER BY expires LIMIT $2))
"""

_DROP_RECEIPTS: Final = """
DELETE FROM provisor.receipts WHERE id = ANY(ARRAY(
    SELECT id FROM provisor.receipts WHERE id < $1 ORDER BY id LIMIT $2))
"""

# The line it is of stays, with its end and its fingerprint; one that is not over stays as it is.
_DROP_EXPIRED: Final = """
WITH gone AS (
    DELETE FROM provisor.certificates c USING unnest($1::bytea[], $2::bigint[]) AS u(serial, place)
    WHERE c.issuer_n = $3 AND c.serial = u.serial AND c.not_after < $4
    RETURNING c.*, u.place
), kept AS (
    INSERT INTO provisor.expired_certificates (issuer_n, serial, lineage, predecessor, not_before, not_after,
        provisioner_id, provisioner_name, provisioner_kind, csr_digest, fingerprint)
    SELECT issuer_n, serial, lineage, predecessor, not_before, not_after, provisioner_id, provisioner_name,
        provisioner_kind, csr_digest, sha256(der) FROM gone
    ON CONFLICT DO NOTHING
)
DELETE FROM provisor.terms t USING unnest($5::bytea[], $6::bigint[]) AS u(term, n), gone
    WHERE t.term = u.term AND t.n = u.n AND gone.place = t.n
"""

_TAKE_UNSEQUENCED: Final = """
WITH taken AS (
    DELETE FROM provisor.unsequenced WHERE id = ANY($1::bytea[]) RETURNING id
)
SELECT count(*) FROM taken
"""
_HAS_EVENT: Final = "SELECT EXISTS (SELECT FROM provisor.events WHERE id = ANY($1::bytea[]))"
_COUNT_GAPS: Final = """
INSERT INTO provisor.meta AS m (key, value) VALUES ($1, $2)
    ON CONFLICT (key) DO UPDATE SET value = (m.value::bigint + excluded.value::bigint)::text
"""
_APPEND_ENTRIES: Final = """
INSERT INTO provisor.log_entries (n, id)
    SELECT $2::bigint + u.i, u.id FROM unnest($1::bytea[]) WITH ORDINALITY AS u(id, i)
"""
_PUT_TILES: Final = """
INSERT INTO provisor.log_tiles (level, tile, hashes) SELECT * FROM unnest($1::int[], $2::bigint[], $3::bytea[])
    ON CONFLICT (level, tile) DO UPDATE SET hashes = excluded.hashes
"""
_LOG_SIZE: Final = """
SELECT coalesce((SELECT tile * 256 + length(hashes) / 32 FROM provisor.log_tiles WHERE level = 0
    ORDER BY tile DESC LIMIT 1), 0)
"""
_PUT_HEAD: Final = "INSERT INTO provisor.log_heads (size, at, text, signature) VALUES ($1, $2, $3, $4)"
_DROP_HEADS: Final = """
DELETE FROM provisor.log_heads WHERE size = ANY($1::bigint[]) AND size < (SELECT max(size) FROM provisor.log_heads)
"""


async def take_steps(connection: Connection, steps: Sequence[Step], numbers: dict[IssuerID, int]) -> None:
    """In their order. Raises `ValueError` for a piece of the log that is not the next, and `FAULTS`."""
    for step in steps:
        match step:
            case DropSpentTokens():
                # Whole days are dropped with their partition, after the commit.
                await connection.execute(_DROP_TOKENS, step.before, max(0, step.limit))
            case DropReceipts():
                await connection.execute(_DROP_RECEIPTS, first_id(step.before), max(0, step.limit))
            case DropExpired():
                await _drop_expired(connection, step, numbers[step.issuer])
            case AppendLog():
                await _append(connection, step)
            case PutHead():
                await connection.execute(_PUT_HEAD, step.size, step.at, step.text, step.signature)
            case DropHeads():
                await connection.execute(_DROP_HEADS, list(step.sizes))
            case DropEvents():
                # Whole months are dropped with their partition, after the commit.
                await drop_events(connection, step)
            case _:
                assert_never(step)


async def _drop_expired(connection: Connection, step: DropExpired, number: int) -> None:
    await connection.execute(
        _DROP_EXPIRED,
        [encode_serial(serial) for serial, _ in step.certificates],
        [place for _, place in step.certificates],
        number,
        step.before,
        [term for term, _ in step.terms],
        [place for _, place in step.terms],
    )
    await drop_events_of(connection, step)


async def _append(connection: Connection, step: AppendLog) -> None:
    if step.gaps and await connection.fetchval(_HAS_EVENT, _gap_ids(step)):
        raise ValueError("there are no gaps of the audit log at these places")
    if await connection.fetchval(_TAKE_UNSEQUENCED, list(step.ids)) != len(step.ids):
        raise ValueError("these are not events without a place in the audit log")
    # Nobody else gives places: what stands in the way is not ours.
    await connection.execute("DELETE FROM provisor.log_entries WHERE n > $1", step.size)
    await connection.execute(_APPEND_ENTRIES, list(step.ids), step.size)
    tiles = sorted((tile.level, tile.index, tile.hashes) for tile in step.tiles)
    levels, indexes, hashes = zip(*tiles, strict=True) if tiles else ((), (), ())
    await connection.execute(_PUT_TILES, list(levels), list(indexes), list(hashes))
    if await connection.fetchval(_LOG_SIZE) != step.size + len(step.ids):
        raise ValueError("the tiles do not hold a leaf for each of these events")
    if step.gaps:
        await connection.execute(_COUNT_GAPS, GAPS, str(len(step.gaps)))


def _gap_ids(step: AppendLog) -> list[EntryID]:
    if not all(step.size < place <= step.size + len(step.ids) for place in step.gaps):
        raise ValueError("there are no gaps of the audit log at these places")
    return [step.ids[place - step.size - 1] for place in step.gaps]
