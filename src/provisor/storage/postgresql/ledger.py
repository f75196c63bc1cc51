"""The port of reading, over the notary's connection for questions.

What every request asks (is this token spent, this certificate revoked, what was it) is asked together for
all requests that wait: while one question is under way the next ones gather.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar, final

from provisor.errors import Unavailable
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
from provisor.storage.postgresql.reader import Reader

Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")

_MOST_TOGETHER: Final = 500

_SPENT: Final = "SELECT key FROM provisor.tokens WHERE key = ANY($1::bytea[])"
_REVOKED: Final = """
SELECT i.id, r.serial FROM unnest($1::bytea[], $2::bytea[]) AS u(id, s) JOIN provisor.issuers i ON i.id = u.id
    JOIN provisor.revocations r ON r.issuer_n = i.n AND r.serial = u.s
"""
_CERTIFICATES: Final = """
SELECT i.id, c.serial, c.not_before, c.not_after, c.provisioner_id, c.provisioner_name, c.provisioner_kind, c.lineage,
    c.predecessor, c.csr_digest, c.der
FROM unnest($1::bytea[], $2::bytea[]) AS u(id, s) JOIN provisor.issuers i ON i.id = u.id
    JOIN provisor.certificates c ON c.issuer_n = i.n AND c.serial = u.s
UNION ALL
SELECT i.id, c.serial, c.not_before, c.not_after, c.provisioner_id, c.provisioner_name, c.provisioner_kind, c.lineage,
    c.predecessor, c.csr_digest, ''::bytea
FROM unnest($1::bytea[], $2::bytea[]) AS u(id, s) JOIN provisor.issuers i ON i.id = u.id
    JOIN provisor.expired_certificates c ON c.issuer_n = i.n AND c.serial = u.s
"""
_OUTCOME: Final = """
SELECT c.der FROM provisor.events e
    LEFT JOIN provisor.certificates c ON c.issuer_n = e.issuer_n AND c.serial = e.serial WHERE e.id = $1
UNION ALL
SELECT NULL FROM provisor.receipts WHERE id = $1
"""
_REVOCATIONS: Final = """
SELECT r.serial, r.reason_code, r.revoked_at, r.expires FROM provisor.revocations r
    JOIN provisor.issuers i ON i.n = r.issuer_n WHERE i.id = $1 AND (r.expires IS NULL OR r.expires > $2)
    ORDER BY r.serial
"""
_CRL: Final = """
SELECT c.number, c.this_update, c.next_update, c.der FROM provisor.crls c
    JOIN provisor.issuers i ON i.n = c.issuer_n WHERE i.id = $1
"""
_CRL_NUMBER: Final = "SELECT c.number FROM provisor.crls c JOIN provisor.issuers i ON i.n = c.issuer_n WHERE i.id = $1"
_ISSUERS: Final = "SELECT id, certificate, state FROM provisor.issuers ORDER BY n"
_JOBS: Final = (
    'SELECT kind, key, due, leased_until, fence FROM provisor.jobs WHERE due <= $1 ORDER BY due, kind COLLATE "C",'
    ' key COLLATE "C"'
)
_HEALTH: Final = """
SELECT coalesce((SELECT max(at) FROM provisor.clock), 0),
    coalesce((SELECT value FROM provisor.meta WHERE key = 'epoch'), '0'),
    coalesce((SELECT value FROM provisor.meta WHERE key = 'authority_id'), ''),
    coalesce((SELECT value FROM provisor.meta WHERE key = 'configuration'), ''),
    coalesce((SELECT value FROM provisor.meta WHERE key = 'tokens_not_before'), '0')
