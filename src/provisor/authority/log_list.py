"""A look into the audit log, newest first, by what events say."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from provisor.authority.audit import Event, parse_event
from provisor.ports import LogArchive, LogEvent

_PAGE: Final = 500
_MOST_READ: Final = 20_000
"""Events that one question reads: then its answer says where to go on."""

_LATE_SECONDS: Final = 600
"""How long before its place was given an event may have got its id."""


class EventSearch(Struct, frozen=True):
    """Every condition that is not empty has to hold. Times are unix seconds; `until` itself is not in the span.

    `serial` is decimal: that of the certificate given, revoked, asked for or shown.
    """

    since: int | None = None
    until: int | None = None
    operation: str = ""
    outcome: str = ""
    provisioner: str = ""
    subject: str = ""
    serial: str = ""


class FoundEvents(Struct, frozen=True):
    """`before` is the place to go on before; None at the beginning of the log."""

    events: tuple[LogEvent, ...]
    before: int | None


async def search_events(archive: LogArchive, search: EventSearch, before: int | None, limit: int) -> FoundEvents:
    """At most `limit` events before the place `before`. Raises `Unavailable`."""
    found: list[LogEvent] = []
    read = 0
    while read < _MOST_READ:
        page = await archive.events_before(before, _PAGE)
        for event in page:
            read, before = read + 1, event.n
            at = int.from_bytes(event.id[:6], "big") // 1000
            if search.since is not None and at < search.since - _LATE_SECONDS:
                return FoundEvents(tuple(found), None)
            if _fits(event, at, search):
                found.append(event)
                if len(found) >= limit:
                    return FoundEvents(tuple(found), before)
        if len(page) < _PAGE:
            return FoundEvents(tuple(found), None)
    return FoundEvents(tuple(found), before)


def _fits(event: LogEvent, at: int, search: EventSearch) -> bool:
    if (search.since is not None and at < search.since) or (search.until is not None and at >= search.until):
        return False
    if not any((search.operation, search.outcome, search.provisioner, search.subject, search.serial)):
        return True
    try:
        body = parse_event(event.body)
    except msgspec.MsgspecError:
        return False
    return (
        search.operation in ("", body.operation, body.operation.removeprefix("x509-"))
        and search.outcome in ("", body.outcome)
        and search.provisioner in ("", body.provisioner)
        and search.subject in ("", body.subject, body.asked.subject if body.asked else "")
        and search.serial in ("", *_serials(body))
    )


def _serials(body: Event) -> tuple[str, ...]:
    given, asked = body.given, body.asked
    return (
        given.serial if given else "",
        given.predecessor if given else "",
        asked.serial if asked else "",
        body.certificate,
    )
