"""Step 1: a token or a client certificate becomes a proven identity.

Nothing is spent here. A token is verified first (signature, issuer, time, audience), then looked up;
from that moment the trail carries its use, and the answer's own commit spends it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from provisor.authority.audit import Trail
from provisor.authority.snapshot import Snapshot
from provisor.core.identity import Identity, Operation, ProvisionerRef, TokenUse
from provisor.core.jose.audience import audiences_match
from provisor.core.jose.jws import UnverifiedToken, parse_token, verify_signature
from provisor.core.jose.jwt import LEEWAY_SECONDS, TokenClaims, check_times, parse_claims, token_key
from provisor.core.keys import parse_public_spki
from provisor.core.x509 import oids
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.chain import check_client_leaf, find_issuer, verify_chain
from provisor.core.x509.extensions import ProvisionerExtension, parse_provisioner
from provisor.core.x509.issuer import Issuer
from provisor.errors import (
    BadRequest,
    BadToken,
    CertificateRevoked,
    Malformed,
    ProvisorError,
    RenewIssuerInvalid,
    RenewTokenInvalid,
    RenewTokenRejected,
    TokenInvalid,
    TokenReused,
    Unauthenticated,
)
from provisor.ports import CertificateRecord
from provisor.provisioners.base import Provisioner, accepts_tokens
from provisor.provisioners.registry import Disabled, Noop

RENEW_TOKEN_ISSUER: Final = "step-ca-client/1.0"
_RENEW_TOKEN: Final = "error validating renew token"
_NOBODY: Final = ProvisionerRef("", "", "")


async def authenticate_token(
    ca: Snapshot, text: str, operation: Operation, trail: Trail
) -> tuple[Identity, Provisioner]:
    """Who signed this one-time token, and by which provisioner.

    Raises `Unauthenticated` kinds, and `BadRequest` for provisioners that take no tokens.
    """
    token = _parse_token(ca, text)
    claims = parse_claims(token)
    most = ca.config.provisor.limits.names_per_request
    if len(claims.sans or ()) > most:
        raise BadRequest(f"token has more than {most} names")
    provisioner = ca.registry.get_for_token(claims, _kid(token), ca.audiences.every)
    if isinstance(provisioner, Disabled):
        raise provisioner.refusal() if provisioner.token_flow else BadRequest("token flow is not supported")
    if not accepts_tokens(provisioner):
        raise Unauthenticated(f"{provisioner.ref.kind} provisioners accept no tokens")
    _check_issued_since_start(ca, claims)
    audiences = ca.audiences.by_operation[operation]
    use = await provisioner.verify(token, claims, operation, audiences, trail.now)
    trail.use, trail.provisioner = use, provisioner.ref
    await _check_unspent(ca, use)
    trail.who = provisioner.identify(token, claims, use)
    return trail.who, provisioner


def _parse_token(ca: Snapshot, text: str) -> UnverifiedToken:
    """Raises `BadToken`, also over the configured size."""
    if len(text) > ca.config.provisor.limits.token_bytes:
        raise BadToken("token is larger than limits.tokenBytes")
    return parse_token(text)


def _kid(token: UnverifiedToken) -> str:
    kid = token.header.get("kid")
    return kid if isinstance(kid, str) else ""


def _check_issued_since_start(ca: Snapshot, claims: TokenClaims) -> None:
    """Where spent tokens are forgotten at a restart, older tokens are refused instead (core-api 2.2, step 4)."""
    if ca.oldest_token is not None and claims.iat is not None and claims.iat < ca.oldest_token:
        raise TokenInvalid("token issued before the bootstrap of certificate authority")
    _check_issued_since_restore(ca, claims)


def _check_issued_since_restore(ca: Snapshot, claims: TokenClaims) -> None:
    """What was spent behind a restored backup is unknown: a token has to show that it is younger, whatever
    switches say.

    One that does not tell when it was issued may tell from when on it is good: it was taken the leeway before at most.
    """
    if not ca.tokens_not_before:
        return
    issued = claims.iat if claims.iat is not None or claims.nbf is None else claims.nbf - LEEWAY_SECONDS
    if issued is None or issued < ca.tokens_not_before:
        raise TokenInvalid("token issued before the database was restored from a backup, or not saying when")


async def _check_unspent(ca: Snapshot, use: TokenUse) -> None:
    if await ca.ledger.is_spent(use.key):
        raise TokenReused("token already used")


async def authenticate_certificate(
    ca: Snapshot, der: bytes, trail: Trail, *, revoked_may: bool = False
) -> tuple[Certificate, Issuer]:
    """The leaf of a TLS client, verified once more: issuer, purpose, revocation.

    Its window is for the renewal rule to judge. `revoked_may` is for revocation itself, which answers
    that it has already happened. Raises `Unauthenticated` kinds.
    """
    client = ca.find_client(der)
    leaf, issuer = client.leaf, client.issuer
    check_client_leaf(leaf, issuer, trail.now)
    trail.who = Identity(
        provisioner=_provisioner_ref(ca, leaf), method="mtls", subject=leaf.common_name, serial=leaf.serial
    )
    if not revoked_may:
        await _check_not_revoked(ca, issuer, leaf)
    return leaf, issuer


def _provisioner_ref(ca: Snapshot, leaf: Certificate) -> ProvisionerRef:
    """For the audit trail: the provisioner a certificate says it is from."""
    try:
        extension = _provisioner_extension(leaf)
    except Unauthenticated:
        return _NOBODY
    found = ca.registry.find_by_name(extension.name) if extension else None
    return found.ref if found else _NOBODY


def _provisioner_extension(leaf: Certificate) -> ProvisionerExtension | None:
    """None if there is none. Raises `Unauthenticated` if it cannot be read."""
    value = leaf.extension(oids.PROVISIONER)
    try:
        return None if value is None else parse_provisioner(value)
    except Malformed as error:
        raise Unauthenticated(error.detail) from error


async def _check_not_revoked(ca: Snapshot, issuer: Issuer, leaf: Certificate) -> None:
    if await ca.ledger.is_revoked(issuer.id, leaf.serial):
        raise CertificateRevoked(f"certificate {leaf.serial} has been revoked")


async def authenticate_renew_token(
    ca: Snapshot, text: str, trail: Trail
) -> tuple[Certificate, Issuer, Provisioner, CertificateRecord | None]:
    """A bearer token signed by the key of the certificate it carries (core-api 2.4).

    The certificate may be over: whether that matters is its provisioner's to say.
    """
    token, claims, leaf = _parse_renew_token(ca, text)
    try:
        verify_signature(token, parse_public_spki(leaf.spki))
    except ProvisorError as error:
        raise RenewTokenRejected(error.detail, public=_RENEW_TOKEN) from error
    issuer = find_issuer(leaf, tuple(ca.issuers.values()))
    if issuer is None:
        raise Unauthenticated("certificate in the renew token is not of an issuer of this authority")
    provisioner, record = await find_provisioner(ca, issuer, leaf)
    if isinstance(provisioner, Noop):
        # step-ca: by token only a certificate of somebody is renewed.
        raise Unauthenticated("provisioner not found")
    _check_renew_claims(ca, claims, leaf, provisioner.ref.name, trail)
    _check_issued_since_restore(ca, claims)
    use = TokenUse(token_key(token, claims), None if claims.exp is None else int(claims.exp))
    trail.use, trail.provisioner = use, provisioner.ref
    trail.who = Identity(
        provisioner=provisioner.ref, method="renew-token", subject=leaf.common_name, token=use, serial=leaf.serial
    )
    await _check_unspent(ca, use)
    await _check_not_revoked(ca, issuer, leaf)
    return leaf, issuer, provisioner, record


def _parse_renew_token(ca: Snapshot, text: str) -> tuple[UnverifiedToken, TokenClaims, Certificate]:
    try:
        token = _parse_token(ca, text)
        claims = parse_claims(token)
        chain = _header_chain(token.header)
        expiry = parse_certificate(chain[0]).not_after
        leaf = verify_chain(chain, ca.roots, expiry - timedelta(minutes=1))
    except ProvisorError as error:
        raise RenewTokenInvalid(error.detail, public=_RENEW_TOKEN) from error
    return token, claims, leaf


def _header_chain(header: Mapping[str, object]) -> tuple[bytes, ...]:
    """The certificates of `x5cInsecure`, leaf first. Raises `BadToken`."""
    values = header.get("x5cInsecure")
    if not isinstance(values, list) or not values:
        raise BadToken("x5cInsecure header is missing or empty")
    try:
        return tuple(base64.b64decode(value, validate=True) for value in values)
    except (TypeError, ValueError, binascii.Error) as error:
        raise BadToken("x5cInsecure header does not hold base64 certificates") from error


def _check_renew_claims(ca: Snapshot, claims: TokenClaims, leaf: Certificate, provisioner: str, trail: Trail) -> None:
    if leaf.common_name and claims.sub != leaf.common_name:
        raise _renew_token_invalid("invalid subject claim (sub)")
    try:
        check_times(claims, trail.now)
    except TokenInvalid as error:
        raise _renew_token_invalid(error.detail.rpartition(", ")[2]) from error
    if not audiences_match(claims.aud, ca.audiences.by_operation[Operation.RENEW]):
        text = f"{_RENEW_TOKEN}: invalid audience claim (aud)"
        raise RenewTokenRejected(text, public=text)
    if claims.iss not in (RENEW_TOKEN_ISSUER, provisioner):
        text = f"{_RENEW_TOKEN}: invalid issuer claim (iss)"
        raise RenewIssuerInvalid(text, public=text)


def _renew_token_invalid(reason: str) -> RenewTokenInvalid:
    text = f"{_RENEW_TOKEN}: {reason}"
    return RenewTokenInvalid(text, public=text)


async def find_provisioner(
    ca: Snapshot, issuer: Issuer, leaf: Certificate
) -> tuple[Provisioner, CertificateRecord | None]:
    """Whose certificate this is, for a renewal.

    A recorded certificate follows its provisioner's id; one we have no record of (a step-ca issued it)
    follows the name in its extension. Raises `Unauthenticated` when neither leads anywhere.
    """
    record = await ca.ledger.find_certificate(issuer.id, leaf.serial)
    switches = ca.config.provisor.switches
    if record is not None and (found := ca.registry.find_by_id(record.provisioner_id)):
        return found, record
    if record is None or switches.renew_by_provisioner_name:
        extension = _provisioner_extension(leaf)
        if extension is not None and (found := ca.registry.find_by_name(extension.name)):
            return found, record
        if extension is None and record is None and switches.renew_unknown_certificates:
            return Noop(), record
    raise Unauthenticated("provisioner not found")
