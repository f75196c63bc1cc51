"""The last look before a key is used: at the exact bytes, and at what the entry says of them.

A worker that a stranger has taken over can ask for anything; here it still gets no certificate of an
authority, none without an audit event, none for a configuration that is gone, and no signature over
anything but a certificate, a list of revoked ones, or the head of the audit log that goes on from the last one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from cryptography import x509

from provisor.core.durations import elapsed
from provisor.core.tree_head import TreeHead, parse_head
from provisor.core.x509.check import ParsedTBS, check_invariants
from provisor.core.x509.crl import assemble_crl
from provisor.core.x509.issuer import Issuer
from provisor.errors import Forbidden, Malformed
from provisor.notary.keyring import ACTIVE, GateRules, SigningIssuer
from provisor.ports import Entry, Epoch, NotRevoked, ToSign

CLOCK_SKEW = timedelta(minutes=5)


def check_entry(entry: Entry, sign: ToSign, signing: SigningIssuer, rules: GateRules, now: datetime) -> ParsedTBS:
    """Raises `Forbidden` unless the entry may be signed; the reason is for the log."""
    if signing.state != ACTIVE:
        raise Forbidden(f"issuer is {signing.state}")
    if not entry.event:
        raise Forbidden("a certificate without an audit event")
    _check_guards(entry, sign)
    parsed = check_invariants(
        sign.tbs,
        issuer=signing.issuer,
        max_validity=rules.max_validity,
        allow_ca=rules.allow_authorities,
        now=now,
        not_beyond_issuer=rules.not_beyond_issuer,
        min_rsa_bits=rules.min_rsa_bits,
        curves=rules.curves,
    )
    if parsed.serial != sign.serial:
        raise Forbidden("serial number is not the one that is recorded")
    return parsed


def _check_guards(entry: Entry, sign: ToSign) -> None:
    if not any(isinstance(guard, Epoch) for guard in entry.guards):
        raise Forbidden("a certificate under no configuration")
    if sign.predecessor is None:
        if sign.lineage != sign.serial:
            raise Forbidden("the first certificate of a line begins it")
    elif not any(isinstance(guard, NotRevoked) and guard.serial == sign.predecessor for guard in entry.guards):
        raise Forbidden("a renewal that does not ask whether its predecessor is revoked")


def check_crl(tbs: bytes, issuer: Issuer, rules: GateRules, now: datetime) -> None:
    """Raises `Forbidden` unless the bytes are a TBSCertList (RFC 5280 section 5.1.2) of this issuer, for now.

    The parser is strict: no bytes are both such a list and a certificate.
    """
    if not issuer.crl_sign:
        raise Forbidden("issuer's key usage does not allow it to sign a CRL")
    try:
        crl = x509.load_der_x509_crl(assemble_crl(tbs, issuer, b""))
        name, this_update, next_update = crl.issuer.public_bytes(), crl.last_update_utc, crl.next_update_utc
        known = all(not extension.critical or _is_known(extension.value) for extension in crl.extensions)
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise Forbidden(f"not a CRL to be signed: {error}") from error
    if crl.tbs_certlist_bytes != tbs:
        raise Forbidden("CRL is followed by other bytes")
    if name != issuer.certificate.subject:
        raise Forbidden("CRL of another issuer")
    if next_update is None or this_update > now + CLOCK_SKEW or next_update <= this_update:
        raise Forbidden("CRL without a window of time that has begun")
    # Whoever holds an old list can show it for as long as it is valid.
    if elapsed(this_update, next_update) > rules.max_crl_validity:
        raise Forbidden("CRL valid for longer than the maximum")
    if not known:
        raise Forbidden("CRL with a critical extension that it should not have")


def _is_known(value: x509.ExtensionType) -> bool:
    return isinstance(value, x509.IssuingDistributionPoint)


def check_head(text: bytes, issuer: Issuer, authority: str, last: TreeHead | None, now: datetime) -> TreeHead:
    """Raises `Forbidden` unless the text is a head of this authority's log, for now, and no other than the last.

    `last` is the head that was signed before, if there was one: the log only grows.
    """
    try:
        head = parse_head(text)
    except Malformed as error:
        raise Forbidden(error.detail) from error
    if head.authority != authority:
        raise Forbidden("head of another authority's log")
    if head.issuer != issuer.id:
        raise Forbidden("head that names another issuer")
    if abs(head.at - now.timestamp()) > CLOCK_SKEW.total_seconds():
        raise Forbidden("head of another time")
    if last is not None and (head.size < last.size or (head.size == last.size and head.root != last.root)):
        raise Forbidden(f"head of {head.size} events after one of {last.size}: the log would fork")
    return head
