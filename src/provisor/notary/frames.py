"""What goes over the notary's socket: frames of a length, a kind, a request's number and a body.

Bodies are JSON, because serial numbers have more bits than msgpack has integers; signatures of lists and
the application's own calls are plain octets. Both sides run as the same user, but the workers have met
strangers: the notary decodes strictly and within limits.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping
from struct import Struct as Layout
from typing import Final, TypeVar, cast

import msgspec
from msgspec import Struct

from provisor.errors import (
    Forbidden,
    Malformed,
    NotSupported,
    OutcomeUnknown,
    ProvisorError,
    Unavailable,
)
from provisor.ports import EntryID, IssuerID

T = TypeVar("T")

GREETING: Final = b"provisor-notary/1"
_HEADER: Final = Layout(">IBQ")
_KIB: Final = 1024
_MIB: Final = 1024 * _KIB


class Kind(enum.IntEnum):
    SUBMIT = 1
    SUBMIT_LIST = 2  # an entry that holds a CRL
    SIGN_CRL = 3
    READ = 4
    CALL = 5
    SIGN_HEAD = 6
    GREETING = 16
    ANSWER = 17
    FAULT = 18


MAX_BYTES: Final[Mapping[Kind, int]] = {
    Kind.SUBMIT: 4 * _MIB,
    Kind.SUBMIT_LIST: 192 * _MIB,
    Kind.SIGN_CRL: 128 * _MIB,
    Kind.READ: 512 * _KIB,
    Kind.CALL: 4 * _MIB,
    Kind.SIGN_HEAD: 4 * _KIB,
    Kind.GREETING: _KIB,
    Kind.ANSWER: 192 * _MIB,
    Kind.FAULT: 64 * _KIB,
}


class IsSpent(Struct, frozen=True, tag=True):
    key: str


class IsRevoked(Struct, frozen=True, tag=True):
    issuer: IssuerID
    serial: int


class FindCertificate(Struct, frozen=True, tag=True):
    issuer: IssuerID
    serial: int


class FindOutcome(Struct, frozen=True, tag=True):
    entry: EntryID


class Revocations(Struct, frozen=True, tag=True):
    issuer: IssuerID
    alive_at: int


class FindCRL(Struct, frozen=True, tag=True):
    issuer: IssuerID


class FindCRLNumber(Struct, frozen=True, tag=True):
    issuer: IssuerID


class Issuers(Struct, frozen=True, tag=True):
    pass


class DueJobs(Struct, frozen=True, tag=True):
    now: int


class Health(Struct, frozen=True, tag=True):
    pass


Question = (
    IsSpent
    | IsRevoked
    | FindCertificate
    | FindOutcome
    | Revocations
    | FindCRL
    | FindCRLNumber
    | Issuers
    | DueJobs
    | Health
)


class Fault(Struct, frozen=True):
    """An error on its way back: a word of `_FAULTS` and the text for the log."""

    word: str
    detail: str


_FAULTS: Final[Mapping[str, type[ProvisorError]]] = {
    "unknown": OutcomeUnknown,
    "unavailable": Unavailable,
    "forbidden": Forbidden,
    "not-supported": NotSupported,
    "malformed": Malformed,
}

_encoder = msgspec.json.Encoder()


def encode(value: object) -> bytes:
    """A body. Raises `Malformed` for text that is no Unicode."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError as error:
        raise Malformed(f"cannot be sent: {error}") from error


def decode(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The value of a body. Raises `Malformed`."""
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError) as error:
        raise Malformed(f"body cannot be read: {error}") from error


def encode_fault(error: ProvisorError) -> bytes:
    """The body that `decode_fault` turns into the same kind of error, or into `Unavailable`."""
    word = next((word for word, kind in _FAULTS.items() if isinstance(error, kind)), "unavailable")
    return _encoder.encode(Fault(word, error.detail.encode("utf-8", "replace").decode()[:1000]))


_fault_decoder = msgspec.json.Decoder(Fault)


def decode_fault(body: bytes) -> ProvisorError:
    fault = decode(_fault_decoder, body)
    return _FAULTS.get(fault.word, Unavailable)(fault.detail)


class FrameProtocol(asyncio.Protocol):
    """Cuts the stream into frames. A frame of an unexpected kind or over its limit ends the connection."""

    accepted: frozenset[Kind]

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._outgoing: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A uvloop transport is a transport without saying so.
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        start = 0
        while len(self._buffer) - start >= _HEADER.size:
            length, number, request = _HEADER.unpack_from(self._buffer, start)
            if number not in self.accepted or length > MAX_BYTES[Kind(number)]:
                self.abort()
                return
            end = start + _HEADER.size + length
            if len(self._buffer) < end:
                break
            self.frame_received(Kind(number), request, bytes(self._buffer[start + _HEADER.size : end]))
            start = end
        del self._buffer[:start]

    def frame_received(self, kind: Kind, request: int, body: bytes) -> None:
        raise NotImplementedError

    def send(self, kind: Kind, request: int, body: bytes) -> None:
        """To a connection that is gone: nothing. What is sent in one turn of the loop leaves in one write."""
        if self._transport is not None and not self._transport.is_closing():
            if not self._outgoing:
                self._loop.call_soon(self.flush)
            self._outgoing += (_HEADER.pack(len(body), kind, request), body)

    def flush(self) -> None:
        """Write what was sent, now."""
        if self._outgoing and self._transport is not None:
            outgoing, self._outgoing = self._outgoing, []
            self._transport.write(b"".join(outgoing))

    def abort(self) -> None:
        """Close at once; nothing that arrived later is read."""
        self._buffer.clear()
        self._outgoing.clear()
        if self._transport is not None:
            self._transport.abort()


def pack_call(name: str, payload: bytes) -> bytes:
    """The body of a CALL: its name with a length octet, then the payload as it is."""
    octets = name.encode()
    return bytes((len(octets),)) + octets + payload


def unpack_call(body: bytes) -> tuple[str, bytes]:
    """Raises `Malformed`."""
    length = body[0] + 1 if body else 1
    name = body[1:length]
    if len(name) != length - 1 or not name.isascii():
        raise Malformed("call without a name")
    return name.decode(), body[length:]
