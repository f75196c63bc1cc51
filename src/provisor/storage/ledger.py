"""The port of reading, over a connection that can be had anew when it breaks."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec, TypeVar, final

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
from provisor.storage import queries

P = ParamSpec("P")
T = TypeVar("T")


@final
class ConnectionLedger:
    """`ports.Ledger`. The methods do not wait: a look-up by key takes microseconds.

    `connect` gives the connection to use and raises `sqlite3.Error` if there is none; `drop` is told
    when a connection failed, so that the next question gets another one.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], drop: Callable[[], None]) -> None:
        self._connect = connect
        self._drop = drop

    def _ask(self, query: Callable[Concatenate[sqlite3.Connection, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return query(self._connect(), *args, **kwargs)
        except (sqlite3.Error, OSError) as error:
            self._drop()
            raise Unavailable(f"database cannot be read: {error}") from error

    def close(self) -> None:
        """Let go of the connection; another question opens it again."""
        self._drop()

    async def is_spent(self, key: str) -> bool:
        return self._ask(queries.is_spent, key)

    async def is_revoked(self, issuer: IssuerID, serial: int) -> bool:
        return self._ask(queries.is_revoked, issuer, serial)

    async def find_certificate(self, issuer: IssuerID, serial: int) -> CertificateRecord | None:
        return self._ask(queries.find_certificate, issuer, serial)

    async def find_outcome(self, entry: EntryID) -> Outcome | None:
        return self._ask(queries.find_outcome, entry)

    async def revocations(self, issuer: IssuerID, alive_at: int) -> Sequence[RevocationRecord]:
        return self._ask(queries.revocations, issuer, alive_at)

    async def find_crl(self, issuer: IssuerID) -> CRLRecord | None:
        return self._ask(queries.find_crl, issuer)

    async def find_crl_number(self, issuer: IssuerID) -> int | None:
        return self._ask(queries.find_crl_number, issuer)

    async def issuers(self) -> Sequence[IssuerRecord]:
        return self._ask(queries.issuers)

    async def due_jobs(self, now: int) -> Sequence[JobRecord]:
        return self._ask(queries.due_jobs, now)

    async def health(self) -> StoreHealth:
        return self._ask(queries.health)
