"""Proofs for somebody who has neither the log nor trust in who keeps it: JSON, checked without the database.

That one certificate's event is in the log: the event with its place, the hashes that lead from it to the root, and
the signed head with that root. Checked against a head that the reader got another way, and the certificate itself.

That the log of one head goes on from that of an older one: both heads, and the hashes that both roots are made of
(RFC 9162 section 2.1.4). So who keeps heads can forget all but the newest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec
from cryptography.hazmat import asn1
from msgspec import Struct

from provisor.authority.audit import parse_event
from provisor.authority.log import leaf_data
from provisor.authority.log_heads import Signers, check_head
from provisor.authority.log_report import LogReport, Wrong
from provisor.core import merkle
from provisor.core.tree_head import SignedHead, TreeHead, parse_head
from provisor.core.x509.certificate import parse_certificate
from provisor.core.x509.der import Signed
from provisor.errors import Malformed, NotFound
from provisor.ports import HeadRecord, LogArchive

VERSION: Final = "provisor-inclusion-proof-v1"
CONSISTENCY: Final = "provisor-consistency-proof-v1"


class InclusionProof(Struct, frozen=True):
    """`place` is from 1, `body` the event, `hashes` those of RFC 9162 section 2.1.3 for leaf `place` - 1.

    `issuer` is the certificate whose key signed the head.
    """

    version: str
    place: int
    id: bytes
    body: bytes
    hashes: tuple[bytes, ...]
    head: bytes
    signature: bytes
    issuer: bytes


class ProvenHead(Struct, frozen=True):
    """A signed head, and the certificate whose key signed it."""

    head: bytes
    signature: bytes
    issuer: bytes


class ConsistencyProof(Struct, frozen=True):
    """`hashes` are those of RFC 9162 section 2.1.4 from the tree of the head `older` to that of `newer`."""

    version: str
    older: ProvenHead
    newer: ProvenHead
    hashes: tuple[bytes, ...]


class _Versioned(Struct, frozen=True):
    version: str


encode_proof = msgspec.json.Encoder().encode


def parse_proof(data: bytes) -> InclusionProof | ConsistencyProof:
    """Raises `Malformed`."""
    try:
        match msgspec.json.decode(data, type=_Versioned).version:
            case "provisor-inclusion-proof-v1":
                return msgspec.json.decode(data, type=InclusionProof)
            case "provisor-consistency-proof-v1":
                return msgspec.json.decode(data, type=ConsistencyProof)
            case other:
                raise Malformed(f"a proof of another kind: {other[:100]}")
    except (msgspec.MsgspecError, ValueError) as error:
        raise Malformed(f"not a proof about an audit log: {error}") from error


async def prove(archive: LogArchive, place: int, kept: SignedHead | None = None) -> InclusionProof:
    """For the event at `place`, under the newest head, or the one that somebody kept.

    Raises `NotFound` if the head is older than the event, or the event is forgotten; `Unavailable`.
    """
    record = await archive.newest_head() if kept is None else _as_record(kept)
    if record is None or record.size < place:
        text = f"event {place} is not under a signed head yet"
        raise NotFound(text, public=text)
    events = await archive.events(place, 1)
    if not events or events[0].n != place:
        text = f"event {place} is not stored"
        raise NotFound(text, public=text)
    hashes = await _read_hashes(archive, merkle.inclusion_ranges(place - 1, record.size))
    issuer = await _find_issuer(archive, record.text)
    event = events[0]
    return InclusionProof(VERSION, place, event.id, event.body, hashes, record.text, record.signature, issuer)


async def prove_consistency(
    archive: LogArchive, older: SignedHead, newer: SignedHead | None = None
) -> ConsistencyProof:
    """From one head that somebody kept to another one, or to the newest.

    Raises `Malformed` for what is no head, `NotFound` if the log cannot prove it, `Unavailable`.
    """
    if newer is None:
        record = await archive.newest_head()
        if record is None:
            text = "the audit log has no signed head yet"
            raise NotFound(text, public=text)
        newer = SignedHead(record.text, record.signature)
    old, new = parse_head(older.text), parse_head(newer.text)
    size = await archive.log_size()
    if not 0 < old.size <= new.size <= size:
        text = f"no proof leads from {old.size} to {new.size} events in a log of {size}"
        raise NotFound(text, public=text)
    hashes = await _read_hashes(archive, merkle.consistency_ranges(old.size, new.size))
    if not merkle.verify_consistency(old.size, new.size, old.root, new.root, hashes):
        text = f"this log does not go on from the head of {old.size} events to that of {new.size}: verify it"
        raise NotFound(text, public=text)
    return ConsistencyProof(CONSISTENCY, await _prove_head(archive, older), await _prove_head(archive, newer), hashes)


async def _prove_head(archive: LogArchive, signed: SignedHead) -> ProvenHead:
    return ProvenHead(signed.text, signed.signature, await _find_issuer(archive, signed.text))


async def _read_hashes(archive: LogArchive, ranges: merkle.Ranges) -> tuple[bytes, ...]:
    tiles: dict[tuple[int, int], bytes] = {}
    for level, index in merkle.needed_tiles(ranges):
        for tile in await archive.tiles(level, index, 1):
            tiles[tile.level, tile.index] = tile.hashes
    try:
        return tuple(merkle.make_proof(ranges, tiles))
    except KeyError as error:
        text = f"tile {error.args[0]} of the log's tree is missing or short"
        raise NotFound(text, public=text) from error


async def _find_issuer(archive: LogArchive, head: bytes) -> bytes:
    """The certificate that a head names; empty if it is not known."""
    named = parse_head(head).issuer
    return next((each.certificate for each in await archive.issuers() if each.id == named), b"")


def _as_record(kept: SignedHead) -> HeadRecord:
    head = parse_head(kept.text)
    return HeadRecord(head.size, head.at, kept.text, kept.signature)


def verify_proof(
    proof: InclusionProof, signers: Signers, *, kept: SignedHead | None = None, certificate: bytes | None = None
) -> LogReport:
    """Whether the proof holds. `signers` are the issuers that count, `kept` a head from elsewhere, of the same size."""
    report = LogReport()
    report.events = 1
    where = f"event {proof.place}"
    signed = kept or SignedHead(proof.head, proof.signature)
    head = check_head(signed, signers, "", "head", report)
    if head is None:
        return report
    report.authority, report.size, report.heads = head.authority, head.size, 1
    report.newest_head = signed.text
    _check_path(proof, head, where, report)
    if certificate is not None:
        _check_certificate(proof, certificate, where, report)
    return report


def _check_path(proof: InclusionProof, head: TreeHead, where: str, report: LogReport) -> None:
    size = parse_head(proof.head).size
    if size != head.size:
        text = f"the proof is for a head of {size} events, the head is of {head.size}: ask for a proof under this head"
        report.add(Wrong.PROOF_WRONG, where, text, proof.place)
        return
    leaf = merkle.hash_leaf(leaf_data(proof.id, proof.body))
    if not merkle.verify_inclusion(leaf, proof.place - 1, head.size, proof.hashes, head.root):
        text = "the hashes do not lead from the event to the root of the head"
        report.add(Wrong.PROOF_WRONG, where, text, proof.place)


def _check_certificate(proof: InclusionProof, der: bytes, where: str, report: LogReport) -> None:
    """The event is the one that gave this certificate."""
    report.certificates = 1
    try:
        given = parse_event(proof.body).given
        serial = str(parse_certificate(der).serial)
        tbs = hashlib.sha256(asn1.encode_der(asn1.decode_der(Signed, der).content)).hexdigest()
    except (msgspec.MsgspecError, ValueError, Malformed) as error:
        report.add(Wrong.PROOF_WRONG, where, f"event or certificate cannot be read: {error}", proof.place)
        return
    if given is None or (given.serial, given.tbs) != (serial, tbs):
        text = f"the event is not the one that gave the certificate {serial}"
        report.add(Wrong.PROOF_WRONG, where, text, proof.place)


def verify_consistency_proof(
    proof: ConsistencyProof, signers: Signers, *, kept: Sequence[SignedHead] = ()
) -> LogReport:
    """Whether the newer head's log begins with all of the older one's. `kept` are heads that have to be among both."""
    report = LogReport()
    heads = [
        check_head(SignedHead(each.head, each.signature), signers, "", where, report)
        for each, where in ((proof.older, "older head"), (proof.newer, "newer head"))
    ]
    older, newer = heads
    if older is None or newer is None:
        return report
    report.authority, report.size, report.heads = newer.authority, newer.size, 2
    report.newest_head = proof.newer.head
    where = f"from {older.size} to {newer.size} events"
    if older.authority != newer.authority:
        report.add(Wrong.PROOF_WRONG, where, "the heads are of two authorities' logs")
    if not merkle.verify_consistency(older.size, newer.size, older.root, newer.root, proof.hashes):
        text = "the hashes do not lead from the root of the older head to that of the newer one"
        report.add(Wrong.PROOF_WRONG, where, text, older.size)
    for signed in kept:
        head = check_head(signed, signers, older.authority, "head from outside", report)
        if head is not None and (head.size, head.root) not in ((each.size, each.root) for each in (older, newer)):
            text = "the proof is about other heads: ask for one from, or to, this head"
            report.add(Wrong.PROOF_WRONG, f"head from outside, of {head.size}", text, head.size)
    return report
