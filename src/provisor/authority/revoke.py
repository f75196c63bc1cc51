"""Passive revocation: the serial is recorded; from then on it can neither renew nor rekey nor prove anything."""

from __future__ import annotations

from msgspec import Struct

from provisor.authority.audit import Asked, Given, Trail
from provisor.authority.authenticate import authenticate_certificate, authenticate_token
from provisor.authority.commit import accounted, commit_granted
from provisor.authority.lists import crl_due
from provisor.authority.snapshot import Snapshot
from provisor.core.identity import Operation
from provisor.errors import AlreadyRevoked, NotSupported, SubjectMismatch, Unauthenticated
from provisor.ports import IssuerID, NotRevoked, RecordRevocation, Write
from provisor.provisioners.base import revokes_x509


class RevokeAsk(Struct, frozen=True):
    """`reason_code` by RFC 5280 section 5.3.1, 0 to 10."""

    serial: int
    reason_code: int
    reason: str


async def revoke_by_token(ca: Snapshot, token: str, ask: RevokeAsk, trail: Trail) -> None:
    """Raises `SubjectMismatch` unless the token's subject is the decimal serial, `AlreadyRevoked`, `NotSupported`."""
    trail.asked = _describe(ask)
    async with accounted(ca, trail):
        trail.enter(1)
        who, provisioner = await authenticate_token(ca, token, Operation.REVOKE, trail)
        trail.enter(2)
        if not revokes_x509(provisioner):
            raise Unauthenticated(f"{provisioner.ref.kind} provisioners do not revoke by token")
        provisioner.x509_revocation(who, ask.serial)
        issuer, expires = await _find_issuer(ca, ask.serial)
        await record_revocation(ca, ask, issuer, expires, provisioner.ref.id, trail)


async def revoke_by_certificate(ca: Snapshot, client: bytes, ask: RevokeAsk, trail: Trail) -> None:
    """The holder of a certificate revokes it. Raises `SubjectMismatch` for any other serial."""
    trail.asked = _describe(ask)
    async with accounted(ca, trail):
        trail.enter(1)
        leaf, issuer = await authenticate_certificate(ca, client, trail, revoked_may=True)
        trail.enter(2)
        if leaf.serial != ask.serial:
            text = f'request serial number "{ask.serial}" and certificate serial number "{leaf.serial}" do not match'
            raise SubjectMismatch(text, public=text)
        provisioner_id = trail.who.provisioner.id if trail.who else ""
        await record_revocation(ca, ask, issuer.id, int(leaf.not_after.timestamp()), provisioner_id, trail)


async def _find_issuer(ca: Snapshot, serial: int) -> tuple[IssuerID, int | None]:
    """Whose serial it is, and when its certificate ends; the active issuer's for a serial nobody recorded."""
    for issuer in ca.issuers:
        record = await ca.ledger.find_certificate(issuer, serial)
        if record is not None:
            return issuer, record.not_after
    return ca.issuer.id, None


async def record_revocation(
    ca: Snapshot, ask: RevokeAsk, issuer: IssuerID, expires: int | None, provisioner_id: str, trail: Trail
) -> None:
    """Step 8 of a revocation granted to `trail.who`. Raises `AlreadyRevoked`, `NotSupported`, `Unavailable`."""
    if not ca.durable:
        raise NotSupported("revocation needs a database: configure db in ca.json")
    trail.given = Given(serial=str(ask.serial))
    now = int(trail.now.timestamp())
    writes: tuple[Write, ...] = (
        RecordRevocation(
            issuer=issuer,
            serial=ask.serial,
            reason_code=ask.reason_code,
            reason=ask.reason,
            revoked_at=now,
            expires=expires,
            provisioner_id=provisioner_id,
            token_id=trail.use.key if trail.use else "",
            mtls=trail.who is not None and trail.who.method == "mtls",
        ),
    )
    if ca.config.crl.generate_on_revoke:
        writes += (crl_due(ca.issuer.id, now),)
    try:
        await commit_granted(ca, trail, guards=(NotRevoked(issuer, ask.serial),), writes=writes)
    except AlreadyRevoked as error:
        text = f"certificate with serial number '{ask.serial}' is already revoked"
        raise AlreadyRevoked(text, public=text) from error


def _describe(ask: RevokeAsk) -> Asked:
    return Asked(serial=str(ask.serial), reason=ask.reason_code)