"""


@final
class _Together(Generic[Q, A]):
    """Gathers questions while others are under way, and asks them as one."""

    def __init__(self, ask: Callable[[Sequence[Q]], Awaitable[Mapping[Q, A]]], missing: A) -> None:
        self._ask = ask
        self._missing = missing
        self._waiting: dict[Q, asyncio.Future[A]] = {}
        self._task: asyncio.Task[None] | None = None

    async def find(self, question: Q) -> A:
        future = self._waiting.get(question)
        if future is None:
            future = self._waiting[question] = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        return await asyncio.shield(future)

    async def _run(self) -> None:
        while self._waiting:
            questions = list(self._waiting)[:_MOST_TOGETHER]
            futures = {question: self._waiting.pop(question) for question in questions}
            try:
                answers = await self._ask(questions)
            except Unavailable as error:
                for future in futures.values():
                    # An error of its own for each: they are raised in different places.
                    _settle(future, Unavailable(error.detail))
            except BaseException:
                for future in futures.values():
                    _settle(future, Unavailable("fault while reading"))
                raise
            else:
                for question, future in futures.items():
                    if not future.done():
                        future.set_result(answers.get(question, self._missing))


def _settle(future: asyncio.Future[Any], error: Unavailable) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # who asked may have gone


@final
class PostgreSQLLedger:
    """`ports.Ledger`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._spent: _Together[bytes, bool] = _Together(self._ask_spent, missing=False)
        self._revoked: _Together[tuple[IssuerID, bytes], bool] = _Together(self._ask_revoked, missing=False)
        self._certificates: _Together[tuple[IssuerID, bytes], CertificateRecord | None] = _Together(
            self._ask_certificates, missing=None
        )

    async def is_spent(self, key: str) -> bool:
        return await self._spent.find(hash_token_key(key))

    async def is_revoked(self, issuer: IssuerID, serial: int) -> bool:
        return await self._revoked.find((issuer, encode_serial(serial)))

    async def find_certificate(self, issuer: IssuerID, serial: int) -> CertificateRecord | None:
        return await self._certificates.find((issuer, encode_serial(serial)))

    async def find_outcome(self, entry: EntryID) -> Outcome | None:
        rows = await self._reader.fetch(_OUTCOME, entry)
        return Outcome(entry, "committed", certificate=rows[0][0] or b"") if rows else None

    async def revocations(self, issuer: IssuerID, alive_at: int) -> Sequence[RevocationRecord]:
        rows = await self._reader.fetch(_REVOCATIONS, issuer, alive_at)
        return [RevocationRecord(decode_serial(serial), code, at, expires) for serial, code, at, expires in rows]

    async def find_crl(self, issuer: IssuerID) -> CRLRecord | None:
        rows = await self._reader.fetch(_CRL, issuer)
        return CRLRecord(*rows[0]) if rows else None

    async def find_crl_number(self, issuer: IssuerID) -> int | None:
        number: int | None = await self._reader.fetchval(_CRL_NUMBER, issuer)
        return number

    async def issuers(self) -> Sequence[IssuerRecord]:
        return [IssuerRecord(*row) for row in await self._reader.fetch(_ISSUERS)]

    async def due_jobs(self, now: int) -> Sequence[JobRecord]:
        return [JobRecord(*row) for row in await self._reader.fetch(_JOBS, now)]

    async def health(self) -> StoreHealth:
        """The answer of a store that can be read; whether it can be written only its writer knows."""
        ((high_water, epoch, authority, configuration, not_before),) = await self._reader.fetch(_HEALTH)
        return StoreHealth(
            writable=True,
            high_water=high_water,
            epoch=int(epoch),
            authority=authority,
            configuration=configuration,
            tokens_not_before=int(not_before),
        )

    async def _ask_spent(self, keys: Sequence[bytes]) -> Mapping[bytes, bool]:
        return {row[0]: True for row in await self._reader.fetch(_SPENT, list(keys))}

    async def _ask_revoked(self, places: Sequence[tuple[IssuerID, bytes]]) -> Mapping[tuple[IssuerID, bytes], bool]:
        rows = await self._reader.fetch(_REVOKED, [issuer for issuer, _ in places], [serial for _, serial in places])
        return {(row[0], row[1]): True for row in rows}

    async def _ask_certificates(
        self, places: Sequence[tuple[IssuerID, bytes]]
    ) -> Mapping[tuple[IssuerID, bytes], CertificateRecord | None]:
        rows = await self._reader.fetch(
            _CERTIFICATES, [issuer for issuer, _ in places], [serial for _, serial in places]
        )
        return {(row[0], row[1]): _certificate(row) for row in rows}


def _certificate(row: Any) -> CertificateRecord:
    return CertificateRecord(
        issuer=row[0],
        serial=decode_serial(row[1]),
        not_before=row[2],
        not_after=row[3],
        provisioner_id=row[4],
        provisioner_name=row[5],
        provisioner_kind=row[6],
        lineage=decode_serial(row[7]),
        predecessor=None if row[8] is None else decode_serial(row[8]),
        csr_digest=row[9],
        der=row[10],
    )
