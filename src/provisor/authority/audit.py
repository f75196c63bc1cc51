"""The trail of one request, and the event it ends in.

An event is written for every request whose caller was authenticated, granted or refused, in the
commit of its answer. Its stored bytes are canonical: fields in the order below, absent ones left out,
the version first, so that a log over them can be checked by anybody at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, final

import msgspec
from msgspec import Struct

from provisor.core.durations import format_rfc3339
from provisor.core.identity import Identity, Operation, ProvisionerRef, TokenUse
from provisor.errors import ProvisorError

EVENT_VERSION: Final = 1

LONGEST_REASON: Final = 512
LONGEST_LIST: Final = 100


class Asked(Struct, frozen=True, omit_defaults=True):
    """What the client wanted, in words of the request."""

    subject: str = ""
    names: Sequence[str] = ()
    key: str = ""
    not_before: str = ""
    not_after: str = ""
    serial: str = ""
    reason: int | None = None


class Given(Struct, frozen=True, omit_defaults=True):
    """What was signed or recorded. `key` and `tbs` are SHA-256 in hex, of the SubjectPublicKeyInfo and the whole."""

    serial: str = ""
    names: Sequence[str] = ()
    not_before: str = ""
    not_after: str = ""
    key: str = ""
    tbs: str = ""
    predecessor: str = ""


class Forked(Struct, frozen=True, omit_defaults=True):
    """Of the event that tells of a restoration: the log before it is the `size` events of a backup of that time."""

    size: int = 0
    backup: str = ""


class Event(Struct, frozen=True, omit_defaults=True):
    """One line of the audit log. Serials are decimal, times RFC 3339 in UTC, `token` the token's id."""

    v: int
    at: str
    operation: str
    outcome: str
    request: str = ""
    source: str = ""
    step: int = 0
    code: str = ""
    reason: str = ""
    method: str = ""
    provisioner: str = ""
    provisioner_id: str = ""
    kind: str = ""
    subject: str = ""
    token: str = ""
    certificate: str = ""
    asked: Asked | None = None
    given: Given | None = None
    fork: Forked | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Event).decode


def encode_event(event: Event) -> bytes:
    return _encode(event)


def parse_event(body: bytes) -> Event:
    """Raises `msgspec.ValidationError` for bytes that are no event."""
    return _decode(body)


def _stays() -> bool:
    return False


@final
class Trail:
    """What is known of a request while it walks the numbered steps of docs/issuance.md.

    `now` is read once, so all checks of a request agree. `use` is set when a token was verified: from
    then on every answer spends it. `who` is set when the caller is proven. `timer` gives seconds; `entered`
    is its reading when the present step began, or the last one ended. `has_left` tells whether the client
    waits for no answer any more. `facts` is a list where the request is to be explained, None otherwise.
    """

    __slots__ = (
        "asked",
        "digest",
        "entered",
        "facts",
        "given",
        "has_left",
        "now",
        "operation",
        "provisioner",
        "request_id",
        "seconds",
        "source",
        "step",
        "timer",
        "use",
        "who",
    )

    def __init__(
        self,
        operation: Operation,
        now: datetime,
        *,
        request_id: str = "",
        source: str = "",
        digest: bytes = b"",
        timer: Callable[[], float],
        has_left: Callable[[], bool] = _stays,
    ) -> None:
        self.operation = operation
        self.now = now
        self.request_id = request_id
        self.source = source
        self.digest = digest
        self.timer = timer
        self.has_left = has_left
        self.step = 0
        self.seconds: list[tuple[int, float]] = []
        self.use: TokenUse | None = None
        self.provisioner: ProvisionerRef | None = None
        self.who: Identity | None = None
        self.asked: Asked | None = None
        self.given: Given | None = None
        self.facts: list[tuple[int, str, object]] | None = None
        self.entered = timer()

    def enter(self, step: int) -> None:
        """Begin a numbered step; the one before it ends."""
        moment = self.timer()
        if self.step:
            self.seconds.append((self.step, moment - self.entered))
        self.entered = moment
        self.step = step

    def note(self, name: str, fact: object) -> None:
        """What a step found out; kept only for an explanation."""
        if self.facts is not None:
            self.facts.append((self.step, name, fact))

    def leave(self) -> None:
        """The last step ended."""
        if self.step:
            self.seconds.append((self.step, self.timer() - self.entered))
            self.entered = self.timer()

    @property
    def authenticated(self) -> bool:
        return self.use is not None or self.who is not None

    def event(self, error: ProvisorError | None = None) -> bytes:
        """The canonical event: granted, or refused in the present step by `error`."""
        who, ref = self.who, self.who.provisioner if self.who else self.provisioner
        return encode_event(
            Event(
                v=EVENT_VERSION,
                at=format_rfc3339(self.now),
                operation=self.operation.value,
                outcome="refused" if error else "granted",
                request=self.request_id[:LONGEST_REASON],
                source=self.source,
                step=self.step if error else 0,
                code=error.code if error else "",
                reason=error.detail[:LONGEST_REASON] if error else "",
                method=who.method if who else "token",
                provisioner=ref.name if ref else "",
                provisioner_id=ref.id if ref else "",
                kind=ref.kind if ref else "",
                subject=who.subject[:LONGEST_REASON] if who else "",
                token=self.use.key[:LONGEST_REASON] if self.use else "",
                certificate=str(who.serial) if who and who.serial is not None else "",
                asked=self.asked,
                given=None if error else self.given,
            )
        )
