"""What the administrator's socket answers of the audit log. Whoever does not trust the server reads the store."""

from __future__ import annotations

from typing import Final

import msgspec

from provisor.authority.log_list import EventSearch, search_events
from provisor.authority.snapshot import Snapshot
from provisor.core.pem import encode_pem
from provisor.core.tree_head import SignedHead, encode_file, parse_head
from provisor.errors import BadRequest, NotFound, NotSupported
from provisor.ports import Archive, LogEvent
from provisor.server.context import Context
from provisor.server.request import Request, Response
from provisor.wire.admin import LARGEST_PAGE
from provisor.wire.audit import EventItem, EventPage, HeadBody

_DEFAULT_PAGE: Final = 100
_LONGEST_NUMBER: Final = 18

_encode = msgspec.json.Encoder().encode


async def events(ca: Snapshot, request: Request, context: Context) -> Response:
    """One page of the log, newest first; every parameter is a condition."""
    archive = _archive(ca)
    search = EventSearch(
        since=_number(request, "since"),
        until=_number(request, "until"),
        operation=request.query("operation") or "",
        outcome=request.query("outcome") or "",
        provisioner=request.query("provisioner") or "",
        subject=request.query("subject") or "",
        serial=request.query("serial") or "",
    )
    limit = _number(request, "limit")
    size = await archive.log_size()
    found = await search_events(
        archive, search, _number(request, "cursor"), min(max(limit or _DEFAULT_PAGE, 1), LARGEST_PAGE)
    )
    items = tuple(event_item(event, size) for event in found.events)
    return Response(200, _encode(EventPage(items, "" if found.before is None else str(found.before))))


async def head(ca: Snapshot, request: Request, context: Context) -> Response:
    """The newest signed head, to be kept elsewhere."""
    archive = _archive(ca)
    record = await archive.newest_head()
    if record is None:
        raise NotFound("the audit log has no signed head yet", public="the audit log has no signed head yet")
    named = parse_head(record.text).issuer
    der = next((each.certificate for each in await archive.issuers() if each.id == named), b"")
    file = encode_file(SignedHead(record.text, record.signature)).decode()
    return Response(200, _encode(HeadBody(file, encode_pem("CERTIFICATE", der))))


def event_item(event: LogEvent, size: int) -> EventItem:
    """`size` is that of the tree."""
    return EventItem(event.n, event.id.hex(), event.n <= size, msgspec.Raw(event.body))


def _archive(ca: Snapshot) -> Archive:
    if ca.archive is None:
        raise NotSupported("the audit log needs a database: configure db in ca.json")
    return ca.archive


def _number(request: Request, name: str) -> int | None:
    text = request.query(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_NUMBER:
        raise BadRequest(f"{name} is not a number: {text[:100]}")
    return int(text)
