"""What the administrator's socket answers: certificates, lines, the state of the server."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Final

import msgspec

from provisor import __version__
from provisor.authority import inventory
from provisor.authority.inventory import Search
from provisor.authority.projector import names_of
from provisor.authority.revoke_line import revoke_lineage
from provisor.authority.snapshot import Snapshot
from provisor.core.durations import format_rfc3339
from provisor.core.identity import Operation
from provisor.core.pem import encode_pem
from provisor.core.terms import parse_digest
from provisor.core.x509.certificate import parse_certificate
from provisor.errors import BadRequest, NotFound
from provisor.ports import Archive, ExpiredRecord, InventoryRow, IssuerID, RevocationDetail
from provisor.server.context import Context
from provisor.server.operator import METHOD, operator_of, surroundings_of
from provisor.server.request import Request, Response, unescape
from provisor.wire import admin
from provisor.wire.gojson import decode_json

_DEFAULT_PAGE: Final = 100
_HIGHEST_REASON: Final = 10
_DIGEST_DIGITS: Final = 64
_LONGEST_NUMBER: Final = 64
_FAR: Final = 2**40
"""Unix seconds behind every job."""

_encode = msgspec.json.Encoder().encode


async def certificates(ca: Snapshot, request: Request, context: Context) -> Response:
    """One page of a search; every parameter is a condition."""
    archive = _archive(ca)
    found = await inventory.search(ca, archive, _search(request), request.query("cursor") or "", _limit(request))
    now, with_pem = int(ca.clock().timestamp()), request.query("pem") is not None
    items = tuple(_item(row, now, with_pem=with_pem) for row in found.rows)
    return _answer(admin.CertificatePage(items, found.cursor))


async def certificate(ca: Snapshot, request: Request, context: Context) -> Response:
    """Everything about one certificate, by serial or fingerprint."""
    archive = _archive(ca)
    reference = unescape(request.params["reference"])
    if len(reference.replace(":", "")) == _DIGEST_DIGITS:
        row = await inventory.get_certificate(ca, archive, None, parse_digest(reference, "fingerprint"))
    else:
        row = await inventory.get_certificate(ca, archive, parse_serial(reference), b"")
    if isinstance(row, ExpiredRecord):
        return _answer(_dropped(row))
    return _answer(await _describe(ca, archive, row))


async def end_lineage(ca: Snapshot, request: Request, context: Context) -> Response:
    """Revoke a line; who did it is in the events."""
    archive = _archive(ca)
    body = await request.body()
    asked = decode_json(body, admin.RevokeLineageRequest) if body else admin.RevokeLineageRequest()
    if not 0 <= asked.reason_code <= _HIGHEST_REASON:
        raise BadRequest("reasonCode out of bounds")
    serial = parse_serial(unescape(request.params["serial"]))
    operator = operator_of(request)
    trail = context.trail(ca, request, Operation.REVOKE, body)
    trail.who, trail.source = operator.identity, operator.source
    done = await revoke_lineage(ca, archive, serial, asked.reason_code, asked.reason, trail)
    request.fields.update(lineage=str(done.lineage), revoked=len(done.revoked), operator=operator.name)
    return _answer(admin.RevokeLineageResponse(str(done.lineage), tuple(map(str, done.revoked)), done.already))


async def status(ca: Snapshot, request: Request, context: Context) -> Response:
    """How the server is."""
    archive = _archive(ca)
    around, now = surroundings_of(request), int(ca.clock().timestamp())
    facts = await archive.store_facts()
    body = admin.StatusBody(
        version=__version__,
        epoch=ca.epoch,
        started=_time(int(around.started)),
        uptime_seconds=max(0, now - int(around.started)),
        config=around.config,
        processes=tuple(around.processes()),
        store=admin.StoreBody(
            kind=facts.kind,
            place=facts.place,
            bytes=facts.octets,
            certificates=facts.certificates,
            revocations=facts.revocations,
            tokens=facts.tokens,
            counted_to=facts.counted_to,
        ),
        log=await _log(archive, now),
        issuers=await _issuers(ca),
        crl=await _crl(ca, now),
        jobs=await _jobs(ca, now),
    )
    return _answer(body)


# -- what was asked -----------------------------------------------------------------------------


def _archive(ca: Snapshot) -> Archive:
    if ca.archive is None:
        text = "the inventory needs a database: configure db in ca.json"
        raise NotFound(text, public=text)
    return ca.archive


def _search(request: Request) -> Search:
    def digest(name: str) -> bytes:
        text = request.query(name)
        return parse_digest(text, name) if text else b""

    def number(name: str) -> int | None:
        text = request.query(name)
        return None if text is None else _whole(name, text)

    def serial(name: str) -> int | None:
        text = request.query(name)
        return None if text is None else parse_serial(text)

    revoked = request.query("revoked")
    return Search(
        name=request.query("name") or "",
        provisioner=request.query("provisioner") or "",
        key=digest("key"),
        fingerprint=digest("fingerprint"),
        serial=serial("serial"),
        lineage=serial("lineage"),
        ends_from=number("endsFrom"),
        ends_before=number("endsBefore"),
        revoked=None if revoked is None else revoked == "true",
    )


def _limit(request: Request) -> int:
    text = request.query("limit")
    return _DEFAULT_PAGE if text is None else min(max(_whole("limit", text), 1), admin.LARGEST_PAGE)


def _whole(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise BadRequest(f"{name} is not a number: {text[:100]}")
    return int(text)


def parse_serial(text: str) -> int:
    """Decimal, hex with the prefix 0x, or hex octets with colons as openssl writes them."""
    plain = text.lower()
    octets = plain.replace(":", "") if ":" in plain else plain.removeprefix("0x")
    is_hex = octets != plain
    known = frozenset("0123456789abcdef" if is_hex else "0123456789")
    if not octets or len(octets) > _LONGEST_NUMBER or not known.issuperset(octets):
        raise BadRequest(f"{text[:100]} is neither a serial number (decimal, 0x..., aa:bb:...) nor a fingerprint")
    return int(octets, 16 if is_hex else 10)


# -- what is answered ---------------------------------------------------------------------------


def _answer(body: msgspec.Struct) -> Response:
    return Response(200, _encode(body))


def _time(seconds: int) -> str:
    return format_rfc3339(datetime.fromtimestamp(seconds, UTC))


def _state(row: InventoryRow, now: int) -> str:
    if row.revocation is not None:
        return "revoked"
    return "expired" if row.certificate.not_after <= now else "valid"


def _item(row: InventoryRow, now: int, *, with_pem: bool) -> admin.CertificateItem:
    record = row.certificate
    return admin.CertificateItem(
        serial=str(record.serial),
        fingerprint=hashlib.sha256(record.der).hexdigest(),
        names=tuple(names_of(row)),
        provisioner=record.provisioner_name,
        kind=record.provisioner_kind,
        not_before=_time(record.not_before),
        not_after=_time(record.not_after),
        state=_state(row, now),
        lineage=str(record.lineage),
        predecessor=_serial(record.predecessor),
        revoked_at="" if row.revocation is None else _time(row.revocation.revoked_at),
        place=row.place,
        certificate=encode_pem("CERTIFICATE", record.der) if with_pem else "",
    )


def _serial(serial: int | None) -> str:
    return "" if serial is None else str(serial)


async def _describe(ca: Snapshot, archive: Archive, row: InventoryRow) -> admin.CertificateBody:
    record, now = row.certificate, int(ca.clock().timestamp())
    parsed = parse_certificate(record.der)
    line = await inventory.describe_line(archive, row)
    reach = await archive.index_reach()
    return admin.CertificateBody(
        certificate=_item(row, now, with_pem=True),
        issuer=await _issuer_name(ca, record.issuer),
        issuer_id=record.issuer.hex(),
        subject=parsed.common_name,
        key=parsed.key.label,
        key_digest=hashlib.sha256(parsed.spki).hexdigest(),
        provisioner_id=record.provisioner_id,
        request_digest=record.csr_digest.hex(),
        line=tuple(_member(member, now) for member in line.newest),
        line_size=line.size,
        indexed=row.place is not None and row.place <= reach.indexed,
        revocation=None if row.revocation is None else _revocation(row.revocation),
        predecessor=await _predecessor(ca, archive, record.predecessor, now),
        successors=tuple(str(member.certificate.serial) for member in line.successors),
        event=msgspec.Raw(row.event or b"null"),
    )


async def _issuer_name(ca: Snapshot, issuer: IssuerID) -> str:
    for known in await ca.ledger.issuers():
        if known.id == issuer:
            return parse_certificate(known.certificate).common_name
    return ""


def _member(row: InventoryRow, now: int) -> admin.LineMember:
    record = row.certificate
    return admin.LineMember(
        serial=str(record.serial),
        state=_state(row, now),
        not_after=_time(record.not_after),
        not_before=_time(record.not_before),
        predecessor=_serial(record.predecessor),
    )


async def _predecessor(ca: Snapshot, archive: Archive, serial: int | None, now: int) -> admin.LineMember | None:
    if serial is None:
        return None
    for row in await inventory.find_serial(ca, archive, serial):
        return _member(row, now)
    dropped = await inventory.find_dropped(ca, archive, serial)
    if dropped is None:
        return admin.LineMember(str(serial), "unknown", "")
    return admin.LineMember(str(serial), "dropped", _time(dropped.not_after), "", _serial(dropped.predecessor))


def _revocation(detail: RevocationDetail) -> admin.RevocationBody:
    by_token = "token" if detail.token_id else METHOD
    return admin.RevocationBody(
        at=_time(detail.revoked_at),
        reason_code=detail.reason_code,
        method="certificate" if detail.mtls else by_token,
        reason=detail.reason,
        provisioner=detail.provisioner_id,
        token=detail.token_id,
    )


def _dropped(record: ExpiredRecord) -> admin.DroppedBody:
    return admin.DroppedBody(
        serial=str(record.serial),
        fingerprint=record.fingerprint.hex(),
        lineage=str(record.lineage),
        predecessor=_serial(record.predecessor),
        not_after=_time(record.not_after),
    )


async def _log(archive: Archive, now: int) -> admin.LogBody:
    reach, sequenced, head = await archive.index_reach(), await archive.log_size(), await archive.newest_head()
    end = max(reach.end, await archive.log_end()) + await archive.count_waiting()
    return admin.LogBody(
        events=end,
        sequenced=sequenced,
        sequencer_lag=end - sequenced,
        indexed=reach.indexed,
        index_lag=reach.end - reach.indexed,
        head_size=0 if head is None else head.size,
        head_age_seconds=None if head is None else max(0, now - head.at),
        gaps=await archive.log_gaps(),
    )


async def _issuers(ca: Snapshot) -> tuple[admin.IssuerBody, ...]:
    bodies = []
    for record in await ca.ledger.issuers():
        parsed = parse_certificate(record.certificate)
        ends = format_rfc3339(parsed.not_after)
        bodies.append(admin.IssuerBody(parsed.common_name, record.id.hex(), record.state, ends))
    return tuple(bodies)


async def _crl(ca: Snapshot, now: int) -> admin.CRLBody | None:
    record = await ca.ledger.find_crl(ca.issuer.id) if ca.config.crl.enabled else None
    if record is None:
        return None
    return admin.CRLBody(record.number, _time(record.this_update), _time(record.next_update), now - record.this_update)


async def _jobs(ca: Snapshot, now: int) -> tuple[admin.JobBody, ...]:
    jobs = await ca.ledger.due_jobs(_FAR)
    return tuple(admin.JobBody(job.kind, job.key, _time(job.due), job.leased_until > now) for job in jobs)
