"""The projector: follows the log and writes, for each certificate in it, the terms it is found by.

Where it stands is in the store, and moves in the commit that writes the terms: who was overtaken by another
host has written nothing. So it needs no lease, and may stop at any point. Nothing is written while nothing is new.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, final

import msgspec
from msgspec import Struct

from provisor.authority.audit import LONGEST_LIST
from provisor.authority.snapshot import Snapshot
from provisor.core.terms import certificate_terms
from provisor.core.x509.certificate import parse_certificate
from provisor.errors import Malformed, Unavailable
from provisor.ports import Archive, Entry, IndexTerms, InventoryRow, Unindexed

BATCH: Final = 250
"""Events of one commit: issuance waits for it no longer than some milliseconds."""

_MOST_TERMS: Final = 5000
_BATCHES: Final = 16
_PAUSE_SECONDS: Final = 0.5
_OVERTAKEN_SECONDS: Final = 3
"""How long another host is left alone that was faster: then only one of them does the work twice at most."""


class _Given(Struct, frozen=True):
    names: tuple[str, ...] = ()
    key: str = ""


class _Event(Struct, frozen=True):
    """The part of an event that the index is made of; the rest is not decoded."""

    given: _Given = _Given()


_decode = msgspec.json.Decoder(_Event).decode


def terms_of(row: InventoryRow) -> set[bytes]:
    """What a certificate is found by. Reads the certificate itself only where its event does not say enough."""
    record = row.certificate
    names, key = _given(row)
    return certificate_terms(
        names=names,
        fingerprint=hashlib.sha256(record.der).digest(),
        key=key,
        provisioner=record.provisioner_name,
        lineage=record.lineage,
        not_after=record.not_after,
    )


def names_of(row: InventoryRow) -> Sequence[str]:
    """All names of a certificate."""
    return _given(row)[0]


def _given(row: InventoryRow) -> tuple[Sequence[str], bytes]:
    """Its names, and the SHA-256 of its key."""
    with suppress(msgspec.MsgspecError, ValueError):
        given = _decode(row.event).given
        # An event holds no more names than this, and those of older programs no key.
        if given.key and len(given.names) < LONGEST_LIST:
            return given.names, bytes.fromhex(given.key)
    try:
        certificate = parse_certificate(row.certificate.der)
    except Malformed:
        return (), b""
    return [name.value for name in certificate.names], hashlib.sha256(certificate.spki).digest()


@final
class Projector:
    """One per process that runs jobs."""

    def __init__(self) -> None:
        self._resume_at = 0.0

    async def advance(self, ca: Snapshot) -> int:
        """Index what is new, a bounded number of commits of it; how many events that were.

        Looks again after half a second at the earliest, unless it left something. Raises `Unavailable`; then what
        was not indexed is the next call's.
        """
        moment = ca.clock().timestamp()
        if ca.archive is None or moment < self._resume_at:
            return 0
        reach = await ca.archive.index_reach()
        at = reach.indexed
        for _ in range(_BATCHES):
            if at >= reach.end:
                self._resume_at = moment + _PAUSE_SECONDS
                break
            upto = await _index_after(ca, ca.archive, at)
            if upto is None:
                self._resume_at = moment + _OVERTAKEN_SECONDS
                break
            at = upto
        return at - reach.indexed


async def _index_after(ca: Snapshot, archive: Archive, at: int) -> int | None:
    """The place that the index reaches now; None if another host was faster."""
    piece = await archive.unindexed(at, BATCH)
    write = _describe(piece)
    outcome = await ca.notary.submit(Entry(id=ca.generate_id(ca.clock()), writes=(write,)))
    if outcome.status in ("unavailable", "rejected"):
        raise Unavailable(f"index not written: {outcome.reason}")
    return write.upto if outcome.committed else None


def _describe(piece: Unindexed) -> IndexTerms:
    """The terms of a piece of the log; of its beginning, if its certificates have very many names."""
    found: list[tuple[bytes, int]] = []
    upto = 0
    for row in piece.certificates:
        assert row.place is not None
        terms = terms_of(row)
        if upto and len(found) + len(terms) > _MOST_TERMS:
            return IndexTerms(upto, tuple(found))
        found += [(term, row.place) for term in terms]
        upto = row.place
    return IndexTerms(piece.upto, tuple(found))
