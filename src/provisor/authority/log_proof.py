"""That one certificate's event is in the log, for somebody who has neither the log nor trust in who keeps it.

A proof is JSON: the event with its place, the hashes that lead from it to the root, and the signed head
with that root. Checked against a head that the reader got another way, and the certificate itself.
"""

from __future__ import annotations

import hashlib
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


encode_proof = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(InclusionProof).decode


def parse_proof(data: bytes) -> InclusionProof:
    """Raises `Malformed`."""
    try:
        proof = _decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Malformed(f"not an inclusion proof: {error}") from error
    if proof.version != VERSION:
        raise Malformed(f"an inclusion proof of another kind: {proof.version[:100]}")
    return proof


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
    ranges = merkle.inclusion_ranges(place - 1, record.size)
    tiles: dict[tuple[int, int], bytes] = {}
    for level, index in merkle.needed_tiles(ranges):
        for tile in await archive.tiles(level, index, 1):
            tiles[tile.level, tile.index] = tile.hashes
    try:
        hashes = merkle.make_proof(ranges, tiles)
    except KeyError as error:
        text = f"tile {error.args[0]} of the log's tree is missing or short"
        raise NotFound(text, public=text) from error
    named = parse_head(record.text).issuer
    issuer = next((each.certificate for each in await archive.issuers() if each.id == named), b"")
    event = events[0]
    return InclusionProof(VERSION, place, event.id, event.body, tuple(hashes), record.text, record.signature, issuer)


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
