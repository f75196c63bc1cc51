"""Asking what was issued: search, one certificate and its line, and an end to a line.

A search is led by one index, the narrowest it names, and every row is held against the rest of it. It goes
through a bounded number of rows and says where it stopped, so that no question holds anything up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, Protocol, TypeVar

from msgspec import Struct

from provisor.authority.projector import terms_of
from provisor.authority.snapshot import Snapshot
from provisor.core.terms import (
    TermRange,
    expiring,
    fingerprint_term,
    key_term,
    lineage_term,
    one,
    parse_name_pattern,
    provisioner_term,
)
from provisor.errors import BadRequest, NotFound
from provisor.ports import Archive, ExpiredRecord, InventoryRow, IssuerID, TermPlace

T = TypeVar("T")

_PIECE: Final = 200
_LOOKED_AT: Final = 2000
"""Rows of one call: then it answers with what it has."""

LINE_SHOWN: Final = 50
_LINE_COUNTED: Final = 2000


class Search(Struct, frozen=True):
    """Everything that is set has to hold. `name` is a name or pattern (core/terms.py), digests are SHA-256.

    `lineage` is any serial of the line. A certificate is to end at `ends_from` or later, and before `ends_before`.
    """

    name: str = ""
    provisioner: str = ""
    key: bytes = b""
    fingerprint: bytes = b""
    serial: int | None = None
    lineage: int | None = None
    ends_from: int | None = None
    ends_before: int | None = None
    revoked: bool | None = None


class Found(Struct, frozen=True):
    """`cursor` leads on; empty when there is no more."""

    rows: tuple[InventoryRow, ...]
    cursor: str


async def search(ca: Snapshot, archive: Archive, asked: Search, cursor: str, limit: int) -> Found:
    """At most `limit` certificates, from `cursor` on.

    Their order is that of the index that leads: by name under a pattern, by end in a span of time, else the
    newest first. Raises `BadRequest`, `Unavailable`.
    """
    ranges = await _ranges(ca, archive, asked)
    scan, checked = _choose(ca, archive, asked, ranges)
    rows: list[InventoryRow] = []
    for _ in range(_LOOKED_AT // _PIECE):
        piece = await scan.read(cursor, min(_PIECE, limit - len(rows)) if not checked else _PIECE)
        for row in piece.rows:
            cursor = scan.cursor_of(row)
            if scan.wants(row) and _matches(row, asked, checked):
                rows.append(row)
                if len(rows) == limit:
                    return Found(tuple(rows), cursor)
        if not piece.more:
            return Found(tuple(rows), "")
        await asyncio.sleep(0)
    return Found(tuple(rows), cursor)


async def _ranges(ca: Snapshot, archive: Archive, asked: Search) -> list[TermRange]:
    """What is asked for as ranges of terms, the narrowest first."""
    ranges: list[TermRange] = []
    if asked.fingerprint:
        ranges.append(one(fingerprint_term(asked.fingerprint)))
    if asked.key:
        ranges.append(one(key_term(asked.key)))
    if asked.lineage is not None:
        ranges.append(one(lineage_term(await find_line(ca, archive, asked.lineage))))
    if asked.name and (names := parse_name_pattern(asked.name)):
        ranges.append(names)
    if asked.ends_from is not None or asked.ends_before is not None:
        ranges.append(expiring(asked.ends_from, asked.ends_before))
    if asked.provisioner:
        ranges.append(one(provisioner_term(asked.provisioner)))
    return ranges


def _choose(
    ca: Snapshot, archive: Archive, asked: Search, ranges: Sequence[TermRange]
) -> tuple[_Scan, Sequence[TermRange]]:
    """The index that leads, and the ranges that are still to be held against each row."""
    if asked.serial is not None:
        return _OneSerial(ca, archive, asked.serial), ranges
    only_provisioner = len(ranges) == 1 and bool(asked.provisioner)
    if asked.revoked and (not ranges or only_provisioner):
        return _Revoked(archive), ranges
    if not ranges:
        return _Newest(archive), ()
    leading, *others = ranges
    return (_OneTerm(archive, leading) if leading.exact else _Range(archive, leading)), others


def _matches(row: InventoryRow, asked: Search, ranges: Sequence[TermRange]) -> bool:
    if asked.revoked is not None and asked.revoked != (row.revocation is not None):
        return False
    if not ranges:
        return True
    terms = terms_of(row)
    return all(each.first_of(terms) is not None for each in ranges)


# -- the ways to go through the store -----------------------------------------------------------


class _Piece(Struct, frozen=True):
    rows: Sequence[InventoryRow]
    more: bool


class _Scan(Protocol):
    async def read(self, cursor: str, limit: int) -> _Piece: ...

    def cursor_of(self, row: InventoryRow) -> str:
        """Where the scan goes on behind this row."""
        ...

    def wants(self, row: InventoryRow) -> bool:
        """Not a second time what it has given already."""
        ...


class _Places:
    """Newest first; the cursor is a place of the log."""

    def cursor_of(self, row: InventoryRow) -> str:
        return str(row.place)

    def wants(self, row: InventoryRow) -> bool:
        return True


class _Newest(_Places):
    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def read(self, cursor: str, limit: int) -> _Piece:
        return _piece(await self._archive.issued_newest(_parse_place(cursor), limit), limit)


class _OneTerm(_Places):
    def __init__(self, archive: Archive, term: TermRange) -> None:
        self._archive = archive
        self._term = term.low

    async def read(self, cursor: str, limit: int) -> _Piece:
        return _piece(await self._archive.issued_with_term(self._term, _parse_place(cursor), limit), limit)


class _Range:
    """In the order of the terms. A certificate with several of them in the range is given with the least."""

    def __init__(self, archive: Archive, terms: TermRange) -> None:
        self._archive = archive
        self._terms = terms

    async def read(self, cursor: str, limit: int) -> _Piece:
        after = _parse_cursor(cursor, lambda head, tail: TermPlace(bytes.fromhex(head), int(tail)))
        return _piece(await self._archive.issued_in_range(self._terms.low, self._terms.high, after, limit), limit)

    def cursor_of(self, row: InventoryRow) -> str:
        return f"{row.term.hex()}-{row.place}"

    def wants(self, row: InventoryRow) -> bool:
        return self._terms.first_of(terms_of(row)) in (row.term, None)


class _Revoked:
    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    async def read(self, cursor: str, limit: int) -> _Piece:
        before = _parse_cursor(cursor, lambda head, tail: (bytes.fromhex(head), int(tail)))
        return _piece(await self._archive.issued_revoked(before, limit), limit)

    def cursor_of(self, row: InventoryRow) -> str:
        return f"{row.certificate.issuer.hex()}-{row.certificate.serial}"

    def wants(self, row: InventoryRow) -> bool:
        return True


class _OneSerial:
    def __init__(self, ca: Snapshot, archive: Archive, serial: int) -> None:
        self._ca = ca
        self._archive = archive
        self._serial = serial

    async def read(self, cursor: str, limit: int) -> _Piece:
        return _Piece(() if cursor else await find_serial(self._ca, self._archive, self._serial), more=False)

    def cursor_of(self, row: InventoryRow) -> str:
        return "-"

    def wants(self, row: InventoryRow) -> bool:
        return True


def _piece(rows: Sequence[InventoryRow], limit: int) -> _Piece:
    return _Piece(rows, more=len(rows) == limit)


def _parse_place(cursor: str) -> int | None:
    if not cursor:
        return None
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 18:
        raise _not_a_cursor()
    return int(cursor)


def _parse_cursor(cursor: str, parse: Callable[[str, str], T]) -> T | None:
    if not cursor:
        return None
    head, _, tail = cursor.partition("-")
    try:
        return parse(head, tail)
    except ValueError:
        raise _not_a_cursor() from None


def _not_a_cursor() -> BadRequest:
    return BadRequest("cursor is not one of this search")


# -- one certificate ----------------------------------------------------------------------------


async def known_issuers(ca: Snapshot) -> Sequence[IssuerID]:
    """All that the store knows, the one that signs first."""
    others = [record.id for record in await ca.ledger.issuers() if record.id != ca.issuer.id]
    return [ca.issuer.id, *others]


async def find_serial(ca: Snapshot, archive: Archive, serial: int) -> Sequence[InventoryRow]:
    """The certificates of this serial: one, unless two issuers gave it."""
    found = [await archive.find_issued(issuer, serial) for issuer in await known_issuers(ca)]
    return [row for row in found if row is not None]


async def find_dropped(ca: Snapshot, archive: Archive, serial: int) -> ExpiredRecord | None:
    for issuer in await known_issuers(ca):
        if record := await archive.find_expired(issuer, serial):
            return record
    return None


async def get_certificate(
    ca: Snapshot, archive: Archive, serial: int | None, fingerprint: bytes
) -> InventoryRow | ExpiredRecord:
    """The one certificate with this serial or fingerprint. Raises `NotFound`."""
    if serial is not None:
        rows = await find_serial(ca, archive, serial)
        if rows:
            return rows[0]
        if dropped := await find_dropped(ca, archive, serial):
            return dropped
        text = f"no certificate with the serial {serial} is recorded"
        raise NotFound(text, public=text)
    for row in await archive.issued_with_term(fingerprint_term(fingerprint), None, 1):
        return row
    text = f"no certificate with the fingerprint {fingerprint.hex()} is recorded, or it was issued in these seconds"
    raise NotFound(text, public=text)


async def find_line(ca: Snapshot, archive: Archive, serial: int) -> int:
    """The line that a serial belongs to. One that nobody recorded is taken for the first of its line."""
    for row in await find_serial(ca, archive, serial):
        return row.certificate.lineage
    dropped = await find_dropped(ca, archive, serial)
    return serial if dropped is None else dropped.lineage


async def go_along_line(archive: Archive, lineage: int) -> AsyncIterator[InventoryRow]:
    """Every certificate of a line that has its row, the newest first, also what the index does not know yet."""
    fresh = sorted(await archive.unindexed_of_line(lineage), key=_place, reverse=True)
    for row in fresh:
        yield row
    seen = {(row.certificate.issuer, row.certificate.serial) for row in fresh}
    before: int | None = None
    while rows := await archive.issued_with_term(lineage_term(lineage), before, _PIECE):
        for row in rows:
            # What was indexed between the two questions is not given twice.
            if (row.certificate.issuer, row.certificate.serial) not in seen:
                yield row
        before = rows[-1].place
        await asyncio.sleep(0)


def _place(row: InventoryRow) -> int:
    return row.place or 0


class Line(Struct, frozen=True):
    """`newest` are the first of it, `size` how many there are, as far as they were counted."""

    newest: tuple[InventoryRow, ...]
    size: int
    successors: tuple[InventoryRow, ...]


async def describe_line(archive: Archive, row: InventoryRow) -> Line:
    """The line of a certificate, and which certificates renew this one."""
    newest: list[InventoryRow] = []
    successors: list[InventoryRow] = []
    size = 0
    async for member in go_along_line(archive, row.certificate.lineage):
        size += 1
        if len(newest) < LINE_SHOWN:
            newest.append(member)
        if member.certificate.predecessor == row.certificate.serial:
            successors.append(member)
        if size >= _LINE_COUNTED:
            break
    return Line(tuple(newest), size, tuple(successors))
