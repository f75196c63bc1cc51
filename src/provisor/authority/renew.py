"""Renewal and rekey: the proof is the old certificate, and so is the grant, with a new window."""

from __future__ import annotations

import hashlib
from typing import Final

from provisor.authority.audit import Asked, Trail
from provisor.authority.authenticate import authenticate_certificate, authenticate_renew_token, find_provisioner
from provisor.authority.commit import accounted
from provisor.authority.issue import Issued, release
from provisor.authority.snapshot import Snapshot
from provisor.core.durations import Duration, add
from provisor.core.grant import KeyRule
from provisor.core.x509.build import build_renewed
from provisor.core.x509.certificate import Certificate
from provisor.core.x509.check import check_draft
from provisor.core.x509.issuer import Issuer
from provisor.core.x509.request import CertificateRequest
from provisor.errors import KeyNotAllowed, Unencodable
from provisor.ports import CertificateRecord, NotRevoked, ToSign
from provisor.provisioners.base import Provisioner
from provisor.provisioners.registry import check_renewable

_REKEY: Final = KeyRule()


async def renew_by_certificate(ca: Snapshot, client: bytes, trail: Trail) -> Issued:
    """A new window for the certificate the TLS client showed. Raises `Unauthenticated` kinds."""
    return await _by_certificate(ca, client, None, trail)


async def rekey(ca: Snapshot, client: bytes, request: CertificateRequest, trail: Trail) -> Issued:
    """The same certificate for another key: of the request only its key counts."""
    trail.asked = Asked(key=request.key.label)
    return await _by_certificate(ca, client, request, trail)


async def renew_by_token(ca: Snapshot, token: str, trail: Trail) -> Issued:
    """A new window for the certificate inside a bearer token that its key signed."""
    async with accounted(ca, trail):
        trail.enter(1)
        leaf, issuer, provisioner, record = await authenticate_renew_token(ca, token, trail)
        return await _renew(ca, leaf, issuer, provisioner, record, None, trail)


async def _by_certificate(ca: Snapshot, client: bytes, request: CertificateRequest | None, trail: Trail) -> Issued:
    async with accounted(ca, trail):
        trail.enter(1)
        leaf, issuer = await authenticate_certificate(ca, client, trail)
        provisioner, record = await find_provisioner(ca, issuer, leaf)
        return await _renew(ca, leaf, issuer, provisioner, record, request, trail)


async def _renew(
    ca: Snapshot,
    leaf: Certificate,
    issuer: Issuer,
    provisioner: Provisioner,
    record: CertificateRecord | None,
    request: CertificateRequest | None,
    trail: Trail,
) -> Issued:
    """Steps 2 to 8. `issuer` is the old certificate's; the new one comes from the active issuer."""
    trail.enter(2)
    check_renewable(provisioner, leaf.not_before, leaf.not_after, trail.now)
    trail.enter(3)
    if request is not None:
        _check_new_key(ca, request)
    trail.enter(5)
    start = add(trail.now.replace(microsecond=0), Duration(-ca.backdate))
    end = min(start + (leaf.not_after - leaf.not_before), ca.issuer.certificate.not_after)
    if end <= trail.now:
        raise Unencodable(f"certificate {leaf.serial} lived no longer than the backdate: nothing would be left of it")
    draft = build_renewed(
        leaf,
        issuer=ca.issuer,
        serial=ca.generate_serial(trail.now),
        not_before=start,
        not_after=end,
        new_spki=None if request is None else request.spki,
    )
    trail.enter(6)
    checked = check_draft(draft, issuer=ca.issuer, not_beyond_issuer=True)
    to_sign = ToSign(
        issuer=ca.issuer.id,
        tbs=checked.tbs,
        serial=draft.serial,
        provisioner_id=record.provisioner_id if record else provisioner.ref.id,
        provisioner_name=record.provisioner_name if record else provisioner.ref.name,
        provisioner_kind=record.provisioner_kind if record else provisioner.ref.kind,
        lineage=record.lineage if record else leaf.serial,
        predecessor=leaf.serial,
        csr_digest=b"" if request is None else hashlib.sha256(request.der).digest(),
    )
    return await release(ca, ca.issuer, checked, trail, to_sign, (NotRevoked(issuer.id, leaf.serial),))


def _check_new_key(ca: Snapshot, request: CertificateRequest) -> None:
    """The reference takes any key here; we hold it to what signing takes, and P-224 to nothing."""
    if ca.config.provisor.switches.accept_weak_rekey_keys:
        return
    _REKEY.check(request.key)
    if request.key.kind == "EC" and request.key.bits < 256:
        text = f"certificate request key {request.key.label} is too small; use P-256 or larger"
        raise KeyNotAllowed(text, public=text)
