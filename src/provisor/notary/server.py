"""The notary's end of the socket: frames of all workers in, one batch a turn of the loop, answers out."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from struct import Struct as Layout
from typing import Final, final

import msgspec

from provisor.errors import Malformed, NotSupported, ProvisorError, Unavailable
from provisor.notary import frames
from provisor.notary.frames import FrameProtocol, Kind
from provisor.notary.inline import InlineNotary, checked
from provisor.ports import Entry, Outcome

Call = Callable[[bytes], Awaitable[bytes]]
"""What the application answers to a call of its own."""

MAX_IN_FLIGHT: Final = 1024
_CREDENTIALS: Final = Layout("3i")
_ISSUER_BYTES: Final = 32

_entry_decoder = msgspec.json.Decoder(Entry)
_question_decoder: msgspec.json.Decoder[frames.Question] = msgspec.json.Decoder(frames.Question)


@final
class LinkServer:
    """Serves a notary on a listening Unix socket to processes of the same user."""

    def __init__(
        self, notary: InlineNotary, *, calls: Mapping[str, Call] | None = None, user: int | None = None
    ) -> None:
        self._notary = notary
        self._calls = dict(calls or {})
        self._user = os.getuid() if user is None else user
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, listening: socket.socket) -> None:
        """Accept from now on. The supervisor keeps the socket too, so that callers can wait for a new notary."""
        loop = asyncio.get_running_loop()

        def connect() -> _Connection:
            return _Connection(self._notary, self._calls, self._connections, self._user)

        if sys.version_info >= (3, 13) and isinstance(loop, asyncio.SelectorEventLoop):
            # The path in the file system is the supervisor's, and outlives us.
            self._server = await loop.create_unix_server(connect, sock=listening, cleanup_socket=False)
        else:
            self._server = await loop.create_unix_server(connect, sock=listening)

    async def stop(self) -> None:
        """Accept no more, answer what was begun, and hang up."""
        if self._server is not None:
            self._server.close()
        await self._notary.drain()
        # One more turn: the last answers are handed to the transports in the callbacks of the last batch.
        await asyncio.sleep(0)
        self.hang_up()

    def hang_up(self) -> None:
        """Drop every connection after what is written already; callers look their outcomes up elsewhere."""
        for connection in list(self._connections):
            connection.close()


@final
class _Connection(FrameProtocol):
    """One worker. While it has too much under way, or does not read its answers, nothing more is read of it."""

    accepted = frozenset({Kind.SUBMIT, Kind.SUBMIT_LIST, Kind.SIGN_CRL, Kind.SIGN_HEAD, Kind.READ, Kind.CALL})

    def __init__(
        self, notary: InlineNotary, calls: Mapping[str, Call], connections: set[_Connection], user: int
    ) -> None:
        super().__init__()
        self._notary = notary
        self._calls = calls
        self._connections = connections
        self._user = user
        self._in_flight = 0
        self._reads_answers = True
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if _peer_user(transport) != self._user:
            self.abort()
            return
        self._connections.add(self)
        self.send(Kind.GREETING, 0, frames.GREETING)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)

    def pause_writing(self) -> None:
        self._reads_answers = False
        self._regulate()

    def resume_writing(self) -> None:
        self._reads_answers = True
        self._regulate()

    def close(self) -> None:
        """Hang up after what was sent."""
        if self._transport is not None:
            self.flush()
            self._transport.close()

    def frame_received(self, kind: Kind, request: int, body: bytes) -> None:
        self._in_flight += 1
        self._regulate()
        if kind in (Kind.SUBMIT, Kind.SUBMIT_LIST):
            self._submit(request, body)
            return
        task = asyncio.get_running_loop().create_task(self._answer(request, self._work(kind, body)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _submit(self, request: int, body: bytes) -> None:
        try:
            entry = frames.decode(_entry_decoder, body)
        except Malformed as error:
            self._reply(request, Kind.FAULT, frames.encode_fault(error))
            return
        self._notary.enqueue(entry, lambda outcome: self._reply_outcome(request, outcome))

    def _reply_outcome(self, request: int, outcome: Outcome) -> None:
        try:
            self._reply(request, Kind.ANSWER, frames.encode(checked(outcome)))
        except ProvisorError as error:
            self._reply(request, Kind.FAULT, frames.encode_fault(error))

    async def _answer(self, request: int, work: Coroutine[object, object, bytes]) -> None:
        kind, body = Kind.FAULT, frames.encode_fault(Unavailable("fault in the notary"))
        try:
            kind, body = Kind.ANSWER, await work
        except ProvisorError as error:
            body = frames.encode_fault(error)
        finally:
            self._reply(request, kind, body)

    async def _work(self, kind: Kind, body: bytes) -> bytes:
        if kind is Kind.SIGN_CRL:
            return await self._notary.sign_crl(body[:_ISSUER_BYTES], body[_ISSUER_BYTES:])
        if kind is Kind.SIGN_HEAD:
            return await self._notary.sign_head(body[:_ISSUER_BYTES], body[_ISSUER_BYTES:])
        if kind is Kind.READ:
            return frames.encode(await self._read(frames.decode(_question_decoder, body)))
        name, payload = frames.unpack_call(body)
        call = self._calls.get(name)
        if call is None:
            raise NotSupported(f"the notary has no call {name}")
        return await call(payload)

    async def _read(self, question: frames.Question) -> object:
        ledger = self._notary.ledger
        match question:
            case frames.IsSpent():
                return await ledger.is_spent(question.key)
            case frames.IsRevoked():
                return await ledger.is_revoked(question.issuer, question.serial)
            case frames.FindCertificate():
                return await ledger.find_certificate(question.issuer, question.serial)
            case frames.FindOutcome():
                return await self._notary.find_outcome(question.entry)
            case frames.Revocations():
                return await ledger.revocations(question.issuer, question.alive_at)
            case frames.FindCRL():
                return await ledger.find_crl(question.issuer)
            case frames.FindCRLNumber():
                return await ledger.find_crl_number(question.issuer)
            case frames.Issuers():
                return await ledger.issuers()
            case frames.DueJobs():
                return await ledger.due_jobs(question.now)
            case frames.Health():
                return await self._notary.health()

    def _reply(self, request: int, kind: Kind, body: bytes) -> None:
        self.send(kind, request, body)
        self._in_flight -= 1
        self._regulate()

    def _regulate(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._reads_answers and self._in_flight < MAX_IN_FLIGHT:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()


def _peer_user(transport: asyncio.BaseTransport) -> int | None:
    """The user at the other end, as the kernel knows it."""
    connection = transport.get_extra_info("socket")
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(credentials)
    return int(user)
