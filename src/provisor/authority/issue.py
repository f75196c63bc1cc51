"""The one issuance path: nine steps, numbered as in docs/issuance.md, in the audit trail and in the metrics.

    1 authenticate   who is asking; is the token genuine, for us, for this, in time, unspent
    2 authorize      identity and ask become a grant
    3 match          the request is signed by its own key, and key and names fit the grant
    4 enrich         webhooks add template data
    5 build          grant to draft: subject, names, window, serial, extensions
    6 check          what will really be signed: window, issuer, constraints
    7 consent        webhooks see the checked draft
    8 notarize       the exact bytes are checked again, signed, and committed with token and event
    9 notify         metrics and log; never undoes an issuance

Steps 4 and 7 have nobody to ask: a provisioner with webhooks is disabled by the registry. Steps 2 to 6
are pure, so that they run without 8 by construction.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import final

from msgspec import Struct

from provisor.authority.audit import LONGEST_LIST, Asked, Given, Trail
from provisor.authority.authenticate import authenticate_token
from provisor.authority.commit import accounted, commit_granted
from provisor.authority.snapshot import Snapshot
from provisor.core.durations import format_rfc3339, format_time_duration
from provisor.core.grant import X509Grant
from provisor.core.identity import Identity, Operation, X509Ask
from provisor.core.x509.build import build_leaf
from provisor.core.x509.check import check_draft
from provisor.core.x509.draft import CheckedDraft, Draft
from provisor.core.x509.extensions import ProvisionerExtension
from provisor.core.x509.issuer import Issuer
from provisor.errors import Forbidden
from provisor.ports import Guard, ToSign
from provisor.provisioners.base import Provisioner, signs_x509


@final
class Issued(Struct, frozen=True):
    """A certificate that is signed and recorded. `chain` is its issuer and what stands above, DER."""

    certificate: bytes
    chain: tuple[bytes, ...]
    draft: Draft
    provisioner: str
    credential: str


async def sign(ca: Snapshot, token: str, ask: X509Ask, trail: Trail) -> Issued:
    """A certificate for a one-time token.

    Raises `Unauthenticated`, `Forbidden`, `Malformed` kinds; `Unencodable` for names no certificate can hold.
    """
    trail.asked = describe_ask(ask)
    async with accounted(ca, trail):
        trail.enter(1)
        who, provisioner = await authenticate_token(ca, token, Operation.SIGN, trail)
        trail.enter(2)
        grant = authorize(provisioner, who, ask, ca)
        checked = decide(ca, ca.issuer, grant, ask, trail)
        return await notarize(ca, ca.issuer, checked, trail, grant, hashlib.sha256(ask.request.der).digest())


def authorize(provisioner: Provisioner, who: Identity, ask: X509Ask, ca: Snapshot) -> X509Grant:
    """Step 2."""
    if not signs_x509(provisioner):
        raise Forbidden(f"{provisioner.ref.kind} provisioners do not sign X.509 certificates")
    return provisioner.x509_grant(who, ask, ca.backdate)


def decide(ca: Snapshot, issuer: Issuer, grant: X509Grant, ask: X509Ask, trail: Trail) -> CheckedDraft:
    """Steps 3 to 7: from grant to a draft that may be signed. Touches nothing outside."""
    trail.enter(3)
    grant.match(ask.request)
    trail.enter(5)
    start, end, explicit = grant.validity.window(ask, trail.now)
    draft = build_leaf(
        subject_cn=grant.subject,
        names=grant.names,
        spki=ask.request.spki,
        key=ask.request.key,
        issuer=issuer,
        serial=ca.generate_serial(trail.now),
        not_before=start,
        not_after=end if explicit else min(end, issuer.certificate.not_after),
        subject_defaults=ca.subject_defaults,
        provisioner_extension=_extension(grant),
    )
    trail.enter(6)
    return check_draft(
        draft, issuer=issuer, not_beyond_issuer=not ca.config.provisor.switches.allow_not_after_beyond_issuer
    )


def _extension(grant: X509Grant) -> ProvisionerExtension | None:
    ref = grant.provisioner
    return ProvisionerExtension(ref.number, ref.name, ref.credential) if grant.extension else None


async def notarize(
    ca: Snapshot,
    issuer: Issuer,
    checked: CheckedDraft,
    trail: Trail,
    grant: X509Grant,
    csr_digest: bytes,
) -> Issued:
    """Step 8 for a new certificate: the first of its line."""
    ref = grant.provisioner
    to_sign = ToSign(
        issuer=issuer.id,
        tbs=checked.tbs,
        serial=checked.draft.serial,
        provisioner_id=ref.id,
        provisioner_name=ref.name,
        provisioner_kind=ref.kind,
        lineage=checked.draft.serial,
        predecessor=None,
        csr_digest=csr_digest,
    )
    return await release(ca, issuer, checked, trail, to_sign)


async def release(
    ca: Snapshot, issuer: Issuer, checked: CheckedDraft, trail: Trail, to_sign: ToSign, guards: tuple[Guard, ...] = ()
) -> Issued:
    """Sign, record and only then return. Shared by issuance and renewal."""
    trail.given = describe_draft(checked, to_sign.predecessor)
    outcome = await commit_granted(ca, trail, guards=guards, sign=to_sign)
    credential = trail.who.provisioner.credential if trail.who else ""
    return Issued(outcome.certificate, issuer.chain, checked.draft, to_sign.provisioner_name, credential)


def describe_ask(ask: X509Ask) -> Asked:
    request = ask.request
    return Asked(
        subject=request.common_name[:LONGEST_LIST],
        names=[name.value for name in request.names[:LONGEST_LIST]],
        key=request.key.label,
        not_before=format_time_duration(ask.not_before),
        not_after=format_time_duration(ask.not_after),
    )


def describe_draft(checked: CheckedDraft, predecessor: int | None) -> Given:
    draft = checked.draft
    return Given(
        serial=str(draft.serial),
        names=[name.value for name in draft.names[:LONGEST_LIST]],
        not_before=_second(draft.not_before),
        not_after=_second(draft.not_after),
        key=hashlib.sha256(draft.spki).hexdigest(),
        tbs=hashlib.sha256(checked.tbs).hexdigest(),
        predecessor="" if predecessor is None else str(predecessor),
    )


def _second(moment: datetime) -> str:
    return format_rfc3339(moment)
