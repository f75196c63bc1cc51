"""The workers' end of the socket: the notary, and the ledger when only the notary can read it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar, final

import msgspec

from provisor.errors import Malformed, OutcomeUnknown, ProvisorError, Unavailable
from provisor.notary import frames
from provisor.notary.frames import FrameProtocol, Kind
from provisor.ports import (
    CertificateRecord,
    CRLRecord,
    Entry,
    EntryID,
    IssuerID,
    IssuerRecord,
    JobRecord,
    Outcome,
    PutCRL,
    RevocationRecord,
    StoreHealth,
)

T = TypeVar("T")
_RETRY_SECONDS: Final = 0.05

_outcome = msgspec.json.Decoder(Outcome)
_found_outcome: msgspec.json.Decoder[Outcome | None] = msgspec.json.Decoder(Outcome | None)
_flag = msgspec.json.Decoder(bool)
_certificate: msgspec.json.Decoder[CertificateRecord | None] = msgspec.json.Decoder(CertificateRecord | None)
_revocations = msgspec.json.Decoder(list[RevocationRecord])
_crl: msgspec.json.Decoder[CRLRecord | None] = msgspec.json.Decoder(CRLRecord | None)
_number: msgspec.json.Decoder[int | None] = msgspec.json.Decoder(int | None)
_issuers = msgspec.json.Decoder(list[IssuerRecord])
_jobs = msgspec.json.Decoder(list[JobRecord])
_health = msgspec.json.Decoder(StoreHealth)


_NOBODY: Final = (0.0, None)


class _Lost(Exception):
    """The connection broke, or no answer came, after the request was sent."""


@final
class LinkNotary:
    """`ports.Notary` and `ports.Ledger` over the notary's socket, connecting when needed and again after a break.

    `patience_seconds` is how long a notary that is away is waited for, `deadline_seconds` how long an answer.
    """

    def __init__(self, path: Path | str, *, patience_seconds: float = 5.0, deadline_seconds: float = 15.0) -> None:
        self._path = str(path)
        self._patience = patience_seconds
        self._deadline = deadline_seconds
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()

    # -- the notary -----------------------------------------------------------------------------

    async def submit(self, entry: Entry) -> Outcome:
        """See `Notary.submit`. If the answer is lost, the outcome is looked up at the notary that comes back."""
        kind = Kind.SUBMIT_LIST if any(isinstance(write, PutCRL) for write in entry.writes) else Kind.SUBMIT
        try:
            body = frames.encode(entry)
        except Malformed as error:
            return Outcome(entry.id, "rejected", reason=error.detail)
        if len(body) > frames.MAX_BYTES[kind]:
            return Outcome(entry.id, "rejected", reason="entry is too large")
        try:
            return frames.decode(_outcome, await self._request(kind, body))
        except _Lost as lost:
            outcome = await self._look_up(entry.id, lost)
        if outcome is None:
            raise Unavailable("the notary went away before it committed")
        return outcome

    async def sign_crl(self, issuer: IssuerID, tbs: bytes) -> bytes:
        """See `Notary.sign_crl`."""
        return await self._try(Kind.SIGN_CRL, issuer + tbs)

    async def sign_head(self, issuer: IssuerID, text: bytes) -> bytes:
        """See `Notary.sign_head`."""
        return await self._try(Kind.SIGN_HEAD, issuer + text)

    async def call(self, name: str, payload: bytes = b"") -> bytes:
        """What the application in the notary's process answers; raises what it raises, or `Unavailable`."""
        return await self._try(Kind.CALL, frames.pack_call(name, payload))

    def close(self) -> None:
        """Hang up. Another request connects again."""
        if self._connection is not None:
            self._connection.abort()

    # -- the ledger -----------------------------------------------------------------------------

    async def is_spent(self, key: str) -> bool:
        return await self._ask(frames.IsSpent(key), _flag)

    async def is_revoked(self, issuer: IssuerID, serial: int) -> bool:
        return await self._ask(frames.IsRevoked(issuer, serial), _flag)

    async def find_certificate(self, issuer: IssuerID, serial: int) -> CertificateRecord | None:
        return await self._ask(frames.FindCertificate(issuer, serial), _certificate)

    async def find_outcome(self, entry: EntryID) -> Outcome | None:
        return await self._ask(frames.FindOutcome(entry), _found_outcome)

    async def revocations(self, issuer: IssuerID, alive_at: int) -> Sequence[RevocationRecord]:
        return await self._ask(frames.Revocations(issuer, alive_at), _revocations)

    async def find_crl(self, issuer: IssuerID) -> CRLRecord | None:
        return await self._ask(frames.FindCRL(issuer), _crl)

    async def find_crl_number(self, issuer: IssuerID) -> int | None:
        return await self._ask(frames.FindCRLNumber(issuer), _number)

    async def issuers(self) -> Sequence[IssuerRecord]:
        return await self._ask(frames.Issuers(), _issuers)

    async def due_jobs(self, now: int) -> Sequence[JobRecord]:
        return await self._ask(frames.DueJobs(now), _jobs)

    async def health(self) -> StoreHealth:
        """The answer of who can write."""
        return await self._ask(frames.Health(), _health)

    # -- requests -------------------------------------------------------------------------------

    async def _look_up(self, entry: EntryID, lost: _Lost) -> Outcome | None:
        try:
            async with asyncio.timeout(self._patience):
                return await self.find_outcome(entry)
        except ProvisorError as error:
            raise OutcomeUnknown(f"{lost}, and the outcome cannot be looked up: {error.detail}") from error
        except TimeoutError:
            raise OutcomeUnknown(f"{lost}, and nobody says what became of the entry") from lost

    async def _ask(self, question: frames.Question, answer: msgspec.json.Decoder[T]) -> T:
        body = frames.encode(question)
        for again in (True, False):
            try:
                return frames.decode(answer, await self._request(Kind.READ, body))
            except _Lost as lost:
                if not again:
                    raise Unavailable(str(lost)) from lost
        raise AssertionError

    async def _try(self, kind: Kind, body: bytes) -> bytes:
        try:
            return await self._request(kind, body)
        except _Lost as lost:
            raise Unavailable(str(lost)) from lost

    async def _request(self, kind: Kind, body: bytes) -> bytes:
        """The body of the answer. Raises what the notary raised, `Unavailable` if nothing was sent, `_Lost`."""
        connection = self._connection
        if connection is None or not connection.is_open:
            connection = await self._connect()
        number, answer = connection.ask(kind, body)
        try:
            return await answer
        finally:
            connection.forget(number)

    async def _connect(self) -> _Connection:
        """A connection on which the notary has said its greeting: the supervisor's socket alone does not."""
        if self._connection is not None and self._connection.is_open:
            return self._connection
        async with self._connecting:
            if self._connection is not None and self._connection.is_open:
                return self._connection
            try:
                async with asyncio.timeout(self._patience):
                    self._connection = await self._keep_trying()
            except TimeoutError:
                raise Unavailable("the notary is away") from None
            return self._connection

    async def _keep_trying(self) -> _Connection:
        loop = asyncio.get_running_loop()
        while True:
            try:
                _, connection = await loop.create_unix_connection(lambda: _Connection(self._deadline), self._path)
            except OSError:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            try:
                await connection.greeted
            except _Lost:
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            except BaseException:
                connection.abort()
                raise
            return connection


