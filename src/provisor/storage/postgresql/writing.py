"""Writing what a batch says: rows sorted by key, in one statement as far as every issuance needs them."""

from __future__ import annotations

from typing import Any, Final

from provisor.storage.judging import EPOCH, Row, Rows
from provisor.storage.postgresql.connect import Connection
from provisor.storage.postgresql.facts import KEPT, LoadedFacts, columns
from provisor.storage.postgresql.storable import displayable

EPOCH_CHANNEL: Final = "provisor_epoch"

_APPEND: Final = """
WITH certificates AS (
    INSERT INTO provisor.certificates (issuer_n, serial, lineage, predecessor, not_before, not_after,
        provisioner_id, provisioner_name, provisioner_kind, csr_digest, crl_shard, der)
    SELECT * FROM unnest($1::int[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bigint[], $6::bigint[],
        $7::text[], $8::text[], $9::text[], $10::bytea[], $11::int[], $12::bytea[])
), tokens AS (
    INSERT INTO provisor.tokens (key, expires, outcome, digest)
    SELECT * FROM unnest($13::bytea[], $14::bigint[], $15::text[], $16::bytea[])
), events AS (
    INSERT INTO provisor.events (id, issuer_n, serial, body)
    SELECT * FROM unnest($17::bytea[], $18::int[], $19::bytea[], $20::bytea[])
), unsequenced AS (
    INSERT INTO provisor.unsequenced (id) SELECT * FROM unnest($17::bytea[])
)
INSERT INTO provisor.clock (slot, at) SELECT * FROM unnest($21::int[], $22::bigint[])
    ON CONFLICT (slot) DO UPDATE SET at = excluded.at WHERE provisor.clock.at < excluded.at
"""

_REVOCATIONS: Final = """
INSERT INTO provisor.revocations (issuer_n, serial, reason_code, reason, revoked_at, expires, provisioner_id,
    token_id, mtls)
SELECT * FROM unnest($1::int[], $2::bytea[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::text[],
    $8::text[], $9::bool[])
"""

_RECEIPTS: Final = "INSERT INTO provisor.receipts (id) SELECT * FROM unnest($1::bytea[])"

_METAS: Final = """
INSERT INTO provisor.meta (key, value) SELECT * FROM unnest($1::text[], $2::text[])
    ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""

_ISSUERS: Final = """
INSERT INTO provisor.issuers (n, id, certificate, state)
    SELECT * FROM unnest($1::int[], $2::bytea[], $3::bytea[], $4::text[])
    ON CONFLICT (id) DO UPDATE SET state = excluded.state
"""

_CRLS: Final = """
INSERT INTO provisor.crls (issuer_n, number, this_update, next_update, der)
    SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[])
    ON CONFLICT (issuer_n) DO UPDATE SET number = excluded.number, this_update = excluded.this_update,
        next_update = excluded.next_update, der = excluded.der
"""

_JOBS: Final = """
INSERT INTO provisor.jobs (kind, key, due, leased_until, fence, woken)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
    ON CONFLICT (kind, key) DO UPDATE SET due = excluded.due, leased_until = excluded.leased_until,
        fence = excluded.fence, woken = excluded.woken
"""

_TERMS: Final = """
INSERT INTO provisor.terms (term, n) SELECT * FROM unnest($1::bytea[], $2::bigint[]) ON CONFLICT DO NOTHING
"""


async def write_rows(connection: Connection, rows: Rows, clock: tuple[int, int] | None) -> None:
    """What is appended. `clock` is the slot of this replica and the time, if that is to be written."""
    await connection.execute(
        _APPEND,
        *_sorted_columns(rows.certificates, 12),
        *_token_columns(rows),
        *_sorted_columns(rows.events, 4),
        [clock[0]] if clock else [],
        [clock[1]] if clock else [],
    )
    if rows.revocations:
        await connection.execute(
            _REVOCATIONS, *columns([_revocation(rows.revocations[k]) for k in sorted(rows.revocations)], 9)
        )
    if rows.receipts:
        await connection.execute(_RECEIPTS, sorted(rows.receipts))


async def write_changes(connection: Connection, facts: LoadedFacts) -> None:
    """What is overwritten: the last word of the batch on each thing."""
    if facts.changed_issuers:
        issuers = [
            (facts.numbers[id_], id_, write.certificate, write.state) for id_, write in facts.changed_issuers.items()
        ]
        await connection.execute(_ISSUERS, *columns(sorted(issuers), 4))
    if facts.changed_crls:
        lists = [(n, w.number, w.this_update, w.next_update, w.der) for n, w in sorted(facts.changed_crls.items())]
        await connection.execute(_CRLS, *columns(lists, 5))
    if facts.changed_jobs:
        jobs = [(*key, j.due, j.leased_until, j.fence, j.woken) for key, j in sorted(facts.changed_jobs.items())]
        await connection.execute(_JOBS, *columns(jobs, 6))
    if facts.terms:
        await connection.execute(_TERMS, *columns(sorted(facts.terms), 2))
    if facts.changed_metas:
        await connection.execute(_METAS, *columns(sorted(facts.changed_metas.items()), 2))
    if EPOCH in facts.changed_metas:
        await connection.execute("SELECT pg_notify($1, $2)", EPOCH_CHANNEL, facts.changed_metas[EPOCH])


def _sorted_columns(rows: dict[Any, Row], width: int) -> list[list[Any]]:
    return columns([rows[key] for key in sorted(rows)], width)


def _token_columns(rows: Rows) -> list[list[Any]]:
    keys, expires, outcomes, digests = _sorted_columns(rows.tokens, 4)
    return [keys, [KEPT if each is None else each for each in expires], outcomes, digests]


def _revocation(row: Row) -> Row:
    number, serial, code, reason, at, expires, provisioner, token, mtls = row
    return number, serial, code, displayable(str(reason)), at, expires, provisioner, displayable(str(token)), bool(mtls)
