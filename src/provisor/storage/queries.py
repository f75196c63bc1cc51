"""What is read from the database: one function a question, over any connection to it."""

from __future__ import annotations

import sqlite3

from provisor.ports import (
    CertificateRecord,
    CRLRecord,
    EntryID,
    IssuerID,
    IssuerRecord,
    JobRecord,
    Outcome,
    RevocationRecord,
    StoreHealth,
)
from provisor.storage.encoding import decode_serial, encode_serial, hash_token_key
from provisor.storage.judging import TOKENS_NOT_BEFORE, Recorded

_ISSUER = "(SELECT n FROM issuers WHERE id = ?)"
_CERTIFICATE = (
    "SELECT not_before, not_after, p.id, p.name, p.kind, lineage, predecessor, csr_digest, der"
    " FROM certificates c JOIN provisioners p ON p.n = c.provisioner_n"
    f" WHERE issuer_n = {_ISSUER} AND serial = ?"
)
_EXPIRED = (
    "SELECT 0, not_after, p.id, p.name, p.kind, lineage, predecessor, x'', x''"
    " FROM expired_certificates c JOIN provisioners p ON p.n = c.provisioner_n"
    f" WHERE issuer_n = {_ISSUER} AND serial = ?"
)


def is_spent(connection: sqlite3.Connection, key: str) -> bool:
    return has_token(connection, hash_token_key(key))


def has_token(connection: sqlite3.Connection, key: bytes) -> bool:
    """`key` as `hash_token_key` makes it."""
    return connection.execute("SELECT 1 FROM spent_tokens WHERE key = ?", (key,)).fetchone() is not None


def find_issuer_number(connection: sqlite3.Connection, issuer: IssuerID) -> int | None:
    row = connection.execute("SELECT n FROM issuers WHERE id = ?", (issuer,)).fetchone()
    return None if row is None else int(row[0])


def is_revoked(connection: sqlite3.Connection, issuer: IssuerID, serial: int) -> bool:
    query = f"SELECT 1 FROM revocations WHERE issuer_n = {_ISSUER} AND serial = ?"
    return connection.execute(query, (issuer, encode_serial(serial))).fetchone() is not None


def find_certificate(connection: sqlite3.Connection, issuer: IssuerID, serial: int) -> CertificateRecord | None:
    """Also one whose row was dropped: then without what is no longer known of it, its DER and its beginning."""
    place = (issuer, encode_serial(serial))
    row = connection.execute(_CERTIFICATE, place).fetchone() or connection.execute(_EXPIRED, place).fetchone()
    if row is None:
        return None
    return CertificateRecord(
        issuer=issuer,
        serial=serial,
        not_before=row[0],
        not_after=row[1],
        provisioner_id=row[2],
        provisioner_name=row[3],
        provisioner_kind=row[4],
        lineage=decode_serial(row[5]),
        predecessor=None if row[6] is None else decode_serial(row[6]),
        csr_digest=row[7],
        der=row[8],
    )


def find_outcome(connection: sqlite3.Connection, entry: EntryID) -> Outcome | None:
    recorded = find_recorded(connection, entry)
    return None if recorded is None else Outcome(entry, "committed", certificate=recorded.der)


def find_recorded(connection: sqlite3.Connection, entry: EntryID) -> Recorded | None:
    row = connection.execute(
        "SELECT e.issuer_n, e.serial, c.der FROM events e"
        " LEFT JOIN certificates c ON c.issuer_n = e.issuer_n AND c.serial = e.serial WHERE e.id = ?",
        (entry,),
    ).fetchone()
    if row is not None:
        return Recorded(None if row[0] is None else (row[0], row[1]), row[2] or b"")
    found = connection.execute("SELECT 1 FROM receipts WHERE id = ?", (entry,)).fetchone()
    return None if found is None else Recorded(None, b"")


def revocations(connection: sqlite3.Connection, issuer: IssuerID, alive_at: int) -> list[RevocationRecord]:
    rows = connection.execute(
        f"SELECT serial, reason_code, revoked_at, expires FROM revocations WHERE issuer_n = {_ISSUER}"
        " AND (expires IS NULL OR expires > ?) ORDER BY serial",
        (issuer, alive_at),
    )
    return [RevocationRecord(decode_serial(serial), code, at, expires) for serial, code, at, expires in rows]


def find_crl(connection: sqlite3.Connection, issuer: IssuerID) -> CRLRecord | None:
    query = f"SELECT number, this_update, next_update, der FROM crls WHERE issuer_n = {_ISSUER}"
    row = connection.execute(query, (issuer,)).fetchone()
    return None if row is None else CRLRecord(*row)


def find_crl_number(connection: sqlite3.Connection, issuer: IssuerID) -> int | None:
    row = connection.execute(f"SELECT number FROM crls WHERE issuer_n = {_ISSUER}", (issuer,)).fetchone()
    return None if row is None else int(row[0])


def issuers(connection: sqlite3.Connection) -> list[IssuerRecord]:
    return [IssuerRecord(*row) for row in connection.execute("SELECT id, certificate, state FROM issuers ORDER BY n")]


def due_jobs(connection: sqlite3.Connection, now: int) -> list[JobRecord]:
    query = "SELECT kind, key, due, leased_until, fence FROM jobs WHERE due <= ? ORDER BY due, kind, key"
    return [JobRecord(*row) for row in connection.execute(query, (now,))]


def find_job(connection: sqlite3.Connection, kind: str, key: str) -> JobRecord | None:
    query = "SELECT kind, key, due, leased_until, fence FROM jobs WHERE kind = ? AND key = ?"
    row = connection.execute(query, (kind, key)).fetchone()
    return None if row is None else JobRecord(*row)


def find_meta(connection: sqlite3.Connection, key: str) -> str | None:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def health(connection: sqlite3.Connection) -> StoreHealth:
    """The answer of a store that can be read; whether it can be written only its writer knows."""
    high_water, epoch = (int(find_meta(connection, key) or "0") for key in ("high_water", "epoch"))
    authority = find_meta(connection, "authority_id") or ""
    not_before = int(find_meta(connection, TOKENS_NOT_BEFORE) or "0")
    return StoreHealth(
        writable=True, high_water=high_water, epoch=epoch, authority=authority, tokens_not_before=not_before
    )