@final
class _Connection(FrameProtocol):
    """One connection and the requests that wait on it."""

    accepted = frozenset({Kind.GREETING, Kind.ANSWER, Kind.FAULT})

    def __init__(self, deadline_seconds: float) -> None:
        super().__init__()
        self._deadline = deadline_seconds
        self._sweep_seconds = min(1.0, deadline_seconds / 4)
        self._sweeper: asyncio.TimerHandle | None = None
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_open = False
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[float, asyncio.Future[bytes]]] = {}

    def ask(self, kind: Kind, body: bytes) -> tuple[int, asyncio.Future[bytes]]:
        number = next(self._numbers)
        answer = self._loop.create_future()
        self._waiting[number] = self._loop.time() + self._deadline, answer
        self.send(kind, number, body)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._sweep_seconds, self._sweep)
        return number, answer

    def forget(self, number: int) -> None:
        self._waiting.pop(number, None)

    def _sweep(self) -> None:
        """One timer for all that wait, instead of one each."""
        now = self._loop.time()
        for due, answer in self._waiting.values():
            if due <= now and not answer.done():
                answer.set_exception(_Lost(f"no answer within {self._deadline:g} s"))
        waiting = bool(self._waiting)
        self._sweeper = self._loop.call_later(self._sweep_seconds, self._sweep) if waiting else None

    def frame_received(self, kind: Kind, request: int, body: bytes) -> None:
        if kind is Kind.GREETING:
            if body != frames.GREETING:
                self.abort()
            elif not self.greeted.done():
                self.is_open = True
                self.greeted.set_result(None)
            return
        _, answer = self._waiting.get(request, _NOBODY)
        if answer is None or answer.done():
            return
        if kind is Kind.ANSWER:
            answer.set_result(body)
        else:
            answer.set_exception(frames.decode_fault(body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        lost = _Lost("the connection to the notary broke")
        if not self.greeted.done():
            self.greeted.set_exception(lost)
        if self._sweeper is not None:
            self._sweeper.cancel()
        for _, answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(lost)
